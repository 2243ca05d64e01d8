# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The state that an app is in, and the one that it is to be in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_ports
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import PREVIOUS, Draft, Target
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    AppState,
    Container,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, PortLease


def actual(
    draft: Draft,
    record: AppRecord | None,
    containers: Sequence[Container],
    leases: Sequence[PortLease],
    release: Release | None,
    template: str,
) -> AppState:
    """Return the state that an app is in.

    :param containers: its own.
    :param release: the one that is wanted, whose services the containers are compared with.
    :param template: the text of the host's copy of its template.
    """
    present = record is not None or bool(containers) or COMPOSE_FILE in draft.files
    services = decide.conditions(
        release.services if release and present else {},
        containers,
        record.config_hashes if record else {},
        wanted_state="stopped" if draft.request.state == "stopped" else "started",
    )
    return AppState(
        state="absent" if not present else record.state if record else "unknown to the registry",
        files=draft.files,
        ports=app_ports.of_template(draft, leases),
        services=services,
        recorded=record.content_hash if record else "",
        confirmed=record.confirmed if record else not present,
        template=template,
        leftovers=_leftovers(draft, record),
    )


def desired(draft: Draft, before: AppState, target: Target, ports: Mapping[str, int], template: str) -> AppState:
    """Return the state that an app is to be in.

    :param ports: numbers of the template's ports, by name of the lease.
    :param template: the text that the host's copy of its template is to have.
    """
    stopped = draft.request.state == "stopped"
    wanted = app_ports.as_text(draft.requests, ports) if draft.source else before.ports
    # While a release waits to be judged, the ports of the one before are kept for going back.
    waiting = {name: port for name, port in before.ports.items() if name.startswith(PREVIOUS) and stopped}
    current = {name: port for name, port in wanted.items() if not name.startswith(PREVIOUS)}
    return AppState(
        state="stopped" if stopped else "started",
        files=target.files,
        ports={**current, **waiting},
        services={
            name: "stopped" if stopped else "up" for name, facts in target.release.services.items() if facts.started
        },
        recorded=decide.content_hash(target.files),
        # A stopped release cannot be seen healthy: it is judged when it is started.
        confirmed=before.confirmed if stopped else True,
        template=template,
    )


def _leftovers(draft: Draft, record: AppRecord | None) -> tuple[str, ...]:
    found = draft.directory.leftovers()
    if draft.request.state == "stopped" and record is not None and not record.confirmed:
        return tuple(name for name in found if name != app_files.ROLLBACK)
    return found
