# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""How the backups of a host are: the last one of each app, whether it is too old, and what went wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, backup_sets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_settings import BackupSettings
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_state, backups
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Remains
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import duration


@dataclass(frozen=True)
class BackupStatus:
    """The backups of one app, as far as one can tell without reading all of them.

    :ivar set: the newest one, empty where there is none; `age` in seconds and `size` in bytes.
    :ivar snapshot: its copy in the repository.
    :ivar problems: sentences without a full stop; empty when all is well.
    """

    app: str
    set: str = ""
    created: str = ""
    age: int = 0
    size: int = 0
    sets: int = 0
    snapshot: str = ""
    problems: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What is told of it, such as in the host's local facts."""
        told = {name: getattr(self, name) for name in ("set", "created", "age", "size", "sets", "snapshot")}
        return {**told, "ok": not self.problems, "problems": list(self.problems)}


@dataclass(frozen=True)
class WantedApps:
    """The apps of this host that are to have backups.

    :ivar unfinished: those that none is made of now, since a restore or a drill makes them of one, or was cut short.
    """

    apps: tuple[str, ...]
    unfinished: tuple[str, ...] = ()


def wanted_apps(settings: BackupSettings, host: Host, root: str = app_files.ROOT) -> WantedApps:
    """Return the apps of this host that are to have backups.

    :param root: where the apps' directories are.
    :raises ServerkitError: when the registry cannot be read.
    """
    if settings.apps:
        return WantedApps(tuple(sorted(set(settings.apps) - set(settings.exclude_apps))))
    with open_registry(host.settings, read_only=True) as opened:
        # One that was removed with its data kept has data to lose still.
        known = {*opened.apps(), *(link.app for link in opened.links())} - set(settings.exclude_apps)
    remains = Remains(host, root)
    unfinished = {app for app in known if _is_unfinished(remains, app)}
    return WantedApps(tuple(sorted(known - unfinished)), tuple(sorted(unfinished)))


def _is_unfinished(remains: Remains, app: str) -> bool:
    try:
        return remains.read(app) is not None
    except HostError:
        # Its journal is damaged. The backup of this app will say so, and those of the others are made.
        return False


def statuses(apps: Sequence[str], settings: BackupSettings) -> tuple[BackupStatus, ...]:
    """Return how the backups of apps are; writes nothing.

    :raises InputError: when `max_age` is no duration.
    """
    oldest = duration(settings.max_age, "tell whether backups are stale")
    return tuple(_status(app, settings, oldest) for app in apps)


def _status(app: str, settings: BackupSettings, oldest: int) -> BackupStatus:
    sets = BackupSets(app, settings.directory or backup_sets.ROOT)
    try:
        there = sets.list()
        trouble = backup_state.trouble(sets)
        copied = backup_state.read(sets).get(backup_state.SNAPSHOTS) or {}
        damaged = [f"{os.path.basename(name)} is damaged" for name in sets.damaged()]
    except ServerkitError as error:
        return BackupStatus(app, problems=(str(error).rstrip("."),))
    problems = [*([trouble] if trouble else []), *damaged]
    if not there:
        return BackupStatus(app, problems=("there is no backup", *problems))
    newest = there[-1]
    age = backups.age(newest)
    if age > oldest:
        problems.append(f"the newest one is {age // 3600} hours old, and {settings.max_age} are allowed")
    if settings.repository is not None and newest.id not in copied:
        problems.append("the newest one is not in the repository")
    size = sum(file.size for file in newest.files)
    return BackupStatus(
        app, newest.id, newest.created, age, size, len(there), str(copied.get(newest.id, "")), tuple(problems)
    )
