# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Proving that an app can log in: from inside the network of one of its containers, with what that was told.

The login is made by this host's Python in a process that has entered the container's network and knows the names that
the container knows (`_edges.namespaces`), so that no image needs a client. Where the app does not run yet, it is made
from this host, over the address that the containers will use: a server sees Docker's own address then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible_collections.serverkit.core.plugins.module_utils._edges import namespaces
from ansible_collections.serverkit.core.plugins.module_utils._gateways import container_networks
from ansible_collections.serverkit.core.plugins.module_utils._gateways.container_networks import Place
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.engines import open_engine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan.links import GATEWAY
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_plan import LinkPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Server
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Credentials


class Prover:
    """Proves the logins of a task's links."""

    def __init__(self, host: Host, docker: Docker, root: str) -> None:
        self._host = host
        self._docker = docker
        self._root = root
        self._places: dict[str, tuple[tuple[str, Place], ...]] = {}

    def prove(self, plan: LinkPlan) -> str:
        """Log in as the app, and return from where.

        :raises HostError: when the server does not let the app in, with its reason.
        """
        server, link = plan.draft.server, plan.draft.link
        if server is None:
            raise RuntimeError("a link that is to be present has a server")
        credentials = Credentials(plan.secret.login, plan.secret.password)
        place = self._place(plan)
        if place is None:
            open_engine(server.for_app(server.address), None).login(credentials, link.database)
            return "host"
        engine = open_engine(server.for_app(server.host), None)
        namespaces.inside(place.process, _names(server), lambda: engine.login(credentials, link.database))
        return f"container {place.name}"

    def _place(self, plan: LinkPlan) -> Place | None:
        """Return a running container that is told of the link."""
        app = plan.app
        if app not in self._places:
            self._places[app] = self._places_of(app)
        by_service = dict(reversed(self._places[app]))
        return next((by_service[name] for name in plan.facts.get("services") or () if name in by_service), None)

    def _places_of(self, app: str) -> tuple[tuple[str, Place], ...]:
        if not self._docker.installed:
            return ()
        own = decide.own(app, os.path.join(self._root, app), self._docker.containers(app))
        running = {item.id: item.service for item in own if item.state == "running" and not item.one_off}
        found = container_networks.places(self._host.commands, sorted(running))
        return tuple((running[place.container], place) for place in found.values() if place.process)


def _names(server: Server) -> Mapping[str, str]:
    """Return the name of a server with its address, unless it is one that only the container's own files know."""
    return {} if server.host in (GATEWAY, server.address) else {server.host: server.address}
