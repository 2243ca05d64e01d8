# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The way of one app through its removal."""

from __future__ import annotations

import os

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.compose import Compose
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner import restore_journals
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_attempt import Tools
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan, description, secrets_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.final_backups import FinalBackups
from ansible_collections.serverkit.core.plugins.module_utils._values.app import COMPOSE_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success


class Removal:
    """Takes an app away, and its data too when that is asked for."""

    def __init__(self, tools: Tools, plan: AppPlan, lock: int) -> None:
        self._docker = tools.docker
        self._registry = tools.registry
        self._plan = plan
        self._directory = plan.draft.directory
        files = [name for name in (COMPOSE_FILE, LINKS_FILE) if name in plan.draft.files]
        self._compose = Compose(tools.host.commands, plan.name, self._directory.path, lock, {}, secrets_of(plan), files)
        self._finals = FinalBackups(tools.host, os.path.dirname(self._directory.path))
        self._lock = lock
        self._outcome: Outcome | None = None

    def begin(self) -> None:
        """Do all of it."""
        plan = self._plan
        facts = dict(plan.facts)
        try:
            if plan.request.purge and not plan.request.skip_backup and self._has_data:
                facts["final_backup"] = self._finals.of_app(plan.name, self._lock)
        except ServerkitError as error:
            self._outcome = Failure(plan.name, error, diffs=plan.diffs)
            return
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
            # Of a restore that made the app: the next one is not to take data that stay for what that one has left.
            restore_journals.forget(os.path.dirname(self._directory.path), plan.name)
        except ServerkitError as error:
            self._outcome = Failure(plan.name, error, diffs=plan.diffs, changed=True)
        else:
            self._outcome = Success(plan.name, True, plan.diffs, facts, plan.warnings)

    def finish(self) -> Outcome:
        """Return what came of it."""
        if self._outcome is None:
            raise RuntimeError("finish before begin")
        return self._outcome

    @property
    def _has_data(self) -> bool:
        return self._directory.exists or bool(self._plan.volumes)

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
        release = description(self._plan.draft)
        running = {container.service for container in self._plan.containers if container.state == "running"}
        for hook in release.hooks.get("pre_remove", ()) if release else ():
            if hook.service in running:
                self._compose.execute(hook.service, hook.command)
