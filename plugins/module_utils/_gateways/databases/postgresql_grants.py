# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Rights inside a database of PostgreSQL: what is there for a role, and how it comes to exactly what it shall have.

All of it goes by the database's owner: its schemas and tables, those it makes later included. What others own in there
is theirs to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import Session
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Privileges

_TABLE_RIGHTS: Mapping[Privileges, tuple[str, ...]] = {
    "readwrite": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "readonly": ("SELECT",),
}
_SEQUENCE_RIGHTS: Mapping[Privileges, tuple[str, ...]] = {
    "readwrite": ("SELECT", "UPDATE", "USAGE"),
    "readonly": ("SELECT",),
}
_DATABASE_RIGHTS: Mapping[Privileges, str] = {"readwrite": "CONNECT, TEMPORARY", "readonly": "CONNECT"}
PUBLIC_IS_CLOSED = 150000  # since PostgreSQL 15 only a database's owner may create in the schema public

_OWNER = "(SELECT datdba FROM pg_database WHERE datname = current_database())"
_SCHEMAS = f"""
    SELECT nspname FROM pg_namespace
    WHERE nspname = 'public' OR (nspowner = {_OWNER} AND nspname !~ '^pg_' AND nspname <> 'information_schema')
    ORDER BY 1
"""  # noqa: S608 - a constant
_RELATIONS = f"""
    SELECT n.nspname, c.relname, c.relkind = 'S' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relowner = {_OWNER}
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2
"""  # noqa: S608 - a constant
# Which rights a role has on all of the owner's tables, and which on any.
_HELD = f"""
    SELECT p, bool_and(has_table_privilege(%(role)s, c.oid, p)), bool_or(has_table_privilege(%(role)s, c.oid, p))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relowner = {_OWNER}
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    GROUP BY p
"""  # noqa: S608 - a constant
_FUTURE = f"""
    SELECT acl.privilege_type FROM pg_default_acl CROSS JOIN aclexplode(defaclacl) AS acl
    WHERE defaclrole = {_OWNER} AND defaclnamespace = 0 AND defaclobjtype = 'r'
        AND pg_get_userbyid(acl.grantee) = %(role)s
"""  # noqa: S608 - a constant
_CREATES_IN_PUBLIC = "SELECT has_schema_privilege(%(role)s, 'public', 'CREATE')"
_HAS_PUBLIC = "SELECT 1 FROM pg_namespace WHERE nspname = 'public'"
_OWNER_NAME = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"


def held(session: Session, user: str) -> Privileges | None:
    """Return which of a reader's and a writer's rights a role has in a database, None for others."""
    future = {row[0] for row in session.rows(_FUTURE, {"role": user})}
    now = {row[0]: (row[1], row[2]) for row in session.rows(_HELD, {"role": user})}
    for privileges, rights in _TABLE_RIGHTS.items():
        exact = all(everywhere if right in rights else not anywhere for right, (everywhere, anywhere) in now.items())
        if future == set(rights) and exact:
            return privileges
    return None


def may_create(session: Session, user: str) -> bool:
    """Whether a role may create tables in the schema public; true where a database has none."""
    return not session.rows(_HAS_PUBLIC) or bool(session.rows(_CREATES_IN_PUBLIC, {"role": user})[0][0])


def let_owner_create(session: Session, user: str) -> None:
    """Let the owner of a database, and before PostgreSQL 15 nobody else, create tables in the schema public."""
    if not session.rows(_HAS_PUBLIC):
        return
    with session.transaction():
        if session.version < PUBLIC_IS_CLOSED:
            session.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        session.run("GRANT USAGE, CREATE ON SCHEMA public TO {}", user)


def give(session: Session, access: Access) -> None:
    """Give a role a reader's or a writer's rights in a database and no others, in one transaction: without a gap."""
    user, privileges = access.user, access.privileges
    owner = session.rows(_OWNER_NAME)[0][0]
    relations = session.rows(_RELATIONS)
    tables = [(schema, name) for schema, name, is_sequence in relations if not is_sequence]
    sequences = [(schema, name) for schema, name, is_sequence in relations if is_sequence]
    schemas = [name for (name,) in session.rows(_SCHEMAS)]
    with session.transaction():
        session.run("REVOKE ALL ON DATABASE {} FROM {}", access.database, user)
        session.run(f"GRANT {_DATABASE_RIGHTS[privileges]} ON DATABASE {{}} TO {{}}", access.database, user)
        _replace(session, "SCHEMA", schemas, "USAGE", user)
        _replace(session, "TABLE", tables, ", ".join(_TABLE_RIGHTS[privileges]), user)
        _replace(session, "SEQUENCE", sequences, ", ".join(_SEQUENCE_RIGHTS[privileges]), user)
        for kind, rights in (
            ("TABLES", _TABLE_RIGHTS[privileges]),
            ("SEQUENCES", _SEQUENCE_RIGHTS[privileges]),
            ("SCHEMAS", ("USAGE",)),
        ):
            session.run(f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} REVOKE ALL ON {kind} FROM {{}}", owner, user)
            words = ", ".join(rights)
            session.run(f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} GRANT {words} ON {kind} TO {{}}", owner, user)


def _replace(session: Session, kind: str, things: Sequence[object], rights: str, user: str) -> None:
    if things:
        session.run(f"REVOKE ALL ON {kind} {{}} FROM {{}}", list(things), user)
        session.run(f"GRANT {rights} ON {kind} {{}} TO {{}}", list(things), user)
