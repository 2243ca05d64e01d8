# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.template_schema import parse
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import Needs, needs, resolve
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template, Values


def template(variables: Any, ports: list[Any] | None = None, **service: Any) -> Template:
    app = {"image": "app:${VERSION:-1}", "ports": ports or [], **service}
    return parse({"name": "A", "version": "1", "variables": variables, "compose": {"services": {"app": app}}}, "a.yaml")


def find_needs(wanted: Template, given: Any = None, secrets: Any = None, stored: Any = None) -> Needs:
    return needs(wanted, "blog", given=given or {}, secrets=secrets or {}, stored=stored or {})


def values(wanted: Template, given: Any = None, secrets: Any = None, stored: Any = None) -> Values:
    found = find_needs(wanted, given, secrets, stored)
    return resolve(
        wanted,
        "blog",
        given=given or {},
        secrets=secrets or {},
        stored=stored or {},
        ports={request.name: request.port or request.start for request in found.ports},
        generated={variable.name: f"new-{variable.name}" for variable in found.generated},
    )


def problem(wanted: Template, given: Any = None, secrets: Any = None) -> str:
    with pytest.raises(InputError) as caught:
        values(wanted, given, secrets)
    return str(caught.value)


TYPICAL = template(
    [
        {"name": "HTTP_PORT", "type": "port", "default": "8080"},
        {"name": "TITLE", "default": "Blog", "max": 20},
        {"name": "MAIL", "required": True, "description": "Where mails go"},
        {"name": "DB_PASSWORD", "type": "password"},
        {"name": "NOTE"},
    ],
    ["${HTTP_PORT}:80"],
)


def test_what_is_given_and_what_is_made() -> None:
    assert values(TYPICAL, {"MAIL": "a@b"}) == Values(
        plain={"APP_NAME": "blog", "HTTP_PORT": "8080", "TITLE": "Blog", "MAIL": "a@b"},
        sensitive={"DB_PASSWORD": "new-DB_PASSWORD"},
        ports={"HTTP_PORT": 8080},
    )


def test_generated_values_are_kept() -> None:
    first = values(TYPICAL, {"MAIL": "a@b"})
    again = values(TYPICAL, {"MAIL": "a@b", "TITLE": "Other"}, stored=first.sensitive)
    assert again.sensitive == first.sensitive
    assert find_needs(TYPICAL, {"MAIL": "a@b"}, stored=first.sensitive).generated == ()


def test_precedence() -> None:
    wanted = template({"P": {"type": "password"}, "Q": {"type": "password", "default": "d"}, "T": {"default": "d"}})
    stored = {"P": "stored", "Q": "stored", "T": "stored"}
    assert values(wanted).sensitive == {"P": "new-P", "Q": "d"}
    assert values(wanted, stored=stored).sensitive == {"P": "stored", "Q": "d"}
    assert values(wanted, stored=stored).plain["T"] == "d"
    assert values(wanted, {"P": "given", "Q": "given"}, stored=stored).sensitive == {"P": "given", "Q": "given"}
    assert values(wanted, secrets={"P": "given"}, stored=stored).sensitive["P"] == "given"


def test_a_default_satisfies_required() -> None:
    assert values(template({"X": {"required": True, "default": "d"}})).plain["X"] == "d"


def test_secrets_are_sensitive_whatever_the_template_says() -> None:
    found = values(template({"X": {"default": "d"}}), secrets={"X": "s", "VERSION": "2"})
    assert found.sensitive == {"X": "s", "VERSION": "2"}
    assert "X" not in found.plain


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (5, "5"), (1.5, "1.5"), (True, "true"), (False, "false"), ("", "")],
)
def test_scalars_become_the_text_that_compose_makes_of_them(value: Any, text: str) -> None:
    assert values(template({"X": {}}), {"X": value}).plain["X"] == text


def test_null_is_as_if_not_given() -> None:
    assert values(template({"X": {"default": "d"}}), {"X": None}).plain["X"] == "d"
    assert "it is required" in problem(template({"X": {"required": True}}), {"X": None})


def test_variables_that_are_used_and_not_declared_can_be_given() -> None:
    assert values(template({}), {"VERSION": "2"}).plain == {"APP_NAME": "blog", "VERSION": "2"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"TITEL": "x"}, "variables.TITEL: the template has no such variable; did you mean TITLE?"),
        ({"VERSOIN": "x"}, "did you mean VERSION?"),
        ({"ELSE": "x"}, "variables.ELSE: the template has no such variable"),
        ({"APP_NAME": "x"}, "variables.APP_NAME: it is set by the collection"),
        ({"TITLE": "x" * 21}, "variables.TITLE: "),
        ({"TITLE": ["x"]}, "variables.TITLE: it is not a text, a number or a boolean"),
        ({"TITLE": "a\0"}, "variables.TITLE: the value holds a NUL character"),
        ({"HTTP_PORT": "abc"}, "variables.HTTP_PORT: 'abc' is not a whole number"),
        ({"HTTP_PORT": 0}, "variables.HTTP_PORT: '0' is not a port number from 1 to 65535"),
        ({"HTTP_PORT": 70000}, "variables.HTTP_PORT: '70000' is not a port number"),
        ({"HTTP_PORT": True}, "variables.HTTP_PORT: 'true' is not a whole number"),
        ({}, "variables.MAIL: it is required and has no value (Where mails go)"),
        ({"MAIL": ""}, "variables.MAIL: it is required and has no value"),
    ],
)
def test_problems_with_what_is_given(given: dict[str, Any], expected: str) -> None:
    message = problem(TYPICAL, given)
    assert expected in message
    assert "of the app blog" in message


def test_all_problems_are_told_at_once_and_no_secret_is() -> None:
    wanted = template({"A": {"max": 3}, "B": {"type": "password", "pattern": "[0-9]+"}, "C": {"required": True}})
    message = problem(wanted, {"D": "x"}, {"A": "hunter2", "B": "hunter3"})
    assert message.count("; ") == 3
    assert "hunter" not in message


def test_a_value_in_both_places() -> None:
    assert "secrets.X: it is among the variables as well" in problem(template({"X": {}}), {"X": "1"}, {"X": "1"})


def test_secrets_that_a_process_would_overrule() -> None:
    assert "every program has a variable of that name" in problem(template({"HOME": {}}), secrets={"HOME": "x"})
    assert values(template({"HOME": {}}), {"HOME": "x"}).plain["HOME"] == "x"


@pytest.mark.parametrize(
    ("variable", "ports", "expected"),
    [
        ({"default": "5000"}, ["${P}:80"], PortRequest("blog", "P", "tcp", 8000)),
        ({"default": "8123"}, ["${P}:80"], PortRequest("blog", "P", "tcp", 8123)),
        ({"default": "61208"}, ["${P}:80"], PortRequest("blog", "P", "tcp", 8000)),
        ({}, ["${P}:80"], PortRequest("blog", "P", "tcp", 8000)),
        ({}, ["$P:80/udp"], PortRequest("blog", "P", "udp", 8000)),
        ({}, ["${P:-80}:53/tcp", "127.0.0.1:${P}:53/udp"], PortRequest("blog", "P", "both", 8000)),
        ({}, [{"target": 53, "published": "${P}", "protocol": "udp"}], PortRequest("blog", "P", "udp", 8000)),
        ({}, ["${P}:${P}"], PortRequest("blog", "P", "tcp", 8000)),
        ({}, [], PortRequest("blog", "P", "tcp", 8000)),
    ],
)
def test_port_requests(variable: dict[str, Any], ports: list[Any], expected: PortRequest) -> None:
    assert find_needs(template({"P": {"type": "port", **variable}}, ports)).ports == (expected,)


def test_a_port_that_the_user_asks_for() -> None:
    wanted = template({"P": {"type": "port", "default": "8123"}}, ["${P}:80"])
    assert find_needs(wanted, {"P": "9000"}).ports == (PortRequest("blog", "P", "tcp", 8123, 9000),)


def test_spelled_out_ports_are_reserved_first() -> None:
    wanted = template(
        {"P": {"type": "port"}, "Q": {"default": "8002"}, "S": {"type": "password"}},
        ["${P}:80", "8000:81", "8001-8002:82-83/udp", "[::1]:8000:81", "9000", {"target": 1, "published": "${Q}"}],
        command="${S}",
    )
    assert find_needs(wanted).ports == (
        PortRequest("blog", "fixed:8000/tcp", "tcp", port=8000),
        PortRequest("blog", "fixed:8001/udp", "udp", port=8001),
        PortRequest("blog", "fixed:8002/udp", "udp", port=8002),
        PortRequest("blog", "fixed:8002/tcp", "tcp", port=8002),
        PortRequest("blog", "P", "tcp"),
    )


def test_a_port_in_the_hosts_network() -> None:
    service = {"image": "x", "network_mode": "host"}
    document = {"name": "A", "version": "1", "main_port": 8123, "compose": {"services": {"app": service}}}
    found = needs(parse(document, "a.yaml"), "blog", given={}, secrets={}, stored={})
    assert found.ports == (PortRequest("blog", "fixed:8123/tcp", "tcp", port=8123),)
