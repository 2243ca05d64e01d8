# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server under test: from outside by HTTP, as a visitor has it, and from inside by SSH, as its owner has it."""

from __future__ import annotations

import http.client
import os
import pathlib
from dataclasses import dataclass

import pytest
import testinfra
from testinfra.host import Host

DIRECTORY = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Web:
    """The server's port 80, asked from another machine."""

    address: str

    def get(self, path: str = "/", name: str = "") -> Answer:
        connection = http.client.HTTPConnection(self.address, 80, timeout=20)
        try:
            connection.request("GET", path, headers={"Host": name or self.address})
            response = connection.getresponse()
            headers = {key.lower(): value for key, value in response.getheaders()}
            return Answer(response.status, headers, response.read().decode(errors="replace"))
        finally:
            connection.close()

    def follow(self, path: str = "/", name: str = "") -> Answer:
        """Follow redirects to the same name, as a browser does."""
        prefix = f"http://{name or self.address}"
        for _redirect in range(5):
            answer = self.get(path, name)
            location = answer.headers.get("location", "")
            if not location:
                return answer
            path = location.removeprefix(prefix)
            assert path.startswith("/"), f"redirected away, to {location}"
        raise AssertionError("redirected without end")


@pytest.fixture(scope="session")
def address() -> str:
    return (DIRECTORY / "address").read_text().strip()


@pytest.fixture(scope="session")
def web(address: str) -> Web:
    return Web(address)


@pytest.fixture(scope="session")
def server(address: str) -> Host:
    return testinfra.get_host(
        f"ssh://root@{address}",
        ssh_identity_file=str(DIRECTORY / "id_ed25519"),
        ssh_extra_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    )
