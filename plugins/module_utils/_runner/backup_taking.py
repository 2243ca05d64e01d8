# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Taking a set: dumps and archives of one app into a directory that gets its name when all of it is verified."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shutil
import time
from collections.abc import Iterable

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._edges.streams import Stored
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, archives, backup_sets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import Volume, content
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.engines import open_dumps
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_order import container_of
from ansible_collections.serverkit.core.plugins.module_utils._runner import (
    backup_quiet,
    backup_state,
    restore_journals,
    restore_remains,
    restore_state,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_databases import (
    Connected,
    LinkConnections,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_plan import (
    Contents,
    Reader,
    ports_of,
    rows_as_json,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_quiet import Quiet, quieted
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    DatabaseDump,
    Manifest,
    Reason,
    StoredFile,
    TreeArchive,
    new_set_id,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import TakeOptions

_SCRATCH = ".scratch"
# Of the app's directory, what is of a moment only.
_PASSING = (app_files.ROLLBACK, f"{app_files.ROLLBACK}.new")


def take(
    host: Host,
    app: str,
    lock: int,
    reason: Reason,
    options: TakeOptions | None = None,
    *,
    root: str = backup_sets.ROOT,
    apps: str = app_files.ROOT,
) -> Manifest:
    """Make a set of an app and verify it. The caller holds the app's lock.

    :param lock: descriptor of the lock.
    :param root: where the sets are, and `apps` where the apps' directories are.
    :raises ServerkitError: when no set could be made; the app goes on and the sets that are there are untouched.
    """
    sets = BackupSets(app, root)
    chosen = options or TakeOptions()
    docker = Docker(host.commands)
    try:
        _refuse_half_restored(host, app, sets, apps)
        # Of a run that was killed when the app that it made served already.
        restore_journals.forget(apps, app)
        backup_state.begin(sets, reason)
        if docker.installed:
            backup_quiet.release_left(docker, sets)
        contents = Reader(host, docker, apps).read(app, chosen)
        manifest = _Taking(host, docker, contents, sets, lock, chosen, apps).take(reason)
        backup_state.taken(sets, reason, manifest.id)
    except ServerkitError as error:
        raise _noted(sets, reason, error) from error
    return manifest


def _refuse_half_restored(host: Host, app: str, sets: BackupSets, apps: str) -> None:
    """Keep half-restored data out of the sets: it would count as the newest, and thin out good ones."""
    attempted = f"back up the app {app}"
    remedy = "Run that restore again, which first finishes or takes back what was begun"
    cut_short = restore_state.journal(sets)
    if cut_short and cut_short.phase != "staging":
        raise ConflictError(attempted, f"a restore of its set {cut_short.set} was cut short", remedy)
    if restore_remains.Remains(host, apps).read(app):
        raise ConflictError(attempted, "it is being made of a backup set, and is not whole", remedy)


def _noted(sets: BackupSets, reason: Reason, error: ServerkitError) -> ServerkitError:
    """Remember a failure and take away what there is of the set; returns it, with what else went wrong."""
    try:
        sets.abandon()
        backup_state.failed(sets, reason, error)
    except ServerkitError as late:
        return type(error)(error.attempted, f"{error.reason}; besides, {late}", error.remedy)
    return error


class _Taking:
    """One set on its way."""

    def __init__(
        self,
        host: Host,
        docker: Docker,
        contents: Contents,
        sets: BackupSets,
        lock: int,
        options: TakeOptions,
        apps: str,
    ) -> None:
        self._host = host
        self._docker = docker
        self._contents = contents
        self._sets = sets
        self._lock = lock
        self._options = options
        self._apps = apps
        self._path = ""
        self._databases: dict[str, DatabaseDump] = {}

    def take(self, reason: Reason) -> Manifest:
        contents = self._contents
        now = dt.datetime.now(dt.timezone.utc)
        started = time.monotonic()
        identity = new_set_id(now, frozenset(self._sets.identities()))
        self._path = self._sets.begin(identity)
        quiet = Quiet(self._host, self._docker, contents.app, self._lock, contents.quiesce, self._sets, self._apps)
        with quieted(quiet):
            self._dump_databases(quiet)
            if contents.volumes or contents.binds:
                quiet.hush()
            volumes = [self._tree("volumes", key, item.name, content(item) or "") for key, item in self._in_order()]
            binds = [self._tree("binds", path, path, path, str(n)) for n, path in enumerate(contents.binds, 1)]
            release = self._release()
        manifest = dataclasses.replace(
            self._without_parts(reason, identity, now, release),
            seconds=round(time.monotonic() - started, 3),
            databases=tuple(self._databases[link.name] for link in contents.links),
            volumes=tuple(volumes),
            binds=tuple(binds),
        )
        self._sets.finish(manifest)
        return manifest

    def _without_parts(self, reason: Reason, identity: str, now: dt.datetime, release: StoredFile) -> Manifest:
        """Return the manifest of what is not in files of its own."""
        contents = self._contents
        return Manifest(
            app=contents.app,
            id=identity,
            created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            host=os.uname().nodename,
            reason=reason,
            quiesce=contents.quiesce,
            seconds=0.0,
            release=release,
            template=contents.template,
            template_text=app_files.read_template(contents.template) if contents.template else "",
            links=rows_as_json(contents.rows.links),
            ports=ports_of(contents.rows.ports),
            left_out=dict(contents.left_out),
        )

    # Databases

    def _dump_databases(self, quiet: Quiet) -> None:
        """Dump every database: those that are of one moment by themselves while the app runs, unless it is stopped."""
        if not self._contents.links:
            return
        scratch = os.path.join(self._path, _SCRATCH)
        files.make_directory(scratch, 0o700)
        connections = LinkConnections(self._host, self._docker)
        try:
            found = [self._opened(connections, link.name, scratch) for link in self._contents.links]
            # Who answers must not be put to sleep before it has.
            servers = [place for link in self._contents.links if (place := container_of(link))]
            own = {service for app, service in servers if app == self._contents.app}
            if self._contents.quiesce == "stop":
                quiet.hush(but=own)
            self._dump_all(found, needing_quiet=False)
            if any(dumps.needs_quiet for _link, dumps in found):
                quiet.hush(but=own)
            self._dump_all(found, needing_quiet=True)
        finally:
            connections.close()
            shutil.rmtree(scratch, ignore_errors=True)

    def _opened(self, connections: LinkConnections, name: str, scratch: str) -> tuple[Connected, DatabaseDumps]:
        contents = self._contents
        link = next(link for link in contents.links if link.name == name)
        connected = connections.connect(link, contents.environment, self._options.servers.get(name))
        return connected, open_dumps(connected.engine, scratch)

    def _dump_all(self, found: Iterable[tuple[Connected, DatabaseDumps]], *, needing_quiet: bool) -> None:
        for connected, dumps in found:
            if dumps.needs_quiet == needing_quiet:
                self._databases[connected.link.name] = self._dump(connected, dumps)

    def _dump(self, connected: Connected, dumps: DatabaseDumps) -> DatabaseDump:
        link = connected.link
        path = os.path.join(dumps.directory, f"{link.name}.{dumps.suffix}.zst")
        dumped = dumps.dump(connected.access, os.path.join(self._path, path))
        return DatabaseDump(
            link=link.name,
            engine=link.engine,
            version=dumped.version,
            server=link.server,
            database=link.database,
            user=link.user,
            privileges=link.privileges,
            file=_file(path, dumped.stored),
            rows=dict(dumped.rows),
            moving=dumped.moving,
        )

    # Trees

    def _in_order(self) -> list[tuple[str, Volume]]:
        return sorted(self._contents.volumes.items())

    def _tree(self, folder: str, name: str, source: str, directory: str, file: str = "") -> TreeArchive:
        path = os.path.join(folder, f"{file or name}.tar.zst")
        live = self._contents.quiesce == "none"
        stored, entries = archives.archive(directory, os.path.join(self._path, path), live=live)
        return TreeArchive(name, source, entries, _file(path, stored))

    def _release(self) -> StoredFile:
        """Archive the app's own directory, without the bind-mounted data in it."""
        contents, path = self._contents, "release.tar.zst"
        home = contents.directory.path
        if not contents.directory.exists:
            # The app has gone and its database has not; a set without a release would be none.
            home = os.path.join(self._path, _SCRATCH)
            files.make_directory(home, 0o700)
        below = [os.path.relpath(bind, home) for bind in contents.binds if bind.startswith(f"{home}/")]
        exclude = [*_PASSING, *below]
        live = contents.quiesce == "none"
        stored, _entries = archives.archive(home, os.path.join(self._path, path), exclude, live=live)
        shutil.rmtree(os.path.join(self._path, _SCRATCH), ignore_errors=True)
        return _file(path, stored)


def _file(path: str, stored: Stored) -> StoredFile:
    return StoredFile(path, stored.size, stored.content_size, stored.sha256)
