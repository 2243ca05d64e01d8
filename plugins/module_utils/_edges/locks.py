# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Locks held by a process: the kernel drops them when the process dies, so none is ever left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

# A tmpfs on every systemd distribution: usable while the disk is full or read-only, and empty after a boot.
DIRECTORY = "/run/lock/serverkit"


@contextlib.contextmanager
def held(
    name: str, *, directory: str = DIRECTORY, timeout: float = 600.0, pause: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Hold an exclusive lock; yields its file descriptor.

    A child that inherits the descriptor (`pass_fds`) keeps the lock until it ends too: when this process is killed
    in the middle of `docker compose up`, the next run waits for that Compose instead of racing it (flock(2)).

    :param name: of the lock; becomes a file name.
    :param timeout: seconds to wait for another holder.
    :raises HostError: when another process still holds it after that time, or the lock file cannot be made.
    """
    path = os.path.join(directory, f"{name}.lock")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"make the lock file {path}", error.strerror or str(error)) from error
    try:
        _wait(descriptor, name, timeout, pause)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(descriptor: int, name: str, timeout: float, pause: Callable[[float], None]) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise HostError(
                    f"take the lock {name}",
                    f"process {holder} has held it for {timeout:.0f} seconds",
                    "Wait for that run to end, or end it, and run again",
                ) from None
            pause(0.1)
