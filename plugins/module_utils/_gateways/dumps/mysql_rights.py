# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Rights on a database that is not called as the app's, for as long as its views are made.

A view that calls a function is refused when its definer may not call that function. The app's user has rights on the
name of its own database only, and is the definer of what a restore loads under another one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mysql import Mysql
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import mysql_identifier, mysql_pattern


@contextlib.contextmanager
def lent(session: Mysql, user: str, database: str) -> Iterator[None]:
    """Let a user do everything in a database. What a killed run leaves of that, the next one takes back."""
    for (host,) in session.statement("SELECT Host FROM mysql.user WHERE User = %s", user):
        session.statement(f"GRANT ALL PRIVILEGES ON {session.place(database)} TO %s@%s", user, host)
    try:
        yield
    finally:
        take_back(session, database)


def take_back(session: Mysql, database: str) -> None:
    """Revoke everybody's rights on a database that a restore made or kept."""
    patterns = {database, mysql_pattern(database)}
    for user, host, pattern in session.statement(
        "SELECT User, Host, Db FROM mysql.db WHERE Db IN %s", sorted(patterns)
    ):
        place = f"{mysql_identifier(_text(pattern))}.*"
        session.statement(f"REVOKE ALL PRIVILEGES ON {place} FROM %s@%s", _text(user), _text(host))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
