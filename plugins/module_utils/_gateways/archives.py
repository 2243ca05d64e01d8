# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Directory trees as compressed tar archives, with all that a file system knows of them.

GNU tar: holes, extended attributes, ACLs and hard links stay, and so do owners, by number. The same tree gives the same
archive, whenever it was last looked at, so that a repository recognises it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

_TAR = ("tar", "--file=-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls")
# Which tar would obey.
_ENVIRONMENT = {"TAR_OPTIONS": ""}
_CREATE = (
    "--create",
    "--format=posix",
    "--sparse",
    "--sort=name",
    # No process id (but for files with holes), and no times that change by reading.
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    # Sockets exist as long as the program that listens on them.
    "--warning=no-file-ignored",
)
# What a restore keeps beside a directory, under way or until the user gives it up: not the data of the app now.
_ASIDE = (
    "--no-anchored",
    "--wildcards",
    "--no-wildcards-match-slash",
    "--exclude=.*.serverkit-new-*",
    "--exclude=.*.serverkit-old-*",
)
# `--delay-directory-restore`: a directory that nobody may write to is made so after its content is there.
_EXTRACT = ("--extract", "--preserve-permissions", "--same-owner", "--delay-directory-restore")
# tar's "file changed as we read it" (tar(1), RETURN VALUE).
_DIFFERS = 1


def archive(directory: str, path: str, exclude: Sequence[str] = (), live: bool = False) -> tuple[streams.Stored, int]:
    """Write a directory to a new archive, or a single file, and return how many entries that has, itself included.

    :param path: of the archive, which must not be there yet.
    :param exclude: paths below the directory, as they are: no patterns.
    :param live: that files change meanwhile is to be expected, and no failure.
    :raises HostError: when something cannot be read, changed meanwhile, or the disk is full; nothing is left at `path`.
    """
    try:
        whole = os.path.isdir(directory)
        os.stat(directory)
    except OSError as error:
        raise HostError(f"archive {directory}", error.strerror or str(error)) from error
    # A link to a file is mounted as that file.
    place, *what = (directory, ".") if whole else (os.path.dirname(directory), "-h", f"./{os.path.basename(directory)}")
    excluded = ("--no-wildcards", "--anchored", *(f"--exclude=./{os.path.normpath(name)}" for name in exclude))
    with _listing(f"write {path}", os.path.dirname(path)) as names:
        program = Program(
            (*_TAR, *_CREATE, *_ASIDE, *excluded, *_names(names), f"--directory={place}", *what),
            _ENVIRONMENT,
            accepted=(0, _DIFFERS) if live else (0,),
            descriptors=(names.fileno(),),
        )
        stored = streams.store(program, path)
        return stored, sum(1 for _line in _lines(names))


def extract(path: str, directory: str) -> int:
    """Unpack an archive into an empty directory, which becomes what the archived one was; return how many entries.

    :raises HostError: when the directory is not empty, the archive is damaged or has names that lead out of the
        directory, or the disk is full.
    """
    attempted = f"unpack {path} to {directory}"
    try:
        if os.listdir(directory):
            raise HostError(attempted, "the directory is not empty")
    except OSError as error:
        raise HostError(attempted, error.strerror or str(error)) from error
    with _listing(attempted) as names:
        options = (*_EXTRACT, *_names(names), f"--directory={directory}")
        program = Program((*_TAR, *options), _ENVIRONMENT, descriptors=(names.fileno(),))
        streams.load(path, program)
        entries = 0
        for line in _lines(names):
            # tar makes an absolute name relative, and fails at "..": so nothing was written elsewhere.
            if not line.startswith(b"./"):
                raise HostError(attempted, f"{line.decode(errors='replace').strip()} is not a name below it")
            entries += 1
    os.sync()  # before something older is given up for it
    return entries


@contextlib.contextmanager
def _listing(attempted: str, directory: str | None = None) -> Iterator[IO[bytes]]:
    """Make a file without a name, for the names of entries: there may be millions."""
    try:
        with tempfile.TemporaryFile(dir=directory) as names:
            yield names
    except OSError as error:
        raise HostError(attempted, error.strerror or str(error)) from error


def _names(names: IO[bytes]) -> tuple[str, ...]:
    """Return options by which tar writes a line for each entry to a file; line ends in names are escaped."""
    return ("--verbose", "--quoting-style=escape", f"--index-file=/dev/fd/{names.fileno()}")


def _lines(names: IO[bytes]) -> Iterator[bytes]:
    names.seek(0)
    yield from names
