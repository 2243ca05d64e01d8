# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps what may be secret in the arguments of serverkit_app out of Ansible's sight, before the module is called.

Ansible shows the arguments with `-vvv`, failures included, and the host's log gets them. Of our module it leaves out
what is below `secrets`. So what a template calls secret is moved there; and whatever the module will refuse anyway
(variables of no template, options that there are not, texts where mappings belong) loses its values and keeps its
shape: the message is the same, and a password that was put in the wrong place is not shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible.module_utils.common.validation import check_type_dict
from ansible_collections.serverkit.core.plugins.module_utils._plan import variables
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template


def with_items(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with each item as a mapping, where Ansible would make one of it; others are emptied."""
    shaped = dict(arguments)
    if "apps" in shaped:
        apps = shaped["apps"]
        shaped["apps"] = [_mapping(item) for item in apps] if isinstance(apps, list) else _emptied(apps)
    return shaped


def items(arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the items of a task; what is malformed is left for the module to refuse."""
    apps = arguments.get("apps")
    for item in apps if isinstance(apps, list) else [arguments]:
        if isinstance(item, dict):
            yield item


def hide(item: dict[str, Any], template: Template | None, options: Collection[str]) -> None:
    """Change an item so that nothing is shown of it that may be secret.

    :param template: None where it is not known, so that nothing is known about its variables either.
    :param options: those that the module has.
    """
    for option in item.keys() - set(options):
        item[option] = _emptied(item[option])
    for option in ("variables", "secrets"):
        if option in item:
            item[option] = _mapping(item[option])
    given, secrets = item.get("variables"), item.get("secrets")
    if not isinstance(given, dict):
        return
    if secrets is None:
        secrets = {}
    if not isinstance(secrets, dict):
        template, secrets = None, {}  # it is refused, and so can nothing be moved there
    plain = variables.known_names(template) if template else frozenset[str]()
    hidden = {each.name for each in template.variables if each.sensitive or each.generated} if template else set[str]()
    moved = {name: value for name, value in given.items() if name in hidden and name not in secrets}
    item["variables"] = {
        name: value if name in plain - hidden else _emptied(value) for name, value in given.items() if name not in moved
    }
    if moved:
        item["secrets"] = {**secrets, **moved}


def _mapping(value: Any) -> Any:
    """Return the mapping that Ansible makes of a text such as `A=1 B=2`; what it would refuse is emptied."""
    if value is None or isinstance(value, dict):
        return value
    try:
        return check_type_dict(value)
    except TypeError:
        return _emptied(value)


def _emptied(value: Any) -> Any:
    """Return a value of the same type without content."""
    return None if value is None else type(value)()
