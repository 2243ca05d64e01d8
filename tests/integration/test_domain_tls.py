# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_domain with certificates that are provided, or made on the host, against a real nginx."""

from __future__ import annotations

import os
import pathlib
import shutil
import ssl
import subprocess
from collections.abc import Iterator

import pytest
from nginx_server import Server
from tls_client import asked_all_the_time, blog, self_signed

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the module does"),
]


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.close()


def test_probe_and_records_without_certificates(server: Server) -> None:
    port = server.app("blog")
    hosts = {"here.example.com": ["127.0.0.1"], "lost.example.com": []}
    here, lost = ({"app": "blog", "name": name, "port": port, "dns_check": "probe"} for name in hosts)
    found = server.good(here, lost, hosts=hosts)
    assert found[0]["warnings"] == []
    assert found[0]["facts"]["resolves_to"] == ["127.0.0.1"]
    assert "lost.example.com does not resolve" in found[1]["warnings"][0]
    # Loopback is nobody's address: by its records the name leads elsewhere.
    records = {"app": "blog", "name": "records.example.com", "port": port, "dns_check": "records"}
    (told,) = [
        item
        for item in server.good(here, lost, records, hosts={**hosts, "records.example.com": ["127.0.0.1"]})
        if item["name"] == "records.example.com"
    ]
    assert "its A record 127.0.0.1 is not an address of this host" in told["warnings"][0]
    again = server.good(here, lost, records, hosts=hosts)
    assert not any(item["changed"] or item["warnings"] for item in again)


def test_the_internal_authority(server: Server) -> None:
    port = server.app("blog")
    item = blog(port, "www.example.com", tls="internal")
    (found,) = server.good(item)
    root = found["facts"]["tls"]["ca"]
    assert server.get_over_tls("www.example.com", "/", root)[0] == 200
    assert server.get("blog.example.com", "/x")[1]["location"] == f"https://blog.example.com:{server.tls_port}/x"
    assert not server.good(item)[0]["changed"]
    _lose_the_certificate(server, root)
    assert server.good(item)[0]["changed"]
    assert server.get_over_tls("blog.example.com", "/", root)[0] == 200
    assert not server.good(item)[0]["changed"]
    with asked_all_the_time(server, "blog.example.com", root, pause=0.01):
        (more,) = server.good(blog(port, "www.example.com", "new.example.com", tls="internal"))
    assert server.get_over_tls("new.example.com", "/", root)[0] == 200
    assert len(more["facts"]["tls"]["names"]) == 3
    for stranger in ("other.example.com", "127.0.0.1", "serverkit.invalid"):
        with pytest.raises(ssl.SSLError):
            server.get_over_tls(stranger)
    server.good(blog(port, "www.example.com", tls="none"))
    assert server.get("blog.example.com", "/x")[0] == 200
    assert not list((server.root / "ssl").glob("*blog*"))
    with pytest.raises(OSError, match=r"refused|handshake|UNRECOGNIZED|alert"):
        server.get_over_tls("blog.example.com")


def _lose_the_certificate(server: Server, root: str) -> None:
    """Delete it, but for the root that it is from."""
    found = [path for path in (server.root / "ssl/blog").rglob("*") if path.is_file()]
    assert found
    assert root not in map(str, found)
    for path in found:
        path.unlink()


def test_a_certificate_that_is_provided_and_its_successor(server: Server) -> None:
    port = server.app("blog")
    certificate, key = self_signed(server.root, "blog.example.com", "*.blog.example.com")
    item = {
        **blog(port, "*.blog.example.com", tls="provided"),
        "certificate": certificate,
        "private_key": key,
    }
    (found,) = server.good(item)
    assert key not in str(found)
    trusted = str(server.root / "provided.crt")
    assert server.get_over_tls("any.blog.example.com", "/", trusted)[0] == 200
    assert not server.good(item)[0]["changed"]
    # Another item of the app, without the certificate: the domain keeps it.
    server.good({"app": "blog", "name": "second.example.com", "port": port})
    assert server.get_over_tls("blog.example.com", "/", trusted)[0] == 200
    before = server.snapshot()
    other_certificate, other_key = self_signed(server.root, "blog.example.com", "*.blog.example.com")
    message = server.bad({**item, "certificate": other_certificate})
    assert "blog.example.com" in message
    assert server.snapshot() == before
    assert server.good({**item, "certificate": other_certificate, "private_key": other_key})[0]["changed"]
    assert server.get_over_tls("blog.example.com", "/", trusted)[0] == 200
    for path in (server.root / "ssl").rglob("*"):
        if path.is_file() and "PRIVATE KEY" in path.read_text():
            assert path.stat().st_mode & 0o777 == 0o600


def test_a_foreign_default_server_for_tls_is_named(server: Server) -> None:
    port = server.app("blog")
    self_signed(server.root, "theirs.example.com")
    theirs = server.root / "nginx/sites-enabled/theirs"
    theirs.write_text(
        f"server {{ listen {server.tls_port} ssl default_server; server_name theirs.example.com;\n"
        f"ssl_certificate {server.root}/provided.crt; ssl_certificate_key {server.root}/provided.key; }}\n"
    )
    server.good({"app": "blog", "name": "plain.example.com", "port": port})
    before = server.snapshot()
    message = server.bad(blog(port, tls="internal"))
    assert f"{theirs}:1 already is the default_server of port {server.tls_port}" in message
    assert server.snapshot() == before
    theirs.write_text(theirs.read_text().replace(" default_server", "").replace("theirs.ex", "blog.ex"))
    assert f"{theirs}:1, which serverkit.core did not make, has that name" in server.bad(blog(port, tls="internal"))


def test_a_full_disk_at_each_write(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    server = Server(disk)
    try:
        server.start()
        port = server.app()
        server.good(blog(port, tls="internal"))
        filler = disk / "filler"
        space = os.statvfs(disk)
        free = space.f_bavail * space.f_frsize
        item = blog(port, "more.example.com", tls="internal")
        for left in range(0, 65536, 8192):
            before = server.snapshot()
            filler.write_bytes(b"x" * (free - left))
            result = server.run(item)
            filler.unlink()
            if result["results"] and result["results"][0].get("changed") and "error" not in result["results"][0]:
                break
            message = result.get("error") or result["results"][0]["error"]
            assert "space" in message or "full" in message, message
            assert server.snapshot() == before, left
            assert server.get_over_tls("blog.example.com")[0] == 200
        assert left
        server.good(item)
        assert server.get_over_tls("more.example.com")[0] == 200
    finally:
        server.close()
        subprocess.run(["umount", "-l", disk], check=False)
