# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands and telling the person at the terminal what happens.

Progress goes to stderr and results to stdout, so that `address=$(testbed.py host create ...)` works.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

HEARTBEAT_SECONDS = 10
TAIL_LINES = 30


class Failure(Exception):
    """Something that the user has to know, in a sentence that says what to do."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a lock that other runs of the test bed wait for, and that ends with the process whatever happens."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def succeeds(argv: Sequence[str]) -> bool:
    try:
        return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


def output(argv: Sequence[str], stdin: str | None = None) -> str:
    """The standard output of a short command; a Failure that quotes its error otherwise."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Failure(f"The command {argv[0]!r} is missing; `testbed.py engine` installs what is needed.") from error
    if done.returncode != 0:
        raise Failure(f"`{shlex.join(argv)}` failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def work(title: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Run a long command quietly, with a sign of life, and show the end of its output only when it fails."""
    began = time.monotonic()
    say(f"* {title} ...")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
        code = _wait(process, began, log)
        if code != 0:
            raise Failure(f"{title}: `{shlex.join(argv)}` failed ({code}):\n" + "\n".join(_tail(log, TAIL_LINES)))
    say(f"  done after {time.monotonic() - began:.0f} s")


def _wait(process: subprocess.Popen[bytes], began: float, log: IO[bytes]) -> int:
    try:
        while True:
            try:
                return process.wait(timeout=HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                last = (_tail(log, 1) or [""])[0]
                say(f"  {time.monotonic() - began:4.0f} s  {last[:90]}")
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _tail(log: IO[bytes], count: int) -> list[str]:
    # pread does not move the offset that the running command writes at.
    size = os.fstat(log.fileno()).st_size
    start = max(0, size - 16384)
    text = os.pread(log.fileno(), size - start, start).decode(errors="replace")
    return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-count:]
