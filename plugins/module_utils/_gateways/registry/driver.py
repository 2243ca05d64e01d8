# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What the registry needs of a database, and bringing a database's tables up to date."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ansible_collections.serverkit.core.plugins.module_utils._errors import RegistryError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import schema

WAIT = 60.0  # seconds that a writer waits for the others

Row = tuple[Any, ...]


class Driver(Protocol):
    """A connection in autocommit mode, with explicit transactions. Every method raises RegistryError on failure."""

    @property
    def where(self) -> str:
        """The registry's place, for messages; never with a password."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement with `?` placeholders and return its rows; none for a statement that has none."""

    def execute_all(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement that returns nothing once for each row of parameters, in few round trips."""

    def begin(self) -> None:
        """Start a write transaction, after waiting up to WAIT seconds for other writers of this host."""

    def lock_all_hosts(self) -> None:
        """Inside a transaction: also wait for the writers of all other hosts that share the registry."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    def schema_version(self) -> int:
        """Return how many migrations the tables have seen; 0 when there are none."""

    def set_schema_version(self, version: int) -> None: ...


@contextlib.contextmanager
def transaction(driver: Driver) -> Iterator[None]:
    """Commit what is done inside, or, on any exception, none of it."""
    driver.begin()
    try:
        yield
        driver.commit()
    except BaseException:
        # The first failure is the one to tell; a connection that is gone has rolled back by itself.
        with contextlib.suppress(RegistryError):
            driver.rollback()
        raise


def migrate(driver: Driver) -> None:
    """Bring the tables up to date; concurrent callers wait for each other and do it once.

    :raises RegistryError: when a newer version of the collection has already migrated them.
    """
    if _current(driver):
        return
    with transaction(driver):
        driver.lock_all_hosts()
        if _current(driver):
            return
        apply_migrations(driver, driver.schema_version(), len(schema.MIGRATIONS))


def apply_migrations(driver: Driver, version: int, target: int) -> None:
    """Take the tables from one version to another; inside a transaction, or on a database of one's own."""
    for migration in schema.MIGRATIONS[version:target]:
        for statement in migration:
            driver.execute(statement)
    driver.set_schema_version(target)


def refuse_newer(driver: Driver, version: int) -> None:
    """Refuse tables that a newer version of the collection has made.

    :raises RegistryError: when they are newer than what this version knows.
    """
    if version > len(schema.MIGRATIONS):
        raise RegistryError(
            f"use the registry {driver.where}",
            f"its schema has version {version}, and this version of serverkit.core knows versions up to "
            f"{len(schema.MIGRATIONS)}; a newer serverkit.core has written it",
            "Install the serverkit.core that the other runs use, or a newer one",
        )


def _current(driver: Driver) -> bool:
    version = driver.schema_version()
    refuse_newer(driver, version)
    return version == len(schema.MIGRATIONS)
