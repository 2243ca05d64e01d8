# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Carrying out a draft: tested as a whole beside the live files, swapped in, reloaded, proven; or taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Expectation
from ansible_collections.serverkit.core.plugins.module_utils._plan import private_urls, sites
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import Names
from ansible_collections.serverkit.core.plugins.module_utils._plan.sites import SiteChange
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Draft, Snapshot, Task
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import PROOF_PATH, SHARED
from ansible_collections.serverkit.core.plugins.module_utils._values.records import VhostRecord

PROOF_SETTLE = 0.3  # seconds; nginx tells the old workers to stop 0.1 s after it has started the new ones

_ATTEMPTED = "change what nginx serves"


class NameTakenError(ConflictError):
    """A name was free when we read the registry, and is not any more."""


class RefusedError(HostError):
    """nginx refuses what one app asks for.

    :ivar app: whose file it complains about.
    """

    def __init__(self, app: str, problem: str) -> None:
        super().__init__(
            f"serve the names of the app {app}",
            f"nginx refuses the configuration that they come to: {problem}",
            "Change the option that the complaint is about. Nothing of the app was changed",
        )
        self.app = app


class Writing:
    """Writes rows and files of one draft. What is done can be taken back until `keep`."""

    def __init__(self, task: Task, snapshot: Snapshot, draft: Draft) -> None:
        self._task = task
        self._snapshot = snapshot
        self._draft = draft
        self._kept: list[str] = []

    def keep(self) -> None:
        """Give up the old files that were kept for taking back, and those that a killed run did not come to give up."""
        for aside in self._kept:
            files.remove(aside)
        self._kept = []
        shared = [self._draft.shared] if self._draft.shared else []
        for change in (*shared, *self._draft.sites.values()):
            for file in change.files:
                self._task.nginx.sweep(file.path)

    def rehearse(self, changes: Sequence[SiteChange], undo: UndoStack) -> None:
        """Test the whole configuration with the changes in it, beside the live one.

        :raises RefusedError: when nginx refuses the file of one app.
        :raises HostError: when nginx is stopped, is broken already, or refuses the changes.
        """
        nginx = self._task.nginx
        if not nginx.running():
            raise HostError(
                _ATTEMPTED,
                "nginx is not running",
                "Start it (`systemctl start nginx`; `journalctl -u nginx` says why it stopped) and run again. Nothing"
                " was changed",
            )
        for change in changes:
            for path in nginx.make_logs(change.app) if change.hash_after and change.app != SHARED else ():
                undo.push(f"removed {path}", partial(files.remove, path))
        problem = nginx.problem_after([file for change in changes for file in change.files])
        # When only one of our own files was broken, the change itself mends it.
        already = nginx.problem() if problem else ""
        if already:
            raise HostError(
                _ATTEMPTED,
                f"its configuration is broken already: {already}",
                "Mend that file and run again. Nothing was changed, and nginx goes on with what it has loaded",
            )
        for change in changes if problem else ():
            if change.app != SHARED and any(problem.startswith(f"{file.path}:") for file in change.files):
                raise RefusedError(change.app, problem)
        if problem:
            raise HostError(_ATTEMPTED, f"nginx refuses the change: {problem}", "Nothing was changed")

    def reserve(self, undo: UndoStack) -> None:
        """Write the names into the registry.

        :raises NameTakenError: when another host was faster.
        """
        before, after = self._snapshot.owned, self._draft.resolution.names
        touched = [app for app in {**before, **after} if before.get(app, Names()) != after.get(app, Names())]
        if not touched:
            return
        try:
            self._replace_rows(touched, after)
        except ConflictError as error:
            raise NameTakenError(error.attempted, error.reason, error.remedy) from error
        undo.push("restored the names in the registry", lambda: self._replace_rows(touched, before))

    def _replace_rows(self, apps: Sequence[str], names: Mapping[str, Names]) -> None:
        with self._task.registry(read_only=False) as registry, registry.transaction():
            for app in apps:  # first everything is let go, so that apps can exchange names
                registry.replace_domains(app, ())
                registry.replace_private_urls(app, ())
            for app in apps:
                has = names.get(app, Names())
                registry.replace_domains(app, has.domains)
                registry.replace_private_urls(app, (has.private,) if has.private else ())

    def switch(self, changes: Sequence[SiteChange], undo: UndoStack) -> None:
        """Put the files in place, reload, and ask nginx until it answers as they say.

        :raises HostError: when it does not come to that.
        """
        nginx = self._task.nginx
        expectations = [Expectation(p.host, p.path, p.text, tls=p.tls) for change in changes for p in change.proofs]
        expectations += self._partings(expectations)
        reloaded: list[bool] = []
        # Pushed first, so it comes last: after the files are back.
        undo.push("reloaded nginx with what it had", lambda: nginx.reload() if reloaded else None)
        self._swap(changes, undo)
        position = nginx.log_position()
        reloaded.append(True)
        nginx.reload()
        unproven = nginx.unproven(expectations, timeout=self._task.proof_timeout, settle=PROOF_SETTLE)
        if unproven:
            complaint = nginx.complaint_since(position)
            raise HostError(
                _ATTEMPTED,
                "nginx was reloaded, and does not serve the new configuration: " + (complaint or unproven),
                "The files are taken back",
            )

    def _swap(self, changes: Sequence[SiteChange], undo: UndoStack) -> None:
        nginx = self._task.nginx
        nginx.make_directories()
        for change in changes:
            for file in change.files:
                nginx.sweep(file.path)
                if not file.needed:
                    continue
                aside = files.set_aside(file.path)
                if aside:
                    self._kept.append(aside)
                undo.push(f"restored {file.path}", partial(files.put_back, file.path, aside))
                nginx.put(file)

    def _partings(self, staying: Sequence[Expectation]) -> list[Expectation]:
        """What must stop answering: the proofs of names that go."""
        kept = {(expected.host, expected.path) for expected in staying}
        leaving = [place for app in self._draft.sites for place in self._places_left(app) if place not in kept]
        answered = [(host, path, self._task.nginx.answer(host, path)) for host, path in leaving]
        return [
            Expectation(host, path, proof, gone=True) for host, path, proof in answered if sites.looks_like_proof(proof)
        ]

    def _places_left(self, app: str) -> list[tuple[str, str]]:
        has, gets = self._snapshot.names(app), self._draft.names(app)
        remaining = {row.name for row in gets.domains}
        left = [(row.name, PROOF_PATH) for row in has.domains if row.name not in remaining]
        if has.private:
            place = private_urls.proof_place(has.private)
            stays = gets.private is not None and private_urls.proof_place(gets.private) == place
            if not stays or private_urls.expired(has.private, self._task.clock()):
                left.append(place)
        return [(sites.concrete(host), path) for host, path in left]

    def record(self, changes: Sequence[SiteChange]) -> None:
        """Remember what nginx was proven to serve."""
        if not changes:
            return
        with self._task.registry(read_only=False) as registry, registry.transaction():
            for change in changes:
                if change.hash_after:
                    registry.put_vhost(VhostRecord(change.app, change.hash_after))
                else:
                    registry.remove_vhost(change.app)
