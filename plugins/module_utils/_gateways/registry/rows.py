# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What the parts of the registry have in common: the rows of one host, read freely and written in transactions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import (
    driver as drivers,
)


class Rows:
    """The rows of one host. Every method raises RegistryError when the database fails it."""

    def __init__(self, driver: drivers.Driver, host: str, *, read_only: bool) -> None:
        self._driver = driver
        self._host = host
        self._read_only = read_only
        self._writing = False

    @property
    def where(self) -> str:
        """The registry's place, for messages."""
        return self._driver.where

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of what is done inside, or none of it; waits for other writers of this host, at most 60 seconds.

        Keep it short, and run no programs in it: the others are waiting. It cannot be nested.
        """
        if self._read_only or self._writing:
            raise RuntimeError("a transaction in a read-only registry, or inside another one")
        with drivers.transaction(self._driver):
            self._writing = True
            try:
                yield
            finally:
                self._writing = False

    def _read(self, sql: str, *parameters: object) -> list[drivers.Row]:
        return self._driver.execute(sql, (self._host, *parameters))

    def _write(self, sql: str, parameters: Sequence[object]) -> None:
        self._write_all(sql, [parameters])

    def _write_all(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        if not self._writing:
            raise RuntimeError("a write to the registry outside a transaction")
        self._driver.execute_all(sql, rows)


def as_json(value: Mapping[str, Any]) -> str:
    """Write a mapping so that equal ones have equal texts."""
    return json.dumps(dict(value), sort_keys=True)
