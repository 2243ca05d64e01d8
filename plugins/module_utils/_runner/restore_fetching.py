# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Sets that are not on the host any more, or never were: from the repository that has them."""

from __future__ import annotations

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import restic
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.restic import Snapshot
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import fits
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import order
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import Repository
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest


class Fetching:
    """Finds and fetches sets of one repository."""

    def __init__(self, host: Host, repository: Repository | None) -> None:
        """
        :param repository: None where the task names none.
        """
        self._host = host
        self._repository = repository
        for secret in repository.secrets if repository else ():
            host.hide(secret)

    def better(self, request: RestoreRequest, present: str) -> Snapshot | None:
        """Return what has to be fetched: a set that suits a request better than the one that is here, or None.

        :param present: the set that is here; empty when none is that suits.

        The repository is asked only where it may have a better one: the newest set of an app that has sets is here,
        unless it is another host's that goes on making them.

        :raises HostError: when the repository cannot be read.
        :raises InputError: when a set of another host is wanted and no repository is given.
        """
        if self._repository is None:
            if request.from_host and not present:
                reason = f"no set that {request.from_host} has made is here"
                raise InputError(f"restore the app {request.app}", reason, "Give the repository that has it")
            return None
        if present and (request.set or (request.until is None and not request.from_host)):
            return None
        with restic.opened(self._host.commands, self._repository) as opened:
            found = opened.snapshots(request.app, request.from_host or None)
        fitting = [each for each in found if fits(each.set, request)]
        best = max(fitting, key=lambda each: order(each.set), default=None)
        if best is None or (present and order(best.set) <= order(present)):
            return None
        return best

    def fetch(self, snapshot: Snapshot, sets: BackupSets) -> None:
        """Bring a set to the host; it gets its name when it was read whole.

        :raises HostError, InputError: when it cannot be fetched, or is damaged; nothing of it stays.
        """
        if self._repository is None:
            raise RuntimeError("a snapshot is one of a repository")
        partial = sets.begin(snapshot.set, ())
        try:
            with restic.opened(self._host.commands, self._repository) as opened:
                opened.fetch(snapshot, partial)
            sets.adopt(snapshot.set)
        finally:
            sets.abandon()

    def diff(self, app: str, snapshot: Snapshot) -> Diff:
        """Return what `--diff` shows of a set that is not here."""
        return Diff(
            f"data of {app}", "", f"set {snapshot.set}, fetched from the repository (made by {snapshot.host})\n"
        )
