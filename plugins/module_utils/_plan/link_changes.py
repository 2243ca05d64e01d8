# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Deciding what a link's database server needs, whether the app may have it at all, and how that reads in a diff."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan.links import STATE, UNLINKED
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import fingerprint
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, DatabaseState
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink


@dataclass(frozen=True)
class Secret:
    """A link's login and password as the app's `.env` has them; both empty where it has none."""

    login: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class ServerSteps:
    """What is to be done on the server for a link that is to be present, in this order.

    :param reset: give the login its password, which the server does not take now.
    :param rotate: from the stored password to another, both valid until the app uses the new one.
    :param settle: end a rotation that was cut short, with the password that the app has.
    """

    create_user: bool = False
    create_database: bool = False
    grant: bool = False
    reset: bool = False
    rotate: bool = False
    settle: bool = False

    @property
    def any(self) -> bool:
        return self != ServerSteps()


def steps(state: DatabaseState, access: Access, stored: Secret, wanted: Secret, *, valid: bool) -> ServerSteps:
    """Return what a server needs.

    :param stored: what the app has now.
    :param wanted: what it shall have; another password than a valid stored one is a rotation.
    :param valid: the server takes the stored password.
    """
    unusable = not state.user_exists or not state.logins
    rotates = valid and not unusable and wanted.password != stored.password
    return ServerSteps(
        create_user=unusable,
        create_database=not state.database_exists,
        grant=unusable
        or not state.database_exists
        or state.privileges != access.privileges
        or (bool(state.hosts) and set(state.hosts) != set(access.hosts))
        or bool(state.problems),
        reset=not unusable and not valid,
        rotate=rotates,
        settle=valid and state.rotating and not rotates and not unusable,
    )


def refusal(
    link: DatabaseLink, state: DatabaseState, *, known: bool, adopt: bool, siblings: Collection[str]
) -> ServerkitError | None:
    """Return why an app may not have the database and the user that it wants, or None when it may.

    :param known: they are the link's own, as the registry knows, or the app has the password to prove it.
    :param adopt: take over what nobody is known to own.
    :param siblings: other users of the same app.
    """
    if known:
        return None
    attempted = f"link {link.app}/{link.name}"
    if state.elsewhere:
        return ConflictError(
            attempted,
            f"the user {link.user} of {link.server} exists with other grants: it {', and '.join(state.elsewhere)}",
            "Choose another user",
        )
    others = sorted(set(state.others) - set(siblings) - {link.user})
    if others:
        return ConflictError(
            attempted,
            f"the database {link.database} of {link.server} belongs to {', '.join(others)}",
            "Choose another database",
        )
    if adopt:
        return None
    if state.user_exists and link.user not in siblings:
        what, name = "user", link.user
    elif state.database_exists and _is_a_thing(link) and not siblings:
        what, name = "database", link.database
    else:
        return None
    owner = f" and belongs to {state.owner}" if what == "database" and state.owner else ""
    return ConflictError(
        attempted,
        f"the {what} {name} of {link.server} exists{owner}, and no link is known that it belongs to",
        f"Choose another {what}, or take it over with adopt: true",
    )


def taken(
    link: DatabaseLink, here: Iterable[DatabaseLink], elsewhere: Iterable[tuple[str, DatabaseLink]]
) -> ConflictError | None:
    """Return which other app has the database or the user, as far as the registry knows; None when none does."""
    rivals = [("", row) for row in here if row.app != link.app]
    rivals += [(f" on {host}", row) for host, row in elsewhere if not row.local]
    for where, row in rivals:
        if row.server != link.server or not (row.database == link.database or row.user == link.user):
            continue
        what, name = ("database", link.database) if row.database == link.database else ("user", link.user)
        kept = ", which is not linked any more and keeps its data" if row.options.get(STATE) == UNLINKED else ""
        return ConflictError(
            f"give the {what} {name} of {link.server} to the app {link.app}",
            f"it belongs to the app {row.app}{where}{kept}",
            f"Choose another {what}",
        )
    return None


def moved(link: DatabaseLink, row: DatabaseLink) -> ConflictError | None:
    """Return why a link that is there cannot become the one that is wanted, or None when it can."""
    before = {"server": row.server, "database": row.database, "user": row.user}
    after = {"server": link.server, "database": link.database, "user": link.user}
    for what, value in before.items():
        if value != after[what]:
            return ConflictError(
                f"link {link.app}/{link.name}",
                f"its {what} is {value}, and {after[what]} is asked for; the data would stay behind",
                f"Keep the {what}; or unlink it (state: absent) and give the new link another name",
            )
    return None


def summary(link: DatabaseLink, state: DatabaseState, secret: Secret, *, valid: bool, linked: bool) -> str:
    """Return how a link reads in a diff before the change."""
    lines = [f"link {link.app}/{link.name}: {'linked' if linked else 'not linked'}", f"server: {link.server}"]
    if state.database_exists:
        lines.append(f"database: {link.database}")
    if state.logins:
        lines.append(f"user: {', '.join(sorted(login.name for login in state.logins))}")
        lines.append(f"privileges: {state.privileges or 'others'}")
        if state.hosts:
            lines.append(f"may log in from: {', '.join(sorted(state.hosts))}")
        if secret.password:
            lines.append(f"password: {fingerprint(secret.password)}{'' if valid else ' (not valid)'}")
        if state.rotating:
            lines.append("password: another one is valid too")
    lines.extend(f"problem: {problem}" for problem in state.problems)
    return "".join(f"{line}\n" for line in lines)


def wanted_summary(link: DatabaseLink, access: Access, secret: Secret, *, hosts: bool) -> str:
    """Return how a link reads in a diff after the change."""
    lines = [
        f"link {link.app}/{link.name}: linked",
        f"server: {link.server}",
        f"database: {link.database}",
        f"user: {secret.login or link.user}",
        f"privileges: {access.privileges}",
        *([f"may log in from: {', '.join(sorted(access.hosts))}"] if hosts else []),
        f"password: {fingerprint(secret.password)}",
    ]
    return "".join(f"{line}\n" for line in lines)


def unlinked_summary(link: DatabaseLink, state: DatabaseState, *, drop: bool) -> str:
    """Return how a link reads in a diff after it was taken away."""
    lines = [f"link {link.app}/{link.name}: not linked", f"server: {link.server}"]
    if state.database_exists and not drop:
        lines.append(f"database: {link.database}")
    return "".join(f"{line}\n" for line in lines)


def after(
    rows: Sequence[DatabaseLink], changed: Mapping[tuple[str, str], DatabaseLink | None]
) -> tuple[DatabaseLink, ...]:
    """Return the registry's rows with some replaced, added, or (None) removed."""
    kept = {(row.app, row.name): row for row in rows}
    for key, row in changed.items():
        if row is None:
            kept.pop(key, None)
        else:
            kept[key] = row
    return tuple(kept[key] for key in sorted(kept))


def _is_a_thing(link: DatabaseLink) -> bool:
    """Whether the engine has databases that somebody makes; in Redis and MongoDB they are there when they are used."""
    return link.engine not in ("redis", "mongodb")
