# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_domain as a process of its own, against an nginx elsewhere than /etc: run, killed and run again by tests.

Reads from standard input the items, the task's options and where everything is, writes the outcomes to standard output.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.domains import Domains
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values import domain
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome

DEFAULTS = {
    "name": None,
    "aliases": None,
    "private_url": False,
    "slug": None,
    "port": None,
    "websocket": True,
    "state": "present",
    "dns_check": "off",
    "check_port": True,
}


class Programs:
    """Commands without Ansible; counts what nginx is asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def find(self, program: str) -> str | None:
        return shutil.which(program)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        self.calls.append(" ".join(argv))
        done = subprocess.run(
            argv,
            input=stdin,
            cwd=cwd,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr)


def run(task: Mapping[str, Any]) -> dict[str, Any]:
    programs = Programs()
    settings = Settings(task.get("registry_dsn", ""), task.get("registry_host", ""))
    host = Host(programs, settings, task.get("check", False), lambda _secret: None)
    resource = Domains(
        host,
        listed=Counter(item["app"] for item in task["items"]),
        exclusive=task.get("exclusive", False),
        layout=Layout(**task["layout"]),
        registry_path=task["registry"],
        proof_timeout=task.get("proof_timeout", 10.0),
    )
    held = locks.held.__wrapped__  # type: ignore[attr-defined]
    held.__kwdefaults__["directory"] = task["locks"]
    items = [_parsed(item) for item in task["items"]]
    try:
        outcomes = converge(resource, items, check=host.check)
    except ServerkitError as error:
        return {"error": str(error), "results": [], "calls": programs.calls}
    return {"results": [_result(outcome) for outcome in outcomes], "calls": programs.calls}


def _parsed(item: Mapping[str, Any]) -> domain.Wanted | Failure:
    options = {**DEFAULTS, **item}
    try:
        return domain.parse(options)
    except InputError as error:
        return Failure(str(options["name"]), error)


def _result(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return {
            "name": outcome.name,
            "error": str(outcome.error),
            "changed": outcome.changed,
            "rolled_back": list(outcome.rolled_back),
            "not_rolled_back": list(outcome.not_rolled_back),
        }
    return {
        "name": outcome.name,
        "changed": outcome.changed,
        "facts": dict(outcome.facts),
        "warnings": list(outcome.warnings),
        "diffs": [diff.as_result() for diff in outcome.diffs],
    }


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
