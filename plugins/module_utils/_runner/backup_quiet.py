# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Keeping an app from writing while its files are read, in a way that cannot leave it like that."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._edges.guards import Guard
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Quiesce

# What the guard lets the containers go on by. Docker goes on to stop one though the program that asked for it was
# killed: to start it meanwhile has no effect, and to restart it waits for that.
_BACK = {"pause": "unpause", "stop": "restart"}
_WRITING = {"pause": ("running",), "stop": ("running", "restarting")}


class Quiet:
    """The containers of an app, from `hush` to `release`; `quieted` sees to the latter.

    A guard process lets them go on when we are killed meanwhile, and holds the app's lock until it has. Where the whole
    machine goes down, `state.json` tells the next run (`release_left`).
    """

    def __init__(
        self,
        host: Host,
        docker: Docker,
        app: str,
        lock: int,
        how: Quiesce,
        sets: BackupSets,
        apps: str = app_files.ROOT,
    ) -> None:
        self._host = host
        self._docker = docker
        self._app = app
        self._directory = AppDirectory(app, apps).path
        self._lock = lock
        self._how = how
        self._sets = sets
        self._hushed: list[str] = []
        self._guards: list[Guard] = []

    def hush(self, but: Collection[str] = ()) -> None:
        """Keep containers from writing that do so now.

        :param but: services that are left alone, for now.
        :raises HostError: when Docker cannot.
        """
        if self._how == "none" or not self._docker.installed:
            return
        writing = [item.id for item in self._writing() if item.service not in but]
        if not writing:
            return
        self._hushed.extend(writing)
        backup_state.update(self._sets, quiet={"how": self._how, "containers": self._hushed})
        docker = self._host.commands.find("docker") or "docker"
        guard = Guard([docker, _BACK[self._how], *writing], self._lock)
        self._guards.append(guard)
        hush = self._docker.pause if self._how == "pause" else self._docker.stop
        try:
            # It must not be the guard's turn before Docker is done.
            hush(writing, pass_fds=[guard.pipe])
        except HostError:
            # One that has just ended by itself writes no more, and Docker calls that an error.
            if any(item.id in writing for item in self._writing()):
                raise

    def release(self) -> None:
        """Let them go on.

        :raises HostError: when Docker cannot; it is tried again before the next set is made.
        """
        if not self._hushed:
            return
        _release(self._docker, self._how, self._hushed)
        for guard in self._guards:
            guard.dismiss()
        self._hushed, self._guards = [], []
        backup_state.update(self._sets, quiet=None)

    def _writing(self) -> list[Container]:
        own = decide.own(self._app, self._directory, self._docker.containers(self._app))
        return [item for item in own if item.state in _WRITING[self._how]]


@contextlib.contextmanager
def quieted(quiet: Quiet) -> Iterator[Quiet]:
    """Let an app go on at the end of a `with` statement, whatever happens in it.

    :raises HostError: when Docker cannot.
    """
    try:
        yield quiet
    except ServerkitError as error:
        try:
            quiet.release()
        except ServerkitError as late:
            raise type(error)(error.attempted, f"{error.reason}; besides, {late}", error.remedy) from error
        raise
    except BaseException:
        # An interruption is to end the run; what stays hushed, the guard lets go on when it has.
        with contextlib.suppress(ServerkitError):
            quiet.release()
        raise
    quiet.release()


def release_left(docker: Docker, sets: BackupSets) -> tuple[str, ...]:
    """Let containers go on that a run has left hushed which went down together with its guard; returns their names.

    :raises HostError: when Docker cannot.
    """
    left = backup_state.read(sets).get(backup_state.QUIET)
    if not left:
        return ()
    names = _release(docker, left["how"], left["containers"])
    backup_state.update(sets, quiet=None)
    return names


def _release(docker: Docker, how: str, identities: Sequence[str]) -> tuple[str, ...]:
    """Let those go on that are there and hushed: Docker calls it an error to unpause one that runs."""
    hushed = ("paused",) if how == "pause" else ("exited", "created")
    left = [item for item in docker.containers() if item.id in identities and item.state in hushed]
    # In the order in which they were hushed, the last one first: what others depend on was left alone longest.
    ordered = sorted(left, key=lambda item: -identities.index(item.id))
    if how == "pause":
        docker.unpause([item.id for item in ordered])
    else:
        docker.start([item.id for item in ordered])
    return tuple(item.name for item in ordered)
