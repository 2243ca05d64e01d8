# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work that is measured: what serverkit.core does, and the same done in another way."""

from __future__ import annotations

import json
import re
import shlex
import statistics
import time
from pathlib import Path
from typing import Any

import module_times
from ansible_runs import HERE, Ansible, PlaybookRun
from comparison import Comparison, Samples
from server import PYTHON, Server

from shell import Failure, say

PORT_SCAN = HERE / "files" / "port_scan.py"
TEMPLATE = HERE / "templates" / "benchmark-page.yaml"
GREETING = "Hello"
# So many times in a round each module is started with nothing to do; the first time does not count.
STARTS = 10
# The budgets are about this many; what starting Ansible and a module takes weighs more when there are fewer.
BUDGETED_APPS, BUDGETED_PORTS = 100, 1000

# Prints, for each app: name, directory, its mode, Compose file, environment.
READ_APPS = """
import json, os, sys
for app in sys.argv[1:]:
    folder = f"/var/serverkit/apps/{app}"
    mode = format(os.stat(folder).st_mode & 0o7777, "04o")
    texts = [open(f"{folder}/{name}").read() for name in ("docker-compose.yml", ".env")]
    print(json.dumps([app, folder, mode, *texts]))
"""

Variables = dict[str, Any]


class Cases:
    """The rows of the table, on one server. `prepare` comes first, then any number of rounds."""

    def __init__(self, server: Server, ansible: Ansible, work: Path, apps: int, ports: int, scanned: int) -> None:
        self._server = server
        self._ansible = ansible
        self._compose_template = work / "docker-compose.yml.j2"
        self._names = [f"bench-{number:03}" for number in range(1, apps + 1)]
        self._ports = ports
        self._scanned = scanned
        self._loops: list[Variables] = []
        self._taken: list[int] = []
        self._round = 0
        self._samples: dict[str, Samples] = {}

    def prepare(self) -> None:
        """Deploy the apps, and describe what came of it for the loops, which converge the very same apps."""
        say(f"* Deploying {len(self._names)} apps, which takes a second or two for each ...")
        self._server.write(f"/root/{PORT_SCAN.name}", PORT_SCAN.read_text(encoding="utf-8"))
        module_times.install(self._server)
        self._converge()
        self._expect_unchanged("a second deployment of the same apps", self._converge())
        self._describe_for_loops()

    def measure_round(self, *, loops: bool) -> None:
        """Do everything once, one way and the other in turn.

        :param loops: whether to run the loops as well, which take minutes.
        """
        self._round += 1
        self._converge_unchanged(loops)
        self._change_one()
        self._reserve_ports()
        self._start_modules()

    def rows(self) -> list[Comparison]:
        """Return the table of what has been measured."""
        of, apps = self._samples, len(self._names)
        many_apps, many_ports = apps >= BUDGETED_APPS, self._ports >= BUDGETED_PORTS
        unchanged, changed = f"converge {apps} unchanged apps", f"change 1 app of {apps}"
        shell, compose = "`docker compose up -d` in a shell loop", "`docker compose up -d --wait` of that app"
        reserved = f"reserve {self._ports} ports in one call"
        scan = f"socket and `docker ps` per port, {self._scanned} scaled to {self._ports}"
        work = of["ports module"].without(of["command module"])
        rows = []
        if "loops" in of:
            loops = "loops over four modules"
            rows.append(Comparison(unchanged, of["converge"], loops, of["loops"], 1 / 30 if many_apps else None))
        return [
            *rows,
            Comparison(unchanged, of["converge"], shell, of["shell"], 1 / 2 if many_apps else None),
            Comparison(changed, of["change"], compose, of["compose"], 2 if many_apps else None),
            Comparison(f"{changed} (task)", of["change task"], f"{compose} (task)", of["compose task"]),
            # The other side's clock starts when its program runs already; what starting a module takes is below.
            Comparison(f"{reserved} (work)", work, scan, of["scan"], 1 / 100 if many_ports else None),
            Comparison(f"{reserved} (module)", of["ports module"], scan, of["scan"]),
            Comparison(f"{reserved} (run)", of["ports"], scan, of["scan"]),
            *self._start_rows("module", largest_difference=0.25),
            *self._start_rows("task"),
        ]

    def _start_rows(self, part: str, largest_difference: float | None = None) -> list[Comparison]:
        return [
            Comparison(
                f"start {module}, nothing to do ({part})",
                self._samples[f"{module} {part}"],
                f"`command: true` ({part})",
                self._samples[f"command {part}"],
                as_difference=True,
                largest_difference=largest_difference,
            )
            for module in ("serverkit_port", "serverkit_app")
        ]

    # What is measured

    def _converge_unchanged(self, loops: bool) -> None:
        run = self._expect_unchanged("serverkit_app", self._converge())
        self._note("converge", run.seconds, "serverkit_app, nothing to change")
        if loops:
            variables = {"benchmark_apps": self._loops, "benchmark_compose_template": str(self._compose_template)}
            run = self._expect_unchanged("the loops", self._ansible.run("loops.yml", variables))
            self._note("loops", run.seconds, "loops over modules, nothing to change")
        directories = " ".join(shlex.quote(app["directory"]) for app in self._loops)
        script = f"for app in {directories}; do cd $app && docker compose up -d 2>&1 || exit 1; done"
        seconds, shown = self._timed(script)
        if "Started" in shown or "Created" in shown:
            raise Failure(f"The shell loop found something to change, so the comparison would mean nothing:\n{shown}")
        self._note("shell", seconds, "shell loop, nothing to change")

    def _change_one(self) -> None:
        first, last = self._loops[0], self._loops[-1]
        run = self._converge({first["name"]: f"{GREETING} {self._round}"})
        if run.items_changed != [first["name"]]:
            raise Failure(f"A variable of {first['name']} was changed, and serverkit_app changed {run.items_changed}.")
        self._note("change", run.seconds, "serverkit_app, one app changed")
        self._note("change task", run.task("Converge the apps"))
        self._converge()

        directory = shlex.quote(last["directory"])
        self._server.run(f"cd {directory} && cp -p docker-compose.yml /root/kept.yml")
        before = self._container_of(last["name"])
        self._server.run(f"cd {directory} && sed -i 's/{GREETING}/Bye/' docker-compose.yml")
        run = self._ansible.run("compose.yml", {"benchmark_directory": last["directory"]})
        if before == self._container_of(last["name"]):
            raise Failure("`docker compose up` found nothing to change in the app that was changed.")
        self._note("compose", run.seconds, "docker compose up -d --wait, one app changed")
        self._note("compose task", run.task("Bring the app up"))
        self._server.run(f"cd {directory} && cp -p /root/kept.yml docker-compose.yml && docker compose up -d --wait")
        self._expect_unchanged("serverkit_app, after everything was put back", self._converge())

    def _reserve_ports(self) -> None:
        names = [f"port-{number:04}" for number in range(1, self._ports + 1)]
        wanted = [{"owner": "benchmark-ports", "name": name} for name in names]
        module_times.read(self._server)
        run = self._ansible.run("ports.yml", {"benchmark_ports": wanted, **module_times.TIMED})
        (module,) = module_times.read(self._server)
        if len(run.items_changed) != self._ports:
            raise Failure(f"Of {self._ports} new ports, {len(run.items_changed)} were reserved.")
        self._note("ports", run.seconds, f"serverkit_port, {self._ports} ports")
        self._note("ports module", module, "  of that, the module on the server")
        self._ansible.run("ports.yml", {"benchmark_ports": [{**port, "state": "absent"} for port in wanted]})

        words = [PYTHON, f"/root/{PORT_SCAN.name}", str(self._scanned), *map(str, self._taken)]
        seconds = float(self._server.run(shlex.join(words)))
        scaled = seconds * self._ports / self._scanned
        self._note("scan", scaled, f"{self._scanned} ports one by one took {seconds:.2f} s, so {self._ports}")

    def _start_modules(self) -> None:
        module_times.read(self._server)
        variables = {"benchmark_apps": self._wanted()[:1], "benchmark_repetitions": STARTS, **module_times.TIMED}
        run = self._ansible.run("start.yml", variables)
        modules = module_times.read(self._server)
        starts = {"command": "Run true", "serverkit_port": "Keep a port", "serverkit_app": "Keep an app"}
        for index, (name, task) in enumerate(starts.items()):
            # The first of each writes what the others then find.
            self._note(f"{name} task", statistics.median(run.tasks[task][1:]))
            self._note(f"{name} module", statistics.median(modules[index :: len(starts)][1:]), f"{name} on the server")

    # How

    def _wanted(self, greetings: dict[str, str] | None = None) -> list[Variables]:
        return [
            {
                "name": name,
                "template": str(TEMPLATE),
                "variables": {"GREETING": (greetings or {}).get(name, GREETING)},
            }
            for name in self._names
        ]

    def _converge(self, greetings: dict[str, str] | None = None) -> PlaybookRun:
        return self._ansible.run("converge.yml", {"benchmark_apps": self._wanted(greetings)})

    def _expect_unchanged(self, who: str, run: PlaybookRun) -> PlaybookRun:
        if run.changed:
            names = ", ".join(run.items_changed) or "something"
            raise Failure(f"A change of {names} by {who}, although nothing was to change: nothing can be compared.")
        return run

    def _timed(self, script: str) -> tuple[float, str]:
        """Run a script on the server and return its seconds, the connection included, and what it printed."""
        began = time.monotonic()
        shown = self._server.run(script)
        return time.monotonic() - began, shown

    def _container_of(self, app: str) -> str:
        return self._server.run(f"docker ps --quiet --filter label=com.docker.compose.project={app}")

    def _note(self, key: str, seconds: float, title: str = "") -> None:
        self._samples.setdefault(key, Samples()).seconds.append(seconds)
        if title:
            say(f"    {title}: {seconds:.2f} s")

    def _describe_for_loops(self) -> None:
        ports = self._published_ports()
        self._taken = sorted(ports.values())
        answer = self._server.run(shlex.join([PYTHON, "-c", READ_APPS, *self._names]))
        templates = set()
        for line in answer.splitlines():
            name, directory, mode, compose, environment = json.loads(line)
            templates.add(compose.replace(name, "{{ item.name }}").replace(str(ports[name]), "{{ item.port }}"))
            app = {"name": name, "port": ports[name], "directory": directory, "directory_mode": mode}
            self._loops.append({**app, "environment": environment})
        if len(templates) != 1:
            raise Failure("The apps' Compose files differ in more than name and port: no template can be made of them.")
        self._compose_template.write_text(templates.pop(), encoding="utf-8")

    def _published_ports(self) -> dict[str, int]:
        shown = self._server.run("""docker ps --format '{{.Label "com.docker.compose.project"}} {{.Ports}}'""")
        found = re.findall(r"^(\S+) [0-9.]+:(\d+)->", shown, re.MULTILINE)
        return {project: int(port) for project, port in found}
