# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which port a request gets, and why another gets none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan.ports import (
    Allocation,
    Occupancy,
    PortTaken,
    allocate,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import Holder, PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease
from hypothesis import given
from hypothesis import strategies as st


def granted(result: Allocation | ServerkitError) -> Allocation:
    assert isinstance(result, Allocation), result
    return result


def refused(result: Allocation | ServerkitError) -> str:
    assert isinstance(result, ServerkitError), result
    return str(result)


def one(request: PortRequest, host: Occupancy) -> Allocation | ServerkitError:
    (result,) = allocate([request], host)
    return result


def leases(*ports: int) -> list[PortLease]:
    return [PortLease(port, "tcp", f"app-{port}", "http") for port in ports]


def test_the_worked_example_of_the_reference() -> None:
    host = Occupancy(
        leases=leases(8001, 8002, 8005, 8010),
        holders=[
            Holder(8003, "tcp", "the container a"),
            Holder(8004, "tcp", "the container b"),
            Holder(8000, "tcp", "a process"),
        ],
    )
    assert granted(one(PortRequest("new", "http"), host)).port == 8006


def test_ports_of_the_ephemeral_range_come_last() -> None:
    host = Occupancy(ephemeral=range(8000, 8004), spared=frozenset({8002}))
    requests = [PortRequest("app", str(number), last=8005) for number in range(6)]
    assert [granted(result).port for result in allocate(requests, host)] == [8002, 8004, 8005, 8000, 8001, 8003]


def test_the_same_owner_gets_the_same_port_again_whatever_listens_there() -> None:
    host = Occupancy([PortLease(8123, "tcp", "blog", "http")], [Holder(8123, "tcp", "process 1 (docker-proxy)")])
    again = granted(one(PortRequest("blog", "http"), host))
    assert (again.port, again.changed) == (8123, False)
    explicit = granted(one(PortRequest("blog", "http", port=8123), host))
    assert (explicit.port, explicit.changed) == (8123, False)


def test_another_port_of_the_same_owner_is_another_port() -> None:
    host = Occupancy([PortLease(8000, "tcp", "blog", "http")])
    assert granted(one(PortRequest("blog", "admin"), host)).port == 8001


def test_tcp_and_udp_are_counted_apart_and_both_needs_both() -> None:
    host = Occupancy([PortLease(8000, "tcp", "a", "x")], [Holder(8001, "udp", "a process")])
    assert granted(one(PortRequest("b", "x", "udp"), host)).port == 8000
    assert granted(one(PortRequest("b", "x", "tcp"), host)).port == 8001
    both = granted(one(PortRequest("b", "x", "both"), host))
    assert [(lease.port, lease.protocol) for lease in both.added] == [(8002, "tcp"), (8002, "udp")]


def test_from_one_protocol_to_both_keeps_the_number_where_that_is_free() -> None:
    own = PortLease(8005, "tcp", "dns", "dns")
    free = granted(one(PortRequest("dns", "dns", "both"), Occupancy([own])))
    assert (free.port, free.kept, free.added) == (8005, (own,), (PortLease(8005, "udp", "dns", "dns"),))
    moved = granted(one(PortRequest("dns", "dns", "both"), Occupancy([own], [Holder(8005, "udp", "a process")])))
    assert (moved.port, moved.removed) == (8000, (own,))


def test_from_both_protocols_to_one_gives_the_other_up() -> None:
    own = [PortLease(8005, "tcp", "dns", "dns"), PortLease(8005, "udp", "dns", "dns")]
    result = granted(one(PortRequest("dns", "dns", "udp"), Occupancy(own)))
    assert (result.port, result.added, result.removed) == (8005, (), (own[0],))


def test_another_explicit_port_moves_the_lease() -> None:
    own = PortLease(8005, "tcp", "blog", "http")
    result = granted(one(PortRequest("blog", "http", port=443), Occupancy([own])))
    assert (result.port, result.removed) == (443, (own,))


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (Holder(443, "tcp", "process 812 (nginx)"), "process 812 (nginx) has 443/tcp"),
        (Holder(443, "tcp", "the stopped container x", None, False), "the stopped container x will take 443/tcp"),
    ],
)
def test_an_explicit_port_is_refused_with_its_holder_and_a_proposal(holder: Holder, text: str) -> None:
    result = one(PortRequest("blog", "http", port=443), Occupancy(leases(8000), [holder]))
    assert isinstance(result, PortTaken)
    assert text in str(result)
    assert result.proposal == 8001
    assert "Port 8001 is free" in str(result)


def test_an_explicit_port_of_another_app_is_refused_with_that_app() -> None:
    text = refused(one(PortRequest("blog", "http", port=8000), Occupancy(leases(8000))))
    assert "it is reserved for app-8000/http" in text


def test_an_explicit_port_of_the_apps_own_container_is_granted() -> None:
    host = Occupancy(holders=[Holder(8123, "tcp", "the container blog-web-1", "blog")])
    assert granted(one(PortRequest("blog", "http", port=8123), host)).port == 8123
    assert "blog-web-1" in refused(one(PortRequest("shop", "http", port=8123), host))


def test_a_later_explicit_port_is_not_given_to_an_earlier_request() -> None:
    results = allocate([PortRequest("a", "http"), PortRequest("b", "http", port=8000)], Occupancy())
    assert [granted(result).port for result in results] == [8001, 8000]


def test_one_explicit_port_cannot_be_had_twice_in_one_task() -> None:
    results = allocate([PortRequest("a", "x", port=9000), PortRequest("b", "x", port=9000)], Occupancy())
    assert granted(results[0]).port == 9000
    assert "the same task reserves it for a/x" in refused(results[1])


def test_an_owner_gets_all_of_its_ports_or_none_and_others_are_not_affected() -> None:
    host = Occupancy([PortLease(8007, "tcp", "shop", "old")], [Holder(443, "tcp", "process 812 (nginx)")])
    requests = [
        PortRequest("shop", "http"),
        PortRequest("shop", "https", port=443),
        PortRequest("shop", "old"),
        PortRequest("blog", "http"),
    ]
    results = allocate(requests, host)
    assert "another port of shop cannot be reserved" in refused(results[0])
    assert "nginx" in refused(results[1])
    assert not granted(results[2]).changed
    assert granted(results[3]).port == 8000


def test_what_is_released_in_the_same_step_is_free() -> None:
    requests = [PortRequest("shop", "web", port=8000)]
    host = Occupancy([PortLease(8000, "tcp", "shop", "http")])
    assert "reserved for shop/http" in refused(allocate(requests, host)[0])
    assert granted(allocate(requests, host, {("shop", "http")})[0]).port == 8000


def test_no_free_port_is_an_error_that_says_so() -> None:
    host = Occupancy(leases(8000), [Holder(8001, "tcp", "a process")])
    text = refused(one(PortRequest("blog", "http", last=8001), host))
    assert "there is no free port between 8000 and 8001 for tcp: 1 are reserved, 1 are held" in text


def test_no_proposal_when_there_is_no_free_port() -> None:
    text = refused(one(PortRequest("blog", "http", port=8000, last=8000), Occupancy(leases(8000))))
    assert "No port from 8000 to 8000 is free" in text


def test_the_last_port_is_65535() -> None:
    host = Occupancy(leases(65534))
    results = allocate([PortRequest("a", name, start=65534, last=65535) for name in "xy"], host)
    assert "no free port between 65534 and 65535" in refused(results[0]) + refused(results[1])


def test_a_request_that_is_listed_twice_is_refused_and_its_owner_gets_nothing() -> None:
    results = allocate([PortRequest("a", "x"), PortRequest("a", "x", "udp"), PortRequest("b", "x")], Occupancy())
    assert "another port of a" in refused(results[0])
    assert isinstance(results[1], InputError)
    assert granted(results[2]).port == 8000


PROTOCOLS = st.sampled_from(["tcp", "udp", "both"])
PORTS = st.integers(8000, 8015)
OWNERS = st.sampled_from(["a", "b", "c"])
NAMES = st.sampled_from(["x", "y", "z"])
REQUESTS = st.lists(
    st.builds(
        PortRequest,
        owner=OWNERS,
        name=NAMES,
        protocol=PROTOCOLS,
        port=st.none() | PORTS,
        start=st.just(8000),
        last=st.just(8015),
    ),
    max_size=10,
)
LEASES = st.lists(
    st.builds(PortLease, PORTS, st.sampled_from(["tcp", "udp"]), OWNERS, NAMES),
    max_size=10,
    unique_by=(lambda lease: (lease.port, lease.protocol), lambda lease: (lease.owner, lease.name, lease.protocol)),
)
HOLDERS = st.lists(
    st.builds(Holder, PORTS, st.sampled_from(["tcp", "udp"]), st.just("x"), st.none() | OWNERS, st.booleans()),
    max_size=8,
)
HOSTS = st.builds(Occupancy, LEASES, HOLDERS, st.builds(range, PORTS, PORTS), st.frozensets(PORTS, max_size=4))


def after(host: Occupancy, results: list[Allocation | ServerkitError]) -> list[PortLease]:
    """The registry when the results are carried out."""
    changes = [result for result in results if isinstance(result, Allocation)]
    removed = [lease for change in changes for lease in change.removed]
    return [*(lease for lease in host.leases if lease not in removed), *(a for change in changes for a in change.added)]


def slots(leased: Sequence[PortLease], holders: Sequence[Holder]) -> set[tuple[int, str]]:
    return {(lease.port, lease.protocol) for lease in leased} | {(holder.port, holder.protocol) for holder in holders}


@given(REQUESTS, HOSTS)
def test_nobody_ever_shares_a_port(requests: list[PortRequest], host: Occupancy) -> None:
    counts = Counter((lease.port, lease.protocol) for lease in after(host, allocate(requests, host)))
    assert all(count == 1 for count in counts.values())


@given(REQUESTS, HOSTS)
def test_a_new_port_is_held_by_nobody_else(requests: list[PortRequest], host: Occupancy) -> None:
    for result in allocate(requests, host):
        if isinstance(result, Allocation):
            for lease in result.added:
                held_by = [h.owner for h in host.holders if (h.port, h.protocol) == (lease.port, lease.protocol)]
                assert all(owner == lease.owner for owner in held_by)


@given(REQUESTS, HOSTS)
def test_a_request_gets_what_it_asks_for_and_nothing_else(requests: list[PortRequest], host: Occupancy) -> None:
    leases_after = after(host, results := allocate(requests, host))
    for request, result in zip(requests, results, strict=True):
        if isinstance(result, Allocation):
            own = [lease for lease in leases_after if (lease.owner, lease.name) == (request.owner, request.name)]
            assert {(lease.port, lease.protocol) for lease in own} == {(result.port, p) for p in request.protocols}
            assert request.port in (None, result.port)


@given(REQUESTS, HOSTS)
def test_an_owner_gets_all_or_no_change(requests: list[PortRequest], host: Occupancy) -> None:
    changed: set[str] = set()
    failed: set[str] = set()
    for request, result in zip(requests, allocate(requests, host), strict=True):
        if not isinstance(result, Allocation):
            failed.add(request.owner)
        elif result.changed:
            changed.add(request.owner)
    assert not changed & failed


@given(REQUESTS, HOSTS)
def test_asking_again_changes_nothing(requests: list[PortRequest], host: Occupancy) -> None:
    results = allocate(requests, host)
    if all(isinstance(result, Allocation) for result in results):
        again = allocate(requests, Occupancy(after(host, results), host.holders, host.ephemeral, host.spared))
        assert all(not granted(result).changed for result in again)
        assert [granted(result).port for result in again] == [granted(result).port for result in results]


@given(HOSTS, PROTOCOLS)
def test_the_choice_is_the_first_free_port_outside_the_ephemeral_range(host: Occupancy, protocol: str) -> None:
    request = PortRequest("new", "x", protocol, last=8015)  # type: ignore[arg-type]
    taken = slots(host.leases, host.holders)
    free = [port for port in range(8000, 8016) if not any((port, p) in taken for p in request.protocols)]
    calm = [port for port in free if port not in host.ephemeral or port in host.spared]
    result = one(request, host)
    assert (result.port if isinstance(result, Allocation) else None) == next(iter([*calm, *free]), None)


@given(REQUESTS, HOSTS)
def test_what_is_proposed_is_free(requests: list[PortRequest], host: Occupancy) -> None:
    results = allocate(requests, host)
    taken = slots([*host.leases, *after(host, results)], host.holders)
    for result in results:
        if isinstance(result, PortTaken) and result.proposal is not None:
            assert not any((result.proposal, protocol) in taken for protocol in result.request.protocols)
