# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry's behaviour, the same for both backends: SQLite, and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import postgresql, schema, sqlite
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    AppRecord,
    DomainRecord,
    PortLease,
    PrivateUrl,
    ReleaseRecord,
    VhostRecord,
)
from postgresql_server import PASSWORD, Cluster

pytestmark = pytest.mark.real

BLOG = AppRecord("blog", "wordpress", "1.2", "started", "abc", {"web": "h1", "db": "h2"}, 8001, True)
LEASE = PortLease(8001, "tcp", "blog", "http")

Opener = Callable[[bool], contextlib.AbstractContextManager[Registry]]


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(sqlite, "PATH", str(tmp_path / "serverkit" / "serverkit.db"))
    if request.param == "sqlite":
        return Settings()
    cluster: Cluster = request.getfixturevalue("cluster")
    return Settings(registry_dsn=cluster.dsn(), registry_host="web1")


@contextlib.contextmanager
def writing(settings: Settings) -> Iterator[Registry]:
    with open_registry(settings, read_only=False) as registry, registry.transaction():
        yield registry


def reading(settings: Settings) -> contextlib.AbstractContextManager[Registry]:
    return open_registry(settings, read_only=True)


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
        registry._driver.set_schema_version(7)
    for read_only in (True, False):
        with pytest.raises(RegistryError, match=r"its schema has version 7, and this version of serverkit\.core knows"):
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
