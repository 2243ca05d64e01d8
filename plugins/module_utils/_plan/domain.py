# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Who gets which name: what a task wants, applied to what the registry has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost import Backend, Private, Server, Site
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
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


@dataclass(frozen=True)
class Elsewhere:
    """Names that other hosts of the registry have, each with its owner in words."""

    domains: Mapping[str, str] = field(default_factory=dict)
    slugs: Mapping[str, str] = field(default_factory=dict)


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
) -> Resolution:
    """Return who has which name after the task.

    An item that fails is treated as if it had not been listed: the names it has had stay as they are.

    :param exclusive: apps that lose what is not listed.
    :param slugs: for each app a random slug, for the case that it needs one.
    :param failures: items known to fail for other reasons.
    """
    failed = dict(failures)
    while True:
        result = _attempt(wanted, owned, elsewhere, exclusive, slugs, failed)
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
                names[item.app] = replace(has, domains=_with_domain(has, item, names, elsewhere))
            else:
                row = _private_url(item, owned.get(item.app, Names()), slugs)
                _check_slug(row, names, elsewhere)
                names[item.app] = replace(has, private=row)
        except ConflictError as error:
            failures[position] = error
    return Resolution(names, failures)


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
    for name in (item.domain, *item.aliases):
        owner = _owner(name, names) or elsewhere.domains.get(name, "")
        if owner:
            raise ConflictError(
                f"give the domain {name} to the app {item.app}",
                f"it belongs to {owner}",
                "Take it from there first, or choose another name",
            )
    rows = [DomainRecord(item.domain, item.app, item.domain, item.options)]
    rows += [DomainRecord(alias, item.app, item.domain) for alias in item.aliases]
    return tuple(sorted((*has.domains, *rows), key=lambda row: row.name))


def _owner(name: str, names: Owned) -> str:
    for app, has in names.items():
        for row in has.domains:
            if row.name == name:
                return f"the app {app}" + (f", as an alias of {row.primary}" if row.primary != name else "")
    return ""


def _private_url(item: Wanted, had: Names, slugs: Mapping[str, str]) -> PrivateUrl:
    slug = item.slug or (had.private.slug if had.private else slugs[item.app])
    return PrivateUrl(slug, item.app, item.options)


def _check_slug(row: PrivateUrl, names: Owned, elsewhere: Elsewhere) -> None:
    owner = elsewhere.slugs.get(row.slug, "")
    for app, has in names.items():
        if has.private and has.private.slug == row.slug and app != row.app:
            owner = f"the app {app}"
    if owner:
        raise ConflictError(
            f"give the private URL /p/{row.slug}/ to the app {row.app}", f"it belongs to {owner}", "Choose another slug"
        )


def site(app: str, names: Names, main_port: int | None, *, guess: bool) -> Site:
    """Return what nginx has to serve for an app.

    :param main_port: the app's port in the registry, where it has one.
    :param guess: whether a port that nobody knows yet may stay open, since the result is only shown.
    :raises HostError: when a port is not known.
    """

    def backend(options: Mapping[str, object]) -> Backend:
        port = options.get("port", main_port)
        if port is None and not guess:
            raise HostError(
                f"serve the app {app}",
                "its port is not known, since the registry has no such app with a published port",
                "Deploy the app first, or give port",
            )
        return Backend(port if isinstance(port, int) else None, options.get("websocket") is not False)

    servers = []
    for row in names.domains:
        if row.primary == row.name:
            aliases = sorted(other.name for other in names.domains if other.primary == row.name != other.name)
            servers.append(Server((row.name, *aliases), backend(row.options)))
    private = Private(names.private.slug, backend(names.private.options)) if names.private else None
    return Site(app, tuple(servers), private)


def described(rows: Sequence[object]) -> str:
    """Return registry rows as lines for a diff."""
    return "".join(f"{_described(row)}\n" for row in rows if row is not None)


def _described(row: object) -> str:
    if isinstance(row, DomainRecord):
        text = row.name if row.name == row.primary else f"{row.name} (alias of {row.primary})"
        options = row.options
    elif isinstance(row, PrivateUrl):
        text, options = f"/p/{row.slug}/", row.options
    else:
        raise TypeError(f"no row of the registry: {row!r}")
    return " ".join([text, *(f"{key}={value}" for key, value in sorted(options.items()))])
