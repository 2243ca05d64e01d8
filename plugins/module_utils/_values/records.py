# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Rows of the registry. None of them holds a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

Protocol = Literal["tcp", "udp"]
OrderOutcome = Literal["issued", "failed", "rate_limited", "rehearsal_failed"]

# Addresses that are another machine on each host.
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


@dataclass(frozen=True)
class PortLease:
    """A host port that belongs to somebody: at most one lease per (port, protocol) on a host.

    `owner` is the app (or whatever the user calls the holder); `name` tells the owner's ports apart, for an app the
    template's variable (`HTTP_PORT`) or `fixed:8080/tcp` for a port that the template's compose section spells out.
    """

    port: int
    protocol: Protocol
    owner: str
    name: str


@dataclass(frozen=True)
class AppRecord:
    """An app as last converged. `config_hashes` has Compose's config hash of each service at the last `up`.

    `content_hash` covers what was rendered at that time (compose file, environment, files) and names the release.
    `confirmed` is false from before the containers are touched until the health gate was passed.
    """

    name: str
    template: str
    template_version: str
    state: str
    content_hash: str
    config_hashes: Mapping[str, str] = field(default_factory=dict)
    main_port: int | None = None
    confirmed: bool = False


@dataclass(frozen=True)
class ReleaseRecord:
    """One release of an app that passed its health gate (or was restored), oldest first by `number`."""

    app: str
    number: int
    created: str  # RFC 3339, UTC
    template: str
    template_version: str
    content_hash: str
    outcome: str  # "live", "superseded", "failed", "restored"


@dataclass(frozen=True)
class DomainRecord:
    """A name that nginx answers for. An alias is a row of its own whose `primary` is the domain it belongs to.

    A name has one row over all hosts of the registry, unless every host that has it says that it is `shared`.
    """

    name: str
    app: str
    primary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False


@dataclass(frozen=True)
class PrivateUrl:
    """The private URL of an app: `/p/<slug>/`, or a host name of its own below a private domain."""

    slug: str
    app: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """The private domain that it is below; empty when it is below `/p/`."""
        name = self.options.get("domain")
        return name if isinstance(name, str) else ""

    @property
    def host(self) -> str:
        """Its host name; empty when it is below `/p/`."""
        return f"{self.slug}.{self.domain}" if self.domain else ""


@dataclass(frozen=True)
class VhostRecord:
    """The content of an app's nginx files that the running nginx was last proven to serve."""

    app: str
    content_hash: str


@dataclass(frozen=True)
class CertificateOrder:
    """One try to get a certificate from a CA, so that the next tries stay below the CA's limits.

    :ivar directory: the CA's ACME directory URL.
    :ivar at: when, and `retry_after`: from when on the CA takes another, both RFC 3339 in UTC with whole seconds, so
        that they sort as text: `2026-01-31T12:00:00Z`.
    """

    lineage: str
    names: tuple[str, ...]
    directory: str
    at: str
    outcome: OrderOutcome
    reason: str = ""
    retry_after: str | None = None


@dataclass(frozen=True)
class DatabaseLink:
    """An app's own database and user on a server; no password.

    :ivar name: tells the links of an app apart.
    :ivar server: which server it is, whoever looks at it: `mysql://127.0.0.1:3306`, `postgresql:///run/postgresql`.
    :ivar database: what no other app may have on that server; for Redis the prefix of the app's keys.
    :ivar host: where the app's containers reach the server, with `port`.
    :ivar services: the Compose services that get the variables; none means all.
    """

    app: str
    name: str
    engine: str
    server: str
    database: str
    user: str
    privileges: str
    host: str
    port: int
    env_prefix: str = ""
    services: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether the same `server` on another host is another server: a socket, or a loopback address."""
        address = urlsplit(self.server).hostname
        return not address or _LOOPBACK.fullmatch(address) is not None
