# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linked databases in the releases of an app: who gets which variables, what is made anew, what is gone back to.

No database server takes part: what serverkit_db_link would ask for is asked for here, with links to nothing.
"""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import (
    IMAGE,
    WEB,
    AppHost,
    definitions,
    ids,
    only,
)

pytestmark = [pytest.mark.real, pytest.mark.testbed]

APP = "/var/serverkit/apps/blog"
FILES = f"cd {APP} && sha256sum docker-compose.yml compose.links.yml .env 2>/dev/null"
# The name of a linked database becomes the greeting, and one that is called crash ends the container.
LINKED: dict[str, Any] = copy.deepcopy(WEB)
LINKED["health"] = {"type": "http", "path": "/", "timeout": 15}
LINKED["database"] = {
    "engines": ["mysql"],
    "service": "app",
    "variables": {"name": "GREETING", "password": "SECRET", "url": "URL"},
    "replaces": ["own"],
}
LINKED["variables"].append({"name": "OWN_PASSWORD", "type": "password"})
LINKED["compose"]["services"]["app"]["depends_on"] = ["own"]
LINKED["compose"]["services"]["own"] = {
    "image": IMAGE,
    "init": True,
    "stop_grace_period": "1s",
    "command": ["sleep", "900"],
    "environment": {"PASSWORD": "${OWN_PASSWORD}"},
    "volumes": ["own:/own"],
}
LINKED["compose"]["volumes"]["own"] = {}

# Runs on the host, as serverkit_db_link would: registry first, then the app, and the registry again when that failed.
_LINK = r"""
import contextlib, json, os, signal, subprocess, sys
sys.path.insert(0, "/opt/serverkit-tests")
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import LinkedApps, LinkedRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink

class Commands:
    def find(self, program):
        return "/usr/bin/" + program

    def run(self, argv, *, stdin=None, cwd=None, environment=None, pass_fds=()):
        done = subprocess.run(list(argv), input=stdin, cwd=cwd, env={**os.environ, **(environment or {})},
                              pass_fds=pass_fds, capture_output=True, text=True)
        return Completed(done.returncode, done.stdout, done.stderr)

call = json.loads(sys.argv[1])
if call["kill"]:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, call["kill"])
links = tuple(DatabaseLink(**link) for link in call["links"])

def put(rows):
    with open_registry(Settings(), read_only=False) as registry, registry.transaction():
        for row in registry.links():
            registry.remove_link(row.app, row.name)
        for row in rows:
            registry.put_link(row)

with locks.held("app-blog") as lock:
    with open_registry(Settings(), read_only=False) as registry:
        before = registry.links()
    apps = LinkedApps(Host(Commands(), Settings(), False, lambda _secret: None))
    put(links)
    (plan,) = apps.plan([LinkedRequest("blog", links, call["secrets"])])
    outcome = plan if isinstance(plan, Failure) or not plan.changed else apps.apply([plan], {"app-blog": lock})[0]
    if isinstance(outcome, Failure):
        put(before)
        print(json.dumps({"failed": str(outcome.error), "rolled_back": outcome.rolled_back}))
    else:
        print(json.dumps({"changed": outcome.changed, **outcome.facts}))
"""


def link(
    host: AppHost, database: str = "", password: str = "purple-monkey", *, kill: float = 0.0, engine: str = "mariadb"
) -> dict[str, Any]:
    """Give the app one link to a database of that name, or none."""
    row = {
        "app": "blog",
        "name": "main",
        "engine": engine,
        "server": "mysql:///run/mysqld",
        "database": database,
        "user": "blog",
        "privileges": "owner",
        "host": "host.docker.internal",
        "port": 3306,
    }
    secrets = {f"SERVERKIT_LINK_MAIN_{part}": password for part in ("PASSWORD", "URL")}
    call = {
        "links": [row] if database else [],
        "secrets": {"SERVERKIT_LINK_MAIN_USER": "blog", **secrets} if database else {},
        "kill": kill,
    }
    done = host._exec(["python3", "-c", _LINK, json.dumps(call)])
    if kill and done.returncode:
        return {"killed": True}
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def app(**options: Any) -> dict[str, Any]:
    variables = {"HTTP_PORT": 8001, **options.pop("variables", {})}
    return {
        "name": "blog",
        "template": "web",
        "definitions": definitions(LINKED),
        "variables": variables,
        **options,
    }


def environment(host: AppHost, service: str) -> dict[str, str]:
    listed = json.loads(host.sh(f"docker inspect blog-{service}-1"))[0]["Config"]["Env"]
    return dict(entry.split("=", 1) for entry in listed)


AWKWARD = "a'b\"c$d#e f\\g`h%i{j}k;l&m ü€ ${HOME} $$x"


def test_a_link_before_the_first_deploy_and_an_awkward_password(host: AppHost) -> None:
    assert link(host, "first", AWKWARD)["deployed"] is False
    assert host.sh(f"ls -A {APP}; stat -c %a {APP}/.env") == ".env\n600"
    assert only(host.call(app()))["containers"][0]["service"] == "app"
    assert sorted(ids(host)) == ["app", "migrate", "worker"]
    assert host.get(8001) == "first"
    told = environment(host, "app")
    assert (told["SECRET"], told["URL"]) == (AWKWARD, AWKWARD)
    assert "SECRET" not in environment(host, "worker")
    assert "host.docker.internal" in host.sh("docker exec blog-app-1 cat /etc/hosts")
    # A person sees the same app, and changes nothing.
    assert host.sh(f"cd {APP} && docker compose up -d --dry-run 2>&1 | grep -ci recreat", fails=True) == "0"
    assert only(host.call(app()))["changed"] is False
    assert link(host, "first", AWKWARD)["changed"] is False


def test_a_link_of_an_app_that_runs_and_its_end(host: AppHost) -> None:
    only(host.call(app()))
    before, own = ids(host), environment(host, "own")["PASSWORD"]
    assert link(host, "second")["recreated"] == ["app"]
    assert host.get(8001) == "second"
    assert {name for name, identity in ids(host).items() if identity != before[name]} == {"app"}
    changed = only(host.call(app(databases=["mysql"])))
    assert "own" not in ids(host)
    assert changed["recreated"] == ["app"]
    assert link(host, "second", "another")["recreated"] == ["app"]
    assert environment(host, "app")["SECRET"] == "another"
    assert only(host.call(app(databases=["mysql"])))["changed"] is False
    only(host.call(app(databases=[])))
    assert host.get(8001) == "hello"
    assert environment(host, "own")["PASSWORD"] == own
    assert link(host)["recreated"] == []
    assert "LINK" not in host.sh(f"cat {APP}/.env")
    assert only(host.call(app()))["changed"] is False


def test_a_link_that_the_app_cannot_bear_is_taken_back(host: AppHost) -> None:
    link(host, "good")
    only(host.call(app()))
    files, before = host.sh(FILES), ids(host)
    failed = link(host, "crash", "other")
    assert "serves again" in failed["failed"]
    assert host.sh(FILES) == files
    assert host.get(8001) == "good"
    assert environment(host, "app")["SECRET"] == "purple-monkey"
    assert ids(host)["worker"] == before["worker"]
    assert only(host.call(app()))["changed"] is False
    assert link(host, "good")["changed"] is False


def test_an_update_that_fails_leaves_the_links_as_they_were(host: AppHost) -> None:
    link(host, "good")
    only(host.call(app()))
    files = host.sh(FILES)
    broken = copy.deepcopy(LINKED)
    broken["compose"]["services"]["worker"]["command"] = ["sh", "-c", "exit 3"]
    failed = host.call(app(definitions=definitions(broken)))
    assert "serves again" in failed["msg"]
    assert host.sh(FILES) == files
    assert only(host.call(app()))["changed"] is False


def test_stopped_apps_are_linked_without_being_started(host: AppHost) -> None:
    only(host.call(app()))
    only(host.call(app(state="stopped")))
    assert link(host, "third")["changed"] is True
    assert host.sh("docker ps -q") == ""
    assert link(host, "third")["changed"] is False
    only(host.call(app()))
    assert host.get(8001) == "third"


def test_an_app_that_was_removed_finds_its_link_again(host: AppHost) -> None:
    link(host, "kept")
    only(host.call(app()))
    only(host.call({"name": "blog", "state": "absent"}))
    assert host.sh(f"ls -A {APP}") == ".env"
    assert only(host.call({"name": "blog", "state": "absent"}))["changed"] is False
    only(host.call(app()))
    assert host.get(8001) == "kept"


def test_a_link_that_was_killed_is_finished_by_the_next_run(host: AppHost) -> None:
    only(host.call(app()))
    begin = time.monotonic()
    link(host, "measured")
    duration, kills = time.monotonic() - begin, 0
    while kills < 4:
        name = f"hello{random.randrange(10**9)}"
        if link(host, name, kill=random.uniform(0.3, duration)).get("killed"):
            kills += 1
        else:
            duration *= 0.8
        _finish(host, name, by_app=bool(kills % 2))


def _finish(host: AppHost, name: str, *, by_app: bool) -> None:
    """Finish what was killed, either by linking again or, first, by the app's own next run."""
    if by_app:
        only(host.call(app()))
    assert "failed" not in link(host, name)
    only(host.call(app()))
    assert host.get(8001) == name
    assert link(host, name)["changed"] is False
    assert only(host.call(app()))["changed"] is False
    assert host.sh(f"ls -A {APP}") == ".env\n.release.json\ncompose.links.yml\ndocker-compose.yml"
