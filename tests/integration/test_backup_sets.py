# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backup sets on the disk: whole or not there, and what is damaged is refused."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import backup_files
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.archives import archive
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, StoredFile, TreeArchive
from backup_files import noise

pytestmark = pytest.mark.real

ID = "20260131T031500Z"
OTHER = "20260201T031500Z"


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of one megabyte."""
    with backup_files.small_disk(tmp_path) as place:
        yield place


def make_set(sets: BackupSets, identity: str = ID, size: int = 200_000) -> Manifest:
    """A set of a release and a volume."""
    partial = sets.begin(identity)
    source = pathlib.Path(sets.root).parent / f"source {sets.app} {identity}"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    (source / identity).write_bytes(noise(size))
    release, _entries = archive(str(source), f"{partial}/release.tar.zst")
    data, entries = archive(str(source), f"{partial}/volumes/data.tar.zst")
    manifest = Manifest(
        app=sets.app,
        id=identity,
        created="2026-01-31T03:15:00Z",
        host="host",
        reason="asked",
        quiesce="pause",
        seconds=1.5,
        release=_file("release.tar.zst", release),
        volumes=(TreeArchive("data", f"{sets.app}_data", entries, _file("volumes/data.tar.zst", data)),),
    )
    sets.finish(manifest)
    return manifest


def _file(path: str, stored: streams.Stored) -> StoredFile:
    return StoredFile(path, stored.size, stored.content_size, stored.sha256)


@pytest.fixture
def sets(tmp_path: pathlib.Path) -> BackupSets:
    return BackupSets("blog", str(tmp_path / "backups"))


def test_a_set_is_there_as_a_whole_and_private(sets: BackupSets) -> None:
    manifest = make_set(sets)
    assert sets.list() == (manifest,)
    assert sets.verify(ID) == manifest
    top = pathlib.Path(sets.path(ID))
    assert sorted(str(path.relative_to(top)) for path in top.rglob("*")) == [
        "manifest.json",
        "release.tar.zst",
        "volumes",
        "volumes/data.tar.zst",
    ]
    for path in [pathlib.Path(sets.directory), top, *top.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    with pytest.raises(HostError, match="is there already"):
        sets.begin(ID)


Damage = Callable[[pathlib.Path, pathlib.Path], None]


def _truncate(path: pathlib.Path, _other: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


def _append(path: pathlib.Path, _other: pathlib.Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"x")


def _flip(path: pathlib.Path, _other: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _swap(path: pathlib.Path, other: pathlib.Path) -> None:
    shutil.copy(other, path)


def _remove(path: pathlib.Path, _other: pathlib.Path) -> None:
    path.unlink()


def _link(path: pathlib.Path, other: pathlib.Path) -> None:
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("name", ["manifest.json", "release.tar.zst", "volumes/data.tar.zst"])
@pytest.mark.parametrize("damage", [_truncate, _append, _flip, _swap, _remove, _link])
def test_a_damaged_set_is_refused(sets: BackupSets, damage: Damage, name: str) -> None:
    make_set(sets)
    good = make_set(sets, OTHER)
    damage(pathlib.Path(sets.path(ID), name), pathlib.Path(sets.path(OTHER), name))
    with pytest.raises(InputError) as caught:
        sets.verify(ID)
    assert f"{ID}/{name}" in str(caught.value)
    assert sets.verify(OTHER) == good
    # A flipped bit, or another file of the same length, takes reading all of it.
    if (damage is not _flip and damage is not _swap) or name == "manifest.json":
        assert sets.list() == (good,)
        assert sets.damaged() == (ID,)


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"format": 2}', '{"format": "1"}', "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(sets: BackupSets, text: str) -> None:
    make_set(sets)
    pathlib.Path(sets.path(ID), "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        sets.verify(ID)
    assert sets.list() == ()


def test_a_set_in_another_ones_place_is_refused(sets: BackupSets) -> None:
    make_set(sets)
    make_set(sets, OTHER)
    shutil.rmtree(sets.path(OTHER))
    os.rename(sets.path(ID), sets.path(OTHER))
    with pytest.raises(InputError, match=f"that of the set {ID} of the app blog, and not of {OTHER}"):
        sets.verify(OTHER)
    shop = BackupSets("shop", sets.root)
    shop.begin(ID, ())
    shutil.rmtree(shop.partial(ID))
    shutil.copytree(sets.path(OTHER), shop.path(ID))
    with pytest.raises(InputError, match="of the app blog, and not of"):
        shop.verify(ID)


def test_a_set_that_is_not_what_its_manifest_says_gets_no_name(sets: BackupSets) -> None:
    good = make_set(sets)
    partial = sets.begin(OTHER)
    stored = streams.store([b"x" * 1000], f"{partial}/release.tar.zst")
    wrong = StoredFile("release.tar.zst", stored.size, stored.content_size + 1, stored.sha256)
    manifest = Manifest("blog", OTHER, "", "", "asked", "none", 0.0, wrong)
    with pytest.raises(InputError, match="1000 bytes are in it, and the manifest says 1001"):
        sets.finish(manifest)
    assert sets.list() == (good,)
    sets.abandon()
    assert os.listdir(sets.directory) == [ID]


def test_a_set_from_elsewhere_is_verified_before_it_is_ours(sets: BackupSets, tmp_path: pathlib.Path) -> None:
    manifest = make_set(sets)
    fetched = BackupSets("blog", str(tmp_path / "elsewhere"))
    for damaged in (True, False):
        partial = pathlib.Path(fetched.begin(ID, ()))
        shutil.copytree(sets.path(ID), partial, dirs_exist_ok=True)
        os.chmod(partial / "release.tar.zst", 0o644)
        if damaged:
            _flip(partial / "volumes" / "data.tar.zst", partial)
            with pytest.raises(InputError, match=r"data\.tar\.zst"):
                fetched.adopt(ID)
            assert fetched.list() == ()
        else:
            assert fetched.adopt(ID) == manifest
    assert stat.S_IMODE(os.stat(f"{fetched.path(ID)}/release.tar.zst").st_mode) == 0o600
    assert fetched.leftovers() == ()


def test_a_full_disk_leaves_the_old_sets(small_disk: pathlib.Path) -> None:
    sets = BackupSets("blog", str(small_disk / "backups"))
    good = make_set(sets)
    with pytest.raises(HostError, match="No space left on device"):
        make_set(sets, OTHER, size=400_000)
    assert sets.list() == (good,)
    assert sets.verify(ID) == good


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a fresh Python can import this checkout's collection."""
    tree = tmp_path_factory.mktemp("tree")
    (tree / "ansible_collections" / "serverkit").mkdir(parents=True)
    root = pathlib.Path(__file__).resolve().parents[2]
    (tree / "ansible_collections" / "serverkit" / "core").symlink_to(root, target_is_directory=True)
    return {**os.environ, "PYTHONPATH": str(tree)}


_TAKING = """
import sys
from ansible_collections.serverkit.core.plugins.module_utils._edges import processes, streams
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
partial = BackupSets("blog", sys.argv[1]).begin(sys.argv[2])
endless = processes.Program(("sh", "-c", "while :; do echo row; done", sys.argv[3]))
streams.store(endless, partial + "/mysql/x.sql.zst")
"""


def test_a_killed_run_leaves_no_program_and_no_set(sets: BackupSets, environment: dict[str, str]) -> None:
    good = make_set(sets)
    mark = f"killed-{uuid.uuid4()}"
    for number in range(5):
        argv = [sys.executable, "-c", _TAKING, sets.root, f"20260301T00000{number}Z", mark]
        with subprocess.Popen(argv, env=environment) as process:
            unfinished = pathlib.Path(sets.partial(f"20260301T00000{number}Z"), "mysql", "x.sql.zst")
            _wait(unfinished.exists)
            time.sleep(number / 50)
            process.send_signal(signal.SIGKILL)
        _wait(lambda: not _programs_with(mark))
        assert sets.list() == (good,)
        assert len(sets.leftovers()) == 1
    assert make_set(sets, OTHER) in sets.list()
    assert sorted(os.listdir(sets.directory)) == [ID, OTHER]


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _programs_with(mark: str) -> list[str]:
    done = subprocess.run(["ps", "-eo", "args="], stdout=subprocess.PIPE, text=True, check=True)
    return [line for line in done.stdout.splitlines() if mark in line and sys.executable not in line]


def test_a_removal_that_was_cut_short_is_finished(sets: BackupSets) -> None:
    make_set(sets)
    good = make_set(sets, OTHER)
    os.rename(sets.path(ID), f"{sets.directory}/.{ID}.removed")
    assert sets.list() == (good,)
    assert sets.leftovers() == (f".{ID}.removed",)
    sets.remove([ID])
    sets.remove([ID, OTHER])
    assert os.listdir(sets.directory) == []
