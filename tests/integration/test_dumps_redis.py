# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of Redis: keys of every type come back as they were, under another prefix, and nobody else's are touched."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import database_servers
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.redis import Redis
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.redis import RedisDumps
from ansible_collections.serverkit.core.plugins.module_utils._plan.restore_names import staged_name
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, Credentials
from database_links import PASSWORD, create, numbers
from database_servers import Server

# Of each type one, in each of the encodings that a small and a large one have.
KEYS = 14


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with database_servers.redis() as found:
        yield found


@pytest.fixture
def raw(redis: Server) -> Iterator[Any]:
    """A client that sees bytes, as the administrator."""
    import redis as library

    found = library.Redis(port=redis.door.port, username="default", password="administrator")
    yield found
    found.flushall()
    found.close()


@pytest.fixture
def engine(redis: Server) -> Iterator[Redis]:
    found = redis.open()
    assert isinstance(found, Redis)
    yield found
    found.close()


@pytest.fixture
def dumps(engine: Redis, tmp_path: pathlib.Path) -> RedisDumps:
    return RedisDumps(engine, str(tmp_path))


@pytest.fixture
def access(redis: Server, engine: Redis) -> Access:
    found = redis.access(f"app_{next(numbers)}")
    create(engine, found)
    return found


def fill(client: Any, prefix: str) -> None:
    name = f"{prefix}:".encode()
    client.set(name + b"text", "größe \U0001f600\n\0")
    client.set(name + b"number", 42)
    client.set(name + b"", b"the key that is the prefix alone")
    client.set(name + b"\xff\x00\n bin:key*?[", bytes(range(256)) * 10)
    client.set(name + b"large", os.urandom(3 << 20))
    client.set(name + b"mortal", "x", ex=3600)
    client.rpush(name + b"list", *range(3000), b"\xfe\xff")
    client.sadd(name + b"set:numbers", *range(10))
    client.sadd(name + b"set:words", *(f"word {number}" for number in range(1000)))
    client.hset(name + b"hash", mapping={"a": "1", b"\xff": b"\x00" * 100})
    client.zadd(name + b"zset", {f"m{number}": number / 3 for number in range(500)})
    client.pfadd(name + b"hyperloglog", *range(1000))
    client.setbit(name + b"bits", 100_000, 1)
    client.xadd(name + b"stream", {"f": b"\xff"}, id="1-1")
    client.xadd(name + b"stream", {"f": "2"}, id="2-1")
    client.xgroup_create(name + b"stream", "group", id="0")
    client.xreadgroup("group", "consumer", {name + b"stream": ">"}, count=1)


READERS: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"stream": lambda client, key: (client.xrange(key), client.xpending(key, "group")),
}


def content(client: Any, prefix: str) -> dict[bytes, tuple[Any, bool]]:
    """Each key's value, and whether it has a time to live."""
    length = len(prefix) + 1
    keys = list(client.scan_iter(match=f"{prefix}:*", count=1000))
    return {key[length:]: (READERS[client.type(key)](client, key), client.pttl(key) > 0) for key in keys}


def test_what_is_dumped_is_loaded_under_another_prefix(
    dumps: RedisDumps, engine: Redis, raw: Any, access: Access, tmp_path: pathlib.Path
) -> None:
    other = f"{access.database}x"
    fill(raw, access.database)
    raw.set(f"{other}:key", "not ours")
    raw.set("loose", "nobody's")
    before = content(raw, access.database)
    assert len(before) == KEYS
    path = str(tmp_path / "one.keys.zst")
    dumped = dumps.dump(access, path)
    assert dict(dumped.rows) == {"keys": KEYS} == engine.row_counts(access.database)
    assert dumped.moving == ("keys",)  # one of them comes to its end by itself
    assert dumped.version == engine.version()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    dumps.check(streams.check(path), path)
    fresh = staged_name("redis", access.database, "new1")
    dumps.load(path, Access("redis", fresh, access.user))
    assert content(raw, fresh) == before
    assert 3_590_000 < raw.pttl(f"{fresh}:mortal") <= 3_600_000
    assert raw.xpending(f"{fresh}:stream", "group")["pending"] == 1
    dumps.discard(fresh, access)
    dumps.discard(fresh, access)
    assert content(raw, fresh) == {}
    assert content(raw, access.database) == before
    assert raw.get(f"{other}:key") == b"not ours"


def test_an_app_dumps_and_loads_its_own_keys(
    redis: Server, engine: Redis, raw: Any, access: Access, tmp_path: pathlib.Path
) -> None:
    fill(raw, access.database)
    raw.set("other:key", "not ours")
    before = content(raw, access.database)
    own = Redis(redis.door, Credentials(access.user, PASSWORD))
    own.connect()
    dumps = RedisDumps(own, str(tmp_path))
    path = str(tmp_path / "one.keys.zst")
    assert dict(dumps.dump(access, path).rows) == {"keys": KEYS}
    engine.drop_database(access)
    dumps.load(path, access)
    own.close()
    assert content(raw, access.database) == before


def test_an_empty_prefix(dumps: RedisDumps, raw: Any, access: Access, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "one.keys.zst")
    dumped = dumps.dump(access, path)
    assert (dict(dumped.rows), dumped.moving) == ({"keys": 0}, ())
    dumps.check(streams.check(path), path)
    dumps.load(path, access)
    assert content(raw, access.database) == {}


HEADER = b'{"redis":"Redis 7.0.15","format":1}\n'


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (b"", "complete"),
        (b'{"keys":0}\n', "format is None"),
        (HEADER, "complete"),
        (b'{"redis":"Redis 9","format":2}\n{"keys":0}\n', "format is 2"),
        (HEADER + b'{"keys":1}\n', "0 keys, and says 1"),
        (HEADER + b'{"key":"YQ==","value":"YQ=="}\n{"keys":1}\n', "checksum"),
        (HEADER + b'{"key":"YQ==","value":"!"}\n{"keys":1}\n', "damaged"),
        (HEADER + b'{"keys":0}\n{"keys":0}\n', "after its end"),
        (HEADER + b"[]\n", "complete"),
        (HEADER + b'[]\n{"keys":0}\n', "none of a dump"),
    ],
)
def test_a_file_that_is_no_dump_is_refused(
    dumps: RedisDumps, access: Access, tmp_path: pathlib.Path, lines: bytes, complaint: str
) -> None:
    path = str(tmp_path / "bad.keys.zst")
    stored = streams.store([lines], path)

    def use() -> None:
        dumps.check(stored, path)
        dumps.load(path, access)

    with pytest.raises(HostError, match=complaint):
        use()


def test_a_dump_of_a_server_that_is_gone_leaves_no_file(access: Access, tmp_path: pathlib.Path) -> None:
    with database_servers.redis() as short_lived:
        engine = short_lived.open()
        assert isinstance(engine, Redis)
    path = tmp_path / "one.keys.zst"
    with pytest.raises(HostError):
        RedisDumps(engine, str(tmp_path)).dump(access, str(path))
    assert not path.exists()


class Killed(BaseException):
    """The run is gone, between two commands."""


class Mortal(Redis):
    """An engine that is killed after some batches."""

    lives = 1 << 30

    def batch(self, verb: str, commands: Sequence[Sequence[object]], tolerated: str = "") -> list[Any]:
        if Mortal.lives == 0 and verb == "change":
            # The first half has reached the server.
            super().batch(verb, commands[: len(commands) // 2], tolerated)
            raise Killed
        Mortal.lives -= verb == "change"
        return super().batch(verb, commands, tolerated)


@pytest.fixture
def mortal(redis: Server, tmp_path: pathlib.Path) -> Iterator[RedisDumps]:
    found = Mortal(redis.administration, redis.admin)
    found.connect()
    yield RedisDumps(found, str(tmp_path))
    Mortal.lives = 1 << 30
    found.close()


@pytest.mark.parametrize("restored", [KEYS, 0])
def test_restored_keys_take_the_place_of_the_old_ones_and_give_it_back(
    dumps: RedisDumps, mortal: RedisDumps, raw: Any, access: Access, tmp_path: pathlib.Path, restored: int
) -> None:
    """Killed anywhere, a switch goes on or is taken back; also where the backup was empty."""
    live = access.database
    fresh, kept = (staged_name("redis", live, mark) for mark in ("new1", "old1"))
    for number in range(1100):
        raw.set(f"{live}:old{number}", "x")
    raw.set(f"{live}:text", "another")
    if restored:
        fill(raw, fresh)
    raw.set(f"{live}x:key", "not ours")
    old, new = content(raw, live), content(raw, fresh)
    dumps.switch_back(access, kept, fresh)  # never begun
    assert (content(raw, live), content(raw, fresh)) == (old, new)
    for lives in range(100):
        Mortal.lives = lives
        try:
            mortal.switch(access, fresh, kept)
        except Killed:
            Mortal.lives = 1 << 30
        else:
            break
        if lives % 2:
            dumps.switch(access, fresh, kept)
            assert (content(raw, live), content(raw, kept), content(raw, fresh)) == (new, old, {})
            Mortal.lives = lives
            with contextlib.suppress(Killed):
                mortal.switch_back(access, kept, fresh)
            Mortal.lives = 1 << 30
        dumps.switch_back(access, kept, fresh)
        assert (content(raw, live), content(raw, kept), content(raw, fresh)) == (old, {}, new)
    assert lives >= 5
    Mortal.lives = 1 << 30
    assert (content(raw, live), content(raw, kept)) == (new, old)
    raw.set(f"{live}:after", "the app runs again")
    dumps.switch(access, fresh, kept)  # done already
    assert content(raw, kept) == old
    dumps.discard(kept, access)
    assert {key for key in raw.keys("*") if not key.startswith(f"{live}:".encode())} == {f"{live}x:key".encode()}
