# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SQLite registry: its file, what it refuses, and what a killed writer leaves.

What the registry stores is tested against both backends in tests/integration/test_registry.py.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import (
    driver,
    postgresql,
    schema,
    sqlite,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, PortLease

LEASE = PortLease(8001, "tcp", "blog", "http")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "serverkit" / "serverkit.db")


def add(path: str, *leases: PortLease) -> None:
    with open_registry(Settings(), read_only=False, path=path) as registry, registry.transaction():
        registry.add_ports(leases)


def read(path: str) -> tuple[PortLease, ...]:
    with open_registry(Settings(), read_only=True, path=path) as registry:
        return registry.ports()


def test_reading_makes_no_file_and_no_directory(path: str, tmp_path: pathlib.Path) -> None:
    assert read(path) == ()
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_for_root_alone_and_its_directory_is_for_all(path: str) -> None:
    mask = os.umask(0)
    try:
        add(path, LEASE)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o755
    assert read(path) == (LEASE,)
    assert os.listdir(os.path.dirname(path)) == ["serverkit.db"]


def test_reading_changes_nothing(path: str) -> None:
    add(path, LEASE)
    before = pathlib.Path(path).read_bytes(), os.stat(path).st_mtime_ns, os.listdir(os.path.dirname(path))
    with open_registry(Settings(), read_only=True, path=path) as registry:
        registry.ports()
        registry.apps()
        with pytest.raises(RuntimeError), registry.transaction():
            pass
        with pytest.raises(RuntimeError):
            registry.add_port(PortLease(8002, "tcp", "blog", "admin"))
    assert (pathlib.Path(path).read_bytes(), os.stat(path).st_mtime_ns, os.listdir(os.path.dirname(path))) == before


def test_an_empty_file_is_an_empty_registry(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    pathlib.Path(path).touch()
    assert read(path) == ()
    add(path, LEASE)
    assert read(path) == (LEASE,)


def test_a_newer_schema_is_refused(path: str) -> None:
    add(path, LEASE)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(RegistryError, match=r"schema has version 99.*Install the serverkit\.core that"):
            with open_registry(Settings(), read_only=read_only, path=path):
                pass
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM ports").fetchall() == [(1,)]
    connection.close()


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_another_program_is_refused_and_left_alone(path: str, version: int) -> None:
    os.makedirs(os.path.dirname(path))
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE applications (name TEXT)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = pathlib.Path(path).read_bytes()
    for read_only in (True, False):
        with pytest.raises(RegistryError, match="database of another program"):
            with open_registry(Settings(), read_only=read_only, path=path):
                pass
    assert pathlib.Path(path).read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to have a header" * 100, b"x"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path))
    pathlib.Path(path).write_bytes(content)
    for read_only in (True, False):
        with pytest.raises(RegistryError, match=r"the file is damaged.*Move it away"):
            with open_registry(Settings(), read_only=read_only, path=path) as registry:
                registry.ports()
    assert pathlib.Path(path).read_bytes() == content


@pytest.mark.parametrize("offset", [4096, 8192, 20000])
def test_damage_inside_the_file_is_found_before_anything_is_written(path: str, offset: int) -> None:
    add(path, *(PortLease(port, "tcp", "blog", f"n{port}") for port in range(8000, 8500)))
    content = bytearray(pathlib.Path(path).read_bytes())
    content[offset : offset + 4096] = b"\xff" * 4096
    pathlib.Path(path).write_bytes(content)
    with pytest.raises(RegistryError, match=r"the file is damaged.*Move it away \(mv "):
        add(path, PortLease(9000, "tcp", "shop", "http"))
    assert pathlib.Path(path).read_bytes() == bytes(content)


def test_an_older_schema_is_migrated_by_a_writer_and_in_memory_by_a_reader(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(path, LEASE)
    newer = (*schema.MIGRATIONS, ("ALTER TABLE apps ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    before = pathlib.Path(path).read_bytes()
    with open_registry(Settings(), read_only=True, path=path) as registry:
        assert registry.ports() == (LEASE,)
        assert registry._driver.execute("SELECT note FROM apps") == []
    assert pathlib.Path(path).read_bytes() == before
    add(path)
    with open_registry(Settings(), read_only=True, path=path) as registry:
        assert registry.ports() == (LEASE,)
        assert registry._driver.schema_version() == len(newer)
    assert pathlib.Path(path).read_bytes() != before


def test_a_failed_migration_leaves_the_old_tables(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path, LEASE)
    broken = (*schema.MIGRATIONS, ("DELETE FROM ports", "ALTER TABLE absent ADD COLUMN x TEXT"))
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", broken)
        with pytest.raises(RegistryError, match="no such table"):
            add(path)
    assert read(path) == (LEASE,)


def test_a_failed_transaction_writes_nothing(path: str) -> None:
    add(path, LEASE)

    def interrupted() -> None:
        with open_registry(Settings(), read_only=False, path=path) as registry, registry.transaction():
            registry.remove_ports("blog")
            registry.put_app(AppRecord("blog", "wordpress", "1", "started", "abc"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read(path) == (LEASE,)
    with open_registry(Settings(), read_only=True, path=path) as registry:
        assert registry.apps() == {}


def test_transactions_are_not_nested_and_nothing_is_written_outside_one(path: str) -> None:
    with open_registry(Settings(), read_only=False, path=path) as registry:
        with pytest.raises(RuntimeError):
            registry.add_port(LEASE)
        with registry.transaction(), pytest.raises(RuntimeError), registry.transaction():
            pass
        with registry.transaction():
            registry.add_port(LEASE)
        assert registry.ports() == (LEASE,)


def test_a_writer_that_waits_too_long_is_told_why(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path)
    monkeypatch.setattr(sqlite, "WAIT", 0.05)
    with open_registry(Settings(), read_only=False, path=path) as first, first.transaction():
        with pytest.raises(RegistryError, match=r"kept it locked.*Wait for them to end"):
            add(path, LEASE)


def test_a_directory_in_place_of_the_file(path: str) -> None:
    os.makedirs(path)
    with pytest.raises(RegistryError, match="Is a directory"):
        add(path, LEASE)


KILLED = textwrap.dedent(
    """
    import os, signal, sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO ports VALUES ('localhost', ?, 'tcp', 'killed', ?)",
        [(port, "x" * 500 + str(port)) for port in range(9000, 9999)],
    )
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


def test_a_writer_killed_in_its_transaction_leaves_a_consistent_registry(path: str) -> None:
    """The journal is left behind, with half of the transaction in the file."""
    add(path, LEASE)
    killed = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.path.exists(f"{path}-journal")
    left = pathlib.Path(path).read_bytes()
    assert b"killed" in left
    # A reader sees the last commit, and still writes nothing.
    assert read(path) == (LEASE,)
    assert pathlib.Path(path).read_bytes() == left
    assert os.path.exists(f"{path}-journal")
    # The next writer rolls the half-written transaction back.
    add(path, PortLease(8002, "tcp", "blog", "admin"))
    assert [lease.port for lease in read(path)] == [8001, 8002]
    assert not os.path.exists(f"{path}-journal")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:s3cr3t/word@host/db",
        "postgresql://user:s3cr3t@word@host/db",
        "postgresql://user:s3cr3t%zz@host/db",
        "host=x password=s3cr3t word",
        "s3cr3t",
    ],
)
def test_a_malformed_dsn_is_not_quoted(dsn: str) -> None:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    for read_only in (True, False):
        with pytest.raises(InputError, match="registry_dsn") as caught:
            with open_registry(Settings(registry_dsn=dsn), read_only=read_only):
                pass
        assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__}"
        assert "word" not in str(caught.value).replace("password", "")


def test_a_host_without_psycopg2_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(HostError, match=r"psycopg2 is not installed.*Install python3-psycopg2"):
        postgresql.open_for_reading("postgresql://host/db", "web1")


def test_every_table_of_the_schema_is_in_the_registry_of_a_new_file(path: str) -> None:
    add(path)
    with open_registry(Settings(), read_only=True, path=path) as registry:
        assert isinstance(registry, Registry)
        tables = registry._driver.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert [name for (name,) in tables] == [
        "apps",
        "certificate_orders",
        "database_links",
        "domains",
        "ports",
        "private_urls",
        "releases",
        "vhosts",
    ]
    assert driver.WAIT == 60
