# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_domain against a real nginx with files, ports and a pid of its own: what a client gets, and what is left
behind when things go wrong."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import nginx_syntax
from free_ports import free_port
from nginx_server import PATIENCE, Server, websocket
from postgresql_server import Cluster

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the module does"),
]

PROOF = "/.well-known/serverkit-proof"


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.close()


def coded(text: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(text).encode()).decode()


def test_any_token_comes_back_from_nginx_itself(server: Server) -> None:
    generator = random.Random(2)
    alphabet = [*"\\\\\"'{};# \u00e4\u20ac", *map(chr, range(0x21, 0x7F))]
    values = ["", "\\", '"', "'", "\\n", 'a"b\\', "{ } ; #", '\\\\\\"', "${x}", "$host"]
    values += ["".join(generator.choices(alphabet, k=generator.randint(1, 12))) for _number in range(2000)]
    locations, taken = [], []
    for value in values:
        with contextlib.suppress(InputError):
            locations.append(f"location = /{len(taken)} {{ return 200 {nginx_syntax.token(f'x{value}')}; }}")
            taken.append(value)
    assert len(taken) > 1500
    text = f"server {{ listen {server.port}; server_name tokens.example;\n" + "\n".join(locations) + "}\n"
    (server.root / "nginx/conf.d/tokens.conf").write_text(text)
    server.stop()
    server.start()
    for at, value in enumerate(taken):
        assert server.get("tokens.example", f"/{at}")[2].decode() == f"x{value}"


def test_any_name_is_refused_or_served(server: Server) -> None:
    """Whatever passes the check is a name that nginx takes as it is written."""
    generator = random.Random(3)
    alphabet = "abcxyz0189-..--" + " ;{}\"'\\$*_~\n/\u00e4"
    port = server.app()
    names = {
        "".join(generator.choices(alphabet[: generator.choice([15, 15, 28])], k=generator.randint(3, 70)))
        for _number in range(4000)
    }
    items = [{"app": f"app-{number % 20}", "name": name, "port": port} for number, name in enumerate(sorted(names))]
    result = server.run(*items)
    served = [outcome["name"] for outcome in result["results"] if "error" not in outcome]
    assert 100 < len(served) < len(names) / 2
    for outcome in result["results"]:
        if "error" in outcome:
            assert "Could not use" in outcome["error"]
    for name in served:
        assert server.get(name)[0] == 200
    written = " ".join(path.read_text() for path in (server.root / "nginx/sites-available").glob("app-*"))
    assert set(served) == {name for line in re.findall(r"server_name (.*);", written) for name in line.split(" ")}


def test_a_domain_with_an_alias(server: Server) -> None:
    port = server.app("blog")
    item = {"app": "blog", "name": "blog.example", "aliases": ["www.blog.example"], "port": port}
    assert server.good(item)[0]["changed"]
    for name in ("blog.example", "www.blog.example", "BLOG.example"):
        status, headers, body = server.get(name, "/a%2Fb/?x=%20", **{"X-Forwarded-Prefix": "/evil"})
        assert (status, headers["x-app"]) == (200, "blog")
        assert "nginx/" not in headers["server"]
        seen = json.loads(body)
        assert seen["path"] == "/a%2Fb/?x=%20"
        assert seen["headers"]["host"] == name.lower()
        assert seen["headers"]["x-real-ip"] == "127.0.0.1"
        assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
        assert seen["headers"]["x-forwarded-proto"] == "http"
        assert seen["headers"]["x-forwarded-host"] == name.lower()
        assert "x-forwarded-prefix" not in seen["headers"]
    assert json.loads(server.get("blog.example:8080")[2])["headers"]["host"] == "blog.example:8080"
    log = server.root / "logs" / "blog.access.log"
    deadline = time.monotonic() + PATIENCE
    while "/a%2Fb/" not in log.read_text():  # it is written once a second
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert log.stat().st_mode & 0o777 == 0o640
    assert not server.good(item)[0]["changed"]


def test_strangers_get_a_404_and_not_the_first_app(server: Server) -> None:
    server.good({"app": "blog", "name": "blog.example", "port": server.app()})
    for host in ("other.example", "127.0.0.1", "blog.example.evil.example", "_", "serverkit.invalid"):
        status, headers, body = server.get(host)
        assert (status, headers["content-type"], b"404" in body) == (404, "text/html", True)
        assert "x-app" not in headers


def test_uploads_up_to_64_megabytes(server: Server) -> None:
    server.good({"app": "blog", "name": "blog.example", "port": server.app()})
    assert json.loads(server.get("blog.example", "/", "POST", b"x" * (20 << 20))[2]) == {"size": 20 << 20}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert server.get("blog.example", "/", "POST", b"x" * (65 << 20))[0] == 413


def test_websockets(server: Server) -> None:
    port = server.app()
    found = server.good(
        {"app": "chat", "name": "chat.example", "port": port},
        {"app": "chat", "private_url": True, "port": port},
        {"app": "plain", "name": "plain.example", "port": port, "websocket": False},
    )
    assert websocket(server, "chat.example", "/", "hello") == "hello"
    assert websocket(server, "127.0.0.1", found[1]["facts"]["path"] + "ws", "again") == "again"
    assert " 200 " in websocket(server, "plain.example", "/", "no")


def test_a_private_url(server: Server) -> None:
    found = server.good({"app": "blog", "private_url": True, "port": server.app()})[0]
    path = found["facts"]["path"]
    assert len(path) == 30
    status, headers, body = server.get("10.1.2.3:8080", f"{path}a%2Fb/c?x=1&y=%2F")
    seen = json.loads(body)
    assert status == 200
    assert seen["path"] == "/a%2Fb/c?x=1&y=%2F"
    assert seen["headers"]["x-forwarded-prefix"] == path[:-1]
    assert seen["headers"]["host"] == "10.1.2.3:8080"
    assert (headers["x-robots-tag"], headers["referrer-policy"]) == ("noindex", "no-referrer")
    status, headers, _body = server.get("10.1.2.3:8080", path[:-1] + "?q=1")
    assert (status, headers["location"]) == (302, path + "?q=1")
    assert server.get("10.1.2.3", path)[0] == 200
    time.sleep(1.2)  # logs are written once a second, and that nothing comes cannot be waited for
    for log in (server.root / "logs").iterdir():
        assert path not in log.read_text(), log
    assert (server.root / "nginx/serverkit/private/blog.conf").stat().st_mode & 0o777 == 0o600


def test_addresses_that_the_app_hands_out_come_back_below_the_prefix(server: Server) -> None:
    server.good({"app": "blog", "private_url": True, "slug": "preview", "port": server.app()})
    for given, wanted in {
        "/login?next=/": "/p/preview/login?next=/",
        "/": "/p/preview/",
        "http://HOST/login": "/p/preview/login",
        "https://HOST/login": "/p/preview/login",
        "http://HOST/p/preview/x": "/p/preview/x",
        "/p/preview/x": "/p/preview/x",
        "/p/preview": "/p/preview",
        "/p/preview-of/x": "/p/preview/p/preview-of/x",
        "relative": "relative",
        "//cdn.example/x": "//cdn.example/x",
        "https://login.example/?back=/x": "https://login.example/?back=/x",
    }.items():
        location = server.get("1.2.3.4:8080", f"/p/preview/redirect/{coded(given)}")[1]["location"]
        assert location == wanted, given
    for given, wanted in {"/": "/p/preview/", "/admin": "/p/preview/admin", "/p/preview/": "/p/preview/"}.items():
        cookie = server.get("1.2.3.4", f"/p/preview/cookie/{coded(given)}")[1]["set-cookie"]
        assert cookie.lower() == f"a=b; path={wanted}", given


def test_a_dead_slug_answers_like_one_that_never_was(server: Server) -> None:
    port = server.app()
    server.good({"app": "blog", "private_url": True, "slug": "first-one", "port": port})
    assert server.get("1.2.3.4", "/p/first-one/")[0] == 200
    server.good({"app": "blog", "private_url": True, "slug": "second-one", "port": port})
    assert server.get("1.2.3.4", "/p/second-one/")[0] == 200

    def shown(path: str) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = server.get("1.2.3.4", path)
        return status, {key: value for key, value in headers.items() if key != "date"}, body

    for rest in ("", "/", PROOF, "/x"):
        assert shown(f"/p/first-one{rest}") == shown(f"/p/never-was{rest}")
        assert shown(f"/p/first-one{rest}")[0] == 404


def test_a_lost_registry_keeps_the_random_slug(server: Server) -> None:
    item = {"app": "blog", "private_url": True, "port": server.app()}
    path = server.good(item)[0]["facts"]["path"]
    (server.root / "registry.db").unlink()
    again = server.good(item)[0]
    assert again["facts"]["path"] == path
    assert server.get("1.2.3.4", path)[0] == 200


def test_a_lost_registry_and_an_app_that_was_renamed(server: Server) -> None:
    port = server.app()
    server.good({"app": "old", "name": "blog.example", "port": port})
    (server.root / "registry.db").unlink()
    new = {"app": "new", "name": "blog.example", "port": port}
    assert "sites-enabled/old has that name" in server.bad(new)
    assert server.good({"app": "old", "state": "absent"}, new)[0]["changed"]
    assert not (server.root / "nginx/sites-available/old").exists()
    assert server.get("blog.example")[0] == 200


def test_a_long_domain_and_many_of_them_in_one_reload(server: Server) -> None:
    port = server.app()
    long = ".".join(["x" * 63, "y" * 63, "z" * 63, "w" * 61])
    assert len(long) == 253
    items = [
        {"app": f"app-{number % 50}", "name": f"site-{number}.example", "aliases": [f"www.site-{number}.example"]}
        for number in range(200)
    ]
    items.append({"app": "long", "name": long})
    result = server.run(*({**item, "port": port, "check_port": number == 0} for number, item in enumerate(items)))
    assert all(outcome.get("changed") for outcome in result["results"]), result
    assert [call for call in result["calls"] if "reload" in call] == [result["calls"][-1]]
    assert sum("nginx-staged" in call for call in result["calls"]) == 1
    for name in ("site-0.example", "www.site-199.example", long):
        assert server.get(name)[0] == 200
    again = server.run(*({**item, "port": port} for item in items))
    assert not any(outcome["changed"] for outcome in again["results"])
    assert again["calls"] == ["nginx -v"]


def test_check_mode_shows_it_and_writes_nothing(server: Server) -> None:
    items = [
        {"app": "blog", "name": "blog.example", "port": server.app()},
        {"app": "blog", "private_url": True},
        {"app": "shop", "name": "shop.example"},
    ]
    before, files = server.snapshot(), sorted(map(str, server.root.rglob("*")))
    found = server.good(*items, check=True)
    assert all(outcome["changed"] for outcome in found)
    headers = [diff["after_header"] for outcome in found for diff in outcome["diffs"]]
    assert any(header.endswith("sites-available/blog") for header in headers)
    assert "no port yet" in " ".join(found[2]["warnings"])
    assert server.snapshot() == before
    assert sorted(map(str, server.root.rglob("*"))) == files


def test_exclusive_and_absent_leave_no_files(server: Server) -> None:
    port = server.app()
    first, second = ({"app": "blog", "name": f"{name}.example", "port": port} for name in ("one", "two"))
    other = {"app": "shop", "name": "shop.example", "port": port}
    server.good(first, second, other)
    server.good(second, exclusive=True)
    assert server.get("one.example")[0] == 404
    assert server.get("two.example")[0] == 200
    server.good({"app": "blog", "name": "two.example", "state": "absent"})
    assert server.get("two.example")[0] == 404
    assert server.get("shop.example")[0] == 200
    left = [path for path in server.snapshot() if "blog" in path]
    assert left == []
    assert not server.good({"app": "blog", "state": "absent"})[0]["changed"]


def test_a_domain_moves_from_app_to_app_in_one_task(server: Server) -> None:
    one, two = server.app("one"), server.app("two")
    server.good({"app": "one", "name": "a.example", "port": one}, {"app": "one", "name": "b.example", "port": one})
    server.good(
        {"app": "two", "name": "b.example", "port": two},
        {"app": "one", "name": "a.example", "port": one},
        exclusive=True,
    )
    assert server.get("a.example")[1]["x-app"] == "one"
    assert server.get("b.example")[1]["x-app"] == "two"


def test_a_domain_of_another_app_is_refused_and_the_rest_goes_on(server: Server) -> None:
    port = server.app()
    server.good({"app": "blog", "name": "blog.example", "port": port})
    result = server.run(
        {"app": "shop", "name": "shop.example", "aliases": ["blog.example"], "port": port},
        {"app": "shop", "name": "other.example", "port": port},
    )
    assert "belongs to the app blog" in result["results"][0]["error"]
    assert result["results"][1]["changed"]
    assert server.get("other.example")[0] == 200
    assert server.get("shop.example")[0] == 404


@pytest.mark.parametrize("drift", ["edited", "deleted", "unlinked", "chmod"])
def test_drift_is_shown_and_repaired(server: Server, drift: str) -> None:
    item = {"app": "blog", "name": "blog.example", "port": server.app()}
    server.good(item)
    whole = server.snapshot()
    path = server.root / "nginx/sites-available/blog"
    if drift == "edited":
        path.write_text(path.read_text().replace("64m", "1m"))
    elif drift == "deleted":
        path.unlink()
    elif drift == "unlinked":
        (server.root / "nginx/sites-enabled/blog").unlink()
    else:
        path.chmod(0o666)
    found = server.good(item)[0]
    assert found["changed"]
    assert len(found["diffs"]) == 1
    assert server.snapshot() == whole
    assert not server.good(item)[0]["changed"]


def test_a_file_of_ours_that_was_broken_by_hand_is_mended(server: Server) -> None:
    item = {"app": "blog", "name": "blog.example", "port": server.app()}
    server.good(item)
    path = server.root / "nginx/sites-available/blog"
    path.write_text(path.read_text()[:-20])
    assert server.good(item)[0]["changed"]
    assert server.get("blog.example")[0] == 200


def test_a_broken_foreign_file_is_named_and_nothing_changes(server: Server) -> None:
    port = server.app()
    server.good({"app": "blog", "name": "blog.example", "port": port})
    foreign = server.root / "nginx/sites-enabled/theirs"
    foreign.write_text("server {\n    listen 80;\n    bogus on;\n}\n")
    before = server.snapshot()
    message = server.bad({"app": "shop", "name": "shop.example", "port": port})
    assert f'{foreign}:3: unknown directive "bogus"' in message
    assert "broken already" in message
    assert server.snapshot() == before
    assert server.get("blog.example")[0] == 200
    assert not (server.root / "run/nginx-staged").exists()


def test_what_somebody_else_has_is_left_alone(server: Server) -> None:
    port = server.app()
    nginx = server.root / "nginx"
    (nginx / "sites-enabled/theirs").write_text(
        f"server {{\n  listen {server.port};\n  server_name theirs.example;\n  return 200 theirs;\n}}\n"
    )
    (nginx / "sites-available/shop").write_text("# written by hand\n")
    before = server.snapshot()
    assert f"{nginx}/sites-enabled/theirs:1" in server.bad({"app": "blog", "name": "theirs.example", "port": port})
    assert f"{nginx}/sites-available/shop" in server.bad({"app": "shop", "name": "shop.example", "port": port})
    assert server.snapshot() == before
    assert not server.good({"app": "shop", "state": "absent"})[0]["changed"]
    (nginx / "sites-enabled/theirs").write_text(f"server {{ listen {server.port} default_server; return 200 x; }}\n")
    before = server.snapshot()
    blog = {"app": "blog", "name": "blog.example", "port": port}
    assert "default_server" in server.bad(blog)
    assert "default_server" in " ".join(server.good(blog, check=True)[0]["warnings"])
    assert server.snapshot() == before


def test_nothing_answers_at_the_port(server: Server) -> None:
    before = server.snapshot()
    port = free_port()
    item = {"app": "blog", "name": "blog.example", "port": port}
    assert f"127.0.0.1:{port} does not answer" in server.bad(item)
    assert server.snapshot() == before
    assert server.good({**item, "check_port": False})[0]["changed"]


def test_nginx_is_stopped(server: Server) -> None:
    item = {"app": "blog", "name": "blog.example", "port": server.app()}
    server.stop()
    before = server.snapshot()
    assert "nginx is not running" in server.bad(item)
    assert server.snapshot() == before


def test_a_configuration_that_does_not_come_to_serve_is_taken_back(server: Server) -> None:
    port = server.app("old")
    server.good({"app": "blog", "name": "blog.example", "port": port})
    before = server.snapshot()
    # Valid for `nginx -t`, which tolerates an address in use, and impossible for the running nginx.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (server.root / "nginx/conf.d/theirs.conf").write_text(
            f"server {{ listen 127.0.0.1:{taken.getsockname()[1]}; return 200 x; }}\n"
        )
        before = server.snapshot()
        result = server.run({"app": "shop", "name": "shop.example", "port": port}, proof_timeout=2)
        outcome = result["results"][0]
        assert "does not serve the new configuration" in outcome["error"]
        assert "Address already in use" in outcome["error"]
        assert not outcome["changed"]
        assert outcome["not_rolled_back"] == []
        assert server.snapshot() == before
    (server.root / "nginx/conf.d/theirs.conf").unlink()
    assert server.get("blog.example")[0] == 200
    assert server.good({"app": "shop", "name": "shop.example", "port": port})[0]["changed"]


def test_a_full_disk_changes_nothing(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    server = Server(disk)
    try:
        server.start()
        port = server.app()
        server.good({"app": "blog", "name": "blog.example", "port": port})
        filler = disk / "filler"
        space = os.statvfs(disk)
        free = space.f_bavail * space.f_frsize
        for left in (0, 4096, 12288, 20480, 28672, 36864):
            before = server.snapshot()
            filler.write_bytes(b"x" * (free - left))
            items = [{"app": f"shop-{number}", "name": f"{number}.example", "port": port} for number in range(4)]
            result = server.run(*items)
            filler.unlink()
            if result["results"] and all(outcome.get("changed") for outcome in result["results"]):
                break
            messages = " ".join([result.get("error", ""), *(o.get("error", "") for o in result["results"])])
            assert "space" in messages or "full" in messages, messages
            assert server.snapshot() == before, left
            assert server.get("blog.example")[0] == 200
        assert server.good(*items)
    finally:
        server.close()
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_domain_of_another_host_of_the_fleet(server: Server, tmp_path: pathlib.Path, cluster: Cluster) -> None:
    port = server.app()
    item = {"app": "blog", "name": "fleet.example", "port": port}
    private = {"app": "blog", "private_url": True, "slug": "of-the-fleet", "port": port}
    other = Server(tmp_path / "other")
    try:
        other.start()
        dsn = cluster.dsn()
        server.good(item, private, registry_dsn=dsn, registry_host="web1")
        message = other.bad(item, private, registry_dsn=dsn, registry_host="web2")
        assert message.count("belongs to the app blog on web1") == 2
        assert not (other.root / "nginx/sites-available/blog").exists()
        assert "belongs to the app blog on web1" in other.bad(
            {**item, "shared": True}, registry_dsn=dsn, registry_host="web2"
        )
        server.good({**item, "shared": True}, registry_dsn=dsn, registry_host="web1")
        other.good({**item, "shared": True}, registry_dsn=dsn, registry_host="web2")
        assert other.get("fleet.example")[0] == server.get("fleet.example")[0] == 200
        assert "belongs to the app blog on web" in server.bad(item, registry_dsn=dsn, registry_host="web1")
        server.good({"app": "blog", "state": "absent"}, registry_dsn=dsn, registry_host="web1")
        other.good(item, private, registry_dsn=dsn, registry_host="web2")
        assert other.get("fleet.example")[0] == 200
    finally:
        other.close()
