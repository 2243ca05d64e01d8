# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throwaway MariaDB, PostgreSQL and Redis servers with TLS, and what the tests need to know of each."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import mongodb_mock as mongodb_protocol
import postgresql_server
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.engines import open_engine
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    Endpoint,
    Engine,
    Privileges,
    database_name,
    engine_name,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.database_url import Target
from free_ports import free_port, free_ports

START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running server.

    :param administration: where and as whom links are made.
    :param door: where apps come in.
    :param certificates: directory with `ca.pem`, and `other.pem`, which signed nothing here.
    :param log: where the server writes each statement it gets, if it can.
    """

    engine: Engine
    administration: Endpoint
    door: Endpoint
    admin: Credentials | None = None
    certificates: str = ""
    tls_port: int = 0
    log: str = ""
    hosts: tuple[str, ...] = ("127.0.0.1",)
    extra: dict[str, Any] = field(default_factory=dict)

    def open(self) -> DatabaseEngine:
        """Connect as the administrator."""
        found = open_engine(self.administration, self.admin)
        found.connect()
        return found

    def access(self, name: str, privileges: Privileges = "owner", user: str = "") -> Access:
        return Access(self.engine, name, user or name, privileges, self.hosts)

    def login(self, user: str, password: str, database: str, **changes: Any) -> None:
        """Log in as an app does."""
        open_engine(replace(self.door, **changes)).login(Credentials(user, password), database)

    def target(self, database: str, user: str, password: str) -> Target:
        return Target(self.engine, self.door.host, self.door.port, database_name(self.engine, database), user, password)


def make_certificates(directory: pathlib.Path, user: str) -> None:
    """Make an authority, a certificate of 127.0.0.1's from it, and an authority that has nothing to do with it."""

    def openssl(*argv: str) -> None:
        subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=directory)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    # Python 3.13 wants certificates of authorities to say so; what this command makes are such, the server's included.
    authority = (*new, "-addext", "keyUsage=critical,digitalSignature,keyCertSign")
    for name in ("ca", "other"):
        openssl(*authority, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
    openssl(*authority, "-subj", "/CN=server", *signed, "-keyout", "server.key", "-out", "server.pem")
    account = pwd.getpwnam(user)
    for file in directory.iterdir():
        os.chmod(file, 0o600 if file.suffix == ".key" else 0o644)
        if os.geteuid() == 0:
            os.chown(file, account.pw_uid, account.pw_gid)


@contextlib.contextmanager
def _directory(user: str) -> Iterator[pathlib.Path]:
    found = pathlib.Path(tempfile.mkdtemp(prefix="serverkit-database-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.chown(found, account.pw_uid, account.pw_gid)
    os.chmod(found, 0o755)
    (found / "tls").mkdir()
    os.chmod(found / "tls", 0o755)
    make_certificates(found / "tls", user)
    try:
        yield found
    finally:
        shutil.rmtree(found)


@contextlib.contextmanager
def _process(argv: list[str], directory: pathlib.Path, ready: Callable[[], bool]) -> Iterator[None]:
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, cwd=directory)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} does not run:\n{(directory / 'output').read_text(errors='replace')}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _answers(port: int, path: str) -> bool:
    """Return whether a server listens at its port and, which may come later, at its socket."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=1),
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.connect(path)
        return True
    return False


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """Start a MariaDB whose administrator is root, by the socket."""
    with _directory("mysql") as directory:
        data, port = directory / "data", free_port()
        common = ["--no-defaults", f"--datadir={data}", *(["--user=mysql"] if os.geteuid() == 0 else [])]
        install = ["mariadb-install-db", *common, "--auth-root-authentication-method=socket", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True, cwd=directory)
        tls = directory / "tls"
        argv = [shutil.which("mariadbd") or "/usr/sbin/mariadbd", *common, f"--port={port}", "--bind-address=127.0.0.1"]
        argv += [f"--socket={directory}/socket", f"--pid-file={directory}/pid", "--innodb-buffer-pool-size=16M"]
        argv += [f"--ssl-ca={tls}/ca.pem", f"--ssl-cert={tls}/server.pem", f"--ssl-key={tls}/server.key"]
        argv += ["--innodb-flush-log-at-trx-commit=0", "--general-log=1", f"--general-log-file={directory}/statements"]
        door = Endpoint("mariadb", port=port)
        with _process(argv, directory, lambda: _answers(port, f"{directory}/socket")):
            yield Server(
                "mariadb",
                replace(door, socket=f"{directory}/socket"),
                door,
                certificates=str(tls),
                tls_port=port,
                log=f"{directory}/statements",
            )


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """Start a PostgreSQL whose administrator is its own system user, by the socket."""
    with postgresql_server.running() as cluster, _directory("postgres") as directory:
        for name, value in (
            ("ssl_ca_file", f"{directory}/tls/ca.pem"),
            ("ssl_cert_file", f"{directory}/tls/server.pem"),
            ("ssl_key_file", f"{directory}/tls/server.key"),
            ("ssl", "on"),
            ("log_statement", "all"),
        ):
            cluster.psql(f"ALTER SYSTEM SET {name} = '{value}'")
        cluster.psql("SELECT pg_reload_conf()")
        deadline = time.monotonic() + START_SECONDS
        while cluster.psql("SHOW ssl") != "on":  # each connection is a new one, and has what the server has by then
            if time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL does not take up its configuration")
            time.sleep(0.05)
        door = Endpoint("postgresql", port=cluster.port)
        yield Server(
            "postgresql",
            replace(door, socket=cluster.sockets),
            door,
            certificates=f"{directory}/tls",
            tls_port=cluster.port,
            log=f"{cluster.sockets}/log",
            extra={"cluster": cluster},
        )


@contextlib.contextmanager
def redis() -> Iterator[Server]:
    """Start a Redis whose administrator is whoever reaches its socket or has the password."""
    with _directory("root" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name) as directory:
        port, tls_port = free_ports(2)
        (directory / "users.acl").write_text("user default on >administrator ~* &* +@all\n")
        tls = directory / "tls"
        program = shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server"
        argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
        argv += ["--unixsocket", f"{directory}/socket", "--aclfile", f"{directory}/users.acl"]
        argv += ["--tls-port", str(tls_port), "--tls-ca-cert-file", f"{tls}/ca.pem", "--tls-auth-clients", "no"]
        argv += ["--tls-cert-file", f"{tls}/server.pem", "--tls-key-file", f"{tls}/server.key"]
        door = Endpoint("redis", port=port)
        with _process(argv, directory, lambda: _answers(port, f"{directory}/socket")):
            yield Server(
                "redis",
                replace(door, socket=f"{directory}/socket"),
                door,
                Credentials("default", "administrator"),
                str(tls),
                tls_port,
                extra={"aclfile": directory / "users.acl"},
            )


@contextlib.contextmanager
def mongodb_mock() -> Iterator[Server]:
    """Start the stand-in for MongoDB."""
    with mongodb_protocol.running("root", "adm1n") as port:
        door = Endpoint("mongodb", "localhost", port, timeout=30)
        yield Server("mongodb", door, door, Credentials("root", "adm1n"))


def external(engine: Engine, url: str) -> Server:
    """Use a server that is there, by its administrator's URL."""
    parts = urlsplit(url)
    door = Endpoint(engine, parts.hostname or "127.0.0.1", parts.port or 0)
    admin = Credentials(unquote(parts.username or ""), unquote(parts.password or "")) if parts.username else None
    return Server(engine, door, door, admin, hosts=("%",))


# Debian has no packages of these: they are tested where there is one, which a URL of its administrator's names.
EXTERNAL: dict[Engine, str] = {"mysql": "SERVERKIT_TEST_MYSQL_URL", "mongodb": "SERVERKIT_TEST_MONGODB_URL"}
STARTED: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
    "mariadb": mariadb,
    "postgresql": postgresql,
    "redis": redis,
    "mongodb-mock": mongodb_mock,
}
AVAILABLE: tuple[str, ...] = (*STARTED, *(engine for engine, name in EXTERNAL.items() if os.environ.get(name)))


def running(name: str) -> contextlib.AbstractContextManager[Server]:
    """Start a server for the time of a `with` statement, or use the one that there is."""
    if name in STARTED:
        return STARTED[name]()
    engine = engine_name(name)
    return contextlib.nullcontext(external(engine, os.environ[EXTERNAL[engine]]))
