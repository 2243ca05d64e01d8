# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backup sets stay: the promises that hold whatever there is and whatever is to be kept."""

from __future__ import annotations

import datetime as dt

from ansible_collections.serverkit.core.plugins.module_utils._plan.retention import thinned
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    REASONS,
    THINNED,
    Keep,
    Reason,
    begun,
    new_set_id,
    order,
)
from hypothesis import given
from hypothesis import strategies as st

Sets = list[tuple[str, Reason]]

_counts = st.integers(min_value=0, max_value=5)
keeps = st.builds(Keep, last=_counts, daily=_counts, weekly=_counts, monthly=_counts)


@st.composite
def sets(draw: st.DrawFn) -> Sets:
    """Sets of two years, some of them of the same second."""
    minutes = draw(st.lists(st.integers(min_value=0, max_value=730 * 24 * 60), max_size=40))
    found: dict[str, Reason] = {}
    for minute in minutes:
        moment = dt.datetime(2025, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(minutes=minute)
        found[new_set_id(moment, frozenset(found))] = draw(st.sampled_from(REASONS))
    return list(found.items())


def kept(found: Sets, keep: Keep) -> set[str]:
    return {identity for identity, _reason in found} - set(thinned(found, keep))


@given(sets(), keeps)
def test_the_newest_and_those_of_another_reason_stay(found: Sets, keep: Keep) -> None:
    stay = kept(found, keep)
    routine = sorted((identity for identity, reason in found if reason in THINNED), key=order)
    assert {identity for identity, reason in found if reason not in THINNED} <= stay
    assert set(routine[-max(1, keep.last) :]) <= stay


@given(sets(), keeps)
def test_what_stays_stays_the_next_time(found: Sets, keep: Keep) -> None:
    stay = kept(found, keep)
    assert thinned([(identity, reason) for identity, reason in found if identity in stay], keep) == ()


@given(sets(), keeps, keeps)
def test_to_keep_more_removes_no_other(found: Sets, keep: Keep, other: Keep) -> None:
    more = Keep(
        last=max(keep.last, other.last),
        daily=max(keep.daily, other.daily),
        weekly=max(keep.weekly, other.weekly),
        monthly=max(keep.monthly, other.monthly),
    )
    assert set(thinned(found, more)) <= set(thinned(found, keep))


@given(sets(), keeps)
def test_no_more_stay_than_were_asked_for(found: Sets, keep: Keep) -> None:
    routine = [entry for entry in found if entry[1] in THINNED]
    assert len(kept(routine, keep)) <= max(1, keep.last) + keep.daily + keep.weekly + keep.monthly


@given(sets(), keeps)
def test_the_oldest_come_first_in_whatever_order_they_are_told(found: Sets, keep: Keep) -> None:
    removed = thinned(found, keep)
    assert list(removed) == sorted(removed, key=order)
    assert thinned(list(reversed(found)), keep) == removed


@given(sets(), keeps)
def test_every_recent_day_has_its_newest_set(found: Sets, keep: Keep) -> None:
    stay = kept(found, keep)
    routine = [identity for identity, reason in found if reason in THINNED]
    days = sorted({begun(identity).date() for identity in routine})[-keep.daily :] if keep.daily else []
    for day in days:
        assert max((name for name in routine if begun(name).date() == day), key=order) in stay


def test_a_year_of_nights() -> None:
    """What a person reads in the documentation."""
    nights = [dt.datetime(2026, 1, 1, 3, 15, tzinfo=dt.timezone.utc) + dt.timedelta(days=day) for day in range(365)]
    found: Sets = [(new_set_id(night), "scheduled") for night in nights]
    stay = sorted(kept(found, Keep(last=1, daily=7, weekly=4, monthly=6)))
    assert [name[:8] for name in stay] == [
        "20260731",
        "20260831",
        "20260930",
        "20261031",
        "20261130",
        "20261213",
        "20261220",
        "20261225",
        "20261226",
        "20261227",
        "20261228",
        "20261229",
        "20261230",
        "20261231",
    ]


def test_a_host_that_was_off_for_months_loses_nothing_of_it() -> None:
    found: Sets = [("20260101T031500Z", "scheduled"), ("20260102T031500Z", "scheduled"), ("20261201T031500Z", "asked")]
    assert thinned(found, Keep(last=1, daily=7, weekly=0, monthly=0)) == ()


def test_sets_of_one_second_are_told_apart() -> None:
    found: Sets = [(f"20260101T031500Z{suffix}", "asked") for suffix in ("", "-2", "-9", "-10")]
    assert thinned(found, Keep(last=1, daily=1, weekly=1, monthly=1)) == tuple(name for name, _reason in found[:3])
