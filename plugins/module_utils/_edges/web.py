# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Asking servers on this host: one HTTP request, or whether anything lives behind a port."""

from __future__ import annotations

import contextlib
import functools
import http.client
import select
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

BODY_LIMIT = 1024 * 1024  # bytes
_SILENCE = 0.25  # seconds within which docker-proxy hangs up when the container does not listen


@dataclass(frozen=True)
class Response:
    """An HTTP response; header names are in lower case, the body is cut off after `BODY_LIMIT` bytes.

    :ivar certificate: over TLS, the server's own certificate as DER.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    certificate: bytes = b""


def get(address: str, port: int, path: str = "/", host_header: str = "", timeout: float = 5.0) -> Response:
    """Send one GET request and return the response, whatever its status; redirects are not followed.

    :param host_header: the name to ask for; empty for the address itself.
    :param timeout: seconds for connecting, and again for each read.
    :raises HostError: when there is no connection, or what comes back is not HTTP.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    return _exchange(connection, f"http://{_authority(address, port)}{path}", path, host_header)


def get_over_tls(address: str, port: int, path: str, name: str, timeout: float = 5.0) -> Response:
    """Send one GET request for a name over TLS, and return the response with the certificate that the server showed.

    The certificate is not verified: a caller that cares compares it with the one that it expects.

    :param name: sent as SNI (RFC 6066, section 3) and as Host.
    :raises HostError: when there is no connection, no handshake, or what comes back is not HTTP.
    """
    connection = _TlsConnection(address, port, name, timeout)
    return _exchange(connection, f"https://{name}{path} at {_authority(address, port)}", path, name)


class _TlsConnection(http.client.HTTPConnection):
    """http.client.HTTPSConnection would ask for, and verify, the address in place of the name."""

    def __init__(self, address: str, port: int, name: str, timeout: float) -> None:
        super().__init__(address, port, timeout=timeout)
        self._name = name

    def connect(self) -> None:
        super().connect()
        self.sock = _unverified().wrap_socket(self.sock, server_hostname=self._name)


@functools.lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _exchange(connection: http.client.HTTPConnection, url: str, path: str, host_header: str) -> Response:
    try:
        connection.request("GET", path, headers=_headers(host_header))
        certificate = connection.sock.getpeercert(True) if isinstance(connection.sock, ssl.SSLSocket) else None
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, headers, response.read(BODY_LIMIT), certificate or b"")
    except (OSError, http.client.HTTPException) as error:
        raise HostError(f"get {url}", _reason(error)) from error
    finally:
        connection.close()


def problem_with_http(address: str, port: int, path: str, status: tuple[int, int], timeout: float = 5.0) -> str:
    """Return why an HTTP server is not serving yet, or the empty string when it is.

    :param status: the first and the last status that count as serving.
    """
    try:
        response = get(address, port, path, timeout=timeout)
    except HostError as error:
        return f"http://{_authority(address, port)}{path} does not answer: {error.reason}"
    if status[0] <= response.status <= status[1]:
        return ""
    return f"http://{_authority(address, port)}{path} answers with HTTP status {response.status}"


def problem_with_tcp(address: str, port: int, timeout: float = 5.0) -> str:
    """Return why nothing lives behind a TCP port, or the empty string when something does.

    A connection that is accepted proves nothing: Docker's proxy accepts it and hangs up when the container does not
    listen. A server either speaks first or waits for us; both leave the connection open.
    """
    place = _authority(address, port)
    try:
        with contextlib.closing(socket.create_connection((address, port), timeout)) as connection:
            readable, _writable, _exceptional = select.select([connection], [], [], _SILENCE)
            if readable and not connection.recv(1):
                return f"{place} closes connections at once"
    except OSError as error:
        return f"{place} does not answer: {_reason(error)}"
    return ""


def problem_with_port(address: str, port: int, status: tuple[int, int], timeout: float = 5.0) -> str:
    """Return why nothing serves at a TCP port of which it is not known whether it speaks HTTP, or the empty string.

    What speaks before it is spoken to, or answers a request with anything but HTTP, is a server of another protocol.
    """
    problem = problem_with_tcp(address, port, timeout)
    if problem:
        return problem
    try:
        response = get(address, port, timeout=timeout)
    except HostError as error:
        speaks_something_else = isinstance(error.__cause__, (http.client.HTTPException, ConnectionResetError))
        return "" if speaks_something_else else f"{_authority(address, port)} does not answer: {error.reason}"
    if status[0] <= response.status <= status[1]:
        return ""
    return f"http://{_authority(address, port)}/ answers with HTTP status {response.status}"


def _headers(host_header: str) -> dict[str, str]:
    headers = {"User-Agent": "serverkit", "Accept": "*/*", "Connection": "close"}
    return {**headers, "Host": host_header} if host_header else headers


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closes the connection without an answer"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed ({error.reason or error})"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"the answer is not HTTP ({type(error).__name__})"
