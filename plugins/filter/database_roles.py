# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which database servers the apps of a server need beside them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: database_roles
short_description: Name the roles for the database servers that apps use
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Names the roles that install what apps are linked to on their own server. Links to a server in a container or on
    another host need none.
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
  engines:
    description: Engines that are wanted in any case.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Install the databases that the apps use
  ansible.builtin.include_role:
    name: "serverkit.core.{{ role }}"
  loop: "{{ my_apps | serverkit.core.database_roles }}"
  loop_control:
    loop_var: role
"""

RETURN = r"""
_value:
  description: Names of roles, sorted, such as V(mariadb).
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

ROLES = {
    "mariadb": "mariadb",
    "mysql": "mariadb",
    "postgresql": "postgresql",
    "redis": "redis",
    "mongodb": "mongodb",
}
_LOOPBACK = ("", "localhost", "127.0.0.1", "::1")


def database_roles(apps: Sequence[Mapping[str, Any]], engines: Iterable[str] = ()) -> list[str]:
    """Return the roles for the engines that are wanted, and for those that apps use on their own server.

    :raises AnsibleFilterError: if there is no role for an engine.
    """
    wanted = set(engines)
    for app in apps:
        if app.get("state") != "absent":
            wanted |= {link["engine"] for link in app.get("databases") or () if _of_the_host(link)}
    unknown = wanted - ROLES.keys()
    if unknown:
        raise AnsibleFilterError(f"there is no database engine {min(unknown)!r}; there are {', '.join(ROLES)}")
    return sorted({ROLES[engine] for engine in wanted})


def _of_the_host(link: Mapping[str, Any]) -> bool:
    server = link.get("server") or {}
    return link.get("state") != "absent" and not server.get("app") and (server.get("host") or "") in _LOOPBACK


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"database_roles": database_roles}
