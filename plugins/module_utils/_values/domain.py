# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Domains and private URLs as users ask for them, checked before they reach nginx, the registry or a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import names

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
DnsCheck = Literal["warn", "require", "off"]


@dataclass(frozen=True)
class Wanted:
    """One item of the task. `kind` all means every name of the app, and is never `present`."""

    kind: Kind
    app: str
    present: bool = True
    domain: str = ""
    aliases: tuple[str, ...] = ()
    slug: str | None = None
    port: int | None = None
    websocket: bool = True
    dns_check: DnsCheck = "warn"
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
        chosen: dict[str, Any] = {}
        if self.port is not None:
            chosen["port"] = self.port
        if not self.websocket:
            chosen["websocket"] = False
        return chosen


def domain_name(value: object) -> str:
    """Return a domain name, unchanged: what is written is exactly what nginx, the registry and requests get to see.

    :raises InputError: when it is not a host name of two labels or more in lower case, international names in their
        ASCII form (RFC 5891).
    """
    attempted = f"use {_shown(value)} as a domain"
    if not isinstance(value, str) or not value:
        raise InputError(attempted, "a domain is not empty", "Give one, for example my-blog.com")
    reason, remedy = _domain_problem(value)
    if reason:
        raise InputError(attempted, reason, remedy)
    return value


def _domain_problem(value: str) -> tuple[str, str]:
    if len(value) > _LONGEST_DOMAIN:
        return f"it has {len(value)} characters, and a domain has at most {_LONGEST_DOMAIN}", ""
    if value.startswith("*."):
        return "wildcard domains are not supported, since they need a wildcard certificate", "List the names one by one"
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
    domain = domain_name(options["name"])
    aliases = tuple(sorted({domain_name(alias) for alias in options["aliases"] or ()} - {domain}))
    return Wanted("domain", app, present, domain, aliases, **_serving(options))


def _private_url(options: Mapping[str, Any], app: str, present: bool) -> Wanted:
    clashing = [name for name in ("name", "aliases") if options[name] is not None]
    if clashing:
        raise InputError(
            f"converge the private URL of {app}",
            f"{' and '.join(clashing)} cannot be given together with private_url",
            "List the domain and the private URL as two items",
        )
    chosen = None if options["slug"] is None else slug(options["slug"])
    return Wanted("private_url", app, present, slug=chosen, **_serving(options))


def _serving(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "port": None if options["port"] is None else port_number(options["port"]),
        "websocket": options["websocket"],
        "dns_check": options["dns_check"],
        "check_port": options["check_port"],
    }


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(str(value))} characters)"
