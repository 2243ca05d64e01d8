# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be restored in its place is refused before the app is stopped for it."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_sources import check_binds


def test_a_mount_point_is_refused(tmp_path: pathlib.Path) -> None:
    check_binds([str(tmp_path), str(tmp_path / "gone")])
    with pytest.raises(ConflictError, match="restore /proc: it is a mount point"):
        check_binds([str(tmp_path), "/proc"])
