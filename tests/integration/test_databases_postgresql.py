# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only PostgreSQL has of the database engines, against the real server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import Session
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Credentials
from database_links import PASSWORD, create, numbers, sql
from database_servers import Server

Opened = tuple[Server, DatabaseEngine, Access]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    with database_servers.postgresql() as found:
        yield found


@pytest.fixture
def opened(postgresql: Server) -> Iterator[Opened]:
    """The server, its administrator, and an owner that was created there."""
    engine = postgresql.open()
    access = postgresql.access(f"app_{next(numbers)}")
    create(engine, access)
    yield postgresql, engine, access
    engine.close()


def test_lets_an_app_create_in_public_and_both_logins_own_it(opened: Opened) -> None:
    server, engine, access = opened
    sql(server, access.database, access.user, "CREATE TABLE public.first (id serial PRIMARY KEY)")
    login = engine.begin_rotation(access, access.user, PASSWORD, "a-password-2")
    sql(server, access.database, login, "CREATE TABLE second (id serial)", "DROP TABLE first", password="a-password-2")
    engine.set_password(access, login, "a-password-2")
    login = engine.begin_rotation(access, login, "a-password-2", PASSWORD)
    assert login == access.user
    sql(server, access.database, login, "ALTER TABLE second ADD COLUMN name text")
    engine.set_password(access, login, PASSWORD)
    assert sql(server, access.database, login, "SELECT tableowner FROM pg_tables WHERE tablename = 'second'") == [
        (access.user,)
    ]


def test_keeps_what_the_second_login_made_in_its_own_name(opened: Opened) -> None:
    server, engine, access = opened
    login = engine.begin_rotation(access, access.user, PASSWORD, "a-password-2")
    made = ("RESET ROLE", "SET ROLE NONE", "CREATE SCHEMA theirs", "CREATE TABLE theirs.t (id integer)")
    sql(server, access.database, access.user, f'GRANT CREATE ON DATABASE "{access.database}" TO "{login}"')
    sql(server, access.database, login, *made, password="a-password-2")
    engine.set_password(access, access.user, PASSWORD)
    assert engine.row_counts(access.database) == {"theirs.t": 0}
    assert sql(
        server, access.database, access.user, "SELECT tableowner FROM pg_tables WHERE schemaname = 'theirs'"
    ) == [(access.user,)]


def test_shows_a_reader_the_tables_of_yesterday_and_of_tomorrow(opened: Opened) -> None:
    server, engine, owner = opened
    sql(server, owner.database, owner.user, "CREATE TABLE yesterday (id serial)", "CREATE SCHEMA more")
    sql(server, owner.database, owner.user, "CREATE TABLE more.yesterday (id serial)")
    reader = dataclasses.replace(owner, user=f"{owner.user}_reader", privileges="readonly")
    writer = dataclasses.replace(owner, user=f"{owner.user}_writer", privileges="readwrite")
    for guest in (reader, writer):
        create(engine, guest)
    # Also when the owner makes them with its second login.
    login = engine.begin_rotation(owner, owner.user, PASSWORD, "a-password-2")
    sql(server, owner.database, login, "CREATE TABLE tomorrow (id serial)", password="a-password-2")
    for table in ("yesterday", "more.yesterday", "tomorrow"):
        sql(server, owner.database, reader.user, f"SELECT * FROM {table}")
        sql(server, owner.database, writer.user, f"INSERT INTO {table} DEFAULT VALUES")
        with pytest.raises(Exception, match="permission denied"):
            sql(server, owner.database, reader.user, f"INSERT INTO {table} DEFAULT VALUES")
        with pytest.raises(Exception, match="must be owner"):
            sql(server, owner.database, writer.user, f"DROP TABLE {table}")
    assert [state.privileges for state in engine.read([reader, writer])] == ["readonly", "readwrite"]


def test_notices_a_table_that_a_reader_may_not_read(opened: Opened) -> None:
    server, engine, owner = opened
    sql(server, owner.database, owner.user, "CREATE TABLE t (id integer)")
    reader = dataclasses.replace(owner, user=f"{owner.user}_reader", privileges="readonly")
    create(engine, reader)
    for change in ("REVOKE SELECT ON t FROM", "GRANT INSERT ON t TO"):
        sql(server, owner.database, owner.user, f'{change} "{reader.user}"')
        assert engine.read([reader])[0].privileges is None
        engine.grant(reader)
        assert engine.read([reader])[0].privileges == "readonly"


def test_closes_a_database_that_anyone_may_enter(opened: Opened) -> None:
    server, engine, access = opened
    server.extra["cluster"].psql(f'GRANT CONNECT ON DATABASE "{access.database}" TO PUBLIC')
    assert engine.read([access])[0].problems == ("anyone may connect to the database",)
    engine.grant(access)
    assert engine.read([access])[0].problems == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER ROLE {} SUPERUSER", "a superuser"),
        ("ALTER ROLE {} CREATEDB", "allowed to create databases"),
        ("GRANT pg_read_all_data TO {}", "a member of pg_read_all_data"),
        ("GRANT CONNECT ON DATABASE template1 TO {}", "rights in template1"),
    ],
)
def test_tells_what_else_a_user_may_do(opened: Opened, change: str, words: str) -> None:
    server, engine, access = opened
    server.extra["cluster"].psql(change.format(f'"{access.user}"'))
    assert words in " ".join(engine.read([access])[0].elsewhere)


def test_refuses_to_make_an_owner_a_reader(opened: Opened) -> None:
    _server, engine, access = opened
    with pytest.raises(HostError, match="it owns the database"):
        engine.grant(dataclasses.replace(access, privileges="readonly"))
    assert engine.read([access])[0].privileges == "owner"


def test_keeps_a_role_for_data_and_drops_one_without(opened: Opened) -> None:
    server, engine, access = opened
    reader = dataclasses.replace(access, user=f"{access.user}_reader", privileges="readonly")
    create(engine, reader)
    engine.drop_user(reader)
    engine.drop_user(access)
    assert not engine.read([reader])[0].user_exists
    state = engine.read([access])[0]
    assert (state.user_exists, state.logins, state.owner) == (True, (), access.user)
    engine.drop_database(access)
    roles = server.extra["cluster"].psql(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{access.user}%'")
    assert roles == ""


def test_works_for_an_administrator_who_is_no_superuser(postgresql: Server) -> None:
    cluster = postgresql.extra["cluster"]
    cluster.psql("CREATE ROLE manager LOGIN CREATEDB CREATEROLE PASSWORD 'managers-password'")
    managed = dataclasses.replace(
        postgresql, administration=postgresql.door, admin=Credentials("manager", "managers-password")
    )
    engine, access = managed.open(), managed.access("managed")
    create(engine, access)
    sql(managed, access.database, access.user, "CREATE TABLE t (id serial)")
    login = engine.begin_rotation(access, access.user, PASSWORD, "a-password-2")
    managed.login(login, "a-password-2", access.database)
    assert engine.read([access])[0].rotating
    engine.set_password(access, login, "a-password-2")
    reader = dataclasses.replace(access, user="managed_reader", privileges="readonly")
    create(engine, reader)
    assert [state.privileges for state in engine.read([access, reader])] == ["owner", "readonly"]
    sql(managed, access.database, reader.user, "SELECT * FROM t")
    client = Session(managed.door, Credentials(reader.user, PASSWORD), access.database)
    for linked in (reader, access):
        engine.drop_user(linked)
    with pytest.raises(HostError, match="connection"):
        client.rows("SELECT 1")
    engine.drop_database(access)
    assert cluster.psql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'managed%'") == "0"
    engine.close()
