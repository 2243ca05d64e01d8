# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Names for the databases that a restore makes and keeps beside the app's own."""

from __future__ import annotations

import hashlib

from ansible_collections.serverkit.core.plugins.module_utils._plan.database import mysql_pattern
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    MYSQL_FAMILY,
    Engine,
    database_name,
)

# The engines' limits are 63 or 64 bytes, and every name is of ASCII.
_LONGEST = 63
_DIGEST = 8


def staged_name(engine: Engine, database: str, mark: str) -> str:
    """Return `<database>__<mark>`; where that is too long, the database's part is cut off and ends in a digest.

    :param mark: a few letters and digits that say what it is for, such as `new20260131T031500Z`.
    :raises InputError: when the engine does not take that name.
    """
    name = f"{database}__{mark}"
    digest = hashlib.sha256(database.encode()).hexdigest()[:_DIGEST]
    kept = len(database)
    while kept and _length(engine, name) > _LONGEST:
        kept -= 1
        name = f"{database[:kept]}_{digest}__{mark}"
    return database_name(engine, name)


def _length(engine: Engine, name: str) -> int:
    # As GRANT wants it: there, each underscore has a backslash in front of it.
    return len(mysql_pattern(name) if engine in MYSQL_FAMILY else name)
