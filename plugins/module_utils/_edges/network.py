# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Names and addresses: what a domain resolves to, and whether that is this host."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Mapping

# Addresses for documentation (RFC 5737, RFC 3849): connecting a UDP socket sends nothing, it only chooses a route.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def ipv6_available() -> bool:
    """Whether a server can listen on IPv6 here; nginx refuses its whole configuration where it cannot."""
    try:
        with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def resolve(names: Iterable[str], timeout: float) -> Mapping[str, tuple[str, ...] | str]:
    """Resolve host names, all at once, the way programs on this host do.

    :param timeout: seconds for all of them together; a resolver that does not answer would hold each one for longer.
    :returns: for each name its addresses, or a text that says why there are none.
    """
    found: dict[str, tuple[str, ...] | str] = dict.fromkeys(names, f"no answer within {timeout:.0f} seconds")
    threads = []
    for name in found:
        # A daemon: getaddrinfo(3) cannot be interrupted, and must not keep the module from ending.
        thread = threading.Thread(target=_resolve_into, args=(name, found), daemon=True)
        thread.start()
        threads.append(thread)
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


def _resolve_into(name: str, found: dict[str, tuple[str, ...] | str]) -> None:
    try:
        results = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        found[name] = getattr(error, "strerror", None) or str(error)
    else:
        found[name] = tuple(sorted({str(result[4][0]) for result in results}))


def is_own(address: str) -> bool:
    """Whether an address is one of this host's, loopback excepted: only such an address can be bound (bind(2))."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.is_loopback:
        return False
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def is_no_route(error: OSError) -> bool:
    """Whether a connection failed because this host has no way to such addresses, as to IPv6 where there is none."""
    return error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def outward_addresses() -> tuple[str, ...]:
    """Return the addresses from which this host reaches others, IPv4 first; behind NAT they are private ones."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        with contextlib.suppress(OSError), contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
            probe.connect((elsewhere, 9))
            found.append(str(probe.getsockname()[0]))
    return tuple(found)
