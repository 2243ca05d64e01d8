# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers by SSH, as their owners have them, and the blog by HTTP, as its readers do."""

from __future__ import annotations

import os
import pathlib
import urllib.request

import pytest
import testinfra
from testinfra.host import Host

DIRECTORY = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
FIRST, SECOND = "serverkit-molecule-backups", "serverkit-molecule-refuge"


def address_of(name: str) -> str:
    return (DIRECTORY / f"{name}.address").read_text().strip()


def front_page(name: str) -> str:
    request = urllib.request.Request(f"http://{address_of(name)}/", headers={"Host": "blog.example.test"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as answer:
        return str(answer.read().decode())


def host_at(name: str) -> Host:
    return testinfra.get_host(
        f"ssh://root@{address_of(name)}",
        ssh_identity_file=str(DIRECTORY / "id_ed25519"),
        ssh_extra_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    )


@pytest.fixture(scope="session")
def first() -> Host:
    return host_at(FIRST)


@pytest.fixture(scope="session")
def second() -> Host:
    return host_at(SECOND)
