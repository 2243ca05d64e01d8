# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Deciding about apps: what state they are in, whether they are healthy, what an update replaces, how a diff reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import fingerprint
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    ENVIRONMENT_FILE,
    Container,
    Release,
    Run,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    BackupUse,
    DatabaseUse,
    Health,
    Hook,
    Published,
    RenderedFile,
    ServiceFacts,
)

# A container that has been restarted is trusted again when it has stayed up this long; Docker, too, takes a container
# that ran for ten seconds for a successful start and resets its restart delay.
SETTLED_AFTER_RESTART = 10.0
SETTLED = 1.0  # seconds; a program that cannot start has ended by then

_REFERENCE = re.compile(r"\$\$|\$\{?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Verdict:
    """How a release does: `good`, `waiting` (may still become good) or `bad` (will not). `container` is the culprit.

    `pause` are the seconds until it can be good, where that is known.
    """

    outcome: Literal["good", "waiting", "bad"]
    reason: str = ""
    container: Container | None = None
    pause: float | None = None


GOOD = Verdict("good")


def describe(release: Release) -> str:
    """Return the text of a release's description file."""
    return json.dumps(dataclasses.asdict(release), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_description(text: str) -> Release | None:
    """Return the release that a description file is about, or None when somebody has damaged the file."""
    try:
        fields = json.loads(text)
        main, health = fields.pop("main"), fields.pop("health")
        published = tuple(Published(**each) for each in fields.pop("published"))
        hooks = {
            event: tuple(Hook(each["service"], tuple(each["command"])) for each in listed)
            for event, listed in fields.pop("hooks").items()
        }
        services = {name: ServiceFacts(**facts) for name, facts in fields.pop("services").items()}
        database, linked = fields.pop("database", None), fields.pop("linked", ())
        backup = fields.pop("backup", None) or {}
        return Release(
            **fields,
            database=None if database is None else _use(database),
            linked=tuple(linked),
            backup=BackupUse(**{**backup, "exclude": tuple(backup.get("exclude", ()))}),
            services=services,
            published=published,
            hooks=hooks,
            main=None if main is None else Published(**main),
            health=Health(**{**health, "status": tuple(health["status"])}),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _use(fields: Mapping[str, Any]) -> DatabaseUse:
    listed = {name: tuple(fields[name]) for name in ("engines", "service", "replaces")}
    return DatabaseUse(**{**fields, **listed})


def document_key(document: Mapping[str, Any]) -> str:
    """Return what identifies a Compose document without writing it as YAML."""
    return hashlib.sha256(json.dumps(document, sort_keys=False).encode("utf-8", "surrogateescape")).hexdigest()


def text_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def content_hash(files: Mapping[str, RenderedFile]) -> str:
    """Return the name of a release: twelve hexadecimal digits of its Compose files and environment.

    Its other files are named by their content, so the Compose file stands for them. Secrets go in as fingerprints:
    the name is no better for guessing them than what a diff shows anyway.
    """
    digest = hashlib.sha256(_content(files, COMPOSE_FILE).encode("utf-8", "surrogateescape"))
    digest.update("\n".join(environment_lines(_content(files, ENVIRONMENT_FILE))).encode())
    digest.update(_content(files, LINKS_FILE).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def environment_lines(text: str) -> list[str]:
    """Return the variables of a `.env` with the values redacted."""
    try:
        values = dotenv.decode(text)
    except InputError:
        return ["<not readable as NAME=value lines>"]
    return [f"{name}={fingerprint(value)}" for name, value in values.items()]


def judge(services: Mapping[str, ServiceFacts], containers: Sequence[Container]) -> Verdict:
    """Return how an app's containers do, as far as `docker ps` shows it; the worst news first."""
    verdicts = [_judge_service(name, facts, containers) for name, facts in services.items() if facts.started]
    for outcome in ("bad", "waiting"):
        for verdict in verdicts:
            if verdict.outcome == outcome:
                return verdict
    return GOOD


def judge_runs(runs: Sequence[Run], containers: Sequence[Container]) -> Verdict:
    """Return whether running containers have stayed up long enough to believe that they will."""
    by_id = {container.id: container for container in containers}
    lacking = [((SETTLED_AFTER_RESTART if run.restarts else SETTLED) - run.age, run) for run in runs]
    pause, youngest = max(lacking, key=lambda item: item[0], default=(0.0, None))
    if youngest is None or pause <= 0:
        return GOOD
    container = by_id[youngest.container]
    again = f"was restarted {youngest.restarts} times and " if youngest.restarts else ""
    reason = f"the service {container.service} {again}has been up for {max(youngest.age, 0):.0f} seconds only"
    return Verdict("waiting", reason, container, pause)


def conditions(
    services: Mapping[str, ServiceFacts],
    containers: Sequence[Container],
    config_hashes: Mapping[str, str],
    *,
    wanted_state: str,
) -> dict[str, str]:
    """Return what each service does: `up`, `stopped`, or what is wrong with it.

    :param config_hashes: Compose's hash of each service at the last `up`; another one means that somebody else has
        replaced the container since.
    """
    found: dict[str, str] = {}
    for name, facts in services.items():
        mine = _of_service(name, containers)
        if not facts.started:
            continue
        if not mine and facts.one_shot and name in config_hashes:
            found[name] = "stopped" if wanted_state == "stopped" else "up"  # it is done, and was cleaned away since
        elif wanted_state == "stopped":
            active = [container for container in mine if container.state in ("running", "restarting", "paused")]
            found[name] = active[0].state if active else "stopped"
        elif {container.config_hash for container in mine} - {config_hashes.get(name, "")} and name in config_hashes:
            found[name] = "up with another configuration"
        else:
            verdict = _judge_service(name, facts, containers)
            # A health check that has not ended yet is no news: the release has passed its gate before.
            fine = verdict.outcome == "good" or any(container.health == "starting" for container in mine)
            found[name] = "up" if fine else verdict.reason.removeprefix(f"the service {name} ")
    for container in containers:
        if container.service not in services and not container.one_off:
            found[container.service] = "not part of the release"
    return found


def conflict(
    app: str, directory: str, services: Mapping[str, ServiceFacts], containers: Sequence[Container]
) -> ConflictError | None:
    """Return who has the Compose project or a container name that the app needs, or None.

    :param containers: all of the host.
    """
    strangers = [container for container in containers if container.project == app and container.directory != directory]
    if strangers:
        names = ", ".join(sorted(container.name for container in strangers))
        return ConflictError(
            f"converge the app {app}",
            f"another Compose project of that name runs from {strangers[0].directory or 'elsewhere'} ({names})",
            "Choose another name for the app, or remove that project",
        )
    wanted = _container_names(app, services)
    for container in containers:
        if container.name in wanted and container.project != app:
            owner = f"the Compose project {container.project}" if container.project else "no Compose project"
            return ConflictError(
                f"converge the app {app}",
                f"its service {wanted[container.name]} needs the container name {container.name}, which a container of"
                f" {owner} has ({container.id[:12]}, {container.state})",
                "Choose another name for the app, or remove that container",
            )
    return None


def own(app: str, directory: str, containers: Sequence[Container]) -> tuple[Container, ...]:
    """Return the containers of an app."""
    return tuple(item for item in containers if item.project == app and item.directory == directory)


def replaced_services(
    before: Mapping[str, Any], after: Mapping[str, Any], old: Mapping[str, str], new: Mapping[str, str]
) -> frozenset[str]:
    """Return the services whose containers an update makes anew, as far as that can be foreseen.

    :param before: what each service is made of in the release that is in place, likewise `after`.
    :param old: the environment that is in place, likewise `new`.
    """
    changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    return frozenset(
        name
        for name, service in after.items()
        if service != before.get(name) or changed & references(json.dumps(service))
    )


def config_hashes(containers: Sequence[Container]) -> dict[str, str]:
    """Return Compose's config hash of each service, as its containers have it."""
    return {item.service: item.config_hash for item in containers if item.service and not item.one_off}


def _judge_service(name: str, facts: ServiceFacts, containers: Sequence[Container]) -> Verdict:
    mine = _of_service(name, containers)
    if len(mine) < facts.replicas:
        return Verdict("waiting", f"the service {name} has {len(mine)} of {facts.replicas} containers")
    for container in mine:
        verdict = _judge_container(name, facts, container)
        if verdict.outcome != "good":
            return verdict
    return GOOD


def _judge_container(service: str, facts: ServiceFacts, container: Container) -> Verdict:
    def verdict(outcome: Literal["waiting", "bad"], what: str) -> Verdict:
        return Verdict(outcome, f"the service {service} {what}", container)

    match container.state, container.health:
        case "running", ("" | "healthy"):
            return GOOD
        case "running", "starting":
            return verdict("waiting", "has not passed its health check yet")
        case "running", _:
            return verdict("bad", "is unhealthy: its health check fails")
        case "exited", _ if container.exit_code == 0 and facts.one_shot:
            return GOOD
        case (("exited" | "dead"), _):
            return verdict("bad", f"has exited with code {container.exit_code}")
        case "restarting", _:
            return verdict("waiting", f"is restarting again and again (exit code {container.exit_code})")
        case "paused", _:
            return verdict("bad", "is paused")
        case _:
            return verdict("waiting", f"is {container.state}")


def _of_service(name: str, containers: Sequence[Container]) -> list[Container]:
    return [container for container in containers if container.service == name and not container.one_off]


def _container_names(app: str, services: Mapping[str, ServiceFacts]) -> dict[str, str]:
    names: dict[str, str] = {}
    for service, facts in services.items():
        numbered = [f"{app}-{service}-{number}" for number in range(1, facts.replicas + 1)]
        for name in [facts.container_name] if facts.container_name else numbered:
            names[name] = service
    return names


def references(text: str) -> frozenset[str]:
    """Return the variables that a Compose file takes from `.env`."""
    return frozenset(match[1] for match in _REFERENCE.finditer(text) if match[1])


def _content(files: Mapping[str, RenderedFile], path: str) -> str:
    return files[path].content if path in files else ""
