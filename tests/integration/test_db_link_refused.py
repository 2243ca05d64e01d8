# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What serverkit_db_link refuses on a real host, with nothing changed: not on the servers, not on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.link_host import LinkHost, one

pytestmark = [pytest.mark.real, pytest.mark.testbed]
HOST = LinkHost

Prepare = Callable[[LinkHost], object]


@pytest.fixture(scope="module")
def host(machine: LinkHost) -> Iterator[LinkHost]:
    one(machine.link({"app": "owner", "engine": "mariadb"}))
    one(machine.link({"app": "owner", "engine": "postgresql", "env_prefix": "PG"}))
    machine.sql("mariadb", "CREATE USER stranger@'%' IDENTIFIED BY 'x'; GRANT SELECT ON owner.* TO stranger@'%';")
    machine.sql("mariadb", "CREATE DATABASE foreign_one;")
    machine.sql("postgresql", "CREATE ROLE stranger LOGIN; GRANT owner TO stranger;")
    machine.sql("postgresql", "CREATE DATABASE foreign_one OWNER stranger;")
    yield machine
    machine.clean()


def servers(host: LinkHost) -> str:
    """Return what the servers hold of users and databases."""
    tables = ("mysql.global_priv", "mysql.db", "information_schema.schemata")
    mariadb = host.sql("mariadb", "".join(f"SELECT * FROM {table};" for table in tables))
    tables = ("pg_authid", "pg_database", "pg_auth_members")
    postgresql = host.sql("postgresql", "".join(f"SELECT * FROM {table};" for table in tables))
    return f"{mariadb}\n{postgresql}\n{host.sql('redis', 'ACL LIST')}"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"engine": "mariadb", "database": "owner"}, "belongs to the app owner"),
    ({"engine": "postgresql", "user": "owner"}, "belongs to the app owner"),
    ({"engine": "mariadb", "user": "stranger"}, "exists with other grants"),
    ({"engine": "postgresql", "user": "stranger"}, "stranger"),
    ({"engine": "mariadb", "database": "foreign_one"}, "no link is known that it belongs to"),
    ({"engine": "postgresql", "database": "foreign_one"}, "exists and belongs to stranger"),
    ({"engine": "mariadb", "server": {"host": "127.0.0.1", "user": "root", "password": "(wrong)"}}, "Access denied"),
    (
        {"engine": "postgresql", "server": {"host": "127.0.0.1", "user": "postgres", "password": "(wrong)"}},
        "password authentication failed",
    ),
    ({"engine": "redis", "server": {"user": "serverkit", "password": "(wrong)"}}, "invalid username-password"),
    ({"engine": "mariadb", "server": {"host": "127.0.0.1", "port": 3399, "user": "root"}}, "refused"),
    ({"engine": "postgresql", "server": {"port": 5499}}, "5499"),
    ({"engine": "redis", "server": {"host": "127.0.0.1", "port": 6399}}, "refused"),
    ({"engine": "postgresql", "database": 'quo"ted'}, "name of a database"),
    ({"engine": "mariadb", "user": "quo'ted"}, "name of a database user"),
    ({"engine": "mariadb", "database": "x" * 65}, "65 characters"),
    ({"engine": "postgresql", "database": "postgres"}, "own data"),
    ({"engine": "mariadb", "user": "root"}, "has it"),
    ({"engine": "redis", "user": "default"}, "has it"),
]


@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_nothing_is_changed(host: LinkHost, check: bool) -> None:
    before, on_host = servers(host), host.snapshot(locks=False)
    wanted = [{"app": f"wanting{number}", **options} for number, (options, _complaint) in enumerate(REFUSED)]
    results = host.link(*wanted, check=check)["results"]
    for item, (options, complaint) in zip(results, REFUSED, strict=True):
        assert complaint in item["msg"], (options, item)
        assert "(wrong)" not in item["msg"]
    assert servers(host) == before
    assert host.snapshot(locks=False) == on_host
