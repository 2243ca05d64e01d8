# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a host says of its own database servers: `/etc/serverkit/databases/<engine>.json`, written by their roles."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._values.database import MYSQL_FAMILY, Engine

DIRECTORY = "/etc/serverkit/databases"

# Where the distributions' packages put them: a file, for PostgreSQL the directory.
_SOCKETS = {
    "mysql": "/run/mysqld/mysqld.sock",
    "postgresql": "/var/run/postgresql",
    "redis": "/run/redis/redis-server.sock",
    "mongodb": "/run/mongodb/mongodb-27017.sock",
}
# What Docker makes networks of when nobody says otherwise
# (https://github.com/moby/moby/blob/v28.0.0/daemon/libnetwork/ipamutils/utils.go).
_DOCKER_POOLS = ("172.16.0.0/12", "192.168.0.0/16")


@dataclass(frozen=True)
class LocalServer:
    """A database server of this host.

    :param address: where containers reach it; empty where that is not known.
    :param port: 0 for the engine's own.
    :param socket: empty where there is none.
    :param user: the administrator; empty: whoever the operating system says that we are.
    :param clients: networks from which users may log in.
    :param prepared: a role has set it up, so it has to answer.
    """

    address: str = ""
    port: int = 0
    socket: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    clients: tuple[str, ...] = _DOCKER_POOLS
    prepared: bool = False


def local_server(engine: Engine, directory: str | None = None) -> LocalServer:
    """Return what is known of the host's own server of an engine.

    :raises HostError: when its file is damaged.
    """
    family = "mysql" if engine in MYSQL_FAMILY else engine
    path = os.path.join(directory or DIRECTORY, f"{family}.json")
    state = files.read(path)
    if state is None:
        socket = _SOCKETS[family]
        return LocalServer(socket=socket if os.path.exists(socket) else "")
    try:
        return _server(json.loads(state.content))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HostError(f"read {path}", "it is damaged", "Run site.yml, whose roles write it") from None


def _server(fields: dict[str, Any]) -> LocalServer:
    # A login by the operating system needs no password, and the engine finds out the name by itself.
    password = str(fields.get("password") or "")
    return LocalServer(
        address=str(fields.get("host") or ""),
        port=int(fields.get("port") or 0),
        socket=str(fields.get("socket") or ""),
        user=str(fields["user"]) if password else "",
        password=password,
        clients=tuple(str(network) for network in fields.get("clients") or _DOCKER_POOLS),
        prepared=True,
    )
