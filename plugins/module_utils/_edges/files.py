# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Files: read what is there, replace whole files atomically, never through a half-written one."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


@dataclass(frozen=True)
class FileState:
    """A regular file's content (bytes read as UTF-8, undecodable ones kept by surrogateescape), its permission bits
    and its owner's number."""

    content: str
    mode: int
    uid: int = field(default=0, compare=False)


@contextlib.contextmanager
def attempting(attempted: str) -> Iterator[None]:
    """Turn what the operating system refuses into a HostError.

    :param attempted: what is done meanwhile, as an error says it: `remove /x`.
    :raises HostError: instead of each OSError.
    """
    try:
        yield
    except OSError as error:
        raise HostError(attempted, error.strerror or str(error)) from error


def read(path: str) -> FileState | None:
    """Return what the file holds, or None when there is none.

    :raises HostError: when it exists and cannot be read, or is not a regular file.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            status = os.fstat(stream.fileno())
            return FileState(stream.read(), stat.S_IMODE(status.st_mode), status.st_uid)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"read {path}", error.strerror or str(error)) from error


def make_directory(path: str, mode: int = 0o755) -> None:
    """Make a directory and its parents; an existing one keeps its content and gets the permission bits.

    :raises HostError: when it cannot be made.
    """
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
        if stat.S_IMODE(os.stat(path).st_mode) != mode:
            os.chmod(path, mode)
    except OSError as error:
        raise HostError(f"make the directory {path}", error.strerror or str(error)) from error


def user_name(uid: int) -> str:
    """Return the name of a user, or the number as text when there is no such user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def write(path: str, content: str, mode: int, owner: str = "") -> None:
    """Replace a file in one step: readers see the old content or the new, after a crash too.

    The temporary file is made in the same directory (rename(2) works within one file system only), with its final
    owner and permission bits before any content is in it.

    :param owner: the name of the user whose the file shall be; empty is whoever runs this.
    :raises HostError: when the disk is full, read-only or refuses, or there is no such user; the old file is then still
        there, unchanged.
    """
    directory = os.path.dirname(path)
    temporary = ""
    uid = _user_id(path, owner) if owner else -1
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)[:100]}.", dir=directory)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            os.fchown(stream.fileno(), uid, -1)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_directory(directory)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise HostError(f"write {path}", error.strerror or str(error)) from error


def _user_id(path: str, owner: str) -> int:
    try:
        return int(owner) if owner.isdecimal() else pwd.getpwnam(owner).pw_uid
    except KeyError as error:
        raise HostError(f"write {path}", f"there is no user {owner}, whose it has to be") from error


def create_empty(path: str, mode: int) -> bool:
    """Make an empty file that belongs to its directory's group, unless something is there; tell whether it was made.

    :raises HostError: when it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise HostError(f"make {path}", error.strerror or str(error)) from error
    try:
        os.fchown(descriptor, -1, os.stat(os.path.dirname(path)).st_gid)
        os.fchmod(descriptor, mode)
    except OSError as error:
        raise HostError(f"give {path} its owner and mode", error.strerror or str(error)) from error
    finally:
        os.close(descriptor)
    return True


def remove(path: str) -> None:
    """Remove a file or a symbolic link; one that is not there is fine.

    :raises HostError: when it cannot be removed.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"remove {path}", error.strerror or str(error)) from error


def read_link(path: str) -> str | None:
    """Return where a symbolic link points, or None when there is no symbolic link at this path.

    :raises HostError: when it cannot be read.
    """
    try:
        return os.readlink(path) if os.path.islink(path) else None
    except OSError as error:
        raise HostError(f"read the link {path}", error.strerror or str(error)) from error


def set_aside(path: str) -> str | None:
    """Give what is at a path (a symbolic link included) a second name beside it, from which `put_back` restores it.

    A hard link, so that restoring is a rename and needs no space: a full disk is why one has to.

    :returns: the second name, or None when there is nothing at the path.
    :raises HostError: when it cannot be made.
    """
    aside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.serverkit-aside")
    remove(aside)
    try:
        os.link(path, aside, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"set aside {path}", error.strerror or str(error)) from error
    return aside


def put_back(path: str, aside: str | None) -> None:
    """Restore what `set_aside` kept, in one step; nothing kept is nothing restored.

    :raises HostError: when it cannot be restored.
    """
    if aside is None:
        remove(path)
        return
    try:
        os.replace(aside, path)
        # rename(2) does nothing when both names are the same file, which was then never replaced.
        if os.path.lexists(aside):
            os.unlink(aside)
    except OSError as error:
        raise HostError(f"restore {path}", error.strerror or str(error)) from error


def link(target: str, path: str) -> None:
    """Make a symbolic link, replacing what is at its path in one step.

    :raises HostError: when it cannot be made.
    """
    # Hidden: a run killed here must not leave a second name that a program's `include directory/*` finds.
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.serverkit-new")
    try:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise HostError(f"link {path} to {target}", error.strerror or str(error)) from error


def sync_directory(directory: str) -> None:
    """Have the names in a directory on the disk: what was renamed to or from it stays so after a crash.

    :raises OSError: when it cannot be opened or written.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
