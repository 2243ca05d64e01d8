# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry's links of apps to databases."""

from __future__ import annotations

import json
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import driver as drivers
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.rows import Rows, as_json
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink

_SELECT = (
    "SELECT app, name, engine, server, database_name, user_name, privileges, address, port, env_prefix, services,"
    " options, host FROM database_links"
)
_INSERT = (
    "INSERT INTO database_links (host, app, name, engine, server, database_name, user_name, privileges, address, port,"
    " env_prefix, services, options) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class LinkRows(Rows):
    """Which app has which database and user on which server."""

    def links(self) -> tuple[DatabaseLink, ...]:
        """Return the host's links, by app and name."""
        rows = self._read(_SELECT + " WHERE host = ? ORDER BY app, name")
        return tuple(_link(row) for row in rows)

    def links_elsewhere(self) -> tuple[tuple[str, DatabaseLink], ...]:
        """Return the links of the registry's other hosts, each with its host; a `local` one is no rival of ours."""
        rows = self._read(_SELECT + " WHERE host <> ? ORDER BY host, app, name")
        return tuple((row[12], _link(row)) for row in rows)

    def put_link(self, link: DatabaseLink) -> None:
        """Add a link, or replace the app's one of the same name.

        :raises ConflictError: when another app, of any host that sees the same server, has the database or the user.
        """
        self._driver.lock_all_hosts()
        self._refuse_taken(link)
        self.remove_link(link.app, link.name)
        self._write(
            _INSERT,
            (
                self._host,
                link.app,
                link.name,
                link.engine,
                link.server,
                link.database,
                link.user,
                link.privileges,
                link.host,
                link.port,
                link.env_prefix,
                json.dumps(link.services),
                as_json(link.options),
            ),
        )

    def remove_link(self, app: str, name: str) -> None:
        """Remove one link of an app, if it is there."""
        self._write("DELETE FROM database_links WHERE host = ? AND app = ? AND name = ?", (self._host, app, name))

    def _refuse_taken(self, link: DatabaseLink) -> None:
        """All hosts are locked, so what is free now stays free until the row is written."""
        rows = self._driver.execute(
            "SELECT host, app, database_name, user_name FROM database_links"
            " WHERE server = ? AND (database_name = ? OR user_name = ?) ORDER BY host, app",
            (link.server, link.database, link.user),
        )
        for host, app, database, _user in rows:
            here = host == self._host
            if (here and app == link.app) or (not here and link.local):
                continue
            what = f"database {link.database}" if database == link.database else f"user {link.user}"
            raise ConflictError(
                f"give the {what} of {link.server} to the app {link.app}",
                f"it belongs to the app {app}{'' if here else f' on {host}'}",
                f"Choose another {what.partition(' ')[0]}, or unlink that app first",
            )


def _link(row: drivers.Row) -> DatabaseLink:
    return replace(DatabaseLink(*row[:10]), services=tuple(json.loads(row[10])), options=json.loads(row[11]))
