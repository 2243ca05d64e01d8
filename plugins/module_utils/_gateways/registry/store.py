# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry: who owns which port, domain and private URL, and how each app was last converged.

It reserves and remembers; it is an index of the host, not the truth about it. No secret is stored in it.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import (
    driver as drivers,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import (
    postgresql,
    sqlite,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    AppRecord,
    DomainRecord,
    PortLease,
    PrivateUrl,
    ReleaseRecord,
    VhostRecord,
)

KEPT_RELEASES = 20

_LOCAL = "localhost"  # in a SQLite file all rows are this host's, whatever it is called today


@contextlib.contextmanager
def open_registry(settings: Settings, *, read_only: bool, path: str | None = None) -> Iterator[Registry]:
    """Open the registry for the time of a `with` statement.

    :param settings: `registry_dsn` chooses PostgreSQL; `registry_host` is this host's name in it.
    :param read_only: nothing can be written, not even the file made; what is not there yet is an empty registry.
    :param path: of the SQLite file, instead of `sqlite.PATH`.
    :raises RegistryError: when it cannot be opened, is damaged, or a newer serverkit.core has written it.
    :raises InputError, HostError: when registry_dsn is not a DSN, or psycopg2 is missing.
    """
    with contextlib.closing(_driver(settings, read_only, path or sqlite.PATH)) as driver:
        if not read_only:
            drivers.migrate(driver)
        yield Registry(driver, _host(settings), read_only=read_only)


def _driver(settings: Settings, read_only: bool, path: str) -> drivers.Driver:
    if settings.registry_dsn:
        opener = postgresql.open_for_reading if read_only else postgresql.open_for_writing
        return opener(settings.registry_dsn, _host(settings))
    return sqlite.open_for_reading(path) if read_only else sqlite.open_for_writing(path)


def _host(settings: Settings) -> str:
    if not settings.registry_dsn:
        return _LOCAL
    return settings.registry_host or socket.gethostname()


@dataclass(frozen=True)
class _FleetTable:
    """The statements of a table whose key is unique over all hosts; `insert` takes the host, then the key first."""

    kind: str
    holder: str
    elsewhere: str
    delete: str
    insert: str


_DOMAINS = _FleetTable(
    kind="domain",
    holder="SELECT app, host FROM domains WHERE name = ?",
    elsewhere="SELECT name, app, host FROM domains WHERE host <> ?",
    delete="DELETE FROM domains WHERE host = ? AND app = ?",
    insert="INSERT INTO domains (host, name, app, primary_name, options) VALUES (?, ?, ?, ?, ?)",
)
_PRIVATE_URLS = _FleetTable(
    kind="private URL",
    holder="SELECT app, host FROM private_urls WHERE slug = ?",
    elsewhere="SELECT slug, app, host FROM private_urls WHERE host <> ?",
    delete="DELETE FROM private_urls WHERE host = ? AND app = ?",
    insert="INSERT INTO private_urls (host, slug, app, options) VALUES (?, ?, ?, ?)",
)


class Registry:
    """The rows of one host. Every method raises RegistryError when the database fails it."""

    def __init__(self, driver: drivers.Driver, host: str, *, read_only: bool) -> None:
        self._driver = driver
        self._host = host
        self._read_only = read_only
        self._writing = False

    @property
    def where(self) -> str:
        """The registry's place, for messages."""
        return self._driver.where

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of what is done inside, or none of it; waits for other writers of this host, at most 60 seconds.

        Keep it short, and run no programs in it: the others are waiting. It cannot be nested.
        """
        if self._read_only or self._writing:
            raise RuntimeError("a transaction in a read-only registry, or inside another one")
        with drivers.transaction(self._driver):
            self._writing = True
            try:
                yield
            finally:
                self._writing = False

    # Ports

    def ports(self) -> tuple[PortLease, ...]:
        """Return the host's leases, by port."""
        rows = self._read("SELECT port, protocol, owner, name FROM ports WHERE host = ? ORDER BY port, protocol")
        return tuple(PortLease(*row) for row in rows)

    def add_port(self, lease: PortLease) -> None:
        """Add one lease.

        :raises ConflictError: as add_ports.
        """
        self.add_ports([lease])

    def add_ports(self, leases: Sequence[PortLease]) -> None:
        """Add leases, all or none.

        :raises ConflictError: when one of the ports is leased already, with its owner named.
        """
        owners = {(held.port, held.protocol): held for held in self.ports()}
        for lease in leases:
            held = owners.get((lease.port, lease.protocol))
            if held is not None:
                raise ConflictError(
                    f"reserve port {lease.port}/{lease.protocol} for {lease.owner}/{lease.name}",
                    f"it is reserved for {held.owner}/{held.name}",
                )
        rows = [(self._host, lease.port, lease.protocol, lease.owner, lease.name) for lease in leases]
        self._write_all("INSERT INTO ports (host, port, protocol, owner, name) VALUES (?, ?, ?, ?, ?)", rows)

    def remove_ports(self, owner: str, names: Collection[str] | None = None) -> tuple[PortLease, ...]:
        """Remove an owner's leases, all of them or those of the given names, and return them."""
        removed = tuple(
            lease for lease in self.ports() if lease.owner == owner and (names is None or lease.name in names)
        )
        self.remove_leases(removed)
        return removed

    def remove_leases(self, leases: Sequence[PortLease]) -> None:
        """Remove these leases; one that is not there, or has another owner by now, is left alone."""
        self._write_all(
            "DELETE FROM ports WHERE host = ? AND port = ? AND protocol = ? AND owner = ? AND name = ?",
            [(self._host, lease.port, lease.protocol, lease.owner, lease.name) for lease in leases],
        )

    # Apps and their releases

    def apps(self) -> dict[str, AppRecord]:
        """Return the host's apps by name."""
        rows = self._read(
            "SELECT name, template, template_version, state, content_hash, config_hashes, main_port, confirmed"
            " FROM apps WHERE host = ? ORDER BY name"
        )
        return {row[0]: _app(*row) for row in rows}

    def put_app(self, record: AppRecord) -> None:
        """Add or replace an app."""
        self._write("DELETE FROM apps WHERE host = ? AND name = ?", (self._host, record.name))
        self._write(
            "INSERT INTO apps (host, name, template, template_version, state, content_hash, config_hashes, main_port,"
            " confirmed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._host,
                record.name,
                record.template,
                record.template_version,
                record.state,
                record.content_hash,
                _as_json(record.config_hashes),
                record.main_port,
                int(record.confirmed),
            ),
        )

    def remove_app(self, name: str) -> None:
        """Remove an app and its releases; its ports, domains, private URLs and vhost have methods of their own."""
        self._write("DELETE FROM apps WHERE host = ? AND name = ?", (self._host, name))
        self._write("DELETE FROM releases WHERE host = ? AND app = ?", (self._host, name))

    def releases(self, app: str) -> tuple[ReleaseRecord, ...]:
        """Return an app's releases, oldest first."""
        rows = self._read(
            "SELECT app, number, created, template, template_version, content_hash, outcome"
            " FROM releases WHERE host = ? AND app = ? ORDER BY number",
            app,
        )
        return tuple(ReleaseRecord(*row) for row in rows)

    def add_release(self, record: ReleaseRecord) -> None:
        """Add a release, or replace the one of the same number; the newest 20 of an app are kept."""
        self._write(
            "DELETE FROM releases WHERE host = ? AND app = ? AND number = ?", (self._host, record.app, record.number)
        )
        self._write(
            "INSERT INTO releases (host, app, number, created, template, template_version, content_hash, outcome)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._host,
                record.app,
                record.number,
                record.created,
                record.template,
                record.template_version,
                record.content_hash,
                record.outcome,
            ),
        )
        kept = self.releases(record.app)[-KEPT_RELEASES:]
        self._write(
            "DELETE FROM releases WHERE host = ? AND app = ? AND number < ?", (self._host, record.app, kept[0].number)
        )

    # Domains, private URLs and what nginx serves

    def domains(self) -> tuple[DomainRecord, ...]:
        """Return the host's domains and aliases, by name."""
        rows = self._read("SELECT name, app, primary_name, options FROM domains WHERE host = ? ORDER BY name")
        return tuple(DomainRecord(name, app, primary, json.loads(options)) for name, app, primary, options in rows)

    def domains_elsewhere(self) -> dict[str, str]:
        """Return the domains that other hosts of the registry have: name to "the app blog on web2"."""
        return self._elsewhere(_DOMAINS)

    def replace_domains(self, app: str, records: Sequence[DomainRecord]) -> None:
        """Make these the app's domains, all of them.

        :raises ConflictError: when another app, or another host, has one of the names.
        """
        rows = [(record.name, record.app, record.primary, _as_json(record.options)) for record in records]
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
        values = [(row.slug, row.app, _as_json(row.options)) for row in rows]
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

    def _read(self, sql: str, *parameters: object) -> list[drivers.Row]:
        return self._driver.execute(sql, (self._host, *parameters))

    def _write(self, sql: str, parameters: Sequence[object]) -> None:
        self._write_all(sql, [parameters])

    def _write_all(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        if not self._writing:
            raise RuntimeError("a write to the registry outside a transaction")
        self._driver.execute_all(sql, rows)

    def _elsewhere(self, table: _FleetTable) -> dict[str, str]:
        return {key: f"the app {app} on {host}" for key, app, host in self._read(table.elsewhere)}

    def _replace(self, table: _FleetTable, app: str, rows: Sequence[tuple[str, ...]]) -> None:
        self._driver.lock_all_hosts()
        self._write(table.delete, (self._host, app))
        for row in rows:
            for holder, host in self._driver.execute(table.holder, (row[0],)):
                there = "" if host == self._host else f" on {host}"
                raise ConflictError(
                    f"give the {table.kind} {row[0]} to the app {app}",
                    f"it belongs to the app {holder}{there}",
                    "Take it from that app first",
                )
            self._write(table.insert, (self._host, *row))


def _app(
    name: str,
    template: str,
    template_version: str,
    state: str,
    content_hash: str,
    config_hashes: str,
    main_port: int | None,
    confirmed: int,
) -> AppRecord:
    hashes = json.loads(config_hashes)
    return AppRecord(name, template, template_version, state, content_hash, hashes, main_port, bool(confirmed))


def _as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True)
