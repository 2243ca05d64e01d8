# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running playbooks, timed as a whole by the clock on the wall and task by task by a callback plugin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shell import Failure, say

HERE = Path(__file__).resolve().parent
SILENCE_SECONDS = 15
TAIL_LINES = 40


@dataclass(frozen=True)
class PlaybookRun:
    """How a run of `ansible-playbook` went, and what it took."""

    seconds: float  # from the start of the process to its end
    tasks: dict[str, list[float]]  # seconds of each task, by its name
    changed: int  # tasks
    items_changed: list[str]  # names of the items that modules of ours say they have changed

    def task(self, name: str) -> float:
        """Return the seconds of a task that ran once."""
        (seconds,) = self.tasks[name]
        return seconds


class Ansible:
    """`ansible-playbook` with a given inventory."""

    def __init__(self, work: Path, inventory: str) -> None:
        self._work = work
        self._inventory = work / "inventory.json"
        self._inventory.write_text(inventory, encoding="utf-8")
        # What the user has configured for other purposes has no place in a comparison.
        self._configuration = work / "ansible.cfg"
        self._configuration.write_text("", encoding="utf-8")
        self._timings = work / "timings.jsonl"
        self._log = work / "ansible.log"
        program = shutil.which("ansible-playbook")
        if program is None:
            raise Failure("ansible-playbook is not on PATH; `make bench` prepares one and calls this program with it.")
        self._program = program

    def run(self, playbook: str, variables: dict[str, Any]) -> PlaybookRun:
        """Run one of the playbooks beside this file.

        :raises Failure: when it fails, with the end of its output.
        """
        (self._work / "variables.json").write_text(json.dumps(variables), encoding="utf-8")
        self._timings.write_text("", encoding="utf-8")
        command = [self._program, "-i", str(self._inventory), "-e", f"@{self._work / 'variables.json'}"]
        began = time.monotonic()
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*command, str(HERE / playbook)], cwd=HERE, env=self._environment(), stdout=log, stderr=log
            )
            code = self._wait(process, began)
        seconds = time.monotonic() - began
        if code != 0:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
            end = "\n".join(line[:2000] for line in lines[-TAIL_LINES:])
            raise Failure(f"The playbook {playbook} failed ({code}):\n{end}")
        return self._read(seconds)

    def _environment(self) -> dict[str, str]:
        ours = {
            "ANSIBLE_CONFIG": str(self._configuration),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "benchmark_timings",
            "ANSIBLE_HOME": str(self._work / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "LC_ALL": "C.UTF-8",
            "BENCHMARK_TIMINGS": str(self._timings),
        }
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        path = os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(HERE.parents[1] / ".dev"))
        return {**theirs, **ours, "ANSIBLE_COLLECTIONS_PATH": path}

    def _wait(self, process: subprocess.Popen[bytes], began: float) -> int:
        try:
            while True:
                try:
                    return process.wait(timeout=SILENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    done = sum("item" in event for event in self._events())
                    items = f", {done} items of loops done" if done else ""
                    say(f"      ... still at it after {time.monotonic() - began:.0f} s{items}")
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise

    def _read(self, seconds: float) -> PlaybookRun:
        tasks: dict[str, list[float]] = {}
        items_changed: list[str] = []
        changed = 0
        for event in self._events():
            if "task" in event:
                tasks.setdefault(event["task"], []).append(event["seconds"])
                items_changed += event["items_changed"]
            changed = event.get("changed", changed)
        return PlaybookRun(seconds, tasks, changed, items_changed)

    def _events(self) -> list[dict[str, Any]]:
        text = self._timings.read_text(encoding="utf-8")
        # The last line may be half written.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
