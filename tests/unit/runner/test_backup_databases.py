# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which login is used for a link's server, where nobody gives one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_order import container_of
from ansible_collections.serverkit.core.plugins.module_utils._runner import backup_databases
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_databases import (
    LinkConnections,
    own_login,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.link_servers import Server
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Credentials, Endpoint
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

OWN = {"SERVERKIT_LINK_MAIN_USER": "shop_b", "SERVERKIT_LINK_MAIN_PASSWORD": "app-secret"}
ADMIN = ServerRequest(host="db.example.com", user="root", password="admin-secret")


def link(server: str, **options: Any) -> DatabaseLink:
    return DatabaseLink("shop", "main", "mariadb", server, "shop", "shop", "owner", "h", 3306, options=options)


class FakeServers:
    """Servers that are where they are looked for; `refuses` has the users that cannot log in."""

    refuses: frozenset[str] = frozenset()
    local = "mysql://127.0.0.1:3306"

    def __init__(self, host: Host, docker: object) -> None:
        del host, docker

    def find(self, app: str, engine: str, wanted: ServerRequest) -> Server:
        place = f"mysql://{wanted.host}:{wanted.port or 3306}" if wanted.host else self.local
        admin = Credentials(wanted.user, wanted.password) if wanted.user else None
        return Server(place, Endpoint("mariadb"), admin, "h", 3306, "127.0.0.1")

    def engine(self, server: Server) -> Any:
        name = server.admin.user if server.admin else ""
        if name in self.refuses:
            raise HostError(f"log in as {name or 'root'}", "it is refused")
        return f"engine of {name or 'the socket'}"

    def close(self) -> None:
        pass


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr(backup_databases, "Servers", FakeServers)
    monkeypatch.setattr(FakeServers, "refuses", frozenset())
    return set()


def connect(hidden: set[str], row: DatabaseLink, wanted: ServerRequest | None = None, own: Any = None) -> Any:
    host = Host(FakeCommands(), Settings(), False, hidden.add)
    return LinkConnections(host).connect(row, OWN if own is None else own, wanted)


def test_the_hosts_own_server_is_asked_by_its_socket(hidden: set[str]) -> None:
    found = connect(hidden, link("mysql://127.0.0.1:3306"))
    assert (found.engine, found.admin) == ("engine of the socket", True)
    assert found.access.database == "shop"


@pytest.mark.parametrize("server", ["mysql://127.0.0.1:3307", "mysql://db.example.com:3306"])
def test_any_other_is_asked_by_the_app_itself(hidden: set[str], server: str) -> None:
    found = connect(hidden, link(server))
    assert (found.engine, found.admin) == ("engine of shop_b", False)
    # PostgreSQL would not let it into any other database.
    assert found.server.admin == Credentials("shop_b", "app-secret", "shop")
    assert "app-secret" in hidden


def test_an_administrator_who_is_given_is_used(hidden: set[str]) -> None:
    found = connect(hidden, link("mysql://db.example.com:3306"), ADMIN)
    assert (found.engine, found.admin) == ("engine of root", True)
    assert "admin-secret" in hidden
    with pytest.raises(ConflictError, match="and not on"):
        connect(hidden, link("mysql://other.example.com:3306"), ADMIN)


def test_an_administrator_who_is_refused_does_not_stop_the_app(
    hidden: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeServers, "refuses", frozenset({""}))
    assert connect(hidden, link("mysql://127.0.0.1:3306")).engine == "engine of shop_b"
    monkeypatch.setattr(FakeServers, "refuses", frozenset({"", "shop_b"}))
    with pytest.raises(HostError, match="log in as root"):
        connect(hidden, link("mysql://127.0.0.1:3306"))
    with pytest.raises(HostError, match="log in as root"):
        connect(hidden, link("mysql://127.0.0.1:3306"), own={})
    with pytest.raises(HostError, match="no administrator is given"):
        connect(hidden, link("mysql://db.example.com:3306"), own={})


def test_how_an_app_logs_in_as_seen_from_the_host() -> None:
    contained = link("mysql:///db/server:3306")
    assert container_of(contained) == ("db", "server")
    assert own_login(contained, OWN) == ServerRequest(
        port=3306, user="shop_b", password="app-secret", app="db", service="server"
    )
    remote = link("mysql://db.example.com:3310", tls=True, ca_cert="/etc/ca.pem")
    assert container_of(remote) is None
    assert own_login(remote, OWN) == ServerRequest(
        "db.example.com", 3310, user="shop_b", password="app-secret", tls="verify", ca_cert="/etc/ca.pem"
    )
    assert own_login(link("mysql://db:1", tls=True, unverified=True), OWN).tls == "require"
    assert own_login(link("mysql://[::1]:3306"), {}) == ServerRequest("::1", 3306, user="shop", tls="disable")
