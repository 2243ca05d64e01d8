# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""PostgreSQL, by psycopg2.

A role has one password, so a rotation changes between two login roles. The user is the role that owns or is granted
everything; the second login is a member of it and becomes it as soon as it connects (`ALTER ROLE ... SET role`), so
whatever either makes belongs to the user.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._edges import identity
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases import (
    postgresql_catalog,
    postgresql_grants,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import Session
from ansible_collections.serverkit.core.plugins.module_utils._plan.database_passwords import matches_postgresql
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    Endpoint,
    Login,
    second_login,
)

_ADMIN_DATABASE = "postgres"

_HAS_FORCE = 130000  # DROP DATABASE ... WITH (FORCE)


class Postgresql(DatabaseEngine):
    """One PostgreSQL server."""

    def __init__(self, endpoint: Endpoint, admin: Credentials | None) -> None:
        super().__init__(endpoint, admin)
        self._opened: Session | None = None

    # --- connection ---

    def connect(self) -> None:
        self._session()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def login(self, credentials: Credentials, database: str) -> None:
        session = Session(self.endpoint, credentials, database)
        session.close()

    def _session(self) -> Session:
        if self._opened is None:
            self._opened = self._administrator(self.maintenance)
        return self._opened

    @property
    def account(self) -> str:
        """The system's user that the server knows us by over its socket; empty where a password opens it."""
        socket, admin = self.endpoint.socket, self.admin
        if socket is None or (admin is not None and admin.password is not None):
            return ""
        # Peer authentication: the account that the server runs as is its administrator.
        return identity.owner_of(f"{socket}/.s.PGSQL.{self.endpoint.port}") or "postgres"

    @property
    def user(self) -> str:
        """The role that we log in as."""
        return self.admin.user if self.admin else self.account or "postgres"

    @property
    def maintenance(self) -> str:
        """The database to be in for what concerns none, or others."""
        return (self.admin and self.admin.database) or _ADMIN_DATABASE

    def _administrator(self, database: str) -> Session:
        account = self.account
        with identity.acting_as(account) if account else contextlib.nullcontext():
            return Session(self.endpoint, self.admin or Credentials(self.user), database)

    @contextlib.contextmanager
    def inside(self, database: str) -> Iterator[Session]:
        """Log in to one database for the time of a `with` statement."""
        session = self._administrator(database)
        try:
            yield session
        finally:
            session.close()

    # --- reading ---

    def version(self) -> str:
        return f"PostgreSQL {self._session().rows('SHOW server_version')[0][0].split()[0]}"

    def read(self, accesses: Sequence[Access]) -> list[DatabaseState]:
        catalog = postgresql_catalog.read(self._session(), accesses)
        return [self._with_rights(access, catalog.state(access)) for access in accesses]

    def _with_rights(self, access: Access, state: DatabaseState) -> DatabaseState:
        """Look into the database where its catalog entry does not say enough; an owner of today needs no look."""
        if not state.some_privileges or (state.privileges == "owner" and self._public_is_closed):
            return state
        with self.inside(access.database) as session:
            if state.privileges == "owner":
                closed = postgresql_grants.may_create(session, access.user)
                missing = () if closed else ("it may not create tables in the schema public",)
                return replace(state, problems=(*state.problems, *missing))
            return replace(state, privileges=postgresql_grants.held(session, access.user))

    @property
    def _public_is_closed(self) -> bool:
        return self._session().version >= postgresql_grants.PUBLIC_IS_CLOSED

    def matches(self, login: Login, password: str) -> bool | None:
        return matches_postgresql(login.verifiers[0], login.name, password) if login.verifiers else None

    def row_counts(self, database: str) -> dict[str, int]:
        with self.inside(database) as session:
            session.rows("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return postgresql_catalog.row_counts(session)

    # --- writing ---

    def create_database(self, access: Access) -> None:
        session = self._session()
        if self._database_exists(access.database):
            return
        owner = access.user if access.privileges == "owner" else ""
        # A cluster in another encoding can have a database in UTF-8 in the one locale that goes with every encoding.
        rows = session.rows("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'template1'")
        utf8 = "" if rows[0][0] == "UTF8" else " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        if owner:
            self.join(owner)
            session.run("CREATE DATABASE {} OWNER {}" + utf8, access.database, owner)
        else:
            session.run("CREATE DATABASE {}" + utf8, access.database)

    def create_user(self, access: Access, password: str) -> None:
        self.set_password(access, access.user, password)

    def grant(self, access: Access) -> None:
        session = self._session()
        owner = postgresql_catalog.read(session, [access]).state(access).owner
        if access.privileges == "owner":
            with session.transaction():
                if owner != access.user:
                    self.join(access.user)
                    session.run("ALTER DATABASE {} OWNER TO {}", access.database, access.user)
                session.run("REVOKE ALL ON DATABASE {} FROM PUBLIC", access.database)
            with self.inside(access.database) as inside:
                postgresql_grants.let_owner_create(inside, access.user)
            return
        if owner == access.user:
            raise HostError(
                f"make {access.user} a {access.privileges} user of {access.database}",
                "it owns the database",
                "Unlink the app first, or choose another user",
            )
        with self.inside(access.database) as inside:
            postgresql_grants.give(inside, access)

    def set_password(self, access: Access, login: str, password: str) -> None:
        other = second_login(login)
        with self._session().transaction():
            self._make_role(access.user)
            self._let_in(access.user, login, password)
        self._shut_out(access, other)

    def begin_rotation(self, access: Access, login: str, current: str, new: str) -> str:
        state = self.read([access])[0]
        known = state.login(login)
        if known is None or self.matches(known, current) is False:
            raise self.not_valid(login)
        other = second_login(login)
        with self._session().transaction():
            self._let_in(access.user, other, new)
        return other

    def drop_user(self, access: Access) -> None:
        self._shut_out(access, second_login(access.user))
        if self._role_exists(access.user):
            self._shut_out(access, access.user)
            self._forget(access)

    def drop_database(self, access: Access) -> None:
        self.remove_database(access.database)
        if self._role_exists(access.user):
            self._forget(access)

    # --- for restores ---

    def remove_database(self, database: str) -> None:
        """Delete a database if it is there, and no role."""
        session = self._session()
        if self._database_exists(database):
            if session.version >= _HAS_FORCE:
                session.run("DROP DATABASE {} WITH (FORCE)", database)
            else:
                session.disconnect([database])
                session.run("DROP DATABASE {}", database)

    def forget_unlinked(self, access: Access) -> None:
        """Drop the role of a user that has neither a login nor data any more."""
        state = self.read([access])[0]
        if state.user_exists and not state.logins:
            self._forget(access)

    def join(self, role: str) -> None:
        """Make an administrator who is no superuser a member of a role, without which nothing can be given to it."""
        session = self._session()
        if not session.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0]:
            session.run("GRANT {} TO CURRENT_USER", role)

    # --- parts of the above ---

    def _make_role(self, name: str) -> None:
        if not self._role_exists(name):
            self._session().run("CREATE ROLE {} NOLOGIN", name)

    def _let_in(self, user: str, login: str, password: str) -> None:
        session = self._session()
        if login != user:
            self._make_role(login)
            session.run("GRANT {} TO {}", user, login)
            session.run("ALTER ROLE {} SET role = {}", login, user)
        verifier = session.verifier(password, login)
        session.run("ALTER ROLE {} LOGIN PASSWORD %s", login, values=(verifier,), secret=password)

    def _shut_out(self, access: Access, login: str) -> None:
        """Take a login away and end its connections: of the user only the login, of its second login everything."""
        session = self._session()
        if not self._role_exists(login):
            return
        session.run("ALTER ROLE {} NOLOGIN PASSWORD NULL", login)
        self.join(login)  # else only a superuser may end its connections
        session.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (login,))
        if login == access.user:
            return
        # What it made after a RESET ROLE is its own.
        if self._database_exists(access.database) and self._depends(login):
            self._make_role(access.user)
            self.join(login)
            with self.inside(access.database) as inside:
                inside.run("REASSIGN OWNED BY {} TO {}", login, access.user)
                inside.run("DROP OWNED BY {}", login)
        session.run("DROP ROLE {}", login)

    def _forget(self, access: Access) -> None:
        """Drop the user's role, unless data belongs to it."""
        session = self._session()
        if self._depends(access.user, "o"):
            return
        if self._depends(access.user) and self._database_exists(access.database):
            self.join(access.user)
            with self.inside(access.database) as inside:
                inside.run("DROP OWNED BY {}", access.user)
        if not self._depends(access.user):
            session.run("DROP ROLE {}", access.user)

    def _depends(self, role: str, kinds: str = "oa") -> bool:
        """Whether anything on the server belongs to a role (`o`), or was granted to it (`a`)."""
        # Since PostgreSQL 16 being a member of a role counts as a grant; that goes with the role.
        sql = (
            "SELECT 1 FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND deptype = ANY(%s)"
            " AND classid <> 'pg_auth_members'::regclass"
            " AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = %s) LIMIT 1"
        )
        return bool(self._session().rows(sql, (list(kinds), role)))

    def _role_exists(self, name: str) -> bool:
        return bool(self._session().rows("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)))

    def _database_exists(self, name: str) -> bool:
        return bool(self._session().rows("SELECT 1 FROM pg_database WHERE datname = %s", (name,)))
