# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task about linked databases takes that finds nothing to change: many links against one."""

from __future__ import annotations

import databases
import module_times
from ansible_runs import Ansible, PlaybookRun
from cases import TEMPLATE
from comparison import Comparison, Samples
from server import Server

from shell import Failure, say

BUDGETED_LINKS = 50


class Links:
    """Apps that have a database each, half of them on MariaDB and half on PostgreSQL."""

    def __init__(self, server: Server, ansible: Ansible, links: int) -> None:
        self._server = server
        self._ansible = ansible
        apps = [f"link-{number:03}" for number in range(1, links + 1)]
        self._apps = [{"name": app, "template": str(TEMPLATE)} for app in apps]
        engines = ("mariadb", "postgresql")
        self._links = [{"app": app, "engine": engines[at % 2]} for at, app in enumerate(apps)]
        self._samples: dict[str, Samples] = {}

    def prepare(self) -> None:
        """Start the servers, deploy the apps, and link them."""
        say(f"* Linking {len(self._links)} apps to databases, which takes a minute or two ...")
        module_times.install(self._server)
        databases.install(self._server)
        self._ansible.run("converge.yml", {"benchmark_apps": self._apps})
        run = self._run(self._links)
        if len(run.items_changed) != len(self._links):
            raise Failure(f"Of {len(self._links)} new links, {len(run.items_changed)} were made.")

    def measure_round(self) -> None:
        for key, links in (("many", self._links), ("one", self._links[:1])):
            module_times.read(self._server)
            run = self._run(links)
            if run.changed:
                raise Failure(f"Links were changed although nothing was to change: {', '.join(run.items_changed)}")
            (module,) = module_times.read(self._server)
            self._note(key, run.seconds, f"serverkit_db_link, {len(links)} unchanged")
            self._note(f"{key} module", module, "  of that, the module on the server")

    def rows(self) -> list[Comparison]:
        """Return the table of what has been measured."""
        of, links = self._samples, len(self._links)
        budget = 3 if links >= BUDGETED_LINKS else None
        work, other = f"keep {links} unchanged links", "one unchanged link"
        return [
            Comparison(f"{work} (run)", of["many"], f"{other} (run)", of["one"], budget),
            Comparison(f"{work} (module)", of["many module"], f"{other} (module)", of["one module"], budget),
        ]

    def _run(self, links: list[dict[str, str]]) -> PlaybookRun:
        return self._ansible.run("links.yml", {"benchmark_links": links, **module_times.TIMED})

    def _note(self, key: str, seconds: float, title: str) -> None:
        self._samples.setdefault(key, Samples()).seconds.append(seconds)
        say(f"    {title}: {seconds:.2f} s")
