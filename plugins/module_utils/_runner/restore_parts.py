# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The parts of an app's data, each handled by who knows its kind."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Protocol

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import DockerVolumes
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_order import container_of
from ansible_collections.serverkit.core.plugins.module_utils._plan.restore_names import staged_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import environment
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_databases import Databases
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Journal, Kind, Part, Source
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_trees import Binds, Volumes, beside
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import DatabaseDump, TreeArchive
from ansible_collections.serverkit.core.plugins.module_utils._values.database import engine_name
from ansible_collections.serverkit.core.plugins.module_utils._values.links import secret_values
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest

_SCRATCH = ".restore"


class Worker(Protocol):
    """Handles the parts of one kind. A method that writes can be repeated."""

    def exists(self, part: Part) -> bool:
        """Whether the app has it now."""

    def stage(self, part: Part, content: DatabaseDump | TreeArchive, path: str) -> None:
        """Make `part.fresh` of a file of the set, and check it."""

    def switch(self, part: Part) -> None:
        """Call `part.live` `part.kept`, and `part.fresh` `part.live`."""

    def back(self, part: Part) -> None:
        """Take `switch` back: one that was done, was cut off, or was never begun."""

    def discard(self, part: Part, name: str) -> None:
        """Delete `part.fresh` or `part.kept`; one that is gone is fine."""


class Parts:
    """All parts of one app, and what else is known of it."""

    def __init__(
        self, host: Host, docker: Docker, sets: BackupSets, directory: AppDirectory, request: RestoreRequest
    ) -> None:
        with open_registry(host.settings, read_only=True) as registry:
            record = registry.apps().get(request.app)
            self.links = registry.links()
        self.wanted_up = record is None or record.state != "stopped"
        self.volumes = DockerVolumes(host.commands)
        self._app = request.app
        self._docker = docker
        self._directory = directory
        self._sets = sets
        self._scratch = os.path.join(sets.directory, _SCRATCH)
        present = environment(directory.read())
        for secret in secret_values(present):
            host.hide(secret)
        self.databases = Databases(host, docker, self._scratch, request.servers, present, self.links)
        self._workers: dict[Kind, Worker] = {
            "database": self.databases,
            "volume": Volumes(self.volumes, request.app),
            "bind": Binds(),
        }

    def close(self) -> None:
        """Close what is open."""
        self.databases.close()

    def part(self, source: Source, mark: str) -> Part:
        """Return the names that a part has on its way.

        :param mark: makes them differ from those of other restores.
        """
        fresh, kept = f"new{mark}", f"old{mark}"
        if source.link is not None:
            engine = engine_name(source.link.engine)
            names = staged_name(engine, source.live, fresh), staged_name(engine, source.live, kept)
        elif source.kind == "volume":
            names = f"{source.live}__{fresh}", f"{source.live}__{kept}"
        else:
            names = beside(source.live, f"new-{mark}"), beside(source.live, f"old-{mark}")
        part = Part(source.kind, source.name, source.live, *names, link=source.link)
        return Part(source.kind, source.name, source.live, *names, self._workers[part.kind].exists(part), source.link)

    def needed(self, journal: Journal) -> Collection[str]:
        """Return the app's own services whose containers are the servers of databases that are restored."""
        places = [container_of(part.link) for part in journal.parts if part.link]
        return {place[1] for place in places if place and place[0] == self._app}

    def strangers(self, volume: str) -> tuple[str, ...]:
        """Return the names of containers of others that have a volume mounted just now.

        :raises HostError: when Docker does not answer.
        """
        mounting = self._docker.mounting(volume)
        if not mounting:
            return ()
        containers = self._docker.containers()
        own = {item.id for item in decide.own(self._app, self._directory.path, containers)}
        return tuple(item.name for item in containers if item.id in mounting and item.id not in own)

    # What Worker does, for any part

    def stage(self, part: Part, source: Source, identity: str) -> None:
        """Make a part's new content of a set, and check it."""
        files.make_directory(self._scratch, 0o700)
        self._workers[part.kind].stage(part, source.content, os.path.join(self._sets.path(identity), source.file.path))

    def switch(self, part: Part) -> None:
        """Let the new content take the place of the former."""
        files.make_directory(self._scratch, 0o700)
        self._workers[part.kind].switch(part)

    def back(self, part: Part) -> None:
        """Put the former content back."""
        files.make_directory(self._scratch, 0o700)
        self._workers[part.kind].back(part)

    def discard(self, part: Part, name: str) -> None:
        """Delete what a restore has made or kept."""
        files.make_directory(self._scratch, 0o700)
        self._workers[part.kind].discard(part, name)

    def tidy(self) -> None:
        """Remove what only an unfinished restore needs."""
        trees.remove(self._scratch)
