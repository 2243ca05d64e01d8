# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of database servers before an app is made of a backup set."""

from __future__ import annotations

import pathlib
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement import Place, PlacedLink
from ansible_collections.serverkit.core.plugins.module_utils._runner import restore_placing
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_placing import Placing
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

ROW = DatabaseLink("blog", "mariadb", "mariadb", "mysql:///run/mysqld/mysqld.sock", "blog", "blog", "owner", "h", 3306)


def asked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, int] | None) -> Any:
    """Plan the links of an app whose database has these rows; None where there is none."""
    planned = SimpleNamespace(
        draft=SimpleNamespace(server="the server", link=ROW), state=SimpleNamespace(database_exists=rows is not None)
    )
    engine = SimpleNamespace(row_counts=lambda database: {"blog": rows}[database])
    servers = SimpleNamespace(engine=lambda server: engine, close=lambda: None)
    monkeypatch.setattr(restore_placing, "Servers", lambda *arguments: servers)
    monkeypatch.setattr(restore_placing, "Planner", lambda *arguments: SimpleNamespace(plan=lambda wanted: [planned]))
    host = Host(FakeCommands(), Settings(), False, lambda _secret: None)
    placing = Placing(host, BackupSets("blog", str(tmp_path)), str(tmp_path / "apps"))
    draft: Any = SimpleNamespace(
        links=(PlacedLink(ROW),), environment={}, place=Place("blog", "blog", "/apps/blog", "/apps/blog")
    )
    return placing._links(draft, {})


def test_a_database_that_an_app_has_left_is_not_loaded_over(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(asked(tmp_path, monkeypatch, None)) == ["mariadb"]
    assert list(asked(tmp_path, monkeypatch, {})) == ["mariadb"]
    # It would be deleted, too, when the restore failed later.
    with pytest.raises(ConflictError, match="with 3 rows in it"):
        asked(tmp_path, monkeypatch, {"posts": 3})
