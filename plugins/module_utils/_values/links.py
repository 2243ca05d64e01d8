# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Links between apps and databases as users ask for them, checked before a server is asked or a file is touched."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import database as databases
from ansible_collections.serverkit.core.plugins.module_utils._values import database_url, names

LinkState = Literal["present", "absent"]
TlsChoice = Literal["disable", "require", "verify"]

# It becomes a part of names of variables (LINK_REPORTS_PASSWORD) and of networks.
_LINK_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?")
_PREFIX = re.compile(r"[A-Z][A-Z0-9_]{0,30}")
# What Compose takes for the name of a service (compose-spec/schema/compose-spec.json, services.patternProperties).
_SERVICE = re.compile(r"[A-Za-z0-9._-]{1,100}")
_SHORTEST_PASSWORD = 8
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

# What a link can tell an app; `address` is `host:port`, which some apps want in one variable.
PARTS = (*database_url.VALUE_KEYS, "address")

LINKS_FILE = "compose.links.yml"

# Names of our own in the app's .env: a template's variable DB_PASSWORD stays what it is.
SECRET_PREFIX = "SERVERKIT_LINK_"  # noqa: S105 - a part of names
# What `.env` holds of a link. The login is not a secret, but goes with the password: a rotation may change both, and
# one file is replaced in one step.
STORED_PARTS = ("user", "password", "url")
# Tells a person's `docker compose` to read both files (https://docs.docker.com/compose/how-tos/environment-variables).
COMPOSE_FILES_KEY = "COMPOSE_FILE"

# How a task describes a database server: the option `server` of links, backups and restores.
SERVER_OPTIONS: dict[str, Any] = {
    "host": {"type": "str"},
    "port": {"type": "int"},
    "socket": {"type": "path"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "app": {"type": "str"},
    "service": {"type": "str"},
    "tls": {"type": "str", "choices": ["disable", "require", "verify"]},
    "ca_cert": {"type": "path"},
    "clients": {"type": "list", "elements": "str"},
}


@dataclass(frozen=True)
class ServerRequest:
    """Which database server is meant; with nothing given, the engine's own on this host, administrated by its socket.

    :param host: a name or an address that this host and the app's containers reach the server at.
    :param port: 0 for the engine's own.
    :param socket: a file; for PostgreSQL its directory.
    :param user: the administrator, with `password`.
    :param app: the app in one of whose containers the server is, with `service`.
    :param tls: None for what suits the place: verified for another host, off for this one.
    :param ca_cert: PEM file on this host with the certificates to trust.
    :param clients: networks and addresses from which users may log in; empty for what suits the place.
    """

    host: str = ""
    port: int = 0
    socket: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    app: str = ""
    service: str = ""
    tls: TlsChoice | None = None
    ca_cert: str = ""
    clients: tuple[str, ...] = ()

    @property
    def here(self) -> bool:
        """The server is this host's own, and not a container's."""
        return not self.app and (not self.host or self.host in _LOCAL_NAMES)

    @property
    def verified(self) -> TlsChoice:
        """How connections to it are encrypted."""
        if self.tls:
            return self.tls
        return "disable" if self.here or self.app else "verify"


@dataclass(frozen=True)
class LinkRequest:
    """One link as a task asks for it.

    :param link: tells the links of an app apart.
    :param engine: empty where a link is to be absent that the registry knows.
    :param database: empty for the default name, likewise `user`.
    :param password: empty for the one that it has, or a generated one.
    :param variables: names of variables in the containers, with the part of the link that each gets.
    """

    app: str
    link: str
    engine: databases.Engine | Literal[""] = ""
    database: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    privileges: databases.Privileges = "owner"
    env_prefix: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    server: ServerRequest = field(default_factory=ServerRequest)
    state: LinkState = "present"
    rotate: bool = False
    drop: bool = False
    skip_backup: bool = False
    adopt: bool = False

    @property
    def name(self) -> str:
        """What the item is called in results and messages; one of a kind in a task."""
        return f"{self.app}/{self.link}"


def secret_key(link: str, part: str) -> str:
    """Return the variable of the app's `.env` that holds a part of a link."""
    return f"{_key_prefix(link)}{part.upper()}"


def is_link_key(name: str) -> bool:
    """Whether a variable of an app's `.env` belongs to its links."""
    return name.startswith(SECRET_PREFIX) or name == COMPOSE_FILES_KEY


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a `.env` holds of the app's links."""
    return {name: value for name, value in environment.items() if is_link_key(name)}


def secret_values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of an app's `.env` that are secrets of its links."""
    endings = tuple(f"_{part.upper()}" for part in STORED_PARTS if part in database_url.SECRET_KEYS)
    return tuple(
        value
        for name, value in environment.items()
        if value and name.startswith(SECRET_PREFIX) and name.endswith(endings)
    )


def stored(environment: Mapping[str, str], link: str) -> dict[str, str]:
    """Return the parts of a link that a `.env` holds."""
    found = {part: environment.get(secret_key(link, part), "") for part in STORED_PARTS}
    return {part: value for part, value in found.items() if value}


def _key_prefix(link: str) -> str:
    return f"{SECRET_PREFIX}{link.upper().replace('-', '_')}_"


def label(options: Mapping[str, Any]) -> str:
    """Return what to call an item that cannot be parsed."""
    return f"{options.get('app')}/{options.get('name') or options.get('engine')}"


def parse(options: Mapping[str, Any]) -> LinkRequest:
    """Return the link that one item's options ask for.

    :raises InputError: when a name or a value is not valid, or options contradict each other.
    """
    app = names.app_name(options["app"])
    engine: databases.Engine | Literal[""] = databases.engine_name(options["engine"]) if options.get("engine") else ""
    link = _link_name(app, options.get("name") or engine)
    request = LinkRequest(
        app=app,
        link=link,
        engine=engine,
        database=options.get("database") or (engine and default_name(engine, app, link)),
        user=options.get("user") or (engine and default_name(engine, app, link)),
        password=_password(options.get("password"), engine or None),
        privileges=databases.privileges(options.get("privileges") or "owner"),
        env_prefix=_prefix(options.get("env_prefix") or ""),
        variables=_variables(app, options.get("variables") or {}),
        services=tuple(_service(app, name) for name in options.get("services") or ()),
        server=server_request(options.get("server") or {}),
        state="absent" if options.get("state") == "absent" else "present",
        rotate=bool(options.get("rotate")),
        drop=bool(options.get("drop")),
        skip_backup=bool(options.get("skip_backup")),
        adopt=bool(options.get("adopt")),
    )
    _check(request)
    return request


def default_name(engine: databases.Engine, app: str, link: str) -> str:
    """Return the name of a link's database, and of its user, where the inventory has none."""
    return databases.default_name(engine, app, "" if link == engine else link)


def _check(request: LinkRequest) -> None:
    attempted = f"link {request.name}"
    if request.state == "present":
        if not request.engine:
            raise InputError(attempted, "the option engine is missing", f"Give one of {', '.join(databases.ENGINES)}")
        # Its own checks: names that the engine takes and that are not reserved.
        databases.Access(request.engine, request.database, request.user, request.privileges)
        if request.drop:
            raise InputError(
                attempted, "drop deletes the database and needs state: absent", "Set state, or remove drop"
            )
    elif request.rotate:
        raise InputError(attempted, "rotate changes a password and needs state: present", "Remove rotate")
    if request.env_prefix and request.variables:
        raise InputError(attempted, "variables are whole names, so env_prefix has no effect", "Leave one of them out")
    if request.rotate and request.password:
        raise InputError(attempted, "rotate generates a password and one is given", "Leave one of them out")


def _link_name(app: str, value: object) -> str:
    if not value:
        raise InputError(f"link a database to the app {app}", "neither engine nor name is given", "Give the engine")
    if not isinstance(value, str) or not _LINK_NAME.fullmatch(value):
        raise InputError(
            f"use {value!r} as the name of a link of the app {app}",
            "it has 1 to 30 characters of a-z, 0-9 and '-', and starts and ends with a letter or digit",
            "Choose such a name, for example reports",
        )
    return value


def _password(value: object, engine: databases.Engine | None) -> str:
    if not value:
        return ""
    checked = databases.password(value, engine)
    if len(checked) < _SHORTEST_PASSWORD:
        raise InputError(
            "use the given database password",
            f"it has fewer than {_SHORTEST_PASSWORD} characters",
            "Leave it out and one is generated",
        )
    return checked


def _prefix(value: str) -> str:
    """Return a prefix without the underscore that separates it from the name."""
    prefix = value.removesuffix("_")
    if value and not _PREFIX.fullmatch(prefix):
        raise InputError(
            f"use {value!r} as env_prefix",
            "it has 1 to 31 characters of A-Z, 0-9 and '_', and starts with a letter",
            "Choose such a prefix, for example REPORTS",
        )
    return prefix


def _variables(app: str, given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, part in given.items():
        if part not in PARTS:
            raise InputError(
                f"give the variable {name} of the app {app} the {part!r} of a database",
                f"a link has only {', '.join(PARTS)}",
            )
        found[names.variable_name(name)] = part
    return found


def _service(app: str, value: object) -> str:
    if not isinstance(value, str) or not _SERVICE.fullmatch(value):
        raise InputError(f"use {value!r} as a service of the app {app}", "that cannot be the name of a Compose service")
    return value


def server_request(options: Mapping[str, Any]) -> ServerRequest:
    """Return the server that the options of `server` describe.

    :raises InputError: when a value is not valid, or options contradict each other.
    """
    server = ServerRequest(
        host=options.get("host") or "",
        port=options.get("port") or 0,
        socket=options.get("socket") or "",
        user=options.get("user") or "",
        password=options.get("password") or "",
        app=names.app_name(options["app"]) if options.get("app") else "",
        service=options.get("service") or "",
        tls=options.get("tls"),
        ca_cert=options.get("ca_cert") or "",
        clients=tuple(_client(value) for value in options.get("clients") or ()),
    )
    _check_server(server)
    return server


def _check_server(server: ServerRequest) -> None:
    attempted = "use the given database server"
    if server.host:
        databases.host_name(server.host)
    if not 0 <= server.port <= 65535:
        raise InputError(attempted, f"its port is {server.port}", "Use 1 to 65535")
    if server.app and (server.host or server.socket):
        raise InputError(attempted, "app and host say where it is, and both are given", "Leave one of them out")
    if bool(server.app) != bool(server.service):
        raise InputError(attempted, "a server in a container needs app and service", "Give both of them")
    if server.socket and not server.here:
        raise InputError(attempted, "a socket is for a server of this host", "Leave out host or socket")
    if server.socket and not server.socket.startswith("/"):
        raise InputError(attempted, f"its socket {server.socket!r} is not an absolute path")
    if server.ca_cert and server.verified != "verify":
        raise InputError(attempted, f"ca_cert has no effect with tls: {server.verified}", "Set tls: verify")
    if (server.app or not server.here) and not server.user:
        where = f"the service {server.service} of the app {server.app}" if server.app else server.host
        raise InputError(attempted, f"no administrator is given for {where}", "Give user and password of one")


def _client(value: object) -> str:
    """Return an address, a network, `%` (everywhere) or `localhost`, unchanged."""
    if value in ("%", "localhost"):
        return str(value)
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as error:
        reason = f"it is neither an address nor a network ({error})"
        raise InputError(f"let users log in from {value!r}", reason, "Write it as 10.0.0.5 or 10.0.0.0/24") from None
