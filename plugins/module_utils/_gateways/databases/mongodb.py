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
_NO_SUCH_COLLECTION = 26
_SCRAM = "SCRAM-SHA-256"
_ALL = 100000  # more collections than a database can bear

# The collection in which a restore notes how far it is.
MARKER = "serverkit.restore"


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
        self._client = self._connected(self.admin, (self.admin and self.admin.database) or _ADMIN)
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
            return {name: int(self._client[database][name].count_documents({})) for name in names if not _ours(name)}
        except (pymongo.errors.PyMongoError, OSError) as error:
            raise self._explained(error, f"read {self.where}") from None

    # --- for restores ---

    def address(self) -> str:
        """Return the URL by which MongoDB's programs log in as we do, with the password in it.

        The options are those of its driver for Go, by which one cannot leave out the check of the name alone.
        """
        admin, tls = self.admin, self.endpoint.tls
        account = f"{quote(admin.user, safe='')}:{quote(admin.password or '', safe='')}@" if admin else ""
        options = {"authSource": admin.database or _ADMIN} if admin else {}
        if tls is not None:
            files = {"tlsCAFile": tls.ca, "tlsCertificateKeyFile": tls.certificate}
            options |= {"tls": "true", **{name: path for name, path in files.items() if path}}
            options |= {"tlsInsecure": "true"} if tls.mode == "require" else {}
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"mongodb://{account}{self._address().removeprefix('mongodb://')}{f'?{asked}' if asked else ''}"

    def collections(self, database: str) -> list[Mapping[str, Any]]:
        """Return what a database has: `name`, `type` (`collection`, `view`, `timeseries`) and `options` of each."""
        answer = self._command(database, "read", {"listCollections": 1, "cursor": {"batchSize": _ALL}})
        return [one for one in answer["cursor"]["firstBatch"] if not str(one["name"]).startswith("system.")]

    def estimates(self, database: str) -> dict[str, int]:
        """Return the number of documents of each collection by the server's books, without counting."""
        return {
            str(one["name"]): int(self._command(database, "read", {"count": one["name"]})["n"])
            for one in self.collections(database)
            if one["type"] == "collection" and one["name"] != MARKER
        }

    def marker(self, database: str) -> str:
        """Return what a restore noted in a database, an empty text when nothing."""
        answer = self._command(database, "read", {"find": MARKER, "filter": {"_id": 1}})
        return next((str(one["state"]) for one in answer["cursor"]["firstBatch"]), "")

    def mark(self, database: str, state: str) -> None:
        """Note something in a database, which makes it if need be; with an empty text nothing any more."""
        if not state:
            self._command(database, "change", {"drop": MARKER}, tolerated=_NO_SUCH_COLLECTION)
            return
        # Other than `update`, this command fails when it writes nothing.
        entry = {"query": {"_id": 1}, "update": {"_id": 1, "state": state}, "upsert": True}
        self._command(database, "change", {"findAndModify": MARKER, **entry})

    def move(self, collection: Mapping[str, Any], source: str, target: str) -> None:
        """Take a collection or a view to another database, in the place of what has its name there.

        The server copies a collection aside, gives the copy its name, and drops the original last.
        """
        name = str(collection["name"])
        if collection["type"] == "view":
            self._command(target, "change", {"drop": name}, tolerated=_NO_SUCH_COLLECTION)
            self._command(target, "change", {"create": name, **collection["options"]})
            self._command(source, "change", {"drop": name})
            return
        rename = {"renameCollection": f"{source}.{name}", "to": f"{target}.{name}", "dropTarget": True}
        self._command(_ADMIN, "change", rename)

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


def _ours(name: str) -> bool:
    """Whether a collection is the server's or a restore's, and not the app's."""
    return name.startswith("system.") or name == MARKER


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
