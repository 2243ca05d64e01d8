# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_planning import AppPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.apps import Apps
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, DomainRecord, PortLease

TEMPLATE: dict[str, Any] = {
    "id": "web",
    "name": "Web",
    "version": "1.0",
    "description": "A page with a database",
    "main_service": "web",
    "post_install": "echo ${GREETING} with ${DB_PASSWORD}",
    "variables": [
        {"name": "HTTP_PORT", "type": "port"},
        {"name": "GREETING", "default": "hello"},
        {"name": "DB_PASSWORD", "type": "password"},
    ],
    "compose": {
        "services": {
            "web": {
                "image": "nginx",
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"GREETING": "${GREETING}", "PASSWORD": "${DB_PASSWORD}"},
                "restart": "unless-stopped",
            },
            "db": {"image": "mariadb", "environment": {"PASSWORD": "${DB_PASSWORD}"}, "volumes": ["db:/var/lib/mysql"]},
        },
        "volumes": {"db": {}},
    },
}
DEFINITIONS = json.dumps({"web": {"document": TEMPLATE, "text": "id: web\n", "source": "web.yaml"}})


class FakeHost:
    """A host with directories of its own and a Docker that shows the containers that it was told."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.lines: list[dict[str, str]] = []
        self.volumes: list[dict[str, str]] = []
        self.calls: list[list[str]] = []
        self.hidden: set[str] = set()
        self.programs = {"docker"}

    def find(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        self.calls.append(list(argv))
        shown = {"ps": self.lines, "volume": self.volumes}.get(argv[1], [])
        if argv[1:4] == ["ps", "-aq", "--no-trunc"]:
            return Completed(0, "", "")
        return Completed(0, "".join(f"{json.dumps(line)}\n" for line in shown), "")

    def plan(self, *wanted: AppRequest, check: bool = True) -> list[AppPlan | Failure]:
        host = Host(self, Settings(), check, self.hidden.add)
        return list(Apps(host, {"definitions": DEFINITIONS}, str(self.root / "apps")).plan(wanted))

    def make_so(self, plan: AppPlan) -> None:
        """Put the host into the state in which applying the plan leaves it."""
        assert plan.target is not None
        directory, release = plan.draft.directory, plan.target.release
        directory.write(plan.target.files)
        app_files.write_template("web", plan.after.template or "id: web\n")
        with open_registry(Settings(), read_only=False) as registry, registry.transaction():
            for name, port in plan.after.ports.items():
                registry.add_port(PortLease(int(port.split("/")[0]), "tcp", plan.name, name))
            registry.put_app(
                AppRecord(
                    name=plan.name,
                    template=release.template,
                    template_version=release.version,
                    state="started",
                    content_hash=decide.content_hash(plan.target.files),
                    config_hashes=dict.fromkeys(release.services, "1"),
                    main_port=8000,
                    confirmed=True,
                )
            )
        self.lines += [
            {
                "ID": f"{plan.name}{service}",
                "Names": f"{plan.name}-{service}-1",
                "State": "running",
                "Status": "Up 2 hours",
                "project": plan.name,
                "service": service,
                "directory": directory.path,
                "config_hash": "1",
                "one_off": "False",
            }
            for service in release.services
        ]


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    monkeypatch.setattr(app_files, "TEMPLATES", str(tmp_path / "templates"))
    return FakeHost(tmp_path)


def planned(outcome: AppPlan | Failure) -> AppPlan:
    assert isinstance(outcome, AppPlan), outcome.error
    return outcome


def refusal(outcome: AppPlan | Failure) -> ServerkitError:
    assert isinstance(outcome, Failure)
    return outcome.error


def test_a_hundred_unchanged_apps_cost_one_process(host: FakeHost) -> None:
    wanted = [AppRequest(f"app{number}", "web") for number in range(100)]
    first = [planned(plan) for plan in host.plan(*wanted)]
    assert len({plan.facts["main_port"] for plan in first}) == 100
    for plan in first:
        host.make_so(plan)
    host.calls.clear()
    host.hidden.clear()
    second = [planned(plan) for plan in host.plan(*wanted)]
    assert [plan.name for plan in second if plan.changed] == []
    assert [call[1] for call in host.calls] == ["ps"]
    assert not host.hidden  # masking thousands of values in the result would cost more than all the rest


def test_planning_writes_nothing_and_hides_what_it_generates(host: FakeHost) -> None:
    plan = planned(host.plan(AppRequest("blog", "web"))[0])
    assert plan.changed
    assert plan.target is not None
    assert list(host.root.iterdir()) == []
    (password,) = host.hidden
    assert password in plan.target.files[".env"].content
    assert password not in repr(plan.diffs)
    assert password not in plan.target.files["docker-compose.yml"].content


def test_shell_text_of_a_template_is_shown_without_its_secrets(host: FakeHost) -> None:
    plan = planned(host.plan(AppRequest("blog", "web"))[0])
    assert list(plan.facts["notes"].values()) == ["echo hello with ${DB_PASSWORD}"]


def test_generated_values_and_ports_stay(host: FakeHost) -> None:
    host.make_so(planned(host.plan(AppRequest("blog", "web"))[0]))
    plan = planned(host.plan(AppRequest("blog", "web", {"GREETING": "hi"}))[0])
    assert plan.target is not None
    assert plan.before.files[".env"] == plan.target.files[".env"]
    assert plan.before.ports == plan.after.ports
    assert plan.replaced == {"web"}
    assert plan.previous_in_place
    assert sorted(plan.previous) == [".env", ".release.json", "docker-compose.yml"]


def test_a_new_secret_replaces_every_container_that_uses_it(host: FakeHost) -> None:
    host.make_so(planned(host.plan(AppRequest("blog", "web"))[0]))
    plan = planned(host.plan(AppRequest("blog", "web", secrets={"DB_PASSWORD": "purple-monkey"}))[0])
    assert plan.replaced == {"db", "web"}
    assert "purple-monkey" in host.hidden
    assert "purple-monkey" not in repr(plan.diffs)


def test_the_release_of_a_killed_update_is_not_taken_for_a_good_one(host: FakeHost) -> None:
    first = planned(host.plan(AppRequest("blog", "web"))[0])
    host.make_so(first)
    first.draft.directory.keep_previous()
    update = planned(host.plan(AppRequest("blog", "web", {"GREETING": "hi"}))[0])
    assert update.target is not None
    update.draft.directory.write(update.target.files)  # and killed here, or after the next step
    for _instant in range(2):
        plan = planned(host.plan(AppRequest("blog", "web", {"GREETING": "hi"}))[0])
        assert plan.changed
        assert not plan.previous_in_place
        assert plan.previous == first.draft.directory.read_previous()
        with open_registry(Settings(), read_only=False) as registry, registry.transaction():
            record = registry.apps()["blog"]
            content_hash = decide.content_hash(update.target.files)
            registry.put_app(replace(record, content_hash=content_hash, confirmed=False))


def test_an_app_that_is_still_served_is_not_removed(host: FakeHost) -> None:
    host.make_so(planned(host.plan(AppRequest("blog", "web"))[0]))
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.replace_domains("blog", [DomainRecord("blog.example", "blog", "blog.example")])
    gone = AppRequest("blog", state="absent")
    assert "blog.example" in str(refusal(host.plan(gone, check=False)[0]))
    assert "blog.example" in planned(host.plan(gone)[0]).warnings[0]


def test_a_volume_of_a_stranger_is_not_taken_over(host: FakeHost) -> None:
    host.volumes.append({"name": "blog_db", "project": "blog"})
    assert "blog_db" in str(refusal(host.plan(AppRequest("blog", "web"))[0]))
    (host.root / "apps/blog").mkdir(parents=True)
    assert planned(host.plan(AppRequest("blog", "web"))[0]).changed


def test_a_host_without_docker_is_planned_as_if_empty_in_check_mode_only(host: FakeHost) -> None:
    host.programs.clear()
    assert planned(host.plan(AppRequest("blog", "web"))[0]).changed
    assert not planned(host.plan(AppRequest("blog", state="absent"), check=False)[0]).changed
    with pytest.raises(ServerkitError, match="Docker is not installed"):
        host.plan(AppRequest("blog", "web"), check=False)


def test_an_app_needs_a_template_or_a_release(host: FakeHost) -> None:
    assert "not deployed" in str(refusal(host.plan(AppRequest("blog", state="restarted"))[0]))
    assert "did not hand it over" in str(refusal(host.plan(AppRequest("blog", "other"))[0]))
    host.make_so(planned(host.plan(AppRequest("blog", "web"))[0]))
    restarted = planned(host.plan(AppRequest("blog", state="restarted"))[0])
    assert restarted.changed
    assert restarted.before == restarted.after
    assert not planned(host.plan(AppRequest("blog"))[0]).changed
