# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which way a restore goes, and what it tells before anything is done."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import restic
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner import restores
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import DataPlan, RestorePlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.restores import Restores
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, StoredFile
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import parse
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

OLD, NEW = "20260131T031500Z", "20260201T031500Z"
REPOSITORY = {"url": "/srv/restic", "password": "correct-horse"}


class Way:
    """What stands for NewApp and Drill."""

    calls: list[tuple[str, str, str]]
    errors: ClassVar[list[HostError]] = []

    def __init__(self, host: Host, sets: BackupSets, root: str) -> None:
        self.kind = ""

    def unfinished(self, name: str) -> bool:
        return name == "half"

    def plan(self, manifest: Manifest, name: str, servers: Mapping[str, Any]) -> DataPlan:
        Way.calls.append((self.kind, manifest.id, name))
        return DataPlan(manifest.id, (), (Diff(f"app {name}", "", "new\n"),), {"made": name}, ("mind",))

    def restore(self, work: DataPlan, lock: int) -> Mapping[str, Any]:
        for error in Way.errors:
            raise error
        return {"url": "http://127.0.0.1:8001/", "lock": lock}

    run = restore


class New(Way):
    def __init__(self, *arguments: Any) -> None:
        self.kind = "new"


class Drill(Way):
    def __init__(self, *arguments: Any) -> None:
        self.kind = "drill"


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    Way.calls, Way.errors = [], []
    monkeypatch.setattr(restores, "NewApp", New)
    monkeypatch.setattr(restores, "Drill", Drill)
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))


def make_set(root: pathlib.Path, identity: str, app: str = "blog") -> None:
    sets = BackupSets(app, str(root / "backups"))
    stored = streams.store([b"release"], f"{sets.begin(identity, ())}/release.tar.zst")
    file = StoredFile("release.tar.zst", stored.size, stored.content_size, stored.sha256)
    created = f"{identity[:4]}-{identity[4:6]}-{identity[6:8]}T03:15:00Z"
    sets.finish(Manifest(app, identity, created, "one", "asked", "pause", 1.0, file, template="web"))


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    for identity in (OLD, NEW):
        make_set(tmp_path, identity)
    return tmp_path


def resource(root: pathlib.Path, **options: Any) -> Restores:
    host = Host(FakeCommands(), Settings(), False, lambda secret: None)
    return Restores(host, {"directory": str(root / "backups"), **options}, str(root / "apps"))


def planned(root: pathlib.Path, options: Mapping[str, Any], **task: Any) -> RestorePlan | Failure:
    return resource(root, **task).plan([parse({"app": "blog", **options})])[0]


def refused(root: pathlib.Path, options: Mapping[str, Any], **task: Any) -> str:
    failure = planned(root, options, **task)
    assert isinstance(failure, Failure)
    assert not failure.changed
    return str(failure.error)


def test_an_app_that_is_not_there_is_made_whole(root: pathlib.Path) -> None:
    plan = planned(root, {})
    assert isinstance(plan, RestorePlan)
    assert Way.calls == [("new", NEW, "blog")]
    assert plan.changed
    assert (plan.facts["set"], plan.facts["made"], plan.warnings) == (NEW, "blog", ("mind",))
    assert plan.facts["data_age"] > 0
    done = resource(root).apply([plan], {"app-blog": 7})[0]
    assert isinstance(done, Success)
    assert (done.facts["lock"], done.facts["url"]) == (7, "http://127.0.0.1:8001/")
    assert done.facts["seconds"] >= 0


def test_another_name_and_a_drill_have_their_own_locks(root: pathlib.Path) -> None:
    requests = [parse({"app": "blog", "as": "copy", "set": OLD}), parse({"app": "blog", "drill": True})]
    assert set(resource(root).locks(requests)) == {"app-blog", "app-copy", "app-blog-drill"}
    plans = [plan for plan in resource(root).plan(requests) if isinstance(plan, RestorePlan)]
    assert Way.calls == [("new", OLD, "copy"), ("drill", NEW, "blog-drill")]
    locks = {"app-blog": 1, "app-copy": 2, "app-blog-drill": 3}
    done = resource(root).apply(plans, locks)
    assert [outcome.facts["lock"] for outcome in done if isinstance(outcome, Success)] == [2, 3]


def test_what_a_killed_restore_has_left_is_no_app(root: pathlib.Path) -> None:
    make_set(root, OLD, "half")
    (root / "apps" / "half").mkdir(parents=True)
    (root / "apps" / "half" / "docker-compose.yml").write_text("services: {}\n")
    plan = resource(root).plan([parse({"app": "half"})])[0]
    assert isinstance(plan, RestorePlan)
    assert Way.calls == [("new", OLD, "half")]


def test_a_failure_is_told_as_it_is(root: pathlib.Path) -> None:
    plan = planned(root, {})
    assert isinstance(plan, RestorePlan)
    Way.errors = [HostError("make the app blog", "the disk is full", "Nothing is left of the attempt")]
    failure = resource(root).apply([plan], {"app-blog": 7})[0]
    assert isinstance(failure, Failure)
    assert "the disk is full" in str(failure.error)


def test_what_cannot_be_is_refused_with_the_reason(root: pathlib.Path) -> None:
    assert "made of all of a set" in refused(root, {"volumes": ["data"]})
    assert f"no set 20250101T000000Z, but {OLD}, {NEW}" in refused(root, {"set": "20250101T000000Z"})
    assert f"the oldest set of it is {OLD}" in refused(root, {"time": "2025-01-01"})
    assert "there is no set of it" in refused(root, {"app": "shop"})
    assert "no set that two has made is here" in refused(root, {"from_host": "two"})
    assert Way.calls == []


def test_a_damaged_set_is_refused(root: pathlib.Path) -> None:
    path = root / "backups" / "blog" / NEW / "release.tar.zst"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "bytes, and the manifest says" in refused(root, {})
    path.write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
    assert "release.tar.zst" in refused(root, {})
    path.write_bytes(whole)
    (root / "backups" / "blog" / NEW).rename(root / "backups" / "blog" / "20260301T000000Z")
    assert "and not of 20260301T000000Z of blog" in refused(root, {})
    assert Way.calls == []


def test_the_good_copy_of_a_damaged_set_is_come_by_as_the_message_says(root: pathlib.Path, far: Opened) -> None:
    damaged = root / "backups" / "blog" / NEW
    (damaged / "release.tar.zst").write_bytes(b"")
    told = refused(root, {}, repository=REPOSITORY)
    assert told.endswith(f"If a repository has a good copy of it, remove {damaged} and ask for the set {NEW}.")
    shutil.rmtree(damaged)
    far.identities = (OLD, NEW)
    plan = planned(root, {"set": NEW}, repository=REPOSITORY)
    assert isinstance(plan, RestorePlan)
    assert (plan.facts["set"], plan.facts["fetched"]) == (NEW, True)


def test_nothing_is_left_to_discard(root: pathlib.Path) -> None:
    plan = planned(root, {"state": "discarded"})
    assert isinstance(plan, RestorePlan)
    assert not plan.changed
    assert plan.facts["discarded"] == []


class Opened:
    """A repository with one set, or none."""

    def __init__(self, root: pathlib.Path, *identities: str) -> None:
        self.root = root
        self.identities = identities
        self.asked: list[str | None] = []

    def __call__(self, *arguments: Any) -> contextlib.AbstractContextManager[Opened]:
        return contextlib.nullcontext(self)

    def snapshots(self, app: str, host: str | None) -> tuple[restic.Snapshot, ...]:
        self.asked.append(host)
        return tuple(restic.Snapshot(f"id-{each}", each, "one", app, each, "asked") for each in self.identities)

    def fetch(self, snapshot: restic.Snapshot, directory: str) -> None:
        make_set(self.root, snapshot.set)
        made = self.root / "backups" / "blog" / snapshot.set
        for file in made.iterdir():
            file.rename(pathlib.Path(directory) / file.name)


@pytest.fixture
def far(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    opened = Opened(tmp_path / "far", OLD)
    monkeypatch.setattr(restic, "opened", opened)
    return opened


def test_a_set_that_is_not_here_is_fetched(tmp_path: pathlib.Path, far: Opened) -> None:
    plan = planned(tmp_path, {}, repository=REPOSITORY)
    assert isinstance(plan, RestorePlan)
    assert (plan.changed, plan.facts["fetched"], plan.facts["set"]) == (True, True, OLD)
    assert not (tmp_path / "backups").exists()
    done = resource(tmp_path, repository=REPOSITORY).apply([plan], {"app-blog": 7})[0]
    assert isinstance(done, Success), done
    assert Way.calls == [("new", OLD, "blog")]
    assert (done.facts["fetched"], done.facts["created"]) == (True, "2026-01-31T03:15:00Z")
    assert [each.id for each in BackupSets("blog", str(tmp_path / "backups")).list()] == [OLD]


def test_the_repository_is_asked_only_where_it_may_know_better(root: pathlib.Path, far: Opened) -> None:
    planned(root, {}, repository=REPOSITORY)
    planned(root, {"set": OLD}, repository=REPOSITORY)
    assert far.asked == []
    far.identities = ("20260131T120000Z",)
    plan = planned(root, {"time": "2026-01-31 12:30"}, repository=REPOSITORY)
    assert isinstance(plan, RestorePlan)
    assert plan.facts["set"] == "20260131T120000Z"
    assert far.asked == [None]
    assert "no set 20250101T000000Z" in refused(root, {"set": "20250101T000000Z"}, repository=REPOSITORY)
    planned(root, {"from_host": "two"}, repository=REPOSITORY)
    assert far.asked[-1] == "two"


def test_the_newest_set_of_another_host_may_be_newer_than_the_one_that_was_fetched(
    root: pathlib.Path, far: Opened
) -> None:
    wanted = {"from_host": "one"}  # which has made those that are here
    far.identities = (OLD, NEW, "20260301T031500Z")
    plan = planned(root, wanted, repository=REPOSITORY)
    assert isinstance(plan, RestorePlan)
    assert (plan.facts["set"], plan.facts["fetched"]) == ("20260301T031500Z", True)
    far.identities = (OLD, NEW)
    plan = planned(root, wanted, repository=REPOSITORY)
    assert isinstance(plan, RestorePlan)
    assert (plan.facts["set"], plan.facts["fetched"]) == (NEW, False)
    assert far.asked == ["one", "one"]


def test_a_set_that_comes_damaged_leaves_nothing(
    tmp_path: pathlib.Path, far: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, {}, repository=REPOSITORY)
    assert isinstance(plan, RestorePlan)
    fetch = far.fetch

    def cut(snapshot: restic.Snapshot, directory: str) -> None:
        fetch(snapshot, directory)
        with open(f"{directory}/release.tar.zst", "ab") as stream:
            stream.write(b"x")

    monkeypatch.setattr(far, "fetch", cut)
    failure = resource(tmp_path, repository=REPOSITORY).apply([plan], {"app-blog": 7})[0]
    assert isinstance(failure, Failure)
    assert BackupSets("blog", str(tmp_path / "backups")).leftovers() == ()
    assert BackupSets("blog", str(tmp_path / "backups")).identities() == ()
