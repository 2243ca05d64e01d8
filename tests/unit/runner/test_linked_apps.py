# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apps with linked databases: as serverkit_app plans them, and as serverkit_db_link changes them."""

from __future__ import annotations

import copy
import json
import pathlib
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import (
    LinkedApps,
    LinkedPlan,
    LinkedRequest,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.tests.unit.runner.apps_host import TEMPLATE, FakeHost, planned, refusal

LINK = DatabaseLink("blog", "main", "mariadb", "mysql:///run/x", "blog", "blog", "owner", "host.docker.internal", 3306)
SECRETS = {
    "SERVERKIT_LINK_MAIN_USER": "blog",
    "SERVERKIT_LINK_MAIN_PASSWORD": "purple-monkey",
    "SERVERKIT_LINK_MAIN_URL": "mysql://blog:purple-monkey@host.docker.internal:3306/blog",
}
BLOG = AppRequest("blog", "web")


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    monkeypatch.setattr(app_files, "TEMPLATES", str(tmp_path / "templates"))
    template: dict[str, Any] = copy.deepcopy(TEMPLATE)
    template["database"] = {
        "engines": ["mysql"],
        "service": "web",
        "variables": {"address": "DB_ADDRESS", "password": "PASSWORD"},
        "replaces": ["db"],
    }
    found = FakeHost(tmp_path)
    found.definitions = json.dumps({"web": {"document": template, "text": "id: web\n", "source": "web.yaml"}})
    return found


def apps(host: FakeHost, *, check: bool = False) -> LinkedApps:
    return LinkedApps(Host(host.commands, Settings(), check, host.hidden.add), str(host.root / "apps"))


def link(host: FakeHost, *links: DatabaseLink, **secrets: str) -> LinkedPlan:
    found = apps(host).plan([LinkedRequest("blog", links, secrets)])[0]
    assert isinstance(found, LinkedPlan), found.error
    return found


def put(*links: DatabaseLink) -> None:
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        for each in registry.links():
            registry.remove_link(each.app, each.name)
        for each in links:
            registry.put_link(each)


def linked_ahead(host: FakeHost) -> None:
    """Link the app before its first deployment."""
    put(LINK)
    (outcome,) = apps(host).apply([link(host, LINK, **SECRETS)], {})
    assert isinstance(outcome, Success)


def environment(plan: AppPlan | None) -> dict[str, str]:
    assert plan is not None
    assert plan.target is not None
    return dotenv.decode(plan.target.files[".env"].content)


def override(plan: AppPlan | None) -> dict[str, Any]:
    assert plan is not None
    assert plan.target is not None
    return parse_yaml(plan.target.files["compose.links.yml"].content, "compose.links.yml")


def test_an_app_that_is_to_come_gets_its_secrets_only(host: FakeHost) -> None:
    plan = link(host, LINK, **SECRETS)
    assert plan.changed
    assert not plan.deployed
    assert "purple-monkey" in host.hidden
    assert "blog" not in host.hidden
    assert "purple-monkey" not in repr((plan, plan.diffs))
    linked_ahead(host)
    (file,) = (host.root / "apps/blog").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == (".env", 0o600)
    assert not link(host, LINK, **SECRETS).changed
    read = apps(host).read(["blog"])["blog"]
    assert (read.deployed, read.secrets, read.services) == (False, SECRETS, ())


def test_the_first_release_has_its_linked_database_and_not_its_own(host: FakeHost) -> None:
    linked_ahead(host)
    plan = planned(host.plan(replace(BLOG, databases=("mariadb",)), check=False)[0])
    assert environment(plan) == {**SECRETS, "COMPOSE_FILE": "docker-compose.yml:compose.links.yml"}
    assert override(plan) == {
        "services": {
            "web": {
                "environment": {
                    "DB_ADDRESS": "host.docker.internal:3306",
                    "PASSWORD": "${SERVERKIT_LINK_MAIN_PASSWORD}",
                },
                "extra_hosts": ["host.docker.internal:host-gateway"],
            }
        }
    }
    assert plan.target is not None
    document = parse_yaml(plan.target.files["docker-compose.yml"].content, "x")
    assert list(document["services"]) == ["web"]
    assert "volumes" not in document
    assert "PASSWORD" not in document["services"]["web"]["environment"]
    assert "purple-monkey" not in repr(plan.diffs)
    host.make_so(plan)
    assert not planned(host.plan(BLOG)[0]).changed
    assert not planned(host.plan(replace(BLOG, databases=("mysql",)))[0]).changed
    assert not link(host, LINK, **SECRETS).changed


def test_check_mode_plans_with_a_link_that_is_to_come_and_a_real_run_needs_it(host: FakeHost) -> None:
    wanted = replace(BLOG, databases=("mysql",))
    assert sorted(planned(host.plan(wanted)[0]).after.services) == ["web"]
    assert "serverkit_db_link" in str(refusal(host.plan(wanted, check=False)[0]))
    put(LINK)
    assert "lacks SERVERKIT_LINK_MAIN_PASSWORD" in str(refusal(host.plan(wanted, check=False)[0]))


def test_a_link_to_an_engine_that_the_template_cannot_use_stands_beside_its_own_database(host: FakeHost) -> None:
    cache = replace(LINK, name="cache", engine="redis", server="redis:///run/y", port=6379)
    put(cache)
    secrets = {"SERVERKIT_LINK_CACHE_USER": "u", "SERVERKIT_LINK_CACHE_PASSWORD": "p", "SERVERKIT_LINK_CACHE_URL": "r"}
    apps(host).apply([link(host, cache, **secrets)], {})
    plan = planned(host.plan(BLOG, check=False)[0])
    assert sorted(plan.after.services) == ["db", "web"]
    assert override(plan)["services"]["db"]["environment"]["REDIS_URL"] == "${SERVERKIT_LINK_CACHE_URL}"
    assert environment(plan).keys() >= {"DB_PASSWORD", *secrets}


def test_a_password_of_its_own_database_outlives_the_link(host: FakeHost) -> None:
    first = planned(host.plan(BLOG)[0])
    host.make_so(first)
    password = environment(first)["DB_PASSWORD"]
    put(LINK)
    deployed = link(host, LINK, **SECRETS)
    assert deployed.deployed
    assert deployed.release is not None
    assert environment(deployed.release)["DB_PASSWORD"] == password
    host.make_so(deployed.release)
    plan = planned(host.plan(replace(BLOG, databases=("mysql",)), check=False)[0])
    assert environment(plan)["DB_PASSWORD"] == password
    assert plan.before.services["db"] == "not part of the release"
    host.make_so(plan)
    back = planned(host.plan(replace(BLOG, databases=()))[0])
    assert environment(back) == {"DB_PASSWORD": password, **SECRETS}
    assert back.target is not None
    assert "compose.links.yml" not in back.target.files


def test_a_new_link_of_a_deployed_app_makes_those_containers_anew_that_get_it(host: FakeHost) -> None:
    host.make_so(planned(host.plan(BLOG)[0]))
    plan = link(host, replace(LINK, services=("web",)), **SECRETS)
    assert plan.changed
    assert plan.release is not None
    assert plan.release.replaced == {"web"}
    assert plan.release.previous_in_place
    assert sorted(plan.release.previous) == [".env", ".release.json", "docker-compose.yml"]
    assert environment(plan.release).keys() == {"DB_PASSWORD", "COMPOSE_FILE", *SECRETS}
    host.make_so(plan.release)
    assert not link(host, replace(LINK, services=("web",)), **SECRETS).changed
    changed = link(host, replace(LINK, services=("web",)), **{**SECRETS, "SERVERKIT_LINK_MAIN_PASSWORD": "another"})
    assert changed.release is not None
    assert changed.release.replaced == {"web"}
    gone = link(host)
    assert gone.release is not None
    assert gone.release.target is not None
    assert environment(gone.release).keys() == {"DB_PASSWORD"}
    assert "compose.links.yml" not in gone.release.target.files


def test_a_link_that_was_cut_short_is_seen(host: FakeHost) -> None:
    first = planned(host.plan(BLOG)[0])
    host.make_so(first)
    plan = link(host, LINK, **SECRETS)
    assert plan.release is not None
    assert plan.release.target is not None
    first.draft.directory.keep_previous()
    first.draft.directory.write(plan.release.target.files)  # and killed here
    put(LINK)
    for again in (link(host, LINK, **SECRETS).release, planned(host.plan(BLOG)[0])):
        assert again is not None
        assert again.changed
        assert again.previous == first.draft.directory.read_previous()
        assert not again.previous_in_place


def test_a_registry_that_lost_the_links_does_not_take_them_from_the_app(host: FakeHost) -> None:
    linked_ahead(host)
    host.make_so(planned(host.plan(BLOG, check=False)[0]))
    (host.root / "serverkit.db").unlink()
    plan = planned(host.plan(BLOG, check=False)[0])
    assert plan.target is not None
    assert plan.target.files["compose.links.yml"] == plan.before.files["compose.links.yml"]
    assert sorted(plan.after.services) == ["web"]
    assert plan.replaced == frozenset()


def test_an_environment_that_lost_secrets_of_the_app_is_left_to_serverkit_app(host: FakeHost) -> None:
    plan = planned(host.plan(BLOG)[0])
    host.make_so(plan)
    (host.root / "apps/blog/.env").unlink()
    found = link(host, LINK, **SECRETS)
    assert not found.deployed
    assert "DB_PASSWORD" in found.warnings[0]


def test_removal_keeps_what_opens_the_database(host: FakeHost) -> None:
    linked_ahead(host)
    host.make_so(planned(host.plan(BLOG, check=False)[0]))
    gone = planned(host.plan(AppRequest("blog", state="absent"), check=False)[0])
    assert list(gone.after.files) == [".env"]
    gone.draft.directory.remove_release()
    assert [path.name for path in (host.root / "apps/blog").iterdir()] == [".env"]


def test_volumes_of_a_stranger_are_not_taken_over_by_linking_first(host: FakeHost) -> None:
    host.volumes.append({"name": "blog_db", "project": "blog"})
    found = apps(host).plan([LinkedRequest("blog", (LINK,), SECRETS)])[0]
    assert isinstance(found, Failure)
    assert "blog_db" in str(found.error)


def test_many_unchanged_apps_cost_one_process(host: FakeHost) -> None:
    names = [f"app{number}" for number in range(50)]
    links = {name: replace(LINK, app=name, database=name, user=name) for name in names}
    put(*links.values())
    wanted = [LinkedRequest(name, (links[name],), SECRETS) for name in names]
    apps(host).apply([plan for plan in apps(host).plan(wanted) if isinstance(plan, LinkedPlan)], {})
    for outcome in host.plan(*(AppRequest(name, "web") for name in names), check=False):
        host.make_so(planned(outcome))
    host.commands.calls.clear()
    assert [plan.changed for plan in apps(host).plan(wanted) if isinstance(plan, LinkedPlan)] == [False] * 50
    assert [argv[1] for argv in host.commands.argvs] == ["ps"]
