# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Dumps of PostgreSQL, by pg_dump and pg_restore.

A dump and the row counts that go with it are of one snapshot, so they agree while the app writes on.

Who owns what, and who may do what, is part of a dump; the roles themselves are not, for a server has them and not a
database. Loaded for the same user, everything is as it was, and roles that are not there are made without a login.
Loaded for another user everything belongs to that one, and the others have no part in it.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from typing import ClassVar, cast

from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases import postgresql_catalog
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql import Postgresql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import Session
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps import (
    postgresql_owners,
    postgresql_programs,
    postgresql_text,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps, Dumped
from ansible_collections.serverkit.core.plugins.module_utils._plan import postgresql_outline
from ansible_collections.serverkit.core.plugins.module_utils._plan.postgresql_outline import Outline
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import encoded_forms
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, second_login

# pg_backup_archiver.h: what an archive starts with.
_MAGIC = b"PGDMP"
# The end of the last table's rows (pg_backup_custom.c): a length of zero, as a sign and four bytes.
_END_OF_DATA = b"\0" * 5
# Of the archive, and since when pg_restore knows it (pg_backup_archiver.h, K_VERS_*). Older than any here: 1.14.
_KNOWN_SINCE = {15: 16, 16: 17}
_HAS_TRANSACTION_TIMEOUT = 17
_LOCK_WAIT = "600s"
_BUSY = "being accessed by other users"
_OUT_OF_LOCKS = "max_locks_per_transaction"
_ATTEMPTS = 5


class PostgresqlDumps(DatabaseDumps):
    """The databases of one PostgreSQL server."""

    directory: ClassVar[str] = "postgres"
    suffix: ClassVar[str] = "dump"

    def __init__(self, engine: DatabaseEngine, scratch: str) -> None:
        super().__init__(engine, scratch)
        self._server = cast(Postgresql, engine)
        self._secrets = [form for secret in self.secrets for form in encoded_forms(secret)]

    # --- dump ---

    def dump(self, access: Access, path: str) -> Dumped:
        with self._server.inside(access.database) as session:
            snapshot = _begin(session)
            client = self._client(session, 0)
            arguments = ("--format=custom", "--compress=0", "--quote-all-identifiers", f"--snapshot={snapshot}")
            program = client.program(
                "pg_dump", *arguments, f"--lock-wait-timeout={_LOCK_WAIT}", f"--dbname={access.database}"
            )
            counting = _Counting(session)
            counting.start()
            try:
                stored = streams.store(program, path, self._secrets)
            except BaseException:
                session.cancel()
                raise
            finally:
                counting.join()
            try:
                return self._whole(stored, counting, session)
            except BaseException:
                os.unlink(path)
                raise

    def _whole(self, stored: streams.Stored, counting: _Counting, session: Session) -> Dumped:
        if counting.error:
            raise counting.error
        if counting.rows and not stored.tail.endswith(_END_OF_DATA):
            raise HostError(
                f"dump the database {session.database} of {self.engine.where}",
                "what pg_dump wrote does not end as the rows of a table do",
                "Run the backup again",
            )
        version = session.rows("SHOW server_version")[0][0].split()[0]
        return Dumped(stored, counting.rows, version=f"PostgreSQL {version}")

    @staticmethod
    def check(stored: streams.Stored, path: str) -> None:  # noqa: ARG004 - other formats have an end
        """The format has an end for each table and none for the whole: its checksum is what tells that it is whole."""
        if _archive_version(path) is None:
            raise HostError(f"read the dump {path}", "it is none of pg_dump's", "Use another backup")

    # --- load ---

    def load(self, path: str, access: Access) -> None:
        with self._server.inside(access.database) as session:
            client = self._client(session, _KNOWN_SINCE.get(_archive_version(path) or 0, 0))
            outline = self._outline(client, path)
            same = access.user in outline.users and not self._is_own(access)
            with postgresql_owners.roles(self._server, session, outline.roles if same else ()):
                same = same and postgresql_owners.may_be_kept(session, outline)
                self._restore(client, session, path, same)
                if same:
                    adopted = outline if access.privileges != "owner" else dataclasses.replace(outline, owner="")
                    postgresql_owners.adopt(session, access.database, adopted)
            self._server.grant(access)
            if not same and not self._is_own(access) and access.privileges == "owner":
                postgresql_owners.give_away(session, access.user)

    def _is_own(self, access: Access) -> bool:
        """Whether we are the app, and no administrator."""
        return self._server.user in (access.user, second_login(access.user))

    def _outline(self, client: postgresql_programs.Client, path: str) -> Outline:
        sections = ("--section=pre-data", "--section=post-data")
        program = client.program("pg_restore", "--create", *sections, "--file=-", login=False)
        return postgresql_outline.parse(postgresql_text.outline(path, program))

    def _restore(self, client: postgresql_programs.Client, session: Session, path: str, same: bool) -> None:
        try:
            try:
                self._run(client, session, path, ("--single-transaction",), same)
            except HostError as error:
                # Each table is a lock until the end of a transaction. All of it was taken back.
                if _OUT_OF_LOCKS not in error.reason:
                    raise
                self._run(client, session, path, (), same)
        except HostError as error:
            raise _explained(error) from None

    def _run(
        self, client: postgresql_programs.Client, session: Session, path: str, once: tuple[str, ...], same: bool
    ) -> None:
        database = f"--dbname={session.database}"
        arguments = ("--no-tablespaces", *(() if same else ("--no-owner", "--no-acl")))
        if client.major >= _HAS_TRANSACTION_TIMEOUT > session.version // 10000:
            psql = client.program(
                "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *once, "--file=-", database
            )
            text = client.program("pg_restore", *arguments, "--file=-", login=False)
            postgresql_text.load(path, text, psql, self._secrets)
            return
        program = client.program("pg_restore", "--exit-on-error", *arguments, *once, database)
        streams.load(path, program, self._secrets)

    def _client(self, session: Session, least: int) -> postgresql_programs.Client:
        return postgresql_programs.client(self._server, session.version // 10000, least, self.scratch)

    # --- switch ---

    def switch(self, live: Access, fresh: str, kept: str) -> None:
        """In one transaction, so that there is nothing between before and after."""
        with self._server.inside(self._server.maintenance) as session:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._switch(session, live, fresh, kept)
                    break
                except HostError as error:
                    # Somebody who connects again and again. The server has waited for him to leave.
                    if _BUSY not in error.reason or attempt == _ATTEMPTS:
                        raise

    def _switch(self, session: Session, live: Access, fresh: str, kept: str) -> None:
        there = postgresql_owners.present(session, (live.database, fresh, kept))
        if fresh not in there:
            if live.database in there:
                return  # done, or nothing to take back
            raise HostError(
                f"put {fresh} in the place of the database {live.database} of {self.engine.where}",
                "neither of them is there",
                "Restore the database again",
            )
        if live.database in there and kept in there:
            raise HostError(
                f"keep the database {live.database} of {self.engine.where} as {kept}",
                "there is such a database already",
                "Find out whose it is, rename it or drop it, and run again",
            )
        if not there & {live.database, kept}:
            # What was not there is kept as an empty one: whoever takes a switch back has to know that there was one.
            self._server.create_database(dataclasses.replace(live, database=kept))
        session.disconnect([live.database, fresh])
        with session.transaction():
            if live.database in there:
                postgresql_owners.take_over(session, live.database, fresh)
                session.run("ALTER DATABASE {} RENAME TO {}", live.database, kept)
            session.run("ALTER DATABASE {} RENAME TO {}", fresh, live.database)

    def discard(self, database: str, access: Access) -> None:
        self._server.remove_database(database)
        self._server.forget_unlinked(access)


class _Counting(threading.Thread):
    """Counts rows while they are dumped, which reads them from the disk once for both."""

    def __init__(self, session: Session) -> None:
        super().__init__(daemon=True)
        self.rows: dict[str, int] = {}
        self.error: HostError | None = None
        self._session = session

    def run(self) -> None:
        try:
            self.rows = postgresql_catalog.row_counts(self._session)
        except HostError as error:
            self.error = error


def _begin(session: Session) -> str:
    """Begin a transaction that nothing ends but we, and return the name of its snapshot."""
    session.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    if session.version // 10000 >= _HAS_TRANSACTION_TIMEOUT:
        timeouts.append("transaction_timeout")
    for name in timeouts:
        session.run("SET LOCAL {} = 0", name)
    snapshot = str(session.rows("SELECT pg_export_snapshot()")[0][0])
    # A count that fails must not end the transaction before pg_dump has found out, and said, what is wrong.
    session.rows("SAVEPOINT counting")
    return snapshot


def _archive_version(path: str) -> int | None:
    """Return the minor number of an archive's format, which is 1.something; None when it is none."""
    head = b""
    with streams.read(path) as parts:
        for part in parts:
            head += part
            if len(head) > len(_MAGIC) + 1:
                break
    return head[len(_MAGIC) + 1] if head.startswith(_MAGIC + b"\1") and len(head) > len(_MAGIC) + 1 else None


def _explained(error: HostError) -> HostError:
    """Return a failure of pg_restore with what helps."""
    for sign, remedy in (
        ("is not available", "Install the package of that extension on the server, and run again"),
        ("permission denied to create extension", "Give an administrator who may create it"),
        ("must be", "Give an administrator of the server who is a superuser"),
    ):
        if sign in error.reason:
            return HostError(error.attempted, error.reason, remedy)
    return error
