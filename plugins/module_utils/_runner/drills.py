# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Drills: whether a backup set can be restored, found out by restoring it.

The set becomes a throwaway app beside the original, with data of its own and a network from which it reaches nobody
outside. Whatever comes of it, all of that is gone afterwards; what a killed drill leaves, the next one removes.
"""

from __future__ import annotations

import datetime as dt
import http.client
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import web
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError, UnhealthyError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import address_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_place_plan import PlacementPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_placing import Placing
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_release import NewApp
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Remains
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, begun
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest

# An answer of a server that has an error of its own; all below it is the app's business.
_BROKEN = 500


class Drill:
    """Tries sets out."""

    def __init__(self, host: Host, sets: BackupSets, root: str = app_files.ROOT) -> None:
        """
        :param sets: of the app whose set it is.
        :param root: where the apps' directories are.
        """
        self._new = NewApp(host, sets, root)
        self._placing = Placing(host, sets, root)
        self._remains = Remains(host, root)

    def plan(self, manifest: Manifest, name: str, servers: Mapping[str, ServerRequest] | None = None) -> PlacementPlan:
        """Return what the throwaway app becomes; writes nothing.

        :param manifest: of a set that was verified.
        :param name: of the throwaway app.
        :param servers: by name of the link, those that are not this host's own or need a login.
        :raises ConflictError: when there is an app of that name that no drill has made.
        :raises InputError, HostError: when the set cannot be restored here.
        """
        return self._placing.plan(manifest, name, servers or {}, drill=True)

    def run(self, plan: PlacementPlan, lock: int) -> Mapping[str, Any]:
        """Restore the set, ask the app, and remove everything.

        :param lock: descriptor of the throwaway app's lock.
        :returns: what is told about it, with `status: passed`.
        :raises ServerkitError: when the set cannot be restored, or the app does not answer.
        """
        started = time.monotonic()
        plan = self._new.without_leftovers(plan, lock)
        made = self._new.make(plan, lock)
        try:
            answer = _ask(plan)
            seconds = time.monotonic() - started
        except ServerkitError as error:
            raise self._new.taken_back(plan, error, lock) from error
        self._remains.remove(plan.journal, plan.servers, lock)
        age = dt.datetime.now(dt.timezone.utc) - begun(plan.manifest.id)
        return {
            "status": "passed",
            "data_age": max(0, int(age.total_seconds())),
            "seconds": round(seconds, 1),
            "databases": made["databases"],
            "volumes": made["volumes"],
            "binds": made["binds"],
            "drill": {"status": "passed", "http": answer, "notes": list(plan.warnings)},
        }


def _ask(plan: PlacementPlan) -> int | None:
    """Return the HTTP status of the app's main port; None where it has none, or does not speak HTTP.

    :raises UnhealthyError: when there is no answer, or one that says that the app is broken.
    """
    release = plan.release
    main = release.main if release else None
    if release is None or main is None or main.protocol != "tcp" or release.probe in ("tcp", "none"):
        return None
    path = release.health.path if release.probe == "http" else "/"
    attempted = f"get {path} of the app {plan.name} in a drill"
    try:
        status = web.get(address_of(main), main.port, path, timeout=30.0).status
    except HostError as error:
        if release.probe == "auto" and isinstance(error.__cause__, (http.client.HTTPException, ConnectionResetError)):
            return None
        raise UnhealthyError(attempted, error.reason, "Look at the app, and at an older set") from error
    if status >= _BROKEN:
        raise UnhealthyError(attempted, f"the HTTP status is {status}", "Look at the app, and at an older set")
    return status
