# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Data between programs and compressed files, without a shell and at the speed of one.

Every exit status counts, and a program never waits for us to read what it complains of. What is started here ends with
us: with an exception, and when we are killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import (
    CHUNK,
    Process,
    Processes,
    Program,
    pipe,
    pipeline,
    write,
)
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

# Of the content: where a dump says that it is whole.
TAIL = 4096

# `--rsyncable`: a change in the content changes the compressed file near it only, so that a repository that knows equal
# parts has to take little of the next set. Its time is given back by a second thread, and by a level below the usual
# one, whose files are a few percent larger.
_COMPRESS = ("zstd", "-2", "-T2", "--rsyncable", "--quiet", "--stdout")
_DECOMPRESS = ("zstd", "--decompress", "--quiet", "--stdout")
# So much is written to the disk at once.
_BEHIND = 8 << 20
# How a program ends to whose output nobody listens any more.
_UNREAD = -signal.SIGPIPE


@dataclass(frozen=True)
class Stored:
    """A compressed file.

    :ivar size: of the file, in bytes, and `content_size` of what is in it.
    :ivar sha256: of the file, in hexadecimal digits.
    :ivar tail: the last 4096 bytes of the content; all of it when it is shorter.
    """

    size: int
    content_size: int
    sha256: str
    tail: bytes = field(default=b"", repr=False)


def store(source: Program | Iterable[bytes], path: str, secrets: Sequence[str] = ()) -> Stored:
    """Compress what a program prints, or the parts that a generator gives, into a new file of mode 0600.

    The file is on the disk when this returns, and not there at all when it does not.

    :param secrets: replaced in what the programs complain of; give the encoded forms of each as well.
    :raises HostError: when a program fails or is not there, the file exists, or the disk is full.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"write {path}", error.strerror or str(error)) from error
    try:
        with pipeline(f"write {path}", secrets) as processes:
            return _compress(processes, source, descriptor, path)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def load(path: str, target: Program, secrets: Sequence[str] = ()) -> None:
    """Give a program the content of a compressed file as its standard input; what it prints is thrown away.

    The program sees the end of its input only after all of the file was read and was right. Else it is killed before.

    :param secrets: as for `store`.
    :raises HostError: when the file is damaged, or the program fails, is not there, or stops early.
    """
    reading, writing = pipe()
    with contextlib.ExitStack() as ends:
        # Closed last: the input of a program that is to be killed must not end before.
        held = ends.enter_context(os.fdopen(writing, "wb", buffering=0))
        processes = ends.enter_context(pipeline(f"load {path}", secrets))
        with os.fdopen(reading, "rb", buffering=0):
            taker = processes.start(target, stdin=reading)
            giver = processes.start(Program((*_DECOMPRESS, "--", path), accepted=(0, _UNREAD)), stdout=writing)
        unread = giver.wait() == _UNREAD
        giver.check()
        held.close()
        taker.wait()
        taker.check()
        if unread and not target.may_stop_early:
            raise HostError(f"give {path} to {target.argv[0]}", "it ended without having read everything")


@contextlib.contextmanager
def read(path: str) -> Iterator[Iterator[bytes]]:
    """Give the content of a compressed file in parts. Whoever does not read to the end does not learn of damage there.

    :raises HostError: at the end of the content, when the file is damaged.
    """
    with pipeline(f"read {path}") as processes:
        giver = processes.start(Program((*_DECOMPRESS, "--", path)), stdout=subprocess.PIPE)
        # A buffer is used again, which whoever keeps a part would notice.
        yield (bytes(part) for part in _output(giver))


def check(path: str) -> Stored:
    """Read all of a compressed file back, from the disk, and decompress it, which compares zstd's own checksums.

    :raises HostError: when it cannot be read or decompressed.
    """
    with pipeline(f"read {path} back") as processes:
        try:
            with open(path, "rb", buffering=0) as stream:
                # What was just written would come from the memory, whatever is on the disk.
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                return _decompress(processes, stream)
        except OSError as error:
            raise HostError(f"read {path} back", error.strerror or str(error)) from error


def _compress(processes: Processes, source: Program | Iterable[bytes], descriptor: int, path: str) -> Stored:
    if isinstance(source, Program):
        parts: Iterable[bytes | memoryview] = _output(processes.start(source, stdout=subprocess.PIPE))
    else:
        parts = source
    packer = processes.start(Program(_COMPRESS), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    file = _File(packer.output, descriptor)
    processes.read_by(file)
    content = _Counter()
    for part in parts:
        content.add(part)
        if not packer.write(part):
            break  # its end says why
    packer.close()
    file.join()
    if file.error:
        raise HostError(f"write {path}", file.error.strerror or str(file.error)) from file.error
    packer.wait()
    packer.check()
    return Stored(file.size, content.size, file.digest.hexdigest(), content.tail)


def _output(producer: Process) -> Iterator[bytes | memoryview]:
    """Yield what a program prints; raise before the end when it failed, so that nobody takes a part for all."""
    yield from _buffers(producer.output)
    producer.wait()
    producer.check()


def _decompress(processes: Processes, stream: IO[bytes]) -> Stored:
    unpacker = processes.start(Program(_DECOMPRESS), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    content = _Counter()
    thread = threading.Thread(target=_drain, args=(unpacker.output, content), daemon=True)
    processes.read_by(thread)
    digest = hashlib.sha256()
    size = 0
    for part in _buffers(stream):
        digest.update(part)
        size += len(part)
        if not unpacker.write(part):
            break
    unpacker.close()
    thread.join()
    unpacker.wait()
    unpacker.check()
    return Stored(size, content.size, digest.hexdigest(), content.tail)


def _drain(stream: IO[bytes], content: _Counter) -> None:
    for part in _buffers(stream):
        content.add(part)


def _buffers(stream: IO[bytes]) -> Iterator[memoryview]:
    """Yield what can be read. Each part is overwritten by the next one: to map new memory for each costs more than the
    reading does."""
    buffer = memoryview(bytearray(CHUNK))
    descriptor = stream.fileno()
    while length := os.readv(descriptor, [buffer]):
        yield buffer[:length]


class _Counter:
    """Counts content that goes by, and keeps the end of it."""

    def __init__(self) -> None:
        self.size = 0
        self.tail = b""

    def add(self, part: bytes | memoryview) -> None:
        self.size += len(part)
        end = bytes(part[-TAIL:])
        self.tail = end if len(end) == TAIL else (self.tail + end)[-TAIL:]


class _File(threading.Thread):
    """Writes a program's output to a file that is on the disk at the end, and hashes it on the way.

    When it cannot be written, nobody reads the output any more, and the program ends of that.
    """

    def __init__(self, output: IO[bytes], descriptor: int) -> None:
        super().__init__(daemon=True)
        self.digest = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None
        self._output = output
        self._descriptor = descriptor
        self._begun = 0

    def run(self) -> None:
        try:
            for part in _buffers(self._output):
                write(self._descriptor, part)
                self.digest.update(part)
                self.size += len(part)
                self._begin_sync()
            os.fsync(self._descriptor)
        except OSError as error:
            self.error = error
        finally:
            self._output.close()

    def _begin_sync(self) -> None:
        """Keep the disk at work meanwhile, without waiting for it: all at the end would take as long again.

        The kernel begins to write what it is told that nobody needs any more (mm/fadvise.c, POSIX_FADV_DONTNEED).
        """
        length = self.size - self._begun
        if length >= _BEHIND:
            os.posix_fadvise(self._descriptor, self._begun, length, os.POSIX_FADV_DONTNEED)
            self._begun = self.size
