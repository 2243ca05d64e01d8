# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program so that a person watching can tell slow from stuck."""

from __future__ import annotations

import contextlib
import pathlib
import queue
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SILENCE = 15.0  # seconds without a line of output before saying that the program is still running
DRAIN = 2.0  # seconds granted to output after the program has ended


@dataclass(frozen=True)
class Run:
    """How a program went."""

    code: int
    seconds: float
    output: str


# What lines start with, for each thread: output of programs that run side by side has to be told apart.
_thread = threading.local()


def mark(prefix: str) -> None:
    """Start each line that this thread says with a word."""
    _thread.prefix = prefix


def marked() -> bool:
    """Whether this thread's lines start with a word."""
    return bool(getattr(_thread, "prefix", ""))


def say(text: str) -> None:
    prefix = getattr(_thread, "prefix", "")
    print("\n".join(f"{prefix}{line}" for line in text.split("\n")) if prefix else text, flush=True)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02d}s" if minutes else f"{seconds:.1f}s"


def run(
    argv: Sequence[str | pathlib.Path],
    *,
    cwd: pathlib.Path,
    env: Mapping[str, str],
    label: str,
    quiet: bool = False,
) -> Run:
    """Run `argv` and pass its output on; a quiet program's only if it fails."""
    words = [str(word) for word in argv]
    say(f"==> {label}: {shlex.join([pathlib.Path(words[0]).name, *words[1:]])}")
    started = time.monotonic()
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines: list[str] = []
    try:
        for line in _lines(process, label, started):
            lines.append(line)
            if not quiet:
                say(line)
    except KeyboardInterrupt:
        # The terminal has sent the signal to the program as well: let it clean up, and do not outlive it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        process.kill()
        raise
    code = process.wait()
    if quiet and code:
        say("\n".join(lines))
    seconds = time.monotonic() - started
    say(f"<== {label}: {_ending(code)} after {duration(seconds)}")
    return Run(code=code, seconds=seconds, output="\n".join(lines))


def _ending(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "ok" if code == 0 else f"FAILED (exit code {code})"


def _lines(process: subprocess.Popen[str], label: str, started: float) -> Iterator[str]:
    """The program's lines, as they come, with a sign of life printed into long silences.

    Stops soon after the program ends, even if something it left running (an SSH control master, a daemon) keeps its
    output open: waiting for the end of the file would then wait forever.
    """
    stream = process.stdout
    if stream is None:
        return
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    heard = time.monotonic()
    ended: float | None = None
    while True:
        try:
            line = lines.get(timeout=0.5)
        except queue.Empty:
            now = time.monotonic()
            if ended is None and process.poll() is not None:
                ended = now
            if ended is not None and now - ended > DRAIN:
                return
            if ended is None and now - heard > SILENCE:
                heard = now
                say(f"... {label}: still running, {duration(now - started)}")
            continue
        if line is None:
            return
        heard = time.monotonic()
        yield line
