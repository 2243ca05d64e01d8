# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a restore that makes an app has made so far, and taking all of it away again.

A journal is written before anything is made, and names all that may be made. It is taken away last: when the app
serves, or when nothing is left of the attempt. So whatever a killed run leaves behind, the next one finds it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.compose import Compose
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import DockerVolumes
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.links import Links
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_journals import forget, path_of
from ansible_collections.serverkit.core.plugins.module_utils._values import links as link_values
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure


@dataclass(frozen=True)
class Journal:
    """An app that is being made of a set.

    :ivar name: the app, and `set` what it is made of.
    :ivar drill: it is to be thrown away in any case.
    :ivar volumes: names in Docker of those that the set has the content of.
    :ivar directories: host directories outside of the app's own; `filled` are those that were there, and empty.
    :ivar links: engine by name, of those whose database is made; `carried` are those that are only written down.
    :ivar ports: names of leases.
    :ivar template: id of the template whose copy the host gets; empty where it has one.
    """

    name: str
    set: str
    drill: bool = False
    volumes: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)
    carried: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    template: str = ""


class Remains:
    """The unfinished apps of a host."""

    def __init__(self, host: Host, root: str) -> None:
        """
        :param root: where the apps' directories are.
        """
        self._host = host
        self._root = root
        self._docker = Docker(host.commands)
        self._volumes = DockerVolumes(host.commands)

    def read(self, name: str) -> Journal | None:
        """Return what is unfinished of an app; None when nothing is.

        An app that serves is finished, whatever its journal says: the run was killed right after that.

        :raises HostError: when the journal is damaged.
        """
        journal = read(self._root, name)
        if journal is None or journal.drill:
            return journal
        with open_registry(self._host.settings, read_only=True) as registry:
            record = registry.apps().get(name)
        return None if record is not None and record.confirmed else journal

    def begin(self, journal: Journal) -> None:
        """Write down what is going to be made.

        :raises HostError: when the disk is full or read-only.
        """
        path = path_of(self._root, journal.name)
        files.make_directory(os.path.dirname(path), 0o700)
        files.write(path, json.dumps(dataclasses.asdict(journal), indent=2, sort_keys=True) + "\n", 0o600)

    def finish(self, name: str) -> None:
        """Forget about an app: it serves, or nothing is left of it."""
        forget(self._root, name)

    def remove(self, journal: Journal, servers: Mapping[str, ServerRequest], lock: int) -> None:
        """Take away all that was made of an app, and nothing else. It can be repeated.

        :param servers: by name of the link, where it is not a server of this host that needs no login.
        :param lock: descriptor of the app's lock.
        :raises HostError: when something stays; the journal stays as well.
        """
        directory = AppDirectory(journal.name, self._root)
        self._take_down(journal, directory, lock)
        # An app without a Compose file has no containers that would be told of a link that goes away.
        directory.remove_release()
        self._drop_databases(journal, servers, lock)
        if self._docker.installed:
            present = self._volumes.inspect([*journal.volumes, *self._docker.volumes().get(journal.name, ())])
            self._volumes.remove(sorted(present))
        with open_registry(self._host.settings, read_only=False) as registry, registry.transaction():
            for link in journal.carried:
                registry.remove_link(journal.name, link)
            registry.remove_ports(journal.name, set(journal.ports))
            registry.remove_app(journal.name)
        for path in (*journal.directories, *(path for each in journal.filled for path in _entries(each))):
            with files.attempting(f"remove {path}"):
                _remove(path)
        directory.purge()
        if journal.template:
            app_files.write_template(journal.template, "")
        self.finish(journal.name)

    def _take_down(self, journal: Journal, directory: AppDirectory, lock: int) -> None:
        if not self._docker.installed:
            return
        Compose(self._host.commands, journal.name, directory.path, lock, {}).down()
        left = decide.own(journal.name, directory.path, self._docker.containers(journal.name))
        if left:
            names = ", ".join(container.name for container in left)
            raise HostError(f"remove the containers of {journal.name}", f"{names} are left", "Run it again")

    def _drop_databases(self, journal: Journal, servers: Mapping[str, ServerRequest], lock: int) -> None:
        with open_registry(self._host.settings, read_only=True) as registry:
            # The registry knows of a link before its server does.
            made = {row.name for row in registry.links() if row.app == journal.name}
        wanted = [
            replace(_dropped(journal.name, link, engine), server=servers.get(link, ServerRequest()))
            for link, engine in journal.links.items()
            if link in made
        ]
        if not wanted:
            return
        links = Links(self._host, {}, self._root)
        plans = links.plan(wanted)
        for plan in plans:
            if isinstance(plan, Failure):
                raise plan.error
        changed = [plan for plan in plans if not isinstance(plan, Failure) and plan.changed]
        for outcome in links.apply(changed, {lock_name(journal.name): lock}):
            if isinstance(outcome, Failure):
                raise outcome.error


def read(root: str, name: str) -> Journal | None:
    """Return the journal of an app that is being made of a set, or was until its run was killed; None without one.

    :param root: where the apps' directories are.
    :raises HostError: when it is damaged.
    """
    path = path_of(root, name)
    state = files.read(path)
    if state is None:
        return None
    try:
        fields = json.loads(state.content)
        listed = {key: tuple(fields[key]) for key in ("volumes", "directories", "filled", "carried", "ports")}
        return Journal(**{**fields, **listed})
    except (ValueError, TypeError, KeyError):
        remedy = "Look at what there is of the app, and remove the file"
        raise HostError(f"read {path}", "it is damaged", remedy) from None


def _dropped(app: str, link: str, engine: str) -> link_values.LinkRequest:
    options = {"app": app, "name": link, "engine": engine, "state": "absent", "drop": True, "skip_backup": True}
    return link_values.parse(options)


def _entries(directory: str) -> list[str]:
    return [os.path.join(directory, name) for name in os.listdir(directory)] if os.path.isdir(directory) else []


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
