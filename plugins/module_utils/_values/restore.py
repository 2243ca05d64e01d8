# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Restores as users ask for them, checked before a set is read or a file is touched."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import links, names
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import set_id
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest

RestoreState = Literal["restored", "discarded"]

_DRILL = "-drill"
_LONGEST_NAME = 63
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
# RFC 3339, section 5.6, with the space that people put in place of the T, and without seconds or offset.
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(?:\.\d+)?([Zz]|[+-]\d{2}:\d{2})?")


@dataclass(frozen=True)
class RestoreRequest:
    """One restore as a task asks for it.

    :param set: the set's name; empty for the newest one, or the newest one not after `until` (in UTC).
    :param databases: names of links, `volumes` keys of the Compose file, `binds` paths. Each is None for what the
        others leave: all parts of the set when none of the three is given, none of this kind when another one is.
    :param servers: by name of the link: where its server is, and who administrates it.
    :param target: the app that is made of the set; the set's own app unless it is another one.
    :param from_host: the host that made the set, where it comes from a repository.
    """

    app: str
    state: RestoreState = "restored"
    set: str = ""
    until: dt.datetime | None = None
    databases: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None
    binds: tuple[str, ...] | None = None
    servers: Mapping[str, ServerRequest] = field(default_factory=dict)
    target: str = ""
    drill: bool = False
    from_host: str = ""

    @property
    def name(self) -> str:
        """What the item is called in results and messages, and whose lock it needs; one of a kind in a task."""
        if self.drill:
            return drill_name(self.app)
        return self.target or self.app

    @property
    def limited(self) -> bool:
        """Not all parts of the set are asked for."""
        return (self.databases, self.volumes, self.binds) != (None, None, None)

    @property
    def elsewhere(self) -> bool:
        """Another app than the set's own is to be made of it."""
        return bool(self.target) and self.target != self.app


def drill_name(app: str) -> str:
    """Return the name of the throwaway app of a drill."""
    return f"{app[: _LONGEST_NAME - len(_DRILL)].rstrip('-')}{_DRILL}"


def label(options: Mapping[str, Any]) -> str:
    """Return what to call an item that cannot be parsed."""
    return str(options.get("as") or options.get("app"))


def parse(options: Mapping[str, Any]) -> RestoreRequest:
    """Return the restore that one item's options ask for.

    :raises InputError: when a name or a value is not valid, or options contradict each other.
    """
    app = names.app_name(options["app"])
    request = RestoreRequest(
        app=app,
        state="discarded" if options.get("state") == "discarded" else "restored",
        set=set_id(options["set"]) if options.get("set") else "",
        until=moment(options["time"]) if options.get("time") else None,
        databases=_listed(options.get("databases")),
        volumes=_listed(options.get("volumes")),
        binds=_listed(options.get("binds")),
        servers=servers(app, options.get("links") or ()),
        target=names.app_name(options["as"]) if options.get("as") else "",
        drill=bool(options.get("drill")),
        from_host=options.get("from_host") or "",
    )
    _check(request)
    return request


def moment(value: object) -> dt.datetime:
    """Return a point in time, in UTC; without an offset it is meant in UTC, and a day is meant with all of it.

    :raises InputError: when it is none.
    """
    text = str(value).strip()
    found = _TIME.fullmatch(text)
    try:
        if _DAY.fullmatch(text):
            return dt.datetime.fromisoformat(f"{text}T23:59:59+00:00")
        if found:
            offset = "+00:00" if (found[4] or "Z") in "Zz" else found[4]
            # A minute is meant with all of it, as a set's name has seconds.
            read = dt.datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or ':59'}{offset}")
            return read.astimezone(dt.timezone.utc)
    except (ValueError, OverflowError):
        pass
    raise InputError(
        f"use {text[:60]!r} as the time to restore",
        "it is not a point in time",
        "Give one such as 2026-01-31 12:00 (in UTC) or 2026-01-31T12:00:00+01:00",
    )


def servers(app: str, listed: Sequence[Mapping[str, Any]]) -> dict[str, ServerRequest]:
    """Return where the servers of an app's links are, by name of the link.

    :raises InputError: when a server is not valid, or a link is named twice.
    """
    found: dict[str, ServerRequest] = {}
    for each in listed:
        name = str(each.get("name") or "")
        if not name or name in found:
            reason = f"the link {name} is named twice" if name else "a link has no name"
            raise InputError(f"use the given links of the app {app}", reason, "Name each link once")
        found[name] = links.server_request(each.get("server") or {})
    return found


def _listed(value: Sequence[Any] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(dict.fromkeys(str(each) for each in value))


def _check(request: RestoreRequest) -> None:
    attempted = f"restore the app {request.app}"
    if request.set and request.until:
        raise InputError(attempted, "set and time say which set, and both are given", "Leave one of them out")
    if request.drill and (request.target or request.limited):
        reason = "a drill restores all of a set into a place of its own"
        raise InputError(attempted, reason, "Leave out as, databases, volumes and binds")
    if request.elsewhere and request.limited:
        reason = "another app is made of all of a set"
        raise InputError(attempted, reason, "Leave out databases, volumes and binds, or as")
    if request.state == "discarded":
        chosen = (request.set, request.until, request.target, request.drill, request.from_host, request.limited)
        if any(chosen):
            reason = "what former restores have kept aside is discarded as a whole"
            raise InputError(f"discard of the app {request.app}", reason, "Give no other options with state: discarded")
