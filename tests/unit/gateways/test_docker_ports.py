# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `docker ps` and `docker inspect` say about ports, recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import docker_ports
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import Holder
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands


def line(number: int, container: Any) -> list[str]:
    """Return what `docker ps` says of a recorded container."""
    name, state, _configured, published, project = container
    ports = [
        f"0.0.0.0:{each['HostPort']}->{key}"
        for key, hosts in (published or {}).items()
        for each in hosts or ()
        if "HostPort" in each
    ]
    return [f"{number:064x}", state, ", ".join(ports), name.lstrip("/"), project or ""]


def docker(*containers: object, installed: bool = True, error: str = "") -> FakeCommands:
    """Answers `docker ps` with one id per recorded container, and `docker inspect` with what was recorded of them."""

    def answer(argv: Sequence[str]) -> Completed:
        if argv[1] == "ps":
            listed = "".join(f"{json.dumps(line(number, each))}\n" for number, each in enumerate(containers))
            broken = error and "no such" not in error.lower()
            return Completed(1, "", error) if broken else Completed(0, listed, "")
        asked = argv[argv.index(docker_ports._FORMAT) + 1 :]
        lines = "".join(f"{json.dumps(containers[int(number, 16)])}\n" for number in asked)
        return Completed(1 if error else 0, lines, error)

    return FakeCommands(answer=answer, missing=() if installed else ["docker"])


def binding(*ports: str) -> list[dict[str, str]]:
    return [{"HostIp": "", "HostPort": port} for port in ports]


def slots(*containers: object) -> list[tuple[int, str]]:
    return [(holder.port, holder.protocol) for holder in docker_ports.bindings(docker(*containers))]


def test_a_running_and_a_stopped_container() -> None:
    host = docker(
        ["/blog-web-1", "running", {"80/tcp": binding("8003")}, {"80/tcp": binding("8003", "8003")}, "blog"],
        ["/old", "exited", {"80/tcp": binding("8004")}, {}, ""],
    )
    assert docker_ports.bindings(host) == (
        Holder(8003, "tcp", "the container blog-web-1 of the Compose project blog", "blog", True),
        Holder(8004, "tcp", "the stopped container old", None, False),
    )


def test_a_created_container_that_never_ran() -> None:
    assert slots(["/new", "created", {"80/tcp": binding("8004")}, {}, ""]) == [(8004, "tcp")]


def test_udp_counts_and_sctp_does_not() -> None:
    configured = {"53/udp": binding("5353"), "53/tcp": binding("5354"), "7/sctp": binding("5355")}
    assert slots(["/dns", "exited", configured, None, ""]) == [(5353, "udp"), (5354, "tcp")]


def test_a_range_that_maps_to_a_range_is_one_binding_per_port() -> None:
    configured = {f"{80 + n}/tcp": binding(str(8000 + n)) for n in range(3)}
    assert slots(["/r", "exited", configured, {}, ""]) == [(8000, "tcp"), (8001, "tcp"), (8002, "tcp")]


def test_a_range_to_choose_from_counts_whole_until_docker_has_chosen() -> None:
    configured = {"80/tcp": binding("8000-8002")}
    assert len(slots(["/r", "exited", configured, {}, ""])) == 3
    assert slots(["/r", "running", configured, {"80/tcp": binding("8001")}, ""]) == [(8001, "tcp")]


@pytest.mark.parametrize("any_port", ["", "0"])
def test_a_port_that_docker_chooses_anew_counts_only_while_it_runs(any_port: str) -> None:
    configured = {"80/tcp": binding(any_port)}
    assert slots(["/d", "exited", configured, {}, ""]) == []
    assert slots(["/d", "running", configured, {"80/tcp": binding("32768")}, ""]) == [(32768, "tcp")]


@pytest.mark.parametrize("odd", [None, {}, {"80/tcp": None}, {"80/tcp": [{"HostIp": ""}]}, {"80/tcp": binding("x")}])
def test_containers_without_host_ports(odd: object) -> None:
    assert slots(["/n", "running", odd, odd, None]) == []


def test_host_ports_above_65535_are_not_invented() -> None:
    assert slots(["/x", "exited", {"80/tcp": binding("65534-70000")}, {}, ""]) == [(65534, "tcp"), (65535, "tcp")]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("0.0.0.0:8001->80/tcp, :::8001->80/tcp", [(8001, "tcp")]),
        ("[::1]:8001->80/tcp, 443/tcp, 127.0.0.1:53->53/udp", [(53, "udp"), (8001, "tcp")]),
        ("0.0.0.0:8000-8002->80-82/tcp, [::]:8000-8002->80-82/tcp", [(8000, "tcp"), (8001, "tcp"), (8002, "tcp")]),
        ("0.0.0.0:7->7/sctp, 0.0.0.0:9->9/tcp", [(9, "tcp")]),
    ],
)
def test_what_docker_ps_tells_of_a_running_container_needs_no_inspection(
    ports: str, expected: list[tuple[int, str]]
) -> None:
    host = FakeCommands(Completed(0, json.dumps(["a" * 64, "running", ports, "blog-web-1", "blog"]) + "\n", ""))
    found = docker_ports.bindings(host)
    assert [(holder.port, holder.protocol) for holder in found] == expected
    assert {holder.description for holder in found} == {"the container blog-web-1 of the Compose project blog"}
    assert [argv[1] for argv in host.argvs] == ["ps"]


def test_a_running_container_without_its_network_keeps_its_ports() -> None:
    assert slots(["/cut", "running", {"80/tcp": binding("8004")}, {}, ""]) == [(8004, "tcp")]


def test_no_docker_is_no_bindings() -> None:
    host = docker(installed=False)
    assert docker_ports.bindings(host) == ()
    assert host.calls == []


def test_no_containers_are_not_inspected() -> None:
    host = docker()
    assert docker_ports.bindings(host) == ()
    assert len(host.calls) == 1


def test_an_engine_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(HostError, match="Cannot connect to the Docker daemon"):
        docker_ports.bindings(docker(error="Cannot connect to the Docker daemon at unix:///x. Is it running?"))


def test_a_container_that_is_removed_meanwhile_does_not_matter() -> None:
    host = docker(["/a", "running", {}, {"80/tcp": binding("8000")}, ""], error="Error: No such container: 0123\n")
    assert [holder.port for holder in docker_ports.bindings(host)] == [8000]


def test_many_containers_are_inspected_in_few_calls() -> None:
    host = docker(*(["/c", "exited", {"80/tcp": binding(str(9000 + n))}, {}, ""] for n in range(1100)))
    assert len(docker_ports.bindings(host)) == 1100
    assert [argv[1] for argv in host.argvs] == ["ps", "inspect", "inspect", "inspect"]
