# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Database engines without a server; real ones are driven in tests/integration."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases import mysql_accounts
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import tls_context
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.engines import connected, open_engine
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import MYSQL_ALL
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    ENGINES,
    Access,
    Credentials,
    DatabaseTls,
    Endpoint,
    Engine,
)

LIBRARIES = {
    "mysql": ("pymysql", "python3-pymysql"),
    "mariadb": ("pymysql", "python3-pymysql"),
    "postgresql": ("psycopg2", "python3-psycopg2"),
    "redis": ("redis", "python3-redis"),
    "mongodb": ("pymongo", "python3-pymongo"),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_library_is_named_with_its_package(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    library, package = LIBRARIES[engine]
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **more: Any) -> Any:
        # Ours have such names, too, in a package of ours.
        if name.split(".", maxsplit=1)[0] == library:
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(HostError, match=package), connected(Endpoint(engine), Credentials("root", "the-secret")):
        pass
    with pytest.raises(HostError, match=f"the Python library {library} is not installed"):
        open_engine(Endpoint(engine)).login(Credentials("blog", "the-secret"), "blog")


def test_files_for_tls_that_are_none_are_named(tmp_path: Any) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("not a certificate")
    for path in (str(broken), str(tmp_path / "missing.pem")):
        with pytest.raises(HostError, match="for TLS to a database") as caught:
            tls_context(DatabaseTls(ca=path))
        assert path in str(caught.value)


class Tables:
    """What MySQL's own tables would answer."""

    def __init__(self, **answers: Sequence[tuple[Any, ...]]) -> None:
        self.answers = answers

    def __call__(self, sql: str, *_values: object) -> list[tuple[Any, ...]]:
        # The one whose name comes first, since the owners of databases are asked of a part of the same table.
        names = {"GROUP BY": "owners", "global_priv": "accounts", "mysql.user": "accounts", "UNION ALL": "privileges"}
        names |= {"roles_mapping": "roles", "role_edges": "roles", "tables_priv": "parts", "SCHEMATA": "databases"}
        name = next(name for words, name in names.items() if words in sql)
        return list(self.answers.get(name, ()))


def privileges(user: str, pattern: str, names: frozenset[str] = MYSQL_ALL) -> list[tuple[Any, ...]]:
    return [(f"'{user}'@'%'", pattern, name, "NO") for name in names]


OURS = Access("mariadb", "my_blog", "blog")


def test_mariadbs_json_tells_how_many_passwords_there_are() -> None:
    native = {"plugin": "mysql_native_password", "authentication_string": "*1"}
    both = {**native, "auth_or": [{}, {"plugin": "mysql_native_password", "authentication_string": "*2"}]}
    for document, verifiers in ((native, ("*1",)), (both, ("*1", "*2"))):
        tables = Tables(accounts=[("blog", "%", json.dumps(document))], privileges=privileges("blog", r"my\_blog"))
        state = mysql_accounts.read(tables, [OURS], is_mariadb=True, escapes=True).state(OURS)
        assert state.logins[0].verifiers == verifiers
        assert state.rotating == (len(verifiers) > 1)
        assert state.privileges == "owner"


def test_mysqls_second_password_is_seen() -> None:
    attributes = json.dumps({"additional_password": "$A$005$two"})
    account = ("blog", "%", "caching_sha2_password", b"$A$005$one", attributes)
    state = mysql_accounts.read(Tables(accounts=[account]), [OURS], is_mariadb=False, escapes=True).state(OURS)
    assert state.logins[0].verifiers == ("$A$005$one", "$A$005$two")
    assert state.rotating
    assert state.privileges is None


def test_accounts_of_one_user_with_different_rights_have_none_of_ours() -> None:
    native = json.dumps({"plugin": "mysql_native_password", "authentication_string": "*1"})
    accounts = [("blog", "%", native), ("blog", "localhost", native)]
    tables = Tables(accounts=accounts, privileges=privileges("blog", r"my\_blog"))
    state = mysql_accounts.read(tables, [OURS], is_mariadb=True, escapes=True).state(OURS)
    assert state.privileges is None
    assert state.some_privileges
    assert state.problems == ("blog may log in from %, localhost, not from %",)


def test_somebody_elses_database_is_told() -> None:
    tables = Tables(owners=[("'shop'@'%'", r"my\_blog", len(MYSQL_ALL)), ("'guest'@'%'", "my_blog", 2)])
    state = mysql_accounts.read(tables, [OURS], is_mariadb=True, escapes=True).state(OURS)
    assert state.others == ("shop",)
    assert not state.user_exists


def test_nothing_is_asked_for_no_links() -> None:
    assert mysql_accounts.read(Tables(), [], is_mariadb=True, escapes=True).databases == frozenset()
