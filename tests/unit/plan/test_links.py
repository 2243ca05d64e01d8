# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What containers are told of a linked database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import links
from ansible_collections.serverkit.core.plugins.module_utils._values.links import secret_key
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from hypothesis import given
from hypothesis import strategies as st

LINK = DatabaseLink(
    app="blog",
    name="postgresql",
    engine="postgresql",
    server="postgresql://127.0.0.1:5432",
    database="blog",
    user="blog",
    privileges="owner",
    host=links.GATEWAY,
    port=5432,
)
DOCUMENT: dict[str, Any] = {"services": {"web": {"image": "a"}, "worker": {"image": "b"}}}


@dataclass(frozen=True)
class Use:
    engines: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)


def test_all_services_get_the_usual_variables() -> None:
    found = links.override([LINK], DOCUMENT, None)
    assert list(found["services"]) == ["web", "worker"]
    assert found["services"]["web"] == {
        "environment": {
            "DB_HOST": "host.docker.internal",
            "DB_PORT": "5432",
            "DB_NAME": "blog",
            "DB_USER": "${SERVERKIT_LINK_POSTGRESQL_USER}",
            "DB_PASSWORD": "${SERVERKIT_LINK_POSTGRESQL_PASSWORD}",
            "DATABASE_URL": "${SERVERKIT_LINK_POSTGRESQL_URL}",
        },
        "extra_hosts": ["host.docker.internal:host-gateway"],
    }
    assert "networks" not in found


def test_nothing_linked_is_no_document() -> None:
    assert links.override([], DOCUMENT, None) == {}


def test_a_service_that_is_not_there_is_left_out() -> None:
    assert links.override([replace(LINK, services=("gone",))], DOCUMENT, None) == {}
    found = links.override([replace(LINK, services=("gone", "web"))], DOCUMENT, None)
    assert list(found["services"]) == ["web"]


def test_a_template_says_which_service_and_which_names() -> None:
    use = Use(("mysql", "mariadb"), ("web",), {"address": "WORDPRESS_DB_HOST", "password": "WORDPRESS_DB_PASSWORD"})
    link = replace(LINK, name="mariadb", engine="mariadb", port=3306)
    assert links.override([link], DOCUMENT, use)["services"] == {
        "web": {
            "environment": {
                "WORDPRESS_DB_HOST": "host.docker.internal:3306",
                "WORDPRESS_DB_PASSWORD": "${SERVERKIT_LINK_MARIADB_PASSWORD}",
            },
            "extra_hosts": ["host.docker.internal:host-gateway"],
        }
    }


def test_the_text_does_not_depend_on_the_order_in_which_a_template_says_it() -> None:
    names = {"user": "WORDPRESS_DB_USER", "password": "WORDPRESS_DB_PASSWORD", "address": "WORDPRESS_DB_HOST"}
    turned = dict(reversed(names.items()))
    said, kept = (links.override([LINK], DOCUMENT, Use((), (), variables)) for variables in (names, turned))
    assert str(said) == str(kept)


def test_what_a_template_says_of_other_engines_does_not_count() -> None:
    use = Use(("mysql",), ("web",), {"host": "WORDPRESS_DB_HOST"})
    found = links.override([LINK], DOCUMENT, use)
    assert list(found["services"]) == ["web", "worker"]
    assert "DB_HOST" in found["services"]["worker"]["environment"]


def test_a_link_with_a_prefix_is_not_the_one_that_the_template_means() -> None:
    use = Use((), ("web",), {"host": "APP_DB"})
    names = links.variables(replace(LINK, env_prefix="REPORTS"), use)
    assert names["REPORTS_DB_HOST"] == "host"
    assert "APP_DB" not in names


def test_several_links_meet_in_one_service() -> None:
    redis = replace(LINK, name="redis", engine="redis", database="blog", port=6379)
    environment = links.override([LINK, redis], DOCUMENT, None)["services"]["web"]["environment"]
    assert environment["DB_PORT"] == "5432"
    assert environment["REDIS_PORT"] == "6379"
    assert environment["REDIS_PREFIX"] == "blog:"


def test_chosen_names_come_before_all_others() -> None:
    link = replace(LINK, options={"variables": {"PGPASSWORD": "password"}})
    use = Use((), (), {"host": "APP_DB"})
    assert links.variables(link, use) == {"PGPASSWORD": "password"}


def test_a_server_in_another_apps_container_is_reached_by_its_network() -> None:
    link = replace(LINK, host="shared-db-1", options={"network": "shared_default"})
    document = {"services": {"web": {"image": "a"}, "own": {"networks": ["inner"]}, "bare": {"network_mode": "host"}}}
    found = links.override([link], document, None)
    assert found["services"]["web"]["networks"] == {"default": None, "linked-shared_default": None}
    # A service that is not in the project's own network stays out of it.
    assert found["services"]["own"]["networks"] == {"linked-shared_default": None}
    assert "networks" not in found["services"]["bare"]
    assert found["networks"] == {"linked-shared_default": {"name": "shared_default", "external": True}}
    assert "extra_hosts" not in found["services"]["web"]


def test_a_link_that_only_keeps_its_data_tells_nothing() -> None:
    kept = replace(LINK, name="old", options={"state": "unlinked"})
    assert links.linked([LINK, kept, replace(LINK, app="other")], "blog") == (LINK,)


def test_urls_ask_for_encryption_where_the_server_wants_it() -> None:
    plain = links.secrets(LINK, "blog", "pw")
    assert plain[secret_key("postgresql", "url")].endswith("/blog")
    encrypted = links.secrets(replace(LINK, options={"tls": True}), "blog", "pw")
    assert encrypted[secret_key("postgresql", "url")].endswith("/blog?sslmode=require")
    redis = links.secrets(replace(LINK, engine="redis", options={"tls": True}), "blog", "pw")
    assert redis[secret_key("postgresql", "url")].startswith("rediss://")


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_what_env_holds_is_the_password_and_its_url(password: str) -> None:
    stored = links.secrets(LINK, "blog__2", password)
    assert stored[secret_key("postgresql", "user")] == "blog__2"
    assert stored[secret_key("postgresql", "password")] == password
    parts = urlsplit(stored[secret_key("postgresql", "url")])
    assert unquote(parts.password or "") == password
    assert (parts.username, parts.hostname, parts.port, parts.path) == ("blog__2", links.GATEWAY, 5432, "/blog")


def test_no_secret_is_in_the_document() -> None:
    text = str(links.override([LINK], DOCUMENT, None))
    for value in links.secrets(LINK, "blog", "hunter2hunter2").values():
        assert value == "blog" or value not in text


@pytest.mark.parametrize(
    ("change", "clashes"),
    [
        ({"engine": "mysql"}, True),
        ({"engine": "redis"}, False),
        ({"env_prefix": "REPORTS"}, False),
        ({"services": ("worker",)}, True),
        ({"options": {"variables": {"DB_HOST": "host"}}}, True),
        ({"options": {"variables": {"PGHOST": "host"}}}, False),
    ],
)
def test_two_links_cannot_give_one_variable(change: dict[str, Any], clashes: bool) -> None:
    other = replace(LINK, name="other", **change)
    error = links.clash(other, [LINK, other], None)
    assert bool(error) == clashes
    if error:
        assert "env_prefix" in str(error)
        assert links.clash(replace(other, services=("worker",)), [replace(LINK, services=("web",))], None) is None
