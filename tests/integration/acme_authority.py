# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate authority of our own: Pebble, with a DNS that it believes, on free ports of this machine's loopback.

Pebble is the ACME test server of Let's Encrypt; every name leads to 127.0.0.1, unless a test says otherwise. With a
zone, bind9 answers for it and takes changes signed with a TSIG key (RFC 2136), and Pebble asks nobody else.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import pathlib
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from free_ports import free_ports

ZONE = "zone.example.com"
TSIG_NAME = "serverkit-tests."
_START_SECONDS = 60


@dataclass
class Authority:
    """`directory` is for certbot, which has to trust `ca_bundle`; Pebble fetches HTTP-01 proofs from `http_port`."""

    directory: str
    ca_bundle: str
    http_port: int
    place: pathlib.Path
    management: str = ""
    dns_management: str = ""
    dns_port: int = 0
    tsig_secret: str = ""
    eab: Mapping[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def say(self, command: str, **payload: Any) -> None:
        """Tell the test DNS server what to answer: `say("add-a", host="a.example.com.", addresses=["127.0.0.2"])`."""
        request = urllib.request.Request(f"{self.dns_management}/{command}", json.dumps(payload).encode())
        urllib.request.urlopen(request, timeout=10).close()

    def roots(self) -> str:
        """Return the root certificate that Pebble has made for this run, as PEM."""
        context = ssl.create_default_context(cafile=self.ca_bundle)
        with urllib.request.urlopen(f"{self.management}/roots/0", context=context, timeout=10) as answer:
            return str(answer.read().decode())

    def stop(self) -> None:
        """Stop Pebble, as if the authority were down; `start` brings a new one up, which knows no account."""
        _end(self.processes.pop())

    def start(self) -> None:
        log = (self.place / "pebble.log").open("ab")
        dns = f"127.0.0.1:{self.dns_port}"
        argv = ["pebble", "-config", str(self.place / "pebble.json"), "-dnsserver", dns, "-strict=false"]
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        self.processes.append(subprocess.Popen(argv, env=environment, stdout=log, stderr=log))
        _wait_for(int(self.directory.split(":")[2].split("/")[0]), "pebble", self.place / "pebble.log")


@contextlib.contextmanager
def running(
    *, zone: bool = False, eab: Mapping[str, str] | None = None, validity: int = 90 * 86400
) -> Iterator[Authority]:
    """Run an authority for the time of a `with` statement.

    :param zone: whether bind9 answers for ZONE, instead of the test DNS server for every name.
    :param eab: external accounts without which the authority takes no client: base64url keys by their identifiers.
    :param validity: seconds for which its certificates are valid.
    """
    place = pathlib.Path(tempfile.mkdtemp(prefix="serverkit-acme-"))
    acme, management, http, tls, dns, dns_management = free_ports(6)
    authority = Authority(
        f"https://localhost:{acme}/dir",
        str(place / "ca.pem"),
        http,
        place,
        f"https://localhost:{management}",
        f"http://127.0.0.1:{dns_management}",
        dns,
        eab=dict(eab or {}),
    )
    make_server_certificate(place)
    settings: dict[str, Any] = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(place / "server.pem"),
        "privateKey": str(place / "server.key"),
        "httpPort": http,
        "tlsPort": tls,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": bool(eab),
        "externalAccountMACKeys": dict(eab or {}),
        "certificateValidityPeriod": validity,
    }
    (place / "pebble.json").write_text(json.dumps({"pebble": settings}))
    try:
        if zone:
            _start_bind(authority)
        else:
            _start_test_dns(authority, dns_management)
        authority.start()
        with _impatient_certbot(place):
            yield authority
    finally:
        for process in authority.processes:
            _end(process)
        shutil.rmtree(place)


@contextlib.contextmanager
def _impatient_certbot(place: pathlib.Path) -> Iterator[None]:
    """Put first on PATH a certbot that does not rest for a second each time before it asks how far the authority is.

    It is the real one otherwise (acme/client.py, poll_authorizations and poll_finalization).
    """
    real = shutil.which("certbot")
    if real is None:
        raise RuntimeError("certbot is not installed")
    directory = place / "bin"
    directory.mkdir()
    shebang = pathlib.Path(real).read_text().partition("\n")[0]
    (directory / "certbot").write_text(
        f"{shebang}\nimport runpy, time\nsleep = time.sleep\n"
        f"time.sleep = lambda seconds: sleep(min(seconds, 0.05))\nrunpy.run_path({real!r}, run_name='__main__')\n"
    )
    (directory / "certbot").chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{directory}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def make_server_certificate(place: pathlib.Path) -> None:
    """Make an authority for the HTTPS of the ACME server itself, and a certificate for localhost."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509", "-days", "30"]
    root = [*new_key, "-subj", "/CN=serverkit tests", "-keyout", str(place / "ca.key"), "-out", str(place / "ca.pem")]
    subprocess.run(["openssl", "req", *root], check=True, capture_output=True)
    extensions = [
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    issuer = ["-CA", str(place / "ca.pem"), "-CAkey", str(place / "ca.key")]
    names = ["-subj", "/CN=localhost", "-keyout", str(place / "server.key"), "-out", str(place / "server.pem")]
    subprocess.run(["openssl", "req", *new_key, *names, *extensions, *issuer], check=True, capture_output=True)


def _start_test_dns(authority: Authority, management: int) -> None:
    log = (authority.place / "challtestsrv.log").open("ab")
    argv = ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", ""]
    argv += ["-tlsalpn01", "", "-dns01", f"127.0.0.1:{authority.dns_port}", "-management", f"127.0.0.1:{management}"]
    authority.processes.append(subprocess.Popen(argv, stdout=log, stderr=log))
    _wait_for(management, "pebble-challtestsrv", authority.place / "challtestsrv.log")


def _start_bind(authority: Authority) -> None:
    place = authority.place / "bind"
    place.mkdir()
    authority.tsig_secret = base64.b64encode(secrets.token_bytes(32)).decode()
    (place / "zone").write_text(
        "$TTL 1\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n@ IN A 127.0.0.1\n"
        '* IN A 127.0.0.1\nforbidden IN CAA 0 issue "ca.example.net"\n'
    )
    (place / "named.conf").write_text(
        f'key "{TSIG_NAME}" {{ algorithm hmac-sha512; secret "{authority.tsig_secret}"; }};\n'
        f'options {{ directory "{place}"; pid-file "{place}/pid"; session-keyfile "{place}/session";\n'
        f"  listen-on port {authority.dns_port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; }};\n"
        "controls { };\n"
        f'zone "{ZONE}" {{ type master; file "{place}/zone"; allow-update {{ key "{TSIG_NAME}"; }}; }};\n'
    )
    log = (authority.place / "bind.log").open("ab")
    argv = ["named", "-f", "-c", str(place / "named.conf")]
    authority.processes.append(subprocess.Popen(argv, stdout=log, stderr=log))
    _wait_for(authority.dns_port, "named", authority.place / "bind.log")


def _wait_for(port: int, program: str, log: pathlib.Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{program} does not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


Answer = tuple[int, dict[str, str], dict[str, str]]


@contextlib.contextmanager
def in_front_of(
    authority: Authority, answers: list[Callable[[], Answer]], identities: Sequence[str] = ()
) -> Iterator[str]:
    """Serve the authority's directory with a way to order that can refuse; yields the URL of that directory.

    :param answers: when there is one, new orders get its status, headers and problem document instead of an order.
    :param identities: what the authority is called in CAA records.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with _fetch(authority, authority.directory) as upstream:
                content = json.loads(upstream.read())
            content["meta"]["caaIdentities"] = list(identities)
            if answers:
                content["newOrder"] = f"https://localhost:{self.server.server_port}/order"  # type: ignore[attr-defined]
            self._answer(200, {}, content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*answers[0]())

        def _answer(self, status: int, headers: Mapping[str, str], content: Mapping[str, Any]) -> None:
            body = json.dumps(content).encode()
            kind = "application/json" if status == 200 else "application/problem+json"
            self.send_response(status)
            nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
            common = {"Content-Type": kind, "Content-Length": str(len(body)), "Replay-Nonce": nonce}
            for name, value in {**common, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.place / "server.pem", authority.place / "server.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"https://localhost:{server.server_port}/dir"
        finally:
            server.shutdown()


def _fetch(authority: Authority, url: str) -> Any:
    return urllib.request.urlopen(url, context=ssl.create_default_context(cafile=authority.ca_bundle), timeout=10)
