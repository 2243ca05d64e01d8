# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import subprocess
import sys
from dataclasses import replace

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_removal, apps
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    DatabaseLink,
    DomainRecord,
    PrivateUrl,
)
from ansible_collections.serverkit.core.tests.unit.runner.apps_host import FakeHost, planned, refusal


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit.db"))
    monkeypatch.setattr(app_files, "TEMPLATES", str(tmp_path / "templates"))
    return FakeHost(tmp_path)


def test_what_few_runs_need_is_not_read_by_all() -> None:
    """Ansible ships modules as source in an archive, which Python compiles anew in each run."""
    name = apps.__name__
    tree = pathlib.Path(apps.__file__).parents[name.count(".")]
    read = f"import sys; sys.path.insert(0, {str(tree)!r}); import {name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True, text=True)
    loaded = {module.rpartition(".")[2] for module in done.stdout.split() if ".module_utils." in module}
    assert "app_present" in loaded
    assert not loaded & {
        "app_removal",
        "final_backups",
        "backup_sets",
        "backup_taking",
        "domain",
        "site_options",
        "tls",
    }


def test_a_hundred_unchanged_apps_cost_one_process(host: FakeHost) -> None:
    wanted = [AppRequest(f"app{number}", "web") for number in range(100)]
    first = [planned(plan) for plan in host.plan(*wanted)]
    assert len({plan.facts["main_port"] for plan in first}) == 100
    for plan in first:
        host.make_so(plan)
    host.commands.calls.clear()
    host.hidden.clear()
    second = [planned(plan) for plan in host.plan(*wanted)]
    assert [plan.name for plan in second if plan.changed] == []
    assert [argv[1] for argv in host.commands.argvs] == ["ps"]
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


def test_a_private_url_below_a_domain_is_called_by_its_name(host: FakeHost) -> None:
    host.make_so(planned(host.plan(AppRequest("blog", "web"))[0]))
    gone = AppRequest("blog", state="absent")
    for options, name in (({}, "/p/s3cr3t/"), ({"domain": "private.example"}, "s3cr3t.private.example")):
        with open_registry(Settings(), read_only=False) as registry, registry.transaction():
            registry.replace_private_urls("blog", [PrivateUrl("s3cr3t", "blog", options)])
        assert f"serves it as {name}," in str(refusal(host.plan(gone, check=False)[0]))


def test_the_database_server_of_other_apps_is_not_removed(host: FakeHost) -> None:
    for name in ("blog", "shared"):
        host.make_so(planned(host.plan(AppRequest(name, "web"))[0]))
    server = "redis:///shared/web:6379"
    linked = DatabaseLink("blog", "cache", "redis", server, "blog", "blog", "owner", "shared-web-1", 6379)
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.put_link(linked)
    gone, purged = AppRequest("shared", state="absent"), AppRequest("shared", state="absent", purge=True)
    error = refusal(host.plan(gone, check=False)[0])
    assert "the links blog/cache of other apps" in str(error)
    assert "blog/cache" in planned(host.plan(gone)[0]).warnings[0]
    # With the app that uses it, it may go; with its data only when the app's data goes as well.
    blog = AppRequest("blog", state="absent")
    assert planned(host.plan(gone, blog, check=False)[0]).changed
    assert "blog/cache" in str(refusal(host.plan(purged, blog, check=False)[0]))
    assert planned(host.plan(purged, replace(blog, purge=True), check=False)[0]).changed
    # Its own links and those of other servers do not count, nor do those whose data alone is left.
    assert planned(host.plan(blog, check=False)[0]).changed
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.put_link(replace(linked, options={"state": "unlinked"}))
    assert planned(host.plan(gone, check=False)[0]).changed
    assert "drop: true" in str(refusal(host.plan(purged, check=False)[0]))


def test_an_app_is_removed_before_its_database_server(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    class Removed:
        def __init__(self, _tools: object, plan: AppPlan, _lock: int) -> None:
            self.name = plan.name

        def begin(self) -> None:
            begun.append(self.name)

        def finish(self) -> Success:
            return Success(self.name, True)

    monkeypatch.setattr(app_removal, "Removal", Removed)
    monkeypatch.setattr(compose, "require", lambda commands: None)
    for name in ("shared", "blog"):
        host.make_so(planned(host.plan(AppRequest(name, "web"))[0]))
    linked = DatabaseLink("blog", "cache", "redis", "redis:///shared/web:6379", "b", "b", "owner", "shared-web-1", 6379)
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        registry.put_link(linked)
    wanted = [AppRequest(name, state="absent", purge=True) for name in ("shared", "blog")]
    plans = [planned(plan) for plan in host.plan(*wanted, check=False)]
    machine = Host(host.commands, Settings(), False, host.hidden.add)
    locks = {"app-shared": 1, "app-blog": 2}
    outcomes = apps.converge(machine, Docker(host.commands), PortBroker(machine), plans, locks)
    assert begun == ["blog", "shared"]
    assert [outcome.name for outcome in outcomes] == ["shared", "blog"]


def test_a_volume_of_a_stranger_is_not_taken_over(host: FakeHost) -> None:
    host.volumes.append({"name": "blog_db", "project": "blog"})
    assert "blog_db" in str(refusal(host.plan(AppRequest("blog", "web"))[0]))
    (host.root / "apps/blog").mkdir(parents=True)
    assert planned(host.plan(AppRequest("blog", "web"))[0]).changed


def test_a_host_without_docker_is_planned_as_if_empty_in_check_mode_only(host: FakeHost) -> None:
    host.commands.missing.add("docker")
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
