# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the apps of an inventory to the items of serverkit_app."""

from __future__ import annotations

DOCUMENTATION = r"""
name: app_items
short_description: List apps for serverkit_app
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Makes the list that M(serverkit.core.serverkit_app) takes out of the apps of an inventory, which says more about
    them than that module wants to know.
  - Apps whose database could not be linked are left out, so that they stay as they are.
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
  links:
    description:
      - What M(serverkit.core.serverkit_db_link) returned in RV(serverkit.core.serverkit_db_link#module:results).
    type: list
    elements: dict
    default: []
  servers_only:
    description:
      - List only the apps in whose containers the database servers of links are, and list them without links of their
        own.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Link the apps
  serverkit.core.serverkit_db_link:
    links: "{{ my_apps | serverkit.core.link_items }}"
  register: linked

- name: Converge the apps
  serverkit.core.serverkit_app:
    apps: "{{ my_apps | serverkit.core.app_items(linked.results) }}"
"""

RETURN = r"""
_value:
  description: The items for the option O(serverkit.core.serverkit_app#module:apps).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Item = dict[str, Any]

_OF_OTHER_MODULES = {"domains", "private_url", "databases", "backup"}


def app_items(
    apps: Sequence[Mapping[str, Any]], links: Sequence[Mapping[str, Any]] = (), servers_only: bool = False
) -> list[Item]:
    """Return one item for each app whose links did not fail, or that links need before they can be made."""
    if servers_only:
        servers = _servers(apps)
        # Without `databases`, an app uses the links that it has, if any.
        return [_item({**app, "databases": None}) for app in apps if app["name"] in servers]
    # A link is called after its app: my-blog/postgresql.
    failed = {str(link["name"]).partition("/")[0] for link in links if link.get("failed")}
    return [_item(app) for app in apps if app["name"] not in failed]


def _servers(apps: Sequence[Mapping[str, Any]]) -> set[str]:
    links = [link for app in apps if app.get("state") != "absent" for link in app.get("databases") or ()]
    return {str((link.get("server") or {}).get("app")) for link in links if link.get("state") != "absent"}


def _item(app: Mapping[str, Any]) -> Item:
    item = {option: value for option, value in app.items() if option not in _OF_OTHER_MODULES}
    if app.get("databases") is None or app.get("state") == "absent":
        return item
    staying = (link["engine"] for link in app["databases"] if link.get("state") != "absent")
    return {**item, "databases": list(dict.fromkeys(staying))}


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"app_items": app_items}
