# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The containers of an app whose data is replaced: stopped meanwhile, and brought up through the gate again."""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, UnhealthyError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.compose import Compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import Gate
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import environment, maybe_secret
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    DESCRIPTION_FILE,
    Container,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE

_WRITING = ("running", "restarting", "paused")


class Service:
    """The release of an app that is in place."""

    def __init__(self, host: Host, docker: Docker, directory: AppDirectory, app: str, lock: int) -> None:
        """
        :param lock: descriptor of the app's lock.
        :raises HostError: when Docker Compose is missing, or the release is damaged.
        """
        compose.require(host.commands)
        files = directory.read()
        self._docker = docker
        self._app = app
        self._directory = directory
        self._release = _release(
            app, decide.read_description(files[DESCRIPTION_FILE].content) if DESCRIPTION_FILE in files else None
        )
        self._secrets = [secret for secret in maybe_secret(environment(files)) if len(secret) >= 4]
        names = [name for name in (COMPOSE_FILE, LINKS_FILE) if name in files]
        self._compose = Compose(host.commands, app, directory.path, lock, environment(files), self._secrets, names)

    def stop(self, but: Collection[str] = ()) -> None:
        """Stop the app's containers, but for those of some services.

        :raises HostError: when one goes on running.
        """
        writing = self._writing(but)
        if not writing:
            return
        paused = {item.service for item in writing if item.state == "paused" and not item.one_off}
        if paused:
            # What is asked to stop has to run for that.
            self._compose.unpause(paused)
        self._compose.stop(
            {item.service for item in writing if not item.one_off and item.service in self._release.services}
        )
        left = self._writing(but)
        if left:
            names = ", ".join(item.name for item in left)
            raise HostError(f"stop the app {self._app}", f"containers of it are running: {names}", "Stop them")

    def up(self, *, judged: bool = True) -> None:
        """Bring the app up and wait until it is healthy.

        :param judged: whether to wait.
        :raises HostError, UnhealthyError: when it does not become so, with the last lines of the culprit's log.
        """
        gate = Gate(self._docker)
        self._compose.up()
        if not judged:
            return
        timeout = self._release.health.timeout
        verdict = gate.wait(self._app, self._directory.path, self._release, gate.deadline(timeout))
        if verdict.outcome == "good":
            return
        late = f" after {timeout} seconds" if verdict.outcome == "waiting" else ""
        told = f"{verdict.reason}{late}{self._log_of(verdict.container)}"
        raise UnhealthyError(f"bring the app {self._app} up healthy", redact(told, self._secrets))

    def _writing(self, but: Collection[str]) -> list[Container]:
        own = decide.own(self._app, self._directory.path, self._docker.containers(self._app))
        return [item for item in own if item.state in _WRITING and item.service not in but]

    def _log_of(self, container: Container | None) -> str:
        lines = self._docker.last_log_lines(container.id) if container else ""
        return f". The last lines of the log of {container.name}:\n{lines}\n" if container and lines else ""


def _release(app: str, described: Release | None) -> Release:
    if described is None:
        reason = "the description of its release is damaged"
        raise HostError(f"restore the data of the app {app}", reason, "Run serverkit_app for it first")
    return described
