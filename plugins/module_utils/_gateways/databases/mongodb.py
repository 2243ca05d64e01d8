# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""MongoDB, by PyMongo.

A user of an app is made in the app's database (`authSource`). It has one password, so a rotation changes between two
users with the same roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import (
    DatabaseEngine,
    missing_library,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import MONGODB_ROLES, mongodb_privileges
from ansible_collections.serverkit.core.plugins.module_utils._plan.database_passwords import matches_scram
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    Endpoint,
    Login,
    bracketed,
    second_login,
)

_ADMIN = "admin"
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = 18
_USER_NOT_FOUND = 11
_SCRAM = "SCRAM-SHA-256"


class Mongodb(DatabaseEngine):
    """One MongoDB server, or replica set, of version 4.2 or newer."""

    def __init__(self, endpoint: Endpoint, admin: Credentials | None) -> None:
        super().__init__(endpoint, admin)
        self._client: Any = None
        self._version = ""

    # --- connection ---

    def connect(self) -> None:
        if self._client is not None:
            return
        self._client = self._connected(self.admin, _ADMIN)
        self._version = str(self._command(_ADMIN, "read", {"buildInfo": 1}).get("version", ""))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def login(self, credentials: Credentials, database: str) -> None:
        client = self._connected(credentials, database)
        client.close()

    def _connected(self, credentials: Credentials | None, database: str) -> Any:
        pymongo = _pymongo()
        user = credentials.user if credentials else ""
        secret = credentials.password if credentials else None
        milliseconds = self.endpoint.timeout * 1000
        account = {"username": user, "password": secret, "authSource": database} if credentials else {}
        client = None
        try:
            client = pymongo.MongoClient(
                self._address(),
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                **account,
                **self._tls(),
            )
            # A client connects when it is first used, and `ping` needs no login: this is what a user of any kind may.
            client[database].command({"connectionStatus": 1})
        except (pymongo.errors.PyMongoError, OSError, ValueError) as error:
            # ValueError: a password that RFC 4013 has no form for.
            if client is not None:
                client.close()
            raise self._explained(error, f"log in to {self.where}{f' as {user}' if user else ''}", secret) from None
        return client

    def _address(self) -> str:
        socket = self.endpoint.socket
        place = quote(socket, safe="") if socket else f"{bracketed(self.endpoint.host)}:{self.endpoint.port}"
        return f"mongodb://{place}/"

    def _tls(self) -> dict[str, Any]:
        tls = self.endpoint.tls
        if tls is None:
            return {}
        options = {
            "tls": True,
            "tlsCAFile": tls.ca,
            # One file with both, as MongoDB's own programs want it; a key in a file of its own is left out.
            "tlsCertificateKeyFile": tls.certificate,
            "tlsAllowInvalidCertificates": tls.mode == "require",
            "tlsAllowInvalidHostnames": tls.mode in ("require", "verify-ca"),
        }
        return {name: value for name, value in options.items() if value}

    # --- reading ---

    def version(self) -> str:
        return f"MongoDB {self._version}"

    def read(self, accesses: Sequence[Access]) -> list[DatabaseState]:
        wanted = [
            {"user": name, "db": access.database}
            for access in accesses
            for name in (access.user, second_login(access.user))
        ]
        if not wanted:
            return []
        answer = self._command(_ADMIN, "read", {"usersInfo": wanted, "showCredentials": True})
        users = {(user["db"], user["user"]): user for user in answer.get("users", [])}
        everybody = self._command(_ADMIN, "read", {"usersInfo": {"forAllDBs": True}}).get("users", [])
        return [self._state(access, users, everybody) for access in accesses]

    def _state(
        self, access: Access, users: Mapping[tuple[str, str], Mapping[str, Any]], everybody: Iterable[Mapping[str, Any]]
    ) -> DatabaseState:
        names = (access.user, second_login(access.user))
        ours = [users[access.database, name] for name in names if (access.database, name) in users]
        roles = [{role["role"] for role in user["roles"] if role["db"] == access.database} for user in ours]
        kinds = {mongodb_privileges(one) for one in roles}
        owners = {
            f"{user['user']} of {user['db']}" if user["db"] != access.database else str(user["user"])
            for user in everybody
            if any(role["db"] == access.database and role["role"] in _OWNING for role in user["roles"])
        }
        return DatabaseState(
            database_exists=True,
            user_exists=bool(ours),
            logins=tuple(Login(str(user["user"]), 1, _verifiers(user)) for user in ours),
            privileges=kinds.pop() if len(kinds) == 1 else None,
            some_privileges=any(roles),
            elsewhere=tuple(sorted({one for user in ours for one in _elsewhere(user, access.database)})),
            others=tuple(sorted(owners - set(names))),
        )

    def matches(self, login: Login, password: str) -> bool | None:
        if not login.verifiers:
            return None
        iterations, salt, stored = login.verifiers
        return matches_scram(password, salt, int(iterations), stored)

    def row_counts(self, database: str) -> dict[str, int]:
        pymongo = _pymongo()
        try:
            names = sorted(self._client[database].list_collection_names(filter={"type": "collection"}))
            return {
                name: int(self._client[database][name].count_documents({}))
                for name in names
                if not name.startswith("system.")
            }
        except (pymongo.errors.PyMongoError, OSError) as error:
            raise self._explained(error, f"read {self.where}") from None

    # --- writing ---

    def create_database(self, access: Access) -> None:
        """MongoDB makes a database when something is first written into it."""

    def create_user(self, access: Access, password: str) -> None:
        self.set_password(access, access.user, password)

    def grant(self, access: Access) -> None:
        roles = self._roles(access)
        for login in self.read([access])[0].logins:
            self._command(access.database, "change", {"updateUser": login.name, "roles": roles})

    def set_password(self, access: Access, login: str, password: str) -> None:
        self._let_in(access, login, password)
        self._drop(access, second_login(login))

    def begin_rotation(self, access: Access, login: str, current: str, new: str) -> str:
        known = self.read([access])[0].login(login)
        if known is None or self.matches(known, current) is False:
            raise self.not_valid(login)
        other = second_login(login)
        self._let_in(access, other, new)
        return other

    def drop_user(self, access: Access) -> None:
        """MongoDB ends the sessions of a user that is dropped, at their next command."""
        for name in (access.user, second_login(access.user)):
            self._drop(access, name)

    def drop_database(self, access: Access) -> None:
        self._command(access.database, "change", {"dropDatabase": 1})

    # --- parts of the above ---

    def _roles(self, access: Access) -> list[dict[str, str]]:
        return [{"role": role, "db": access.database} for role in sorted(MONGODB_ROLES[access.privileges])]

    def _let_in(self, access: Access, login: str, password: str) -> None:
        # A user that is there is changed as a whole, since its roles may be those of another time.
        exists = self.read([access])[0].login(login) is not None
        verb = "updateUser" if exists else "createUser"
        command = {verb: login, "pwd": password, "roles": self._roles(access)}
        self._command(access.database, "change", command, secret=password)

    def _drop(self, access: Access, login: str) -> None:
        self._command(access.database, "change", {"dropUser": login}, tolerated=_USER_NOT_FOUND)

    def _command(
        self, database: str, verb: str, command: Mapping[str, Any], secret: str = "", tolerated: int = 0
    ) -> Mapping[str, Any]:
        pymongo = _pymongo()
        try:
            answer: Mapping[str, Any] = self._client[database].command(dict(command))
        except (pymongo.errors.PyMongoError, OSError) as error:
            if tolerated and getattr(error, "code", None) == tolerated:
                return {}
            raise self._explained(error, f"{verb} {self.where}", secret) from None
        return answer

    def _explained(self, error: Exception, attempted: str, secret: str | None = None) -> HostError:
        pymongo = _pymongo()
        code = getattr(error, "code", None)
        # The full text has the server's whole answer behind the message.
        text = self.redacted(" ".join(str(error).partition(", full error:")[0].split()), secret or "")
        if code == _AUTHENTICATION_FAILED:
            return HostError(attempted, text, "Check the user, its password and its database (authSource)")
        if code == _UNAUTHORIZED:
            return HostError(
                attempted, text, "Use an administrator with the roles userAdminAnyDatabase and dbAdminAnyDatabase"
            )
        if isinstance(error, (pymongo.errors.ConnectionFailure, OSError)):
            return HostError(attempted, text, "Check that the server runs, and that host, port or socket are right")
        return HostError(attempted, text)


# A writer of somebody else's database has readWrite alone.
_OWNING = frozenset({"dbOwner", "dbAdmin"})


def _elsewhere(user: Mapping[str, Any], database: str) -> Iterable[str]:
    for role in user["roles"]:
        if role["db"] != database:
            yield f"{role['role']} on {role['db']}"


def _verifiers(user: Mapping[str, Any]) -> tuple[str, ...]:
    known = user.get("credentials", {}).get(_SCRAM)
    return (str(known["iterationCount"]), known["salt"], known["storedKey"]) if known else ()


def _pymongo() -> Any:
    try:
        import pymongo
        import pymongo.errors
    except ImportError as error:
        raise missing_library("pymongo", "python3-pymongo", "MongoDB") from error
    return pymongo
