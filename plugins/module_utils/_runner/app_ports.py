# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The ports of an app's template and the leases that the registry has of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import PREVIOUS, Draft, description
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PortLease

# The beginning of names of leases for ports that a template spells out.
_FIXED = "fixed:"


def numbers(
    wanted: Sequence[PortRequest], asked: Sequence[PortRequest], answers: Sequence[PortLease | ServerkitError]
) -> dict[str, int] | ServerkitError:
    """Return an app's port numbers by name of the lease, or the first reason why it cannot have one.

    :param asked: the requests of all apps, which `answers` are the answers to.
    """
    found: dict[str, int] = {}
    for request, answer in zip(asked, answers, strict=True):
        if request in wanted:
            if isinstance(answer, ServerkitError):
                return answer
            found[request.name] = answer.port
    return found


def as_text(requests: Sequence[PortRequest], ports: Mapping[str, int]) -> dict[str, str]:
    """Return `8001/tcp` by the name of the lease."""
    return {request.name: f"{ports[request.name]}/{request.protocols[-1]}" for request in requests}


def taken_back(leases: Sequence[PortLease], requests: Sequence[PortRequest]) -> set[tuple[str, str]]:
    """Return keys of leases that are kept for going back to a former release and that the owner now wants again."""
    wanted = {(request.owner, request.port) for request in requests}
    return {
        (lease.owner, lease.name)
        for lease in leases
        if lease.name.startswith(PREVIOUS) and (lease.owner, lease.port) in wanted
    }


def of_template(draft: Draft, leases: Sequence[PortLease]) -> dict[str, str]:
    """Return `8001/tcp` by name for those leases of an app that were made for its template, not by `serverkit_port`.

    The registry does not tell them apart. Those of a template are named as its variables, which are in upper case.
    """
    described = description(draft)
    published = {each.lease for each in described.published} if described else set()
    needed = {request.name for request in draft.requests}
    shaped = {lease.name for lease in leases if lease.name.startswith((_FIXED, PREVIOUS)) or lease.name.isupper()}
    names = published | needed | shaped
    return {lease.name: f"{lease.port}/{lease.protocol}" for lease in leases if lease.name in names}
