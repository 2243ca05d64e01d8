# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of an app's backup sets: what counts as one, what is left over, what is noted beside them."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import MANIFEST, BackupSets, apps
from ansible_collections.serverkit.core.plugins.module_utils._plan.manifest import to_text
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, StoredFile

IDS = ("20260131T031500Z", "20260131T031500Z-2", "20260131T031500Z-10", "20260201T031500Z")


@pytest.fixture
def sets(tmp_path: pathlib.Path) -> BackupSets:
    return BackupSets("blog", str(tmp_path / "backups"))


def put(sets: BackupSets, identity: str, app: str = "blog") -> Manifest:
    """A set of which nobody has looked into the files."""
    top = pathlib.Path(sets.path(identity))
    top.mkdir(parents=True)
    (top / "release.tar.zst").write_bytes(b"12345")
    manifest = Manifest(app, identity, "", "host", "asked", "pause", 1.0, StoredFile("release.tar.zst", 5, 9, "0" * 64))
    (top / MANIFEST).write_text(to_text(manifest))
    return manifest


def test_nothing_is_there_at_first(sets: BackupSets) -> None:
    assert (sets.list(), sets.damaged(), sets.leftovers(), sets.state()) == ((), (), (), {})
    assert apps(sets.root) == ()
    assert not os.path.exists(sets.root)
    sets.abandon()
    sets.remove([IDS[0]])


def test_sets_are_listed_by_age(sets: BackupSets) -> None:
    manifests = tuple(put(sets, identity) for identity in IDS)
    assert sets.list() == manifests
    assert sets.identities() == IDS
    assert sets.load(IDS[1]) == manifests[1]
    assert apps(sets.root) == ("blog",)


def test_what_is_none_is_told_apart_from_what_is_damaged(sets: BackupSets) -> None:
    good = put(sets, IDS[0])
    put(sets, IDS[1], app="shop")
    put(sets, IDS[2])
    os.truncate(f"{sets.path(IDS[2])}/release.tar.zst", 4)
    os.mkdir(sets.path(IDS[3]))
    for other in ("lost+found", ".restore", f".{IDS[0]}.partial", "20260132T000000Z", "notes", f"{IDS[0]} copy"):
        os.mkdir(os.path.join(sets.directory, other))
    pathlib.Path(sets.directory, "20260202T000000Z").write_text("a file")
    assert sets.list() == (good,)
    assert sets.damaged() == (*IDS[1:], "20260202T000000Z")
    assert sets.leftovers() == (f".{IDS[0]}.partial",)


def test_a_set_begins_in_private_and_without_leftovers(sets: BackupSets) -> None:
    good = put(sets, IDS[0])
    os.makedirs(os.path.join(sets.directory, f".{IDS[1]}.partial", "mysql"))
    os.makedirs(os.path.join(sets.directory, f".{IDS[2]}.removed", "mysql"))
    partial = sets.begin(IDS[3])
    assert partial == sets.partial(IDS[3])
    assert sets.leftovers() == (os.path.basename(partial),)
    assert sets.list() == (good,)
    assert sorted(os.listdir(partial)) == ["binds", "mongodb", "mysql", "postgres", "redis", "volumes"]
    for path in (sets.root, sets.directory, partial, f"{partial}/mysql"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    with pytest.raises(HostError, match="is there already"):
        sets.begin(IDS[0])


@pytest.mark.parametrize("identity", ["../../etc", "", ".", "20260131T031500Z/..", "20260131T031500Z\n", "notes"])
def test_no_name_leads_elsewhere(sets: BackupSets, identity: str) -> None:
    for method in (sets.path, sets.partial, sets.load, sets.verify, sets.begin, lambda name: sets.remove([name])):
        with pytest.raises(InputError, match="the name of a backup set"):
            method(identity)


def test_notes_are_kept_in_private(sets: BackupSets) -> None:
    sets.put_state({"attempt": {"error": "the disk is full"}})
    assert sets.state() == {"attempt": {"error": "the disk is full"}}
    assert stat.S_IMODE(os.stat(f"{sets.directory}/state.json").st_mode) == 0o600
    assert apps(sets.root) == ("blog",)
    for text in ("", "[1]", '{"attem'):
        pathlib.Path(sets.directory, "state.json").write_text(text)
        assert sets.state() == {}


def test_what_nobody_may_read_is_an_error(sets: BackupSets) -> None:
    pathlib.Path(sets.root).mkdir()
    pathlib.Path(sets.directory).write_text("a file")
    with pytest.raises(HostError, match="Not a directory"):
        sets.list()
    with pytest.raises(HostError, match="make the directory"):
        sets.begin(IDS[0])


def test_notes_that_were_never_finished_go_with_the_next_set(sets: BackupSets) -> None:
    sets.put_state({"kept": []})
    for name in (".state.json.a1b2c3", ".state.json.x_y"):
        pathlib.Path(sets.directory, name).write_text("{")
    pathlib.Path(sets.directory, ".state.jsonx").write_text("somebody's")
    sets.begin(IDS[0])
    assert sorted(os.listdir(sets.directory)) == [f".{IDS[0]}.partial", ".state.jsonx", "state.json"]
