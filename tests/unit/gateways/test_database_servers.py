# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host says of its own database servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.database_servers import local_server


def test_a_roles_file_says_where_a_server_is_and_who_administrates_it(tmp_path: Path) -> None:
    (tmp_path / "redis.json").write_text(
        json.dumps(
            {
                "engine": "redis",
                "host": "172.17.0.1",
                "port": 6380,
                "socket": "/run/redis/s",
                "user": "serverkit",
                "password": "pw",
                "clients": ["10.0.0.0/8"],
            }
        )
    )
    server = local_server("redis", str(tmp_path))
    assert (server.address, server.port, server.socket) == ("172.17.0.1", 6380, "/run/redis/s")
    assert (server.user, server.password, server.clients) == ("serverkit", "pw", ("10.0.0.0/8",))
    assert server.prepared
    assert "pw" not in repr(server)


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
def test_mysql_and_mariadb_are_one_server(tmp_path: Path, engine: str) -> None:
    (tmp_path / "mysql.json").write_text('{"port": 3307}')
    assert local_server(engine, str(tmp_path)).port == 3307  # type: ignore[arg-type]


def test_an_administrator_without_a_password_is_whoever_the_socket_says(tmp_path: Path) -> None:
    (tmp_path / "postgresql.json").write_text('{"user": "postgres", "socket": "/var/run/postgresql"}')
    assert local_server("postgresql", str(tmp_path)).user == ""


def test_a_host_without_roles_has_the_usual_networks(tmp_path: Path) -> None:
    server = local_server("redis", str(tmp_path))
    assert not server.prepared
    assert server.clients == ("172.16.0.0/12", "192.168.0.0/16")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"port": "many"}', '{"password": "x"}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "redis.json").write_text(text)
    with pytest.raises(HostError, match=r"redis\.json"):
        local_server("redis", str(tmp_path))
