# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the path of a Docker Compose v2 that runs on this machine; one is fetched from Debian where there is none.

Compose reads and prints its configuration without a Docker Engine, which is all that the tests ask of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shell import Failure, exclusive, say, work

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".dev" / "cache"

BOOTSTRAP = ["mmdebstrap", "--variant=extract", "--include=docker-compose", "trixie"]
PLUGIN = Path("usr/libexec/docker/cli-plugins/docker-compose")
# Where the `docker` program looks for plugins (docker/cli, cli-plugins/manager/manager_unix.go).
PLUGIN_DIRECTORIES = (
    Path("~/.docker/cli-plugins").expanduser(),
    Path("/usr/local/lib/docker/cli-plugins"),
    Path("/usr/local/libexec/docker/cli-plugins"),
    Path("/usr/lib/docker/cli-plugins"),
    Path("/usr/libexec/docker/cli-plugins"),
)


def find() -> Path:
    """The path of a Compose v2: SERVERKIT_COMPOSE, or an installed one, or the one in the cache."""
    chosen = os.environ.get("SERVERKIT_COMPOSE")
    if chosen:
        if not _is_v2(Path(chosen)):
            raise Failure(f"SERVERKIT_COMPOSE={chosen} is not a Docker Compose v2.")
        return Path(chosen)
    return next((candidate for candidate in _installed() if _is_v2(candidate)), None) or _cached()


def _installed() -> Iterator[Path]:
    on_path = shutil.which("docker-compose")
    if on_path:
        yield Path(on_path)
    yield from (directory / "docker-compose" for directory in PLUGIN_DIRECTORIES)


def _is_v2(path: Path) -> bool:
    if not os.access(path, os.X_OK) or not path.is_file():
        return False
    try:
        done = subprocess.run([path, "version", "--short"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    # v1 was written in Python and knew neither the specification nor these rules.
    return done.returncode == 0 and done.stdout.strip().lstrip("v").split(".")[0] not in ("", "1")


def _cached() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(repr(BOOTSTRAP).encode()).hexdigest()[:12]
    place = CACHE / f"compose-{name}"
    with exclusive(CACHE):
        if not place.is_dir():
            _fetch(place)
    launcher = place / "docker-compose"
    if not _is_v2(launcher):
        raise Failure(f"{launcher} does not run here; remove {place} to have it fetched again.")
    return launcher


def _fetch(place: Path) -> None:
    if not shutil.which(BOOTSTRAP[0]):
        raise Failure("There is no Docker Compose v2 here, and no mmdebstrap to fetch one with; install either.")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work("Fetching Docker Compose", [*BOOTSTRAP, f"{folder}/system"])
        system, made = Path(folder, "system"), Path(folder, "made")
        made.mkdir()
        _install(system, made)
        made.rename(place)


def _install(system: Path, made: Path) -> None:
    """Keep the program and, where this machine's C library is too old for it, the libraries that it came with."""
    program, launcher = made / "docker-compose.bin", made / "docker-compose"
    shutil.copy2(system / PLUGIN, program)
    shutil.copy2(program, launcher)
    if _is_v2(launcher):
        program.unlink()
        return
    libraries = [path for path in system.glob("usr/lib/*/*.so*") if path.is_file()]
    for library in libraries:
        shutil.copy2(library, made / library.name)
    loader = next((path.name for path in libraries if path.name.startswith("ld-linux")), "")
    launcher.write_text(
        f'#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
        f'exec "$here/{loader}" --library-path "$here" "$here/{program.name}" "$@"\n'
    )


def main() -> int:
    try:
        print(find())
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
