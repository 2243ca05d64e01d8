# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""How a domain is served, as the registry remembers it: everything but passwords.

Each type has the fields of the option of the same name. What is left out is nginx's own default, or ours where the
field says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal

Balance = Literal["round_robin", "least_conn", "ip_hash"]

STATIC_EXTENSIONS = (
    "avif", "bmp", "css", "eot", "gif", "ico", "jpeg", "jpg", "js", "mjs", "mp4", "otf", "png", "svg", "ttf", "webm",
    "webmanifest", "webp", "woff", "woff2",
)  # fmt: skip


@dataclass(frozen=True)
class Timeouts:
    """Seconds until nginx gives up on an app that does not accept, answer or read on."""

    connect: int | None = None
    read: int | None = None
    send: int | None = None


@dataclass(frozen=True)
class BasicAuth:
    """Who may come in. The passwords are in a file of their own."""

    users: tuple[str, ...]
    realm: str = "Restricted"


@dataclass(frozen=True)
class Redirect:
    """Where requests are sent: to another host of the same scheme, or to a URL."""

    host: str = ""
    url: str = ""
    code: int = 301
    keep_path: bool = True


@dataclass(frozen=True)
class RateLimit:
    """How many requests a client (or all of them together) may send; more are answered with 429."""

    requests: int
    per: Literal["second", "minute"] = "second"
    burst: int = 0
    by: Literal["address", "domain"] = "address"


@dataclass(frozen=True)
class CacheStatic:
    """For how many seconds browsers keep files of certain kinds."""

    max_age: int = 2_592_000
    extensions: tuple[str, ...] = STATIC_EXTENSIONS


@dataclass(frozen=True)
class Maintenance:
    """A page that says so, instead of the app. `retry_after` is in seconds."""

    retry_after: int = 600
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class RealIp:
    """Proxies in front, and the header in which they tell the client's address."""

    ranges: tuple[str, ...]
    header: str = "X-Forwarded-For"


@dataclass(frozen=True)
class Upstream:
    """One of several servers behind a domain. `fail_timeout` is in seconds."""

    port: int
    host: str = "127.0.0.1"
    weight: int = 1
    max_fails: int | None = None
    fail_timeout: int | None = None
    backup: bool = False


@dataclass(frozen=True)
class Root:
    """A directory of files. With `spa`, what is not there is answered with the index."""

    directory: str
    index: tuple[str, ...] = ("index.html",)
    spa: bool = False


@dataclass(frozen=True)
class PhpFpm:
    """A directory of files whose PHP is run by php-fpm, at a socket or at an address.

    :ivar script_root: the directory as php-fpm sees it, where that is elsewhere.
    """

    root: str
    socket: str = ""
    host: str = "127.0.0.1"
    port: int | None = None
    index: str = "index.php"
    script_root: str = ""


@dataclass(frozen=True)
class Hsts:
    """RFC 6797: browsers come by HTTPS only, for `max_age` seconds."""

    max_age: int = 31_536_000
    include_subdomains: bool = False
    preload: bool = False


@dataclass(frozen=True)
class Path:
    """A part of a domain that another app, port or directory answers."""

    path: str
    app: str = ""
    port: int | None = None
    upstreams: tuple[Upstream, ...] = ()
    balance: Balance = "round_robin"
    root: Root | None = None
    strip: bool = False
    basic_auth: bool = True
    websocket: bool = True
    buffering: bool = True
    max_body_size: str = ""
    timeouts: Timeouts = Timeouts()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True)
class SiteOptions:
    """All of them."""

    max_body_size: str = ""
    timeouts: Timeouts = Timeouts()
    websocket: bool = True
    buffering: bool = True
    basic_auth: BasicAuth | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    redirect_to: Redirect | None = None
    rate_limit: RateLimit | None = None
    cache_static: CacheStatic | None = None
    gzip: bool | None = None
    maintenance: Maintenance | None = None
    real_ip_from: RealIp | None = None
    paths: tuple[Path, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    balance: Balance = "round_robin"
    keepalive: int = 32
    root: Root | None = None
    php_fpm: PhpFpm | None = None
    hsts: Hsts | None = None
    http_redirect: bool = True
    extra: str = field(default="")

    @property
    def own_target(self) -> bool:
        """Whether requests go elsewhere than to the app's port."""
        return bool(self.redirect_to or self.upstreams or self.root or self.php_fpm)

    @property
    def path_apps(self) -> tuple[str, ...]:
        """The apps that paths go to by name, which need a port then."""
        return tuple(dict.fromkeys(path.app for path in self.paths if path.app))

    @property
    def path_ports(self) -> tuple[int, ...]:
        """The ports of this host that paths go to by number."""
        return tuple(dict.fromkeys(path.port for path in self.paths if path.port is not None))

    def upstreams_of(self, path: Path) -> tuple[tuple[Upstream, ...], Balance]:
        """Return the servers that a path goes to, where it goes to several: its own, or the domain's."""
        if path.upstreams or path.app or path.port is not None or path.root:
            return path.upstreams, path.balance
        return self.upstreams, self.balance

    def as_row(self) -> dict[str, Any]:
        """Return what differs from the defaults, in the shape in which the module takes it, for the registry."""
        row: dict[str, Any] = _plain(self)
        if self.headers:
            row["headers"] = dict(self.headers)
        return row


NAMES = frozenset(one.name for one in fields(SiteOptions))


def _plain(value: object) -> Any:
    if is_dataclass(value):
        return {
            one.name: _plain(getattr(value, one.name))
            for one in fields(value)
            if one.default is MISSING or getattr(value, one.name) != one.default
        }
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def secrets_of(options: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the passwords among the module's options, by user; they are no part of a row."""
    users = (options.get("basic_auth") or {}).get("users")
    return dict(users) if isinstance(users, Mapping) else {}
