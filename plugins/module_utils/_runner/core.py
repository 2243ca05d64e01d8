# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The one way every state module goes: lock, read, plan, the one check-mode gate, apply."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Plan, Success


class Named(Protocol):
    """An item as the user wants it, parsed and valid."""

    @property
    def name(self) -> str: ...


W = TypeVar("W", bound=Named)
W_contra = TypeVar("W_contra", bound=Named, contravariant=True)
P = TypeVar("P", bound=Plan)


class Resource(Protocol[W_contra, P]):
    """What a module converges: ports, apps, domains."""

    kind: str  # in the singular, for messages: "app"

    def locks(self, wanted: Sequence[W_contra]) -> Sequence[str]:
        """Names of the locks that protect these items; held from before the first read to after the last write."""

    def plan(self, wanted: Sequence[W_contra]) -> Sequence[P | Failure]:
        """Read what is there and decide, for each item in order. Writes nothing, in a real run either."""

    def apply(self, plans: Sequence[P], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Carry out plans that change something, in order, each whole or not at all."""


def converge(resource: Resource[W, P], items: Sequence[W | Failure], *, check: bool) -> list[Outcome]:
    """Bring the items about and return one outcome for each, in order; one failing item does not stop the others.

    :param items: parsed items, or the failure to parse one.
    :raises HostError, RegistryError: when the host as a whole cannot be read.
    """
    wanted = _without_repetitions(resource.kind, items)
    outcomes: list[Outcome | None] = [item if isinstance(item, Failure) else None for item in wanted]
    open_slots = [slot for slot, outcome in enumerate(outcomes) if outcome is None]
    good = [item for item in wanted if not isinstance(item, Failure)]
    with _held([] if check else resource.locks(good)) as descriptors:
        plans = resource.plan(good)
        pending: list[tuple[int, P]] = []
        for slot, plan in zip(open_slots, plans, strict=True):
            if isinstance(plan, Failure):
                outcomes[slot] = plan
            elif plan.changed and not check:  # the check-mode gate: nothing above writes, everything below may
                pending.append((slot, plan))
            else:
                outcomes[slot] = Success(plan.name, plan.changed, tuple(plan.diffs), plan.facts, tuple(plan.warnings))
        if pending:
            applied = resource.apply([plan for _slot, plan in pending], descriptors)
            for (slot, _plan), outcome in zip(pending, applied, strict=True):
                outcomes[slot] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


def _without_repetitions(kind: str, items: Sequence[W | Failure]) -> list[W | Failure]:
    seen: set[str] = set()
    result: list[W | Failure] = []
    for item in items:
        if not isinstance(item, Failure) and item.name in seen:
            error = InputError(f"converge the {kind} {item.name}", "it is listed twice in one task", "List it once")
            result.append(Failure(item.name, error))
        else:
            result.append(item)
        seen.add(item.name)
    return result


@contextlib.contextmanager
def _held(names: Sequence[str]) -> Iterator[dict[str, int]]:
    # Sorted: two runs that want overlapping sets of locks must take them in one order, or they wait for each other.
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(locks.held(name)) for name in sorted(set(names))}
