# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Which backup sets stay when there are newer ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    THINNED,
    Keep,
    Reason,
    begun,
    order,
)


def thinned(sets: Iterable[tuple[str, Reason]], keep: Keep) -> tuple[str, ...]:
    """Return the sets to remove, the oldest first.

    The newest set stays whatever `keep` says, and so does every set that was made because something was about to be
    replaced or deleted. Of the others stay the newest ones, and the newest of each of the last days, ISO weeks and
    months, in UTC, in which there is one: a host that was switched off for a month has lost none for that.

    :param sets: the id and the reason of each set of one app.
    """
    newest_first = sorted((identity for identity, reason in sets if reason in THINNED), key=order, reverse=True)
    stay = set(newest_first[: max(1, keep.last)])
    stay |= _newest_of_each(newest_first, keep.daily, lambda moment: (moment.year, moment.month, moment.day))
    stay |= _newest_of_each(newest_first, keep.weekly, lambda moment: tuple(moment.isocalendar()[:2]))
    stay |= _newest_of_each(newest_first, keep.monthly, lambda moment: (moment.year, moment.month))
    return tuple(identity for identity in reversed(newest_first) if identity not in stay)


def _newest_of_each(
    newest_first: Sequence[str], count: int, period: Callable[[dt.datetime], tuple[int, ...]]
) -> set[str]:
    newest: dict[tuple[int, ...], str] = {}
    for identity in newest_first:
        newest.setdefault(period(begun(identity)), identity)
    return set(list(newest.values())[: max(0, count)])
