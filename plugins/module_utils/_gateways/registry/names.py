# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry's domains and private URLs, and what nginx serves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.rows import Rows, as_json
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    DomainRecord,
    PrivateUrl,
    VhostRecord,
)


@dataclass(frozen=True)
class _FleetTable:
    """The statements of a table whose key is unique over all hosts; `insert` takes the host, then the key first."""

    kind: str
    holder: str  # returns app, host, and whether that one shares the key
    elsewhere: str
    delete: str
    insert: str


_DOMAINS = _FleetTable(
    kind="domain",
    holder="SELECT app, host, shared FROM domains WHERE name = ?",
    elsewhere="SELECT name, app, host FROM domains WHERE host <> ? ORDER BY shared DESC, host DESC",
    delete="DELETE FROM domains WHERE host = ? AND app = ?",
    insert="INSERT INTO domains (host, name, app, primary_name, options, shared) VALUES (?, ?, ?, ?, ?, ?)",
)
_PRIVATE_URLS = _FleetTable(
    kind="private URL",
    holder="SELECT app, host, 0 FROM private_urls WHERE slug = ?",
    elsewhere="SELECT slug, app, host FROM private_urls WHERE host <> ?",
    delete="DELETE FROM private_urls WHERE host = ? AND app = ?",
    insert="INSERT INTO private_urls (host, slug, app, options) VALUES (?, ?, ?, ?)",
)


@dataclass(frozen=True)
class _FleetRow:
    key: str
    shared: bool
    values: tuple[object, ...]  # all but the host


class NameRows(Rows):
    """Who has which domain and private URL, and what nginx was last proven to serve."""

    def domains(self) -> tuple[DomainRecord, ...]:
        """Return the host's domains and aliases, by name."""
        rows = self._read("SELECT name, app, primary_name, options, shared FROM domains WHERE host = ? ORDER BY name")
        return tuple(
            DomainRecord(name, app, primary, json.loads(options), bool(shared))
            for name, app, primary, options, shared in rows
        )

    def domains_elsewhere(self) -> dict[str, str]:
        """Return the domains that other hosts of the registry have: name to "the app blog on web2"."""
        return self._elsewhere(_DOMAINS)

    def shared_elsewhere(self) -> frozenset[str]:
        """Return those of `domains_elsewhere` that this host may have as well, when it says that it shares them."""
        rows = self._read("SELECT name FROM domains WHERE host <> ? GROUP BY name HAVING min(shared) = 1")
        return frozenset(name for (name,) in rows)

    def replace_domains(self, app: str, records: Sequence[DomainRecord]) -> None:
        """Make these the app's domains, all of them.

        :raises ConflictError: when another app of this host has one of the names, or another host has it and not both
            hosts share it.
        """
        rows = [
            _FleetRow(
                record.name,
                record.shared,
                (record.name, record.app, record.primary, as_json(record.options), int(record.shared)),
            )
            for record in records
        ]
        self._replace(_DOMAINS, app, rows)

    def private_urls(self) -> tuple[PrivateUrl, ...]:
        """Return the host's private URLs, by slug."""
        rows = self._read("SELECT slug, app, options FROM private_urls WHERE host = ? ORDER BY slug")
        return tuple(PrivateUrl(slug, app, json.loads(options)) for slug, app, options in rows)

    def private_urls_elsewhere(self) -> dict[str, str]:
        """Return the slugs that other hosts of the registry have: slug to "the app blog on web2"."""
        return self._elsewhere(_PRIVATE_URLS)

    def replace_private_urls(self, app: str, rows: Sequence[PrivateUrl]) -> None:
        """Make these the app's private URLs, all of them.

        :raises ConflictError: when another app, or another host, has one of the slugs.
        """
        values = [_FleetRow(row.slug, False, (row.slug, row.app, as_json(row.options))) for row in rows]
        self._replace(_PRIVATE_URLS, app, values)

    def vhosts(self) -> dict[str, VhostRecord]:
        """Return what nginx was last proven to serve, by app."""
        rows = self._read("SELECT app, content_hash FROM vhosts WHERE host = ? ORDER BY app")
        return {app: VhostRecord(app, content_hash) for app, content_hash in rows}

    def put_vhost(self, record: VhostRecord) -> None:
        """Add or replace an app's vhost."""
        self.remove_vhost(record.app)
        self._write(
            "INSERT INTO vhosts (host, app, content_hash) VALUES (?, ?, ?)",
            (self._host, record.app, record.content_hash),
        )

    def remove_vhost(self, app: str) -> None:
        """Remove an app's vhost."""
        self._write("DELETE FROM vhosts WHERE host = ? AND app = ?", (self._host, app))

    def _elsewhere(self, table: _FleetTable) -> dict[str, str]:
        return {key: f"the app {app} on {host}" for key, app, host in self._read(table.elsewhere)}

    def _replace(self, table: _FleetTable, app: str, rows: Sequence[_FleetRow]) -> None:
        self._driver.lock_all_hosts()
        self._write(table.delete, (self._host, app))
        for row in rows:
            for holder, host, shared in self._driver.execute(table.holder, (row.key,)):
                if host != self._host and row.shared and shared:
                    continue
                raise ConflictError(
                    f"give the {table.kind} {row.key} to the app {app}",
                    f"it belongs to the app {holder}{'' if host == self._host else f' on {host}'}",
                    "Give shared: true on both hosts, when both shall serve it, or take it from that app first"
                    if row.shared
                    else "Take it from that app first",
                )
            self._write(table.insert, (self._host, *row.values))
