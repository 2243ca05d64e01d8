# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Redis and Valkey, by redis-py.

An app's database is a prefix: its ACL user may touch the keys and channels that begin with it. An ACL user has as many
passwords as wanted, so a rotation adds one and takes the other away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import (
    DatabaseEngine,
    missing_library,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.database import (
    RedisUser,
    redis_commands,
    redis_patterns,
    redis_privileges,
    redis_user,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.database_passwords import redis_hash
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    Endpoint,
    Login,
)

_BATCH = 1000  # keys asked for, or deleted, at a time
# Both in every server's list of users, and neither an app's.
_DEFAULT_USER = "default"
_PROBE = "serverkit-login-probe"


class Redis(DatabaseEngine):
    """One Redis or Valkey server, of version 6 or newer, where users came in."""

    def __init__(self, endpoint: Endpoint, admin: Credentials | None) -> None:
        super().__init__(endpoint, admin)
        self._client: Any = None
        self._info: Mapping[str, Any] = {}
        self._categories: dict[str, frozenset[str]] = {}

    # --- connection ---

    def connect(self) -> None:
        if self._client is not None:
            return
        client = self._connected(self.admin)
        self._client = client
        self._info = self._command("read", "INFO", "server")
        if self._number < (6, 0):
            reason = f"{self.version()} has no users"
            raise HostError(f"link an app to {self.where}", reason, "Upgrade the server to version 6 or newer")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def login(self, credentials: Credentials, database: str) -> None:
        client = self._connected(credentials)
        redis = _redis()
        try:
            client.execute_command("EXISTS", f"{database}:{_PROBE}")
        except redis.RedisError as error:
            raise self._explained(error, f"read {database}:* as {credentials.user}", credentials.password) from None
        finally:
            client.close()

    def _connected(self, credentials: Credentials | None) -> Any:
        redis = _redis()
        user = credentials.user if credentials else None
        secret = credentials.password if credentials else None
        try:
            client = redis.Redis(
                username=user,
                password=secret,
                decode_responses=True,
                # Names of keys and what is in them may be any bytes.
                encoding_errors="surrogateescape",
                socket_connect_timeout=self.endpoint.timeout,
                socket_timeout=60,
                **_without_retries(),
                **self._place(),
            )
            client.ping()
        except (redis.RedisError, OSError) as error:
            raise self._explained(error, f"log in to {self.where}{f' as {user}' if user else ''}", secret) from None
        return client

    def _place(self) -> dict[str, Any]:
        if self.endpoint.socket:
            return {"unix_socket_path": self.endpoint.socket}
        tls = self.endpoint.tls
        place = {"host": self.endpoint.host, "port": self.endpoint.port}
        if tls is None:
            return place
        return {
            **place,
            "ssl": True,
            "ssl_ca_certs": tls.ca,
            "ssl_certfile": tls.certificate,
            "ssl_keyfile": tls.key,
            "ssl_cert_reqs": "none" if tls.mode == "require" else "required",
            "ssl_check_hostname": tls.mode == "verify-full",
        }

    # --- reading ---

    @property
    def _number(self) -> tuple[int, ...]:
        # Valkey says in redis_version up to which Redis it is the same, which is what ACL rules go by.
        return tuple(int(part) for part in re.findall(r"\d+", str(self._info.get("redis_version", "0")))[:3])

    def version(self) -> str:
        if "valkey_version" in self._info:
            return f"Valkey {self._info['valkey_version']}"
        return f"Redis {self._info.get('redis_version', '')}"

    def warnings(self) -> list[str]:
        """Tell of users that are gone after a restart of the server, and of a server that is open to everybody."""
        found = []
        users = [redis_user(line) for line in self._command("read", "ACL LIST")]
        if any(user.name == _DEFAULT_USER and user.enabled and user.no_password for user in users):
            found.append(f"{self.where} lets everybody who reaches it do everything: its default user has no password")
        try:
            kept = self._command("read", "CONFIG GET", "aclfile").get("aclfile") or self._info.get("config_file")
        except HostError:
            kept = "somewhere"  # a managed server: it keeps users, and does not say where
        if not kept:
            found.append(f"{self.where} has neither aclfile nor configuration file: it forgets users when it restarts")
        return found

    def read(self, accesses: Sequence[Access]) -> list[DatabaseState]:
        users = {user.name: user for user in map(redis_user, self._command("read", "ACL LIST"))}
        return [self._state(access, users) for access in accesses]

    def _state(self, access: Access, users: Mapping[str, RedisUser]) -> DatabaseState:
        pattern = f"{access.database}:*"
        others = tuple(sorted(self._owners(access.database, users) - {access.user, _DEFAULT_USER}))
        user = users.get(access.user)
        if user is None:
            return DatabaseState(database_exists=True, others=others)
        foreign = [one for one in user.patterns if one not in ("resetchannels", f"&{pattern}", f"~{pattern}")]
        foreign = [one for one in foreign if one != f"%R~{pattern}"]
        elsewhere = [f"it may use {one}" for one in (*foreign, *user.selectors)]
        if user.no_password:
            elsewhere.append("it needs no password")
        return DatabaseState(
            database_exists=True,
            user_exists=True,
            logins=(Login(user.name, len(user.hashes), user.hashes),) if user.enabled else (),
            privileges=redis_privileges(user, access.database, self._number, self._command_categories()),
            some_privileges=any(one.endswith(f"~{pattern}") for one in user.patterns),
            elsewhere=tuple(elsewhere),
            others=others,
        )

    def _owners(self, database: str, users: Mapping[str, RedisUser]) -> set[str]:
        """Users with the prefix for themselves: all but those that we made to read or write in somebody else's."""
        sharing = [user for user in users.values() if f"~{database}:*" in user.patterns]
        categories = self._command_categories() if sharing else {}
        kinds = {user.name: redis_privileges(user, database, self._number, categories) for user in sharing}
        return {name for name, privileges in kinds.items() if privileges in ("owner", None)}

    def _command_categories(self) -> Mapping[str, frozenset[str]]:
        if not self._categories:
            names = self._command("read", "ACL CAT")
            answers = self.batch("read", [("ACL CAT", name) for name in names])
            self._categories = {name: frozenset(words) for name, words in zip(names, answers, strict=True)}
        return self._categories

    def matches(self, login: Login, password: str) -> bool | None:
        return redis_hash(password) in login.verifiers

    def row_counts(self, database: str) -> dict[str, int]:
        # SCAN may name a key twice.
        return {"keys": len({key for keys in self.keys(database) for key in keys})}

    def keys(self, database: str) -> Iterator[list[str]]:
        """Yield the names of the keys with a prefix, many at a time; one may come twice.

        What is none of UTF-8 in names and values is in surrogates (PEP 383).
        """
        cursor = 0
        while True:
            cursor, keys = self._command("read", "SCAN", cursor, "MATCH", f"{database}:*", "COUNT", _BATCH)
            yield keys
            if int(cursor) == 0:
                return

    # --- writing ---

    def create_database(self, access: Access) -> None:
        """A prefix needs no making."""

    def create_user(self, access: Access, password: str) -> None:
        self._set_user(access, "on", "resetpass", f"#{redis_hash(password)}", *self._rules(access))

    def grant(self, access: Access) -> None:
        self._set_user(access, *self._rules(access))

    def set_password(self, access: Access, login: str, password: str) -> None:  # noqa: ARG002 - one login for a user
        self._set_user(access, "on", "resetpass", f"#{redis_hash(password)}")

    def begin_rotation(self, access: Access, login: str, current: str, new: str) -> str:
        known = self.read([access])[0].login(login)
        if known is None or not self.matches(known, current):
            raise self.not_valid(login)
        # What an earlier, unfinished rotation left is no longer wanted.
        old = [f"!{one}" for one in known.verifiers if one not in (redis_hash(current), redis_hash(new))]
        self._set_user(access, f"#{redis_hash(new)}", *old)
        return login

    def drop_user(self, access: Access) -> None:
        """Redis ends the connections of a user that is deleted."""
        self._command("change", "ACL DELUSER", access.user)
        self._keep()

    def drop_database(self, access: Access) -> None:
        for keys in self.keys(access.database):
            if keys:
                self._command("change", "UNLINK", *keys)

    # --- parts of the above ---

    def _rules(self, access: Access) -> tuple[str, ...]:
        """All rules at once, in one command: the server swaps them, so a running app never has less than it shall."""
        channels = ("resetchannels",) if self._number >= (6, 2) else ()
        selectors = ("clearselectors",) if self._number >= (7, 0) else ()
        patterns = redis_patterns(access.privileges, access.database, self._number)
        commands = redis_commands(access.privileges, self._number)
        return ("resetkeys", *channels, *selectors, *patterns, "-@all", *commands)

    def _set_user(self, access: Access, *rules: str) -> None:
        self._command("change", "ACL SETUSER", access.user, *rules)
        self._keep()

    def _keep(self) -> None:
        """Write users to where the server finds them after a restart; `warnings` tells when there is no such place."""
        redis = _redis()
        for command in ("ACL SAVE", "CONFIG REWRITE"):
            try:
                self._client.execute_command(command)
            except redis.ResponseError:
                continue
            except (redis.RedisError, OSError) as error:
                raise self._explained(error, f"save the users of {self.where}") from None
            return

    def batch(self, verb: str, commands: Sequence[Sequence[object]], tolerated: str = "") -> list[Any]:
        """Run commands without waiting for each other's answers, and return these.

        :param tolerated: what is in the message of an error that is none; the answer is None then.
        """
        redis = _redis()
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            answers = pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as error:
            raise self._explained(error, f"{verb} {self.where}") from None
        for number, answer in enumerate(answers):
            if isinstance(answer, Exception):
                if not tolerated or tolerated not in str(answer):
                    raise self._explained(answer, f"{verb} {self.where}")
                answers[number] = None
        return list(answers)

    def _command(self, verb: str, command: str, *values: object) -> Any:
        redis = _redis()
        try:
            return self._client.execute_command(command, *values)
        except (redis.RedisError, OSError) as error:
            raise self._explained(error, f"{verb} {self.where}") from None

    def _explained(self, error: Exception, attempted: str, secret: str | None = None) -> HostError:
        redis = _redis()
        text = self.redacted(" ".join(str(error).split()), secret or "")
        # An unknown user and a wrong password are the same error, on purpose. Old versions of redis-py have a response
        # error for what newer ones have an authentication error for.
        if isinstance(error, redis.AuthenticationError) or re.match(
            r"WRONGPASS|NOAUTH|invalid (username|password)", text
        ):
            return HostError(attempted, text or "the server wants a password", "Check the user and its password")
        if isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError)):
            return HostError(attempted, text, "Check that the server runs, and that host, port or socket are right")
        if "NOPERM" in text or "no permissions" in text:
            return HostError(attempted, text, "Use a user who may do this, such as the server's default user")
        return HostError(attempted, text)


def _without_retries() -> dict[str, Any]:
    """Since version 6, redis-py tries a refused login again and again, with pauses; version 3 has no such option."""
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        return {}
    return {"retry": Retry(NoBackoff(), 0)}


def _redis() -> Any:
    try:
        import redis
    except ImportError as error:
        raise missing_library("redis", "python3-redis", "Redis") from error
    return redis
