# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Apps: the resource behind `serverkit_app`, and the way of one app through a deploy, an update or a removal.

The order of the steps is what makes a killed run repairable. Each instant leaves one of three things for the next
run to see: the old release in place, the old one in `.rollback` and the registry unconfirmed, or the new one confirmed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import (
    HostError,
    InputError,
    ServerkitError,
    UnhealthyError,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, compose, template_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.compose import Compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_planning
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import Gate
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_planning import (
    AppPlan,
    Planner,
    Sources,
    Target,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
    AppRequest,
    Container,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    AppRecord,
    PortLease,
    ReleaseRecord,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile

_PORTS_BACK = "gave the reserved ports back"
_PREVIOUS_BACK = "brought the previous release back up"


class Apps:
    """The resource of `serverkit_app`."""

    kind = "app"

    def __init__(self, host: Host, options: Mapping[str, Any], root: str = app_files.ROOT) -> None:
        """
        :param options: the task's `definitions` (JSON, from the action plugin) and `remote_src`.
        :param root: where the apps' directories are.
        """
        self._host = host
        self._docker = Docker(host.commands)
        self._broker = PortBroker(host)
        sources = Sources(_definitions(options.get("definitions")), on_host=bool(options.get("remote_src")))
        self._planner = Planner(host, self._docker, self._broker, sources, root)

    def locks(self, wanted: Sequence[AppRequest]) -> Sequence[str]:
        return [lock_name(request.name) for request in wanted]

    def plan(self, wanted: Sequence[AppRequest]) -> Sequence[AppPlan | Failure]:
        return self._planner.plan(wanted)

    def apply(self, plans: Sequence[AppPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Start all, then wait for all: their waiting overlaps."""
        if self._docker.installed or any(plan.target for plan in plans):
            compose.require(self._host.commands)
        if any(plan.target for plan in plans) and not template_files.available():
            raise HostError("write Compose files", "PyYAML is not installed on this host", "Install python3-yaml")
        with open_registry(self._host.settings, read_only=False) as registry:
            tools = (self._host, self._docker, self._broker, registry)
            changes = [
                Removal(*tools, plan, lock_descriptors[lock_name(plan.name)])
                if plan.target is None
                else Deployment(*tools, plan, plan.target, lock_descriptors[lock_name(plan.name)])
                for plan in plans
            ]
            for change in changes:
                change.begin()
            return [change.finish() for change in changes]


def _definitions(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError("read definitions", "it is not a JSON object", "Leave it out: the action plugin sets it")
    return found


def lock_name(app: str) -> str:
    return f"app-{app}"


class Removal:
    """Takes an app away, and its data too when that is asked for."""

    def __init__(
        self, host: Host, docker: Docker, broker: PortBroker, registry: Registry, plan: AppPlan, lock: int
    ) -> None:
        del broker
        self._docker = docker
        self._registry = registry
        self._plan = plan
        self._directory = plan.draft.directory
        self._secrets = app_planning.secrets_of(plan)
        self._compose = Compose(host.commands, plan.name, self._directory.path, lock, {}, self._secrets)
        self._outcome: Outcome | None = None

    def begin(self) -> None:
        plan = self._plan
        try:
            self._take_down()
            if plan.request.purge:
                self._docker.remove_volumes(plan.volumes)
                self._directory.purge()
            else:
                self._directory.remove_release()
            # Last: until here a killed run is seen to be unfinished, and nobody else gets the ports.
            with self._registry.transaction():
                self._registry.remove_ports(plan.name, plan.before.ports)
                self._registry.remove_app(plan.name)
        except ServerkitError as error:
            self._outcome = Failure(plan.name, error, diffs=plan.diffs, changed=True)
        else:
            self._outcome = Success(plan.name, True, plan.diffs, plan.facts, plan.warnings)

    def finish(self) -> Outcome:
        if self._outcome is None:
            raise RuntimeError("finish before begin")
        return self._outcome

    def _take_down(self) -> None:
        if not self._docker.installed:
            return
        self._run_hooks()
        self._compose.down()
        left = decide.own(self._plan.name, self._directory.path, self._docker.containers(self._plan.name))
        if left:
            names = ", ".join(container.name for container in left)
            raise HostError(f"remove the app {self._plan.name}", f"containers are left: {names}", "Run it again")

    def _run_hooks(self) -> None:
        release = app_planning.description(self._plan.draft)
        running = {container.service for container in self._plan.containers if container.state == "running"}
        for hook in release.hooks.get("pre_remove", ()) if release else ():
            if hook.service in running:
                self._compose.execute(hook.service, hook.command)


class Deployment:
    """Brings one release of an app about, or leaves the one before."""

    def __init__(
        self,
        host: Host,
        docker: Docker,
        broker: PortBroker,
        registry: Registry,
        plan: AppPlan,
        target: Target,
        lock: int,
    ) -> None:
        self._host = host
        self._docker = docker
        self._broker = broker
        self._registry = registry
        self._plan = plan
        self._target = target
        self._lock = lock
        self._directory = plan.draft.directory
        self._secrets = app_planning.secrets_of(plan)
        self._gate = Gate(docker)
        self._undo = UndoStack()
        self._deadline = 0.0
        self._failure: Failure | None = None
        # From the first change to a container on, going back means more than putting files back.
        self._touched = False

    def begin(self) -> None:
        """Do everything up to started containers."""
        try:
            self._reserve_ports()
            self._write_template()
            self._write_release()
            self._compose().check()
            self._run_hooks("pre_deploy")
            self._record_unconfirmed()
            self._converge_containers()
        except ServerkitError as error:
            self._failure = self._fail(error)
        timeout = self._plan.request.health_timeout or self._target.release.health.timeout
        self._deadline = self._gate.deadline(timeout)

    def finish(self) -> Outcome:
        """Wait for health and make the release the confirmed one, or go back."""
        if self._failure:
            return self._failure
        plan = self._plan
        try:
            if plan.request.state != "stopped":
                self._pass_gate(self._target.release, self._deadline)
                self._run_hooks("post_deploy")
            containers = self._containers()
            self._confirm(containers)
        except ServerkitError as error:
            return self._fail(error)
        made = _made_anew(plan.containers, containers)
        facts = app_planning.facts_of(plan, containers, made)
        return Success(plan.name, True, plan.diffs, facts, plan.warnings)

    # The steps, in their order

    def _reserve_ports(self) -> None:
        """Reserve what the plan has previewed; somebody may have been faster, and then it is other ports."""
        plan, requests = self._plan, self._plan.draft.requests
        if not requests:
            return
        with self._registry.transaction():
            before = self._leases()
            taken_back = app_planning.taken_back(before, requests)
            answers = self._broker.reserve(self._registry, requests, taken_back)
            numbers = app_planning.numbers(requests, requests, answers)
            if isinstance(numbers, ServerkitError):
                raise numbers
            self._keep_for_going_back(before)
        if set(before) != set(self._leases()):
            self._undo.push(_PORTS_BACK, lambda: self._restore_leases(before))
        planned = plan.facts["ports"]
        if any(planned.get(name) != port for name, port in numbers.items()):
            self._target = app_planning.render(plan.draft, numbers)
            ports = {**plan.after.ports, **app_planning.ports_as_text(requests, numbers)}
            recorded = decide.content_hash(self._target.files)
            after = replace(plan.after, ports=ports, files=self._target.files, recorded=recorded)
            self._plan = replace(plan, target=self._target, after=after)

    def _keep_for_going_back(self, before: Sequence[PortLease]) -> None:
        """Hold on to ports that the present release has, under another name, until the new one is confirmed."""
        present = {(lease.port, lease.protocol) for lease in self._leases()}
        self._registry.add_ports(
            [
                replace(lease, name=f"{app_planning.PREVIOUS}{lease.port}/{lease.protocol}")
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
            self._undo.push(_PREVIOUS_BACK, self._bring_back)
            if self._plan.previous_in_place:
                self._directory.keep_previous()
            self._undo.push("restored the files of the previous release", self._restore_files)
        elif not self._plan.same_release:
            self._undo.push("removed the files of the new release", self._remove_files)
        self._directory.write(self._target.files)

    def _record_unconfirmed(self) -> None:
        record = self._plan.record
        if self._plan.same_release:
            return
        self._undo.push("restored the registry's record of the app", lambda: self._put(record))
        self._put(self._record(record.config_hashes if record else {}, confirmed=False))

    def _converge_containers(self) -> None:
        up_to_date = self._plan.same_release
        if not self._plan.previous and not up_to_date:
            self._undo.push("took the containers down; volumes, .env and ports are kept", self._take_down)
        self._touched = True
        if self._plan.request.state == "stopped":
            if not up_to_date:
                self._compose().up(start=False, build=self._builds())
            self._compose().stop()
            return
        paused = {container.service for container in self._plan.containers if container.state == "paused"}
        if paused:
            self._compose().unpause(paused)
        self._compose().up(build=self._builds() and not up_to_date)
        self._restart_where_needed()

    def _restart_where_needed(self) -> None:
        """Restart what `up` leaves alone: everything for `restarted`, else what is running and not well."""
        before = {container.id for container in self._plan.containers}
        kept = [item for item in self._containers() if item.id in before and not item.one_off]
        running = [item for item in kept if item.state in ("running", "restarting")]
        if self._plan.request.state == "restarted":
            started_before = {item.id for item in self._plan.containers if item.state in ("running", "restarting")}
            services = {item.service for item in running if item.id in started_before}
        else:
            services = {item.service for item in running if item.state == "restarting" or item.health == "unhealthy"}
        if services:
            self._compose().restart(services)

    def _run_hooks(self, event: str) -> None:
        """Run the template's commands for a new release; those before a deploy need a container to run in."""
        if self._plan.same_release:
            return
        running = {container.service for container in self._containers() if container.state == "running"}
        for hook in self._target.release.hooks.get(event, ()):
            if hook.service in running or event != "pre_deploy":
                self._compose().execute(hook.service, hook.command)

    def _pass_gate(self, release: Release, deadline: float) -> None:
        verdict = self._gate.wait(self._plan.name, self._directory.path, release, deadline)
        if verdict.outcome == "good":
            return
        late = ""
        if verdict.outcome == "waiting":
            timeout = self._plan.request.health_timeout or release.health.timeout
            late = f" after {timeout} seconds"
        raise UnhealthyError(
            f"bring the app {self._plan.name} up healthy", f"{verdict.reason}{late}{self._log_of(verdict.container)}"
        )

    def _confirm(self, containers: Sequence[Container]) -> None:
        plan, stopped = self._plan, self._plan.request.state == "stopped"
        confirmed = not stopped or plan.same_release
        with self._registry.transaction():
            self._registry.remove_ports(plan.name, set(plan.before.ports) - set(plan.after.ports))
            if confirmed:
                previous = {lease.name for lease in self._leases() if lease.name.startswith(app_planning.PREVIOUS)}
                self._registry.remove_ports(plan.name, previous)
                self._add_release("live")
            self._registry.put_app(self._record(decide.config_hashes(containers), confirmed=confirmed))
        if confirmed:
            # A stopped release has not been seen healthy: what is in .rollback stays the one to go back to.
            self._directory.drop_previous()
        self._directory.prune({*self._target.files, *self._files_of_previous()})

    # Going back

    def _fail(self, error: ServerkitError) -> Failure:
        evidence = self._culprit_of(error)
        done, failed = self._undo.unwind()
        try:
            self._note_failure()
        except ServerkitError as second:
            failed = (*failed, f"noted the failed release in the registry: {second}")
        # Steps that had nothing to do: no container was touched yet, or there is no previous release.
        idle = (_PREVIOUS_BACK,) if not self._touched else (_PORTS_BACK,) if not self._plan.previous else ()
        done = tuple(step for step in done if step not in idle)
        reason = redact(f"{error.reason}{evidence}", self._secrets)
        failed = tuple(redact(step, self._secrets) for step in failed)
        told = type(error)(error.attempted, reason, self._consequence(error, failed))
        first_and_kept = self._touched and not self._plan.previous
        return Failure(self._plan.name, told, done, failed, self._plan.diffs, changed=bool(failed) or first_and_kept)

    def _note_failure(self) -> None:
        if self._touched and self._plan.record is not None and not self._plan.same_release:
            with self._registry.transaction():
                self._add_release("failed")

    def _consequence(self, error: ServerkitError, failed: Sequence[str]) -> str:
        remedy = f"{error.remedy}. " if error.remedy else ""
        if failed:
            return f"{remedy}Going back failed as well: {'; '.join(failed)}"
        if not self._touched:
            return f"{remedy}No container was touched, and nothing is left of the attempt"
        if self._plan.previous:
            name = decide.content_hash(self._plan.previous)
            how = "is in place again, stopped as it was" if self._was_stopped else "serves again"
            return f"{remedy}The previous release {name} {how}"
        if self._plan.same_release:
            return f"{remedy}It is the release that served before, so there is none to go back to"
        return (
            f"{remedy}Its containers were taken down; its volumes, its .env with the generated values and its ports are"
            " kept for the next attempt"
        )

    def _restore_files(self) -> None:
        """Put the previous files back; values that were generated for the new release stay in `.env`.

        A database that the new release has begun to set up keeps its password in its volume: a later attempt needs it.
        """
        environment = app_planning.environment(self._plan.previous)
        generated = self._plan.draft.generated
        new = {name: value for name, value in generated.items() if name not in environment}
        used = app_planning.environment(self._target.files)
        kept = {name: used[name] for name in new if name in used}
        text = dotenv.encode({**environment, **kept}) if kept and self._touched else None
        self._directory.restore_previous(text)

    def _bring_back(self) -> None:
        if not self._touched:
            # A .rollback that an earlier, killed run has left is still needed: its containers may be half way.
            if self._plan.previous_in_place:
                self._directory.drop_previous()
                self._directory.prune(self._files_to_keep())
            return
        present = self._directory.read()
        release = decide.read_description(present[DESCRIPTION_FILE].content) if DESCRIPTION_FILE in present else None
        if release is None:
            raise HostError(f"judge the previous release of {self._plan.name}", "its description is damaged")
        stopped = self._was_stopped
        self._compose(present).up(start=not stopped)
        if stopped:
            self._compose(present).stop()
        else:
            self._pass_gate(release, self._gate.deadline(release.health.timeout))
        record = AppRecord(
            name=self._plan.name,
            template=release.template,
            template_version=release.version,
            state="stopped" if stopped else "started",
            content_hash=decide.content_hash(present),
            config_hashes=decide.config_hashes(self._containers()),
            main_port=release.main.port if release.main else None,
            confirmed=True,
        )
        self._put(record)
        self._directory.drop_previous()
        self._directory.prune(self._files_to_keep())

    def _remove_files(self) -> None:
        had_data = ENVIRONMENT_FILE in self._plan.draft.files
        self._directory.remove_release(keep_environment=self._touched or had_data)

    def _take_down(self) -> None:
        self._compose().down()

    def _restore_leases(self, before: Sequence[PortLease]) -> None:
        if self._touched and not self._plan.previous:
            return
        with self._registry.transaction():
            now = self._leases()
            self._registry.remove_ports(self._plan.name, {lease.name for lease in now})
            self._registry.add_ports(before)

    # What the steps use

    @property
    def _was_stopped(self) -> bool:
        return self._plan.record is not None and self._plan.record.state == "stopped"

    def _compose(self, files: Mapping[str, RenderedFile] | None = None) -> Compose:
        environment = app_planning.environment(files or self._target.files)
        place = self._directory.path
        return Compose(self._host.commands, self._plan.name, place, self._lock, environment, self._secrets)

    def _builds(self) -> bool:
        return any(facts.builds for facts in self._target.release.services.values())

    def _containers(self) -> tuple[Container, ...]:
        return decide.own(self._plan.name, self._directory.path, self._docker.containers(self._plan.name))

    def _leases(self) -> list[PortLease]:
        return [lease for lease in self._registry.ports() if lease.owner == self._plan.name]

    def _put(self, record: AppRecord | None) -> None:
        with self._registry.transaction():
            if record is None:
                self._registry.remove_app(self._plan.name)
            else:
                self._registry.put_app(record)

    def _record(self, config_hashes: Mapping[str, str], *, confirmed: bool) -> AppRecord:
        release = self._target.release
        return AppRecord(
            name=self._plan.name,
            template=release.template,
            template_version=release.version,
            state=self._plan.after.state,
            content_hash=decide.content_hash(self._target.files),
            config_hashes=config_hashes,
            main_port=release.main.port if release.main else None,
            confirmed=confirmed,
        )

    def _add_release(self, outcome: str) -> None:
        """Add a row to the app's history; running the same release again is not a new one."""
        history = self._registry.releases(self._plan.name)
        live = next((row for row in reversed(history) if row.outcome == "live"), None)
        content_hash, release = decide.content_hash(self._target.files), self._target.release
        if outcome == "live" and live:
            if live.content_hash == content_hash:
                return
            self._registry.add_release(replace(live, outcome="superseded"))
        number = history[-1].number + 1 if history else 1
        created = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        row = ReleaseRecord(self._plan.name, number, created, release.template, release.version, content_hash, outcome)
        self._registry.add_release(row)

    def _files_to_keep(self) -> Collection[str]:
        """Return the files that the previous release refers to."""
        referred = "".join(file.content for file in self._plan.previous.values())
        return {path for path in self._plan.draft.files if path in referred or path.split("/")[0] != "files"}

    def _files_of_previous(self) -> Collection[str]:
        previous = self._directory.read_previous()
        referred = "".join(file.content for file in previous.values())
        return {path for path in self._directory.read() if path in referred}

    def _culprit_of(self, error: ServerkitError) -> str:
        """Return the log of the container that made Compose fail, where Compose itself does not say enough."""
        if isinstance(error, UnhealthyError) or not self._touched:
            return ""
        try:
            verdict = decide.judge(self._target.release.services, self._containers())
        except HostError:
            return ""
        return f". {verdict.reason}{self._log_of(verdict.container)}" if verdict.outcome == "bad" else ""

    def _log_of(self, container: Container | None) -> str:
        if container is None:
            return ""
        lines = self._docker.last_log_lines(container.id)
        return f". The last lines of the log of {container.name}:\n{lines}\n" if lines else ""


def _made_anew(before: Sequence[Container], after: Sequence[Container]) -> list[str]:
    """Return the services that have a container which was not there before."""
    known = {container.id for container in before}
    return sorted({container.service for container in after if container.id not in known and not container.one_off})
