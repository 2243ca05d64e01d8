# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option of a domain, proven by what a client and the app behind get to see. One task serves them all."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import http.server
import json
import pathlib
import shutil
import socket
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import php_server
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import PROOF_PATH as PROOF
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord
from nginx_server import PATIENCE, App, Server, Threaded, websocket

pytestmark = pytest.mark.real

CHALLENGE = "/.well-known/acme-challenge/token"


class Talkative(App, http.server.BaseHTTPRequestHandler):
    """An app that also takes its time, answers in pieces, and says how its files are to be cached."""

    def do_GET(self) -> None:
        path, _mark, query = self.path.partition("?")
        if path == "/slow":
            time.sleep(float(query))
        elif path == "/pieces":
            self.pieces()
            return
        elif path == "/text":
            self.answer(200, b"x" * 5000, [("Content-Type", "text/plain")])
            return
        elif path == "/said.css":
            self.answer(200, b"", [("Cache-Control", "no-store")])
            return
        elif path == "/cookie.css":
            self.answer(200, b"", [("Set-Cookie", "a=b")])
            return
        super().do_GET()

    def do_POST(self) -> None:
        self.server.reached.set()  # type: ignore[attr-defined]
        super().do_POST()

    def pieces(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\none\r\n")
        # Not before the client has the first piece.
        self.server.go_on.wait(PATIENCE)  # type: ignore[attr-defined]
        self.wfile.write(b"3\r\ntwo\r\n0\r\n\r\n")


class Backend(Threaded):
    """An app with its name, counting connections."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Talkative)
        self.name = name
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.connections = 0
        self.open: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        self.open.append(request)
        super().process_request(request, client_address)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def stop(self) -> None:
        """End as a process ends, with the connections that are open."""
        self.shutdown()
        self.server_close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass
class World:
    """The nginx, the apps behind it, and what the one task was."""

    server: Server
    backends: dict[str, Backend]
    items: list[dict[str, Any]] = field(default_factory=list)

    def get(self, host: str, path: str = "/", *args: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.server.get(host, path, *args, **headers)

    def status(self, host: str, path: str = "/", *args: Any, **headers: str) -> int:
        return self.get(host, path, *args, **headers)[0]

    def statuses(self, *requests: tuple[Any, ...]) -> list[int]:
        """Ask all at the same time."""
        with ThreadPoolExecutor(max_workers=len(requests)) as pool:
            return list(pool.map(lambda request: self.status(*request), requests))

    def seen(self, host: str, path: str = "/", **headers: str) -> dict[str, Any]:
        """The request as the app got it."""
        status, _headers, body = self.get(host, path, **headers)
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return found

    def app(self, host: str, path: str = "/") -> str:
        """The name of the app that answers."""
        status, headers, _body = self.get(host, path)
        assert status == 200
        return headers["x-app"]


def files(root: pathlib.Path) -> None:
    """A site of files, one of PHP, and what a certificate authority asks for."""
    for path, text in {
        "webroot/.well-known/acme-challenge/token": "challenge",
        "static/index.html": "home",
        "static/a b.txt": "spaced",
        "static/.env": "SECRET=1",
        "static/.git/config": "secret",
        "static/.well-known/security.txt": "contact",
        "static/docs/index.html": "docs",
        "static/style.css": "css",
        "manual/index.html": "manual",
        "manual/page.html": "page",
        "php/index.php": "<?php echo json_encode(['uri' => $_SERVER['REQUEST_URI'], 'get' => $_GET,"
        " 'post' => $_POST, 'address' => $_SERVER['REMOTE_ADDR'], 'host' => $_SERVER['SERVER_NAME']]);",
        "php/info.php": "<?php echo json_encode([$_SERVER['SCRIPT_NAME'], $_SERVER['PATH_INFO'] ?? null,"
        " getenv('HTTP_PROXY'), $_SERVER['HTTP_PROXY'] ?? '']);",
        "php/image.txt": "no script",
        "php/upload/.hidden.php": "<?php echo 'hidden';",
    }.items():
        found = root / path
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(text)


def items(world: World, root: pathlib.Path, php: php_server.Php) -> list[dict[str, Any]]:
    port = {name: backend.port for name, backend in world.backends.items()}
    users = {"ann": "p:w ß$'\"\\", "bob": "x" * 200}
    several = [{"port": port[name]} for name in ("one", "two")]
    static = {"directory": str(root / "static")}
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "small": {"max_body_size": "1k", "paths": [{"path": "/big", "port": port["one"], "max_body_size": "2k"}]},
        "any": {"max_body_size": "0"},
        "hasty": {
            "timeouts": {"connect": 2, "read": 1, "send": 5},
            "paths": [{"path": "/patient", "port": port["one"], "strip": True, "timeouts": {"read": 20}}],
        },
        "quiet": {"websocket": False},
        "flowing": {"buffering": False},
        "locked": {
            "basic_auth": {"users": users, "realm": "The vault"},
            "paths": [{"path": "/hook", "port": port["one"], "basic_auth": False}],
        },
        "allowed": {"allow": ["127.0.0.0/8"]},
        "elsewhere": {"allow": ["192.0.2.0/24", "::1"]},
        "denied": {"deny": ["127.0.0.1"], "paths": [{"path": "/open", "port": port["one"], "allow": ["127.0.0.1"]}]},
        "spare": {"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]},
        "headers": {"headers": {"X-Frame-Options": "DENY", "X-App": "", "Referrer-Policy": "same-origin"}},
        "www": {"redirect_to": {"host": "plain.example"}},
        "moved": {"redirect_to": {"url": "https://new.example/base/", "code": 308}},
        "gone": {"redirect_to": {"url": "https://new.example/all", "code": 302, "keep_path": False}},
        "slow": {"rate_limit": {"requests": 1, "per": "minute", "burst": 2}},
        "networks": {"rate_limit": {"requests": 1, "per": "minute"}, "real_ip_from": {"ranges": ["127.0.0.1"]}},
        "crowded": {"rate_limit": {"requests": 1, "per": "minute", "by": "domain"}},
        "cached": {"cache_static": {"max_age": 77}},
        "fonts": {"cache_static": {"extensions": ["bin"]}, "root": static},
        "packed": {"gzip": True},
        "loose": {"gzip": False},
        "closed": {"maintenance": {"retry_after": 120}, "basic_auth": {"users": users}},
        "inspected": {"maintenance": {"allow": ["127.0.0.1"]}},
        "outsiders": {"maintenance": {"allow": ["192.0.2.1"]}},
        "behind": {"real_ip_from": {"ranges": ["127.0.0.0/8", "192.0.2.0/24"]}, "allow": ["203.0.113.0/24"]},
        "cdn": {"real_ip_from": {"ranges": ["127.0.0.1"], "header": "CF-Connecting-IP"}},
        "stranger": {"real_ip_from": {"ranges": ["192.0.2.0/24"]}},
        "parts": {
            "headers": {"X-Frame-Options": "DENY"},
            "paths": [
                {"path": "/one", "port": port["one"]},
                {"path": "/one/deep", "port": port["two"], "strip": True},
                {"path": "/other", "app": "other", "strip": True},
                {"path": "/files", "root": {"directory": str(root / "manual")}, "strip": True},
                {"path": "/docs", "root": static},
                {"path": "/several", "upstreams": several},
            ],
        },
        "balanced": {"upstreams": several},
        "weighted": {"upstreams": [{**several[0], "weight": 3}, several[1]]},
        "sticky": {"upstreams": several, "balance": "ip_hash"},
        "busy": {"upstreams": several, "balance": "least_conn"},
        "spared": {"upstreams": [{"port": port["two"]}, {"port": port["one"], "backup": True}]},
        "half": {"upstreams": [{"port": 9, "max_fails": 1, "fail_timeout": 60}, {"port": port["one"]}]},
        "kept": {"upstreams": [{"port": port["kept"]}]},
        "fresh": {"upstreams": [{"port": port["fresh"]}], "keepalive": 0},
        "static": {"root": static},
        "spa": {"root": {**static, "spa": True, "index": ["index.html"]}},
        "php": {"php_fpm": {"root": str(root / "php"), "socket": php.socket}},
        "phpport": {"php_fpm": {"root": str(root / "php"), "port": php.port, "script_root": str(root / "php")}},
        "extra": {
            "extra": 'add_header X-Extra "a $host";\nlocation = /extra {\n  return 200 "${uri};{}#";\n}\n'
            "if ($arg_x) { return 418; }\nlocation /.well-known { return 403; }"
        },
    }
    found = []
    for name, more in options.items():
        item = {"app": "blog", "name": f"{name}.example", **more}
        if not {"redirect_to", "root", "php_fpm", "upstreams"} & set(more):
            item["port"] = port["main"]
        found.append(item)
    return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    # Not below pytest's own directory, which only root may enter: php-fpm runs as somebody else.
    root = pathlib.Path(tempfile.mkdtemp(prefix="serverkit-options-"))
    root.chmod(0o755)
    server = Server(root)
    found = World(server, {name: Backend(name) for name in ("main", "one", "two", "other", "kept", "fresh")})
    server.apps += found.backends.values()
    files(root)
    registry = open_registry(Settings(), read_only=False, path=str(root / "registry.db"))
    with registry as opened, opened.transaction():
        opened.put_app(AppRecord("other", "x", "1", "started", "x", main_port=found.backends["other"].port))
    server.start()
    try:
        with php_server.running(root) as php:
            found.items = items(found, root, php)
            server.good(*found.items)
            yield found
    finally:
        server.close()
        shutil.rmtree(root)


def authorization(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_second_run_changes_nothing(world: World) -> None:
    result = world.server.run(*world.items)
    assert [outcome["name"] for outcome in result["results"] if outcome["changed"]] == []
    assert not any(call.startswith("nginx -t") or "reload" in call for call in result["calls"])


def test_proofs_and_challenges_are_answered_whatever_the_options(world: World) -> None:
    for item in world.items:
        status, _headers, body = world.get(item["name"], CHALLENGE)
        assert (item["name"], status, body) == (item["name"], 200, b"challenge")
        assert (item["name"], world.status(item["name"], PROOF)) == (item["name"], 200)
    assert world.get("nobody.example", CHALLENGE)[2] == b"challenge"
    assert world.status("plain.example", "/.well-known/acme-challenge/other") == 404


def test_max_body_size(world: World) -> None:
    for host, path, limit in (("small.example", "/", 1 << 10), ("small.example", "/big/x", 2 << 10)):
        assert world.status(host, path, "POST", b"x" * limit) == 200
        assert world.status(host, path, "POST", b"x" * (limit + 1)) == 413
    assert json.loads(world.get("any.example", "/", "POST", b"x" * (65 << 20))[2]) == {"size": 65 << 20}


def test_timeouts(world: World) -> None:
    places = [("hasty.example", "/slow?3"), ("hasty.example", "/patient/slow?2"), ("plain.example", "/slow?2")]
    assert world.statuses(*places) == [504, 200, 200]


def test_timeouts_of_an_app_that_does_not_read_or_accept(world: World) -> None:
    with contextlib.ExitStack() as stack:
        unread, full = (stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=n)) for n in (16, 0))
        waiting = [stack.enter_context(socket.socket()) for _number in range(4)]
        for one in waiting:  # until the kernel answers nobody any more
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        common = {"app": "deaf", "check_port": False, "max_body_size": "0"}
        world.server.good(
            {**common, "name": "unread.example", "port": unread.getsockname()[1], "timeouts": {"send": 1, "read": 90}},
            {**common, "name": "full.example", "port": full.getsockname()[1], "timeouts": {"connect": 1, "read": 90}},
        )
        assert world.statuses(("unread.example", "/", "POST", b"x" * (30 << 20)), ("full.example",)) == [504, 504]


def test_websocket(world: World) -> None:
    assert websocket(world.server, "plain.example", "/", "hello") == "hello"
    assert " 200 " in websocket(world.server, "quiet.example", "/", "hello")


def test_buffering_of_answers(world: World) -> None:
    backend = world.backends["main"]
    backend.go_on.clear()
    connection = http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=PATIENCE)
    connection.request("GET", "/pieces", headers={"Host": "flowing.example"})
    response = connection.getresponse()
    assert response.read(3) == b"one"  # while the app still holds the rest back
    backend.go_on.set()
    assert response.read() == b"two"
    connection.close()


@pytest.mark.parametrize(("host", "at_once"), [("flowing.example", True), ("plain.example", False)])
def test_buffering_of_requests(world: World, host: str, at_once: bool) -> None:
    backend = world.backends["main"]
    backend.reached.clear()
    with socket.create_connection(("127.0.0.1", world.server.port), PATIENCE) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 6\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + b"one")
        assert backend.reached.wait(PATIENCE if at_once else 0.5) is at_once
        connection.sendall(b"two")
        assert connection.makefile("rb").readline().split()[1] == b"200"


def test_basic_auth(world: World) -> None:
    status, headers, _body = world.get("locked.example")
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="The vault"')
    for user, password, expected in (
        ("ann", "p:w ß$'\"\\", 200), ("bob", "x" * 200, 200), ("bob", "x" * 199, 401), ("ann", "p", 401),
        ("ann", "", 401), ("eve", "p:w ß$'\"\\", 401),
    ):  # fmt: skip
        assert world.status("locked.example", **authorization(user, password)) == expected
    assert world.status("locked.example", "/hook/x") == 200
    (path,) = (world.server.root / "nginx/serverkit/auth").glob("*_locked.example.*")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [line.split(":")[0] for line in path.read_text().splitlines()[1:]] == ["ann", "bob"]
    assert not any(secret in path.read_text() for secret in ("p:w", "xxxx"))


def test_passwords_change_and_go(world: World) -> None:
    def item(options: dict[str, Any]) -> dict[str, Any]:
        return {"app": "vault", "name": "changing.example", "port": world.backends["main"].port, **options}

    world.server.good(item({"basic_auth": {"users": {"ann": "first-password", "bob": "same-password"}}}))
    (path,) = (world.server.root / "nginx/serverkit/auth").glob("vault_*")
    before = path.read_text().splitlines()
    result = world.server.run(item({"basic_auth": {"users": {"ann": "second-password", "bob": "same-password"}}}))
    after = path.read_text().splitlines()
    assert (before[1] == after[1], before[2] == after[2]) == (False, True)
    shown = json.dumps(result)
    assert not any(secret in shown for secret in ("first-password", "second-password", "same-password", "$6$"))
    assert "redacted" in shown
    assert world.status("changing.example", **authorization("ann", "first-password")) == 401
    assert world.status("changing.example", **authorization("ann", "second-password")) == 200
    assert world.server.run(item({"basic_auth": {"users": {"ann": "second-password"}}}), check=True)["results"][0][
        "changed"
    ]
    assert path.read_text().splitlines() == after
    world.server.good(item({}))
    assert not path.exists()
    assert world.status("changing.example") == 200


def test_allow_and_deny(world: World) -> None:
    for host, path, expected in (
        ("allowed", "/", 200), ("elsewhere", "/", 403), ("denied", "/", 403), ("denied", "/open/x", 200),
        ("spare", "/", 403),
    ):  # fmt: skip
        assert (host, world.status(f"{host}.example", path)) == (host, expected)


def test_headers(world: World) -> None:
    _status, headers, _body = world.get("headers.example")
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"  # not the app's own
    assert "x-app" not in headers
    assert world.get("headers.example", "/.well-known/none")[1]["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("host", "code", "location"),
    [
        ("www.example", 301, "http://plain.example/a%2Fb/?x=%20&y"),
        ("moved.example", 308, "https://new.example/base/a%2Fb/?x=%20&y"),
        ("gone.example", 302, "https://new.example/all"),
    ],
)
def test_redirect_to(world: World, host: str, code: int, location: str) -> None:
    status, headers, _body = world.get(host, "/a%2Fb/?x=%20&y")
    assert (status, headers["location"]) == (code, location)


def test_rate_limit(world: World) -> None:
    assert [world.status("slow.example") for _number in range(5)] == [200, 200, 200, 429, 429]
    assert [world.status("crowded.example") for _number in range(2)] == [200, 429]
    assert world.status("slow.example", PROOF) == 200
    seen = {}
    for address in (
        "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1", "2001:db8::1", "2001:db8::1:0:0:1",
        "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "::ffff:198.51.100.1", "::ffff:198.51.100.2", "192.0.2.1",
    ):  # fmt: skip
        seen.setdefault(world.status("networks.example", **{"X-Forwarded-For": address}), []).append(address)
    # Of an IPv6 network of 64 bits, whoever comes second; of IPv4 addresses, who comes twice.
    assert seen[429] == ["2001:db8:1:2:ffff::9", "2001:db8::1:0:0:1", "192.0.2.1"]
    assert len(seen[200]) == 8
    assert [world.status("plain.example") for _number in range(5)] == [200] * 5


def test_cache_static(world: World) -> None:
    def control(host: str, path: str) -> str | None:
        return world.get(host, path)[1].get("cache-control")

    assert control("cached.example", "/x/y.css") == "max-age=77"
    assert control("cached.example", "/x/Y.PNG?v=1") == "max-age=77"
    assert control("cached.example", "/x/css") is None
    assert control("cached.example", "/page?x=.css") is None
    assert control("cached.example", "/said.css") == "no-store"
    assert control("cached.example", "/cookie.css") is None
    assert control("fonts.example", "/style.css") is None


def test_gzip(world: World) -> None:
    status, headers, body = world.get("packed.example", "/text", **{"Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "Accept-Encoding")
    assert gzip.decompress(body) == b"x" * 5000
    assert "content-encoding" not in world.get("packed.example", "/text")[1]
    assert "content-encoding" not in world.get("loose.example", "/text", **{"Accept-Encoding": "gzip"})[1]


def test_maintenance(world: World) -> None:
    for host, path in (("closed.example", "/"), ("closed.example", "/x?y"), ("outsiders.example", "/")):
        status, headers, body = world.get(host, path)
        assert (status, headers["content-type"]) == (503, "text/html")
        assert b"maintenance" in body
        assert headers["retry-after"] == ("120" if host == "closed.example" else "600")
    assert world.app("inspected.example") == "main"


def test_who_the_client_is(world: World) -> None:
    """Nobody but a proxy that is named is believed."""
    spoofed = {"X-Forwarded-For": "203.0.113.66", "X-Real-IP": "203.0.113.66", "X-Forwarded-Proto": "https"}
    for host in ("plain.example", "stranger.example"):
        headers = world.seen(host, **spoofed)["headers"]
        assert (headers["x-forwarded-for"], headers["x-real-ip"]) == ("127.0.0.1", "127.0.0.1")
        assert headers["x-forwarded-proto"] == "http"
    chain = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9, 192.0.2.7", "X-Forwarded-Proto": "https"}
    headers = world.seen("behind.example", **chain)["headers"]
    # The right-most that is no proxy: all before it may be made up.
    assert (headers["x-forwarded-for"], headers["x-real-ip"]) == ("203.0.113.9", "203.0.113.9")
    assert headers["x-forwarded-proto"] == "https"
    assert world.status("behind.example", **{"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}) == 403
    assert world.status("behind.example") == 403
    headers = world.seen("cdn.example", **{"CF-Connecting-IP": "2001:db8::7", "X-Forwarded-For": "1.2.3.4"})["headers"]
    assert headers["x-real-ip"] == "2001:db8::7"
    assert world.seen("cdn.example", **{"X-Forwarded-Proto": "javascript"})["headers"]["x-forwarded-proto"] == "http"


def test_paths(world: World) -> None:
    for path, app, seen in (
        ("/", "main", "/"), ("/onetwo", "main", "/onetwo"), ("/one", "one", "/one"), ("/one/x?y", "one", "/one/x?y"),
        ("/one/deep", "two", "/"), ("/one/deep?q", "two", "/?q"), ("/one/deep/a%2Fb?c", "two", "/a%2Fb?c"),
        ("/other/x", "other", "/x"),
    ):  # fmt: skip
        status, headers, body = world.get("parts.example", path)
        assert (path, status, headers["x-app"], json.loads(body)["path"]) == (path, 200, app, seen)
        assert headers["x-frame-options"] == "DENY"
    assert world.seen("parts.example", "/other/x")["headers"]["x-forwarded-prefix"] == "/other"
    assert "x-forwarded-prefix" not in world.seen("parts.example", "/one/x")["headers"]
    away = base64.urlsafe_b64encode(json.dumps("/login?next=/x").encode()).decode()
    assert world.get("parts.example", f"/other/redirect/{away}")[1]["location"] == "/other/login?next=/x"
    assert {world.app("parts.example", "/several") for _number in range(8)} == {"one", "two"}


def test_paths_to_directories(world: World) -> None:
    for path, text in (
        ("/files/", b"manual"), ("/files/page.html", b"page"), ("/docs/", b"docs"), ("/docs/index.html", b"docs"),
    ):  # fmt: skip
        assert world.get("parts.example", path)[::2] == (200, text)
    for path in ("/files/none", "/files/..%2findex.html", "/files../static/index.html", "/docs/style.css"):
        assert (path, world.status("parts.example", path)) in ((path, 404), (path, 400), (path, 200))
    assert world.get("parts.example", "/files../manual/page.html")[1]["x-app"] == "main"
    assert world.get("parts.example", "/files?x=1")[1]["location"] == "/files/?x=1"


def test_upstreams(world: World) -> None:
    def answered(host: str, times: int) -> Counter[str]:
        return Counter(world.app(host) for _number in range(times))

    assert set(answered("balanced.example", 12)) == {"one", "two"}
    assert set(answered("busy.example", 12)) == {"one", "two"}
    weighted = answered("weighted.example", 40)
    assert weighted["one"] > weighted["two"] > 0
    assert len(answered("sticky.example", 10)) == 1
    assert set(answered("spared.example", 10)) == {"two"}
    assert answered("half.example", 20) == {"one": 20}  # nothing listens at the other, and no request fails


def test_one_of_two_upstreams_is_stopped(world: World) -> None:
    extra = Backend("stopped")
    upstreams = [{"port": extra.port, "fail_timeout": 60}, {"port": world.backends["one"].port}]
    world.server.good({"app": "pair", "name": "pair.example", "upstreams": upstreams})
    assert {world.app("pair.example") for _number in range(12)} == {"stopped", "one"}
    extra.stop()
    assert {world.app("pair.example") for _number in range(20)} == {"one"}


def test_keepalive(world: World) -> None:
    for host in ("kept", "fresh"):
        world.backends[host].connections = 0
        for _number in range(20):
            world.status(f"{host}.example")
    assert world.backends["kept"].connections <= 4  # two workers
    assert world.backends["fresh"].connections == 20


def test_root(world: World) -> None:
    for path, text in (
        ("/", b"home"), ("/docs/", b"docs"), ("/a%20b.txt", b"spaced"), ("/.well-known/security.txt", b"contact"),
    ):  # fmt: skip
        assert world.get("static.example", path)[::2] == (200, text)
    for path in ("/none", "/.env", "/.git/config", "/docs/none/", "/%2e%65nv", "/docs/../.env"):
        assert (path, world.status("static.example", path)) == (path, 404)
    assert world.status("static.example", "/../registry.db") == 400
    assert world.status("static.example", "/", "POST", b"x") == 405
    assert world.get("static.example", "/docs?x")[1]["location"] == "/docs/?x"
    assert world.get("spa.example", "/some/route?x")[::2] == (200, b"home")
    assert world.get("spa.example", "/style.css")[::2] == (200, b"css")
    assert world.status("spa.example", "/.env") == 404


@pytest.mark.parametrize("host", ["php.example", "phpport.example"])
def test_php(world: World, host: str) -> None:
    found = world.seen(host, "/?a=1")
    assert (found["get"], found["address"], found["host"]) == ({"a": "1"}, "127.0.0.1", host)
    assert world.seen(host, "/pretty/url?b=2") | {"uri": ""} == {**found, "uri": "", "get": {"b": "2"}}
    status, _headers, body = world.get(
        host, "/index.php", "POST", b"c=3", **{"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (status, json.loads(body)["post"]) == (200, {"c": "3"})
    assert world.get(host, "/image.txt")[2] == b"no script"
    script = json.loads(world.get(host, "/info.php/more/x?y", Proxy="http://evil.example")[2])
    assert script == ["/info.php", "/more/x", False, ""]
    # What is no file is no script, whatever comes behind it.
    assert world.status(host, "/image.txt/x.php") == 404
    assert world.status(host, "/none.php") == 404
    assert world.status(host, "/upload/.hidden.php") == 404


def test_extra(world: World) -> None:
    assert world.get("extra.example")[1]["x-extra"] == "a extra.example"
    assert world.get("extra.example", "/extra")[2] == b"/extra;{}#"
    assert world.status("extra.example", "/?x=1") == 418
    assert world.status("extra.example", "/.well-known/other") == 403


def over_tls(
    world: World, host: str, path: str = "/", protocols: tuple[str, ...] = ()
) -> tuple[http.client.HTTPResponse, str]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    plain = socket.create_connection(("127.0.0.1", world.server.tls_port), PATIENCE)
    with context.wrap_socket(plain, server_hostname=host) as encrypted:
        if "h2" in protocols:
            return http.client.HTTPResponse(plain), encrypted.selected_alpn_protocol() or ""
        connection = http.client.HTTPConnection(host)
        connection.sock = encrypted
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        response.read()
        return response, encrypted.selected_alpn_protocol() or ""


def test_what_only_nginx_refuses_stops_nobody_else(world: World) -> None:
    port = world.backends["main"].port
    bad = {"app": "odd", "name": "odd.example", "port": port, "extra": "client_body_timeout soon;"}
    result = world.server.run(bad, {"app": "fair", "name": "fair.example", "port": port})
    refused, served = result["results"]
    assert "Could not serve the names of the app odd" in refused["error"]
    assert f"{world.server.root}/nginx/sites-enabled/odd:" in refused["error"]
    assert "client_body_timeout" in refused["error"]
    assert (refused["changed"], served["changed"]) == (False, True)
    assert world.app("fair.example") == "main"
    assert world.status("odd.example") == 404
    assert sum("-t" in call.split() for call in result["calls"]) == 3, "refused; fine without the change; fine"
    assert sum("reload" in call for call in result["calls"]) == 1
    assert not (world.server.root / "nginx/sites-enabled/odd").exists()


def test_https(world: World) -> None:
    port = world.backends["main"].port
    hsts = {"include_subdomains": True, "preload": True}
    secure = {"app": "secure", "port": port, "tls": "internal"}
    world.server.good(
        {**secure, "name": "secure.example", "aliases": ["www.secure.example"], "hsts": hsts},
        {**secure, "name": "both.example", "http_redirect": False},
    )
    for host in ("secure.example", "www.secure.example"):
        response, _protocol = over_tls(world, host, "/a?b")
        assert (response.status, response.headers["X-App"]) == (200, "main")
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
        status, headers, _body = world.get(host, "/a%2Fb?c=%20")
        assert (status, headers["location"]) == (301, f"https://{host}:{world.server.tls_port}/a%2Fb?c=%20")
        assert "strict-transport-security" not in headers
        assert world.status(host, "/", "POST", b"x") == 308
        assert world.get(host, CHALLENGE)[2] == b"challenge"
    assert over_tls(world, "secure.example", protocols=("h2", "http/1.1"))[1] == "h2"
    assert world.app("both.example") == "main"
    assert over_tls(world, "both.example")[0].headers["Strict-Transport-Security"] is None
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        over_tls(world, "nobody.example")


def private(world: World, **options: Any) -> dict[str, Any]:
    return {"app": "private", "private_url": True, "port": world.backends["main"].port, **options}


def test_the_options_of_a_private_url(world: World) -> None:
    users = {"ann": "a-password"}
    item = private(world, slug="my-slug", basic_auth={"users": users}, max_body_size="1k", timeouts={"read": 3})
    world.server.good(item)
    admitted = authorization("ann", "a-password")
    path = "/p/my-slug/"
    assert (world.status("127.0.0.1", path), world.status("127.0.0.1", path, **admitted)) == (401, 200)
    assert world.status("127.0.0.1", path, "POST", b"x" * 1025, **admitted) == 413
    assert world.status("127.0.0.1", path, "POST", b"x" * 1024, **admitted) == 200
    assert world.status("127.0.0.1", f"{path}slow?9", **admitted) == 504
    assert not world.server.good(item)[0]["changed"]


def test_a_private_url_that_expires(world: World) -> None:
    def ends(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))

    host, path = "127.0.0.1", "/p/short-lived/"
    item = private(world, slug="short-lived", expires=ends(15))
    world.server.good(item)
    assert world.status(host, path) == 200
    deadline = time.monotonic() + 60
    while world.status(host, path) == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    unknown = [(one := world.get(host, f"/p/never-was{rest}"))[0] for rest in ("", "/", "/x")]
    for rest in ("", "/", "/x", PROOF):
        dead, never = world.get(host, path.rstrip("/") + rest), world.get(host, f"/p/never-was{rest}")
        assert dead[0] == never[0] == 404
        assert dead[2] == never[2]
        assert {**dead[1], "date": ""} == {**never[1], "date": ""}
    assert unknown == [404] * 3
    assert one[0] == 404
    assert world.server.good(item)[0]["changed"]  # the files go
    assert not (world.server.root / "nginx/serverkit/private/private.conf").exists()
    assert not world.server.good(item)[0]["changed"]
    assert world.server.good(private(world, slug="short-lived", expires="7d"))[0]["changed"]
    assert world.status(host, path) == 200


def test_private_urls_below_a_domain_of_their_own(world: World) -> None:
    below = {"name": "apps.example", "tls": "internal"}
    item = private(world, slug="my-slug")
    world.server.good(item, private_domain=below)
    response, _protocol = over_tls(world, "my-slug.apps.example", "/login")
    assert (response.status, response.headers["X-Robots-Tag"]) == (200, "noindex")
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert over_tls(world, "other-slug.apps.example")[0].status == 404
    for host in ("my-slug.apps.example", "other-slug.apps.example"):
        status, headers, _body = world.get(host, "/a?b")
        assert (status, headers["location"]) == (301, f"https://{host}:{world.server.tls_port}/a?b")
    assert world.status("127.0.0.1", "/p/my-slug/") == 404
    assert not world.server.good(item, private_domain=below)[0]["changed"]
    assert "my-slug" not in "".join(path.read_text() for path in (world.server.root / "logs").glob("private.access*"))
    # Tasks that do not say where private URLs are leave this one where it is.
    world.server.good({"app": "private", "name": "public.example", "port": world.backends["main"].port})
    (same,) = world.server.good(item)
    assert (same["changed"], same["facts"]["url"]) == (False, "https://my-slug.apps.example/")
    assert over_tls(world, "my-slug.apps.example")[0].status == 200
    world.server.good(item, private_domain={"name": ""})
    assert world.status("127.0.0.1", "/p/my-slug/") == 200
    assert not (world.server.root / "ssl/serverkit/internal").exists()
    with pytest.raises(
        (ssl.SSLError, ConnectionRefusedError)
    ):  # no handshake, or nobody listens when nothing else is served by HTTPS
        over_tls(world, "my-slug.apps.example")


def test_urls_are_quoted_once(world: World) -> None:
    quoted = urllib.parse.quote("/ä b/%2F", safe="/%")
    assert world.seen("plain.example", quoted)["path"] == quoted
