# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The port broker and the resource behind serverkit_port, with real sockets and a SQLite registry, without Docker."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import sockets
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import docker_ports
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker, Ports, WantedPort, parse
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import Holder, PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands


@pytest.fixture
def commands() -> FakeCommands:
    """A host without Docker."""
    return FakeCommands(missing=["docker"])


@pytest.fixture
def host(commands: FakeCommands) -> Host:
    return Host(commands, Settings(), False, lambda _secret: None)


@pytest.fixture(autouse=True)
def path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit" / "serverkit.db"))
    return tmp_path / "serverkit" / "serverkit.db"


@contextlib.contextmanager
def server(port: int = 0, *, listen: bool = True) -> Iterator[int]:
    with contextlib.closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", port))
        if listen:
            bound.listen()
        yield bound.getsockname()[1]


def item(owner: str = "blog", name: str = "http", **options: Any) -> WantedPort:
    defaults = {"port": None, "start": 8000, "last": 60000, "protocol": "tcp", "state": "present"}
    return parse({**defaults, "owner": owner, "name": name, **options})


def run(host: Host, *items: WantedPort, check: bool = False) -> list[Outcome]:
    return converge(Ports(host), items, check=check)


def success(outcome: Outcome) -> Success:
    assert isinstance(outcome, Success), outcome
    return outcome


def failure(outcome: Outcome) -> str:
    assert isinstance(outcome, Failure), outcome
    return str(outcome.error)


def leases() -> tuple[PortLease, ...]:
    with open_registry(Settings(), read_only=True) as registry:
        return registry.ports()


def test_check_mode_tells_the_same_and_writes_nothing(host: Host, path: pathlib.Path) -> None:
    planned = success(run(host, item(), check=True)[0])
    assert not path.parent.exists()
    done = success(run(host, item())[0])
    assert planned == done
    assert planned.changed
    assert planned.diffs[0].after == f"blog/http {planned.facts['port']}/tcp\n"
    assert planned.diffs[0].before == ""
    again = success(run(host, item())[0])
    assert (again.changed, again.diffs, again.facts) == (False, (), done.facts)


def test_an_unchanged_port_costs_no_look_at_the_host(host: Host, commands: FakeCommands) -> None:
    run(host, item())
    looked = len(commands.looked_for)
    assert looked
    run(host, item())
    assert len(commands.looked_for) == looked


def test_release_and_release_again(host: Host) -> None:
    run(host, item())
    released = success(run(host, item(state="absent"))[0])
    assert (released.changed, released.facts) == (True, {"owner": "blog", "state": "absent"})
    assert released.diffs[0].after == ""
    assert leases() == ()
    assert not success(run(host, item(state="absent"))[0]).changed


def test_releasing_what_never_was_makes_no_registry(host: Host, path: pathlib.Path) -> None:
    assert not success(run(host, item(state="absent"))[0]).changed
    assert not path.parent.exists()


def test_a_port_is_released_and_reserved_again_in_one_task(host: Host) -> None:
    with server() as port:
        pass
    run(host, item("old", port=port))
    outcomes = run(host, item("old", state="absent"), item("new", port=port))
    assert [success(outcome).changed for outcome in outcomes] == [True, True]
    assert leases() == (PortLease(port, "tcp", "new", "http"),)


def test_a_listener_is_named_with_its_process(host: Host) -> None:
    with server() as port:
        text = failure(run(host, item(port=port))[0])
    assert f"Could not reserve port {port}/tcp for blog/http: process {os.getpid()} (" in text
    assert f") has {port}/tcp. Port " in text
    assert leases() == ()


def test_a_socket_that_proc_does_not_list_is_found_by_the_bind_test(host: Host) -> None:
    with server(listen=False) as port:
        assert f"bound it without listening has {port}/tcp" in failure(run(host, item(port=port))[0])
        outcome = success(run(host, item(start=port, last=60000 if port < 60000 else 65535))[0])
        assert outcome.facts["port"] != port


def test_a_proposal_is_bind_tested_too(host: Host) -> None:
    with server(listen=False) as bound, server() as port:
        text = failure(run(host, item(port=port, start=bound, last=bound))[0])
    assert f"No port from {bound} to {bound} is free" in text


def test_one_failing_owner_does_not_stop_another(host: Host) -> None:
    with server() as port:
        outcomes = run(host, item("shop", port=port), item("shop", "admin"), item("blog"))
    assert "has" in failure(outcomes[0])
    assert "another port of shop" in failure(outcomes[1])
    assert success(outcomes[2]).changed
    assert [lease.owner for lease in leases()] == ["blog"]


def test_the_result_has_the_name_of_the_option(host: Host) -> None:
    assert run(host, item())[0].name == "http"
    with server() as port:
        assert run(host, item("shop", port=port))[0].name == "http"


def test_the_same_item_twice_is_refused(host: Host) -> None:
    outcomes = run(host, item(), item())
    assert success(outcomes[0]).changed
    assert "listed twice" in failure(outcomes[1])


def test_an_item_without_owner() -> None:
    with pytest.raises(InputError, match="its owner is not set"):
        parse({"owner": None, "name": "http"})


def test_an_app_reserves_all_of_its_ports_in_its_own_transaction(host: Host) -> None:
    broker = PortBroker(host)
    requests = [PortRequest("blog", "HTTP_PORT"), PortRequest("blog", "DNS_PORT", "both")]
    with open_registry(Settings(), read_only=True) as registry:
        planned = broker.preview(registry, requests)
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        reserved = broker.reserve(registry, requests)
    assert planned == reserved
    assert all(isinstance(lease, PortLease) for lease in reserved)
    assert len(leases()) == 3
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        renamed = broker.reserve(registry, [PortRequest("blog", "WEB_PORT")], {("blog", "HTTP_PORT")})
    assert not isinstance(renamed[0], ServerkitError)
    assert {lease.name for lease in leases()} == {"DNS_PORT", "WEB_PORT"}


def test_what_others_reserved_since_the_preview_is_seen_in_the_transaction(host: Host) -> None:
    broker = PortBroker(host)
    with open_registry(Settings(), read_only=True) as registry:
        (planned,) = broker.preview(registry, [PortRequest("blog", "http")])
    assert isinstance(planned, PortLease)
    run(host, item("faster"))
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        (reserved,) = broker.reserve(registry, [PortRequest("blog", "http")])
    assert isinstance(reserved, PortLease)
    assert reserved.port > planned.port


def test_a_container_of_the_app_itself_is_no_conflict(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's own process listens for it, so the bind test must not count either."""
    with server() as port:
        containers = (Holder(port, "tcp", "the container blog-web-1 of the Compose project blog", "blog"),)
        monkeypatch.setattr(docker_ports, "bindings", lambda _commands: containers)
        assert "the container blog-web-1" in failure(run(host, item("shop", port=port))[0])
        assert success(run(host, item("blog", port=port))[0]).facts["port"] == port
        assert PortBroker(host).holder(port) == containers[0].description


def test_who_has_a_port_right_now(host: Host) -> None:
    broker = PortBroker(host)
    with server() as port:
        assert str(broker.holder(port)).startswith(f"process {os.getpid()} (")
        assert broker.holder(port, "udp") is None
    assert broker.holder(port) is None
    with server(listen=False) as port:
        assert "without listening" in str(broker.holder(port))


def test_a_docker_that_does_not_answer_is_a_warning(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = FakeCommands(Completed(1, "", "Cannot connect to the Docker daemon"))
    silent = Host(commands, Settings(), False, host.hide)
    outcomes = run(silent, item(), item(name="admin"))
    assert "Cannot connect to the Docker daemon" in success(outcomes[0]).warnings[0]
    assert success(outcomes[1]).warnings == ()


def test_a_thousand_reservations_test_only_what_they_reserve(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    tests: list[int] = []

    def can_bind(port: int, _protocol: str, *, like_a_server: bool = False) -> bool:
        tests.append(port)
        return True

    monkeypatch.setattr(sockets, "can_bind", can_bind)
    outcomes = run(host, *(item(f"app-{number}") for number in range(1000)))
    ports = [success(outcome).facts["port"] for outcome in outcomes]
    assert len(set(ports)) == 1000
    assert len(tests) == 2000  # once to plan, once in the transaction
