# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Directories for files with secrets that programs want to read: in memory, and never left behind for good.

Whose they are, the kernel knows: each is locked (flock(2)) by the process that made it, and no lock outlives that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees

# A tmpfs on every systemd distribution: no disk ever has what is written there.
ROOT = "/run/serverkit"

_PREFIX = "scratch-"


@contextlib.contextmanager
def directory(root: str = ROOT) -> Iterator[str]:
    """Make a directory that only its owner can enter, and yield its path; it is gone afterwards.

    What killed processes have left of theirs is removed before.

    :param root: where it is made; made with mode 0700 where it is missing.
    :raises HostError: when it cannot be made, or what a killed process has left cannot be removed.
    """
    files.make_directory(root, 0o700)
    with contextlib.ExitStack() as stack:
        with files.attempting(f"make a directory for secrets in {root}"), _opened(root) as others:
            # Until a new one has its lock, nobody else may look for those that have none.
            fcntl.flock(others, fcntl.LOCK_EX)
            _remove_left(root)
            path = tempfile.mkdtemp(prefix=_PREFIX, dir=root)
            fcntl.flock(stack.enter_context(_opened(path)), fcntl.LOCK_EX)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _remove_left(root: str) -> None:
    for name in os.listdir(root):
        path = os.path.join(root, name)
        # One whose process has just ended is gone, and one that is locked is in use.
        if name.startswith(_PREFIX):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), _opened(path) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                trees.remove(path)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
