# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Dumps of an app's keys in Redis and Valkey.

A dump is lines of JSON: one that says what it is, one for each key with its value as DUMP gives it, and one with their
number. Names of keys are without the app's prefix, so that they can be loaded under another one. Times to live go on
from where they were: an app that is restored finds what it had when it was backed up.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, cast

from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.redis import Redis
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps, Dumped
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access

_FORMAT = 1
_BATCH = 100  # keys whose values are on their way at a time
_RENAMES = 1000

# How far the keys of a switch are: first the app's go to `kept`, then those of `fresh` come.
_LEAVING = "leaving"
_COMING = "coming"
_DONE = "done"


class RedisDumps(DatabaseDumps):
    """Keys with the prefix of an app, on one server."""

    directory: ClassVar[str] = "redis"
    suffix: ClassVar[str] = "keys"
    needs_quiet: ClassVar[bool] = True

    def dump(self, access: Access, path: str) -> Dumped:
        tally = _Tally()
        stored = streams.store(self._lines(access.database, tally), path)
        try:
            self.check(stored, path)
        except HostError:
            os.unlink(path)
            raise
        return Dumped(stored, {"keys": tally.keys}, ("keys",) if tally.mortal else (), self.engine.version())

    @staticmethod
    def check(stored: streams.Stored, path: str) -> None:
        _number(stored.tail.rstrip(b"\n").rpartition(b"\n")[2], path)

    def load(self, path: str, access: Access) -> None:
        loaded = 0
        expected: int | None = None
        with streams.read(path) as parts:
            lines = _split(parts)
            _header(next(lines, b""), path)
            batch: list[tuple[object, ...]] = []
            for line in lines:
                if expected is not None:
                    raise HostError(f"use the dump {path}", "something comes after its end")
                entry = _entry(line, path)
                if "keys" in entry:
                    expected = _number(line, path)
                    continue
                batch.append(_restore(access.database, entry, path))
                loaded += 1
                if len(batch) >= _BATCH:
                    self._put(batch)
                    batch.clear()
            self._put(batch)
        if loaded != expected:
            raise HostError(f"use the dump {path}", f"it has {loaded} keys, and says {expected}")

    def _put(self, commands: list[tuple[object, ...]]) -> None:
        try:
            self._redis.batch("load keys into", commands)
        except HostError as error:
            if "version or checksum" in error.reason:
                remedy = "Load it into a server that is not older than the one of the dump"
                raise HostError(error.attempted, error.reason, remedy) from None
            raise

    def switch(self, live: Access, fresh: str, kept: str) -> None:
        if self._phase(fresh):
            self._move_back(live, kept=fresh, fresh=kept)
            return
        self._move(live, fresh, kept)

    def switch_back(self, live: Access, kept: str, fresh: str) -> None:
        if self._phase(kept):
            self._move_back(live, kept, fresh)

    def discard(self, database: str, access: Access) -> None:
        self.engine.drop_database(dataclasses.replace(access, database=database))
        self._redis.batch("change", [("DEL", _marker(database))])

    # --- dump ---

    @property
    def _redis(self) -> Redis:
        return cast("Redis", self.engine)

    def _lines(self, database: str, tally: _Tally) -> Iterator[bytes]:
        yield _line({"redis": self.engine.version(), "format": _FORMAT})
        # SCAN may name a key twice.
        seen: set[str] = set()
        for found in self._redis.keys(database):
            keys = [key for key in found if key not in seen]
            seen.update(keys)
            for start in range(0, len(keys), _BATCH):
                yield from self._values(database, keys[start : start + _BATCH], tally)
        yield _line({"keys": tally.keys})

    def _values(self, database: str, keys: list[str], tally: _Tally) -> Iterator[bytes]:
        commands = [(name, key) for key in keys for name in ("PTTL", "DUMP")]
        answers = self._redis.batch("read", commands)
        for key, life, value in zip(keys, answers[::2], answers[1::2], strict=True):
            if value is None:  # it has come to its end meanwhile
                continue
            tally.keys += 1
            entry = {"key": _encoded(key[len(database) + 1 :]), "value": _encoded(value)}
            if life >= 0:
                tally.mortal += 1
                entry["life"] = life
            yield _line(entry)

    # --- switch ---

    def _move(self, live: Access, fresh: str, kept: str) -> None:
        self._end_connections(live)
        phase = self._phase(kept) or self._set_phase(kept, _LEAVING)
        if phase == _LEAVING:
            self._rename(live.database, kept)
            phase = self._set_phase(kept, _COMING)
        if phase == _COMING:
            self._rename(fresh, live.database)
            self._set_phase(kept, _DONE)

    def _move_back(self, live: Access, kept: str, fresh: str) -> None:
        """Undo `_move`, from wherever it is."""
        self._end_connections(live)
        if self._phase(kept) in (_DONE, _COMING):
            self._set_phase(kept, _COMING)
            self._rename(live.database, fresh)
            self._set_phase(kept, _LEAVING)
        self._rename(kept, live.database)
        self._redis.batch("change", [("DEL", _marker(kept))])

    def _phase(self, kept: str) -> str:
        return str(self._redis.batch("read", [("GET", _marker(kept))])[0] or "")

    def _set_phase(self, kept: str, phase: str) -> str:
        self._redis.batch("change", [("SET", _marker(kept), phase)])
        return phase

    def _rename(self, source: str, target: str) -> None:
        """Give keys another prefix, until none is left that SCAN has to show."""
        moved = True
        while moved:
            moved = False
            for keys in self._redis.keys(source):
                for start in range(0, len(keys), _RENAMES):
                    names = keys[start : start + _RENAMES]
                    commands = [("RENAME", key, target + key[len(source) :]) for key in names]
                    # A key may have come to its end, or been named twice.
                    self._redis.batch("change", commands, tolerated="no such key")
                    moved = True

    def _end_connections(self, access: Access) -> None:
        self._redis.batch("change", [("CLIENT KILL", "USER", access.user)], tolerated="No such user")


@dataclasses.dataclass
class _Tally:
    """What a dump has come to.

    :ivar mortal: keys with a time to live.
    """

    keys: int = 0
    mortal: int = 0


def _marker(kept: str) -> str:
    """Return the key that says how far a switch is; no prefix has a dot in it."""
    return f"serverkit.switch:{kept}"


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _decoded(text: object) -> bytes:
    return base64.b64decode(str(text), validate=True)


def _entry(line: bytes, path: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    raise HostError(f"use the dump {path}", "a line of it is none of a dump of Redis")


def _header(line: bytes, path: str) -> None:
    found = _entry(line, path).get("format")
    if not isinstance(found, int) or found > _FORMAT:
        raise HostError(f"use the dump {path}", f"its format is {found!r}, and {_FORMAT} is the newest one known here")


def _number(line: bytes, path: str) -> int:
    try:
        return int(json.loads(line)["keys"])
    except (ValueError, KeyError, TypeError):
        raise HostError(f"use the dump {path}", "it does not end as a complete dump of Redis does") from None


def _restore(database: str, entry: dict[str, Any], path: str) -> tuple[object, ...]:
    try:
        key = f"{database}:".encode() + _decoded(entry["key"])
        # Zero would be forever.
        life = max(1, int(entry["life"])) if "life" in entry else 0
        return ("RESTORE", key, life, _decoded(entry["value"]))
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise HostError(f"use the dump {path}", "a key in it is damaged") from error


def _split(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; a value may be larger than its parts."""
    rest: list[bytes] = []
    for part in parts:
        first, *lines = part.split(b"\n")
        rest.append(first)
        for line in lines:
            yield b"".join(rest)
            rest = [line]
    if last := b"".join(rest):
        yield last
