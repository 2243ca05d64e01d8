# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning links: read the registry, the apps and each server once, and put what is there beside what is wanted.

Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ansible_collections.serverkit.core.plugins.module_utils._edges import randomness
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.engines import open_engine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import link_changes, link_order, links
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_changes import Secret
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_plan import (
    Draft,
    Key,
    LinkPlan,
    Snapshot,
    facts_of,
    refuse_clashes,
    refuse_doubles,
    stored_secret,
    wanted_link,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Server, Servers
from ansible_collections.serverkit.core.plugins.module_utils._runner.linked_apps import (
    LinkedApp,
    LinkedApps,
    LinkedPlan,
    LinkedRequest,
)
from ansible_collections.serverkit.core.plugins.module_utils._values import links as values
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    engine_name,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LinkRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Variable

R = TypeVar("R")

_PASSWORD = Variable(name="PASSWORD", type="password")


class Planner:
    """Plans the links of one task."""

    def __init__(self, host: Host, servers: Servers, apps: LinkedApps) -> None:
        self._host = host
        self._servers = servers
        self._apps = apps
        self.snapshot = Snapshot((), (), {})
        self._unreadable: dict[str, ServerkitError] = {}
        self._notes: dict[str, str] = {}  # by identity of a server: why it was not asked

    def plan(self, wanted: Sequence[LinkRequest]) -> list[LinkPlan | Failure]:
        """Plan each link in order.

        :raises HostError, RegistryError: when the registry or Docker cannot be read at all.
        """
        with open_registry(self._host.settings, read_only=True) as registry:
            rows, elsewhere = registry.links(), registry.links_elsewhere()
        apps = {app: self._read(app) for app in sorted({request.app for request in wanted})}
        self.snapshot = Snapshot(
            rows, elsewhere, {name: app for name, app in apps.items() if isinstance(app, LinkedApp)}
        )
        self._unreadable = {name: error for name, error in apps.items() if isinstance(error, ServerkitError)}
        drafts = [_attempt(self._draft, request) for request in wanted]
        refuse_doubles(drafts)
        refuse_clashes(drafts, self.snapshot)
        states = self._states([draft for draft in drafts if isinstance(draft, Draft)])
        plans = [draft if isinstance(draft, Failure) else self._finish(draft, states[draft.key]) for draft in drafts]
        return self._with_apps(plans)

    def request_for(self, app: str, plans: Sequence[LinkPlan]) -> LinkedRequest:
        """Return what an app is to be told when these plans, and no others, are carried out."""
        rows = link_changes.after(self.snapshot.rows, {plan.draft.key: plan.row for plan in plans})
        mine = links.linked(rows, app)
        planned = {plan.draft.key: plan.secret for plan in plans}
        present = self.snapshot.apps[app].secrets
        secrets: dict[str, str] = {}
        for link in mine:
            secret = planned.get((link.app, link.name)) or stored_secret(present, link.name)
            if secret.password:
                secrets.update(links.secrets(link, secret.login, secret.password))
        for value in values.secret_values(secrets):
            self._host.hide(value)
        return LinkedRequest(app, mine, secrets)

    # The steps, in their order

    def _read(self, app: str) -> LinkedApp | ServerkitError:
        try:
            return self._apps.read([app])[app]
        except ServerkitError as error:
            return error

    def _draft(self, request: LinkRequest) -> Draft:
        if request.app in self._unreadable:
            raise self._unreadable[request.app]
        row = next((row for row in self.snapshot.rows if (row.app, row.name) == (request.app, request.link)), None)
        stored = stored_secret(self.snapshot.apps[request.app].secrets, request.link)
        for secret in (stored.password, request.password, request.server.password):
            self._host.hide(secret)
        if request.state == "absent":
            return self._draft_absent(request, row, stored)
        engine = engine_name(request.engine)
        server = self._servers.find(request.app, engine, request.server)
        link = wanted_link(request, server)
        error = link_changes.moved(link, row) if row else None
        error = error or link_changes.taken(link, self.snapshot.rows, self.snapshot.elsewhere)
        if error:
            raise error
        access = Access(engine, link.database, link.user, request.privileges, server.clients)
        return Draft(request, link, row, stored, server, access)

    def _draft_absent(self, request: LinkRequest, row: DatabaseLink | None, stored: Secret) -> Draft:
        gone = row is None or row.options.get(links.STATE) == links.UNLINKED
        if row is None and stored.password and request.engine:
            # The registry was lost: what the app has shows that there is something to take away.
            row, gone = wanted_link(request, self._servers.find(request.app, request.engine, request.server)), False
        if row is None or (gone and not request.drop):
            nothing = DatabaseLink(request.app, request.link, request.engine, "", "", "", "", "", 0)
            return Draft(request, row or nothing, row, stored, None)
        place = link_order.server_app(row)
        if place and self._apps.is_gone(place):
            return Draft(request, row, row, stored, None, lost=True)
        engine = engine_name(row.engine)
        server = self._servers.find(request.app, engine, request.server)
        if server.identity != row.server:
            raise ConflictError(
                f"unlink {request.name}", f"it is on {row.server}, and not on {server.identity}", "Give that server"
            )
        access = Access(engine, row.database, row.user, "owner", server.clients)
        return Draft(request, row, row, stored, server, access)

    def _states(self, drafts: Sequence[Draft]) -> dict[Key, DatabaseState | ServerkitError]:
        """Ask each server once for all of its links."""
        found: dict[Key, DatabaseState | ServerkitError] = {}
        by_server: dict[int, list[Draft]] = {}
        for draft in drafts:
            if draft.server is None:
                found[draft.key] = DatabaseState()
            else:
                by_server.setdefault(id(draft.server), []).append(draft)
        for group in by_server.values():
            accesses = [draft.access for draft in group if draft.access]
            server = group[0].server
            try:
                states: Sequence[DatabaseState | ServerkitError] = (
                    self._servers.engine(server).read(accesses) if server else ()
                )
            except ServerkitError as error:
                states = [self._unread(server, error)] * len(group)
            found.update({draft.key: state for draft, state in zip(group, states, strict=True)})
        return found

    def _unread(self, server: Server | None, error: ServerkitError) -> DatabaseState | ServerkitError:
        """In check mode, a task before this one may not have installed the server yet, but would have."""
        if self._host.check and server and not server.prepared:
            self._notes[server.identity] = f"{error} Planned as if the server had nothing yet."
            return DatabaseState()
        return error

    def _finish(self, draft: Draft, state: DatabaseState | ServerkitError) -> LinkPlan | Failure:
        if isinstance(state, ServerkitError):
            return Failure(draft.name, state)
        try:
            return self._absent(draft, state) if draft.request.state == "absent" else self._present(draft, state)
        except ServerkitError as error:
            return Failure(draft.name, error)

    def _present(self, draft: Draft, state: DatabaseState) -> LinkPlan:
        request, link, access, server = draft.request, draft.link, draft.access, draft.server
        if access is None or server is None:
            raise RuntimeError("a link that is to be present has a server")
        valid = self._valid(draft, state)
        siblings = {row.user for row in self.snapshot.rows if row.app == link.app and row.server == link.server}
        known = draft.row is not None or valid
        error = link_changes.refusal(link, state, known=known, adopt=request.adopt, siblings=siblings)
        if error:
            raise error
        secret = self._wanted(draft, state, valid=valid)
        steps = link_changes.steps(state, access, draft.stored, secret, valid=valid)
        before = link_changes.summary(link, state, draft.stored, valid=valid, linked=draft.row is not None)
        after = link_changes.wanted_summary(link, access, secret, hosts=bool(state.hosts))
        plan = LinkPlan(draft, state, secret, steps, recorded=draft.row == link, version=self._version(server))
        diffs = (Diff(f"link {draft.name}", before, after),) if steps.any or not plan.recorded else ()
        return replace(plan, diffs=diffs, warnings=self._warnings(draft, state))

    def _absent(self, draft: Draft, state: DatabaseState) -> LinkPlan:
        drop = draft.request.drop and draft.row is not None
        unlinked = draft.row is None or draft.row.options.get(links.STATE) == links.UNLINKED
        leaves = (draft.server is not None or draft.lost) and bool(state.logins or drop or not unlinked)
        plan = LinkPlan(draft, state, Secret(), leaves=leaves, recorded=not leaves)
        if not leaves:
            return plan
        before = link_changes.summary(draft.link, state, draft.stored, valid=True, linked=not unlinked)
        after = link_changes.unlinked_summary(draft.link, state, drop=drop)
        return replace(plan, diffs=(Diff(f"link {draft.name}", before, after),))

    def _with_apps(self, plans: Sequence[LinkPlan | Failure]) -> list[LinkPlan | Failure]:
        """Add what changes about the apps themselves."""
        result = list(plans)
        groups: dict[str, list[LinkPlan]] = {}
        for plan in plans:
            if isinstance(plan, LinkPlan):
                groups.setdefault(plan.app, []).append(plan)
        linked = self._apps.plan([self.request_for(app, group) for app, group in groups.items()])
        by_app = dict(zip(groups, linked, strict=True))
        told: set[str] = set()
        for index, each in enumerate(plans):
            if isinstance(each, LinkPlan):
                result[index] = self._with_app(each, by_app[each.app], groups[each.app], first=each.app not in told)
                told.add(each.app)
        return result

    def _with_app(
        self, plan: LinkPlan, linked: LinkedPlan | Failure, group: Sequence[LinkPlan], *, first: bool
    ) -> LinkPlan | Failure:
        if isinstance(linked, Failure):
            return replace(linked, name=plan.name)
        concerned = [each for each in group if each.changed or self._differs(each)]
        # What changes though no link does, such as an edited file, is told of the first one.
        mine = linked.changed and (plan in concerned or (first and not concerned))
        diffs = (*plan.diffs, *(linked.diffs if mine and plan in (concerned or group)[:1] else ()))
        warnings = (*plan.warnings, *(linked.warnings if first else ()))
        told = facts_of(plan, self.snapshot.apps[plan.app], linked.facts.get("recreated") or ())
        return replace(plan, injected=mine, diffs=diffs, warnings=warnings, facts=told)

    def _differs(self, plan: LinkPlan) -> bool:
        """Whether the app has something else of a link than it is to have."""
        name = plan.draft.link.name
        present = {
            part: value for part, value in values.stored(self.snapshot.apps[plan.app].secrets, name).items() if value
        }
        if not plan.present:
            return bool(present)
        wanted = links.secrets(plan.draft.link, plan.secret.login, plan.secret.password)
        return present != values.stored(wanted, name)

    # What they use

    def _valid(self, draft: Draft, state: DatabaseState) -> bool:
        """Whether the server takes the password that the app has."""
        login, server = state.login(draft.stored.login), draft.server
        if login is None or server is None or not draft.stored.password:
            return False
        told = self._servers.engine(server).matches(login, draft.stored.password)
        if told is not None:
            return told
        try:
            seen = open_engine(server.for_app(server.address), None)
            seen.login(Credentials(draft.stored.login, draft.stored.password), draft.link.database)
        except HostError:
            return False
        return True

    def _wanted(self, draft: Draft, state: DatabaseState, *, valid: bool) -> Secret:
        """Return the login and the password that the app is to have; the server may choose another login."""
        request, stored = draft.request, draft.stored
        password = request.password or ("" if request.rotate else stored.password) or randomness.generate(_PASSWORD)
        self._host.hide(password)
        login = stored.login if state.login(stored.login) and (valid or not request.rotate) else draft.link.user
        return Secret(login, password)

    def _version(self, server: Server) -> str:
        return "" if server.identity in self._notes else self._servers.engine(server).version()

    def _warnings(self, draft: Draft, state: DatabaseState) -> tuple[str, ...]:
        found = [self._notes[draft.link.server]] if draft.link.server in self._notes else []
        if draft.server and not found:
            found.extend(self._servers.engine(draft.server).warnings())
        if state.elsewhere:
            found.append(f"the user {draft.link.user} has more than this link gives it: {', '.join(state.elsewhere)}")
        return tuple(found)


def _attempt(step: Callable[[LinkRequest], R], request: LinkRequest) -> R | Failure:
    try:
        return step(request)
    except ServerkitError as error:
        return Failure(request.name, error)
