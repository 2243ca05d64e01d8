# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the apps of an inventory to the items of serverkit_db_link."""

from __future__ import annotations

DOCUMENTATION = r"""
name: link_items
short_description: List the databases of apps for serverkit_db_link
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Makes the list that M(serverkit.core.serverkit_db_link) takes out of the apps of an inventory. What stays is linked
    before the apps are converged, what goes is unlinked after.
  - An app that goes keeps its databases and their users, unless it is purged.
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
  state:
    description: Whether the links that are to be there are listed, or those that are to go.
    type: str
    choices: [present, absent]
    default: present
  contained:
    description:
      - Leave out links to servers in containers of apps, or all others. The former can be made only once those apps
        run.
    type: bool
"""

EXAMPLES = r"""
- name: Link the apps
  serverkit.core.serverkit_db_link:
    links: "{{ my_apps | serverkit.core.link_items }}"
"""

RETURN = r"""
_value:
  description: The items for the option O(serverkit.core.serverkit_db_link#module:links).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

Item = dict[str, Any]


def link_items(apps: Sequence[Mapping[str, Any]], state: str = "present", contained: bool | None = None) -> list[Item]:
    """Return one item for each link of the apps that is to be there, or to go."""
    items = [item for app in apps for item in _items(app) if item.get("state", "present") == state]
    return [item for item in items if contained is None or bool((item.get("server") or {}).get("app")) == contained]


def _items(app: Mapping[str, Any]) -> list[Item]:
    links: list[Item] = [{**link, "app": app["name"]} for link in app.get("databases") or ()]
    if app.get("state") != "absent":
        return links
    # A word such as "no" is not nothing, and a module takes it for what it says.
    purge, skip_backup = (boolean(app.get(option), strict=False) for option in ("purge", "skip_backup"))
    if not purge:
        return []
    # Only what says which one it is: the rest is about a link that is there.
    known = ("app", "name", "engine", "server")
    purged = {"state": "absent", "drop": True, "skip_backup": skip_backup}
    return [{**{key: link[key] for key in known if key in link}, **purged} for link in links]


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"link_items": link_items}
