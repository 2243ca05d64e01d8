# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What each item of a task is told: changes, facts, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan, missing
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import described
from ansible_collections.serverkit.core.plugins.module_utils._plan.private_urls import domain_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_checks import Checks
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_decided import Decided
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_drafting import files_now
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import DomainPlan
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import SHARED, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure


@dataclass(frozen=True)
class Reports(Decided):
    """Tells of one draft."""

    checks: Checks
    wanted: Sequence[Wanted]

    def plans(self, warnings: Sequence[str]) -> list[DomainPlan | Failure]:
        """Return the plan of each item, or why there is none.

        :param warnings: about the host, for the first item that changes.
        """
        failures = self.draft.resolution.failures
        diffs = self._diffs()
        waiting = self._waiting()
        first = min(diffs, default=None)
        now = files_now(self.draft)
        plans: list[DomainPlan | Failure] = []
        for at, item in enumerate(self.wanted):
            if at in failures:
                plans.append(Failure(item.name, failures[at]))
                continue
            changed = at in diffs or at in waiting
            blocked = self.lacking(item, now, {})
            if blocked and not changed and not self.task.host.check:
                plans.append(Failure(item.name, blocked))
                continue
            own = (*(warnings if at == first else ()), *self._warnings(item, changed=changed, blocked=blocked))
            plans.append(DomainPlan(item.name, changed, tuple(diffs.get(at, ())), self.facts(item, now), own))
        return plans

    def lacking(
        self, item: Wanted, files: Mapping[str, TlsFiles], errors: Mapping[str, ServerkitError]
    ) -> ServerkitError | None:
        """Return why an item goes without the certificate that it asks for, or None when it has it, or may get it yet.

        :param files: the certificates that there are, by the keys of their requests.
        :param errors: what went wrong, by the keys of requests and by names.
        """
        for plan in self.drafting.plans_of(self.draft, item):
            key = plan.request.key
            names = missing(self._own_names(item, plan), files.get(key))
            error = next(filter(None, map(errors.get, (*names, key))), plan.blocked)
            if names and error:
                return HostError(
                    f"serve {item.name} by HTTPS",
                    f"there is no certificate for {', '.join(names)}, so HTTP goes on being served there. {error}",
                )
        return None

    def expiring(self, item: Wanted, errors: Mapping[str, ServerkitError]) -> list[str]:
        """Return what went wrong with certificates that an item can do without for now: its names have one."""
        plans = self.drafting.plans_of(self.draft, item)
        found = [errors.get(plan.request.key) or plan.blocked for plan in plans]
        return [f"the certificate stays as it is: {error}" for error in found if error]

    def facts(self, item: Wanted, files: Mapping[str, TlsFiles], *, after: bool = False) -> dict[str, Any]:
        """Return what is known of an item when nginx serves these certificates.

        :param after: whether the certificates are as they were planned.
        """
        facts: dict[str, Any] = {"app": item.app, "kind": item.kind, "state": "present" if item.present else "absent"}
        if not item.present:
            return facts
        layout = self.task.layout
        facts |= {"port": self.checks.port_of(item), "websocket": item.site.websocket}
        facts |= {"file": layout.available(item.app), "tls": self._tls_facts(item, after)}
        if item.kind == "domain":
            return {
                **facts,
                "aliases": list(item.aliases),
                "url": f"{self._scheme(item.domain, item, files)}://{item.domain}/",
                "resolves_to": self.reachability.resolves_to(item.domain),
            }
        return {**facts, **self._private_facts(item, files)}

    def _private_facts(self, item: Wanted, files: Mapping[str, TlsFiles]) -> dict[str, Any]:
        private = self.draft.names(item.app).private
        known = private is not None and not private.slug.startswith("<")
        slug = private.slug if private is not None and known else None
        until = private.options.get("until") if private else None
        host = private.host if private is not None else ""
        if not host:
            return {"slug": slug, "path": f"/p/{slug}/" if slug else None, "url": None, "expires": until}
        url = f"{self._scheme(host, item, files)}://{host}/" if slug else None
        return {"slug": slug, "path": "/" if slug else None, "url": url, "expires": until}

    def _scheme(self, name: str, item: Wanted, files: Mapping[str, TlsFiles]) -> str:
        found = (files.get(plan.request.key) for plan in self.drafting.plans_of(self.draft, item))
        return "https" if any(tls and tls.covers(name) for tls in found) else "http"

    def _tls_facts(self, item: Wanted, after: bool) -> dict[str, Any]:
        for plan in self.drafting.plans_of(self.draft, item):
            return self.task.certificates.facts(plan) if after else dict(plan.facts)
        return {"mode": "none"}

    def _own_names(self, item: Wanted, plan: CertificatePlan) -> tuple[str, ...]:
        if item.kind == "domain":
            return item.names
        below = domain_of(self.draft.names(item.app).private)
        return tuple(name for name in plan.request.names if below is not None and name == below.wildcard)

    # Changes

    def _diffs(self) -> dict[int, list[Diff]]:
        diffs: dict[int, list[Diff]] = {}
        for at, item in self.draft.good(self.wanted):
            before, after = self._rows(item)
            if before != after:
                diffs[at] = [Diff(f"registry: {item.name} ({item.app})", described(before), described(after))]
        about = [item.app for _at, item in self.draft.good(self.wanted)]
        for app, change in self.draft.sites.items():
            shown = self.draft.goals.get(app, change)
            own = [diff for plan in self.draft.certificates.get(app, ()) for diff in plan.diffs]
            found = [*shown.diffs, *own, *self._unused(app), *self._dropped(app)]
            # Another app's file that shows the shared certificate belongs to no item.
            self._attribute([app] if app in about else about, found, diffs)
        shared = self.draft.shared_goal or self.draft.shared
        if shared:
            own = [diff for plan in self.draft.certificates.get(SHARED, ()) for diff in plan.diffs]
            self._attribute(about, [*shared.diffs, *own, *self._unused(SHARED)], diffs)
        return diffs

    def _waiting(self) -> set[int]:
        """Return the items some name of which gets a certificate by this run."""
        now = files_now(self.draft)
        return {
            at
            for at, item in self.draft.good(self.wanted)
            for plan in self.drafting.plans_of(self.draft, item)
            if plan.order and missing(self._own_names(item, plan), now.get(plan.request.key))
        }

    def _rows(self, item: Wanted) -> tuple[tuple[object, ...], tuple[object, ...]]:
        return self.snapshot.names(item.app).rows_of(item), self.draft.names(item.app).rows_of(item)

    def _attribute(self, apps: Sequence[str], found: Sequence[Diff], diffs: dict[int, list[Diff]]) -> None:
        """Give diffs that belong to several items to the first of them, best to one that changes anyway."""
        if not found:
            return
        good = [at for at, item in self.draft.good(self.wanted) if item.app in apps]
        changing = [at for at in good if at in diffs]
        diffs.setdefault((changing or good)[0], []).extend(found)

    def _unused(self, app: str) -> list[Diff]:
        return [Diff(f"certificate {key}", "not needed any more\n", "") for key in self.draft.unused.get(app, ())]

    def _dropped(self, app: str) -> list[Diff]:
        """Rows that go or change although no item is about them: by `exclusive`, or by the domain of private URLs."""
        before, after = self.snapshot.names(app), self.draft.names(app)
        if not any(item.app == app for item in self.wanted):
            rows = described([before.private]), described([after.private])
            return [Diff(f"registry: private URL of {app}", *rows)] if rows[0] != rows[1] else []
        shown = {row for item in self.wanted if item.app == app for row in map(id, before.rows_of(item))}
        gone = [row for row in (*before.domains, before.private) if row is not None and id(row) not in shown]
        gone = [row for row in gone if row not in (*after.domains, after.private)]
        return [Diff(f"registry: not listed ({app})", described(gone), "")] if gone else []

    def _warnings(self, item: Wanted, *, changed: bool, blocked: ServerkitError | None) -> list[str]:
        plans = self.drafting.plans_of(self.draft, item)
        found = [warning for plan in plans for warning in plan.warnings]
        if blocked and self.task.host.check:
            found.append(str(blocked))
        elif not blocked and not changed:
            found += self.expiring(item, {})
        if not changed or not item.present:
            return found
        if self.task.host.check or item.dns_check == "records":
            found += self.reachability.warnings(item)
        port = self.checks.port_of(item)
        if port is None and not item.site.own_target:
            found.append(f"the app {item.app} has no port yet; deploying it gives it one")
        elif port is not None and item.check_port and self.checks.port_problem(port):
            found.append(f"{self.checks.port_problem(port)}; a real run stops at this")
        lease = self.snapshot.leases.get(port or 0)
        if lease is not None and lease.owner != item.app:
            found.append(f"port {port} is reserved for {lease.owner}/{lease.name}")
        return found + self.checks.never_reached(item)
