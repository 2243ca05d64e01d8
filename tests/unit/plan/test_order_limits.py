# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When an authority may be asked again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan.order_limits import (
    TIME,
    Wait,
    moment,
    refusal,
    registered_domain,
    wait_before,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.records import CertificateOrder, OrderOutcome
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import LETSENCRYPT
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=timezone.utc)
OWN = "https://ca.internal/dir"


def order(
    names: Iterable[str],
    before: timedelta,
    outcome: OrderOutcome = "issued",
    directory: str = LETSENCRYPT,
    retry_after: str | None = None,
) -> CertificateOrder:
    at = (NOW - before).strftime(TIME)
    return CertificateOrder("serverkit-x", tuple(names), directory, at, outcome, "its reason", retry_after)


def test_nobody_was_asked_yet() -> None:
    assert wait_before([], ["a.example.com"], LETSENCRYPT, NOW) is None


def test_five_certificates_for_the_same_names_in_a_week() -> None:
    names = ("a.example.com", "b.example.com")
    orders = [order(names, timedelta(hours=5 - number)) for number in range(5)]
    assert wait_before(orders[:4], names, LETSENCRYPT, NOW) is None
    wait = wait_before(orders, reversed(names), LETSENCRYPT, NOW)
    assert wait is not None
    assert "very same names" in wait.reason
    # One in 33.6 hours leaks away.
    assert timedelta(hours=28) < wait.until - NOW < timedelta(hours=34)
    assert wait_before(orders, names, LETSENCRYPT, wait.until + timedelta(seconds=1)) is None
    assert wait_before(orders, names, OWN, NOW) is None
    assert wait_before(orders, (*names, "c.example.com"), LETSENCRYPT, NOW) is None


def test_fifty_certificates_below_a_domain_in_a_week() -> None:
    orders = [order([f"n{number}.example.com"], timedelta(minutes=60 - number)) for number in range(50)]
    wait = wait_before(orders, ["new.example.com"], LETSENCRYPT, NOW)
    assert wait is not None
    assert "below example.com" in wait.reason
    assert wait_before(orders[:49], ["new.example.com"], LETSENCRYPT, NOW) is None
    assert wait_before(orders, ["new.example.org"], LETSENCRYPT, NOW) is None
    # What renews an earlier one does not count.
    assert wait_before(orders, ["n7.example.com"], LETSENCRYPT, NOW) is None


def test_five_failed_validations_of_a_name_in_an_hour() -> None:
    orders = [order(["a.example.com", f"n{at}.example.com"], timedelta(minutes=9 - at), "failed") for at in range(5)]
    wait = wait_before(orders, ["a.example.com", "other.example.com"], LETSENCRYPT, NOW)
    assert wait is not None
    assert "failed validations of a.example.com" in wait.reason
    assert wait.until - NOW <= timedelta(minutes=12)
    assert wait_before(orders, ["other.example.com"], LETSENCRYPT, NOW) is None
    rehearsed = [order(one.names, timedelta(minutes=3), "rehearsal_failed") for one in orders]
    assert wait_before(rehearsed, ["a.example.com", "other.example.com"], LETSENCRYPT, NOW) is None


def test_three_hundred_orders_in_three_hours() -> None:
    orders = [order([f"a.n{number}.com"], timedelta()) for number in range(300)]
    wait = wait_before(orders, ["a.example.com"], LETSENCRYPT, NOW)
    assert wait is not None
    assert "orders in 3 hours" in wait.reason
    assert wait.until - NOW <= timedelta(seconds=36)


def test_after_failures_in_a_row_each_wait_is_longer() -> None:
    names = ["a.example.com"]
    waits = []
    for failures in range(1, 12):
        orders = [order(names, timedelta(seconds=failures - at), "failed", OWN) for at in range(failures)]
        wait = wait_before(orders, names, OWN, NOW)
        waits.append(wait.until - NOW if wait else timedelta())
    assert waits[:2] == [timedelta(), timedelta()]
    assert timedelta(minutes=9) < waits[2] <= timedelta(minutes=10)
    assert all(later > earlier for earlier, later in itertools.pairwise(waits[2:8]))
    assert waits[-1] <= timedelta(hours=12)


def test_a_success_or_other_names_end_the_waiting() -> None:
    names = ["a.example.com"]
    failed = [order(names, timedelta(seconds=9 - at), "failed", OWN) for at in range(5)]
    assert wait_before(failed, names, OWN, NOW) is not None
    assert wait_before([*failed, order(names, timedelta(), "issued", OWN)], names, OWN, NOW) is None
    assert wait_before(failed, ["a.example.com", "b.example.com"], OWN, NOW) is None


def test_what_the_authority_says_itself() -> None:
    until = (NOW + timedelta(hours=3)).strftime(TIME)
    orders = [order(["a.example.com"], timedelta(minutes=1), "rate_limited", OWN, until)]
    wait = wait_before(orders, ["a.example.com", "b.example.com"], OWN, NOW)
    assert wait == Wait(moment(until), "the authority has answered: its reason")
    assert wait_before(orders, ["c.example.com"], OWN, NOW) is None
    assert wait_before(orders, ["a.example.com"], OWN, NOW + timedelta(hours=4)) is None
    error = refusal(["a.example.com"], Wait(moment(until), "it said so"))
    assert f"The next try is possible at {until}" in str(error)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("*.example.com", "example.com"),
        ("shop.example.co.uk", "example.co.uk"),
        ("shop.example.de", "example.de"),
        ("a.shop.example.de", "example.de"),
    ],
)
def test_the_domain_that_was_bought(name: str, domain: str) -> None:
    assert registered_domain(name) == domain


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.example.com", "b.example.com", "c.example.org"]),
            st.integers(0, 8 * 86400),
            st.sampled_from(["issued", "failed", "rate_limited", "rehearsal_failed"]),
        ),
        max_size=60,
    )
)
def test_every_wait_ends(history: list[tuple[str, int, OrderOutcome]]) -> None:
    orders = [
        order([name], timedelta(seconds=age), outcome)
        for name, age, outcome in sorted(history, key=lambda entry: -entry[1])
    ]
    now = NOW
    for _step in range(6):
        wait = wait_before(orders, ["a.example.com"], LETSENCRYPT, now)
        if wait is None:
            return
        assert wait.until > now
        now = wait.until + timedelta(seconds=1)
    pytest.fail("it never ends")
