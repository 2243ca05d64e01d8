# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry's apps and their releases."""

from __future__ import annotations

import json

from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.rows import Rows, as_json
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, ReleaseRecord

KEPT_RELEASES = 20


class AppRows(Rows):
    """How each app was last converged."""

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
                as_json(record.config_hashes),
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
