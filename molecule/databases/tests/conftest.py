# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server under test and its neighbour by SSH, as their owners have them, and the apps by HTTP, as visitors do."""

from __future__ import annotations

import json
import os
import pathlib
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

DIRECTORY = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
PORTS = {"mysql": 3306, "postgresql": 5432, "redis": 6379}


@dataclass(frozen=True)
class Web:
    """The server's port 80, asked from another machine."""

    address: str

    def get(self, path: str, name: str = "") -> str:
        headers = {"Host": name} if name else {}
        request = urllib.request.Request(f"http://{self.address}{path}", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=20) as answer:
            return str(answer.read().decode())

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))


def host_at(address: str) -> Host:
    return testinfra.get_host(
        f"ssh://root@{address}",
        ssh_identity_file=str(DIRECTORY / "id_ed25519"),
        ssh_extra_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    )


def link_values(server: Host, app: str, link: str) -> Mapping[str, str]:
    """Return what the app's `.env` holds of a link, by the last part of its name: USER, PASSWORD, URL."""
    prefix = f"SERVERKIT_LINK_{link.upper()}_"
    lines = server.file(f"/var/serverkit/apps/{app}/.env").content_string.splitlines()
    pairs = (line.split("=", 1) for line in lines if line.startswith(prefix))
    return {name.removeprefix(prefix): value.strip("'\"") for name, value in pairs}


@pytest.fixture(scope="session")
def address() -> str:
    return (DIRECTORY / "address").read_text().strip()


@pytest.fixture(scope="session")
def web(address: str) -> Web:
    return Web(address)


@pytest.fixture(scope="session")
def server(address: str) -> Host:
    return host_at(address)


@pytest.fixture(scope="session")
def neighbour() -> Host:
    return host_at((DIRECTORY / "neighbour").read_text().strip())


@pytest.fixture(scope="session")
def bridge(server: Host) -> str:
    """The address at which containers reach the databases."""
    record = json.loads(server.file("/etc/serverkit/databases/postgresql.json").content_string)
    return str(record["host"])
