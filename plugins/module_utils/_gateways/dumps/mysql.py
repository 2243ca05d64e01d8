# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Dumps of MySQL and MariaDB, by their own programs.

The dump is of one snapshot of the server (InnoDB); rows are counted in a snapshot of the same time, on a connection of
its own, while the dump is written. Tables of engines without transactions (MyISAM, Aria) are dumped as they are when
their turn comes.

What a dump defines with the rights of a user (views, triggers, routines, events) belongs to the app's user when it is
loaded, whoever had defined it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from ansible_collections.serverkit.core.plugins.module_utils._edges import processes, streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mysql import Mysql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps, Dumped
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mysql_rights import lent, take_back
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mysql_switch import Switch
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import mysql_identifier
from ansible_collections.serverkit.core.plugins.module_utils._plan.mysql_dump import (
    adapted,
    is_complete,
    option_file,
    option_value,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Endpoint

# Where Debian and Ubuntu have the authorities that everybody trusts.
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

_OPTIONS = (
    *("--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob"),
    # Without the date, two dumps of the same data are the same.
    *("--default-character-set=utf8mb4", "--no-tablespaces", "--skip-dump-date", "--max-allowed-packet=1G"),
)
# Of MySQL's own program only: statements that need an administrator to load them, and a table that MariaDB has not.
_MYSQL_OPTIONS = ("--set-gtid-purged=OFF", "--column-statistics=0")
# A row that holds a line end, a NUL or a comment in a routine's text arrives as it left.
_LOAD_OPTIONS = (
    *("--batch", "--binary-mode", "--comments"),
    *("--default-character-set=utf8mb4", "--max-allowed-packet=1G"),
)

# InnoDB and MyISAM say when a table was last written to, and no other engine reliably so.
_MOVING = (
    "SELECT TABLE_NAME FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
    " AND (COALESCE(ENGINE, '') NOT IN ('InnoDB', 'MyISAM') OR UPDATE_TIME >= %s) ORDER BY TABLE_NAME"
)
_VERSIONED = (
    "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'SYSTEM VERSIONED'"
)


class MysqlDumps(DatabaseDumps):
    """Databases of one MySQL or MariaDB server."""

    directory: ClassVar[str] = "mysql"
    suffix: ClassVar[str] = "sql"

    def dump(self, access: Access, path: str) -> Dumped:
        tool = self._tool("mariadb-dump", "mysqldump")
        argv = [tool.name, *_OPTIONS, *(() if tool.is_mariadb else _MYSQL_OPTIONS)]
        with self._session() as session, self._options(tool) as options:
            if tool.is_mariadb and self._at_least_10_11 and session.statement(_VERSIONED, access.database)[0][0]:
                argv.append("--dump-history")
            argv.insert(1, f"--defaults-file={options}")
            with _counting(session, self._mysql, access.database) as counting:
                program = Program((*argv, access.database), self._environment)
                stored = streams.store(program, path, self.secrets)
                try:
                    self.check(stored, path)
                    rows = counting.rows()
                    moving = counting.moving()
                except BaseException:
                    os.unlink(path)
                    raise
        return Dumped(stored, rows, moving, self.engine.version())

    @staticmethod
    def check(stored: streams.Stored, path: str) -> None:
        if not is_complete(stored.tail):
            raise HostError(f"use the dump {path}", "it does not end as a complete dump of MySQL or MariaDB does")

    def load(self, path: str, access: Access) -> None:
        tool = self._tool("mariadb", "mysql")
        attempted = f"load {path} into {access.database} on {self.engine.where}"
        with self._options(tool) as options, self._rights(access):
            argv = (tool.name, f"--defaults-file={options}", *_LOAD_OPTIONS, access.database)
            with streams.read(path) as content, processes.pipeline(attempted, self.secrets) as running:
                client = running.start(Program(argv, self._environment), stdin=subprocess.PIPE)
                database = mysql_identifier(access.database).encode()
                for part in adapted(content, database, self._definer(access).encode()):
                    if not client.write(part):
                        break
                client.close()
                client.wait()
                client.check()

    def switch(self, live: Access, fresh: str, kept: str) -> None:
        with self._session() as session:
            Switch(session, live.user, live.database, fresh, kept).run()

    def switch_back(self, live: Access, kept: str, fresh: str) -> None:
        with self._session() as session:
            if session.statement("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", kept):
                Switch(session, live.user, live.database, kept, fresh).run()

    def discard(self, database: str, access: Access) -> None:  # noqa: ARG002 - a database's name says all here
        with self._session() as session:
            take_back(session, database)
            session.statement(f"DROP DATABASE IF EXISTS {mysql_identifier(database)}")

    # --- parts of the above ---

    @property
    def _mysql(self) -> Mysql:
        return cast("Mysql", self.engine)

    @property
    def _at_least_10_11(self) -> bool:
        return self._mysql.is_mariadb and self._mysql.at_least(10, 11)

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(form for secret in super().secrets for form in (secret, option_value(secret)))

    @property
    def _environment(self) -> dict[str, str]:
        # MySQL's programs read ~/.mylogin.cnf in spite of --defaults-file, unless it is elsewhere.
        return {"MYSQL_TEST_LOGIN_FILE": f"{self.scratch}/none"}

    @contextlib.contextmanager
    def _session(self) -> Iterator[Mysql]:
        """A further connection, which waits for an answer as long as it takes."""
        session = type(self._mysql)(self.engine.endpoint, self.engine.admin)
        session.patience = None
        session.connect()
        try:
            yield session
        finally:
            session.close()

    def _tool(self, mariadb: str, mysql: str) -> _Tool:
        """Return the program that is the server's own, else the other one's."""
        names = (mariadb, mysql) if self._mysql.is_mariadb else (mysql, mariadb)
        found = next((name for name in names if shutil.which(name)), "")
        if not found:
            reason = f"the program {names[0]} is not installed"
            remedy = f"Install {'mariadb-client' if self._mysql.is_mariadb else 'default-mysql-client'}"
            raise HostError(f"dump or load a database of {self.engine.where}", reason, remedy)
        with processes.pipeline(f"ask {found} for its version") as running:
            program = running.start(Program((found, "--version")), stdout=subprocess.PIPE)
            text = program.output.read().decode(errors="replace")
            program.wait()
            program.check()
        return _Tool(found, "mariadb" in text.lower())

    @contextlib.contextmanager
    def _options(self, tool: _Tool) -> Iterator[str]:
        admin = self.engine.admin
        options = {"user": admin.user if admin else "root"}
        if admin and admin.password:
            options["password"] = admin.password
        options.update(_place(self.engine.endpoint, is_mariadb=tool.is_mariadb))
        descriptor, path = tempfile.mkstemp(dir=self.scratch, prefix="client-", suffix=".cnf")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(option_file(options))
            yield path
        finally:
            os.unlink(path)

    def _definer(self, access: Access) -> str:
        if self._is_own(access):
            return "CURRENT_USER"
        # One of the accounts that there are; the app may have been linked with other networks than it is now.
        hosts = self.engine.read([access])[0].hosts
        host = next((one for one in access.hosts if one in hosts), (*hosts, *access.hosts)[0])
        return f"{mysql_identifier(access.user)}@{mysql_identifier(host)}"

    @contextlib.contextmanager
    def _rights(self, access: Access) -> Iterator[None]:
        """Let the app's user be the definer of what is loaded into a database that is not its own yet."""
        if self._is_own(access) or self.engine.read([access])[0].some_privileges:
            yield
            return
        with self._session() as session, lent(session, access.user, access.database):
            yield

    def _is_own(self, access: Access) -> bool:
        """Whether the connection is the app's own."""
        return self.engine.admin is not None and self.engine.admin.user == access.user


@dataclass(frozen=True)
class _Tool:
    """A client program, and whose it is: options differ."""

    name: str
    is_mariadb: bool


class _Counting:
    """Counts rows in a snapshot while the dump is under way."""

    def __init__(self, session: Mysql, database: str) -> None:
        self._session = session
        self._database = database
        session.statement("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._begun: Any = session.statement("SELECT NOW()")[0][0]
        self.connection = int(session.statement("SELECT CONNECTION_ID()")[0][0])
        session.statement("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._rows = self._pool.submit(session.row_counts, database)

    def rows(self) -> dict[str, int]:
        return self._rows.result()

    def moving(self) -> tuple[str, ...]:
        """Tables that were written to since: the program's snapshot is a moment younger than ours."""
        self._session.statement("COMMIT")
        if not self._session.is_mariadb and self._session.at_least(8, 0):
            # Else MySQL says what it knew up to a day ago.
            self._session.statement("SET SESSION information_schema_stats_expiry = 0")
        return tuple(row[0] for row in self._session.statement(_MOVING, self._database, self._begun))

    def finish(self) -> None:
        self._pool.shutdown(wait=True)


@contextlib.contextmanager
def _counting(session: Mysql, engine: Mysql, database: str) -> Iterator[_Counting]:
    counting = _Counting(session, database)
    try:
        yield counting
    except BaseException:
        # Nobody wants the numbers any more, and to count may take long.
        with contextlib.suppress(HostError):
            engine.statement(f"KILL {counting.connection}")
        raise
    finally:
        counting.finish()


def _place(endpoint: Endpoint, *, is_mariadb: bool) -> dict[str, str]:
    """Where the server is and how to be sure of it, as options. MySQL's programs and MariaDB's call TLS differently.

    With `loose-` in front of it, an option that a program does not know is none of its business.
    """
    if endpoint.socket:
        return {"socket": endpoint.socket}
    place = {"host": endpoint.host, "port": str(endpoint.port), "protocol": "tcp"}
    tls = endpoint.tls
    if tls is None:
        if is_mariadb:
            return {**place, "loose-ssl": "0"}  # a default of MariaDB 11.4, which a server without TLS does not answer
        return {**place, "loose-get-server-public-key": "1"}  # for caching_sha2_password
    verified = tls.mode != "require"
    place["loose-ssl-mode"] = {"require": "REQUIRED", "verify-ca": "VERIFY_CA"}.get(tls.mode, "VERIFY_IDENTITY")
    if is_mariadb:
        place |= {"loose-ssl": "1", "loose-ssl-verify-server-cert": "1" if verified else "0"}
    if verified:
        place["ssl-ca"] = tls.ca or _AUTHORITIES
    if tls.certificate:
        place |= {"ssl-cert": tls.certificate, "ssl-key": tls.key or tls.certificate}
    return place
