# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Where containers are: their addresses in Docker's networks, and the process by which a network is entered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

# The network that containers are in which name none; its gateway is what `host-gateway` stands for
# (https://docs.docker.com/reference/cli/dockerd/#configure-host-gateway-ip).
_BRIDGE = "bridge"


@dataclass(frozen=True)
class Place:
    """A container's place. `process` is 0 when it does not run; `networks` has its address in each."""

    container: str
    name: str
    process: int
    networks: Mapping[str, str]


def places(commands: Commands, containers: Sequence[str]) -> dict[str, Place]:
    """Return the places of containers, by their ids.

    :raises HostError: when Docker does not answer, or one of them is gone.
    """
    if not containers:
        return {}
    line = (
        '{"id":{{json .Id}},"name":{{json .Name}},"pid":{{.State.Pid}},"networks":{{json .NetworkSettings.Networks}}}'
    )
    done = commands.run(["docker", "inspect", "--type", "container", "--format", line, *containers])
    if not done.ok:
        raise HostError("inspect containers", " ".join(done.stderr.split()), "Run it again")
    found: dict[str, Place] = {}
    for item in map(json.loads, filter(None, done.stdout.splitlines())):
        networks = {name: network.get("IPAddress") or "" for name, network in (item["networks"] or {}).items()}
        known = {name: address for name, address in networks.items() if address}
        found[item["id"]] = Place(item["id"], item["name"].lstrip("/"), item["pid"], known)
    return found


def gateway(commands: Commands) -> str:
    """Return the address under which containers reach this host; empty where there is no Docker to ask."""
    if commands.find("docker") is None:
        return ""
    line = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
    done = commands.run(["docker", "network", "inspect", "--format", line, _BRIDGE])
    addresses = [address for address in done.stdout.split() if ":" not in address] if done.ok else []
    return addresses[0] if addresses else ""
