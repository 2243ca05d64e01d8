# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Rendering: template and values in, Compose document, files and expectations out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import compose_ports
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose_files import Delivery, fill_in
from ansible_collections.serverkit.core.plugins.module_utils._plan.documents import renamed, resolved
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    Health,
    Publish,
    Published,
    Rendered,
    ServiceFacts,
    Template,
    Values,
)

# What templates call the port that browsers go to, the likeliest first.
_MAIN_VARIABLES = ("HTTP_PORT", "WEB_PORT", "PORT")


def render(template: Template, app: str, values: Values, publish: Publish) -> Rendered:
    """Return the template rendered for an app.

    :param publish: which address ports without a host address are published on: 127.0.0.1, or every one.
    :raises InputError: when a `${NAME:?message}` has no value, a port is not one, or a file belongs to no service.
    """
    unset: set[str] = set()
    document = resolved(template.compose, "", values.plain, values.sensitive, unset)
    if values.aliases:
        document = renamed(document, values.aliases)
    services: dict[str, Any] = {name: dict(service) for name, service in document["services"].items()}
    warnings = _unset_warnings(template, unset)
    published = _publish(services, values, publish, warnings)
    host_network = compose_ports.host_network_port(template, services)
    if host_network:
        service, port = host_network
        published.append(Published(service, "", port, "tcp", port, f"fixed:{port}/tcp"))
    main = _main(template, published)
    if main is None and template.main_port:
        warnings.append(f"main_port: no service publishes {template.main_port} over TCP, so nothing can lead to it")
    delivery = Delivery(template, values, services, main.service if main else "")
    document = {**document, "services": services}
    files = delivery.into(document)
    own = {name: value for name, value in values.sensitive.items() if name not in values.aliases}
    environment = {**values.plain, **values.sensitive} if delivery.whole_environment else own
    # The name goes first, since a person looks for it there; `version` has meant nothing since Compose v2.
    rest = {key: value for key, value in document.items() if key not in ("name", "version")}
    return Rendered(
        compose={"name": app, **rest},
        environment=environment,
        files=files,
        services=_facts(services),
        published=tuple(published),
        main=main,
        health=_health(template, main),
        notes={key: fill_in(text, values.plain) for key, text in template.shown_scripts.items()},
        warnings=tuple(warnings),
    )


def _unset_warnings(template: Template, unset: set[str]) -> list[str]:
    # A declared variable without a value is one that the author made optional.
    declared = {variable.name for variable in template.variables}
    return [f"the variable {name} is not set: ${{{name}}} is empty" for name in sorted(unset - declared)]


def _publish(services: dict[str, Any], values: Values, publish: Publish, warnings: list[str]) -> list[Published]:
    """Rewrite the services' `ports` for the address that they are published on, and return them one by one."""
    address = compose_ports.LOOPBACK if publish == "loopback" else ""
    leases = {port: name for name, port in values.ports.items()}
    published: list[Published] = []
    written: dict[str, list[Any]] = {}
    for service, entry in compose_ports.mappings(services):
        if "$" in entry.host + entry.target:
            raise InputError(f"publish {entry.where}", "a port cannot be made of a secret")
        mapping = entry.with_address(address)
        protocol = mapping.known_protocol()
        written.setdefault(service, []).append(mapping.written())
        if not mapping.host:
            warnings.append(f"{mapping.where}: Docker chooses a host port at every start; give one to have it reserved")
        for host, target in mapping.pairs():
            if protocol:
                lease = leases.get(host, f"fixed:{host}/{protocol}")
                published.append(Published(service, mapping.host_ip, host, protocol, target, lease))
    for service, entries in written.items():
        services[service]["ports"] = entries
    return published


def _main(template: Template, published: Sequence[Published]) -> Published | None:
    """Return the port that browsers go to: declared, or inferred from what templates usually look like."""
    candidates = [entry for entry in published if entry.protocol == "tcp"]
    if template.main_service:
        candidates = [entry for entry in candidates if entry.service == template.main_service]
    if template.main_port.isdecimal():
        candidates = [entry for entry in candidates if entry.target == int(template.main_port)]
    by_lease = {entry.lease: entry for entry in reversed(candidates)}
    if template.main_port and not template.main_port.isdecimal():
        return by_lease.get(template.main_port)
    ports = [variable.name for variable in template.variables if variable.type == "port"]
    for name in (*_MAIN_VARIABLES, *ports):
        if name in by_lease:
            return by_lease[name]
    # Only spelled-out ports are left: the first one, when a single service has them.
    return candidates[0] if len({entry.service for entry in candidates}) == 1 else None


def _health(template: Template, main: Published | None) -> Health:
    if template.health:
        return template.health
    return Health("auto" if main else "none")


def _facts(services: Mapping[str, Any]) -> dict[str, ServiceFacts]:
    completing = {
        name
        for service in services.values()
        if isinstance(service.get("depends_on"), dict)
        for name, condition in service["depends_on"].items()
        if isinstance(condition, dict) and condition.get("condition") == "service_completed_successfully"
    }
    return {
        name: ServiceFacts(
            image=str(service.get("image") or ""),
            one_shot=name in completing or service.get("restart") in ("no", False) or _fails_only(service),
            builds=bool(service.get("build")),
            has_healthcheck=_has_healthcheck(service.get("healthcheck")),
            container_name=str(service.get("container_name") or ""),
            started=not service.get("profiles"),
            replicas=_replicas(service),
        )
        for name, service in services.items()
    }


def _fails_only(service: Mapping[str, Any]) -> bool:
    return str(service.get("restart") or "").startswith("on-failure")


def _has_healthcheck(check: Any) -> bool:
    if not isinstance(check, dict) or str(check.get("disable")).lower() == "true":
        return False
    return bool(check.get("test")) and check["test"] != ["NONE"]


def _replicas(service: Mapping[str, Any]) -> int:
    deploy = service.get("deploy")
    wanted = service.get("scale", deploy.get("replicas") if isinstance(deploy, dict) else None)
    return int(wanted) if re.fullmatch(r"[0-9]{1,4}", str(wanted)) else 1
