# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Two databases of a MySQL or MariaDB server change names, though the servers cannot rename one.

All tables move in a single RENAME TABLE, which is done or not done. What cannot be moved (views, triggers, routines,
events) is read, written down, dropped before, and made anew afterwards. It is written down in a table of the fresh
database, so that nothing is lost when the run is killed: the next one goes on from there, forwards or backwards. The
database that is kept is made after that table, and the fresh one ends together with it.

Privileges stay with the name: the app's user has on the restored data what it had on the old.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mysql import Mysql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps import mysql_objects
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mysql_rights import lent, take_back
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import mysql_identifier as quoted
from ansible_collections.serverkit.core.plugins.module_utils._plan.mysql_switch import (
    DATA,
    JOURNAL,
    Journal,
    Part,
    moves,
)

_LOCK_SECONDS = 60


class Switch:
    """`live` is to be called `kept`, and `fresh` is to be called `live`.

    :param session: an administrator's connection that nobody else uses: its settings are changed.
    :param user: of the app.
    """

    def __init__(self, session: Mysql, user: str, live: str, fresh: str, kept: str) -> None:
        self._session = session
        self._user = user
        self._live = live
        self._fresh = fresh
        self._kept = kept
        self._attempted = f"put the database {fresh} in the place of {live} on {session.where}"

    def run(self) -> None:
        """
        :raises HostError: when the server refuses a step, or there is no database `fresh`. Run again, or with `fresh`
            and `kept` the other way round, it goes on.
        """
        self._run("SET SESSION sql_mode = ''")  # the server's own may quote names in another way
        self._end_connections()
        journal = self._journal()
        if journal is None:
            present = self._databases()
            if self._kept in present and not (self._fresh in present and self._tables(self._fresh)):
                self._drop_empty(self._fresh)
                return  # done before
            if self._fresh not in present:
                raise HostError(self._attempted, f"there is no database {self._fresh}", "Run the restore again")
            journal = self._begin(present)
        if {journal.fresh, journal.kept} != {self._fresh, self._kept} or journal.live != self._live:
            reason = f"that of {journal.fresh} in the place of {journal.live} has not come to its end"
            raise HostError(self._attempted, reason, "Let that restore finish, or take it back, first")
        self._converge(journal, forward=journal.fresh == self._fresh)

    # --- the journal ---

    def _journal(self) -> Journal | None:
        """Return what a run that was cut off wrote down."""
        found = (self._read_journal(database) for database in (self._kept, self._fresh))
        return next((one for one in found if one and not one.done), None)

    def _read_journal(self, database: str) -> Journal | None:
        name = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        if not self._run(name, database, JOURNAL):
            return None
        rows = self._run(f"SELECT content FROM {quoted(database)}.{quoted(JOURNAL)}")  # noqa: S608 - quoted
        # Without a row: cut off between the statements of _write_journal.
        return Journal.read(str(rows[0][0])) if rows else None

    def _write_journal(self, journal: Journal) -> None:
        path = f"{quoted(journal.kept if journal.done else journal.fresh)}.{quoted(JOURNAL)}"
        self._run(
            f"CREATE TABLE IF NOT EXISTS {path} (id INT PRIMARY KEY, content LONGTEXT) ENGINE=InnoDB"
            " CHARACTER SET utf8mb4"
        )
        self._run(f"REPLACE INTO {path} VALUES (1, %s)", journal.written())  # noqa: S608 - quoted above

    def _begin(self, present: frozenset[str]) -> Journal:
        if self._kept in present and self._tables(self._kept):
            reason = f"there is a database {self._kept} with tables already"
            raise HostError(self._attempted, reason, "Delete that one, if nobody needs it")
        parts = [part for database in (self._live, self._fresh) for part in mysql_objects.read(self._session, database)]
        before = self._read_journal(self._fresh)
        if before:
            parts += [part.moved(self._fresh) for part in before.parts]
        existed = self._live in present
        journal = Journal(self._live, self._fresh, self._kept, existed=existed, parts=tuple(parts))
        self._write_journal(journal)
        return journal

    # --- from there to the end ---

    def _converge(self, journal: Journal, *, forward: bool) -> None:
        """Bring everything in the journal to where it shall be, from wherever it is."""
        target = journal.targets(forward=forward)
        for database, like in ((journal.live, journal.fresh), (journal.kept, journal.live)):
            self._create(database, like)
        self._drop_objects(journal)
        self._move_tables(journal, forward=forward)
        with contextlib.ExitStack() as rights:
            for database in {*target.values()} - {self._live}:
                rights.enter_context(lent(self._session, self._user, database))
            broken = self._make_objects(journal.parts, target)
        for part, reason in broken.items():
            # In the database that is kept, a view may miss what an accident has taken from the app's.
            if not (part.broken or (forward and part.home == journal.live)):
                raise HostError(self._attempted, f"the {part.kind.lower()} {part.name} cannot be made again: {reason}")
        self._finish(journal, forward=forward, broken=tuple(broken))

    def _finish(self, journal: Journal, *, forward: bool, broken: tuple[Part, ...]) -> None:
        if not forward:
            self._drop_empty(journal.kept)
            if not journal.existed:
                self._drop_empty(journal.live)
            self._run(f"DROP TABLE {quoted(journal.fresh)}.{quoted(JOURNAL)}")
            return
        kept = tuple(part.as_broken() for part in broken if part.home == journal.live)
        if kept:
            # They did not work before, either. When the kept database is wanted back, they are tried again.
            self._write_journal(Journal(journal.live, journal.fresh, journal.kept, parts=kept, done=True))
        self._drop_empty(journal.fresh)

    def _drop_objects(self, journal: Journal) -> None:
        known = {(part.kind, part.name) for part in journal.parts}
        for database in (journal.live, journal.fresh, journal.kept):
            for kind, name in mysql_objects.names(self._session, database):
                if (kind, name) in known:
                    self._run(f"DROP {kind} IF EXISTS {quoted(database)}.{quoted(name)}")

    def _move_tables(self, journal: Journal, *, forward: bool) -> None:
        present = {
            database: frozenset(self._tables(database)) for database in (journal.live, journal.fresh, journal.kept)
        }
        steps = [f"{_path(source)} TO {_path(place)}" for source, place in moves(journal, present, forward=forward)]
        if steps:
            self._run(f"RENAME TABLE {', '.join(steps)}")

    def _make_objects(self, parts: Sequence[Part], target: dict[str, str]) -> dict[Part, str]:
        """Return those that the server refuses, with its reason. A view may need another one that comes later."""
        left = {part: "" for part in sorted(parts) if part.kind != DATA}
        progress = True
        while left and progress:
            refused: dict[Part, str] = {}
            for part in left:
                try:
                    mysql_objects.make(self._session, target[part.home], part)
                except HostError as error:
                    refused[part] = error.reason
            progress = len(refused) < len(left)
            left = refused
        return left

    # --- parts of the above ---

    def _end_connections(self) -> None:
        """What is left of the app would make us wait for its locks, and go on to write into the kept tables."""
        self._run(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
        places = [self._live, self._fresh, self._kept]
        rows = self._run(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE (USER = %s OR DB IN %s) AND ID != CONNECTION_ID()",
            self._user,
            places,
        )
        for (number,) in rows:
            with contextlib.suppress(HostError):  # it has ended by itself
                self._run(f"KILL {int(number)}")

    def _tables(self, database: str) -> list[str]:
        return mysql_objects.tables(self._session, database)

    def _databases(self) -> frozenset[str]:
        wanted = [self._live, self._fresh, self._kept]
        rows = self._run("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN %s", wanted)
        return frozenset(str(row[0]) for row in rows)

    def _create(self, database: str, like: str) -> None:
        rows = self._run(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
            " WHERE SCHEMA_NAME = %s",
            like,
        )
        form = f" CHARACTER SET {rows[0][0]} COLLATE {rows[0][1]}" if rows else ""
        self._run(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}{form}")

    def _drop_empty(self, database: str) -> None:
        left = self._tables(database)
        if left:
            raise HostError(self._attempted, f"{database} has tables that nobody expects there: {_listed(left)}")
        if database != self._live:
            take_back(self._session, database)
        self._run(f"DROP DATABASE IF EXISTS {quoted(database)}")

    def _run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._session.statement(sql, *values)


def _path(place: tuple[str, str]) -> str:
    return ".".join(map(quoted, place))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:5])
