# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports of this machine for servers that tests start, some of them minutes after a port was chosen."""

from __future__ import annotations

import contextlib
import random
import socket

# Below those that Linux gives to outgoing connections (32768 to 60999: ip_local_port_range in the kernel's
# Documentation/networking/ip-sysctl.rst), of which any could be taken before the server listens.
_PORTS = range(20_000, 32_768)
_numbers = random.SystemRandom()
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has, by TCP and UDP, and that were not given before."""
    found: list[int] = []
    for port in _numbers.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            return found
        if port not in _given and _is_free(port):
            _given.add(port)
            found.append(port)
    raise RuntimeError(f"there are no {count} free ports from {_PORTS[0]} to {_PORTS[-1]}")


def free_port() -> int:
    """Return one port that nobody has."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with contextlib.ExitStack() as stack:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
