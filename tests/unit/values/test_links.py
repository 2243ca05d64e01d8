# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links as users ask for them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import links
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest


def parse(**options: Any) -> links.LinkRequest:
    return links.parse({"app": "my-blog", "engine": "postgresql", **options})


def test_an_app_and_an_engine_are_enough() -> None:
    request = parse()
    assert (request.name, request.link, request.engine) == ("my-blog/postgresql", "postgresql", "postgresql")
    assert (request.database, request.user, request.privileges) == ("my_blog", "my_blog", "owner")
    assert request.state == "present"
    assert request.server.here


def test_a_second_link_has_names_of_its_own() -> None:
    request = parse(name="reports")
    assert (request.name, request.database, request.user) == ("my-blog/reports", "my_blog_reports", "my_blog_reports")


def test_a_link_named_as_its_engine_is_the_first_one() -> None:
    assert parse(name="postgresql") == parse()


def test_an_absent_link_needs_no_engine() -> None:
    request = links.parse({"app": "blog", "name": "reports", "state": "absent"})
    assert (request.engine, request.name, request.database) == ("", "blog/reports", "")


@pytest.mark.parametrize("prefix", ["REPORTS", "REPORTS_"])
def test_a_prefix_may_end_in_the_underscore_that_is_put_behind_it(prefix: str) -> None:
    assert parse(env_prefix=prefix).env_prefix == "REPORTS"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"app": "My Blog"}, "name of an app"),
        ({"engine": "oracle"}, "database engine"),
        ({"engine": None}, "neither engine nor name is given"),
        ({"engine": None, "name": "reports"}, "the option engine is missing"),
        ({"name": "re ports"}, "name of a link"),
        ({"name": "-x"}, "name of a link"),
        ({"name": "x" * 31}, "name of a link"),
        ({"database": 'blog"; DROP'}, "name of a database"),
        ({"database": "x" * 65}, "65 characters"),
        ({"database": "template1"}, "own data"),
        ({"user": "postgres"}, "has it"),
        ({"user": "bl'og"}, "name of a database user"),
        ({"password": "short"}, "fewer than 8"),
        ({"password": "line\nbreaks in it"}, "control character"),
        ({"env_prefix": "reports"}, "env_prefix"),
        ({"env_prefix": "1X"}, "env_prefix"),
        ({"variables": {"DB HOST": "host"}}, "name of a variable"),
        ({"variables": {"DB_HOST": "hostname"}}, "has only host, port"),
        ({"variables": {"DB_HOST": "host"}, "env_prefix": "X"}, "env_prefix has no effect"),
        ({"services": ["web app"]}, "Compose service"),
        ({"rotate": True, "password": "long enough"}, "rotate generates"),
        ({"rotate": True, "state": "absent"}, "needs state: present"),
        ({"drop": True, "skip_backup": True}, "needs state: absent"),
        ({"server": {"host": "a b"}}, "host"),
        ({"server": {"host": "db", "user": "root", "port": 70000}}, "70000"),
        ({"server": {"host": "db"}}, "no administrator"),
        ({"server": {"app": "shared", "service": "db"}}, "no administrator"),
        ({"server": {"app": "shared", "user": "root"}}, "needs app and service"),
        ({"server": {"app": "shared", "service": "db", "host": "db", "user": "root"}}, "both are given"),
        ({"server": {"host": "db", "user": "root", "socket": "/run/s"}}, "a socket is for a server of this host"),
        ({"server": {"socket": "run/s"}}, "absolute"),
        ({"server": {"host": "db", "user": "root", "tls": "require", "ca_cert": "/ca.pem"}}, "ca_cert has no effect"),
        ({"server": {"clients": ["10.0.0.5/24"]}}, "neither an address nor a network"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        parse(**options)


def test_a_refused_password_is_not_quoted() -> None:
    with pytest.raises(InputError) as caught:
        parse(password="hid\tden12345")
    assert "hid" not in str(caught.value)


def test_a_password_that_only_one_engine_refuses() -> None:
    with pytest.raises(InputError, match=r"newer than Unicode 3\.2"):
        parse(engine="mongodb", password="correct horse 😀")
    assert parse(engine="mariadb", password="correct horse 😀").password == "correct horse 😀"


def test_passwords_do_not_show_in_a_repr() -> None:
    shown = repr(parse(password="correct horse", server={"host": "db", "user": "root", "password": "battery staple"}))
    assert "correct horse" not in shown
    assert "battery staple" not in shown


@pytest.mark.parametrize(
    ("server", "here", "tls"),
    [
        (ServerRequest(), True, "disable"),
        (ServerRequest(host="localhost"), True, "disable"),
        (ServerRequest(host="db.example.com"), False, "verify"),
        (ServerRequest(app="shared", service="db"), False, "disable"),
        (ServerRequest(host="db.example.com", tls="require"), False, "require"),
        (ServerRequest(tls="verify"), True, "verify"),
    ],
)
def test_encryption_is_verified_where_others_can_listen(server: ServerRequest, here: bool, tls: str) -> None:
    assert (server.here, server.verified) == (here, tls)


def test_networks_are_kept_in_their_usual_form() -> None:
    request = parse(server={"clients": ["10.0.0.0/24", "10.1.2.3", "%", "localhost"]})
    assert request.server.clients == ("10.0.0.0/24", "10.1.2.3/32", "%", "localhost")


def test_what_a_link_has_in_env_is_told_from_a_templates_own() -> None:
    environment = {
        "DB_PASSWORD": "of the template",
        "COMPOSE_FILE": "docker-compose.yml:compose.links.yml",
        "SERVERKIT_LINK_MY_REPORTS_USER": "blog",
        "SERVERKIT_LINK_MY_REPORTS_PASSWORD": "secret",
        "SERVERKIT_LINK_MY_REPORTS_URL": "postgresql://blog:secret@h:1/d",
    }
    assert set(links.kept(environment)) == set(environment) - {"DB_PASSWORD"}
    assert links.stored(environment, "my-reports") == {
        "user": "blog",
        "password": "secret",
        "url": "postgresql://blog:secret@h:1/d",
    }
    # The login is often the app's name, and masking that would mask it everywhere.
    assert links.secret_values(environment) == ("secret", "postgresql://blog:secret@h:1/d")
    assert links.stored(environment, "other") == {}


def test_an_item_that_cannot_be_parsed_has_a_name() -> None:
    assert links.label({"app": "blog", "engine": "redis", "name": None}) == "blog/redis"
    assert links.label({"app": "blog", "engine": "redis", "name": "cache"}) == "blog/cache"
