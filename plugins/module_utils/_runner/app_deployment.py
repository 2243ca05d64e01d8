# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The way of one app through a deploy or an update.

The order of the steps is what makes a killed run repairable. Each instant leaves one of three things for the next
run to see: the old release in place, the old one in `.rollback` and the registry unconfirmed, or the new one confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_ports
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_attempt import Attempt, Tools, made_anew
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import PREVIOUS, AppPlan, Target, facts_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_rendering import render
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_return import Return
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease


class Deployment:
    """Brings one release of an app about, or leaves the one before."""

    def __init__(self, tools: Tools, plan: AppPlan, target: Target, lock: int) -> None:
        self._attempt = Attempt(tools, plan, target, lock)
        self._return = Return(self._attempt)
        self._registry = tools.registry
        self._broker = tools.broker
        self._directory = plan.draft.directory
        self._undo = self._attempt.undo
        self._deadline = 0.0
        self._failure: Failure | None = None

    @property
    def _plan(self) -> AppPlan:
        return self._attempt.plan

    @property
    def _target(self) -> Target:
        return self._attempt.target

    def begin(self) -> None:
        """Do everything up to started containers."""
        try:
            self._reserve_ports()
            self._write_template()
            self._write_release()
            self._attempt.compose().check()
            self._run_hooks("pre_deploy")
            self._record_unconfirmed()
            self._converge_containers()
        except ServerkitError as error:
            self._failure = self._return.fail(error)
        timeout = self._plan.request.health_timeout or self._target.release.health.timeout
        self._deadline = self._attempt.gate.deadline(timeout)

    def finish(self) -> Outcome:
        """Wait for health and make the release the confirmed one, or go back."""
        if self._failure:
            return self._failure
        plan = self._plan
        try:
            if plan.request.state != "stopped":
                self._attempt.pass_gate(self._target.release, self._deadline)
                self._run_hooks("post_deploy")
            containers = self._attempt.containers()
            self._confirm(containers)
        except ServerkitError as error:
            return self._return.fail(error)
        facts = facts_of(plan, containers, made_anew(plan.containers, containers))
        return Success(plan.name, True, plan.diffs, facts, plan.warnings)

    def _reserve_ports(self) -> None:
        """Reserve what the plan has previewed; somebody may have been faster, and then it is other ports."""
        plan, requests = self._plan, self._plan.draft.requests
        if not requests:
            return
        with self._registry.transaction():
            before = self._attempt.leases()
            taken_back = app_ports.taken_back(before, requests)
            answers = self._broker.reserve(self._registry, requests, taken_back)
            numbers = app_ports.numbers(requests, requests, answers)
            if isinstance(numbers, ServerkitError):
                raise numbers
            self._keep_for_going_back(before)
        if set(before) != set(self._attempt.leases()):
            self._return.push_leases(before)
        planned = plan.facts["ports"]
        if any(planned.get(name) != port for name, port in numbers.items()):
            target = render(plan.draft, numbers)
            ports = {**plan.after.ports, **app_ports.as_text(requests, numbers)}
            recorded = decide.content_hash(target.files)
            after = replace(plan.after, ports=ports, files=target.files, recorded=recorded)
            self._attempt.target = target
            self._attempt.plan = replace(plan, target=target, after=after)

    def _keep_for_going_back(self, before: Sequence[PortLease]) -> None:
        """Hold on to ports that the present release has, under another name, until the new one is confirmed."""
        present = {(lease.port, lease.protocol) for lease in self._attempt.leases()}
        self._registry.add_ports(
            [
                replace(lease, name=f"{PREVIOUS}{lease.port}/{lease.protocol}")
                for lease in before
                if (lease.port, lease.protocol) not in present
            ]
        )

    def _write_template(self) -> None:
        source, before, after = self._plan.draft.source, self._plan.before.template, self._plan.after.template
        if source is not None and before != after:
            identity = source.template.id
            path = app_files.template_path(identity)
            self._undo.push(f"restored {path}", lambda: app_files.write_template(identity, before))
            app_files.write_template(identity, after)

    def _write_release(self) -> None:
        if self._plan.previous:
            # Pushed first, so that it comes last: containers are brought back when all else is back.
            self._return.push_containers()
            if self._plan.previous_in_place:
                self._directory.keep_previous()
            self._return.push_files()
        elif not self._plan.same_release:
            self._return.push_removal()
        self._directory.write(self._target.files)

    def _record_unconfirmed(self) -> None:
        record = self._plan.record
        if self._plan.same_release:
            return
        self._undo.push("restored the registry's record of the app", lambda: self._attempt.put(record))
        self._attempt.put(self._attempt.record(record.config_hashes if record else {}, confirmed=False))

    def _converge_containers(self) -> None:
        up_to_date = self._plan.same_release
        if not self._plan.previous and not up_to_date:
            self._return.push_take_down()
        self._attempt.touched = True
        compose = self._attempt.compose()
        if self._plan.request.state == "stopped":
            if not up_to_date:
                compose.up(start=False, build=self._builds())
            compose.stop()
            return
        paused = {container.service for container in self._plan.containers if container.state == "paused"}
        if paused:
            compose.unpause(paused)
        compose.up(build=self._builds() and not up_to_date)
        self._restart_where_needed()

    def _restart_where_needed(self) -> None:
        """Restart what `up` leaves alone: everything for `restarted`, else what is running and not well."""
        before = {container.id for container in self._plan.containers}
        if not before:
            return
        kept = [item for item in self._attempt.containers() if item.id in before and not item.one_off]
        running = [item for item in kept if item.state in ("running", "restarting")]
        if self._plan.request.state == "restarted":
            started_before = {item.id for item in self._plan.containers if item.state in ("running", "restarting")}
            services = {item.service for item in running if item.id in started_before}
        else:
            services = {item.service for item in running if item.state == "restarting" or item.health == "unhealthy"}
        if services:
            self._attempt.compose().restart(services)

    def _run_hooks(self, event: str) -> None:
        """Run the template's commands for a new release; those before a deploy need a container to run in."""
        hooks = self._target.release.hooks.get(event, ())
        if self._plan.same_release or not hooks:
            return
        running = {container.service for container in self._attempt.containers() if container.state == "running"}
        for hook in hooks:
            if hook.service in running or event != "pre_deploy":
                self._attempt.compose().execute(hook.service, hook.command)

    def _confirm(self, containers: Sequence[Container]) -> None:
        plan, stopped = self._plan, self._plan.request.state == "stopped"
        was_confirmed = plan.record is not None and plan.record.confirmed
        confirmed = not stopped or plan.same_release or (plan.relinks and was_confirmed)
        with self._registry.transaction():
            self._registry.remove_ports(plan.name, set(plan.before.ports) - set(plan.after.ports))
            if confirmed:
                previous = {lease.name for lease in self._attempt.leases() if lease.name.startswith(PREVIOUS)}
                self._registry.remove_ports(plan.name, previous)
                self._attempt.add_release("live")
            record = self._attempt.record(decide.config_hashes(containers), confirmed=confirmed)
            self._registry.put_app(record)
        if confirmed:
            # A stopped release has not been seen healthy: what is in .rollback stays the one to go back to.
            self._directory.drop_previous()
        self._directory.prune({*self._target.files, *self._files_of_previous()})

    def _files_of_previous(self) -> Collection[str]:
        previous = self._directory.read_previous()
        referred = "".join(file.content for file in previous.values())
        return {path for path in self._directory.read() if path in referred}

    def _builds(self) -> bool:
        return any(facts.builds for facts in self._target.release.services.values())
