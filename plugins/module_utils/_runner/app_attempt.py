# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""One try to bring a release of an app about: what the way forth and the way back have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import UnhealthyError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.compose import Compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import Gate
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import (
    AppPlan,
    Target,
    environment,
    secrets_of,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.app import COMPOSE_FILE, Container, Release
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, PortLease, ReleaseRecord
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile


@dataclass(frozen=True)
class Tools:
    """What changing an app needs of the host."""

    host: Host
    docker: Docker
    broker: PortBroker
    registry: Registry


class Attempt:
    """The plan, the target and the undo stack of one app; its containers, leases and records.

    `touched` tells whether a container was changed: from then on, going back means more than putting files back.
    """

    def __init__(self, tools: Tools, plan: AppPlan, target: Target, lock: int) -> None:
        """
        :param lock: descriptor of the app's lock.
        """
        self.tools = tools
        self.plan = plan
        self.target = target
        self.undo = UndoStack()
        self.touched = False
        self.gate = Gate(tools.docker)
        self.secrets = secrets_of(plan)
        self._lock = lock

    @property
    def directory(self) -> AppDirectory:
        """The app's directory."""
        return self.plan.draft.directory

    def compose(self, files: Mapping[str, RenderedFile] | None = None) -> Compose:
        """Return Compose for the target, or for other files that are in place."""
        present = files or self.target.files
        return Compose(
            self.tools.host.commands,
            self.plan.name,
            self.directory.path,
            self._lock,
            environment(present),
            self.secrets,
            [name for name in (COMPOSE_FILE, LINKS_FILE) if name in present],
        )

    def containers(self) -> tuple[Container, ...]:
        """Return the app's containers as they are now."""
        return decide.own(self.plan.name, self.directory.path, self.tools.docker.containers(self.plan.name))

    def pass_gate(self, release: Release, deadline: float) -> None:
        """Wait until a release is healthy.

        :raises UnhealthyError: when it is not in time, or cannot be, with the last lines of the culprit's log.
        """
        verdict = self.gate.wait(self.plan.name, self.directory.path, release, deadline)
        if verdict.outcome == "good":
            return
        late = ""
        if verdict.outcome == "waiting":
            timeout = self.plan.request.health_timeout or release.health.timeout
            late = f" after {timeout} seconds"
        raise UnhealthyError(
            f"bring the app {self.plan.name} up healthy", f"{verdict.reason}{late}{self.log_of(verdict.container)}"
        )

    def log_of(self, container: Container | None) -> str:
        """Return the last lines of a container's log as the end of a message; empty when there are none."""
        if container is None:
            return ""
        lines = self.tools.docker.last_log_lines(container.id)
        return f". The last lines of the log of {container.name}:\n{lines}\n" if lines else ""

    # The registry

    def leases(self) -> list[PortLease]:
        """Return the app's ports."""
        return [lease for lease in self.tools.registry.ports() if lease.owner == self.plan.name]

    def put(self, record: AppRecord | None) -> None:
        """Replace the registry's record of the app."""
        with self.tools.registry.transaction():
            if record is None:
                self.tools.registry.remove_app(self.plan.name)
            else:
                self.tools.registry.put_app(record)

    def record(self, config_hashes: Mapping[str, str], *, confirmed: bool) -> AppRecord:
        """Return the record of the target."""
        state = self.plan.after.state
        return self.record_of(self.target.release, self.target.files, state, config_hashes, confirmed=confirmed)

    def record_of(
        self,
        release: Release,
        files: Mapping[str, RenderedFile],
        state: str,
        config_hashes: Mapping[str, str],
        *,
        confirmed: bool,
    ) -> AppRecord:
        """Return the record of a release."""
        return AppRecord(
            name=self.plan.name,
            template=release.template,
            template_version=release.version,
            state=state,
            content_hash=decide.content_hash(files),
            config_hashes=config_hashes,
            main_port=release.main.port if release.main else None,
            confirmed=confirmed,
        )

    def add_release(self, outcome: str) -> None:
        """Add a row to the app's history; running the same release again is not a new one."""
        registry, name = self.tools.registry, self.plan.name
        history = registry.releases(name)
        live = next((row for row in reversed(history) if row.outcome == "live"), None)
        content_hash, release = decide.content_hash(self.target.files), self.target.release
        if outcome == "live" and live:
            if live.content_hash == content_hash:
                return
            registry.add_release(replace(live, outcome="superseded"))
        number = history[-1].number + 1 if history else 1
        created = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        registry.add_release(
            ReleaseRecord(name, number, created, release.template, release.version, content_hash, outcome)
        )


def made_anew(before: Sequence[Container], after: Sequence[Container]) -> list[str]:
    """Return the services that have a container which was not there before."""
    known = {container.id for container in before}
    return sorted({container.service for container in after if container.id not in known and not container.one_off})
