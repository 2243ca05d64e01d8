# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Which rights make an owner, a writer and a reader on each engine, and how to tell them from what a server shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._values.database import PRIVILEGES, Privileges

# --- MySQL and MariaDB ------------------------------------------------------------------------------------------------

_MYSQL_WRITER = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "SHOW VIEW", "LOCK TABLES"})
# What ALL means for a database in every version that is supported. MariaDB has more (DELETE HISTORY, ...).
MYSQL_ALL = _MYSQL_WRITER | frozenset(
    {"CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "CREATE TEMPORARY TABLES", "CREATE VIEW", "CREATE ROUTINE"}
    | {"ALTER ROUTINE", "EVENT", "TRIGGER"}
)
MYSQL_PRIVILEGES: Mapping[Privileges, frozenset[str]] = {
    "owner": MYSQL_ALL,
    "readwrite": _MYSQL_WRITER | {"CREATE TEMPORARY TABLES"},
    "readonly": frozenset({"SELECT", "SHOW VIEW"}),
}


def mysql_privileges(granted: Iterable[str]) -> Privileges | None:
    """Return which of ours a set of a database's privileges is, None for another set."""
    found = frozenset(granted)
    if found >= MYSQL_ALL and "GRANT OPTION" not in found:
        return "owner"
    return next((name for name, wanted in MYSQL_PRIVILEGES.items() if wanted == found), None)


def mysql_identifier(name: str) -> str:
    """Return a name between backticks (MySQL 8.4 manual, 11.2)."""
    return "`" + name.replace("`", "``") + "`"


def mysql_pattern(name: str) -> str:
    r"""Return a database's name for GRANT, where `_` and `%` are wildcards: `my_blog` gives `my\_blog`.

    Without this, the owner of `my_blog` would own `my-blog` and `myxblog` as well (MySQL 8.4 manual, 15.7.1.6).
    """
    return re.sub(r"([\\_%])", r"\\\1", name)


# --- Redis and Valkey -------------------------------------------------------------------------------------------------

# What is kept from every app: administration, and all that looks at or stops other apps' keys and connections. INFO is
# one of them that libraries ask for when they connect; it tells numbers only.
_REDIS_COMMON = ("-@admin", "-@dangerous", "+info")
# Functions are shared by all users, so one app could replace another's code. The command is there since Redis 7.
_REDIS_FUNCTIONS = ("-function", "-script|flush", "-script|kill")
_REDIS_READER = ("-@all", "+@read", "+@connection", "+@transaction")


def redis_commands(privileges: Privileges, version: Sequence[int]) -> tuple[str, ...]:
    """Return the command rules of an ACL user.

    A reader reads and subscribes; a writer does everything to keys; an owner runs scripts and loads dumps, too.

    :param version: the server's, which decides what rules it knows.
    """
    modern = tuple(version) >= (7, 0)
    if privileges == "readonly":
        return (*_REDIS_READER, "+subscribe", "+psubscribe", "+unsubscribe", "+punsubscribe", *_REDIS_COMMON)
    rules = ("+@all", *_REDIS_COMMON, *(_REDIS_FUNCTIONS if modern else ()))
    return (*rules, "+restore") if privileges == "owner" else (*rules, "-@scripting")


def redis_patterns(privileges: Privileges, prefix: str, version: Sequence[int]) -> tuple[str, ...]:
    """Return the key and channel rules of an ACL user.

    Channels are part of ACLs since Redis 6.2, and key patterns that only read since 7.0.
    """
    pattern = f"{prefix}:*"
    keys = f"%R~{pattern}" if privileges == "readonly" and tuple(version) >= (7, 0) else f"~{pattern}"
    return (keys, f"&{pattern}") if tuple(version) >= (6, 2) else (keys,)


@dataclass(frozen=True)
class RedisUser:
    """A line of ACL LIST."""

    name: str
    enabled: bool
    no_password: bool
    hashes: tuple[str, ...]
    patterns: tuple[str, ...]
    commands: tuple[str, ...]
    selectors: tuple[str, ...]


def redis_user(line: str) -> RedisUser:
    """Return what a line of ACL LIST says (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl).

    Selectors, in round brackets, are kept as they are: users of ours have none.
    """
    selectors = tuple(re.findall(r"\([^)]*\)", line))
    words = re.sub(r"\([^)]*\)", " ", line).split()
    name, rules = words[1], words[2:]
    aliases = {"allkeys": "~*", "allchannels": "&*", "allcommands": "+@all", "nocommands": "-@all"}
    rules = [aliases.get(rule, rule) for rule in rules]
    return RedisUser(
        name,
        "on" in rules,
        "nopass" in rules,
        tuple(rule[1:] for rule in rules if rule.startswith("#")),
        tuple(rule for rule in rules if rule[0] in "~%&"),
        tuple(rule for rule in rules if rule[0] in "+-"),
        selectors,
    )


def redis_allowed(rules: Iterable[str], categories: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return which commands a list of rules allows; servers show rules in words of their own, so these are compared.

    :param categories: what ACL CAT says: category -> its commands, a subcommand as `client|kill`.
    """
    every = frozenset().union(*categories.values())
    allowed: set[str] = set()
    for rule in rules:
        sign, name = rule[0], rule[1:]
        if name == "@all":
            commands = every
        elif name.startswith("@"):
            commands = categories.get(name[1:], frozenset())
        else:
            commands = frozenset({name}) | {command for command in every if command.startswith(f"{name}|")}
        allowed = allowed | commands if sign == "+" else allowed - commands
    return frozenset(allowed)


def redis_privileges(
    user: RedisUser, prefix: str, version: Sequence[int], categories: Mapping[str, frozenset[str]]
) -> Privileges | None:
    """Return which of ours the rules of a user are, None for other rules."""
    if user.selectors:
        return None
    allowed = redis_allowed(user.commands, categories)
    for name in PRIVILEGES:
        same_keys = set(user.patterns) == set(redis_patterns(name, prefix, version))
        if same_keys and allowed == redis_allowed(redis_commands(name, version), categories):
            return name
    return None


# --- MongoDB ----------------------------------------------------------------------------------------------------------

# Not dbOwner: it may give itself and others any role of the database, and `restore` and `backup` by way of that.
MONGODB_ROLES: Mapping[Privileges, frozenset[str]] = {
    "owner": frozenset({"readWrite", "dbAdmin"}),
    "readwrite": frozenset({"readWrite"}),
    "readonly": frozenset({"read"}),
}


def mongodb_privileges(roles: Iterable[str]) -> Privileges | None:
    """Return which of ours a set of roles in one database is, None for another set."""
    found = frozenset(roles)
    return next((name for name, wanted in MONGODB_ROLES.items() if wanted == found), None)
