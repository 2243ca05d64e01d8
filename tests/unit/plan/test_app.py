# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import app, app_diff, dotenv
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppState, Container, Release, Run
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    Health,
    Hook,
    Published,
    RenderedFile,
    ServiceFacts,
)
from hypothesis import given
from hypothesis import strategies as st

HERE = "/var/serverkit/apps/blog"
WEB = Container(
    id="c0ffee" * 10, name="blog-web-1", state="running", project="blog", service="web", directory=HERE, config_hash="1"
)
SERVICES = {"web": ServiceFacts(image="nginx")}


def container(**changes: Any) -> Container:
    return dataclasses.replace(WEB, **changes)


@pytest.mark.parametrize(
    ("state", "facts", "outcome"),
    [
        ({}, {}, "good"),
        ({"health": "healthy"}, {}, "good"),
        ({"health": "starting"}, {}, "waiting"),
        ({"health": "unhealthy"}, {}, "bad"),
        ({"state": "exited", "exit_code": 0}, {}, "bad"),
        ({"state": "exited", "exit_code": 0}, {"one_shot": True}, "good"),
        ({"state": "exited", "exit_code": 1}, {"one_shot": True}, "bad"),
        ({"state": "restarting", "exit_code": 1}, {}, "waiting"),
        ({"state": "created"}, {}, "waiting"),
        ({"state": "paused"}, {}, "bad"),
        ({"state": "dead"}, {}, "bad"),
        ({}, {"replicas": 2}, "waiting"),
        ({"one_off": True}, {}, "waiting"),
        ({"state": "exited", "exit_code": 1}, {"started": False}, "good"),
    ],
)
def test_a_container_is_judged_by_its_state(state: dict[str, Any], facts: dict[str, Any], outcome: str) -> None:
    assert app.judge({"web": ServiceFacts(image="nginx", **facts)}, [container(**state)]).outcome == outcome


def test_the_worst_news_come_first() -> None:
    services = {**SERVICES, "db": ServiceFacts(image="mariadb")}
    verdict = app.judge(services, [container(health="starting"), container(service="db", state="exited", exit_code=3)])
    assert (verdict.outcome, verdict.reason) == ("bad", "the service db has exited with code 3")


@pytest.mark.parametrize(
    ("restarts", "age", "outcome"), [(0, 0.2, "waiting"), (0, 2.0, "good"), (1, 2.0, "waiting"), (1, 11.0, "good")]
)
def test_a_container_that_was_restarted_has_to_stay_up_longer(restarts: int, age: float, outcome: str) -> None:
    assert app.judge_runs([Run(WEB.id, restarts, age)], [WEB]).outcome == outcome


def test_conditions_tell_drift() -> None:
    def web(*containers: Container, wanted: str = "started") -> dict[str, str]:
        return app.conditions(SERVICES, containers, {"web": "1"}, wanted_state=wanted)

    assert web(WEB) == {"web": "up"}
    assert web(container(health="starting")) == {"web": "up"}
    assert web(container(config_hash="2")) == {"web": "up with another configuration"}
    assert web() == {"web": "has 0 of 1 containers"}
    assert web(container(state="exited", exit_code=137)) == {"web": "has exited with code 137"}
    assert web(WEB, container(service="old")) == {"web": "up", "old": "not part of the release"}
    assert web(WEB, container(service="old", one_off=True)) == {"web": "up"}
    done = {"web": ServiceFacts(image="nginx", one_shot=True)}
    assert app.conditions(done, [], {"web": "1"}, wanted_state="started") == {"web": "up"}
    assert app.conditions(done, [], {}, wanted_state="started") == {"web": "has 0 of 1 containers"}
    assert web(wanted="stopped") == {"web": "stopped"}
    assert web(WEB, wanted="stopped") == {"web": "running"}


def test_somebody_elses_project_or_container_is_a_conflict() -> None:
    assert app.conflict("blog", HERE, SERVICES, [WEB]) is None
    foreign = container(directory="/home/me/blog")
    assert "/home/me/blog" in str(app.conflict("blog", HERE, SERVICES, [foreign]))
    by_hand = container(project="", service="", directory="", config_hash="")
    assert "no Compose project" in str(app.conflict("blog", HERE, SERVICES, [by_hand]))
    named = {"web": ServiceFacts(image="nginx", container_name="front")}
    assert app.conflict("blog", HERE, named, [by_hand]) is None
    assert "front" in str(app.conflict("blog", HERE, named, [container(name="front", project="shop")]))


def test_own_containers_are_those_of_our_directory() -> None:
    assert app.own("blog", HERE, [WEB, container(directory="/x"), container(project="shop")]) == (WEB,)


def test_only_services_that_use_a_changed_value_are_replaced() -> None:
    services = {"web": {"environment": {"A": "${A}"}}, "db": {"environment": {"B": "$B", "C": "$${A}"}}}
    assert app.replaced_services(services, services, {"A": "1", "B": "1"}, {"A": "2", "B": "1"}) == {"web"}
    assert app.replaced_services(services, services, {"A": "1", "B": "1"}, {"A": "1"}) == {"db"}
    changed = {**services, "db": {"image": "x"}}
    assert app.replaced_services(services, changed, {}, {}) == {"db"}


def release(**changes: Any) -> Release:
    main = Published("web", "127.0.0.1", 8001, "tcp", 80, "HTTP_PORT")
    made = Release(
        template="web",
        version="1.0",
        publish="loopback",
        services={"web": ServiceFacts(image="nginx", container_name="x", replicas=2)},
        published=(main,),
        main=main,
        health=Health("http", "/health", (200, 299), 30),
        probe="http",
        hooks={"post_deploy": (Hook("web", ("true",)),)},
        compose_key="k",
        compose_text="t",
    )
    return dataclasses.replace(made, **changes)


@given(version=st.text(), timeout=st.integers(1, 3600), has_main=st.booleans())
def test_a_description_survives_its_file(version: str, timeout: int, has_main: bool) -> None:
    made = release(version=version, health=Health("tcp", timeout=timeout))
    made = made if has_main else dataclasses.replace(made, main=None)
    assert app.read_description(app.describe(made)) == made


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"services": 1}', "null"])
def test_a_damaged_description_is_none(text: str) -> None:
    assert app.read_description(text) is None


def files(compose: str, **environment: str) -> dict[str, RenderedFile]:
    return {
        "docker-compose.yml": RenderedFile(compose),
        ".env": RenderedFile(dotenv.encode(environment), 0o600),
        ".release.json": RenderedFile(app.describe(release())),
    }


@given(st.text(min_size=1).filter(lambda value: "\0" not in value and "\r" not in value))
def test_a_release_is_named_by_compose_file_and_environment(secret: str) -> None:
    name = app.content_hash(files("a", SECRET=secret))
    assert name == app.content_hash(files("a", SECRET=secret))
    assert name != app.content_hash(files("b", SECRET=secret))
    assert name != app.content_hash(files("a", SECRET=f"{secret}x"))
    assert name != app.content_hash(files("a", OTHER=secret))


def test_a_diff_shows_keys_and_changes_of_secrets_but_no_secret() -> None:
    before = AppState("started", files("x: 1\n", SECRET="correct-horse", SAME="battery-staple"), {"P": "8001/tcp"})
    after = AppState("started", files("x: 2\n", SECRET="purple-monkey", SAME="battery-staple"), {"P": "8002/tcp"})
    shown = app_diff.diffs("blog", before, after, ["web"], "/etc/serverkit/templates/web.yaml")
    text = repr(shown)
    assert [diff.header for diff in shown] == ["app blog", "blog/docker-compose.yml", "blog/.env"]
    assert "SECRET=<redacted sha256:" in text
    for secret in ("correct-horse", "purple-monkey", "battery-staple"):
        assert secret not in text
    assert "port P: 8001/tcp" in shown[0].before
    assert "port P: 8002/tcp" in shown[0].after


def test_a_diff_is_never_empty_when_something_differs() -> None:
    before = AppState("started", files("x: 1\n"))
    described = {**before.files, ".release.json": RenderedFile(app.describe(release(version="2.0")))}
    shown = app_diff.diffs("blog", before, dataclasses.replace(before, files=described), [], "")
    assert "template: web 2.0" in shown[0].after
    healthier = {**before.files, ".release.json": RenderedFile(app.describe(release(probe="tcp")))}
    assert app_diff.diffs("blog", before, dataclasses.replace(before, files=healthier), [], "")
    recorded = dataclasses.replace(before, recorded="abc")
    assert app_diff.diffs("blog", before, recorded, [], "")


def test_a_wrong_mode_is_shown() -> None:
    before = AppState("started", {".env": RenderedFile("A=1\n", 0o644)})
    after = AppState("started", {".env": RenderedFile("A=1\n", 0o600)})
    shown = app_diff.diffs("blog", before, after, [], "")
    assert "mode 0644 instead of 0600" in shown[0].before
