# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of MariaDB: what goes into one comes out of it, and a restored database takes the place of the old one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import stat
import threading
from collections.abc import Iterator
from typing import Any

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.engines import open_engine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mysql import Mysql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps import mysql_objects
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mysql import MysqlDumps
from ansible_collections.serverkit.core.plugins.module_utils._plan.mysql_switch import JOURNAL
from ansible_collections.serverkit.core.plugins.module_utils._plan.restore_names import staged_name
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Credentials, DatabaseTls
from database_links import PASSWORD, create, numbers, sql
from database_servers import Server

# An app's database with something of each kind, and text and bytes that programs trip over.
CONTENT = (
    (
        "CREATE TABLE authors (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(200), born YEAR,"
        " upper_name VARCHAR(200) GENERATED ALWAYS AS (UPPER(name)) STORED,"
        " length INT GENERATED ALWAYS AS (CHAR_LENGTH(name)) VIRTUAL) ENGINE=InnoDB CHARACTER SET utf8mb4"
    ),
    (
        "CREATE TABLE books (id INT PRIMARY KEY AUTO_INCREMENT, author INT, title TEXT, cover LONGBLOB, bits BIT(9),"
        " FOREIGN KEY (author) REFERENCES authors (id) ON DELETE CASCADE) ENGINE=InnoDB CHARACTER SET utf8mb4"
    ),
    "CREATE TABLE log (line TEXT) ENGINE=Aria CHARACTER SET utf8mb4",
    "CREATE TABLE words (word VARCHAR(50), FULLTEXT (word)) ENGINE=MyISAM CHARACTER SET utf8mb4",
    "CREATE TABLE prices (id INT PRIMARY KEY, price INT) WITH SYSTEM VERSIONING",
    "CREATE TABLE empty_one (id INT)",
    "CREATE TABLE `we``ird %s-name ü` (`a column` INT)",
    "CREATE SEQUENCE numbers START WITH 100",
    "CREATE TRIGGER authors_a BEFORE INSERT ON authors FOR EACH ROW SET NEW.name = CONCAT(NEW.name, ' *')",
    (
        "CREATE TRIGGER authors_b BEFORE INSERT ON authors FOR EACH ROW FOLLOWS authors_a"
        " SET NEW.name = CONCAT(NEW.name, '/*;*\\\\')"
    ),
    (
        "CREATE TRIGGER {database}.books_log AFTER INSERT ON {database}.books FOR EACH ROW"
        " INSERT INTO log VALUES (CONCAT('new: ', NEW.title))"
    ),
    "CREATE VIEW with_author AS SELECT title, name FROM books JOIN authors ON authors.id = books.author",
    "CREATE SQL SECURITY INVOKER VIEW a_view_of_a_view AS SELECT title FROM with_author",
    "CREATE FUNCTION twice (n INT) RETURNS INT DETERMINISTIC\n-- DEFINER=`root`@`localhost`\nRETURN n * 2",
    "CREATE VIEW doubled AS SELECT twice(id) AS n, '`{database}`.`x`' AS text FROM authors",
    "CREATE PROCEDURE add_word (IN w VARCHAR(50))\nBEGIN\n  /* kept */ INSERT INTO words VALUES (w);\r\nEND",
    "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 00:00:00' DISABLE DO DELETE FROM log",
    "INSERT INTO authors (name) VALUES ('Ärger'), ('O''Neill'), ('\U0001f600 \\\\ \"x\"')",
    (
        "INSERT INTO books (author, title, cover, bits) VALUES (1, 'a\\nb\\r\\n\\0c', X'000A0D1A5C27FF', b'101010101'),"
        " (2, '\\nCREATE DEFINER=`root`@`localhost` PROCEDURE', NULL, NULL), (3, '', '', 0)"
    ),
    "INSERT INTO prices VALUES (1, 10)",
    "UPDATE prices SET price = 20",
    "CALL add_word('wörd')",
    "DO NEXTVAL(numbers)",
)
TABLES = {"authors": 3, "books": 3, "empty_one": 0, "log": 3, "prices": 1, "we`ird %s-name ü": 0, "words": 1}
QUESTIONS = (
    "SELECT * FROM authors ORDER BY id",
    "SELECT id, author, title, HEX(cover), bits + 0 FROM books ORDER BY id",
    "SELECT line FROM log ORDER BY line",
    "SELECT word FROM words",
    "SELECT price, row_end > NOW() + INTERVAL 1 DAY FROM prices FOR SYSTEM_TIME ALL ORDER BY price",
    "SELECT * FROM with_author ORDER BY title",
    "SELECT title FROM a_view_of_a_view ORDER BY title",
    "SELECT twice(21)",
    "SELECT n FROM doubled ORDER BY n",
    "SELECT NEXTVAL(numbers) > 100",
    (
        "SELECT EVENT_NAME, STATUS, STARTS, EVENT_DEFINITION FROM information_schema.EVENTS"
        " WHERE EVENT_SCHEMA = DATABASE()"
    ),
    (
        "SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
        " ORDER BY ROUTINE_NAME"
    ),
    (
        "SELECT TRIGGER_NAME, ACTION_ORDER, ACTION_STATEMENT FROM information_schema.TRIGGERS"
        " WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME"
    ),
    (
        "SELECT TABLE_NAME, ENGINE, TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        " AND TABLE_TYPE != 'VIEW' ORDER BY TABLE_NAME"
    ),
    (
        "SELECT CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA = DATABASE()"
        " FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()"
    ),
)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Server]:
    with database_servers.mariadb() as found:
        yield found


@pytest.fixture
def engine(mariadb: Server) -> Iterator[Mysql]:
    found = mariadb.open()
    assert isinstance(found, Mysql)
    yield found
    found.close()


@pytest.fixture
def dumps(engine: Mysql, tmp_path: pathlib.Path) -> DatabaseDumps:
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o700)
    return MysqlDumps(engine, str(scratch))


@pytest.fixture
def access(mariadb: Server, engine: Mysql) -> Access:
    """An app's own database, empty."""
    return new_app(mariadb, engine)


def new_app(server: Server, engine: Mysql, name: str = "") -> Access:
    access = server.access(name or f"app_{next(numbers)}", user=f"user_{next(numbers)}")
    create(engine, access)
    return access


def fill(server: Server, access: Access, *statements: str) -> None:
    wanted = [statement.replace("{database}", f"`{access.database}`") for statement in statements or CONTENT]
    sql(server, access.database, access.user, *wanted)


def content(server: Server, access: Access) -> list[Any]:
    return [sql(server, access.database, access.user, question) for question in QUESTIONS]


def staged(engine: Mysql, access: Access, mark: str = "new1") -> Access:
    """The database that a restore loads into."""
    fresh = dataclasses.replace(access, database=staged_name(access.engine, access.database, mark))
    engine.create_database(fresh)
    return fresh


def databases(engine: Mysql, access: Access) -> set[str]:
    rows = engine.statement("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
    return {row[0] for row in rows if row[0].startswith(access.database)}


def shape(engine: Mysql, database: str) -> list[Any]:
    """All that makes a database, with definers; comparable between databases."""
    session = Mysql(engine.endpoint, engine.admin)
    session.connect()
    parts = sorted(mysql_objects.read(session, database))
    session.close()
    return [dataclasses.astuple(part.moved("")) for part in parts]


# --- dump and load ----------------------------------------------------------------------------------------------------


def test_what_is_dumped_is_loaded(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fill(mariadb, access)
    before = content(mariadb, access)
    path = str(tmp_path / "one.sql.zst")
    dumped = dumps.dump(access, path)
    assert dict(dumped.rows) == TABLES
    assert dumped.version == engine.version()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    dumps.check(streams.check(path), path)
    assert os.listdir(dumps.scratch) == []
    engine.drop_database(access)
    engine.create_database(access)
    dumps.load(path, access)
    assert content(mariadb, access) == before
    assert engine.row_counts(access.database) == TABLES
    # Triggers are there, but have not run for what was loaded.
    fill(mariadb, access, "INSERT INTO authors (name) VALUES ('new')")
    assert sql(mariadb, access.database, access.user, "SELECT MAX(name) FROM authors WHERE id > 3")[0][0].startswith(
        "new */*"
    )


def test_an_app_dumps_and_loads_its_own_database(
    mariadb: Server, engine: Mysql, access: Access, tmp_path: pathlib.Path
) -> None:
    """Where nobody gave an administrator's login: a managed server, or one in another container."""
    fill(mariadb, access)
    engine.statement(f"CREATE VIEW `{access.database}`.by_root AS SELECT * FROM `{access.database}`.authors")
    before = content(mariadb, access)
    own = open_engine(mariadb.door, Credentials(access.user, PASSWORD))
    own.connect()
    dumps = MysqlDumps(own, str(tmp_path))
    path = str(tmp_path / "one.sql.zst")
    assert dict(dumps.dump(access, path).rows) == TABLES
    engine.drop_database(access)
    engine.create_database(access)
    dumps.load(path, access)
    own.close()
    assert content(mariadb, access) == before


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_a_dump_over_tls(mariadb: Server, engine: Mysql, access: Access, tmp_path: pathlib.Path, mode: Any) -> None:
    fill(mariadb, access, "CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)")
    engine.statement(f"ALTER USER '{access.user}'@'{access.hosts[0]}' REQUIRE SSL")
    tls = DatabaseTls(mode, ca=f"{mariadb.certificates}/ca.pem" if mode == "verify-full" else None)
    own = open_engine(dataclasses.replace(mariadb.door, tls=tls), Credentials(access.user, PASSWORD))
    own.connect()
    path = str(tmp_path / "one.sql.zst")
    assert dict(MysqlDumps(own, str(tmp_path)).dump(access, path).rows) == {"t": 1}
    own.close()


def test_a_server_that_is_not_the_right_one_gets_no_password(
    mariadb: Server, engine: Mysql, access: Access, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = DatabaseTls("verify-full", ca=f"{mariadb.certificates}/ca.pem")
    own = open_engine(dataclasses.replace(mariadb.door, tls=tls), Credentials(access.user, PASSWORD))
    own.connect()
    dumps = MysqlDumps(own, str(tmp_path))
    own.endpoint = dataclasses.replace(
        own.endpoint, tls=DatabaseTls("verify-full", f"{mariadb.certificates}/other.pem")
    )
    monkeypatch.setattr(dumps, "_session", lambda: contextlib.nullcontext(own))
    with pytest.raises(HostError, match=r"TLS|SSL|certificate"):
        dumps.dump(access, str(tmp_path / "one.sql.zst"))
    own.close()


def test_what_was_defined_by_others_belongs_to_the_app_that_it_is_loaded_for(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    """Nobody's view acts with an administrator's rights because a backup was loaded by one."""
    fill(mariadb, access, "CREATE TABLE t (id INT)", "INSERT INTO t VALUES (7)")
    engine.statement(f"USE `{access.database}`")
    for statement in (
        "CREATE DEFINER='gone'@'1.2.3.4' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + 1",
        "CREATE DEFINER='root'@'localhost' VIEW v AS SELECT id FROM t",
        "CREATE DEFINER='gone'@'1.2.3.4' FUNCTION f () RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE DEFINER='we`ird'@'%' PROCEDURE p () SELECT 1",
        "CREATE DEFINER='root'@'localhost' EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    ):
        engine.statement(statement)
    path = str(tmp_path / "one.sql.zst")
    dumps.dump(access, path)
    other = new_app(mariadb, engine)
    dumps.load(path, other)
    wanted = f"DEFINER=`{other.user}`@`{other.hosts[0]}`"
    made = [part for part in mysql_objects.read(engine, other.database) if part.sql]
    assert len(made) == 5
    assert [part for part in made if wanted not in part.sql] == []
    assert sql(mariadb, other.database, other.user, "SELECT id FROM v") == [(7,)]


def test_tables_that_are_written_to_meanwhile_are_named(
    mariadb: Server, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fill(
        mariadb,
        access,
        "CREATE TABLE busy (id INT PRIMARY KEY AUTO_INCREMENT, filler CHAR(200))",
        "CREATE TABLE quiet (id INT)",
        "INSERT INTO quiet VALUES (1), (2)",
        "INSERT INTO busy (filler) SELECT SEQ FROM seq_1_to_20000",
    )
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            fill(mariadb, access, "INSERT INTO busy (filler) VALUES ('x')")

    writer = threading.Thread(target=write)
    threading.Event().wait(1.1)  # MariaDB tells the second in which a table was written to
    writer.start()
    try:
        dumped = dumps.dump(access, str(tmp_path / "one.sql.zst"))
    finally:
        stop.set()
        writer.join()
    assert dumped.moving == ("busy",)
    assert dumped.rows["quiet"] == 2
    assert dumped.rows["busy"] >= 20000


@pytest.mark.parametrize("kind", ["MyISAM", "Aria"])
def test_a_corrupt_table_fails_the_dump_and_leaves_no_file(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path, kind: str
) -> None:
    fill(
        mariadb,
        access,
        f"CREATE TABLE torn (id INT, filler TEXT) ENGINE={kind}",
        "INSERT INTO torn SELECT SEQ, REPEAT('x', 500) FROM seq_1_to_5000",
        "CREATE TABLE fine (id INT)",
    )
    engine.statement("FLUSH TABLES")
    data = engine.statement("SELECT @@datadir")[0][0]
    suffix = ".MYD" if kind == "MyISAM" else ".MAD"
    file = pathlib.Path(data) / access.database / f"torn{suffix}"
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(b"\xff" * 16384)
    path = tmp_path / "one.sql.zst"
    with pytest.raises(HostError, match=r"torn|crashed|corrupt|[Ii]ncorrect"):
        dumps.dump(access, str(path))
    assert not path.exists()


def test_a_stopped_or_killed_server_fails_the_dump(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fill(
        mariadb,
        access,
        "CREATE TABLE t (id INT, filler TEXT)",
        "INSERT INTO t SELECT SEQ, REPEAT('x', 2000) FROM seq_1_to_30000",
    )
    path = tmp_path / "one.sql.zst"
    done = threading.Event()
    # Connected before the dump begins, which does not take long.
    other = mariadb.open()
    assert isinstance(other, Mysql)

    def kill() -> None:
        while not done.is_set():
            for (number,) in other.statement(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT /*!40001 SQL_NO_CACHE%'"
            ):
                other.statement(f"KILL {number}")
                done.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(HostError, match="dump"):
            dumps.dump(access, str(path))
    finally:
        done.set()
        killer.join()
        other.close()
    assert not path.exists()


def test_a_load_stops_at_the_first_error(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    path = str(tmp_path / "bad.sql.zst")
    text = (
        b"CREATE TABLE one (id INT);\nINSERT INTO nowhere VALUES (1);\nCREATE TABLE two (id INT);\n-- Dump completed\n"
    )
    streams.store([text], path)
    with pytest.raises(HostError, match="nowhere"):
        dumps.load(path, access)
    assert engine.row_counts(access.database) == {"one": 0}


def test_a_damaged_or_cut_dump_is_not_loaded_to_its_end(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fill(mariadb, access)
    path = tmp_path / "one.sql.zst"
    dumps.dump(access, str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    fresh = staged(engine, access)
    with pytest.raises(HostError):
        dumps.load(str(path), fresh)
    cut = tmp_path / "cut.sql.zst"
    stored = streams.store([b"CREATE TABLE one (id INT);\n"], str(cut))
    with pytest.raises(HostError, match="complete"):
        dumps.check(stored, str(cut))
    assert os.listdir(dumps.scratch) == []


# --- the switch -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The run is gone, between two statements."""


class Mortal(Mysql):
    """An engine that is killed after some statements that write; a switch keeps nothing but what is on the server."""

    lives = 1 << 30

    def statement(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        if sql.split(maxsplit=1)[0] in ("CREATE", "DROP", "RENAME", "REPLACE", "GRANT", "REVOKE"):
            if Mortal.lives == 0:
                raise Killed
            Mortal.lives -= 1
        return super().statement(sql, *values)


@pytest.fixture
def mortal(engine: Mysql, tmp_path: pathlib.Path) -> Iterator[DatabaseDumps]:
    found = Mortal(engine.endpoint, engine.admin)
    found.connect()
    yield MysqlDumps(found, str(tmp_path))
    Mortal.lives = 1 << 30
    found.close()


def restored(mariadb: Server, engine: Mysql, access: Access, dumps: DatabaseDumps, tmp_path: pathlib.Path) -> Access:
    """An app's database that was dumped, went on, and was loaded again under a new name; that one."""
    fill(mariadb, access)
    path = str(tmp_path / f"{access.user}.sql.zst")
    dumps.dump(access, path)
    fill(
        mariadb,
        access,
        "DELETE FROM books WHERE id = 1",
        "CREATE TABLE newer (id INT)",
        "CREATE VIEW newer_view AS SELECT * FROM newer",
        "DROP PROCEDURE add_word",
        "CREATE FUNCTION later () RETURNS INT DETERMINISTIC RETURN 3",
    )
    fresh = staged(engine, access)
    dumps.load(path, fresh)
    return fresh


def test_a_restored_database_takes_the_place_of_the_old_one_and_gives_it_back(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fresh = restored(mariadb, engine, access, dumps, tmp_path).database
    kept = staged_name("mariadb", access.database, "old1")
    old, new, rights = shape(engine, access.database), shape(engine, fresh), engine.read([access])
    dumps.switch(access, fresh, kept)
    assert databases(engine, access) == {access.database, kept}
    assert (shape(engine, access.database), shape(engine, kept)) == (new, old)
    assert engine.read([access]) == rights
    assert engine.row_counts(access.database) == TABLES
    assert all(content(mariadb, access))
    dumps.switch(access, fresh, kept)  # done already
    assert shape(engine, access.database) == new
    dumps.switch_back(access, kept, fresh)
    assert databases(engine, access) == {access.database, fresh}
    assert (shape(engine, access.database), shape(engine, fresh)) == (old, new)
    dumps.switch_back(access, kept, fresh)  # done already
    assert shape(engine, access.database) == old
    # Whoever deletes an author, deletes the books in the same database.
    fill(mariadb, access, "DELETE FROM authors WHERE id = 2")
    assert engine.row_counts(access.database)["books"] == 1
    assert engine.row_counts(fresh)["books"] == 3
    dumps.discard(fresh, access)
    dumps.discard(fresh, access)
    assert databases(engine, access) == {access.database}


# One of each that a switch treats in its own way.
LITTLE = (
    "CREATE TABLE one (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE two (one INT, FOREIGN KEY (one) REFERENCES one (id)) ENGINE=InnoDB",
    "CREATE TRIGGER tr BEFORE INSERT ON one FOR EACH ROW SET NEW.id = NEW.id + 1",
    "CREATE VIEW v AS SELECT id FROM one",
)


def test_a_switch_that_is_killed_anywhere_goes_on_or_is_taken_back(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, mortal: DatabaseDumps, access: Access
) -> None:
    fill(mariadb, access, *LITTLE, "INSERT INTO one VALUES (1)", "CREATE TABLE newer (id INT)")
    fresh = staged(engine, access).database
    kept = staged_name("mariadb", access.database, "old1")
    session = Mysql(engine.endpoint, engine.admin)
    session.connect()
    session.statement(f"USE `{fresh}`")
    for statement in LITTLE:
        session.statement(statement)
    session.close()
    old, new = shape(engine, access.database), shape(engine, fresh)
    for lives in range(200):
        Mortal.lives = lives
        try:
            mortal.switch(access, fresh, kept)
        except Killed:
            Mortal.lives = 1 << 30
        else:
            break
        if lives % 2:
            dumps.switch_back(access, kept, fresh)
        else:
            dumps.switch(access, fresh, kept)
            assert (shape(engine, access.database), shape(engine, kept)) == (new, old)
            assert databases(engine, access) == {access.database, kept}
            Mortal.lives = lives
            with contextlib.suppress(Killed):
                mortal.switch_back(access, kept, fresh)
            Mortal.lives = 1 << 30
            dumps.switch_back(access, kept, fresh)
        assert (shape(engine, access.database), shape(engine, fresh)) == (old, new)
        assert databases(engine, access) == {access.database, fresh}
    assert lives > 15
    assert (shape(engine, access.database), shape(engine, kept)) == (new, old)
    assert engine.row_counts(kept) == {"newer": 0, "one": 1, "two": 0}
    assert engine.read([access])[0].elsewhere == ()


def test_a_switch_where_the_old_database_is_gone(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fresh = restored(mariadb, engine, access, dumps, tmp_path).database
    new = shape(engine, fresh)
    engine.drop_database(access)
    dumps.switch(access, fresh, staged_name("mariadb", access.database, "old1"))
    assert shape(engine, access.database) == new
    assert all(content(mariadb, access))


def test_a_switch_where_the_old_database_is_damaged(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    """A view of a table that somebody dropped cannot be made again; it comes back if its table does."""
    fresh = restored(mariadb, engine, access, dumps, tmp_path).database
    fill(mariadb, access, "RENAME TABLE newer TO elsewhere")
    kept = staged_name("mariadb", access.database, "old1")
    dumps.switch(access, fresh, kept)
    assert engine.row_counts(access.database) == TABLES
    engine.statement(f"RENAME TABLE `{kept}`.elsewhere TO `{kept}`.newer")
    dumps.switch_back(access, kept, fresh)
    assert sql(mariadb, access.database, access.user, "SELECT * FROM newer_view") == []
    assert engine.row_counts(fresh) == TABLES
    names = {row[0] for row in engine.statement("SELECT TABLE_NAME FROM information_schema.TABLES")}
    assert JOURNAL not in names


def test_a_name_with_everything_in_it(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, tmp_path: pathlib.Path
) -> None:
    access = new_app(mariadb, engine, "A-b_" + "x" * 59)
    other = new_app(mariadb, engine, "A-bx" + "x" * 59)  # what a grant with a wildcard would cover
    fill(mariadb, other, "CREATE TABLE mine (id INT)")
    fresh = restored(mariadb, engine, access, dumps, tmp_path).database
    dumps.switch(access, fresh, staged_name("mariadb", access.database, "old1"))
    assert all(content(mariadb, access))
    assert engine.row_counts(other.database) == {"mine": 0}


def test_a_switch_ends_what_is_left_of_the_app(
    mariadb: Server, engine: Mysql, dumps: DatabaseDumps, access: Access, tmp_path: pathlib.Path
) -> None:
    fresh = restored(mariadb, engine, access, dumps, tmp_path).database
    own = open_engine(mariadb.door, Credentials(access.user, PASSWORD))
    own.connect()
    assert isinstance(own, Mysql)
    own.statement(f"LOCK TABLES `{access.database}`.authors WRITE")
    dumps.switch(access, fresh, staged_name("mariadb", access.database, "old1"))
    with pytest.raises(HostError):
        own.statement("SELECT 1")
    own.close()


def test_no_password_is_seen(mariadb: Server, access: Access, tmp_path: pathlib.Path) -> None:
    """Neither in the arguments of programs nor in what they complain of."""
    own = open_engine(mariadb.door, Credentials(access.user, PASSWORD))
    own.connect()
    with pytest.raises(HostError) as caught:
        MysqlDumps(own, str(tmp_path)).dump(dataclasses.replace(access, database="nowhere"), str(tmp_path / "x.zst"))
    assert PASSWORD not in str(caught.value)
    own.close()
