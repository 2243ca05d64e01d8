# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The engines that can be linked, by name. Imported in plain sight, since only such modules travel to the host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mongodb import Mongodb
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mysql import Mysql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql import Postgresql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.redis import Redis
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Credentials, Endpoint, Engine

_ENGINES: dict[Engine, type[DatabaseEngine]] = {
    "mysql": Mysql,
    "mariadb": Mysql,
    "postgresql": Postgresql,
    "redis": Redis,
    "mongodb": Mongodb,
}


def open_engine(endpoint: Endpoint, admin: Credentials | None = None) -> DatabaseEngine:
    """Return the engine of an endpoint, not connected yet.

    :param admin: the server's administrator; None: whoever the operating system says that we are, over the socket.
    """
    return _ENGINES[endpoint.engine](endpoint, admin)


@contextlib.contextmanager
def connected(endpoint: Endpoint, admin: Credentials | None = None) -> Iterator[DatabaseEngine]:
    """Connect for the time of a `with` statement.

    :raises HostError: when the server is down or refuses the administrator, or its library is missing.
    """
    engine = open_engine(endpoint, admin)
    try:
        engine.connect()
        yield engine
    finally:
        engine.close()
