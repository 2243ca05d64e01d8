# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a list of apps, before any server is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_problems
short_description: Find what contradicts itself in a list of apps
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Finds names of apps, domains and slugs that are not valid, apps that are listed twice, and names that two apps
    claim.
  - The R(serverkit.core.app role,ansible_collections.serverkit.core.app_role) asks it before it touches a server. The
    modules refuse the same, one by one, when it is their turn.
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse apps that are in each other's way
  ansible.builtin.assert:
    that: serverkit_apps | serverkit.core.inventory_problems | length == 0
    fail_msg: "{{ serverkit_apps | serverkit.core.inventory_problems | join(' ') }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem.
  type: list
  elements: str
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import domain, names

App = Mapping[str, Any]


def inventory_problems(apps: Sequence[App]) -> list[str]:
    """Return a sentence for each problem, in the order of the list."""
    problems = [sentence for app in apps for sentence in _invalid_names(app)]
    for name, times in Counter(str(app.get("name")) for app in apps).items():
        if times > 1:
            problems.append(f"The app {name} is listed {times} times.")
    staying = [app for app in apps if app.get("state") != "absent"]
    problems += _claimed_twice("domain", ((name, app) for app in staying for name in _domains(app)))
    problems += _claimed_twice("slug", ((slug, app) for app in staying for slug in _slugs(app)))
    return problems


def _invalid_names(app: App) -> list[str]:
    checks: list[tuple[Callable[[object], str], object]] = [(names.app_name, app.get("name"))]
    if app.get("state") != "absent":
        checks += [(domain.domain_name, name) for name in _domains(app)]
        checks += [(domain.slug, slug) for slug in _slugs(app)]
    problems = []
    for check, value in checks:
        try:
            # A plain string: what comes from an inventory is one with a note of where it was written.
            check(str(value) if isinstance(value, str) else value)
        except InputError as error:
            problems.append(str(error))
    private_url = app.get("private_url")
    if isinstance(private_url, Mapping):
        unknown = sorted(set(private_url) - {"slug"})
        problems += [f"The private_url of the app {app.get('name')} has no option {key!r}." for key in unknown]
    elif private_url is not None and not isinstance(private_url, bool):
        problems.append(f"The private_url of the app {app.get('name')} is neither true, false nor a mapping with slug.")
    return problems


def _domains(app: App) -> list[str]:
    found = []
    for item in app.get("domains") or ():
        found += [item.get("name"), *(item.get("aliases") or ())]
    # A domain may be repeated among its own aliases.
    return list(dict.fromkeys(found))


def _slugs(app: App) -> list[str]:
    private_url = app.get("private_url")
    return [private_url["slug"]] if isinstance(private_url, Mapping) and "slug" in private_url else []


def _claimed_twice(kind: str, claims: Iterable[tuple[str, App]]) -> list[str]:
    claimants: dict[str, list[str]] = {}
    for name, app in claims:
        claimants.setdefault(name, []).append(str(app.get("name")))
    return [
        f"The {kind} {name} is claimed by the apps {' and '.join(dict.fromkeys(apps))}."
        for name, apps in claimants.items()
        if len(set(apps)) > 1
    ]


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"inventory_problems": inventory_problems}
