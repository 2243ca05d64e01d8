# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""A connection to one database of a PostgreSQL server."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import missing_library
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Credentials, Endpoint

# PostgreSQL, appendix A: error codes.
_REMEDIES = {
    "28P01": "Check the user and its password",
    "28000": "Check the user, and what pg_hba.conf says of it",
    "3D000": "Check the database's name",
    "42501": "Use an administrator who may create databases and roles, and who is a member of the roles concerned",
    "53300": "Raise max_connections on the server, or try again",
    "55006": "Disconnect whoever uses it, then run again",
}
_UNREACHABLE = "Check that the server runs, and that host, port or socket are right"

# libpq 16 has a word for "those of the system"; older ones want a file.
_SYSTEM_CERTIFICATES = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"


class Session:
    """One connection in autocommit mode, in UTF-8, with explicit transactions."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials, database: str) -> None:
        self._psycopg2 = psycopg2()
        self._secrets = [credentials.password] if credentials.password else []
        self.database = database
        self._where = endpoint.socket or endpoint.identity
        try:
            self._connection: Any = self._psycopg2.connect(
                host=endpoint.socket or endpoint.host,
                port=endpoint.port,
                user=credentials.user,
                password=credentials.password,
                dbname=database,
                connect_timeout=endpoint.timeout,
                client_encoding="UTF8",
                application_name="serverkit.core",
                **tls_parameters(endpoint),
            )
            self._connection.set_session(autocommit=True)
        except self._psycopg2.Error as error:
            raise self._explained(error, f"log in to {self._where} as {credentials.user}") from None

    @property
    def version(self) -> int:
        """The server's, as a number: 150004 is 15.4."""
        return int(self._connection.server_version)

    def rows(self, statement: Any, values: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; none for a statement that has none.

        :param statement: SQL, or a composition of psycopg2.sql where names are part of it.
        :raises HostError: when the server refuses.
        """
        return self._execute(f"read {self._where}", statement, values)

    def count(self, statement: str, *names: object) -> int:
        """Return the one number that a query of some names answers.

        :raises HostError: when the server refuses.
        """
        composed = self.sql.SQL(statement).format(*(self._identifiers(name) for name in names))
        return int(self.rows(composed)[0][0])

    def run(self, statement: str, *names: object, values: Sequence[object] = (), secret: str = "") -> None:
        """Run one statement that changes something.

        :param names: for its `{}`: a name each, or several, which get commas between them.
        :param secret: never to be seen in a message.
        :raises HostError: when the server refuses.
        """
        composed = self.sql.SQL(statement).format(*(self._identifiers(name) for name in names))
        self._execute(f"change the database {self.database} on {self._where}", composed, values, secret)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, or, on any exception, none of it."""
        self._execute(f"change {self._where}", "BEGIN")
        try:
            yield
            self._execute(f"change {self._where}", "COMMIT")
        except BaseException:
            # The first failure is the one to tell; a connection that is gone has rolled back by itself.
            with contextlib.suppress(HostError):
                self._execute("", "ROLLBACK")
            raise

    def verifier(self, password: str, role: str) -> str:
        """Return what the server shall keep instead of a password, made here so that no log has the password."""
        algorithm = self.rows("SHOW password_encryption")[0][0]
        encrypt = self._psycopg2.extensions.encrypt_password
        try:
            found: str = encrypt(password, role, self._connection, "md5" if algorithm in ("md5", "on") else algorithm)
        except (self._psycopg2.Error, UnicodeError) as error:
            raise self._explained(error, f"prepare the password of {role}", password) from None
        return found

    def disconnect(self, databases: Sequence[str]) -> None:
        """End everybody else's connections to some databases."""
        kick = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid()"
        )
        self.rows(kick, (list(databases),))

    def cancel(self) -> None:
        """End the statement that another thread waits for."""
        with contextlib.suppress(self._psycopg2.Error):
            self._connection.cancel()

    def close(self) -> None:
        self._connection.close()

    @property
    def sql(self) -> Any:
        return self._psycopg2.sql

    def _identifiers(self, name: object) -> Any:
        if isinstance(name, str):
            return self.sql.Identifier(name)
        if isinstance(name, tuple) and name and all(isinstance(part, str) for part in name):
            return self.sql.SQL(".").join(map(self.sql.Identifier, name))  # schema and table
        if isinstance(name, list):
            return self.sql.SQL(", ").join(map(self._identifiers, name))
        return name

    def _execute(
        self, attempted: str, statement: Any, values: Mapping[str, object] | Sequence[object] = (), secret: str = ""
    ) -> list[tuple[Any, ...]]:
        try:
            with self._connection.cursor() as cursor:
                # Without values psycopg2 leaves the statement alone, `%` and all.
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        except self._psycopg2.Error as error:
            raise self._explained(error, attempted, secret) from None

    def _explained(self, error: Any, attempted: str, secret: str = "") -> HostError:
        known = [text for text in (*self._secrets, secret) if text]
        code = getattr(error, "pgcode", None) or ""
        text = redact(" ".join(str(error).split()), known)
        if not code and "password authentication failed" in text:
            code = "28P01"  # psycopg2 has no code for a connection that was refused
        elif not code and "pg_hba.conf" in text:
            code = "28000"
        remedy = _REMEDIES.get(code, "" if code else _UNREACHABLE)
        return HostError(attempted, text, remedy)


def tls_parameters(endpoint: Endpoint) -> dict[str, str]:
    """Return libpq's connection parameters for an endpoint's TLS; without it none."""
    tls = endpoint.tls
    if tls is None:
        return {}
    files = {"sslrootcert": tls.ca or _SYSTEM_CERTIFICATES, "sslcert": tls.certificate, "sslkey": tls.key}
    if tls.mode == "require":
        del files["sslrootcert"]  # with it, libpq checks who signed in this mode as well
    return {"sslmode": tls.mode, **{name: path for name, path in files.items() if path}}


def psycopg2() -> Any:
    """Return the driver.

    :raises HostError: when it is not installed.
    """
    try:
        import psycopg2 as driver
        import psycopg2.extensions
        import psycopg2.sql
    except ImportError as error:
        raise missing_library("psycopg2", "python3-psycopg2", "PostgreSQL") from error
    return driver
