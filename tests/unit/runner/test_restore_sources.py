# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be restored in its place is refused before the app is stopped for it."""

from __future__ import annotations

import pathlib
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import Volume
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Source
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_sources import _check_room, check_binds
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import StoredFile, TreeArchive


def test_a_mount_point_is_refused(tmp_path: pathlib.Path) -> None:
    check_binds([str(tmp_path), str(tmp_path / "gone")])
    with pytest.raises(ConflictError, match="restore /proc: it is a mount point"):
        check_binds([str(tmp_path), "/proc"])


def test_room_is_needed_for_volumes_and_directories(tmp_path: pathlib.Path) -> None:
    volumes = {"blog": Volume("blog", mountpoint=str(tmp_path))}
    parts: Any = SimpleNamespace(volumes=SimpleNamespace(inspect=lambda names: volumes))
    tree = TreeArchive("blog", "blog", 1, StoredFile("blog.tar.zst", 1, 1 << 60, ""))
    # Nobody knows how large a database becomes, nor where a volume will be that is not there yet.
    _check_room(parts, [Source("database", "db", "blog", tree), Source("volume", "new", "blog_new", tree)])
    for source in (Source("volume", "v", "blog", tree), Source("bind", "b", str(tmp_path / "gone" / "b"), tree)):
        with pytest.raises(HostError, match=f"restore {source.name}: .* bytes are needed, and the disk of {tmp_path}"):
            _check_room(parts, [source])
