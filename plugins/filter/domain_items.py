# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the apps of an inventory to the items of serverkit_domain."""

from __future__ import annotations

DOCUMENTATION = r"""
name: domain_items
short_description: List the domains and private URLs of apps for serverkit_domain
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Makes the list that M(serverkit.core.serverkit_domain) takes out of the apps of an inventory and what
    M(serverkit.core.serverkit_app) returned for them. With O(serverkit.core.serverkit_domain#module:exclusive), names
    that the inventory does not list any more are taken away.
  - Apps that failed are left out, so that they keep the names they have. An app that is to have no name gets an item
    that says so.
  - An app has a private URL unless it says otherwise, if it has a port that one could lead to.
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
  results:
    description: What M(serverkit.core.serverkit_app) returned in RV(serverkit.core.serverkit_app#module:results).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Converge the apps
  serverkit.core.serverkit_app:
    apps: "{{ my_apps }}"
  register: converged

- name: Converge their domains
  serverkit.core.serverkit_domain:
    domains: "{{ my_apps | serverkit.core.domain_items(converged.results) }}"
    exclusive: true
"""

RETURN = r"""
_value:
  description: The items for the option O(serverkit.core.serverkit_domain#module:domains).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Item = dict[str, Any]


def domain_items(apps: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return one item for each domain and private URL of the apps that did not fail."""
    done = {result["name"]: result for result in results if not result.get("failed")}
    return [item for app in apps if app["name"] in done for item in _items(app, done[app["name"]])]


def _items(app: Mapping[str, Any], result: Mapping[str, Any]) -> list[Item]:
    nothing: list[Item] = [{"app": app["name"], "state": "absent"}]
    if app.get("state") == "absent":
        return nothing
    items: list[Item] = [{**domain, "app": app["name"]} for domain in app.get("domains") or ()]
    private_url = app.get("private_url")
    if private_url is None:
        private_url = result.get("main_port") is not None
    if private_url is not False:
        options = private_url if isinstance(private_url, Mapping) else {}
        items.append({**options, "app": app["name"], "private_url": True})
    return items or nothing


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"domain_items": domain_items}
