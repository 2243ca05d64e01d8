# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Who gets which name: what a task wants, applied to what the registry has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan import private_urls, vhost_model
from ansible_collections.serverkit.core.plugins.module_utils._plan.private_urls import domain_of, expired
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import Private, Server, Site
from ansible_collections.serverkit.core.plugins.module_utils._values import site_parsing
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DomainRecord, PrivateUrl


@dataclass(frozen=True)
class Names:
    """The names of an app: the same type for what the registry has and for what it shall have."""

    domains: tuple[DomainRecord, ...] = ()
    private: PrivateUrl | None = None

    def __bool__(self) -> bool:
        return bool(self.domains) or self.private is not None

    def rows_of(self, wanted: Wanted) -> tuple[object, ...]:
        """Return the rows that an item is about, for telling whether it changes anything."""
        if wanted.kind == "all":
            return (*self.domains, self.private) if self else ()
        if wanted.kind == "private_url":
            return (self.private,) if self.private else ()
        return tuple(row for row in self.domains if wanted.domain in (row.primary, row.name))


Owned = Mapping[str, Names]

_LONGEST_LABEL = 63  # RFC 1035, section 2.3.4


@dataclass(frozen=True)
class Elsewhere:
    """Names that other hosts of the registry have, each with its owner in words.

    :ivar shared: those of the domains that all of their owners share.
    """

    domains: Mapping[str, str] = field(default_factory=dict)
    slugs: Mapping[str, str] = field(default_factory=dict)
    shared: Collection[str] = ()


@dataclass(frozen=True)
class Resolution:
    """Every app's names after the task, and the items that cannot have theirs, by position."""

    names: Owned
    failures: Mapping[int, ServerkitError]


def resolve(
    wanted: Sequence[Wanted],
    owned: Owned,
    elsewhere: Elsewhere,
    *,
    exclusive: Collection[str],
    slugs: Mapping[str, str],
    failures: Mapping[int, ServerkitError],
    now: datetime,
    private_domain: PrivateDomain | None = None,
) -> Resolution:
    """Return who has which name after the task.

    An item that fails is treated as if it had not been listed: the names it has had stay as they are.

    :param exclusive: apps that lose what is not listed.
    :param slugs: for each app a random slug, for the case that it needs one.
    :param failures: items known to fail for other reasons.
    :param now: with its time zone; where the time of a private URL starts.
    :param private_domain: below which the task wants private URLs; None leaves each one where it is.
    """
    failed = dict(failures)
    while True:
        result = _attempt(wanted, owned, elsewhere, exclusive, slugs, failed, now, private_domain)
        if len(result.failures) == len(failed):
            return result
        failed = dict(result.failures)


def _attempt(
    wanted: Sequence[Wanted],
    owned: Owned,
    elsewhere: Elsewhere,
    exclusive: Collection[str],
    slugs: Mapping[str, str],
    failed: Mapping[int, ServerkitError],
    now: datetime,
    private_domain: PrivateDomain | None,
) -> Resolution:
    good = [(position, item) for position, item in enumerate(wanted) if position not in failed]
    # An app one of whose items failed keeps what it has: the failed item may be what names it.
    cleared = set(exclusive) - {wanted[position].app for position in failed}
    names = {app: _kept(app, has, [item for _at, item in good], app in cleared) for app, has in owned.items()}
    failures = dict(failed)
    for position, item in good:
        if not item.present:
            continue
        has = names.get(item.app, Names())
        try:
            if item.kind == "domain":
                _check_private_hosts(item, names, private_domain)
                names[item.app] = replace(has, domains=_with_domain(has, item, names, elsewhere))
            else:
                had = owned.get(item.app, Names()).private
                row = private_urls.row_of(item, had, slugs.get(item.app, ""), now, private_domain)
                _check_slug(row, names, elsewhere)
                names[item.app] = replace(has, private=row)
        except ConflictError as error:
            failures[position] = error
    return Resolution({app: _under_one_certificate(has, private_domain) for app, has in names.items()}, failures)


def _under_one_certificate(has: Names, private_domain: PrivateDomain | None) -> Names:
    if has.private is None or private_domain is None:
        return has
    return replace(has, private=private_urls.with_certificate_of(has.private, private_domain))


def _kept(app: str, has: Names, items: Iterable[Wanted], cleared: bool) -> Names:
    """Return an app's names that no item is about."""
    own = [item for item in items if item.app == app]
    if cleared or any(item.kind == "all" for item in own):
        return Names()
    listed = {item.domain for item in own if item.kind == "domain"}
    gone = {item.domain for item in own if item.kind == "domain" and not item.present}
    domains = tuple(row for row in has.domains if row.primary not in listed and row.name not in gone)
    return Names(domains, None if _replaces_private_url(own, has.private) else has.private)


def _replaces_private_url(own: Iterable[Wanted], has: PrivateUrl | None) -> bool:
    about = [item for item in own if item.kind == "private_url"]
    # `absent` with another slug than the app has is done already.
    return any(item.present or item.slug is None or (has is not None and item.slug == has.slug) for item in about)


def _with_domain(has: Names, item: Wanted, names: Owned, elsewhere: Elsewhere) -> tuple[DomainRecord, ...]:
    for name in item.names:
        shared = item.shared and name in elsewhere.shared
        owner = _owner(name, names) or ("" if shared else elsewhere.domains.get(name, ""))
        if owner:
            raise ConflictError(
                f"give the domain {name} to the app {item.app}",
                f"it belongs to {owner}",
                "Take it from there first, or choose another name",
            )
    rows = [DomainRecord(item.domain, item.app, item.domain, item.options, item.shared)]
    rows += [DomainRecord(alias, item.app, item.domain, shared=item.shared) for alias in item.aliases]
    return tuple(sorted((*has.domains, *rows), key=lambda row: row.name))


def _owner(name: str, names: Owned) -> str:
    for app, has in names.items():
        for row in has.domains:
            if row.name == name:
                return f"the app {app}" + (f", as an alias of {row.primary}" if row.primary != name else "")
    return ""


def _check_private_hosts(item: Wanted, names: Owned, private_domain: PrivateDomain | None) -> None:
    """Refuse names that private URLs have, or may get."""
    rows = [has.private for has in names.values() if has.private]
    hosts = {host: f"the private URL of {row.app}" for row in rows if (host := row.host)}
    domains = [domain for domain in (private_domain, *map(domain_of, rows)) if domain is not None]
    hosts |= {domain.wildcard: "the private URLs of this host" for domain in domains if domain.name}
    for name in item.names:
        if name in hosts:
            raise ConflictError(
                f"give the domain {name} to the app {item.app}", f"it belongs to {hosts[name]}", "Choose another name"
            )


def _check_slug(row: PrivateUrl, names: Owned, elsewhere: Elsewhere) -> None:
    owner = elsewhere.slugs.get(row.slug, "") or (_owner(row.host, names) if row.host else "")
    for app, has in names.items():
        if has.private and has.private.slug == row.slug and app != row.app:
            owner = f"the app {app}"
    if owner:
        raise ConflictError(
            f"give the private URL {row.host or f'/p/{row.slug}/'} to the app {row.app}",
            f"it belongs to {owner}",
            "Choose another slug",
        )


def site(
    app: str,
    names: Names,
    main_ports: Mapping[str, int | None],
    *,
    guess: bool,
    now: datetime,
    certificates: Mapping[str, TlsFiles] | None = None,
    private_tls: TlsFiles | None = None,
) -> Site:
    """Return what nginx has to serve for an app.

    :param main_ports: the ports in the registry of all apps that have one.
    :param guess: whether a port that nobody knows yet may stay open, since the result is only shown.
    :param now: with its time zone; private URLs that have expired are left out.
    :param certificates: by domain (not by alias).
    :param private_tls: the wildcard certificate of the domain that the private URL is below, where it has one.
    :raises HostError: when a port is not known.
    :raises InputError: when an option in the registry is not valid any more.
    """
    found = certificates or {}
    servers = []
    for row in names.domains:
        if row.primary == row.name:
            aliases = sorted(other.name for other in names.domains if other.primary == row.name != other.name)
            servers.append(_server(app, (row.name, *aliases), row.options, main_ports, found.get(row.name), guess))
    private = None
    if names.private is not None and not expired(names.private, now):
        private = _private(app, names.private, main_ports, private_tls, guess)
    return Site(app, tuple(servers), private)


def _server(
    app: str,
    names: tuple[str, ...],
    options: Mapping[str, Any],
    main_ports: Mapping[str, int | None],
    tls: TlsFiles | None,
    guess: bool,
) -> Server:
    site_options = site_parsing.from_row(options)
    port = None if site_options.own_target else _port(app, options.get("port", main_ports.get(app)), guess)
    path_ports: dict[str, int | None] = {}
    for path in site_options.paths:
        if path.port is not None:
            path_ports[path.path] = path.port
        elif path.app:
            path_ports[path.path] = _port(path.app, main_ports.get(path.app), guess)
        elif path.root is None and not site_options.upstreams_of(path)[0]:
            path_ports[path.path] = _port(app, options.get("port", main_ports.get(app)), guess)
    return Server(names, port, site_options, tls, path_ports)


def _private(
    app: str, row: PrivateUrl, main_ports: Mapping[str, int | None], tls: TlsFiles | None, guess: bool
) -> Private:
    below = domain_of(row)
    domain = vhost_model.PrivateDomain(below.name, tls) if below else None
    if domain is not None and len(row.slug) > _LONGEST_LABEL:
        raise HostError(
            f"serve the private URL of {app} below {domain.name}",
            f"its slug has {len(row.slug)} characters, and a part of a domain has at most {_LONGEST_LABEL}",
            "Choose a shorter slug",
        )
    port = _port(app, row.options.get("port", main_ports.get(app)), guess)
    return Private(row.slug, port, site_parsing.from_row(row.options), row.options.get("until", ""), domain)


def _port(app: str, port: object, guess: bool) -> int | None:
    if port is None and not guess:
        raise HostError(
            f"serve the app {app}",
            "its port is not known, since the registry has no such app with a published port",
            "Deploy the app first, or give port",
        )
    return port if isinstance(port, int) else None


def described(rows: Sequence[object]) -> str:
    """Return registry rows as lines for a diff."""
    return "".join(f"{_described(row)}\n" for row in rows if row is not None)


def _described(row: object) -> str:
    if isinstance(row, PrivateUrl):
        return private_urls.described(row)
    if not isinstance(row, DomainRecord):
        raise TypeError(f"no row of the registry: {row!r}")
    text = row.name if row.name == row.primary else f"{row.name} (alias of {row.primary})"
    options = {**row.options, **({"shared": True} if row.shared else {})}
    return " ".join([text, *(f"{key}={value}" for key, value in sorted(options.items()))])
