# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Domains and private URLs: the registry's rows, nginx's files and certificates, changed together.

Any number of items is one test and one reload of nginx. A certificate that has to be ordered takes a second round: the
authority asks nginx for a proof, so nginx first serves the name without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timezone

from ansible_collections.serverkit.core.plugins.module_utils._edges import network
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Nginx
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import Target
from ansible_collections.serverkit.core.plugins.module_utils._runner.certificates import Certificates
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_certificates import Obtained, Obtaining
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_checks import Checks
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_drafting import Drafting
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_reachability import Reachability
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_reports import Reports
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import (
    DomainPlan,
    Task,
    read_snapshot,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_writing import (
    NameTakenError,
    RefusedError,
    Writing,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import AcmeSettings

PROOF_TIMEOUT = 15.0  # seconds; a busy host with thousands of names takes several to start its new workers

_MOST_RACES = 3  # against other hosts for a name, before giving up


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Domains:
    """The resource behind serverkit_domain.

    :param listed: how many items of the task name each app, those that could not be parsed included.
    :param exclusive: whether these apps lose the names that are not listed.
    :param main_ports: of apps, for check mode: those that the registry would have by now.
    :param acme: the certificate authority, where the task names one.
    :param private_domain: below which the private URLs of the task are names of their own; None leaves each where it
        is, and one without a name moves them below `/p/`.
    """

    kind = "domain"

    def __init__(
        self,
        host: Host,
        *,
        listed: Mapping[str, int],
        exclusive: bool,
        main_ports: Mapping[str, int | None] | None = None,
        acme: AcmeSettings | None = None,
        private_domain: PrivateDomain | None = None,
        layout: Layout | None = None,
        registry_path: str | None = None,
        proof_timeout: float = PROOF_TIMEOUT,
        nginx: Nginx | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        layout = layout or Layout()
        nginx = nginx or Nginx(host.commands, layout)

        def registry(read_only: bool) -> AbstractContextManager[Registry]:
            return open_registry(host.settings, read_only=read_only, path=registry_path)

        self._task = Task(
            host=host,
            nginx=nginx,
            target=Target(layout, nginx.version(), network.ipv6_available()),
            certificates=Certificates(host, layout, acme, registry=registry, clock=clock),
            listed=listed,
            exclusive=exclusive,
            main_ports=main_ports or {},
            private_domain=private_domain,
            registry_path=registry_path,
            proof_timeout=proof_timeout,
            clock=clock,
        )
        self._races = 0
        self._refused: dict[str, ServerkitError] = {}

    def locks(self, wanted: Sequence[Wanted]) -> Sequence[str]:
        return ["nginx"] if wanted else []

    def plan(self, wanted: Sequence[Wanted]) -> Sequence[DomainPlan | Failure]:
        task = self._task
        self._wanted = wanted
        with task.registry(read_only=True) as registry:
            snapshot = read_snapshot(registry)
        if task.host.check:
            snapshot = replace(snapshot, main_ports={**snapshot.main_ports, **task.main_ports})
        self._snapshot = snapshot
        checks = Checks(task, snapshot)
        self._reachability = Reachability(task, snapshot)
        self._drafting = Drafting(task, snapshot, checks, wanted, self._refused)
        self._draft = self._drafting.draft()
        good = [item for _at, item in self._draft.good(wanted)]
        self._reachability.resolve(name for item in good for name in self._reachability.new_names(item))
        self._reports = Reports(task, snapshot, self._drafting, self._draft, self._reachability, checks, wanted)
        return self._reports.plans(checks.host_problems(self._draft))

    def apply(self, plans: Sequence[DomainPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        undo = UndoStack()
        writing = Writing(self._task, self._snapshot, self._draft)
        try:
            self._carry_out(writing, undo)
        except NameTakenError as lost:
            undo.unwind()
            self._races += 1
            if self._races > _MOST_RACES:
                return [Failure(plan.name, lost) for plan in plans]
            return self._apply_again(plans, lock_descriptors)
        except RefusedError as refused:  # at most once for each app
            undo.unwind()
            self._refused[refused.app] = refused
            return self._apply_again(plans, lock_descriptors)
        except ServerkitError as error:
            rolled_back, not_rolled_back = undo.unwind()
            return [
                Failure(plan.name, error, rolled_back, not_rolled_back, changed=bool(not_rolled_back)) for plan in plans
            ]
        writing.keep()
        obtaining = Obtaining(
            self._task,
            self._snapshot,
            self._drafting,
            self._draft,
            self._reachability,
            tuple(lock_descriptors.values()),
        )
        obtained = obtaining.obtain(self._wanted)
        items = {item.name: item for item in self._wanted}
        return [self._outcome(plan, items[plan.name], obtained) for plan in plans]

    def _apply_again(self, plans: Sequence[DomainPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Decide anew, knowing that another host of the registry took a name between our reading and our writing, or
        that nginx does not take what an app asks for."""
        outcomes: dict[str, Outcome] = {}
        changing: list[DomainPlan] = []
        for plan in self.plan(self._wanted):
            if isinstance(plan, Failure):
                outcomes[plan.name] = plan
            elif plan.changed:
                changing.append(plan)
            else:
                outcomes[plan.name] = Success(plan.name, False, facts=plan.facts)
        applied = self.apply(changing, lock_descriptors) if changing else []
        outcomes.update({outcome.name: outcome for outcome in applied})
        return [outcomes[plan.name] for plan in plans]

    def _carry_out(self, writing: Writing, undo: UndoStack) -> None:
        draft = self._draft
        self._task.certificates.prepare(draft.certificate_plans, undo)
        if draft.concerns_nginx:
            writing.rehearse(draft.changes, undo)
        writing.reserve(undo)
        if draft.concerns_nginx and draft.changes:
            writing.switch(draft.changes, undo)
        writing.record(draft.changes)

    def _outcome(self, plan: DomainPlan, item: Wanted, obtained: Obtained) -> Outcome:
        lacking = self._reports.lacking(item, obtained.files, obtained.errors)
        if lacking:
            return Failure(
                plan.name,
                lacking,
                obtained.rolled_back,
                obtained.not_rolled_back,
                plan.diffs,
                changed=bool(plan.diffs and self._draft.changes),
            )
        warnings = [*plan.warnings, *obtained.warnings_of(item), *self._reports.expiring(item, obtained.errors)]
        facts = self._reports.facts(item, obtained.files, after=True)
        return Success(plan.name, True, plan.diffs, facts, tuple(warnings))
