# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Where nginx keeps its files and what it listens on; a file's content before and after a change."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace

# Whoever edits one of our files meets this line first, and by it we know that a file is ours to replace.
HEADER = "# Managed by serverkit.core. Changes made here by hand are undone by the next run.\n"
_MARK = "# Managed by serverkit.core"

PROOF_PATH = "/.well-known/serverkit-proof"
# Served from the webroot over HTTP under every name, whatever options the name has: RFC 8555, section 8.3, and our own
# check of what a name's address leads to.
CHALLENGE_PATH = "/.well-known/acme-challenge/"
PROBE_PATH = "/.well-known/serverkit-probe/"
# RFC 6761 section 6.4: no name below .invalid is ever a real one, so this reaches the catch-all.
CATCH_ALL_HOST = "serverkit.invalid"
# What the files that all apps share are called in the registry; no app can have this name.
SHARED = "serverkit"


@dataclass(frozen=True, order=True)
class NginxVersion:
    """nginx's version, which decides between two ways of writing a thing."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> NginxVersion | None:
        """Return the version in the answer of `nginx -v`, or None when there is none in it."""
        found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", text)
        return cls(*map(int, found.groups())) if found else None

    @property
    def has_http2_directive(self) -> bool:
        """Whether `http2 on` is the way (https://nginx.org/en/docs/http/ngx_http_v2_module.html#http2)."""
        return self >= NginxVersion(1, 25, 1)

    @property
    def rejects_handshakes(self) -> bool:
        """Whether there is ssl_reject_handshake (https://nginx.org/en/docs/http/ngx_http_ssl_module.html)."""
        return self >= NginxVersion(1, 19, 4)


@dataclass(frozen=True)
class TlsFiles:
    """A certificate with its chain, and its key, as files on the host.

    :ivar names: what the certificate is for, as it says itself.
    :ivar revision: another one when the content at the same paths is another.
    """

    certificate: str
    key: str
    names: tuple[str, ...]
    revision: str = ""

    def covers(self, name: str) -> bool:
        """Whether a client that asked for a name accepts the certificate (RFC 6125, section 6.4.3: `*` is one label).

        A wildcard name is covered by that very wildcard only.
        """
        return name in self.names or (not name.startswith("*.") and f"*.{name.partition('.')[2]}" in self.names)


@dataclass(frozen=True)
class Layout:
    """The defaults are Debian's and Ubuntu's; tests drive an nginx of their own elsewhere."""

    configuration: str = "/etc/nginx"
    logs: str = "/var/log/nginx"
    runtime: str = "/run/serverkit"
    port: int = 80
    tls_port: int = 443
    webroot: str = "/var/www/serverkit-acme"
    ssl: str = "/var/serverkit/ssl"
    letsencrypt: str = "/etc/letsencrypt"

    @property
    def main(self) -> str:
        return posixpath.join(self.configuration, "nginx.conf")

    @property
    def private_directory(self) -> str:
        """Locations of private URLs below /p/, which the catch-all includes."""
        return posixpath.join(self.configuration, "serverkit", "private")

    @property
    def private_sites(self) -> str:
        """Server blocks of private URLs below a domain of their own, which the shared file includes."""
        return posixpath.join(self.configuration, "serverkit", "private-sites")

    @property
    def auth_directory(self) -> str:
        return posixpath.join(self.configuration, "serverkit", "auth")

    @property
    def shared(self) -> str:
        return posixpath.join(self.configuration, "conf.d", "serverkit.conf")

    def available(self, site: str) -> str:
        return posixpath.join(self.configuration, "sites-available", site)

    def enabled(self, site: str) -> str:
        return posixpath.join(self.configuration, "sites-enabled", site)

    def private(self, app: str) -> str:
        return posixpath.join(self.private_directory, f"{app}.conf")

    def private_site(self, app: str) -> str:
        return posixpath.join(self.private_sites, f"{app}.conf")

    def htpasswd(self, app: str, name: str) -> str:
        """Return where the users of a domain are, or with the name `private` those of the private URL.

        The two are joined by what neither can have: a-b with c.com is not a with b-c.com.
        """
        return posixpath.join(self.auth_directory, f"{app}_{name.replace('*', '_wildcard')}.htpasswd")

    def log(self, app: str, kind: str) -> str:
        return posixpath.join(self.logs, f"{app}.{kind}.log")


@dataclass(frozen=True)
class Content:
    """A regular file (`mode` are its permission bits), or a symbolic link, whose text is then its target.

    :ivar owner: the user whose it is; of what is wanted, empty stands for anybody.
    """

    text: str
    mode: int = 0o644
    link: bool = False
    owner: str = ""


@dataclass(frozen=True)
class FileChange:
    """A path with what is there and what has to be; None is nothing."""

    path: str
    before: Content | None
    after: Content | None

    @property
    def needed(self) -> bool:
        if self.before is None or self.after is None or self.after.owner:
            return self.before != self.after
        return replace(self.before, owner="") != self.after


def is_ours(content: str) -> bool:
    """Whether a file's content is one that serverkit.core wrote; an empty file is nobody's work worth keeping."""
    return content.startswith(_MARK) or not content.strip()
