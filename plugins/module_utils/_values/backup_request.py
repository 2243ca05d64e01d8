# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Backups as users ask for them, checked before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import names
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import QUIESCE, Keep, Quiesce
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import servers

BackupState = Literal["present", "verified"]

_DURATION = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_MOST = 10000  # sets of one kind to keep


@dataclass(frozen=True)
class TakeOptions:
    """How a set is taken.

    :ivar quiesce: None for what the app's template says, and a pause where it says nothing.
    :ivar exclude: what is not to be in the set, on top of what the template excludes (see `_plan.backup_sources`).
    :ivar servers: administrators by name of the link; of the others the app's own login is used, or the socket.
    :ivar databases: names of the links whose databases are in the set, unlinked ones too; None for all that are linked.
    :ivar everything: volumes of the app that none of its services mounts any more are in it, too.
    """

    quiesce: Quiesce | None = None
    exclude: tuple[str, ...] = ()
    servers: Mapping[str, ServerRequest] = field(default_factory=dict)
    databases: tuple[str, ...] | None = None
    everything: bool = False


@dataclass(frozen=True)
class BackupRequest:
    """The backup of one app as a task asks for it.

    :ivar max_age: in seconds; how old the newest set may be. None: a set is taken each time.
    :ivar keep: None to keep all sets.
    """

    app: str
    state: BackupState = "present"
    max_age: int | None = None
    keep: Keep | None = None
    options: TakeOptions = field(default_factory=TakeOptions)

    @property
    def name(self) -> str:
        """What the item is called in results and messages."""
        return self.app


def parse(options: Mapping[str, Any]) -> BackupRequest:
    """Return the backup that one item's options ask for.

    :raises InputError: when a name or a value is not valid.
    """
    app = names.app_name(options["app"])
    return BackupRequest(
        app=app,
        state=options.get("state") or "present",
        max_age=duration(options["max_age"], f"back up the app {app}") if options.get("max_age") else None,
        keep=None if options.get("keep") is None else keep(options["keep"]),
        options=TakeOptions(
            quiesce=quiesce(app, options.get("quiesce")),
            exclude=tuple(_excluded(app, each) for each in options.get("exclude") or ()),
            servers=servers(app, options.get("databases") or ()),
        ),
    )


def duration(value: object, attempted: str) -> int:
    """Return a duration such as 90m, 24h, 7d or 4w in seconds.

    :raises InputError: when it is none.
    """
    found = _DURATION.fullmatch(str(value))
    if found is None:
        raise InputError(
            attempted, f"max_age is {str(value)[:40]!r}, which is no duration", "Give one such as 24h or 7d"
        )
    return int(found[1]) * _SECONDS[found[2]]


def keep(given: Mapping[str, Any]) -> Keep:
    """Return how many sets are kept.

    :raises InputError: when a number is negative, or all are 0.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    bad = next((name for name, value in wanted.items() if not 0 <= int(value) <= _MOST), None)
    if bad:
        raise InputError("thin out backup sets", f"keep.{bad} is {wanted[bad]}", f"Use 0 to {_MOST}")
    return Keep(**{name: int(value) for name, value in wanted.items()})


def quiesce(app: str, value: object) -> Quiesce | None:
    """Return how an app is kept from writing; None where nothing is said.

    :raises InputError: when it is no such way.
    """
    for known in QUIESCE:
        if value == known:
            return known
    if not value:
        return None
    raise InputError(f"back up the app {app}", f"quiesce is {value!r}", f"Use one of {', '.join(QUIESCE)}")


def _excluded(app: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
        raise InputError(
            f"back up the app {app}", f"{value!r} cannot be excluded", "Give the name of a volume or a path"
        )
    return value
