# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the program that hosts run by themselves: what they say and end with."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from ansible_collections.serverkit.core.plugins.module_utils import _program as program
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import settings
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_status import BackupStatus, WantedApps
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import BackupRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest

FACTS = {"set": "20260101T030000Z", "size": 1_234_567, "seconds": 1.5, "snapshot": "0a1b2c3d", "removed": ["x", "y"]}


class FakeResource:
    """Instead of the host: items whose app is `broken` fail, that of `crash` in a way that nobody has foreseen."""

    kind = "backup"
    seen: ClassVar[list[Any]] = []
    options: ClassVar[list[Mapping[str, Any]]] = []

    def __init__(self, _host: object, options: Mapping[str, Any]) -> None:
        self.options.append(options)


def converge(_resource: FakeResource, items: Sequence[BackupRequest | RestoreRequest], *, check: bool) -> list[Outcome]:
    assert not check
    FakeResource.seen += items
    (item,) = items
    if item.app == "crash":
        raise OSError("no space left on device")
    if item.app == "broken":
        return [Failure(item.name, HostError("dump broken with the-pass-word", "its server is down"))]
    facts = {**FACTS, "data_age": 7200, "drill": {"status": 200}} if isinstance(item, RestoreRequest) else FACTS
    return [Success(item.name, True, (), facts, ("somewhat strange",))]


@pytest.fixture(autouse=True)
def _instead_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeResource.seen, FakeResource.options = [], []
    monkeypatch.setattr(program, "Backups", FakeResource)
    monkeypatch.setattr(program, "Restores", FakeResource)
    monkeypatch.setattr(program, "converge", converge)
    monkeypatch.setattr(locks, "held", lambda _name: contextlib.nullcontext(3))
    monkeypatch.setattr(settings, "load", settings.Settings)


@pytest.fixture
def config(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "backup.yaml"
    path.write_text("apps: [blog, broken, crash, shop]\nitems: {shop: {quiesce: stop}}\n")
    return str(path)


def test_one_that_fails_stops_no_other_and_is_told(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--config", config, "backup"]) == 1
    told = capsys.readouterr()
    line = "20260101T030000Z, 1 MB in 1.5 s, copied as 0a1b2c3d, 2 older ones removed"
    assert told.out.splitlines() == [f"blog: {line}", f"shop: {line}"]
    assert "broken: FAILED. Could not dump broken" in told.err
    assert "crash: FAILED. Could not work on the backups of crash: no space left on device." in told.err
    assert "blog: warning: somewhat strange" in told.err


def test_all_well_is_0_and_defaults_go_for_those_that_say_nothing(config: str) -> None:
    assert program.main(["--config", config, "backup", "--app", "blog", "--app", "shop"]) == 0
    blog, shop = FakeResource.seen
    assert (blog.keep.daily, blog.options.quiesce, shop.options.quiesce) == (7, None, "stop")
    assert FakeResource.options[0]["reason"] == "scheduled"


def test_json_is_a_line_for_each(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--config", config, "backup", "--json"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["name"], one["failed"]) for one in told] == [
        ("blog", False),
        ("broken", True),
        ("crash", True),
        ("shop", False),
    ]


def test_a_drill_is_one(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--config", config, "drill", "--app", "blog"]) == 0
    assert FakeResource.seen[0].drill
    assert "can be restored, 1.5 s, the data are 2 h old" in capsys.readouterr().out


def test_a_check_fails_for_a_problem(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    well = BackupStatus("blog", "20260101T030000Z", "2026-01-01T03:00:00Z", 7200, 1000)
    bad = BackupStatus("shop", problems=("there is no backup", "the last try failed"))
    monkeypatch.setattr(program, "statuses", lambda _apps, _settings: (well, bad))
    assert program.main(["--config", config, "backup", "--check"]) == 1
    told = capsys.readouterr()
    assert told.out == "blog: 20260101T030000Z, 2 h old, 1 kB\n"
    assert told.err == "shop: there is no backup; the last try failed\n"
    assert not FakeResource.seen
    # The fact is there to tell, not to fail.
    assert program.main(["--config", config, "facts"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert not facts["ok"]
    assert facts["apps"]["blog"]["ok"]
    monkeypatch.setattr(program, "statuses", lambda _apps, _settings: (well,))
    assert program.main(["--config", config, "backup", "--check"]) == 0


def test_secrets_of_the_settings_are_not_said(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("apps: [broken]\nrepository: {url: /nowhere, password: the-pass-word}\n")
    assert program.main(["--config", str(path), "backup"]) == 1
    told = capsys.readouterr()
    assert "broken: FAILED" in told.err
    assert "the-pass-word" not in told.out + told.err


def test_an_app_that_is_left_out_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "wanted_apps", lambda _settings, _host: WantedApps(("blog",), ("blog-drill",)))
    path = tmp_path / "backup.yaml"
    path.write_text("max_age: 26h\n")
    assert program.main(["--config", str(path), "backup"]) == 0
    assert [item.app for item in FakeResource.seen] == ["blog"]
    assert "blog-drill: left out, since a restore or a drill" in capsys.readouterr().err
