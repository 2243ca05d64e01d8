# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Whether the disks have room for what a restore puts on them."""

from __future__ import annotations

import os

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

_RESERVE = 64 << 20  # bytes that stay free on a disk


class Room:
    """The room on this host's disks, for everything that one restore brings."""

    def __init__(self, remedy: str) -> None:
        """
        :param remedy: what to do where there is none.
        """
        self._remedy = remedy
        self._needed: dict[int, int] = {}

    def take(self, attempted: str, path: str, size: int) -> None:
        """Count bytes that come to a path, which need not be there yet, with those that come to the same disk.

        :raises HostError: when the disk has no room for all of them.
        """
        place = _existing(path)
        device, status = os.stat(place).st_dev, os.statvfs(place)
        needed = self._needed.get(device, _RESERVE) + size
        self._needed[device] = needed
        free = status.f_bavail * status.f_frsize
        if needed > free:
            reason = f"{needed} bytes are needed, and the disk of {place} has {free}"
            raise HostError(attempted, reason, self._remedy)


def _existing(path: str) -> str:
    """Return a directory, or the nearest one above it that is there."""
    while not os.path.isdir(path) and path not in ("", "/"):
        path = os.path.dirname(path)
    return path or "/"
