# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `app` says about domains and databases is what the modules take, option for option."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml
from ansible_collections.serverkit.core.plugins.modules.serverkit_backup import BACKUP
from ansible_collections.serverkit.core.plugins.modules.serverkit_db_link import LINK
from ansible_collections.serverkit.core.plugins.modules.serverkit_domain import ITEM, TASK

ROOT = pathlib.Path(__file__).resolve().parents[3]
SPECS = yaml.safe_load((ROOT / "roles/app/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
MAIN = SPECS["main"]["options"]
# What the role itself makes of the app.
OF_THE_ROLE = {"app", "private_url", "slug", "expires", "state"}

Options = dict[str, dict[str, Any]]


def shape(options: Options) -> Options:
    """Return what decides about a value, without its documentation."""
    return {
        name: {
            **{
                key: spec[key]
                for key in ("type", "elements", "choices", "default", "required", "no_log")
                if key in spec and not (key == "default" and spec[key] is None)
            },
            **({"options": shape(spec["options"])} if "options" in spec else {}),
        }
        for name, spec in options.items()
    }


def test_a_domain_has_the_options_of_the_module() -> None:
    wanted = {name: spec for name, spec in ITEM.items() if name not in OF_THE_ROLE}
    wanted["name"] = {**ITEM["name"], "required": True}
    assert shape(MAIN["serverkit_apps"]["options"]["domains"]["options"]) == shape(wanted)


def test_a_database_has_the_options_of_the_module() -> None:
    # Which app it is the inventory says already, and what it says it says for ever: a rotation happens once.
    wanted = {name: spec for name, spec in LINK.items() if name not in ("app", "rotate")}
    wanted["engine"] = {**LINK["engine"], "required": True}
    assert shape(MAIN["serverkit_apps"]["options"]["databases"]["options"]) == shape(wanted)


def test_a_backup_has_the_options_of_the_module() -> None:
    # The role says when, and for all apps what to do where one says nothing.
    wanted = {name: BACKUP[name] for name in ("quiesce", "exclude", "keep")}
    counts = {name: {**spec, "default": None} for name, spec in BACKUP["keep"]["options"].items()}
    wanted["keep"] = {**BACKUP["keep"], "options": counts}
    assert shape(MAIN["serverkit_apps"]["options"]["backup"]["options"]) == shape(wanted)


@pytest.mark.parametrize(
    ("prefix", "option", "without"),
    [("serverkit_acme_", "acme", set()), ("serverkit_private_domain_", "private_domain", {"name"})],
)
def test_a_setting_of_the_task_is_a_variable_of_the_role(prefix: str, option: str, without: set[str]) -> None:
    variables = {name.removeprefix(prefix): spec for name, spec in MAIN.items() if name.startswith(prefix)}
    assert shape(variables) == shape({k: v for k, v in TASK[option]["options"].items() if k not in without})


def test_the_playbook_that_removes_has_the_same_private_domain() -> None:
    names = {name for name in MAIN if name.startswith("serverkit_private_domain")}
    removing = SPECS["remove"]["options"]
    assert {name: removing[name] for name in names} == {name: MAIN[name] for name in names}
