# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rights on the engines, and what servers say of them."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import database
from ansible_collections.serverkit.core.plugins.module_utils._values.database import PRIVILEGES, Privileges

CATEGORIES = {
    "read": frozenset({"get", "exists", "scan", "keys"}),
    "write": frozenset({"set", "flushall"}),
    "dangerous": frozenset({"keys", "flushall", "info", "client|kill", "client|list", "acl|list"}),
    "admin": frozenset({"acl|list", "client|kill"}),
    "connection": frozenset({"ping", "client|id", "client|kill", "client|list"}),
    "transaction": frozenset({"multi"}),
    "pubsub": frozenset({"subscribe", "psubscribe", "unsubscribe", "punsubscribe", "publish"}),
    "scripting": frozenset({"eval", "function|load", "script|load", "script|flush", "script|kill"}),
}


@pytest.mark.parametrize("name", PRIVILEGES)
def test_mysql_privileges_are_told_apart(name: Privileges) -> None:
    assert database.mysql_privileges(database.MYSQL_PRIVILEGES[name]) == name


def test_mysql_owners_of_newer_versions_have_more() -> None:
    assert database.mysql_privileges(database.MYSQL_ALL | {"DELETE HISTORY"}) == "owner"
    assert database.mysql_privileges(database.MYSQL_ALL | {"GRANT OPTION"}) is None
    assert database.mysql_privileges({"SELECT"}) is None
    assert database.mysql_privileges(()) is None


def test_mysql_names_are_quoted_and_their_wildcards_escaped() -> None:
    assert database.mysql_identifier("a`b") == "`a``b`"
    assert database.mysql_pattern("my_blog%") == r"my\_blog\%"
    assert database.mysql_pattern("blog") == "blog"


@pytest.mark.parametrize("version", [(6, 0, 16), (6, 2, 0), (7, 0, 15), (8, 0, 2)])
@pytest.mark.parametrize("name", PRIVILEGES)
def test_redis_privileges_are_told_apart(name: Privileges, version: tuple[int, ...]) -> None:
    rules = (*database.redis_patterns(name, "blog", version), *database.redis_commands(name, version))
    user = database.redis_user(f"user blog on #{'0' * 64} {' '.join(rules)}")
    assert database.redis_privileges(user, "blog", version, CATEGORIES) == name
    assert database.redis_privileges(user, "other", version, CATEGORIES) is None


def test_redis_rules_in_the_servers_own_words_are_the_same() -> None:
    shown = "+@all -@admin -flushall -keys -client|list -function|load -script|flush -script|kill +restore"
    user = database.redis_user(f"user blog on ~blog:* resetchannels &blog:* {shown}")
    assert database.redis_privileges(user, "blog", (7, 0), CATEGORIES) == "owner"
    wider = database.redis_user(f"user blog on ~blog:* resetchannels &blog:* {shown} +flushall")
    assert database.redis_privileges(wider, "blog", (7, 0), CATEGORIES) is None


def test_redis_keeps_commands_from_an_owner() -> None:
    allowed = database.redis_allowed(database.redis_commands("owner", (7, 0)), CATEGORIES)
    assert allowed >= {"get", "set", "eval", "info", "client|id", "script|load", "multi", "publish"}
    assert not allowed & {"keys", "flushall", "acl|list", "client|kill", "function|load", "script|flush"}


def test_redis_users_are_read_whole() -> None:
    line = "user api off nopass sanitize-payload #aa #bb ~x:* %R~y:* resetchannels &z:* (~s:* +get) -@all +@read"
    user = database.redis_user(line)
    assert (user.name, user.enabled, user.no_password, user.hashes) == ("api", False, True, ("aa", "bb"))
    assert user.patterns == ("~x:*", "%R~y:*", "&z:*")
    assert user.commands == ("-@all", "+@read")
    assert user.selectors == ("(~s:* +get)",)
    assert database.redis_user("user default on nopass allkeys allchannels allcommands").patterns == ("~*", "&*")


@pytest.mark.parametrize("name", PRIVILEGES)
def test_mongodb_roles_are_told_apart(name: Privileges) -> None:
    assert database.mongodb_privileges(database.MONGODB_ROLES[name]) == name
    assert database.mongodb_privileges({*database.MONGODB_ROLES[name], "userAdmin"}) is None
