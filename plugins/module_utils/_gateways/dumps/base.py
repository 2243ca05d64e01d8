# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is done with the data of one database: dump it, load it, and let a restored one take its place.

A restore never loads into the database that the app uses. It loads into a new one (`_plan/restore_names.py`), which is
checked, and the two change names afterwards.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access


@dataclass(frozen=True)
class Dumped:
    """A dump that was written and is whole.

    :ivar rows: rows of each table when it was made (documents of a collection; `keys` for Redis).
    :ivar moving: tables of which the dump may hold another number of rows, because somebody wrote to them meanwhile.
    :ivar version: product and version of the server, such as `MariaDB 10.11.6`.
    """

    stored: streams.Stored
    rows: Mapping[str, int] = field(default_factory=dict)
    moving: tuple[str, ...] = ()
    version: str = ""


class DatabaseDumps(abc.ABC):
    """Dumps and loads of one engine. Every method raises HostError when the server or its program refuses.

    `dump` and `load` need no more than the app's own login, with privileges `owner`; the others need the server's
    administrator.

    :param engine: connected.
    :param scratch: a directory of mode 0700 for files with a password (0600); the caller removes it.
    """

    directory: ClassVar[str]
    """Where the set keeps dumps of this engine."""
    suffix: ClassVar[str]
    """What a dump's name ends in, before `.zst`."""
    needs_quiet: ClassVar[bool] = False
    """The dump is of one moment only if nobody writes meanwhile; else the server gives a snapshot."""

    def __init__(self, engine: DatabaseEngine, scratch: str) -> None:
        self.engine = engine
        self.scratch = scratch

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in a program's message."""
        admin = self.engine.admin
        return (admin.password,) if admin and admin.password else ()

    @abc.abstractmethod
    def dump(self, access: Access, path: str) -> Dumped:
        """Write `access.database` into a new file, compressed. The file is gone again when that fails.

        :raises HostError: also when the dump does not end as a complete one does.
        """

    @staticmethod
    @abc.abstractmethod
    def check(stored: streams.Stored, path: str) -> None:
        """Check that a dump that was read back is whole, as far as that can be told without a server.

        :param stored: what `streams.check(path)` returned.
        """

    @abc.abstractmethod
    def load(self, path: str, access: Access) -> None:
        """Load a dump into `access.database`, which is there and is empty. Stops at the first error.

        What is loaded belongs to `access.user`, whoever it belonged to when the dump was made.
        """

    @abc.abstractmethod
    def switch(self, live: Access, fresh: str, kept: str) -> None:
        """Call `live.database` `kept`, and call `fresh` `live.database`, where the privileges are as before.

        The app has to be stopped; connections that are left are ended. After a kill at any point it is called again,
        or `switch_back` is. A `live.database` that does not exist is fine.
        """

    def switch_back(self, live: Access, kept: str, fresh: str) -> None:
        """Take `switch(live, fresh, kept)` back: one that was done, was cut off half-way, or was never begun."""
        self.switch(live, fresh=kept, kept=fresh)

    def discard(self, database: str, access: Access) -> None:
        """Delete a database that a restore made or kept. One that is gone already is fine.

        :param access: of the app that it belongs to.
        """
        self.engine.drop_database(dataclasses.replace(access, database=database))
