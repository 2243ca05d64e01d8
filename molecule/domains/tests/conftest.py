# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server under test, from outside by HTTP and HTTPS, and from inside by SSH."""

from __future__ import annotations

import base64
import http.client
import os
import pathlib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import testinfra
from testinfra.host import Host

DIRECTORY = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
TIMEOUT = 20


@dataclass(frozen=True)
class Answer:
    """`names` and `serial` are those of the certificate, `protocol` what was agreed on for HTTP."""

    status: int
    headers: Mapping[str, str]
    body: str
    names: frozenset[str] = frozenset()
    serial: str = ""


@dataclass(frozen=True)
class Site:
    """A name at the server, asked as a browser does that believes one authority."""

    address: str
    name: str
    context: ssl.SSLContext | None = field(default=None, repr=False)

    def get(self, path: str = "/", *, auth: str = "", body: bytes | None = None) -> Answer:
        """Ask over HTTPS if there is a context, over HTTP otherwise."""
        with self.connect() as opened:
            connection = http.client.HTTPConnection(self.name)
            connection.sock = opened
            headers = {"Host": self.name}
            if auth:
                headers["Authorization"] = "Basic " + base64.b64encode(auth.encode()).decode()
            # Before the connection may be closed by the answer.
            certificate = (opened.getpeercert() or {}) if isinstance(opened, ssl.SSLSocket) else {}
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            received = {key.lower(): value for key, value in answer.getheaders()}
            names = frozenset(str(value) for _kind, value in certificate.get("subjectAltName", ()))
            return Answer(answer.status, received, text, names, str(certificate.get("serialNumber", "")))

    def connect(self) -> socket.socket:
        plain = socket.create_connection((self.address, 443 if self.context else 80), TIMEOUT)
        return self.context.wrap_socket(plain, server_hostname=self.name) if self.context else plain


@pytest.fixture(scope="session")
def address() -> str:
    return (DIRECTORY / "address").read_text().strip()


@pytest.fixture(scope="session")
def plain(address: str) -> Callable[[str], Site]:
    """Return a name over HTTP."""
    return lambda name: Site(address, name)


@pytest.fixture(scope="session")
def secure(address: str) -> Callable[[str], Site]:
    """Return a name over HTTPS, with a certificate of the ACME authority."""
    context = ssl.create_default_context(cafile=str(DIRECTORY / "issuer.pem"))
    return lambda name: Site(address, name, context)


@pytest.fixture(scope="session")
def server(address: str) -> Host:
    return testinfra.get_host(
        f"ssh://root@{address}",
        ssh_identity_file=str(DIRECTORY / "id_ed25519"),
        ssh_extra_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    )


ORDERS = """
import json, sqlite3
rows = sqlite3.connect("file:/var/serverkit/serverkit.db?mode=ro", uri=True).execute(
    "SELECT lineage, outcome FROM certificate_orders ORDER BY at")
print(json.dumps(list(rows)))
"""


@pytest.fixture(scope="session")
def orders(server: Host) -> list[list[str]]:
    """Return what was ordered from the authority so far: lineage and outcome of each order, oldest first."""
    import json

    return list(json.loads(server.check_output("python3 -c %s", ORDERS)))
