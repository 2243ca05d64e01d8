# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""One restore into an app that is there, forth or back.

What is written down before each step is what makes a killed run repairable: until `switching`, nothing of the app's was
touched; from `judging` on, the app may have written to what was restored, so that is not thrown away unless the app
does not become healthy with it.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._runner import restore_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_parts import Parts
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import DataPlan, Journal, Phase
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_service import Service

_RUN_AGAIN = "Run serverkit_restore for the app again, which goes on with that"


class Undone(Exception):
    """A restore that failed and was taken back, as far as that could be done.

    :ivar done: what was taken back, and `failed`, what was not, with the reason.
    """

    def __init__(self, error: ServerkitError, done: tuple[str, ...], failed: tuple[str, ...]) -> None:
        super().__init__(str(error))
        self.error = error
        self.done = done
        self.failed = failed


class Change:
    """Puts a set's data in the place of an app's."""

    def __init__(self, sets: BackupSets, parts: Parts, service: Service) -> None:
        self._sets = sets
        self._parts = parts
        self._service = service

    def carry_out(self, journal: Journal, plan: DataPlan) -> None:
        """Bring the set's data about.

        :raises Undone: when that failed.
        """
        restore_state.note(self._sets, journal)
        try:
            for source, part in zip(plan.sources, journal.parts, strict=True):
                self._parts.stage(part, source, journal.set)
        except ServerkitError as error:
            done, failed = self._unstage(journal)
            raise Undone(error, done, failed) from error
        try:
            journal = self._advance(journal, "switching")
            self._service.stop(self._parts.needed(journal))
            for part in journal.parts:
                self._parts.switch(part)
            journal = self._advance(journal, "judging")
            self._bring_up(journal)
        except ServerkitError as error:
            done, failed = self._return(journal, judged=True)
            raise Undone(_with_consequence(error, failed), done, failed) from error
        self._finish(journal)

    def resume(self, journal: Journal) -> str:
        """Finish a restore that was cut short, or take it back; returns which.

        :raises HostError: when neither can be done.
        """
        if journal.phase == "staging":
            failed = self._unstage(journal)[1]
        else:
            if journal.phase == "judging":
                try:
                    self._bring_up(journal)
                except ServerkitError:
                    pass  # as it would have been taken back when nobody had killed it
                else:
                    self._finish(journal)
                    return "finished"
            failed = self._return(journal, judged=False)[1]
        if restore_state.journal(self._sets) is not None:
            attempted = f"take back the restore of the set {journal.set} that was cut short"
            raise HostError(attempted, "; ".join(failed), "Mend that, and run it again")
        return "taken back"

    def _advance(self, journal: Journal, phase: Phase) -> Journal:
        advanced = replace(journal, phase=phase)
        restore_state.note(self._sets, advanced)
        return advanced

    def _bring_up(self, journal: Journal) -> None:
        if journal.started:
            self._service.up()

    def _finish(self, journal: Journal) -> None:
        """Keep what was there before; where there was nothing, what stands for it goes."""
        kept = [part for part in journal.parts if part.existed]
        restore_state.finish(self._sets, journal, kept)
        for part in journal.parts:
            if not part.existed:
                self._parts.discard(part, part.kept)
        self._parts.tidy()

    def _unstage(self, journal: Journal) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Remove what was made beside the app's data, which nobody has touched."""
        try:
            for part in journal.parts:
                self._parts.discard(part, part.fresh)
            restore_state.note(self._sets, None)
            self._parts.tidy()
        except ServerkitError as error:
            return (), (f"removed what was restored: {error} {_RUN_AGAIN}",)
        return ("removed what was restored; nothing of the app's was touched",), ()

    def _return(self, journal: Journal, *, judged: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Put the former data back and bring the app up with it; returns what was taken back, and what was not.

        :param judged: whether the app has to become healthy; else it is started, for what comes next.
        """
        done: list[str] = []
        failed: list[str] = []
        try:
            journal = self._advance(journal, "returning")
            self._service.stop(self._parts.needed(journal))
            for part in reversed(journal.parts):
                self._parts.back(part)
        except ServerkitError as error:
            # An app with some of its data of today and some of then is better not run.
            return (), (f"put the former data back: {error} The app is stopped. {_RUN_AGAIN}",)
        done.append("put the former data back")
        try:
            if journal.started:
                self._service.up(judged=judged)
                done.append("brought the app up with it")
        except ServerkitError as error:
            failed.append(f"brought the app up with it: {error}")
        removed, left = self._unstage(journal)
        return (*done, *(step.partition(";")[0] for step in removed)), (*failed, *left)


def _with_consequence(error: ServerkitError, failed: tuple[str, ...]) -> ServerkitError:
    remedy = f"{error.remedy}. " if error.remedy else ""
    if failed:
        return type(error)(error.attempted, error.reason, f"{remedy}Going back failed as well: {'; '.join(failed)}")
    return type(error)(error.attempted, error.reason, f"{remedy}The data is as it was before the restore")
