# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bind tests against real sockets of this process, and what the kernel says of ephemeral ports."""

from __future__ import annotations

import contextlib
import pathlib
import socket
from collections.abc import Iterator

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import sockets


@contextlib.contextmanager
def bound(family: int, kind: int, address: str, *, listen: bool, only_v6: bool = False) -> Iterator[int]:
    with contextlib.closing(socket.socket(family, kind)) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        server.bind((address, 0))
        if listen:
            server.listen()
        yield server.getsockname()[1]


CASES = [
    (socket.AF_INET, "127.0.0.1", False),
    (socket.AF_INET, "0.0.0.0", False),
    (socket.AF_INET6, "::1", True),
    (socket.AF_INET6, "::", True),
    (socket.AF_INET6, "::", False),
]


@pytest.mark.parametrize(("family", "address", "only_v6"), CASES)
@pytest.mark.parametrize("like_a_server", [False, True])
def test_a_listener_on_any_address_is_seen(family: int, address: str, only_v6: bool, like_a_server: bool) -> None:
    with bound(family, socket.SOCK_STREAM, address, listen=True, only_v6=only_v6) as port:
        assert not sockets.can_bind(port, "tcp", like_a_server=like_a_server)
        assert sockets.can_bind(port, "udp")


@pytest.mark.parametrize(("family", "address", "only_v6"), CASES)
def test_a_udp_socket_on_any_address_is_seen(family: int, address: str, only_v6: bool) -> None:
    with bound(family, socket.SOCK_DGRAM, address, listen=False, only_v6=only_v6) as port:
        assert not sockets.can_bind(port, "udp")
        assert sockets.can_bind(port, "tcp")


def test_a_socket_that_is_bound_and_does_not_listen_is_seen() -> None:
    with bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", listen=False) as port:
        assert not sockets.can_bind(port, "tcp")


def test_a_port_in_time_wait_counts_only_for_an_automatic_choice() -> None:
    with contextlib.closing(socket.socket()) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _address = server.accept()
        accepted.close()  # the side that closes first is the one in TIME_WAIT
        assert client.recv(1) == b""
        client.close()
    assert not sockets.can_bind(port, "tcp")
    assert sockets.can_bind(port, "tcp", like_a_server=True)


def test_a_test_leaves_nothing_bound() -> None:
    with bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", listen=False) as port:
        pass
    assert all(sockets.can_bind(port, "tcp") and sockets.can_bind(port, "udp") for _repeat in range(3))


def test_a_port_that_another_test_has_for_a_moment_is_tried_again() -> None:
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", listen=False))
        assert sockets.can_bind(port, "tcp", pause=lambda _seconds: stack.close())


def test_the_ephemeral_range_comes_from_the_kernel(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {"LOCAL_PORT_RANGE": "32768\t60999\n", "RESERVED_PORTS": "40000,50000-50002\n"}.items():
        (tmp_path / name).write_text(content)
        monkeypatch.setattr(sockets, name, str(tmp_path / name))
    assert sockets.ephemeral_ports() == (range(32768, 61000), frozenset({40000, 50000, 50001, 50002}))
    (tmp_path / "RESERVED_PORTS").write_text("\n")
    assert sockets.ephemeral_ports() == (range(32768, 61000), frozenset())
    (tmp_path / "LOCAL_PORT_RANGE").unlink()
    assert sockets.ephemeral_ports() == (range(0), frozenset())
