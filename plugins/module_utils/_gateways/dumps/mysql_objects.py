# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a database of a MySQL or MariaDB server has beside rows: read as SQL, and made again elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mysql import Mysql
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import mysql_identifier as quoted
from ansible_collections.serverkit.core.plugins.module_utils._plan.mysql_dump import bare_trigger, unqualified
from ansible_collections.serverkit.core.plugins.module_utils._plan.mysql_switch import DATA, JOURNAL, Part

_TABLES = (
    "SELECT TABLE_NAME FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') AND TABLE_NAME != %s"
)
_NAMES = (
    "SELECT 'VIEW', TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s UNION ALL"
    " SELECT 'TRIGGER', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s UNION ALL"
    " SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s UNION ALL"
    " SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s"
)
# The server's remark on a view, where it has one to make: "View 'a.b' references invalid table(s) ...".
_BROKEN = (
    "SELECT TABLE_NAME FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'VIEW' AND TABLE_COMMENT != 'VIEW'"
)
_TRIGGERS = "SELECT TRIGGER_NAME, ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"


def tables(session: Mysql, database: str) -> list[str]:
    """Return the names of a database's tables, the journal's left out."""
    return [str(row[0]) for row in session.statement(_TABLES, database, JOURNAL)]


def names(session: Mysql, database: str) -> list[tuple[str, str]]:
    """Return kind and name of what a database has beside tables."""
    return [(str(kind), str(name)) for kind, name in session.statement(_NAMES, *[database] * 4)]


def read(session: Mysql, database: str) -> Iterator[Part]:
    """Yield all that has to move when a database gets another name; nothing when there is no such database."""
    if not session.statement("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", database):
        return
    for name in tables(session, database):
        yield Part(database, DATA, name)
    yield from _triggers(session, database)
    session.statement(f"USE {quoted(database)}")  # or SHOW CREATE VIEW writes its name into every path
    broken = {str(row[0]) for row in session.statement(_BROKEN, database)}
    for kind, name in names(session, database):
        if kind == "VIEW":
            view = _view(session, database, name)
            yield view.as_broken() if name in broken else view
        elif kind == "EVENT":
            row = session.statement(f"SHOW CREATE EVENT {quoted(name)}")[0]
            yield Part(database, kind, name, sql=str(row[3]), mode=row[1], collation=row[5], zone=row[2])
        elif kind != "TRIGGER":
            row = session.statement(f"SHOW CREATE {kind} {quoted(name)}")[0]
            yield Part(database, kind, name, sql=str(row[2]), mode=row[1], collation=row[4])


def make(session: Mysql, database: str, part: Part) -> None:
    """Make a part that is none of data.

    :raises HostError: when the server refuses, such as for a view of a table that is not there.
    """
    session.statement(f"USE {quoted(database)}")
    before = session.statement("SELECT @@sql_mode, @@collation_connection, @@time_zone")[0]
    try:
        if part.mode is not None:
            session.statement("SET sql_mode = %s", part.mode)
        if part.collation is not None:
            session.statement("SET collation_connection = %s", part.collation)
        if part.zone is not None:
            session.statement("SET time_zone = %s", part.zone)
        session.statement(part.sql)
    finally:
        session.statement("SET sql_mode = %s, collation_connection = %s, time_zone = %s", *before)


def _view(session: Mysql, database: str, name: str) -> Part:
    row = session.statement(f"SHOW CREATE VIEW {quoted(name)}")[0]
    return Part(database, "VIEW", name, sql=unqualified(str(row[1]), database), collation=row[3])


def _triggers(session: Mysql, database: str) -> Iterator[Part]:
    for name, order in session.statement(_TRIGGERS, database):
        # Not information_schema: it shows a text without the backslashes in it.
        row = session.statement(f"SHOW CREATE TRIGGER {quoted(database)}.{quoted(name)}")[0]
        sql = bare_trigger(str(row[2]))
        yield Part(database, "TRIGGER", name, int(order), sql, mode=row[1], collation=row[4])
