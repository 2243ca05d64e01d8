# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The `ports` of Compose services, in every notation of the specification.

https://github.com/compose-spec/compose-spec/blob/main/05-services.md#ports
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import HIGHEST_PORT
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template

LOOPBACK = "127.0.0.1"

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_PROTOCOLS: Mapping[str, Protocol] = {"tcp": "tcp", "udp": "udp"}


@dataclass(frozen=True)
class PortMapping:
    """One entry of `ports`, its numbers still as text.

    `host` and `target` are a number or a range; `host` is empty where Docker is to choose one.
    In a template that is not resolved yet they may hold references (`${HTTP_PORT}`). `long` is the entry itself where
    it is a mapping.
    """

    where: str
    host_ip: str
    host: str
    target: str
    protocol: str
    long: Mapping[str, Any] | None = field(default=None, compare=False)

    def written(self) -> Any:
        """Return the entry for a Compose file, in the notation that it came in."""
        if self.long is not None:
            return {**self.long, **({"host_ip": self.host_ip} if self.host_ip else {})}
        address = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        published = f"{address}:{self.host}:" if address else f"{self.host}:" if self.host else ""
        return f"{published}{self.target}" + (f"/{self.protocol}" if self.protocol != "tcp" else "")

    def with_address(self, host_ip: str) -> PortMapping:
        """Return the mapping with a host address; one that has an address keeps it."""
        return self if self.host_ip else replace(self, host_ip=host_ip)

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return (host port, container port) pairs; none where Docker is left to choose the host port.

        :raises InputError: when the numbers are no ports, or the ranges do not match.
        """
        target = self._range(self.target)
        if not self.host:
            return ()
        host = self._range(self.host)
        if len(host) != len(target):
            raise self._error(
                f"the ranges {self.host} and {self.target} differ in length", "Give each container port one host port"
            )
        return tuple(zip(host, target, strict=True))

    def references(self) -> frozenset[str]:
        """Return the variables that the host port is made of, in a template that is not resolved yet."""
        return frozenset(_REFERENCE.findall(self.host))

    def known_protocol(self) -> Protocol | None:
        """Return the protocol where ports of it are reserved, None for others (SCTP)."""
        return _PROTOCOLS.get(self.protocol)

    def _range(self, text: str) -> range:
        match = _RANGE.fullmatch(text)
        if match is None:
            raise self._error(f"{text!r} is not a port number or a range of them")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= HIGHEST_PORT:
            raise self._error(f"{text} is not within 1 to {HIGHEST_PORT}")
        return range(first, last + 1)

    def _error(self, reason: str, remedy: str = "") -> InputError:
        return InputError(f"publish {self.where}", reason, remedy)


def mappings(services: Mapping[str, Any]) -> Iterator[tuple[str, PortMapping]]:
    """Yield (service, mapping) for every entry of every service's `ports`.

    :raises InputError: when an entry is not a port mapping.
    """
    for name, service in services.items():
        for number, entry in enumerate(service.get("ports") or []):
            yield name, parse(entry, f"services.{name}.ports[{number}]")


def parse(entry: Any, where: str) -> PortMapping:
    """Return an entry of `ports`.

    :raises InputError: when it is not one.
    """
    if isinstance(entry, Mapping):
        return _long(entry, where)
    if isinstance(entry, bool) or not isinstance(entry, str | int):
        raise InputError(f"publish {where}", f"{entry!r} is not a port mapping")
    return _short(str(entry), where)


def reservations(
    services: Mapping[str, Any], variables: Iterable[str]
) -> tuple[dict[str, set[Protocol]], list[tuple[int, Protocol]]]:
    """Return what has to be reserved: protocols by port variable, and the ports that are spelled out.

    :param services: with all variables resolved but the port variables, which are still references.
    """
    used: dict[str, set[Protocol]] = {name: set() for name in variables}
    fixed: dict[tuple[int, Protocol], None] = {}
    for _service, mapping in mappings(services):
        protocol = mapping.known_protocol()
        if protocol is None:
            continue
        names = mapping.references()
        if "$" in _REFERENCE.sub("", mapping.host):
            raise InputError(f"publish {mapping.where}", f"{mapping.host!r} is not a port number")
        for name in names:
            used.setdefault(name, set()).add(protocol)
        if not names and mapping.host:
            target = mapping.host if "$" in mapping.target else mapping.target
            fixed.update(dict.fromkeys((host, protocol) for host, _target in replace(mapping, target=target).pairs()))
    return used, list(fixed)


def host_network_port(template: Template, services: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return (service, port) where the template's main port is a number and its service uses the host's network.

    Such a service listens on the host without publishing anything.
    """
    if not template.main_port.isdecimal():
        return None
    for name, service in services.items():
        if service.get("network_mode") == "host" and template.main_service in ("", name):
            return name, int(template.main_port)
    return None


def _short(text: str, where: str) -> PortMapping:
    ports, _slash, protocol = text.partition("/")
    # From the right, since an IPv6 address has colons of its own, with or without brackets.
    *rest, target = ports.rsplit(":", 2)
    host = rest.pop() if rest else ""
    address = _address(rest[0], where) if rest else ""
    return PortMapping(where, address, host, target, protocol.lower() or "tcp")


def _long(entry: Mapping[str, Any], where: str) -> PortMapping:
    if entry.get("target") is None:
        raise InputError(f"publish {where}", "it has no target, the port in the container")
    published = entry.get("published")
    address = _address(str(entry.get("host_ip") or ""), where)
    protocol = str(entry.get("protocol") or "tcp").lower()
    host = "" if published is None else str(published)
    return PortMapping(where, address, host, str(entry["target"]), protocol, entry)


def _address(text: str, where: str) -> str:
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if address:
        try:
            ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise InputError(f"publish {where}", f"{address!r} is not an IP address") from None
    return address
