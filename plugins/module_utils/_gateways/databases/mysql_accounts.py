# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a MariaDB or MySQL server has of accounts and databases, read for many links with one set of queries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan.database import (
    MYSQL_ALL,
    mysql_pattern,
    mysql_privileges,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, DatabaseState, Login

Query = Callable[..., list[tuple[Any, ...]]]

_GRANTEE = re.compile(r"'(?P<user>.*)'@'(?P<host>[^']*)'", re.DOTALL)
# What every account has.
_NOTHING = frozenset({"USAGE"})
_PASSWORD_PLUGINS = frozenset({"", "mysql_native_password", "caching_sha2_password", "sha256_password"})

_MARIADB_ACCOUNTS = "SELECT User, Host, Priv FROM mysql.global_priv WHERE User IN %s"
_MYSQL_ACCOUNTS = "SELECT User, Host, plugin, authentication_string, User_attributes FROM mysql.user WHERE User IN %s"
_PRIVILEGES = (
    "SELECT GRANTEE, NULL, PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES UNION ALL"
    " SELECT GRANTEE, TABLE_SCHEMA, PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.SCHEMA_PRIVILEGES"
)
_MARIADB_ROLES = "SELECT User, Role FROM mysql.roles_mapping WHERE User IN %s"
_MYSQL_ROLES = "SELECT TO_USER, FROM_USER FROM mysql.role_edges WHERE TO_USER IN %s"
_PARTS = (
    "SELECT User, Db, Table_name FROM mysql.tables_priv WHERE User IN %s UNION"
    " SELECT User, Db, Table_name FROM mysql.columns_priv WHERE User IN %s UNION"
    " SELECT User, Db, Routine_name FROM mysql.procs_priv WHERE User IN %s"
)


@dataclass
class User:
    """All accounts of one name. Keys are hosts; privileges are by the database as the grant tables write it."""

    name: str
    verifiers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
    global_privileges: dict[str, set[str]] = field(default_factory=dict)
    database_privileges: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    other: set[str] = field(default_factory=set)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted(self.verifiers))

    def privileges(self, host: str, database: str) -> set[str]:
        """Those on a database, from a grant on its name with or without escapes."""
        places = {database, mysql_pattern(database)}
        return {name for place in places for name in self.database_privileges.get((host, place), set())}

    def has_unescaped(self, host: str, database: str) -> bool:
        """Whether there is a grant on the name as it is, in which `_` stands for any character."""
        return mysql_pattern(database) != database and (host, database) in self.database_privileges

    def method(self, *, is_mariadb: bool) -> tuple[str, list[str]]:
        """How a further account of this user has to identify itself, as SQL and its values."""
        host = self.hosts[0] if self.hosts else ""
        verifiers = self.verifiers.get(host, ())
        if not verifiers:
            return "", []
        if is_mariadb:
            return "IDENTIFIED VIA " + " OR ".join("mysql_native_password USING %s" for _one in verifiers), list(
                verifiers
            )
        return f"IDENTIFIED WITH {_word(self.plugins[host])} AS %s", [verifiers[0]]


@dataclass(frozen=True)
class Found:
    """What was read of a server."""

    databases: frozenset[str]
    users: Mapping[str, User]
    owners: Mapping[str, frozenset[str]]  # database -> users that may do everything in it
    escapes: bool

    def state(self, access: Access) -> DatabaseState:
        user = self.users.get(access.user, User(access.user))
        privileges = {mysql_privileges(user.privileges(host, access.database)) for host in user.hosts}
        return DatabaseState(
            database_exists=access.database in self.databases,
            user_exists=bool(user.hosts),
            logins=(_login(user),) if user.hosts else (),
            hosts=user.hosts,
            privileges=privileges.pop() if len(privileges) == 1 else None,
            some_privileges=any(user.privileges(host, access.database) for host in user.hosts),
            elsewhere=tuple(sorted(_elsewhere(user, access.database))),
            others=tuple(sorted(self.owners.get(access.database, frozenset()) - {access.user})),
            problems=tuple(self._problems(user, access)),
        )

    def _problems(self, user: User, access: Access) -> Iterable[str]:
        if user.hosts and set(user.hosts) != set(access.hosts):
            yield f"{user.name} may log in from {', '.join(user.hosts)}, not from {', '.join(access.hosts)}"
        if self.escapes and any(user.has_unescaped(host, access.database) for host in user.hosts):
            yield f"the grant on {access.database} covers similar names, too: its `_` stands for any character"


def read(query: Query, accesses: Sequence[Access], *, is_mariadb: bool, escapes: bool) -> Found:
    """Read what there is of some links' users and databases."""
    names = sorted({access.user for access in accesses})
    databases = sorted({access.database for access in accesses})
    if not names:
        return Found(frozenset(), {}, {}, escapes)
    users = {name: User(name) for name in names}
    _read_accounts(query, users, is_mariadb=is_mariadb)
    _read_privileges(query, users)
    _read_the_rest(query, users, is_mariadb=is_mariadb)
    present = query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN %s", databases)
    return Found(frozenset(row[0] for row in present), _existing(users), _owners(query, databases), escapes)


def _existing(users: Mapping[str, User]) -> dict[str, User]:
    return {name: user for name, user in users.items() if user.hosts}


def _read_accounts(query: Query, users: Mapping[str, User], *, is_mariadb: bool) -> None:
    if is_mariadb:
        rows = query(_MARIADB_ACCOUNTS, list(users))
        for name, host, text in rows:
            methods = _methods(json.loads(text))
            users[name].verifiers[host] = tuple(method for _plugin, method in methods if method)
            users[name].plugins[host] = methods[0][0]
            _note_foreign_plugins(users[name], (plugin for plugin, _method in methods))
        return
    for name, host, plugin, verifier, attributes in query(_MYSQL_ACCOUNTS, list(users)):
        second = json.loads(attributes or "{}").get("additional_password")
        users[name].verifiers[host] = tuple(_text(one) for one in (verifier, second) if one)
        users[name].plugins[host] = str(plugin)
        _note_foreign_plugins(users[name], [str(plugin)])


def _methods(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Plugin and verifier of each authentication method of a row of MariaDB's mysql.global_priv (MDEV-11340)."""
    own = {key: document.get(key, "") for key in ("plugin", "authentication_string")}
    methods = [one or own for one in document.get("auth_or", [own])]
    return [(one.get("plugin", ""), one.get("authentication_string", "")) for one in methods]


def _note_foreign_plugins(user: User, plugins: Iterable[str]) -> None:
    user.other |= {f"login by {plugin}" for plugin in plugins if plugin not in _PASSWORD_PLUGINS}


def _read_privileges(query: Query, users: Mapping[str, User]) -> None:
    for grantee, place, privilege, grantable in query(_PRIVILEGES):
        match = _GRANTEE.fullmatch(grantee)
        user = users.get(match["user"]) if match else None
        if match is None or user is None:
            continue
        granted = {privilege, *(["GRANT OPTION"] if grantable == "YES" else [])}
        if place is None:
            user.global_privileges.setdefault(match["host"], set()).update(granted - _NOTHING)
        else:
            user.database_privileges.setdefault((match["host"], place), set()).update(granted)


def _read_the_rest(query: Query, users: Mapping[str, User], *, is_mariadb: bool) -> None:
    """Tables, columns, routines and roles: none of what we make has any, so their names are all that is needed."""
    for name, role in query(_MARIADB_ROLES if is_mariadb else _MYSQL_ROLES, list(users)):
        users[name].other.add(f"the role {_text(role)}")
    for name, database, thing in query(_PARTS, *[list(users)] * 3):
        users[name].other.add(f"{_text(database)}.{_text(thing)}")


def _owners(query: Query, databases: Sequence[str]) -> dict[str, frozenset[str]]:
    patterns = {place: database for database in databases for place in (database, mysql_pattern(database))}
    rows = query(
        "SELECT GRANTEE, TABLE_SCHEMA, COUNT(*) FROM information_schema.SCHEMA_PRIVILEGES"
        " WHERE TABLE_SCHEMA IN %s GROUP BY GRANTEE, TABLE_SCHEMA",
        sorted(patterns),
    )
    owners: dict[str, set[str]] = {}
    for grantee, place, count in rows:
        match = _GRANTEE.fullmatch(grantee)
        if match and count >= len(MYSQL_ALL):
            owners.setdefault(patterns[place], set()).add(match["user"])
    return {database: frozenset(users) for database, users in owners.items()}


def _elsewhere(user: User, database: str) -> Iterable[str]:
    yield from user.other
    for host, privileges in user.global_privileges.items():
        if privileges:
            yield f"{', '.join(sorted(privileges))} on every database from {host}"
    for (_host, place), privileges in user.database_privileges.items():
        if place not in (database, mysql_pattern(database)):
            yield f"{', '.join(sorted(privileges))} on {place}"


def _login(user: User) -> Login:
    """Verifiers that are good from everywhere: what is valid from one host alone is none for an app."""
    sets = list(user.verifiers.values())
    common = tuple(one for one in sets[0] if all(one in others for others in sets))
    # caching_sha2_password salts, so that one password looks different in each account.
    return Login(user.name, max(map(len, sets)), common or tuple(one for others in sets for one in others))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "", name)
