# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A throwaway PostgreSQL: one cluster for a test run, one database with a password of its own for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from free_ports import free_port

# Every character that a URL, a DSN or a shell could trip over.
PASSWORD = "s3cr3t p@ss/w:rd?#%&='\"\\$ü"

_numbers = itertools.count(1)


@dataclass
class Cluster:
    """`port` is on loopback, with passwords; `sockets` is where root's programs connect without one."""

    port: int
    sockets: str
    binaries: str
    user: str = field(default="postgres")

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser."""
        argv = ["psql", "-h", self.sockets, "-p", str(self.port), "-U", self.user, "-d", database, "-Atqc", sql]
        done = subprocess.run([f"{self.binaries}/{argv[0]}", *argv[1:]], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def dsn(self, password: str = PASSWORD, user: str = "serverkit", database: str | None = None) -> str:
        """Make an empty database that a role with this password owns, and return its DSN."""
        database = database or f"registry_{next(_numbers)}"
        literal = password.replace("'", "''")
        if not self._has_role(user):
            self.psql(f"CREATE ROLE {user} LOGIN PASSWORD '{literal}'")
        self.psql(f"CREATE DATABASE {database} OWNER {user}")
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def _has_role(self, user: str) -> bool:
        return self.psql(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'") == "1"


def find_binaries() -> str:
    """Return the directory of PostgreSQL's server programs, or skip the test."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    found = shutil.which("initdb")
    if found:
        return os.path.dirname(os.path.realpath(found))
    versions = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        pytest.skip("PostgreSQL's server programs are not installed")
    return str(versions[-1].parent)


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Start a cluster for the time of a `with` statement."""
    binaries = find_binaries()
    directory = tempfile.mkdtemp(prefix="serverkit-postgresql-")
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]
    os.chmod(directory, 0o755)  # the socket in it is for everybody
    data = f"{directory}/data"
    port = free_port()
    rules = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--no-sync"]
    subprocess.run([*as_user, f"{binaries}/initdb", "-D", data, *rules], check=True, capture_output=True, cwd=directory)
    options = f"-p {port} -h 127.0.0.1 -k {directory} -c fsync=off -c max_connections=200"
    control = [*as_user, f"{binaries}/pg_ctl", "-D", data, "-w"]
    start = [*control, "-l", f"{directory}/log", "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=directory)
    try:
        yield Cluster(port, directory, binaries)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd=directory)
        shutil.rmtree(directory)
