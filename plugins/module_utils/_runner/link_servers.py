# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The database servers of a task: where each is for us and for the apps' containers, and one connection to each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._edges import network
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import container_networks, database_servers
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.engines import open_engine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._plan.links import GATEWAY
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    DEFAULT_PORTS,
    MYSQL_FAMILY,
    Credentials,
    DatabaseTls,
    Endpoint,
    Engine,
    account_hosts,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest

_LOOPBACK = "127.0.0.1"
_RESOLVER_TIMEOUT = 5.0  # seconds
# What MySQL and MariaDB take for a host though it is neither an address nor a network.
_HOST_WORDS = frozenset({"%", "localhost"})


@dataclass(frozen=True)
class Server:
    """One database server.

    :param identity: its name in the registry.
    :param endpoint: where we reach it as `admin`, who is None when the operating system vouches for us.
    :param host: where the apps' containers reach it, at `port`.
    :param address: the address behind `host`, as seen from this host.
    :param network: the Docker network that a container has to be in to reach it; empty where any will do.
    :param clients: from where users may log in, as MySQL writes it.
    :param prepared: it has to be there; else a playbook in check mode may not have installed it yet.
    """

    identity: str
    endpoint: Endpoint
    admin: Credentials | None
    host: str
    port: int
    address: str
    network: str = ""
    clients: tuple[str, ...] = ("%",)
    prepared: bool = True

    def for_app(self, host: str) -> Endpoint:
        """Return the endpoint by which an app logs in, at a host or address."""
        return Endpoint(self.endpoint.engine, host, self.port, tls=self.endpoint.tls)


class Servers:
    """Finds servers and keeps one connection to each."""

    def __init__(self, host: Host, docker: Docker) -> None:
        self._host = host
        self._docker = docker
        self._found: dict[tuple[str, str, ServerRequest], Server] = {}
        self._engines: dict[tuple[Endpoint, str], DatabaseEngine | ServerkitError] = {}
        self._gateway: str | None = None

    def find(self, app: str, engine: Engine, wanted: ServerRequest) -> Server:
        """Return the server that an app's link is to use.

        :raises HostError: when it is in a container that does not run.
        """
        key = (app if wanted.app else "", engine, wanted)
        if key not in self._found:
            self._found[key] = self._find(app, engine, wanted)
        return self._found[key]

    def engine(self, server: Server) -> DatabaseEngine:
        """Return the connected engine of a server.

        :raises HostError: when it is down or refuses the administrator; each time that it is asked for.
        """
        key = (server.endpoint, server.admin.user if server.admin else "")
        if key not in self._engines:
            engine = open_engine(server.endpoint, server.admin)
            try:
                engine.connect()
                self._engines[key] = engine
            except ServerkitError as error:
                self._engines[key] = error
        found = self._engines[key]
        if isinstance(found, ServerkitError):
            raise found
        return found

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            if isinstance(engine, DatabaseEngine):
                engine.close()
        self._engines.clear()

    def _find(self, app: str, engine: Engine, wanted: ServerRequest) -> Server:
        if wanted.app:
            return self._in_container(app, engine, wanted)
        if wanted.here:
            return self._of_host(engine, wanted)
        endpoint = Endpoint(engine, wanted.host, wanted.port, tls=_tls(wanted))
        clients = _clients(engine, wanted.clients or ("%",))
        return Server(
            endpoint.identity, endpoint, _admin(wanted), wanted.host, endpoint.port, resolved(wanted.host), "", clients
        )

    def _of_host(self, engine: Engine, wanted: ServerRequest) -> Server:
        local = database_servers.local_server(engine)
        self._host.hide(local.password)
        port = wanted.port or local.port
        path = wanted.socket or ("" if wanted.host else local.socket)
        admin = _admin(wanted)
        if admin is None and local.user:
            admin = Credentials(local.user, local.password)
        endpoint = Endpoint(engine, _LOOPBACK, port, socket=path or None, tls=_tls(wanted))
        return Server(
            identity=endpoint.identity,
            endpoint=endpoint,
            admin=admin,
            host=GATEWAY,
            port=endpoint.port,
            address=local.address or self._gateway_address() or _LOOPBACK,
            clients=_clients(engine, wanted.clients or local.clients),
            # Who says how to reach it knows that it is there.
            prepared=local.prepared or bool(wanted.host or wanted.port or wanted.socket or wanted.user),
        )

    def _in_container(self, app: str, engine: Engine, wanted: ServerRequest) -> Server:
        attempted = f"find the database server in the service {wanted.service} of the app {wanted.app}"
        containers = self._docker.containers(wanted.app) if self._docker.installed else ()
        running = [item for item in containers if item.service == wanted.service and item.state == "running"]
        if not running:
            raise HostError(attempted, "no container of it runs", "Deploy that app first, and see that it is healthy")
        place = container_networks.places(self._host.commands, [running[0].id])[running[0].id]
        joined = next(iter(sorted(place.networks, key=lambda name: (name != f"{wanted.app}_default", name))), "")
        if not joined:
            raise HostError(attempted, "its container is in no network of Docker's own", "Give host and port instead")
        port = wanted.port or DEFAULT_PORTS[engine]
        scheme = "mysql" if engine in MYSQL_FAMILY else engine
        own = wanted.app == app
        return Server(
            # No host: an app's container is another server on each host (`DatabaseLink.local`).
            identity=f"{scheme}:///{wanted.app}/{wanted.service}:{port}",
            endpoint=Endpoint(engine, place.networks[joined], port, tls=_tls(wanted), container=running[0].id),
            admin=_admin(wanted),
            # Of its names only this one is nobody else's: services of two apps are often called alike.
            host=wanted.service if own else place.name,
            port=port,
            address=place.networks[joined],
            network="" if own else joined,
            clients=_clients(engine, wanted.clients or ("%",)),
        )

    def _gateway_address(self) -> str:
        if self._gateway is None:
            self._gateway = container_networks.gateway(self._host.commands)
        return self._gateway


def resolved(host: str) -> str:
    """Return an address of a host as this machine resolves it; the host itself where it does not."""
    found = network.resolve([host], _RESOLVER_TIMEOUT)[host]
    return host if isinstance(found, str) else found[0]


def _admin(wanted: ServerRequest) -> Credentials | None:
    return Credentials(wanted.user, wanted.password or None) if wanted.user else None


def _tls(wanted: ServerRequest) -> DatabaseTls | None:
    match wanted.verified:
        case "disable":
            return None
        case "require":
            return DatabaseTls("require")
        case _:
            return DatabaseTls("verify-full", ca=wanted.ca_cert or None)


def _clients(engine: Engine, networks: Iterable[str]) -> tuple[str, ...]:
    """Return from where users may log in, as MySQL writes it; other engines have their own place for that."""
    if engine not in MYSQL_FAMILY:
        return ("%",)
    listed = tuple(networks)
    words = tuple(word for word in listed if word in _HOST_WORDS)
    return (*words, *account_hosts(each for each in listed if each not in _HOST_WORDS))
