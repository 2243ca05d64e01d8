# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Choosing host ports: who keeps which, who gets which, and why somebody gets none. Pure: all facts come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import Holder, PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease, Protocol

Slot = tuple[int, Protocol]
Key = tuple[str, str]  # owner and name of a port


@dataclass(frozen=True)
class Occupancy:
    """What is known of a host's ports.

    :param leases: what the registry has given away.
    :param holders: containers and processes that have a port, whether or not the registry knows.
    :param ephemeral: ports that the kernel takes for outgoing connections: a server that starts later may find its port
        taken by one, so these are the last to be given away.
    :param spared: ports of the ephemeral range that the kernel leaves alone.
    """

    leases: Sequence[PortLease] = ()
    holders: Sequence[Holder] = ()
    ephemeral: range = range(0)
    spared: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Allocation:
    """A request that is granted: the leases that stay, that come and that go."""

    request: PortRequest
    port: int
    kept: tuple[PortLease, ...] = ()
    added: tuple[PortLease, ...] = ()
    removed: tuple[PortLease, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def lease(self) -> PortLease:
        """The lease; for a request of both protocols that of TCP, whose twin has the same number."""
        request = self.request
        return PortLease(self.port, request.protocols[0], request.owner, request.name)


class PortTaken(ConflictError):
    """An explicit port has a holder. `proposal` is a free port of the range instead, None when there is none."""

    def __init__(self, request: PortRequest, reason: str, proposal: int | None = None) -> None:
        self.request = request
        self.proposal = proposal
        free = f"Port {proposal} is free" if proposal else f"No port from {request.start} to {request.last} is free"
        super().__init__(
            f"reserve port {request.port}/{_spelled(request)} for {request.label}",
            reason,
            f"{free}; without an explicit port a free one is chosen",
        )


def allocate(
    requests: Sequence[PortRequest], host: Occupancy, releasing: Collection[Key] = ()
) -> list[Allocation | ServerkitError]:
    """Decide each request, in order; an owner gets all the ports it asks for or no new one.

    What an owner has it keeps, explicit ports come next, and only then the others get the first free port each. So an
    explicit port of the last request is not given to the first one.

    :param releasing: owner and name of ports that are given up in the same step: they are free for these requests.
    """
    errors: dict[int, ServerkitError] = dict(_repeated(requests))
    while True:
        denied = {requests[index].owner for index in errors}
        step = _Pass(host, releasing, denied)
        results = step.run(requests, errors)
        found = {
            index: result
            for index, result in results.items()
            if isinstance(result, ServerkitError) and not isinstance(result, _Sibling)
        }
        if not found:
            decided = {**results, **{index: step.with_proposal(error) for index, error in errors.items()}}
            return [decided[index] for index in range(len(requests))]
        # Once more without them: what the owners of the failed ones would have got is free again for the others.
        errors.update(found)


class _Sibling(ConflictError):
    """The request was fine, but another one of the same owner was not."""

    def __init__(self, request: PortRequest) -> None:
        super().__init__(
            f"reserve a port for {request.label}",
            f"another port of {request.owner} cannot be reserved, and an owner gets all of its ports or none",
        )


@dataclass
class _Pass:
    """One attempt to decide all requests, with the owners known that will get nothing new."""

    host: Occupancy
    releasing: Collection[Key]
    denied: Collection[str]
    _leased: dict[Slot, PortLease] = field(default_factory=dict)
    _own: dict[Key, list[PortLease]] = field(default_factory=dict)
    _held: dict[Slot, list[Holder]] = field(default_factory=dict)
    _claimed: dict[Slot, PortRequest] = field(default_factory=dict)
    _searches: dict[tuple[object, ...], Iterator[int]] = field(default_factory=dict)
    _proposals: dict[tuple[object, ...], int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for lease in self.host.leases:
            key = (lease.owner, lease.name)
            if key not in self.releasing:
                self._leased[lease.port, lease.protocol] = lease
                self._own.setdefault(key, []).append(lease)
        for holder in self.host.holders:
            self._held.setdefault((holder.port, holder.protocol), []).append(holder)

    def run(
        self, requests: Sequence[PortRequest], skipped: Collection[int]
    ) -> Mapping[int, Allocation | ServerkitError]:
        """Decide the requests that are not skipped, by index."""
        results: dict[int, Allocation | ServerkitError] = {}
        waiting = [index for index in range(len(requests)) if index not in skipped]
        for index in list(waiting):
            settled = self._settled(requests[index])
            if settled is not None:
                results[index] = settled
        waiting = [index for index in waiting if index not in results]
        for index in sorted(waiting, key=lambda index: (requests[index].port is None, index)):
            request = requests[index]
            reason = None if request.port is None else self._reason(request, request.port)
            if reason is not None:
                results[index] = PortTaken(request, reason)
            elif request.owner in self.denied:
                results[index] = _Sibling(request)
            else:
                results[index] = self._granted(request)
        return results

    def with_proposal(self, error: ServerkitError) -> ServerkitError:
        """Add to an error what is free instead; after `run`, so that it is nothing that another request has got."""
        if not isinstance(error, PortTaken):
            return error
        request = error.request
        kind = (request.protocols, request.start, request.last)
        if kind not in self._proposals:
            self._proposals[kind] = next(self._free_ports(request), None)
        return PortTaken(request, error.reason, self._proposals[kind])

    def _settled(self, request: PortRequest) -> Allocation | None:
        """Grant a request that needs no port besides those it has."""
        for port in self._own_ports(request):
            if request.port in (None, port) and all(self._is_own(request, port, p) for p in request.protocols):
                if request.owner in self.denied and len(self._own_leases(request)) > len(request.protocols):
                    return None  # it would give something up, which is a change too
                return self._allocation(request, port)
        return None

    def _granted(self, request: PortRequest) -> Allocation | ServerkitError:
        port = request.port
        if port is None:
            # From one protocol to both: the same number where possible.
            port = next((own for own in self._own_ports(request) if self._reason(request, own) is None), None)
        if port is None:
            port = next(self._search(request), None)
        if port is None:
            return self._exhausted(request)
        for protocol in request.protocols:
            self._claimed[port, protocol] = request
        return self._allocation(request, port)

    def _allocation(self, request: PortRequest, port: int) -> Allocation:
        own = self._own_leases(request)
        wanted = [PortLease(port, protocol, request.owner, request.name) for protocol in request.protocols]
        return Allocation(
            request,
            port,
            kept=tuple(lease for lease in wanted if lease in own),
            added=tuple(lease for lease in wanted if lease not in own),
            removed=tuple(lease for lease in own if lease not in wanted),
        )

    def _search(self, request: PortRequest) -> Iterator[int]:
        """Go on where the last search of the same kind stopped: what was taken then still is."""
        kind = (request.protocols, request.start, request.last)
        if kind not in self._searches:
            self._searches[kind] = self._free_ports(request)
        return self._searches[kind]

    def _free_ports(self, request: PortRequest) -> Iterator[int]:
        for ephemeral in (False, True):
            for port in range(request.start, request.last + 1):
                if self._is_ephemeral(port) is ephemeral and all(
                    self._is_free((port, protocol)) for protocol in request.protocols
                ):
                    yield port

    def _is_ephemeral(self, port: int) -> bool:
        return port in self.host.ephemeral and port not in self.host.spared

    def _is_free(self, slot: Slot) -> bool:
        return slot not in self._leased and slot not in self._claimed and slot not in self._held

    def _reason(self, request: PortRequest, port: int) -> str | None:
        """Say why a request cannot have a port; None when it can."""
        for protocol in request.protocols:
            slot = (port, protocol)
            if self._is_own(request, port, protocol):
                continue
            lease = self._leased.get(slot)
            if lease is not None:
                return f"it is reserved for {lease.owner}/{lease.name}"
            claim = self._claimed.get(slot)
            if claim is not None:
                return f"the same task reserves it for {claim.label}"
            for holder in self._held.get(slot, ()):
                if holder.owner != request.owner:
                    return f"{holder.description} {'has' if holder.active else 'will take'} {port}/{protocol}"
        return None

    def _exhausted(self, request: PortRequest) -> ConflictError:
        reasons = Counter(
            "reserved" if slot in self._leased or slot in self._claimed else "held"
            for port in range(request.start, request.last + 1)
            for slot in ((port, protocol) for protocol in request.protocols)
            if not self._is_free(slot)
        )
        return ConflictError(
            f"reserve a port for {request.label}",
            f"there is no free port between {request.start} and {request.last} for {_spelled(request)}: "
            f"{reasons['reserved']} are reserved, {reasons['held']} are held by containers and processes",
            "Widen the range (start, last), or release ports that are not needed any more",
        )

    def _own_leases(self, request: PortRequest) -> list[PortLease]:
        return self._own.get((request.owner, request.name), [])

    def _own_ports(self, request: PortRequest) -> list[int]:
        return sorted({lease.port for lease in self._own_leases(request)})

    def _is_own(self, request: PortRequest, port: int, protocol: Protocol) -> bool:
        lease = self._leased.get((port, protocol))
        return lease is not None and (lease.owner, lease.name) == (request.owner, request.name)


def _repeated(requests: Sequence[PortRequest]) -> Iterator[tuple[int, ServerkitError]]:
    seen: set[Key] = set()
    for index, request in enumerate(requests):
        key = (request.owner, request.name)
        if key in seen:
            yield index, InputError(f"reserve a port for {request.label}", "it is listed twice", "List it once")
        seen.add(key)


def _spelled(request: PortRequest) -> str:
    return "+".join(request.protocols)
