# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for MongoDB, which Debian has no package of: users, logins and a counter, over MongoDB's wire protocol.

It knows what the engine asks of a server and no more, and answers by MongoDB's manual. Where a real one is there
(SERVERKIT_TEST_MONGODB_URL), the same tests run on it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ITERATIONS = 4096  # MongoDB has 15000; RFC 7677 wants at least these
_UNAUTHORIZED = (13, "Unauthorized", "command requires authentication")
_FAILED = (18, "AuthenticationFailed", "Authentication failed.")
_NO_USER = (11, "UserNotFound", "User not found")
_SUPERUSER = {"role": "root", "db": "admin"}

Document = dict[str, Any]


@dataclass
class User:
    """What MongoDB keeps of a user: RFC 5802's salt, stored key and server key."""

    roles: list[Document]
    salt: bytes = b""
    stored_key: bytes = b""
    server_key: bytes = b""

    def set_password(self, password: str) -> None:
        from pymongo.saslprep import saslprep

        self.salt = os.urandom(28)
        salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), self.salt, ITERATIONS)
        self.stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")

    def may(self, database: str) -> bool:
        return any(role == _SUPERUSER or role["db"] == database for role in self.roles)


@dataclass
class Connection:
    """Who talks, and where its login is."""

    user: tuple[str, str] | None = None
    claimed: tuple[str, str] = ("", "")
    first: str = ""
    server_first: str = ""
    keys: tuple[bytes, bytes] = (b"", b"")


@dataclass
class Mongod:
    """The state of a server: users by database and name, and the number of documents of each collection."""

    users: dict[tuple[str, str], User] = field(default_factory=dict)
    documents: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: dict[str, Document] = field(default_factory=dict)  # what was written, by database and collection
    connections: dict[int, Connection] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, request: Any) -> bool:
        """Answer whatever comes."""
        with self.lock:
            connection = self.connections.setdefault(request.client_port, Connection())
            try:
                answer = self._answer(connection, dict(request.doc))
            except (KeyError, ValueError) as error:
                answer = (2, "BadValue", str(error))
        if isinstance(answer, tuple):
            code, name, message = answer
            request.reply(ok=0, code=code, codeName=name, errmsg=message)
        else:
            request.reply(ok=1, **answer)
        return True

    def _answer(self, connection: Connection, command: Document) -> Document | tuple[int, str, str]:
        name = next(iter(command))
        public: dict[str, Callable[[Connection, Document], Document | tuple[int, str, str]]] = {
            "ismaster": self._hello,
            "isMaster": self._hello,
            "hello": self._hello,
            "saslStart": self._sasl_start,
            "saslContinue": self._sasl_continue,
            "buildInfo": lambda _connection, _command: {"version": "7.0.14"},
            "endSessions": lambda _connection, _command: {},
            "connectionStatus": lambda _connection, _command: {"authInfo": {}},
        }
        if name in public:
            return public[name](connection, command)
        user = self.users.get(connection.user) if connection.user else None
        if user is None or not user.may(command["$db"]):
            return _UNAUTHORIZED
        private: dict[str, Callable[[Document], Document | tuple[int, str, str]]] = {
            "ping": self._ping,
            "usersInfo": self._users_info,
            "createUser": self._create_user,
            "updateUser": self._update_user,
            "dropUser": self._drop_user,
            "dropDatabase": self._drop_database,
            "listCollections": self._list_collections,
            "aggregate": self._aggregate,
            "count": self._count,
            "find": self._find,
            "findAndModify": self._find_and_modify,
            "drop": self._drop,
            "renameCollection": self._rename,
        }
        if name not in private:
            return (59, "CommandNotFound", f"no such command: '{name}'")
        return private[name](command)

    # --- logging in ---

    def _hello(self, _connection: Connection, command: Document) -> Document:
        found: Document = {"ismaster": True, "isWritablePrimary": True, "helloOk": True}
        found |= {"minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16777216}
        if "saslSupportedMechs" in command:
            found["saslSupportedMechs"] = ["SCRAM-SHA-256"]
        return found

    def _sasl_start(self, connection: Connection, command: Document) -> Document | tuple[int, str, str]:
        connection.user = None
        connection.first = bytes(command["payload"]).decode().removeprefix("n,,")
        parts = dict(part.split("=", 1) for part in connection.first.split(","))
        name = parts["n"].replace("=2C", ",").replace("=3D", "=")
        connection.claimed = (command["$db"], name)
        user = self.users.get(connection.claimed)
        if user is None or command["mechanism"] != "SCRAM-SHA-256":
            return _FAILED
        # A conversation goes on with what it has begun with, as the server's does, if the password changes meanwhile.
        connection.keys = (user.stored_key, user.server_key)
        nonce = parts["r"] + base64.b64encode(os.urandom(18)).decode()
        connection.server_first = f"r={nonce},s={base64.b64encode(user.salt).decode()},i={ITERATIONS}"
        return {"conversationId": 1, "done": False, "payload": connection.server_first.encode()}

    def _sasl_continue(self, connection: Connection, command: Document) -> Document | tuple[int, str, str]:
        payload = bytes(command["payload"]).decode()
        if not payload:
            return {"conversationId": 1, "done": True, "payload": b""}
        stored_key, server_key = connection.keys
        bare, _comma, proof = payload.rpartition(",p=")
        message = f"{connection.first},{connection.server_first},{bare}".encode()
        if connection.claimed not in self.users:
            return _FAILED
        signature = hmac.digest(stored_key, message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.sha256(client_key).digest() != stored_key:
            return _FAILED
        connection.user = connection.claimed
        verifier = base64.b64encode(hmac.digest(server_key, message, "sha256")).decode()
        return {"conversationId": 1, "done": True, "payload": f"v={verifier}".encode()}

    # --- users ---

    def _users_info(self, command: Document) -> Document:
        wanted = command["usersInfo"]
        names = None if isinstance(wanted, dict) and wanted.get("forAllDBs") else [(w["db"], w["user"]) for w in wanted]
        return {
            "users": [
                {"user": name, "db": database, "roles": user.roles}
                | ({"credentials": {"SCRAM-SHA-256": _credentials(user)}} if command.get("showCredentials") else {})
                for (database, name), user in self.users.items()
                if names is None or (database, name) in names
            ]
        }

    def _create_user(self, command: Document) -> Document | tuple[int, str, str]:
        key = (command["$db"], command["createUser"])
        if key in self.users:
            return (51003, "Location51003", f'User "{key[1]}@{key[0]}" already exists')
        self.users[key] = User(command["roles"])
        self.users[key].set_password(command["pwd"])
        return {}

    def _update_user(self, command: Document) -> Document | tuple[int, str, str]:
        user = self.users.get((command["$db"], command["updateUser"]))
        if user is None:
            return _NO_USER
        user.roles = command.get("roles", user.roles)
        if "pwd" in command:
            user.set_password(command["pwd"])
        return {}

    def _drop_user(self, command: Document) -> Document | tuple[int, str, str]:
        return _NO_USER if self.users.pop((command["$db"], command["dropUser"]), None) is None else {}

    # --- data ---

    def _ping(self, command: Document) -> Document:
        """The tests' clients ping: each leaves a document, as a visit would."""
        if command["$db"] != "admin":
            collections = self.documents.setdefault(command["$db"], {})
            collections["visits"] = collections.get("visits", 0) + 1
        return {}

    def _drop_database(self, command: Document) -> Document:
        self.documents.pop(command["$db"], None)
        return {}

    def _list_collections(self, command: Document) -> Document:
        names = self.documents.get(command["$db"], {})
        batch = [{"name": name, "type": "collection", "options": {}} for name in names]
        return {"cursor": {"id": 0, "ns": f"{command['$db']}.$cmd.listCollections", "firstBatch": batch}}

    def _aggregate(self, command: Document) -> Document:
        count = self.documents[command["$db"]][command["aggregate"]]
        batch = [{"_id": 1, "n": count}]
        return {"cursor": {"id": 0, "ns": f"{command['$db']}.{command['aggregate']}", "firstBatch": batch}}

    def _count(self, command: Document) -> Document:
        return {"n": self.documents[command["$db"]][command["count"]]}

    def _find(self, command: Document) -> Document:
        place = f"{command['$db']}.{command['find']}"
        assert command["filter"] == {"_id": 1}
        batch = [self.notes[place]] if place in self.notes else []
        return {"cursor": {"id": 0, "ns": place, "firstBatch": batch}}

    def _find_and_modify(self, command: Document) -> Document:
        assert (command["query"], command["upsert"]) == ({"_id": 1}, True)
        self.notes[f"{command['$db']}.{command['findAndModify']}"] = command["update"]
        self.documents.setdefault(command["$db"], {})[command["findAndModify"]] = 1
        return {"value": None, "lastErrorObject": {"n": 1, "updatedExisting": False}}

    def _drop(self, command: Document) -> Document | tuple[int, str, str]:
        self.notes.pop(f"{command['$db']}.{command['drop']}", None)
        collections = self.documents.get(command["$db"], {})
        if collections.pop(command["drop"], None) is None:
            return (26, "NamespaceNotFound", "ns not found")
        return {}

    def _rename(self, command: Document) -> Document | tuple[int, str, str]:
        (source, old), (target, new) = (command[key].split(".", 1) for key in ("renameCollection", "to"))
        if new in self.documents.get(target, {}) and not command.get("dropTarget"):
            return (48, "NamespaceExists", "target namespace exists")
        self.documents.setdefault(target, {})[new] = self.documents[source].pop(old)
        return {}


def _credentials(user: User) -> Mapping[str, object]:
    texts = {"salt": user.salt, "storedKey": user.stored_key, "serverKey": user.server_key}
    return {"iterationCount": ITERATIONS, **{name: base64.b64encode(raw).decode() for name, raw in texts.items()}}


@contextlib.contextmanager
def running(admin: str, password: str) -> Iterator[int]:
    """Listen with one administrator.

    :returns: the port, on loopback.
    """
    import mockupdb

    state = Mongod()
    state.users["admin", admin] = User([_SUPERUSER])
    state.users["admin", admin].set_password(password)
    server = mockupdb.MockupDB()
    server.autoresponds(state.handle)
    port = int(server.run())
    try:
        yield port
    finally:
        server.stop()
