# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of backup sets in real repositories of restic: on a disk, and over SFTP."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import restic
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Keep
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import Repository
from programs import Programs

pytestmark = pytest.mark.real

PASSWORD = 'a pass\'word $ with "everything" in it'
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
Opened = Callable[..., AbstractContextManager[restic.Restic]]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A new repository, made once: deriving its key takes restic most of the time of these tests."""
    directory = tmp_path_factory.mktemp("fresh")
    repository = Repository(str(directory / "repository"), PASSWORD)
    places = {name: str(directory / name) for name in ("known", "cache", "runtime")}
    with restic.opened(Programs(), repository, **places) as remote:
        assert remote.ensure()
        assert not remote.ensure()
    return directory / "repository"


@pytest.fixture
def repository(tmp_path: pathlib.Path, fresh: pathlib.Path) -> Repository:
    shutil.copytree(fresh, tmp_path / "repository")
    return Repository(str(tmp_path / "repository"), PASSWORD)


@pytest.fixture
def opened(tmp_path: pathlib.Path, repository: Repository) -> Opened:
    def open_it(other: Repository | None = None, **options: object) -> AbstractContextManager[restic.Restic]:
        places = {name: str(tmp_path / name) for name in ("known", "cache", "runtime")}
        settings = {**places, "host": "server1", **options}
        return restic.opened(Programs(), other or repository, **settings)  # type: ignore[arg-type]

    return open_it


@pytest.fixture
def make_set(tmp_path: pathlib.Path) -> Callable[[str, str], str]:
    def make(app: str, name: str) -> str:
        directory = tmp_path / "backups" / app / name
        (directory / "volumes").mkdir(parents=True)
        (directory / "manifest.json").write_text(json.dumps({"app": app, "id": name}))
        (directory / "volumes" / "data.tar.zst").write_bytes(os.urandom(100_000))
        return str(directory)

    return make


def content(directory: str | pathlib.Path) -> dict[str, bytes]:
    root = pathlib.Path(directory)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


DAY1, DAY2, DAY3 = "20260101T030000Z", "20260102T030000Z", "20260103T030000Z"


@pytest.mark.parametrize("kind", ["disk", "sftp"])
def test_a_set_goes_there_and_comes_back(
    kind: str, tmp_path: pathlib.Path, repository: Repository, opened: Opened, make_set: Callable[[str, str], str]
) -> None:
    if kind == "sftp":
        # The server that sshd would start, spoken to over a pipe.
        url = f"sftp:backup@storage.example.test:{tmp_path}/far"
        repository = replace(repository, url=url, options={"sftp.command": SFTP_SERVER})
    directory = make_set("blog", DAY1)
    with opened(repository) as remote:
        assert remote.ensure() == (kind == "sftp")
        snapshot = remote.store(directory, "blog", DAY1, "scheduled")
        assert remote.store(directory, "blog", DAY1, "scheduled") == snapshot
        (found,) = remote.snapshots("blog")
        assert found.id.startswith(snapshot)
        assert (found.host, found.app, found.set, found.reason) == ("server1", "blog", DAY1, "scheduled")
        target = tmp_path / "target"
        target.mkdir()
        remote.fetch(found, str(target))
        remote.check("100%")
    assert content(target) == content(directory)


def test_retention_is_by_app_and_host(opened: Opened, make_set: Callable[[str, str], str]) -> None:
    with opened() as remote:
        for day in (DAY1, DAY2, DAY3):
            remote.store(make_set("blog", day), "blog", day, "scheduled")
        remote.store(make_set("shop", DAY1), "shop", DAY1, "scheduled")
        remote.store(make_set("blog", "20251231T030000Z"), "blog", "20251231T030000Z", "final")
        with opened(host="server2") as other:
            other.store(make_set("blog", f"{DAY1}-2"), "blog", f"{DAY1}-2", "scheduled")
        removed = remote.thin("blog", Keep(last=2, daily=0, weekly=0, monthly=0))
        assert [one.set for one in removed] == [DAY1]
        assert [one.set for one in remote.snapshots("blog")] == ["20251231T030000Z", DAY2, DAY3]
        assert [one.set for one in remote.snapshots("shop")] == [DAY1]
        assert len(remote.snapshots(host="*")) == 5
        assert remote.thin("blog", Keep(last=2, daily=0, weekly=0, monthly=0)) == ()
        remote.check()


def test_snapshots_of_others_are_none_of_ours(
    tmp_path: pathlib.Path, repository: Repository, opened: Opened, make_set: Callable[[str, str], str]
) -> None:
    with opened() as remote:
        remote.store(make_set("blog", DAY1), "blog", DAY1, "scheduled")
        run_restic(tmp_path, repository, "backup", "--host", "server1", str(tmp_path / "backups"))
        assert [one.set for one in remote.snapshots()] == [DAY1]
        remote.thin("blog", Keep(last=1, daily=0, weekly=0, monthly=0))
    assert len(json.loads(run_restic(tmp_path, repository, "snapshots", "--json"))) == 2


def test_a_wrong_password_is_told_and_shown_nowhere(opened: Opened, repository: Repository) -> None:
    wrong = replace(repository, password="correct horse battery staple")
    with opened(wrong) as remote, pytest.raises(HostError, match="its password is another one") as failure:
        remote.ensure()
    assert "staple" not in str(failure.value)


def test_a_repository_that_is_gone_is_not_begun_again(opened: Opened, repository: Repository) -> None:
    with opened() as remote:
        assert not remote.ensure()
        # As when the disk that it is on was not mounted after a reboot.
        os.rename(repository.url, f"{repository.url}-elsewhere")
        with pytest.raises(HostError, match="there before, and is gone"):
            remote.ensure()
        assert not os.path.exists(repository.url)
        os.rename(f"{repository.url}-elsewhere", repository.url)
        assert not remote.ensure()


def test_another_repository_in_its_place_is_told(
    tmp_path: pathlib.Path, opened: Opened, repository: Repository
) -> None:
    with opened() as remote:
        remote.ensure()
        shutil.rmtree(repository.url)
        with opened(known=str(tmp_path / "elsewhere")) as stranger:
            stranger.ensure()
        with pytest.raises(HostError, match="another repository than before"):
            remote.ensure()


def test_a_server_that_does_not_answer_is_told(opened: Opened) -> None:
    url = "rest:http://somebody:tops3cretword@127.0.0.1:9/backups"
    with opened(Repository(url, PASSWORD)) as remote, pytest.raises(HostError, match="connection refused") as failure:
        remote.ensure()
    assert "tops3cretword" not in str(failure.value)


def test_damage_is_told(opened: Opened, repository: Repository, make_set: Callable[[str, str], str]) -> None:
    with opened() as remote:
        remote.store(make_set("blog", DAY1), "blog", DAY1, "scheduled")
        packs = [path for path in pathlib.Path(repository.url, "data").rglob("*") if path.is_file()]
        pack = max(packs, key=lambda path: path.stat().st_size)
        pack.chmod(0o600)
        with pack.open("r+b") as stream:
            stream.seek(50_000)
            stream.write(b"\0" * 64)
        with pytest.raises(HostError, match="undamaged"):
            remote.check("100%")
        pack.unlink()
        with pytest.raises(HostError, match="undamaged"):
            remote.check()


def test_a_killed_run_locks_nobody_out(
    tmp_path: pathlib.Path, repository: Repository, opened: Opened, make_set: Callable[[str, str], str]
) -> None:
    with opened() as remote:
        for day in (DAY1, DAY2):
            remote.store(make_set("blog", day), "blog", day, "scheduled")
        with busy(tmp_path, repository) as other:
            other.kill()
            other.wait()
        assert os.listdir(os.path.join(repository.url, "locks"))
        # Removing data wants the repository for itself.
        assert len(remote.thin("blog", Keep(last=1, daily=0, weekly=0, monthly=0))) == 1
        assert not os.listdir(os.path.join(repository.url, "locks"))


def test_a_run_that_lives_is_waited_for(
    tmp_path: pathlib.Path, repository: Repository, opened: Opened, make_set: Callable[[str, str], str]
) -> None:
    with opened() as first:
        for day in (DAY1, DAY2):
            first.store(make_set("blog", day), "blog", day, "scheduled")
    with busy(tmp_path, repository) as other:
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.communicate(b"the end", timeout=60)

        with opened(patience=0.0) as impatient, pytest.raises(HostError, match="already locked"):
            impatient.thin("blog", Keep(last=1, daily=0, weekly=0, monthly=0))
        with opened(pause=pause) as patient:
            assert len(patient.thin("blog", Keep(last=1, daily=0, weekly=0, monthly=0))) == 1
        assert len(pauses) == 1


@contextmanager
def busy(tmp_path: pathlib.Path, repository: Repository) -> Iterator[subprocess.Popen[bytes]]:
    """A restic that stores what never ends, and holds its lock meanwhile."""
    argv = ["restic", "backup", "--stdin", "--host", "server1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment(tmp_path, repository)) as process:
        try:
            while not [name for name in os.listdir(os.path.join(repository.url, "locks")) if "tmp" not in name]:
                assert process.poll() is None
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def run_restic(tmp_path: pathlib.Path, repository: Repository, *arguments: str) -> str:
    done = subprocess.run(
        ["restic", *arguments], env=environment(tmp_path, repository), capture_output=True, text=True, check=True
    )
    return done.stdout


def environment(tmp_path: pathlib.Path, repository: Repository) -> dict[str, str]:
    return {
        **os.environ,
        "RESTIC_REPOSITORY": repository.url,
        "RESTIC_PASSWORD": repository.password,
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }
