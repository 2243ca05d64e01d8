# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning apps: read the host once, render what is wanted, and put the two side by side. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ansible_collections.serverkit.core.plugins.module_utils._edges import randomness
from ansible_collections.serverkit.core.plugins.module_utils._errors import (
    ConflictError,
    HostError,
    InputError,
    ServerkitError,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, template_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import Docker
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import compose as compose_plan
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv, template_schema, variables
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import address_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import PortBroker
from ansible_collections.serverkit.core.plugins.module_utils._values import app as values
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
    RELEASE_FILES,
    AppRequest,
    AppState,
    Container,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, PortLease
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    Rendered,
    RenderedFile,
    Template,
    Values,
)

R = TypeVar("R")

# Names of leases that do not come from a template's variables (see `_values.records.PortLease`).
FIXED = "fixed:"
PREVIOUS = "previous:"


@dataclass(frozen=True)
class Source:
    """A template and the text that it was parsed from."""

    template: Template
    text: str


@dataclass(frozen=True)
class Snapshot:
    """What was read of the host, once for all apps."""

    containers: tuple[Container, ...]
    apps: Mapping[str, AppRecord]
    leases: Mapping[str, tuple[PortLease, ...]]  # by owner
    names: Mapping[str, tuple[str, ...]]  # what nginx answers for, by app


@dataclass(frozen=True)
class Draft:
    """An app of which everything is known but its ports."""

    request: AppRequest
    directory: AppDirectory
    files: Mapping[str, RenderedFile]
    source: Source | None
    stored: Mapping[str, str]
    requests: tuple[PortRequest, ...] = ()
    generated: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.request.name


@dataclass(frozen=True)
class Target:
    """A release, ready to be written.

    `secrets` are those values of it that nobody may see. `notes` is shell text of a foreign template by its key, which
    is shown and never executed.
    """

    release: Release
    files: Mapping[str, RenderedFile]
    secrets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AppPlan:
    """What is to be done about one app.

    :param target: the release to bring about; None when the app is to be absent.
    :param previous: the files of the release to go back to; empty when there is none, or none but this one.
    :param previous_in_place: `previous` is what the directory holds now, and not what `.rollback` does.
    :param volumes: those that stay, or are deleted by a purge.
    :param replaced: services whose containers are made anew, as far as that can be foreseen.
    """

    request: AppRequest
    before: AppState
    after: AppState
    draft: Draft
    target: Target | None
    record: AppRecord | None
    containers: tuple[Container, ...]
    previous: Mapping[str, RenderedFile] = field(default_factory=dict)
    previous_in_place: bool = False
    volumes: tuple[str, ...] = ()
    replaced: frozenset[str] = frozenset()
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def changed(self) -> bool:
        return self.before != self.after or self.request.state == "restarted"

    @property
    def same_release(self) -> bool:
        """The containers that run were made of the release that is wanted, and it has passed its gate."""
        record, target = self.record, self.target
        if record is None or target is None or not record.confirmed:
            return False
        return record.content_hash == decide.content_hash(target.files) == decide.content_hash(self.draft.files)


class Sources:
    """The templates of one task, each parsed once."""

    def __init__(self, definitions: Mapping[str, Any], *, on_host: bool) -> None:
        """
        :param definitions: what the action plugin found: by the name that the task uses, `document`, `text` and
            `source`, or `error` with the arguments of an InputError.
        :param on_host: read the host's own copies instead.
        """
        self._definitions = definitions
        self._on_host = on_host
        self._parsed: dict[str, Source | ServerkitError] = {}

    def find(self, name: str) -> Source:
        """Return a template by the name that the task uses for it.

        :raises InputError: when there is none, or it is not valid.
        :raises HostError: when the host's copy cannot be read.
        """
        if name not in self._parsed:
            try:
                self._parsed[name] = self._load_from_host(name) if self._on_host else self._load(name)
            except ServerkitError as error:
                self._parsed[name] = error
        found = self._parsed[name]
        if isinstance(found, ServerkitError):
            raise found
        return found

    def _load(self, name: str) -> Source:
        definition = self._definitions.get(name)
        if definition is None:
            raise InputError(
                f"find the template {name}",
                "the controller did not hand it over",
                "Call the module by its full name, serverkit.core.serverkit_app, so that its action plugin runs",
            )
        if "error" in definition:
            raise InputError(*definition["error"])
        template = template_schema.parse(definition["document"], definition["source"])
        values.template_id(template.id)
        return Source(template, definition["text"])

    def _load_from_host(self, name: str) -> Source:
        text = app_files.read_template(values.template_id(name))
        path = app_files.template_path(name)
        if not text:
            raise InputError(f"find the template {name}", f"there is no {path} on the host", "Leave remote_src out")
        return Source(template_schema.parse(template_files.parse_yaml(text, path), path), text)


class Planner:
    """Plans the apps of one task."""

    def __init__(self, host: Host, docker: Docker, broker: PortBroker, sources: Sources, root: str) -> None:
        self._host = host
        self._docker = docker
        self._broker = broker
        self._sources = sources
        self._root = root
        self._warnings: list[str] = []
        self._can_ask_docker = False
        self._volumes: Mapping[str, tuple[str, ...]] | None = None
        self._templates: dict[str, tuple[str, str]] = {}  # by id: the host's copy, and what it becomes
        self._template_writers: dict[str, str] = {}  # by id: the app whose change it is

    def plan(self, wanted: Sequence[AppRequest]) -> list[AppPlan | Failure]:
        """Plan each app in order.

        :raises HostError, RegistryError: when Docker or the registry cannot be read at all.
        """
        with open_registry(self._host.settings, read_only=True) as registry:
            snapshot = self._snapshot(registry, wanted)
            drafts = [_attempt(self._draft, request) for request in wanted]
            ports = self._preview(registry, [draft for draft in drafts if isinstance(draft, Draft)])
        plans = [
            draft if isinstance(draft, Failure) else _attempt(self._finish, draft, snapshot, ports[draft.name])
            for draft in drafts
        ]
        return _with_warnings(plans, (*self._warnings, *self._broker.warnings))

    def _snapshot(self, registry: Registry, wanted: Sequence[AppRequest]) -> Snapshot:
        leases: dict[str, tuple[PortLease, ...]] = {}
        for lease in registry.ports():
            leases[lease.owner] = (*leases.get(lease.owner, ()), lease)
        names: dict[str, tuple[str, ...]] = {}
        for domain in registry.domains():
            names[domain.app] = (*names.get(domain.app, ()), domain.name)
        for private in registry.private_urls():
            names[private.app] = (*names.get(private.app, ()), f"/p/{private.slug}/")
        return Snapshot(self._containers(wanted), registry.apps(), leases, names)

    def _containers(self, wanted: Sequence[AppRequest]) -> tuple[Container, ...]:
        nothing_to_run = all(request.state == "absent" for request in wanted)
        if not self._docker.installed and (self._host.check or nothing_to_run):
            return ()
        try:
            containers = self._docker.containers()
            self._can_ask_docker = True
            return containers
        except HostError as error:
            if not self._host.check:
                raise
            # A playbook in check mode has not started what it would have started by now.
            self._warnings.append(f"{error} Planned as if there were no containers.")
            return ()

    def _draft(self, request: AppRequest) -> Draft:
        directory = AppDirectory(request.name, self._root)
        files = directory.read()
        stored = {**environment(directory.read_previous()), **environment(files)}
        if request.state == "absent" or not request.template:
            return Draft(request, directory, files, None, stored)
        source = self._sources.find(request.template)
        self._hide_given(request, source.template)
        needs = variables.needs(
            source.template, request.name, given=request.variables, secrets=request.secrets, stored=stored
        )
        generated = {variable.name: randomness.generate(variable) for variable in needs.generated}
        return Draft(request, directory, files, source, stored, needs.ports, generated)

    def _hide_given(self, request: AppRequest, template: Template) -> None:
        """Mask secrets that were given as ordinary variables: with remote_src the controller cannot know better."""
        for variable in template.variables:
            if variable.name in request.variables and (variable.sensitive or variable.generated):
                self._host.hide(str(request.variables[variable.name]))

    def _preview(self, registry: Registry, drafts: Sequence[Draft]) -> dict[str, dict[str, int] | ServerkitError]:
        """Ask for the ports of all apps at once, so that no two of them are shown the same."""
        requests = [request for draft in drafts for request in draft.requests]
        previewed = self._broker.preview(registry, requests, taken_back(registry.ports(), requests))
        return {draft.name: numbers(draft.requests, requests, previewed) for draft in drafts}

    def _finish(self, draft: Draft, snapshot: Snapshot, ports: dict[str, int] | ServerkitError) -> AppPlan:
        if isinstance(ports, ServerkitError):
            raise ports
        if draft.request.state == "absent":
            return self._absent(draft, snapshot)
        return self._present(draft, snapshot, ports)

    def _present(self, draft: Draft, snapshot: Snapshot, ports: Mapping[str, int]) -> AppPlan:
        record = snapshot.apps.get(draft.name)
        target = render(draft, ports) if draft.source else _as_deployed(draft)
        error = decide.conflict(draft.name, draft.directory.path, target.release.services, snapshot.containers)
        if error:
            raise error
        self._check_volumes(draft, record)
        containers = decide.own(draft.name, draft.directory.path, snapshot.containers)
        before = self._actual(draft, record, containers, snapshot.leases.get(draft.name, ()), target.release)
        after = self._desired(draft, before, target, ports)
        plan = AppPlan(draft.request, before, after, draft, target, record, containers, warnings=target.warnings)
        if plan.changed:
            self._check_strangers(plan)
            plan = self._with_diffs(_with_previous(plan))
        return replace(plan, facts=facts_of(plan, plan.containers))

    def _absent(self, draft: Draft, snapshot: Snapshot) -> AppPlan:
        request, record = draft.request, snapshot.apps.get(draft.name)
        error = decide.conflict(draft.name, draft.directory.path, {}, snapshot.containers)
        if error:
            raise error
        warnings = self._check_names(draft.name, snapshot.names.get(draft.name, ()))
        containers = decide.own(draft.name, draft.directory.path, snapshot.containers)
        before = self._actual(draft, record, containers, snapshot.leases.get(draft.name, ()), None)
        kept = {path: file for path, file in draft.files.items() if path == ENVIRONMENT_FILE and not request.purge}
        ours = record is not None or draft.directory.exists
        volumes: tuple[str, ...] = ()
        if ours and (request.purge or before.state != "absent"):
            volumes = self._volumes_of(draft.name)
        if request.purge:
            doomed = tuple(f"volume {name}" for name in volumes)
            home = (f"directory {draft.directory.path}",) if draft.directory.exists else ()
            before = replace(before, leftovers=(*before.leftovers, *home, *doomed))
        after = AppState("absent", kept)
        plan = AppPlan(request, before, after, draft, None, record, containers, volumes=volumes, warnings=warnings)
        if plan.changed:
            plan = replace(plan, diffs=decide.diffs(draft.name, before, plan.after, (), ""))
        return replace(plan, facts=facts_of(plan, ()))

    def _actual(
        self,
        draft: Draft,
        record: AppRecord | None,
        containers: Sequence[Container],
        leases: Sequence[PortLease],
        release: Release | None,
    ) -> AppState:
        """:param release: the one that is wanted, whose services the containers are compared with."""
        present = record is not None or bool(containers) or COMPOSE_FILE in draft.files
        services = decide.conditions(
            release.services if release and present else {},
            containers,
            record.config_hashes if record else {},
            wanted_state="stopped" if draft.request.state == "stopped" else "started",
        )
        names = _names(draft, leases)
        return AppState(
            state="absent" if not present else record.state if record else "unknown to the registry",
            files=draft.files,
            ports={lease.name: f"{lease.port}/{lease.protocol}" for lease in leases if lease.name in names},
            services=services,
            recorded=record.content_hash if record else "",
            confirmed=record.confirmed if record else not present,
            template=self._template(draft)[0],
            leftovers=_leftovers(draft, record),
        )

    def _desired(self, draft: Draft, before: AppState, target: Target, ports: Mapping[str, int]) -> AppState:
        stopped = draft.request.state == "stopped"
        wanted = ports_as_text(draft.requests, ports) if draft.source else before.ports
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
            template=self._template(draft)[1],
        )

    def _check_names(self, app: str, names: Sequence[str]) -> tuple[str, ...]:
        """Make sure that nginx does not send an app's visitors to whoever gets its port next."""
        if not names:
            return ()
        error = ConflictError(
            f"remove the app {app}",
            f"nginx still serves it as {', '.join(names)}, and its port may be another app's next",
            "Remove these first with serverkit_domain, or run the playbook remove.yml, which does both",
        )
        if not self._host.check:
            raise error
        # In check mode a task before this one has not removed them, but would have.
        return (str(error),)

    def _check_volumes(self, draft: Draft, record: AppRecord | None) -> None:
        """Make sure that a new app does not take over the volumes of somebody else's project that is down just now.

        Compose would do so in silence. The directory of an app stays as long as its data does, so one that has none is
        new.
        """
        if record is not None or draft.directory.exists:
            return
        volumes = self._volumes_of(draft.name)
        if volumes:
            raise ConflictError(
                f"converge the app {draft.name}",
                f"there are volumes of another Compose project of that name: {', '.join(volumes)}",
                f"Choose another name for the app; or remove them; or, to take them over, make {draft.directory.path}",
            )

    def _check_strangers(self, plan: AppPlan) -> None:
        """Make sure that the app's ports are not in other hands while its own containers do not have them."""
        if plan.target is None or plan.request.state == "stopped":
            return
        active = {item.service for item in plan.containers if item.state in ("running", "restarting", "paused")}
        for published in plan.target.release.published:
            known = f"{published.port}/{published.protocol}" in plan.before.ports.values()
            holder = (
                self._broker.holder(published.port, published.protocol)
                if known and published.service not in active
                else None
            )
            if holder:
                raise ConflictError(
                    f"converge the app {plan.name}",
                    f"its port {published.port}/{published.protocol} is in use by {holder}",
                    "Stop that, or give the app another port",
                )

    def _with_diffs(self, plan: AppPlan) -> AppPlan:
        target, draft = plan.target, plan.draft
        if target is None:
            return plan
        for secret in target.secrets:
            self._host.hide(secret)
        replaced = _replaced(plan)
        path = app_files.template_path(draft.source.template.id) if draft.source else ""
        return replace(plan, replaced=replaced, diffs=decide.diffs(plan.name, plan.before, plan.after, replaced, path))

    def _volumes_of(self, app: str) -> tuple[str, ...]:
        if self._volumes is None:
            self._volumes = self._docker.volumes() if self._can_ask_docker else {}
        return self._volumes.get(app, ())

    def _template(self, draft: Draft) -> tuple[str, str]:
        """Return the host's copy of the app's template and what it is to become, for the first app that uses it.

        The others get two equal texts: the copy is written once, and is a change of one app only.
        """
        if draft.source is None:
            return "", ""
        identity, text = draft.source.template.id, draft.source.text
        if identity not in self._templates:
            self._templates[identity] = (app_files.read_template(identity), text)
            self._template_writers[identity] = draft.name
        present, wanted = self._templates[identity]
        if wanted != text:
            raise InputError(
                f"use the template {draft.request.template}",
                f"another template of this task has the same id ({identity}) and a different content",
                "Give one of them another id",
            )
        return (present, wanted) if self._template_writers[identity] == draft.name else ("", "")


def render(draft: Draft, ports: Mapping[str, int]) -> Target:
    """Return the release that an app's template and values make with these ports.

    :raises InputError: when a value is not valid, or a rule of the template is broken.
    """
    if draft.source is None:
        return _as_deployed(draft)
    template, request = draft.source.template, draft.request
    resolved = variables.resolve(
        template,
        request.name,
        given=request.variables,
        secrets=request.secrets,
        stored=draft.stored,
        ports=ports,
        generated=draft.generated,
    )
    rendered = compose_plan.render(template, request.name, resolved, request.publish)
    key = decide.document_key(rendered.compose)
    text = _compose_text(draft, key, rendered)
    release = Release(
        template=template.id,
        version=template.version,
        publish=request.publish,
        services=rendered.services,
        published=rendered.published,
        main=rendered.main,
        health=rendered.health,
        probe=template.health.type if template.health else "auto",
        hooks=template.hooks,
        compose_key=key,
        compose_text=decide.text_key(text),
    )
    return Target(
        release=release,
        files=_files(rendered, release, text),
        secrets=_secrets(template, resolved),
        warnings=(*template.warnings, *rendered.warnings),
        notes=rendered.notes,
    )


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


def ports_as_text(requests: Sequence[PortRequest], ports: Mapping[str, int]) -> dict[str, str]:
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


def _names(draft: Draft, leases: Sequence[PortLease]) -> set[str]:
    """Return names of those leases of an app that were made for its template, and not by `serverkit_port`.

    The registry does not tell them apart. Those of a template are named as its variables, which are in upper case.
    """
    described = description(draft)
    published = {each.lease for each in described.published} if described else set()
    needed = {request.name for request in draft.requests}
    shaped = {lease.name for lease in leases if lease.name.startswith((FIXED, PREVIOUS)) or lease.name.isupper()}
    return published | needed | shaped


def facts_of(plan: AppPlan, containers: Sequence[Container], replaced: Sequence[str] | None = None) -> dict[str, Any]:
    """Return what is told about an app: as planned, or with the containers that are there afterwards."""
    state, target = plan.after, plan.target
    facts: dict[str, Any] = {"state": state.state, "directory": plan.draft.directory.path}
    if target is None:
        return {**facts, "volumes": [] if plan.request.purge else list(plan.volumes)}
    release, main = target.release, target.release.main
    return {
        **facts,
        "template": release.template,
        "template_version": release.version,
        "ports": {name: int(port.split("/")[0]) for name, port in state.ports.items() if not name.startswith(PREVIOUS)},
        "main_port": main.port if main else None,
        "url": f"http://{_authority(address_of(main))}:{main.port}/" if main else None,
        "containers": [
            {"service": item.service, "name": item.name, "state": item.state, "health": item.health or None}
            for item in sorted(containers, key=lambda item: (item.service, item.name))
        ],
        "release": decide.content_hash(target.files),
        "recreated": sorted(plan.replaced if replaced is None else replaced),
        "notes": dict(target.notes),
    }


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


def _with_previous(plan: AppPlan) -> AppPlan:
    """Find the release to go back to: the last one that was seen healthy, unless it is the one that is wanted."""
    draft, record, target = plan.draft, plan.record, plan.target
    in_place = {name: draft.files[name] for name in RELEASE_FILES if name in draft.files}
    kept = draft.directory.read_previous()
    current = decide.content_hash(draft.files)
    good = record.confirmed and record.content_hash == current if record else bool(plan.containers)
    previous, here = (in_place, True) if good and COMPOSE_FILE in in_place else (kept, False)
    if target is None or decide.content_hash(previous) == decide.content_hash(target.files):
        return plan
    return replace(plan, previous=previous, previous_in_place=here)


def _leftovers(draft: Draft, record: AppRecord | None) -> tuple[str, ...]:
    found = draft.directory.leftovers()
    if draft.request.state == "stopped" and record is not None and not record.confirmed:
        return tuple(name for name in found if name != app_files.ROLLBACK)
    return found


def secrets_of(plan: AppPlan) -> tuple[str, ...]:
    """Return what no message about an app may show: secrets of the release that is wanted, and of those before it.

    Of the latter it is not known any more which values of `.env` were secret, so all count that now are not public.
    """
    wanted = plan.target.secrets if plan.target else ()
    public = {*environment(plan.target.files).values()} - {*wanted} if plan.target else set()
    former = [*plan.draft.stored.values(), *environment(plan.previous).values()]
    return tuple(dict.fromkeys([*wanted, *(value for value in former if len(value) >= 4 and value not in public)]))


def environment(files: Mapping[str, RenderedFile]) -> dict[str, str]:
    return dotenv.decode(files[ENVIRONMENT_FILE].content) if ENVIRONMENT_FILE in files else {}


def description(draft: Draft) -> Release | None:
    """Return the release that is in place, as it describes itself."""
    file = draft.files.get(DESCRIPTION_FILE)
    return decide.read_description(file.content) if file else None


def _as_deployed(draft: Draft) -> Target:
    """Return the release that is in place, for a task that names no template."""
    release = description(draft)
    if release is None or COMPOSE_FILE not in draft.files:
        raise InputError(
            f"converge the app {draft.name}", "it is not deployed on this host", "Name the template to deploy it from"
        )
    secrets = tuple(value for value in draft.stored.values() if len(value) >= 4)
    return Target(release, dict(draft.files), secrets)


def _compose_text(draft: Draft, key: str, rendered: Rendered) -> str:
    """Return the Compose document as text; the file in place, when it was made of the same document and not edited."""
    present = description(draft)
    text = draft.files[COMPOSE_FILE].content if COMPOSE_FILE in draft.files else ""
    if present and present.compose_key == key and present.compose_text == decide.text_key(text):
        return text
    if not template_files.available():
        return json.dumps(rendered.compose, indent=2, ensure_ascii=False) + "\n"
    return template_files.dump_yaml(rendered.compose)


def _files(rendered: Rendered, release: Release, compose_text: str) -> dict[str, RenderedFile]:
    return {
        **rendered.files,
        COMPOSE_FILE: RenderedFile(compose_text, 0o644),
        ENVIRONMENT_FILE: RenderedFile(dotenv.encode(rendered.environment), 0o600),
        DESCRIPTION_FILE: RenderedFile(decide.describe(release), 0o644),
    }


def _secrets(template: Template, resolved: Values) -> tuple[str, ...]:
    # A default stands in the template for everybody to read. Masking it would mask every other place where it occurs,
    # and one such as "admin" or "wordpress" occurs in names.
    public = {variable.name: variable.default for variable in template.variables}
    return tuple(value for name, value in resolved.sensitive.items() if value and value != public.get(name))


def _replaced(plan: AppPlan) -> frozenset[str]:
    """Foresee whose containers are made anew; a service that has none yet is not among them."""
    target, draft = plan.target, plan.draft
    old, new = draft.files.get(COMPOSE_FILE), target.files[COMPOSE_FILE] if target else None
    present = frozenset(item.service for item in plan.containers)
    if old is None or new is None or target is None or not template_files.available():
        return frozenset()
    before = template_files.parse_yaml(old.content, COMPOSE_FILE).get("services") or {}
    after = before if old.content == new.content else template_files.parse_yaml(new.content, COMPOSE_FILE)["services"]
    return present & decide.replaced_services(before, after, environment(draft.files), environment(target.files))


def _authority(address: str) -> str:
    return f"[{address}]" if ":" in address else address
