# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_app on a real host: what it brings about, what it leaves alone, what it goes back to."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import (
    IMAGE,
    WEB,
    AppHost,
    definitions,
    ids,
    only,
    wait_for,
    web,
)

pytestmark = [pytest.mark.real, pytest.mark.testbed]


def test_a_deploy_serves_and_a_second_one_changes_nothing(host: AppHost) -> None:
    first = only(host.call(web()))
    assert (first["changed"], first["state"], first["ports"]) == (True, "started", {"HTTP_PORT": 8001})
    assert host.get(8001) == "hello"
    assert first["recreated"] == ["app", "migrate", "worker"]
    assert host.sh("stat -c %a /var/serverkit/apps/blog/.env") == "600"
    assert "SECRET: ${SECRET}" in host.sh("cat /var/serverkit/apps/blog/docker-compose.yml")
    before = host.snapshot(locks=False)
    host.sh("mkdir -p /srv/foreign && mv /usr/libexec/docker/cli-plugins /srv/foreign/plugins")  # no Compose at all
    try:
        second = only(host.call(web()))
    finally:
        host.sh("mv /srv/foreign/plugins /usr/libexec/docker/cli-plugins")
    assert second["changed"] is False
    assert host.snapshot(locks=False) == before


def test_check_mode_shows_the_deploy_and_writes_nothing(host: AppHost) -> None:
    before = host.snapshot()
    planned = host.call(web(), check=True)
    assert only(planned)["ports"] == {"HTTP_PORT": 8001}
    assert host.snapshot() == before
    headers = [diff["after_header"] for diff in planned["diff"]]
    assert headers == ["app blog", "blog/docker-compose.yml", "blog/.env", "/etc/serverkit/templates/web.yaml"]
    only(host.call(web()))
    before = host.snapshot()
    planned = host.call(web(variables={"LEVEL": 2}), check=True)
    assert (only(planned)["changed"], only(planned)["recreated"]) == (True, ["worker"])
    assert "service worker: up (container made anew)" in planned["diff"][0]["after"]
    assert host.snapshot() == before


def test_a_variable_recreates_just_the_containers_that_it_concerns(host: AppHost) -> None:
    only(host.call(web()))
    before = ids(host)
    assert only(host.call(web(variables={"LEVEL": 2})))["recreated"] == ["worker"]
    after = ids(host)
    assert {name for name in before if before[name] != after[name]} == {"worker"}
    assert only(host.call(web(variables={"LEVEL": 2}, secrets={"SECRET": "hunter2-hunter2"})))["recreated"] == ["app"]
    assert ids(host)["worker"] == after["worker"]


@pytest.mark.parametrize(("greeting", "reason"), [("crash", "restart"), ("hang", "does not answer")])
def test_a_failing_update_restores_the_previous_release(host: AppHost, greeting: str, reason: str) -> None:
    only(host.call(web()))
    files = host.sh("cd /var/serverkit/apps/blog && sha256sum docker-compose.yml .env")
    secret = host.sh("sed -n 's/^SECRET=//p' /var/serverkit/apps/blog/.env")
    result = host.call(web(variables={"GREETING": greeting, "HTTP_PORT": 8010}, health_timeout=4))
    assert result["failed"]
    assert reason in result["msg"]
    assert "serves again" in result["msg"]
    assert "starting with" in result["msg"]
    assert secret not in json.dumps(result)
    assert host.get(8001) == "hello"
    assert host.sh("cd /var/serverkit/apps/blog && sha256sum docker-compose.yml .env") == files
    assert host.leases() == [(8001, "blog", "HTTP_PORT")]
    assert only(host.call(web()))["changed"] is False


def test_a_first_deploy_that_fails_keeps_what_the_next_attempt_needs(host: AppHost) -> None:
    result = host.call(web(variables={"GREETING": "crash"}, health_timeout=3))
    assert "containers were taken down" in result["msg"]
    assert host.sh("docker ps -aq") == ""
    assert host.sh("docker volume ls -q") == "blog_data"
    assert host.leases() == [(8001, "blog", "HTTP_PORT")]
    secret = host.sh("cat /var/serverkit/apps/blog/.env")
    only(host.call(web()))
    assert host.sh("cat /var/serverkit/apps/blog/.env") == secret


def test_a_compose_file_that_compose_refuses_touches_nothing(host: AppHost) -> None:
    only(host.call(web()))
    before = host.snapshot(locks=False)
    broken = copy.deepcopy(WEB)
    broken["compose"]["services"]["app"]["mem_limit"] = "a lot"
    result = host.call({"name": "blog", "template": "web", "definitions": definitions(broken)})
    assert result["failed"]
    assert "No container was touched" in result["msg"]
    after = host.snapshot(locks=False)
    assert _without_registry(after) == _without_registry(before)
    assert only(host.call(web()))["changed"] is False


def _without_registry(snapshot: str) -> list[str]:
    """Leave out the registry, and the times of directories and of the template's copy, which was written twice."""
    written_again = re.compile(" 755 root | 644 root .* [0-9]+$|serverkit.db")
    return [line for line in snapshot.splitlines() if not written_again.search(line)]


def test_stopped_started_and_restarted(host: AppHost) -> None:
    only(host.call(web()))
    before = ids(host)
    stopped = only(host.call(web(state="stopped")))
    assert (stopped["changed"], stopped["state"]) == (True, "stopped")
    assert host.sh("docker ps -q") == ""
    assert ids(host) == before
    assert only(host.call(web(state="stopped")))["changed"] is False
    assert only(host.call({"name": "blog", "state": "started"}))["changed"] is True
    assert host.get(8001) == "hello"
    started = host.sh(f"docker inspect -f '{{{{.State.StartedAt}}}}' {before['app']}")
    again = only(host.call({"name": "blog", "state": "restarted"}))
    assert (again["changed"], again["recreated"]) == (True, [])
    assert ids(host) == before
    assert host.sh(f"docker inspect -f '{{{{.State.StartedAt}}}}' {before['app']}") != started
    assert only(host.call(web()))["changed"] is False


def test_a_stopped_update_can_still_go_back_when_it_is_started(host: AppHost) -> None:
    only(host.call(web()))
    crash = {"GREETING": "crash"}
    only(host.call(web(state="stopped", variables=crash)))
    assert only(host.call(web(state="stopped", variables=crash)))["changed"] is False
    result = host.call(web(variables=crash, health_timeout=3))
    assert "is in place again, stopped as it was" in result["msg"]
    assert host.sh("docker ps -q") == ""
    assert only(host.call(web()))["changed"] is True
    assert host.get(8001) == "hello"


def test_absent_keeps_data_and_purge_does_not(host: AppHost) -> None:
    only(host.call(web()))
    secret = host.sh("cat /var/serverkit/apps/blog/.env")
    gone = only(host.call({"name": "blog", "state": "absent"}))
    assert (gone["changed"], gone["volumes"]) == (True, ["blog_data"])
    assert host.sh("docker ps -aq") == ""
    assert host.sh("docker network ls -q --filter label=com.docker.compose.project") == ""
    assert host.leases() == []
    assert host.sh("ls -A /var/serverkit/apps/blog") == ".env"
    assert only(host.call({"name": "blog", "state": "absent"}))["changed"] is False
    only(host.call(web()))
    assert host.sh("cat /var/serverkit/apps/blog/.env") == secret
    purge = {"name": "blog", "state": "absent", "purge": True, "skip_backup": True}
    assert only(host.call(purge))["changed"] is True
    assert host.sh("docker volume ls -q; ls -A /var/serverkit/apps") == ""
    assert only(host.call(purge))["changed"] is False


def test_hooks_run_when_the_release_changes_and_can_refuse_it(host: AppHost) -> None:
    hooked = copy.deepcopy(WEB)
    say = [
        {"service": "worker", "command": ["sh", "-c", "echo $0 >> /data/said; [ $0 != no ]", event]} for event in "ab"
    ]
    hooked["hooks"] = {"pre_deploy": say[:1], "post_deploy": say[1:]}
    task = {"name": "blog", "template": "web", "definitions": definitions(hooked)}
    said = "docker exec blog-worker-1 cat /data/said"
    only(host.call(task))
    assert host.sh(said) == "b"
    assert only(host.call(task))["changed"] is False
    only(host.call({**task, "variables": {"GREETING": "hi"}}))
    assert host.sh(said) == "b\na\nb"
    hooked["hooks"]["post_deploy"][0]["command"][-1] = "no"
    refused = host.call({**task, "definitions": definitions(hooked), "variables": {"GREETING": "hello"}})
    assert "hook" in refused["msg"]
    assert "serves again" in refused["msg"]
    assert only(host.call({**task, "variables": {"GREETING": "hi"}}))["recreated"] == []


def test_drift_is_seen_and_repaired(host: AppHost) -> None:
    only(host.call(web()))
    host.sh("docker stop -t 0 blog-app-1; chmod 644 /var/serverkit/apps/blog/.env")
    planned = host.call(web(), check=True)
    assert "service app: has exited" in planned["diff"][0]["before"]
    assert "mode 0644 instead of 0600" in planned["diff"][1]["before"]
    only(host.call(web()))
    assert host.get(8001) == "hello"
    host.sh("docker rm -f blog-worker-1")
    assert only(host.call(web()))["recreated"] == ["worker"]
    host.sh("docker pause blog-worker-1")
    assert only(host.call(web()))["changed"] is True
    host.sh("echo '# mine' >> /var/serverkit/apps/blog/docker-compose.yml")
    assert only(host.call(web()))["changed"] is True
    host.sh("rm /var/serverkit/serverkit.db")
    assert only(host.call(web()))["recreated"] == []
    assert host.leases() == [(8001, "blog", "HTTP_PORT")]
    assert only(host.call(web()))["changed"] is False


def test_others_are_not_touched(host: AppHost) -> None:
    host.sh(
        "mkdir -p /srv/foreign; cd /srv/foreign; printf 'services: {app: {image: %s, command: [sleep, \"900\"]}}'"
        f" {IMAGE} > compose.yml; docker compose -p blog up -d 2>&1; docker run -d --name shop-app-1 {IMAGE} sleep 900"
    )
    before = host.snapshot(locks=False)
    result = host.call(web())
    assert "another Compose project of that name runs from /srv/foreign (blog-app-1)" in result["msg"]
    assert "Compose project" in host.call({"name": "blog", "state": "absent"})["msg"]
    assert "shop-app-1" in host.call(web("shop"))["msg"]
    assert host.snapshot(locks=False) == before


def test_somebody_elses_volume_is_not_adopted(host: AppHost) -> None:
    host.sh("docker volume create --label com.docker.compose.project=blog blog_data")
    result = host.call(web())
    assert "blog_data" in result["msg"]
    assert host.sh("docker ps -aq") == ""


def test_somebody_on_the_apps_port_is_named(host: AppHost) -> None:
    only(host.call(web()))
    host.sh("docker stop -t 0 blog-app-1")
    host.sh("nohup python3 -m http.server 8001 --bind 127.0.0.1 >/dev/null 2>&1 & echo $! > /tmp/squatter")
    try:
        assert wait_for(lambda: host.get(8001))
        result = host.call(web())
        assert "8001" in result["msg"]
        assert "python3" in result["msg"]
    finally:
        host.sh("kill $(cat /tmp/squatter)")
    taken = host.call(web("other", variables={"HTTP_PORT": 8001}))
    assert "blog" in taken["msg"]
    assert host.sh("ls /var/serverkit/apps") == "blog"


BAD_INPUT = [
    ({"name": "../x"}, "1 to 63 characters"),
    ({"name": "a b"}, "1 to 63 characters"),
    ({"name": ""}, "1 to 63 characters"),
    ({"name": "a" * 300}, "1 to 63 characters"),
    ({"name": "blog\n"}, "1 to 63 characters"),
    ({"name": "serverkit"}, "reserved"),
    ({"template": "unknown"}, "unknown"),
    ({"template": ""}, "Name the template"),
    ({"variables": {"NOPE": "x"}}, "NOPE"),
    ({"variables": {"GREETING": None}}, "nothing"),
    ({"variables": {"GREETING": ["x"]}}, "a list"),
    ({"variables": {"HTTP_PORT": 0}}, "HTTP_PORT"),
    ({"variables": {"HTTP_PORT": 70000}}, "HTTP_PORT"),
    ({"variables": {"HTTP_PORT": "abc"}}, "HTTP_PORT"),
    ({"variables": {"SECRET": "x"}, "secrets": {"SECRET": "x"}}, "in variables and in secrets"),
    ({"purge": True}, "state: absent"),
    ({"health_timeout": 0}, "health_timeout"),
    ({"remote_src": True}, "/etc/serverkit/templates/web.yaml"),
    ({"template": "../x", "remote_src": True}, "id"),
]


def test_bad_input_is_named_and_nothing_is_written_or_started(host: AppHost) -> None:
    before = host.snapshot(locks=False)
    for options, expected in BAD_INPUT:
        result = host.call({**web(), **({"variables": {}} if "template" in options else {}), **options})
        assert result.get("failed"), options
        assert expected in result["msg"], (options, result["msg"])
    assert host.snapshot(locks=False) == before


def test_what_the_host_lacks_is_named(host: AppHost) -> None:
    def failing(prepare: str, restore: str, **options: Any) -> str:
        host.sh(prepare)
        try:
            result = host.call(web(**options))
        finally:
            host.sh(restore)
        assert result.get("failed"), result
        message: str = result["msg"]
        return message

    plugins = "/usr/libexec/docker/cli-plugins"
    no_compose = failing(f"mv {plugins} {plugins}.away", f"mv {plugins}.away {plugins}")
    assert "Docker Compose v2 is not installed" in no_compose
    no_docker = failing("mv /usr/bin/docker /usr/bin/docker.away", "mv /usr/bin/docker.away /usr/bin/docker")
    assert "Docker is not installed" in no_docker
    stop, start = "systemctl stop docker.socket docker.service", "systemctl start docker.socket docker.service"
    assert "systemctl start docker" in failing(stop, start)
    assert host.sh("ls /var/serverkit /etc/serverkit 2>/dev/null; docker ps -aq", fails=True) == ""
    read_only = failing("mkdir -p /var/serverkit && mount -t tmpfs -o ro none /var/serverkit", "umount /var/serverkit")
    assert "ead-only" in read_only
    full = (
        "mkdir -p /var/serverkit/apps && mount -t tmpfs -o size=8k none /var/serverkit/apps && head -c 9000 /dev/zero"
    )
    message = failing(f"{full} > /var/serverkit/apps/ballast || true", "umount /var/serverkit/apps")
    assert "No space left" in message
    assert "No container was touched" in message
    assert host.leases() == []
    assert host.sh("docker ps -aq; ls -A /var/serverkit/apps; ls -A /etc/serverkit/templates") == ""


def test_check_mode_without_docker_and_pyyaml_plans_as_if_empty(host: AppHost) -> None:
    hide = "mv /usr/bin/docker /usr/bin/docker.away; mv /usr/lib/python3/dist-packages/yaml /usr/lib/python3/yaml.away"
    show = "mv /usr/bin/docker.away /usr/bin/docker; mv /usr/lib/python3/yaml.away /usr/lib/python3/dist-packages/yaml"
    host.sh(hide)
    try:
        planned = host.call(web(), check=True)
        only(planned)
        assert planned["diff"][1]["after_header"] == "blog/docker-compose.yml (json)"
        assert json.loads(planned["diff"][1]["after"])["name"] == "blog"
        assert only(host.call({"name": "blog", "state": "absent"}))["changed"] is False
    finally:
        host.sh(show)


def test_a_list_of_apps_is_independent_and_cheap(host: AppHost) -> None:
    apps = [{"name": f"app{number}", "template": "web", "variables": {"LEVEL": number}} for number in range(3)]
    bad = {"name": "bad", "template": "web", "variables": {"GREETING": "crash"}, "health_timeout": 3}
    task = {"apps": [*apps, bad], "definitions": definitions(WEB)}
    result = host.call(task)
    assert result["failed"]
    assert [item.get("failed", False) for item in result["results"]] == [False, False, False, True]
    assert [host.get(item["main_port"]) for item in result["results"][:3]] == ["hello"] * 3
    assert host.call({**task, "apps": apps})["changed"] is False


def test_twenty_deploys_at_once_all_converge(host: AppHost) -> None:
    light = copy.deepcopy(WEB)
    del light["compose"]["services"]["worker"], light["compose"]["services"]["migrate"], light["compose"]["volumes"]
    task = {"template": "web", "definitions": definitions(light), "health_timeout": 300}
    running = [host.start({**task, "name": f"app{number}"}) for number in range(20)]
    outputs = [process.communicate()[0] for process in running]
    items = [only(json.loads(output)) for output in outputs]
    assert len({item["main_port"] for item in items}) == 20
    assert [host.get(item["main_port"]) for item in items] == ["hello"] * 20
    apps = [{"name": f"app{number}", "template": "web"} for number in range(20)]
    assert host.call({"apps": apps, "definitions": definitions(light)})["changed"] is False
