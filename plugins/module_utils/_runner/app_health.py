# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The health gate: a release counts when its containers are up and stay up, and its main port answers."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._edges import web
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container, Release
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Published

_EVERYWHERE = {
    "": "127.0.0.1",
    "0.0.0.0": "127.0.0.1",  # noqa: S104 - nothing is bound here, it is where Docker publishes
    "::": "::1",
}
_HTTP_FINE = (100, 499)
# Seconds. A look costs two processes of the docker program, 30 to 50 milliseconds each.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


def address_of(published: Published) -> str:
    """Return the address at which this host reaches a port that it publishes itself."""
    return _EVERYWHERE.get(published.host_ip, published.host_ip)


class Gate:
    """Waits for releases to become healthy."""

    def __init__(
        self,
        docker: Docker,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._docker = docker
        self._clock = clock
        self._sleep = sleep

    def deadline(self, timeout: float) -> float:
        return self._clock() + timeout

    def wait(self, app: str, directory: str, release: Release, deadline: float) -> decide.Verdict:
        """Look until the release is healthy, cannot become healthy, or the time is over; look once at least.

        :returns: a verdict that is not `good` when the release failed.
        :raises HostError: when Docker does not answer.
        """
        pause = _FIRST_PAUSE
        while True:
            verdict = self._look(app, directory, release)
            left = deadline - self._clock()
            if verdict.outcome != "waiting" or left <= 0:
                return verdict
            if verdict.pause is None:
                self._sleep(min(pause, left))
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            else:
                # Not longer than that at once: a container may end meanwhile.
                self._sleep(min(verdict.pause, left, _LONGEST_PAUSE))

    def _look(self, app: str, directory: str, release: Release) -> decide.Verdict:
        containers = decide.own(app, directory, self._docker.containers(app))
        verdict = decide.judge(release.services, containers)
        if verdict.outcome != "good":
            return verdict
        running = [item for item in containers if item.state == "running" and not item.one_off]
        runs = self._docker.runs([item.id for item in running], dt.datetime.now(dt.timezone.utc))
        verdict = decide.judge_runs(runs, running)
        if verdict.outcome != "good":
            return verdict
        problem = self._problem_with_main_port(release)
        return decide.Verdict("waiting", problem, _main_container(release, containers)) if problem else decide.GOOD

    def _problem_with_main_port(self, release: Release) -> str:
        main = release.main
        if main is None or main.protocol != "tcp" or release.probe == "none":
            return ""
        address = address_of(main)
        match release.probe:
            case "http":
                return web.problem_with_http(address, main.port, release.health.path, release.health.status)
            case "tcp":
                return web.problem_with_tcp(address, main.port)
            case _:
                return web.problem_with_port(address, main.port, _HTTP_FINE)


def _main_container(release: Release, containers: Sequence[Container]) -> Container | None:
    service = release.main.service if release.main else ""
    return next((item for item in containers if item.service == service), None)
