# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Docker Compose v2 for one app: argv lists, a builder per verb, an environment that cannot change their meaning."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands, Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._values.app import COMPOSE_FILE, ENVIRONMENT_FILE

# `--progress` is a flag of `docker compose` itself since 2.19 (https://github.com/docker/compose/releases/tag/v2.19.0).
OLDEST = (2, 19)

_ATTEMPTS = {"config": "check the Compose file of", "up": "bring up the containers of", "down": "take down"}


def require(commands: Commands) -> None:
    """Make sure that Docker Compose v2 is there.

    :raises HostError: when it is missing or too old.
    """
    attempted = "run docker compose"
    if commands.find("docker") is None:
        raise HostError(attempted, "Docker is not installed on this host", "Run the playbook site.yml, which does")
    done = commands.run(["docker", "compose", "version", "--short"])
    found = re.match(r"v?(\d+)\.(\d+)", done.stdout.strip()) if done.ok else None
    if found is None:
        raise HostError(
            attempted,
            "Docker Compose v2 is not installed on this host (the docker-compose program of v1 does not count)",
            "Run the playbook site.yml, or install docker-compose-plugin or docker-compose-v2",
        )
    if (int(found.group(1)), int(found.group(2))) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise HostError(attempted, f"version {done.stdout.strip()} is too old", f"Install {wanted} or newer")


class Compose:
    """One app's Compose project."""

    def __init__(
        self,
        commands: Commands,
        app: str,
        directory: str,
        lock: int | None,
        environment: Mapping[str, str],
        secrets: Collection[str] = (),
        files: Sequence[str] = (COMPOSE_FILE,),
    ) -> None:
        """
        :param lock: descriptor of the app's lock, which Compose holds until it ends, even when we are killed.
        :param environment: the content of `.env`.
        :param secrets: what no message may show.
        :param files: the Compose files below the directory, each laid over the one before.
        """
        self._commands = commands
        self._app = app
        self._directory = directory
        self._lock = lock
        self._files = [option for name in files for option in ("--file", f"{directory}/{name}")]
        # The process environment goes before .env: a variable of the same name in ours must not win.
        shadowed = {name: value for name, value in environment.items() if name in os.environ}
        self._secrets = secrets
        self._environment = {"COMPOSE_PROFILES": "", "COMPOSE_ENV_FILES": "", "COMPOSE_IGNORE_ORPHANS": "0", **shadowed}

    def check(self) -> None:
        """Let Compose read the file that is in place.

        :raises HostError: with what Compose says of it.
        """
        self._do("config", ["config", "--quiet"])

    def up(self, *, build: bool = False, start: bool = True) -> None:
        """Create and recreate what is missing or differs, remove services that are gone, and start everything.

        It does not wait for health: `up --wait` fails when a container ends, which a migration is meant to do.
        """
        verb = ["up", "--detach"] if start else ["up", "--no-start"]
        self._do("up", [*verb, "--remove-orphans", "--quiet-pull", *(["--build"] if build else [])])

    def stop(self, services: Collection[str] = ()) -> None:
        """Stop the containers of services, or all of them, those that depend on others first."""
        self._do("stop", ["stop", *(["--", *sorted(services)] if services else [])])

    def restart(self, services: Collection[str]) -> None:
        """Restart the containers of services, the ones that these depend on first."""
        self._do("restart", ["restart", "--", *sorted(services)])

    def unpause(self, services: Collection[str]) -> None:
        self._do("unpause", ["unpause", "--", *sorted(services)])

    def execute(self, service: str, command: Sequence[str]) -> None:
        """Run a command in a running container of a service.

        :raises HostError: with what it printed, when it ends with another exit code than 0.
        """
        self._do(f"run the hook {command[0]!r} in the service {service} of", ["exec", "-T", "--", service, *command])

    def down(self) -> None:
        """Remove containers and networks, by their labels: the Compose file may be gone. Volumes stay."""
        done = self._run(["--project-name", self._app, "down", "--remove-orphans"], cwd="/")
        self._check("down", done)

    def _do(self, verb: str, arguments: Sequence[str]) -> None:
        place = ["--project-name", self._app, "--project-directory", self._directory]
        environment = ["--env-file", f"{self._directory}/{ENVIRONMENT_FILE}"]
        self._check(verb, self._run([*place, *self._files, *environment, *arguments], cwd=self._directory))

    def _run(self, arguments: Sequence[str], cwd: str) -> Completed:
        # Quiet: a Compose that outlives us would die of its next line of progress, in the middle of its work.
        # Newer ones ask before they delete a volume whose definition has changed: Enter is no.
        return self._commands.run(
            ["docker", "compose", "--progress", "quiet", *arguments],
            stdin="\n",
            cwd=cwd,
            environment=self._environment,
            pass_fds=[] if self._lock is None else [self._lock],
        )

    def _check(self, verb: str, done: Completed) -> None:
        if not done.ok:
            # Before anything is cut off: of half a secret nobody could tell what it is.
            said = " ".join(redact(done.stderr or done.stdout, self._secrets).split())
            reason = said[-2000:] or f"docker compose ended with exit code {done.returncode}"
            raise HostError(f"{_ATTEMPTS.get(verb, verb)} the app {self._app}", reason)
