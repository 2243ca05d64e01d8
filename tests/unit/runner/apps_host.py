# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with apps, in directories of a test's own."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, docker_ports
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan
from ansible_collections.serverkit.core.plugins.module_utils._runner.apps import Apps
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import AppRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, PortLease
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

TEMPLATE: dict[str, Any] = {
    "id": "web",
    "name": "Web",
    "version": "1.0",
    "description": "A page with a database",
    "main_service": "web",
    "post_install": "echo ${GREETING} with ${DB_PASSWORD}",
    "variables": [
        {"name": "HTTP_PORT", "type": "port"},
        {"name": "GREETING", "default": "hello"},
        {"name": "DB_PASSWORD", "type": "password"},
    ],
    "compose": {
        "services": {
            "web": {
                "image": "nginx",
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"GREETING": "${GREETING}", "PASSWORD": "${DB_PASSWORD}"},
                "restart": "unless-stopped",
            },
            "db": {"image": "mariadb", "environment": {"PASSWORD": "${DB_PASSWORD}"}, "volumes": ["db:/var/lib/mysql"]},
        },
        "volumes": {"db": {}},
    },
}
DEFINITIONS = json.dumps({"web": {"document": TEMPLATE, "text": "id: web\n", "source": "web.yaml"}})


class FakeHost:
    """A host with directories of its own and a Docker that shows the containers that it was told."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.lines: list[dict[str, str]] = []
        self.volumes: list[dict[str, str]] = []
        self.hidden: set[str] = set()
        self.definitions = DEFINITIONS
        self.commands = FakeCommands(answer=self._answer)

    def _answer(self, argv: Sequence[str]) -> Completed:
        shown = {"ps": self.lines, "volume": self.volumes}.get(argv[1], [])
        if docker_ports._LISTED in argv:
            return Completed(0, "", "")  # of their ports, the registry knows
        return Completed(0, "".join(f"{json.dumps(line)}\n" for line in shown), "")

    def plan(self, *wanted: AppRequest, check: bool = True) -> list[AppPlan | Failure]:
        host = Host(self.commands, Settings(), check, self.hidden.add)
        return list(Apps(host, {"definitions": self.definitions}, str(self.root / "apps")).plan(wanted))

    def make_so(self, plan: AppPlan) -> None:
        """Put the host into the state in which applying the plan leaves it."""
        assert plan.target is not None
        directory, release = plan.draft.directory, plan.target.release
        directory.write(plan.target.files)
        app_files.write_template("web", plan.after.template or "id: web\n")
        with open_registry(Settings(), read_only=False) as registry, registry.transaction():
            registry.remove_ports(plan.name, {lease.name for lease in registry.ports() if lease.owner == plan.name})
            for name, port in plan.after.ports.items():
                registry.add_port(PortLease(int(port.split("/")[0]), "tcp", plan.name, name))
            registry.put_app(
                AppRecord(
                    name=plan.name,
                    template=release.template,
                    template_version=release.version,
                    state="started",
                    content_hash=decide.content_hash(plan.target.files),
                    config_hashes=dict.fromkeys(release.services, "1"),
                    main_port=8000,
                    confirmed=True,
                )
            )
        self.lines = [line for line in self.lines if line["project"] != plan.name]
        self.lines += [
            {
                "ID": f"{plan.name}{service}",
                "Names": f"{plan.name}-{service}-1",
                "State": "running",
                "Status": "Up 2 hours",
                "project": plan.name,
                "service": service,
                "directory": directory.path,
                "config_hash": "1",
                "one_off": "False",
            }
            for service in release.services
        ]


def planned(outcome: AppPlan | Failure) -> AppPlan:
    assert isinstance(outcome, AppPlan), outcome.error
    return outcome


def refusal(outcome: AppPlan | Failure) -> ServerkitError:
    assert isinstance(outcome, Failure)
    return outcome.error
