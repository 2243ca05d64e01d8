# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Whom the objects and the databases of PostgreSQL belong to, when a restore makes them anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql import Postgresql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import Session
from ansible_collections.serverkit.core.plugins.module_utils._plan.postgresql_outline import Outline

# Everything that is somebody's, but for what follows another object's owner (row types, the sequences of columns), what
# an extension brought, and event triggers and wrappers, which have to be a superuser's. Schemas come first: a new owner
# has to be allowed to create in them. Objects of the server's own have smaller numbers.
_GIVE_AWAY = """
    WITH thing(class, id, place) AS (
        SELECT 'pg_namespace'::regclass::oid, oid, 1 FROM pg_namespace
        UNION ALL SELECT 'pg_class'::regclass, oid, 2 FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL SELECT 'pg_type'::regclass, oid, 2 FROM pg_type
        UNION ALL SELECT 'pg_proc'::regclass, oid, 2 FROM pg_proc
        UNION ALL SELECT 'pg_operator'::regclass, oid, 2 FROM pg_operator
        UNION ALL SELECT 'pg_opclass'::regclass, oid, 2 FROM pg_opclass
        UNION ALL SELECT 'pg_opfamily'::regclass, oid, 2 FROM pg_opfamily
        UNION ALL SELECT 'pg_collation'::regclass, oid, 2 FROM pg_collation
        UNION ALL SELECT 'pg_conversion'::regclass, oid, 2 FROM pg_conversion
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid, 2 FROM pg_ts_dict
        UNION ALL SELECT 'pg_ts_config'::regclass, oid, 2 FROM pg_ts_config
        UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 2 FROM pg_foreign_server
        UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, 2 FROM pg_statistic_ext
        UNION ALL SELECT 'pg_publication'::regclass, oid, 2 FROM pg_publication
        UNION ALL SELECT 'pg_largeobject'::regclass, oid, 2 FROM pg_largeobject_metadata
    )
    SELECT format('ALTER %%s %%s OWNER TO %%I',
        CASE WHEN found.type IN ('function', 'procedure', 'aggregate') THEN 'ROUTINE'
            WHEN found.type = 'statistics object' THEN 'STATISTICS' ELSE found.type END, found.identity, %(user)s)
    FROM thing CROSS JOIN pg_identify_object(class, id, 0) AS found
    WHERE (id >= 16384 OR class = 'pg_largeobject'::regclass) AND coalesce(found.schema, '') !~ '^pg_'
        AND NOT (class = 'pg_namespace'::regclass AND found.name ~ '^pg_')
        AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = class AND objid = id AND refobjid <> id
            AND (deptype IN ('e', 'i')
                OR (deptype = 'a' AND found.type = 'sequence' AND refclassid = 'pg_class'::regclass)))
    ORDER BY place, class, id
"""
_MISSING = "SELECT name FROM unnest(%s::text[]) AS name WHERE name NOT IN (SELECT rolname FROM pg_roles) ORDER BY 1"
_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_STRANGERS = "SELECT 1 FROM pg_roles WHERE rolname = ANY(%s::text[]) AND NOT pg_has_role(rolname, 'MEMBER') LIMIT 1"

_NAMES = "SELECT datname FROM pg_database WHERE datname = ANY(%s)"
_DATABASE = "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = %s"
_GRANTS = """
    SELECT coalesce(r.rolname, ''), acl.privilege_type, acl.is_grantable
    FROM pg_database CROSS JOIN aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
    WHERE datname = %s AND acl.grantee <> datdba ORDER BY 1, 2
"""
_SETTINGS = """
    SELECT coalesce(r.rolname, ''), split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
        CROSS JOIN unnest(s.setconfig) AS one
    WHERE datname = %s
"""
# Settings that are lists of names, which are kept as they are written (GUC_LIST_QUOTE in guc_tables.c).
_LISTS = frozenset(
    {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}
    | {"shared_preload_libraries", "unix_socket_directories"}
)


def may_be_kept(session: Session, outline: Outline) -> bool:
    """Whether we may let things belong to those whom they belonged to in a dump, once all of these roles are there."""
    if session.rows(_SUPERUSER)[0][0]:
        return True
    return not session.rows(_STRANGERS, (sorted(outline.owners),))


@contextlib.contextmanager
def roles(engine: Postgresql, session: Session, wanted: Iterable[str]) -> Iterator[None]:
    """Make the roles that are not there, without a login; those are gone again after any exception.

    Somebody's data may belong to them; the links of their apps let them log in again.
    """
    made: list[str] = []
    try:
        for (name,) in session.rows(_MISSING, (sorted(wanted),)):
            session.run("CREATE ROLE {} NOLOGIN", name)
            made.append(name)
            engine.join(name)
        yield
    except BaseException:
        for name in made:
            # The first failure is the one to tell.
            with contextlib.suppress(HostError):
                session.run("DROP ROLE {}", name)
        raise


def give_away(session: Session, user: str) -> None:
    """Let everything in a database belong to a role."""
    for (statement,) in session.rows(_GIVE_AWAY, {"user": user}):
        session.rows(statement)


def adopt(session: Session, database: str, outline: Outline) -> None:
    """Let a database belong to the same role as the one that was dumped, if it has one, and grant the same on it."""
    if outline.owner and session.rows(_DATABASE, (database,))[0][0] != outline.owner:
        session.run("ALTER DATABASE {} OWNER TO {}", database, outline.owner)
    for role, rights in outline.grants:
        session.run(f"GRANT {', '.join(rights)} ON DATABASE {{}} TO {{}}", database, role)


def take_over(session: Session, live: str, fresh: str) -> None:
    """Give a database the owner, the privileges and the settings of another."""
    owner, limit = session.rows(_DATABASE, (live,))[0]
    if session.rows(_DATABASE, (fresh,))[0][0] != owner:
        session.run("ALTER DATABASE {} OWNER TO {}", fresh, owner)
    session.run("REVOKE ALL ON DATABASE {} FROM PUBLIC", fresh)
    for role in sorted({role for role, _right, _option in session.rows(_GRANTS, (fresh,)) if role}):
        session.run("REVOKE ALL ON DATABASE {} FROM {}", fresh, role)
    for role, right, option in session.rows(_GRANTS, (live,)):
        words = f"GRANT {right} ON DATABASE {{}} TO {'{}' if role else 'PUBLIC'}"
        session.run(words + (" WITH GRANT OPTION" if option else ""), fresh, *([role] if role else []))
    session.run(f"ALTER DATABASE {{}} CONNECTION LIMIT {int(limit)}", fresh)
    for role, name, value in session.rows(_SETTINGS, (live,)):
        _set(session, fresh, role, name, value)


def _set(session: Session, database: str, role: str, name: str, value: str) -> None:
    whose, names = ("ROLE {} IN DATABASE {}", (role, database)) if role else ("DATABASE {}", (database,))
    if name in _LISTS:
        session.rows("SELECT set_config(%s, %s, true)", (name, value))
        session.run(f"ALTER {whose} SET {{}} FROM CURRENT", *names, name)
    else:
        # Of a name with a dot in it each part is one.
        session.run(f"ALTER {whose} SET {{}} TO %s", *names, tuple(name.split(".")), values=(value,))


def present(session: Session, names: Iterable[str]) -> set[str]:
    """Return which databases there are."""
    return {name for (name,) in session.rows(_NAMES, (list(names),))}
