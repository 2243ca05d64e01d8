# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is remembered of an app's restores: the one that is under way, and what was kept aside. Changed under its lock.

Every function raises HostError when the file is damaged, or cannot be written.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import (
    Journal,
    Kept,
    Part,
    journal_as_json,
    kept_as_json,
    read_journal,
    read_kept,
)

_JOURNAL = "journal"
_KEPT = "kept"


def journal(sets: BackupSets) -> Journal | None:
    """Return the restore that is under way, or was cut short."""
    return read_journal(backup_state.read(sets).get(_JOURNAL))


def note(sets: BackupSets, wanted: Journal | None) -> None:
    """Remember how far a restore has come; None when there is none any more."""
    backup_state.update(sets, **{_JOURNAL: journal_as_json(wanted) if wanted else None})


def kept(sets: BackupSets) -> tuple[Kept, ...]:
    """Return what restores have kept aside, the oldest first."""
    return read_kept(backup_state.read(sets).get(_KEPT))


def finish(sets: BackupSets, done: Journal, parts: Sequence[Part]) -> None:
    """Remember at once that a restore is done, and which former parts it has kept."""
    added = [Kept(done.mark, done.set, part) for part in parts]
    listed = kept_as_json([*kept(sets), *added])
    backup_state.update(sets, **{_JOURNAL: None, _KEPT: listed or None})


def forget(sets: BackupSets, discarded: Kept) -> None:
    """Remember that something is kept no more."""
    left = kept_as_json([each for each in kept(sets) if each != discarded])
    backup_state.update(sets, **{_KEPT: left or None})
