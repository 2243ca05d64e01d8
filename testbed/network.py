# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network that test hosts and the registry mirror share, on which they know each other by name."""

from __future__ import annotations

from images import DEFINITIONS, LABEL, PREFIX
from shell import exclusive, output, succeeds

NETWORK = PREFIX


def ensure_network() -> str:
    with exclusive(DEFINITIONS):
        if not succeeds(["docker", "network", "inspect", NETWORK]):
            output(["docker", "network", "create", "--label", LABEL, NETWORK])
    return NETWORK


def address_of(container: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return output(["docker", "inspect", "--format", template, container]).split(" ")[0]
