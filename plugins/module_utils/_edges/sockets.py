# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Sockets: whether a port can be bound right now, and which ports the kernel hands out by itself."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

LOCAL_PORT_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
RESERVED_PORTS = "/proc/sys/net/ipv4/ip_local_reserved_ports"

# Binding a wildcard address fails when any address of that family has the port; so two tests cover the listeners on
# 0.0.0.0, on ::, on loopback and on a single address, of either family.
_WILDCARDS = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104 - bound for a moment, never listened on
# Another run of ours may be testing the same port in this very moment: it has it for microseconds.
_ATTEMPTS, _PAUSE = 4, 0.005

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def can_bind(
    port: int,
    protocol: Protocol,
    *,
    like_a_server: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Tell whether nobody has the port, on any address of IPv4 and IPv6.

    Sees what /proc/net does not list: sockets that are bound and do not listen (yet).

    :param like_a_server: bind as servers and Docker do, with SO_REUSEADDR: then connections that a former listener has
        left in TIME_WAIT (for a minute) do not count. Without it they do: an automatic choice can afford to be picky.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            pause(_PAUSE)
        if all(_can_bind(family, address, port, protocol, like_a_server) for family, address in _WILDCARDS):
            return True
    return False


def _can_bind(family: int, address: str, port: int, protocol: Protocol, like_a_server: bool) -> bool:
    try:
        with contextlib.closing(socket.socket(family, _KINDS[protocol])) as candidate:
            if family == socket.AF_INET6:
                # Else it would take the IPv4 port as well, and the answer would depend on net.ipv6.bindv6only.
                candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if like_a_server and protocol == "tcp":
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind((address, port))
    except OSError as error:
        # Anything else says nothing about the port: no IPv6 on this host, or no right to bind ports below 1024.
        return error.errno != errno.EADDRINUSE
    return True


def ephemeral_ports() -> tuple[range, frozenset[int]]:
    """Return the ports that the kernel takes for outgoing connections, and those in between that it leaves alone.

    Both from /proc (ip-sysctl: ip_local_port_range, ip_local_reserved_ports); empty where /proc does not tell.

    :raises HostError: when /proc cannot be read.
    """
    limits = files.read(LOCAL_PORT_RANGE)
    reserved = files.read(RESERVED_PORTS)
    if limits is None:
        return range(0), frozenset()
    first, last = (int(word) for word in limits.content.split())
    return range(first, last + 1), frozenset(_ranges(reserved.content if reserved else ""))


def _ranges(text: str) -> Iterator[int]:
    """Read `8080,9000-9010`."""
    for part in text.strip().split(","):
        if part:
            first, _dash, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)
