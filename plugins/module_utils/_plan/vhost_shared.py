# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Directives on the level of the http block that a domain's options need: upstreams, zones, and variables.

Names are made of the app and of what they stand for. So two domains of an app with the same need share one, and a
reload never meets an old zone with a new meaning, which nginx refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import (
    Private,
    Server,
    Site,
    block,
    short_hash,
)
from ansible_collections.serverkit.core.plugins.module_utils._values import expiry
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx_syntax import token
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import (
    Balance,
    CacheStatic,
    Maintenance,
    Path,
    RateLimit,
    RealIp,
    SiteOptions,
    Upstream,
)

# An app that closes an idle connection just when nginx sends a POST on it gives a 502. gunicorn closes after 2 s;
# Node, uvicorn and Apache after 5 s. Under load no connection is idle for so long, so this costs nothing.
KEEPALIVE_TIMEOUT = "1s"
CLIENT = "$serverkit_client"
_KEEPALIVE = SiteOptions().keepalive


def needed(site: Site) -> list[list[str]]:
    """Return the blocks and directives that the locations of a site refer to, each once."""
    found: dict[tuple[str, ...], None] = {}
    for server in site.servers:
        found.update(dict.fromkeys(map(tuple, _of_server(site.app, server))))
    if site.private is not None and site.private.domain is None:
        lines = port_upstream(site.app, site.private.port, site.private.site.keepalive)
        found[tuple(lines)] = None
    # By their text: the order of domains shall not matter, and upstreams are easiest to read side by side.
    return [list(lines) for lines in sorted(found)]


def _of_server(app: str, server: Server) -> Iterator[list[str]]:
    site = server.site
    if not site.own_target:
        yield port_upstream(app, server.port, site.keepalive)
    if site.upstreams:
        yield list_upstream(app, site.upstreams, site.balance, site.keepalive)
    for path in site.paths:
        upstreams, balance = site.upstreams_of(path)
        if upstreams:
            yield list_upstream(app, upstreams, balance, site.keepalive)
        elif path.root is None:
            yield port_upstream(app, server.path_ports.get(path.path), site.keepalive)
        if path.strip and path.root is None:
            yield _stripped(app, path)
    if site.rate_limit:
        yield [rate_zone(app, server.names[0], site.rate_limit)]
    if site.cache_static:
        yield _expires(app, site.cache_static)
    if site.maintenance and site.maintenance.allow:
        yield _maintenance(app, site.maintenance)
    if site.real_ip_from:
        yield _trusted(app, site.real_ip_from)
        yield _scheme(app, site.real_ip_from)
        if site.php_fpm:
            yield _https(app, site.real_ip_from)


def of_private(app: str, private: Private) -> list[list[str]]:
    """Return what the blocks and locations of a private URL refer to."""
    found = [_alive(app, private.until)] if private.until else []
    if private.domain is not None:
        found.append(_to_port(private_upstream_name(app), private.port, private.site.keepalive))
    return found


def private_upstream_name(app: str) -> str:
    return f"serverkit_private_{app}"


def port_upstream_name(app: str, port: int | None, keepalive: int) -> str:
    more = "" if keepalive == _KEEPALIVE else f"-{keepalive}"
    return f"serverkit-{app}-{port or 'unknown'}{more}"


def port_upstream(app: str, port: int | None, keepalive: int) -> list[str]:
    return _to_port(port_upstream_name(app, port, keepalive), port, keepalive)


def _to_port(name: str, port: int | None, keepalive: int) -> list[str]:
    return block(f"upstream {name}", [f"server 127.0.0.1:{port or '<port>'};", *_kept(keepalive)])


def list_upstream_name(app: str, upstreams: tuple[Upstream, ...], balance: Balance, keepalive: int) -> str:
    return f"serverkit-{app}-{short_hash(repr(upstreams), balance, str(keepalive))}"


def list_upstream(app: str, upstreams: tuple[Upstream, ...], balance: Balance, keepalive: int) -> list[str]:
    name = list_upstream_name(app, upstreams, balance, keepalive)
    # The zone lets the workers share what they know of failed servers.
    lines = [f"zone {name} 64k;"]
    if balance != "round_robin":
        lines.append(f"{balance};")
    lines += [_upstream_server(one) for one in upstreams]
    return block(f"upstream {name}", [*lines, *_kept(keepalive)])


def _upstream_server(one: Upstream) -> str:
    host = f"[{one.host}]" if ":" in one.host else one.host
    words = [f"server {token(f'{host}:{one.port}')}"]
    words += [f"weight={one.weight}"] if one.weight != 1 else []
    words += [f"max_fails={one.max_fails}"] if one.max_fails is not None else []
    words += [f"fail_timeout={one.fail_timeout}s"] if one.fail_timeout is not None else []
    words += ["backup"] if one.backup else []
    return " ".join(words) + ";"


def _kept(keepalive: int) -> list[str]:
    return [f"keepalive {keepalive};", f"keepalive_timeout {KEEPALIVE_TIMEOUT};"] if keepalive else []


def rate_zone_name(app: str, name: str, limit: RateLimit) -> str:
    return f"serverkit_limit_{app}_{short_hash(name, _counted(limit))}"


def _counted(limit: RateLimit) -> str:
    return CLIENT if limit.by == "address" else "$server_name"


def client() -> list[str]:
    """Return the variable that tells clients apart, for all apps."""
    # A client with IPv6 has a whole network of 2^64 addresses to come from (RFC 4291, section 2.5.4; RFC 6177). As text
    # it has too many forms, so this looks at the bytes; those of an IPv4 address that is written as IPv6 stay whole.
    return block(
        f"map $binary_remote_addr {CLIENT}",
        [
            "default $binary_remote_addr;",
            r'"~^\x00{10}\xff\xff" $binary_remote_addr;',
            '"~^(?s)(?<serverkit_network>.{8}).{8}$" $serverkit_network;',
        ],
    )


def rate_zone(app: str, name: str, limit: RateLimit) -> str:
    rate = f"{limit.requests}r/{'s' if limit.per == 'second' else 'm'}"
    return f"limit_req_zone {_counted(limit)} zone={rate_zone_name(app, name, limit)}:2m rate={rate};"


def expires_variable(app: str, cache: CacheStatic) -> str:
    return f"$serverkit_expires_{short_hash(app, repr(cache))}"


def _expires(app: str, cache: CacheStatic) -> list[str]:
    # What the app says itself counts, and what comes with a cookie is for one person.
    kinds = "|".join(sorted(extension.lower() for extension in cache.extensions))
    return block(
        f'map "$upstream_http_cache_control$upstream_http_set_cookie $uri" {expires_variable(app, cache)}',
        ["default off;", f'"~*^ .*[.](?:{kinds})$" {cache.max_age}s;'],
    )


def maintenance_variable(app: str, maintenance: Maintenance) -> str:
    return f"$serverkit_maintenance_{short_hash(app, repr(maintenance.allow))}"


def _maintenance(app: str, maintenance: Maintenance) -> list[str]:
    lines = ["default 1;", *(f"{token(one)} 0;" for one in maintenance.allow)]
    return block(f"geo {maintenance_variable(app, maintenance)}", lines)


def _trusted(app: str, real_ip: RealIp) -> list[str]:
    lines = ["default 0;", *(f"{token(one)} 1;" for one in real_ip.ranges)]
    return block(f"geo $realip_remote_addr $serverkit_trusted_{short_hash(app, repr(real_ip.ranges))}", lines)


def scheme_variable(app: str, real_ip: RealIp | None) -> str:
    """Return the variable that has the scheme that the client uses."""
    return f"$serverkit_scheme_{short_hash(app, repr(real_ip.ranges))}" if real_ip else "$scheme"


def _scheme(app: str, real_ip: RealIp) -> list[str]:
    trusted = f"$serverkit_trusted_{short_hash(app, repr(real_ip.ranges))}"
    return block(
        f'map "{trusted} $http_x_forwarded_proto" {scheme_variable(app, real_ip)}',
        ["default $scheme;", '"1 http" http;', '"1 https" https;'],
    )


def https_variable(app: str, real_ip: RealIp | None) -> str:
    """Return the variable that is `on` when the client uses HTTPS, and else empty."""
    return f"$serverkit_https_{short_hash(app, repr(real_ip.ranges))}" if real_ip else "$https"


def _https(app: str, real_ip: RealIp) -> list[str]:
    lines = ['default "";', "https on;"]
    return block(f"map {scheme_variable(app, real_ip)} {https_variable(app, real_ip)}", lines)


def stripped_variable(app: str, path: Path) -> str:
    return f"$serverkit_uri_{short_hash(app, path.path)}"


def _stripped(app: str, path: Path) -> list[str]:
    # As for private URLs: nginx's own way of taking a prefix off works on the decoded path.
    prefix = path.path.replace(".", "[.]")
    rest = f"serverkit_rest_{short_hash(app, path.path)}"
    return block(
        f"map $request_uri {stripped_variable(app, path)}",
        [
            "default /;",
            f'"~^{prefix}(?<{rest}>/.*)$" ${rest};',
            f'"~^{prefix}(?<{rest}_query>[?].*)$" /${rest}_query;',
        ],
    )


def alive_variable(app: str) -> str:
    return f"$serverkit_alive_{app.replace('-', '_')}"


def _alive(app: str, until: str) -> list[str]:
    # $msec knows no time zone, unlike $time_iso8601.
    return block(f"map $msec {alive_variable(app)}", ["default 0;", f'"~^(?:{_before(expiry.seconds(until))})[.]" 1;'])


def _before(end: int) -> str:
    """Return a regular expression for the ten-digit numbers that are less than another one."""
    digits = f"{end:010d}"
    found = []
    for at, digit in enumerate(digits):
        if digit != "0":
            rest = len(digits) - at - 1
            found.append(f"{digits[:at]}[0-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return "|".join(found)
