# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import Gate
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container, Release, Run
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Health, ServiceFacts

HERE = "/var/serverkit/apps/blog"
RELEASE = Release(
    template="web",
    version="1",
    publish="loopback",
    services={"web": ServiceFacts(image="nginx")},
    published=(),
    main=None,
    health=Health("none"),
    probe="none",
)


class FakeDocker:
    """Shows one state after the other; a second passes between two looks."""

    def __init__(self, *states: str, restarts: int = 0) -> None:
        self.states = list(states)
        self.restarts = restarts
        self.now = 0.0
        self.pauses: list[float] = []
        self.up_since: float | None = None

    def containers(self, project: str) -> tuple[Container, ...]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        self.up_since = (self.up_since if self.up_since is not None else self.now) if state == "running" else None
        return (Container("id", "blog-web-1", state, "", 1, "blog", "web", HERE),)

    def runs(self, containers: Sequence[str], now: dt.datetime) -> tuple[Run, ...]:
        return tuple(Run(name, self.restarts, self.now - (self.up_since or 0.0)) for name in containers)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += 1.0


def outcome(docker: FakeDocker, timeout: float) -> tuple[str, float]:
    gate = Gate(docker, docker.clock, docker.sleep)  # type: ignore[arg-type]
    return gate.wait("blog", HERE, RELEASE, gate.deadline(timeout)).outcome, docker.now


def test_a_container_that_stays_up_passes() -> None:
    assert outcome(FakeDocker("created", "running"), 30) == ("good", 2.0)


def test_a_container_that_ended_is_not_waited_for() -> None:
    assert outcome(FakeDocker("running", "exited"), 30) == ("bad", 1.0)


def test_a_loop_of_restarts_does_not_pass_by_a_lucky_look() -> None:
    looping = FakeDocker(*["running", "restarting"] * 20, restarts=3)
    assert outcome(looping, 12) == ("waiting", 12.0)


def test_a_container_that_recovers_passes_after_a_while() -> None:
    assert outcome(FakeDocker("restarting", "running", restarts=1), 30) == ("good", 11.0)


def test_one_look_is_taken_when_the_time_is_over_already() -> None:
    docker = FakeDocker("running")
    docker.up_since = -5.0
    assert outcome(docker, -1) == ("good", 0.0)


def test_the_pause_is_no_longer_than_the_container_needs() -> None:
    docker = FakeDocker("running")
    docker.up_since = -0.7
    assert outcome(docker, 30) == ("good", 1.0)
    assert docker.pauses == [pytest.approx(0.3)]


def test_the_youngest_container_decides_how_long() -> None:
    containers = [Container(name, name, "running", service=name) for name in "ab"]
    verdict = decide.judge_runs([Run("a", 0, 0.5), Run("b", 1, 2.0)], containers)
    assert (verdict.outcome, verdict.pause, verdict.container) == ("waiting", 8.0, containers[1])
    assert "was restarted 1 times" in verdict.reason
