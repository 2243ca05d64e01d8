# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The option `extra`: nginx directives in the user's own words, for what no other option does.

They are put into the domain's `location /`. So they cannot keep a certificate from being proven or a change from being
seen to serve, and `location` blocks among them are nested there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import nginx_syntax, site_rules
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx_syntax import Directive

LONGEST = 16_384  # characters
_DEEPEST = 8  # blocks in blocks; nginx's own nesting of sensible locations ends long before

# Why a directive is refused, by a pattern for its name.
_REFUSED: Mapping[str, str] = {
    r"http|events|stream|mail|server|upstream|map|geo|split_clients|types_hash.*|limit_(?:req|conn)_zone": (
        "it does not belong into a location"
    ),
    r"include|load_module": "files elsewhere are not part of what is tested and kept",
    r".*_by_lua.*|lua_.*|js_.*|perl.*|ssi.*|xslt_.*": "it would run code inside nginx",
    r"alias": "it serves files outside of the site as soon as a '/' is missing; use root, or a path with root",
    r"listen|server_name|ssl_.*|http2.*|http3.*|quic.*": ("names, ports and certificates are in the registry"),
    r"access_log|error_log|.*_temp_path|.*_store|.*_store_access|dav_.*|create_full_put_path|.*_cache_path": (
        "nginx would write files as root, or where the app does not expect them"
    ),
    r"user|env|daemon|master_process|pid|working_directory|worker_.*|debug_.*|thread_pool": "it is for the whole nginx",
}

# Directives that an option sets already: nginx takes most of them only once.
_OPTIONS: Mapping[str, str] = {
    "client_max_body_size": "max_body_size",
    "proxy_connect_timeout": "timeouts.connect",
    "proxy_read_timeout": "timeouts.read",
    "proxy_send_timeout": "timeouts.send",
    "proxy_buffering": "buffering",
    "proxy_request_buffering": "buffering",
    "proxy_http_version": "websocket",
    "auth_basic": "basic_auth",
    "auth_basic_user_file": "basic_auth",
    "set_real_ip_from": "real_ip_from",
    "real_ip_header": "real_ip_from",
    "real_ip_recursive": "real_ip_from",
    "limit_req": "rate_limit",
    "limit_req_status": "rate_limit",
    "expires": "cache_static",
    "gzip": "gzip",
}


def checked(option: str, value: object) -> str:
    """Return the snippet, unchanged.

    :raises InputError: when it is not whole directives, or has one that is refused, and says which and why.
    """
    if not isinstance(value, str):
        raise site_rules.refuse(option, value, "it is no text")
    if len(value) > LONGEST:
        raise site_rules.refuse(option, value, f"it has more than {LONGEST} characters")
    for at, line in enumerate(value.split("\n"), 1):
        if any((ord(one) < 32 and one not in "\t\r") or ord(one) == 127 for one in line):
            raise site_rules.refuse(option, value, f"line {at} has a control character")
    rendered(value)  # says what cannot be written
    _check(option, _parsed(option, value), nested=False)
    return value


def rendered(value: str) -> list[str]:
    """Return a snippet's directives as lines. What nginx reads is what was checked, since it is written anew.

    :raises InputError: when it cannot be read, or a parameter cannot be written.
    """
    return list(_lines(_parsed("extra", value)))


def _parsed(option: str, value: str) -> tuple[Directive, ...]:
    if _depth(value) > _DEEPEST:
        raise site_rules.refuse(option, value, f"it has more than {_DEEPEST} blocks in one another")
    try:
        return nginx_syntax.parse(value)
    except nginx_syntax.UnreadableConfigurationError as error:
        raise site_rules.refuse(
            option, value, f"it is not made of whole nginx directives ({error})", "End each with ';', close each '{'"
        ) from error


def _depth(value: str) -> int:
    """Return at least how deep blocks are nested: enough to stop before reading recurses too deep."""
    depth = deepest = 0
    for one in re.findall(r"[{}]", value):
        depth = depth + 1 if one == "{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _check(option: str, directives: Sequence[Directive], *, nested: bool) -> None:
    for directive in directives:
        attempted = f"use the directive {directive.name[:60]!r} in {option} (line {directive.line})"
        for pattern, reason in _REFUSED.items():
            if re.fullmatch(pattern, directive.name):
                raise InputError(attempted, reason)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", directive.name) and not nested:
            raise InputError(attempted, "that is no name of a directive")
        if directive.name in _OPTIONS and not nested:
            raise InputError(attempted, f"the option {_OPTIONS[directive.name]} is for that", "Use the option")
        _check(option, directive.block or (), nested=True)


def _lines(directives: Sequence[Directive]) -> list[str]:
    lines: list[str] = []
    for directive in directives:
        words = " ".join(map(nginx_syntax.raw_token, (directive.name, *directive.arguments)))
        if directive.block is None:
            lines.append(f"{words};")
        else:
            lines += [f"{words} {{", *(f"    {line}" for line in _lines(directive.block)), "}"]
    return lines
