# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning an app that is to be there: its release put beside what is in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, template_files
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import app_diff
from ansible_collections.serverkit.core.plugins.module_utils._plan.linked_template import same_engine
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_states
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import (
    AppPlan,
    Draft,
    Snapshot,
    Target,
    environment,
    facts_of,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_reading import HostState
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_rendering import document_of, render
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._values.app import COMPOSE_FILE, RELEASE_FILES
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE


class Present:
    """Plans apps that are to be started, stopped or restarted."""

    def __init__(self, host: Host, state: HostState, broker: PortBroker) -> None:
        self._host = host
        self._state = state
        self._broker = broker

    def plan(self, draft: Draft, snapshot: Snapshot, ports: Mapping[str, int]) -> AppPlan:
        """Return what is to be done so that the draft's template and values are what runs.

        :raises InputError, ConflictError, HostError: when it cannot be.
        """
        target = render(draft, ports)
        plan = self.compare(draft, snapshot, target, ports)
        if plan.changed:
            self._check_links(draft, target)
            self._check_strangers(plan)
            plan = self.with_diffs(plan)
        return replace(plan, facts=facts_of(plan, plan.containers))

    def compare(self, draft: Draft, snapshot: Snapshot, target: Target, ports: Mapping[str, int]) -> AppPlan:
        """Return the plan without its diffs.

        :raises ConflictError: when the app's name, containers or volumes are somebody else's.
        """
        record = snapshot.apps.get(draft.name)
        error = decide.conflict(draft.name, draft.directory.path, target.release.services, snapshot.containers)
        if error:
            raise error
        # The directory of an app stays as long as its data does, so one that has none is new.
        if record is None and not draft.directory.exists:
            self._state.check_volumes(draft.name, draft.directory.path)
        containers = decide.own(draft.name, draft.directory.path, snapshot.containers)
        leases, (copy, text) = snapshot.leases.get(draft.name, ()), self._state.template(draft)
        before = app_states.actual(draft, record, containers, leases, target.release, copy)
        after = app_states.desired(draft, before, target, ports, text)
        return AppPlan(draft.request, before, after, draft, target, record, containers, warnings=target.warnings)

    def with_diffs(self, plan: AppPlan) -> AppPlan:
        """Return a plan with the release to go back to, and what `--diff` shows; from here on, secrets are hidden."""
        target, draft = plan.target, plan.draft
        if target is None:
            return plan
        for secret in target.secrets:
            self._host.hide(secret)
        plan = _with_previous(plan)
        replaced = _replaced(plan)
        path = app_files.template_path(draft.source.template.id) if draft.source else ""
        return replace(
            plan, replaced=replaced, diffs=app_diff.diffs(plan.name, plan.before, plan.after, replaced, path)
        )

    def _check_links(self, draft: Draft, target: Target) -> None:
        """Make sure that an app that is to have a linked database gets one.

        In check mode the task before this one has not linked it, but would have.
        """
        if self._host.check or draft.links.rows is None or draft.source is None:
            return
        attempted, remedy = f"converge the app {draft.name}", "Run serverkit_db_link for it first"
        for engine in draft.links.engines:
            if not any(same_engine(engine, row.engine) for row in draft.links.rows):
                raise InputError(attempted, f"it is to use a linked {engine} database and has no such link", remedy)
        override = target.files[LINKS_FILE].content if LINKS_FILE in target.files else ""
        lost = decide.references(override) - environment(target.files).keys()
        if lost:
            raise InputError(attempted, f".env lacks {', '.join(sorted(lost))} of its linked database", remedy)

    def _check_strangers(self, plan: AppPlan) -> None:
        """Make sure that the app's ports are not in other hands while its own containers do not have them."""
        if plan.target is None or plan.request.state == "stopped":
            return
        active = {item.service for item in plan.containers if item.state in ("running", "restarting", "paused")}
        for published in plan.target.release.published:
            known = f"{published.port}/{published.protocol}" in plan.before.ports.values()
            holder = (
                self._broker.holder(published.port, published.protocol)
                if known and published.service not in active
                else None
            )
            if holder:
                raise ConflictError(
                    f"converge the app {plan.name}",
                    f"its port {published.port}/{published.protocol} is in use by {holder}",
                    "Stop that, or give the app another port",
                )


def _with_previous(plan: AppPlan) -> AppPlan:
    """Find the release to go back to: the last one that was seen healthy, unless it is the one that is wanted."""
    draft, record, target = plan.draft, plan.record, plan.target
    in_place = {name: draft.files[name] for name in RELEASE_FILES if name in draft.files}
    kept = draft.directory.read_previous()
    current = decide.content_hash(draft.files)
    good = record.confirmed and record.content_hash == current if record else bool(plan.containers)
    previous, here = (in_place, True) if good and COMPOSE_FILE in in_place else (kept, False)
    if target is None or decide.content_hash(previous) == decide.content_hash(target.files):
        return plan
    return replace(plan, previous=previous, previous_in_place=here)


def _replaced(plan: AppPlan) -> frozenset[str]:
    """Foresee whose containers are made anew; a service that has none yet is not among them."""
    target, draft = plan.target, plan.draft
    present = frozenset(item.service for item in plan.containers)
    if target is None or COMPOSE_FILE not in draft.files or not template_files.available():
        return frozenset()
    before = document_of(draft.files)
    same = all(draft.files.get(path) == target.files.get(path) for path in (COMPOSE_FILE, LINKS_FILE))
    after = before if same else document_of(target.files)
    return present & decide.replaced_services(before, after, environment(draft.files), environment(target.files))
