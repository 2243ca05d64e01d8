# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One registry in PostgreSQL for several hosts, and what goes wrong with a server."""

from __future__ import annotations

import contextlib
import threading

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    AppRecord,
    CertificateOrder,
    DatabaseLink,
    DomainRecord,
    PortLease,
    PrivateUrl,
)
from postgresql_server import PASSWORD, Cluster
from registry_access import reading, writing

pytestmark = pytest.mark.real

BLOG = AppRecord("blog", "wordpress", "1.2", "started", "abc", {"web": "h1", "db": "h2"}, 8001, True)
LEASE = PortLease(8001, "tcp", "blog", "http")
NAME = "blog.example"


def test_hosts_share_names_but_not_ports(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    web1, web2 = Settings(dsn, "web1"), Settings(dsn, "web2")
    with writing(web1) as registry:
        registry.add_port(LEASE)
        registry.put_app(BLOG)
        registry.replace_domains("blog", [DomainRecord("blog.example", "blog", "blog.example")])
        registry.replace_private_urls("blog", [PrivateUrl("k3y", "blog")])
    with writing(web2) as registry:
        assert (registry.ports(), registry.apps(), registry.domains()) == ((), {}, ())
        assert registry.domains_elsewhere() == {"blog.example": "the app blog on web1"}
        assert registry.private_urls_elsewhere() == {"k3y": "the app blog on web1"}
        registry.add_port(LEASE)
        registry.put_app(BLOG)
    with pytest.raises(ConflictError, match="it belongs to the app blog on web1"):
        with writing(web2) as registry:
            registry.replace_domains("blog", [DomainRecord("blog.example", "blog", "blog.example")])
    with pytest.raises(ConflictError, match="it belongs to the app blog on web1"):
        with writing(web2) as registry:
            registry.replace_private_urls("blog", [PrivateUrl("k3y", "blog")])


def test_hosts_may_share_a_name_when_all_of_them_say_so(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    web1, web2, web3 = (Settings(dsn, name) for name in ("web1", "web2", "web3"))
    ours, shared = DomainRecord(NAME, "blog", NAME), DomainRecord(NAME, "blog", NAME, shared=True)
    for settings in (web1, web2):
        with writing(settings) as registry:
            registry.replace_domains("blog", [shared])
            registry.replace_domains("blog", [shared])  # again changes nothing
            assert registry.domains() == (shared,)
    with reading(web3) as registry:
        assert set(registry.domains_elsewhere()) == {NAME}
        assert registry.shared_elsewhere() == {NAME}
    with pytest.raises(ConflictError, match=r"belongs to the app blog on web\d\. Take it"):
        with writing(web3) as registry:
            registry.replace_domains("blog", [ours])
    for settings in (web1, web2):
        with writing(settings) as registry:
            registry.replace_domains("blog", [])
    with writing(web3) as registry:
        registry.replace_domains("blog", [ours])
    with reading(web1) as registry:
        assert registry.shared_elsewhere() == frozenset()
    with pytest.raises(ConflictError, match="shared: true on both hosts"):
        with writing(web1) as registry:
            registry.replace_domains("blog", [shared])


def test_the_table_itself_refuses_a_name_on_two_hosts(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    with writing(Settings(dsn, "web1")) as registry:
        registry.replace_domains("blog", [DomainRecord(NAME, "blog", NAME)])
    with pytest.raises(RegistryError, match="another run was faster"):
        with writing(Settings(dsn, "web2")) as registry:
            registry._write(
                "INSERT INTO domains (host, name, app, primary_name, options, shared) VALUES (?, ?, ?, ?, ?, ?)",
                ("web2", NAME, "blog", NAME, "{}", 0),
            )


def test_the_orders_of_all_hosts_count(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    orders = [
        CertificateOrder(f"serverkit-{app}", (NAME,), "https://ca.example/dir", f"2026-01-0{day}T00:00:00Z", "issued")
        for day, app in ((1, "shop"), (2, "blog"))
    ]
    for host, one in zip(("web1", "web2"), orders, strict=True):
        with writing(Settings(dsn, host)) as registry:
            registry.add_certificate_order(one)
    with reading(Settings(dsn, "web3")) as registry:
        assert registry.certificate_orders() == tuple(orders)


def test_a_database_has_one_owner_over_all_hosts_that_see_its_server(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    web1, web2 = Settings(dsn, "web1"), Settings(dsn, "web2")

    def link(app: str, server: str) -> DatabaseLink:
        return DatabaseLink(app, "main", "mysql", server, "data", "data", "owner", "host.docker.internal", 3306)

    with writing(web1) as registry:
        registry.put_link(link("blog", "mysql://db.example:3306"))
        registry.put_link(link("shop", "mysql://127.0.0.1:3306"))
    with writing(web2) as registry:
        registry.put_link(link("shop", "mysql://127.0.0.1:3306"))  # another server: web2's own
        assert [(host, link.app) for host, link in registry.links_elsewhere()] == [("web1", "blog"), ("web1", "shop")]
    with pytest.raises(ConflictError, match="it belongs to the app blog on web1"):
        with writing(web2) as registry:
            registry.put_link(link("blog", "mysql://db.example:3306"))


def test_writers_of_different_hosts_wait_for_each_other_only_for_shared_names(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    web1, web2 = Settings(dsn, "web1"), Settings(dsn, "web2")
    outcome: list[str] = []

    def claim() -> None:
        try:
            with writing(web2) as registry:
                registry.replace_domains("shop", [DomainRecord("x.example", "shop", "x.example")])
        except ConflictError as error:
            outcome.append(str(error))

    with writing(web1) as first:
        with writing(web2) as second:
            second.add_port(LEASE)
        first.replace_domains("blog", [DomainRecord("x.example", "blog", "x.example")])
        other = threading.Thread(target=claim)
        other.start()
        other.join(0.5)
        assert other.is_alive()
    other.join()
    assert "x.example to the app shop: it belongs to the app blog on web1" in outcome[0]


def test_the_host_is_called_by_its_host_name_unless_it_is_told_otherwise(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "web7")
    dsn = cluster.dsn()
    with writing(Settings(dsn)) as registry:
        registry.add_port(LEASE)
    with reading(Settings(dsn, "web7")) as registry:
        assert registry.ports() == (LEASE,)


def error_of(settings: Settings, *, read_only: bool = False) -> str:
    with pytest.raises(RegistryError) as caught:
        with open_registry(settings, read_only=read_only):
            pass
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize("read_only", [True, False])
def test_no_error_shows_the_password(cluster: Cluster, read_only: bool) -> None:
    dsn = cluster.dsn()
    encoded = dsn.split(":")[2].partition("@")[0]
    wrong = Settings(dsn.replace(encoded, "wr0ng-s3cr3t"), "web1")
    unreachable = Settings(dsn.replace(f":{cluster.port}/", ":1/"), "web1")
    unknown_host = Settings(dsn.replace("127.0.0.1", "no-such-host.invalid"), "web1")
    no_database = Settings(f"{dsn}_absent", "web1")
    texts = [error_of(case, read_only=read_only) for case in (wrong, unreachable, unknown_host, no_database)]
    assert "password authentication failed" in texts[0]
    assert "refused" in texts[1]
    assert "no-such-host.invalid" in texts[2]
    assert "does not exist" in texts[3]
    for text in texts:
        assert "s3cr3t" not in text
        assert PASSWORD not in text
        assert encoded not in text
        assert "Check registry_dsn and the PostgreSQL server" in text


def test_a_role_that_may_not_make_tables_is_told_so(cluster: Cluster) -> None:
    dsn = cluster.dsn(user="limited")
    database = dsn.rpartition("/")[2]
    cluster.psql(f"ALTER DATABASE {database} OWNER TO postgres")
    cluster.psql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
    with pytest.raises(RegistryError, match=r"permission denied.*Let the role of registry_dsn own the database"):
        with writing(Settings(dsn, "web1")):
            pass


def test_a_standby_is_refused_with_advice(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    with writing(Settings(dsn, "web1")):
        pass
    cluster.psql(f"ALTER DATABASE {dsn.rpartition('/')[2]} SET default_transaction_read_only = on")
    with reading(Settings(dsn, "web1")) as registry:
        assert registry.ports() == ()


def test_a_server_that_goes_away_is_an_error_and_nothing_is_written(cluster: Cluster) -> None:
    dsn = cluster.dsn()
    settings = Settings(dsn, "web1")

    def cut_off() -> None:
        with writing(settings) as registry:
            registry.add_port(LEASE)
            cluster.psql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{dsn.rpartition('/')[2]}'"
            )
            registry.put_app(BLOG)

    with pytest.raises(RegistryError) as caught:
        cut_off()
    assert PASSWORD not in str(caught.value)
    with reading(settings) as registry:
        assert registry.ports() == ()


def test_a_failed_statement_cannot_be_committed(cluster: Cluster) -> None:
    settings = Settings(cluster.dsn(), "web1")

    def go_on_after_a_failure() -> None:
        with writing(settings) as registry:
            registry.add_port(LEASE)
            with contextlib.suppress(RegistryError):
                registry._driver.execute("SELECT nothing FROM nowhere")

    with pytest.raises(RegistryError, match="an earlier statement had failed"):
        go_on_after_a_failure()
    with reading(settings) as registry:
        assert registry.ports() == ()
