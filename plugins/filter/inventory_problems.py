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
  - Finds names of apps, domains and slugs that are not valid, options of domains and databases that
    M(serverkit.core.serverkit_domain) and M(serverkit.core.serverkit_db_link) would refuse, apps that are listed
    twice, and names that two apps claim.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.serverkit.core.plugins.filter.domain_claims import domain_claims
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import domain, links, names
from ansible_collections.serverkit.core.plugins.modules.serverkit_db_link import LINK
from ansible_collections.serverkit.core.plugins.modules.serverkit_domain import ITEM

App = Mapping[str, Any]

_OF_PRIVATE_URLS = {
    "slug", "expires", "port", "check_port", "basic_auth", "buffering", "max_body_size", "timeouts", "websocket",
}  # fmt: skip


def inventory_problems(apps: Sequence[App]) -> list[str]:
    """Return a sentence for each problem, in the order of the list."""
    problems = [sentence for app in apps for sentence in _invalid(app)]
    for name, times in Counter(str(app.get("name")) for app in apps).items():
        if times > 1:
            problems.append(f"The app {name} is listed {times} times.")
    problems += _claimed_twice("domain", ((claim["name"], claim["app"]) for claim in domain_claims(apps)))
    problems += _claimed_twice("slug", _slugs(apps))
    return problems


def _invalid(app: App) -> list[str]:
    name = app.get("name")
    try:
        names.app_name(_plain(name))
    except InputError as error:
        return [str(error)]
    if app.get("state") == "absent":
        return []
    problems = []
    for item in app.get("domains") or ():
        problems += _invalid_domain(f"the domain {item.get('name')} of the app {name}", {**item, "app": name})
    problems += _invalid_links(app)
    private_url = app.get("private_url")
    if isinstance(private_url, Mapping):
        unknown = sorted(set(private_url) - _OF_PRIVATE_URLS)
        problems += [f"The private_url of the app {name} has no option {key!r}." for key in unknown]
        known = {key: value for key, value in private_url.items() if key in _OF_PRIVATE_URLS}
        problems += _invalid_domain(f"the private URL of the app {name}", {**known, "app": name, "private_url": True})
    elif private_url is not None and not isinstance(private_url, bool):
        problems.append(f"The private_url of the app {name} is neither true, false nor a mapping with options.")
    return problems


def _invalid_domain(what: str, item: Mapping[str, Any]) -> list[str]:
    return _invalid_item(what, item, ITEM, domain.parse)


def _invalid_links(app: App) -> list[str]:
    problems = []
    seen: Counter[str] = Counter()
    for item in app.get("databases") or ():
        link = str(item.get("name") or item.get("engine"))
        seen[link] += 1
        what = f"the database {link} of the app {app.get('name')}"
        problems += _invalid_item(what, {**item, "app": app.get("name")}, LINK, links.parse)
    problems += [
        f"The app {app.get('name')} has {times} links called {link}. Give each a name of its own."
        for link, times in seen.items()
        if times > 1
    ]
    return problems


def _invalid_item(
    what: str, item: Mapping[str, Any], spec: dict[str, Any], parse: Callable[[dict[str, Any]], object]
) -> list[str]:
    """Ask what the module is going to ask, in its own words."""
    checked = ArgumentSpecValidator(spec).validate(_plain(item))
    if checked.error_messages:
        return [f"In {what}: {message.rstrip('.')}." for message in checked.error_messages]
    try:
        parse(checked.validated_parameters)
    except InputError as error:
        return [f"In {what}: {error}"]
    return []


def _plain(value: Any) -> Any:
    """Return a value as a module gets it: what comes from an inventory has notes of where it was written."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return [_plain(part) for part in value] if isinstance(value, Sequence) else value


def _slugs(apps: Sequence[App]) -> Iterator[tuple[str, str]]:
    for app in apps:
        private_url = app.get("private_url")
        if app.get("state") != "absent" and isinstance(private_url, Mapping) and private_url.get("slug") is not None:
            yield str(private_url["slug"]), str(app.get("name"))


def _claimed_twice(kind: str, claims: Iterable[tuple[str, str]]) -> list[str]:
    claimants: dict[str, list[str]] = {}
    for name, app in claims:
        claimants.setdefault(name, []).append(app)
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
