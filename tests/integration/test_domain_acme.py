# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_domain with certificates of an authority: a real nginx, a real certbot and a real ACME server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import random
import re
import shutil
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import acme_authority
import pytest
from acme_authority import Authority
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from nginx_server import Server
from tls_client import asked_all_the_time, blog, names_of, self_signed

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the module does"),
]


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with acme_authority.running() as found:
        yield found


@pytest.fixture
def server(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """An nginx; where the test has an authority, at the port where that looks for proofs."""
    found = Server(tmp_path)
    if "authority" in request.fixturenames:
        found.port = request.getfixturevalue("authority").http_port
    found.start()
    yield found
    found.close()


def acme(authority: Authority) -> dict[str, Any]:
    return {"directory": authority.directory, "ca_bundle": authority.ca_bundle}


def roots(server: Server, authority: Authority) -> str:
    path = server.root / "roots.pem"
    path.write_text(authority.roots())
    return str(path)


def orders(server: Server) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{server.root}/registry.db?mode=ro", uri=True)) as registry:
        return [row[0] for row in registry.execute("SELECT outcome FROM certificate_orders ORDER BY at")]


def refuses(server: Server, name: str) -> bool:
    """Return whether nobody listens any more; for a moment after a reload, workers of before still do."""
    try:
        server.get_over_tls(name)
    except ConnectionRefusedError:
        return True
    return False


def serial(server: Server, name: str, trusted: str) -> str:
    return str(server.get_over_tls(name, "/", trusted)[3]["serialNumber"])


def test_a_domain_with_two_aliases_then_another_one_more_and_one_less(server: Server, authority: Authority) -> None:
    port, trusted, ca = server.app("blog"), roots(server, authority), acme(authority)
    item = blog(port, "www.example.com", "old.example.com")
    (first,) = server.good(item, acme=ca)
    assert first["changed"]
    assert first["facts"]["url"] == "https://blog.example.com/"
    assert first["facts"]["tls"]["days_left"] >= 88
    assert set(first["facts"]["tls"]["names"]) == {"blog.example.com", "www.example.com", "old.example.com"}
    for name in ("blog.example.com", "www.example.com", "old.example.com"):
        status, headers, _body, certificate = server.get_over_tls(name, "/a?b=c", trusted)
        assert (status, headers["x-app"]) == (200, "blog")
        assert len(names_of(certificate)) == 3
        status, headers, _body = server.get(name, "/a%20b?x=1&y=%2F")
        assert (status, headers["location"]) == (301, f"https://{name}:{server.tls_port}/a%20b?x=1&y=%2F")
    again = server.run(item, acme=ca)
    assert not again["results"][0]["changed"]
    assert [call for call in again["calls"] if "certbot" in call or "-t" in call.split()] == []
    assert orders(server) == ["issued"]
    with asked_all_the_time(server, "blog.example.com", trusted):
        server.good(blog(port, "www.example.com", "old.example.com", "new.example.com"), acme=ca)
        assert len(names_of(server.get_over_tls("new.example.com", "/", trusted)[3])) == 4
        server.good(blog(port, "www.example.com", "new.example.com"), acme=ca)
    certificate = server.get_over_tls("new.example.com", "/", trusted)[3]
    assert names_of(certificate) == {"blog.example.com", "www.example.com", "new.example.com"}
    assert orders(server) == ["issued"] * 3
    assert not server.good(blog(port, "www.example.com", "new.example.com"), acme=ca)[0]["changed"]
    gone = server.good({"app": "blog", "state": "absent"}, acme=ca)
    assert gone[0]["changed"]
    assert not (server.root / "letsencrypt/live/serverkit-blog").exists()
    until(lambda: refuses(server, "blog.example.com"))


def test_a_renewal_is_no_change_and_one_that_nginx_missed_is(server: Server, authority: Authority) -> None:
    item, trusted, ca = blog(server.app("blog")), roots(server, authority), acme(authority)
    server.good(item, acme=ca)
    places = [f"--{kind}-dir={server.root}/letsencrypt" for kind in ("config", "work", "logs")]
    renew = ["certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew", *places]
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": authority.ca_bundle}
    for hook in ([], ["--deploy-hook", f"nginx -c {server.conf} -s reload"]):  # certbot remembers a hook
        before = serial(server, "blog.example.com", trusted)
        subprocess.run([*renew, *hook], check=True, capture_output=True, env=environment)
        if hook:  # it returns before the new configuration answers

            def renewed(before: str = before) -> bool:
                return serial(server, "blog.example.com", trusted) != before

            until(renewed)
        (found,) = server.good(item, acme=ca)
        assert found["changed"] is not bool(hook)
        assert serial(server, "blog.example.com", trusted) != before
    assert not server.good(item, acme=ca)[0]["changed"]
    assert orders(server) == ["issued"]


def test_wildcards_and_private_urls_below_a_domain_of_their_own(tmp_path: pathlib.Path) -> None:
    zone = acme_authority.ZONE
    with acme_authority.running(zone=True) as authority:
        server = Server(tmp_path)
        server.port = authority.http_port
        credentials = {
            "server": "127.0.0.1",
            "port": str(authority.dns_port),
            "name": acme_authority.TSIG_NAME,
            "secret": authority.tsig_secret,
            "algorithm": "HMAC-SHA512",
        }
        ca = {**acme(authority), "dns_plugin": "rfc2136", "dns_credentials": credentials, "dns_propagation": 1}
        task = {"acme": ca, "private_domain": {"name": f"apps.{zone}", "tls": "letsencrypt"}}
        try:
            server.start()
            port, trusted = server.app("blog"), roots(server, authority)
            wildcard = blog(port, f"*.{zone}", name=zone, challenge="dns-01")
            private = {"app": "blog", "private_url": True, "port": port}
            found = server.good(wildcard, private, **task)
            url = found[1]["facts"]["url"]
            name = url.removeprefix("https://").rstrip("/")
            assert name.endswith(f".apps.{zone}")
            for host in (zone, f"any.{zone}", name):
                assert server.get_over_tls(host, "/", trusted)[1]["x-app"] == "blog"
            assert server.get_over_tls(f"unknown.apps.{zone}", "/", trusted)[0] == 404
            assert not any(outcome["changed"] for outcome in server.good(wildcard, private, **task))
            assert orders(server) == ["issued", "issued"]
            # The last private URL goes, and so does what it was served with; nobody has to say which domain that was.
            server.good({**private, "state": "absent"})
            assert not (server.root / "letsencrypt/live/serverkit-serverkit.dns").exists()
            with pytest.raises(ssl.SSLCertVerificationError):
                server.get_over_tls(name, "/", trusted)
            assert server.get_over_tls(zone, "/", trusted)[0] == 200
        finally:
            server.close()


def killed(server: Server, item: dict[str, Any], ca: dict[str, Any], wait: Callable[[], object]) -> None:
    """Start a run, and kill it after having waited."""
    argv, text, environment = server.command(item, acme=ca)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    wait()
    process.kill()
    process.wait()


def until(seen: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_certbot_keeps_the_lock_of_a_killed_run(server: Server, authority: Authority) -> None:
    """The hook holds certbot until the test has looked."""
    started, go_on, hook = (server.root / name for name in ("started", "go-on", "hook"))
    hook.write_text(f"#!/bin/sh\ntouch {started}\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    item = blog(server.app("blog"), challenge="dns-01")
    killed(server, item, {**acme(authority), "auth_hook": str(hook)}, lambda: until(started.exists))
    with (server.root / "locks/nginx.lock").open() as lock:

        def free() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        assert not free()
        go_on.touch()
        until(free)


def test_killed_while_it_orders_the_next_run_converges(server: Server, authority: Authority) -> None:
    port, ca, trusted = server.app("blog"), acme(authority), roots(server, authority)
    server.good({"app": "other", "name": "other.example.com", "port": port, "tls": "internal"})
    names: list[str] = []
    generator = random.Random(5)
    for attempt in range(3):
        names.append(f"n{attempt}.example.com")
        pause = generator.uniform(0.6, 2.4)
        killed(server, blog(port, *names), ca, partial(time.sleep, pause))
        tested = subprocess.run(["nginx", "-t", "-c", server.conf], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        server.good(blog(port, *names), acme=ca)
        for name in names:
            assert server.get_over_tls(name, "/", trusted)[0] == 200
        assert server.get_over_tls("other.example.com")[0] == 200
    assert not server.good(blog(port, *names), acme=ca)[0]["changed"]


def test_an_authority_that_is_down_leaves_http_and_the_next_run_goes_on(server: Server, authority: Authority) -> None:
    port, ca = server.app("blog"), acme(authority)
    authority.stop()
    try:
        message = server.bad(blog(port), acme=ca)
        assert "no certificate for blog.example.com" in message
        assert "Could not reach the certificate authority" in message
        assert server.get("blog.example.com")[0] == 200
        again = server.run(blog(port), acme=ca)["results"][0]
        assert not again["changed"]
        assert again["error"] == message
        assert orders(server) == [], "what does not reach the authority counts for nothing"
    finally:
        authority.start()
    assert server.good(blog(port), acme=ca)[0]["facts"]["url"].startswith("https:")


def test_a_name_that_leads_elsewhere_is_not_asked_for(server: Server, authority: Authority) -> None:
    """The others of the domain get their certificate; the domain has failed, for it is not as it should be."""
    port, ca = server.app("blog"), acme(authority)
    hosts = {"blog.example.com": ["127.0.0.1"], "lost.example.com": [], "far.example.com": ["127.0.0.1"]}
    stranger = {"dns_check": "probe"}
    result = server.run(blog(port, "lost.example.com", **stranger), acme=ca, hosts=hosts)["results"][0]
    assert "lost.example.com does not resolve" in result["error"]
    assert result["changed"]
    trusted = roots(server, authority)
    assert server.get_over_tls("blog.example.com", "/", trusted)[0] == 200
    assert server.get("lost.example.com")[0] == 200
    assert not (server.root / "webroot/.well-known/serverkit-probe").exists() or not list(
        (server.root / "webroot/.well-known/serverkit-probe").iterdir()
    )
    again = server.run(blog(port, "lost.example.com", **stranger), acme=ca, hosts=hosts)["results"][0]
    assert "lost.example.com does not resolve" in again["error"]
    assert not again["changed"]
    assert orders(server) == ["issued"]
    hosts["lost.example.com"] = ["127.0.0.1"]
    assert server.good(blog(port, "lost.example.com", **stranger), acme=ca, hosts=hosts)[0]["changed"]
    assert server.get_over_tls("lost.example.com", "/", trusted)[0] == 200


def test_a_challenge_that_fails_says_so(server: Server, authority: Authority) -> None:
    port, ca = server.app("blog"), acme(authority)
    authority.say("add-a", host="blog.example.com.", addresses=["192.0.2.1"])
    try:
        result = server.run(blog(port), acme=ca)["results"][0]
        assert "blog.example.com" in result["error"]
        assert server.get("blog.example.com")[0] == 200
        assert orders(server) == ["failed"]
        with open_registry(Settings(), read_only=False, path=f"{server.root}/registry.db") as registry:
            (order,) = registry.certificate_orders()
            with registry.transaction():
                for _time in range(2):
                    registry.add_certificate_order(order)
        waiting = server.run(blog(port), acme=ca)
        assert "The next try is possible at 20" in waiting["results"][0]["error"]
        assert not waiting["results"][0]["changed"]
        assert [call for call in waiting["calls"] if "certbot" in call] == []
        assert orders(server) == ["failed"] * 3
    finally:
        authority.say("clear-a", host="blog.example.com.")


def test_an_authority_that_has_enough_of_us(server: Server, authority: Authority) -> None:
    port, answers, detail = server.app("blog"), list[Callable[[], acme_authority.Answer]](), "too many new orders"
    problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": detail}
    answers.append(lambda: (429, {"Retry-After": "7200"}, problem))
    with acme_authority.in_front_of(authority, answers) as directory:
        ca = {**acme(authority), "directory": directory}
        item, other = blog(port), {"app": "other", "name": "other.example.com", "port": port}
        asked = datetime.now(timezone.utc).replace(microsecond=0)
        refused, served = server.run(item, other, acme=ca)["results"]
        assert detail in refused["error"]
        (until_when,) = re.findall(r"The next try is possible at (\S+Z)", refused["error"])
        wait = datetime.fromisoformat(until_when.replace("Z", "+00:00")) - asked
        assert timedelta(hours=2) <= wait < timedelta(hours=2, minutes=2)
        assert (refused["changed"], served["changed"]) == (True, True)
        for name in ("blog.example.com", "other.example.com"):
            assert server.get(name)[0] == 200
        for later in (0, 7000):
            waiting = server.run(item, acme=ca, later=later)
            assert f"possible at {until_when}" in waiting["results"][0]["error"]
            assert not waiting["results"][0]["changed"]
            assert [call for call in waiting["calls"] if "certbot" in call] == []
        assert orders(server) == ["rate_limited"]
        answers.clear()
        assert server.good(item, acme=ca, later=7400)[0]["facts"]["url"] == "https://blog.example.com/"
    assert orders(server) == ["rate_limited", "issued"]


def test_nothing_is_ordered_when_nginx_cannot_prove_it(server: Server, authority: Authority) -> None:
    port, ca = server.app("blog"), acme(authority)
    server.good({"app": "other", "name": "other.example.com", "port": port})
    items = [blog(port), {"app": "int", "name": "int.example.com", "port": port, "tls": "internal"}]
    foreign = server.root / "nginx/sites-enabled/theirs"
    foreign.write_text("server {\n    bogus on;\n}\n")
    before = server.snapshot()
    assert f"{foreign}:2" in server.bad(*items, acme=ca)
    assert server.snapshot() == before
    foreign.unlink()
    server.stop()
    before = server.snapshot()
    assert "nginx is not running" in server.bad(*items, acme=ca)
    assert server.snapshot() == before
    assert orders(server) == []
    assert not [path for path in (server.root / "ssl/int").rglob("*") if path.is_file()]
    server.start()
    server.good(*items, acme=ca)
    assert orders(server) == ["issued"]


def test_check_mode_shows_it_and_writes_nothing(server: Server, authority: Authority) -> None:
    port = server.app("blog")
    certificate, key = self_signed(server.root, "own.example.com")
    items = [
        blog(port),
        {"app": "int", "name": "int.example.com", "port": port, "tls": "internal"},
        {
            "app": "own", "name": "own.example.com", "port": port, "tls": "provided",
            "certificate": certificate, "private_key": key,
        },
    ]  # fmt: skip
    files = sorted(map(str, server.root.rglob("*")))
    before = server.snapshot()
    found = server.good(*items, acme=acme(authority), check=True)
    assert all(outcome["changed"] for outcome in found)
    shown = str([outcome["diffs"] for outcome in found])
    assert "letsencrypt/live/serverkit-blog/fullchain.pem" in shown
    assert key.splitlines()[1] not in shown
    assert server.snapshot() == before
    assert sorted(map(str, server.root.rglob("*"))) == files
