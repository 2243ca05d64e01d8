# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""MariaDB and MySQL, by PyMySQL.

Two passwords at once: MySQL keeps a second one since 8.0.14 (RETAIN CURRENT PASSWORD). MariaDB has tried several
authentication methods for an account since 10.4, and lets one be named twice with different passwords.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases import mysql_accounts
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import (
    DatabaseEngine,
    missing_library,
    tls_context,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan import database_passwords
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import (
    MYSQL_PRIVILEGES,
    mysql_identifier,
    mysql_pattern,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    Login,
)

# Error codes: MySQL 8.4 Error Message Reference.
_ACCESS_DENIED = frozenset({1044, 1045, 1698})
_UNKNOWN_DATABASE = 1049
_LACKS_PRIVILEGE = frozenset({1142, 1227, 1370, 1410})
_UNREACHABLE = frozenset({2002, 2003, 2006, 2013})
_TOO_MANY_CONNECTIONS = frozenset({1040, 1203})
_PASSWORD_POLICY = frozenset({1819, 1827})
_NO_SUCH_GRANT = 1141
_NO_SUCH_THREAD = 1094


class Mysql(DatabaseEngine):
    """One MariaDB or MySQL server. MySQL's accounts are pairs of user and host; a link has one for each host."""

    def __init__(self, endpoint: Any, admin: Credentials | None) -> None:
        super().__init__(endpoint, admin)
        # Seconds to wait for the answer to a statement; None: as long as it takes, for those that move all data.
        self.patience: int | None = 60
        self._connection: Any = None
        self._banner = ""
        self._escapes = True
        self._accounts: dict[str, mysql_accounts.User] = {}

    # --- connection ---

    def connect(self) -> None:
        if self._connection is not None:
            return
        self._connection = self._connected(self.admin or Credentials("root"), None, "the administrator's")
        rows = self._query("SELECT VERSION()")
        self._banner = str(rows[0][0])
        if not self.is_mariadb:
            # With partial revokes, MySQL takes `_` in a database's name for itself, and a backslash, too.
            self._escapes = self._query("SELECT @@partial_revokes")[0][0] != 1 if self.at_least(8, 0, 16) else True

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(_pymysql().err.Error):
                self._connection.close()
            self._connection = None

    def login(self, credentials: Credentials, database: str) -> None:
        connection = self._connected(credentials, database, f"{credentials.user}'s")
        connection.close()

    def _connected(self, credentials: Credentials, database: str | None, whose: str) -> Any:
        pymysql = _pymysql()
        endpoint = self.endpoint
        where = {"unix_socket": endpoint.socket} if endpoint.socket else {"host": endpoint.host, "port": endpoint.port}
        secret = credentials.password or ""
        try:
            return pymysql.connect(
                **where,
                user=credentials.user,
                # PyMySQL sends a text as Latin-1, for which there is no reason but history; bytes it leaves alone.
                password=secret.encode(),
                database=database,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=endpoint.timeout,
                read_timeout=self.patience,
                write_timeout=self.patience,
                ssl=tls_context(endpoint.tls) if endpoint.tls else None,
            )
        except (pymysql.err.Error, OSError, RuntimeError) as error:
            # RuntimeError: the library "cryptography" is missing, which MySQL's own passwords need without TLS.
            raise self._explained(error, f"log in to {self.where} with {whose} account", secret) from None

    # --- reading ---

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self._banner.lower()

    def version(self) -> str:
        number = re.search(r"\d+(?:\.\d+)+", self._banner.removeprefix("5.5.5-"))
        return f"{'MariaDB' if self.is_mariadb else 'MySQL'} {number[0] if number else self._banner}"

    def rotation_gap(self) -> str:
        enough = self.at_least(10, 4, 0) if self.is_mariadb else self.at_least(8, 0, 14)
        return "" if enough else f"{self.version()} keeps one password for an account"

    def read(self, accesses: Sequence[Access]) -> list[DatabaseState]:
        found = mysql_accounts.read(self._query, accesses, is_mariadb=self.is_mariadb, escapes=self._escapes)
        self._accounts.update(found.users)
        return [found.state(access) for access in accesses]

    def matches(self, login: Login, password: str) -> bool | None:
        user = self._accounts.get(login.name)
        # Each host that the user may come from has a password of its own, and the app's has to be good from everywhere.
        sets = list(user.verifiers.values()) if user else [login.verifiers]
        answers = [_matches_any(verifiers, password) for verifiers in sets]
        if False in answers:
            return False
        return True if answers and None not in answers else None

    def row_counts(self, database: str) -> dict[str, int]:
        tables = self._query(
            "SELECT TABLE_NAME FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME",
            database,
        )
        counts = {}
        for (table,) in tables:
            path = f"{mysql_identifier(database)}.{mysql_identifier(table)}"
            counts[table] = int(self._query(f"SELECT COUNT(*) FROM {path}")[0][0])  # noqa: S608 - quoted above
        return counts

    # --- writing ---

    def create_database(self, access: Access) -> None:
        name = mysql_identifier(access.database)
        self._run(access, f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4")

    def create_user(self, access: Access, password: str) -> None:
        # With its password from the start: an account without one is open to everybody.
        method, value = ("BY %s", password)
        if self.is_mariadb:
            method, value = ("VIA mysql_native_password USING %s", database_passwords.mysql_native(password))
        for host in access.hosts:
            sql = f"CREATE USER IF NOT EXISTS %s@%s IDENTIFIED {method}"
            self._run(access, sql, access.user, host, value, secret=password)
        self.set_password(access, access.user, password)

    def grant(self, access: Access) -> None:
        """Grants come before revocations: at no time has a running app less than it shall have."""
        self._mend_hosts(access)
        known = self._known(access)
        wanted = MYSQL_PRIVILEGES[access.privileges]
        words = "ALL PRIVILEGES" if access.privileges == "owner" else ", ".join(sorted(wanted))
        place = self.place(access.database)
        for host in access.hosts:
            self._run(access, f"GRANT {words} ON {place} TO %s@%s", access.user, host)
            held = known.privileges(host, access.database)
            excess = held & {"GRANT OPTION"} if access.privileges == "owner" else held - wanted
            if excess:
                self._run(access, f"REVOKE {', '.join(sorted(excess))} ON {place} FROM %s@%s", access.user, host)
            if self._pattern(access.database) != access.database and known.has_unescaped(host, access.database):
                wide = self._place(access.database)
                for what in ("ALL PRIVILEGES", "GRANT OPTION"):
                    sql = f"REVOKE {what} ON {wide} FROM %s@%s"
                    self._run(access, sql, access.user, host, tolerated=_NO_SUCH_GRANT)

    def set_password(self, access: Access, login: str, password: str) -> None:
        hosts = self._hosts(access)
        if self.is_mariadb:
            self._identify(access, hosts, [password])
            return
        by = ", ".join("%s@%s IDENTIFIED BY %s" for _host in hosts)
        values = [value for host in hosts for value in (login, host, password)]
        self._run(access, f"ALTER USER {by}", *values, secret=password)
        if not self.rotation_gap():
            forget = ", ".join("%s@%s DISCARD OLD PASSWORD" for _host in hosts)
            self._run(access, f"ALTER USER {forget}", *self._pairs(access, hosts))

    def begin_rotation(self, access: Access, login: str, current: str, new: str) -> str:
        state = self.read([access])[0]
        known = state.login(login)
        if known is None or self.matches(known, current) is False:
            raise self.not_valid(login)
        hosts = self._hosts(access)
        if self.is_mariadb:
            self._identify(access, hosts, [current, new])
            return login
        if known.passwords > 1:  # left by a rotation that was killed: which of the two is current, the caller knows
            self.set_password(access, login, current)
        by = ", ".join("%s@%s IDENTIFIED BY %s RETAIN CURRENT PASSWORD" for _host in hosts)
        values = [value for host in hosts for value in (login, host, new)]
        self._run(access, f"ALTER USER {by}", *values, secret=new)
        return login

    def drop_user(self, access: Access) -> None:
        for host in self._known(access, again=True).hosts:
            self._run(access, "DROP USER IF EXISTS %s@%s", access.user, host)
        self._accounts.pop(access.user, None)
        for (number,) in self._query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s", access.user):
            self._run(access, f"KILL {int(number)}", tolerated=_NO_SUCH_THREAD)

    def drop_database(self, access: Access) -> None:
        self._run(access, f"DROP DATABASE IF EXISTS {mysql_identifier(access.database)}")

    # --- parts of the above ---

    def _identify(self, access: Access, hosts: Sequence[str], passwords: Iterable[str]) -> None:
        """MariaDB: let accounts log in with these passwords, given as verifiers so that no log has the passwords."""
        method = " OR ".join("mysql_native_password USING %s" for _password in passwords)
        verifiers = [database_passwords.mysql_native(password) for password in passwords]
        by = ", ".join(f"%s@%s IDENTIFIED VIA {method}" for _host in hosts)
        values = [value for host in hosts for value in (access.user, host, *verifiers)]
        self._run(access, f"ALTER USER {by}", *values)

    def _mend_hosts(self, access: Access) -> None:
        """Make the accounts that are missing, with the passwords of those that are there, and drop the others."""
        known = self._known(access, again=True)
        missing = [host for host in access.hosts if host not in known.hosts]
        for host in missing:
            method, values = known.method(is_mariadb=self.is_mariadb)
            self._run(access, f"CREATE USER %s@%s {method}", access.user, host, *values)
        for host in known.hosts:
            if host not in access.hosts:
                self._run(access, "DROP USER IF EXISTS %s@%s", access.user, host)
        if missing or set(known.hosts) != set(access.hosts):
            self.read([access])

    def _known(self, access: Access, *, again: bool = False) -> mysql_accounts.User:
        if again or access.user not in self._accounts:
            self.read([access])
        return self._accounts.get(access.user, mysql_accounts.User(access.user))

    def _hosts(self, access: Access) -> list[str]:
        """All accounts of the user, also those that grant() has not yet taken away: a password is for all of them."""
        known = self._known(access, again=True)
        return sorted(known.hosts) or list(access.hosts)

    def _pairs(self, access: Access, hosts: Iterable[str]) -> list[str]:
        return [value for host in hosts for value in (access.user, host)]

    def place(self, database: str) -> str:
        """Return a database as GRANT wants it."""
        return self._place(self._pattern(database))

    @staticmethod
    def _place(pattern: str) -> str:
        return f"{mysql_identifier(pattern)}.*"

    def _pattern(self, database: str) -> str:
        return mysql_pattern(database) if self._escapes else database

    def at_least(self, *wanted: int) -> bool:
        """Whether the server has this version, of its product, or a newer one."""
        numbers = re.findall(r"\d+", self._banner.removeprefix("5.5.5-"))[:3]
        return tuple(map(int, numbers)) >= wanted

    # --- statements ---

    def statement(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement of a dump or of a restore, and return its rows."""
        return self._execute(f"read or change databases on {self.where}", sql, values)

    def _query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._execute(f"read {self.where}", sql, values)

    def _run(self, access: Access, sql: str, *values: object, secret: str = "", tolerated: int = 0) -> None:
        self._execute(f"change {access.user} and {access.database} on {self.where}", sql, values, secret, tolerated)

    def _execute(
        self, attempted: str, sql: str, values: Sequence[object], secret: str = "", tolerated: int = 0
    ) -> list[tuple[Any, ...]]:
        pymysql = _pymysql()
        try:
            with self._connection.cursor() as cursor:
                # Without values PyMySQL leaves the statement alone, `%` and all.
                cursor.execute(sql, values or None)
                return list(cursor.fetchall())
        except (pymysql.err.Error, OSError) as error:
            if tolerated and error.args[:1] == (tolerated,):
                return []
            raise self._explained(error, attempted, secret) from None

    def _explained(self, error: Exception, attempted: str, secret: str) -> HostError:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = " ".join(str(error.args[-1] if error.args else error).split())
        reason = self.redacted(text, secret)
        return HostError(attempted, reason, _remedy(code, error))


def _matches_any(verifiers: Sequence[str], password: str) -> bool | None:
    answers = [database_passwords.matches_mysql(verifier, password) for verifier in verifiers]
    if any(answers):
        return True
    return False if answers and None not in answers else None


def _remedy(code: int, error: Exception) -> str:
    if isinstance(error, RuntimeError):
        return "Install python3-cryptography on this host, or use TLS"
    if code in _UNREACHABLE or isinstance(error, OSError):
        return "Check that the server runs, and that host, port or socket are right"
    if code in _ACCESS_DENIED:
        return "Check the user, its password, and from where it may log in"
    if code == _UNKNOWN_DATABASE:
        return "Check the database's name"
    if code in _LACKS_PRIVILEGE:
        return "Use an administrator who may create databases and users and read the database mysql"
    if code in _TOO_MANY_CONNECTIONS:
        return "Raise max_connections on the server, or try again"
    if code in _PASSWORD_POLICY:
        return "The server's password policy refuses it; give a password that it takes, or change the policy"
    return ""


def _pymysql() -> Any:
    try:
        import pymysql
    except ImportError as error:
        raise missing_library("pymysql", "python3-pymysql", "MySQL or MariaDB") from error
    return pymysql
