# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Which apps depend on a database server that another app's container is."""

from __future__ import annotations

import graphlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink


def container_of(link: DatabaseLink) -> tuple[str, str] | None:
    """Return the app and the service of a server that runs in a container; None when this one does not.

    What `_runner.link_servers` calls it has no host, and the path is the app and the service.
    """
    found = urlsplit(link.server)
    if found.hostname:
        return None
    app, _slash, service = found.path.strip("/").rpartition(":")[0].partition("/")
    return (app, service) if app and service else None


def server_app(link: DatabaseLink) -> str:
    """Return the app whose container is the server of a link; empty where it is none."""
    found = container_of(link)
    return found[0] if found else ""


def waves(apps: Sequence[str], links: Sequence[DatabaseLink]) -> list[list[str]]:
    """Return apps in their order, in groups whose containers may be made anew at the same time.

    An app and the one that its database server is in do not: it could not become healthy meanwhile.
    """
    related = {frozenset((link.app, server_app(link))) for link in links}
    found: list[list[str]] = []
    for app in apps:
        if found and not any(frozenset((app, other)) in related for other in found[-1]):
            found[-1].append(app)
        else:
            found.append([app])
    return found


def guests_first(apps: Sequence[str], links: Sequence[DatabaseLink]) -> list[str]:
    """Return apps in an order in which each comes before the one that its database server is in."""
    sorter = graphlib.TopologicalSorter[str](dict.fromkeys(apps, ()))
    for link in links:
        server = server_app(link)
        if {link.app, server} <= {*apps} and link.app != server:
            sorter.add(server, link.app)
    try:
        return list(sorter.static_order())
    except graphlib.CycleError:
        return list(apps)
