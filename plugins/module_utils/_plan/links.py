# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Linking apps to databases: what their containers get, and who may have which database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import database, database_url
from ansible_collections.serverkit.core.plugins.module_utils._values.links import STORED_PARTS, secret_key
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink

# How containers call the machine that they run on; `host-gateway` is Docker's word for its address
# (https://docs.docker.com/reference/cli/docker/container/run/#add-host).
GATEWAY = "host.docker.internal"

# What `DatabaseLink.options` may hold.
STATE = "state"  # "linked", or "unlinked" where only the data is left
NETWORK = "network"  # the Docker network of the server's container
VARIABLES = "variables"  # names of variables instead of the usual or declared ones: name -> part
TLS = "tls"  # the server wants it
UNVERIFIED = "unverified"  # and its certificate is not checked
CA = "ca_cert"  # or with this file on the host
UNLINKED = "unlinked"


class Use(Protocol):
    """What an app's template says about a linked database."""

    @property
    def engines(self) -> Sequence[str]: ...

    @property
    def service(self) -> Sequence[str]: ...

    @property
    def variables(self) -> Mapping[str, str]: ...


def linked(links: Sequence[DatabaseLink], app: str) -> tuple[DatabaseLink, ...]:
    """Return the links of an app that its containers are to know of."""
    return tuple(link for link in links if link.app == app and link.options.get(STATE) != UNLINKED)


def override(links: Sequence[DatabaseLink], document: Mapping[str, Any], use: Use | None) -> dict[str, Any]:
    """Return the Compose document that is laid over an app's own; empty where there is nothing to add.

    Services that the app's document does not have are left out: Compose refuses a project in which a service has
    neither an image nor a build section.

    :param links: those of the app.
    :param document: the app's Compose document.
    :param use: what the app's template says of a linked database; None when it says nothing.
    """
    present: Mapping[str, Any] = document.get("services") or {}
    services: dict[str, dict[str, Any]] = {}
    networks: dict[str, Any] = {}
    for link in sorted(links, key=lambda link: link.name):
        for name in targets(link, tuple(present), use):
            service = services.setdefault(name, {"environment": {}})
            service["environment"].update(environment(link, use))
            if link.host == GATEWAY:
                service["extra_hosts"] = [f"{GATEWAY}:host-gateway"]
            elif link.options.get(NETWORK):
                _join(service, present[name] or {}, str(link.options[NETWORK]), networks)
    # The same links make the same text, in whichever order the registry or a kept release gives them back.
    ordered = {
        name: {**services[name], "environment": dict(sorted(services[name]["environment"].items()))}
        for name in sorted(services)
    }
    return {**({"services": ordered} if ordered else {}), **({"networks": networks} if ordered and networks else {})}


def targets(link: DatabaseLink, present: Sequence[str], use: Use | None) -> tuple[str, ...]:
    """Return the services that get the variables of a link: asked for, declared by the template, or all."""
    wanted = link.services or (tuple(use.service) if _applies(link, use) and use else ())
    return tuple(name for name in present if not wanted or name in wanted)


def environment(link: DatabaseLink, use: Use | None) -> dict[str, str]:
    """Return the variables of the containers, as Compose text: secrets by the names that they have in `.env`."""
    return {name: _text(link, part) for name, part in variables(link, use).items()}


def variables(link: DatabaseLink, use: Use | None) -> dict[str, str]:
    """Return the names of a link's variables in the containers, with the part of the link that each gets."""
    chosen = link.options.get(VARIABLES)
    if chosen:
        return {str(name): str(part) for name, part in chosen.items()}
    declared = dict(use.variables) if use and _applies(link, use) and not link.env_prefix else {}
    prefix = f"{link.env_prefix}_" if link.env_prefix else ""
    names = database_url.variable_names(database.engine_name(link.engine), prefix, declared or None)
    return {name: part for part, name in names.items()}


def clash(link: DatabaseLink, others: Sequence[DatabaseLink], use: Use | None) -> InputError | None:
    """Return why a link and another one of its app cannot both be told, or None: a variable has one value."""
    mine = variables(link, use)
    for other in others:
        apart = link.services and other.services and not set(link.services) & set(other.services)
        common = sorted(set(mine) & set(variables(other, use)))
        if common and not apart and other.name != link.name:
            return InputError(
                f"link {link.app}/{link.name}",
                f"{common[0]} is what the link {other.name} of the app gives its containers",
                "Give one of them an env_prefix, or other services",
            )
    return None


def secrets(link: DatabaseLink, login: str, password: str) -> dict[str, str]:
    """Return what an app's `.env` holds of a link.

    :param login: the name to log in with, which is not the link's `user` after every other rotation.
    """
    engine, tls = database.engine_name(link.engine), bool(link.options.get(TLS))
    # libpq would encrypt only if it suited the server (libpq-connect, sslmode). The files to verify the server with are
    # on the host and not in the container.
    options = {"sslmode": "require"} if tls and engine == "postgresql" else {}
    target = database_url.Target(engine, link.host, link.port, link.database, login, password, options, tls)
    values = database_url.provided(target)
    return {secret_key(link.name, part): values[part] for part in STORED_PARTS}


def _applies(link: DatabaseLink, use: Use | None) -> bool:
    """Whether what a template declares is meant for a link: a second one of the same engine has its own prefix."""
    return use is not None and not link.env_prefix and (not use.engines or link.engine in use.engines)


def _text(link: DatabaseLink, part: str) -> str:
    if part in STORED_PARTS:
        return f"${{{secret_key(link.name, part)}}}"
    values = {
        "host": link.host,
        "port": str(link.port),
        "address": f"{database.bracketed(link.host)}:{link.port}",
        "name": link.database,
        "prefix": f"{link.database}:",
    }
    return values[part].replace("$", "$$")


def _join(service: dict[str, Any], present: Mapping[str, Any], network: str, networks: dict[str, Any]) -> None:
    """Let a service join an existing network, and stay in those that it is in."""
    if present.get("network_mode"):
        return
    # A service that names no network is in the project's own, and would leave it by naming another.
    joined = service.setdefault("networks", {} if present.get("networks") else {"default": None})
    joined[f"linked-{network}"] = None
    networks[f"linked-{network}"] = {"name": network, "external": True}
