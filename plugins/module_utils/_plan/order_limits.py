# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Whether a certificate authority may be asked now, by what was asked of it before: its limits, and our own patience.

The limits are those of https://letsencrypt.org/docs/rate-limits/: buckets that leak. They are counted over all hosts of
the registry, which usually share the names and the address. Other authorities publish none, or others; what they answer
(`retry_after`) and our own patience hold for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._values.records import CertificateOrder
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import LETSENCRYPT

TIME = "%Y-%m-%dT%H:%M:%SZ"
# How far back orders matter.
HORIZON = timedelta(days=8)

_HOUR, _WEEK = timedelta(hours=1), timedelta(days=7)
_ORDERS, _ORDERS_PERIOD = 300, timedelta(hours=3)  # new orders per account
_PER_DOMAIN = 50  # certificates per registered domain and week
_SAME_NAMES = 5  # certificates for the very same names per week
_FAILURES = 5  # failed validations per name and hour

# A mistake and its correction may follow each other at once; from the third failure on, each wait is twice the last.
_FREE_FAILURES = 2
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=10), timedelta(hours=12)


@dataclass(frozen=True)
class Wait:
    """Until when the authority is not to be asked, and why not."""

    until: datetime
    reason: str


def refusal(names: Iterable[str], wait: Wait) -> HostError:
    """Say that the authority is not to be asked yet, and from when on it can be."""
    return HostError(
        f"have a certificate for {', '.join(names)}",
        wait.reason,
        f"The next try is possible at {wait.until.strftime(TIME)}; a run after that makes it",
    )


def wait_before(orders: Sequence[CertificateOrder], names: Iterable[str], directory: str, now: datetime) -> Wait | None:
    """Return how long to wait before a certificate for names can be ordered, or None when it can be right now.

    :param orders: of all hosts of the registry, oldest first, at least those younger than HORIZON.
    :param directory: of the authority.
    """
    wanted = tuple(sorted(names))
    known = [order for order in orders if order.directory == directory]
    found = [_told(known, wanted), _patience(known, wanted)]
    if directory == LETSENCRYPT:
        found += _letsencrypt(known, wanted, now)
    waits = [wait for wait in found if wait is not None and wait.until > now]
    return max(waits, key=lambda wait: wait.until, default=None)


def _told(orders: Sequence[CertificateOrder], names: tuple[str, ...]) -> Wait | None:
    """What the authority itself said, about any of the names."""
    told = [order for order in orders if order.retry_after and set(order.names) & set(names)]
    if not told:
        return None
    last = max(told, key=lambda order: order.retry_after or "")
    return Wait(moment(last.retry_after or ""), f"the authority has answered: {last.reason}")


def _patience(orders: Sequence[CertificateOrder], names: tuple[str, ...]) -> Wait | None:
    """After failures in a row, for the same names: the next would be no better, and counts against limits."""
    failures = 0
    last: CertificateOrder | None = None
    for order in orders:
        if tuple(sorted(order.names)) == names:
            failures = 0 if order.outcome == "issued" else failures + 1
            last = order
    if last is None or failures <= _FREE_FAILURES:
        return None
    pause = min(_FIRST_WAIT * 2 ** min(failures - _FREE_FAILURES - 1, 16), _LONGEST_WAIT)
    return Wait(moment(last.at) + pause, f"the last {failures} orders failed, the latest with: {last.reason}")


def _letsencrypt(orders: Sequence[CertificateOrder], names: tuple[str, ...], now: datetime) -> list[Wait | None]:
    asked = [order for order in orders if order.outcome != "rehearsal_failed"]
    waits = [
        _limit(asked, _ORDERS, _ORDERS_PERIOD, now, "{used} orders in 3 hours"),
        _limit(
            [order for order in asked if order.outcome == "issued" and tuple(sorted(order.names)) == names],
            *(_SAME_NAMES, _WEEK, now, "{used} certificates for the very same names in a week"),
        ),
    ]
    if not any(order.outcome == "issued" and tuple(sorted(order.names)) == names for order in asked):
        # What renews an earlier certificate does not count.
        waits += [
            _limit(
                _first_of_their_names(asked, domain), _PER_DOMAIN, _WEEK, now, f"{{used}} certificates below {domain}"
            )
            for domain in sorted({registered_domain(name) for name in names})
        ]
    return waits + [
        _limit(
            [order for order in asked if order.outcome == "failed" and name in order.names],
            *(_FAILURES, _HOUR, now, f"{{used}} failed validations of {name} in an hour"),
        )
        for name in names
    ]


def _first_of_their_names(orders: Iterable[CertificateOrder], domain: str) -> list[CertificateOrder]:
    seen: set[tuple[str, ...]] = set()
    counted = []
    for order in orders:
        names = tuple(sorted(order.names))
        if order.outcome == "issued" and names not in seen and any(registered_domain(name) == domain for name in names):
            seen.add(names)
            counted.append(order)
    return counted


def _limit(
    orders: Sequence[CertificateOrder], capacity: int, period: timedelta, now: datetime, described: str
) -> Wait | None:
    """Return how long until a bucket that leaks `capacity` drops in a period has room for one more."""
    level, before = 0.0, now
    for order in sorted(orders, key=lambda order: order.at):
        at = min(moment(order.at), now)
        leaked = (at - before) / period * capacity if level else 0.0
        level, before = max(0.0, level - leaked) + 1, at
    level = max(0.0, level - (now - before) / period * capacity)
    excess = level + 1 - capacity
    if excess <= 1e-9:
        return None
    reason = "the limit of the authority is used up: " + described.format(used=capacity)
    return Wait(now + period * (excess / capacity), reason)


def registered_domain(name: str) -> str:
    """Return the domain that was bought, as far as its form tells.

    Which suffixes are sold is a list of its own (https://publicsuffix.org/list/). Without it, the co of example.co.uk
    is known by its shortness before a country's code. Too small a domain counts too few orders, which the authority
    then does itself; too large a one would refuse what is allowed.
    """
    labels = name.removeprefix("*.").split(".")
    country_with_kinds = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if country_with_kinds else -2 :])


def moment(text: str) -> datetime:
    """Read a time of the registry."""
    return datetime.strptime(text, TIME).replace(tzinfo=timezone.utc)
