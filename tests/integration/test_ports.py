# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_port against what is real on this host: listeners, Docker's containers, both registries, full disks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import sockets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease
from postgresql_server import PASSWORD, Cluster

pytestmark = pytest.mark.real

HERE = pathlib.Path(__file__).resolve().parent
IMAGE = "serverkit-test-empty:latest"

Result = dict[str, Any]
RunModule = Callable[..., Result]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which a fresh Python can import this checkout's collection."""
    tree = tmp_path_factory.mktemp("tree")
    (tree / "ansible_collections" / "serverkit").mkdir(parents=True)
    (tree / "ansible_collections" / "serverkit" / "core").symlink_to(HERE.parents[1], target_is_directory=True)
    return {**os.environ, "PYTHONPATH": str(tree)}


@pytest.fixture
def path(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = str(tmp_path / "serverkit" / "serverkit.db")
    monkeypatch.setattr(sqlite, "PATH", path)
    return path


def start(environment: dict[str, str], path: str, arguments: Result) -> subprocess.Popen[str]:
    """Start the module as Ansible does: a process that gets arguments and prints a result."""
    argv = [sys.executable, str(HERE / "port_run.py"), path, json.dumps(arguments)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def run(environment: dict[str, str], path: str) -> RunModule:
    def run_module(**arguments: object) -> Result:
        process = start(environment, path, dict(arguments))
        output, errors = process.communicate()
        assert output.strip(), errors
        result: Result = json.loads(output)
        result["output"] = output + errors
        return result

    return run_module


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """An image that needs no registry: containers of it can be created, not run."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("Docker is not running here")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    subprocess.run(["docker", "import", "-", IMAGE], input=archive.getvalue(), check=True, capture_output=True)
    yield IMAGE
    subprocess.run(["docker", "image", "rm", IMAGE], check=True, capture_output=True)


@pytest.fixture
def container(image: str) -> Iterator[Callable[..., str]]:
    """Create containers that never start."""
    made: list[str] = []

    def create(*options: str) -> str:
        name = f"serverkit-test-{os.getpid()}-{len(made)}"
        subprocess.run(["docker", "create", "--name", name, *options, image, "x"], check=True, capture_output=True)
        made.append(name)
        return name

    yield create
    if made:
        subprocess.run(["docker", "rm", *made], check=True, capture_output=True)


def taken_by_docker() -> set[int]:
    """The host ports that all containers have, asked for in another way than the module does."""
    ids = subprocess.run(["docker", "ps", "-aq"], check=True, capture_output=True, text=True).stdout.split()
    ports: set[int] = set()
    for identifier in ids:  # one by one: other tests on this machine remove theirs meanwhile
        inspected = subprocess.run(
            ["docker", "inspect", identifier], capture_output=True, text=True, check=False
        ).stdout
        ports.update(int(port) for port in re.findall(r'"HostPort": "(\d+)"', inspected))
    return ports


def free_block(size: int, first: int = 8000) -> int:
    """The first of that many ports in a row that nobody has: 8000 unless this machine uses those ports."""
    docker = taken_by_docker() if shutil.which("docker") else set()
    while not all(
        port not in docker and sockets.can_bind(port, "tcp") and sockets.can_bind(port, "udp")
        for port in range(first, first + size)
    ):
        first += 100
    return first


def reserve_by_hand(*leases: PortLease) -> None:
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.add_ports(leases)


@contextlib.contextmanager
def listener(family: int, address: str, port: int, kind: int = socket.SOCK_STREAM) -> Iterator[None]:
    with contextlib.closing(socket.socket(family, kind)) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        yield


@pytest.mark.usefixtures("path")
def test_the_worked_example_of_the_reference(run: RunModule, container: Callable[..., str]) -> None:
    first = free_block(11)
    reserve_by_hand(*(PortLease(first + n, "tcp", f"app-{n}", "http") for n in (1, 2, 5, 10)))
    container("-p", f"{first + 3}:80")
    container("-p", f"{first + 4}:80")
    with listener(socket.AF_INET, "127.0.0.1", first):
        result = run(name="http", owner="new", start=first)
    assert result["results"][0]["port"] == first + 6


@pytest.mark.parametrize("published", ["{0}-{2}:80-82", "127.0.0.1:{0}-{2}:80-82", "[::1]:{0}-{2}:80-82"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_stopped_container_keeps_its_range(
    run: RunModule, container: Callable[..., str], published: str, protocol: str
) -> None:
    first = free_block(5)
    name = container("-p", f"{published.format(first, first + 1, first + 2)}/{protocol}")
    assert run(name="x", owner="new", start=first, protocol=protocol)["results"][0]["port"] == first + 3
    refused = run(name="y", owner="new", port=first + 1, start=first, protocol=protocol)
    assert refused["failed"]
    assert f"the stopped container {name} will take {first + 1}/{protocol}. Port {first + 4} is free" in refused["msg"]
    other = "udp" if protocol == "tcp" else "tcp"
    assert run(name="z", owner="new", port=first + 1, protocol=other)["changed"]


def test_a_container_of_the_apps_own_project_is_no_conflict(run: RunModule, container: Callable[..., str]) -> None:
    first = free_block(1)
    container("-p", f"{first}:80", "--label", "com.docker.compose.project=blog")
    assert "of the Compose project blog will take" in run(name="http", owner="shop", port=first)["msg"]
    assert run(name="http", owner="blog", port=first)["changed"]


@pytest.mark.parametrize(
    ("family", "address", "kind", "protocol"),
    [
        (socket.AF_INET, "0.0.0.0", socket.SOCK_STREAM, "tcp"),
        (socket.AF_INET, "127.0.0.1", socket.SOCK_STREAM, "tcp"),
        (socket.AF_INET6, "::1", socket.SOCK_STREAM, "tcp"),
        (socket.AF_INET6, "::", socket.SOCK_STREAM, "tcp"),
        (socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM, "udp"),
        (socket.AF_INET6, "::1", socket.SOCK_DGRAM, "udp"),
    ],
)
def test_a_listener_of_any_kind_has_its_port(
    run: RunModule, family: int, address: str, kind: int, protocol: str
) -> None:
    first = free_block(3)
    with listener(family, address, first, kind):
        refused = run(name="x", owner="new", port=first, protocol=protocol)
        chosen = run(name="x", owner="new", start=first, protocol="both")
    assert f"process {os.getpid()} (" in refused["msg"]
    assert f") has {first}/{protocol}." in refused["msg"]
    assert chosen["results"][0]["port"] == first + 1


def test_fifty_processes_at_once_reserve_twenty_ports_each(
    environment: dict[str, str], path: str, container: Callable[..., str], backend: dict[str, str]
) -> None:
    first = free_block(40)
    container("-p", f"{first + 3}-{first + 7}:80-84")
    with listener(socket.AF_INET, "0.0.0.0", first + 1), listener(socket.AF_INET6, "::1", first + 2):
        wanted = [
            [{"owner": f"app-{number}", "name": f"port-{port}", "start": first} for port in range(20)]
            for number in range(50)
        ]
        processes = [start(environment, path, {"ports": ports, **backend}) for ports in wanted]
        results = [json.loads(process.communicate()[0]) for process in processes]
        assert [result.get("msg") for result in results if result.get("failed")] == []
        ports = [item["port"] for result in results for item in result["results"]]
        assert len(ports) == len(set(ports)) == 1000
        assert not set(ports) & {first + 1, first + 2, *range(first + 3, first + 8)}
        assert not set(ports) & taken_by_docker()
        assert all(sockets.can_bind(port, "tcp") for port in ports)
    settings = Settings(backend.get("registry_dsn", ""), backend.get("registry_host", ""))
    with open_registry(settings, read_only=True) as registry:
        assert sorted(lease.port for lease in registry.ports()) == sorted(ports)


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """The module's options for a registry."""
    if request.param == "sqlite":
        return {}
    cluster: Cluster = request.getfixturevalue("cluster")
    return {"registry_dsn": cluster.dsn(), "registry_host": "web1"}


def test_the_module_behaves_alike_with_both_registries(run: RunModule, path: str, backend: dict[str, str]) -> None:
    first = free_block(3)
    item = {"name": "http", "owner": "blog", "start": first, "_ansible_diff": True, **backend}
    planned = run(**item, _ansible_check_mode=True)
    assert not os.path.exists(os.path.dirname(path))
    made = run(**item)
    again = run(**item)
    moved = run(**{**item, "port": first + 2})
    released = run(**item, state="absent")
    for key in ("changed", "results", "diff"):
        assert planned[key] == made[key]
    assert [result["changed"] for result in (made, again, moved, released)] == [True, False, True, True]
    assert again["results"][0] == {**made["results"][0], "changed": False}
    assert again["diff"] == []
    assert (moved["diff"][0]["before"], moved["diff"][0]["after"]) == (
        f"blog/http {first}/tcp\n",
        f"blog/http {first + 2}/tcp\n",
    )
    assert released["results"][0] == {"name": "http", "owner": "blog", "state": "absent", "changed": True}
    assert os.path.exists(path) is not bool(backend)


def test_no_result_of_the_module_shows_the_password(run: RunModule, cluster: Cluster) -> None:
    dsn = cluster.dsn()
    encoded = dsn.split(":")[2].partition("@")[0]
    wrong = dsn.replace(f":{cluster.port}/", ":1/")
    items = [{"name": "http", "owner": "blog", "start": 8000}, {"name": "x", "owner": "blog", "port": 70000}]
    more = {"_ansible_diff": True, "_ansible_verbosity": 4, "registry_host": "web1"}
    results = [
        run(ports=items, registry_dsn=dsn, **more),
        run(ports=items, registry_dsn=wrong, **more),
        run(ports=items, registry_dsn=dsn.replace("127.0.0.1", PASSWORD), **more),
    ]
    for result in results:
        assert result["failed"]
        for secret in (PASSWORD, encoded, json.dumps(PASSWORD)[1:-1], "s3cr3t"):
            assert secret not in result["output"]


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("port", 0, "Could not use 0 as port: a port is a whole number from 1 to 65535."),
        ("port", 70000, "Could not use 70000 as port: a port is a whole number from 1 to 65535."),
        ("port", -1, "Could not use -1 as port: a port is a whole number from 1 to 65535."),
        ("port", "abc", "argument 'port' is of type str and we were unable to convert to int"),
        ("port", 80.5, "argument 'port' is of type float and we were unable to convert to int"),
        ("start", 0, "Could not use 0 as start: a port is a whole number from 1 to 65535."),
        ("last", 65536, "Could not use 65536 as last: a port is a whole number from 1 to 65535."),
        ("start", 60001, "Could not search a port for blog/http from 60001 to 60000: start is above last."),
        ("owner", "../x", "Could not use '../x' as the owner of a port:"),
        ("owner", "", "Could not use '' as the owner of a port:"),
        ("owner", "blog\n", "as the owner of a port:"),
        ("owner", None, "Could not reserve a port called http: its owner is not set."),
        ("name", "a b", "Could not use 'a b' as the name of a port:"),
        ("protocol", "sctp", "value of protocol must be one of: tcp, udp, both, got: sctp"),
        ("ports", [], "parameters are mutually exclusive: name|ports"),
        ("name", None, "Could not use None as the name of a port:"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    run: RunModule, path: str, option: str, value: object, text: str
) -> None:
    result = run(**{"name": "http", "owner": "blog", option: value})
    assert result["failed"]
    assert text in result["msg"]
    assert not os.path.exists(os.path.dirname(path))


def test_a_range_without_a_free_port_is_an_error(run: RunModule, path: str) -> None:
    first = free_block(1)
    with listener(socket.AF_INET, "0.0.0.0", first):
        result = run(name="http", owner="blog", start=first, last=first)
    assert f"there is no free port between {first} and {first} for tcp" in result["msg"]
    assert not os.path.exists(os.path.dirname(path))


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 200 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "serverkit-test", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("when", ["before the registry is made", "later"])
def test_a_full_disk(
    environment: dict[str, str], small_disk: pathlib.Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    path = str(small_disk / "serverkit.db")
    monkeypatch.setattr(sqlite, "PATH", path)
    if when == "later":
        reserve_by_hand(PortLease(8000, "tcp", "blog", "http"))
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
    items = [{"name": f"port-{number}", "owner": "shop"} for number in range(200)]
    output, _errors = start(environment, path, {"ports": items}).communicate()
    result = json.loads(output)
    assert result["failed"]
    assert f"The file system of {small_disk} is full: make room, then run again" in result["msg"]
    (small_disk / "filler").unlink()
    with open_registry(Settings(), read_only=True) as registry:
        assert [lease.owner for lease in registry.ports()] == (["blog"] if when == "later" else [])
    output, _errors = start(environment, path, {"ports": items}).communicate()
    assert json.loads(output)["changed"]


@pytest.mark.parametrize("when", ["before the registry is made", "later"])
def test_a_read_only_disk(
    environment: dict[str, str], small_disk: pathlib.Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    path = str(small_disk / "serverkit" / "serverkit.db")
    monkeypatch.setattr(sqlite, "PATH", path)
    if when == "later":
        reserve_by_hand(PortLease(8000, "tcp", "blog", "http"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    check = {"name": "http", "owner": "shop", "_ansible_check_mode": True}
    assert json.loads(start(environment, path, check).communicate()[0])["changed"]
    result = json.loads(start(environment, path, {"name": "http", "owner": "shop"}).communicate()[0])
    assert result["failed"]
    assert "ead-only" in result["msg"]
    if when == "later":
        assert f"{small_disk / 'serverkit'} is mounted read-only: mount it for writing" in result["msg"]


def test_a_user_who_may_not_write_there(environment: dict[str, str], tmp_path: pathlib.Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    directory = tmp_path / "serverkit"
    directory.mkdir(mode=0o700)
    code = (
        "import sys; from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite\n"
        "import os; os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))\n"
        "sqlite.open_for_writing(sys.argv[1])"
    )
    argv = [sys.executable, "-c", code, str(directory / "serverkit.db"), str(nobody.pw_gid), str(nobody.pw_uid)]
    errors = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False).stderr
    assert "Permission denied" in errors
