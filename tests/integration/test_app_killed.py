# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_app killed (SIGKILL) at random instants of a deploy and of an update: the next run converges.

Several apps take part at once: most of a run is waiting, and what two runs share (the registry, Docker) has to bear it.
"""

from __future__ import annotations

import concurrent.futures
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import AppHost, ids, only, web

pytestmark = [pytest.mark.real, pytest.mark.testbed]

INSTANTS = 20
FEW = INSTANTS // 4


class Lane:
    """An app, and the runs of it that are killed at instants spread over the time that a whole run takes just now."""

    def __init__(self, host: AppHost, number: int, kills: int) -> None:
        self.host = host
        self.app = f"blog{number}"
        self.port = 8001 + number
        self.kills = kills
        self.duration = 0.0

    def task(self, variables: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return web(self.app, {"HTTP_PORT": self.port, **(variables or {})}, **options)

    def measure(self, task: dict[str, Any]) -> None:
        begin = time.monotonic()
        only(self.host.call(task))
        self.duration = time.monotonic() - begin

    def kill(self, task: dict[str, Any]) -> None:
        if self.host.call_killed(task, random.uniform(0.05, self.duration)) == "killed":
            self.kills -= 1
        else:
            self.duration *= 0.8  # the machine has become faster

    def forget(self) -> None:
        """Take the app away behind the module's back, but for what the registry has of it, and begin another one."""
        host, chosen = self.host, f"--filter label=com.docker.compose.project={self.app}"
        host.sh(f"docker ps -aq {chosen} | xargs -r docker rm -fv >/dev/null")
        host.sh(f"docker network ls -q {chosen} | xargs -r docker network rm >/dev/null")
        host.sh(f"docker volume rm -f {self.app}_data >/dev/null; rm -rf /var/serverkit/apps/{self.app}")
        self.app += "x"
        self.port += 100

    def assert_unchanged(self, task: dict[str, Any], greeting: str = "hello") -> None:
        """The app serves, has its port and its files and nothing more, and the next run finds nothing to do."""
        host, app = self.host, self.app
        assert host.get(self.port) == greeting
        assert [lease for lease in host.leases() if lease[1] == app] == [(self.port, app, "HTTP_PORT")]
        assert host.sh(f"ls -A /var/serverkit/apps/{app}") == ".env\n.release.json\ndocker-compose.yml"
        assert sorted(ids(host, app)) == ["app", "migrate", "worker"]
        assert only(host.call(task))["changed"] is False


def in_lanes(host: AppHost, lanes: int, kills: int, run: Callable[[Lane], None]) -> None:
    """Let so many apps go their way at once, until all of their runs together were killed so often."""
    each = [Lane(host, number, kills // lanes) for number in range(lanes)]
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        for done in [pool.submit(run, lane) for lane in each]:
            done.result()


def test_a_killed_deploy_is_finished_by_the_next_run(host: AppHost) -> None:
    def run(lane: Lane) -> None:
        lane.measure(lane.task())
        while lane.kills:
            lane.forget()
            lane.kill(lane.task())
            only(host.call(lane.task()))
            lane.assert_unchanged(lane.task())

    in_lanes(host, 4, INSTANTS, run)


def test_a_killed_update_is_finished_by_the_next_run(host: AppHost) -> None:
    def run(lane: Lane) -> None:
        only(host.call(lane.task()))
        worker = ids(host, lane.app)["worker"]
        lane.measure(lane.task({"GREETING": "first update"}))
        while lane.kills:
            greeting = f"hello {random.random()}"
            wanted = lane.task({"GREETING": greeting})
            lane.kill(wanted)
            only(host.call(wanted))
            lane.assert_unchanged(wanted, greeting)
            assert ids(host, lane.app)["worker"] == worker

    in_lanes(host, 4, INSTANTS, run)


def test_a_killed_update_that_would_have_failed_still_goes_back(host: AppHost) -> None:
    def run(lane: Lane) -> None:
        lane.measure(lane.task())
        crash = lane.task({"GREETING": "crash"}, health_timeout=3)
        while lane.kills:
            lane.kill(crash)
            assert "serves again" in host.call(crash)["msg"]
            lane.assert_unchanged(lane.task())

    in_lanes(host, FEW, FEW, run)


def test_a_killed_removal_is_finished_by_the_next_run(host: AppHost) -> None:
    def run(lane: Lane) -> None:
        gone = {"name": lane.app, "state": "absent"}
        only(host.call(lane.task()))
        lane.measure(gone)
        while lane.kills:
            only(host.call(lane.task()))
            lane.kill(gone)
            only(host.call(gone))
            assert [lease for lease in host.leases() if lease[1] == lane.app] == []
            assert ids(host, lane.app) == {}
            assert host.sh(f"ls -A /var/serverkit/apps/{lane.app}") == ".env"

    in_lanes(host, FEW, FEW, run)
