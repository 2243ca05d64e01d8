# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where containers are."""

from __future__ import annotations

import json

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.container_networks import gateway, places
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands


def test_a_container_has_an_address_in_each_network_that_it_is_in() -> None:
    line = json.dumps(
        {
            "id": "c0ffee",
            "name": "/shared-db-1",
            "pid": 42,
            "networks": {"shared_default": {"IPAddress": "172.20.0.2"}, "left": {"IPAddress": ""}},
        }
    )
    docker = FakeCommands(Completed(0, f"{line}\n", ""))
    place = places(docker, ["c0ffee"])["c0ffee"]
    assert (place.name, place.process) == ("shared-db-1", 42)
    assert dict(place.networks) == {"shared_default": "172.20.0.2"}
    assert docker.argvs[0][-1] == "c0ffee"


def test_no_containers_are_not_asked_for() -> None:
    docker = FakeCommands()
    assert places(docker, []) == {}
    assert docker.calls == []


def test_a_container_that_is_gone_is_told() -> None:
    with pytest.raises(HostError, match="No such container"):
        places(FakeCommands(Completed(1, "", "Error: No such container: c0ffee")), ["c0ffee"])


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (Completed(0, "172.17.0.1 \n", ""), "172.17.0.1"),
        (Completed(0, "fd00::1 172.17.0.1 \n", ""), "172.17.0.1"),
        (Completed(0, " \n", ""), ""),
        (Completed(1, "", "Error: No such network: bridge"), ""),
    ],
)
def test_the_gateway_is_the_bridges_own_address(answer: Completed, address: str) -> None:
    assert gateway(FakeCommands(answer)) == address


def test_without_docker_there_is_no_gateway() -> None:
    assert gateway(FakeCommands(missing=["docker"])) == ""
