# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The dumps of each engine. Imported in plain sight, since only such modules travel to the host."""

from __future__ import annotations

from ansible_collections.serverkit.core.plugins.module_utils._edges.streams import Stored
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mongodb import MongodbDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.mysql import MysqlDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.postgresql import PostgresqlDumps
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.redis import RedisDumps
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Engine, engine_name

_DUMPS: dict[Engine, type[DatabaseDumps]] = {
    "mysql": MysqlDumps,
    "mariadb": MysqlDumps,
    "postgresql": PostgresqlDumps,
    "redis": RedisDumps,
    "mongodb": MongodbDumps,
}


def check_dump(engine: str, stored: Stored, path: str) -> None:
    """Check that a dump that was read back is whole, as far as that can be told without a server.

    :param engine: as the manifest has it.
    :param stored: what `streams.check(path)` returned.
    :raises HostError: when it does not begin or end as such a dump does.
    """
    _DUMPS[engine_name(engine)].check(stored, path)


def open_dumps(engine: DatabaseEngine, scratch: str) -> DatabaseDumps:
    """Return what dumps and loads the databases of a server.

    :param engine: connected.
    :param scratch: a directory of mode 0700 for files with a password; the caller removes it.
    """
    return _DUMPS[engine.endpoint.engine](engine, scratch)
