# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumping and loading a database, against the engine's own tools in a pipeline that is written by hand."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import tarfile
from pathlib import Path

import databases
from ansible_runs import HERE
from comparison import Comparison, Samples
from server import NAME, PYTHON, Server

from shell import Failure, say

PROGRAM = HERE / "files" / "dump_and_load.py"
MODULE_UTILS = HERE.parents[1] / "plugins" / "module_utils"
CODE = "/opt/serverkit-benchmark"
ENGINES = {"mariadb": "MariaDB", "postgresql": "PostgreSQL"}
# What a smaller database takes is mostly the start of programs.
BUDGETED_ROWS = 500_000


class Dumps:
    """A database on each engine, dumped and loaded one way and the other in turn."""

    def __init__(self, server: Server, rows: int) -> None:
        self._server = server
        self._rows = rows
        self._samples: dict[tuple[str, str], Samples] = {}
        self._size: dict[str, float] = {}

    def prepare(self) -> None:
        databases.install(self._server)
        self._server.write(f"/root/{PROGRAM.name}", PROGRAM.read_text(encoding="utf-8"))
        _copy(MODULE_UTILS, f"{CODE}/ansible_collections/serverkit/core/plugins")

    def measure(self, rounds: int) -> None:
        for engine, title in ENGINES.items():
            say(f"* Dumping and loading {self._rows} rows of {title} ...")
            words = [PYTHON, f"/root/{PROGRAM.name}", CODE, engine, str(self._rows), str(rounds)]
            found: dict[str, list[float]] = json.loads(self._server.run(shlex.join(words)))
            self._size[engine] = found.pop("size")[-1]
            for what, seconds in found.items():
                self._samples[engine, what] = Samples(seconds)
                say(f"    {what}: {self._samples[engine, what].shown()}")

    def rows(self) -> list[Comparison]:
        """Return the table of what has been measured."""
        budget = 1.1 if self._rows >= BUDGETED_ROWS else None
        others = {"dump": "its dump program into `zstd`", "load": "`zstd` into its client"}
        return [
            Comparison(
                f"{what} {self._size[engine] / 1e6:.0f} MB of {title}",
                self._samples[engine, what],
                others[what],
                self._samples[engine, f"{what} by hand"],
                budget,
            )
            for engine, title in ENGINES.items()
            for what in others
        ]


def _copy(folder: Path, place: str) -> None:
    """Put a folder of the checkout below a place on the server."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(folder, folder.name, filter=lambda member: None if "__pycache__" in member.name else member)
    script = f"rm -rf {shlex.quote(place)} && mkdir -p {shlex.quote(place)} && tar -x -C {shlex.quote(place)}"
    argv = ["docker", "exec", "-i", NAME, "sh", "-c", script]
    done = subprocess.run(argv, input=stream.getvalue(), capture_output=True, check=False)
    if done.returncode != 0:
        raise Failure(f"The collection's code could not be copied: {done.stderr.decode(errors='replace')}")
