# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What one link does on its database server and in the registry, each step with the one that takes it back."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import links
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_changes import Secret
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_plan import LinkPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Servers
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink


class ServerWork:
    """Carries out one link's plan, but for what the app is told in between."""

    def __init__(self, plan: LinkPlan, servers: Servers, registry: Registry) -> None:
        self.plan = plan
        self._servers = servers
        self._registry = registry
        self._undo = UndoStack()
        self._keeps_data = False

    def begin(self) -> None:
        """Do what has to be done before the app is told: afterwards both its old and its new password are valid.

        :raises ConflictError: when another run was faster and the database is another app's by now.
        :raises HostError: when the server refuses.
        """
        if not self.plan.present:
            return
        self._record()
        steps = self.plan.steps
        if steps.create_user:
            self._create_user()
        if steps.create_database:
            self._create_database()
        if steps.grant:
            self._grant()
        if steps.reset:
            self._set_password(self.plan.secret)
        if steps.rotate:
            self._rotate()

    def finish(self) -> None:
        """Do what may only be done when the app uses what it was told.

        :raises HostError: when the server refuses.
        """
        plan = self.plan
        if plan.leaves:
            self._leave()
        elif plan.present and (plan.steps.rotate or plan.steps.settle) and not self._gap:
            self._set_password(plan.secret)

    def undo(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Take back what was done; returns what was, and what was not with the reason."""
        return self._undo.unwind()

    # The steps

    def _record(self) -> None:
        row, before = self.plan.draft.link, self.plan.draft.row
        if row == before:
            return
        with self._registry.transaction():
            self._registry.put_link(row)
        self._undo.push("restored the registry's record of the link", lambda: self._restore_row(before))

    def _restore_row(self, before: DatabaseLink | None) -> None:
        link = self.plan.draft.link
        with self._registry.transaction():
            if before is not None:
                self._registry.put_link(before)
            elif self._keeps_data:
                # Else the next attempt would find a database that nobody knows.
                self._registry.put_link(replace(link, options={**link.options, links.STATE: links.UNLINKED}))
            else:
                self._registry.remove_link(link.app, link.name)

    def _create_user(self) -> None:
        access = self._access
        if not self.plan.state.logins:
            self._undo.push(f"removed the user {access.user}", lambda: self._engine.drop_user(access))
        self._engine.create_user(access, self.plan.secret.password)
        if self.plan.secret.login != access.user:
            self.plan = replace(self.plan, secret=replace(self.plan.secret, login=access.user))

    def _create_database(self) -> None:
        access = self._access
        self._undo.push(f"removed the new database {access.database}", self._remove_if_empty)
        self._engine.create_database(access)

    def _remove_if_empty(self) -> None:
        """Remove a database that this run has made, unless the app has begun to use it."""
        access = self._access
        self._keeps_data = bool(self._engine.row_counts(access.database))
        if self._keeps_data:
            raise HostError(f"remove the new database {access.database}", "the app has begun to use it")
        self._engine.drop_database(access)

    def _grant(self) -> None:
        access, before = self._access, self.plan.state.privileges
        if before and self.plan.state.logins and before != access.privileges:
            former = replace(access, privileges=before)
            self._undo.push(f"gave {access.user} its former privileges back", lambda: self._engine.grant(former))
        self._engine.grant(access)

    def _rotate(self) -> None:
        """Make the new password valid; the old one stays valid where the engine can keep two."""
        access, stored, wanted = self._access, self.plan.draft.stored, self.plan.secret
        back = "made the former password the only one again"
        self._undo.push(back, lambda: self._engine.set_password(access, stored.login, stored.password))
        if self._gap:
            self._set_password(wanted)
            return
        login = self._engine.begin_rotation(access, stored.login, stored.password, wanted.password)
        self.plan = replace(self.plan, secret=replace(wanted, login=login))

    def _set_password(self, secret: Secret) -> None:
        self._engine.set_password(self._access, secret.login, secret.password)

    def _leave(self) -> None:
        plan, link = self.plan, self.plan.draft.link
        if not plan.draft.lost:
            self._engine.drop_user(self._access)
            if plan.draft.request.drop:
                self._engine.drop_database(self._access)
        # Last: until here a killed run is seen to be unfinished.
        with self._registry.transaction():
            row = plan.row
            if row is None:
                self._registry.remove_link(link.app, link.name)
            else:
                self._registry.put_link(row)

    @property
    def _gap(self) -> bool:
        return bool(self._engine.rotation_gap())

    @property
    def _access(self) -> Access:
        if self.plan.draft.access is None:
            raise RuntimeError("a link that is changed has a server")
        return self.plan.draft.access

    @property
    def _engine(self) -> DatabaseEngine:
        if self.plan.draft.server is None:
            raise RuntimeError("a link that is changed has a server")
        return self._servers.engine(self.plan.draft.server)
