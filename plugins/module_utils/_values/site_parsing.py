# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""From the options of the module, or a row of the registry, to SiteOptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import names, site_rules, snippet
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import (
    NAMES,
    BasicAuth,
    CacheStatic,
    Hsts,
    Maintenance,
    Path,
    PhpFpm,
    RateLimit,
    RealIp,
    Redirect,
    Root,
    SiteOptions,
    Timeouts,
    Upstream,
)

T = TypeVar("T")
# The option's name for messages, and its value; returns what the type has, or raises InputError.
Reader = Callable[[str, Any], Any]

_BALANCES = ("round_robin", "least_conn", "ip_hash")
_PRELOAD_AGE = 31_536_000  # seconds; https://hstspreload.org/


def parse(options: Mapping[str, Any]) -> SiteOptions:
    """Return the valid options of a domain. Keys that are not ours are passed over, None is as good as left out.

    :raises InputError: naming the option and what is wrong with it.
    """
    found = {name: value for name, value in options.items() if name in NAMES and value is not None}
    parsed = SiteOptions(**{name: _READERS[name](name, value) for name, value in found.items()})
    _check_together(parsed)
    return parsed


from_row = parse


def _check_together(options: SiteOptions) -> None:
    targets = [name for name in ("redirect_to", "upstreams", "root", "php_fpm") if getattr(options, name)]
    if len(targets) > 1:
        raise site_rules.refuse(
            targets[1], "given", f"{targets[0]} is given as well, and a request goes to one place", "Give one of them"
        )
    if options.balance != "round_robin" and not options.upstreams:
        raise site_rules.refuse("balance", options.balance, "there are no upstreams to choose from", "Give upstreams")
    _check_balance("upstreams", options.upstreams, options.balance)
    headers = {name.lower() for name, _value in options.headers}
    if options.hsts and "strict-transport-security" in headers:
        raise site_rules.refuse("headers", "Strict-Transport-Security", "hsts sets this header", "Give one of them")


def _check_balance(option: str, upstreams: tuple[Upstream, ...], balance: str) -> None:
    if upstreams and all(one.backup for one in upstreams):
        raise site_rules.refuse(option, "backup", "all of them are for the case that another one fails")
    if balance == "ip_hash" and any(one.backup for one in upstreams):
        raise site_rules.refuse(
            option, "backup", "nginx has no backup with balance: ip_hash", "Give balance: least_conn"
        )


def _read(option: str, value: object, kind: Callable[..., T], readers: Mapping[str, Reader]) -> T:
    """Return a value of a type from its suboptions, each read by its reader."""
    found = site_rules.given(option, value)
    for name in found:
        if name not in readers:
            raise site_rules.refuse(option, name, "there is no such suboption")
    read = {name: readers[name](f"{option}.{name}", part) for name, part in found.items()}
    try:
        return kind(**read)
    except TypeError as error:
        raise site_rules.refuse(option, value, "a suboption that has to be there is left out") from error


def _number(least: int, most: int) -> Reader:
    return lambda option, value: site_rules.whole(option, value, least, most)


def _choice(*choices: object) -> Reader:
    return lambda option, value: site_rules.one_of(option, value, choices)


_SECONDS = _number(1, site_rules.LONGEST_TIME)


def _timeouts(option: str, value: object) -> Timeouts:
    return _read(option, value, Timeouts, dict.fromkeys(("connect", "read", "send"), _SECONDS))


def _realm(option: str, value: object) -> str:
    # nginx puts the realm between quotes without escaping any in it; `off` would let everybody in.
    if value == "off":
        raise site_rules.refuse(option, value, "to nginx that means no password at all", "Choose another realm")
    return site_rules.text(option, value, without='"\\')


def _users(option: str, value: object) -> tuple[str, ...]:
    # A mapping to passwords from the task, a list of names from the registry.
    if isinstance(value, str) or not isinstance(value, (Mapping, Sequence)):
        raise InputError(f"use {option}", "it is no mapping of users to passwords")
    found = tuple(sorted(site_rules.user(option, one) for one in value))
    if not found:
        raise site_rules.refuse(option, value, "there is no user", "Give one, or leave basic_auth out")
    for name, password in value.items() if isinstance(value, Mapping) else ():
        site_rules.password(f"the user {name}", password)
    return found


def _basic_auth(option: str, value: object) -> BasicAuth:
    # Never a message with the whole value: it has passwords in it.
    if isinstance(value, Mapping) and value.get("users") is None:
        raise InputError(f"use {option}", "users is left out", "Give users, each with a password")
    return _read(option, value, BasicAuth, {"users": _users, "realm": _realm})


def _headers(option: str, value: object) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for name, given in site_rules.given(option, value).items():
        site_rules.header_name(option, name)
        if name.lower() in found:
            raise site_rules.refuse(option, name, "the header is there twice")
        # YAML makes a number of `X-XSS-Protection: 0`.
        text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
        # The empty text takes the app's own header away.
        found[name.lower()] = (name, "" if text == "" else site_rules.text(f"{option}.{name}", text))
    return tuple(found[name] for name in sorted(found))


def _redirect(option: str, value: object) -> Redirect:
    readers = {
        "host": site_rules.host,
        "url": site_rules.url,
        "code": _choice(301, 302, 307, 308),
        "keep_path": site_rules.flag,
    }
    found = _read(option, value, Redirect, readers)
    if bool(found.host) == bool(found.url):
        raise site_rules.refuse(option, value, "it has to have either host or url", "Give one of them")
    return found


def _rate_limit(option: str, value: object) -> RateLimit:
    readers = {
        "requests": _number(1, 1_000_000),
        "per": _choice("second", "minute"),
        "burst": _number(0, 1_000_000),
        "by": _choice("address", "domain"),
    }
    return _read(option, value, RateLimit, readers)


def _cache_static(option: str, value: object) -> CacheStatic:
    return _read(option, value, CacheStatic, {"max_age": _SECONDS, "extensions": site_rules.extensions})


def _maintenance(option: str, value: object) -> Maintenance:
    return _read(option, value, Maintenance, {"retry_after": _SECONDS, "allow": site_rules.networks})


def _real_ip_header(option: str, value: object) -> str:
    if isinstance(value, str) and value.lower() == "proxy_protocol":
        raise site_rules.refuse(option, value, "to nginx that is another protocol, which nothing here listens for")
    return site_rules.header_name(option, value)


def _real_ip(option: str, value: object) -> RealIp:
    found = _read(option, value, RealIp, {"ranges": site_rules.networks, "header": _real_ip_header})
    if not found.ranges:
        raise site_rules.refuse(option, value, "ranges is empty", "Give the addresses of the proxies in front")
    return found


def _upstream(option: str, value: object) -> Upstream:
    readers = {
        "host": site_rules.address,
        "port": site_rules.port,
        "weight": _number(1, 65535),
        "max_fails": _number(0, 65535),
        "fail_timeout": _SECONDS,
        "backup": site_rules.flag,
    }
    return _read(option, value, Upstream, readers)


def _upstreams(option: str, value: object) -> tuple[Upstream, ...]:
    found = tuple(_upstream(option, one) for one in site_rules.listed(option, value))
    if not found:
        raise site_rules.refuse(option, value, "it is empty")
    if len({(one.host, one.port) for one in found}) < len(found):
        raise site_rules.refuse(option, value, "one is there twice", "Give it a weight instead")
    return found


def _root(option: str, value: object) -> Root:
    readers = {"directory": site_rules.directory, "index": site_rules.file_names, "spa": site_rules.flag}
    return _read(option, value, Root, readers)


def _php_fpm(option: str, value: object) -> PhpFpm:
    readers = {
        "root": site_rules.directory,
        "socket": site_rules.socket,
        "host": site_rules.address,
        "port": site_rules.port,
        "index": site_rules.file_name,
        "script_root": site_rules.directory,
    }
    found = _read(option, value, PhpFpm, readers)
    if bool(found.socket) == bool(found.port):
        raise site_rules.refuse(option, value, "php-fpm is at a socket or at a port", "Give one of them")
    if not found.index.endswith(".php"):
        raise site_rules.refuse(f"{option}.index", found.index, "it is no PHP file")
    return found


def _hsts(option: str, value: object) -> Hsts:
    readers = {"max_age": _number(0, 2**31 - 1), "include_subdomains": site_rules.flag, "preload": site_rules.flag}
    found = _read(option, value, Hsts, readers)
    if found.preload and not (found.include_subdomains and found.max_age >= _PRELOAD_AGE):
        raise site_rules.refuse(
            f"{option}.preload",
            True,
            f"browsers take a domain up with include_subdomains and a max_age of {_PRELOAD_AGE} or more only",
            "Give both, once all subdomains have HTTPS: it takes months to get off that list again",
        )
    return found


def _path(option: str, value: object) -> Path:
    readers = {
        "path": site_rules.web_path,
        "app": lambda _option, name: names.app_name(name),
        "port": site_rules.port,
        "upstreams": _upstreams,
        "balance": _choice(*_BALANCES),
        "root": _root,
        "strip": site_rules.flag,
        "basic_auth": site_rules.flag,
        "websocket": site_rules.flag,
        "buffering": site_rules.flag,
        "max_body_size": site_rules.size,
        "timeouts": _timeouts,
        "allow": site_rules.networks,
        "deny": site_rules.networks,
    }
    found = _read(option, value, Path, readers)
    targets = [name for name in ("app", "port", "upstreams", "root") if getattr(found, name)]
    if len(targets) > 1:
        raise site_rules.refuse(f"{option} {found.path}", targets, "a request goes to one place", "Give one of them")
    _check_balance(f"{option}.upstreams", found.upstreams, found.balance)
    return found


def _paths(option: str, value: object) -> tuple[Path, ...]:
    found = tuple(_path(option, one) for one in site_rules.listed(option, value))
    if len({one.path for one in found}) < len(found):
        raise site_rules.refuse(option, [one.path for one in found], "a path is there twice")
    return tuple(sorted(found, key=lambda one: one.path))


_READERS: Mapping[str, Reader] = {
    "max_body_size": site_rules.size,
    "timeouts": _timeouts,
    "websocket": site_rules.flag,
    "buffering": site_rules.flag,
    "basic_auth": _basic_auth,
    "allow": site_rules.networks,
    "deny": site_rules.networks,
    "headers": _headers,
    "redirect_to": _redirect,
    "rate_limit": _rate_limit,
    "cache_static": _cache_static,
    "gzip": site_rules.flag,
    "maintenance": _maintenance,
    "real_ip_from": _real_ip,
    "paths": _paths,
    "upstreams": _upstreams,
    "balance": _choice(*_BALANCES),
    "keepalive": _number(0, 10_000),
    "root": _root,
    "php_fpm": _php_fpm,
    "hsts": _hsts,
    "http_redirect": site_rules.flag,
    "extra": snippet.checked,
}
