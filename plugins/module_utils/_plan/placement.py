# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Where the parts of a backup set go when the app is brought up anew: names, ports, links, the release's description.

Under its own name an app keeps everything but ports that are taken. A copy, which lives beside the original, shares
nothing with it: not a name, a database, a user, a volume, a network, or a directory that either of them writes to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import links as link_plan
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_order import container_of
from ansible_collections.serverkit.core.plugins.module_utils._plan.ports import Slot
from ansible_collections.serverkit.core.plugins.module_utils._values import links as link_values
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Release
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import DatabaseDump
from ansible_collections.serverkit.core.plugins.module_utils._values.database import engine_name
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import FIRST_PORT, LAST_PORT, PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink, Protocol
from ansible_collections.serverkit.core.plugins.module_utils._values.template import DatabaseUse, Published

LOOPBACK = "127.0.0.1"

_PARTS = link_values.STORED_PARTS
# The parts of a link that tell which database it is, and are no secrets.
_NAMES = ("name", "prefix")
_NETWORK = link_plan.NETWORK
VARIABLES = link_plan.VARIABLES
_LEASE = re.compile(r"([0-9]{1,5})/(tcp|udp)")


@dataclass(frozen=True)
class Place:
    """Where an app of a set goes.

    :ivar app: its name in the set, and `name` here.
    :ivar before: the directory that it had, and `directory` the one that it gets.
    :ivar drill: it is to be tried and thrown away.
    """

    app: str
    name: str
    before: str
    directory: str
    drill: bool = False

    @property
    def copy(self) -> bool:
        """Whether it lives beside the original, or could."""
        return self.drill or self.name != self.app


@dataclass(frozen=True)
class PlacedLink:
    """A link of the set as it is to be here.

    :ivar row: as it is to be in the registry; `host` and `server` are those of the set until a server is found.
    :ivar carried: its server is in a container of the app itself, so that the data comes with the app's volumes, the
        user and the password included.
    """

    row: DatabaseLink
    carried: bool = False


# Ports


def wanted_ports(release: Release, leases: Mapping[str, str], place: Place) -> tuple[PortRequest, ...]:
    """Return requests for the ports that the app had; which of them it gets is for the host to say.

    :param leases: the app's ports in the registry when the set was made, such as `{"HTTP_PORT": "8001/tcp"}`.
    """
    found: dict[str, tuple[int, set[Protocol]]] = {}
    for published in _kept(release.published, release.main, place):
        found.setdefault(published.lease, (published.port, set()))[1].add(published.protocol)
    if not place.copy:
        for name, text in leases.items():
            match = _LEASE.fullmatch(text)
            if match and name not in found:
                found[name] = (int(match[1]), {"udp" if match[2] == "udp" else "tcp"})
    return tuple(_request(place, name, port, protocols) for name, (port, protocols) in sorted(found.items()))


def another(request: PortRequest) -> PortRequest:
    """Return a request for any other port, where the one that is wanted is taken."""
    start = request.port if request.port and FIRST_PORT <= request.port <= LAST_PORT else FIRST_PORT
    return replace(request, port=None, start=start)


def exactly(request: PortRequest, port: int) -> PortRequest:
    """Return a request for the port that a preview gave, and no other."""
    return replace(request, port=port)


def moved_ports(release: Release, numbers: Mapping[str, int], place: Place) -> dict[Slot, int]:
    """Return the new host port of each that is published now.

    :param numbers: by name of the lease.
    """
    kept = _kept(release.published, release.main, place)
    return {(each.port, each.protocol): numbers[each.lease] for each in kept}


def _kept(published: Sequence[Published], main: Published | None, place: Place) -> tuple[Published, ...]:
    """Nobody but the drill itself talks to an app in a drill, and it asks the main port only."""
    if not place.drill:
        return tuple(published)
    return tuple(each for each in published if main is not None and each == main)


def _request(place: Place, name: str, port: int, protocols: set[Protocol]) -> PortRequest:
    if len(protocols) == 2:
        return PortRequest(place.name, name, "both", port=port)
    return PortRequest(place.name, name, "udp" if "udp" in protocols else "tcp", port=port)


# The release


def release(given: Release, ports: Mapping[Slot, int], place: Place, compose_key: str, compose_text: str) -> Release:
    """Return the description of the release as it is to be here.

    :param compose_key: of the Compose document as it is to be here, likewise `compose_text` of its text.
    """
    published = tuple(_published(each, ports, place) for each in _kept(given.published, given.main, place))
    main = _published(given.main, ports, place) if given.main else None
    services = given.services
    if place.copy:
        services = {name: replace(facts, container_name="") for name, facts in services.items()}
    return replace(
        given,
        services=services,
        published=published,
        main=main,
        compose_key=compose_key,
        compose_text=compose_text,
    )


def _published(given: Published, ports: Mapping[Slot, int], place: Place) -> Published:
    port = ports.get((given.port, given.protocol), given.port)
    return replace(given, port=port, host_ip=LOOPBACK if place.drill else given.host_ip)


def moved_environment(
    given: Mapping[str, str], release: Release, ports: Mapping[Slot, int], renamed: Mapping[str, str]
) -> dict[str, str]:
    """Return what `.env` holds, with other ports and databases where the template put them there as well.

    :param release: as it was.
    :param renamed: databases that have other names here.
    """
    found = dict(given)
    for published in release.published:
        port = ports.get((published.port, published.protocol), published.port)
        if found.get(published.lease) == str(published.port):
            found[published.lease] = str(port)
    for part in _NAMES:
        name = release.database.given.get(part, "") if release.database else ""
        if found.get(name, "") in renamed:
            found[name] = renamed[found[name]]
    return found


# Links


def renamed(rows: Sequence[DatabaseLink], place: Place, use: DatabaseUse | None) -> dict[str, str]:
    """Return the databases that have other names here, where the template put their names into the Compose file."""
    if use is None or not set(use.given) & set(_NAMES):
        return {}
    before = {row.name: row.database for row in rows}
    after = placed_links(rows, place)
    return {before[link.row.name]: link.row.database for link in after if before[link.row.name] != link.row.database}


def link_row(fields: Mapping[str, Any]) -> DatabaseLink:
    """Return a row of the registry from what a manifest has of it.

    :raises InputError: when it is none.
    """
    try:
        row = DatabaseLink(**{**fields, "services": tuple(fields.get("services") or ())})
        engine_name(row.engine)
    except TypeError:
        reason = "the set's manifest has a link that this release of serverkit.core does not understand"
        raise InputError("read the links of a backup set", reason, "Use the release that made the set") from None
    return row


def placed_links(rows: Sequence[DatabaseLink], place: Place) -> tuple[PlacedLink, ...]:
    """Return the links that the app had as they are to be here.

    Two links of a copy that shared a database share the copy's, and so with users.
    """
    found: list[PlacedLink] = []
    names: dict[tuple[str, str, str], str] = {}
    # Whose the database is gives it its name.
    for row in sorted(rows, key=lambda row: (row.privileges != "owner", row.name)):
        if row.options.get(link_plan.STATE) == link_plan.UNLINKED:
            continue
        carried = _carried(row, place)
        if not place.copy:
            found.append(PlacedLink(row, carried))
        elif carried:
            server = row.server.replace(f":///{place.app}/", f":///{place.name}/", 1)
            found.append(PlacedLink(replace(row, app=place.name, server=server), True))
        else:
            fresh = link_values.default_name(engine_name(row.engine), place.name, row.name)
            database = names.setdefault((row.server, "database", row.database), fresh)
            user = names.setdefault((row.server, "user", row.user), fresh)
            found.append(PlacedLink(replace(row, app=place.name, database=database, user=user)))
    return tuple(sorted(found, key=lambda link: link.row.name))


def server_for(link: DatabaseLink, given: Mapping[str, ServerRequest]) -> ServerRequest:
    """Return the server that a link is to be made on: the one that is given, or this host's own.

    :param given: by name of the link.
    :raises InputError: when it was on a server that only its administrator's login opens.
    """
    if link.name in given:
        return given[link.name]
    in_container = container_of(link)
    if link.local and not (in_container and link.options.get(link_plan.NETWORK)):
        return ServerRequest()
    where = f"a container of the app {in_container[0]}" if in_container else link.server
    raise InputError(
        f"restore the link {link.name} of the app {link.app}",
        f"its database was on {where}, and no administrator of a server to put it on is given",
        f"Give the server of the link {link.name}, with user and password",
    )


def check_reach(link: str, server: ServerRequest) -> None:
    """Make sure that an app in a drill reaches the server of a link.

    :raises ConflictError: when it is on another host.
    """
    if server.host and not server.here:
        raise ConflictError(
            f"try out the link {link} in a drill",
            f"its server is {server.host}, and in a drill an app reaches no other host",
            f"Give a server of this host for the link {link}",
        )


def check_empty(link: DatabaseLink, rows: Mapping[str, int]) -> None:
    """Make sure that nothing is in a database that is there already, such as the one of an app that was removed.

    A dump would be loaded over it, and a restore that fails would delete it.

    :param rows: rows of each of its tables.
    :raises ConflictError: when there is something.
    """
    # Redis and MongoDB have every database; in the others an empty table was made by somebody, too.
    made_by_use = link.engine in ("redis", "mongodb")
    if any(count or not made_by_use for count in rows.values()):
        raise ConflictError(
            f"restore the link {link.name} of the app {link.app}",
            f"there is a database {link.database} on {link.server} already, with {sum(rows.values())} rows in it",
            "Delete it (serverkit_db_link with state: absent and drop: true), or deploy the app and restore into it",
        )


def loads(links: Sequence[PlacedLink], dumps: Sequence[DatabaseDump]) -> tuple[tuple[PlacedLink, DatabaseDump], ...]:
    """Return which dump goes where: each database once, through the link that owns it where there is one."""
    found: dict[tuple[str, str], tuple[PlacedLink, DatabaseDump]] = {}
    by_name = {dump.link: dump for dump in dumps}
    for link in sorted(links, key=lambda link: (link.row.privileges != "owner", link.row.name)):
        dump = by_name.get(link.row.name)
        if dump is None or link.carried:
            continue
        found.setdefault((dump.server, dump.database), (link, dump))
    return tuple(found.values())


def unlinked_dumps(links: Sequence[PlacedLink], dumps: Sequence[DatabaseDump]) -> tuple[str, ...]:
    """Return the links whose dump is not loaded, since the app was not linked to the database any more."""
    known = {link.row.name for link in links}
    return tuple(dump.link for dump in dumps if dump.link not in known)


def environment(given: Mapping[str, str], links: Sequence[PlacedLink]) -> dict[str, str]:
    """Return what `.env` is to hold before the links are made: the app's own, and what belongs to a carried link."""
    kept = {link_values.secret_key(link.row.name, part) for link in links if link.carried for part in _PARTS}
    return {name: value for name, value in given.items() if not link_values.is_link_key(name) or name in kept}


def check_rows(attempted: str, dump: DatabaseDump, found: Mapping[str, int]) -> None:
    """Compare the rows that were loaded with those that were dumped.

    :param found: rows of each table that there is now.
    :raises HostError: when a table is missing, is one too many, or has another number of rows.
    """
    names = sorted({*dump.rows, *found} - {*dump.moving})
    wrong = [name for name in names if dump.rows.get(name) != found.get(name)]
    if wrong:
        listed = ", ".join(
            f"{name} has {found.get(name, 'no')}, and had {dump.rows.get(name, 'no')}" for name in wrong[:5]
        )
        reason = f"it does not have the rows that it had when the set was made: {listed}"
        raise HostError(attempted, reason, "Use another set")


def _carried(row: DatabaseLink, place: Place) -> bool:
    return container_of(row) == (place.app, row.host) and not row.options.get(_NETWORK)
