# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a PostgreSQL server has of roles and databases, read for many links with one set of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import Session
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    DatabaseState,
    Login,
    second_login,
)

_DATABASES = """
    SELECT datname, pg_get_userbyid(datdba),
        EXISTS (SELECT 1 FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
            WHERE acl.grantee = 0 AND acl.privilege_type = 'CONNECT'),
        ARRAY(SELECT pg_get_userbyid(acl.grantee)::text FROM aclexplode(datacl) AS acl
            WHERE acl.grantee <> 0 AND acl.privilege_type = 'CONNECT')
    FROM pg_database WHERE datname = ANY(%(databases)s)
"""
_ROLES = """
    SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
    FROM pg_roles WHERE rolname = ANY(%(roles)s)
"""
_VERIFIERS = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%(roles)s)"
_MAY_READ_VERIFIERS = "SELECT has_table_privilege('pg_authid', 'SELECT')"
_MEMBERSHIPS = """
    SELECT m.rolname, g.rolname FROM pg_auth_members
        JOIN pg_roles m ON m.oid = member JOIN pg_roles g ON g.oid = roleid
    WHERE m.rolname = ANY(%(roles)s)
"""
# In which databases a role owns something or was granted something, the databases themselves included.
_ELSEWHERE = """
    SELECT r.rolname, coalesce(inside.datname, self.datname)
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
        LEFT JOIN pg_database inside ON inside.oid = s.dbid
        LEFT JOIN pg_database self ON s.dbid = 0 AND s.classid = 'pg_database'::regclass AND self.oid = s.objid
    WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype IN ('o', 'a') AND r.rolname = ANY(%(roles)s)
    GROUP BY 1, 2
"""
# What a dump has rows of. Those of a partitioned table are in its partitions; an extension brings its own tables.
_TABLES = """
    SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
        AND NOT EXISTS (SELECT 1 FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
    ORDER BY 1, 2
"""
_LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"
_ATTRIBUTES = (
    "a superuser",
    "allowed to create roles",
    "allowed to create databases",
    "allowed to replicate",
    "exempt from row security",
)


@dataclass(frozen=True)
class Database:
    owner: str
    public: bool  # anyone may connect
    guests: frozenset[str]  # roles that were granted CONNECT


@dataclass
class Role:
    may_login: bool = False
    attributes: tuple[str, ...] = ()
    verifier: str = ""
    memberships: set[str] = field(default_factory=set)
    databases: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Catalog:
    """What was read of a server, without looking into its databases."""

    databases: Mapping[str, Database]
    roles: Mapping[str, Role]
    readable: bool  # the verifiers

    def state(self, access: Access) -> DatabaseState:
        """What there is of an access. Of a reader's or writer's privileges only the database itself can tell."""
        database = self.databases.get(access.database)
        user = self.roles.get(access.user)
        owns = database is not None and database.owner == access.user
        invited = database is not None and access.user in database.guests
        return DatabaseState(
            database_exists=database is not None,
            owner=database.owner if database else None,
            user_exists=user is not None,
            logins=tuple(self._logins(access.user)),
            privileges="owner" if owns else None,
            some_privileges=owns or invited,
            elsewhere=tuple(sorted(set(self._elsewhere(access)))),
            problems=("anyone may connect to the database",) if owns and database and database.public else (),
        )

    def _logins(self, user: str) -> Iterable[Login]:
        for name in (user, second_login(user)):
            role = self.roles.get(name)
            if role is not None and role.may_login:
                verifiers = (role.verifier,) if role.verifier else ()
                yield Login(name, len(verifiers) if self.readable else 1, verifiers)

    def _elsewhere(self, access: Access) -> Iterable[str]:
        for name in (access.user, second_login(access.user)):
            role = self.roles.get(name, Role())
            yield from (f"it is {attribute}" for attribute in role.attributes)
            yield from (f"it is a member of {group}" for group in role.memberships - {access.user})
            yield from (f"it has rights in {name}" for name in role.databases if not _is_of(name, access.database))


def _is_of(name: str, database: str) -> bool:
    """Whether a database is the one of a link, or one that a restore made or keeps beside it."""
    return name == database or name.startswith((f"{database}__new", f"{database}__old"))


def read(session: Session, accesses: Sequence[Access]) -> Catalog:
    """Read what there is of some links' roles and databases."""
    names = {name for access in accesses for name in (access.user, second_login(access.user))}
    values = {"roles": sorted(names), "databases": sorted({access.database for access in accesses})}
    databases = {
        name: Database(owner, bool(public), frozenset(guests))
        for name, owner, public, guests in session.rows(_DATABASES, values)
    }
    roles: dict[str, Role] = {}
    for name, may_login, *flags in session.rows(_ROLES, values):
        attributes = tuple(words for words, flag in zip(_ATTRIBUTES, flags, strict=True) if flag)
        roles[name] = Role(bool(may_login), attributes)
    readable = bool(session.rows(_MAY_READ_VERIFIERS)[0][0])
    if readable:
        for name, verifier in session.rows(_VERIFIERS, values):
            roles[name].verifier = verifier or ""
    for member, group in session.rows(_MEMBERSHIPS, values):
        roles[member].memberships.add(group)
    for name, database in session.rows(_ELSEWHERE, values):
        if database is not None:
            roles[name].databases.add(database)
    return Catalog(databases, roles, readable)


def row_counts(session: Session) -> dict[str, int]:
    """Return the rows of each table of the session's database, and the number of its large objects if it has any.

    All are of one moment in a transaction of the isolation level REPEATABLE READ.
    """
    tables = session.rows(_TABLES)
    found = {
        f"{schema}.{table}": session.count("SELECT count(*) FROM ONLY {}", (schema, table)) for schema, table in tables
    }
    large = int(session.rows(_LARGE_OBJECTS)[0][0])
    return {**found, "pg_catalog.pg_largeobject": large} if large else found
