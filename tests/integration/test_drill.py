# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills on a real host: a set is restored into a throwaway place, judged, and nothing is left of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import ids, only
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES
from ansible_collections.serverkit.core.tests.integration.placement_host import PlacementHost

pytestmark = [pytest.mark.real, pytest.mark.testbed]

HOST = PlacementHost


@pytest.fixture(scope="module")
def host(machine: PlacementHost) -> Iterator[PlacementHost]:
    """The server with the app on it, which no test changes."""
    machine.deploy()
    yield machine
    machine.clean()


@pytest.fixture(scope="module")
def sets(host: PlacementHost) -> tuple[str, str]:
    """A set that is good, and one that the app does not get healthy with."""
    return host.back_up_twice()


def test_a_drill_tells_what_it_found_and_leaves_nothing_behind(host: PlacementHost, sets: tuple[str, str]) -> None:
    before, containers = host.everything(), ids(host, "shop")
    only(host.restore(drill=True, set=sets[0], check=True))
    assert host.everything() == before
    result = only(host.restore(drill=True, set=sets[0]))
    assert (result["set"], result["status"], result["drill"]["http"]) == (sets[0], "passed", 200)
    assert {name: found["rows"] for name, found in result["databases"].items()} == dict.fromkeys(ENGINES, 2)
    assert result["volumes"] == {"cache": 1, "files": 2}
    assert 0 <= result["data_age"] < 3600
    assert 0 < result["seconds"] < 600
    assert any("outside" in note for note in result["drill"]["notes"])
    assert host.everything() == before
    assert ids(host, "shop") == containers


def test_a_drill_that_fails_leaves_nothing_behind_either(host: PlacementHost, sets: tuple[str, str]) -> None:
    before = host.everything()
    failed = host.restore(drill=True, set=sets[1])
    assert failed["failed"]
    assert "All that was made of shop-drill was removed again" in failed["msg"]
    assert host.everything() == before


@pytest.mark.parametrize(
    "instant", ["docker volume inspect shop-drill_cache", "docker ps -q --filter name=shop-drill | grep ."]
)
def test_what_a_killed_drill_leaves_goes_away_with_the_next(
    host: PlacementHost, sets: tuple[str, str], instant: str
) -> None:
    before = host.everything()
    assert host.kill_restore_when(instant, drill=True, set=sets[0])
    assert host.everything() != before
    if "docker ps" in instant:
        network = json.loads(host.sh("docker network inspect -f '{{json .Options}}' shop-drill_default"))
        assert network["com.docker.network.bridge.enable_ip_masquerade"] == "false"
        # The original answers to those outside, the copy of it cannot.
        assert host.reaches_out("the-shop")
        assert not host.reaches_out("shop-drill-web-1")
    assert only(host.restore(drill=True, set=sets[0]))["status"] == "passed"
    assert host.everything() == before


def test_an_app_that_is_called_as_a_drill_would_be_is_not_touched(host: PlacementHost, sets: tuple[str, str]) -> None:
    host.sh("mkdir -p /var/serverkit/apps/shop-drill; echo SECRET=x > /var/serverkit/apps/shop-drill/.env")
    before = host.everything()
    refused = host.restore(drill=True, set=sets[0])
    assert "there is an app of that name" in refused["msg"]
    assert host.everything() == before
