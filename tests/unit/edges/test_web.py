# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import web
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


@contextlib.contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port of this machine and hand each connection to `talk`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listener.accept()
                with connection, contextlib.suppress(OSError):
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answering(status: str) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        request = connection.recv(65536)
        if not request:
            return
        host = request.split(b"Host: ")[1].split(b"\r\n")[0]
        connection.sendall(b"HTTP/1.1 %s\r\nX-Host: %s\r\nContent-Length: 2\r\n\r\nhi" % (status.encode(), host))

    return talk


def hanging_up(connection: socket.socket) -> None:
    """Do what docker-proxy does when the container does not listen."""


def greeting(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-x\r\n")
    connection.recv(65536)


def hanging_up_when_spoken_to(connection: socket.socket) -> None:
    connection.recv(65536)


def test_a_response_is_returned_whatever_its_status() -> None:
    with server(answering("503 Busy")) as port:
        response = web.get("127.0.0.1", port, "/x", "blog.example")
    assert (response.status, response.headers["x-host"], response.body) == (503, "blog.example", b"hi")


@pytest.mark.parametrize(
    ("status", "serves"), [("200 OK", True), ("302 Found", True), ("404 No", True), ("500 E", False)]
)
def test_http_serves_below_500(status: str, serves: bool) -> None:
    with server(answering(status)) as port:
        assert (web.problem_with_http("127.0.0.1", port, "/", (100, 499)) == "") is serves
        assert (web.problem_with_port("127.0.0.1", port, (100, 499)) == "") is serves


def test_a_proxy_that_hangs_up_at_once_is_no_server() -> None:
    with server(hanging_up) as port:
        assert "closes connections at once" in web.problem_with_tcp("127.0.0.1", port)
        assert web.problem_with_port("127.0.0.1", port, (100, 499))
        assert web.problem_with_http("127.0.0.1", port, "/", (100, 499))


@pytest.mark.parametrize("talk", [greeting, hanging_up_when_spoken_to])
def test_servers_of_other_protocols_are_servers(talk: Callable[[socket.socket], None]) -> None:
    with server(talk) as port:
        assert web.problem_with_tcp("127.0.0.1", port) == ""
        assert web.problem_with_port("127.0.0.1", port, (100, 499)) == ""
        assert web.problem_with_http("127.0.0.1", port, "/", (100, 499))


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in web.problem_with_tcp("127.0.0.1", port)
    with pytest.raises(HostError, match=f"127.0.0.1:{port}"):
        web.get("127.0.0.1", port)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A certificate that nobody signed, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*new, "-keyout", str(path), "-out", str(path) + ".crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + pathlib.Path(f"{path}.crt").read_text())
    return path


def over_tls(certificate: pathlib.Path, names: list[str | None]) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
            answering("200 OK")(encrypted)

    return talk


def test_a_request_over_tls_tells_the_certificate(certificate: pathlib.Path) -> None:
    names: list[str | None] = []
    with server(over_tls(certificate, names)) as port:
        response = web.get_over_tls("127.0.0.1", port, "/", "a.example")
    assert (response.status, response.body, response.headers["x-host"]) == (200, b"hi", "a.example")
    assert response.certificate == ssl.PEM_cert_to_DER_cert(certificate.with_name("both.pem.crt").read_text())
    assert names == ["a.example"]


def test_a_request_over_tls_to_what_speaks_none() -> None:
    with server(greeting) as port, pytest.raises(HostError, match="the TLS handshake failed"):
        web.get_over_tls("127.0.0.1", port, "/", "a.example")
    with server(hanging_up) as port, pytest.raises(HostError, match=r"https://a\.example/x at 127\.0\.0\.1"):
        web.get_over_tls("127.0.0.1", port, "/x", "a.example")
