# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of PostgreSQL, loads and switches, with the real server and its programs."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql import Postgresql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps import postgresql_programs
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.postgresql import PostgresqlDumps
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Credentials, Privileges
from database_links import PASSWORD, create, numbers, sql
from database_servers import Server

ODD = '"Odd; schema"."to ""x"""'
# What an app's own role makes. The trigger would double the rows of a load that ran it.
SCHEMA = (
    "CREATE TABLE notes (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)",
    "CREATE TABLE events (id serial, at date NOT NULL) PARTITION BY RANGE (at)",
    "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    'CREATE SCHEMA "Odd; schema"',
    f"CREATE TABLE {ODD} (a text)",
    "CREATE TYPE mood AS ENUM ('fine', 'GRANT ALL ON TABLE notes TO nobody;')",
    "CREATE DOMAIN short AS text CHECK (length(value) < 9)",
    "CREATE TYPE pair AS (a integer, b mood)",
    (
        "CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN"
        " IF pg_trigger_depth() = 1 THEN INSERT INTO notes (text) VALUES ('again; ALTER TABLE x OWNER TO y;'); END IF;"
        " RETURN NEW; END $body$"
    ),
    "CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0')",
    "CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW loud AS SELECT upper(text) AS text FROM notes",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM notes",
    "CREATE SEQUENCE loose START 41",
    "CREATE STATISTICS pairs ON id, text FROM notes",
    "INSERT INTO notes (text) SELECT 'naïve ☃ ' || n FROM generate_series(1, 1000) AS n",
    "INSERT INTO events (at) SELECT '2026-06-01'::date + n FROM generate_series(1, 40) AS n",
    f"INSERT INTO {ODD} VALUES (E'a\\\\.b\\nc')",
    "CREATE TRIGGER twice AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION twice()",
    "REFRESH MATERIALIZED VIEW counted",
    "SELECT nextval('loose')",
    "SELECT lo_from_bytea(4242, 'a large one'::bytea)",
)
ROWS = {'Odd; schema.to "x"': 1, "pg_catalog.pg_largeobject": 1, "public.events_2026": 40, "public.notes": 1000}
STRANGERS = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_' AND pg_get_userbyid(c.relowner) <> '{user}' AND c.oid NOT IN (
        SELECT objid FROM pg_depend WHERE deptype = 'e')
    UNION ALL SELECT proname FROM pg_proc WHERE oid >= 16384 AND pg_get_userbyid(proowner) <> '{user}' AND oid NOT IN (
        SELECT objid FROM pg_depend WHERE deptype = 'e')
    UNION ALL SELECT typname FROM pg_type WHERE oid >= 16384 AND pg_get_userbyid(typowner) <> '{user}' AND oid NOT IN (
        SELECT objid FROM pg_depend WHERE deptype = 'e') AND typtype IN ('e', 'd')
    UNION ALL SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND pg_get_userbyid(nspowner) <> '{user}'
        AND nspname !~ '^pg_'
    UNION ALL SELECT oid::text FROM pg_largeobject_metadata WHERE pg_get_userbyid(lomowner) <> '{user}'
"""


@dataclasses.dataclass
class Opened:
    """A server, its administrator, and an app's database with something of everything in it."""

    server: Server
    engine: DatabaseEngine
    access: Access
    scratch: pathlib.Path

    @property
    def dumps(self) -> PostgresqlDumps:
        return PostgresqlDumps(self.engine, str(self.scratch))

    @property
    def path(self) -> str:
        return str(self.scratch / "app.dump.zst")

    def psql(self, statement: str, database: str = "postgres") -> str:
        found: str = self.server.extra["cluster"].psql(statement, database)
        return found

    def sql(
        self, *statements: str, database: str = "", user: str = "", password: str = PASSWORD
    ) -> list[tuple[object, ...]]:
        access = self.access
        return sql(self.server, database or access.database, user or access.user, *statements, password=password)

    def staged(self, name: str = "") -> Access:
        """Make an empty database for the app's user, as a restore does."""
        access = dataclasses.replace(self.access, database=name or f"{self.access.database}__new")
        self.engine.create_database(access)
        return access

    def databases(self) -> set[str]:
        return set(self.psql(f"SELECT datname FROM pg_database WHERE datname LIKE '{self.access.database}%'").split())

    def strangers(self, database: str, user: str) -> str:
        return self.psql(STRANGERS.format(user=user), database)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    with database_servers.postgresql() as found:
        yield found


@pytest.fixture
def opened(postgresql: Server, tmp_path: pathlib.Path) -> Iterator[Opened]:
    engine = postgresql.open()
    access = postgresql.access(f"app_{next(numbers)}")
    create(engine, access)
    found = Opened(postgresql, engine, access, tmp_path)
    # Only a superuser may create it.
    found.psql("CREATE EXTENSION pg_buffercache; CREATE EXTENSION hstore", access.database)
    found.sql(*SCHEMA)
    yield found
    engine.close()


def test_loads_everything_back_for_the_same_user(opened: Opened) -> None:
    dumped = opened.dumps.dump(opened.access, opened.path)
    assert dumped.rows == ROWS
    assert dumped.moving == ()
    assert dumped.version.startswith("PostgreSQL 1")
    assert dumped.stored == dataclasses.replace(streams.check(opened.path), tail=dumped.stored.tail)
    assert os.stat(opened.path).st_mode & 0o777 == 0o600
    opened.dumps.check(dumped.stored, opened.path)
    fresh = opened.staged()
    opened.dumps.load(opened.path, fresh)
    assert opened.engine.row_counts(fresh.database) == dumped.rows
    assert opened.strangers(fresh.database, opened.access.user) == ""
    assert opened.engine.read([fresh])[0].problems == ()
    read: tuple[str, ...] = (
        "SELECT text FROM loud ORDER BY 1 LIMIT 1",
        f"SELECT a FROM {ODD}",
        "SELECT n FROM counted",
    )
    read = (*read, "SELECT nextval('loose')", "SELECT convert_from(lo_get(4242), 'UTF8')", "SELECT (1, 'fine')::pair")
    for statement in read:
        assert opened.sql(statement, database=fresh.database) == opened.sql(statement)
    # The app goes on: in public, with its sequences, triggers and a second login.
    opened.sql("CREATE TABLE more (id serial)", "INSERT INTO notes (text) VALUES ('new')", database=fresh.database)
    assert opened.sql("SELECT count(*), max(id) FROM notes", database=fresh.database) == [(1002, 1002)]


def test_loads_for_another_user_what_belongs_to_that_one_alone(opened: Opened) -> None:
    reader = dataclasses.replace(opened.access, user=f"{opened.access.user}_reader", privileges="readonly")
    create(opened.engine, reader)
    opened.psql("CREATE TABLE foreign_one (a integer)", opened.access.database)
    opened.dumps.dump(opened.access, opened.path)
    other = opened.server.access(f"{opened.access.database}_other")
    create(opened.engine, other)
    opened.dumps.load(opened.path, other)
    assert opened.strangers(other.database, other.user) == ""
    assert opened.engine.row_counts(other.database) == {**ROWS, "public.foreign_one": 0}
    opened.sql("ALTER TABLE notes ADD x integer", "DROP TYPE pair", database=other.database, user=other.user)
    for user in (opened.access.user, reader.user):
        assert opened.psql(f"SELECT 1 FROM pg_shdepend WHERE refobjid = '{user}'::regrole", other.database) == (
            opened.psql(f"SELECT 1 FROM pg_shdepend WHERE refobjid = '{user}'::regrole", opened.access.database)
        )
        with pytest.raises(Exception, match="permission denied"):
            opened.sql("SELECT 1", database=other.database, user=user)
    assert [state.elsewhere for state in opened.engine.read([opened.access, reader, other])] == [(), (), ()]
    assert opened.engine.read([opened.access])[0].owner == opened.access.user


def test_keeps_grants_and_makes_roles_that_are_not_there(opened: Opened) -> None:
    reader = dataclasses.replace(opened.access, user=f"{opened.access.user}_reader", privileges="readonly")
    create(opened.engine, reader)
    role = '"an; odd ""role"""'
    opened.psql(
        f"CREATE ROLE {role}; ALTER TABLE {ODD} OWNER TO {role};"
        "CREATE ROLE limited; CREATE POLICY p ON notes TO limited USING (text SIMILAR TO 'nobody')",
        opened.access.database,
    )
    opened.dumps.dump(opened.access, opened.path)
    # Another host: the app's user is there, and nobody else.
    opened.engine.drop_database(opened.access)
    opened.psql(f"DROP ROLE {reader.user}, {role}, limited")
    create(opened.engine, opened.access)
    opened.dumps.load(opened.path, opened.access)
    assert opened.engine.row_counts(opened.access.database) == ROWS
    assert (
        opened.psql(
            "SELECT count(*) FROM pg_roles WHERE NOT rolcanlogin AND rolname IN ('an; odd \"role\"', 'limited')"
        )
        == "2"
    )
    assert opened.engine.read([reader])[0].privileges == "readonly"
    # The link of the reader's app lets it in again.
    create(opened.engine, reader)
    opened.sql("SELECT * FROM events", user=reader.user)
    opened.psql(f"DROP OWNED BY {role}, limited; DROP ROLE {role}, limited", opened.access.database)


@pytest.mark.parametrize("privileges", ["readwrite", "readonly"])
def test_restores_the_database_of_a_guest_to_its_owner(opened: Opened, privileges: Privileges) -> None:
    guest = dataclasses.replace(opened.access, user=f"{opened.access.user}_guest", privileges=privileges)
    create(opened.engine, guest)
    opened.dumps.dump(guest, opened.path)
    fresh = dataclasses.replace(guest, database=f"{guest.database}__new")
    opened.engine.create_database(fresh)
    opened.dumps.load(opened.path, fresh)
    opened.dumps.switch(guest, fresh.database, f"{guest.database}__old")
    assert [state.privileges for state in opened.engine.read([opened.access, guest])] == ["owner", privileges]
    assert opened.strangers(guest.database, opened.access.user) == ""
    assert opened.engine.row_counts(guest.database) == ROWS
    opened.sql("CREATE TABLE tomorrow (a integer)")
    opened.sql("SELECT * FROM tomorrow", "SELECT * FROM notes", user=guest.user)


def test_leaves_nothing_of_a_load_that_fails(opened: Opened) -> None:
    opened.psql("CREATE ROLE missing_one; GRANT SELECT ON notes TO missing_one", opened.access.database)
    opened.dumps.dump(opened.access, opened.path)
    opened.psql("DROP OWNED BY missing_one; DROP ROLE missing_one", opened.access.database)
    fresh = opened.staged()
    opened.psql("CREATE VIEW loud AS SELECT 1", fresh.database)
    with pytest.raises(HostError, match='relation "loud" already exists'):
        opened.dumps.load(opened.path, fresh)
    assert opened.engine.row_counts(fresh.database) == {}
    assert opened.psql("SELECT 1 FROM pg_roles WHERE rolname = 'missing_one'") == ""
    opened.psql("DROP VIEW loud", fresh.database)
    opened.dumps.load(opened.path, fresh)
    opened.psql("DROP OWNED BY missing_one", fresh.database)
    opened.psql("DROP ROLE missing_one")


def test_refuses_a_damaged_dump(opened: Opened) -> None:
    opened.dumps.dump(opened.access, opened.path)
    whole = pathlib.Path(opened.path).read_bytes()
    for content in (whole[: len(whole) // 2], b"", whole[:2000] + bytes(20) + whole[2020:]):
        pathlib.Path(opened.path).write_bytes(content)
        fresh = opened.staged()
        with pytest.raises(HostError):
            opened.dumps.load(opened.path, fresh)
        assert opened.engine.row_counts(fresh.database) == {}
        opened.dumps.discard(fresh.database, fresh)
    pathlib.Path(opened.path).unlink()
    stored = streams.store([b"-- MariaDB dump"], opened.path)
    with pytest.raises(HostError, match="none of pg_dump's"):
        opened.dumps.check(stored, opened.path)


def test_counts_what_is_in_the_dump_while_the_app_writes(opened: Opened) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            opened.sql("INSERT INTO notes (text) VALUES ('meanwhile')", "DELETE FROM events WHERE id % 7 = 3")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _round in range(3):
            dumped = opened.dumps.dump(opened.access, opened.path)
            fresh = opened.staged()
            opened.dumps.load(opened.path, fresh)
            assert opened.engine.row_counts(fresh.database) == dumped.rows
            opened.dumps.discard(fresh.database, fresh)
            os.unlink(opened.path)
    finally:
        stop.set()
        thread.join()


def test_lets_the_apps_own_logins_dump_and_load(opened: Opened) -> None:
    opened.psql("DROP EXTENSION pg_buffercache", opened.access.database)
    login = opened.engine.begin_rotation(opened.access, opened.access.user, PASSWORD, "another:p\\ass")
    for user, password in ((opened.access.user, PASSWORD), (login, "another:p\\ass")):
        own = Postgresql(opened.server.door, Credentials(user, password, opened.access.database))
        own.connect()
        dumps = PostgresqlDumps(own, str(opened.scratch))
        dumped = dumps.dump(opened.access, opened.path)
        assert dumped.rows == ROWS
        fresh = opened.staged(f"{opened.access.database}__{user}"[:60])
        opened.engine.grant(fresh)
        dumps.load(opened.path, fresh)
        assert opened.engine.row_counts(fresh.database) == ROWS
        assert opened.strangers(fresh.database, opened.access.user) == ""
        os.unlink(opened.path)
        own.close()
        opened.dumps.discard(fresh.database, fresh)
    secret = next(path for path in opened.scratch.iterdir() if path.name == "postgresql.pass")
    assert secret.stat().st_mode & 0o777 == 0o600


def test_says_why_it_cannot_dump_and_leaves_no_file(opened: Opened) -> None:
    opened.psql("CREATE TABLE secret_one (a integer)", opened.access.database)
    own = Postgresql(opened.server.door, Credentials(opened.access.user, PASSWORD, opened.access.database))
    with pytest.raises(HostError, match="permission denied for table secret_one") as raised:
        PostgresqlDumps(own, str(opened.scratch)).dump(opened.access, opened.path)
    assert PASSWORD not in str(raised.value)
    assert not os.path.exists(opened.path)


def test_reports_a_table_that_cannot_be_read(opened: Opened) -> None:
    damaged = dataclasses.replace(opened.access, database=f"{opened.access.database}_damaged")
    source = opened.access.database
    opened.psql(f"CREATE DATABASE {damaged.database} TEMPLATE {source} OWNER {damaged.user} STRATEGY file_copy")
    place = opened.psql("SELECT pg_relation_filepath('notes')", damaged.database)
    with open(f"{opened.server.extra['cluster'].sockets}/data/{place}", "r+b") as stream:
        stream.seek(8192)
        stream.write(b"\xff" * 8192)
    with pytest.raises(HostError, match="invalid page"):
        opened.dumps.dump(damaged, opened.path)
    assert not os.path.exists(opened.path)


def test_puts_a_restored_database_in_the_place_of_the_live_one_and_back(opened: Opened) -> None:
    live = opened.access
    fresh, kept = opened.staged(), f"{live.database}__old"
    reader = dataclasses.replace(live, user=f"{live.user}_reader", privileges="readonly")
    create(opened.engine, reader)
    opened.psql(
        f'ALTER DATABASE {live.database} SET search_path = public, "Odd; schema";'
        f"ALTER ROLE {reader.user} IN DATABASE {live.database} SET work_mem = '8MB';"
        f"ALTER DATABASE {live.database} SET app.name = 'it''s'; ALTER DATABASE {live.database} CONNECTION LIMIT 7"
    )
    opened.dumps.dump(live, opened.path)
    opened.dumps.load(opened.path, fresh)
    opened.sql("DELETE FROM notes")
    settings = (
        "SELECT datconnlimit, pg_get_userbyid(datdba), datacl, ARRAY(SELECT (setrole, c)::text FROM pg_db_role_setting,"
        " unnest(setconfig) AS c WHERE setdatabase = d.oid ORDER BY 1) FROM pg_database d WHERE datname = '{}'"
    )
    before = opened.psql(settings.format(live.database))
    # Somebody who does not want to leave.
    with subprocess.Popen(
        [f"{opened.server.extra['cluster'].binaries}/psql", "-h", opened.server.extra["cluster"].sockets]
        + [
            "-p",
            str(opened.server.extra["cluster"].port),
            "-U",
            "postgres",
            "-c",
            "SELECT pg_sleep(60)",
            live.database,
        ],
        stderr=subprocess.DEVNULL,
    ) as guest:
        while not opened.psql(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{live.database}' AND query ~ 'sleep'"):
            time.sleep(0.05)
        for _again in range(2):
            opened.dumps.switch(live, fresh.database, kept)
            assert opened.databases() == {live.database, kept}
            assert opened.engine.row_counts(live.database) == ROWS
            assert opened.engine.row_counts(kept)["public.notes"] == 0
        assert [state.elsewhere for state in opened.engine.read([live, reader])] == [(), ()]
        assert guest.wait() != 0
    assert opened.psql(settings.format(live.database)) == before
    opened.sql("SELECT count(*) FROM notes", user=reader.user)
    assert opened.sql("SHOW search_path") == [('public, "Odd; schema"',)]
    assert opened.sql("SHOW app.name") == [("it's",)]
    for _again in range(2):
        opened.dumps.switch_back(live, kept, fresh.database)
        assert opened.databases() == {live.database, fresh.database}
        assert opened.engine.row_counts(live.database)["public.notes"] == 0
    assert opened.psql(settings.format(live.database)) == before
    for _again in range(2):
        opened.dumps.discard(fresh.database, live)
    assert opened.databases() == {live.database}
    opened.server.login(live.user, PASSWORD, live.database)


def test_puts_a_database_where_there_is_none_any_more(opened: Opened) -> None:
    opened.dumps.dump(opened.access, opened.path)
    opened.psql(f"DROP DATABASE {opened.access.database}")
    fresh, kept = opened.staged(), f"{opened.access.database}__old"
    # A load that fails, and its database with it: the user goes on.
    opened.dumps.discard(fresh.database, fresh)
    fresh = opened.staged()
    opened.dumps.load(opened.path, fresh)
    opened.dumps.switch(opened.access, fresh.database, kept)
    assert opened.databases() == {opened.access.database, kept}
    assert opened.sql("SELECT count(*) FROM notes") == [(1000,)]
    opened.dumps.switch_back(opened.access, kept, fresh.database)
    assert opened.engine.row_counts(opened.access.database) == {}
    opened.dumps.switch(opened.access, fresh.database, kept)
    opened.dumps.discard(kept, opened.access)
    opened.server.login(opened.access.user, PASSWORD, opened.access.database)


def test_refuses_to_take_a_name_that_is_in_use(opened: Opened) -> None:
    fresh, kept = opened.staged(), opened.staged(f"{opened.access.database}__old").database
    with pytest.raises(HostError, match="such a database already"):
        opened.dumps.switch(opened.access, fresh.database, kept)
    assert opened.databases() == {opened.access.database, fresh.database, kept}


def test_forgets_the_role_of_an_app_that_is_gone_with_its_last_data(opened: Opened) -> None:
    fresh, kept = opened.staged(), f"{opened.access.database}__old"
    opened.dumps.switch(opened.access, fresh.database, kept)
    opened.engine.drop_user(opened.access)
    opened.engine.drop_database(opened.access)
    assert opened.engine.read([opened.access])[0].user_exists
    opened.dumps.discard(kept, opened.access)
    assert not opened.engine.read([opened.access])[0].user_exists


def test_finishes_a_switch_that_was_killed(opened: Opened) -> None:
    live, fresh, kept = opened.access, opened.staged(), f"{opened.access.database}__old"
    opened.sql("CREATE TABLE restored (a integer)", database=fresh.database)
    fork = multiprocessing.get_context("fork")

    def switch() -> None:
        engine = opened.server.open()
        PostgresqlDumps(engine, str(opened.scratch)).switch(live, fresh.database, kept)

    for delay in (0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12):
        process = fork.Process(target=switch)
        process.start()
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert opened.databases() in ({live.database, fresh.database}, {live.database, kept})
        opened.dumps.switch(live, fresh.database, kept)
        assert opened.databases() == {live.database, kept}
        assert opened.engine.row_counts(live.database) == {"public.restored": 0}
        opened.dumps.switch_back(live, kept, fresh.database)


def test_works_for_an_administrator_who_is_no_superuser(opened: Opened) -> None:
    opened.psql("DROP EXTENSION pg_buffercache", opened.access.database)
    opened.psql("CREATE ROLE manager LOGIN CREATEDB CREATEROLE PASSWORD 'managers-password'")
    opened.psql(f"GRANT {opened.access.user} TO manager")
    managed = Postgresql(opened.server.door, Credentials("manager", "managers-password"))
    managed.connect()
    dumps = PostgresqlDumps(managed, str(opened.scratch))
    dumps.dump(opened.access, opened.path)
    fresh = dataclasses.replace(opened.access, database=f"{opened.access.database}__new")
    other = opened.server.access(f"{opened.access.database}_other")
    create(managed, other)
    managed.create_database(fresh)
    for loaded in (fresh, other):
        dumps.load(opened.path, loaded)
        assert managed.row_counts(loaded.database) == ROWS
        assert opened.strangers(loaded.database, loaded.user) == ""
    dumps.switch(opened.access, fresh.database, f"{opened.access.database}__old")
    opened.sql("CREATE TABLE more (id serial)")
    managed.close()


def test_loads_without_a_transaction_what_has_too_many_tables_for_one(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.dumps.dump(opened.access, opened.path)
    real, loads = streams.load, []

    def load(path: str, program: object, secrets: object) -> None:
        loads.append(getattr(program, "argv", ()))
        if len(loads) == 1:
            raise HostError("", "out of shared memory HINT: You might need to increase max_locks_per_transaction.")
        real(path, program, secrets)  # type: ignore[arg-type]

    monkeypatch.setattr(streams, "load", load)
    fresh = opened.staged()
    opened.dumps.load(opened.path, fresh)
    assert ["--single-transaction" in argv for argv in loads] == [True, False]
    assert opened.engine.row_counts(fresh.database) == ROWS


def test_loads_by_psql_into_a_server_that_is_older_than_the_programs(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.dumps.dump(opened.access, opened.path)
    (directory,) = postgresql_programs.installed().values()
    monkeypatch.setattr(postgresql_programs, "installed", lambda: {17: directory})
    fresh = opened.staged()
    opened.psql("CREATE VIEW loud AS SELECT 1", fresh.database)
    with pytest.raises(HostError, match=r'psql .* relation "loud" already exists'):
        opened.dumps.load(opened.path, fresh)
    assert opened.engine.row_counts(fresh.database) == {}
    opened.psql("DROP VIEW loud", fresh.database)
    opened.dumps.load(opened.path, fresh)
    assert opened.engine.row_counts(fresh.database) == ROWS
    assert opened.strangers(fresh.database, opened.access.user) == ""
    assert opened.sql(f"SELECT a FROM {ODD}", database=fresh.database) == opened.sql(f"SELECT a FROM {ODD}")
    whole = pathlib.Path(opened.path).read_bytes()
    pathlib.Path(opened.path).write_bytes(whole[: len(whole) // 2])
    other = opened.staged(f"{opened.access.database}__more")
    with pytest.raises(HostError):
        opened.dumps.load(opened.path, other)
    assert opened.engine.row_counts(other.database) == {}


def test_names_the_package_of_a_server_that_is_newer(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_programs, "installed", lambda: {13: "/usr/lib/postgresql/13/bin"})
    with pytest.raises(HostError, match=r"Install postgresql-client-\d\d; packages"):
        opened.dumps.dump(opened.access, opened.path)
