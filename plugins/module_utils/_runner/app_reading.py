# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What there is of a host's apps, read once for all apps of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import Draft, Snapshot
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease


class HostState:
    """Reads Docker, the registry and the host's templates; each of them once at most.

    `warnings` tells what could not be read and was taken for empty.
    """

    def __init__(self, host: Host, docker: Docker) -> None:
        self._host = host
        self._docker = docker
        self.warnings: list[str] = []
        self._can_ask_docker = False
        self._volumes: Mapping[str, tuple[str, ...]] | None = None
        self._templates: dict[str, tuple[str, str]] = {}  # by id: the host's copy, and what it becomes
        self._template_writers: dict[str, str] = {}  # by id: the app whose change it is

    def snapshot(self, registry: Registry, *, needs_docker: bool) -> Snapshot:
        """Return what Docker and the registry know.

        :param needs_docker: whether a host without Docker will not do.
        :raises HostError, RegistryError: when they cannot be read.
        """
        leases: dict[str, tuple[PortLease, ...]] = {}
        for lease in registry.ports():
            leases[lease.owner] = (*leases.get(lease.owner, ()), lease)
        names: dict[str, tuple[str, ...]] = {}
        for domain in registry.domains():
            names[domain.app] = (*names.get(domain.app, ()), domain.name)
        for private in registry.private_urls():
            names[private.app] = (*names.get(private.app, ()), private.host or f"/p/{private.slug}/")
        return Snapshot(self._containers(needs_docker), registry.apps(), leases, names, registry.links())

    def _containers(self, needs_docker: bool) -> tuple[Container, ...]:
        if not self._docker.installed and (self._host.check or not needs_docker):
            return ()
        try:
            containers = self._docker.containers()
            self._can_ask_docker = True
            return containers
        except HostError as error:
            if not self._host.check:
                raise
            # A playbook in check mode has not started what it would have started by now.
            self.warnings.append(f"{error} Planned as if there were no containers.")
            return ()

    def volumes_of(self, app: str) -> tuple[str, ...]:
        """Return the volumes of the Compose project of an app's name."""
        if self._volumes is None:
            self._volumes = self._docker.volumes() if self._can_ask_docker else {}
        return self._volumes.get(app, ())

    def check_volumes(self, name: str, directory: str) -> None:
        """Make sure that a new app does not take over the volumes of somebody else's project that is down just now.

        Compose would do so in silence.

        :raises ConflictError: when there are such volumes.
        """
        volumes = self.volumes_of(name)
        if volumes:
            raise ConflictError(
                f"converge the app {name}",
                f"there are volumes of another Compose project of that name: {', '.join(volumes)}",
                f"Choose another name for the app; or remove them; or, to take them over, make {directory}",
            )

    def template(self, draft: Draft) -> tuple[str, str]:
        """Return the host's copy of the app's template and what it is to become, for the first app that uses it.

        The others get two equal texts: the copy is written once, and is a change of one app only.

        :raises InputError: when two templates of the task have one id.
        """
        if draft.source is None:
            return "", ""
        identity, text = draft.source.template.id, draft.source.text
        if identity not in self._templates:
            self._templates[identity] = (app_files.read_template(identity), text)
            self._template_writers[identity] = draft.name
        present, wanted = self._templates[identity]
        if wanted != text:
            raise InputError(
                f"use the template {draft.request.template}",
                f"another template of this task has the same id ({identity}) and a different content",
                "Give one of them another id",
            )
        return (present, wanted) if self._template_writers[identity] == draft.name else ("", "")


def needs_docker(states: Sequence[str]) -> bool:
    """Return whether apps of these states need Docker; one that is to be absent does not."""
    return any(state != "absent" for state in states)
