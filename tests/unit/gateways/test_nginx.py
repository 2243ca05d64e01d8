# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading nginx's files, and what is made of what it says; a real nginx is driven in tests/integration."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import web
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Expectation, Nginx
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    HEADER,
    Content,
    FileChange,
    Layout,
    NginxVersion,
    TlsFiles,
)
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

GOOD = Completed(0, "", "")


@pytest.fixture
def layout(tmp_path: pathlib.Path) -> Layout:
    for name in ("conf.d", "sites-available", "sites-enabled"):
        (tmp_path / "nginx" / name).mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    found = Layout(str(tmp_path / "nginx"), str(tmp_path / "logs"), str(tmp_path / "run"), 8080)
    pathlib.Path(found.main).write_text(
        f"pid {tmp_path}/pid;\nerror_log {tmp_path}/logs/error.log;\n"
        "http { include conf.d/*.conf; include " + found.configuration + "/sites-enabled/*; }\n"
    )
    return found


def put(path: str, text: str) -> None:
    pathlib.Path(path).write_text(text)


def nginx(layout: Layout, answer: Callable[[Sequence[str]], Completed] = lambda _argv: GOOD) -> Nginx:
    return Nginx(FakeCommands(answer=answer), layout)


def test_the_configuration_of_others(layout: Layout) -> None:
    put(layout.enabled("theirs"), "server { listen 8080; server_name a.com; }\n")
    put(layout.enabled("ours"), HEADER + "server { listen 8080; server_name b.com; }\n")
    put(layout.enabled("broken"), "server { server_name c.com;\n")
    put(f"{layout.configuration}/conf.d/x.conf", "server_names_hash_bucket_size 128;\n")
    put(f"{layout.configuration}/conf.d/x.off", "server { server_name d.com; }\n")
    os.symlink("nowhere", layout.enabled("dangling"))
    found = nginx(layout).configuration()
    assert [(block.path, block.names) for block in found.servers] == [(layout.enabled("theirs"), ("a.com",))]
    assert found.sets_names_hash
    assert found.includes_path(layout.shared)
    assert found.includes_path(layout.enabled("blog"))
    assert not found.includes_path(layout.available("blog"))
    assert found.error_log.endswith("logs/error.log")


def test_no_nginx_at_all(tmp_path: pathlib.Path) -> None:
    found = nginx(Layout(str(tmp_path / "none"))).configuration()
    assert found.servers == ()
    assert not nginx(Layout(str(tmp_path / "none"))).running()


def test_an_include_that_goes_round_in_circles(layout: Layout) -> None:
    put(layout.enabled("round"), f"include {layout.configuration}/sites-enabled/*;\n")
    assert nginx(layout).configuration().servers == ()


def test_the_staged_copy_is_private_and_goes_away(layout: Layout) -> None:
    put(layout.enabled("theirs"), f"ssl_certificate {layout.configuration}/key.pem;\n")
    seen: dict[str, str] = {}

    def look(argv: Sequence[str]) -> Completed:
        staged = pathlib.Path(argv[-1]).parent
        seen["mode"] = f"{staged.stat().st_mode & 0o777:o}"
        seen["theirs"] = (staged / "sites-enabled/theirs").read_text()
        seen["link"] = os.readlink(staged / "sites-enabled/blog")
        seen["blog"] = (staged / "sites-enabled/blog").read_text()
        seen["staged"] = str(staged)
        complaint = (
            f'2026/01/01 nginx: [warn] x\nnginx: [emerg] unknown directive "bogus" in {staged}/sites-enabled/x:3\n'
        )
        return Completed(1, "", complaint)

    changes = [
        FileChange(layout.available("blog"), None, Content("# text\n")),
        FileChange(layout.enabled("blog"), None, Content(layout.available("blog"), link=True)),
    ]
    problem = nginx(layout, look).problem_after(changes)
    assert problem == f'{layout.configuration}/sites-enabled/x:3: unknown directive "bogus"'
    assert seen["mode"] == "700"
    assert seen["theirs"] == f"ssl_certificate {seen['staged']}/key.pem;\n"
    assert seen["link"] == f"{seen['staged']}/sites-available/blog"
    assert seen["blog"] == "# text\n"
    assert not os.path.exists(seen["staged"])
    assert not os.path.exists(layout.available("blog"))


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (
            "nginx: [emerg] bind() to [::]:80 failed (98: Address already in use)\n",
            "bind() to [::]:80 failed (98: Addr",
        ),
        ("something else\n", "something else"),
        ("", "without a reason"),
    ],
)
def test_complaints_without_a_place(layout: Layout, stderr: str, expected: str) -> None:
    assert expected in nginx(layout, lambda _argv: Completed(1, "", stderr)).problem()


def test_a_reload_that_is_refused(layout: Layout) -> None:
    with pytest.raises(HostError, match="invalid PID"):
        nginx(layout, lambda _argv: Completed(1, "", 'nginx: [emerg] invalid PID number ""')).reload()


def test_what_a_killed_run_leaves_is_swept_up(layout: Layout) -> None:
    path = layout.available("blog")
    for name in (".blog.x7Yz_123", ".blog.serverkit-aside", "blog", "blog-2", ".blog-2.abc", "blog.bak"):
        put(layout.available(name), "")
    nginx(layout).sweep(path)
    assert sorted(os.listdir(os.path.dirname(path))) == [".blog-2.abc", "blog", "blog-2", "blog.bak"]


def test_new_logs_are_not_for_everybody(layout: Layout) -> None:
    made = nginx(layout).make_logs("blog")
    assert made == [layout.log("blog", "access"), layout.log("blog", "error")]
    assert {os.stat(path).st_mode & 0o777 for path in made} == {0o640}
    assert nginx(layout).make_logs("blog") == []


def test_what_serious_the_log_says_since(layout: Layout) -> None:
    log = f"{layout.logs}/error.log"
    put(log, "2026/01/01 00:00:00 [emerg] 1#1: old in /x:1\n")
    gateway = nginx(layout)
    position = gateway.log_position()
    assert gateway.complaint_since(position) == ""
    with open(log, "a") as stream:
        stream.write("2026/01/01 00:00:00 [notice] 1#1: fine\n2026/01/01 00:00:00 [emerg] 1#1: bind() failed\n")
    assert gateway.complaint_since(position) == "bind() failed"


def test_waiting_for_the_new_configuration(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = itertools.chain(["old", "new", "old"], itertools.repeat("new"))
    pauses: list[float] = []

    def get(_address: str, _port: int, path: str, _host: str, timeout: float) -> web.Response:
        return web.Response(200, {}, next(answers).encode()) if path == "/proof" else web.Response(404, {}, b"")

    monkeypatch.setattr(web, "get", get)
    gateway = nginx(layout)
    expected = [Expectation("a.com", "/proof", "new"), Expectation("a.com", "/gone", "old", gone=True)]
    assert gateway.unproven(expected, timeout=5, settle=0.01, pause=pauses.append) == ""
    assert len(pauses) > 3
    problem = gateway.unproven([Expectation("a.com", "/proof", "newer")], timeout=0, settle=0, pause=pauses.append)
    assert "http://a.com/proof is answered with 'new', and not with newer" in problem


def test_the_version(layout: Layout) -> None:
    said = "nginx version: nginx/1.18.0 (Ubuntu)\n"
    assert nginx(layout, lambda _argv: Completed(0, "", said)).version() == NginxVersion(1, 18, 0)
    with pytest.raises(HostError, match="it says 'openresty'"):
        nginx(layout, lambda _argv: Completed(0, "", "openresty")).version()


def test_the_user_who_reads_password_files(layout: Layout) -> None:
    built = "configure arguments: --prefix=/usr/share/nginx --user=nginx --group=nginx"
    assert nginx(layout, lambda _argv: Completed(0, "", built)).worker_user() == "nginx"
    assert nginx(layout).worker_user() == "www-data"
    put(layout.main, "user web web;\n")
    assert nginx(layout).worker_user() == "web"


def test_our_files_that_serve_certificates(layout: Layout) -> None:
    put(layout.enabled("plain"), HEADER + "server {\n    server_name a.com;\n}\n")
    put(layout.enabled("tls"), HEADER + "server {\n    server_name b.com;\n    ssl_certificate /x;\n}\n")
    put(layout.enabled("theirs"), "server {\n    server_name c.com;\n    ssl_certificate /x;\n}\n")
    assert nginx(layout).configuration().with_tls == {layout.enabled("tls")}


def test_the_directories_of_our_files(layout: Layout) -> None:
    placed = replace(layout, webroot=f"{layout.runtime}/webroot")
    nginx(placed).make_directories()
    modes = {path: os.stat(path).st_mode & 0o777 for path in (placed.private_directory, placed.auth_directory)}
    assert list(modes.values()) == [0o700, 0o711]
    assert os.stat(f"{placed.webroot}/.well-known/acme-challenge").st_mode & 0o777 == 0o755
    assert os.stat(f"{placed.webroot}/.well-known/serverkit-probe").st_mode & 0o777 == 0o755


PEM = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"


def test_a_proof_over_tls_is_one_of_the_very_certificate(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{layout.configuration}/chain.pem"
    put(path, PEM + PEM.replace("AQID", "BAUG"))
    shown = [b"\x01\x02\x03"]
    asked: list[tuple[object, ...]] = []

    def get_over_tls(address: str, port: int, where: str, name: str, timeout: float) -> web.Response:
        asked.append((address, port, where, name))
        return web.Response(200, {}, b"proof", shown[0])

    monkeypatch.setattr(web, "get_over_tls", get_over_tls)
    tls = TlsFiles(path, "key", ("a.com",))
    assert nginx(layout).answer("a.com", "/x", tls) == "proof"
    assert asked == [("127.0.0.1", layout.tls_port, "/x", "a.com")]
    assert nginx(layout).unproven([Expectation("a.com", "/x", "proof", tls=tls)], timeout=0, settle=0) == ""
    shown[0] = b"\x04\x05\x06"
    problem = nginx(layout).unproven([Expectation("a.com", "/x", "proof", tls=tls)], timeout=0, settle=0)
    assert problem == (
        f"https://a.com/x is answered with 'another certificate than the one in {path}', and not with proof"
    )
    os.unlink(path)
    assert nginx(layout).answer("a.com", "/x", tls).startswith("another certificate")
