# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Host ports: the broker that reserves them, for `serverkit_port` and for apps, and the resource behind the module."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import sockets
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import docker_ports, listeners
from ansible_collections.serverkit.core.plugins.module_utils._gateways.listeners import Listener
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan.ports import (
    Allocation,
    Key,
    Occupancy,
    PortTaken,
    Slot,
    allocate,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import (
    Holder,
    PortRequest,
    port_name,
    port_owner,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease, Protocol

_UNLISTED = "a connection, or a process that has bound it without listening"


class PortBroker:
    """Reserves ports for one run.

    Docker and /proc are read once, when a first request needs a new port; the bind tests are made every time. Call
    `preview` before the registry's transaction, so that nobody waits for Docker in it.
    """

    def __init__(self, host: Host) -> None:
        self._commands = host.commands
        self._seen: tuple[tuple[Holder, ...], tuple[Listener, ...]] | None = None
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be looked at."""
        return tuple(self._warnings)

    def preview(
        self, registry: Registry, requests: Sequence[PortRequest], releasing: Collection[Key] = ()
    ) -> list[PortLease | ServerkitError]:
        """Return what `reserve` would return now; writes nothing."""
        return [_lease(result) for result in self.decide(registry.ports(), requests, releasing)]

    def reserve(
        self, registry: Registry, requests: Sequence[PortRequest], releasing: Collection[Key] = ()
    ) -> list[PortLease | ServerkitError]:
        """Reserve ports, inside the caller's transaction: for each owner all of them, or nothing new.

        :param releasing: owner and name of ports to give up in the same step.
        :returns: for each request its lease (of TCP, when it is for both protocols), or why there is none.
        """
        return [_lease(result) for result in self.carry_out(registry, requests, releasing)]

    def carry_out(
        self, registry: Registry, requests: Sequence[PortRequest], releasing: Collection[Key] = ()
    ) -> list[Allocation | ServerkitError]:
        """Do as `reserve` does, and tell which leases stayed, came and went."""
        leases = registry.ports()
        results = self.decide(leases, requests, releasing)
        granted = [result for result in results if isinstance(result, Allocation)]
        registry.remove_leases([lease for lease in leases if (lease.owner, lease.name) in releasing])
        registry.remove_leases([lease for result in granted for lease in result.removed])
        registry.add_ports([lease for result in granted for lease in result.added])
        return results

    def decide(
        self, leases: Sequence[PortLease], requests: Sequence[PortRequest], releasing: Collection[Key] = ()
    ) -> list[Allocation | ServerkitError]:
        """Decide requests from the registry's leases and from what the host has bound; writes nothing."""
        results = allocate(requests, Occupancy(leases), releasing)
        if all(isinstance(result, Allocation) and not result.added for result in results):
            return results  # everybody has a port: no need to ask Docker
        ephemeral, spared = sockets.ephemeral_ports()
        host = Occupancy(leases, tuple(self._holders(requests)), ephemeral, spared)
        tested: set[Slot] = set()
        while True:
            results = allocate(requests, host, releasing)
            bound = tuple(self._bound(results, host, tested))
            if not bound:
                return results
            host = replace(host, holders=(*host.holders, *bound))

    def holder(self, port: int, protocol: Protocol = "tcp") -> str | None:
        """Name the container or process that has a port right now; None when nobody has it."""
        published, _others = self._look()
        for container in published:
            if (container.port, container.protocol) == (port, protocol) and container.active:
                return container.description
        return None if sockets.can_bind(port, protocol, like_a_server=True) else _listening(port, protocol)

    def _look(self) -> tuple[tuple[Holder, ...], tuple[Listener, ...]]:
        if self._seen is None:
            published: tuple[Holder, ...] = ()
            try:
                published = docker_ports.bindings(self._commands)
            except HostError as error:
                self._warnings.append(f"{error} Ports that its stopped containers will take are not known.")
            proxied = {(holder.port, holder.protocol) for holder in published if holder.active}
            # The process that listens for a container is Docker's: the container is the better name for it.
            others = (entry for entry in listeners.listeners() if (entry.port, entry.protocol) not in proxied)
            self._seen = published, tuple(others)
        return self._seen

    def _holders(self, requests: Sequence[PortRequest]) -> Iterator[Holder]:
        """Name the holders; to find the process behind a socket is costly, so only for ports that are asked for."""
        published, others = self._look()
        yield from published
        explicit = {request.port for request in requests}
        for entry in others:
            yield Holder(entry.port, entry.protocol, _process(entry) if entry.port in explicit else "a process")

    def _bound(
        self, results: Sequence[Allocation | ServerkitError], host: Occupancy, tested: set[Slot]
    ) -> Iterator[Holder]:
        """Test what is about to be given away, or proposed, and return what turns out to be taken."""
        own = {(holder.port, holder.protocol, holder.owner) for holder in host.holders if holder.active}
        for result in results:
            for port, protocol, owner, explicit in _candidates(result):
                # An app may take over in the registry what its own containers have bound already.
                if (port, protocol) not in tested and not (explicit and (port, protocol, owner) in own):
                    tested.add((port, protocol))
                    if not sockets.can_bind(port, protocol, like_a_server=explicit):
                        yield Holder(port, protocol, _listening(port, protocol) if explicit else _UNLISTED)


def _listening(port: int, protocol: Protocol) -> str:
    """Name who has a port that nobody seemed to have: somebody may have started since we looked."""
    for listener in listeners.listeners():
        if (listener.port, listener.protocol) == (port, protocol):
            return _process(listener)
    return _UNLISTED


def _process(listener: Listener) -> str:
    return listeners.process_of(listener.inode) or "a process"


def _candidates(result: Allocation | ServerkitError) -> Iterator[tuple[int, Protocol, str, bool]]:
    if isinstance(result, Allocation):
        for lease in result.added:
            yield lease.port, lease.protocol, lease.owner, result.request.port is not None
    elif isinstance(result, PortTaken) and result.proposal is not None:
        for protocol in result.request.protocols:
            yield result.proposal, protocol, result.request.owner, False


def _lease(result: Allocation | ServerkitError) -> PortLease | ServerkitError:
    return result.lease if isinstance(result, Allocation) else result


@dataclass(frozen=True)
class WantedPort:
    """One item of `serverkit_port`: a port that its owner shall have, or shall not have."""

    request: PortRequest
    present: bool

    @property
    def name(self) -> str:
        return self.request.label

    @property
    def key(self) -> Key:
        return self.request.owner, self.request.name


@dataclass(frozen=True)
class PortPlan:
    """What happens to one port; `name` is the option of the item, which goes into the result."""

    wanted: WantedPort
    name: str
    changed: bool
    diffs: tuple[Diff, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def parse(options: Mapping[str, Any]) -> WantedPort:
    """Make an item from its options.

    :raises InputError: when a name or a number is not valid.
    """
    if options["owner"] is None:
        raise InputError(
            f"reserve a port called {options['name']}", "its owner is not set", "Set owner to the app that it is for"
        )
    request = PortRequest(
        owner=port_owner(options["owner"]),
        name=port_name(options["name"]),
        protocol=options["protocol"],
        start=options["start"],
        port=options["port"],
        last=options["last"],
    )
    return WantedPort(request, options["state"] == "present")


class Ports:
    """The resource of `serverkit_port`. It needs no lock: the registry's transaction is one."""

    kind = "port"

    def __init__(self, host: Host) -> None:
        self._settings = host.settings
        self._broker = PortBroker(host)

    def locks(self, wanted: Sequence[WantedPort]) -> Sequence[str]:
        del wanted
        return ()

    def plan(self, wanted: Sequence[WantedPort]) -> Sequence[PortPlan | Failure]:
        with open_registry(self._settings, read_only=True) as registry:
            leases = registry.ports()
        requests, releasing = _split(wanted)
        decided = iter(self._broker.decide(leases, requests, releasing))
        held = _by_key(leases)
        plans = [_plan(item, held.get(item.key, ()), next(decided) if item.present else None) for item in wanted]
        return _with_warnings(plans, self._broker.warnings)

    def apply(self, plans: Sequence[PortPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        del lock_descriptors
        wanted = [plan.wanted for plan in plans]
        requests, releasing = _split(wanted)
        with open_registry(self._settings, read_only=False) as registry, registry.transaction():
            leases = registry.ports()
            decided = iter(self._broker.carry_out(registry, requests, releasing))
        # Others may have been faster since the plan was made: what was really done is told.
        held = _by_key(leases)
        done = [_plan(item, held.get(item.key, ()), next(decided) if item.present else None) for item in wanted]
        return [
            made
            if isinstance(made, Failure)
            else Success(plan.name, made.changed, made.diffs, made.facts, plan.warnings)
            for plan, made in zip(plans, done, strict=True)
        ]


def _split(wanted: Sequence[WantedPort]) -> tuple[list[PortRequest], set[Key]]:
    return [item.request for item in wanted if item.present], {item.key for item in wanted if not item.present}


def _by_key(leases: Sequence[PortLease]) -> dict[Key, list[PortLease]]:
    held: dict[Key, list[PortLease]] = {}
    for lease in leases:
        held.setdefault((lease.owner, lease.name), []).append(lease)
    return held


def _plan(
    wanted: WantedPort, before: Sequence[PortLease], decision: Allocation | ServerkitError | None
) -> PortPlan | Failure:
    request = wanted.request
    if isinstance(decision, ServerkitError):
        return Failure(request.name, decision)
    after = [*decision.kept, *decision.added] if decision is not None else []
    facts: dict[str, Any] = {"owner": request.owner, "state": "present" if wanted.present else "absent"}
    if decision is not None:
        facts.update(port=decision.port, protocol=request.protocol)
    changed = set(before) != set(after)
    diff = Diff(f"port {request.label}", _as_text(before), _as_text(after))
    return PortPlan(wanted, request.name, changed, (diff,) if changed else (), facts)


def _with_warnings(plans: Sequence[PortPlan | Failure], warnings: tuple[str, ...]) -> list[PortPlan | Failure]:
    """Put warnings about the host as a whole on the first plan that can carry them, not on each."""
    result = list(plans)
    for index, plan in enumerate(result):
        if isinstance(plan, PortPlan):
            result[index] = replace(plan, warnings=warnings)
            break
    return result


def _as_text(leases: Sequence[PortLease]) -> str:
    return "".join(
        f"{lease.owner}/{lease.name} {lease.port}/{lease.protocol}\n" for lease in sorted(leases, key=_by_port)
    )


def _by_port(lease: PortLease) -> tuple[int, str]:
    return lease.port, lease.protocol
