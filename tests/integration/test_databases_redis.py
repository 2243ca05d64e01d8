# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only Redis has of the database engines, against the real server."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Privileges
from database_links import PASSWORD, create, numbers
from database_servers import Server

Opened = tuple[Server, DatabaseEngine, Access]


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with database_servers.redis() as found:
        yield found


@pytest.fixture
def opened(redis: Server) -> Iterator[Opened]:
    """The server, its administrator, and an owner that was created there."""
    engine = redis.open()
    access = redis.access(f"app_{next(numbers)}")
    create(engine, access)
    yield redis, engine, access
    engine.close()


def _client(server: Server, user: str, password: str = PASSWORD) -> Any:
    import redis

    return redis.Redis(port=server.door.port, username=user, password=password, decode_responses=True)


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "other:key"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("MONITOR",),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("FUNCTION", "FLUSH"),
        ("SCRIPT", "FLUSH"),
        ("SWAPDB", "0", "1"),
        ("SHUTDOWN",),
        ("PUBLISH", "other:news", "x"),
        ("SUBSCRIBE", "__keyspace@0__:other:key"),
        ("EVAL", "return redis.call('GET', 'other:key')", "0"),
        ("SORT", "app:list", "BY", "other:*"),
    ],
    ids=" ".join,
)
def test_keeps_an_owner_to_its_prefix(opened: Opened, command: tuple[str, ...]) -> None:
    server, _engine, access = opened
    with (
        contextlib.closing(_client(server, access.user)) as client,
        pytest.raises(Exception, match=r"(?i)permission|access"),
    ):
        client.execute_command(*command)


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "{}:key", "1"),
        ("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "{}:key"),
        ("SCAN", "0", "MATCH", "{}:*"),
        ("INFO",),
        ("PUBLISH", "{}:news", "x"),
        ("MULTI",),
        ("CLIENT", "SETNAME", "app"),
        ("XADD", "{}:stream", "*", "a", "b"),
        ("SELECT", "0"),
    ],
    ids=" ".join,
)
def test_lets_an_owner_do_what_apps_do(opened: Opened, command: tuple[str, ...]) -> None:
    server, _engine, access = opened
    with contextlib.closing(_client(server, access.user)) as client:
        client.execute_command(*(word.format(access.database) for word in command))


@pytest.mark.parametrize(("privileges", "may_write"), [("readonly", False), ("readwrite", True)])
def test_readers_read_and_writers_write(opened: Opened, privileges: Privileges, may_write: bool) -> None:
    server, engine, owner = opened
    guest = dataclasses.replace(owner, user=f"{owner.user}_{privileges}", privileges=privileges)
    create(engine, guest)
    with contextlib.closing(_client(server, guest.user)) as client:
        client.get(f"{owner.database}:key")
        if may_write:
            client.set(f"{owner.database}:key", "1")
        else:
            with pytest.raises(Exception, match=r"(?i)permission|access"):
                client.set(f"{owner.database}:key", "1")


def test_users_survive_a_restart_and_no_password_is_on_disk(opened: Opened) -> None:
    server, engine, access = opened
    aclfile: pathlib.Path = server.extra["aclfile"]
    assert f"user {access.user} " in aclfile.read_text()
    assert PASSWORD not in aclfile.read_text()
    engine.drop_user(access)
    assert f"user {access.user} " not in aclfile.read_text()
    assert engine.warnings() == []


@pytest.mark.parametrize("change", ["~other:*", "+flushall", "-get", "allkeys", "allcommands", "nopass", "(+get ~x:*)"])
def test_rules_that_somebody_changed_are_noticed_and_mended(opened: Opened, change: str) -> None:
    server, engine, access = opened
    with contextlib.closing(_client(server, "default", "administrator")) as client:
        info = client.execute_command("INFO", "server")
        if change.startswith("(") and int(str(info["redis_version"]).split(".", maxsplit=1)[0]) < 7:
            return
        client.execute_command("ACL SETUSER", access.user, change)
    state = engine.read([access])[0]
    assert state.elsewhere or state.privileges is None
    create(engine, access)
    again = engine.read([access])[0]
    assert (again.elsewhere, again.privileges) == ((), "owner")


def test_says_when_it_is_open_or_forgets(opened: Opened) -> None:
    server, engine, _access = opened
    with contextlib.closing(_client(server, "default", "administrator")) as client:
        client.execute_command("ACL SETUSER", "default", "nopass")
        try:
            assert "lets everybody" in engine.warnings()[0]
        finally:
            client.execute_command("ACL SETUSER", "default", "resetpass", ">administrator")
