# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database engines against real servers: each test runs on every engine that is there."""

from __future__ import annotations

import dataclasses
import pathlib
import string
from collections.abc import Iterator
from typing import Any

import database_clients
import database_servers
import hypothesis
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._values import database
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    PRIVILEGES,
    Access,
    Credentials,
    DatabaseTls,
    Privileges,
    TlsMode,
)
from database_links import PASSWORD, create, numbers, sql, variables
from database_servers import Server
from free_ports import free_port
from hypothesis import strategies as st

PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


@pytest.fixture(scope="module", params=database_servers.AVAILABLE)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server of each engine, for all tests of this file."""
    with database_servers.running(request.param) as found:
        yield found


@pytest.fixture
def engine(server: Server) -> Iterator[DatabaseEngine]:
    found = server.open()
    yield found
    found.close()


@pytest.fixture
def access(server: Server) -> Access:
    """An app's own database, of a name that no other test has."""
    return server.access(f"app_{next(numbers)}")


def is_sql(server: Server) -> bool:
    return server.engine in ("mysql", "mariadb", "postgresql")


# --- one link's life --------------------------------------------------------------------------------------------------


def test_the_server_says_what_it_is(engine: DatabaseEngine, server: Server) -> None:
    product, version = engine.version().split()
    assert product.lower() in (server.engine, "valkey")
    assert version[0].isdigit()


@pytest.mark.parametrize("privileges", PRIVILEGES)
def test_what_was_created_reads_back_as_wanted(
    engine: DatabaseEngine, server: Server, access: Access, privileges: Privileges
) -> None:
    before = engine.read([access])[0]
    assert not before.user_exists
    if privileges != "owner":
        create(engine, access)
    linked = dataclasses.replace(access, privileges=privileges, user=f"{access.user}_u")
    create(engine, linked)
    state = engine.read([linked])[0]
    assert state.database_exists
    assert state.user_exists
    assert state.privileges == privileges
    assert (state.elsewhere, state.problems, state.rotating) == ((), (), False)
    assert [login.name for login in state.logins] == [linked.user]
    server.login(linked.user, PASSWORD, linked.database)


def test_doing_all_of_it_again_changes_nothing(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access)
    first = engine.read([access])
    create(engine, access)
    again = engine.read([access])
    assert [dataclasses.replace(one, logins=()) for one in again] == [
        dataclasses.replace(one, logins=()) for one in first
    ]
    server.login(access.user, PASSWORD, access.database)


def test_a_password_is_recognised_without_a_login(engine: DatabaseEngine, access: Access) -> None:
    create(engine, access, "plain-password-1")
    login = engine.read([access])[0].logins[0]
    assert engine.matches(login, "plain-password-1") in (True, None)
    assert engine.matches(login, "plain-password-2") in (False, None)


def test_a_user_that_is_dropped_cannot_come_in_and_leaves_the_data(
    engine: DatabaseEngine, server: Server, access: Access
) -> None:
    create(engine, access)
    told = variables(server, access, access.user, PASSWORD)
    connection = database_clients.connect(server.engine, told)
    database_clients.ask(server.engine, connection, told)
    if is_sql(server):
        sql(
            server,
            access.database,
            access.user,
            "CREATE TABLE kept (id INTEGER)",
            "INSERT INTO kept VALUES (1)",
        )
    engine.drop_user(access)
    state = engine.read([access])[0]
    assert state.logins == ()
    assert state.database_exists
    with pytest.raises(HostError, match="Could not log in"):
        server.login(access.user, PASSWORD, access.database)
    with pytest.raises(Exception, match=r"."):  # the connection that was open is not any more
        database_clients.ask(server.engine, connection, told)
    # Linked again, the app finds what it had left.
    create(engine, access, "another-password")
    assert sum(engine.row_counts(access.database).values()) == 1
    if is_sql(server):
        assert sql(server, access.database, access.user, "SELECT id FROM kept", password="another-password")[0][0] == 1


def test_a_database_that_is_dropped_leaves_nothing(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access)
    database_clients.query(server.engine, variables(server, access, access.user, PASSWORD))
    engine.drop_user(access)
    engine.drop_database(access)
    state = engine.read([access])[0]
    assert not state.user_exists
    assert state.database_exists is not is_sql(server)
    if not is_sql(server):
        assert sum(engine.row_counts(access.database).values()) == 0
    engine.drop_user(access)
    engine.drop_database(access)


def test_many_links_are_read_with_the_queries_of_one(
    engine: DatabaseEngine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    accesses = [server.access(f"many_{number}") for number in range(12)]
    for access in accesses:
        create(engine, access)
    calls: list[object] = []
    name = {"redis": "_command", "mongodb": "_command"}.get(server.engine, "_query")
    owner: Any = engine if server.engine != "postgresql" else engine._session()  # type: ignore[attr-defined]
    name = "rows" if server.engine == "postgresql" else name
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *arguments, **more: (calls.append(arguments), real(*arguments, **more))[1])
    engine.read(accesses[:1])
    one = len(calls)
    states = engine.read(accesses)
    assert len(calls) - one <= one
    assert {state.privileges for state in states} == {"owner"}


def test_rows_are_counted(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access)
    if not is_sql(server):
        assert sum(engine.row_counts(access.database).values()) == 0
        database_clients.query(server.engine, variables(server, access, access.user, PASSWORD))
        return
    table = "CREATE TABLE t (id INTEGER)"
    sql(server, access.database, access.user, table, "INSERT INTO t VALUES (1), (2)")
    assert list(engine.row_counts(access.database).values()) == [2]


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door(server: Server) -> Iterator[tuple[DatabaseEngine, Access]]:
    """A user of whom only the password changes."""
    engine, access = server.open(), server.access("passwords")
    create(engine, access)
    yield engine, access
    engine.close()


@hypothesis.given(
    password=st.text(
        # Every printable character: no controls, no halves of surrogate pairs. Unassigned code points are refused by
        # the preparation of strings that SCRAM asks for (RFC 4013).
        st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co", "Cf", "Zl", "Zp")),
        min_size=1,
        max_size=60,
    )
)
@hypothesis.settings(
    deadline=None, max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.example(PRINTABLE)
@hypothesis.example(PASSWORD)
@hypothesis.example("%20+%2B%")
@hypothesis.example("${HOME} $$ `id` $(id)")
@hypothesis.example("päßwörd ☃ 🐧 日本語")
@hypothesis.example(" leading and trailing ")
def test_any_password_opens_the_door_by_variables_and_by_url(
    server: Server, door: tuple[DatabaseEngine, Access], password: str
) -> None:
    engine, access = door
    try:
        database.password(password, server.engine)
    except InputError:
        return  # MongoDB, and what RFC 4013 has no form for
    engine.set_password(access, access.user, password)
    login = engine.read([access])[0].login(access.user)
    assert login is not None
    assert engine.matches(login, password) is not False
    told = variables(server, access, access.user, password)
    database_clients.query(server.engine, told)
    database_clients.query_by_url(server.engine, told)
    server.login(access.user, password, access.database)


def test_a_password_never_reaches_the_servers_log(engine: DatabaseEngine, server: Server, access: Access) -> None:
    if not server.log:
        return
    secrets = [f"Unlogged-{number}-Secret" for number in range(3)]
    create(engine, access, secrets[0])
    login = engine.begin_rotation(access, access.user, secrets[0], secrets[1])
    engine.set_password(access, login, secrets[1])
    engine.create_user(access, secrets[2])
    text = pathlib.Path(server.log).read_text(errors="replace")
    assert access.user in text
    assert not any(secret in text for secret in secrets)


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_a_rotation_fails_no_query(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access, "password-0")
    login = access.user
    with database_clients.traffic(server.engine, variables(server, access, login, "password-0")) as traffic:
        for number in range(1, 4):  # there and back again where two logins take turns
            new = f"password-{number}"
            login = engine.begin_rotation(access, login, f"password-{number - 1}", new)
            traffic.wait()
            traffic.variables = variables(server, access, login, new)  # the container is recreated
            traffic.wait()
            engine.set_password(access, login, new)
            traffic.wait()
    assert traffic.failures == []
    state = engine.read([access])[0]
    assert not state.rotating
    assert state.privileges == "owner"
    with pytest.raises(HostError):
        server.login(access.user, "password-0", access.database)


def test_a_rotation_is_taken_back(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access, "password-old")
    with database_clients.traffic(server.engine, variables(server, access, access.user, "password-old")) as traffic:
        login = engine.begin_rotation(access, access.user, "password-old", "password-new")
        server.login(login, "password-new", access.database)
        engine.set_password(access, access.user, "password-old")
        traffic.wait()
    assert traffic.failures == []
    with pytest.raises(HostError):
        server.login(login, "password-new", access.database)


def test_a_rotation_that_was_killed_is_begun_again(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access, "password-old")
    engine.begin_rotation(access, access.user, "password-old", "password-lost")
    again = server.open()
    assert again.read([access])[0].rotating
    login = again.begin_rotation(access, access.user, "password-old", "password-new")
    server.login(access.user, "password-old", access.database)
    server.login(login, "password-new", access.database)
    again.set_password(access, login, "password-new")
    for name, password in ((access.user, "password-old"), (login, "password-lost"), (access.user, "password-lost")):
        with pytest.raises(HostError):
            server.login(name, password, access.database)
    again.close()


def test_a_rotation_does_not_start_from_a_wrong_password(
    engine: DatabaseEngine, server: Server, access: Access
) -> None:
    create(engine, access, "password-old")
    with pytest.raises(HostError, match="not valid on the server") as caught:
        engine.begin_rotation(access, access.user, "password-wrong", "password-new")
    assert "password-wrong" not in str(caught.value)
    assert "password-new" not in str(caught.value)
    server.login(access.user, "password-old", access.database)
    assert not engine.read([access])[0].rotating


def test_a_lost_password_is_repaired_also_in_the_middle_of_a_rotation(
    engine: DatabaseEngine, server: Server, access: Access
) -> None:
    create(engine, access, "password-old")
    engine.begin_rotation(access, access.user, "password-old", "password-new")
    engine.set_password(access, access.user, "password-repaired")
    server.login(access.user, "password-repaired", access.database)
    state = engine.read([access])[0]
    assert not state.rotating
    assert [login.name for login in state.logins] == [access.user]


# --- who may not ------------------------------------------------------------------------------------------------------


def test_one_app_cannot_log_in_to_anothers_database(engine: DatabaseEngine, server: Server) -> None:
    number = next(numbers)
    # MySQL would take `_` in a grant for any character.
    mine, theirs = server.access(f"my_app_{number}"), server.access(f"my-app-{number}")
    create(engine, mine)
    create(engine, theirs, "their-password")
    with pytest.raises(HostError):
        server.login(mine.user, PASSWORD, theirs.database)
    login = engine.begin_rotation(mine, mine.user, PASSWORD, "second-password")
    with pytest.raises(HostError):
        server.login(login, "second-password", theirs.database)
    server.login(theirs.user, "their-password", theirs.database)


def test_a_user_with_rights_elsewhere_is_told(engine: DatabaseEngine, server: Server, access: Access) -> None:
    if server.engine == "mongodb":
        return  # a user belongs to one database: of that name there can be one in each
    other = server.access(f"{access.database}_other")
    create(engine, access)
    create(engine, other)
    same_user = dataclasses.replace(other, user=access.user)
    state = engine.read([same_user])[0]
    assert state.user_exists
    assert state.elsewhere
    assert state.owner == other.user or state.others == (other.user,)


def test_readers_and_writers_are_no_owners(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access)
    guests: tuple[Privileges, ...] = ("readonly", "readwrite")
    for privileges in guests:
        create(engine, dataclasses.replace(access, privileges=privileges, user=f"{access.user}_{privileges}"))
    state = engine.read([access])[0]
    assert state.others == ()
    assert state.owner in (None, access.user)


def test_privileges_change_both_ways(engine: DatabaseEngine, server: Server, access: Access) -> None:
    create(engine, access)
    guest = dataclasses.replace(access, user=f"{access.user}_guest")
    for privileges in ("readonly", "readwrite", "readonly"):
        changed = dataclasses.replace(guest, privileges=privileges)
        create(engine, changed)
        assert engine.read([changed])[0].privileges == privileges


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_without_being_told(server: Server, engine: DatabaseEngine, access: Access) -> None:
    create(engine, access)
    wrong = "wr0ng p@ssword"
    with pytest.raises(HostError, match="Check the user") as caught:
        server.login(access.user, wrong, access.database)
    assert wrong not in f"{caught.value!r} {caught.value}"


def test_a_server_that_is_down_is_named(server: Server) -> None:
    port = free_port()
    with pytest.raises(HostError, match="Check that the server runs") as caught:
        server.login("somebody", "some-password", "somewhere", port=port, timeout=2)
    assert str(port) in str(caught.value)
    assert "some-password" not in str(caught.value)


def test_a_wrong_administrator_is_refused(server: Server) -> None:
    stranger = dataclasses.replace(server, administration=server.door, admin=Credentials("stranger", "adm1n p@ss"))
    with pytest.raises(HostError, match="Check the user") as caught:
        stranger.open()
    assert "adm1n" not in str(caught.value)


# --- TLS --------------------------------------------------------------------------------------------------------------


def _over_tls(server: Server, access: Access, mode: TlsMode, ca: str, host: str = "127.0.0.1") -> None:
    tls = DatabaseTls(mode, f"{server.certificates}/{ca}.pem")
    server.login(access.user, PASSWORD, access.database, tls=tls, port=server.tls_port, host=host)


def test_tls_is_verified(engine: DatabaseEngine, server: Server, access: Access) -> None:
    if not server.certificates:
        return
    create(engine, access)
    for mode in ("require", "verify-ca", "verify-full"):
        _over_tls(server, access, mode, "ca")
    _over_tls(server, access, "require", "other")
    _over_tls(server, access, "verify-ca", "ca", host="localhost")
    with pytest.raises(HostError, match="ertificate"):
        _over_tls(server, access, "verify-ca", "other")
    with pytest.raises(HostError, match="ertificate"):
        _over_tls(server, access, "verify-full", "ca", host="localhost")
