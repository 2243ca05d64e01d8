# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_db_link on a real host: MariaDB, PostgreSQL and Redis beside Docker, and apps in containers."""

from __future__ import annotations

import shlex
import string
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import definitions, ids, only
from ansible_collections.serverkit.core.tests.integration.link_host import (
    ENGINES,
    PICKY,
    REDIS_ADMIN,
    SHARED,
    LinkHost,
    one,
    shop,
)

pytestmark = [pytest.mark.real, pytest.mark.testbed]
HOST = LinkHost

DIFFICULT = string.punctuation + " äß€😀 '\"$$HOME%41\\"
PREFIX = {"mariadb": "DB", "postgresql": "DB", "redis": "REDIS"}
URL = {"mariadb": "DATABASE_URL", "postgresql": "DATABASE_URL", "redis": "REDIS_URL"}


def link(engine: str = "mariadb", app: str = "shop", **options: Any) -> dict[str, Any]:
    return {"app": app, "engine": engine, **options}


def asked_by_container(host: LinkHost, engine: str, app: str = "shop", service: str = "web") -> str:
    """Ask a server with what a container was told, from the container's network, by the engine's own client."""
    told = host.environment(app, service)
    prefix = PREFIX[engine]
    process = host.sh(f"docker inspect -f '{{{{.State.Pid}}}}' {app}-{service}-1")
    address = host.sh(f"awk '$2 == \"{told[prefix + '_HOST']}\" {{print $1}}' /proc/{process}/root/etc/hosts")
    port, user, secret = (told[f"{prefix}_{part}"] for part in ("PORT", "USER", "PASSWORD"))
    name = told.get("DB_NAME")
    commands = {
        "mariadb": f"mariadb --skip-ssl -h {address} -P {port} -u {user} -NBe 'SELECT DATABASE()' {name}",
        "postgresql": f"psql -h {address} -p {port} -U {user} -XAtc 'SELECT current_database()' {name}",
        "redis": f"redis-cli -h {address} -p {port} --user {user} get {told.get('REDIS_PREFIX')}key",
    }
    variable = {"mariadb": "MYSQL_PWD", "postgresql": "PGPASSWORD", "redis": "REDISCLI_AUTH"}[engine]
    # The client is this host's, in the container's network.
    return host.sh(f"nsenter -t {process} -n env {variable}={shlex.quote(secret)} {commands[engine]} 2>&1", fails=True)


ANSWER = {"mariadb": "shop", "postgresql": "shop", "redis": ""}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_link_made_before_the_first_deploy_is_found_by_it(host: LinkHost, engine: str) -> None:
    before = host.snapshot()
    planned = one(host.link(link(engine), check=True))
    assert planned["changed"] is True
    assert host.snapshot() == before
    made = one(host.link(link(engine)))
    assert made["proven"] == "host"
    assert made["services"] == []
    only(host.call(shop()))
    assert asked_by_container(host, engine) == ANSWER[engine]
    again = one(host.link(link(engine)))
    assert (again["changed"], again["services"]) == (False, ["web", "worker"])
    assert only(host.call(shop()))["changed"] is False


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_services_that_are_named_are_made_anew(host: LinkHost, engine: str) -> None:
    only(host.call(shop()))
    before = ids(host, "shop")
    made = one(host.link(link(engine, services=["web"])))
    assert (made["recreated"], made["proven"]) == (["web"], "container shop-web-1")
    after = ids(host, "shop")
    assert after["worker"] == before["worker"]
    assert after["web"] != before["web"]
    assert asked_by_container(host, engine) == ANSWER[engine]
    assert f"{PREFIX[engine]}_HOST" not in host.environment(service="worker")
    assert one(host.link(link(engine, services=["web"])))["changed"] is False
    assert only(host.call(shop()))["changed"] is False
    assert ids(host, "shop") == after


@pytest.mark.parametrize("engine", ENGINES)
def test_a_password_may_hold_any_printable_character(host: LinkHost, engine: str) -> None:
    only(host.call(shop()))
    made = one(host.link(link(engine, password=DIFFICULT)))
    assert made["proven"] == "container shop-web-1"
    assert host.environment()[f"{PREFIX[engine]}_PASSWORD"] == DIFFICULT
    assert asked_by_container(host, engine) == ANSWER[engine]
    assert one(host.link(link(engine, password=DIFFICULT)))["changed"] is False


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lost_env_and_a_changed_password_are_repaired(host: LinkHost, engine: str) -> None:
    only(host.call(shop()))
    one(host.link(link(engine)))
    host.sh("sed -i /SERVERKIT_LINK_/d /var/serverkit/apps/shop/.env")
    assert one(host.link(link(engine)))["changed"] is True
    assert asked_by_container(host, engine) == ANSWER[engine]
    change = {
        # From one of the networks only, which is enough.
        "mariadb": "SET PASSWORD FOR shop@'192.168.0.0/255.255.0.0' = PASSWORD('behind its back')",
        "postgresql": "ALTER ROLE shop PASSWORD 'behind its back'",
        "redis": "ACL SETUSER shop resetpass >behind-its-back",
    }
    host.sql(engine, change[engine])
    before = host.secrets()
    assert one(host.link(link(engine)))["changed"] is True
    assert host.secrets() == before
    assert asked_by_container(host, engine) == ANSWER[engine]
    assert one(host.link(link(engine)))["changed"] is False


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unlinked_app_finds_its_data_when_it_comes_back(host: LinkHost, engine: str) -> None:
    only(host.call(shop()))
    one(host.link(link(engine)))
    if engine != "redis":
        host.sql(engine, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42);", "shop")
    told = host.environment()
    gone = one(host.link({"app": "shop", "name": engine, "state": "absent"}))
    assert (gone["changed"], gone["state"]) == (True, "absent")
    assert f"{PREFIX[engine]}_HOST" not in host.environment()
    assert host.secrets() == {}
    assert told[f"{PREFIX[engine]}_PASSWORD"] not in host.sh("cat /var/serverkit/apps/shop/.env")
    assert one(host.link(link(engine, state="absent")))["changed"] is False
    refused = host.link(link(engine, app="other", database="shop", user="other"))
    assert "belongs to the app shop" in refused["msg"]
    one(host.link(link(engine)))
    assert asked_by_container(host, engine) == ANSWER[engine]
    if engine != "redis":
        assert host.sql(engine, "SELECT n FROM kept;", "shop") == "42"
    dropped = one(host.link(link(engine, state="absent", drop=True, skip_backup=True)))
    assert dropped["changed"] is True
    assert one(host.link(link(engine, state="absent", drop=True, skip_backup=True)))["changed"] is False
    one(host.link(link(engine, app="other", database="shop", user="other")))


def test_several_links_of_an_app_are_told_at_once(host: LinkHost) -> None:
    only(host.call(shop()))
    wanted = [
        link("mariadb"),
        link("redis"),
        link("postgresql", name="reports", env_prefix="REPORTS"),
        link("mariadb", name="audit", database="shop", user="shop_audit", privileges="readonly", env_prefix="AUDIT"),
    ]
    result = host.link(*wanted)
    assert not result.get("failed"), result
    told = host.environment()
    assert {"DB_URL", "DATABASE_URL", "REDIS_URL", "REPORTS_DATABASE_URL", "AUDIT_DB_USER"} - set(told) == {"DB_URL"}
    assert told["REPORTS_DB_NAME"] == "shop_reports"
    assert told["AUDIT_DB_NAME"] == "shop"
    # One new container, however many links.
    assert host.sh("docker ps -a --filter name=shop-web --format '{{.Names}}'") == "shop-web-1"
    assert host.link(*wanted)["changed"] is False
    clash = host.link(link("postgresql"))
    assert "is what the link mariadb of the app gives its containers" in clash["msg"]


def test_one_failing_link_does_not_stop_the_others(host: LinkHost) -> None:
    result = host.link(link("mariadb", app="one"), link("postgresql", app="two", server={"port": 1}), link("redis"))
    assert result["failed"]
    assert [item.get("failed", False) for item in result["results"]] == [False, True, False]
    assert result["results"][1]["name"] == "two/postgresql"


def test_an_app_that_does_not_get_healthy_keeps_what_it_had(host: LinkHost) -> None:
    only(host.call(shop(PICKY)))
    before, files = ids(host, "shop"), host.sh("cat /var/serverkit/apps/shop/docker-compose.yml")
    result = host.link(link("mariadb"))
    assert result["failed"]
    assert "has exited with code 3" in result["msg"] or "restarting" in result["msg"]
    assert host.get(8001) == "hello"
    assert host.secrets() == {}
    assert host.sh("cat /var/serverkit/apps/shop/docker-compose.yml") == files
    assert host.sql("mariadb", "SELECT COUNT(*) FROM mysql.global_priv WHERE user = 'shop'") == "0"
    assert host.sql("mariadb", "SHOW DATABASES LIKE 'shop'") == ""
    assert set(before) == set(ids(host, "shop"))
    assert only(host.call(shop(PICKY)))["changed"] is False


def test_a_container_of_one_app_cannot_use_anothers_database(host: LinkHost) -> None:
    for engine in ENGINES:
        one(host.link(link(engine)))
        one(host.link(link(engine, app="other")))
        only(host.call(shop()))
        only(host.call(shop(name="other", variables={"HTTP_PORT": 8002})))
        rival = host.environment("other")
        prefix = PREFIX[engine]
        process = host.sh("docker inspect -f '{{.State.Pid}}' other-web-1")
        user, secret = rival[f"{prefix}_USER"], shlex.quote(rival[f"{prefix}_PASSWORD"])
        commands = {
            "mariadb": f"MYSQL_PWD={secret} mariadb --skip-ssl -h {host.bridge} -u {user} -e 'SELECT 1' shop",
            "postgresql": f"PGPASSWORD={secret} psql -h {host.bridge} -U {user} -c 'SELECT 1' shop",
            "redis": f"REDISCLI_AUTH={secret} redis-cli -h {host.bridge} --user {user} get shop:key",
        }
        said = host.sh(f"nsenter -t {process} -n env {commands[engine]} 2>&1", fails=True)
        assert "denied" in said or "NOPERM" in said, said
        host.link(link(engine, state="absent", app="other"), link(engine, state="absent"))


def test_a_server_in_another_apps_container_is_reached_by_its_network(host: LinkHost) -> None:
    server = {"app": "shared", "service": "cache", "user": "default", "password": REDIS_ADMIN}
    only(host.call(shop()))
    assert "no container of it runs" in host.link(link("redis", server=server))["msg"]
    only(host.call({"name": "shared", "template": "shared", "definitions": definitions(SHARED)}))
    made = one(host.link(link("redis", server=server, services=["web"])))
    assert (made["host"], made["recreated"], made["proven"]) == ("shared-cache-1", ["web"], "container shop-web-1")
    assert "shared_default" in host.sh("docker inspect -f '{{json .NetworkSettings.Networks}}' shop-web-1")
    # By the name that the container was told, and nothing else.
    script = 'import socket; socket.create_connection(("shared-cache-1", 6379), 5)'
    host.sh(f"docker exec shop-web-1 python3 -c '{script}'")
    assert one(host.link(link("redis", server=server, services=["web"])))["changed"] is False
    one(host.link(link("redis", server=server, state="absent")))
    assert "shared_default" not in host.sh("docker inspect -f '{{json .NetworkSettings.Networks}}' shop-web-1")
