# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What has to move where when two databases of a MySQL or MariaDB server change names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# The table in which a switch writes down what it is about; no app's table is called so.
JOURNAL = "serverkit__switch"
DATA = "TABLE"
# In the order in which they can be made: views may call functions; triggers and events need what they write to.
KINDS = ("TABLE", "PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE", "VIEW", "TRIGGER", "EVENT")


@dataclass(frozen=True)
class Part:
    """A table, or something that cannot move and has to be made again.

    :ivar home: the database that it was in before the switch.
    :ivar order: among triggers, which one comes first.
    :ivar sql: that makes it, without a database's name.
    :ivar mode, collation, zone: of the session that made it; its text means the same only with these.
    :ivar broken: it could not be made in the database that was kept, since what it needs is not there.
    """

    home: str
    kind: str
    name: str
    order: int = 0
    sql: str = ""
    mode: str | None = None
    collation: str | None = None
    zone: str | None = None
    broken: bool = False

    def __lt__(self, other: Part) -> bool:
        return (KINDS.index(self.kind), self.order, self.name) < (KINDS.index(other.kind), other.order, other.name)

    def moved(self, home: str) -> Part:
        return dataclasses.replace(self, home=home)

    def as_broken(self) -> Part:
        return dataclasses.replace(self, broken=True)


@dataclass(frozen=True)
class Journal:
    """A switch that has begun.

    :ivar existed: there was a database `live`.
    :ivar done: it came to its end; `parts` are those that could not be made in `kept`.
    """

    live: str
    fresh: str
    kept: str
    existed: bool = True
    parts: tuple[Part, ...] = ()
    done: bool = False

    @classmethod
    def read(cls, text: str) -> Journal:
        content = json.loads(text)
        parts = tuple(Part(**part) for part in content.pop("parts"))
        return cls(**content, parts=parts)

    def written(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def targets(self, *, forward: bool) -> dict[str, str]:
        """Return where what was in a database shall be."""
        if forward:
            return {self.live: self.kept, self.fresh: self.live}
        return {self.live: self.live, self.fresh: self.fresh}


def moves(
    journal: Journal, present: Mapping[str, frozenset[str]], *, forward: bool
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Yield which table has to go where, each as (database, name), in an order in which every name is free in time.

    :param present: the tables of the three databases.
    """
    target = journal.targets(forward=forward)
    aside = {journal.live: journal.kept, journal.fresh: journal.fresh}
    wanted = []
    for part in journal.parts:
        if part.kind == DATA:
            away = aside[part.home]
            place = away if part.name in present[away] else journal.live
            if place != target[part.home]:
                wanted.append(((place, part.name), (target[part.home], part.name)))
    yield from sorted(wanted, key=lambda move: move[0][0] != journal.live)
