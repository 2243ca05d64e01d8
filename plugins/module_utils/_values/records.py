# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Rows of the registry. None of them holds a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Protocol = Literal["tcp", "udp"]


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
    """A name that nginx answers for. An alias is a row of its own whose `primary` is the domain it belongs to."""

    name: str
    app: str
    primary: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PrivateUrl:
    """The private URL of an app: `/p/<slug>/`."""

    slug: str
    app: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VhostRecord:
    """The content of an app's nginx files that the running nginx was last proven to serve."""

    app: str
    content_hash: str
