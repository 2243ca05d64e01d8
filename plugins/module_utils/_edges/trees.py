# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Directories as a whole: a private copy to try something in."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def copy(source: str, target: str, rewrite: Callable[[bytes], bytes]) -> None:
    """Copy a directory to a place that only its owner can enter; what is at that place is replaced.

    Regular files and symbolic links are copied; sockets, pipes and devices are left out.

    :param rewrite: applied to the content of each file and to the target of each symbolic link.
    :raises HostError: when something cannot be read or written.
    """
    remove(target)
    try:
        os.makedirs(target, mode=0o700)
        os.chmod(target, 0o700)
        _copy_entries(source, target, rewrite)
    except OSError as error:
        raise HostError(f"copy {source} to {target}", _reason(error)) from error


def remove(path: str) -> None:
    """Remove a directory with all that is in it; one that is not there is fine.

    :raises HostError: when it cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"remove {path}", _reason(error)) from error


def _copy_entries(source: str, target: str, rewrite: Callable[[bytes], bytes]) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            copy_path = os.path.join(target, entry.name)
            if entry.is_symlink():
                os.symlink(os.fsdecode(rewrite(os.fsencode(os.readlink(entry.path)))), copy_path)
            elif entry.is_dir():
                os.mkdir(copy_path, 0o700)
                _copy_entries(entry.path, copy_path, rewrite)
            elif stat.S_ISREG(entry.stat().st_mode):
                _copy_file(entry.path, copy_path, rewrite)


def _copy_file(source: str, target: str, rewrite: Callable[[bytes], bytes]) -> None:
    with open(source, "rb") as original:
        content = original.read()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as copied:
        copied.write(rewrite(content))


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
