# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down how long tasks took, one JSON object per line, for `ansible_runs.py`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: benchmark_timings
type: aggregate
short_description: Writes down how long tasks took
description:
  - Appends one JSON object per event to the file that the environment variable E(BENCHMARK_TIMINGS) names.
requirements: []
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """From the moment that a task is handed to a worker to the moment that its result is back."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "benchmark_timings"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._began: dict[str, float] = {}
        self._path = Path(os.environ["BENCHMARK_TIMINGS"])

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._began[task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        now = time.monotonic()
        began = self._began.pop(result.task._uuid, None)
        if began is not None:
            items = result.result.get("results", [])
            changed = [item["name"] for item in items if item.get("changed") and "name" in item]
            self._write(task=result.task_name, seconds=now - began, items_changed=changed)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._write(item=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write(ok=sum(stats.ok.values()), changed=sum(stats.changed.values()))

    def _write(self, **event: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
