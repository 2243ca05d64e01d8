# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is planned about links: the types that planning and apply share, and rules about several links at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._plan import links
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_changes import Secret, ServerSteps
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Server
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import LinkedApp
from ansible_collections.serverkit.core.plugins.module_utils._values import links as values
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, DatabaseState
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LinkRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink

Key = tuple[str, str]  # app, link


@dataclass(frozen=True)
class Draft:
    """A link of which everything is known but what its server has of it.

    :param link: as it is to be; of one that goes away, as it is.
    :param row: what the registry has of it.
    :param stored: what the app's `.env` has of it.
    :param server: None where a link is absent already, so that no server has to be asked, or `lost`.
    :param lost: the server was in a container of an app that is gone with its data.
    """

    request: LinkRequest
    link: DatabaseLink
    row: DatabaseLink | None
    stored: Secret
    server: Server | None
    access: Access | None = None
    lost: bool = False

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def key(self) -> Key:
        return (self.link.app, self.link.name)


@dataclass(frozen=True)
class LinkPlan:
    """What is to be done about one link.

    :param secret: what the app is to log in with; empty when the link goes away.
    :param steps: what the server needs.
    :param leaves: the user has to be taken away.
    :param injected: what the app's containers are told changes.
    """

    draft: Draft
    state: DatabaseState
    secret: Secret
    steps: ServerSteps = field(default_factory=ServerSteps)
    leaves: bool = False
    injected: bool = False
    recorded: bool = False
    version: str = ""
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.draft.name

    @property
    def app(self) -> str:
        return self.draft.link.app

    @property
    def present(self) -> bool:
        return self.draft.request.state == "present"

    @property
    def changed(self) -> bool:
        return self.steps.any or self.leaves or self.injected or not self.recorded

    @property
    def needs_backup(self) -> bool:
        """Whether data are deleted that were to be backed up before."""
        request = self.draft.request
        return self.leaves and request.drop and not request.skip_backup and self.state.database_exists

    @property
    def row(self) -> DatabaseLink | None:
        """What the registry shall have of it: of a database that stays, that it is the app's."""
        link = self.draft.link
        if self.present:
            return link
        if self.draft.row is None or self.draft.request.drop:
            return None
        return replace(link, options={**link.options, links.STATE: links.UNLINKED})


@dataclass(frozen=True)
class Snapshot:
    """What was read once for all links."""

    rows: tuple[DatabaseLink, ...]
    elsewhere: tuple[tuple[str, DatabaseLink], ...]
    apps: Mapping[str, LinkedApp]


def wanted_link(request: LinkRequest, server: Server) -> DatabaseLink:
    """Return the registry's row of a link that is to be present."""
    options: dict[str, Any] = {}
    if server.network:
        options[links.NETWORK] = server.network
    tls = server.endpoint.tls
    if tls is not None:
        options[links.TLS] = True
        if tls.mode == "require":
            options[links.UNVERIFIED] = True
        elif tls.ca:
            options[links.CA] = tls.ca
    if request.variables:
        options[links.VARIABLES] = dict(request.variables)
    return DatabaseLink(
        app=request.app,
        name=request.link,
        engine=request.engine,
        server=server.identity,
        database=request.database,
        user=request.user,
        privileges=request.privileges,
        host=server.host,
        port=server.port,
        env_prefix=request.env_prefix,
        services=request.services,
        options=options,
    )


def stored_secret(environment: Mapping[str, str], link: str) -> Secret:
    """Return what an app's `.env` has of a link."""
    found = values.stored(environment, link)
    return Secret(found.get("user", ""), found.get("password", ""))


def refuse_doubles(drafts: list[Draft | Failure]) -> None:
    """Two links of one task may want one database: the registry knows of neither yet."""
    owners: dict[tuple[str, str, str], str] = {}
    for index, draft in enumerate(drafts):
        if isinstance(draft, Failure) or draft.request.state == "absent":
            continue
        for what, name in (("database", draft.link.database), ("user", draft.link.user)):
            owner = owners.setdefault((draft.link.server, what, name), draft.link.app)
            if owner != draft.link.app:
                error = ConflictError(
                    f"give the {what} {name} of {draft.link.server} to the app {draft.link.app}",
                    f"the app {owner} of this task has it",
                    f"Choose another {what}",
                )
                drafts[index] = Failure(draft.name, error)
                break


def refuse_clashes(drafts: list[Draft | Failure], snapshot: Snapshot) -> None:
    """Two links of an app cannot both give its containers `DB_HOST`; the later one is refused."""
    going = {draft.key for draft in drafts if isinstance(draft, Draft) and draft.request.state == "absent"}
    there = {(row.app, row.name): row for row in snapshot.rows if (row.app, row.name) not in going}
    for index, draft in enumerate(drafts):
        if isinstance(draft, Failure) or draft.request.state == "absent":
            continue
        others = [row for row in links.linked(tuple(there.values()), draft.link.app) if row.name != draft.link.name]
        error = links.clash(draft.link, others, snapshot.apps[draft.link.app].use)
        if error:
            drafts[index] = Failure(draft.name, error)
        else:
            there[draft.key] = draft.link


def facts_of(plan: LinkPlan, app: LinkedApp, recreated: Sequence[str]) -> dict[str, Any]:
    """Return what is told about a link, as far as it is known before anything is done."""
    link = plan.draft.link
    facts: dict[str, Any] = {"app": link.app, "link": link.name, "engine": link.engine, "state": "absent"}
    if not plan.present:
        return {**facts, "server": link.server, "database": link.database}
    return {
        **facts,
        "state": "present",
        "server": link.server,
        "version": plan.version,
        "database": link.database,
        "user": link.user,
        "privileges": link.privileges,
        "host": link.host,
        "port": link.port,
        "variables": sorted(links.variables(link, app.use)),
        "services": list(links.targets(link, app.services, app.use)),
        "recreated": list(recreated),
        "rotated": plan.steps.rotate,
        "proven": "",
    }
