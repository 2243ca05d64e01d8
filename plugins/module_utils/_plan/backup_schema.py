# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The key `backup` of a template: how the app is kept from writing, and what need not be backed up."""

from __future__ import annotations

from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan.problems import Problems
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import QUIESCE
from ansible_collections.serverkit.core.plugins.module_utils._values.template import BackupUse

KEYS = frozenset({"quiesce", "exclude"})


def parse(value: Any, problems: Problems) -> BackupUse:
    """Return what a template says of backups of its app; what is wrong goes to `problems`."""
    if value is None:
        return BackupUse()
    if not isinstance(value, dict):
        problems.add("backup", "it is not a mapping")
        return BackupUse()
    for key in value:
        if key not in KEYS and not key.startswith("x-"):
            problems.unknown_key(f"backup.{key}", key, KEYS)
    wanted = value.get("quiesce", BackupUse.quiesce)
    if wanted not in QUIESCE:
        problems.add("backup.quiesce", f"{wanted!r} is not one of {', '.join(QUIESCE)}")
    exclude = value.get("exclude")
    listed = exclude if isinstance(exclude, list) else []
    if (exclude is not None and exclude is not listed) or not all(isinstance(each, str) and each for each in listed):
        problems.add("backup.exclude", "it is not a list of texts: names of volumes, and paths on the host")
    return BackupUse(next((way for way in QUIESCE if way == wanted), "pause"), tuple(map(str, listed)))
