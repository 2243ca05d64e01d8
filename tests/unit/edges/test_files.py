# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Atomic files: old content or new, nothing else, and clear errors."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_was_written_is_read_back_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = "a\r\nb\n\udcff é 漢\n"
    files.write(str(path), content, 0o600)
    assert files.read(str(path)) == files.FileState(content, 0o600)
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_file_reads_as_none(tmp_path: Path) -> None:
    assert files.read(str(tmp_path / "none")) is None


def test_reading_a_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=str(tmp_path)):
        files.read(str(tmp_path))


def test_the_secret_is_never_in_a_file_that_others_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    replace = os.replace

    def observe(source: str, target: str) -> None:
        seen.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr(os, "replace", observe)
    files.write(str(tmp_path / "file"), "secret", 0o600)
    assert seen == [0o600]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write(str(path), "old", 0o644)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="No space left on device"):
        files.write(str(path), "new", 0o644)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_directory_is_made_with_its_parents_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    files.make_directory(str(path), 0o700)
    assert mode_of(path) == 0o700
    path.chmod(0o755)
    files.make_directory(str(path), 0o700)
    assert mode_of(path) == 0o700


def test_a_link_replaces_what_was_there(tmp_path: Path) -> None:
    link = tmp_path / "link"
    files.link("one", str(link))
    files.link("two", str(link))
    assert os.readlink(link) == "two"
    files.remove(str(link))
    files.remove(str(link))
    assert not os.path.lexists(link)


def test_the_owner_is_there_before_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    changes: list[tuple[int, int]] = []
    # Only root may give files away.
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, _gid: changes.append((uid, os.fstat(descriptor).st_size)))
    files.write(str(path), "content", 0o600, owner="daemon")
    files.write(str(path), "content", 0o600)
    assert changes == [(pwd.getpwnam("daemon").pw_uid, 0), (-1, 0)]
    state = files.read(str(path))
    assert state is not None
    assert files.user_name(state.uid) == pwd.getpwuid(os.getuid()).pw_name
    assert files.user_name(2**31 - 5) == str(2**31 - 5)


def test_an_owner_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(str(path), "old", 0o600)
    with pytest.raises(HostError, match="there is no user nobody-of-that-name"):
        files.write(str(path), "new", 0o600, owner="nobody-of-that-name")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
