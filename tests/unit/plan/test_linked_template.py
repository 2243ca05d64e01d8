# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a template leaves out where a linked database takes the place of its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose import render
from ansible_collections.serverkit.core.plugins.module_utils._plan.linked_template import linked, with_link
from ansible_collections.serverkit.core.plugins.module_utils._plan.template_schema import parse
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import needs, resolve
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.template import DatabaseUse, Rendered, Template

LINK = DatabaseLink("shop", "main", "mariadb", "mysql:///run/x", "shop", "shop", "owner", "db.example", 3306)
OWN: dict[str, Any] = {
    "name": "Shop",
    "version": "1",
    "main_service": "web",
    "variables": [
        {"name": "HTTP_PORT", "type": "port"},
        {"name": "DB_PORT", "type": "port"},
        {"name": "DB_PASSWORD", "type": "password"},
        {"name": "ROOT_PASSWORD", "type": "password", "required": True},
        {"name": "KEY", "type": "password"},
        {"name": "TITLE", "default": "Shop"},
    ],
    "database": {
        "engines": ["mysql"],
        "service": "web",
        "variables": {"host": "SHOP_HOST", "password": "SHOP_PASSWORD"},
        "replaces": ["db", "tuner"],
    },
    "files": [
        {"path": "/etc/mysql/x.cnf", "content": "# ${ROOT_PASSWORD}"},
        {"path": "init.sql", "content": "x"},
        {"path": "/etc/web.conf", "content": "${TITLE}", "services": ["web", "db"]},
    ],
    "hooks": {"post_deploy": [{"service": "db", "command": ["a"]}, {"service": "web", "command": ["b"]}]},
    "compose": {
        "services": {
            "web": {
                "image": "web",
                "depends_on": {"db": {"condition": "service_healthy"}, "cache": {"condition": "service_started"}},
                "environment": {"SHOP_HOST": "db", "SHOP_PASSWORD": "${DB_PASSWORD}", "KEY": "${KEY}"},
                "ports": ["${HTTP_PORT}:80"],
                "volumes": ["shared:/shared"],
            },
            "cache": {"image": "cache", "depends_on": ["db"], "links": ["db:database"]},
            "db": {
                "image": "mariadb:${DB_VERSION:-11}",
                "environment": ["PASSWORD=${DB_PASSWORD}", "ROOT=${ROOT_PASSWORD}"],
                "ports": ["${DB_PORT}:3306"],
                "volumes": ["data:/var/lib/mysql", "shared:/shared", "./init.sql:/init.sql", "conf:/etc/mysql"],
                "secrets": ["token"],
            },
            "tuner": {"image": "tuner"},
        },
        "volumes": {"data": None, "shared": None, "conf": None},
        "secrets": {"token": {"environment": "TOKEN"}},
    },
}


def template(**changes: Any) -> Template:
    return parse({**copy.deepcopy(OWN), **changes}, "shop.yaml")


def deploy(
    found: Template, engines: tuple[str, ...], links: tuple[DatabaseLink, ...] = (), **given: str
) -> tuple[Rendered, list[str]]:
    """Return what is rendered, and which ports and generated values are asked for."""
    variant, _needless = linked(found, engines)
    wanted = needs(variant, "shop", given=given, secrets={}, stored={})
    values = resolve(
        variant,
        "shop",
        given=given,
        secrets={},
        stored={},
        ports={request.name: 8000 for request in wanted.ports},
        generated={variable.name: "generated" for variable in wanted.generated},
    )
    environment = {"SERVERKIT_LINK_MAIN_PASSWORD": "hush", "SERVERKIT_LINK_MAIN_URL": "mysql://hush"}
    values = with_link(values, variant.database, engines, links, environment)
    asked = [each.name for each in (*wanted.ports, *wanted.generated)]
    return render(variant, "shop", values, "loopback"), asked


@pytest.mark.parametrize("engines", [(), ("redis",), ("postgresql", "redis")])
def test_without_a_database_that_it_can_use_nothing_changes(engines: tuple[str, ...]) -> None:
    found = template()
    assert linked(found, engines) == (found, frozenset())


def test_services_that_are_replaced_go_with_all_that_only_they_use() -> None:
    found, asked = deploy(template(), ("mariadb",))
    assert found.compose == {
        "name": "shop",
        "services": {
            "web": {
                "image": "web",
                "depends_on": {"cache": {"condition": "service_started"}},
                "environment": {"KEY": "${KEY}"},
                "ports": ["127.0.0.1:8000:80"],
                "volumes": ["shared:/shared", found.compose["services"]["web"]["volumes"][1]],
            },
            "cache": {"image": "cache"},
        },
        "volumes": {"shared": None},
    }
    assert asked == ["HTTP_PORT", "KEY"]
    assert found.environment == {"KEY": "generated"}
    assert [file.content for file in found.files.values()] == ["Shop"]


def test_a_file_goes_with_the_service_that_mounts_the_place_it_is_in_by_a_variable() -> None:
    compose = copy.deepcopy(OWN["compose"])
    compose["services"]["db"]["volumes"][-1] = "${CONF:-/srv/conf}:/etc/mysql"
    found, _asked = deploy(template(compose=compose), ("mariadb",))
    assert [file.content for file in found.files.values()] == ["Shop"]


def test_hooks_of_services_that_are_replaced_do_not_run() -> None:
    variant, _needless = linked(template(), ["mysql"])
    assert [hook.service for hook in variant.hooks["post_deploy"]] == ["web"]


def test_what_became_needless_is_told_and_may_still_be_given() -> None:
    variant, needless = linked(template(), ["mysql"])
    assert needless == {"DB_PASSWORD", "DB_PORT", "ROOT_PASSWORD", "DB_VERSION"}
    assert {each.name for each in variant.variables} == {each.name for each in template().variables}
    found, _asked = deploy(template(), ("mysql",), ROOT_PASSWORD="given")
    assert found.environment == {"KEY": "generated", "ROOT_PASSWORD": "given"}


def test_a_list_of_variables_loses_those_of_the_link() -> None:
    changed = copy.deepcopy(OWN)
    changed["compose"]["services"]["web"]["environment"] = ["SHOP_HOST=db", "SHOP_PASSWORD", "KEY=${KEY}"]
    found, _asked = deploy(parse(changed, "shop.yaml"), ("mysql",))
    assert found.compose["services"]["web"]["environment"] == ["KEY=${KEY}"]


SHORT: dict[str, Any] = {
    "name": "Api",
    "version": "1",
    "variables": [{"name": "DB_HOST"}, {"name": "DB_NAME", "default": "x"}, {"name": "DB_URL", "required": True}],
    "database": {"host": "DB_HOST", "name": "DB_NAME", "url": "DB_URL"},
    "compose": {
        "services": {
            "app": {
                "image": "x",
                "environment": ["H=${DB_HOST:-none}", "N=$DB_NAME", "U=<${DB_URL:?no}>", "D=$$DB_URL"],
            }
        }
    },
}


def test_variables_of_the_template_get_the_values_of_the_link() -> None:
    found, asked = deploy(parse(SHORT, "api.yaml"), ("mariadb",), (LINK,))
    assert found.compose["services"]["app"]["environment"] == [
        "H=db.example",
        "N=shop",
        "U=<${SERVERKIT_LINK_MAIN_URL}>",
        "D=$$DB_URL",
    ]
    assert found.environment == {}
    assert asked == []


def test_variables_have_a_stand_in_until_there_is_a_link() -> None:
    found, _asked = deploy(parse(SHORT, "api.yaml"), ("mariadb",))
    assert found.compose["services"]["app"]["environment"][0] == "H=<host of the linked database>"


def test_a_container_that_reads_env_itself_gets_the_value() -> None:
    whole = copy.deepcopy(SHORT)
    whole["compose"]["services"]["app"]["env_file"] = ".env"
    found, _asked = deploy(parse(whole, "api.yaml"), ("mariadb",), (LINK,))
    assert found.environment["DB_URL"] == "mysql://hush"


def test_the_short_form_is_for_any_engine() -> None:
    assert parse(SHORT, "api.yaml").database == DatabaseUse(
        given={"host": "DB_HOST", "name": "DB_NAME", "url": "DB_URL"}
    )
