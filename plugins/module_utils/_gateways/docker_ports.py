# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The host ports that containers have or will take: running ones and stopped ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import HIGHEST_PORT, Holder
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

PROJECT_LABEL = "com.docker.compose.project"

# One JSON array a line. Only what is needed: the whole inspection of a hundred containers is a megabyte.
_FORMAT = (
    "[{{json .Name}},{{json .State.Status}},{{json .HostConfig.PortBindings}},{{json .NetworkSettings.Ports}},"
    '{{json (index .Config.Labels "' + PROJECT_LABEL + '")}}]'
)
_PER_CALL = 500  # 65 bytes per id, far below what the kernel takes as arguments (execve(2), ARG_MAX)
_ACTIVE = frozenset({"running", "paused", "restarting"})
_PROTOCOLS: Mapping[str, Protocol] = {"tcp": "tcp", "udp": "udp"}  # and sctp, which we do not lease


def bindings(commands: Commands) -> tuple[Holder, ...]:
    """Return the host ports of all containers.

    A port that Docker chooses at every start anew (no host port given) counts only while the container runs. A range
    to choose from (`8000-8010:80`) counts whole for a stopped container, which may take any port of it.

    :raises HostError: when Docker is installed and does not answer.
    """
    if commands.find("docker") is None:
        return ()
    ids = _run(commands, ["docker", "ps", "--all", "--quiet", "--no-trunc"]).split()
    holders: list[Holder] = []
    for start in range(0, len(ids), _PER_CALL):
        output = _run(
            commands, ["docker", "inspect", "--type=container", "--format", _FORMAT, *ids[start:][:_PER_CALL]]
        )
        for line in output.splitlines():
            if line:
                holders.extend(_holders(json.loads(line)))
    return tuple(holders)


def _run(commands: Commands, argv: Sequence[str]) -> str:
    result = commands.run(argv)
    complaints = [line for line in result.stderr.splitlines() if line.strip()]
    # A container that was removed since it was listed makes `inspect` fail after it has printed all the others.
    gone = bool(complaints) and all("no such" in line.lower() for line in complaints)
    if not result.ok and not gone:
        reason = " ".join(complaints) or f"docker {argv[1]} ended with status {result.returncode}"
        raise HostError("ask Docker for the ports of its containers", reason, "Start Docker, or mend it")
    return result.stdout


def _holders(inspected: Sequence[Any]) -> Iterator[Holder]:
    name, status, configured, published, project = inspected
    active = status in _ACTIVE
    state = "" if active else "stopped "
    description = f"the {state}container {str(name).lstrip('/')}"
    if project:
        description += f" of the Compose project {project}"
    configured, published = configured or {}, published or {}
    ports: set[tuple[int, Protocol]] = set()
    for key in {*configured, *published}:
        # While it runs, Docker tells the ports that it really has; a configured range is then but a wish.
        hosts = published.get(key) if active and published.get(key) else configured.get(key)
        protocol = _PROTOCOLS.get(key.partition("/")[2])
        if protocol is not None:
            ports.update((port, protocol) for binding in hosts or () for port in _range(binding.get("HostPort")))
    for port, protocol in sorted(ports):
        yield Holder(port, protocol, description, project or None, active)


def _range(host_port: str | None) -> range:
    """Read `8000`, `8000-8010`, or what stands for "any": empty, or 0."""
    first, _dash, last = (host_port or "0").partition("-")
    if not first.isdigit() or not (last or first).isdigit() or int(first) == 0:
        return range(0)
    return range(int(first), min(int(last or first), HIGHEST_PORT) + 1)
