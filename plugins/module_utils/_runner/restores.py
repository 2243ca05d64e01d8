# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Restores: the resource behind `serverkit_restore`.

There are three ways. Into an app that is there goes data alone (`restore_data`). An app that is not there, or is to
have another name, is made whole from the set (`restore_release`). A drill does so in a throwaway place (`drills`).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, backup_sets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.drills import Drill
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_change import Undone
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_data import InPlace
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_fetching import Fetching
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import RestorePlan, Way, chosen
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_release import NewApp
from ansible_collections.serverkit.core.plugins.module_utils._values import repository
from ansible_collections.serverkit.core.plugins.module_utils._values.app import COMPOSE_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, begun
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest


class Restores:
    """The resource of `serverkit_restore`."""

    kind = "restore"

    def __init__(self, host: Host, options: Mapping[str, Any], root: str = app_files.ROOT) -> None:
        """
        :param options: the task's `directory` and `repository`.
        :param root: where the apps' directories are.
        :raises InputError: when the repository's options are not valid.
        """
        self._host = host
        self._root = root
        self._directory = options.get("directory") or backup_sets.ROOT
        self._fetching = Fetching(host, repository.parse(options.get("repository")))

    def locks(self, wanted: Sequence[RestoreRequest]) -> Sequence[str]:
        """Return the locks of the apps whose sets these are, and of those that are made of them."""
        return [lock_name(app) for request in wanted for app in (request.app, request.name)]

    def plan(self, wanted: Sequence[RestoreRequest]) -> Sequence[RestorePlan | Failure]:
        """Choose each one's set and read all of it; writes nothing."""
        return [self._attempt(request) for request in wanted]

    def apply(self, plans: Sequence[RestorePlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Carry the plans out, one after the other."""
        return [self._carry_out(plan, lock_descriptors) for plan in plans]

    def _attempt(self, request: RestoreRequest) -> RestorePlan | Failure:
        try:
            return self._discarding(request) if request.state == "discarded" else self._restoring(request)
        except ServerkitError as error:
            return Failure(request.name, error)

    # What former restores have left

    def _discarding(self, request: RestoreRequest) -> RestorePlan:
        way = self._in_place(request)
        found = way.leavings()
        return RestorePlan(request, bool(found.facts["discarded"]), diffs=tuple(found.diffs), facts=found.facts)

    def _in_place(self, request: RestoreRequest) -> InPlace:
        return InPlace(self._host, self._sets(request), request, self._root)

    # A restore

    def _restoring(self, request: RestoreRequest) -> RestorePlan:
        sets = self._sets(request)
        present, damaged = sets.list(), sets.damaged()
        identity = chosen(present, damaged, request)
        remote = self._fetching.better(request, identity)
        if remote is not None:
            facts = {"app": request.app, "set": remote.set, "fetched": True}
            diff = self._fetching.diff(request.app, remote)
            return RestorePlan(request, True, snapshot=remote, diffs=(diff,), facts=facts)
        if not identity:
            raise _without_set(request, sets, present)
        return self._planned(request, sets, identity)

    def _planned(self, request: RestoreRequest, sets: BackupSets, identity: str) -> RestorePlan:
        """Read all of a set, and plan what is made of it.

        :raises HostError, InputError: when the set is damaged, or somebody else's.
        """
        try:
            manifest = sets.verify(identity)
        except InputError as error:
            remedies = [error.remedy, _instead(sets, identity)]
            raise InputError(error.attempted, error.reason, ". ".join(filter(None, remedies))) from error
        way = self._way(request, sets)
        work = way.plan(manifest)
        facts = {**_facts_of(request, manifest), **work.facts}
        return RestorePlan(request, True, None, way, work, manifest, tuple(work.diffs), facts, tuple(work.warnings))

    def _way(self, request: RestoreRequest, sets: BackupSets) -> Way:
        if request.drill:
            return Drilled(Drill(self._host, sets, self._root), request)
        new = NewApp(self._host, sets, self._root)
        deployed = COMPOSE_FILE in AppDirectory(request.app, self._root).read() and not new.unfinished(request.app)
        if deployed and not request.elsewhere:
            return self._in_place(request)
        if request.limited:
            raise InputError(
                f"restore parts of the set into the app {request.app}",
                "it is not deployed on this host, and an app is made of all of a set",
                "Leave out databases, volumes and binds",
            )
        return Placed(new, request)

    def _carry_out(self, plan: RestorePlan, locks: Mapping[str, int]) -> Outcome:
        request, started = plan.request, time.monotonic()
        try:
            if request.state == "discarded":
                facts = self._in_place(request).discard(locks[lock_name(request.app)])
                return Success(plan.name, True, plan.diffs, {**plan.facts, **facts}, plan.warnings)
            if plan.snapshot is not None:
                sets = self._sets(request)
                self._fetching.fetch(plan.snapshot, sets)
                found = self._planned(request, sets, plan.snapshot.set)
                plan = replace(found, diffs=plan.diffs, facts={**found.facts, "fetched": True})
            if plan.way is None or plan.work is None:
                raise RuntimeError("a set that is here has a way to be restored")
            facts = plan.way.restore(plan.work, locks[lock_name(request.name)])
        except Undone as undone:
            return Failure(plan.name, undone.error, undone.done, undone.failed, plan.diffs, changed=bool(undone.failed))
        except ServerkitError as error:
            return Failure(plan.name, error, diffs=plan.diffs)
        seconds = round(time.monotonic() - started, 1)
        facts = {**plan.facts, **facts, "seconds": seconds}
        return Success(plan.name, True, plan.diffs, facts, plan.warnings)

    def _sets(self, request: RestoreRequest) -> BackupSets:
        return BackupSets(request.app, self._directory)


class Placed:
    """Making an app of a set."""

    def __init__(self, new: NewApp, request: RestoreRequest) -> None:
        self._new = new
        self._request = request

    def plan(self, manifest: Manifest) -> Any:
        return self._new.plan(manifest, self._request.name, self._request.servers)

    def restore(self, work: Any, lock: int) -> Mapping[str, Any]:
        return self._new.restore(work, lock)


class Drilled:
    """Trying a set out."""

    def __init__(self, drill: Drill, request: RestoreRequest) -> None:
        self._drill = drill
        self._request = request

    def plan(self, manifest: Manifest) -> Any:
        return self._drill.plan(manifest, self._request.name, self._request.servers)

    def restore(self, work: Any, lock: int) -> Mapping[str, Any]:
        return self._drill.run(work, lock)


def _facts_of(request: RestoreRequest, manifest: Manifest) -> dict[str, Any]:
    """Return what is told of a set."""
    age = dt.datetime.now(dt.timezone.utc) - begun(manifest.id)
    return {
        "app": request.app,
        "set": manifest.id,
        "created": manifest.created,
        "data_age": max(0, int(age.total_seconds())),
        "from_host": manifest.host,
        "fetched": False,
        "databases": {
            each.link: {"engine": each.engine, "rows": sum(each.rows.values())} for each in manifest.databases
        },
        "volumes": {each.name: each.entries for each in manifest.volumes},
        "binds": {each.name: each.entries for each in manifest.binds},
        "kept": [],
    }


def _instead(sets: BackupSets, identity: str) -> str:
    """Return how to come to the good copy of a damaged set: nothing is fetched while its name is taken.

    Without the name of the set, the next older one that is here would be the newest.
    """
    return f"If a repository has a good copy of it, remove {sets.path(identity)} and ask for the set {identity}"


def _without_set(request: RestoreRequest, sets: BackupSets, present: Sequence[Manifest]) -> HostError:
    """Return what to raise when no set suits a request."""
    reason = f"there is no set of it in {sets.root}"
    if present and request.set:
        reason = f"it has no set {request.set}, but {', '.join(each.id for each in present[-5:])}"
    elif present:
        reason = f"the oldest set of it is {present[0].id}"
    return HostError(
        f"restore the app {request.app}", reason, "Name another set or time, or give the repository that has it"
    )
