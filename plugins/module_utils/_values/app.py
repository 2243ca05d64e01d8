# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""An app: as the user wants it, as Docker runs it, as the host has it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import database, names
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    BackupUse,
    DatabaseUse,
    Health,
    Hook,
    Published,
    RenderedFile,
    ServiceFacts,
)

State = Literal["started", "stopped", "restarted", "absent"]
Publish = Literal["loopback", "public"]
Scalar: TypeAlias = "str | int | float | bool"

# A template's id becomes a file name in /etc/serverkit/templates.
_TEMPLATE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

COMPOSE_FILE = "docker-compose.yml"
ENVIRONMENT_FILE = ".env"
DESCRIPTION_FILE = ".release.json"
# The Compose file comes last: what it refers to is in place before it is.
RELEASE_FILES = (ENVIRONMENT_FILE, LINKS_FILE, DESCRIPTION_FILE, COMPOSE_FILE)


@dataclass(frozen=True)
class AppRequest:
    """One app as a task asks for it. `template` is empty where the app on the host is to be kept as it is.

    `health_timeout` is in seconds, None for what the template says. `databases` are the engines that the app is linked
    to, None for those that it has links to on the host.
    """

    name: str
    template: str = ""
    variables: Mapping[str, Scalar] = field(default_factory=dict)
    secrets: Mapping[str, Scalar] = field(default_factory=dict)
    state: State = "started"
    publish: Publish = "loopback"
    health_timeout: int | None = None
    purge: bool = False
    skip_backup: bool = False
    databases: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Container:
    """A container as `docker ps` shows it; the empty string where a label or a health check is missing."""

    id: str
    name: str
    state: str  # created, running, paused, restarting, removing, exited, dead
    health: str = ""  # starting, healthy, unhealthy
    exit_code: int | None = None
    project: str = ""
    service: str = ""
    directory: str = ""
    config_hash: str = ""
    one_off: bool = False


@dataclass(frozen=True)
class Run:
    """The present run of a container. `restarts` counts those by Docker's restart policy since it was last started."""

    container: str
    restarts: int
    age: float  # seconds


@dataclass(frozen=True)
class Release:
    """What one release is made of and what is expected of it: everything about it that is not a secret.

    It lies beside the Compose file, so that a release can be judged, restarted and restored without its template.
    `compose_key` identifies the Compose document that was rendered, `compose_text` the file that was made of it.
    `hooks` are commands by the event that they belong to. `probe` says how the main port is asked, `auto` when the
    template does not say. `database` is how linked databases are used, `linked` the engines of those that are.
    `backup` is how the app is backed up.
    """

    template: str
    version: str
    publish: str
    services: Mapping[str, ServiceFacts]
    published: tuple[Published, ...]
    main: Published | None
    health: Health
    probe: Literal["auto", "http", "tcp", "none"]
    hooks: Mapping[str, tuple[Hook, ...]] = field(default_factory=dict)
    compose_key: str = ""
    compose_text: str = ""
    database: DatabaseUse | None = None
    linked: tuple[str, ...] = ()
    backup: BackupUse = field(default_factory=BackupUse)


@dataclass(frozen=True)
class AppState:
    """An app on the host, wanted or actual; the plan is the difference between the two.

    :param state: `started`, `stopped` or `absent`.
    :param files: paths below the app's directory.
    :param ports: `8001/tcp` by the name of the lease.
    :param services: what each service's containers do: `up`, `stopped`, or what is wrong with them.
    :param recorded: the name of the release, as the registry has it.
    :param confirmed: the release was seen healthy.
    :param template: the text of the copy of its template on the host.
    :param leftovers: what is there and should not be: half-made releases, volumes on their way to be deleted.
    """

    state: str
    files: Mapping[str, RenderedFile] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    recorded: str = ""
    confirmed: bool = True
    template: str = ""
    leftovers: tuple[str, ...] = ()


def parse(options: Mapping[str, Any]) -> AppRequest:
    """Return the app that one item's options ask for.

    :raises InputError: when a name or a value is not valid, or options contradict each other.
    """
    name = names.app_name(options["name"])
    state: State = options.get("state") or "started"
    request = AppRequest(
        name=name,
        template=options.get("template") or "",
        variables=_values(name, "variables", options.get("variables")),
        secrets=_values(name, "secrets", options.get("secrets")),
        state=state,
        publish=options.get("publish") or "loopback",
        health_timeout=options.get("health_timeout"),
        purge=bool(options.get("purge")),
        skip_backup=bool(options.get("skip_backup")),
        databases=_engines(options.get("databases")),
    )
    _check(request)
    return request


def template_id(value: str) -> str:
    """Return the id of a template, unchanged.

    :raises InputError: when it cannot be a file name.
    """
    if not _TEMPLATE_ID.fullmatch(value):
        raise InputError(
            f"use {value!r} as the id of a template",
            "an id has 1 to 100 letters, digits, '.', '_' and '-', and starts with a letter or digit",
        )
    return value


def _check(request: AppRequest) -> None:
    attempted = f"converge the app {request.name}"
    if request.purge and request.state != "absent":
        raise InputError(attempted, "purge deletes an app's data and needs state: absent", "Set state, or remove purge")
    if request.health_timeout is not None and not 1 <= request.health_timeout <= 3600:
        raise InputError(attempted, f"health_timeout is {request.health_timeout}", "Use 1 to 3600 seconds")
    both = sorted(set(request.variables) & set(request.secrets))
    if both:
        raise InputError(attempted, f"{', '.join(both)} is in variables and in secrets", "Leave it in one of them")
    if not request.template and (request.variables or request.secrets) and request.state != "absent":
        raise InputError(attempted, "variables without a template have no effect", "Name the template")


def _engines(given: Sequence[Any] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return tuple(dict.fromkeys(database.engine_name(engine) for engine in given))


def _values(app: str, option: str, given: Mapping[str, Any] | None) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    for key, value in (given or {}).items():
        name = names.variable_name(key)
        if not isinstance(value, (str, int, float, bool)):
            kind = "nothing" if value is None else f"a {type(value).__name__}"
            raise InputError(
                f"use {name} in {option} of the app {app}", f"its value is {kind}", "Give a string, number or boolean"
            )
        values[name] = value
    return values
