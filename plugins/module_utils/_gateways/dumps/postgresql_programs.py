# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""PostgreSQL's client programs: which of them goes with a server, and how it logs in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql import Postgresql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql_session import (
    tls_parameters,
)

# Where Debian's packages postgresql-client-<version> put them, several beside each other.
DIRECTORY = "/usr/lib/postgresql"

_LIBPQ = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}


@dataclass(frozen=True)
class Client:
    """The programs of one version.

    :ivar directory: where they are; empty: inside of the server's container.
    :ivar major: their version, such as 15; 0 where it is the server's own.
    :ivar login: arguments with which they reach the server, and `environment` what goes with them.
    :ivar prefix: what runs them somewhere else.
    """

    directory: str
    major: int
    login: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str = ""
    prefix: tuple[str, ...] = ()

    def program(self, name: str, *arguments: str, login: bool = True) -> Program:
        """Return how a program is run.

        :param login: it talks to the server.
        """
        path = os.path.join(self.directory, name) if self.directory else name
        argv = (*self.prefix, path, *(self.login if login else ()), *arguments)
        return Program(argv, self.environment if login or self.prefix else {}, self.user, may_stop_early=True)


def client(engine: Postgresql, server: int, least: int, scratch: str) -> Client:
    """Return the programs to use with a server.

    :param server: its major version.
    :param least: the oldest major version that will do.
    :param scratch: for a file with the password.
    :raises HostError: when there are none of such a version.
    """
    endpoint, admin = engine.endpoint, engine.admin
    password = admin.password if admin else None
    if endpoint.container:
        login = _login("127.0.0.1", endpoint.port, engine.user)
        # By name only: the value is in the environment of docker, which nobody but root may read.
        named = ("--env", "PGPASSWORD") if password else ()
        prefix = ("docker", "exec", "--interactive", *named, endpoint.container)
        return Client("", 0, login, {"PGPASSWORD": password} if password else {}, prefix=prefix)
    major, directory = choose(installed(), max(server, least), server)
    environment = {_LIBPQ[name]: value for name, value in tls_parameters(endpoint).items()}
    environment["PGCONNECT_TIMEOUT"] = str(endpoint.timeout)
    environment["PGAPPNAME"] = "serverkit.core"
    if password:
        environment["PGPASSFILE"] = _password_file(scratch, password)
    login = _login(endpoint.socket or endpoint.host, endpoint.port, engine.user)
    return Client(directory, major, login, environment, engine.account)


def installed(directory: str = DIRECTORY) -> dict[int, str]:
    """Return the versions whose programs are on this host, each with their directory."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    places = {int(name): os.path.join(directory, name, "bin") for name in names if name.isdecimal()}
    return {major: place for major, place in places.items() if os.access(os.path.join(place, "pg_dump"), os.X_OK)}


def choose(versions: Mapping[int, str], least: int, server: int) -> tuple[int, str]:
    """Return the oldest version that will do: what a newer one makes may be too new for the server.

    :raises HostError: when there is none.
    """
    fitting = sorted(major for major in versions if major >= least)
    if fitting:
        return fitting[0], versions[fitting[0]]
    attempted = f"use pg_dump and pg_restore with PostgreSQL {server}"
    if not versions:
        raise HostError(attempted, "they are not installed on this host", f"Install postgresql-client-{least}")
    here = ", ".join(map(str, sorted(versions)))
    raise HostError(
        attempted,
        f"those on this host are of version {here}, and of {least} they have to be at least",
        f"Install postgresql-client-{least}; packages for every version of Debian and Ubuntu are on apt.postgresql.org",
    )


def _login(host: str, port: int, user: str) -> tuple[str, ...]:
    return ("--no-password", "--host", host, "--port", str(port), "--username", user)


def _password_file(scratch: str, password: str) -> str:
    """Write what libpq reads a password from (PostgreSQL manual, 34.16)."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    path = os.path.join(scratch, "postgresql.pass")
    files.write(path, f"*:*:*:*:{escaped}\n", 0o600)
    return path
