# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What restores ask of MongoDB, in its driver's words; a stand-in answers, or a real server where there is one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import cast

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mongodb import Mongodb
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mongodb import MongodbDumps
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Credentials
from database_links import PASSWORD, create, numbers
from database_servers import Server

SERVERS = [name for name in database_servers.AVAILABLE if name.startswith("mongodb")]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with database_servers.running(request.param) as found:
        yield found


@pytest.fixture
def engine(server: Server) -> Iterator[Mongodb]:
    found = cast("Mongodb", server.open())
    yield found
    found.close()


def write(engine: Mongodb, database: str, *collections: str) -> None:
    for name in collections:
        entry = {"query": {"_id": 1}, "update": {"_id": 1, "of": database}, "upsert": True}
        engine._command(database, "change", {"findAndModify": name, **entry})


@pytest.fixture
def access(server: Server, engine: Mongodb) -> Iterator[Access]:
    found = server.access(f"app_{next(numbers)}_{os.getpid()}")
    create(engine, found)
    write(engine, found.database, "goods", "fs.chunks")
    yield found
    engine.drop_user(found)
    for database in (found.database, f"{found.database}__new", f"{found.database}__old"):
        engine.drop_database(dataclasses.replace(found, database=database))


def test_moves_collections_and_remembers_how_far_it_came(engine: Mongodb, access: Access) -> None:
    live, fresh, kept = access.database, f"{access.database}__new", f"{access.database}__old"
    dumps = MongodbDumps(engine, "/nonexistent")
    write(engine, fresh, "goods", "orders")
    assert engine.estimates(live) == {"goods": 1, "fs.chunks": 1}
    for _again in range(2):
        dumps.switch(access, fresh, kept)
        assert engine.row_counts(live) == {"goods": 1, "orders": 1}
        assert engine.row_counts(kept) == {"fs.chunks": 1, "goods": 1}
        assert engine.collections(fresh) == []
    for _again in range(2):
        dumps.switch_back(access, kept, fresh)
        assert engine.row_counts(live) == {"fs.chunks": 1, "goods": 1}
        assert engine.row_counts(fresh) == {"goods": 1, "orders": 1}
        assert engine.collections(kept) == []
    for _again in range(2):
        dumps.discard(fresh, access)
    assert engine.collections(fresh) == []


def test_an_app_logs_in_where_it_belongs(server: Server, access: Access) -> None:
    own = Mongodb(server.door, Credentials(access.user, PASSWORD, access.database))
    own.connect()
    assert own.estimates(access.database) == {"goods": 1, "fs.chunks": 1}
    assert f"?authSource={access.database}" in own.address()
    own.close()
