# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups from plan to outcome, of apps in directories of a test's own; archives and dumps are made up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks, streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._edges.streams import Stored
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import archives, restic
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps import engines
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan.app import describe
from ansible_collections.serverkit.core.plugins.module_utils._runner import (
    backup_taking,
    backups,
    restore_remains,
    restore_state,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.backups import Backups
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.final_backups import FinalBackups
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Journal, Phase
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Release
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import parse
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, DatabaseLink, PortLease
from ansible_collections.serverkit.core.plugins.module_utils._values.template import BackupUse, Health
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

COMPOSE = {
    "services": {
        "web": {"image": "nginx", "volumes": ["pages:/pages", "tmp:/tmp", "./data/up:/up", "nas:/nas"]},
        "cache": {"image": "redis"},
    },
    "volumes": {"pages": {}, "tmp": {}, "nas": {}, "unmade": {}},
}


def link(name: str, engine: str, server: str, **more: Any) -> DatabaseLink:
    return DatabaseLink("blog", name, engine, server, "blog", "blog", "owner", "host", 1, **more)


LINKS = (
    link("mariadb", "mariadb", "mysql://127.0.0.1:3306"),
    link("redis", "redis", "redis:///blog/cache:6379"),
    link("old", "postgresql", "postgresql://127.0.0.1:5432", options={"state": "unlinked"}),
)


class World:
    """The app `blog`, and what is done to it in order."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.home = root / "apps" / "blog"
        self.done: list[str] = []
        self.fails = ""
        self.volumes = {
            "blog_pages": {},
            "blog_tmp": {},
            "blog_former": {},
            "blog_nas": {"type": "nfs", "o": "addr=nas"},
        }
        self.commands = FakeCommands(answer=self._answer)
        self.hidden: set[str] = set()
        self.sets = BackupSets("blog", str(root / "backups"))

    def deploy(self) -> None:
        (self.home / "data" / "up").mkdir(parents=True)
        (self.home / ".rollback").mkdir()
        (self.home / "docker-compose.yml").write_text(json.dumps(COMPOSE))
        (self.home / ".env").write_text("DB_PASSWORD=very-secret\n")
        use = BackupUse("pause", ("tmp", "nowhere"))
        release = Release("wordpress", "1", "loopback", {}, (), None, Health("none"), "auto", backup=use)
        (self.home / ".release.json").write_text(describe(release))
        with open_registry(Settings(), read_only=False) as registry, registry.transaction():
            for row in LINKS:
                registry.put_link(row)
            for name in ("HTTP_PORT", "previous:HTTP_PORT"):
                registry.add_port(PortLease(8001 + len(name), "tcp", "blog", name))

    @property
    def host(self) -> Host:
        return Host(self.commands, Settings(), False, self.hidden.add)

    def act(self, what: str) -> None:
        self.done.append(what)
        if self.fails and self.fails in what:
            raise HostError(what, "it does not work", "Mend it")

    def _answer(self, argv: Sequence[str]) -> Completed:
        if argv[1:3] == ["volume", "ls"]:
            lines = [json.dumps({"name": name, "project": "blog"}) for name in self.volumes]
        elif argv[1:3] == ["volume", "inspect"]:
            lines = [json.dumps(self._volume(name)) for name in argv if name in self.volumes]
        else:
            lines = []
        return Completed(0, "\n".join(lines), "")

    def _volume(self, name: str) -> dict[str, Any]:
        return {"Name": name, "Driver": "local", "Mountpoint": f"/docker/{name}", "Options": self.volumes[name]}

    def archive(self, directory: str, path: str, exclude: Sequence[str] = (), live: bool = False) -> tuple[Stored, int]:
        without = f" without {' '.join(sorted(exclude))}" if exclude else ""
        self.act(f"archive {directory}{without}{' live' if live else ''}")
        return _written(path, directory), 3


def _written(path: str, content: str) -> Stored:
    pathlib.Path(path).write_text(content)
    return _checked(path)


def _checked(path: str) -> Stored:
    found = pathlib.Path(path).read_bytes()
    return Stored(len(found), len(found), hashlib.sha256(found).hexdigest())


class FakeConnections:
    world: World

    def __init__(self, host: Host, docker: object) -> None:
        del host, docker

    def connect(self, row: DatabaseLink, environment: Mapping[str, str], wanted: ServerRequest | None) -> Any:
        self.world.act(f"connect {row.name}{' as ' + wanted.user if wanted and wanted.user else ''}")
        found = type("Connected", (), {"link": row, "access": row.database, "engine": row.engine})
        return found()

    def close(self) -> None:
        self.world.act("close")


class FakeDumps:
    world: World

    def __init__(self, engine: str, scratch: str) -> None:
        assert pathlib.Path(scratch).stat().st_mode & 0o777 == 0o700
        self.engine = engine
        self.needs_quiet = engine == "redis"
        self.directory, self.suffix = ("redis", "keys") if self.needs_quiet else ("mysql", "sql")

    def dump(self, access: str, path: str) -> Any:
        self.world.act(f"dump {self.engine}")
        rows = {"stored": _written(path, self.engine), "rows": {"posts": 2}, "moving": (), "version": "1"}
        return type("Dumped", (), rows)()


class FakeQuiet:
    world: World

    def __init__(self, host: Host, docker: object, app: str, lock: int, how: str, sets: object, apps: str) -> None:
        self.how = how

    def hush(self, but: frozenset[str] = frozenset()) -> None:
        self.world.act(f"{self.how}{' but ' + ' '.join(but) if but else ''}")

    def release(self) -> None:
        self.world.act("let go")


@pytest.fixture
def world(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = FakeConnections.world = FakeDumps.world = FakeQuiet.world = World(tmp_path)
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    keywords = locks.held.__wrapped__.__kwdefaults__  # type: ignore[attr-defined]
    monkeypatch.setitem(keywords, "directory", str(tmp_path / "locks"))
    monkeypatch.setattr(archives, "archive", made.archive)
    monkeypatch.setattr(streams, "check", _checked)
    monkeypatch.setattr(backup_taking, "LinkConnections", FakeConnections)
    monkeypatch.setattr(backup_taking, "open_dumps", FakeDumps)
    monkeypatch.setattr(backup_taking, "Quiet", FakeQuiet)
    monkeypatch.setattr(backups, "check_dump", lambda _engine, _stored, _path: None)  # of dumps that are made up
    made.deploy()
    return made


def run(world: World, *, check: bool = False, task: Mapping[str, Any] | None = None, **options: Any) -> Outcome:
    resource = Backups(world.host, dict(task or {}), world.sets.root, str(world.root / "apps"))
    return converge(resource, [parse({"app": "blog", **options})], check=check)[0]


def facts(outcome: Outcome) -> Mapping[str, Any]:
    assert isinstance(outcome, Success), outcome.error
    return outcome.facts


def refusal(outcome: Outcome) -> str:
    assert isinstance(outcome, Failure)
    return str(outcome.error)


def test_each_step_comes_at_its_time(world: World) -> None:
    home = str(world.home)
    found = facts(run(world))
    assert world.done == [
        "connect mariadb",
        "connect redis",
        "dump mariadb",
        # Redis is in a container of the app, and would not answer.
        "pause but cache",
        "dump redis",
        "close",
        "pause",
        "archive /docker/blog_pages",
        f"archive {home}/data/up",
        f"archive {home} without .rollback .rollback.new data/up",
        "let go",
    ]
    (made,) = world.sets.list()
    assert (made.id, made.reason, made.quiesce, made.template) == (found["set"], "asked", "pause", "wordpress")
    assert [dump.link for dump in made.databases] == ["mariadb", "redis"]
    assert made.ports == {"HTTP_PORT": "8010/tcp"}
    assert [row["name"] for row in made.links] == ["mariadb", "old", "redis"]
    assert "very-secret" in world.hidden
    assert found["left_out"] == {
        "tmp": "it is excluded",
        "volume blog_unmade": "Docker has not made it yet",
        "volume blog_nas": "its driver keeps the data where only that knows",
        "volume blog_former": "no service of the app mounts it",
        "database blog of postgresql://127.0.0.1:5432": "it is not linked any more; its data stay on the server",
    }
    assert found["databases"] == {
        "mariadb": {"engine": "mariadb", "rows": {"posts": 2}, "size": 7},
        "redis": {"engine": "redis", "rows": {"posts": 2}, "size": 5},
    }
    assert world.sets.state()["attempt"]["outcome"] == "taken"
    assert not list(pathlib.Path(world.sets.path(made.id)).glob(".*"))


def test_a_stop_comes_before_the_first_dump(world: World) -> None:
    run(world, quiesce="stop")
    assert world.done[2:7] == ["stop but cache", "dump mariadb", "stop but cache", "dump redis", "close"]
    assert world.done[7] == "stop"


def test_an_app_that_is_not_quiesced_is_read_while_it_writes(world: World) -> None:
    run(world, quiesce="none")
    assert all(step.endswith(" live") for step in world.done if step.startswith("archive"))


def test_administrators_are_used_where_they_are_given(world: World) -> None:
    run(world, databases=[{"name": "mariadb", "server": {"user": "root", "password": "x"}}])
    assert world.done[0] == "connect mariadb as root"


@pytest.mark.parametrize("step", ["connect redis", "dump mariadb", "pause", "archive /docker", "let go"])
def test_a_failure_leaves_no_set_and_is_remembered(world: World, step: str) -> None:
    old = facts(run(world))["set"]
    world.done.clear()
    world.fails = step
    assert "it does not work" in refusal(run(world))
    assert world.done[-1] == "let go"
    assert ([made.id for made in world.sets.list()], world.sets.leftovers()) == ([old], ())
    attempt = world.sets.state()["attempt"]
    assert (attempt["outcome"], "it does not work" in attempt["error"]) == ("failed", True)
    told = facts(run(world, state="verified"))
    assert told["set"] == old


def test_data_that_is_half_restored_gets_into_no_set(world: World) -> None:
    old = facts(run(world))["set"]
    touched: tuple[Phase, ...] = ("switching", "judging", "returning")
    for phase in touched:
        restore_state.note(world.sets, Journal(phase, old, phase, True, ()))
        assert f"a restore of its set {old} was cut short" in refusal(run(world))
    restore_state.note(world.sets, Journal("a", old, "staging", True, ()))
    assert facts(run(world))["set"] != old


def test_an_app_that_is_half_made_gets_into_no_set(world: World) -> None:
    unfinished = restore_remains.Remains(world.host, str(world.root / "apps"))
    unfinished.begin(restore_remains.Journal("blog", "20260131T031500Z"))
    assert "it is being made of a backup set" in refusal(run(world))
    assert world.sets.identities() == ()


def test_an_app_that_serves_is_whole_though_its_restore_was_killed_after_that(world: World) -> None:
    unfinished = restore_remains.Remains(world.host, str(world.root / "apps"))
    unfinished.begin(restore_remains.Journal("blog", "20260131T031500Z"))
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.put_app(AppRecord("blog", "wordpress", "1", "present", "0", confirmed=True))
    assert facts(run(world))["set"]
    # Once and for all: the app may be unconfirmed later, for other reasons.
    assert restore_remains.read(str(world.root / "apps"), "blog") is None


def test_check_mode_tells_what_would_be_in_the_set(world: World) -> None:
    outcome = run(world, check=True)
    assert isinstance(outcome, Success)
    assert outcome.changed
    assert "volume pages: blog_pages\n" in outcome.diffs[0].after
    assert "not tmp: it is excluded\n" in outcome.diffs[0].after
    assert world.done == []
    assert not pathlib.Path(world.sets.root).exists()
    assert any("volume blog_nas is not backed up" in warning for warning in outcome.warnings)


def test_a_young_set_is_enough_while_it_has_everything(world: World) -> None:
    first = facts(run(world, max_age="1h"))
    again = run(world, max_age="1h")
    assert not again.changed
    assert facts(again)["set"] == first["set"]
    # But not for an app that has got another volume.
    world.volumes["blog_unmade"] = {}
    assert run(world, max_age="1h").changed


def test_old_sets_are_thinned_after_the_new_one_is_there(world: World) -> None:
    none = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    first = facts(run(world))["set"]
    world.fails = "dump"
    run(world, keep=none)
    assert [made.id for made in world.sets.list()] == [first]
    world.fails = ""
    planned = run(world, keep=none, check=True)
    assert facts(planned)["removed"] == [first]
    second = facts(run(world, keep=none))
    assert second["removed"] == [first]
    third = facts(run(world))["set"]
    thinned = run(world, keep=none, max_age="1h")
    assert thinned.changed
    assert facts(thinned)["removed"] == [second["set"]]
    assert [made.id for made in world.sets.list()] == [third]


def test_the_set_that_counts_stays_though_one_with_less_is_younger(world: World) -> None:
    none = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    whole = facts(run(world))["set"]
    less = facts(run(world, exclude=["pages"]))["set"]
    outcome = run(world, keep=none, max_age="1h")
    assert (outcome.changed, facts(outcome)["set"], facts(outcome)["removed"]) == (False, whole, [])
    assert [made.id for made in world.sets.list()] == [whole, less]


def test_what_verified_asks_for(world: World) -> None:
    assert "there is none" in refusal(run(world, state="verified"))
    path = pathlib.Path(facts(run(world))["path"])
    checked = run(world, state="verified", max_age="1h")
    assert not checked.changed
    (path / "mysql" / "mariadb.sql.zst").write_text("mariadC")
    assert "mariadb.sql.zst" in refusal(run(world, state="verified"))
    (path / "mysql" / "mariadb.sql.zst").write_text("maria")
    assert "there is none" in refusal(run(world, state="verified"))


def test_a_dump_that_does_not_end_as_one_is_damaged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(world)
    monkeypatch.setattr(backups, "check_dump", engines.check_dump)
    assert "does not end as a complete dump" in refusal(run(world, state="verified"))


def test_an_app_that_is_not_there(world: World) -> None:
    resource = Backups(world.host, {}, world.sets.root, str(world.root / "apps"))
    (outcome,) = converge(resource, [parse({"app": "shop"})], check=False)
    assert "no such app" in refusal(outcome)
    assert not pathlib.Path(world.sets.root, "shop").exists()


class FakeStore:
    def __init__(self, world: World) -> None:
        self.world = world

    def ensure(self) -> bool:
        self.world.act("ensure")
        return False

    def store(self, directory: str, app: str, identity: str, reason: str) -> str:
        self.world.act(f"store {app} {reason}")
        return "abcd1234"

    def thin(self, app: str, keep: object) -> tuple[()]:
        self.world.act(f"thin {app}")
        return ()


def test_sets_are_copied_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def opened(commands: object, repository: object) -> Iterator[FakeStore]:
        yield FakeStore(world)

    monkeypatch.setattr(restic, "opened", opened)
    task = {"repository": {"url": "/srv/restic", "password": "long-secret"}}
    assert facts(run(world))["snapshot"] is None
    copied = run(world, task=task, max_age="1h", keep={})
    assert copied.changed
    assert facts(copied)["snapshot"] == "abcd1234"
    assert world.done[-3:] == ["ensure", "store blog asked", "thin blog"]
    assert "long-secret" in world.hidden
    assert not run(world, task=task, max_age="1h").changed
    # A repository that is away does not keep sets from being made.
    world.fails = "ensure"
    failed = run(world, task=task)
    assert "it does not work" in refusal(failed)
    assert failed.changed
    assert len(world.sets.list()) == 2


def final(world: World) -> FinalBackups:
    config = world.root / "backup.yaml"
    config.write_text(f"directory: {world.sets.root}\n")
    return FinalBackups(world.host, str(world.root / "apps"), str(config))


def made(world: World) -> Manifest:
    return world.sets.list()[-1]


def test_the_last_set_of_an_app_has_all_of_its_volumes(world: World) -> None:
    path = final(world).of_app("blog", 7)
    assert path == world.sets.path(made(world).id)
    assert made(world).reason == "final"
    assert [tree.name for tree in made(world).volumes] == ["former", "pages"]
    world.fails = "dump"
    with pytest.raises(ServerkitError, match="Nothing was deleted"):
        final(world).of_app("blog", 7)


def test_nothing_is_deleted_when_it_is_not_known_where_sets_go(world: World) -> None:
    last = final(world)
    (world.root / "backup.yaml").write_text("directory: [1]\n")
    with pytest.raises(ServerkitError, match=r"directory is not of the type str.*Nothing was deleted"):
        last.of_app("blog", 7)
    assert not world.sets.list()


def test_the_last_set_of_a_database_has_it_though_it_is_unlinked(world: World) -> None:
    final(world).of_links("blog", 7, {"old": ServerRequest(user="root")})
    assert [dump.link for dump in made(world).databases] == ["mariadb", "old", "redis"]
    assert "connect old as root" in world.done


def test_the_last_set_of_a_database_whose_app_is_gone(world: World) -> None:
    for name in ("docker-compose.yml", ".release.json", ".env"):
        (world.home / name).unlink()
    world.volumes.clear()
    (world.home / "data" / "up").rmdir()
    for folder in ("data", ".rollback", ""):
        (world.home / folder).rmdir()
    final(world).of_links("blog", 7, {"old": ServerRequest()})
    assert (made(world).template, made(world).volumes) == ("", ())
    assert made(world).files[0].path == "release.tar.zst"
