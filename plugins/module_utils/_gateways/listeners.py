# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The sockets of this host that have a port, from /proc/net, and the processes behind them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

PROC = "/proc"

# proc(5), /proc/net/tcp; the states are in the kernel's include/net/tcp_states.h.
_TCP_LISTEN = "0A"

_TABLES: tuple[tuple[str, Protocol], ...] = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))

_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens, or any UDP socket: UDP has no listening state, a bound port is a taken port."""

    port: int
    protocol: Protocol
    inode: int


def listeners(proc: str = PROC) -> tuple[Listener, ...]:
    """Return the listeners of this network namespace, IPv4 and IPv6, on whatever address.

    :raises HostError: when /proc cannot be read.
    """
    found: list[Listener] = []
    for table, protocol in _TABLES:
        state = files.read(f"{proc}/net/{table}")
        if state is not None:  # a host without IPv6 has no tcp6
            found.extend(_parsed(state.content, protocol))
    return tuple(found)


def process_of(inode: int, proc: str = PROC) -> str | None:
    """Return "process 812 (nginx)" for the process that has a socket; None when it is gone, or is not ours to see.

    Looks through the open files of all processes: meant for an error message, not for every listener. The command is
    the kernel's short name for it: a command line can hold secrets.
    """
    for pid in _processes(proc):
        if inode in _sockets(f"{proc}/{pid}/fd"):
            return f"process {pid} ({_command(proc, pid)})"
    return None


def _parsed(table: str, protocol: Protocol) -> Iterator[Listener]:
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10:
            continue
        port = int(fields[1].rpartition(":")[2], 16)
        if port and (protocol == "udp" or fields[3] == _TCP_LISTEN):
            yield Listener(port, protocol, int(fields[9]))


def _processes(proc: str) -> list[int]:
    return sorted(int(name) for name in os.listdir(proc) if name.isdigit())


def _sockets(directory: str) -> set[int]:
    inodes: set[int] = set()
    # Processes end while we look, and another user's are closed to us when we are not root.
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError):
                match = _SOCKET_LINK.fullmatch(os.readlink(f"{directory}/{name}"))
                if match:
                    inodes.add(int(match[1]))
    return inodes


def _command(proc: str, pid: int) -> str:
    with contextlib.suppress(OSError), open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as stream:
        return stream.read().strip()
    return "unknown"
