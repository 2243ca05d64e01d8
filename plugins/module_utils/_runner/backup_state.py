# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is remembered of an app's backups besides the sets: the last try, where copies are, what is unfinished."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Reason

# Keys: the last try; copies off the host, by set; containers that are kept from writing.
ATTEMPT = "attempt"
SNAPSHOTS = "snapshots"
QUIET = "quiet"


def read(sets: BackupSets) -> dict[str, Any]:
    """Return what is remembered.

    :raises HostError: when the file is damaged.
    """
    return dict(sets.state())


def update(sets: BackupSets, **keys: Any) -> None:
    """Replace some keys, and remove those whose value is None. The caller holds the app's lock.

    :raises HostError: when the file cannot be written.
    """
    before = read(sets)
    after = {name: value for name, value in {**before, **keys}.items() if value is not None}
    if after != before:
        sets.put_state(after)


def begin(sets: BackupSets, reason: Reason) -> None:
    """Remember that a set is being made. What stays like that, while nobody holds the app's lock, was killed."""
    update(sets, attempt=_attempt("begun", reason))


def taken(sets: BackupSets, reason: Reason, identity: str) -> None:
    """Remember that a set was made and verified."""
    update(sets, attempt={**_attempt("taken", reason), "set": identity})


def failed(sets: BackupSets, reason: Reason, error: ServerkitError) -> None:
    """Remember that no set was made, and why."""
    update(sets, attempt={**_attempt("failed", reason), "error": str(error)})


def trouble(sets: BackupSets) -> str:
    """Return what went wrong with the last try, as the end of a sentence; empty when nothing did."""
    attempt = read(sets).get(ATTEMPT) or {}
    if attempt.get("outcome") == "failed":
        return f"the last try, at {attempt.get('at')}, failed: {attempt.get('error')}"
    return f"the last try, at {attempt.get('at')}, was cut short" if attempt.get("outcome") == "begun" else ""


def _attempt(outcome: str, reason: Reason) -> dict[str, str]:
    now = dt.datetime.now(dt.timezone.utc)
    return {"at": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "outcome": outcome, "reason": reason, "error": "", "set": ""}
