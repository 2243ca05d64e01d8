# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The text of nginx's configuration, written whole from what is wanted; nothing is ever edited.

For nginx 1.18 (Ubuntu 22.04) and newer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import HEADER, PROOF_PATH, Layout

# One upload of a phone's video or a backup should pass; nginx's own 1m makes half of all apps fail with 413.
MAX_BODY_SIZE = "64m"
# nginx cuts a websocket that is silent for this long; its own 60s is shorter than the pings of many libraries.
READ_TIMEOUT = "300s"
# An app that closes an idle connection just when nginx sends a POST on it gives a 502. gunicorn closes after 2 s;
# Node, uvicorn and Apache after 5 s. Under load no connection is idle for so long, so this costs nothing.
KEEPALIVE_TIMEOUT = "1s"

_PLAIN = re.compile(r"[A-Za-z0-9._:/@=~^*+?<>-]+")
_NOT_FOUND = "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1></body></html>"
_UNKNOWN_PROOF = "<proof>"  # no name, path or option can hold this text


@dataclass(frozen=True)
class Backend:
    """Where an app answers on this host. A `port` that is not known yet is None: shown, never written."""

    port: int | None
    websocket: bool = True


@dataclass(frozen=True)
class Server:
    """A domain with its aliases."""

    names: tuple[str, ...]
    backend: Backend


@dataclass(frozen=True)
class Private:
    """A private URL."""

    slug: str
    backend: Backend


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


def token(value: str) -> str:
    """Return a value as one parameter of an nginx directive: quoted where it has to be, else unchanged.

    nginx has no way to write a literal `$` in most directives, so a value with one is refused rather than expanded
    (https://nginx.org/en/docs/http/ngx_http_rewrite_module.html, https://trac.nginx.org/nginx/ticket/1063).

    :raises InputError: for `$` and control characters.
    """
    if _PLAIN.fullmatch(value):
        return value
    if "$" in value or any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise InputError(
            f"write {value!r} into nginx's configuration", "'$' and control characters cannot be written there"
        )
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def site_text(site: Site, layout: Layout, *, ipv6: bool) -> RenderedText:
    """Return an app's file in sites-available: its upstreams and a server block for each domain."""
    backends = [server.backend for server in site.servers] + ([site.private.backend] if site.private else [])
    ports = sorted({backend.port for backend in backends}, key=lambda port: port or 0)
    blocks = [_upstream(site.app, port) for port in ports]
    blocks += [_server(site.app, server, layout, ipv6=ipv6) for server in site.servers]
    return _proven(HEADER + "".join(f"\n{block}" for block in blocks))


def private_text(site: Site, layout: Layout) -> RenderedText:
    """Return an app's file in serverkit/private, which the catch-all includes."""
    if site.private is None:
        raise ValueError("the app has no private URL")
    prefix = f"/p/{site.private.slug}"
    lines = [
        f"location = {token(prefix)} {{",
        "    access_log off;",
        *_indented(_unlisted()),
        f"    return 302 {token(prefix + '/')}$is_args$args;",
        "}",
        "",
        f"location = {token(prefix + PROOF_PATH)} {{",
        *_indented(_proof()),
        "}",
        "",
        f"location ^~ {token(prefix + '/')} {{",
        "    # The slug is the key to the app: no log that others read may have it.",
        "    access_log off;",
        f"    error_log {token(layout.log(site.app, 'error'))};",
        *_indented(_unlisted()),
        *_indented(_proxy(site.app, site.private.backend, prefix)),
        "}",
    ]
    return _proven(HEADER + "\n" + "\n".join(lines) + "\n")


def catch_all_text(layout: Layout, *, ipv6: bool) -> RenderedText:
    """Return the server that answers for names nobody has, instead of the first app, and holds the private URLs."""
    lines = [
        "# Answers for every name that no other file has, and for the server's own address: private URLs, else 404.",
        "server {",
        *_indented(_listen(layout, ipv6, " default_server")),
        "    server_name _;",
        "    server_tokens off;",
        "    absolute_redirect off;",
        f"    client_max_body_size {MAX_BODY_SIZE};",
        "",
        f"    location = {PROOF_PATH} {{",
        *_indented(_indented(_proof())),
        "    }",
        "",
        f"    include {token(layout.private_directory + '/*.conf')};",
        "",
        "    location / {",
        "        default_type text/html;",
        f'        return 404 "{_NOT_FOUND}\\n";',
        "    }",
        "}",
    ]
    return _proven(HEADER + "\n" + "\n".join(lines) + "\n")


def shared_text(*, names_hash: bool) -> str:
    """Return the part of the http block that all our files use.

    :param names_hash: whether to make room for long domains; false where somebody's own file says how much already,
        since nginx takes the directive only once.
    """
    lines = [
        "# A request that asks for an upgrade (a websocket) passes it on; all others keep the connection to the app.",
        "map $http_upgrade $serverkit_connection {",
        "    default upgrade;",
        '    "" "";',
        "}",
        "",
        "# The port as the browser knows it, where it is not the usual one.",
        "map $http_host $serverkit_port {",
        '    default "";',
        '    "~(?<serverkit_given_port>:[0-9]+)$" $serverkit_given_port;',
        "}",
        "",
        "# What a private URL's app is asked for: the request as it came, without /p/<slug>. nginx's own way of taking",
        "# a prefix off works on the decoded path and would turn %2F into a slash.",
        "map $request_uri $serverkit_private_uri {",
        "    default /;",
        '    "~^/p/[^/?]+(?<serverkit_given_uri>/.*)$" $serverkit_given_uri;',
        "}",
    ]
    if names_hash:
        lines += ["", "# The default is too small for domains of more than about 45 characters."]
        lines += ["server_names_hash_bucket_size 512;"]
    return HEADER + "\n" + "\n".join(lines) + "\n"


def digest(texts: Sequence[str]) -> str:
    """Return the hash of several files' texts, for the registry."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _proven(text: str) -> RenderedText:
    proof = hashlib.sha256(text.encode()).hexdigest()[:32]
    return RenderedText(text.replace(_UNKNOWN_PROOF, proof), proof)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _listen(layout: Layout, ipv6: bool, more: str = "") -> list[str]:
    lines = [f"listen {layout.port}{more};"]
    if ipv6:
        lines.append(f"listen [::]:{layout.port}{more};")
    return lines


def _upstream_name(app: str, port: int | None) -> str:
    return f"serverkit-{app}-{port or 'unknown'}"


def _upstream(app: str, port: int | None) -> str:
    return (
        f"upstream {_upstream_name(app, port)} {{\n"
        f"    server 127.0.0.1:{port or '<port>'};\n"
        "    keepalive 32;\n"
        f"    keepalive_timeout {KEEPALIVE_TIMEOUT};\n"
        "}\n"
    )


def _server(app: str, server: Server, layout: Layout, *, ipv6: bool) -> str:
    lines = [
        "server {",
        *_indented(_listen(layout, ipv6)),
        f"    server_name {' '.join(token(name) for name in server.names)};",
        "    server_tokens off;",
        "    absolute_redirect off;",
        f"    client_max_body_size {MAX_BODY_SIZE};",
        f"    access_log {token(layout.log(app, 'access'))} combined buffer=32k flush=1s;",
        f"    error_log {token(layout.log(app, 'error'))};",
        "",
        f"    location = {PROOF_PATH} {{",
        *_indented(_indented(_proof())),
        "    }",
        "",
        "    location / {",
        *_indented(_indented(_proxy(app, server.backend, ""))),
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _proof() -> list[str]:
    return [
        "access_log off;",
        "default_type text/plain;",
        "add_header Cache-Control no-store;",
        f"return 200 {_UNKNOWN_PROOF};",
    ]


def _unlisted() -> list[str]:
    return ["add_header X-Robots-Tag noindex always;", "add_header Referrer-Policy no-referrer always;"]


def _proxy(app: str, backend: Backend, prefix: str) -> list[str]:
    upstream = _upstream_name(app, backend.port)
    # An app must not be told a prefix, or asked for an upgrade, by anybody but us.
    connection = "$serverkit_connection" if backend.websocket else '""'
    upgrade = "$http_upgrade" if backend.websocket else '""'
    lines = [
        f"proxy_pass http://{upstream}{'$serverkit_private_uri' if prefix else ''};",
        "proxy_http_version 1.1;",
        f"proxy_read_timeout {READ_TIMEOUT};",
        f"proxy_send_timeout {READ_TIMEOUT};",
        "proxy_set_header Host $host$serverkit_port;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Forwarded-Host $host$serverkit_port;",
        f"proxy_set_header X-Forwarded-Prefix {token(prefix) if prefix else chr(34) * 2};",
        f"proxy_set_header Upgrade {upgrade};",
        f"proxy_set_header Connection {connection};",
    ]
    return lines + (_below(prefix) if prefix else [])


def _below(prefix: str) -> list[str]:
    """Bring addresses that the app hands out back below its prefix, unless it heeds X-Forwarded-Prefix and did so."""
    # A slug has no character with a meaning in a regular expression. `//` starts another host's address (RFC 3986,
    # section 4.2).
    path = f'"~^/(?!/|{prefix[1:]}(?:[/?#]|$))(.*)$" {token(prefix)}/$1'
    absolute = [
        f"proxy_redirect {scheme}://$host$serverkit_port{found}/ {token(prefix)}/;"
        for scheme in ("http", "https")
        for found in (prefix, "")
    ]
    return [
        *absolute,
        f"proxy_redirect {path};",
        f"proxy_cookie_path {path};",
        "proxy_hide_header X-Robots-Tag;",
        "proxy_hide_header Referrer-Policy;",
    ]
