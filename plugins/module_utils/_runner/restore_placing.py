# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning an app that is made of a backup set: what it becomes here, and why it cannot. Nothing here writes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import (
    app_files,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import DockerVolumes
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import placement
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement import Place, PlacedLink
from ansible_collections.serverkit.core.plugins.module_utils._plan.ports import PortTaken
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_planning import Planner
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Servers
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import LinkedApps
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_place_plan import Draft, PlacementPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Journal, Remains
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_room import Room
from ansible_collections.serverkit.core.plugins.module_utils._values import links as link_values
from ansible_collections.serverkit.core.plugins.module_utils._values import names
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest
from ansible_collections.serverkit.core.plugins.module_utils._values.database import engine_name, privileges
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LinkRequest, ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest


class Placing:
    """Plans apps that are made of sets."""

    def __init__(self, host: Host, sets: BackupSets, root: str) -> None:
        """
        :param root: where the apps' directories are.
        """
        self._host = host
        self._sets = sets
        self._root = root
        self._docker = Docker(host.commands)
        self._broker = PortBroker(host)
        self._remains = Remains(host, root)

    def plan(
        self, manifest: Manifest, name: str, servers: Mapping[str, ServerRequest], *, drill: bool
    ) -> PlacementPlan:
        """Return what an app becomes that is made of a set.

        :param servers: by name of the link, those that are not this host's own or need a login.
        :raises ConflictError: when something that it needs is there already.
        :raises InputError, HostError: when the set cannot be restored here.
        """
        before, directory = (os.path.join(self._root, each) for each in (manifest.app, names.app_name(name)))
        place = Place(manifest.app, name, before, directory, drill)
        leftovers = self._remains.read(name)
        if leftovers:
            warning = f"what a killed run has made of {name} is removed first"
            return PlacementPlan(manifest, place, servers, leftovers, warnings=(warning,))
        plan = Draft(self._sets, manifest, place)
        with open_registry(self._host.settings, read_only=True) as registry:
            self._check_app(plan, registry)
            requests, numbers = self._ports(plan, registry)
            owned = {lease.name for lease in registry.ports() if lease.owner == name}
        plan.write(numbers)
        self._check_volumes(plan)
        self._check_room(plan)
        self._check_networks(plan)
        links = self._links(plan, servers)
        return self._finished(plan, servers, requests, owned, links)

    # What is there already

    def _check_app(self, plan: Draft, registry: Registry) -> None:
        place = plan.place
        attempted = f"make the app {place.name} of the set {plan.manifest.id}"
        remedy = "Choose another name; or remove that app, with purge: true for its data"
        directory = AppDirectory(place.name, self._root)
        if place.name in registry.apps() or (directory.exists and os.listdir(directory.path)):
            raise ConflictError(attempted, f"there is an app of that name, or its data, in {directory.path}", remedy)
        containers = self._docker.containers()
        mine = sorted(container.name for container in containers if container.project == place.name)
        if mine:
            raise ConflictError(attempted, f"there are containers of that name: {', '.join(mine)}", remedy)
        services = placement.release(plan.release, {}, place, "", "").services
        error = decide.conflict(place.name, place.directory, services, containers)
        if error:
            raise error

    def _check_volumes(self, plan: Draft) -> None:
        name = plan.place.name
        attempted = f"make the app {name} of the set {plan.manifest.id}"
        wanted = [volume for _archive, volume in plan.volumes]
        taken = sorted({*DockerVolumes(self._host.commands).inspect(wanted), *self._docker.volumes().get(name, ())})
        if taken:
            remedy = "Remove them, or choose another name; to put data into an app that is there, deploy it first"
            raise ConflictError(attempted, f"there are volumes of that name: {', '.join(taken)}", remedy)
        for _archive, path in plan.directories:
            if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
                raise ConflictError(attempted, f"there is something at {path} already", "Move it away")

    def _check_networks(self, plan: Draft) -> None:
        if not plan.placed.needed:
            return
        done = self._host.commands.run(["docker", "network", "ls", "--format", "{{.Name}}"])
        missing = sorted({*plan.placed.needed} - {*done.stdout.split()}) if done.ok else []
        if missing:
            raise HostError(
                f"make the app {plan.place.name} of the set {plan.manifest.id}",
                f"it needs networks of others that are not on this host: {', '.join(missing)}",
                f"Make them (docker network create {missing[0]}), or what makes them",
            )

    def _check_room(self, plan: Draft) -> None:
        """Make sure that the disks have room for what is unpacked; how large databases become, nobody knows."""
        done = self._host.commands.run(["docker", "info", "--format", "{{.DockerRootDir}}"])
        volumes = done.stdout.strip() if done.ok else ""
        sizes = [(self._root, plan.manifest.release.content_size)]
        sizes += [(volumes, archive.file.content_size) for archive, _volume in plan.volumes]
        sizes += [(path, archive.file.content_size) for archive, path in plan.directories]
        room = Room("Make room")
        for path, size in sizes:
            room.take(f"make the app {plan.place.name} of the set {plan.manifest.id}", path, size)

    # What it gets

    def _ports(self, plan: Draft, registry: Registry) -> tuple[tuple[PortRequest, ...], dict[str, int]]:
        """Ask for the ports that it had, and for others where these are taken."""
        requests = list(placement.wanted_ports(plan.release, plan.manifest.ports, plan.place))
        while True:
            answers = self._broker.preview(registry, requests)
            errors = [answer for answer in answers if isinstance(answer, ServerkitError)]
            taken = [error.request for error in errors if isinstance(error, PortTaken)]
            if errors and not taken:
                raise errors[0]
            if not errors:
                break
            requests = [placement.another(request) if request in taken else request for request in requests]
        given = {
            request.name: answer.port
            for request, answer in zip(requests, answers, strict=True)
            if not isinstance(answer, ServerkitError)
        }
        return tuple(placement.exactly(request, given[request.name]) for request in requests), given

    def _links(self, plan: Draft, servers: Mapping[str, ServerRequest]) -> dict[str, LinkRequest]:
        """Return the links to make, after asking their servers whether they can be made."""
        requests = {
            link.row.name: _request(link, plan.environment, servers, plan.place)
            for link in plan.links
            if not link.carried
        }
        if not requests:
            return {}
        if plan.place.drill:
            for request in requests.values():
                placement.check_reach(request.link, request.server)
        found = Servers(self._host, self._docker)
        try:
            for each in Planner(self._host, found, LinkedApps(self._host, self._root)).plan(list(requests.values())):
                if isinstance(each, Failure):
                    raise each.error
                if each.draft.server and each.state.database_exists:
                    rows = found.engine(each.draft.server).row_counts(each.draft.link.database)
                    placement.check_empty(each.draft.link, rows)
        finally:
            found.close()
        return requests

    def _finished(
        self,
        plan: Draft,
        servers: Mapping[str, ServerRequest],
        ports: tuple[PortRequest, ...],
        owned: set[str],
        requests: Mapping[str, LinkRequest],
    ) -> PlacementPlan:
        manifest, place = plan.manifest, plan.place
        new_template = bool(manifest.template and manifest.template_text)
        if new_template and app_files.read_template(manifest.template):
            new_template = False
        outside = [path for _archive, path in plan.directories if not path.startswith(f"{place.directory}/")]
        journal = Journal(
            place.name,
            manifest.id,
            place.drill,
            tuple(volume for _archive, volume in plan.volumes),
            tuple(path for path in outside if not os.path.isdir(path)),
            tuple(path for path in outside if os.path.isdir(path)),
            {name: request.engine for name, request in requests.items()},
            tuple(link.row.name for link in plan.links if link.carried),
            tuple(request.name for request in ports if request.name not in owned),
            manifest.template if new_template else "",
        )
        warnings = (
            *plan.placed.notes,
            *(f"not in the set: {what}: {why}" for what, why in plan.left_out),
            *(
                f"the database of the link {link} is not restored: the app was not linked to it any more"
                for link in placement.unlinked_dumps(plan.links, manifest.databases)
            ),
            *(note for request in requests.values() for note in _notes(request, place)),
        )
        lines = _lines(plan, ports, requests)
        return PlacementPlan(
            manifest=manifest,
            place=place,
            servers=servers,
            release=plan.release,
            files=plan.files,
            environment=placement.environment(plan.environment, plan.links),
            links=plan.links,
            requests=requests,
            ports=ports,
            volumes=plan.volumes,
            outside=plan.placed.outside,
            directories=plan.directories,
            journal=journal,
            diffs=(Diff(f"app {place.name}", "", "".join(f"{line}\n" for line in lines)),),
            facts={"name": place.name, "ports": {request.name: request.port for request in ports}},
            warnings=warnings,
        )


def _request(
    link: PlacedLink, environment: Mapping[str, str], servers: Mapping[str, ServerRequest], place: Place
) -> LinkRequest:
    row = link.row
    # A copy gets a password of its own: it must not be able to log in as the original.
    known = "" if place.copy else link_values.stored(environment, row.name).get("password", "")
    return LinkRequest(
        app=place.name,
        link=row.name,
        engine=engine_name(row.engine),
        database=row.database,
        user=row.user,
        password=known,
        privileges=privileges(row.privileges),
        env_prefix=row.env_prefix,
        variables=dict(row.options.get(placement.VARIABLES) or {}),
        services=row.services,
        server=placement.server_for(row, servers),
    )


def _notes(request: LinkRequest, place: Place) -> tuple[str, ...]:
    if not place.drill or not request.server.app:
        return ()
    return (
        f"for its link {request.link} it is in a network of the app {request.server.app}, and reaches what that does",
    )


def _lines(plan: Draft, ports: Sequence[PortRequest], requests: Mapping[str, LinkRequest]) -> list[str]:
    """Return how the app reads in a diff."""
    return [
        f"made of: the set {plan.manifest.id} of {plan.manifest.app}",
        f"directory: {plan.place.directory}",
        *(f"port: {request.name} {request.port}/{'+'.join(request.protocols)}" for request in ports),
        *(f"database: {request.database} of {request.user}, {request.engine}" for request in requests.values()),
        *(f"volume: {volume}, {archive.entries} entries" for archive, volume in plan.volumes),
        *(f"directory: {path}, {archive.entries} entries" for archive, path in plan.directories),
    ]
