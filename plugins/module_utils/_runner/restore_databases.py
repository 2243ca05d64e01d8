# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Restoring the databases of an app that is there: into new ones, which then take the place of those it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.engines import open_dumps
from ansible_collections.serverkit.core.plugins.module_utils._plan import links, placement
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_databases import Connected, LinkConnections
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_plan import stored_secret
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Part
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import DatabaseDump, TreeArchive
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, privileges
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink

# They have no databases that could be made empty: one is there when something is in it.
_MADE_BY_USE = frozenset({"redis", "mongodb"})


class Databases:
    """The databases of one app's links, and the administrators of their servers."""

    def __init__(
        self,
        host: Host,
        docker: Docker,
        scratch: str,
        servers: Mapping[str, ServerRequest],
        environment: Mapping[str, str],
        rows: Sequence[DatabaseLink],
    ) -> None:
        """
        :param scratch: a directory of mode 0700, the same for all runs until a restore is finished.
        :param servers: administrators, by name of the link.
        :param environment: the variables of the app's `.env`.
        :param rows: all links of the registry.
        """
        self._host = host
        self._connections = LinkConnections(host, docker)
        self._scratch = scratch
        self._servers = servers
        self._environment = environment
        self._rows = rows

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def administrated(self, link: DatabaseLink) -> Connected:
        """Return a connection to a link's server that may make and drop databases.

        :raises HostError: when the server is down or refuses, or no administrator of it is known.
        :raises ConflictError: when the link is on another server than the one that is given.
        """
        found = self._connections.connect(link, self._environment, self._servers.get(link.name))
        if found.admin:
            return found
        raise HostError(
            f"restore the database of the link {link.app}/{link.name}",
            f"that needs an administrator of {link.server}, and none is given",
            "Give its server with user and password in links",
        )

    def exists(self, part: Part) -> bool:
        """Whether the database that the app uses is there, and has something in it."""
        found = self._connected(part)
        if found.access.engine in _MADE_BY_USE:
            return any(found.engine.row_counts(part.live).values())
        return found.engine.read([found.access])[0].database_exists

    def stage(self, part: Part, content: DatabaseDump | TreeArchive, path: str) -> None:
        """Load a dump into a new database and count its rows.

        :raises HostError: when it cannot be loaded, or is not what the manifest says.
        """
        found = self._connected(part)
        fresh = replace(found.access, database=part.fresh)
        self._create_user(found)
        if not part.existed:
            found.engine.create_database(found.access)
        found.engine.create_database(fresh)
        self._dumps(found.engine).load(path, fresh)
        if isinstance(content, DatabaseDump):
            attempted = f"restore the database of the link {content.link}"
            placement.check_rows(attempted, content, found.engine.row_counts(part.fresh))

    def switch(self, part: Part) -> None:
        """Let the new database take the place of the one that the app uses."""
        found = self._connected(part)
        self._dumps(found.engine).switch(found.access, part.fresh, part.kept)
        self._grant(part)

    def back(self, part: Part) -> None:
        """Put the former database back in its place."""
        found = self._connected(part)
        self._dumps(found.engine).switch_back(found.access, part.kept, part.fresh)
        self._grant(part)

    def discard(self, part: Part, name: str) -> None:
        """Delete a database that a restore has made or kept."""
        found = self._connected(part)
        self._dumps(found.engine).discard(name, found.access)

    def _connected(self, part: Part) -> Connected:
        if part.link is None:
            raise RuntimeError("a database belongs to a link")
        return self.administrated(part.link)

    def _dumps(self, engine: DatabaseEngine) -> DatabaseDumps:
        return open_dumps(engine, self._scratch)

    def _create_user(self, found: Connected) -> None:
        """Make the app's user where somebody has dropped it, with the password that the app has."""
        secret = stored_secret(self._environment, found.link.name)
        if found.engine.read([found.access])[0].logins or not secret.password:
            return
        self._host.hide(secret.password)
        found.engine.create_user(found.access, secret.password)
        if secret.login and secret.login != found.access.user:
            # In the middle of two rotations: the login that the app has is the user's second one.
            found.engine.set_password(found.access, secret.login, secret.password)

    def _grant(self, part: Part) -> None:
        """Give all who share the database what they have in it: what was granted inside went with the former one."""
        for access, engine in self._sharing(part):
            engine.grant(access)

    def _sharing(self, part: Part) -> Iterator[tuple[Access, DatabaseEngine]]:
        own = self._connected(part)
        yield own.access, own.engine
        for row in self._rows:
            same = (row.server, row.database) == (own.link.server, own.link.database)
            unlinked = row.options.get(links.STATE) == links.UNLINKED
            if not same or unlinked or (row.app, row.name) == (own.link.app, own.link.name):
                continue
            access = replace(own.access, user=row.user, privileges=privileges(row.privileges))
            if own.engine.read([access])[0].logins:
                yield access, own.engine
