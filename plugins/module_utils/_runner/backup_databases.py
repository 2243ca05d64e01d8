# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Connections to the servers of an app's links, with what is there: an administrator, or the app's own login."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._plan import links
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_order import container_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Server, Servers
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Credentials, engine_name
from ansible_collections.serverkit.core.plugins.module_utils._values.database import privileges as privileges_name
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest, TlsChoice, stored
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink


@dataclass(frozen=True)
class Connected:
    """A link's server, and a connection to it.

    :ivar admin: whether the connection is an administrator's; else it is the app's own.
    """

    link: DatabaseLink
    engine: DatabaseEngine
    access: Access
    server: Server
    admin: bool


class LinkConnections:
    """Connects to the servers of links; each connection is made once."""

    def __init__(self, host: Host, docker: Docker | None = None) -> None:
        self._host = host
        self._servers = Servers(host, docker or Docker(host.commands))

    def connect(
        self, link: DatabaseLink, environment: Mapping[str, str], wanted: ServerRequest | None = None
    ) -> Connected:
        """Return a connection to a link's server.

        :param environment: the variables of the app's `.env`.
        :param wanted: the administrator to use. Without it, who administrates the host's own server by its socket, and
            on any other server the app itself.
        :raises ConflictError: when the link is on another server than the wanted one.
        :raises HostError: when the server is down or refuses, or the app has no login of its own.
        """
        if wanted is not None:
            return self._as_administrator(link, wanted)
        refusal: HostError | None = None
        if link.local and not container_of(link):
            try:
                return self._as_administrator(link, ServerRequest())
            except ConflictError:
                pass  # the host's own server of that engine is not this one
            except HostError as error:
                refusal = error
        own = own_login(link, environment)
        self._host.hide(own.password)
        if not own.password:
            raise refusal or HostError(
                f"log in to {link.server} for the link {link.app}/{link.name}",
                "the app's .env has no password of it, and no administrator is given",
                "Run serverkit_db_link for it first, or give an administrator in databases",
            )
        server = self._servers.find(link.app, engine_name(link.engine), own)
        # It may not go anywhere else, and would not be let in there.
        login = Credentials(own.user, own.password, link.database)
        server = dataclasses.replace(server, admin=login)
        try:
            return self._connected(link, server, admin=False)
        except HostError as error:
            raise refusal or error from None

    def close(self) -> None:
        """Close all connections."""
        self._servers.close()

    def _as_administrator(self, link: DatabaseLink, wanted: ServerRequest) -> Connected:
        self._host.hide(wanted.password)
        server = self._servers.find(link.app, engine_name(link.engine), wanted)
        if server.identity != link.server:
            raise ConflictError(
                f"use the database of the link {link.app}/{link.name}",
                f"it is on {link.server}, and not on {server.identity}",
                "Give that server",
            )
        return self._connected(link, server, admin=True)

    def _connected(self, link: DatabaseLink, server: Server, *, admin: bool) -> Connected:
        granted = privileges_name(link.privileges)
        access = Access(engine_name(link.engine), link.database, link.user, granted, server.clients)
        return Connected(link, self._servers.engine(server), access, server, admin)


def own_login(link: DatabaseLink, environment: Mapping[str, str]) -> ServerRequest:
    """Return how an app itself logs in to the server of a link, as seen from the host."""
    secret = stored(environment, link.name)
    user, password = secret.get("user", link.user), secret.get("password", "")
    place = container_of(link)
    if place:
        return ServerRequest(port=link.port, user=user, password=password, app=place[0], service=place[1])
    found = urlsplit(link.server)
    tls: TlsChoice = "disable"
    if link.options.get(links.TLS):
        tls = "require" if link.options.get(links.UNVERIFIED) else "verify"
    return ServerRequest(
        # Named, so that no socket of another server is taken for it.
        host=found.hostname or "",
        port=found.port or 0,
        user=user,
        password=password,
        tls=tls,
        ca_cert=str(link.options.get(links.CA) or "") if tls == "verify" else "",
    )
