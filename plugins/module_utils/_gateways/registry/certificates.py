# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry's record of what was asked of certificate authorities."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.rows import Rows
from ansible_collections.serverkit.core.plugins.module_utils._values.records import CertificateOrder

# Longer than any limit of a CA looks back: https://letsencrypt.org/docs/rate-limits/ counts a week.
KEPT_DAYS = 90

_TIME = "%Y-%m-%dT%H:%M:%SZ"


class CertificateRows(Rows):
    """Which certificates were ordered, by any host of the registry: a CA counts them together."""

    def certificate_orders(self, since: str = "") -> tuple[CertificateOrder, ...]:
        """Return the orders of all hosts from a time on, oldest first.

        :param since: as CertificateOrder.at; nothing means all that are kept.
        """
        rows = self._driver.execute(
            "SELECT lineage, names, directory, at, outcome, reason, retry_after FROM certificate_orders"
            " WHERE at >= ? ORDER BY at, host, lineage",
            (since,),
        )
        return tuple(CertificateOrder(row[0], tuple(json.loads(row[1])), *row[2:]) for row in rows)

    def add_certificate_order(self, order: CertificateOrder) -> None:
        """Add an order, and drop those of this host that are more than KEPT_DAYS older."""
        at = datetime.strptime(order.at, _TIME).replace(tzinfo=timezone.utc)
        oldest = (at - timedelta(days=KEPT_DAYS)).strftime(_TIME)
        self._write("DELETE FROM certificate_orders WHERE host = ? AND at < ?", (self._host, oldest))
        self._write(
            "INSERT INTO certificate_orders (host, lineage, names, directory, at, outcome, reason, retry_after)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._host,
                order.lineage,
                json.dumps(order.names),
                order.directory,
                order.at,
                order.outcome,
                order.reason,
                order.retry_after,
            ),
        )
