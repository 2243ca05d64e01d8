# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Backup sets: what one holds, and how it is named.

A set is a directory of one app with everything that the app would need on an empty host. Its manifest says what every
file is, how long it is, and its SHA-256; a set without a whole manifest is none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

# Of the manifest; a set of a newer one is refused.
FORMAT = 1

Reason = Literal["asked", "scheduled", "before-restore", "final"]
Quiesce = Literal["pause", "stop", "none"]

REASONS: tuple[Reason, ...] = get_args(Reason)
QUIESCE: tuple[Quiesce, ...] = get_args(Quiesce)

# Only these are thinned out: the others were made because something was about to be replaced or deleted.
THINNED: frozenset[Reason] = frozenset({"asked", "scheduled"})

_SET = re.compile(r"[0-9]{8}T[0-9]{6}Z(?:-[0-9]{1,3})?")
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class StoredFile:
    """One file of a set.

    :ivar path: below the set's directory.
    :ivar size: of the file, in bytes, and `content_size` of what was compressed into it.
    :ivar sha256: of the file, in hexadecimal digits.
    """

    path: str
    size: int
    content_size: int
    sha256: str


@dataclass(frozen=True)
class DatabaseDump:
    """One linked database in a set.

    :ivar link: name of the link.
    :ivar engine: as the link says, and `version` what the server said, such as `MariaDB 10.11.6`.
    :ivar server: the server's identity in the registry.
    :ivar rows: rows of each table when the dump was made (documents of a collection; `keys` for Redis).
    :ivar moving: tables that were written to meanwhile, so that `rows` may not be theirs in the dump.
    """

    link: str
    engine: str
    version: str
    server: str
    database: str
    user: str
    privileges: str
    file: StoredFile
    rows: Mapping[str, int] = field(default_factory=dict)
    moving: tuple[str, ...] = ()


@dataclass(frozen=True)
class TreeArchive:
    """A directory tree in a set, as a tar archive.

    :ivar name: for a volume its key in the Compose file, for a bind mount the path on the host.
    :ivar source: for a volume its name in Docker, for a bind mount the path again.
    :ivar entries: files, directories and links in it, itself included.
    """

    name: str
    source: str
    entries: int
    file: StoredFile


@dataclass(frozen=True)
class Manifest:
    """What a set holds.

    :ivar id: of the set; `order` sorts by it.
    :ivar created: when it was begun, RFC 3339 in UTC.
    :ivar seconds: how long it took.
    :ivar quiesce: how the app was kept from writing meanwhile.
    :ivar release: the app's own directory without what is bind-mounted from it: Compose files, `.env`, `files/`.
    :ivar template: the host's copy of the app's template, its identity and its text.
    :ivar links: the registry's rows of the app's links, as JSON has them; no passwords, which are in `.env`.
    :ivar ports: host ports by name of the lease, such as `{"HTTP_PORT": "8001/tcp"}`.
    :ivar left_out: what the app has mounted and is not in the set, each with the reason.
    """

    app: str
    id: str
    created: str
    host: str
    reason: Reason
    quiesce: Quiesce
    seconds: float
    release: StoredFile
    template: str = ""
    template_text: str = field(default="", repr=False)
    databases: tuple[DatabaseDump, ...] = ()
    volumes: tuple[TreeArchive, ...] = ()
    binds: tuple[TreeArchive, ...] = ()
    links: tuple[Mapping[str, object], ...] = ()
    ports: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Every file of the set but the manifest itself."""
        parts: tuple[DatabaseDump | TreeArchive, ...] = (*self.databases, *self.volumes, *self.binds)
        return (self.release, *(part.file for part in parts))


@dataclass(frozen=True)
class Keep:
    """Which sets stay: the newest ones, and the newest of each of the last days, ISO weeks and months that have one."""

    last: int = 1
    daily: int = 7
    weekly: int = 4
    monthly: int = 6


def set_id(value: object) -> str:
    """Return the name of a set, unchanged.

    :raises InputError: when it is none, and could be a path.
    """
    if isinstance(value, str) and _SET.fullmatch(value):
        with contextlib.suppress(ValueError):
            begun(value)
            return value
    reason = "a set is named after the time it was begun, in UTC"
    raise InputError(f"use {value!r} as the name of a backup set", reason, "Give one such as 20260131T031500Z")


def new_set_id(now: dt.datetime, taken: frozenset[str] = frozenset()) -> str:
    """Return the name of a set that is begun now (in UTC); a number puts it behind those of the same second."""
    name = now.strftime(_STAMP)
    last = max((number for stamp, number in map(order, taken) if stamp == name), default=0)
    return f"{name}-{last + 1}" if last else name


def begun(identity: str) -> dt.datetime:
    """Return when a set was begun, in UTC."""
    return dt.datetime.strptime(identity.partition("-")[0], _STAMP).replace(tzinfo=dt.timezone.utc)


def order(identity: str) -> tuple[str, int]:
    """Return what sets are sorted by, the oldest first: as text, the tenth set of a second would precede its second."""
    stamp, _dash, number = identity.partition("-")
    return stamp, int(number or 1)
