# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories and volumes that change places, and what a kill leaves of that."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Any, cast

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import archives
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import DockerVolumes, Volume
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Part
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_trees import Binds, Volumes, beside
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import StoredFile, TreeArchive


class Killed(BaseException):
    """What no code handles."""


def bind(place: pathlib.Path, *, existed: bool = True) -> Part:
    live = str(place / "notes")
    return Part("bind", live, live, beside(live, "new-1"), beside(live, "old-1"), existed)


def archived(source: pathlib.Path, path: pathlib.Path) -> TreeArchive:
    stored, entries = archives.archive(str(source), str(path))
    file = StoredFile(path.name, stored.size, stored.content_size, stored.sha256)
    return TreeArchive(str(source), str(source), entries, file)


def state(place: pathlib.Path) -> dict[str, str]:
    return {
        name: (place / name / "note").read_text() if (place / name).is_dir() else (place / name).read_text()
        for name in sorted(os.listdir(place))
    }


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "place" / "notes").mkdir(parents=True)
    (tmp_path / "place" / "notes" / "note").write_text("old")
    return tmp_path / "place"


@pytest.fixture
def content(tmp_path: pathlib.Path) -> TreeArchive:
    (tmp_path / "source").mkdir(mode=0o2750)
    (tmp_path / "source" / "note").write_text("new")
    return archived(tmp_path / "source", tmp_path / "tree.tar.zst")


def test_a_directory_is_replaced_and_put_back(
    tmp_path: pathlib.Path, place: pathlib.Path, content: TreeArchive
) -> None:
    part, binds = bind(place), Binds()
    assert binds.exists(part)
    binds.stage(part, content, str(tmp_path / "tree.tar.zst"))
    assert state(place)["notes"] == "old"
    binds.switch(part)
    assert state(place) == {".notes.serverkit-old-1": "old", "notes": "new"}
    assert os.stat(part.live).st_mode & 0o7777 == os.stat(tmp_path / "source").st_mode & 0o7777
    binds.back(part)
    binds.back(part)
    binds.discard(part, part.fresh)
    binds.discard(part, part.fresh)
    assert state(place) == {"notes": "old"}


def test_a_single_file_is_replaced_by_a_file(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "notes").write_text("new")
    (place / "notes").chmod(0o640)
    content = archived(place / "notes", tmp_path / "file.tar.zst")
    (place / "notes").write_text("old")
    part, binds = bind(place), Binds()
    binds.stage(part, content, str(tmp_path / "file.tar.zst"))
    binds.switch(part)
    assert state(place) == {".notes.serverkit-old-1": "old", "notes": "new"}
    binds.discard(part, part.kept)
    assert state(place) == {"notes": "new"}


def test_a_directory_that_is_gone_comes_back(tmp_path: pathlib.Path, content: TreeArchive) -> None:
    part, binds = bind(tmp_path / "gone", existed=False), Binds()
    assert not binds.exists(part)
    binds.stage(part, content, str(tmp_path / "tree.tar.zst"))
    binds.back(part)
    binds.switch(part)
    assert state(tmp_path / "gone") == {"notes": "new"}
    binds.back(part)
    assert not os.path.lexists(part.live)


def test_what_the_manifest_does_not_say_is_refused(tmp_path: pathlib.Path, place: pathlib.Path) -> None:
    (tmp_path / "source").mkdir()
    content = archived(tmp_path / "source", tmp_path / "tree.tar.zst")
    more = TreeArchive(content.name, content.source, 7, content.file)
    with pytest.raises(HostError, match="1 files and directories, and had 7"):
        Binds().stage(bind(place), more, str(tmp_path / "tree.tar.zst"))
    assert (place / "notes" / "note").read_text() == "old"


class Renames:
    """os.rename, of which only so many work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
        self._rename = os.rename
        self._left = allowed
        monkeypatch.setattr(os, "rename", self)

    def __call__(self, source: Any, target: Any) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1
        self._rename(source, target)


@pytest.mark.parametrize("forth", range(3))
@pytest.mark.parametrize("back", range(3))
@pytest.mark.parametrize("existed", [True, False])
def test_directories_are_put_back_from_wherever_a_kill_left_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, forth: int, back: int, existed: bool
) -> None:
    part, binds = bind(tmp_path, existed=existed), Binds()
    for name, text in ((part.live, "old"), (part.fresh, "new")):
        if existed or name != part.live:
            os.mkdir(name)
            pathlib.Path(name, "note").write_text(text)
    for step, allowed in ((binds.switch, forth), (binds.back, back), (binds.back, 9)):
        with monkeypatch.context() as patch:
            Renames(patch, allowed)
            with contextlib.suppress(Killed):
                step(part)
    assert state(tmp_path) == {".notes.serverkit-new-1": "new", **({"notes": "old"} if existed else {})}


class FakeVolumes(DockerVolumes):
    """Volumes as directories of a test, with the real way to change places."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._labels: dict[str, dict[str, str]] = {}
        self.left = 99

    def inspect(self, names: Any) -> dict[str, Volume]:
        return {
            name: Volume(name, mountpoint=str(self._root / name / "_data"), labels=self._labels.get(name, {}))
            for name in names
            if (self._root / name).is_dir()
        }

    def create(self, name: str, labels: Any) -> Volume:
        self._step()
        if not (self._root / name).exists():
            (self._root / name / "_data").mkdir(parents=True)
            self._labels[name] = dict(labels)
        return self.inspect([name])[name]

    def remove(self, names: Any) -> None:
        self._step()
        for name in names:
            for path in sorted((self._root / name).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            if (self._root / name).exists():
                (self._root / name).rmdir()

    def _step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


@pytest.mark.parametrize("forth", range(6))
@pytest.mark.parametrize("back", range(6))
@pytest.mark.parametrize("empty", ["", "live", "fresh", "both"])
def test_volumes_are_put_back_from_wherever_a_kill_left_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, forth: int, back: int, empty: str
) -> None:
    part = Part("volume", "data", "blog_data", "blog_data__new1", "blog_data__old1")
    fake = FakeVolumes(tmp_path)
    volumes = Volumes(cast("DockerVolumes", fake), "blog")
    for name, text, place in ((part.live, "old", "live"), (part.fresh, "new", "fresh")):
        fake.create(name, {})
        if empty not in (place, "both"):
            (tmp_path / name / "_data" / "note").write_text(text)
    rename = os.rename

    def counted(source: Any, target: Any) -> None:
        fake._step()
        rename(source, target)

    monkeypatch.setattr(os, "rename", counted)
    for step, allowed in ((volumes.switch, forth), (volumes.back, back), (volumes.back, 99)):
        fake.left = allowed
        with contextlib.suppress(Killed):
            step(part)
    fake.left = 99
    volumes.discard(part, part.fresh)
    assert [path.name for path in tmp_path.iterdir()] == [part.live]
    present = {path.name: path.read_text() for path in (tmp_path / part.live / "_data").iterdir()}
    assert present == ({} if empty in ("live", "both") else {"note": "old"})
