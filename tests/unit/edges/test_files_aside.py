# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Setting files aside and putting them back."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def test_a_replaced_file_comes_back(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o604)
    aside = files.set_aside(str(path))
    files.write(str(path), "new", 0o600)
    files.put_back(str(path), aside)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("old", 0o604)
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_was_not_replaced_after_all(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    files.put_back(str(path), files.set_aside(str(path)))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_links_and_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("nowhere")
    aside = files.set_aside(str(path))
    files.link("elsewhere", str(path))
    assert files.read_link(str(path)) == "elsewhere"
    files.put_back(str(path), aside)
    assert files.read_link(str(path)) == "nowhere"
    none = tmp_path / "none"
    assert files.set_aside(str(none)) is None
    none.write_text("new")
    files.put_back(str(none), None)
    assert not none.exists()
    assert files.read_link(str(none)) is None


def test_an_empty_file(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "log")
    assert files.create_empty(path, 0o640)
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert not files.create_empty(path, 0o600)
    with pytest.raises(HostError):
        files.create_empty(str(tmp_path / "none" / "log"), 0o640)
