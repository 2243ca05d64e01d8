# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose_ports import parse


@pytest.mark.parametrize(
    ("entry", "pairs", "loopback", "public"),
    [
        ("8001:80", [(8001, 80)], "127.0.0.1:8001:80", "8001:80"),
        ("8001:80/tcp", [(8001, 80)], "127.0.0.1:8001:80", "8001:80"),
        ("8001:80/udp", [(8001, 80)], "127.0.0.1:8001:80/udp", "8001:80/udp"),
        ("8001:80/UDP", [(8001, 80)], "127.0.0.1:8001:80/udp", "8001:80/udp"),
        ("8001:80/sctp", [(8001, 80)], "127.0.0.1:8001:80/sctp", "8001:80/sctp"),
        ("8001-8002:80-81", [(8001, 80), (8002, 81)], "127.0.0.1:8001-8002:80-81", "8001-8002:80-81"),
        ("0.0.0.0:8001:80", [(8001, 80)], "0.0.0.0:8001:80", "0.0.0.0:8001:80"),
        ("127.0.0.1:8001:80", [(8001, 80)], "127.0.0.1:8001:80", "127.0.0.1:8001:80"),
        ("[::1]:8001:80", [(8001, 80)], "[::1]:8001:80", "[::1]:8001:80"),
        ("::1:8001:80", [(8001, 80)], "[::1]:8001:80", "[::1]:8001:80"),
        ("80", [], "127.0.0.1::80", "80"),
        (80, [], "127.0.0.1::80", "80"),
        ("80-81/udp", [], "127.0.0.1::80-81/udp", "80-81/udp"),
        ("127.0.0.1::80", [], "127.0.0.1::80", "127.0.0.1::80"),
        (
            {"target": 80, "published": "8001"},
            [(8001, 80)],
            {"target": 80, "published": "8001", "host_ip": "127.0.0.1"},
            {"target": 80, "published": "8001"},
        ),
        (
            {"target": 80, "published": 8001, "protocol": "udp", "mode": "host", "host_ip": "10.0.0.1"},
            [(8001, 80)],
            {"target": 80, "published": 8001, "protocol": "udp", "mode": "host", "host_ip": "10.0.0.1"},
            {"target": 80, "published": 8001, "protocol": "udp", "mode": "host", "host_ip": "10.0.0.1"},
        ),
        ({"target": "80"}, [], {"target": "80", "host_ip": "127.0.0.1"}, {"target": "80"}),
    ],
)
def test_every_notation(entry: Any, pairs: list[tuple[int, int]], loopback: Any, public: Any) -> None:
    mapping = parse(entry, "services.app.ports[0]")
    assert list(mapping.pairs()) == pairs
    assert mapping.with_address("127.0.0.1").written() == loopback
    assert mapping.with_address("").written() == public


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("abc:80", "'abc' is not a port number"),
        ("80:abc", "'abc' is not a port number"),
        ("0:80", "0 is not within 1 to 65535"),
        ("70000:80", "70000 is not within"),
        ("80:0", "0 is not within"),
        ("8002-8001:80-81", "8002-8001 is not within"),
        ("8001-8003:80-81", "the ranges 8001-8003 and 80-81 differ in length"),
        ("8001-8003:80", "differ in length"),
        ("localhost:8001:80", "'localhost' is not an IP address"),
        ("1.2.3:8001:80", "'1.2.3' is not an IP address"),
        ("", "'' is not a port number"),
        ("8001:80 ", "'80 ' is not a port number"),
        (True, "True is not a port mapping"),
        (None, "None is not a port mapping"),
        (["80"], "is not a port mapping"),
        ({"published": 80}, "it has no target"),
        ({"target": 80, "published": 80, "host_ip": "x"}, "'x' is not an IP address"),
    ],
)
def test_errors_name_the_entry(entry: Any, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(entry, "services.app.ports[3]").pairs()
    assert reason in str(caught.value)
    assert "services.app.ports[3]" in str(caught.value)
