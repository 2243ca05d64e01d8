# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What the parts of serverkit_domain's runner share: the task, what the registry says, and what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Nginx
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import Elsewhere, Names, Resolution
from ansible_collections.serverkit.core.plugins.module_utils._plan.sites import SiteChange
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import Target
from ansible_collections.serverkit.core.plugins.module_utils._runner.certificates import Certificates
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DomainRecord, PortLease, PrivateUrl


@dataclass(frozen=True)
class Task:
    """What a run is about, apart from its items.

    :ivar listed: how many items of the task name each app, those that could not be parsed included.
    :ivar exclusive: whether these apps lose the names that are not listed.
    :ivar main_ports: of apps, for check mode: those that the registry would have by now.
    :ivar private_domain: below which the task wants private URLs; None leaves each one where it is.
    """

    host: Host
    nginx: Nginx
    target: Target
    certificates: Certificates
    listed: Mapping[str, int]
    exclusive: bool
    main_ports: Mapping[str, int | None]
    private_domain: PrivateDomain | None
    registry_path: str | None
    proof_timeout: float
    clock: Callable[[], datetime]

    @property
    def layout(self) -> Layout:
        return self.target.layout

    def registry(self, *, read_only: bool) -> AbstractContextManager[Registry]:
        return open_registry(self.host.settings, read_only=read_only, path=self.registry_path)


@dataclass(frozen=True)
class DomainPlan:
    """What happens to one item."""

    name: str
    changed: bool
    diffs: tuple[Diff, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """What the registry says."""

    owned: Mapping[str, Names] = field(default_factory=dict)
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    main_ports: Mapping[str, int | None] = field(default_factory=dict)
    leases: Mapping[int, PortLease] = field(default_factory=dict)
    served: Mapping[str, str] = field(default_factory=dict)

    def names(self, app: str) -> Names:
        return self.owned.get(app, Names())


def read_snapshot(registry: Registry) -> Snapshot:
    """Read all that a run needs to know, in a handful of statements whatever the number of items."""
    domains: dict[str, list[DomainRecord]] = {}
    for row in registry.domains():
        domains.setdefault(row.app, []).append(row)
    private: dict[str, PrivateUrl] = {row.app: row for row in registry.private_urls()}
    return Snapshot(
        {app: Names(tuple(domains.get(app, ())), private.get(app)) for app in {**domains, **private}},
        Elsewhere(registry.domains_elsewhere(), registry.private_urls_elsewhere(), registry.shared_elsewhere()),
        {name: app.main_port for name, app in registry.apps().items()},
        {lease.port: lease for lease in registry.ports() if lease.protocol == "tcp"},
        {app: vhost.content_hash for app, vhost in registry.vhosts().items()},
    )


@dataclass
class Draft:
    """What is to be done for all items of the task together.

    :ivar sites: what nginx gets at first: what can be had with the certificates that are there.
    :ivar goals: what it gets in the end, for the apps that wait for a certificate.
    :ivar certificates: the plans of each app's certificates; the private domain's is under the name SHARED.
    :ivar unused: certificates that an app has and does not need any more.
    :ivar left_alone: apps that the task is not about, whose files cannot be brought up to date.
    """

    resolution: Resolution
    sites: dict[str, SiteChange] = field(default_factory=dict)
    goals: dict[str, SiteChange] = field(default_factory=dict)
    certificates: dict[str, list[CertificatePlan]] = field(default_factory=dict)
    unused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_alone: set[str] = field(default_factory=set)
    shared: SiteChange | None = None
    shared_goal: SiteChange | None = None

    @property
    def changes(self) -> list[SiteChange]:
        """What nginx gets at first, in the order in which it can be written."""
        shared = [self.shared] if self.shared else []
        return [change for change in (*shared, *self.sites.values()) if change.changed]

    @property
    def concerns_nginx(self) -> bool:
        """False when only rows go that nginx has no files of any more."""
        every = [*self.changes, *self.goals.values(), *([self.shared_goal] if self.shared_goal else [])]
        return any(change.hash_after or any(file.needed for file in change.files) for change in every)

    @property
    def certificate_plans(self) -> list[CertificatePlan]:
        return [plan for plans in self.certificates.values() for plan in plans]

    def names(self, app: str) -> Names:
        return self.resolution.names.get(app, Names())

    def good(self, wanted: Sequence[Wanted]) -> Iterable[tuple[int, Wanted]]:
        """Return the items that have not failed, with their positions."""
        return [(at, item) for at, item in enumerate(wanted) if at not in self.resolution.failures]


Files = Mapping[str, TlsFiles]  # by the keys of certificate requests
