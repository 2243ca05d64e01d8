# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning apps: read the host once, render what is wanted, and put the two side by side. Nothing here writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ansible_collections.serverkit.core.plugins.module_utils._edges import randomness
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import linked_template, variables
from ansible_collections.serverkit.core.plugins.module_utils._plan import links as link_plan
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_absent, app_ports
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import (
    AppPlan,
    Draft,
    Links,
    Snapshot,
    description,
    environment,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_present import Present
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_reading import HostState, needs_docker
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_sources import Sources
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template

R = TypeVar("R")


class Planner:
    """Plans the apps of one task."""

    def __init__(self, host: Host, docker: Docker, broker: PortBroker, sources: Sources, root: str) -> None:
        self._host = host
        self._broker = broker
        self._sources = sources
        self._root = root
        self._state = HostState(host, docker)
        self._present = Present(host, self._state, broker)

    def plan(self, wanted: Sequence[AppRequest]) -> list[AppPlan | Failure]:
        """Plan each app in order.

        :raises HostError, RegistryError: when Docker or the registry cannot be read at all.
        """
        with open_registry(self._host.settings, read_only=True) as registry:
            needed = needs_docker([request.state for request in wanted])
            leaving = {request.name: request.purge for request in wanted if request.state == "absent"}
            snapshot = replace(self._state.snapshot(registry, needs_docker=needed), leaving=leaving)
            drafts = [_attempt(self._draft, request, snapshot) for request in wanted]
            ports = self._preview(registry, [draft for draft in drafts if isinstance(draft, Draft)])
        plans = [
            draft if isinstance(draft, Failure) else _attempt(self._finish, draft, snapshot, ports[draft.name])
            for draft in drafts
        ]
        return _with_warnings(plans, (*self._state.warnings, *self._broker.warnings))

    def _draft(self, request: AppRequest, snapshot: Snapshot) -> Draft:
        directory = AppDirectory(request.name, self._root)
        files = directory.read()
        stored = {**environment(directory.read_previous()), **environment(files)}
        draft = Draft(request, directory, files, None, stored)
        if request.state == "absent" or not request.template:
            return draft
        source, links = self._sources.find(request.template), _links(draft, snapshot)
        template, needless = linked_template.linked(source.template, links.engines)
        self._hide_given(request, source.template)
        needs = variables.needs(template, request.name, given=request.variables, secrets=request.secrets, stored=stored)
        return replace(
            draft,
            source=replace(source, template=template),
            links=links,
            dormant=frozenset(each.name for each in source.template.variables if each.generated) & needless,
            requests=needs.ports,
            generated={variable.name: randomness.generate(variable) for variable in needs.generated},
        )

    def _hide_given(self, request: AppRequest, template: Template) -> None:
        """Mask secrets that were given as ordinary variables: with remote_src the controller cannot know better."""
        for variable in template.variables:
            if variable.name in request.variables and (variable.sensitive or variable.generated):
                self._host.hide(str(request.variables[variable.name]))

    def _preview(self, registry: Registry, drafts: Sequence[Draft]) -> dict[str, dict[str, int] | ServerkitError]:
        """Ask for the ports of all apps at once, so that no two of them are shown the same."""
        requests = [request for draft in drafts for request in draft.requests]
        previewed = self._broker.preview(registry, requests, app_ports.taken_back(registry.ports(), requests))
        return {draft.name: app_ports.numbers(draft.requests, requests, previewed) for draft in drafts}

    def _finish(self, draft: Draft, snapshot: Snapshot, ports: Mapping[str, int] | ServerkitError) -> AppPlan:
        if isinstance(ports, ServerkitError):
            raise ports
        if draft.request.state == "absent":
            return app_absent.plan(self._host, self._state, draft, snapshot)
        return self._present.plan(draft, snapshot, ports)


def _links(draft: Draft, snapshot: Snapshot) -> Links:
    """Return the links of an app that it is to use: those of the engines that the task names, else all that it has."""
    engines = draft.request.databases
    rows = link_plan.linked(snapshot.links, draft.name)
    if engines is not None:
        chosen = (row for row in rows if any(linked_template.same_engine(row.engine, each) for each in engines))
        return Links(tuple(chosen), engines)
    if not rows and draft.name not in snapshot.apps and LINKS_FILE in draft.files:
        present = description(draft)
        return Links(None, present.linked if present else ())
    return Links(rows, tuple(dict.fromkeys(row.engine for row in rows)))


def _attempt(step: Callable[..., R], subject: AppRequest | Draft, *arguments: Any) -> R | Failure:
    try:
        return step(subject, *arguments)
    except ServerkitError as error:
        return Failure(subject.name, error)


def _with_warnings(plans: Sequence[AppPlan | Failure], warnings: tuple[str, ...]) -> list[AppPlan | Failure]:
    """Put warnings about the host as a whole on the first plan that can carry them."""
    result = list(plans)
    for index, plan in enumerate(result):
        if isinstance(plan, AppPlan):
            result[index] = replace(plan, warnings=(*warnings, *plan.warnings))
            break
    return result
