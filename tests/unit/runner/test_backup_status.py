# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_settings import BackupSettings
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan import manifest as manifests
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_status import (
    BackupStatus,
    WantedApps,
    statuses,
    wanted_apps,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Journal, Remains, path_of
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, StoredFile, new_set_id
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands


def settings(root: pathlib.Path, **changes: object) -> BackupSettings:
    return dataclasses.replace(BackupSettings(directory=str(root), max_age="26h"), **changes)  # type: ignore[arg-type]


def make(root: pathlib.Path, hours: float) -> str:
    moment = dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=hours)
    name = new_set_id(moment)
    release = StoredFile("release.tar.zst", 100, 1000, "0" * 64)
    manifest = Manifest("blog", name, moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "web1", "asked", "pause", 1.0, release)
    directory = root / "blog" / name
    directory.mkdir(parents=True)
    (directory / "release.tar.zst").write_bytes(b"x" * 100)
    (directory / "manifest.json").write_text(manifests.to_text(manifest))
    return name


def status(root: pathlib.Path, **changes: object) -> BackupStatus:
    (found,) = statuses(["blog"], settings(root, **changes))
    return found


def test_a_fresh_one_is_well(tmp_path: pathlib.Path) -> None:
    make(tmp_path, 50)
    name = make(tmp_path, 3)
    found = status(tmp_path)
    assert (found.set, found.sets, found.size, found.problems) == (name, 2, 100, ())
    assert found.age // 3600 == 3
    assert found.facts["ok"]


def test_none_at_all_is_told(tmp_path: pathlib.Path) -> None:
    assert status(tmp_path).problems == ("there is no backup",)
    assert not status(tmp_path).facts["ok"]


def test_an_old_one_is_told(tmp_path: pathlib.Path) -> None:
    make(tmp_path, 27)
    assert status(tmp_path).problems == ("the newest one is 27 hours old, and 26h are allowed",)
    assert status(tmp_path, max_age="2d").problems == ()


def test_a_failure_after_a_fresh_one_is_told(tmp_path: pathlib.Path) -> None:
    make(tmp_path, 3)
    backup_state.failed(BackupSets("blog", str(tmp_path)), "scheduled", HostError("dump blog", "the server is down"))
    (problem,) = status(tmp_path).problems
    assert "failed" in problem
    assert "the server is down" in problem


def test_one_that_was_cut_short_is_told(tmp_path: pathlib.Path) -> None:
    make(tmp_path, 3)
    backup_state.begin(BackupSets("blog", str(tmp_path)), "scheduled")
    assert "cut short" in status(tmp_path).problems[0]


def test_one_that_is_not_elsewhere_is_told(tmp_path: pathlib.Path) -> None:
    name = make(tmp_path, 3)
    repository = {"url": "/srv/far", "password": "secret"}
    assert status(tmp_path, repository=repository).problems == ("the newest one is not in the repository",)
    backup_state.update(BackupSets("blog", str(tmp_path)), snapshots={name: "0a1b2c3d"})
    found = status(tmp_path, repository=repository)
    assert (found.problems, found.snapshot) == ((), "0a1b2c3d")


def test_a_limit_that_is_none_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no duration"):
        status(tmp_path, max_age="yesterday")


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        for name in ("blog", "blog-drill", "shop"):
            registry.put_app(AppRecord(name, "wordpress", "1", "present", "0"))
    return Host(FakeCommands(), Settings(), False, lambda _secret: None)


def test_what_a_cut_off_drill_has_left_is_no_app_to_be_backed_up(tmp_path: pathlib.Path, host: Host) -> None:
    root = str(tmp_path / "apps")
    assert wanted_apps(BackupSettings(), host, root) == WantedApps(("blog", "blog-drill", "shop"))
    Remains(host, root).begin(Journal("blog-drill", "20260131T031500Z", drill=True))
    assert wanted_apps(BackupSettings(), host, root) == WantedApps(("blog", "shop"), ("blog-drill",))
    assert wanted_apps(BackupSettings(exclude_apps=("shop", "blog-drill")), host, root) == WantedApps(("blog",))
    assert wanted_apps(BackupSettings(apps=("shop",)), host, root) == WantedApps(("shop",))


def test_a_damaged_journal_keeps_no_other_app_from_its_backup(tmp_path: pathlib.Path, host: Host) -> None:
    path = pathlib.Path(path_of(str(tmp_path / "apps"), "shop"))
    path.parent.mkdir()
    path.write_text("{")
    assert wanted_apps(BackupSettings(), host, str(tmp_path / "apps")).apps == ("blog", "blog-drill", "shop")
