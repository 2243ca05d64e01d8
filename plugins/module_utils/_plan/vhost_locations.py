# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is inside of a location: who may come in, and who answers.

Each location says all of it itself, and the server block nothing that could keep a proof or a challenge from being
answered: nginx hands down some directives to locations, others only where the location has none of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_shared
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import (
    UNKNOWN_PROOF,
    Target,
    block,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    CHALLENGE_PATH,
    PROBE_PATH,
    PROOF_PATH,
    Layout,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx_syntax import token
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import (
    Path,
    PhpFpm,
    Root,
    SiteOptions,
    Timeouts,
)

# nginx cuts a websocket that is silent for this long; its own 60s is shorter than the pings of many libraries.
READ_TIMEOUT = 300
# Where another server can take over, a host that is gone shall not hold a request for nginx's own minute.
CONNECT_TIMEOUT_OF_SEVERAL = 5
MAINTENANCE = "@serverkit_maintenance"

_MAINTENANCE_PAGE = (
    "<!DOCTYPE html><html><head><title>Down for maintenance</title></head>"
    "<body><h1>Down for maintenance</h1><p>Please come again soon.</p></body></html>"
)
# Version control, editors' copies and `.env` are in many a directory that is served.
_HIDDEN_FILES = ['location ~ "/[.](?!well-known/)" {', "    return 404;", "}"]
# https://github.com/nginx/nginx/blob/master/conf/fastcgi_params, but for HTTP_PROXY (https://httpoxy.org/).
_FASTCGI_PARAMS = (
    "QUERY_STRING $query_string", "REQUEST_METHOD $request_method", "CONTENT_TYPE $content_type",
    "CONTENT_LENGTH $content_length", "SCRIPT_NAME $fastcgi_script_name", "REQUEST_URI $request_uri",
    "DOCUMENT_URI $document_uri", "SERVER_PROTOCOL $server_protocol", "GATEWAY_INTERFACE CGI/1.1",
    "SERVER_SOFTWARE nginx", "REMOTE_ADDR $remote_addr", "REMOTE_PORT $remote_port", "REMOTE_USER $remote_user",
    "SERVER_ADDR $server_addr", "SERVER_PORT $server_port", "SERVER_NAME $host", "REDIRECT_STATUS 200",
    'HTTP_PROXY ""',
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """The server block that locations are in.

    :ivar name: whose users the password file has: the domain, or `private`.
    """

    app: str
    name: str
    site: SiteOptions
    target: Target
    secure: bool = False


def proof(guard: Sequence[str] = ()) -> list[str]:
    return [
        *guard,
        "access_log off;",
        "default_type text/plain;",
        "add_header Cache-Control no-store;",
        f"return 200 {UNKNOWN_PROOF};",
    ]


def proof_location() -> list[str]:
    return block(f"location = {PROOF_PATH}", proof())


def webroot_locations(layout: Layout) -> list[str]:
    """Return what every block on the HTTP port has: files by which names are proven (RFC 8555, section 8.3)."""
    lines: list[str] = []
    for path in (CHALLENGE_PATH, PROBE_PATH):
        inside = [f"root {token(layout.webroot)};", "default_type text/plain;", "try_files $uri =404;"]
        lines += block(f"location ^~ {path}", inside)
    return lines


def maintenance_location(site: SiteOptions) -> list[str]:
    if site.maintenance is None:
        return []
    inside = [
        "default_type text/html;",
        f"add_header Retry-After {site.maintenance.retry_after} always;",
        "add_header Cache-Control no-store always;",
        f'return 503 "{_MAINTENANCE_PAGE}\\n";',
    ]
    return block(f"location {MAINTENANCE}", inside)


def closed(frame: Frame) -> list[str]:
    """Return what ends a request before anything else is looked at."""
    maintenance = frame.site.maintenance
    if maintenance is None:
        return []
    lines = [f"error_page 503 {MAINTENANCE};"]
    if maintenance.allow:
        return lines + block(f"if ({vhost_shared.maintenance_variable(frame.app, maintenance)})", ["return 503;"])
    return [*lines, "return 503;"]


def guards(frame: Frame, path: Path | None = None) -> list[str]:
    """Return who may come in, and how often."""
    site = frame.site
    own = path is not None and (path.allow or path.deny)
    allow, deny = (path.allow, path.deny) if path is not None and own else (site.allow, site.deny)
    lines = closed(frame)
    lines += [f"deny {token(one)};" for one in deny] + [f"allow {token(one)};" for one in allow]
    lines += ["deny all;"] if allow else []
    if site.basic_auth and (path is None or path.basic_auth):
        lines.append(f"auth_basic {token(site.basic_auth.realm)};")
        lines.append(f"auth_basic_user_file {token(frame.target.layout.htpasswd(frame.app, frame.name))};")
    if site.rate_limit:
        limit = site.rate_limit
        burst = f" burst={limit.burst} nodelay" if limit.burst else ""
        zone = vhost_shared.rate_zone_name(frame.app, frame.name, limit)
        lines += [f"limit_req zone={zone}{burst};", "limit_req_status 429;"]
    return lines


def answers(frame: Frame, kind: str = "") -> list[str]:
    """Return what is put on answers.

    :param kind: `proxy` or `fastcgi`, where there is an app whose own headers may be in the way.
    """
    site = frame.site
    headers = list(site.headers)
    if site.hsts and frame.secure:
        hsts = site.hsts
        value = f"max-age={hsts.max_age}"
        value += "; includeSubDomains" if hsts.include_subdomains else ""
        value += "; preload" if hsts.preload else ""
        headers.append(("Strict-Transport-Security", value))
    lines = [f"{kind}_hide_header {token(name)};" for name, _value in headers] if kind else []
    lines += [f"add_header {token(name)} {token(value)} always;" for name, value in headers if value]
    if site.cache_static:
        lines.append(f"expires {vhost_shared.expires_variable(frame.app, site.cache_static)};")
    return lines


def proxy(frame: Frame, upstream: str, path: Path | None = None, *, prefix: str = "", uri: str = "") -> list[str]:
    """Return what passes a request on to an app.

    :param upstream: the upstream's name.
    :param path: the part of the domain, whose own options win.
    :param prefix: what is taken off the path, announced, and put back.
    :param uri: the variable with the request's URI without the prefix.
    """
    site = frame.site
    websocket = site.websocket if path is None else path.websocket
    # An app must not be told a prefix, or asked for an upgrade, by anybody but us.
    lines = [
        f"proxy_pass http://{upstream}{uri};",
        "proxy_http_version 1.1;",
        *_timeouts(frame, path, "proxy"),
        *_unbuffered(site.buffering if path is None else path.buffering, "proxy"),
        "proxy_set_header Host $host$serverkit_port;",
        "proxy_set_header X-Real-IP $remote_addr;",
        # Not what the client wrote there: that is anybody's word.
        "proxy_set_header X-Forwarded-For $remote_addr;",
        f"proxy_set_header X-Forwarded-Proto {vhost_shared.scheme_variable(frame.app, site.real_ip_from)};",
        "proxy_set_header X-Forwarded-Host $host$serverkit_port;",
        f"proxy_set_header X-Forwarded-Prefix {token(prefix) if prefix else chr(34) * 2};",
        f"proxy_set_header Upgrade {'$http_upgrade' if websocket else chr(34) * 2};",
        f"proxy_set_header Connection {'$serverkit_connection' if websocket else chr(34) * 2};",
    ]
    return lines + (_below(prefix) if prefix else [])


def _timeouts(frame: Frame, path: Path | None, kind: str) -> list[str]:
    of_site, of_path = frame.site.timeouts, path.timeouts if path is not None else Timeouts()
    several = len(frame.site.upstreams if path is None else frame.site.upstreams_of(path)[0]) > 1
    connect = of_path.connect or of_site.connect or (CONNECT_TIMEOUT_OF_SEVERAL if several else None)
    lines = [f"{kind}_connect_timeout {connect}s;"] if connect else []
    lines.append(f"{kind}_read_timeout {of_path.read or of_site.read or READ_TIMEOUT}s;")
    lines.append(f"{kind}_send_timeout {of_path.send or of_site.send or READ_TIMEOUT}s;")
    return lines


def _unbuffered(buffering: bool, kind: str) -> list[str]:
    return [] if buffering else [f"{kind}_buffering off;", f"{kind}_request_buffering off;"]


def _below(prefix: str) -> list[str]:
    """Bring addresses that the app hands out back below its prefix, unless it heeds X-Forwarded-Prefix and did so."""
    # `//` starts another host's address (RFC 3986, section 4.2).
    inner = prefix[1:].replace(".", "[.]")
    path = f'"~^/(?!/|{inner}(?:[/?#]|$))(.*)$" {token(prefix)}/$1'
    absolute = [
        f"proxy_redirect {scheme}://$host$serverkit_port{found}/ {token(prefix)}/;"
        for scheme in ("http", "https")
        for found in (prefix, "")
    ]
    return [*absolute, f"proxy_redirect {path};", f"proxy_cookie_path {path};"]


def static(root: Root, *, below: str = "", strip: bool = False) -> list[str]:
    """Return what serves a directory of files.

    :param below: the path that it is served below.
    :param strip: whether the path is not a part of the files' names.
    """
    last = f"{below}/{root.index[0]}" if root.spa else "=404"
    where = f"alias {token(root.directory + '/')};" if strip else f"root {token(root.directory)};"
    return [where, f"index {' '.join(map(token, root.index))};", f"try_files $uri $uri/ {last};", *_HIDDEN_FILES]


def php(frame: Frame, php_fpm: PhpFpm) -> list[str]:
    """Return what serves a directory with PHP: files as they are, scripts by php-fpm, all else by the index."""
    host = f"[{php_fpm.host}]" if ":" in php_fpm.host else php_fpm.host
    where = f"unix:{php_fpm.socket}" if php_fpm.socket else f"{host}:{php_fpm.port}"
    # The rules for a directory leave out whatever means something between quotes.
    scripts = f'"{php_fpm.script_root}"' if php_fpm.script_root else "$document_root"
    script = f'"{php_fpm.script_root or "$document_root"}$fastcgi_script_name"'
    inside = [
        *closed(frame),
        'fastcgi_split_path_info "^(.+?[.]php)(/.*)$";',
        # try_files empties $fastcgi_path_info: https://trac.nginx.org/nginx/ticket/321
        "set $serverkit_path_info $fastcgi_path_info;",
        "try_files $fastcgi_script_name =404;",
        f"fastcgi_pass {token(where)};",
        *_timeouts(frame, None, "fastcgi"),
        *_unbuffered(frame.site.buffering, "fastcgi"),
        *(f"fastcgi_param {one};" for one in _FASTCGI_PARAMS),
        f"fastcgi_param DOCUMENT_ROOT {scripts};",
        f"fastcgi_param SCRIPT_FILENAME {script};",
        "fastcgi_param PATH_INFO $serverkit_path_info;",
        f"fastcgi_param REQUEST_SCHEME {vhost_shared.scheme_variable(frame.app, frame.site.real_ip_from)};",
        f"fastcgi_param HTTPS {vhost_shared.https_variable(frame.app, frame.site.real_ip_from)} if_not_empty;",
    ]
    return [
        f"root {token(php_fpm.root)};",
        f"index {token(php_fpm.index)};",
        f"try_files $uri $uri/ /{token(php_fpm.index)}$is_args$args;",
        *_HIDDEN_FILES,
        *block('location ~ "[.]php(?:/|$)"', inside),
    ]
