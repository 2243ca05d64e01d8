# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeping containers from writing, on a Docker that is a dictionary."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_quiet, backup_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_quiet import Quiet, quieted, release_left
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Quiesce
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

_BECOMES = {"pause": "paused", "unpause": "running", "stop": "exited", "start": "running"}
_NEEDS = {"pause": ("running",), "unpause": ("paused",)}


class Machine:
    """A Docker with the containers of the app `blog`, one for each service, and a neighbour's."""

    def __init__(self, root: pathlib.Path) -> None:
        self.states = {"web": "running", "cache": "running", "job": "exited"}
        self.refuses = ""
        self.guards: list[FakeGuard] = []
        self.commands = FakeCommands(answer=self._answer)
        self.docker = Docker(self.commands)
        self.sets = BackupSets("blog", str(root / "backups"))
        self.apps = str(root / "apps")

    def quiet(self, how: Quiesce = "pause") -> Quiet:
        host = Host(self.commands, Settings(), False, lambda secret: None)
        return Quiet(host, self.docker, "blog", 7, how, self.sets, self.apps)

    def _answer(self, argv: Sequence[str]) -> Completed:
        verb, names = argv[1], argv[2:]
        if verb == "ps":
            mine = [self._line(name, state, "blog") for name, state in self.states.items()]
            return Completed(0, "\n".join([*mine, self._line("other", "paused", "shop")]), "")
        if verb == self.refuses:
            return Completed(1, "", f"cannot {verb}")
        wrong = [name for name in names if self.states[name] not in _NEEDS.get(verb, (self.states[name],))]
        self.states.update({name: _BECOMES[verb] for name in names if name not in wrong})
        return Completed(1 if wrong else 0, "", f"{wrong} is in the wrong state" if wrong else "")

    def _line(self, name: str, state: str, project: str) -> str:
        fields = {"ID": name, "Names": name, "State": state, "Status": "", "project": project, "service": name}
        place = {"directory": f"{self.apps}/{project}", "config_hash": "", "one_off": "False"}
        return json.dumps({**fields, **place})


class FakeGuard:
    machine: Machine
    pipe = 9

    def __init__(self, argv: Sequence[str], lock: int) -> None:
        self.argv, self.lock, self.dismissed = list(argv), lock, False
        # It has to be there before anything is hushed.
        assert "paused" not in [state for name, state in self.machine.states.items() if name in argv]
        self.machine.guards.append(self)

    def dismiss(self) -> None:
        self.dismissed = True


@pytest.fixture
def machine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    FakeGuard.machine = Machine(tmp_path)
    monkeypatch.setattr(backup_quiet, "Guard", FakeGuard)
    return FakeGuard.machine


@pytest.mark.parametrize(
    ("how", "hushed", "back", "guard_by"),
    [("pause", "paused", "unpause", "unpause"), ("stop", "exited", "start", "restart")],
)
def test_what_writes_is_hushed_and_goes_on(
    machine: Machine, how: Quiesce, hushed: str, back: str, guard_by: str
) -> None:
    with quieted(machine.quiet(how)) as quiet:
        quiet.hush(but={"cache"})
        assert machine.states == {"web": hushed, "cache": "running", "job": "exited"}
        quiet.hush()
        assert machine.states == {"web": hushed, "cache": hushed, "job": "exited"}
        quiet.hush()
        assert [guard.argv[1:] for guard in machine.guards] == [[guard_by, "web"], [guard_by, "cache"]]
        assert all(guard.lock == 7 and not guard.dismissed for guard in machine.guards)
        assert backup_state.read(machine.sets)["quiet"] == {"how": how, "containers": ["web", "cache"]}
    assert machine.states == {"web": "running", "cache": "running", "job": "exited"}
    assert all(guard.dismissed for guard in machine.guards)
    assert backup_state.read(machine.sets) == {}
    # What others depend on was hushed last, and goes on first.
    assert machine.commands.argvs[-1] == ["docker", back, "cache", "web"]
    # Docker has the guard's pipe open while it hushes.
    assert [call.pass_fds for call in machine.commands.calls if call.argv[1] == how] == [(9,), (9,)]


def test_an_app_that_is_left_alone(machine: Machine) -> None:
    with quieted(machine.quiet("none")) as quiet:
        quiet.hush()
        assert machine.states["web"] == "running"
    assert machine.commands.calls == []
    machine.commands.missing.add("docker")
    with quieted(machine.quiet()) as quiet:
        quiet.hush()


@pytest.mark.parametrize("error", [HostError("dump", "it is broken"), KeyboardInterrupt()])
def test_it_goes_on_after_a_failure(machine: Machine, error: BaseException) -> None:
    def fail() -> None:
        with quieted(machine.quiet()) as quiet:
            quiet.hush()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert machine.states == {"web": "running", "cache": "running", "job": "exited"}


def test_one_that_has_ended_meanwhile_is_no_failure(machine: Machine) -> None:
    listed = machine.docker.containers
    quiet = machine.quiet()
    machine.docker.containers = lambda project="": _then_end(machine, listed(project))  # type: ignore[method-assign]
    with quieted(quiet):
        quiet.hush()
        assert machine.states == {"web": "paused", "cache": "exited", "job": "exited"}
    assert machine.states == {"web": "running", "cache": "exited", "job": "exited"}


def _then_end(machine: Machine, found: tuple[Container, ...]) -> tuple[Container, ...]:
    if machine.states["cache"] == "running":
        machine.states["cache"] = "exited"
    return found


def test_a_docker_that_cannot_pause(machine: Machine) -> None:
    machine.refuses = "pause"
    with pytest.raises(HostError, match="cannot pause"), quieted(machine.quiet()) as quiet:
        quiet.hush()
    assert machine.guards[0].dismissed


def test_a_docker_that_cannot_let_go_is_told_with_the_first_failure(machine: Machine) -> None:
    machine.refuses = "unpause"

    def fail() -> None:
        with quieted(machine.quiet()) as quiet:
            quiet.hush()
            raise HostError("dump", "it is broken")

    with pytest.raises(HostError, match=r"it is broken; besides, .*cannot unpause"):
        fail()
    # The next run tries again.
    assert backup_state.read(machine.sets)["quiet"]["containers"] == ["web", "cache"]


def test_an_interruption_ends_the_run_though_docker_cannot_let_go(machine: Machine) -> None:
    machine.refuses = "unpause"

    def interrupt() -> None:
        with quieted(machine.quiet()) as quiet:
            quiet.hush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    # Now it is the guards' turn, when the process has ended.
    assert [guard.dismissed for guard in machine.guards] == [False]
    assert backup_state.read(machine.sets)["quiet"]["containers"] == ["web", "cache"]
    machine.refuses = ""
    assert release_left(machine.docker, machine.sets) == ("cache", "web")
    assert machine.states["web"] == "running"
    assert backup_state.read(machine.sets) == {}


def test_nothing_is_left_to_let_go(machine: Machine) -> None:
    assert release_left(machine.docker, machine.sets) == ()
    backup_state.update(machine.sets, quiet={"how": "stop", "containers": ["web", "gone"]}, kept=["mine"])
    assert release_left(machine.docker, machine.sets) == ()
    assert machine.states["web"] == "running"
    assert backup_state.read(machine.sets) == {"kept": ["mine"]}


def test_what_is_remembered_of_tries(machine: Machine) -> None:
    sets = machine.sets
    assert backup_state.trouble(sets) == ""
    backup_state.begin(sets, "asked")
    assert "was cut short" in backup_state.trouble(sets)
    backup_state.failed(sets, "asked", HostError("dump", "the disk is full"))
    assert "the disk is full" in backup_state.trouble(sets)
    backup_state.taken(sets, "scheduled", "20260131T031500Z")
    assert backup_state.trouble(sets) == ""
    assert backup_state.read(sets)["attempt"]["set"] == "20260131T031500Z"
