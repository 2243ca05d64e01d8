# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Making an app of a backup set alone: on another host, beside the original under another name, or for a drill.

All or nothing: what has been made is in a journal beforehand (`restore_remains`), and goes away again when a step
fails. The containers come last, when all of the data is in place, and pass the gate that every release passes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, scratch
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, archives
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import (
    DockerVolumes,
    compose_labels,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.engines import open_dumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv, placement
from ansible_collections.serverkit.core.plugins.module_utils._plan import links as link_plan
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Servers
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import LinkedApps, LinkedRequest
from ansible_collections.serverkit.core.plugins.module_utils._runner.links import Links
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_place_plan import PlacementPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_placing import Placing
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Remains
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    DatabaseDump,
    Manifest,
    StoredFile,
    TreeArchive,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access
from ansible_collections.serverkit.core.plugins.module_utils._values.links import (
    COMPOSE_FILES_KEY,
    LINKS_FILE,
    LinkRequest,
    ServerRequest,
    kept,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile


class NewApp:
    """Makes apps of sets."""

    def __init__(self, host: Host, sets: BackupSets, root: str = app_files.ROOT) -> None:
        """
        :param sets: of the app whose set it is.
        :param root: where the apps' directories are.
        """
        self._host = host
        self._sets = sets
        self._root = root
        self._placing = Placing(host, sets, root)
        self._remains = Remains(host, root)

    def unfinished(self, name: str) -> bool:
        """Whether what there is of an app was left by a run of this that was killed."""
        return self._remains.read(name) is not None

    def plan(self, manifest: Manifest, name: str, servers: Mapping[str, ServerRequest] | None = None) -> PlacementPlan:
        """Return what an app becomes that is made of a set; writes nothing.

        :param manifest: of a set that was verified.
        :param servers: by name of the link, those that are not this host's own or need a login.
        :raises ConflictError: when something that it needs is there already.
        :raises InputError, HostError: when the set cannot be restored here.
        """
        return self._placing.plan(manifest, name, servers or {}, drill=False)

    def restore(self, plan: PlacementPlan, lock: int) -> Mapping[str, Any]:
        """Make the app and bring it up, all or nothing.

        :param lock: descriptor of the app's lock.
        :returns: what is told about it.
        :raises ServerkitError: when it cannot be made; what was made of it is gone again, or the message tells.
        """
        plan = self.without_leftovers(plan, lock)
        facts = self.make(plan, lock)
        self._remains.finish(plan.name)
        return facts

    def without_leftovers(self, plan: PlacementPlan, lock: int) -> PlacementPlan:
        """Remove what a killed run has left of the app, and plan it once more.

        :raises ServerkitError: as `plan`, or when something of it stays.
        """
        if plan.leftovers is None:
            return plan
        self._remains.remove(plan.leftovers, plan.servers, lock)
        return self._placing.plan(plan.manifest, plan.name, plan.servers, drill=plan.place.drill)

    def make(self, plan: PlacementPlan, lock: int) -> Mapping[str, Any]:
        """Do as `restore` does; the journal stays.

        :raises ServerkitError: as `restore`.
        """
        making = _Making(self._host, self._sets, self._root, plan, lock)
        try:
            self._remains.begin(plan.journal)
            return making.facts()
        except ServerkitError as error:
            raise self.taken_back(plan, error, lock) from error

    def taken_back(self, plan: PlacementPlan, error: ServerkitError, lock: int) -> ServerkitError:
        """Remove what was made of an app, and return the failure with what came of that."""
        kind = type(error) if type(error).__init__ is ServerkitError.__init__ else HostError
        remedy = f"{error.remedy}. " if error.remedy else ""
        try:
            self._remains.remove(plan.journal, plan.servers, lock)
        except ServerkitError as second:
            left = f"What was made of it could not be removed, which the next run tries again: {second}"
            return kind(error.attempted, error.reason, f"{remedy}{left}")
        return kind(error.attempted, error.reason, f"{remedy}All that was made of {plan.name} was removed again")


class _Making:
    """The steps, in their order."""

    def __init__(self, host: Host, sets: BackupSets, root: str, plan: PlacementPlan, lock: int) -> None:
        self._host = host
        self._sets = sets
        self._root = root
        self._plan = plan
        self._locks = {lock_name(plan.name): lock}
        self._docker = Docker(host.commands)
        self._directory = AppDirectory(plan.name, root)

    def facts(self) -> dict[str, Any]:
        """Make the app, and return what is told about it."""
        self._reserve_ports()
        self._unpack_release()
        self._link()
        databases = self._load_databases()
        volumes = self._unpack_volumes()
        directories = self._unpack_directories()
        if any(request.privileges != "owner" for request in self._plan.requests.values()):
            # Once more: privileges of users that only read are about tables, which are there now.
            self._link()
        self._place_release()
        brought_up = self._bring_up()
        return {
            "name": self._plan.name,
            "databases": databases,
            "volumes": volumes,
            "binds": directories,
            **{name: brought_up[name] for name in ("ports", "url", "directory", "containers") if name in brought_up},
        }

    def _reserve_ports(self) -> None:
        broker = PortBroker(self._host)
        with open_registry(self._host.settings, read_only=False) as registry:
            # Docker is asked before the transaction, in which others would wait.
            broker.preview(registry, self._plan.ports)
            with registry.transaction():
                for answer in broker.reserve(registry, self._plan.ports):
                    if isinstance(answer, ServerkitError):
                        raise answer

    def _unpack_release(self) -> None:
        """Unpack the app's directory; without a Compose file, so that nothing takes it for one that is deployed."""
        files.make_directory(self._directory.path, 0o700)
        archives.extract(self._path(self._plan.manifest.release), self._directory.path)
        for name in (COMPOSE_FILE, LINKS_FILE, DESCRIPTION_FILE):
            files.remove(os.path.join(self._directory.path, name))
        self._directory.drop_previous()
        environment = RenderedFile(dotenv.encode(self._plan.environment), 0o600)
        self._directory.write_environment(environment if self._plan.environment else None)

    def _link(self) -> None:
        carried = [link.row for link in self._plan.links if link.carried]
        if carried:
            with open_registry(self._host.settings, read_only=False) as registry, registry.transaction():
                for row in carried:
                    registry.put_link(row)
        wanted = list(self._plan.requests.values())
        if not wanted:
            return
        links = Links(self._host, {}, self._root)
        planned = links.plan(wanted)
        for plan in planned:
            if isinstance(plan, Failure):
                raise plan.error
        changed = [plan for plan in planned if not isinstance(plan, Failure) and plan.changed]
        for outcome in links.apply(changed, self._locks):
            if isinstance(outcome, Failure):
                raise outcome.error

    def _load_databases(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            servers = stack.enter_context(contextlib.closing(Servers(self._host, self._docker)))
            secrets = stack.enter_context(scratch.directory())
            for link, dump in placement.loads(self._plan.links, self._plan.manifest.databases):
                request = self._plan.requests[link.row.name]
                rows = self._load(servers, request, dump, secrets)
                found[link.row.name] = {"engine": dump.engine, "database": request.database, "rows": rows}
        return found

    def _load(self, servers: Servers, request: LinkRequest, dump: DatabaseDump, secrets: str) -> int:
        """Load a dump into the empty database of a link, and return how many rows it has then."""
        if not request.engine:
            raise RuntimeError("a link that is made has an engine")
        server = servers.find(request.app, request.engine, request.server)
        engine = servers.engine(server)
        access = Access(request.engine, request.database, request.user, request.privileges, server.clients)
        open_dumps(engine, secrets).load(self._path(dump.file), access)
        rows = engine.row_counts(access.database)
        placement.check_rows(f"load {dump.file.path} into the database {access.database}", dump, rows)
        return sum(rows.values())

    def _unpack_volumes(self) -> dict[str, int]:
        volumes = DockerVolumes(self._host.commands)
        found: dict[str, int] = {}
        for archive, name in self._plan.volumes:
            own = {} if archive.name in self._plan.outside else compose_labels(self._plan.name, archive.name)
            place = volumes.create(name, own).mountpoint
            found[archive.name] = self._unpack(archive.file, archive.entries, place)
        return found

    def _unpack_directories(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for archive, path in self._plan.directories:
            if archive.entries == 1:
                found[archive.name] = self._unpack_single(archive, path)
            else:
                files.make_directory(path)
                found[archive.name] = self._unpack(archive.file, archive.entries, path)
        return found

    def _unpack_single(self, archive: TreeArchive, path: str) -> int:
        """Unpack what is a single file, or an empty directory."""
        parent = os.path.dirname(path)
        files.make_directory(parent)
        with tempfile.TemporaryDirectory(dir=parent) as staged:
            entries = self._unpack(archive.file, 1, staged)
            content = os.listdir(staged)
            try:
                if content:
                    os.rename(os.path.join(staged, content[0]), path)
                else:
                    os.makedirs(path, exist_ok=True)
                    shutil.copystat(staged, path)
                    status = os.stat(staged)
                    os.chown(path, status.st_uid, status.st_gid)
            except OSError as error:
                raise HostError(f"put {archive.name} at {path}", error.strerror or str(error)) from error
        return entries

    def _unpack(self, file: StoredFile, expected: int, directory: str) -> int:
        entries = archives.extract(self._path(file), directory)
        if entries != expected:
            reason = f"it has {entries} entries there, and had {expected} when the set was made"
            raise HostError(f"unpack {file.path} into {directory}", reason, "Try another set")
        return entries

    def _place_release(self) -> None:
        """Put the release in place, as the links that were made leave `.env`."""
        present = self._directory.read()
        self._directory.write({**present, **self._plan.files})
        if self._plan.journal.template:
            app_files.write_template(self._plan.journal.template, self._plan.manifest.template_text)

    def _bring_up(self) -> Mapping[str, Any]:
        plan = self._plan
        apps = LinkedApps(self._host, self._root)
        with open_registry(self._host.settings, read_only=True) as registry:
            rows = link_plan.linked(registry.links(), plan.name)
        present = self._directory.read().get(ENVIRONMENT_FILE)
        environment = dotenv.decode(present.content) if present else {}
        secrets = {name: value for name, value in kept(environment).items() if name != COMPOSE_FILES_KEY}
        planned = apps.plan([LinkedRequest(plan.name, rows, secrets)])[0]
        if isinstance(planned, Failure):
            raise planned.error
        if planned.release is None:
            reason = "; ".join(planned.warnings) or "it has no release"
            raise HostError(f"bring up the app {plan.name}", reason, "Try another set")
        outcome = apps.apply([planned], self._locks)[0]
        if not isinstance(outcome, Success):
            raise outcome.error
        return outcome.facts

    def _path(self, file: StoredFile) -> str:
        return os.path.join(self._sets.path(self._plan.manifest.id), file.path)
