# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""When a private URL ends: a point in time, or a duration from the moment it is made."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

_DURATION = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# RFC 3339, section 5.6, with the space that YAML puts in place of the T.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_LAST_YEAR = 2200


def checked(value: object) -> str:
    """Return the option, unchanged.

    :raises InputError: when it is neither an RFC 3339 time with its offset nor a duration such as 12h, 7d or 4w.
    """
    if isinstance(value, str) and (_DURATION.fullmatch(value) or _moment(value) is not None):
        return value
    raise InputError(
        f"use {value!r} as expires" if len(repr(value)) <= 80 else "use a long text as expires",
        "it is neither a time with its offset nor a duration",
        "Give one such as 2026-12-24T18:00:00+01:00, 30m, 12h, 7d or 4w",
    )


def until(value: str, now: datetime) -> str:
    """Return the end as text in UTC, whole seconds (`2026-12-24T17:00:00Z`), which sorts by time.

    :param now: where a duration starts.
    """
    found = _DURATION.fullmatch(value)
    moment = now + timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else _moment(value)
    if moment is None:
        raise ValueError(f"no expiry: {value!r}")
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(end: str) -> int:
    """Return what `until` returned as seconds since 1970."""
    return int(datetime.strptime(end, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())


def _moment(value: str) -> datetime | None:
    found = _TIME.fullmatch(value)
    if found is None:
        return None
    offset = "+00:00" if found[3] in "Zz" else found[3]
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{offset}").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return moment if 2000 <= moment.year < _LAST_YEAR else None
