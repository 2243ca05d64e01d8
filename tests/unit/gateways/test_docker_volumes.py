# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of Docker about volumes, and what is made of its answers."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import (
    DockerVolumes,
    Volume,
    compose_labels,
    content,
    plain,
)
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

PLAIN = '{"Driver":"local","Labels":null,"Mountpoint":"/v/a/_data","Name":"a","Options":null,"Scope":"local"}\n'
NFS = (
    '{"Driver":"local","Labels":{"x":"y"},"Mountpoint":"/v/b/_data","Name":"b","Options":{"type":"nfs","o":"addr=h"}}\n'
)
BIND = Volume("c", options={"type": "none", "o": "bind,ro", "device": "/srv/c"}, mountpoint="/v/c/_data")


def test_volumes_that_there_are_are_told_and_the_others_are_not() -> None:
    commands = FakeCommands(Completed(1, PLAIN + NFS, "Error response from daemon: get z: no such volume\n"))
    found = DockerVolumes(commands).inspect({"z", "b", "a"})
    assert commands.argvs == [["docker", "volume", "inspect", "--format", "{{json .}}", "--", "a", "b", "z"]]
    assert found == {
        "a": Volume("a", mountpoint="/v/a/_data"),
        "b": Volume("b", options={"type": "nfs", "o": "addr=h"}, mountpoint="/v/b/_data", labels={"x": "y"}),
    }


def test_nothing_is_asked_about_nothing() -> None:
    commands = FakeCommands()
    assert DockerVolumes(commands).inspect(()) == {}
    DockerVolumes(commands).remove(())
    assert commands.calls == []


def test_where_the_content_is() -> None:
    found = DockerVolumes(FakeCommands(Completed(0, PLAIN + NFS, ""))).inspect(("a", "b"))
    assert [plain(found["a"]), plain(found["b"]), plain(BIND), plain(Volume("d", "convoy"))] == [
        True,
        False,
        False,
        False,
    ]
    assert [content(found["a"]), content(found["b"]), content(BIND)] == ["/v/a/_data", None, "/srv/c"]
    assert content(Volume("d", "convoy", mountpoint="/somewhere")) is None


@pytest.mark.parametrize("method", ["inspect", "remove"])
def test_what_docker_refuses_is_an_error(method: str) -> None:
    refusal = Completed(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n")
    with pytest.raises(HostError, match="Cannot connect to the Docker daemon"):
        getattr(DockerVolumes(FakeCommands(refusal)), method)(["a"])


def test_labels_are_given_as_they_are() -> None:
    commands = FakeCommands(Completed(0, "a\n", ""), Completed(0, PLAIN, ""))
    DockerVolumes(commands).create("a", {"b": "1=2", "a": "x y"})
    argv = ["docker", "volume", "create", "--label", "a=x y", "--label", "b=1=2", "--", "a"]
    assert commands.argvs[0] == argv


def test_compose_takes_a_volume_with_these_labels_for_its_own() -> None:
    assert compose_labels("blog", "data") == {
        "com.docker.compose.project": "blog",
        "com.docker.compose.volume": "data",
    }


class Engine:
    """Docker's volumes as directories below a path."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def answer(self, argv: Sequence[str]) -> Completed:
        verb, names = argv[2], argv[list(argv).index("--") + 1 :]
        if verb == "create":
            (self.root / names[0] / "_data").mkdir(parents=True)
        elif verb == "rm":
            for name in names:
                if (self.root / name / "_data").exists():
                    (self.root / name / "_data").rmdir()  # fails when something is in it
                (self.root / name).rmdir()
        else:
            there = [name for name in names if (self.root / name).exists()]
            lines = [
                json.dumps({"Name": name, "Driver": "local", "Mountpoint": str(self.root / name / "_data")})
                for name in there
            ]
            return Completed(
                int(there != names), "\n".join(lines), "Error: No such volume: x" if there != names else ""
            )
        return Completed(0, "", "")


def test_a_switch_never_deletes_content(tmp_path: pathlib.Path) -> None:
    engine = Engine(tmp_path)
    docker = DockerVolumes(FakeCommands(answer=engine.answer))
    for name in ("live", "fresh"):
        docker.create(name, {})
        (tmp_path / name / "_data" / name).touch()
    docker.switch("live", "fresh", "kept")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "kept",
        "kept/_data",
        "kept/_data/live",
        "live",
        "live/_data",
        "live/_data/fresh",
    ]
    docker.switch("live", "fresh", "kept")
    assert (tmp_path / "live" / "_data" / "fresh").exists()
