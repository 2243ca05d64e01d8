# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Apps whose links to databases change: what `serverkit_db_link` asks of them.

Another link is another release of the app. It goes the way of any other one: the release before is kept, containers
that are concerned are made anew, the gate judges, and what does not pass is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import app_diff, dotenv
from ansible_collections.serverkit.core.plugins.module_utils._runner import apps
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import (
    AppPlan,
    Draft,
    Links,
    Snapshot,
    description,
    environment,
    facts_of,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_present import Present
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_reading import HostState
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_rendering import relinked
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    ENVIRONMENT_FILE,
    AppRequest,
    AppState,
    State,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import (
    COMPOSE_FILES_KEY,
    kept,
    secret_values,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.template import DatabaseUse, RenderedFile


@dataclass(frozen=True)
class LinkedApp:
    """What the host has of an app's links.

    :ivar deployed: whether it has a release; until then it has an `.env` at most.
    :ivar secrets: what `.env` holds of links (see `_values.links`).
    :ivar use: how its template uses a linked database; None when it does not say, or there is no release.
    :ivar services: of the release.
    """

    name: str
    deployed: bool
    secrets: Mapping[str, str]
    use: DatabaseUse | None
    services: tuple[str, ...]


@dataclass(frozen=True)
class LinkedRequest:
    """The links that an app is to have: all of them, and all that `.env` is to hold of them."""

    name: str
    links: tuple[DatabaseLink, ...]
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class LinkedPlan:
    """What is to be done about an app's links.

    :ivar release: the plan for an app that is deployed.
    :ivar files: what an app gets that is not; only its `.env`.
    """

    name: str
    changed: bool
    directory: AppDirectory
    release: AppPlan | None = None
    files: Mapping[str, RenderedFile] = field(default_factory=dict, repr=False)
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def deployed(self) -> bool:
        """Whether the app has a release."""
        return self.release is not None


class LinkedApps:
    """The apps of a host, for whoever changes their links. The caller holds their locks (`app_locks.lock_name`)."""

    def __init__(self, host: Host, root: str = app_files.ROOT) -> None:
        self._host = host
        self._root = root
        self._docker = Docker(host.commands)
        self._broker = PortBroker(host)
        self._state = HostState(host, self._docker)
        self._present = Present(host, self._state, self._broker)

    def read(self, names: Sequence[str]) -> dict[str, LinkedApp]:
        """Return what the host has of apps' links, by name of the app.

        :raises HostError: when a file cannot be read.
        :raises InputError: when a `.env` cannot be understood.
        """
        return {name: self._read(name) for name in names}

    def is_gone(self, name: str) -> bool:
        """Whether the host has nothing of an app any more, as after `purge: true`: no file, container or volume.

        :raises HostError: when Docker does not answer.
        """
        if AppDirectory(name, self._root).exists:
            return False
        return not self._docker.installed or not (self._docker.containers(name) or self._docker.volumes().get(name))

    def _read(self, name: str) -> LinkedApp:
        draft = self._draft(AppRequest(name), Links())
        release = description(draft) if COMPOSE_FILE in draft.files else None
        secrets = {key: value for key, value in draft.linked_environment.items() if key != COMPOSE_FILES_KEY}
        if release is None:
            return LinkedApp(name, False, secrets, None, ())
        return LinkedApp(name, True, secrets, release.database, tuple(release.services))

    def plan(self, wanted: Sequence[LinkedRequest]) -> list[LinkedPlan | Failure]:
        """Plan each app in order; writes nothing.

        :raises HostError, RegistryError: when Docker or the registry cannot be read at all.
        """
        with open_registry(self._host.settings, read_only=True) as registry:
            snapshot = self._state.snapshot(registry, needs_docker=False)
        return [self._attempt(request, snapshot) for request in wanted]

    def apply(self, plans: Sequence[LinkedPlan], lock_descriptors: Mapping[str, int]) -> list[Outcome]:
        """Carry plans out that change something, in order. Those of apps without a release write an `.env`.

        :raises HostError: when the host lacks a program that all of them need.
        """
        releases = [plan.release for plan in plans if plan.release]
        brought = apps.converge(self._host, self._docker, self._broker, releases, lock_descriptors) if releases else []
        by_name = {outcome.name: outcome for outcome in brought}
        return [_with_deployed(by_name[plan.name]) if plan.release else _write(plan) for plan in plans]

    def _attempt(self, request: LinkedRequest, snapshot: Snapshot) -> LinkedPlan | Failure:
        try:
            return self._plan(request, snapshot)
        except ServerkitError as error:
            return Failure(request.name, error)

    def _plan(self, request: LinkedRequest, snapshot: Snapshot) -> LinkedPlan:
        record = snapshot.apps.get(request.name)
        state: State = "stopped" if record and record.state == "stopped" else "started"
        engines = tuple(dict.fromkeys(link.engine for link in request.links))
        draft = self._draft(AppRequest(request.name, state=state), Links(request.links, engines))
        for secret in secret_values(request.secrets):
            self._host.hide(secret)
        if COMPOSE_FILE not in draft.files:
            return self._plan_ahead(draft, request)
        target = relinked(draft, request.secrets)
        lost = decide.references(target.files[COMPOSE_FILE].content) - environment(target.files).keys()
        if lost:
            warning = (
                f".env lacks {', '.join(sorted(lost))}; the containers stay as they are until serverkit_app has run"
            )
            return replace(self._plan_ahead(draft, request), warnings=(warning,))
        plan = replace(self._present.compare(draft, snapshot, target, {}), relinks=True)
        # What is wrong with the containers is for serverkit_app, which knows what they are to be.
        pending = record is None or record.content_hash != plan.after.recorded
        unconfirmed = state == "started" and not plan.before.confirmed
        changed = plan.before.files != plan.after.files or pending or unconfirmed
        plan = self._present.with_diffs(plan) if changed else plan
        plan = replace(plan, facts=facts_of(plan, plan.containers))
        facts = {"deployed": True, **plan.facts}
        return LinkedPlan(request.name, changed, draft.directory, plan, {}, plan.diffs, facts, plan.warnings)

    def _plan_ahead(self, draft: Draft, request: LinkedRequest) -> LinkedPlan:
        """Plan an app that is not deployed: its first release is going to find its secrets."""
        if not draft.directory.exists:
            self._state.check_volumes(draft.name, draft.directory.path)
        present = environment(draft.files)
        others = {name: value for name, value in present.items() if name not in kept(present)}
        wanted = {**others, **request.secrets}
        files = {ENVIRONMENT_FILE: RenderedFile(dotenv.encode(wanted), 0o600)} if wanted else {}
        before = {path: file for path, file in draft.files.items() if path == ENVIRONMENT_FILE}
        changed = before != files
        states = AppState("absent", before), AppState("absent", files)
        diffs = app_diff.diffs(draft.name, *states, (), "") if changed else ()
        facts = {"deployed": False, "recreated": [], "containers": []}
        return LinkedPlan(request.name, changed, draft.directory, None, files, diffs, facts)

    def _draft(self, request: AppRequest, links: Links) -> Draft:
        directory = AppDirectory(request.name, self._root)
        files = directory.read()
        stored = {**environment(directory.read_previous()), **environment(files)}
        return Draft(request, directory, files, None, stored, links)


def _with_deployed(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Failure):
        return outcome
    return replace(outcome, facts={"deployed": True, **outcome.facts})


def _write(plan: LinkedPlan) -> Outcome:
    try:
        plan.directory.write_environment(plan.files.get(ENVIRONMENT_FILE))
    except ServerkitError as error:
        return Failure(plan.name, error, diffs=plan.diffs)
    return Success(plan.name, True, plan.diffs, plan.facts, plan.warnings)
