# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Apps: the resource behind `serverkit_app`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, compose, template_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import link_order
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_attempt import Tools
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_deployment import Deployment
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_locks import lock_name
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_planning import Planner
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_sources import Sources
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome


class Apps:
    """The resource of `serverkit_app`."""

    kind = "app"

    def __init__(self, host: Host, options: Mapping[str, Any], root: str = app_files.ROOT) -> None:
        """
        :param options: the task's `definitions` (JSON, from the action plugin) and `remote_src`.
        :param root: where the apps' directories are.
        """
        self._host = host
        self._docker = Docker(host.commands)
        self._broker = PortBroker(host)
        sources = Sources(_definitions(options.get("definitions")), on_host=bool(options.get("remote_src")))
        self._planner = Planner(host, self._docker, self._broker, sources, root)

    def locks(self, wanted: Sequence[AppRequest]) -> Sequence[str]:
        """Return the locks of the apps."""
        return [lock_name(request.name) for request in wanted]

    def plan(self, wanted: Sequence[AppRequest]) -> Sequence[AppPlan | Failure]:
        """Return what is to be done about each app; writes nothing."""
        return self._planner.plan(wanted)

    def apply(self, plans: Sequence[AppPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        """Carry plans out.

        :raises HostError: when the host lacks a program that all of them need.
        """
        return converge(self._host, self._docker, self._broker, plans, lock_descriptors)


def converge(
    host: Host, docker: Docker, broker: PortBroker, plans: Sequence[AppPlan], lock_descriptors: Mapping[str, int]
) -> list[Outcome]:
    """Start all, then wait for all: their waiting overlaps.

    :raises HostError: when the host lacks a program that all of them need.
    """
    # Here: few runs remove anything, and what they need besides would have all others take longer to start.
    from ansible_collections.serverkit.core.plugins.module_utils._runner.app_removal import Removal

    if docker.installed or any(plan.target for plan in plans):
        compose.require(host.commands)
    if any(plan.target for plan in plans) and not template_files.available():
        raise HostError("write Compose files", "PyYAML is not installed on this host", "Install python3-yaml")
    with open_registry(host.settings, read_only=False) as registry:
        tools = Tools(host, docker, broker, registry)
        changes = [
            Deployment(tools, plan, plan.target, lock_descriptors[lock_name(plan.name)])
            if plan.target
            else Removal(tools, plan, lock_descriptors[lock_name(plan.name)])
            for plan in plans
        ]
        # A last backup of a database needs the server, which may be in an app that goes as well.
        leaving = iter(link_order.guests_first([plan.name for plan in plans if not plan.target], registry.links()))
        by_name = {plan.name: change for plan, change in zip(plans, changes, strict=True)}
        for plan in plans:
            by_name[plan.name if plan.target else next(leaving)].begin()
        return [change.finish() for change in changes]


def _definitions(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError("read definitions", "it is not a JSON object", "Leave it out: the action plugin sets it")
    return found
