# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Programs whose input and output are pipes of ours.

None outlives us: neither an exception, nor the kill of our process. None waits for us to read what it complains of.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, cast

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

# What a pipe may hold without a privilege (pipe(7), /proc/sys/fs/pipe-max-size); read and written at once.
CHUNK = 1 << 20
# Of what a program complained of, the last part is the reason.
_COMPLAINT = 16384


@dataclass(frozen=True)
class Program:
    """A program with its arguments, of which everybody on the host can see `argv`.

    :ivar environment: in addition to ours; only root and the user can see it.
    :ivar user: whom it is run as, where we are root; empty is ourselves.
    :ivar accepted: exit statuses that are none of a failure.
    :ivar may_stop_early: reading from us, it may succeed without having read everything.
    :ivar descriptors: that it inherits, by the same numbers.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str = ""
    accepted: tuple[int, ...] = (0,)
    may_stop_early: bool = False
    descriptors: tuple[int, ...] = ()


class _Complaints(threading.Thread):
    """Reads what a program complains of, as long as it does, and keeps the end of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        with self._stream:
            while part := os.read(self._stream.fileno(), _COMPLAINT):
                self._kept = (self._kept + part)[-_COMPLAINT:]

    def text(self) -> str:
        # A daemon that the program left behind may hold the other end for good.
        self.join(timeout=5)
        return self._kept.decode(errors="replace")


class Process:
    """A program that runs."""

    def __init__(
        self, program: Program, process: subprocess.Popen[bytes], attempted: str, secrets: Sequence[str]
    ) -> None:
        self._program = program
        self._process = process
        self._attempted = attempted
        self._secrets = secrets
        self._complaints = _Complaints(cast("IO[bytes]", process.stderr))

    @property
    def output(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdout)

    @property
    def _input(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdin)

    def write(self, part: bytes | memoryview) -> bool:
        """Tell whether the program took it; it may have ended."""
        try:
            write(self._input.fileno(), part)
        except BrokenPipeError:
            return False
        return True

    def close(self) -> None:
        """End the program's input."""
        self._input.close()

    def wait(self) -> int:
        return self._process.wait()

    def check(self) -> None:
        """
        :raises HostError: when the program ended with a status that means failure.
        """
        status = self._process.returncode
        if status in self._program.accepted:
            return
        text = self._complaints.text()
        for secret in sorted(filter(None, self._secrets), key=len, reverse=True):
            text = text.replace(secret, "<redacted>")
        name = os.path.basename(self._program.argv[0])
        ended = f"{name} was ended by signal {-status}" if status < 0 else f"{name} ended with exit code {status}"
        said = " ".join(text.split())[-2000:]
        raise HostError(self._attempted, f"{ended}: {said}" if said else ended)

    def end(self) -> None:
        """Kill the program, with what it has started, unless it has ended by itself."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close_all(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Processes:
    """The programs of one pipeline; `pipeline` makes and ends them."""

    def __init__(self, attempted: str, secrets: Sequence[str]) -> None:
        self._attempted = attempted
        self._secrets = secrets
        self._running: list[Process] = []
        self._readers: list[threading.Thread] = []

    def read_by(self, reader: threading.Thread) -> None:
        """Start a thread that reads what a program prints."""
        self._readers.append(reader)
        reader.start()

    def start(self, program: Program, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL) -> Process:
        """
        :raises HostError: when there is no such program, or no such user.
        """
        path = shutil.which(program.argv[0])
        if path is None:
            raise HostError(
                self._attempted, f"the program {program.argv[0]} is not installed", "Run site.yml, or install it"
            )
        try:
            # Gigabytes pass from one program to the next, and run_command keeps all output in memory.
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                [*_dying_with_us(), path, *program.argv[1:]],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", **_home(program.user), **program.environment},
                start_new_session=True,
                pass_fds=program.descriptors,
                **_identity(program.user),
            )
        except (OSError, KeyError) as error:
            reason = f"there is no user {program.user}" if isinstance(error, KeyError) else error.strerror or str(error)
            raise HostError(self._attempted, f"{program.argv[0]} cannot be started: {reason}") from error
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _widen(stream.fileno())
        started = Process(program, process, self._attempted, self._secrets)
        self._running.append(started)
        return started

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            process.end()
        for reader in self._readers:
            reader.join()  # what it reads has ended; its descriptor must not become another file's before
        for process in self._running:
            process.close_all()


@contextlib.contextmanager
def pipeline(attempted: str, secrets: Sequence[str] = ()) -> Iterator[Processes]:
    """Start programs in this context: none is left when it ends, however it does.

    :param attempted: what they are for, for the errors.
    :param secrets: replaced in what they complain of.
    """
    processes = Processes(attempted, secrets)
    try:
        yield processes
    finally:
        processes.end()


def _dying_with_us() -> tuple[str, ...]:
    """Return what has the kernel kill a program when we are killed (prctl(2), PR_SET_PDEATHSIG).

    By a program, since the child of a process with threads must not run Python. Without it, of util-linux 2.33, a
    program ends of a broken pipe, later.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _identity(user: str) -> dict[str, Any]:
    if not user or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(user)
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
    }


def _home(user: str) -> dict[str, str]:
    if not user or os.geteuid() != 0:
        return {}
    return {"HOME": pwd.getpwnam(user).pw_dir, "USER": user, "LOGNAME": user}


def pipe() -> tuple[int, int]:
    """Return the ends of a wide pipe: the one to read from, and the one to write to."""
    reading, writing = os.pipe()
    _widen(writing)
    return reading, writing


def _widen(descriptor: int) -> None:
    # Fewer switches between the programs. Refused to a user who has many pipes: then it stays as it is.
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CHUNK)


def write(descriptor: int, part: bytes | memoryview) -> None:
    """Write all of it; the kernel may take less at a time."""
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]
