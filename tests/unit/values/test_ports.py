# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a port, an owner and a name of a port may be."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import (
    PortRequest,
    port_name,
    port_number,
    port_owner,
)


@pytest.mark.parametrize("port", [1, 80, 8000, 60000, 65535])
def test_a_port(port: int) -> None:
    assert port_number(port) == port


@pytest.mark.parametrize("port", [0, -1, 65536, 70000, "80", "abc", None, 80.0, True])
def test_not_a_port(port: object) -> None:
    with pytest.raises(InputError, match="a port is a whole number from 1 to 65535"):
        port_number(port)


@pytest.mark.parametrize("numbers", [{"start": 0}, {"last": 65536}, {"port": 70000}, {"start": 9000, "last": 8999}])
def test_a_request_has_valid_numbers(numbers: dict[str, int]) -> None:
    with pytest.raises(InputError):
        PortRequest("blog", "http", **numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("owner", ["my-blog", "a", "Mail.example_1", "x" * 63])
def test_an_owner(owner: str) -> None:
    assert port_owner(owner) == owner


@pytest.mark.parametrize("owner", ["", "a b", "../x", "-a", "a/b", "blog\n", "x" * 64, None, 7])
def test_not_an_owner(owner: object) -> None:
    with pytest.raises(InputError):
        port_owner(owner)


@pytest.mark.parametrize("name", ["http", "HTTP_PORT", "_X", "fixed:8080/tcp", "x" * 128])
def test_a_name(name: str) -> None:
    assert port_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "http\n", "é", "x" * 129, None])
def test_not_a_name(name: object) -> None:
    with pytest.raises(InputError):
        port_name(name)


def test_both_is_two_protocols() -> None:
    assert PortRequest("a", "x", "both").protocols == ("tcp", "udp")
    assert PortRequest("a", "x", "udp").protocols == ("udp",)
