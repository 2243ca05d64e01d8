# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private copies of directories."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import trees
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def test_a_copy(tmp_path: pathlib.Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_bytes(b"at /source/x\xff\n")
    (source / "link").symlink_to("/source/below")
    os.mkfifo(source / "pipe")
    target.mkdir(parents=True)
    (target / "old").write_text("")
    trees.copy(str(source), str(target), lambda content: content.replace(b"/source/", b"/target/"))
    assert sorted(path.name for path in target.rglob("*")) == ["below", "file", "link"]
    assert (target / "below" / "file").read_bytes() == b"at /target/x\xff\n"
    assert os.readlink(target / "link") == "/target/below"
    assert (target.stat().st_mode & 0o777, (target / "below" / "file").stat().st_mode & 0o777) == (0o700, 0o600)
    trees.remove(str(target))
    trees.remove(str(target))
    assert not target.exists()


def test_nothing_to_copy(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        trees.copy(str(tmp_path / "none"), str(tmp_path / "target"), lambda content: content)
