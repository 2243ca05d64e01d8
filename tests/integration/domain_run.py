# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_domain as a process of its own, against an nginx elsewhere than /etc: run, killed and run again by tests.

Reads from standard input the items, the task's options and where everything is, writes the outcomes to standard output.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.domains import Domains
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values import domain
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import parse_acme
from programs import Programs

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
    "tls": "none",
    "challenge": "http-01",
    "certificate": None,
    "private_key": None,
}


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
        acme=parse_acme(task["acme"]) if "acme" in task else None,
        private_domain=domain.parse_private_domain(task.get("private_domain")),
        clock=lambda: datetime.now(timezone.utc) + timedelta(seconds=task.get("later", 0)),
    )
    if "hosts" in task:
        _answer_from(task["hosts"])
    held = locks.held.__wrapped__  # type: ignore[attr-defined]
    held.__kwdefaults__["directory"] = task["locks"]
    items = [_parsed(item) for item in task["items"]]
    try:
        outcomes = converge(resource, items, check=host.check)
    except ServerkitError as error:
        return {"error": str(error), "results": [], "calls": programs.calls}
    return {"results": [_result(outcome) for outcome in outcomes], "calls": programs.calls}


def _answer_from(hosts: Mapping[str, Sequence[str]]) -> None:
    """Take the place of DNS."""
    ask = socket.getaddrinfo

    def getaddrinfo(name: Any, *rest: Any, **more: Any) -> Any:
        if name not in hosts:
            return ask(name, *rest, **more)
        if not hosts[name]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in hosts[name]]

    socket.getaddrinfo = getaddrinfo


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
