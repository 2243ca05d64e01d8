# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an app is told of its database."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.database import ENGINES, Engine
from ansible_collections.serverkit.core.plugins.module_utils._values.database_url import (
    SECRET_KEYS,
    Target,
    connection_url,
    environment,
    provided,
    variable_names,
)
from hypothesis import example, given
from hypothesis import strategies as st


def target(engine: Engine = "postgresql", password: str = "pw", **more: object) -> Target:
    parts: dict[str, object] = {"host": "host.docker.internal", "port": 5432, "database": "my_blog", "user": "my_blog"}
    return Target(engine, password=password, **{**parts, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("engine", "url"),
    [
        ("postgresql", "postgresql://my_blog:xK9%23mP2%24vL7%40nQ4@host.docker.internal:5432/my_blog"),
        ("mysql", "mysql://my_blog:xK9%23mP2%24vL7%40nQ4@host.docker.internal:5432/my_blog"),
        ("mariadb", "mysql://my_blog:xK9%23mP2%24vL7%40nQ4@host.docker.internal:5432/my_blog"),
        ("redis", "redis://my_blog:xK9%23mP2%24vL7%40nQ4@host.docker.internal:5432/0"),
        ("mongodb", "mongodb://my_blog:xK9%23mP2%24vL7%40nQ4@host.docker.internal:5432/my_blog?authSource=my_blog"),
    ],
)
def test_a_url_is_percent_encoded(engine: Engine, url: str) -> None:
    assert connection_url(target(engine, "xK9#mP2$vL7@nQ4")) == url


def test_a_url_says_that_tls_is_wanted() -> None:
    assert connection_url(target("redis", tls=True)).startswith("rediss://")
    assert connection_url(target("mongodb", tls=True)).endswith("?authSource=my_blog&tls=true")
    options = {"sslmode": "verify-full", "sslrootcert": "/etc/a b.pem"}
    assert connection_url(target(options=options)).endswith("?sslmode=verify-full&sslrootcert=%2Fetc%2Fa%20b.pem")


def test_an_address_of_ipv6_is_bracketed() -> None:
    assert "@[2001:db8::1]:5432/" in connection_url(target(host="2001:db8::1"))


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), st.sampled_from(ENGINES))
@example("%20+%2B&=?#/@:[]", "mysql")
def test_any_password_is_read_back_from_the_url(password: str, engine: Engine) -> None:
    url = connection_url(target(engine, password))
    assert url.isascii()
    parts = urlsplit(url)
    assert (unquote(parts.password or ""), parts.hostname, parts.port) == (password, "host.docker.internal", 5432)
    assert set(parse_qs(parts.query)) <= {"authSource"}


def test_each_engine_has_its_own_variables() -> None:
    assert environment(target(password="p w")) == {
        "DB_HOST": "host.docker.internal",
        "DB_PORT": "5432",
        "DB_NAME": "my_blog",
        "DB_USER": "my_blog",
        "DB_PASSWORD": "p w",
        "DATABASE_URL": "postgresql://my_blog:p%20w@host.docker.internal:5432/my_blog",
    }
    redis = environment(target("redis"))
    assert redis["REDIS_PREFIX"] == "my_blog:"
    assert set(redis) == {f"REDIS_{name}" for name in ("HOST", "PORT", "USER", "PASSWORD", "URL", "PREFIX")}
    assert "MONGODB_URI" in environment(target("mongodb"))


def test_a_prefix_tells_links_apart() -> None:
    names = variable_names("mysql", "REPORTS_")
    assert names["url"] == "REPORTS_DATABASE_URL"
    assert names["password"] == "REPORTS_DB_PASSWORD"
    with pytest.raises(InputError, match="as the name of a variable"):
        variable_names("mysql", "9 ")


def test_a_template_has_names_of_its_own() -> None:
    declared = {"host": "WORDPRESS_DB_HOST", "password": "WORDPRESS_DB_PASSWORD"}
    assert environment(target("mariadb"), declared=declared) == {
        "WORDPRESS_DB_HOST": "host.docker.internal",
        "WORDPRESS_DB_PASSWORD": "pw",
    }


def test_password_and_url_are_the_secrets() -> None:
    values = provided(target("redis", "the-secret"))
    assert {key for key, value in values.items() if "the-secret" in value} == SECRET_KEYS


def test_no_password_shows_in_a_representation() -> None:
    assert "the-secret" not in repr(target(password="the-secret"))
