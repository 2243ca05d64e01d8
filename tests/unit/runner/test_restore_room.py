# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the disks have room is counted for all that comes to each."""

from __future__ import annotations

import os
import pathlib
from types import SimpleNamespace

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_room import Room

_MEBIBYTE = 1 << 20


def test_what_comes_to_one_disk_adds_up_and_leaves_a_reserve(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=100, f_frsize=_MEBIBYTE))
    room = Room("Make room")
    room.take("restore a", str(tmp_path), 20 * _MEBIBYTE)
    # What is not there yet comes to the disk of what is.
    room.take("restore b", str(tmp_path / "not" / "there"), 16 * _MEBIBYTE)
    with pytest.raises(HostError) as caught:
        room.take("restore c", str(tmp_path / "c"), 1)
    assert str(caught.value) == (
        f"Could not restore c: {100 * _MEBIBYTE + 1} bytes are needed, and the disk of {tmp_path} has"
        f" {100 * _MEBIBYTE}. Make room."
    )
    Room("").take("restore c", str(tmp_path), 36 * _MEBIBYTE)
