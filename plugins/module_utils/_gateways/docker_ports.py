# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The host ports that containers have or will take: running ones and stopped ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import PROJECT_LABEL
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import HIGHEST_PORT, Holder
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

# One JSON array a line. `docker ps` answers for all containers at once, `docker inspect` asks for one after the other.
_LISTED = '[{{json .ID}},{{json .State}},{{json .Ports}},{{json .Names}},{{json (.Label "' + PROJECT_LABEL + '")}}]'
# Only what is needed: the whole inspection of a hundred containers is a megabyte.
_FORMAT = (
    "[{{json .Name}},{{json .State.Status}},{{json .HostConfig.PortBindings}},{{json .NetworkSettings.Ports}},"
    '{{json (index .Config.Labels "' + PROJECT_LABEL + '")}}]'
)
# 0.0.0.0:8000-8002->80-82/tcp, [::]:8000->80/tcp; a port that is not published has no arrow (DisplayablePorts in
# https://github.com/docker/cli/blob/master/cli/command/formatter/container.go).
_PUBLISHED = re.compile(r":(\d+)(?:-(\d+))?->[\d-]+/(\w+)")
_PER_CALL = 500  # 65 bytes per id, far below what the kernel takes as arguments (execve(2), ARG_MAX)
_UP = frozenset({"running", "paused"})
_ACTIVE = _UP | {"restarting"}
_PROTOCOLS: Mapping[str, Protocol] = {"tcp": "tcp", "udp": "udp"}  # and sctp, which we do not lease


def bindings(commands: Commands) -> tuple[Holder, ...]:
    """Return the host ports of all containers.

    A port that Docker chooses at every start anew (no host port given) counts only while the container runs. A range
    to choose from (`8000-8010:80`) counts whole for a stopped container, which may take any port of it.

    :raises HostError: when Docker is installed and does not answer.
    """
    if commands.find("docker") is None:
        return ()
    listed = _run(commands, ["docker", "ps", "--all", "--no-trunc", "--format", _LISTED])
    holders: list[Holder] = []
    unclear: list[str] = []
    for identity, state, ports, names, project in map(json.loads, filter(None, listed.splitlines())):
        published = list(_published(ports)) if state in _UP else []
        if published:
            holders.extend(_as_holders(published, names.split(",")[0], project, active=True))
        else:
            # A stopped one shows no ports, and neither does one that was cut off from its network.
            unclear.append(identity)
    for start in range(0, len(unclear), _PER_CALL):
        output = _run(
            commands, ["docker", "inspect", "--type=container", "--format", _FORMAT, *unclear[start:][:_PER_CALL]]
        )
        for line in filter(None, output.splitlines()):
            holders.extend(_holders(json.loads(line)))
    return tuple(holders)


def _published(ports: str) -> Iterator[tuple[int, Protocol]]:
    for first, last, name in _PUBLISHED.findall(ports):
        protocol = _PROTOCOLS.get(name)
        if protocol is not None:
            yield from ((port, protocol) for port in range(int(first), int(last or first) + 1))


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
    configured, published = configured or {}, published or {}
    ports: list[tuple[int, Protocol]] = []
    for key in {*configured, *published}:
        # While it runs, Docker tells the ports that it really has; a configured range is then but a wish.
        hosts = published.get(key) if active and published.get(key) else configured.get(key)
        protocol = _PROTOCOLS.get(key.partition("/")[2])
        if protocol is not None:
            ports += [(port, protocol) for binding in hosts or () for port in _range(binding.get("HostPort"))]
    return _as_holders(ports, str(name).lstrip("/"), project, active=active)


def _as_holders(
    ports: Iterable[tuple[int, Protocol]], name: str, project: str | None, *, active: bool
) -> Iterator[Holder]:
    description = f"the {'' if active else 'stopped '}container {name}"
    if project:
        description += f" of the Compose project {project}"
    for port, protocol in sorted(set(ports)):
        yield Holder(port, protocol, description, project or None, active)


def _range(host_port: str | None) -> range:
    """Read `8000`, `8000-8010`, or what stands for "any": empty, or 0."""
    first, _dash, last = (host_port or "0").partition("-")
    if not first.isdigit() or not (last or first).isdigit() or int(first) == 0:
        return range(0)
    return range(int(first), min(int(last or first), HIGHEST_PORT) + 1)
