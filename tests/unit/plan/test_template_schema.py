# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a template may say, and what is said of one that is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.template_schema import parse
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    DatabaseUse,
    Health,
    Hook,
    Template,
    TemplateFile,
    Variable,
)

MINIMAL: dict[str, Any] = {
    "name": "App",
    "version": "1.0",
    "compose": {"services": {"app": {"image": "app:1"}, "db": {"image": "db:1"}}},
}
SOURCE = "templates/app.yaml"


def template(**changes: Any) -> Template:
    return parse({**copy.deepcopy(MINIMAL), **changes}, SOURCE)


def variable(**declaration: Any) -> Variable:
    return template(variables=[{"name": "X", **declaration}]).variables[0]


def problem(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        template(**changes)
    return str(caught.value)


def test_the_least_that_is_needed() -> None:
    found = template()
    assert (found.id, found.name, found.version, found.source) == ("app", "App", "1.0", SOURCE)
    assert found.warnings == ()


def test_every_key_at_once() -> None:
    found = template(
        id="my-app",
        description="An app",
        documentation="https://example.com",
        icon="x",
        website="y",
        categories=["a"],
        ports=[{"port": 80}],
        volumes=[{"name": "data"}],
        requirements={"memory": "1GB"},
        variables=[{"name": "HTTP_PORT", "type": "port"}, {"name": "DB_URL"}],
        files=[{"path": "/etc/a.conf", "content": "x", "service": "app", "mode": "0755", "substitute": False}],
        main_service="app",
        main_port="HTTP_PORT",
        health={"type": "http", "path": "/up?x=1", "status": "200-299", "timeout": 30},
        database={"url": "DB_URL"},
        hooks={"post_deploy": [{"service": "app", "command": ["migrate", "--all"]}]},
        scripts={"pre_install": "a"},
        post_install="b",
    )
    assert found.id == "my-app"
    assert found.files == (TemplateFile("/etc/a.conf", "x", ("app",), 0o755, False),)
    assert found.health == Health("http", "/up?x=1", (200, 299), 30)
    assert found.hooks == {"post_deploy": (Hook("app", ("migrate", "--all")),)}
    assert found.shown_scripts == {"scripts.pre_install": "a", "post_install": "b"}
    assert found.database == DatabaseUse(given={"url": "DB_URL"})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": None}, "name: it is missing"),
        ({"name": " "}, "name: it is empty"),
        ({"name": ["x"]}, "name: it is not a text"),
        ({"version": None}, "version: it is missing"),
        ({"version": True}, "version: it is not a text"),
        ({"id": "../x"}, "id: '../x' is not"),
        ({"compse": {}}, "compse: it is not a known key; did you mean compose?"),
        ({"varaibles": []}, "varaibles: it is not a known key; did you mean variables?"),
        ({"compose": None}, "compose: it is missing, and so is dockerfile"),
        ({"compose": "services:"}, "compose: it is not a mapping"),
        ({"compose": []}, "compose: it is not a mapping"),
        ({"compose": {}}, "compose.services: there is no service"),
        ({"compose": {"services": None}}, "compose.services: there is no service"),
        ({"compose": {"services": ["app"]}}, "compose.services: it is not a mapping"),
        ({"compose": {"services": {"app": None}}}, "compose.services.app: it is not a mapping"),
        ({"compose": {"services": {"app": {}}}}, "compose.services.app: it has neither image nor build"),
        ({"compose": {"services": {"a b": {"image": "x"}}}}, "compose.services.a b: a service's name has"),
        (
            {"compose": {"services": {"app": {"image": "x", "ports": "80:80"}}}},
            "compose.services.app.ports: it is not a list",
        ),
        (
            {"compose": {"services": {"app": {"image": "x", "volumes": {"a": "b"}}}}},
            "compose.services.app.volumes: it is not a list",
        ),
        (
            {"compose": {"services": {"app": {"image": "${TAG"}}}},
            "compose.services.app.image: '${TAG' is not a valid expression",
        ),
        (
            {"compose": {"services": {"app": {"image": "x", "command": ["sh", "${1:-a}"]}}}},
            "compose.services.app.command[1]: '${1:-a}' is not a valid expression; write $$",
        ),
        ({"description": "a\0b"}, "description: the value holds a NUL character"),
        ({"compose": {"services": {"app": {"image": "x\0"}}}}, "compose.services.app.image: the value holds a NUL"),
        ({"compose": {"services": {"app": {"image": "x", 1: "y"}}}}, "a key is a text"),
        ({"files": {}}, "files: it is not a list"),
        ({"files": ["x"]}, "files[0]: it is not a mapping"),
        ({"files": [{"content": "x"}]}, "files[0].path: it is missing"),
        ({"files": [{"path": "/a"}]}, "files[0].content: it is missing"),
        ({"files": [{"path": "/a/../b", "content": ""}]}, "files[0].path: '/a/../b' is not a path"),
        ({"files": [{"path": "/a:b", "content": ""}]}, "files[0].path: '/a:b' is not a path"),
        ({"files": [{"path": "/a/", "content": ""}]}, "files[0].path: '/a/' is not a path"),
        ({"files": [{"path": "/a\nb", "content": ""}]}, "files[0].path: '/a\\nb' is not a path"),
        ({"files": [{"path": "./", "content": ""}]}, "files[0].path: it is missing or not a path"),
        ({"files": [{"path": "/a", "content": "", "mode": "999"}]}, "files[0].mode: '999' is not a file mode"),
        ({"files": [{"path": "/a", "content": "", "service": "ap"}]}, "no service 'ap'; did you mean app?"),
        (
            {"files": [{"path": "/a", "contents": ""}]},
            "files[0].contents: it is not a known key; did you mean content?",
        ),
        ({"files": [{"path": "/a", "content": ""}, {"path": "/a", "content": ""}]}, "files[1].path: /a is there twice"),
        ({"main_service": "web"}, "main_service: there is no service 'web'"),
        ({"main_port": "HTTP_PORT"}, "main_port: 'HTTP_PORT' is neither a variable of type port"),
        ({"main_port": 70000}, "main_port: '70000' is neither"),
        ({"backup": "stop"}, "backup: it is not a mapping"),
        ({"backup": {"quiesce": "freeze"}}, "backup.quiesce: 'freeze' is not one of pause, stop, none"),
        ({"backup": {"exclude": "cache"}}, "backup.exclude: it is not a list of texts"),
        ({"backup": {"exclude": [3]}}, "backup.exclude: it is not a list of texts"),
        ({"backup": {"exclud": ["cache"]}}, "backup.exclud"),
        ({"health": "http"}, "health: it is not a mapping"),
        ({"health": {"type": "ping"}}, "health.type: 'ping' is not one of auto, http, tcp, none"),
        ({"health": {"path": "up"}}, "health.path: 'up' is not the path"),
        ({"health": {"path": "/a b"}}, "health.path: '/a b' is not the path"),
        ({"health": {"status": "299-200"}}, "health.status: '299-200' is neither"),
        ({"health": {"status": 99}}, "health.status: 99 is neither"),
        ({"health": {"timeout": 0}}, "health.timeout: 0 is not a number of seconds"),
        ({"health": {"timeout": True}}, "health.timeout: True is not a number of seconds"),
        ({"health": {"pth": "/"}}, "health.pth: it is not a known key; did you mean path?"),
        ({"database": {"host": "X"}}, "database.host: there is no variable 'X'"),
        ({"database": []}, "database: it is not a mapping"),
        ({"database": {"engine": "oracle"}}, "database.engines: 'oracle' is not one of mysql, mariadb"),
        ({"database": {"engines": [1]}}, "database.engines: 1 is not a text"),
        ({"database": {"engine": "mysql", "service": "ap"}}, "no service 'ap'; did you mean app?"),
        ({"database": {"engine": "mysql", "replaces": ["cache"]}}, "database.replaces: there is no service 'cache'"),
        ({"database": {"engine": "mysql", "replaces": ["app", "db"]}}, "database.replaces: no service would be left"),
        ({"database": {"service": "app", "replaces": ["app"]}}, "app is the service that uses the database"),
        ({"database": {"replaces": [], "variables": {"hostname": "X"}}}, "database.variables.hostname: it is not one"),
        ({"database": {"replaces": [], "variables": {"host": "A B"}}}, "'A B' is not a variable's name"),
        ({"database": {"replaces": [], "variables": []}}, "database.variables: it is not a mapping"),
        ({"database": {"engine": "mysql", "serivce": "app"}}, "database.serivce: it is not a known key"),
        ({"database": {"hostname": "X"}}, "database.hostname: it is not one of"),
        ({"hooks": {"later": []}}, "hooks.later: it is not one of pre_deploy, post_deploy, pre_remove"),
        ({"hooks": {"post_deploy": [{"service": "app", "command": "ls"}]}}, "command: it is not a list of texts"),
        ({"hooks": {"post_deploy": [{"command": ["ls"]}]}}, "hooks.post_deploy[0].service: there is no service None"),
        ({"hooks": {"post_deploy": ["ls"]}}, "hooks.post_deploy[0]: it is not a mapping"),
        ({"post_install": ["a"]}, "post_install: it is not a text"),
        ({"variables": "X"}, "variables: it is neither a list nor a mapping"),
        ({"variables": ["X"]}, "variables[0]: it is not a mapping"),
        ({"variables": {"X": "y"}}, "variables.X: it is not a mapping"),
        ({"variables": [{"type": "port"}]}, "variables[0]: None is not a variable's name"),
        ({"variables": [{"name": "A B"}]}, "variables[0](A B): 'A B' is not a variable's name"),
        ({"variables": [{"name": "X"}, {"name": "X"}]}, "variables[1](X): the variable X is declared twice"),
        ({"variables": [{"name": "COMPOSE_FILE"}]}, "COMPOSE_FILE is a setting of Docker's own programs"),
        ({"variables": [{"name": "DOCKER_HOST"}]}, "DOCKER_HOST is a setting of Docker's own programs"),
    ],
)
def test_problems_name_file_key_and_reason(changes: dict[str, Any], expected: str) -> None:
    message = problem(**changes)
    assert f"{SOURCE}: " in message
    assert expected in message


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        (
            {"type": "passwrd"},
            "X).type: 'passwrd' is not one of string, integer, boolean, port, password, random, uuid",
        ),
        ({"type": "passwrd"}, "did you mean password?"),
        ({"type": 5}, "X).type: 5 is not one of"),
        ({"typ": "port"}, "X).typ: it is not a known key; did you mean type?"),
        ({"default": ["a"]}, "X).default: it is not a text, a number or a boolean"),
        ({"required": "maybe"}, "X).required: 'maybe' is neither true nor false"),
        ({"generate": "hash"}, "X).generate: 'hash' is neither true nor false"),
        ({"type": "port", "default": "abc"}, "X).default: 'abc' is not a whole number"),
        ({"type": "port", "default": 70000}, "X).default: '70000' is not a port number from 1 to 65535"),
        ({"type": "port", "default": 0}, "X).default: '0' is not a port number"),
        ({"type": "port", "secret": True}, "X).secret: a port cannot be secret"),
        ({"type": "integer", "default": "1.5"}, "X).default: '1.5' is not a whole number"),
        ({"type": "integer", "default": 5, "max": 4}, "X).default: '5' is greater than 4"),
        ({"type": "integer", "default": 5, "min": 6}, "X).default: '5' is less than 6"),
        ({"type": "boolean", "default": "2"}, "X).default: '2' is neither true nor false"),
        ({"min": 5, "max": 4}, "X).min: 5 is greater than max, 4"),
        ({"min": "a"}, "X).min: 'a' is not a whole number"),
        ({"default": "abc", "min": 4}, "X).default: 'abc' has 3 characters, and at least 4 are needed"),
        ({"default": "abc", "max": 2}, "X).default: 'abc' has 3 characters, and at most 2 are allowed"),
        ({"default": "abc", "pattern": "[0-9]+"}, r"X).default: 'abc' does not match the pattern [0-9]+"),
        ({"pattern": "["}, "X).pattern: it is not a regular expression"),
        ({"choices": "a"}, "X).choices: it is not a list of values"),
        ({"choices": []}, "X).choices: it is not a list of values"),
        ({"choices": [["a"]]}, "X).choices: an item of it cannot be a value"),
        ({"choices": ["a", "b"], "default": "c"}, "X).default: 'c' is not one of a, b"),
        ({"type": "password", "length": 0}, "X).length: 0 is not from 1 to 4096"),
        ({"type": "password", "bytes": 5000}, "X).bytes: 5000 is not from 1 to 4096"),
        ({"type": "password", "length": 8, "bytes": 8}, "X).bytes: it excludes length"),
        ({"type": "password", "encoding": "hx"}, "X).encoding: 'hx' is not one of"),
        ({"encoding": "hex"}, "X).encoding: it is for generated values only"),
        ({"bytes": 8}, "X).bytes: it is for generated values only"),
    ],
)
def test_problems_of_variables(declaration: dict[str, Any], expected: str) -> None:
    assert expected in problem(variables=[{"name": "X", **declaration}])


def test_all_problems_are_told_at_once() -> None:
    message = problem(name=None, compse=1, variables=[{"name": "X", "type": "y"}], health={"type": "z"})
    assert message.count(f"{SOURCE}: ") == 4


def test_a_document_may_not_be_shown_a_secret_default() -> None:
    assert "hunter2" not in problem(variables=[{"name": "X", "secret": True, "default": "hunter2", "max": 3}])


def test_keys_that_nobody_knows_are_told_and_do_no_harm() -> None:
    found = template(maintainer="me", variables=[{"name": "X", "colour": "red"}], **{"x-own": 1})
    assert found.warnings == (
        "maintainer: it is not a known key and does nothing",
        "variables[0](X).colour: it is not a known key and does nothing",
    )


def test_a_fixed_container_name_is_told() -> None:
    found = template(compose={"services": {"app": {"image": "x", "container_name": "kuma"}}})
    assert "kuma is fixed" in found.warnings[0]
    assert not template(compose={"services": {"app": {"image": "x", "container_name": "${APP_NAME}"}}}).warnings


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ({}, Variable("X")),
        ({"type": None}, Variable("X")),
        ({"default": 15}, Variable("X", default="15")),
        ({"default": True}, Variable("X", default="true")),
        ({"default": ""}, Variable("X", default="")),
        ({"label": "Text"}, Variable("X", description="Text")),
        ({"required": "yes", "hidden": "no"}, Variable("X", required=True)),
        ({"secret": True}, Variable("X", sensitive=True)),
        ({"type": "port", "default": "5000"}, Variable("X", "port", default="5000")),
        ({"type": "port", "default": 3001}, Variable("X", "port", default="3001")),
        ({"type": "port", "default": ""}, Variable("X", "port")),
        ({"type": "boolean", "default": "Yes"}, Variable("X", "boolean", default="true")),
        (
            {"type": "integer", "default": 5, "min": 1, "max": 9},
            Variable("X", "integer", default="5", minimum=1, maximum=9),
        ),
        ({"options": ["a", 1]}, Variable("X", choices=("a", "1"))),
        ({"choices": [{"label": "A", "value": "a"}]}, Variable("X", choices=("a",))),
        ({"type": "password"}, Variable("X", "password", generated=True, sensitive=True, length=32)),
        ({"type": "password", "default": ""}, Variable("X", "password", generated=True, sensitive=True, length=32)),
        ({"type": "password", "length": 16}, Variable("X", "password", generated=True, sensitive=True, length=16)),
        ({"type": "password", "default": "x"}, Variable("X", "password", default="x", sensitive=True)),
        ({"type": "password", "required": True}, Variable("X", "password", required=True, sensitive=True)),
        (
            {"type": "password", "required": True, "generate": "password"},
            Variable("X", "password", required=True, generated=True, sensitive=True, length=32),
        ),
        ({"type": "password", "generate": False}, Variable("X", "password", sensitive=True)),
        ({"generate": "uuid"}, Variable("X", "uuid", generated=True, sensitive=True)),
        ({"generate": True}, Variable("X", generated=True, sensitive=True, length=32)),
        ({"type": "uuid"}, Variable("X", "uuid", generated=True, sensitive=True)),
        (
            {"type": "random", "bytes": 32, "encoding": "base64"},
            Variable("X", "random", generated=True, sensitive=True, bytes=32, encoding="base64"),
        ),
    ],
)
def test_variables(declaration: dict[str, Any], expected: Variable) -> None:
    assert variable(**declaration) == expected


def test_variables_as_a_mapping() -> None:
    found = template(variables={"PORT": {"type": "port", "default": 3001}, "NOTE": None})
    assert found.variables == (Variable("PORT", "port", default="3001"), Variable("NOTE"))


def test_a_declaration_of_a_built_in_variable_is_told() -> None:
    found = template(variables=[{"name": "APP_NAME", "default": "x"}])
    assert found.variables == ()
    assert "APP_NAME is set by the collection" in found.warnings[0]


def test_a_dockerfile_alone_makes_a_service() -> None:
    document = {
        "name": "App",
        "version": 1,
        "dockerfile": "FROM python\nEXPOSE 5000\n",
        "variables": {"HTTP_PORT": {"type": "port"}},
    }
    found = parse(document, SOURCE)
    assert found.version == "1"
    assert found.compose["services"]["app"]["build"] == "."
    assert found.compose["services"]["app"]["ports"] == ["${HTTP_PORT}:5000"]
