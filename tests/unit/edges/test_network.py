# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, and whose addresses they have."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import network


def test_resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def getaddrinfo(name: str, _port: None, **_more: object) -> list[tuple[object, ...]]:
        if name == "slow.example":
            release.wait(5)
        if name == "none.example":
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", ("192.0.2.2", 0)), (0, 0, 0, "", ("192.0.2.1", 0)), (0, 0, 0, "", ("192.0.2.2", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    found = network.resolve(["a.example", "none.example", "slow.example"], 0.2)
    release.set()
    assert found["a.example"] == ("192.0.2.1", "192.0.2.2")
    assert found["none.example"] == "Name or service not known"
    assert found["slow.example"] == "no answer within 0 seconds"


def test_addresses_of_others_and_of_nobody_in_particular() -> None:
    for address in ("192.0.2.1", "2001:db8::1", "127.0.0.1", "127.0.1.1", "::1", "fe80::1%nothing"):
        assert not network.is_own(address)


def test_own_addresses() -> None:
    for address in network.outward_addresses():
        assert network.is_own(address)
