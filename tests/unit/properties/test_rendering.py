# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose accepts what templates become, whatever values they are given, and reads those values from it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.randomness import generate
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import dump_yaml, parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose import render
from ansible_collections.serverkit.core.plugins.module_utils._plan.template_schema import parse
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import needs, resolve
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Rendered, Template
from hypothesis import strategies as st

LIBRARY = sorted((pathlib.Path(__file__).resolve().parents[3] / "templates").glob("*.yaml"))


def deploy(template: Template, given: dict[str, str], secrets: dict[str, str]) -> Rendered:
    assigned: dict[str, Any] = {"given": given, "secrets": secrets, "stored": {}}
    found = needs(template, "my-app", **assigned)
    ports = {request.name: request.start for request in found.ports}
    generated = {variable.name: generate(variable) for variable in found.generated}
    values = resolve(template, "my-app", **assigned, ports=ports, generated=generated)
    return render(template, "my-app", values, "loopback")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_compose_accepts_the_librarys_templates(compose: Any, path: pathlib.Path) -> None:
    found = deploy(parse(parse_yaml(path.read_text(encoding="utf-8"), path.name), path.name), {}, {})
    config = compose.config(dump_yaml(found.compose), dotenv.encode(found.environment))
    assert isinstance(config, dict), config
    assert config["name"] == "my-app"
    ports = [port for service in config["services"].values() for port in service.get("ports", [])]
    assert [(port["host_ip"], port["published"]) for port in ports] == [("127.0.0.1", "8000")]


def test_any_value_of_a_variable_reaches_the_container(compose: Any, judge: Any) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    dangerous = st.text(st.sampled_from("$#'\"\\\n\r\t `={}()!%&*?-:;,|<>@[]a0é\u2028"), max_size=20)

    def disagreement(values: Sequence[tuple[str, str]]) -> str:
        numbers = range(len(values))
        names = [name for number in numbers for name in (f"P{number}", f"S{number}")]
        document = {
            "name": "A",
            "version": "1",
            "variables": [{"name": name} for name in names],
            "compose": {
                "services": {
                    "app": {
                        "image": "x",
                        "environment": {f"V{number}": f"<${{P{number}}}|${{S{number}}}>" for number in numbers},
                    }
                }
            },
        }
        given = {f"P{number}": values[number][0] for number in numbers}
        secrets = {f"S{number}": values[number][1] for number in numbers}
        found = deploy(parse(document, "a.yaml"), given, secrets)
        config = compose.config(dump_yaml(found.compose), dotenv.encode(found.environment))
        if not isinstance(config, dict):
            return str(config)
        read = config["services"]["app"]["environment"]
        expected = {f"V{number}": f"<{values[number][0]}|{values[number][1]}>" for number in numbers}
        return "" if {name: text.replace("$$", "$") for name, text in read.items()} == expected else f"{read!r}"

    judge(st.tuples(texts | dangerous, texts | dangerous), disagreement)
