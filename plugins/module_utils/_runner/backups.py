# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Backups: the resource behind `serverkit_backup`.

A set is made whole and verified before it counts, and before any other is thinned out. Whatever goes wrong, the sets
that are there stay, and the app goes on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, backup_sets, restic
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.engines import check_dump
from ansible_collections.serverkit.core.plugins.module_utils._gateways.restic import Restic
from ansible_collections.serverkit.core.plugins.module_utils._plan.retention import thinned
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_plan import Contents, Reader
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_taking import take
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values import repository as repositories
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, Reason, begun, new_set_id
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import BackupRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Outcome, Success


@dataclass(frozen=True)
class BackupPlan:
    """What is to be done about the backups of one app.

    :ivar newest: the newest set that has all of the app's data; None where there is none.
    :ivar takes: a new set is made.
    :ivar copies: the newest set is copied to the repository.
    :ivar removed: sets that are thinned out, as far as that can be foreseen.
    """

    request: BackupRequest
    newest: Manifest | None = None
    takes: bool = False
    copies: bool = False
    removed: tuple[str, ...] = ()
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The app's name."""
        return self.request.app

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return self.takes or self.copies or bool(self.removed)


class Backups:
    """The resource of `serverkit_backup`."""

    kind = "backup"

    def __init__(
        self, host: Host, options: Mapping[str, Any], root: str = backup_sets.ROOT, apps: str = app_files.ROOT
    ) -> None:
        """
        :param options: of the task: `directory`, `repository`; and `reason`, why sets are made.
        :param root: where the sets are, unless `directory` says so, and `apps` where the apps' directories are.
        """
        self._host = host
        self._root = options.get("directory") or root
        self._apps = apps
        self._reason: Reason = "scheduled" if options.get("reason") == "scheduled" else "asked"
        self._repository = repositories.parse(options.get("repository"))
        for secret in self._repository.secrets if self._repository else ():
            host.hide(secret)

    def locks(self, wanted: Sequence[BackupRequest]) -> Sequence[str]:
        """Return no locks: each app's is held while its own set is made, or a deploy would wait for all the others."""
        del wanted
        return ()

    def plan(self, wanted: Sequence[BackupRequest]) -> Sequence[BackupPlan | Failure]:
        """Return what is to be done about each app; reads back the newest set of those to be verified."""
        reader = Reader(self._host, Docker(self._host.commands), self._apps)
        return [self._attempt(reader, request) for request in wanted]

    def apply(self, plans: Sequence[BackupPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Make sets, one app after another; one that fails does not stop the others."""
        del lock_descriptors
        with self._opened() as store:
            return [self._carry_out(plan, store) for plan in plans]

    def _attempt(self, reader: Reader, request: BackupRequest) -> BackupPlan | Failure:
        sets = BackupSets(request.app, self._root)
        try:
            if request.state == "verified":
                return _verified(request, sets)
            return self._plan(request, sets, reader.read(request.app, request.options))
        except ServerkitError as error:
            return Failure(request.name, error)

    def _plan(self, request: BackupRequest, sets: BackupSets, contents: Contents) -> BackupPlan:
        there = sets.list()
        newest = next((each for each in reversed(there) if contents.in_set(each)), None)
        fresh = newest is not None and request.max_age is not None and age(newest) <= request.max_age
        copied = backup_state.read(sets).get(backup_state.SNAPSHOTS) or {}
        copies = self._repository is not None and (not fresh or newest is None or newest.id not in copied)
        plan = BackupPlan(
            request,
            newest if fresh else None,
            takes=not fresh,
            copies=copies,
            removed=self._thinned(request, there, spared=newest.id if newest and fresh else ""),
            warnings=_warnings(sets, contents),
        )
        lines = "".join(f"{each}\n" for each in plan.removed)
        taken = [Diff(f"backup of {request.app}", "", contents.summary)] if plan.takes else []
        gone = [Diff(f"backups of {request.app} that are thinned out", lines, "")] if lines else []
        facts = facts_of(sets, newest, copied) if newest and fresh else {"left_out": dict(contents.left_out)}
        return replace(plan, diffs=(*taken, *gone), facts={**facts, "removed": list(plan.removed)})

    def _thinned(self, request: BackupRequest, there: Sequence[Manifest], *, spared: str) -> tuple[str, ...]:
        """Return the sets to remove.

        :param spared: the one that counts, which need not be the newest; empty where one is still to be made.
        """
        if request.keep is None:
            return ()
        sets = [(each.id, each.reason) for each in there]
        known = {each.id for each in there}
        if not spared:
            now = dt.datetime.now(dt.timezone.utc)
            sets.append((new_set_id(now, frozenset(known)), self._reason))
        return tuple(each for each in thinned(sets, request.keep) if each in known - {spared})

    # Carrying out

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Restic | ServerkitError | None]:
        """Open the repository once; where that fails, the sets on this host are made all the same."""
        if self._repository is None:
            yield None
            return
        with contextlib.ExitStack() as stack:
            found: Restic | ServerkitError
            try:
                found = stack.enter_context(restic.opened(self._host.commands, self._repository))
                found.ensure()
            except ServerkitError as error:
                found = error
            yield found

    def _carry_out(self, plan: BackupPlan, store: Restic | ServerkitError | None) -> Outcome:
        request = plan.request
        sets = BackupSets(request.app, self._root)
        changed = False
        try:
            with locks.held(lock_name(request.app)) as lock:
                manifest = plan.newest
                if plan.takes or manifest is None:
                    manifest = take(
                        self._host, request.app, lock, self._reason, request.options, root=self._root, apps=self._apps
                    )
                    changed = True
                removed = self._thinned(request, sets.list(), spared=manifest.id)
                sets.remove(removed)
                changed = changed or bool(removed)
            # Without the lock: it may take hours, and touches nothing of the app.
            if plan.copies:
                self._copy(request, sets, manifest, store)
                changed = True
            facts = facts_of(sets, manifest, backup_state.read(sets).get(backup_state.SNAPSHOTS) or {})
        except ServerkitError as error:
            return Failure(plan.name, error, diffs=plan.diffs, changed=changed)
        return Success(plan.name, True, plan.diffs, {**facts, "removed": list(removed)}, plan.warnings)

    def _copy(
        self, request: BackupRequest, sets: BackupSets, manifest: Manifest, store: Restic | ServerkitError | None
    ) -> None:
        if store is None:
            return
        if isinstance(store, ServerkitError):
            raise store
        snapshot = store.store(sets.path(manifest.id), request.app, manifest.id, manifest.reason)
        keep = (self._repository.keep if self._repository else None) or request.keep
        if keep is not None:
            store.thin(request.app, keep)
        with locks.held(lock_name(request.app)):
            there = {each.id for each in sets.list()}
            copied = backup_state.read(sets).get(backup_state.SNAPSHOTS) or {}
            known = {name: each for name, each in copied.items() if name in there}
            backup_state.update(sets, snapshots={**known, manifest.id: snapshot})


def age(manifest: Manifest) -> int:
    """Return how old a set's data are, in seconds."""
    return int((dt.datetime.now(dt.timezone.utc) - begun(manifest.id)).total_seconds())


def facts_of(sets: BackupSets, manifest: Manifest, copied: Mapping[str, str]) -> dict[str, Any]:
    """Return what is told of a set."""
    return {
        "set": manifest.id,
        "path": sets.path(manifest.id),
        "size": sum(file.size for file in manifest.files),
        "seconds": manifest.seconds,
        "age": age(manifest),
        "quiesce": manifest.quiesce,
        "databases": {
            dump.link: {"engine": dump.engine, "rows": dict(dump.rows), "size": dump.file.content_size}
            for dump in manifest.databases
        },
        "volumes": {tree.name: _tree(tree.entries, tree.file.content_size) for tree in manifest.volumes},
        "binds": {tree.name: _tree(tree.entries, tree.file.content_size) for tree in manifest.binds},
        "left_out": dict(manifest.left_out),
        "snapshot": copied.get(manifest.id),
    }


def _tree(entries: int, size: int) -> dict[str, int]:
    return {"entries": entries, "size": size}


def _verified(request: BackupRequest, sets: BackupSets) -> BackupPlan:
    """Read the newest set back.

    :raises HostError: when there is none, it is too old, or it is damaged.
    """
    attempted = f"find a backup of {request.app} that can be restored"
    there, trouble = sets.list(), backup_state.trouble(sets)
    if not there:
        raise HostError(attempted, f"there is none{f'; {trouble}' if trouble else ''}", "Run serverkit_backup")
    newest = there[-1]
    if request.max_age is not None and age(newest) > request.max_age:
        old = f"the newest one, {newest.id}, is {age(newest) // 3600} hours old"
        raise HostError(attempted, f"{old}{f'; {trouble}' if trouble else ''}", "Run serverkit_backup, or its timer")
    manifest = sets.verify(newest.id, check_dump)
    copied = backup_state.read(sets).get(backup_state.SNAPSHOTS) or {}
    warnings = (trouble,) if trouble else ()
    return BackupPlan(request, manifest, facts={**facts_of(sets, manifest, copied), "removed": []}, warnings=warnings)


def _warnings(sets: BackupSets, contents: Contents) -> tuple[str, ...]:
    found = [f"{sets.path(name)} is damaged and does not count" for name in sets.damaged()]
    return (*found, *(f"{what} is not backed up: {reason}" for what, reason in contents.lost.items()))
