# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry's behaviour, the same for both backends: SQLite, and a real PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import signal
from dataclasses import replace

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import postgresql, schema, sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    AppRecord,
    CertificateOrder,
    DatabaseLink,
    DomainRecord,
    PortLease,
    PrivateUrl,
    ReleaseRecord,
    VhostRecord,
)
from postgresql_server import Cluster
from registry_access import reading, writing

pytestmark = pytest.mark.real

BLOG = AppRecord("blog", "wordpress", "1.2", "started", "abc", {"web": "h1", "db": "h2"}, 8001, True)
LEASE = PortLease(8001, "tcp", "blog", "http")
NAME = "blog.example"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit" / "serverkit.db"))
    if request.param == "sqlite":
        return Settings()
    cluster: Cluster = request.getfixturevalue("cluster")
    return Settings(registry_dsn=cluster.dsn(), registry_host="web1")


def test_a_registry_that_is_not_there_yet_is_empty(settings: Settings) -> None:
    with reading(settings) as registry:
        assert registry.ports() == ()
        assert registry.apps() == {}
        assert registry.releases("blog") == ()
        assert registry.domains() == ()
        assert registry.domains_elsewhere() == {}
        assert registry.private_urls() == ()
        assert registry.private_urls_elsewhere() == {}
        assert registry.vhosts() == {}
        assert registry.shared_elsewhere() == frozenset()
        assert registry.certificate_orders() == ()
        assert registry.links() == ()
        assert registry.links_elsewhere() == ()


def test_a_reader_makes_no_tables(settings: Settings, cluster: Cluster) -> None:
    with reading(settings) as registry:
        registry.ports()
    assert not os.path.exists(sqlite.PATH)
    if settings.registry_dsn:
        database = settings.registry_dsn.rpartition("/")[2]
        assert cluster.psql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database) == ""


def test_ports(settings: Settings) -> None:
    twin = PortLease(8001, "udp", "blog", "http")
    shop = PortLease(8000, "tcp", "shop", "http")
    with writing(settings) as registry:
        registry.add_port(LEASE)
        registry.add_ports([twin, shop])
    with reading(settings) as registry:
        assert registry.ports() == (shop, LEASE, twin)

    def take_both() -> None:
        with writing(settings) as registry:
            registry.add_port(PortLease(9000, "tcp", "shop", "other"))
            registry.add_port(PortLease(8001, "tcp", "shop", "admin"))

    with pytest.raises(ConflictError, match="port 8001/tcp for shop/admin: it is reserved for blog/http"):
        take_both()
    with writing(settings) as registry:
        assert registry.ports() == (shop, LEASE, twin)
        assert registry.remove_ports("blog", {"nothing"}) == ()
        assert registry.remove_ports("blog", {"http"}) == (LEASE, twin)
        assert registry.remove_ports("shop") == (shop,)
        assert registry.ports() == ()


def test_a_lease_that_has_another_owner_by_now_is_not_removed(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.add_port(LEASE)
        registry.remove_leases([PortLease(8001, "tcp", "shop", "http")])
        assert registry.ports() == (LEASE,)


def test_the_tables_themselves_refuse_a_second_owner(settings: Settings) -> None:
    """The last guard, should the code above it be wrong."""

    def write_twice() -> None:
        with writing(settings) as registry:
            sql = "INSERT INTO ports (host, port, protocol, owner, name) VALUES (?, 8001, 'tcp', ?, 'http')"
            registry._write(sql, (registry._host, "blog"))
            registry._write(sql, (registry._host, "shop"))

    with pytest.raises(RegistryError):
        write_twice()
    with reading(settings) as registry:
        assert registry.ports() == ()


@pytest.mark.parametrize("values", [(0, "tcp"), (65536, "tcp"), (8000, "sctp")])
def test_the_tables_themselves_refuse_what_is_no_port(settings: Settings, values: tuple[int, str]) -> None:
    with pytest.raises(RegistryError):
        with writing(settings) as registry:
            registry.add_port(PortLease(values[0], values[1], "blog", "http"))  # type: ignore[arg-type]


def test_apps_and_releases(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.put_app(BLOG)
        registry.put_app(AppRecord("shop", "static-site", "", "stopped", ""))
        for number in range(1, 26):
            registry.add_release(ReleaseRecord("blog", number, "2026-01-01T00:00:00Z", "wordpress", "1", "h", "live"))
        registry.add_release(ReleaseRecord("shop", 1, "2026-01-01T00:00:00Z", "static-site", "1", "h", "live"))
        superseded = ReleaseRecord("blog", 25, "2026-01-01T00:00:00Z", "wordpress", "1", "h", "superseded")
        registry.add_release(superseded)
    with reading(settings) as registry:
        assert registry.apps() == {"blog": BLOG, "shop": AppRecord("shop", "static-site", "", "stopped", "")}
        assert [release.number for release in registry.releases("blog")] == list(range(6, 26))
        assert registry.releases("blog")[-1] == superseded
    with writing(settings) as registry:
        changed = AppRecord("blog", "wordpress", "1.3", "stopped", "def")
        registry.put_app(changed)
        assert registry.apps()["blog"] == changed
        registry.remove_app("blog")
        assert set(registry.apps()) == {"shop"}
        assert registry.releases("blog") == ()
        assert len(registry.releases("shop")) == 1


def test_domains(settings: Settings) -> None:
    blog = DomainRecord("blog.example", "blog", "blog.example", {"websocket": True, "port": 8001})
    alias = DomainRecord("www.blog.example", "blog", "blog.example")
    with writing(settings) as registry:
        registry.replace_domains("blog", [blog, alias])
    with writing(settings) as registry:
        registry.replace_domains("blog", [blog])
    with pytest.raises(ConflictError, match=r"domain blog\.example to the app shop: it belongs to the app blog\."):
        with writing(settings) as registry:
            registry.replace_domains(
                "shop",
                [
                    DomainRecord("shop.example", "shop", "shop.example"),
                    DomainRecord("blog.example", "shop", "shop.example"),
                ],
            )
    with reading(settings) as registry:
        assert registry.domains() == (blog,)
        assert registry.domains_elsewhere() == {}
    with writing(settings) as registry:
        registry.replace_domains("blog", [])
        assert registry.domains() == ()


def test_private_urls_and_vhosts(settings: Settings) -> None:
    url = PrivateUrl("k3y", "blog", {"port": 8001})
    with writing(settings) as registry:
        registry.replace_private_urls("blog", [url])
        registry.put_vhost(VhostRecord("blog", "h1"))
        registry.put_vhost(VhostRecord("blog", "h2"))
    with pytest.raises(ConflictError, match="private URL k3y to the app shop: it belongs to the app blog"):
        with writing(settings) as registry:
            registry.replace_private_urls("shop", [PrivateUrl("k3y", "shop")])
    with reading(settings) as registry:
        assert registry.private_urls() == (url,)
        assert registry.vhosts() == {"blog": VhostRecord("blog", "h2")}
    with writing(settings) as registry:
        registry.replace_private_urls("blog", [])
        registry.remove_vhost("blog")
        assert (registry.private_urls(), registry.vhosts()) == ((), {})


def order(at: str, *, directory: str = "https://ca.example/dir", names: tuple[str, ...] = (NAME,)) -> CertificateOrder:
    return CertificateOrder("serverkit-blog", names, directory, at, "issued")


def test_certificate_orders_of_a_quarter_are_kept(settings: Settings) -> None:
    old, edge, new = (order(f"2026-{day}T12:00:00Z") for day in ("01-01", "01-02", "04-02"))
    failed = replace(new, outcome="rate_limited", reason="too many", retry_after="2026-04-03T00:00:00Z")
    with writing(settings) as registry:
        registry.add_certificate_order(old)
        registry.add_certificate_order(edge)
        registry.add_certificate_order(new)
        registry.add_certificate_order(failed)
    with reading(settings) as registry:
        assert registry.certificate_orders() == (edge, new, failed)
        assert registry.certificate_orders("2026-01-02T12:00:01Z") == (new, failed)


def link(app: str = "blog", name: str = "main", **changes: object) -> DatabaseLink:
    known = DatabaseLink(app, name, "mysql", "mysql://db.example:3306", app, f"{app}_u", "owner", "db.example", 3306)
    return replace(known, **changes)  # type: ignore[arg-type]


def test_links(settings: Settings) -> None:
    full = link(env_prefix="DB", services=("web", "worker"), options={"tls": {"verify": True}})
    cache = link(name="cache", engine="redis", server="redis://127.0.0.1:6379", database="blog:", port=6379)
    with writing(settings) as registry:
        registry.put_link(link())
        registry.put_link(full)
        registry.put_link(cache)
        registry.put_link(link("shop"))
    with reading(settings) as registry:
        assert registry.links() == (cache, full, link("shop"))
        assert registry.links_elsewhere() == ()
    with writing(settings) as registry:
        registry.remove_link("blog", "cache")
        registry.remove_link("blog", "absent")
        assert registry.links() == (full, link("shop"))


def test_an_app_may_have_two_links_to_its_own_database(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.put_link(link())
        registry.put_link(link(name="reports", user="blog_ro", privileges="readonly"))
        assert len(registry.links()) == 2


@pytest.mark.parametrize(
    ("taken", "what"),
    [
        ({"database": "blog"}, r"the database blog of mysql://db\.example:3306"),
        ({"user": "blog_u"}, r"the user blog_u of mysql://db\.example:3306"),
    ],
)
def test_a_database_and_a_user_have_one_owner(settings: Settings, taken: dict[str, object], what: str) -> None:
    with writing(settings) as registry:
        registry.put_link(link())
    with pytest.raises(ConflictError, match=rf"give {what} to the app shop: it belongs to the app blog\."):
        with writing(settings) as registry:
            registry.put_link(link("shop", **taken))
    with writing(settings) as registry:  # the same names on another server are others
        registry.put_link(link("shop", server="mysql://db2.example:3306", **taken))
        assert len(registry.links()) == 2


@pytest.mark.parametrize(
    ("server", "local"),
    [
        ("mysql://127.0.0.1:3306", True),
        ("mysql://localhost:3306", True),
        ("redis://[::1]:6379", True),
        ("postgresql:///run/postgresql", True),
        ("mysql://db.example:3306", False),
        ("postgresql://10.0.0.5:5432", False),
        ("postgresql://127.example:5432", False),
    ],
)
def test_a_server_on_loopback_is_another_one_on_each_host(server: str, local: bool) -> None:
    assert link(server=server).local is local


def version_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a registry as the first release of the collection did."""
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with writing(settings) as registry:
            registry.put_app(BLOG)
            registry.put_vhost(VhostRecord("blog", "h1"))
            registry._write(
                "INSERT INTO domains (host, name, app, primary_name, options) VALUES (?, ?, ?, ?, ?)",
                (registry._host, NAME, "blog", NAME, '{"port": 8001}'),
            )


def test_a_registry_of_the_first_release_keeps_what_it_knows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_one(settings, monkeypatch)
    domain = DomainRecord(NAME, "blog", NAME, {"port": 8001})
    with reading(settings) as registry:  # a copy in memory: nothing is written yet
        assert registry.domains() == (domain,)
        assert registry.links() == ()
    with writing(settings) as registry:
        assert registry.domains() == (domain,)
        assert registry.apps() == {"blog": BLOG}
        assert registry.vhosts() == {"blog": VhostRecord("blog", "h1")}
        registry.put_link(link())
    with pytest.raises(ConflictError, match="it belongs to the app blog"):
        with writing(settings) as registry:
            registry.replace_domains("shop", [DomainRecord(NAME, "shop", NAME)])


def test_two_apps_of_one_host_cannot_share_a_name(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.replace_domains("blog", [DomainRecord(NAME, "blog", NAME, shared=True)])
        assert registry.domains() == (DomainRecord(NAME, "blog", NAME, shared=True),)
    with pytest.raises(ConflictError, match="it belongs to the app blog"):
        with writing(settings) as registry:
            registry.replace_domains("shop", [DomainRecord(NAME, "shop", NAME, shared=True)])


def test_unicode_quotes_and_placeholders_are_only_text(settings: Settings) -> None:
    odd = AppRecord("blog", 'it\'s "100 %s" ?', "ü✓", "started", "a\\b", {"%(x)s": "?"})
    with writing(settings) as registry:
        registry.put_app(odd)
        assert registry.apps() == {"blog": odd}


def test_an_exception_rolls_everything_back(settings: Settings) -> None:
    def interrupted() -> None:
        with writing(settings) as registry:
            registry.put_app(BLOG)
            registry.add_port(LEASE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with reading(settings) as registry:
        assert (registry.apps(), registry.ports()) == ({}, ())


def test_readers_do_not_wait_for_a_writer_and_do_not_see_it(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.put_app(BLOG)
        with reading(settings) as other:
            assert other.apps() == {}


def test_a_read_only_registry_cannot_write_even_by_mistake(settings: Settings) -> None:
    with writing(settings):
        pass
    with reading(settings) as registry:
        with pytest.raises(RegistryError):
            registry._driver.execute("DELETE FROM ports")


def test_a_newer_schema_is_refused(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.put_app(BLOG)
        registry._driver.set_schema_version(99)
    for read_only in (True, False):
        with pytest.raises(RegistryError, match=r"its schema has version 99, and this version of serverkit"):
            with open_registry(settings, read_only=read_only):
                pass


def test_an_older_schema_is_migrated_by_a_writer_and_in_memory_by_a_reader(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(settings) as registry:
        registry.put_app(BLOG)
    newer = (*schema.MIGRATIONS, ("ALTER TABLE apps ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    with reading(settings) as registry:
        assert registry.apps() == {"blog": BLOG}
        assert registry._driver.execute("SELECT note FROM apps") == [("none",)]
    with reading(settings) as registry:  # the reader before has left the tables as they were
        assert type(registry._driver).__name__ == "SqliteDriver"
    with writing(settings) as registry:
        assert registry.apps() == {"blog": BLOG}
        assert registry._driver.execute("SELECT note FROM apps") == [("none",)]


def _count_up(settings: Settings, path: str, times: int) -> None:
    sqlite.PATH = path
    for _time in range(times):
        with writing(settings) as registry:
            number = len(registry.ports())
            registry.add_port(PortLease(8000 + number, "tcp", "blog", str(number)))


def test_concurrent_writers_wait_for_each_other(settings: Settings) -> None:
    """Each reads what is there and writes what follows from it; the first of them also makes the tables."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_count_up, args=(settings, sqlite.PATH, 10)) for _writer in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    with reading(settings) as registry:
        assert [lease.port for lease in registry.ports()] == list(range(8000, 8080))


def _die_in_a_transaction(settings: Settings, path: str) -> None:
    sqlite.PATH = path
    with writing(settings) as registry:
        registry.put_app(BLOG)
        registry.add_ports([PortLease(port, "tcp", "blog", str(port)) for port in range(9000, 9500)])
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_that_is_killed_leaves_nothing_behind(settings: Settings) -> None:
    with writing(settings) as registry:
        registry.add_port(LEASE)
    killed = multiprocessing.get_context("fork").Process(target=_die_in_a_transaction, args=(settings, sqlite.PATH))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    with reading(settings) as registry:
        assert (registry.apps(), registry.ports()) == ({}, (LEASE,))
    with writing(settings) as registry:  # and it does not keep the lock
        registry.put_app(BLOG)


def test_a_writer_that_waits_too_long_is_told_why(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(settings):
        for module in (sqlite, postgresql):
            monkeypatch.setattr(module, "WAIT", 1.0)
        with pytest.raises(RegistryError, match=r"kept it locked for 1 seconds\. Wait for them to end"):
            with writing(settings):
                pass
