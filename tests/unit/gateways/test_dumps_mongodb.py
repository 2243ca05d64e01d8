# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of MongoDB at the edge of its programs, and the moving of collections with a server that is a dictionary.

MongoDB's programs and server are not run here: what they are asked for is compared with their manual.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mongodb import MARKER, Mongodb
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mongodb import MongodbDumps
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseTls,
    Endpoint,
)

PASSWORD = "p@ss:w/rd?&%"
MAGIC = b"\x6d\xe2\x99\x81"
END = b"\x08EOF\x00\x01\x12CRC\x00\x0a\x00\xff\x01\x00\x00\x00\x02\x00\xff\xff\xff\xff"
WHOLE = MAGIC + b"head \x02collection\x00 metadata \xff\xff\xff\xff documents" + END
EMPTY = MAGIC + b"head\x00\xff\xff\xff\xff"
LIVE = Access("mongodb", "shop", "shop")

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
Databases = dict[str, dict[str, dict[str, Any]]]


class Killed(Exception):
    """What ends a run of ours at once."""


def collection(count: int, kind: str = "collection", **options: Any) -> dict[str, Any]:
    return {"type": kind, "options": options, "n": count}


class FakeMongodb(Mongodb):
    """Databases with collections of so many documents; the server is gone after `patience` commands that write."""

    def __init__(
        self, databases: Databases, admin: Credentials | None = None, endpoint: Endpoint | None = None
    ) -> None:
        super().__init__(endpoint or Endpoint("mongodb"), admin or Credentials("root", PASSWORD))
        self.databases = databases
        self.patience = 10000

    def version(self) -> str:
        return "MongoDB 7.0.14"

    def row_counts(self, database: str) -> dict[str, int]:
        return self.estimates(database)

    def _command(
        self, database: str, verb: str, command: Mapping[str, Any], secret: str = "", tolerated: int = 0
    ) -> Mapping[str, Any]:
        name = next(iter(command))
        if verb == "change":
            if self.patience == 0:
                raise Killed
            self.patience -= 1
        answer: Mapping[str, Any] = getattr(self, f"_on_{_WORDS.sub(r'_', name).lower()}")(
            self.databases.get(database, {}), database, dict(command)
        )
        self.databases = {known: found for known, found in self.databases.items() if found}
        return answer

    def _on_list_collections(self, known: Mapping[str, Any], _database: str, _command: Any) -> Mapping[str, Any]:
        found = [{"name": name, "type": one["type"], "options": one["options"]} for name, one in known.items()]
        return {"cursor": {"firstBatch": found}}

    def _on_count(self, known: Mapping[str, Any], _database: str, command: Any) -> Mapping[str, Any]:
        return {"n": known[command["count"]]["n"]}

    def _on_find(self, known: Mapping[str, Any], _database: str, command: Any) -> Mapping[str, Any]:
        found = known.get(command["find"])
        return {"cursor": {"firstBatch": [{"_id": 1, "state": found["state"]}] if found else []}}

    def _on_find_and_modify(self, known: Any, database: str, command: Any) -> Mapping[str, Any]:
        self.databases.setdefault(database, {})[MARKER] = collection(1) | {"state": command["update"]["state"]}
        return {}

    def _on_drop(self, known: Any, _database: str, command: Any) -> Mapping[str, Any]:
        known.pop(command["drop"], None)
        return {}

    def _on_create(self, known: Any, database: str, command: Any) -> Mapping[str, Any]:
        options = {name: value for name, value in command.items() if name != "create"}
        assert command["create"] not in known
        self.databases.setdefault(database, {})[command["create"]] = collection(0, "view", **options)
        return {}

    def _on_rename_collection(self, _known: Any, database: str, command: Any) -> Mapping[str, Any]:
        assert (database, command["dropTarget"]) == ("admin", True)
        (source, old), (target, new) = (command[key].split(".", 1) for key in ("renameCollection", "to"))
        self.databases.setdefault(target, {})[new] = self.databases[source].pop(old)
        return {}

    def _on_drop_database(self, known: Any, _database: str, _command: Any) -> Mapping[str, Any]:
        known.clear()
        return {}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The programs that would have been run; mongodump prints an archive of a collection."""
    found: list[Program] = []

    def store(source: Program, path: str, secrets: Any) -> streams.Stored:
        found.append(source)
        pathlib.Path(path).write_bytes(WHOLE)
        return streams.Stored(len(WHOLE), len(WHOLE), "", WHOLE)

    monkeypatch.setattr(streams, "store", store)
    monkeypatch.setattr(streams, "load", lambda _path, target, _secrets: found.append(target))
    return found


def databases() -> Databases:
    view = collection(0, "view", viewOn="goods", pipeline=[])
    return {
        "shop": {"goods": collection(3), "fs.chunks": collection(4), "cheap": view},
        "shop__new": {"goods": collection(30), "orders": collection(5), "cheap": view},
        "blog": {"posts": collection(1)},
    }


def test_dumps_one_database_with_the_password_in_a_file_of_ours(
    programs: list[Program], tmp_path: pathlib.Path
) -> None:
    server = FakeMongodb(databases())
    dumped = MongodbDumps(server, str(tmp_path)).dump(LIVE, str(tmp_path / "dump"))
    assert (dumped.rows, dumped.moving, dumped.version) == ({"goods": 3, "fs.chunks": 4}, (), "MongoDB 7.0.14")
    (program,) = programs
    config = tmp_path / "mongodb.yaml"
    exclude = f"--excludeCollection={MARKER}"
    assert program.argv == ("mongodump", f"--config={config}", "--db=shop", exclude, "--archive")
    assert program.environment == {}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    uri = "mongodb://root:p%40ss%3Aw%2Frd%3F%26%25@127.0.0.1:27017/?authSource=admin"
    assert json.loads(config.read_text()) == {"uri": uri}


@pytest.mark.parametrize(
    ("endpoint", "admin", "address"),
    [
        (Endpoint("mongodb", socket="/run/m/x.sock"), None, "mongodb://root@%2Frun%2Fm%2Fx.sock/?authSource=admin"),
        (Endpoint("mongodb", "::1", 2), Credentials("a", "b", "shop"), "mongodb://a:b@[::1]:2/?authSource=shop"),
        (
            Endpoint("mongodb", "db", tls=DatabaseTls("require")),
            Credentials("a", "b"),
            "mongodb://a:b@db:27017/?authSource=admin&tls=true&tlsInsecure=true",
        ),
        (
            Endpoint("mongodb", "db", tls=DatabaseTls("verify-full", ca="/c a.pem")),
            Credentials("a", "b"),
            "mongodb://a:b@db:27017/?authSource=admin&tls=true&tlsCAFile=%2Fc%20a.pem",
        ),
    ],
)
def test_tells_the_programs_where_the_server_is(endpoint: Endpoint, admin: Credentials | None, address: str) -> None:
    assert FakeMongodb({}, admin or Credentials("root"), endpoint).address().replace("root:@", "root@") == address


def test_loads_into_a_database_of_another_name(programs: list[Program], tmp_path: pathlib.Path) -> None:
    server = FakeMongodb({})
    MongodbDumps(server, str(tmp_path)).load(str(tmp_path / "dump"), Access("mongodb", "shop__new", "shop"))
    assert programs[0].argv[2:] == (
        "--archive",
        "--stopOnError",
        "--nsFrom=$database$.$collection$",
        "--nsTo=shop__new.$collection$",
    )


def test_tells_which_collections_were_written_to_meanwhile(
    programs: list[Program], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeMongodb(databases())
    numbers = iter([{"goods": 3, "gone": 1, "still": 1}, {"goods": 4, "new": 1, "still": 1}])
    monkeypatch.setattr(server, "row_counts", lambda _database: {"goods": 3})
    monkeypatch.setattr(server, "estimates", lambda _database: next(numbers))
    dumped = MongodbDumps(server, str(tmp_path)).dump(LIVE, str(tmp_path / "dump"))
    assert dumped.moving == ("gone", "goods", "new")


@pytest.mark.parametrize("content", [WHOLE[:-1], WHOLE[:-30], EMPTY, b"", MAGIC])
def test_refuses_a_dump_without_its_end(
    content: bytes, programs: list[Program], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps = MongodbDumps(FakeMongodb(databases()), str(tmp_path))
    path = str(tmp_path / "dump")

    def store(source: Program, path: str, secrets: Any) -> streams.Stored:
        pathlib.Path(path).write_bytes(content)
        return streams.Stored(len(content), len(content), "", content)

    monkeypatch.setattr(streams, "store", store)
    with pytest.raises(HostError, match="does not end as a complete archive"):
        dumps.dump(LIVE, path)
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (WHOLE, ""),
        (EMPTY, ""),
        (WHOLE[:-1], "complete"),
        (WHOLE[: -len(END)] + b"\xff" * 4, "complete"),
        (b"x", "none"),
    ],
)
def test_checks_a_dump_that_was_read_back(
    content: bytes, problem: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reading:
        def __enter__(self) -> Iterator[bytes]:
            return iter([content])

        def __exit__(self, *_error: object) -> None:
            pass

    monkeypatch.setattr(streams, "read", lambda _path: Reading())
    dumps = MongodbDumps(FakeMongodb({}), str(tmp_path))
    stored = streams.Stored(len(content), len(content), "", content)
    if problem:
        with pytest.raises(HostError, match=problem):
            dumps.check(stored, "dump")
    else:
        dumps.check(stored, "dump")


def contents(server: FakeMongodb) -> dict[str, dict[str, int]]:
    """The apps' documents, without what a restore noted."""
    found = {
        name: {one: value["n"] for one, value in known.items() if one != MARKER}
        for name, known in server.databases.items()
    }
    return {name: known for name, known in found.items() if known}


BEFORE = contents(FakeMongodb(databases()))
AFTER = {"shop": BEFORE["shop__new"], "shop__old": BEFORE["shop"], "blog": BEFORE["blog"]}


def test_switches_and_back_and_keeps_other_databases(tmp_path: pathlib.Path) -> None:
    server = FakeMongodb(databases())
    dumps = MongodbDumps(server, str(tmp_path))
    for _round in range(2):
        dumps.switch_back(LIVE, "shop__old", "shop__new")
        assert contents(server) == BEFORE
    for _round in range(2):
        dumps.switch(LIVE, "shop__new", "shop__old")
        assert contents(server) == AFTER
        assert server.row_counts("shop__old") == {"goods": 3, "fs.chunks": 4}
    dumps.switch_back(LIVE, "shop__old", "shop__new")
    assert contents(server) == BEFORE
    assert set(server.databases) == set(BEFORE)
    dumps.switch(LIVE, "shop__new", "shop__old")
    dumps.discard("shop__old", LIVE)
    assert set(server.databases) == {"shop", "blog"}


@pytest.mark.parametrize("without", ["shop", "shop__new"])
def test_switches_where_there_is_no_database_on_one_side(without: str, tmp_path: pathlib.Path) -> None:
    server = FakeMongodb({name: known for name, known in databases().items() if name != without})
    before = contents(server)
    dumps = MongodbDumps(server, str(tmp_path))
    dumps.switch(LIVE, "shop__new", "shop__old")
    after = {"shop": before.get("shop__new"), "shop__old": before.get("shop"), "blog": before["blog"]}
    assert contents(server) == {name: known for name, known in after.items() if known}
    assert "shop__old" in server.databases
    dumps.switch_back(LIVE, "shop__old", "shop__new")
    assert contents(server) == before


def test_finishes_or_takes_back_a_switch_that_was_killed_anywhere(tmp_path: pathlib.Path) -> None:
    for first, second, third in itertools.product(range(16), range(16), ("switch", "back")):
        server = FakeMongodb(databases())
        dumps = MongodbDumps(server, str(tmp_path))
        server.patience = first
        try:
            dumps.switch(LIVE, "shop__new", "shop__old")
            server.patience = second
            dumps.switch_back(LIVE, "shop__old", "shop__new")
        except Killed:
            server.patience = second
            with contextlib.suppress(Killed):
                dumps.switch_back(LIVE, "shop__old", "shop__new")
        server.patience = 10000
        if third == "switch":
            dumps.switch(LIVE, "shop__new", "shop__old")
            assert contents(server) == AFTER, (first, second)
        else:
            dumps.switch_back(LIVE, "shop__old", "shop__new")
            assert contents(server) == BEFORE, (first, second)


def test_refuses_to_move_a_time_series_before_it_moves_anything(tmp_path: pathlib.Path) -> None:
    server = FakeMongodb({**databases(), "shop__new": {"a": collection(1), "heat": collection(0, "timeseries")}})
    before = contents(server)
    with pytest.raises(HostError, match=r"heat of shop__new .* a time series"):
        MongodbDumps(server, str(tmp_path)).switch(LIVE, "shop__new", "shop__old")
    assert contents(server) == before
