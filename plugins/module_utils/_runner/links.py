# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Links: the resource behind `serverkit_db_link`.

The order of the steps is what makes a killed run repairable. The registry says first that a database is an app's. The
server then takes the new password beside the old one, so that whichever of the two the app's `.env` has is valid. What
is in `.env` counts: only when the containers use it, and a login was proven, is the other one taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import link_order
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.final_backups import FinalBackups
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_plan import LinkPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_planning import Planner
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_proof import Prover
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Servers
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_steps import ServerWork
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import LinkedApps, LinkedPlan
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LinkRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success


class Links:
    """The resource of `serverkit_db_link`."""

    kind = "link"

    def __init__(self, host: Host, options: Mapping[str, Any], root: str = app_files.ROOT) -> None:
        """
        :param options: of the task; there are none that matter here.
        :param root: where the apps' directories are.
        """
        del options
        self._host = host
        docker = Docker(host.commands)
        self._servers = Servers(host, docker)
        self._apps = LinkedApps(host, root)
        self._planner = Planner(host, self._servers, self._apps)
        self._prover = Prover(host, docker, root)
        self._finals = FinalBackups(host, root)

    def locks(self, wanted: Sequence[LinkRequest]) -> Sequence[str]:
        return [lock_name(app) for app in sorted({request.app for request in wanted})]

    def plan(self, wanted: Sequence[LinkRequest]) -> Sequence[LinkPlan | Failure]:
        return self._planner.plan(wanted)

    def apply(self, plans: Sequence[LinkPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Carry out all links of an app together, and those of several apps: containers are made anew once, and wait
        for health at the same time. Each app gets all that changes for it, or nothing.
        """
        groups: dict[str, list[LinkPlan]] = {}
        for plan in plans:
            groups.setdefault(plan.app, []).append(plan)
        rows = [*self._planner.snapshot.rows, *(plan.draft.link for plan in plans)]
        outcomes: dict[str, Outcome] = {}
        try:
            with open_registry(self._host.settings, read_only=False) as registry:
                for wave in link_order.waves(list(groups), rows):
                    change = Change(self._planner, self._servers, self._apps, self._prover, self._finals, registry)
                    outcomes.update(change.carry_out({app: groups[app] for app in wave}, lock_descriptors))
        finally:
            self._servers.close()
        return [outcomes[plan.name] for plan in plans]


class Change:
    """Brings the changed links of some apps about."""

    def __init__(
        self,
        planner: Planner,
        servers: Servers,
        apps: LinkedApps,
        prover: Prover,
        finals: FinalBackups,
        registry: Registry,
    ) -> None:
        self._planner = planner
        self._servers = servers
        self._apps = apps
        self._prover = prover
        self._finals = finals
        self._registry = registry
        self._backups: dict[str, str] = {}  # by name of a link whose database is dropped: its last set
        self._outcomes: dict[str, Outcome] = {}

    def carry_out(self, groups: Mapping[str, Sequence[LinkPlan]], locks: Mapping[str, int]) -> dict[str, Outcome]:
        """
        :param groups: by app.
        """
        works: dict[str, list[ServerWork]] = {}
        for app, group in groups.items():
            kept = self._backed_up(app, group, locks[lock_name(app)])
            begun = [ServerWork(plan, self._servers, self._registry) for plan in kept]
            works[app] = [work for work in begun if self._begun(work)]
        told = self._tell({app: [work.plan for work in mine] for app, mine in works.items()}, locks)
        unproven: dict[str, ServerkitError] = {}
        for app, outcome in told.items():
            if isinstance(outcome, Failure):
                self._go_back(works[app], outcome.error, outcome)
                continue
            try:
                proofs = {work.plan.name: self._prover.prove(work.plan) for work in works[app] if work.plan.present}
            except ServerkitError as error:
                unproven[app] = error
                continue
            for work in works[app]:
                self._finish(work, outcome.facts, proofs)
        back = self._tell({app: [] for app in unproven}, locks) if unproven else {}
        for app, reason in unproven.items():
            restored = back[app]
            self._go_back(works[app], reason, restored if isinstance(restored, Failure) else None)
        return self._outcomes

    def _backed_up(self, app: str, group: Sequence[LinkPlan], lock: int) -> list[LinkPlan]:
        """Back an app up whose databases are to be dropped; returns the plans that may be carried out."""
        dropped = {plan.draft.link.name: plan.draft.request.server for plan in group if plan.needs_backup}
        if not dropped:
            return list(group)
        try:
            path = self._finals.of_links(app, lock, dropped)
        except ServerkitError as error:
            self._outcomes.update(
                {plan.name: Failure(plan.name, error, diffs=plan.diffs) for plan in group if plan.needs_backup}
            )
            return [plan for plan in group if not plan.needs_backup]
        self._backups.update({plan.name: path for plan in group if plan.needs_backup})
        return list(group)

    def _begun(self, work: ServerWork) -> bool:
        """Do the server's part of a link up to where the app has to be told."""
        try:
            work.begin()
        except ServerkitError as error:
            self._outcomes[work.plan.name] = _failure(work, error, None)
            return False
        return True

    def _tell(self, plans: Mapping[str, Sequence[LinkPlan]], locks: Mapping[str, int]) -> dict[str, Success | Failure]:
        """Tell each app of these links, and of no others that change."""
        told: dict[str, Success | Failure] = {}
        changed: list[LinkedPlan] = []
        try:
            for plan in self._apps.plan([self._planner.request_for(app, mine) for app, mine in plans.items()]):
                if isinstance(plan, Failure):
                    told[plan.name] = plan
                elif plan.changed:
                    changed.append(plan)
                else:
                    told[plan.name] = Success(plan.name, False, facts=plan.facts)
            if changed:
                told.update({outcome.name: outcome for outcome in self._apps.apply(changed, locks)})
        except ServerkitError as error:
            told = {**{app: Failure(app, error) for app in plans}, **told}
        return told

    def _go_back(self, works: Sequence[ServerWork], error: ServerkitError, app: Failure | None) -> None:
        for work in works:
            self._outcomes[work.plan.name] = _failure(work, error, app)

    def _finish(self, work: ServerWork, facts: Mapping[str, Any], proofs: Mapping[str, str]) -> None:
        plan = work.plan
        try:
            work.finish()
        except ServerkitError as error:
            self._outcomes[plan.name] = Failure(plan.name, error, diffs=plan.diffs, changed=True)
            return
        after = dict(plan.facts)
        if plan.name in self._backups:
            after["final_backup"] = self._backups[plan.name]
        if plan.present:
            after.update(recreated=list(facts.get("recreated") or ()), proven=proofs[plan.name])
        self._outcomes[plan.name] = Success(plan.name, True, plan.diffs, after, plan.warnings)


def _failure(work: ServerWork, error: ServerkitError, app: Failure | None) -> Failure:
    """Take back what was done on the server, and tell it together with what was taken back of the app."""
    done, failed = work.undo()
    rolled_back = (*(app.rolled_back if app else ()), *done)
    not_rolled_back = (*(app.not_rolled_back if app else ()), *failed)
    secrets = [secret for secret in (work.plan.secret.password, work.plan.draft.stored.password) if secret]
    told = type(error)(error.attempted, redact(error.reason, secrets), error.remedy)
    changed = bool(not_rolled_back) or bool(app and app.changed)
    return Failure(work.plan.name, told, rolled_back, not_rolled_back, work.plan.diffs, changed=changed)
