# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is to be served, with every port and certificate that it takes: the input of the renderer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, NginxVersion, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import SiteOptions

UNKNOWN_PROOF = "<proof>"  # no name, path or option can hold this text


@dataclass(frozen=True)
class Target:
    """The nginx that reads the files."""

    layout: Layout
    version: NginxVersion
    ipv6: bool


@dataclass(frozen=True)
class PrivateDomain:
    """The domain below which private URLs are host names, with its wildcard certificate."""

    name: str
    tls: TlsFiles | None = None


@dataclass(frozen=True)
class Server:
    """A domain with its aliases. A port that is not known yet is None: shown, never written.

    :ivar port: the app's port on this host.
    :ivar path_ports: the ports of the paths that go to an app or a port, by path.
    """

    names: tuple[str, ...]
    port: int | None
    site: SiteOptions = field(default_factory=SiteOptions)
    tls: TlsFiles | None = None
    path_ports: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def covered(self) -> tuple[str, ...]:
        """The names that can be served by HTTPS."""
        return tuple(name for name in self.names if self.tls is not None and self.tls.covers(name))


@dataclass(frozen=True)
class Private:
    """A private URL: below /p/ of any address, or a host name below a domain of its own.

    :ivar until: the end in UTC (`2026-12-24T17:00:00Z`), or empty.
    """

    slug: str
    port: int | None
    site: SiteOptions = field(default_factory=SiteOptions)
    until: str = ""
    domain: PrivateDomain | None = None

    @property
    def host(self) -> str:
        return f"{self.slug}.{self.domain.name}" if self.domain else ""


@dataclass(frozen=True)
class Site:
    """All names of an app."""

    app: str
    servers: tuple[Server, ...]
    private: Private | None


@dataclass(frozen=True)
class RenderedText:
    """A file's text and the proof that it answers with at PROOF_PATH."""

    text: str
    proof: str


def proven(text: str) -> RenderedText:
    """Return a text that names its own hash, wherever it has UNKNOWN_PROOF."""
    proof = short_hash(text, length=32)
    return RenderedText(text.replace(UNKNOWN_PROOF, proof), proof)


def short_hash(*parts: str, length: int = 8) -> str:
    """Return what tells things apart in the names that nginx gives to zones, variables and upstreams."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def indented(lines: Sequence[str], by: int = 1) -> list[str]:
    return [f"{'    ' * by}{line}" if line else "" for line in lines]


def block(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{head} {{", *indented(lines), "}"]
