# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host names the apps of one server answer to, with no word of anything else about them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: domain_claims
short_description: List the host names that apps claim
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Lists the domains and aliases of the apps of a server and, below a private domain, the names of the private URLs
    whose slugs were chosen. Apps that are to be absent claim nothing.
  - The R(serverkit.core.app role,ansible_collections.serverkit.core.app_role) compares what it lists over all servers
    with P(serverkit.core.fleet_problems#filter).
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
  private_domain:
    description: The domain below which private URLs are, as in C(serverkit_private_domain). Empty for none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the names that the apps of a server have
  ansible.builtin.debug:
    msg: "{{ serverkit_apps | serverkit.core.domain_claims | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description: A dictionary with C(name), C(app) and C(shared) for each name.
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

Claim = dict[str, Any]


def domain_claims(apps: object, private_domain: str = "") -> list[Claim]:
    """Return the names in the order of the list, each once for an app.

    Whatever is not of the form that an inventory has claims nothing: others say that it is wrong.
    """
    claims: dict[tuple[str, str], Claim] = {}
    for app in _mappings(apps):
        if app.get("state") != "absent":
            for name, shared in _names(app, private_domain):
                owner = str(app.get("name"))
                # A domain may be repeated among its own aliases.
                claims.setdefault((owner, name), {"name": name, "app": owner, "shared": shared})
    return list(claims.values())


def _names(app: Mapping[str, Any], private_domain: str) -> Iterator[tuple[str, bool]]:
    for item in _mappings(app.get("domains")):
        names = [item.get("name"), *_strings(item.get("aliases"))]
        # A module takes words for it, too, and an argument spec of a role converts nothing.
        shared = boolean(item.get("shared"), strict=False)
        yield from ((str(name), shared) for name in names if isinstance(name, str))
    private_url = app.get("private_url")
    if private_domain and isinstance(private_url, Mapping) and isinstance(private_url.get("slug"), str):
        yield f"{private_url['slug']}.{private_domain}", False


def _strings(value: object) -> list[str]:
    # One text, with commas, is a list for modules.
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, Sequence) else ()
    return [name for name in listed if isinstance(name, str)]


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (item for item in value if isinstance(item, Mapping))


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"domain_claims": domain_claims}
