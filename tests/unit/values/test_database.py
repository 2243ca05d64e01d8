# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, passwords and endpoints of databases, before any server is asked."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import database
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    ENGINES,
    Access,
    Credentials,
    DatabaseState,
    Endpoint,
    Engine,
    Login,
)
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["my_blog", "B", "_x", "a-b", "x" * 63])
def test_plain_names_are_taken(engine: Engine, name: str) -> None:
    assert database.database_name(engine, name) == name


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "my blog",
        'a"b',
        "a'b",
        "a`b",
        "a;b",
        "a$b",
        "a%b",
        "a.b",
        "a:b",
        "a*",
        "1a",
        "-a",
        "a\n",
        "ü",
        "x" * 65,
        5,
        None,
    ],
)
def test_other_names_are_refused(engine: Engine, name: object) -> None:
    for check in (database.database_name, database.user_name):
        if check is database.user_name and engine == "mariadb" and name == "x" * 65:
            continue
        with pytest.raises(InputError):
            check(engine, name)


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("mysql", "mysql"),
        ("mariadb", "Information_Schema"),
        ("mariadb", "sys"),
        ("postgresql", "postgres"),
        ("postgresql", "template1"),
        ("mongodb", "admin"),
        ("mongodb", "local"),
    ],
)
def test_databases_of_the_server_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(InputError, match="keeps its own data there"):
        database.database_name(engine, name)


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("mysql", "root"),
        ("mariadb", "PUBLIC"),
        ("postgresql", "postgres"),
        ("postgresql", "pg_monitor"),
        ("postgresql", "current_user"),
        ("redis", "default"),
        ("mongodb", "__system"),
    ],
)
def test_users_of_the_server_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(InputError, match="or its administrator has it"):
        database.user_name(engine, name)


def test_the_names_of_second_logins_are_kept_for_rotations() -> None:
    with pytest.raises(InputError, match="are for rotations"):
        database.user_name("postgresql", "blog__2")


def test_a_user_name_leaves_room_for_the_second_login() -> None:
    longest = "x" * 60
    assert database.user_name("postgresql", longest) == longest
    assert len(database.second_login(longest)) == 63
    with pytest.raises(InputError, match="61 characters"):
        database.user_name("postgresql", "x" * 61)


def test_mysql_takes_shorter_user_names_than_mariadb() -> None:
    with pytest.raises(InputError, match="takes up to 32"):
        database.user_name("mysql", "x" * 33)
    assert database.user_name("mariadb", "x" * 80)


def test_second_logins_take_turns() -> None:
    assert database.second_login("blog") == "blog__2"
    assert database.second_login("blog__2") == "blog"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "app", ["my-blog", "a", "1st", "x" * 63, "mysql", "postgres", "admin", "default", "root", "pg-x"]
)
def test_every_app_has_a_default_name_that_is_taken(engine: Engine, app: str) -> None:
    for suffix in ("", "reports"):
        name = database.default_name(engine, app, suffix)
        assert database.database_name(engine, name) == database.user_name(engine, name)


@given(st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True), st.sampled_from(ENGINES))
@example("x--2", "postgresql")
def test_the_default_name_of_any_app_is_taken(app: str, engine: Engine) -> None:
    name = database.default_name(engine, app)
    assert database.database_name(engine, name) == database.user_name(engine, name)


def test_long_default_names_stay_apart() -> None:
    first, second = (database.default_name("mysql", "x" * 60 + tail) for tail in ("a", "b"))
    assert first != second
    assert len(first) == 32


@pytest.mark.parametrize("password", ["x", " ", "'\"`$%@:/?#", "pässwörd", "x" * 128, "🐧"])
def test_printable_passwords_are_taken(password: str) -> None:
    assert database.password(password) == password


@pytest.mark.parametrize(
    "password", ["", None, 5, "secret\n", "secret\0", "secret\x7f", "secret\x85", "secret\ud800", "s" * 129]
)
def test_other_passwords_are_refused_and_never_quoted(password: object) -> None:
    with pytest.raises(InputError) as caught:
        database.password(password)
    assert "secret" not in str(caught.value)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize("password", ["🐧", "\ufffd", "א1", "\u2028", "\u00ad"])
def test_mongodb_refuses_what_has_no_prepared_form(password: str) -> None:
    with pytest.raises(InputError, match=r"MongoDB takes no|control"):
        database.password(password, "mongodb")


@pytest.mark.parametrize("password", ["plain", "pässwörd", "日本語", "אב", "Ⅸ", "a\u00a0b"])
def test_mongodb_takes_what_has_a_prepared_form(password: str) -> None:
    assert database.password(password, "mongodb") == password


def test_an_endpoint_knows_its_engines_port_and_its_identity() -> None:
    assert Endpoint("mariadb").identity == "mysql://127.0.0.1:3306"
    assert Endpoint("mysql", "db.example.com", 3307).identity == "mysql://db.example.com:3307"
    assert Endpoint("postgresql", "2001:db8::1").identity == "postgresql://[2001:db8::1]:5432"
    assert Endpoint("redis").port == 6379
    assert Endpoint("mongodb").port == 27017


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "-a", "a?", "[::1]", "x" * 300])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="neither a host name nor an address"):
        Endpoint("redis", host)


@pytest.mark.parametrize("port", [-1, 65536, True])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(InputError, match="from 1 to 65535"):
        Endpoint("redis", port=port)


def test_an_access_is_checked_as_a_whole() -> None:
    for broken in ({"database": "sys"}, {"user": "root"}, {"privileges": "god"}):
        with pytest.raises(InputError):
            Access("mysql", **{"database": "blog", "user": "blog", **broken})  # type: ignore[arg-type]


def test_engines_are_checked() -> None:
    assert database.engine_name("redis") == "redis"
    with pytest.raises(InputError, match="not one of"):
        database.engine_name("oracle")


def test_no_password_shows_in_a_representation() -> None:
    shown = repr((Credentials("blog", "the-secret"), Login("blog", 1, ("the-secret",))))
    assert "the-secret" not in shown


def test_a_state_with_two_passwords_is_in_a_rotation() -> None:
    assert not DatabaseState(logins=(Login("a"),)).rotating
    assert DatabaseState(logins=(Login("a"), Login("a__2"))).rotating
    assert DatabaseState(logins=(Login("a", 2),)).rotating


def test_networks_become_netmasks() -> None:
    assert database.account_hosts(["192.168.0.0/16", "172.16.0.0/12", "fd00::/8"]) == (
        "172.16.0.0/255.240.0.0",
        "192.168.0.0/255.255.0.0",
    )
    with pytest.raises(InputError, match="as a network"):
        database.account_hosts(["172.17.0.1/12"])
