# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An nginx with files, ports and a pid of its own, apps behind it, and serverkit_domain as a process beside it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from typing import Any

import ansible_collections.serverkit.core as collection
from free_ports import free_port

RUNNER = pathlib.Path(__file__).with_name("domain_run.py")
TREE = pathlib.Path(next(iter(collection.__path__))).parents[2]
# Seconds until something counts as not answering: this machine may be busy with other tests.
PATIENCE = 60.0
NGINX_CONF = """
user root;
worker_processes 2;
pid {root}/nginx.pid;
error_log {root}/logs/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {root}/logs/access.log;
    client_body_temp_path {root}/tmp/body;
    proxy_temp_path {root}/tmp/proxy;
    fastcgi_temp_path {root}/tmp/fastcgi;
    uwsgi_temp_path {root}/tmp/uwsgi;
    scgi_temp_path {root}/tmp/scgi;
    include {root}/nginx/conf.d/*.conf;
    include {root}/nginx/sites-enabled/*;
}}
"""


class App(http.server.BaseHTTPRequestHandler):
    """Shows the request it got; redirects, sets cookies and echoes websocket messages when asked to."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.headers.get("Upgrade") == "websocket":
            self.echo()
            return
        headers: list[tuple[str, str]] = []
        status = 200
        if path.startswith("/redirect/"):
            status = 302
            target = json.loads(base64.urlsafe_b64decode(path.removeprefix("/redirect/")))
            headers.append(("Location", target.replace("HOST", self.headers["Host"])))
        elif path.startswith("/cookie/"):
            headers.append(("Set-Cookie", f"a=b; Path={json.loads(base64.urlsafe_b64decode(path[8:]))}"))
        shown = {"path": self.path, "headers": {key.lower(): value for key, value in self.headers.items()}}
        self.answer(status, json.dumps(shown).encode(), headers)

    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200, json.dumps({"size": size}).encode(), [])

    def answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for header in [*headers, ("Referrer-Policy", "unsafe-url"), ("X-App", self.server.name)]:  # type: ignore[attr-defined]
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo(self) -> None:
        # RFC 6455, section 1.3; short unfragmented frames only.
        magic = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        while header := self.rfile.read(2):
            mask = self.rfile.read(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(header[1] & 127)))
            self.wfile.write(bytes([0x81, len(payload)]) + payload)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Threaded(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    name = ""


class Server:
    """An nginx, a registry and a place for the locks."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.port = free_port()
        self.tls_port = free_port()
        self.apps: list[Threaded] = []
        for name in ("conf.d", "sites-available", "sites-enabled"):
            (root / "nginx" / name).mkdir(parents=True)
        for name in ("logs", "tmp"):
            (root / name).mkdir()
        (root / "nginx" / "nginx.conf").write_text(NGINX_CONF.format(root=root))

    @property
    def conf(self) -> str:
        return str(self.root / "nginx" / "nginx.conf")

    def start(self) -> None:
        subprocess.run(["nginx", "-c", self.conf], check=True)
        self.wait_for_pid()

    def wait_for_pid(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                return int((self.root / "nginx.pid").read_text())
            time.sleep(0.02)
        raise AssertionError("nginx has no pid")

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.root / "nginx.pid").read_text())
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            # Init may take seconds to collect the dead, which have no command line any more.
            while pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() and time.monotonic() < deadline:
                time.sleep(0.01)

    def close(self) -> None:
        self.stop()
        for app in self.apps:
            app.shutdown()
            app.server_close()

    def app(self, name: str = "app") -> int:
        server = Threaded(("127.0.0.1", 0), App)
        server.name = name
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.apps.append(server)
        return int(server.server_address[1])

    def command(self, *items: dict[str, Any], **task: Any) -> tuple[list[str], str, dict[str, str]]:
        layout = {
            "configuration": str(self.root / "nginx"),
            "logs": str(self.root / "logs"),
            "runtime": str(self.root / "run"),
            "port": self.port,
            "tls_port": self.tls_port,
            "webroot": str(self.root / "webroot"),
            "ssl": str(self.root / "ssl"),
            "letsencrypt": str(self.root / "letsencrypt"),
        }
        places = {"layout": layout, "registry": str(self.root / "registry.db"), "locks": str(self.root / "locks")}
        environment = {**os.environ, "PYTHONPATH": str(TREE)}
        return [sys.executable, str(RUNNER)], json.dumps({**places, "items": items, **task}), environment

    def run(self, *items: dict[str, Any], **task: Any) -> dict[str, Any]:
        argv, text, environment = self.command(*items, **task)
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def good(self, *items: dict[str, Any], **task: Any) -> list[dict[str, Any]]:
        result = self.run(*items, **task)
        assert "error" not in result, result["error"]
        for outcome in result["results"]:
            assert "error" not in outcome, outcome["error"]
        outcomes: list[dict[str, Any]] = result["results"]
        return outcomes

    def bad(self, *items: dict[str, Any], **task: Any) -> str:
        result = self.run(*items, **task)
        message = result.get("error") or " ".join(outcome.get("error", "") for outcome in result["results"])
        assert message.strip(), result
        return str(message)

    def get(
        self, host: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers={"Host": host, **headers})
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get_over_tls(
        self, host: str, path: str = "/", trusted: str | None = None
    ) -> tuple[int, dict[str, str], bytes, dict[str, Any]]:
        """Request over TLS; with a file of trusted certificates, the server's own is verified for the host.

        The last of what is returned is that certificate, as the ssl module shows it, when it was verified.
        """
        context = ssl.create_default_context(cafile=trusted)
        if trusted is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.tls_port), PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                connection = http.client.HTTPConnection(host)
                connection.sock = encrypted
                connection.request("GET", path, headers={"Host": host, "Connection": "close"})
                response = connection.getresponse()
                shown = {key.lower(): value for key, value in response.getheaders()}
                certificate = encrypted.getpeercert() or {}
                return response.status, shown, response.read(), dict(certificate)

    def snapshot(self) -> dict[str, str]:
        found = {}
        for path in sorted((self.root / "nginx").rglob("*")):
            if path.is_symlink():
                found[str(path)] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[str(path)] = f"{path.stat().st_mode:o} {path.read_text()}"
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{self.root}/registry.db?mode=ro", uri=True)) as registry,
        ):
            for table in ("domains", "private_urls", "vhosts"):
                found[table] = repr(sorted(registry.execute(f"SELECT * FROM {table}").fetchall()))
        return found


def websocket(server: Server, host: str, path: str, text: str) -> str:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        stream = connection.makefile("rb")
        status = stream.readline().decode()
        while stream.readline().strip():
            pass
        if " 101 " not in status:
            return status
        connection.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode())
        return stream.read(2 + len(text))[2:].decode()
