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
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_plan import LinkPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_planning import Planner
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_proof import Prover
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Servers
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_steps import ServerWork
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import LinkedApps
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

    def locks(self, wanted: Sequence[LinkRequest]) -> Sequence[str]:
        return [lock_name(app) for app in sorted({request.app for request in wanted})]

    def plan(self, wanted: Sequence[LinkRequest]) -> Sequence[LinkPlan | Failure]:
        return self._planner.plan(wanted)

    def apply(self, plans: Sequence[LinkPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Carry out all links of an app together: its containers are made anew once."""
        groups: dict[str, list[LinkPlan]] = {}
        for plan in plans:
            groups.setdefault(plan.app, []).append(plan)
        outcomes: dict[str, Outcome] = {}
        try:
            with open_registry(self._host.settings, read_only=False) as registry:
                for app, group in groups.items():
                    change = AppChange(self._planner, self._servers, self._apps, self._prover, registry)
                    outcomes.update(change.carry_out(app, group, lock_descriptors))
        finally:
            self._servers.close()
        return [outcomes[plan.name] for plan in plans]


class AppChange:
    """Brings the changed links of one app about."""

    def __init__(
        self, planner: Planner, servers: Servers, apps: LinkedApps, prover: Prover, registry: Registry
    ) -> None:
        self._planner = planner
        self._servers = servers
        self._apps = apps
        self._prover = prover
        self._registry = registry
        self._outcomes: dict[str, Outcome] = {}

    def carry_out(self, app: str, group: Sequence[LinkPlan], locks: Mapping[str, int]) -> dict[str, Outcome]:
        works = [ServerWork(plan, self._servers, self._registry) for plan in group]
        works = [work for work in works if self._begun(work)]
        told = self._tell(app, [work.plan for work in works], locks)
        if isinstance(told, Failure):
            self._go_back(works, told.error, told)
            return self._outcomes
        try:
            proofs = {work.plan.name: self._prover.prove(work.plan) for work in works if work.plan.present}
        except ServerkitError as error:
            back = self._tell(app, [], locks)
            self._go_back(works, error, back if isinstance(back, Failure) else None)
            return self._outcomes
        for work in works:
            self._finish(work, told.facts, proofs)
        return self._outcomes

    def _begun(self, work: ServerWork) -> bool:
        """Do the server's part of a link up to where the app has to be told."""
        try:
            work.begin()
        except ServerkitError as error:
            self._outcomes[work.plan.name] = _failure(work, error, None)
            return False
        return True

    def _tell(self, app: str, plans: Sequence[LinkPlan], locks: Mapping[str, int]) -> Success | Failure:
        """Tell the app of these links, and of no others that change."""
        try:
            plan = self._apps.plan([self._planner.request_for(app, plans)])[0]
            if isinstance(plan, Failure):
                return plan
            if not plan.changed:
                return Success(app, False, facts=plan.facts)
            outcome = self._apps.apply([plan], locks)[0]
        except ServerkitError as error:
            return Failure(app, error)
        return outcome

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
