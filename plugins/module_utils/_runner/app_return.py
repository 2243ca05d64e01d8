# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Going back, where an attempt to bring a release about has failed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError, UnhealthyError
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_attempt import Attempt
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan, environment
from ansible_collections.serverkit.core.plugins.module_utils._values.app import DESCRIPTION_FILE, ENVIRONMENT_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.links import COMPOSE_FILES_KEY
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease

_PORTS_BACK = "gave the reserved ports back"
_PREVIOUS_BACK = "brought the previous release back up"


class Return:
    """The steps back, and what is told about them."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._directory = attempt.plan.draft.directory
        self._undo = attempt.undo

    @property
    def _plan(self) -> AppPlan:
        return self._attempt.plan

    # Each is pushed right before the step that it takes back

    def push_leases(self, before: Sequence[PortLease]) -> None:
        self._undo.push(_PORTS_BACK, lambda: self._restore_leases(before))

    def push_containers(self) -> None:
        self._undo.push(_PREVIOUS_BACK, self._bring_back)

    def push_files(self) -> None:
        self._undo.push("restored the files of the previous release", self._restore_files)

    def push_removal(self) -> None:
        self._undo.push("removed the files of the new release", self._remove_files)

    def push_take_down(self) -> None:
        step = "took the containers down; volumes, .env and ports are kept"
        self._undo.push(step, lambda: self._attempt.compose().down())

    def fail(self, error: ServerkitError) -> Failure:
        """Take back what was done, and return what to tell about it."""
        attempt = self._attempt
        evidence = self._culprit_of(error)
        done, failed = self._undo.unwind()
        try:
            self._note_failure()
        except ServerkitError as second:
            failed = (*failed, f"noted the failed release in the registry: {second}")
        # Steps that had nothing to do: no container was touched yet, or there is no previous release.
        idle = (_PREVIOUS_BACK,) if not attempt.touched else (_PORTS_BACK,) if not self._plan.previous else ()
        done = tuple(step for step in done if step not in idle)
        reason = redact(f"{error.reason}{evidence}", attempt.secrets)
        failed = tuple(redact(step, attempt.secrets) for step in failed)
        told = type(error)(error.attempted, reason, self._consequence(error, failed))
        first_and_kept = attempt.touched and not self._plan.previous
        return Failure(self._plan.name, told, done, failed, self._plan.diffs, changed=bool(failed) or first_and_kept)

    def _note_failure(self) -> None:
        if self._attempt.touched and self._plan.record is not None and not self._plan.same_release:
            with self._attempt.tools.registry.transaction():
                self._attempt.add_release("failed")

    def _consequence(self, error: ServerkitError, failed: Sequence[str]) -> str:
        remedy = f"{error.remedy}. " if error.remedy else ""
        if failed:
            return f"{remedy}Going back failed as well: {'; '.join(failed)}"
        if not self._attempt.touched:
            return f"{remedy}No container was touched, and nothing is left of the attempt"
        if self._plan.previous:
            name = decide.content_hash(self._plan.previous)
            how = "is in place again, stopped as it was" if self._was_stopped else "serves again"
            return f"{remedy}The previous release {name} {how}"
        if self._plan.same_release:
            return f"{remedy}It is the release that served before, so there is none to go back to"
        return (
            f"{remedy}Its containers were taken down; its volumes, its .env with the generated values and its ports are"
            " kept for the next attempt"
        )

    def _restore_files(self) -> None:
        """Put the previous files back; what was made for the new release stays in `.env`.

        A database that the new release has begun to set up keeps its password in its volume, and a database server
        that the app was linked to meanwhile keeps it as well: a later attempt needs it.
        """
        previous = environment(self._plan.previous)
        draft, used = self._plan.draft, environment(self._attempt.target.files)
        linked = [] if self._plan.relinks else [name for name in draft.linked_environment if name != COMPOSE_FILES_KEY]
        made = {name: used[name] for name in (*linked, *draft.generated) if name in used}
        kept = {name: value for name, value in made.items() if name not in previous}
        text = dotenv.encode({**previous, **kept}) if kept and self._attempt.touched else None
        self._directory.restore_previous(text)

    def _bring_back(self) -> None:
        if not self._attempt.touched:
            # A .rollback that an earlier, killed run has left is still needed: its containers may be half way.
            if self._plan.previous_in_place:
                self._directory.drop_previous()
                self._directory.prune(self._files_to_keep())
            return
        present = self._directory.read()
        release = decide.read_description(present[DESCRIPTION_FILE].content) if DESCRIPTION_FILE in present else None
        if release is None:
            raise HostError(f"judge the previous release of {self._plan.name}", "its description is damaged")
        stopped = self._was_stopped
        self._attempt.compose(present).up(start=not stopped)
        if stopped:
            self._attempt.compose(present).stop()
        else:
            self._attempt.pass_gate(release, self._attempt.gate.deadline(release.health.timeout))
        hashes = decide.config_hashes(self._attempt.containers())
        state = "stopped" if stopped else "started"
        self._attempt.put(self._attempt.record_of(release, present, state, hashes, confirmed=True))
        self._directory.drop_previous()
        self._directory.prune(self._files_to_keep())

    def _remove_files(self) -> None:
        had_data = ENVIRONMENT_FILE in self._plan.draft.files
        self._directory.remove_release(keep_environment=self._attempt.touched or had_data)

    def _restore_leases(self, before: Sequence[PortLease]) -> None:
        if self._attempt.touched and not self._plan.previous:
            return
        registry = self._attempt.tools.registry
        with registry.transaction():
            now = self._attempt.leases()
            registry.remove_ports(self._plan.name, {lease.name for lease in now})
            registry.add_ports(before)

    @property
    def _was_stopped(self) -> bool:
        return self._plan.record is not None and self._plan.record.state == "stopped"

    def _files_to_keep(self) -> Collection[str]:
        """Return the files that the previous release refers to."""
        referred = "".join(file.content for file in self._plan.previous.values())
        return {path for path in self._plan.draft.files if path in referred or path.split("/")[0] != "files"}

    def _culprit_of(self, error: ServerkitError) -> str:
        """Return the log of the container that made Compose fail, where Compose itself does not say enough."""
        if isinstance(error, UnhealthyError) or not self._attempt.touched:
            return ""
        try:
            verdict = decide.judge(self._attempt.target.release.services, self._attempt.containers())
        except HostError:
            return ""
        if verdict.outcome != "bad":
            return ""
        return f". {verdict.reason}{self._attempt.log_of(verdict.container)}"
