# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes of the real Docker that are made, found, and change places for a restore."""

from __future__ import annotations

import os
import pathlib
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import DockerVolumes
from programs import Programs

pytestmark = pytest.mark.real


@pytest.fixture
def volumes() -> Iterator[tuple[DockerVolumes, str]]:
    """Docker's volumes, and a beginning for names of ours."""
    prefix = f"serverkit-test-{uuid.uuid4().hex[:8]}"
    yield DockerVolumes(Programs()), prefix
    listed = subprocess.run(
        ["docker", "volume", "ls", "-q", "--filter", f"name={prefix}"], stdout=subprocess.PIPE, text=True, check=True
    )
    if listed.stdout.split():
        subprocess.run(["docker", "volume", "rm", *listed.stdout.split()], check=True, stdout=subprocess.DEVNULL)


def _filled(docker: DockerVolumes, name: str, text: str) -> pathlib.Path:
    place = pathlib.Path(docker.create(name, {"app": "blog", "odd": "a=b, c"}).mountpoint)
    (place / "file").write_text(text)
    return place


def _text(docker: DockerVolumes, name: str) -> str:
    return pathlib.Path(docker.inspect([name])[name].mountpoint, "file").read_text()


def test_volumes_are_made_inspected_and_removed(volumes: tuple[DockerVolumes, str]) -> None:
    docker, prefix = volumes
    assert docker.inspect([f"{prefix}-none"]) == {}
    made = docker.create(f"{prefix}-a", {"app": "blog", "odd": "a=b, c"})
    assert made.labels == {"app": "blog", "odd": "a=b, c"}
    assert docker.inspect([f"{prefix}-none", f"{prefix}-a"]) == {f"{prefix}-a": made}
    docker.remove([f"{prefix}-none", f"{prefix}-a"])
    docker.remove([f"{prefix}-a"])
    assert docker.inspect([f"{prefix}-a"]) == {}
    assert not pathlib.Path(made.mountpoint).exists()


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_volumes_change_places_and_back(volumes: tuple[DockerVolumes, str], killed_after: int) -> None:
    docker, prefix = volumes
    live, fresh, kept = (f"{prefix}-{name}" for name in ("live", "fresh", "kept"))
    old, new = _filled(docker, live, "old"), _filled(docker, fresh, "new")
    if killed_after:
        docker.create(kept, {})
    if killed_after > 1:
        os.rename(old, docker.inspect([kept])[kept].mountpoint)
    if killed_after > 2:
        os.rename(new, old)
    for _time in range(2):
        docker.switch(live, fresh, kept)
        assert _text(docker, live) == "new"
        assert _text(docker, kept) == "old"
        assert docker.inspect([fresh]) == {}
    for _time in range(2):
        docker.switch(live, kept, fresh)
        assert _text(docker, live) == "old"
        assert _text(docker, fresh) == "new"
        assert docker.inspect([kept]) == {}
    assert docker.inspect([live])[live].labels == {"app": "blog", "odd": "a=b, c"}


def test_a_kept_volume_is_not_overwritten(volumes: tuple[DockerVolumes, str]) -> None:
    docker, prefix = volumes
    live, fresh, kept = (f"{prefix}-{name}" for name in ("live", "fresh", "kept"))
    for name in (live, fresh, kept):
        _filled(docker, name, name)
    with pytest.raises(HostError, match="Directory not empty"):
        docker.switch(live, fresh, kept)
    assert [_text(docker, name) for name in (live, fresh, kept)] == [live, fresh, kept]
    with pytest.raises(HostError, match=f"there is no volume {prefix}-none"):
        docker.switch(live, f"{prefix}-none", f"{prefix}-none-either")


def test_a_volume_of_another_kind_does_not_change_places(volumes: tuple[DockerVolumes, str]) -> None:
    docker, prefix = volumes
    _filled(docker, f"{prefix}-fresh", "new")
    subprocess.run(
        ["docker", "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", f"{prefix}-live"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with pytest.raises(HostError, match=r"-live is not a volume in a directory of Docker's own"):
        docker.switch(f"{prefix}-live", f"{prefix}-fresh", f"{prefix}-kept")


def test_a_volume_in_use_is_not_removed(volumes: tuple[DockerVolumes, str]) -> None:
    docker, prefix = volumes
    docker.create(f"{prefix}-a", {})
    empty = subprocess.run(["tar", "-cf", "-", "-T", "/dev/null"], check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["docker", "import", "-", f"{prefix}:x"], input=empty, check=True, stdout=subprocess.DEVNULL)
    try:
        argv = ["docker", "create", "--name", prefix, "--volume", f"{prefix}-a:/data", f"{prefix}:x", "/none"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        with pytest.raises(HostError, match="volume is in use"):
            docker.remove([f"{prefix}-a"])
    finally:
        subprocess.run(["docker", "rm", "--force", prefix], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["docker", "rmi", f"{prefix}:x"], check=True, stdout=subprocess.DEVNULL)
