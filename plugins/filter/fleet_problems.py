# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host names two servers of an inventory claim, before any of them is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_problems
short_description: Find host names that two servers of an inventory claim
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Finds domains, aliases and private URLs that apps of two servers answer to, unless each of them says C(shared=true).
    Servers that are not in the play count as well, since they are in the inventory.
  - What the servers of the play say for themselves, in C(__app_claims), comes before their C(serverkit_apps) as other
    servers see it, since variables of a play are not seen there.
  - Reads the names of the domains and nothing else of a server's apps, so that no secret is looked up. A server whose
    apps cannot be read from here, for example since they depend on its facts, is named in a warning.
options:
  _input:
    description: The variables of all servers, which is C(hostvars).
    type: dict
    required: true
  hosts:
    description: The servers of the inventory.
    type: list
    elements: str
    required: true
  play_hosts:
    description: The servers of the play. Names that only other servers claim are left for the play that deploys them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse names that two servers claim
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ hostvars | serverkit.core.fleet_problems(groups['all'], ansible_play_hosts_all) }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: A sentence for each name.
  type: list
  elements: str
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.utils.display import Display
from ansible_collections.serverkit.core.plugins.filter.domain_claims import Claim, domain_claims
from jinja2 import Undefined
from jinja2.exceptions import TemplateError

Owner = tuple[str, str]


def fleet_problems(hostvars: Mapping[str, Any], hosts: Sequence[str], play_hosts: Collection[str]) -> list[str]:
    """Return a sentence for each name that is claimed on two hosts, at least one of them in the play."""
    owners: dict[str, dict[Owner, bool]] = {}
    for host in hosts:
        for claim in _claims(hostvars, host):
            owners.setdefault(claim["name"], {})[(claim["app"], host)] = claim["shared"]
    return [
        _sentence(name, claimants)
        for name, claimants in owners.items()
        if len({host for _app, host in claimants}) > 1
        and not all(claimants.values())
        and any(host in play_hosts for _app, host in claimants)
    ]


def _claims(hostvars: Mapping[str, Any], host: str) -> list[Claim]:
    try:
        variables = hostvars[host]
        stated = variables.get("__app_claims")
        if stated is not None:
            return list(stated)
        apps = variables.get("serverkit_apps")
        if isinstance(apps, Undefined):
            # What a whole variable lacks comes as a value; what is missing inside of one is raised.
            iter(apps)
        return domain_claims(apps, str(variables.get("serverkit_private_domain") or ""))
    except (AnsibleError, TemplateError) as error:
        Display().warning(
            f"The apps of {host} cannot be read from here ({error}), so it is not known whether they claim a domain "
            "that an app of this play claims."
        )
        return []


def _sentence(name: str, claimants: Mapping[Owner, bool]) -> str:
    named = " and ".join(f"the app {app} on {host}" for app, host in claimants)
    silent = [f"{app} on {host}" for (app, host), shared in claimants.items() if not shared]
    who = "each of them" if len(silent) == len(claimants) else " and ".join(silent)
    return (
        f"The domain {name} is claimed by {named}. Leave it to one of them, or let {who} say `shared: true` for it if "
        "they are to serve it together."
    )


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"fleet_problems": fleet_problems}
