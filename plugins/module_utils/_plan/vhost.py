# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The text of nginx's configuration, written whole from what is wanted; nothing is ever edited.

For nginx 1.18 (Ubuntu 22.04) and newer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_locations as locations
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_servers as servers
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_shared
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_locations import Frame
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import (
    Private,
    PrivateDomain,
    RenderedText,
    Server,
    Site,
    Target,
    block,
    proven,
    short_hash,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import HEADER, PROOF_PATH, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx_syntax import token

__all__ = [
    "HEADER",
    "Private",
    "PrivateDomain",
    "RenderedText",
    "Server",
    "Site",
    "Target",
    "catch_all_text",
    "digest",
    "private_site_text",
    "private_text",
    "shared_text",
    "site_text",
]


def site_text(site: Site, target: Target) -> RenderedText | None:
    """Return an app's file in sites-available: what its domains share, and the server blocks of each.

    The upstream of a private URL below /p/ is here as well: nginx looks it up for each request. None is no file.
    """
    blocks = vhost_shared.needed(site)
    for server in site.servers:
        blocks += servers.of_domain(site.app, server, target)
    return proven(_file(blocks)) if blocks else None


def private_site_text(site: Site, target: Target) -> RenderedText | None:
    """Return the file of what an app's private URL has on the level of the http block: all that it refers to, so that
    no other file has to change in the same instant, and its server blocks where it is a host name. None is no file."""
    private = site.private
    if private is None:
        return None
    blocks = vhost_shared.of_private(site.app, private)
    if private.domain is not None:
        blocks += servers.of_private(site.app, private, target)
    return proven(_file(blocks)) if blocks else None


def private_text(site: Site, target: Target) -> RenderedText | None:
    """Return an app's file in serverkit/private, which the catch-all includes. None is no file."""
    private = site.private
    if private is None or private.domain is not None:
        return None
    app, prefix = site.app, f"/p/{private.slug}"
    frame = Frame(app, "private", private.site, target)
    dead = servers.dead_page(app, private)
    upstream = vhost_shared.port_upstream_name(app, private.port, private.site.keepalive)
    to_slash = [
        *dead,
        "access_log off;",
        *servers.unlisted(),
        f"return 302 {token(prefix + '/')}$is_args$args;",
    ]
    inside = [
        *dead,
        "# The slug is the key to the app: no log that others read may have it.",
        "access_log off;",
        f"error_log {token(target.layout.log(app, 'error'))};",
        *([f"client_max_body_size {private.site.max_body_size};"] if private.site.max_body_size else []),
        *servers.unlisted(),
        *locations.guards(frame),
        *locations.proxy(frame, upstream, prefix=prefix, uri="$serverkit_private_uri"),
        *servers.hidden_headers(),
    ]
    return proven(
        _file(
            [
                block(f"location = {token(prefix)}", to_slash),
                block(f"location = {token(prefix + PROOF_PATH)}", locations.proof(dead)),
                block(f"location ^~ {token(prefix + '/')}", inside),
            ]
        )
    )


def catch_all_text(
    target: Target, *, tls: bool, fallback: TlsFiles | None = None, private_domains: Sequence[PrivateDomain] = ()
) -> RenderedText:
    """Return the server that answers for names nobody has, instead of the first app, and holds the private URLs.

    :param tls: whether anything is served by HTTPS, so that somebody has to answer there for unknown names.
    :param fallback: a certificate for no name at all; needed by an nginx that cannot reject a handshake.
    :param private_domains: whose unknown names are answered like those that were.
    """
    layout = target.layout
    lines = [
        *servers.listen(target, " default_server"),
        "server_name _;",
        "server_tokens off;",
        "absolute_redirect off;",
        f"client_max_body_size {servers.MAX_BODY_SIZE};",
        "",
        *locations.proof_location(),
        *locations.webroot_locations(layout),
        "",
        f"include {token(layout.private_directory + '/*.conf')};",
        "",
        *block("location /", servers.not_found()),
    ]
    about = "# Answers for every name that no other file has, and for the server's own address: private URLs, else 404."
    blocks = [[about, *block("server", lines)]]
    if tls:
        blocks.append(_rejecting(target, fallback))
    for domain in private_domains:
        blocks += _unknown_private(target, domain)
    return proven(_file(blocks))


def _rejecting(target: Target, fallback: TlsFiles | None) -> list[str]:
    listening = [*servers.listen_tls(target, " default_server"), "server_name _;", *servers.tls_profile()]
    if target.version.rejects_handshakes:
        return block("server", [*listening, "ssl_reject_handshake on;"])
    if fallback is None:
        raise ValueError("this nginx needs a certificate for unknown names")
    return block("server", [*listening, *servers.certificate(fallback), "return 444;"])


def _unknown_private(target: Target, domain: PrivateDomain) -> list[list[str]]:
    name = [f"server_name {token('*.' + domain.name)};", "server_tokens off;", "absolute_redirect off;"]
    webroot = locations.webroot_locations(target.layout)
    not_found = block("location /", servers.not_found())
    if domain.tls is None:
        return [block("server", [*servers.listen(target), *name, "", *webroot, "", *not_found])]
    listening = [*servers.listen_tls(target), *servers.certificate(domain.tls), *servers.tls_profile()]
    redirect = block("location /", servers.to_https(target))
    return [
        block("server", [*listening, *name, "", *not_found]),
        block("server", [*servers.listen(target), *name, "", *webroot, "", *redirect]),
    ]


def shared_text(target: Target, *, names_hash: bool) -> str:
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
    lines += [
        "",
        "# Whom rate limits count: one IPv4 address, or one network of IPv6 addresses.",
        *vhost_shared.client(),
    ]
    lines += ["", "# Private URLs that are host names of their own."]
    lines.append(f"include {token(target.layout.private_sites + '/*.conf')};")
    if names_hash:
        lines += ["", "# The default is too small for domains of more than about 45 characters."]
        lines += ["server_names_hash_bucket_size 512;"]
    return HEADER + "\n" + "\n".join(lines) + "\n"


def digest(texts: Sequence[str]) -> str:
    """Return the hash of several files' texts, for the registry."""
    return short_hash(*texts, length=32)


def _file(blocks: Sequence[Sequence[str]]) -> str:
    return HEADER + "".join("\n" + "\n".join(lines) + "\n" for lines in blocks)
