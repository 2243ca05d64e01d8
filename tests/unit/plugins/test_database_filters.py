# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the databases of an inventory to roles, links and apps."""

from __future__ import annotations

import ipaddress
import pathlib
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.serverkit.core.plugins.filter.app_items import app_items
from ansible_collections.serverkit.core.plugins.filter.collapsed_networks import collapsed_networks
from ansible_collections.serverkit.core.plugins.filter.database_roles import ROLES, database_roles
from ansible_collections.serverkit.core.plugins.filter.inventory_problems import inventory_problems
from ansible_collections.serverkit.core.plugins.filter.link_items import link_items
from ansible_collections.serverkit.core.plugins.modules.serverkit_app import APP
from ansible_collections.serverkit.core.plugins.modules.serverkit_db_link import LINK
from hypothesis import given
from hypothesis import strategies as st

ROOT = pathlib.Path(__file__).resolve().parents[3]
App = dict[str, Any]


def app(name: str, *databases: App, **options: Any) -> App:
    return {"name": name, "template": "flask-page", "databases": list(databases), **options}


def test_links_that_stay_and_links_that_go_are_told_apart() -> None:
    apps = [app("shop", {"engine": "postgresql"}, {"engine": "redis", "state": "absent"}), {"name": "site"}]
    assert link_items(apps) == [{"app": "shop", "engine": "postgresql"}]
    assert link_items(apps, "absent") == [{"app": "shop", "engine": "redis", "state": "absent"}]


def test_links_to_containers_wait_for_the_apps_that_have_them() -> None:
    shared = {"engine": "mariadb", "server": {"app": "db", "service": "mariadb"}}
    own = {"engine": "redis", "server": {"app": "shop", "service": "redis"}}
    apps = [app("shop", shared, own, {"engine": "postgresql"}), app("db"), app("blog", {**shared, "state": "absent"})]
    assert [item["engine"] for item in link_items(apps, contained=False)] == ["postgresql"]
    assert [item["engine"] for item in link_items(apps, contained=True)] == ["mariadb", "redis"]
    assert [item["engine"] for item in link_items(apps)] == ["mariadb", "redis", "postgresql"]
    assert app_items(apps, servers_only=True) == [
        {"name": "shop", "template": "flask-page"},
        {"name": "db", "template": "flask-page"},
    ]


def test_an_app_that_goes_keeps_its_data() -> None:
    gone = app("shop", {"engine": "postgresql"}, state="absent")
    assert link_items([gone]) == []
    assert link_items([gone], "absent") == []


@pytest.mark.parametrize("skip_backup", [True, False])
def test_a_purged_app_does_not(skip_backup: bool) -> None:
    link = {"engine": "postgresql", "name": "main", "env_prefix": "MAIN", "server": {"host": "db.test"}}
    purged = app("shop", link, state="absent", purge=True, skip_backup=skip_backup)
    assert link_items([purged]) == []
    assert link_items([purged], "absent") == [
        {
            "app": "shop",
            "engine": "postgresql",
            "name": "main",
            "server": {"host": "db.test"},
            "state": "absent",
            "drop": True,
            "skip_backup": skip_backup,
        }
    ]


@pytest.mark.parametrize("no", ["no", "False", "0", None])
def test_a_word_that_says_no_deletes_nothing(no: object) -> None:
    assert link_items([app("shop", {"engine": "redis"}, state="absent", purge=no)], "absent") == []
    (item,) = link_items([app("shop", {"engine": "redis"}, state="absent", purge="yes", skip_backup=no)], "absent")
    assert item["skip_backup"] is False


def test_an_app_is_told_of_the_engines_that_it_stays_linked_to() -> None:
    shop = app("shop", {"engine": "postgresql"}, {"engine": "postgresql", "name": "b"}, domains=[{"name": "x.test"}])
    blog = app("blog", {"engine": "redis", "state": "absent"}, private_url=False)
    assert app_items([shop, blog, {"name": "site"}]) == [
        {"name": "shop", "template": "flask-page", "databases": ["postgresql"]},
        {"name": "blog", "template": "flask-page", "databases": []},
        {"name": "site"},
    ]


def test_an_app_that_goes_is_told_of_none() -> None:
    assert app_items([app("shop", {"engine": "redis"}, state="absent")]) == [
        {"name": "shop", "template": "flask-page", "state": "absent"}
    ]


def test_an_app_without_its_database_is_left_alone() -> None:
    links = [
        {"name": "shop/postgresql", "failed": True},
        {"name": "shop/redis"},
        {"name": "blog/redis"},
    ]
    apps = [app("shop", {"engine": "postgresql"}, {"engine": "redis"}), app("blog", {"engine": "redis"})]
    assert [item["name"] for item in app_items(apps, links)] == ["blog"]


def test_an_item_has_only_what_the_module_takes() -> None:
    specs = yaml.safe_load((ROOT / "roles/app/meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]["serverkit_apps"]["options"]
    full = {name: [] if name == "databases" else "x" for name in options}
    assert set(app_items([full])[0]) <= set(APP)


def test_servers_on_the_host_are_installed() -> None:
    apps = [
        app("a", {"engine": "mysql"}, {"engine": "mariadb"}),
        app("b", {"engine": "redis", "server": {"port": 6380}}),
        app("c", {"engine": "postgresql", "server": {"host": "localhost"}}),
    ]
    assert database_roles(apps) == ["mariadb", "postgresql", "redis"]


@pytest.mark.parametrize(
    "link",
    [
        {"engine": "postgresql", "server": {"host": "db.test"}},
        {"engine": "postgresql", "server": {"app": "shared", "service": "db"}},
        {"engine": "postgresql", "state": "absent"},
    ],
)
def test_servers_elsewhere_are_not(link: App) -> None:
    assert database_roles([app("a", link)]) == []
    assert database_roles([app("a", {"engine": "redis"}, state="absent"), {"name": "b"}]) == []


def test_servers_can_be_asked_for() -> None:
    assert database_roles([], ["mysql", "mongodb"]) == ["mariadb", "mongodb"]
    with pytest.raises(AnsibleFilterError, match="no database engine 'oracle'"):
        database_roles([], ["oracle"])


def test_there_is_a_role_for_each_engine() -> None:
    assert set(ROLES) == set(LINK["engine"]["choices"])
    for role in ROLES.values():
        assert (ROOT / "roles" / role / "tasks/main.yml").is_file()


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ([{"engine": "postgresql"}, {"engine": "postgresql"}], "The app shop has 2 links called postgresql."),
        ([{"engine": "oracle"}], "In the database oracle of the app shop: value of engine must be one of"),
        ([{"engine": "redis", "env_prefx": "X"}], "In the database redis of the app shop: env_prefx"),
        ([{"engine": "postgresql", "database": 'a"b'}], "In the database postgresql of the app shop: Could not"),
        ([{"engine": "postgresql", "user": "postgres"}], "In the database postgresql of the app shop: Could not"),
        ([{"engine": "mysql", "database": "x" * 65}], "In the database mysql of the app shop: Could not"),
    ],
)
def test_what_the_module_would_refuse_is_refused_beforehand(databases: list[App], expected: str) -> None:
    problems = inventory_problems([app("shop", *databases)])
    assert len(problems) == 1
    assert problems[0].startswith(expected) or expected in problems[0]


def test_good_databases_have_no_problems() -> None:
    good = app("shop", {"engine": "postgresql"}, {"engine": "postgresql", "name": "reports", "env_prefix": "REPORTS"})
    assert inventory_problems([good]) == []


def test_a_network_within_another_is_left_out() -> None:
    assert collapsed_networks(["172.17.0.0/16", "172.16.0.0/12", "10.1.0.5"]) == ["10.1.0.5/32", "172.16.0.0/12"]
    with pytest.raises(AnsibleFilterError, match="write a network such as"):
        collapsed_networks(["172.16.0.1/12"])


networks = st.builds(
    lambda address, length: ipaddress.IPv4Network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(8, 32),
)


@given(st.lists(networks, max_size=6), st.integers(0, 2**32 - 1))
def test_the_addresses_stay_the_same(given_networks: list[ipaddress.IPv4Network], number: int) -> None:
    left = [ipaddress.IPv4Network(text) for text in collapsed_networks(map(str, given_networks))]
    addresses = [ipaddress.IPv4Address(number), *(network[-1] for network in given_networks)]
    for address in addresses:
        assert any(address in network for network in left) == any(address in network for network in given_networks)
    assert not any(one.overlaps(other) for one in left for other in left if one is not other)
