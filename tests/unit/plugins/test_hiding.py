# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be secret in the arguments of serverkit_app is out of Ansible's sight before the module is called."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import template_schema
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template
from ansible_collections.serverkit.core.plugins.plugin_utils import hiding

DOCUMENT: dict[str, Any] = {
    "name": "Web",
    "version": "1.0",
    "description": "A page",
    "variables": [{"name": "TITLE", "default": "x"}, {"name": "PASSWORD", "type": "password"}],
    "compose": {"services": {"web": {"image": "nginx:${VERSION:-1}"}}},
}
TEMPLATE = template_schema.parse(DOCUMENT, "web.yaml")
OPTIONS = ("name", "template", "variables", "secrets")


def hidden(item: dict[str, Any], template: Template | None = TEMPLATE) -> dict[str, Any]:
    hiding.hide(item, template, OPTIONS)
    return item


def test_what_the_template_calls_secret_is_moved() -> None:
    item = {"name": "blog", "variables": {"TITLE": "Blog", "VERSION": 2, "PASSWORD": "hunter2"}}
    assert hidden(item) == {
        "name": "blog",
        "variables": {"TITLE": "Blog", "VERSION": 2},
        "secrets": {"PASSWORD": "hunter2"},
    }


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"variables": {"PASWORD": "hunter2", "TITLE": "a"}}, {"variables": {"PASWORD": "", "TITLE": "a"}}),
        (
            {"variables": {"PASSWORD": "hunter2"}, "secrets": {"PASSWORD": "b"}},
            {"variables": {"PASSWORD": ""}, "secrets": {"PASSWORD": "b"}},
        ),
        ({"variables": "PASSWORD=hunter2"}, {"variables": {}, "secrets": {"PASSWORD": "hunter2"}}),
        ({"variables": "hunter2"}, {"variables": ""}),
        ({"variables": ["hunter2"]}, {"variables": []}),
        ({"variables": {"PASSWORD": "hunter2"}, "secrets": "x"}, {"variables": {"PASSWORD": ""}, "secrets": ""}),
        ({"password": "hunter2"}, {"password": ""}),
        ({"secret": {"PASSWORD": "hunter2"}}, {"secret": {}}),
        ({"variables": None}, {"variables": None}),
        ({}, {}),
    ],
)
def test_what_will_be_refused_keeps_its_shape_only(given: dict[str, Any], left: dict[str, Any]) -> None:
    assert hidden(given) == left


def test_without_a_template_no_value_is_kept() -> None:
    item = {"name": "blog", "template": "nope", "variables": {"A": "hunter2", "B": 1, "C": [1]}, "secrets": {"D": "x"}}
    kept = {"name": "blog", "template": "nope", "variables": {"A": "", "B": 0, "C": []}, "secrets": {"D": "x"}}
    assert hidden(item, None) == kept


def test_items_are_made_mappings_as_ansible_would() -> None:
    assert hiding.with_items({"name": "a"}) == {"name": "a"}
    shaped = hiding.with_items({"apps": [{"name": "a"}, "name=b secrets=c", "hunter2", 7]})
    assert shaped == {"apps": [{"name": "a"}, {"name": "b", "secrets": "c"}, "", 0]}
    assert list(hiding.items(shaped)) == [{"name": "a"}, {"name": "b", "secrets": "c"}]
    assert hiding.with_items({"apps": "hunter2"}) == {"apps": ""}
    assert list(hiding.items({"name": "a"})) == [{"name": "a"}]
