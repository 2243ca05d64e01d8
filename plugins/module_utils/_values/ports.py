# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""A request for a host port, and whoever holds one right now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

HIGHEST_PORT = 65535  # RFC 9293 section 3.1, RFC 768: 16 bits, 0 is not a port to listen on
FIRST_PORT = 8000
LAST_PORT = 60000

Protocols = Literal["tcp", "udp", "both"]

# Wider than an app's name, so that a user can keep a port for what is not an app. No spaces, no line ends.
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")


@dataclass(frozen=True)
class PortRequest:
    """A wish for one host port. `owner` and `name` together are the key; asking again gives the same port.

    :param owner: the app, or whatever the user calls the holder.
    :param name: what the owner needs it for, unique among the owner's ports.
    :param protocol: `both` is one number for TCP and UDP.
    :param start: where the search for a free port starts.
    :param port: this one or none; `start` and `last` then only bound the proposal in the error.
    :param last: where the search ends, inclusive.
    :raises InputError: when a number is not a port, or `start` is above `last`.
    """

    owner: str
    name: str
    protocol: Protocols = "tcp"
    start: int = FIRST_PORT
    port: int | None = None
    last: int = LAST_PORT

    def __post_init__(self) -> None:
        port_number(self.start, "start")
        port_number(self.last, "last")
        if self.port is not None:
            port_number(self.port)
        if self.start > self.last:
            raise InputError(f"search a port for {self.label} from {self.start} to {self.last}", "start is above last")

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        return ("tcp", "udp") if self.protocol == "both" else (self.protocol,)

    @property
    def label(self) -> str:
        """How messages call it: `my-blog/http`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True)
class Holder:
    """Somebody who has a port outside the registry: a container, running or not, or a process.

    :param description: names it in messages: `the container blog-web-1`, `process 812 (nginx)`.
    :param owner: the Compose project of a container, which is the app where the app is ours; None when unknown.
    :param active: the port is bound right now; False for a stopped container, which takes it when it starts.
    """

    port: int
    protocol: Protocol
    description: str
    owner: str | None = None
    active: bool = True


def port_number(value: object, what: str = "port") -> int:
    """Return a port number, unchanged.

    :param what: the option it comes from, for the message.
    :raises InputError: when it is not a whole number from 1 to 65535.
    """
    # bool is a subclass of int: YAML's `port: yes` must not become port 1.
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= HIGHEST_PORT:
        raise InputError(f"use {value!r} as {what}", f"a port is a whole number from 1 to {HIGHEST_PORT}")
    return value


def port_owner(value: object) -> str:
    """Return the name of a port's owner, unchanged.

    :raises InputError: when it is not 1 to 63 letters, digits, '.', '_' and '-', starting with a letter or digit.
    """
    if not isinstance(value, str) or not _OWNER.fullmatch(value):
        raise InputError(
            f"use {value!r} as the owner of a port",
            "an owner has 1 to 63 letters, digits, '.', '_' and '-', and starts with a letter or digit",
            "Set owner to the name of the app that the port is for",
        )
    return value


def port_name(value: object) -> str:
    """Return what a port is for, unchanged.

    :raises InputError: when it is not 1 to 128 letters, digits, '_', '.', ':', '/' and '-'.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InputError(
            f"use {value!r} as the name of a port",
            "a name has 1 to 128 letters, digits, '_', '.', ':', '/' and '-', and starts with a letter, digit or '_'",
            "Say what the port is for, for example http",
        )
    return value
