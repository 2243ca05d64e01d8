# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an app that is being made of a backup set: what it was, it is again when it is read."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner import restore_remains
from ansible_collections.serverkit.core.plugins.module_utils._runner.apps import Apps
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Journal, Remains
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands, NoPrograms

JOURNAL = Journal(
    "twin",
    "20260131T031500Z",
    volumes=("twin_data",),
    directories=("/srv/media",),
    filled=("/srv/empty",),
    links={"mariadb": "mariadb"},
    carried=("own",),
    ports=("HTTP_PORT",),
    template="shop",
)


@pytest.fixture
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    keywords = locks.held.__wrapped__.__kwdefaults__  # type: ignore[attr-defined]
    monkeypatch.setitem(keywords, "directory", str(tmp_path / "locks"))
    return str(tmp_path / "apps")


@pytest.fixture
def remains(root: str) -> Remains:
    return Remains(Host(FakeCommands(), Settings(), False, lambda _secret: None), root)


def record(*, confirmed: bool) -> None:
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.put_app(AppRecord("twin", "shop", "1", "started", "hash", confirmed=confirmed))


def test_a_journal_is_read_as_it_was_written_and_nobody_else_can(root: str, remains: Remains) -> None:
    assert remains.read("twin") is None
    remains.begin(JOURNAL)
    path = pathlib.Path(restore_remains.path_of(root, "twin"))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert remains.read("twin") == JOURNAL
    remains.finish("twin")
    assert not path.parent.exists()
    remains.finish("twin")


def test_an_app_that_serves_is_finished_and_a_drill_never_is(remains: Remains) -> None:
    remains.begin(JOURNAL)
    record(confirmed=False)
    assert remains.read("twin") == JOURNAL
    record(confirmed=True)
    assert remains.read("twin") is None
    drill = dataclasses.replace(JOURNAL, drill=True)
    remains.begin(drill)
    assert remains.read("twin") == drill


@pytest.mark.parametrize("text", ["", "[]", '{"name": "twin"}', '{"volumes": 1}'])
def test_a_damaged_journal_is_told(root: str, remains: Remains, text: str) -> None:
    remains.begin(JOURNAL)
    pathlib.Path(restore_remains.path_of(root, "twin")).write_text(text)
    with pytest.raises(HostError, match="it is damaged"):
        remains.read("twin")


def test_an_app_that_was_removed_is_not_taken_for_an_unfinished_one(root: str, remains: Remains) -> None:
    remains.begin(JOURNAL)
    record(confirmed=True)
    host = Host(NoPrograms(), Settings(), False, lambda _secret: None)
    outcome = converge(Apps(host, {}, root), [AppRequest("twin", state="absent")], check=False)[0]
    assert isinstance(outcome, Success), outcome
    # Else the next restore would delete the data that the removal has left.
    assert remains.read("twin") is None
