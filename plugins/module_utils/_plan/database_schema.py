# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The `database` section of a template: how its app uses a linked database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.problems import Problems, did_you_mean
from ansible_collections.serverkit.core.plugins.module_utils._values.database import ENGINES, MYSQL_FAMILY
from ansible_collections.serverkit.core.plugins.module_utils._values.links import PARTS
from ansible_collections.serverkit.core.plugins.module_utils._values.names import variable_name
from ansible_collections.serverkit.core.plugins.module_utils._values.template import DatabaseUse

KEYS = frozenset({"engine", "engines", "service", "services", "variables", "replaces"})


def parse(
    section: Any, variables: Collection[str], services: Collection[str], main: str, problems: Problems
) -> DatabaseUse | None:
    """Return what a section says, None where there is none.

    A mapping of parts of a link to variables of the template is the short form of it.

    :param variables: names of the template's variables.
    :param services: names of its services.
    :param main: its main service.
    """
    if section is None:
        return None
    if not isinstance(section, dict):
        problems.add("database", "it is not a mapping")
        return None
    if section and not section.keys() & KEYS:
        return DatabaseUse(given=_given(section, variables, problems))
    return _Section(section, services, main, problems).use()


def _given(section: Mapping[str, Any], variables: Collection[str], problems: Problems) -> dict[str, str]:
    for part, name in section.items():
        if part not in PARTS:
            problems.add(f"database.{part}", f"it is not one of {', '.join(sorted({*PARTS, *KEYS}))}")
        elif name not in variables:
            problems.add(f"database.{part}", f"there is no variable {name!r}{did_you_mean(str(name), variables)}")
    return {part: str(name) for part, name in section.items()}


class _Section:
    """Reads the long form; what is wrong goes to `problems`."""

    def __init__(self, section: Mapping[str, Any], services: Collection[str], main: str, problems: Problems) -> None:
        self._section = section
        self._services = services
        self._main = main
        self._problems = problems

    def use(self) -> DatabaseUse:
        for key in self._section:
            if key not in KEYS and not key.startswith("x-"):
                self._problems.unknown_key(f"database.{key}", key, KEYS)
        use = DatabaseUse(
            engines=self._engines(),
            service=self._names("service", "services"),
            variables=self._variables(),
            replaces=self._names("replaces"),
        )
        for name in use.replaces:
            if name == self._main or name in use.service:
                self._problems.add("database.replaces", f"{name} is the service that uses the database")
        if self._services and not set(self._services) - {*use.replaces}:
            self._problems.add("database.replaces", "no service would be left")
        return use

    def _engines(self) -> tuple[str, ...]:
        found = self._texts("engine", "engines")
        for engine in found:
            if engine not in ENGINES:
                self._problems.add("database.engines", f"{engine!r} is not one of {', '.join(ENGINES)}")
        # An app that speaks to one of the family speaks to the other.
        family = sorted(MYSQL_FAMILY - {*found}) if MYSQL_FAMILY & {*found} else []
        return (*found, *family)

    def _names(self, *keys: str) -> tuple[str, ...]:
        found = self._texts(*keys)
        for name in found:
            if name not in self._services:
                known = did_you_mean(name, self._services)
                self._problems.add(f"database.{keys[-1]}", f"there is no service {name!r}{known}")
        return found

    def _variables(self) -> dict[str, str]:
        section = self._section.get("variables")
        if section is None:
            return {}
        if not isinstance(section, dict):
            self._problems.add("database.variables", "it is not a mapping")
            return {}
        for part, name in section.items():
            if part not in PARTS:
                self._problems.add(f"database.variables.{part}", f"it is not one of {', '.join(PARTS)}")
            try:
                variable_name(name)
            except InputError as error:
                self._problems.add(f"database.variables.{part}", f"{name!r} is not a variable's name: {error.reason}")
        return {part: str(name) for part, name in section.items()}

    def _texts(self, *keys: str) -> tuple[str, ...]:
        """Return the texts of keys that take one text or a list of them."""
        found: dict[str, None] = {}
        for key in keys:
            value = self._section.get(key)
            listed = value if isinstance(value, list) else [] if value is None else [value]
            for item in listed:
                if not isinstance(item, str):
                    self._problems.add(f"database.{key}", f"{item!r} is not a text")
                else:
                    found[item] = None
        return tuple(found)
