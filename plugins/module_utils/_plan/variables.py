# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The values of an app's variables: what has to be reserved or generated, and what each is worth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import compose_ports, interpolation, variable_schema
from ansible_collections.serverkit.core.plugins.module_utils._plan.documents import resolved, texts
from ansible_collections.serverkit.core.plugins.module_utils._plan.problems import Problems, did_you_mean
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import (
    FIRST_PORT,
    LAST_PORT,
    PortRequest,
    Protocols,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template, Values, Variable

# Every process has variables of these names, and Compose prefers them to those of `.env`.
_PROCESS = re.compile(
    r"HOME|LANG|LANGUAGE|LC_\w+|LOGNAME|MAIL|OLDPWD|PATH|PWD|SHELL|SHLVL|TERM|TMPDIR|USER|SUDO_\w+|SSH_\w+"
)


@dataclass(frozen=True)
class Needs:
    """What must be had from outside before the variables have values.

    `ports` holds the requests of the port variables (named as the variable) and of the host ports that the template
    spells out (named `fixed:8080/tcp`), the latter first: no variable may be given a port that is spelled out.
    """

    ports: tuple[PortRequest, ...]
    generated: tuple[Variable, ...]


def needs(
    template: Template,
    app: str,
    *,
    given: Mapping[str, Any],
    secrets: Mapping[str, Any],
    stored: Mapping[str, str],
) -> Needs:
    """Return which ports to reserve and which values to generate.

    :param given: the app's `variables`, as the inventory has them.
    :param secrets: the app's `secrets`: the same, but always sensitive.
    :param stored: the content of the app's present `.env`.
    :raises InputError: listing every problem of the given values.
    """
    values = _Assigned(template, app, given, secrets).settled(stored)
    ports = [variable for variable in template.variables if variable.type == "port"]
    missing = [variable for variable in template.variables if variable.generated and variable.name not in values]
    # Ports and generated values stand in as references: what they will be worth does not matter here.
    unknown = {variable.name: "0" for variable in (*ports, *missing)}
    plain = {name: value for name, (value, _sensitive) in values.items() if name not in unknown}
    services = {
        name: resolved(
            {key: service.get(key) for key in ("ports", "network_mode")}, f"services.{name}", plain, unknown, set()
        )
        for name, service in template.compose.get("services", {}).items()
    }
    used, fixed = compose_ports.reservations(services, [variable.name for variable in ports])
    unpublished = compose_ports.host_network_port(template, services)
    if unpublished and (unpublished[1], "tcp") not in fixed:
        fixed.append((unpublished[1], "tcp"))
    requests = [fixed_request(app, port, protocol) for port, protocol in fixed]
    requests += [_request(app, variable, used[variable.name], values) for variable in ports]
    return Needs(tuple(requests), tuple(missing))


def resolve(
    template: Template,
    app: str,
    *,
    given: Mapping[str, Any],
    secrets: Mapping[str, Any],
    stored: Mapping[str, str],
    ports: Mapping[str, int],
    generated: Mapping[str, str],
) -> Values:
    """Return the value of every variable: given, else stored (generated ones only), else default, else generated.

    :param ports: numbers by name of the lease, for every request of `needs`; fixed ones may be among them.
    :param generated: a value for each variable of `needs(...).generated`.
    :raises InputError: listing every problem of the given values.
    """
    values = _Assigned(template, app, given, secrets).settled(stored)
    leased = {variable.name: ports[variable.name] for variable in template.variables if variable.type == "port"}
    values.update({name: (str(port), False) for name, port in leased.items()})
    values.update({name: (value, True) for name, value in generated.items() if name not in values})
    return Values(
        plain={"APP_NAME": app, **{name: value for name, (value, sensitive) in values.items() if not sensitive}},
        sensitive={name: value for name, (value, sensitive) in values.items() if sensitive},
        ports=leased,
    )


def known_names(template: Template) -> frozenset[str]:
    """Return the variables that an app can set: declared ones, and those that `${VERSION:-6.4}` merely mentions."""
    return frozenset(variable.name for variable in template.variables) | mentioned_names(template)


def mentioned_names(template: Template) -> frozenset[str]:
    """Return the variables that the template uses, declared or not."""
    found: set[str] = set()
    for _where, text in texts(template.compose, ""):
        found |= interpolation.names_in(text)
    return frozenset(found) - variable_schema.BUILT_IN


def fixed_request(app: str, port: int, protocol: Protocol) -> PortRequest:
    """Return the request for a host port that a template spells out."""
    return PortRequest(owner=app, name=f"fixed:{port}/{protocol}", protocol=protocol, port=port)


def _request(
    app: str, variable: Variable, protocols: set[Protocol], values: Mapping[str, tuple[str, bool]]
) -> PortRequest:
    protocol: Protocols = "both" if len(protocols) > 1 else next(iter(protocols), "tcp")
    wanted = values.get(variable.name)
    default = int(variable.default or 0)
    # Defaults such as 80 or 3000 are what the program listens on, not a wish for that port of the host.
    start = default if FIRST_PORT <= default <= LAST_PORT else FIRST_PORT
    return PortRequest(app, variable.name, protocol, start, int(wanted[0]) if wanted else None)


class _Assigned:
    """What the user gave an app, checked against its template."""

    def __init__(self, template: Template, app: str, given: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        self._template = template
        self._app = app
        self._problems = Problems()
        self._failed: set[str] = set()
        self._declared = {variable.name: variable for variable in template.variables}
        self._given = self._checked("variables", given)
        self._secrets = self._checked("secrets", secrets)
        for name in self._given.keys() & self._secrets.keys():
            self._problems.add(f"secrets.{name}", "it is among the variables as well")

    def settled(self, stored: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
        """Return (value, is sensitive) by name for all but ports and values that are yet to be generated.

        A port that the user asks for is there, one that is to be found is not.
        """
        values: dict[str, tuple[str, bool]] = {}
        for name, variable in self._declared.items():
            value = self._settled(variable, stored)
            if value is None or (value == "" and variable.required):
                self._missing(variable)
            else:
                values[name] = (value, variable.sensitive or name in self._secrets)
        values.update({name: (value, False) for name, value in self._given.items() if name not in values})
        values.update({name: (value, True) for name, value in self._secrets.items() if name not in values})
        for name, (_value, sensitive) in values.items():
            if sensitive and _PROCESS.fullmatch(name):
                self._problems.add(f"secrets.{name}", "every program has a variable of that name; choose another one")
        if self._problems.found:
            raise InputError(
                f"set the variables of the app {self._app}",
                "; ".join(self._problems.found),
                f"The template {self._template.id} has: {self._listed()}",
            )
        return values

    def _settled(self, variable: Variable, stored: Mapping[str, str]) -> str | None:
        for source in (self._secrets, self._given, stored if variable.generated else {}):
            if variable.name in source:
                return source[variable.name]
        return None if variable.type == "port" else variable.default

    def _missing(self, variable: Variable) -> None:
        if (
            variable.required
            and not variable.generated
            and variable.type != "port"
            and variable.name not in self._failed
        ):
            option = "secrets" if variable.sensitive else "variables"
            hint = f" ({variable.description})" if variable.description else ""
            self._problems.add(f"{option}.{variable.name}", f"it is required and has no value{hint}")

    def _checked(self, option: str, given: Mapping[str, Any]) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, value in given.items():
            problem = self._unknown(name)
            if value is None and not problem:  # `NAME:` in YAML: as if it were not there
                continue
            text = ""
            if not problem:
                text, problem = self._text(name, value, sensitive=option == "secrets")
            if problem:
                self._failed.add(name)
                self._problems.add(f"{option}.{name}", problem)
            else:
                values[name] = text
        return values

    def _text(self, name: str, value: Any, *, sensitive: bool) -> tuple[str, str]:
        variable = self._declared.get(name, Variable(name))
        variable = replace(variable, sensitive=sensitive or variable.sensitive)
        try:
            text = variable_schema.normal(variable.type, variable_schema.to_text(value))
        except ValueError as error:
            return "", str(error)
        return text, variable_schema.check(variable, text)

    def _unknown(self, name: str) -> str:
        if name in self._declared:
            return ""
        if name in variable_schema.BUILT_IN:
            return "it is set by the collection"
        mentioned = mentioned_names(self._template)
        if name in mentioned:
            return ""
        return f"the template has no such variable{did_you_mean(name, {*self._declared, *mentioned})}"

    def _listed(self) -> str:
        return ", ".join(_labels(self._template.variables)) or "no variables"


def _labels(variables: Iterable[Variable]) -> Iterator[str]:
    for variable in variables:
        if not variable.hidden:
            yield variable.name
