# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a plan and a run report about one item: the same types in check mode and in a real run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError


@dataclass(frozen=True)
class Diff:
    """One before/after pair as `--diff` shows it; secrets are already redacted. Absent is the empty text."""

    header: str
    before: str
    after: str

    def as_result(self) -> dict[str, str]:
        return {
            "before_header": self.header,
            "after_header": self.header,
            "before": self.before,
            "after": self.after,
        }


class Plan(Protocol):
    """What a resource intends to do for one item.

    `changed` is `desired != actual`, and `diffs` show that difference.
    """

    @property
    def name(self) -> str: ...

    @property
    def changed(self) -> bool: ...

    @property
    def diffs(self) -> Sequence[Diff]: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of the item now, or will be after apply where that can be known beforehand."""

    @property
    def warnings(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Failure:
    """An item that could not be parsed, planned or applied."""

    name: str
    error: ServerkitError
    rolled_back: tuple[str, ...] = ()
    not_rolled_back: tuple[str, ...] = ()
    diffs: tuple[Diff, ...] = ()
    # False only when everything that was touched is as it was before.
    changed: bool = False


@dataclass(frozen=True)
class Success:
    """An item that is as desired (in check mode: would be)."""

    name: str
    changed: bool
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


# Quoted: ansible-test lints module_utils as Python 3.8, which has no `|` between types at run time.
Outcome: TypeAlias = "Success | Failure"
