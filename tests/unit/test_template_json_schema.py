# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The description of the template format for editors says what the parser says."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan import (
    backup_schema,
    database_schema,
    template_schema,
    variable_schema,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import needs
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import QUIESCE
from ansible_collections.serverkit.core.plugins.module_utils._values.database import ENGINES
from ansible_collections.serverkit.core.plugins.module_utils._values.links import PARTS

jsonschema = pytest.importorskip("jsonschema", reason="comes with ansible-lint, in the main environment only")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "template.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("path", sorted((ROOT / "templates").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_librarys_templates_suit_it(path: pathlib.Path) -> None:
    document = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def test_schema_is_valid_and_has_the_same_keys() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    properties = SCHEMA["properties"]
    variable = SCHEMA["$defs"]["variable"]["properties"]
    assert set(properties) == template_schema.KEYS
    assert set(variable) == variable_schema.KEYS
    assert set(properties["files"]["items"]["properties"]) == template_schema.FILE_KEYS
    assert set(properties["health"]["properties"]) == template_schema.HEALTH_KEYS
    assert set(properties["database"]["oneOf"][2]["properties"]) == database_schema.KEYS
    assert set(properties["backup"]["properties"]) == backup_schema.KEYS
    assert properties["backup"]["properties"]["quiesce"]["enum"] == list(QUIESCE)
    assert set(SCHEMA["$defs"]["linkPart"]["enum"]) == {*PARTS}
    assert set(SCHEMA["$defs"]["engine"]["enum"]) == {*ENGINES}
    assert properties["hooks"]["propertyNames"]["enum"] == list(template_schema.HOOK_EVENTS)
    hook = properties["hooks"]["additionalProperties"]["items"]["properties"]
    assert set(hook) == template_schema.HOOK_KEYS
    assert properties["health"]["properties"]["type"]["enum"] == list(template_schema.HEALTH_TYPES)
    assert variable["type"]["enum"] == [*variable_schema.TYPES, None]
    assert variable["encoding"]["enum"] == [*variable_schema.ENCODINGS, None]
    assert SCHEMA["$defs"]["count"]["oneOf"][0]["maximum"] == variable_schema.MAX_LENGTH


BASE: dict[str, Any] = {"name": "A", "version": "1", "compose": {"services": {"app": {"image": "x"}}}}


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"x-mine": 1}, True),
        ({"database": {"engines": ["mysql"], "service": "app", "variables": {"url": "DB"}, "replaces": []}}, True),
        ({"database": {"engine": "oracle"}}, False),
        ({"database": {"variables": {"hostname": "DB"}}}, False),
        ({"compse": {}}, False),
        ({"version": 1.5}, True),
        ({"version": None}, False),
        ({"name": ["a"]}, False),
        ({"compose": {}}, False),
        ({"compose": []}, False),
        ({"compose": {"services": {}}}, False),
        ({"compose": {"services": {"a": {}}}}, False),
        ({"compose": {"services": {"a b": {"image": "x"}}}}, False),
        ({"compose": {"services": {"a": {"image": "x", "ports": "80:80"}}}}, False),
        ({"variables": {"P": {"type": "port", "default": 80}, "Q": None}}, True),
        ({"variables": [{"name": "P", "type": "prt"}]}, False),
        ({"variables": [{"type": "port"}]}, False),
        ({"variables": [{"name": "P", "typ": "port"}]}, False),
        ({"variables": [{"name": "P", "length": 0}]}, False),
        ({"variables": [{"name": "P", "encoding": "x"}]}, False),
        ({"variables": [{"name": "P", "choices": []}]}, False),
        ({"variables": [{"name": "P", "choices": ["a", {"value": "b", "label": "B"}]}]}, True),
        ({"variables": [{"name": "P", "generate": "password"}]}, True),
        ({"variables": [{"name": "P", "generate": "hash"}]}, False),
        ({"files": [{"path": "/a", "content": "", "mode": "0755", "service": "app"}]}, True),
        ({"files": [{"path": "/a/../b", "content": ""}]}, False),
        ({"files": [{"path": "/a:b", "content": ""}]}, False),
        ({"files": [{"path": "/a/", "content": ""}]}, False),
        ({"files": [{"path": "/a"}]}, False),
        ({"files": [{"path": "/a", "content": "", "mode": "9"}]}, False),
        ({"main_port": 80}, True),
        ({"main_port": "no name"}, False),
        ({"health": {"type": "http", "path": "/", "status": "200-299", "timeout": 5}}, True),
        ({"health": {"type": "x"}}, False),
        ({"health": {"path": "x"}}, False),
        ({"health": {"status": 99}}, False),
        ({"health": {"timeout": 0}}, False),
        ({"database": {"hostname": "X"}}, False),
        ({"hooks": {"post_deploy": [{"service": "app", "command": ["a"]}]}}, True),
        ({"hooks": {"post_deploy": [{"service": "app", "command": "a"}]}}, False),
        ({"hooks": {"never": []}}, False),
        ({"post_install": "x"}, True),
        ({"post_install": ["x"]}, False),
    ],
)
def test_schema_and_parser_agree(changes: dict[str, Any], valid: bool) -> None:
    changed = {**BASE, **changes}
    assert VALIDATOR.is_valid(changed) == valid
    if valid:
        template_schema.parse(changed, "a.yaml")
    else:
        with pytest.raises(InputError):
            template_schema.parse(changed, "a.yaml")


def test_the_complete_template_in_the_documentation() -> None:
    text = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
    blocks = [
        block for block in re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if "\ncompose:" in block
    ]
    (example,) = blocks
    guestbook = parse_yaml(example, "docs/templates.md")
    assert [error.message for error in VALIDATOR.iter_errors(guestbook)] == []
    template = template_schema.parse(guestbook, "docs/templates.md")
    found = needs(template, "a", given={"SMTP_HOST": "x"}, secrets={"SMTP_PASSWORD": "y"}, stored={})
    assert [variable.name for variable in found.generated] == ["DB_PASSWORD"]
