# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What there is of an app to be backed up. Nothing here writes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, template_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import (
    DockerVolumes,
    Volume,
    content,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import links as link_plan
from ansible_collections.serverkit.core.plugins.module_utils._plan.backup_sources import Sources, sources
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import PREVIOUS, environment, maybe_secret
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import COMPOSE_FILE, DESCRIPTION_FILE, Release
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, Quiesce
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import TakeOptions
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, DatabaseLink, PortLease
from ansible_collections.serverkit.core.plugins.module_utils._values.template import BackupUse, RenderedFile

_UNLINKED = "it is not linked any more; its data stay on the server"
_UNMOUNTED = "no service of the app mounts it"
_NOT_MADE = "Docker has not made it yet"
_ELSEWHERE = "its driver keeps the data where only that knows"


@dataclass(frozen=True)
class Rows:
    """What the registry has of an app."""

    record: AppRecord | None = None
    links: tuple[DatabaseLink, ...] = ()
    ports: tuple[PortLease, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a set of an app has to hold.

    :ivar template: the template of the release that is in place; empty where there is none.
    :ivar environment: the variables of its `.env`.
    :ivar links: those whose databases are in it, and `rows` all that the registry has of the app.
    :ivar volumes: by key; `binds` are paths on the host.
    :ivar left_out: what is not in it though the app uses it, with the reason.
    """

    app: str
    directory: AppDirectory
    rows: Rows
    template: str = ""
    quiesce: Quiesce = "pause"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: tuple[DatabaseLink, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    binds: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def lost(self) -> dict[str, str]:
        """Data that a set cannot hold, with the reason."""
        return {what: reason for what, reason in self.left_out.items() if reason == _ELSEWHERE}

    @property
    def summary(self) -> str:
        """What is in it, a line for each, as a diff shows it."""
        lines = [
            *(f"database {link.name}: {link.database} on {link.server}" for link in self.links),
            *(f"volume {key}: {volume.name}" for key, volume in sorted(self.volumes.items())),
            *(f"directory {path}" for path in self.binds),
            f"files of the app: {self.directory.path}",
            *(f"not {what}: {reason}" for what, reason in sorted(self.left_out.items())),
        ]
        return "".join(f"{line}\n" for line in lines)

    def in_set(self, manifest: Manifest) -> bool:
        """Whether a set holds all kinds of data that the app has now."""
        return (
            {link.name for link in self.links} <= {dump.link for dump in manifest.databases}
            and set(self.volumes) <= {tree.name for tree in manifest.volumes}
            and set(self.binds) <= {tree.name for tree in manifest.binds}
        )


class Reader:
    """Reads apps; the registry and Docker once at most."""

    def __init__(self, host: Host, docker: Docker, root: str = app_files.ROOT) -> None:
        self._host = host
        self._docker = docker
        self._root = root
        self._rows: dict[str, Rows] | None = None

    def read(self, app: str, options: TakeOptions) -> Contents:
        """Return what a set of an app has to hold.

        :raises InputError: when there is no such app, or a link that it is to be taken of.
        :raises HostError, RegistryError: when Docker, the registry or the app's files cannot be read.
        """
        directory = AppDirectory(app, self._root)
        rows = self._of_registry().get(app, Rows())
        if not directory.exists and rows == Rows():
            raise InputError(
                f"back up the app {app}", "there is no such app on this host", "Deploy it first, or leave it out"
            )
        files = directory.read()
        variables = environment(files)
        for secret in maybe_secret(variables):
            self._host.hide(secret)
        release = _release(files)
        use = release.backup if release else BackupUse()
        chosen, left = _links(app, rows.links, options.databases)
        declared, found = self._sources(app, directory, files, use.exclude, options.exclude)
        volumes, without = self._volumes(app, declared, found, everything=options.everything)
        binds = tuple(path for path in found.binds if os.path.exists(path))
        return Contents(
            app,
            directory,
            rows,
            release.template if release else "",
            options.quiesce or use.quiesce,
            variables,
            chosen,
            volumes,
            binds,
            {**found.left_out, **without, **left},
        )

    def _of_registry(self) -> dict[str, Rows]:
        if self._rows is None:
            with open_registry(self._host.settings, read_only=True) as registry:
                apps, links, ports = registry.apps(), registry.links(), registry.ports()
            names = {*apps, *(link.app for link in links), *(lease.owner for lease in ports)}
            self._rows = {
                name: Rows(
                    apps.get(name),
                    tuple(link for link in links if link.app == name),
                    tuple(lease for lease in ports if lease.owner == name),
                )
                for name in names
            }
        return self._rows

    def _sources(
        self,
        app: str,
        directory: AppDirectory,
        files: Mapping[str, RenderedFile],
        of_template: Sequence[str],
        given: Sequence[str],
    ) -> tuple[Sources, Sources]:
        """Return all that the app mounts, and what of it is wanted."""
        text = files[COMPOSE_FILE].content if COMPOSE_FILE in files else ""
        document: Mapping[str, Any] = template_files.parse_yaml(text, COMPOSE_FILE) if text else {}
        # What a template excludes may belong to a service that a linked database replaces.
        exclude = [*given]
        for each in of_template:
            with contextlib.suppress(InputError):
                sources(document, app, directory.path, [each])
                exclude.append(each)
        return sources(document, app, directory.path), sources(document, app, directory.path, exclude)

    def _volumes(
        self, app: str, declared: Sources, found: Sources, *, everything: bool
    ) -> tuple[dict[str, Volume], dict[str, str]]:
        if not self._docker.installed:
            return {}, {}
        named = dict(found.volumes)
        spare = [name for name in self._docker.volumes().get(app, ()) if name not in declared.volumes.values()]
        if everything:
            named.update({name.removeprefix(f"{app}_"): name for name in spare})
        present = DockerVolumes(self._host.commands).inspect(tuple(named.values()))
        taken: dict[str, Volume] = {}
        left = {} if everything else {f"volume {name}": _UNMOUNTED for name in spare}
        for key, name in named.items():
            volume = present.get(name)
            if volume is None:
                left[f"volume {name}"] = _NOT_MADE
            elif content(volume) is None:
                left[f"volume {name}"] = _ELSEWHERE
            else:
                taken[key] = volume
        return taken, left


def rows_as_json(rows: Sequence[DatabaseLink]) -> tuple[dict[str, Any], ...]:
    """Return rows of links as a manifest has them."""
    return tuple({**dataclasses.asdict(row), "services": list(row.services)} for row in rows)


def ports_of(leases: Sequence[PortLease]) -> dict[str, str]:
    """Return the ports of a release, by the names of their leases."""
    return {lease.name: f"{lease.port}/{lease.protocol}" for lease in leases if not lease.name.startswith(PREVIOUS)}


def _release(files: Mapping[str, RenderedFile]) -> Release | None:
    file = files.get(DESCRIPTION_FILE)
    return decide.read_description(file.content) if file and COMPOSE_FILE in files else None


def _links(
    app: str, rows: Sequence[DatabaseLink], wanted: Sequence[str] | None
) -> tuple[tuple[DatabaseLink, ...], dict[str, str]]:
    if wanted is None:
        linked = link_plan.linked(rows, app)
        return linked, {f"database {row.database} of {row.server}": _UNLINKED for row in rows if row not in linked}
    missing = sorted(set(wanted) - {row.name for row in rows})
    if missing:
        raise InputError(f"back up the database of the app {app}", f"it has no link {missing[0]}")
    return tuple(row for row in rows if row.name in wanted), {}
