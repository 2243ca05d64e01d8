# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry in PostgreSQL: one for a whole fleet. Needs psycopg2 on the host, and only there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import schema
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.driver import WAIT, Driver, Row
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.sqlite import in_memory
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact

_CONNECT_TIMEOUT = 10  # seconds; libpq's own default is to wait for ever

# PostgreSQL, appendix A: error codes.
_UNIQUE_VIOLATION = "23505"
_INSUFFICIENT_PRIVILEGE = "42501"
_LOCK_NOT_AVAILABLE = "55P03"
_READ_ONLY_TRANSACTION = "25006"


def open_for_writing(dsn: str, host: str) -> PostgresqlDriver:
    """Connect. The tables may be missing or outdated.

    :raises RegistryError, InputError, HostError: when there is no such server, no such driver, or no such DSN.
    """
    return PostgresqlDriver(dsn, host, read_only=False)


def open_for_reading(dsn: str, host: str) -> Driver:
    """Connect so that nothing can be written; a database without our tables is an empty registry.

    :raises RegistryError, InputError, HostError: as open_for_writing.
    """
    driver = PostgresqlDriver(dsn, host, read_only=True)
    return driver if driver.is_up_to_date() else in_memory(driver.where, driver)


class PostgresqlDriver:
    """A Driver for one PostgreSQL database. libpq's messages can quote the DSN, so each is redacted."""

    def __init__(self, dsn: str, host: str, *, read_only: bool) -> None:
        self._psycopg2 = _psycopg2()
        parameters = _parsed(self._psycopg2, dsn)
        secrets = [value for key, value in parameters.items() if "password" in key]
        self._secrets = [dsn, *secrets, *(unquote(value) for value in secrets)]
        place = "/".join(parameters[key] for key in ("host", "dbname") if parameters.get(key))
        self._where = redact(f"in PostgreSQL ({place or 'local'})", self._secrets)
        self._host = host
        try:
            self._connection: Any = self._psycopg2.connect(dsn, **_defaults(parameters))
            # Not left to psycopg2: it would open transactions around reads, and keep them open.
            self._connection.set_session(readonly=read_only, autocommit=True)
        except self._psycopg2.Error as error:
            raise self._explained(error, f"open the registry {self._where}") from None
        self.execute(f"SET lock_timeout = '{WAIT:.0f}s'")

    @property
    def where(self) -> str:
        return self._where

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql.replace("?", "%s"), tuple(parameters))
                if sql == "COMMIT" and cursor.statusmessage != "COMMIT":
                    # PostgreSQL answers COMMIT after a failed statement by rolling back, without an error.
                    raise RegistryError(f"write the registry {self._where}", "an earlier statement had failed")
                return cursor.fetchall() if cursor.description else []
        except self._psycopg2.Error as error:
            raise self._explained(error, f"use the registry {self._where}") from None

    def execute_all(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        try:
            with self._connection.cursor() as cursor:
                self._psycopg2.extras.execute_batch(cursor, sql.replace("?", "%s"), rows)
        except self._psycopg2.Error as error:
            raise self._explained(error, f"use the registry {self._where}") from None

    def begin(self) -> None:
        self.execute("BEGIN")
        self._lock(f"host {self._host}")

    def lock_all_hosts(self) -> None:
        """Always taken after the host's own lock, so that two runs cannot wait for each other."""
        self._lock("all hosts")

    def commit(self) -> None:
        self.execute("COMMIT")

    def rollback(self) -> None:
        self.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def schema_version(self) -> int:
        # Not to_regclass(): it answers from a cache that does not see what another session has made while we waited
        # for an advisory lock. Scanning the catalog takes a lock on a table, and that freshens the cache.
        sql = "SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'serverkit_schema' AND pg_table_is_visible(oid)"
        if not self.execute(sql):
            return 0
        rows = self.execute("SELECT version FROM serverkit_schema")
        return int(rows[0][0]) if rows else 0

    def is_up_to_date(self) -> bool:
        """Whether the tables can be read as they are; a newer schema can not, and is refused by the caller's copy."""
        return self.schema_version() == len(schema.MIGRATIONS)

    def set_schema_version(self, version: int) -> None:
        self.execute("CREATE TABLE IF NOT EXISTS serverkit_schema (version INTEGER NOT NULL)")
        self.execute("DELETE FROM serverkit_schema")
        self.execute("INSERT INTO serverkit_schema VALUES (?)", (version,))

    def _lock(self, what: str) -> None:
        digest = hashlib.sha256(f"serverkit.core registry, {what}".encode()).digest()
        self.execute("SELECT pg_advisory_xact_lock(?)", (int.from_bytes(digest[:8], "big", signed=True),))

    def _explained(self, error: Any, attempted: str) -> RegistryError:
        code = error.pgcode or ""
        if code == _LOCK_NOT_AVAILABLE:
            reason = f"other runs have kept it locked for {WAIT:.0f} seconds"
            return RegistryError(attempted, reason, "Wait for them to end, then run again")
        text = redact(" ".join(str(error).split()), self._secrets)
        if code == _UNIQUE_VIOLATION:
            return RegistryError(attempted, f"another run was faster ({text})", "Run again")
        if code == _INSUFFICIENT_PRIVILEGE:
            return RegistryError(attempted, text, "Let the role of registry_dsn own the database")
        if code == _READ_ONLY_TRANSACTION:
            return RegistryError(attempted, text, "Point registry_dsn at the primary server, not at a standby")
        return RegistryError(attempted, text, "Check registry_dsn and the PostgreSQL server")


def _psycopg2() -> Any:
    try:
        import psycopg2
        import psycopg2.extras
    except ImportError as error:
        raise HostError(
            "open the registry in PostgreSQL",
            "the Python library psycopg2 is not installed on this host",
            "Install python3-psycopg2, or run site.yml with registry_dsn set",
        ) from error
    return psycopg2


def _parsed(psycopg2: Any, dsn: str) -> dict[str, str]:
    """Split a DSN; what is wrong with it is not quoted, because the quote may be a piece of the password."""
    _scheme, is_url, rest = dsn.partition("://")
    authority = rest.partition("?")[0]
    if is_url and (authority.count("@") > 1 or "/" in authority.rpartition("@")[0]):
        # libpq would take the rest of the password for a host name, and show that in its messages.
        raise InputError(
            "use registry_dsn",
            "its user name or password has '@' or '/' in it",
            "Percent-encode them: '@' is %40, '/' is %2F",
        )
    try:
        parsed: dict[str, str] = psycopg2.extensions.parse_dsn(dsn)
    except psycopg2.Error:
        raise InputError(
            "use registry_dsn",
            "it is not a PostgreSQL connection string",
            "Write it as postgresql://user:password@host/database, with special characters percent-encoded",
        ) from None
    return parsed


def _defaults(parameters: dict[str, str]) -> dict[str, object]:
    return {
        "fallback_application_name": "serverkit.core",
        **({} if "connect_timeout" in parameters else {"connect_timeout": _CONNECT_TIMEOUT}),
    }
