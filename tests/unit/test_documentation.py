# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipes of the documentation are taken by what will read them."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverkit.core.plugins.filter.inventory_problems import inventory_problems
from ansible_collections.serverkit.core.plugins.modules import (
    serverkit_app,
    serverkit_backup,
    serverkit_db_link,
    serverkit_domain,
    serverkit_port,
    serverkit_program,
    serverkit_restore,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MODULES = (
    serverkit_app,
    serverkit_backup,
    serverkit_db_link,
    serverkit_domain,
    serverkit_port,
    serverkit_program,
    serverkit_restore,
)
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _known() -> dict[str, Any]:
    """Return the options of all roles; those of the role that apps are listed for say most of `serverkit_apps`."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            for name, option in entry.get("options", {}).items():
                found.setdefault(name, option)
    return found


KNOWN = _known()
# Between roles, and not for an inventory.
INTERNAL = {"serverkit_certbot_acme"}
# What a template would put there.
PEM = {
    "certificate": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "private_key": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
}


def recipes() -> Iterator[Any]:
    """Yield the variables of each example that is a piece of an inventory."""
    for page in ("backups.md", "certificates.md", "databases.md", "domains.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text[: found.start()].count("\n") + 2
            loaded = yaml.safe_load(found.group(1))
            if isinstance(loaded, dict):
                yield pytest.param(_variables(loaded), id=f"{page}:{line}")


def _variables(loaded: dict[str, Any]) -> dict[str, Any]:
    loaded = loaded["all"]["vars"] if "all" in loaded else loaded
    of_app = {name: value for name, value in loaded.items() if name in ("domains", "databases")}
    variables = {name: value for name, value in loaded.items() if name not in of_app}
    if of_app:
        variables["serverkit_apps"] = [{"name": "my-app", "template": "node-app", **of_app}]
    for app in variables.get("serverkit_apps", []):
        for domain in app.get("domains", []):
            domain.update({name: text for name, text in PEM.items() if name in domain})
    return variables


@pytest.mark.parametrize("variables", list(recipes()))
def test_a_recipe_is_valid(variables: dict[str, Any]) -> None:
    assert set(variables) <= set(KNOWN)
    checked = ArgumentSpecValidator({name: KNOWN[name] for name in variables}).validate(variables)
    assert checked.error_messages == []
    # As the role gives it, which has its options looked at, and not filled in.
    assert inventory_problems(variables.get("serverkit_apps", [])) == []


def test_there_are_recipes() -> None:
    assert len(list(recipes())) > 20


def test_the_list_of_all_variables_has_all_of_them() -> None:
    page = (DOCS / "inventory.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(serverkit_[a-z_]+)`", page.partition("## All variables\n")[2].partition("\n## ")[0]))
    wanted = {name for name in KNOWN if name.startswith("serverkit_")} - INTERNAL
    # Variables of playbooks, which no role has.
    assert listed == wanted | {"serverkit_hosts", "serverkit_database_engines"}


def test_the_way_of_a_backup_and_of_a_restore_has_all_of_its_files() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `((?:backup|restore)_[a-z_]+)` \|", page, re.MULTILINE)
    folder = ROOT / "plugins/module_utils/_runner"
    assert sorted(listed) == sorted(path.stem for kind in ("backup", "restore") for path in folder.glob(f"{kind}_*.py"))


def examples() -> Iterator[Any]:
    """Yield the options of each call of a module in its EXAMPLES."""
    for module in MODULES:
        for task in yaml.safe_load(module.EXAMPLES):
            for name, options in task.items():
                if name == f"serverkit.core.{module.__name__.rpartition('.')[2]}":
                    yield pytest.param(module, options or {}, id=task["name"])


@pytest.mark.parametrize(("module", "options"), list(examples()))
def test_an_example_is_valid(module: Any, options: dict[str, Any]) -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert set(options) <= {*documented, "registry_dsn", "registry_host"}
    checked = ArgumentSpecValidator(_specification(documented)).validate(_filled(options))
    assert checked.error_messages == []


def _specification(documented: dict[str, Any]) -> dict[str, Any]:
    """Return an argument spec made of what is documented, which validate-modules compares with the module's own."""
    kept = ("type", "elements", "choices", "default", "required")
    return {
        name: {key: option[key] for key in kept if key in option}
        | ({"options": _specification(option["suboptions"])} if "suboptions" in option else {})
        for name, option in documented.items()
    }


def _filled(value: Any) -> Any:
    """Return options with something in the place of what a template would put there."""
    if isinstance(value, dict):
        return {name: _filled(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry) for entry in value]
    return {"server": "192.0.2.53"} if value == "{{ vault_dns }}" else value


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")) + [ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _hash, fragment = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if fragment:
            assert fragment in _anchors(linked), target


def _anchors(page: pathlib.Path) -> set[str]:
    """Return what the headings can be linked by, as most renderers of Markdown make it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
