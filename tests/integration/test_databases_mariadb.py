# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only MariaDB has of the database engines, against the real server."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access
from database_links import PASSWORD, create, numbers
from database_servers import Server

Opened = tuple[Server, DatabaseEngine, Access]


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Server]:
    with database_servers.mariadb() as found:
        yield found


@pytest.fixture
def opened(mariadb: Server) -> Iterator[Opened]:
    """The server, its administrator, and an owner that was created there."""
    engine = mariadb.open()
    access = mariadb.access(f"app_{next(numbers)}")
    create(engine, access)
    yield mariadb, engine, access
    engine.close()


def administrator(server: Server, *statements: str) -> list[Any]:
    """Run statements as MariaDB's administrator."""
    import pymysql

    connection = pymysql.connect(unix_socket=server.administration.socket, user="root", autocommit=True)
    with contextlib.closing(connection), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def test_lets_users_in_from_their_networks_only(opened: Opened) -> None:
    server, engine, access = opened
    elsewhere = dataclasses.replace(access, hosts=("172.16.0.0/255.240.0.0",))
    assert "may log in from 127.0.0.1, not from 172.16.0.0/255.240.0.0" in engine.read([elsewhere])[0].problems[0]
    engine.grant(elsewhere)
    assert engine.read([elsewhere])[0].problems == ()
    with pytest.raises(HostError):
        server.login(access.user, PASSWORD, access.database)
    both = dataclasses.replace(access, hosts=("127.0.0.0/255.0.0.0", *elsewhere.hosts))
    engine.grant(both)
    state = engine.read([both])[0]
    assert state.hosts == ("127.0.0.0/255.0.0.0", "172.16.0.0/255.240.0.0")
    # The account that came later has the password of the one that there was.
    server.login(access.user, PASSWORD, access.database)


def test_keeps_both_passwords_for_a_host_that_comes_in_the_middle_of_a_rotation(opened: Opened) -> None:
    server, engine, access = opened
    engine.begin_rotation(access, access.user, PASSWORD, "a-password-2")
    engine.grant(dataclasses.replace(access, hosts=("127.0.0.0/255.0.0.0",)))
    for password in (PASSWORD, "a-password-2"):
        server.login(access.user, password, access.database)


def test_grants_cover_one_database_and_a_wider_one_is_mended(opened: Opened) -> None:
    server, engine, access = opened
    administrator(server, f"GRANT ALL ON `{access.database}`.* TO '{access.user}'@'127.0.0.1'")
    assert "covers similar names" in engine.read([access])[0].problems[0]
    engine.grant(access)
    assert engine.read([access])[0].problems == ()
    assert engine.read([access])[0].privileges == "owner"


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        ("GRANT SELECT ON *.* TO {}", "every database"),
        ("GRANT SELECT ON mysql.* TO {}", "mysql"),
        ("GRANT SELECT ON mysql.user TO {}", "mysql.user"),
        ("GRANT SELECT (User) ON mysql.user TO {}", "mysql.user"),
        ("ALTER USER {} IDENTIFIED VIA unix_socket", "login by unix_socket"),
    ],
)
def test_tells_what_else_a_user_may_do(opened: Opened, grant: str, words: str) -> None:
    server, engine, access = opened
    administrator(server, grant.format(f"'{access.user}'@'127.0.0.1'"))
    assert words in " ".join(engine.read([access])[0].elsewhere)


def test_takes_away_what_is_too_much(opened: Opened) -> None:
    server, engine, access = opened
    account = f"'{access.user}'@'127.0.0.1'"
    pattern = access.database.replace("_", r"\_")
    administrator(server, f"GRANT SELECT ON `{pattern}`.* TO {account} WITH GRANT OPTION")
    assert engine.read([access])[0].privileges is None
    engine.grant(access)
    assert engine.read([access])[0].privileges == "owner"
