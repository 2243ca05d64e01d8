# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Docker as the `docker` program shows it: containers, their runs and logs, volumes. One process for the whole host."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Container, Run

# What Compose knows what it has made by (https://github.com/docker/compose/blob/v2.39.0/pkg/api/labels.go).
PROJECT_LABEL = "com.docker.compose.project"
VOLUME_LABEL = "com.docker.compose.volume"
_LABELS = {
    "project": PROJECT_LABEL,
    "service": "com.docker.compose.service",
    "directory": "com.docker.compose.project.working_dir",
    "config_hash": "com.docker.compose.config-hash",
    "one_off": "com.docker.compose.oneoff",
}
# `.Label` instead of `.Labels`, which joins all labels by commas without escaping those inside of values.
_FORMAT = ",".join(
    [
        *(f'"{field}":{{{{json .{field}}}}}' for field in ("ID", "Names", "State", "Status")),
        *(f'"{field}":{{{{json (.Label "{label}")}}}}' for field, label in _LABELS.items()),
    ]
)
_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")
_EXIT_CODE = re.compile(r"(?:Exited|Restarting) \((\d+)\)")


class Docker:
    """The Docker Engine of this host."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    @property
    def installed(self) -> bool:
        return self._commands.find("docker") is not None

    def containers(self, project: str = "") -> tuple[Container, ...]:
        """Return all containers, stopped ones too, or those of one Compose project.

        :raises HostError: when Docker is not installed or does not answer.
        """
        chosen = ["--filter", f"label={PROJECT_LABEL}={project}"] if project else []
        output = self._ask("list containers", ["ps", "--all", "--no-trunc", *chosen, "--format", f"{{{_FORMAT}}}"])
        return tuple(_container(json.loads(line)) for line in output.splitlines() if line)

    def runs(self, containers: Sequence[str], now: dt.datetime) -> tuple[Run, ...]:
        """Return how long containers have been running and how often they were restarted; `now` is in UTC.

        :raises HostError: when one of them is gone.
        """
        if not containers:
            return ()
        line = "{{.Id}} {{.RestartCount}} {{.State.StartedAt}}"
        output = self._ask("inspect containers", ["inspect", "--type", "container", "--format", line, *containers])
        return tuple(_run(line.split(), now) for line in output.splitlines() if line)

    def last_log_lines(self, container: str, count: int = 20) -> str:
        """Return the last lines that a container wrote; empty when its log cannot be read."""
        done = self._commands.run(["docker", "logs", "--tail", str(count), container])
        lines = (done.stdout + done.stderr).splitlines()
        return "\n".join(line.rstrip() for line in lines[-count:]) if done.ok else ""

    def volumes(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the volumes of every Compose project.

        :raises HostError: when Docker does not answer.
        """
        line = f'{{"name":{{{{json .Name}}}},"project":{{{{json (.Label "{PROJECT_LABEL}")}}}}}}'
        output = self._ask("list volumes", ["volume", "ls", "--filter", f"label={PROJECT_LABEL}", "--format", line])
        found: dict[str, tuple[str, ...]] = {}
        for volume in map(json.loads, filter(None, output.splitlines())):
            found[volume["project"]] = (*found.get(volume["project"], ()), volume["name"])
        return found

    def remove_volumes(self, names: Iterable[str]) -> None:
        """Delete volumes and what is in them.

        :raises HostError: when one is in use.
        """
        listed = list(names)
        if listed:
            self._ask(f"delete the volumes {', '.join(listed)}", ["volume", "rm", "--force", *listed])

    def mounting(self, volume: str) -> tuple[str, ...]:
        """Return the ids of containers that run, or are paused, and have a volume mounted.

        :raises HostError: when Docker is not installed or does not answer.
        """
        listed = self._ask("list containers", ["ps", "--quiet", "--no-trunc", "--filter", f"volume={volume}"])
        return tuple(listed.split())

    def pause(self, containers: Sequence[str], pass_fds: Sequence[int] = ()) -> None:
        """Freeze the processes of running containers.

        :param pass_fds: descriptors that the program has open until it is done, even when we are killed.
        :raises HostError: when one does not run; the others are paused.
        """
        self._each("pause", containers, pass_fds)

    def unpause(self, containers: Sequence[str]) -> None:
        """Let paused containers go on.

        :raises HostError: when one is not paused; the others go on.
        """
        self._each("unpause", containers)

    def stop(self, containers: Sequence[str], pass_fds: Sequence[int] = ()) -> None:
        """End containers, each within the time that it is given for that. Docker does not start them again by itself.

        :param pass_fds: as for `pause`.
        """
        self._each("stop", containers, pass_fds)

    def start(self, containers: Sequence[str]) -> None:
        """Start containers; those that run are left alone."""
        self._each("start", containers)

    def _each(self, verb: str, containers: Sequence[str], pass_fds: Sequence[int] = ()) -> None:
        if containers:
            self._ask(f"{verb} containers", [verb, *containers], pass_fds)

    def _ask(self, attempted: str, arguments: Sequence[str], pass_fds: Sequence[int] = ()) -> str:
        if not self.installed:
            raise HostError(attempted, "Docker is not installed on this host", "Run the playbook site.yml, which does")
        done = self._commands.run(["docker", *arguments], pass_fds=pass_fds)
        if done.ok:
            return done.stdout
        reason = " ".join(done.stderr.split()) or f"docker ended with exit code {done.returncode}"
        raise HostError(attempted, reason, _remedy(reason))


def _remedy(reason: str) -> str:
    if "Cannot connect to the Docker daemon" in reason:
        return "Start it (systemctl start docker), and see `journalctl -u docker` when it does not start"
    if "permission denied" in reason:
        return "Run the task with become: true"
    return ""


def _container(fields: dict[str, Any]) -> Container:
    health = _HEALTH.search(fields["Status"])
    exit_code = _EXIT_CODE.search(fields["Status"])
    return Container(
        id=fields["ID"],
        name=fields["Names"].split(",")[0],  # legacy links add names such as other/alias
        state=fields["State"],
        health=health.group(1) if health else "",
        exit_code=int(exit_code.group(1)) if exit_code else None,
        project=fields["project"],
        service=fields["service"],
        directory=fields["directory"],
        config_hash=fields["config_hash"],
        one_off=fields["one_off"] == "True",
    )


def _run(fields: Sequence[str], now: dt.datetime) -> Run:
    identity, restarts, started = fields
    # RFC 3339 with nanoseconds, of which datetime takes six digits at most; Docker writes UTC as "Z".
    text = re.sub(r"(\.\d{1,6})\d*", r"\1", started).replace("Z", "+00:00")
    if "." in text:
        whole, fraction = text.split(".", 1)
        digits, zone = fraction[: fraction.index("+")], fraction[fraction.index("+") :]
        text = f"{whole}.{digits:0<6}{zone}"  # Python 3.10 insists on three or six digits
    return Run(identity, int(restarts), (now - dt.datetime.fromisoformat(text)).total_seconds())
