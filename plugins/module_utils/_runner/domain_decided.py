# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a task about domains has read and decided, for the parts that carry it out and tell of it."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_drafting import Drafting
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_reachability import Reachability
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Draft, Snapshot, Task


@dataclass(frozen=True)
class Decided:
    """One draft, and what it was made of."""

    task: Task
    snapshot: Snapshot
    drafting: Drafting
    draft: Draft
    reachability: Reachability
