# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The second round of a task: certificates that an authority gives once nginx serves the names, then nginx again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_decided import Decided
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_drafting import files_now
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_writing import Writing
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import SHARED, TlsFiles


@dataclass
class Obtained:
    """What came of it.

    :ivar files: the certificates that nginx serves now, by the keys of their requests.
    :ivar errors: why one could not be had, by the key of its request, or by a name that does not lead here.
    :ivar unreached: names that do not lead here, whether a certificate depends on that or not.
    """

    files: Mapping[str, TlsFiles]
    errors: dict[str, ServerkitError] = field(default_factory=dict)
    unreached: Mapping[str, HostError] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
    rolled_back: tuple[str, ...] = ()
    not_rolled_back: tuple[str, ...] = ()

    def warnings_of(self, item: Wanted) -> list[str]:
        """Return what an item is told that has what it asked for."""
        found, self.leftovers = self.leftovers, []  # told once, with the first item
        if item.present and item.dns_check == "probe":
            found += [str(self.unreached[name]) for name in item.names if name in self.unreached]
        return found


@dataclass(frozen=True)
class Obtaining(Decided):
    """Orders what a draft needs. A certificate that cannot be had leaves everything else as it should be.

    :ivar lock_descriptors: of the locks that protect the run; certbot keeps them when this process is killed.
    """

    lock_descriptors: Sequence[int]

    def obtain(self, wanted: Sequence[Wanted]) -> Obtained:
        """Check the names, order, have nginx serve what came, and clear away what is not needed any more."""
        obtained = Obtained(files_now(self.draft))
        obtained.unreached = self._unreached(wanted)
        plans = [plan for plan in self.draft.certificate_plans if plan.order]
        if plans:
            obtained.errors.update(obtained.unreached)
            came = self._ordered(plans, obtained.unreached)
            obtained.errors.update({key: got for key, got in came.items() if not isinstance(got, TlsFiles)})
            files = {key: got for key, got in came.items() if isinstance(got, TlsFiles)}
            if files:
                self._serve(files, obtained)
        self._clear_away(obtained)
        return obtained

    def _ordered(
        self, plans: Sequence[CertificatePlan], unreached: Mapping[str, HostError]
    ) -> Mapping[str, TlsFiles | ServerkitError]:
        try:
            return self.task.certificates.order(plans, unreached, lock_descriptors=self.lock_descriptors)
        except ServerkitError as error:  # the registry, without which orders are not counted
            return {plan.request.key: error for plan in plans}

    def _unreached(self, wanted: Sequence[Wanted]) -> dict[str, HostError]:
        good = [item for _at, item in self.draft.good(wanted)]
        asked = {name: item.dns_check for item in good for name in self.reachability.new_names(item)}
        chosen = {name: item.dns_check for item in good if item.kind == "domain" for name in item.names}
        for plan in self.draft.certificate_plans:
            for name in plan.order.check if plan.order else ():
                if plan.now is None or not plan.now.covers(name):
                    asked.setdefault(name, chosen.get(name, "probe"))
        rows = [row for names in self.draft.resolution.names.values() for row in names.domains]
        shared = {row.name for row in rows if row.shared}
        try:
            return self.reachability.problems(asked, shared) if asked else {}
        except HostError as error:  # such as a full disk: no name was looked at
            return dict.fromkeys(asked, error)

    def _serve(self, files: Mapping[str, TlsFiles], obtained: Obtained) -> None:
        """Have nginx serve certificates that have just come; when it cannot, it goes on as before."""
        draft = self.draft
        every = {**obtained.files, **files}
        self.drafting.note_served(draft.changes)
        undo = UndoStack()
        after = replace(self.snapshot, owned=draft.resolution.names)
        writing = Writing(self.task, after, draft)
        try:
            sites = {app: self.drafting.site_change(app, draft, every) for app in draft.sites}
            shared = self.drafting.shared_change(draft, every, sites)
            changes = [change for change in (shared, *sites.values()) if change.changed]
            if changes:
                writing.rehearse(changes, undo)
                writing.switch(changes, undo)
                writing.record(changes)
        except ServerkitError as error:
            obtained.rolled_back, obtained.not_rolled_back = undo.unwind()
            obtained.errors.update(dict.fromkeys(files, error))
        else:
            writing.keep()
            obtained.files = every

    def _clear_away(self, obtained: Obtained) -> None:
        """Remove certificates that nginx does not use any more; what cannot be removed harms nobody."""
        try:
            # Files that could not be brought up to date may still show the shared certificate as it was.
            kept = {SHARED} if self.draft.left_alone else set()
            plans = self.draft.certificate_plans
            self.task.certificates.tidy([plan for plan in plans if plan.request.app not in kept])
            for app, keys in self.draft.unused.items():
                if app not in kept:
                    self.task.certificates.retire(keys)
        except ServerkitError as error:
            obtained.leftovers.append(str(error))
