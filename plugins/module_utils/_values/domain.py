# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Domains and private URLs as users ask for them, checked before they reach nginx, the registry or a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import (
    expiry,
    names,
    site_options,
    site_parsing,
    site_rules,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import SiteOptions
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import TlsRequest, parse_tls

# RFC 1035 section 2.3.4: at most 255 octets on the wire, which are 253 characters in text.
_LONGEST_DOMAIN = 253
# RFC 1035 section 2.3.1 with RFC 1123 section 2.1. Lower case only: DNS knows no case (RFC 4343), but UNIQUE does.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,62}[a-z0-9])")

# Words that read as a part of a site, a well-known path or an error rather than as one app's address.
RESERVED_SLUGS = frozenset(
    {
        "account", "admin", "api", "app", "apps", "assets", "auth", "dashboard", "default", "error", "favicon",
        "health", "healthz", "help", "index", "login", "logout", "metrics", "new", "none", "null", "p",
        "private", "proxy", "public", "register", "robots", "root", "server", "serverkit", "settings", "signup",
        "static", "status", "support", "system", "undefined", "user", "users", "well-known", "www",
    }
)  # fmt: skip


Kind = Literal["domain", "private_url", "all"]
DnsCheck = Literal["probe", "records", "off"]

# What a private URL can have of the options of a domain.
_PRIVATE_OPTIONS = frozenset({"basic_auth", "buffering", "max_body_size", "timeouts", "websocket"})


@dataclass(frozen=True)
class Wanted:
    """One item of the task. `kind` all means every name of the app, and is never `present`."""

    kind: Kind
    app: str
    present: bool = True
    domain: str = ""
    aliases: tuple[str, ...] = ()
    slug: str | None = None
    expires: str | None = None
    port: int | None = None
    site: SiteOptions = field(default_factory=SiteOptions)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: TlsRequest = field(default_factory=TlsRequest)
    shared: bool = False
    dns_check: DnsCheck = "probe"
    check_port: bool = True

    @property
    def name(self) -> str:
        """What the item is called in results and messages; one of a kind in a task."""
        if self.kind == "domain":
            return self.domain
        return f"private URL of {self.app}" if self.kind == "private_url" else f"all names of {self.app}"

    @property
    def options(self) -> dict[str, Any]:
        """What the registry remembers with the name: only what differs from the defaults, so that new options that
        get a default do not make every old row look changed."""
        chosen: dict[str, Any] = {**self.site.as_row(), **self.tls.as_row()}
        if self.port is not None:
            chosen["port"] = self.port
        if self.expires is not None:
            chosen["expires"] = self.expires
        return chosen

    @property
    def names(self) -> tuple[str, ...]:
        """The domain and its aliases."""
        return (self.domain, *self.aliases) if self.kind == "domain" else ()


@dataclass(frozen=True)
class PrivateDomain:
    """The domain below which private URLs are host names, and where its wildcard certificate comes from.

    Without a name, they are below `/p/` of any address of the host.
    """

    name: str
    tls: TlsRequest

    @property
    def wildcard(self) -> str:
        return f"*.{self.name}"


def domain_name(value: object, *, wildcard: bool = False) -> str:
    """Return a domain name, unchanged: what is written is exactly what nginx, the registry and requests get to see.

    :param wildcard: whether `*.example.com` is one, which stands for every name one label longer.
    :raises InputError: when it is not a host name of two labels or more in lower case, international names in their
        ASCII form (RFC 5891).
    """
    attempted = f"use {_shown(value)} as a domain"
    if not isinstance(value, str) or not value:
        raise InputError(attempted, "a domain is not empty", "Give one, for example my-blog.com")
    reason, remedy = _domain_problem(value.removeprefix("*.") if wildcard else value)
    if reason:
        raise InputError(attempted, reason, remedy)
    return value


def _domain_problem(value: str) -> tuple[str, str]:
    if len(value) > _LONGEST_DOMAIN:
        return f"it has {len(value)} characters, and a domain has at most {_LONGEST_DOMAIN}", ""
    if value.startswith("*."):
        return "a wildcard stands for other names only where domains are served", "Give a name"
    if value != value.strip():
        return "it starts or ends with white space", "Remove it"
    if not value.isascii():
        return "it has characters outside ASCII", f"Write its ASCII form{_ascii_form(value)}"
    if value != value.lower():
        return "it has capital letters", f"Write {value.lower()!r}"
    if value.endswith("."):
        return "it ends with a dot", "Leave the dot out"
    labels = value.split(".")
    long = [label for label in labels if len(label) > 63]
    if long:
        return f"the part {long[0][:12]!r}... has {len(long[0])} characters, and a part has at most 63", ""
    if any(not _LABEL.fullmatch(label) for label in labels):
        return (
            "a domain has parts of a-z, 0-9 and inner '-', joined by single dots",
            "Give only the name, without scheme, port or path",
        )
    # RFC 3696 section 2: no top-level domain is all digits, so this is an IPv4 address.
    if labels[-1].isdigit():
        return "it is an IP address", "Use a domain, or the private URL, which answers at the address"
    if len(labels) < 2:
        return "it has no dot", f"Give the whole name, for example {value}.example.com"
    return "", ""


def _ascii_form(value: str) -> str:
    # The standard library knows IDNA 2003 only, which maps these four to something else than IDNA 2008 does (RFC 5894,
    # section 7.2): the ASCII form would be another domain, so none is offered, and none is ever converted silently.
    if any(character in value for character in "ßς\u200c\u200d"):
        return ", which starts with xn--"
    try:
        form = value.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ", which starts with xn--"
    return f", probably {form!r}" if not _domain_problem(form)[0] else ", which starts with xn--"


def slug(value: object) -> str:
    """Return the chosen slug of a private URL, unchanged.

    :raises InputError: when it is not 3 to 64 characters of a-z, 0-9 and inner hyphens, or is reserved.
    """
    attempted = f"use {_shown(value)} as a slug"
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise InputError(
            attempted,
            "a slug has 3 to 64 characters of a-z, 0-9 and '-', and starts and ends with a letter or digit",
            "Choose such a slug, or leave it out for a random one",
        )
    if value in RESERVED_SLUGS:
        raise InputError(attempted, "the word is reserved", "Choose another, or leave it out for a random one")
    return value


def port_number(value: object) -> int:
    """Return a TCP port.

    :raises InputError: when it is not a number from 1 to 65535.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise InputError(f"use {_shown(value)} as a port", "a port is a number from 1 to 65535")
    return value


def main_ports(ports: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the main ports of apps by their names; an app without one has None.

    :raises InputError: naming what is no app or no port.
    """
    # Digits too: what a playbook computes may be text.
    numbers = {app: int(port) if isinstance(port, str) and port.isdecimal() else port for app, port in ports.items()}
    return {names.app_name(app): None if number is None else port_number(number) for app, number in numbers.items()}


def parse(options: Mapping[str, Any]) -> Wanted:
    """Return a valid item from the options of the module.

    :raises InputError: naming the option and what is wrong with it.
    """
    app = names.app_name(options["app"])
    present = options["state"] == "present"
    if options["private_url"]:
        return _private_url(options, app, present)
    if options["slug"] is not None:
        raise InputError(f"converge the names of {app}", "slug is given without private_url: true", "Give both")
    if options["name"] is None:
        if present:
            raise InputError(
                f"converge the names of {app}", "neither name nor private_url is given", "Give one of them"
            )
        return Wanted("all", app, present=False)
    clashing = [name for name in ("expires",) if options.get(name) is not None]
    if clashing:
        raise InputError(f"converge the names of {app}", "expires is for private URLs", "Leave it out")
    domain = domain_name(options["name"], wildcard=True)
    given = {domain_name(alias, wildcard=True) for alias in options["aliases"] or ()}
    aliases = tuple(sorted(given - {domain}))
    if not present:
        # What is taken away needs no valid options, such as a key that is not there any more.
        return Wanted("domain", app, False, domain, aliases)
    site = site_parsing.parse(options)
    _check_redirect((domain, *aliases), site)
    return Wanted(
        "domain",
        app,
        True,
        domain,
        aliases,
        tls=_tls(options, (domain, *aliases), site),
        shared=bool(options.get("shared")),
        **_serving(options, site),
    )


def _check_redirect(names_of_it: tuple[str, ...], site: SiteOptions) -> None:
    there = site.redirect_to
    if there is None:
        return
    host = there.host.partition(":")[0] or urlsplit(there.url).hostname
    if host in names_of_it:
        raise InputError(
            f"redirect {names_of_it[0]} to {host}",
            "that is one of its own names, so browsers would go round in circles",
            "List that name as an item of its own",
        )


def _tls(options: Mapping[str, Any], names_of_it: tuple[str, ...], site: SiteOptions) -> TlsRequest:
    found = parse_tls(options, names_of_it)
    if site.hsts and found.mode == "none":
        raise InputError(
            f"serve {names_of_it[0]}", "hsts is given, and nothing is served by HTTPS", "Give tls, or leave hsts out"
        )
    return found


def _private_url(options: Mapping[str, Any], app: str, present: bool) -> Wanted:
    attempted = f"converge the private URL of {app}"
    clashing = [name for name in ("name", "aliases") if options[name] is not None]
    if clashing:
        raise InputError(
            attempted,
            f"{' and '.join(clashing)} cannot be given together with private_url",
            "List the domain and the private URL as two items",
        )
    chosen = None if options["slug"] is None else slug(options["slug"])
    if not present:
        return Wanted("private_url", app, False, slug=chosen)
    site = site_parsing.parse(options)
    foreign = [one.name for one in fields(site) if getattr(site, one.name) != one.default]
    foreign = [name for name in foreign if name not in _PRIVATE_OPTIONS]
    foreign += ["tls"] if (options.get("tls") or "none") != "none" else []
    foreign += ["shared"] if options.get("shared") else []
    if foreign:
        raise InputError(attempted, f"{' and '.join(foreign)} cannot be given for a private URL", "Use a domain")
    expires = None if options.get("expires") is None else expiry.checked(options["expires"])
    return Wanted("private_url", app, True, slug=chosen, expires=expires, **_serving(options, site))


def _serving(options: Mapping[str, Any], site: SiteOptions) -> dict[str, Any]:
    port = None if options["port"] is None else port_number(options["port"])
    if port is not None and site.own_target:
        targets = [name for name in ("redirect_to", "upstreams", "root", "php_fpm") if getattr(site, name)]
        raise InputError(
            f"serve the app {options['app']} at port {port}", f"{targets[0]} is given as well", "Give one of them"
        )
    return {
        "port": port,
        "site": site,
        "passwords": site_options.secrets_of(options),
        "dns_check": options["dns_check"],
        "check_port": options["check_port"],
    }


def parse_private_domain(options: Mapping[str, Any] | None) -> PrivateDomain | None:
    """Return the domain of private URLs from the task's option private_domain.

    :raises InputError: naming what is wrong with it.
    """
    if options is None:
        return None
    if options.get("name") == "":
        _check_nothing_given(options)
        return PrivateDomain("", TlsRequest())
    name = domain_name(options.get("name"))
    # A wildcard can be proven by DNS only (RFC 8555, section 8.4).
    challenge = "dns-01" if options.get("tls") == "letsencrypt" else None
    return PrivateDomain(name, parse_tls({**options, "challenge": challenge}, (f"*.{name}",)))


def _check_nothing_given(options: Mapping[str, Any]) -> None:
    given = [name for name in ("certificate", "private_key") if options.get(name)]
    given += ["tls"] if (options.get("tls") or "none") != "none" else []
    if given:
        raise InputError(
            "use private_domain", f"{' and '.join(given)} is given for an empty name", "Give the name of the domain"
        )


_shown = site_rules.shown
