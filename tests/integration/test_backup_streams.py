# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data between programs and compressed files, with the real zstd: nothing is lost, and no failure is silent."""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import backup_files
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from backup_files import noise

pytestmark = pytest.mark.real


def plain(path: pathlib.Path) -> bytes:
    return subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of one megabyte."""
    with backup_files.small_disk(tmp_path) as place:
        yield place


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3_000_001])
def test_what_a_program_prints_is_stored_and_described(tmp_path: pathlib.Path, size: int) -> None:
    content, path = noise(size), tmp_path / "content.zst"
    (tmp_path / "content").write_bytes(content)
    stored = streams.store(Program(("cat", str(tmp_path / "content"))), str(path))
    assert plain(path) == content
    assert stored.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (stored.size, stored.content_size, stored.tail) == (path.stat().st_size, size, content[-4096:])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert streams.check(str(path)) == stored
    with streams.read(str(path)) as parts:
        assert b"".join(list(parts)) == content
    streams.load(str(path), Program(("cmp", str(tmp_path / "content"), "-")))


def test_the_parts_of_a_generator_are_stored(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.zst"
    stored = streams.store((b"%d\n" % number for number in range(100_000)), str(path))
    assert plain(path) == b"".join(b"%d\n" % number for number in range(100_000))
    assert stored.tail.endswith(b"\n99999\n")
    assert len(stored.tail) == 4096
    assert streams.check(str(path)) == stored


def test_an_existing_file_is_not_replaced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.zst"
    path.write_text("mine")
    with pytest.raises(HostError, match="File exists"):
        streams.store([b"x"], str(path))
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        # After much of the output, which zstd would make a whole file of.
        ("head -c 5000000 /dev/zero; echo broken table >&2; exit 3", "sh ended with exit code 3: broken table"),
        ("echo x; kill -9 $$", "sh was ended by signal 9"),
        # More than a pipe holds, none of it read before the end.
        ("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1", "xthe end"),
        ("echo using s3cret:pass >&2; exit 1", "using <redacted>"),
    ],
)
def test_a_failed_program_leaves_nothing(tmp_path: pathlib.Path, script: str, said: str) -> None:
    with pytest.raises(HostError) as caught:
        streams.store(Program(("sh", "-c", script)), str(tmp_path / "x.zst"), ["s3cret:pass"])
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_failed_generator_leaves_nothing(tmp_path: pathlib.Path) -> None:
    def parts() -> Iterator[bytes]:
        yield noise(2_000_000)
        raise LookupError("the server went away")

    with pytest.raises(LookupError):
        streams.store(parts(), str(tmp_path / "x.zst"))
    assert not list(tmp_path.iterdir())


def test_a_missing_program_and_a_missing_user_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HostError, match="no-such-dump is not installed"):
        streams.store(Program(("no-such-dump",)), str(tmp_path / "x.zst"))
    with pytest.raises(HostError, match="there is no user nobody-at-all"):
        streams.store(Program(("true",), user="nobody-at-all"), str(tmp_path / "x.zst"))
    assert not list(tmp_path.iterdir())


def test_a_program_runs_as_its_user_with_its_environment(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "x.zst")
    script = 'id -un; id -Gn; echo "$HOME $WORD"; pwd'
    streams.store(Program(("sh", "-c", script), {"WORD": "hello"}, user="daemon"), path)
    assert plain(pathlib.Path(path)).decode().splitlines() == ["daemon", "daemon", "/usr/sbin hello", "/"]


def test_an_exit_status_can_be_accepted(tmp_path: pathlib.Path) -> None:
    streams.store(Program(("sh", "-c", "echo x; exit 1"), accepted=(0, 1)), str(tmp_path / "x.zst"))
    assert plain(tmp_path / "x.zst") == b"x\n"


def test_a_full_disk_is_named_and_left_empty(small_disk: pathlib.Path) -> None:
    path = small_disk / "x.zst"
    (small_disk / "other").write_bytes(b"mine")
    with pytest.raises(HostError, match="No space left on device"):
        streams.store((noise(500_000) for _number in range(100)), str(path))
    # The program is slower than the disk: it has to be stopped, not waited for.
    with pytest.raises(HostError, match="No space left on device"):
        streams.store(Program(("sh", "-c", "head -c 4000000 /dev/urandom; exec cat /dev/urandom")), str(path))
    assert [entry.name for entry in small_disk.iterdir()] == ["other"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "longer", "not compressed"])
def test_damage_is_found_and_not_given_on(tmp_path: pathlib.Path, damage: str) -> None:
    path = tmp_path / "x.zst"
    streams.store([noise(3_000_000)], str(path))
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "flipped":
        content[len(content) // 2] ^= 4
    elif damage == "empty":
        content.clear()
    elif damage == "longer":
        content += b"more"
    else:
        content[:] = b"-- a dump" * 1000
    path.write_bytes(content)
    with pytest.raises(HostError):
        streams.check(str(path))
    with pytest.raises(HostError), streams.read(str(path)) as parts:
        list(parts)
    # The target would take the end of its input for the end of the content.
    with pytest.raises(HostError):
        streams.load(str(path), Program(("sh", "-c", f"cat > /dev/null && touch {tmp_path}/whole")))
    assert not (tmp_path / "whole").exists()


def test_a_target_that_stops_early_or_fails_is_noticed(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "x.zst")
    streams.store([noise(5_000_000)], path)
    with pytest.raises(HostError, match="without having read everything"):
        streams.load(path, Program(("head", "-c", "10")))
    streams.load(path, Program(("head", "-c", "10"), may_stop_early=True))
    with pytest.raises(HostError, match="exit code 4: ERROR 1064 near <redacted>"):
        streams.load(path, Program(("sh", "-c", "head -c 10 >/dev/null; echo ERROR 1064 near pw >&2; exit 4")), ["pw"])


def test_reading_can_be_given_up(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "x.zst")
    streams.store([noise(5_000_000)], path)
    with streams.read(path) as parts:
        assert noise(5_000_000).startswith(next(parts))
    assert not descendants()


def test_several_pipelines_at_once_do_not_hold_each_others_ends(tmp_path: pathlib.Path) -> None:
    """A pipe's end in somebody else's program would keep a reader waiting for ever."""

    def store_and_load(number: int) -> str:
        path = str(tmp_path / f"{number}.zst")
        stored = streams.store(Program(("sh", "-c", f"head -c {number * 400_000} /dev/zero")), path)
        streams.load(path, Program(("sh", "-c", f"sleep 0.0{number}; cat")))
        return f"{stored.content_size}"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(store_and_load, range(8))) == [str(number * 400_000) for number in range(8)]
    assert not descendants()


def descendants() -> list[str]:
    """The programs that this test has started and that still run."""
    done = subprocess.run(
        ["ps", "-o", "comm=", "--ppid", str(os.getpid())], stdout=subprocess.PIPE, text=True, check=False
    )
    return [name for name in done.stdout.split() if name != "ps"]
