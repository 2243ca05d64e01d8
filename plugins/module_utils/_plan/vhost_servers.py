# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Server blocks: which names at which ports, by HTTP and by HTTPS."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_locations as locations
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_shared
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_locations import Frame
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import (
    Private,
    Server,
    Target,
    block,
)
from ansible_collections.serverkit.core.plugins.module_utils._values import snippet
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import PROOF_PATH, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx_syntax import token
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import Path, SiteOptions

# One upload of a phone's video or a backup should pass; nginx's own 1m makes half of all apps fail with 413.
MAX_BODY_SIZE = "64m"
# Nobody has this path; what is asked for there is answered like anything else that is not there.
EXPIRED_PATH = "/.well-known/serverkit-expired"
_NOT_FOUND = "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1></body></html>"

# Mozilla's intermediate profile, version 5.7 (https://wiki.mozilla.org/Security/Server_Side_TLS), without the DHE
# ciphers, which need parameters of their own and serve no client that the others do not.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_COMPRESSED = (
    "application/atom+xml application/geo+json application/javascript application/json application/ld+json "
    "application/manifest+json application/rss+xml application/wasm application/xhtml+xml application/xml "
    "font/otf font/ttf image/bmp image/svg+xml text/cache-manifest text/css text/javascript text/plain text/xml"
)


def listen(target: Target, more: str = "") -> list[str]:
    return _listen(target, target.layout.port, more)


def listen_tls(target: Target, more: str = "") -> list[str]:
    # All blocks of a port have to say the same, or nginx warns and takes what the last one says.
    if target.version.has_http2_directive:
        return [*_listen(target, target.layout.tls_port, f" ssl{more}"), "http2 on;"]
    return _listen(target, target.layout.tls_port, f" ssl http2{more}")


def _listen(target: Target, port: int, more: str) -> list[str]:
    return [f"listen {address};" for address in [f"{port}{more}", *([f"[::]:{port}{more}"] if target.ipv6 else [])]]


def tls_profile() -> list[str]:
    return [
        "ssl_protocols TLSv1.2 TLSv1.3;",
        f"ssl_ciphers {_CIPHERS};",
        "ssl_prefer_server_ciphers off;",
        "ssl_session_timeout 1d;",
        "ssl_session_cache shared:serverkit:10m;",
        "ssl_session_tickets off;",
    ]


def certificate(tls: TlsFiles) -> list[str]:
    # The revision makes another text of it when the files at the same paths are others.
    lines = [f"# Certificate {tls.revision}"] if tls.revision else []
    return [*lines, f"ssl_certificate {token(tls.certificate)};", f"ssl_certificate_key {token(tls.key)};"]


def of_domain(app: str, server: Server, target: Target) -> list[list[str]]:
    """Return the blocks of a domain: HTTPS for the names that have a certificate, HTTP for all."""
    secured = server.covered
    if server.tls is None or not secured:
        return [_content(app, server, server.names, target, listen(target))]
    listening = [*listen_tls(target), *certificate(server.tls), *tls_profile()]
    blocks = [_content(app, server, secured, target, listening, secure=True)]
    plain = server.names
    if server.site.http_redirect:
        blocks.append(_redirecting(app, secured, target))
        plain = tuple(name for name in server.names if name not in secured)
    if plain:
        blocks.append(_content(app, server, plain, target, listen(target)))
    return blocks


def _redirecting(app: str, names: Sequence[str], target: Target) -> list[str]:
    lines = [
        *_head(listen(target), names),
        *_logs(app, target),
        "",
        *locations.proof_location(),
        *locations.webroot_locations(target.layout),
        "",
        *block("location /", to_https(target)),
    ]
    return block("server", lines)


def to_https(target: Target) -> list[str]:
    """Return what sends a browser to the same place by HTTPS. Every client knows 301; 308 keeps a form's method."""
    port = "" if target.layout.tls_port == 443 else f":{target.layout.tls_port}"
    there = f"https://$host{port}$request_uri"
    return [*block('if ($request_method !~ "^(?:GET|HEAD)$")', [f"return 308 {there};"]), f"return 301 {there};"]


def _head(listening: Sequence[str], names: Sequence[str]) -> list[str]:
    return [
        *listening,
        f"server_name {' '.join(map(token, names))};",
        "server_tokens off;",
        "absolute_redirect off;",
    ]


def _logs(app: str, target: Target) -> list[str]:
    return [
        f"access_log {token(target.layout.log(app, 'access'))} combined buffer=32k flush=1s;",
        f"error_log {token(target.layout.log(app, 'error'))};",
    ]


def _content(
    app: str, server: Server, names: Sequence[str], target: Target, listening: Sequence[str], *, secure: bool = False
) -> list[str]:
    frame = Frame(app, server.names[0], server.site, target, secure)
    lines = [
        *_head(listening, names),
        f"client_max_body_size {server.site.max_body_size or MAX_BODY_SIZE};",
        *_logs(app, target),
        *_common(server.site),
        "",
        *locations.proof_location(),
        *([] if secure else locations.webroot_locations(target.layout)),
        *locations.maintenance_location(server.site),
    ]
    for path in server.site.paths:
        lines += ["", *_path(frame, path, server.path_ports.get(path.path))]
    return block("server", [*lines, "", *block("location /", _main(frame, server))])


def _common(site: SiteOptions) -> list[str]:
    """Return what the whole block may have, since it keeps nothing from being answered."""
    lines: list[str] = []
    if site.real_ip_from:
        lines += [f"set_real_ip_from {token(one)};" for one in site.real_ip_from.ranges]
        lines += [f"real_ip_header {token(site.real_ip_from.header)};", "real_ip_recursive on;"]
    if site.gzip is not None:
        lines.append(f"gzip {'on' if site.gzip else 'off'};")
    if site.gzip:
        lines += ["gzip_vary on;", "gzip_proxied any;", "gzip_comp_level 5;", "gzip_min_length 256;"]
        lines.append(f"gzip_types {_COMPRESSED};")
    return lines


def _main(frame: Frame, server: Server) -> list[str]:
    site = frame.site
    extra = snippet.rendered(site.extra)
    guards = locations.guards(frame)
    if site.redirect_to:
        there = site.redirect_to
        base = f"$scheme://{there.host}" if there.host else there.url
        # The rules for a URL leave out whatever means something between quotes.
        uri = "$request_uri" if there.keep_path else ""
        where = f'"{base.rstrip("/") if uri else base}{uri}"'
        return [*guards, *locations.answers(frame), *extra, f"return {there.code} {where};"]
    if site.root:
        return [*guards, *locations.answers(frame), *locations.static(site.root), *extra]
    if site.php_fpm:
        return [*guards, *locations.answers(frame, "fastcgi"), *locations.php(frame, site.php_fpm), *extra]
    upstream = vhost_shared.port_upstream_name(frame.app, server.port, site.keepalive)
    if site.upstreams:
        upstream = vhost_shared.list_upstream_name(frame.app, site.upstreams, site.balance, site.keepalive)
    return [*guards, *locations.answers(frame, "proxy"), *locations.proxy(frame, upstream), *extra]


def _path(frame: Frame, path: Path, port: int | None) -> list[str]:
    guards = locations.guards(frame, path)
    guards += [f"client_max_body_size {path.max_body_size};"] if path.max_body_size else []
    if path.root:
        inside = [*guards, *locations.answers(frame), *locations.static(path.root, below=path.path, strip=path.strip)]
        # Without the slash, links in the index would lead elsewhere.
        bare = [*locations.closed(frame), f"return 301 {path.path}/$is_args$args;"]
        return [*block(f"location = {path.path}", bare), *block(f"location ^~ {path.path}/", inside)]
    upstream = vhost_shared.port_upstream_name(frame.app, port, frame.site.keepalive)
    upstreams, balance = frame.site.upstreams_of(path)
    if upstreams:
        upstream = vhost_shared.list_upstream_name(frame.app, upstreams, balance, frame.site.keepalive)
    prefix = path.path if path.strip else ""
    uri = vhost_shared.stripped_variable(frame.app, path) if path.strip else ""
    inside = [
        *guards,
        *locations.answers(frame, "proxy"),
        *locations.proxy(frame, upstream, path, prefix=prefix, uri=uri),
    ]
    return [*block(f"location = {path.path}", inside), *block(f"location ^~ {path.path}/", inside)]


def of_private(app: str, private: Private, target: Target) -> list[list[str]]:
    """Return the blocks of a private URL below a domain of its own."""
    site = private.site
    frame = Frame(app, "private", site, target, secure=private.domain is not None and private.domain.tls is not None)
    tls = private.domain.tls if private.domain else None
    dead = dead_page(app, private)
    upstream = vhost_shared.private_upstream_name(app)
    proven = block(f"location = {PROOF_PATH}", locations.proof(dead))
    inside = [*dead, *unlisted(), *locations.guards(frame), *locations.proxy(frame, upstream), *hidden_headers()]
    body = [
        f"client_max_body_size {site.max_body_size or MAX_BODY_SIZE};",
        "# The name is the key to the app: no log that others read may have it.",
        "access_log off;",
        f"error_log {token(target.layout.log(app, 'error'))};",
        "",
        *proven,
        *(block(f"location = {EXPIRED_PATH}", ["internal;", *not_found()]) if dead else []),
    ]
    webroot = locations.webroot_locations(target.layout)
    if tls is None:
        return [
            block("server", [*_head(listen(target), [private.host]), *body, *webroot, "", *block("location /", inside)])
        ]
    listening = [*listen_tls(target), *certificate(tls), *tls_profile()]
    plain = ["access_log off;", "", *webroot, "", *block("location /", to_https(target))]
    return [
        block("server", [*_head(listening, [private.host]), *body, "", *block("location /", inside)]),
        block("server", [*_head(listen(target), [private.host]), *plain]),
    ]


def dead_page(app: str, private: Private) -> list[str]:
    """Return what an expired private URL answers: what an unknown one does."""
    if not private.until:
        return []
    # The comment makes another text, and so another proof, of another end.
    dead = block(f"if ({vhost_shared.alive_variable(app)} = 0)", [f"rewrite ^ {EXPIRED_PATH} last;"])
    return [f"# Until {private.until}", *dead]


def not_found() -> list[str]:
    return ["default_type text/html;", f'return 404 "{_NOT_FOUND}\\n";']


def unlisted() -> list[str]:
    return ["add_header X-Robots-Tag noindex always;", "add_header Referrer-Policy no-referrer always;"]


def hidden_headers() -> list[str]:
    return ["proxy_hide_header X-Robots-Tag;", "proxy_hide_header Referrer-Policy;"]
