# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links from plan to outcome, on a server and with apps that are dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, UnhealthyError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import database_servers
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner import (
    link_planning,
    link_proof,
    link_servers,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner import links as runner
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import (
    LinkedApp,
    LinkedPlan,
    LinkedRequest,
)
from ansible_collections.serverkit.core.plugins.module_utils._values import links as values
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    Endpoint,
    Login,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.tests.unit.fakes import NoPrograms


@dataclass
class Account:
    """A user of the server."""

    passwords: list[str]
    privileges: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """What a database server holds, and what apps were told."""

    databases: dict[str, list[str]] = field(default_factory=dict)  # by name: tables
    users: dict[str, Account] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    down: bool = False
    fails: str = ""  # the call that fails
    told: dict[str, dict[str, str]] = field(default_factory=dict)  # by app
    unhealthy: bool = False
    sick: str = ""  # the one app that does not get healthy
    unreadable: str = ""  # the app whose .env cannot be read
    two_passwords: bool = True
    gone: str = ""  # the app that was purged

    def call(self, name: str) -> None:
        self.calls.append(name)
        if self.down or name == self.fails:
            raise HostError(name, "the server refuses")


class Server(DatabaseEngine):
    """A database server in memory."""

    world: World

    def connect(self) -> None:
        if self.world.down:
            raise HostError("log in to the server", "Connection refused")

    def close(self) -> None:
        pass

    def version(self) -> str:
        return "Memory 1.0"

    def warnings(self) -> list[str]:
        return []

    def rotation_gap(self) -> str:
        return "" if self.world.two_passwords else "one password"

    def read(self, accesses: Sequence[Access]) -> list[DatabaseState]:
        self.world.call("read")
        return [self._state(access) for access in accesses]

    def _state(self, access: Access) -> DatabaseState:
        account = self.world.users.get(access.user)
        granted = account.privileges if account else {}
        return DatabaseState(
            database_exists=access.database in self.world.databases,
            user_exists=account is not None,
            logins=(Login(access.user, len(account.passwords)),) if account and account.passwords else (),
            privileges=granted.get(access.database),  # type: ignore[arg-type]
            elsewhere=tuple(f"may use {name}" for name in granted if name != access.database),
        )

    def matches(self, login: Login, password: str) -> bool | None:
        return password in self.world.users[login.name].passwords

    def create_database(self, access: Access) -> None:
        self.world.call("create_database")
        self.world.databases.setdefault(access.database, [])

    def create_user(self, access: Access, password: str) -> None:
        self.world.call("create_user")
        self.world.users.setdefault(access.user, Account([])).passwords = [password]

    def grant(self, access: Access) -> None:
        self.world.call("grant")
        self.world.users[access.user].privileges[access.database] = access.privileges

    def set_password(self, access: Access, login: str, password: str) -> None:
        self.world.call("set_password")
        self.world.users[access.user].passwords = [password]

    def begin_rotation(self, access: Access, login: str, current: str, new: str) -> str:
        self.world.call("begin_rotation")
        self.world.users[access.user].passwords = [current, new]
        return login

    def drop_user(self, access: Access) -> None:
        self.world.call("drop_user")
        self.world.users.pop(access.user, None)

    def drop_database(self, access: Access) -> None:
        self.world.call("drop_database")
        self.world.databases.pop(access.database, None)

    def row_counts(self, database: str) -> dict[str, int]:
        return dict.fromkeys(self.world.databases.get(database, []), 1)

    def login(self, credentials: Credentials, database: str) -> None:
        self.world.call("login")
        account = self.world.users.get(credentials.user)
        if account is None or credentials.password not in account.passwords:
            raise HostError("log in", "wrong password")


class Apps:
    """The apps of a host: what each was told is all there is of them."""

    world: World

    def __init__(self, host: Host, root: str) -> None:
        del host, root

    def read(self, names: Sequence[str]) -> dict[str, LinkedApp]:
        if self.world.unreadable in names:
            raise HostError("read .env", "it is damaged")
        return {name: LinkedApp(name, False, dict(self.world.told.get(name, {})), None, ()) for name in names}

    def is_gone(self, name: str) -> bool:
        return name == self.world.gone

    def plan(self, wanted: Sequence[LinkedRequest]) -> list[LinkedPlan | Failure]:
        self.wanted = {request.name: dict(request.secrets) for request in wanted}
        return [
            LinkedPlan(
                request.name,
                self.world.told.get(request.name, {}) != dict(request.secrets),
                None,  # type: ignore[arg-type]
                diffs=(Diff(request.name, "a", "b"),),
                facts={"recreated": []},
            )
            for request in wanted
        ]

    def apply(self, plans: Sequence[LinkedPlan], lock_descriptors: Mapping[str, int]) -> list[Outcome]:
        self.world.call("tell")
        return [self._told(plan.name) for plan in plans]

    def _told(self, app: str) -> Outcome:
        if self.world.unhealthy or app == self.world.sick:
            return Failure(app, UnhealthyError("bring up", "it exits"), ("restored files",))
        self.world.told[app] = self.wanted[app]
        return Success(app, True, facts={"recreated": ["web"]})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    Server.world = Apps.world = world

    def opened(endpoint: Endpoint, admin: Credentials | None = None) -> DatabaseEngine:
        return Server(endpoint, admin)

    for module in (link_servers, link_planning, link_proof):
        monkeypatch.setattr(module, "open_engine", opened)
    monkeypatch.setattr(runner, "LinkedApps", Apps)
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    monkeypatch.setattr(database_servers, "DIRECTORY", str(tmp_path))
    monkeypatch.setitem(
        locks.held.__wrapped__.__kwdefaults__,  # type: ignore[attr-defined]
        "directory",
        str(tmp_path / "locks"),
    )
    return world


def run(*items: Mapping[str, Any], check: bool = False) -> list[Outcome]:
    host = Host(NoPrograms(), Settings(), check, lambda secret: None)
    wanted = [values.parse({"app": "blog", "engine": "postgresql", **item}) for item in items]
    return converge(runner.Links(host, {}, "/nonexistent"), wanted, check=check)


def rows() -> list[tuple[str, str, Any]]:
    with open_registry(Settings(), read_only=True) as registry:
        return [(row.app, row.database, row.options.get("state", "linked")) for row in registry.links()]


def failed(outcome: Outcome) -> str:
    assert isinstance(outcome, Failure), outcome
    return str(outcome.error)


def test_a_link_is_made_once(world: World) -> None:
    first = run({})[0]
    assert isinstance(first, Success)
    assert first.changed
    assert first.facts["proven"] == "host"
    assert set(world.told["blog"]) == {f"SERVERKIT_LINK_POSTGRESQL_{part}" for part in ("USER", "PASSWORD", "URL")}
    assert world.users["blog"].privileges == {"blog": "owner"}
    assert rows() == [("blog", "blog", "linked")]
    world.calls.clear()
    assert run({})[0].changed is False
    assert world.calls == ["read"]


def test_check_mode_says_the_same_and_does_nothing(world: World) -> None:
    planned = run({}, check=True)[0]
    assert planned.changed
    assert world.calls == ["read"]
    assert (world.databases, world.users, world.told, rows()) == ({}, {}, {}, [])
    password = "hidden from everybody"
    shown = "".join(diff.before + diff.after for diff in run({"password": password}, check=True)[0].diffs)
    assert password not in shown


def test_one_read_serves_all_links_of_a_server(world: World) -> None:
    wanted = [{"app": f"app{number}"} for number in range(5)]
    assert all(isinstance(outcome, Success) for outcome in run(*wanted))
    world.calls.clear()
    assert not any(outcome.changed for outcome in run(*wanted))
    assert world.calls == ["read"]


def test_the_apps_of_a_task_are_told_together(world: World) -> None:
    wanted = [{"app": f"app{number}"} for number in range(3)]
    assert all(isinstance(outcome, Success) for outcome in run(*wanted))
    assert world.calls.count("tell") == 1
    assert set(world.told) == {"app0", "app1", "app2"}


def test_an_app_that_does_not_get_healthy_harms_no_other(world: World) -> None:
    world.sick = "app1"
    first, second, third = run(*({"app": f"app{number}"} for number in range(3)))
    assert isinstance(first, Success)
    assert "it exits" in failed(second)
    assert isinstance(third, Success)
    assert set(world.databases) == {"app0", "app2"}
    assert [app for app, _database, _state in rows()] == ["app0", "app2"]


@pytest.mark.parametrize("step", ["create_user", "create_database", "grant", "tell", "login"])
def test_a_step_that_fails_leaves_nothing_behind(world: World, step: str) -> None:
    world.fails = step
    outcome = run({})[0]
    assert "the server refuses" in failed(outcome)
    assert (world.databases, world.users, rows()) == ({}, {}, [])
    assert not world.told.get("blog")
    world.fails = ""
    assert isinstance(run({})[0], Success)


def test_an_app_that_does_not_get_healthy_gives_everything_back(world: World) -> None:
    world.unhealthy = True
    outcome = run({})[0]
    assert "it exits" in failed(outcome)
    assert isinstance(outcome, Failure)
    assert outcome.rolled_back[0] == "restored files"
    assert not outcome.changed
    assert (world.databases, world.users, rows()) == ({}, {}, [])


def test_a_database_that_the_failed_app_has_begun_to_use_is_kept_for_it(world: World) -> None:
    world.unhealthy = True
    world.databases["blog"] = ["posts"]
    world.fails = ""
    # It is there because an attempt before this one made it.
    outcome = run({"adopt": True})[0]
    assert isinstance(outcome, Failure)
    assert world.databases == {"blog": ["posts"]}


def test_tables_made_during_a_failed_attempt_stay_and_stay_the_apps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def migrates(self: Apps, plans: Sequence[LinkedPlan], lock_descriptors: Mapping[str, int]) -> list[Outcome]:
        del self, lock_descriptors
        world.databases["blog"].append("posts")
        return [Failure(plan.name, UnhealthyError("bring up", "it exits")) for plan in plans]

    with monkeypatch.context() as patch:
        patch.setattr(Apps, "apply", migrates)
        outcome = run({})[0]
    assert isinstance(outcome, Failure)
    assert any("has begun to use it" in text for text in outcome.not_rolled_back)
    assert rows() == [("blog", "blog", "unlinked")]
    assert isinstance(run({})[0], Success)
    assert world.databases == {"blog": ["posts"]}


def test_a_lost_password_is_replaced(world: World) -> None:
    run({})
    world.told.clear()
    before = list(world.users["blog"].passwords)
    assert run({})[0].changed
    assert world.users["blog"].passwords != before
    assert world.told["blog"]["SERVERKIT_LINK_POSTGRESQL_PASSWORD"] == world.users["blog"].passwords[0]


def test_a_password_that_was_changed_on_the_server_is_put_back(world: World) -> None:
    run({})
    stored = world.told["blog"]["SERVERKIT_LINK_POSTGRESQL_PASSWORD"]
    world.users["blog"].passwords = ["another"]
    assert run({})[0].changed
    assert world.users["blog"].passwords == [stored]


def test_a_rotation_has_both_passwords_until_the_new_one_is_proven(world: World) -> None:
    run({})
    old = world.users["blog"].passwords[0]
    world.calls.clear()
    outcome = run({"rotate": True})[0]
    assert isinstance(outcome, Success)
    assert outcome.facts["rotated"] is True
    assert world.calls == ["read", "begin_rotation", "tell", "login", "set_password"]
    assert len(world.users["blog"].passwords) == 1
    assert world.users["blog"].passwords != [old]


@pytest.mark.parametrize("step", ["begin_rotation", "tell", "login"])
def test_a_rotation_that_fails_leaves_the_old_password(world: World, step: str) -> None:
    run({})
    old, told = list(world.users["blog"].passwords), dict(world.told["blog"])
    world.fails = step
    failed(run({"rotate": True})[0])
    assert world.users["blog"].passwords == old
    world.fails = ""
    if step != "tell":
        assert world.told["blog"] == told
    assert run({})[0].changed is False


def test_a_server_that_knows_one_password_is_told_the_new_one(world: World) -> None:
    run({})
    world.two_passwords = False
    world.calls.clear()
    assert isinstance(run({"rotate": True})[0], Success)
    assert world.calls == ["read", "set_password", "tell", "login"]


def test_a_rotation_that_was_cut_short_is_ended_with_what_the_app_has(world: World) -> None:
    run({})
    stored = world.users["blog"].passwords[0]
    world.users["blog"].passwords.append("never told")
    assert run({})[0].changed
    assert world.users["blog"].passwords == [stored]
    assert run({})[0].changed is False


def test_another_given_password_is_a_rotation(world: World) -> None:
    run({"password": "first password"})
    world.calls.clear()
    assert run({"password": "second password"})[0].facts["rotated"] is True  # type: ignore[union-attr]
    assert "begin_rotation" in world.calls
    assert world.users["blog"].passwords == ["second password"]
    assert run({"password": "second password"})[0].changed is False


def test_unlinking_keeps_the_data_for_its_app(world: World) -> None:
    run({})
    world.databases["blog"].append("posts")
    outcome = run({"state": "absent"})[0]
    assert outcome.changed
    assert (world.users, world.told["blog"], world.databases) == ({}, {}, {"blog": ["posts"]})
    assert rows() == [("blog", "blog", "unlinked")]
    assert run({"state": "absent"})[0].changed is False
    assert "keeps its data" in failed(run({"app": "shop", "database": "blog"})[0])
    assert isinstance(run({})[0], Success)
    assert world.databases == {"blog": ["posts"]}


def test_dropping_deletes_the_data_and_gives_the_name_back(world: World) -> None:
    run({})
    gone = {"state": "absent", "drop": True, "skip_backup": True}
    assert run(gone)[0].changed
    assert (world.users, world.databases, rows()) == ({}, {}, [])
    assert run(gone)[0].changed is False


class Finals:
    """Last sets, each a line of what was called; none can be made where it says so."""

    world: World
    fails = False

    def __init__(self, host: Host, root: str) -> None:
        del host, root

    def of_links(self, app: str, lock: int, dropped: Mapping[str, Any]) -> str:
        assert lock > 2
        self.world.call(f"back up {app}: {', '.join(dropped)}")
        if self.fails:
            raise HostError("back up", "the disk is full")
        return "/backups/blog/1"


def test_a_database_is_backed_up_before_it_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Finals.world = world
    monkeypatch.setattr(runner, "FinalBackups", Finals)
    assert all(outcome.changed for outcome in run({}, {"name": "more", "env_prefix": "MORE"}))
    gone: list[dict[str, Any]] = [{"state": "absent", "drop": True}, {"name": "more", "state": "absent"}]
    run(*gone, check=True)
    assert "back up blog: postgresql" not in world.calls
    monkeypatch.setattr(Finals, "fails", True)
    world.calls.clear()
    kept, unlinked = run(*gone)
    assert "the disk is full" in failed(kept)
    assert kept.changed is False
    assert isinstance(unlinked, Success)
    assert world.calls.index("back up blog: postgresql") < world.calls.index("tell")
    assert "drop_database" not in world.calls
    assert any(key.startswith("SERVERKIT_LINK_POSTGRESQL") for key in world.told["blog"])
    monkeypatch.setattr(Finals, "fails", False)
    done = run(gone[0])[0]
    assert isinstance(done, Success)
    assert done.facts["final_backup"] == "/backups/blog/1"
    world.calls.clear()
    assert run(gone[0])[0].changed is False
    assert world.calls == []


def test_data_that_was_kept_can_be_dropped_later(world: World) -> None:
    run({})
    run({"state": "absent"})
    assert run({"state": "absent", "drop": True, "skip_backup": True})[0].changed
    assert (world.databases, rows()) == ({}, [])


def test_a_link_that_was_never_there_is_absent(world: World) -> None:
    assert run({"state": "absent"})[0].changed is False
    assert world.calls == []


def test_an_absent_link_of_a_lost_registry_is_still_taken_away(world: World) -> None:
    run({})
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.remove_link("blog", "postgresql")
    assert run({"state": "absent"})[0].changed
    assert world.users == {}


def test_the_password_in_env_proves_that_a_link_of_a_lost_registry_is_the_apps(world: World) -> None:
    run({})
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.remove_link("blog", "postgresql")
    assert isinstance(run({})[0], Success)
    assert rows() == [("blog", "blog", "linked")]


@pytest.mark.parametrize(
    ("prepare", "options", "complaint"),
    [
        (lambda world: setattr(world, "down", True), {}, "Connection refused"),
        (lambda world: world.users.update(blog=Account(["x"], {"shop": "owner"})), {}, "exists with other grants"),
        (lambda world: world.users.update(blog=Account(["x"])), {}, "no link is known"),
        (lambda world: world.databases.update(blog=[]), {}, "no link is known"),
        (lambda world: run({"app": "shop"}), {"database": "shop"}, "belongs to the app shop"),
        (lambda world: run({"app": "shop"}), {"user": "shop"}, "belongs to the app shop"),
        (lambda world: run({}), {"database": "other"}, "stay behind"),
        (lambda world: setattr(world, "unreadable", "blog"), {}, "damaged"),
    ],
)
def test_what_is_refused_changes_nothing(world: World, prepare: Any, options: dict[str, Any], complaint: str) -> None:
    prepare(world)
    world.calls.clear()
    before = (repr(world.databases), repr(world.users), repr(world.told), rows())
    outcome = run(options)[0]
    assert complaint in failed(outcome)
    assert outcome.changed is False
    assert set(world.calls) <= {"read"}
    assert (repr(world.databases), repr(world.users), repr(world.told), rows()) == before


def test_two_links_of_one_task_cannot_have_one_database(world: World) -> None:
    outcomes = run({"app": "one", "database": "same"}, {"app": "two", "database": "same"})
    assert isinstance(outcomes[0], Success)
    assert "the app one of this task has it" in failed(outcomes[1])


def test_two_links_of_an_app_cannot_give_one_variable(world: World) -> None:
    outcomes = run({}, {"name": "second"}, {"name": "third", "env_prefix": "THIRD"})
    assert [isinstance(outcome, Success) for outcome in outcomes] == [True, False, True]
    assert "env_prefix" in failed(outcomes[1])


def test_one_failing_link_of_an_app_does_not_take_the_other_with_it(world: World) -> None:
    outcomes = run({}, {"name": "reports", "env_prefix": "REPORTS", "user": "blog_reports", "database": "blog"})
    assert all(isinstance(outcome, Success) for outcome in outcomes)
    world.users["blog"].privileges.clear()
    world.fails = "grant"
    again = run({}, {"name": "reports", "env_prefix": "REPORTS", "user": "blog_reports", "database": "blog"})
    assert isinstance(again[0], Failure)
    assert isinstance(again[1], Success)


def test_a_server_that_is_not_installed_yet_is_planned_as_empty_in_check_mode(world: World) -> None:
    world.down = True
    outcome = run({}, check=True)[0]
    assert isinstance(outcome, Success)
    assert outcome.changed
    assert "Planned as if the server had nothing yet" in outcome.warnings[0]
    failed(run({"server": {"host": "db.internal", "user": "admin", "password": "x"}}, check=True)[0])


def test_the_lock_is_that_of_the_app(world: World) -> None:
    del world
    host = Host(NoPrograms(), Settings(), False, lambda secret: None)
    wanted = [values.parse({"app": "blog", "engine": engine}) for engine in ("redis", "postgresql")]
    assert runner.Links(host, {}).locks([*wanted, replace(wanted[0], app="shop")]) == ["app-blog", "app-shop"]


def test_a_link_whose_server_was_purged_with_its_app_goes_without_it(world: World) -> None:
    server = "postgresql:///shared/db:5432"
    row = DatabaseLink("blog", "postgresql", "postgresql", server, "blog", "blog", "owner", "shared-db-1", 5432)
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.put_link(row)
    gone = {"state": "absent", "drop": True, "server": {"app": "shared", "service": "db", "user": "postgres"}}
    assert "no container of it runs" in failed(run(gone)[0])
    assert rows() == [("blog", "blog", "linked")]
    world.gone = "shared"
    assert run(gone, check=True)[0].changed
    outcome = run(gone)[0]
    assert isinstance(outcome, Success), outcome
    assert outcome.changed
    assert rows() == []
    assert not run(gone)[0].changed
    assert not {"drop_user", "drop_database"} & set(world.calls)
