# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What planning an app makes: a draft, a target, a plan. Nothing here reads or writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_health import address_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_sources import Source
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
    AppRequest,
    AppState,
    Container,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import (
    is_link_key,
    kept,
    secret_values,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, DatabaseLink, PortLease
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile

# The beginning of names of leases that are kept for going back (see also `_values.records.PortLease`).
PREVIOUS = "previous:"


@dataclass(frozen=True)
class Snapshot:
    """What was read of the host, once for all apps."""

    containers: tuple[Container, ...]
    apps: Mapping[str, AppRecord]
    leases: Mapping[str, tuple[PortLease, ...]]  # by owner
    names: Mapping[str, tuple[str, ...]]  # what nginx answers for, by app
    links: tuple[DatabaseLink, ...]  # of all apps
    leaving: Mapping[str, bool] = field(default_factory=dict)  # apps that the task removes, and whether with their data


@dataclass(frozen=True)
class Links:
    """The databases that an app is linked to.

    :ivar rows: as the registry has them; None where it has lost the app, so that what is on disk is kept as it is.
    :ivar engines: those that the app uses linked databases of, whether they are there yet or not.
    """

    rows: tuple[DatabaseLink, ...] | None = ()
    engines: tuple[str, ...] = ()

    @property
    def recorded(self) -> tuple[str, ...]:
        """The engines that a release's description has."""
        return self.engines if self.rows is None else tuple(sorted({row.engine for row in self.rows}))


@dataclass(frozen=True)
class Draft:
    """An app of which everything is known but its ports.

    :ivar dormant: variables that a linked database makes needless, and whose generated values are kept all the same.
    """

    request: AppRequest
    directory: AppDirectory
    files: Mapping[str, RenderedFile]
    source: Source | None
    stored: Mapping[str, str]
    links: Links = field(default_factory=Links)
    dormant: frozenset[str] = frozenset()
    requests: tuple[PortRequest, ...] = ()
    generated: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The app's name."""
        return self.request.name

    @property
    def linked_environment(self) -> dict[str, str]:
        """What the present `.env` holds of links."""
        return kept(environment(self.files))


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
    :param relinks: nothing but the app's links differs, so that an app that is stopped stays a confirmed one.
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
    relinks: bool = False

    @property
    def name(self) -> str:
        """The app's name."""
        return self.request.name

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return self.before != self.after or self.request.state == "restarted"

    @property
    def same_release(self) -> bool:
        """The containers that run were made of the release that is wanted, and it has passed its gate."""
        record, target = self.record, self.target
        if record is None or target is None or not record.confirmed:
            return False
        return record.content_hash == decide.content_hash(target.files) == decide.content_hash(self.draft.files)


def environment(files: Mapping[str, RenderedFile]) -> dict[str, str]:
    """Return the variables of a release's `.env`."""
    return dotenv.decode(files[ENVIRONMENT_FILE].content) if ENVIRONMENT_FILE in files else {}


def description(draft: Draft) -> Release | None:
    """Return the release that is in place, as it describes itself."""
    file = draft.files.get(DESCRIPTION_FILE)
    return decide.read_description(file.content) if file else None


def secrets_of(plan: AppPlan) -> tuple[str, ...]:
    """Return what no message about an app may show: secrets of the release that is wanted, and of those before it.

    Of the latter it is not known any more which values of `.env` were secret, so all count that now are not public.
    """
    wanted = plan.target.secrets if plan.target else ()
    public = {*environment(plan.target.files).values()} - {*wanted} if plan.target else set()
    former = [*maybe_secret(plan.draft.stored), *maybe_secret(environment(plan.previous))]
    return tuple(dict.fromkeys([*wanted, *(value for value in former if len(value) >= 4 and value not in public)]))


def maybe_secret(stored: Mapping[str, str]) -> list[str]:
    """Return those values of a `.env` that may be secrets: all but what links have there in the open."""
    own = [value for name, value in stored.items() if not is_link_key(name)]
    return [*own, *secret_values(stored)]


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


def _authority(address: str) -> str:
    return f"[{address}]" if ":" in address else address
