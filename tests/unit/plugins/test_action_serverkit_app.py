# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

from ansible_collections.serverkit.core.plugins.action import serverkit_app as action
from ansible_collections.serverkit.core.plugins.module_utils._plan import template_schema
from ansible_collections.serverkit.core.plugins.plugin_utils.templates import LoadedTemplate

DOCUMENT: dict[str, Any] = {
    "id": "web",
    "name": "Web",
    "version": "1.0",
    "description": "A page",
    "variables": [{"name": "TITLE", "default": "x"}, {"name": "PASSWORD", "type": "password"}],
    "compose": {"services": {"web": {"image": "nginx"}}},
}
LOADED = LoadedTemplate("web.yaml", DOCUMENT, template_schema.parse(DOCUMENT, "web.yaml"))


def test_what_the_template_calls_secret_is_moved_out_of_sight() -> None:
    item: dict[str, Any] = {"name": "blog", "variables": {"TITLE": "Blog", "PASSWORD": "hunter2"}}
    action._move_secrets(item, LOADED)
    assert item == {"name": "blog", "variables": {"TITLE": "Blog"}, "secrets": {"PASSWORD": "hunter2"}}


def test_a_secret_given_twice_is_left_for_the_module_to_refuse() -> None:
    item: dict[str, Any] = {"variables": {"PASSWORD": "a"}, "secrets": {"PASSWORD": "b"}}
    action._move_secrets(item, LOADED)
    assert item == {"variables": {"PASSWORD": "a"}, "secrets": {"PASSWORD": "b"}}


def test_malformed_arguments_are_left_for_the_module_to_refuse() -> None:
    for item in ({"variables": "x"}, {"variables": {"PASSWORD": "a"}, "secrets": "x"}, {}):
        before = json.loads(json.dumps(item))
        action._move_secrets(item, LOADED)
        assert item == before
    assert list(action._items({"apps": [1, {"name": "a"}, "x"]})) == [{"name": "a"}]
    assert list(action._items({"name": "a"})) == [{"name": "a"}]


def test_the_diff_of_a_host_without_pyyaml_is_shown_as_yaml() -> None:
    result: dict[str, Any] = {
        "invocation": {"module_args": {"name": "blog", "definitions": "{}"}},
        "diff": [
            {
                "before_header": "blog/docker-compose.yml (json)",
                "after_header": "blog/docker-compose.yml (json)",
                "before": "",
                "after": '{"name": "blog"}',
            }
        ],
    }
    action._tidy(result)
    assert result["invocation"]["module_args"] == {"name": "blog"}
    assert result["diff"][0]["after"] == "name: blog\n"
    assert result["diff"][0]["after_header"] == "blog/docker-compose.yml"
    action._tidy({"failed": True})
