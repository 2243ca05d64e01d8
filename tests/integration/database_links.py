# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of the database engines do to links and to databases."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import database_clients
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access
from ansible_collections.serverkit.core.plugins.module_utils._values.database_url import environment
from database_servers import Server

numbers = itertools.count(1)
# With what URLs, shells, SQL and old protocols trip over.
PASSWORD = "s3cret $' \"%@/:?#&+=\\ü€"


def create(engine: DatabaseEngine, access: Access, password: str = PASSWORD) -> None:
    """What a link does first."""
    engine.create_user(access, password)
    engine.create_database(access)
    engine.grant(access)


def variables(server: Server, access: Access, login: str, password: str) -> dict[str, str]:
    """What an app is told."""
    return environment(server.target(access.database, login, password))


def sql(server: Server, database: str, login: str, *statements: str, password: str = PASSWORD) -> list[Any]:
    """Run statements as an app does; the rows of the last one."""
    told = environment(server.target(database, login, password))
    with contextlib.closing(database_clients.connect(server.engine, told)) as connection:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
    return rows
