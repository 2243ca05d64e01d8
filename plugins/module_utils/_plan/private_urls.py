# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Private URLs as the registry has them: where each one is, until when, and what becomes of it. Pure.

A row remembers the private domain that it is below, and where the wildcard certificate of that comes from: an app's
files are written whole from its rows, by tasks that may be about something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._values import expiry
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import CATCH_ALL_HOST, PROOF_PATH
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PrivateUrl
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import tls_from_row

_DOMAIN = "domain"
_OF_THE_DOMAIN = (_DOMAIN, "tls", "challenge")


def row_of(
    item: Wanted, row: PrivateUrl | None, slug: str, now: datetime, private_domain: PrivateDomain | None
) -> PrivateUrl:
    """Return the row of an item.

    :param row: what the app has had.
    :param slug: a random one, in case it needs one.
    :param private_domain: what the task says; None is nothing, and the private URL stays where it is.
    """
    slug = item.slug or (row.slug if row else slug)
    options = dict(item.options)
    if private_domain is not None:
        options |= _remembered(private_domain)
    elif row is not None:
        options |= {name: row.options[name] for name in _OF_THE_DOMAIN if name in row.options}
    if item.expires is not None:
        same = row is not None and row.slug == slug and row.options.get("expires") == item.expires
        # A duration runs from when it was first asked for, not from each run.
        known = row.options.get("until") if row is not None and same else None
        options["until"] = known or expiry.until(item.expires, now)
    return PrivateUrl(slug, item.app, options)


def with_certificate_of(row: PrivateUrl, private_domain: PrivateDomain) -> PrivateUrl:
    """Return the row of a private URL that no item is about: all of a domain are under one certificate."""
    if not row.domain or row.domain != private_domain.name:
        return row
    others = {name: value for name, value in row.options.items() if name not in _OF_THE_DOMAIN}
    return replace(row, options={**others, **_remembered(private_domain)})


def _remembered(private_domain: PrivateDomain) -> dict[str, Any]:
    return {_DOMAIN: private_domain.name, **private_domain.tls.as_row()} if private_domain.name else {}


def domain_of(row: PrivateUrl | None) -> PrivateDomain | None:
    """Return the domain that a private URL is below, or None when it is below `/p/`, or there is no private URL."""
    return PrivateDomain(row.domain, tls_from_row(row.options)) if row is not None and row.domain else None


def domains_of(rows: Iterable[PrivateUrl | None], given: PrivateDomain | None) -> tuple[PrivateDomain, ...]:
    """Return the domains that private URLs are below, by name.

    :param given: what the task says: it knows the certificate that the registry does not.
    """
    found = {domain.name: domain for domain in map(domain_of, rows) if domain is not None}
    if given is not None and given.name in found:
        found[given.name] = given
    return tuple(found[name] for name in sorted(found))


def proof_place(row: PrivateUrl) -> tuple[str, str]:
    """Return the host and the path where a private URL proves that it is served."""
    return (row.host, PROOF_PATH) if row.host else (CATCH_ALL_HOST, f"/p/{row.slug}{PROOF_PATH}")


def expired(row: PrivateUrl, now: datetime) -> bool:
    """Whether a private URL has come to its end. Its row stays, so that the slug is not drawn, or given, anew."""
    end = row.options.get("until")
    return isinstance(end, str) and expiry.seconds(end) <= now.timestamp()


def described(row: PrivateUrl) -> str:
    """Return a row as a line for a diff."""
    shown = {name: value for name, value in row.options.items() if name != _DOMAIN}
    place = f"{row.host}/" if row.host else f"/p/{row.slug}/"
    return " ".join([place, *(f"{key}={value}" for key, value in sorted(shown.items()))])
