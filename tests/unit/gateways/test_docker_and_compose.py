# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
import json

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.compose import Compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

NOW = dt.datetime(2026, 11, 22, 12, 0, 10, tzinfo=dt.timezone.utc)
LINE = {
    "ID": "a" * 64,
    "Names": "blog-web-1",
    "State": "running",
    "Status": "Up 2 hours",
    "project": "blog",
    "service": "web",
    "directory": "/var/serverkit/apps/blog",
    "config_hash": "f00",
    "one_off": "False",
}


def listing(**changes: str) -> Completed:
    return Completed(0, json.dumps({**LINE, **changes}) + "\n", "")


@pytest.mark.parametrize(
    ("status", "health", "exit_code"),
    [
        ("Up 2 hours", "", None),
        ("Up 1 second (health: starting)", "starting", None),
        ("Up 2 hours (healthy)", "healthy", None),
        ("Up 2 hours (unhealthy)", "unhealthy", None),
        ("Up 2 hours (Paused)", "", None),
        ("Exited (137) 3 minutes ago", "", 137),
        ("Restarting (1) 2 seconds ago", "", 1),
        ("Created", "", None),
    ],
)
def test_a_status_is_taken_apart(status: str, health: str, exit_code: int | None) -> None:
    (found,) = Docker(FakeCommands(listing(Status=status))).containers()
    assert (found.health, found.exit_code) == (health, exit_code)


def test_one_process_lists_all_containers() -> None:
    commands = FakeCommands(listing())
    (found,) = Docker(commands).containers()
    assert found == Container(
        "a" * 64, "blog-web-1", "running", "", None, "blog", "web", "/var/serverkit/apps/blog", "f00"
    )
    assert [call[:4] for call in commands.argvs] == [["docker", "ps", "--all", "--no-trunc"]]


@pytest.mark.parametrize(
    ("started", "age"),
    [("2026-11-22T12:00:00Z", 10.0), ("2026-11-22T12:00:09.5Z", 0.5), ("2026-11-22T12:00:09.123456789Z", 0.876544)],
)
def test_the_age_of_a_run_is_taken_from_dockers_time(started: str, age: float) -> None:
    (run,) = Docker(FakeCommands(Completed(0, f"abc 2 {started}\n", ""))).runs(["abc"], NOW)
    assert (run.container, run.restarts) == ("abc", 2)
    assert run.age == pytest.approx(age)


def test_no_containers_need_no_process() -> None:
    commands = FakeCommands()
    assert Docker(commands).runs([], NOW) == ()
    Docker(commands).remove_volumes([])
    assert commands.calls == []


def test_a_docker_that_does_not_run_is_named_with_its_remedy() -> None:
    down = Completed(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    with pytest.raises(HostError, match="systemctl start docker"):
        Docker(FakeCommands(down)).containers()
    with pytest.raises(HostError, match="not installed"):
        Docker(FakeCommands(missing=["docker"])).containers()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Completed(1, "", "docker: 'compose' is not a docker command."), "Compose v2 is not installed"),
        (Completed(0, "1.29.2\n", ""), "too old"),
        (Completed(0, "v2.18.1\n", ""), "too old"),
    ],
)
def test_compose_is_required(answer: Completed, message: str) -> None:
    with pytest.raises(HostError, match=message):
        compose.require(FakeCommands(answer))


@pytest.mark.parametrize("version", ["2.26.1-4", "v2.40.0", "5.0.1"])
def test_a_new_compose_will_do(version: str) -> None:
    compose.require(FakeCommands(Completed(0, f"{version}\n", "")))


def test_compose_is_called_for_exactly_this_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of somebody else")
    commands = FakeCommands()
    Compose(commands, "blog", "/srv/blog", 7, {"SECRET": "ours", "OTHER": "x"}).up(build=True)
    (call,) = commands.calls
    files = ["--file", "/srv/blog/docker-compose.yml", "--env-file", "/srv/blog/.env"]
    assert call.argv[:5] == ["docker", "compose", "--progress", "quiet", "--project-name"]
    assert call.argv[5:12] == ["blog", "--project-directory", "/srv/blog", *files]
    assert call.argv[12:] == ["up", "--detach", "--remove-orphans", "--quiet-pull", "--build"]
    assert call.environment["SECRET"] == "ours"
    assert "OTHER" not in call.environment
    assert call.pass_fds == (7,)


def test_compose_reads_the_files_of_links_over_the_apps_own() -> None:
    commands = FakeCommands()
    Compose(commands, "blog", "/srv/blog", None, {}, files=["docker-compose.yml", "compose.links.yml"]).check()
    place = commands.argvs[0].index("--file")
    assert commands.argvs[0][place : place + 4] == [
        "--file",
        "/srv/blog/docker-compose.yml",
        "--file",
        "/srv/blog/compose.links.yml",
    ]


def test_what_compose_says_is_told() -> None:
    commands = FakeCommands(Completed(1, "", "Error response from daemon:\n  no such image\n"))
    with pytest.raises(HostError, match="no such image"):
        Compose(commands, "blog", "/srv/blog", None, {}).up()
