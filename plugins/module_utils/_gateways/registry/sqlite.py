# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry in a SQLite file: nothing to install, and enough for one host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import schema
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.driver import (
    WAIT,
    Driver,
    Row,
    apply_migrations,
    refuse_newer,
)

PATH = "/var/serverkit/serverkit.db"

# What sqlite3(1)'s `.dbinfo` and file(1) show of a file; tells ours from a database that another program put there.
APPLICATION_ID = 0x53_4B_49_54  # "SKIT"

_HEADER_SIZE = 100  # https://www.sqlite.org/fileformat.html, section 1.3

# The bytes that a SQLite reader locks: https://www.sqlite.org/src/file/src/os.h, SHARED_FIRST and SHARED_SIZE.
_SHARED_FIRST, _SHARED_SIZE = 0x4000_0002, 510


def open_for_writing(path: str) -> SqliteDriver:
    """Open the file, which is made (0600, in a directory 0755) where there is none. Its tables may be outdated.

    :raises RegistryError: when it cannot be made, is damaged, or is not a registry.
    """
    try:
        if not os.path.isdir(os.path.dirname(path)):
            files.make_directory(os.path.dirname(path))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except (OSError, HostError) as error:
        reason = error.reason if isinstance(error, HostError) else error.strerror or str(error)
        raise RegistryError(f"open the registry {path} for writing", reason, _disk_advice(path)) from error
    driver = SqliteDriver(_connect(path, "rw"), path)
    try:
        _refuse_damaged(driver)
        driver.schema_version()
    except RegistryError:
        driver.close()
        raise
    return driver


def open_for_reading(path: str) -> SqliteDriver:
    """Open the file so that nothing can be written; where there is none, that is an empty registry.

    :raises RegistryError: when it cannot be read, is damaged, is not a registry, or a newer version has written it.
    """
    if not os.path.exists(path):
        return in_memory(path)
    driver = SqliteDriver(_connect(path, "ro"), path)
    try:
        return _up_to_date(driver)
    except _HotJournal:
        driver.close()
    with _recovered(path) as copy:
        driver = SqliteDriver(_connect(copy, "rw"), path)
        return in_memory(path, driver)


def in_memory(where: str, source: Driver | None = None) -> SqliteDriver:
    """Return an up-to-date registry in memory: empty, or with all rows of a source, which is closed.

    A reader may not migrate what it reads, so it migrates a copy.
    """
    memory = SqliteDriver(sqlite3.connect(":memory:", isolation_level=None), where)
    version = 0
    if source is not None:
        with contextlib.closing(source):
            version = source.schema_version()
            refuse_newer(source, version)
            apply_migrations(memory, 0, version)
            for (table,) in memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                rows = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name out of our own migrations
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    memory.execute_all(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - the same name
    apply_migrations(memory, version, len(schema.MIGRATIONS))
    return memory


class SqliteDriver:
    """A Driver for one SQLite file."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self._connection = connection
        self._where = where

    @property
    def where(self) -> str:
        return self._where

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.Error as error:
            raise _explained(error, self._where) from error

    def execute_all(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise _explained(error, self._where) from error

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def lock_all_hosts(self) -> None:
        """BEGIN IMMEDIATE has locked the whole file."""

    def commit(self) -> None:
        self.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def schema_version(self) -> int:
        version = int(self.execute("PRAGMA user_version")[0][0])
        application = int(self.execute("PRAGMA application_id")[0][0])
        used = bool(self.execute("SELECT 1 FROM sqlite_master LIMIT 1"))
        if application != (APPLICATION_ID if version else 0) or (used and not version):
            raise RegistryError(
                f"use the registry {self._where}",
                "the file is a SQLite database of another program",
                "Move that database elsewhere, then run again",
            )
        return version

    def set_schema_version(self, version: int) -> None:
        self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.execute(f"PRAGMA user_version = {version}")


class _HotJournal(RegistryError):
    """A process was killed while it wrote, and a reader may not roll that back in the file itself."""


def _connect(path: str, mode: str) -> sqlite3.Connection:
    # SQLite takes a file shorter than its header for an empty database, and would write over what is left of it.
    if 0 < os.path.getsize(path) < _HEADER_SIZE:
        raise _damaged(path, "it is cut off")
    try:
        return sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, isolation_level=None, timeout=WAIT)
    except sqlite3.Error as error:
        raise _explained(error, path) from error


def _up_to_date(driver: SqliteDriver) -> SqliteDriver:
    try:
        version = driver.schema_version()
        refuse_newer(driver, version)
        return driver if version == len(schema.MIGRATIONS) else in_memory(driver.where, driver)
    except RegistryError:
        driver.close()
        raise


def _refuse_damaged(driver: SqliteDriver) -> None:
    """Look through the whole (small) file before anything is added to it."""
    problems = driver.execute("PRAGMA quick_check(1)")
    if problems != [("ok",)]:
        raise _damaged(driver.where, " ".join(str(problems[0][0]).replace("*** in database main ***", "").split()))


@contextlib.contextmanager
def _recovered(path: str) -> Iterator[str]:
    """Copy the file and its journal to where SQLite may roll back what a killed process left half-written."""
    with tempfile.TemporaryDirectory(prefix="serverkit-") as directory:
        copy = os.path.join(directory, "registry.db")
        try:
            with open(path, "rb") as stream:
                # A reader's lock: nobody rolls back or writes while the two files are copied.
                fcntl.lockf(stream, fcntl.LOCK_SH, _SHARED_SIZE, _SHARED_FIRST)
                shutil.copyfile(path, copy)
                if os.path.exists(f"{path}-journal"):
                    shutil.copyfile(f"{path}-journal", f"{copy}-journal")
        except OSError as error:
            raise RegistryError(f"read the registry {path}", error.strerror or str(error)) from error
        yield copy


def _explained(error: sqlite3.Error, path: str) -> RegistryError:
    """Say what SQLite's message means here (Python 3.10 has no error codes: https://docs.python.org/3/whatsnew/3.11.html#sqlite3)."""
    text = str(error)
    use = f"use the registry {path}"
    if "locked" in text:
        return RegistryError(
            use, f"other runs have kept it locked for {WAIT:.0f} seconds", "Wait for them to end, then run again"
        )
    if "readonly" in text:
        return _HotJournal(f"write the registry {path}", "its file or file system is read-only", _disk_advice(path))
    if "full" in text or "disk I/O" in text or "unable to open" in text:
        return RegistryError(f"write the registry {path}", text, _disk_advice(path))
    if isinstance(error, sqlite3.IntegrityError):
        return RegistryError(f"write the registry {path}", f"a row is against its rules ({text})", "Report this bug")
    if isinstance(error, sqlite3.OperationalError) and "malformed" not in text:
        return RegistryError(use, text, "Report this bug, unless the file was changed by hand")
    return _damaged(path, text)


def _damaged(path: str, reason: str) -> RegistryError:
    return RegistryError(
        f"use the registry {path}",
        f"the file is damaged ({reason})",
        f"Move it away (mv {path} {path}.damaged), or put a backup in its place, then run the deployment again: "
        "apps, ports and domains are registered anew from the inventory and from what is on the host",
    )


def _disk_advice(path: str) -> str:
    directory = os.path.dirname(path)
    try:
        state = os.statvfs(directory)
    except OSError:
        return f"Check that {directory} can be made and written"
    if state.f_flag & os.ST_RDONLY:
        return f"The file system of {directory} is mounted read-only: mount it for writing"
    if state.f_bavail == 0 or (state.f_files and state.f_favail == 0):
        return f"The file system of {directory} is full: make room, then run again"
    return f"Check the disk and the permissions of {directory}"
