# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry: who owns which port, domain and private URL, and how each app was last converged.

It reserves and remembers; it is an index of the host, not the truth about it. No secret is stored in it. Its rows by
subject are in the modules beside this one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import (
    driver as drivers,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import (
    postgresql,
    sqlite,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.apps import AppRows
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.certificates import CertificateRows
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.links import LinkRows
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.names import NameRows
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.ports import PortRows
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings

_LOCAL = "localhost"  # in a SQLite file all rows are this host's, whatever it is called today


@contextlib.contextmanager
def open_registry(settings: Settings, *, read_only: bool, path: str | None = None) -> Iterator[Registry]:
    """Open the registry for the time of a `with` statement.

    :param settings: `registry_dsn` chooses PostgreSQL; `registry_host` is this host's name in it.
    :param read_only: nothing can be written, not even the file made; what is not there yet is an empty registry.
    :param path: of the SQLite file, instead of `sqlite.PATH`.
    :raises RegistryError: when it cannot be opened, is damaged, or a newer serverkit.core has written it.
    :raises InputError, HostError: when registry_dsn is not a DSN, or psycopg2 is missing.
    """
    with contextlib.closing(_driver(settings, read_only, path or sqlite.PATH)) as driver:
        if not read_only:
            drivers.migrate(driver)
        yield Registry(driver, _host(settings), read_only=read_only)


def _driver(settings: Settings, read_only: bool, path: str) -> drivers.Driver:
    if settings.registry_dsn:
        opener = postgresql.open_for_reading if read_only else postgresql.open_for_writing
        return opener(settings.registry_dsn, _host(settings))
    return sqlite.open_for_reading(path) if read_only else sqlite.open_for_writing(path)


def _host(settings: Settings) -> str:
    if not settings.registry_dsn:
        return _LOCAL
    return settings.registry_host or socket.gethostname()


class Registry(PortRows, AppRows, NameRows, CertificateRows, LinkRows):
    """Everything that the registry knows of one host."""
