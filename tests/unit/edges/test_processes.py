# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of a pipeline: what they get, what they say, and that none stays. With zstd: test_backup_archives.py."""

from __future__ import annotations

import os
import pathlib
import subprocess
import threading
import time

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program, pipe, pipeline
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_is_written_comes_out() -> None:
    with pipeline("try") as processes:
        process = processes.start(Program(("cat",)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.write(b"hello")
        process.close()
        assert process.output.read() == b"hello"
        assert process.wait() == 0
        process.check()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no >&2; exit 7", r"Could not try: sh ended with exit code 7: no\."),
        ("exit 7", r"sh ended with exit code 7\."),
        ("kill -TERM $$", r"sh was ended by signal 15"),
        ("echo user:pa55 pa55word >&2; exit 1", r"user:<redacted> <redacted>\."),
    ],
)
def test_a_failure_says_what_the_program_said(script: str, said: str) -> None:
    with pipeline("try", ["pa55", "pa55word", ""]) as processes:
        process = processes.start(Program(("sh", "-c", script)))
        process.wait()
        with pytest.raises(HostError, match=said):
            process.check()


def test_nothing_is_left_after_an_exception() -> None:
    pids: list[int] = []

    def fail() -> None:
        with pipeline("try") as processes:
            process = processes.start(Program(("sh", "-c", "sleep 600 & echo $! $$; wait")), stdout=subprocess.PIPE)
            pids.extend(int(word) for word in process.output.readline().split())
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert len(pids) == 2
    end = time.monotonic() + 30
    while any(map(alive, pids)):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_program_that_nobody_can_start_is_named() -> None:
    with pipeline("try") as processes:
        with pytest.raises(HostError, match="the program no-such-program is not installed"):
            processes.start(Program(("no-such-program",)))
        if os.geteuid() == 0:
            with pytest.raises(HostError, match="there is no user no-such-user"):
                processes.start(Program(("true",), user="no-such-user"))


def test_an_input_that_nobody_reads_any_more_is_told() -> None:
    with pipeline("try") as processes:
        process = processes.start(Program(("true",)), stdin=subprocess.PIPE)
        process.wait()
        assert not process.write(b"hello")


def test_readers_end_before_what_they_read_is_closed() -> None:
    read: list[bytes] = []
    with pipeline("try") as processes:
        process = processes.start(Program(("sh", "-c", "echo hello; sleep 600")), stdout=subprocess.PIPE)
        seen = threading.Event()

        def reading() -> None:
            while part := os.read(process.output.fileno(), 100):
                read.append(part)
                seen.set()

        processes.read_by(threading.Thread(target=reading))
        seen.wait(30)
    assert read == [b"hello\n"]


def test_environment_and_repr() -> None:
    program = Program(("sh", "-c", 'echo "$WORD $LC_ALL"; pwd'), {"WORD": "hello"})
    assert "hello" not in repr(program)
    with pipeline("try") as processes:
        process = processes.start(program, stdout=subprocess.PIPE)
        assert process.output.read() == b"hello C.UTF-8\n/\n"


def test_descriptors_are_inherited_by_the_same_number() -> None:
    reading, writing = pipe()
    with os.fdopen(reading, "rb") as source, pipeline("try") as processes:
        with os.fdopen(writing, "wb"):
            processes.start(Program(("sh", "-c", f"echo hello > /dev/fd/{writing}"), descriptors=(writing,)))
        assert source.read() == b"hello\n"
