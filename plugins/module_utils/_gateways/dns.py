# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""DNS records as the world sees them: addresses, and which authorities may certify a name.

By python3-dnspython of the distribution: the C library knows neither CAA nor which address came from A and which from
AAAA, and believes /etc/hosts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

_TIMEOUT = 10.0  # seconds, for one name and type
_MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Records:
    """The addresses of a name; `problem` says why there is none, or why nobody could tell."""

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    problem: str = ""


def addresses(names: Iterable[str], *, nameserver: tuple[str, int] | None = None) -> Mapping[str, Records]:
    """Look up the A and AAAA records of names, all at once.

    :param nameserver: address and port, instead of those of /etc/resolv.conf.
    :raises HostError: when the host lacks the library.
    """
    resolver = _resolver(nameserver)
    return _each(names, lambda name: _addresses(resolver, name))


def _addresses(resolver: Any, name: str) -> Records:
    a, problem = _query(resolver, name, "A")
    aaaa, other = _query(resolver, name, "AAAA")
    found = Records(tuple(sorted(record.address for record in a)), tuple(sorted(record.address for record in aaaa)))
    if found.a or found.aaaa:
        return found
    return Records(problem=problem or other or "it has neither A nor AAAA records")


def caa_problems(
    names: Iterable[str], identities: Collection[str], *, nameserver: tuple[str, int] | None = None
) -> Mapping[str, str]:
    """Return, for each name that the authority may not certify, what its CAA records say (RFC 8659).

    A name whose records cannot be looked up is not among them: the authority looks itself, and from elsewhere.

    :param identities: what the authority is called in CAA records, as its directory says.
    :raises HostError: when the host lacks the library.
    """
    if not identities:
        return {}
    resolver = _resolver(nameserver)
    found = _each(names, lambda name: _caa_problem(resolver, name, identities))
    return {name: problem for name, problem in found.items() if problem}


def _caa_problem(resolver: Any, name: str, identities: Collection[str]) -> str:
    wildcard, labels = name.startswith("*."), name.removeprefix("*.").split(".")
    for depth in range(len(labels)):  # RFC 8659, section 3: the closest name that has such records decides
        domain = ".".join(labels[depth:])
        records, problem = _query(resolver, domain, "CAA")
        if problem:
            return ""
        if records:
            return _forbidden(domain, records, identities, wildcard=wildcard)
    return ""


def _forbidden(domain: str, records: Iterable[Any], identities: Collection[str], *, wildcard: bool) -> str:
    """Section 4.2 and 4.3: `issuewild` decides about wildcards where there is one, `issue` about the rest."""
    said: dict[str, list[str]] = {"issue": [], "issuewild": []}
    for record in records:
        tag = record.tag.decode().lower()
        if tag in said:
            said[tag].append(record.value.decode(errors="replace"))
        elif record.flags & 128:  # section 4.1: critical, and nobody knows what it means
            return f"{domain} has a critical CAA record of the unknown kind {tag!r}"
    applying = said["issuewild"] if wildcard and said["issuewild"] else said["issue"]
    allowed = {value.partition(";")[0].strip().lower() for value in applying}
    if not applying or allowed & {identity.lower() for identity in identities}:
        return ""
    listed = ", ".join(sorted(filter(None, allowed))) or "no authority at all"
    return f"the CAA record of {domain} allows {listed}, and not {' or '.join(sorted(identities))}"


def _each(names: Iterable[str], ask: Any) -> dict[str, Any]:
    distinct = sorted(set(names))
    if not distinct:
        return {}
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(distinct))) as pool:
        return dict(zip(distinct, pool.map(ask, distinct), strict=True))


def _resolver(nameserver: tuple[str, int] | None) -> Any:
    try:
        import dns.exception
        import dns.resolver
    except ImportError as error:
        raise HostError(
            "look up DNS records",
            "the Python library dnspython is not installed on the host",
            "Run site.yml, or install python3-dnspython",
        ) from error
    try:
        resolver = dns.resolver.Resolver(configure=nameserver is None)
    except dns.exception.DNSException as error:
        raise HostError("look up DNS records", f"/etc/resolv.conf is of no use: {error}") from error
    if nameserver is not None:
        resolver.nameservers, resolver.port = [nameserver[0]], nameserver[1]
    resolver.lifetime = _TIMEOUT
    return resolver


def _query(resolver: Any, name: str, kind: str) -> tuple[list[Any], str]:
    """Return the records, and why it is not known whether there are any; a name without any is no problem."""
    import dns.exception
    import dns.resolver

    try:
        # Absolute: /etc/resolv.conf may have a search list.
        return list(resolver.resolve(f"{name}.", kind)), ""
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
        return [], ""
    except dns.exception.DNSException as error:
        return [], " ".join(str(error).split()) or type(error).__name__
