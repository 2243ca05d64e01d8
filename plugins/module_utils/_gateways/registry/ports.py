# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry's ports."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.rows import Rows
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease


class PortRows(Rows):
    """Who has which port of the host."""

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
