# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_app killed (SIGKILL) at random instants of a deploy and of an update: the next run converges."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import AppHost, host_of_environment, ids, only, web

pytestmark = pytest.mark.real

INSTANTS = 20


@pytest.fixture(scope="module")
def machine() -> AppHost:
    found = host_of_environment()
    if found is None:
        pytest.skip("SERVERKIT_TEST_HOST does not name a host")
    return found


@pytest.fixture
def host(machine: AppHost) -> Iterator[AppHost]:
    machine.clean()
    yield machine
    machine.clean()


class Killer:
    """Kills runs at instants spread over the time that a whole run takes on this machine just now."""

    def __init__(self, host: AppHost, task: dict[str, Any]) -> None:
        self.host = host
        self.kills = 0
        begin = time.monotonic()
        only(host.call(task))
        self.duration = time.monotonic() - begin

    def run(self, task: dict[str, Any]) -> None:
        if self.host.call_killed(task, random.uniform(0.05, self.duration)) == "killed":
            self.kills += 1
        else:
            self.duration *= 0.8  # the machine has become faster


def _assert_tidy(host: AppHost) -> None:
    assert host.leases() == [(8001, "blog", "HTTP_PORT")]
    assert host.sh("ls -A /var/serverkit/apps/blog") == ".env\n.release.json\ndocker-compose.yml"
    assert host.sh("docker ps -a --format '{{.Names}}' | sort") == "blog-app-1\nblog-migrate-1\nblog-worker-1"


def test_a_killed_deploy_is_finished_by_the_next_run(host: AppHost) -> None:
    killer = Killer(host, web())
    while killer.kills < INSTANTS:
        host.clean()
        killer.run(web())
        only(host.call(web()))
        assert host.get(8001) == "hello"
        _assert_tidy(host)
        assert only(host.call(web()))["changed"] is False


def test_a_killed_update_is_finished_by_the_next_run(host: AppHost) -> None:
    only(host.call(web()))
    worker = ids(host)["worker"]
    killer = Killer(host, web(variables={"GREETING": "first update"}))
    while killer.kills < INSTANTS:
        greeting = f"hello {random.random()}"
        wanted = web(variables={"GREETING": greeting})
        killer.run(wanted)
        only(host.call(wanted))
        assert host.get(8001) == greeting
        _assert_tidy(host)
        assert ids(host)["worker"] == worker
        assert only(host.call(wanted))["changed"] is False


def test_a_killed_update_that_would_have_failed_still_goes_back(host: AppHost) -> None:
    killer = Killer(host, web())
    crash = web(variables={"GREETING": "crash"}, health_timeout=3)
    while killer.kills < INSTANTS // 4:
        killer.run(crash)
        assert "serves again" in host.call(crash)["msg"]
        assert host.get(8001) == "hello"
        _assert_tidy(host)
        assert only(host.call(web()))["changed"] is False


def test_a_killed_removal_is_finished_by_the_next_run(host: AppHost) -> None:
    gone = {"name": "blog", "state": "absent"}
    only(host.call(web()))
    killer = Killer(host, gone)
    while killer.kills < INSTANTS // 4:
        only(host.call(web()))
        killer.run(gone)
        only(host.call(gone))
        assert host.leases() == []
        assert host.sh("docker ps -aq; ls -A /var/serverkit/apps/blog") == ".env"
