# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Restoring the data of an app that is there.

All of it is put beside what the app uses, and counted. Then the app is stopped, old and new change places, and the app
has to become healthy with the new data; else they change places again. How far that has come is written down before
each step, so that the next run can finish it or take it back, whenever a run was killed. What was there before is kept
until somebody says that it may go.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_quiet, restore_sources, restore_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_change import Change
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_parts import Parts
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import DataPlan, Journal
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_service import Service
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest


class InPlace:
    """Restores the data of one app."""

    def __init__(self, host: Host, sets: BackupSets, request: RestoreRequest, root: str) -> None:
        """
        :param root: where the apps' directories are.
        """
        self._host = host
        self._sets = sets
        self._request = request
        self._docker = Docker(host.commands)
        self._directory = AppDirectory(request.app, root)

    def plan(self, manifest: Manifest) -> DataPlan:
        """Return what is put in the place of what; writes nothing.

        :param manifest: of a set that was verified.
        :raises InputError, ConflictError, HostError: when some of it cannot be.
        """
        with self._parts() as parts:
            plan = restore_sources.plan(parts, manifest, self._request)
        journal = restore_state.journal(self._sets)
        if journal is None:
            return plan
        warning = f"a restore of the set {journal.set} was cut short; it is finished or taken back first"
        return replace(plan, warnings=(*plan.warnings, warning))

    def restore(self, work: DataPlan, lock: int) -> Mapping[str, Any]:
        """Carry a plan out; all or nothing.

        :param lock: descriptor of the app's lock.
        :raises Undone: when it failed; everything is as before, or is told.
        :raises HostError: when a restore that was cut short can neither be finished nor taken back.
        """
        with self._parts() as parts:
            change = Change(self._sets, parts, self._service(lock))
            resumed = self._resume(change)
            mark = f"{dt.datetime.now(dt.timezone.utc):%y%m%d%H%M%S}"
            chosen = tuple(parts.part(source, mark) for source in work.sources)
            change.carry_out(Journal(mark, work.set, "staging", parts.wanted_up, chosen), work)
        kept = [each.facts for each in restore_state.kept(self._sets)]
        return {**work.facts, "kept": kept, "resumed": resumed}

    def leavings(self) -> DataPlan:
        """Return what former restores have left that can be discarded; writes nothing.

        :raises HostError: when `state.json` is damaged.
        """
        kept, journal = restore_state.kept(self._sets), restore_state.journal(self._sets)
        left = [each.facts for each in kept]
        lines = [f"{each.part.kept}: the {each.part.text} before the restore of {each.set}" for each in kept]
        if journal:
            left.append({"kind": "restore", "name": "unfinished", "kept": "", "set": journal.set})
            lines.append(f"a restore of {journal.set} that was cut short")
        text = "".join(f"{line}\n" for line in lines)
        diffs = (Diff(f"what restores of {self._request.app} have left", text, ""),) if lines else ()
        facts = {"app": self._request.app, "discarded": left, "kept": []}
        return DataPlan("", (), diffs, facts)

    def discard(self, lock: int) -> Mapping[str, Any]:
        """Delete what former restores have kept aside, and finish or take back one that was cut short.

        :raises HostError: when something of it cannot be deleted; the rest is kept.
        """
        with self._parts() as parts:
            if restore_state.journal(self._sets) is not None:
                self._resume(Change(self._sets, parts, self._service(lock)))
            for each in restore_state.kept(self._sets):
                parts.discard(each.part, each.part.kept)
                restore_state.forget(self._sets, each)
        return {"kept": []}

    def _resume(self, change: Change) -> str:
        """Finish a restore that was cut short, or take it back; returns which, empty when there is none."""
        backup_quiet.release_left(self._docker, self._sets)
        journal = restore_state.journal(self._sets)
        return change.resume(journal) if journal else ""

    def _service(self, lock: int) -> Service:
        return Service(self._host, self._docker, self._directory, self._request.app, lock)

    @contextlib.contextmanager
    def _parts(self) -> Iterator[Parts]:
        parts = Parts(self._host, self._docker, self._sets, self._directory, self._request)
        try:
            yield parts
        finally:
            parts.close()
