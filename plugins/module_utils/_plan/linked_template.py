# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""A template whose app uses a linked database: what it brings in place of one is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan.compose_files import mounts
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import mentioned_names
from ansible_collections.serverkit.core.plugins.module_utils._values.database import MYSQL_FAMILY, bracketed
from ansible_collections.serverkit.core.plugins.module_utils._values.links import STORED_PARTS, secret_key
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    DatabaseUse,
    Template,
    TemplateFile,
    Values,
    Variable,
)

_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def same_engine(one: str, other: str) -> bool:
    """Return whether two names mean engines that an app cannot tell apart."""
    return one == other or {one, other} <= MYSQL_FAMILY


def replaces(use: DatabaseUse | None, engines: Collection[str]) -> bool:
    """Return whether one of these linked engines stands for the database that the template brings."""
    if use is None:
        return False
    return any(not use.engines or any(same_engine(engine, each) for each in use.engines) for engine in engines)


def linked(template: Template, engines: Collection[str]) -> tuple[Template, frozenset[str]]:
    """Return the template without what a linked database makes needless, and the variables that it makes needless.

    :param engines: those that the app is linked to; without one that the template can use, it stays as it is.
    """
    use = template.database
    if use is None or not replaces(use, engines):
        return template, frozenset()
    gone = {name: service for name, service in template.compose["services"].items() if name in use.replaces}
    reduced = replace(
        template,
        compose=_without(template.compose, gone, use),
        files=tuple(_kept_files(template, gone)),
        hooks={event: tuple(h for h in hooks if h.service not in gone) for event, hooks in template.hooks.items()},
    )
    needless = (_mentioned(template) - _mentioned(reduced)) | {*use.given.values()}
    declared = tuple(_idle(each) if each.name in needless else each for each in template.variables)
    return replace(reduced, variables=declared), frozenset(needless)


def with_link(
    values: Values,
    use: DatabaseUse | None,
    engines: Collection[str],
    links: Sequence[DatabaseLink],
    environment: Mapping[str, str],
) -> Values:
    """Return the values with those of the linked database in the variables that the template has for them.

    :param engines: those that the app is linked to; in check mode, `links` may not have them yet.
    :param environment: what `.env` holds of links.
    """
    if use is None or not replaces(use, engines):
        return values
    link = next((each for each in links if not each.env_prefix and replaces(use, [each.engine])), None)
    plain, sensitive, aliases = dict(values.plain), dict(values.sensitive), dict(values.aliases)
    for part, name in use.given.items():
        if link and part in STORED_PARTS:
            key = secret_key(link.name, part)
            plain.pop(name, None)
            sensitive[name], aliases[name] = environment.get(key, ""), key
        elif link:
            sensitive.pop(name, None)
            plain[name] = _value(link, part)
        else:
            plain[name] = f"<{part} of the linked database>"
    return replace(values, plain=plain, sensitive=sensitive, aliases=aliases)


def _value(link: DatabaseLink, part: str) -> str:
    values = {
        "host": link.host,
        "port": str(link.port),
        "address": f"{bracketed(link.host)}:{link.port}",
        "name": link.database,
        "prefix": f"{link.database}:",
    }
    return values[part]


def _idle(variable: Variable) -> Variable:
    """Return a variable that may be given and need not be, and is neither generated nor a leased port."""
    return Variable(variable.name, description=variable.description, hidden=True, sensitive=variable.sensitive)


def _mentioned(template: Template) -> frozenset[str]:
    in_files = {name for file in template.files if file.substitute for name in _BRACED.findall(file.content)}
    return mentioned_names(template) | in_files


def _without(compose: Mapping[str, Any], gone: Mapping[str, Any], use: DatabaseUse) -> dict[str, Any]:
    services = compose["services"]
    stay = {name: _detached(service, gone) for name, service in services.items() if name not in gone}
    for name in use.service or tuple(stay):
        if name in stay:
            stay[name] = _without_variables(stay[name], {*use.variables.values()})
    document = {**compose, "services": stay}
    for section in ("volumes", "configs", "secrets", "networks"):
        entries = document.get(section)
        if isinstance(entries, dict):
            needless = _named(section, gone.values()) - _named(section, stay.values())
            document[section] = {name: entry for name, entry in entries.items() if name not in needless}
            if not document[section]:
                del document[section]
    return document


def _detached(service: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """Return a service without what refers to those that are gone."""
    found = dict(service)
    for key in ("depends_on", "links", "volumes_from"):
        entries = found.get(key)
        if isinstance(entries, dict):
            found[key] = {name: entry for name, entry in entries.items() if name not in gone}
        elif isinstance(entries, list):
            found[key] = [entry for entry in entries if str(entry).partition(":")[0] not in gone]
        else:
            continue
        if not found[key]:
            del found[key]
    return found


def _without_variables(service: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a service without the variables that the link sets: they name the database that is gone."""
    environment = service.get("environment")
    if isinstance(environment, dict):
        return {**service, "environment": {name: value for name, value in environment.items() if name not in names}}
    if isinstance(environment, list):
        left = [entry for entry in environment if str(entry).partition("=")[0] not in names]
        return {**service, "environment": left}
    return dict(service)


def _named(section: str, services: Collection[Mapping[str, Any]]) -> set[str]:
    """Return the names of a section's entries that services use."""
    found: set[str] = set()
    for service in services:
        if section == "volumes":
            found |= {mount.source for mount in mounts(service)}
        else:
            for entry in service.get(section) or ():
                found.add(str(entry.get("source") if isinstance(entry, dict) else entry))
    return found


def _kept_files(template: Template, gone: Mapping[str, Any]) -> Iterator[TemplateFile]:
    services = template.compose["services"]
    for file in template.files:
        users = set(file.services or _users(file, services))
        if not users or users - gone.keys():
            yield replace(file, services=tuple(name for name in file.services if name not in gone))


def _users(file: TemplateFile, services: Mapping[str, Any]) -> Iterator[str]:
    """Yield the services that mount a file's path, or that mention a file that lies beside the Compose file."""
    path = PurePosixPath(file.path)
    for name, service in services.items():
        if path.is_absolute():
            if any(path.is_relative_to(mount.target) for mount in mounts(service)):
                yield name
        elif str(path) in json.dumps(service):
            yield name
