# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""A template, parsed and valid, and what rendering it for one app gives. Nothing here refers to a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Quiesce
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

VariableType = Literal["string", "integer", "boolean", "port", "password", "random", "uuid"]
Encoding = Literal["alphanumeric", "hex", "base64", "base64url"]
HealthType = Literal["auto", "http", "tcp", "none"]
Publish = Literal["loopback", "public"]


@dataclass(frozen=True)
class Variable:
    """A variable that a template declares.

    `generated`: a value is made when the user gives none and there is no default. `sensitive`: the value belongs into
    `.env`, never into the Compose file, a diff or a result; every generated value is sensitive.
    `length` counts characters, `bytes` counts random bytes before they are encoded; at most one of them is set.
    `minimum` and `maximum` bound the number of an `integer` or `port`, and the length in characters of anything else.
    """

    name: str
    type: VariableType = "string"
    description: str = ""
    default: str | None = None
    required: bool = False
    hidden: bool = False
    generated: bool = False
    sensitive: bool = False
    length: int | None = None
    bytes: int | None = None
    encoding: Encoding | None = None
    special_chars: bool = False
    pattern: str = ""
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class TemplateFile:
    """A file that a template brings. `path` is absolute (in the container) or relative (to the app's directory)."""

    path: str
    content: str
    services: tuple[str, ...] = ()  # empty: those whose volumes mention the path, else the main service
    mode: int = 0o644
    substitute: bool = True


@dataclass(frozen=True)
class Health:
    """When a release counts as serving.

    `auto` is a main port that answers, be it HTTP or something else. `status` are the first and the last HTTP status
    that will do. `timeout` is in seconds from the moment that the containers were started.
    """

    type: HealthType
    path: str = "/"
    status: tuple[int, int] = (200, 499)
    timeout: int = 180


@dataclass(frozen=True)
class DatabaseUse:
    """How a template's app uses a linked database, in place of one of its own.

    :ivar engines: those that it can use; empty when the template does not say.
    :ivar service: the services that get the variables; empty for all.
    :ivar variables: by part of the link (`host`, `password`, `url`, ...) the name that the containers want it under.
    :ivar given: by part of the link, a variable of the template whose value it is.
    :ivar replaces: services that are left out.
    """

    engines: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class BackupUse:
    """How a template's app is backed up.

    :ivar quiesce: how it is kept from writing meanwhile.
    :ivar exclude: what is not in a set (see `_plan.backup_sources`).
    """

    quiesce: Quiesce = "pause"
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hook:
    """A command to run in a running container of a service, as an argv list: no shell takes part."""

    service: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A template as its file has it, after validation.

    `health` is None where the template says nothing (see `Rendered.health`). `main_port` is the name of a port
    variable, the number of a port in the container, or empty. `database` is None where the template says nothing of
    linked databases. `backup` is how the app is backed up. `hooks` has commands by the event that they belong to.
    `shown_scripts` are shell texts of foreign templates, which are shown and never executed.
    """

    id: str
    name: str
    version: str
    description: str
    compose: Mapping[str, Any]
    variables: tuple[Variable, ...] = ()
    documentation: str = ""
    files: tuple[TemplateFile, ...] = ()
    dockerfile: str = ""
    main_service: str = ""
    main_port: str = ""
    health: Health | None = None
    database: DatabaseUse | None = None
    backup: BackupUse = field(default_factory=BackupUse)
    hooks: Mapping[str, tuple[Hook, ...]] = field(default_factory=dict)
    shown_scripts: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Values:
    """What the variables of one app are worth. A name is in exactly one of `plain` and `sensitive`.

    `ports` has the number of each port variable once more; they are in `plain` too. `aliases` are sensitive ones whose
    value is in `.env` under another name.
    """

    plain: Mapping[str, str] = field(default_factory=dict)
    sensitive: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RenderedFile:
    """A file below the app's directory; `mode` are its permission bits."""

    content: str
    mode: int = 0o644


@dataclass(frozen=True)
class ServiceFacts:
    """What the rendered Compose file says of one service.

    `one_shot`: it may end with exit code 0 and that is fine (a migration, `restart: "no"`). `started` is false for a
    service that only a profile starts. `replicas` is how many containers are expected.
    """

    image: str
    one_shot: bool = False
    builds: bool = False
    has_healthcheck: bool = False
    container_name: str = ""
    started: bool = True
    replicas: int = 1


@dataclass(frozen=True)
class Published:
    """One host port that a service publishes. `host_ip` is empty when Docker publishes on every address.

    `lease` is the name of its port lease: the template's port variable, or `fixed:8080/tcp` for a port spelled out.
    """

    service: str
    host_ip: str
    port: int
    protocol: Protocol
    target: int
    lease: str


@dataclass(frozen=True)
class Rendered:
    """A template rendered for one app: everything that goes to disk, and what to expect of the containers.

    `compose` is the document of `docker-compose.yml`; no secret is in it. `environment` is the content of `.env`.
    `files` are below the app's directory and never change in place: a new content gets a new path. `main` is the port
    that nginx proxies to, None where the app publishes none that could be it. `notes` are the template's
    `shown_scripts` with the plain variables filled in. `warnings` come on top of the template's own.
    """

    compose: Mapping[str, Any]
    environment: Mapping[str, str]
    files: Mapping[str, RenderedFile]
    services: Mapping[str, ServiceFacts]
    published: tuple[Published, ...]
    main: Published | None
    health: Health
    notes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
