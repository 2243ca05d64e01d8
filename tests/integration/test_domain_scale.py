# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hundreds of domains in one task, and hundreds of changes under load: nobody else notices."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from nginx_server import Server

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the module does"),
]


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.close()


@contextlib.contextmanager
def wrk(url: str, host: str) -> Iterator[None]:
    """Load a page for as long as the block takes, and fail when one request fails.

    Each request has its own connection. At a reload nginx closes connections that are idle, and a client that sends at
    that moment has to send again (RFC 9112, section 9.3.1); browsers do, wrk counts it as an error. So it does with an
    answer that takes 2 seconds, unless it is told to be more patient: this machine may be busy with other tests.
    """
    argv = ["wrk", "-t", "1", "-c", "4", "-d", "600", "--timeout", "30s"]
    argv += ["-H", f"Host: {host}", "-H", "Connection: close", url]
    load = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        load.send_signal(2)  # wrk ends with its report
        report = load.communicate(timeout=60)[0]
    assert re.search(r"[1-9]\d* requests in", report), report
    assert "Non-2xx" not in report, report
    assert "Socket errors" not in report, report


def domains(port: int, count: int = 200, apps: int = 50, **more: Any) -> list[dict[str, Any]]:
    return [
        {"app": f"app-{number % apps}", "name": f"site-{number}.example.com", "port": port, **more}
        for number in range(count)
    ]


def test_two_hundred_domains_of_fifty_apps_are_one_test_and_one_reload(server: Server) -> None:
    items = domains(server.app(), tls="internal", check_port=False)
    made = server.run(*items)
    assert all(outcome.get("changed") for outcome in made["results"]), made
    assert sum("-t" in call.split() for call in made["calls"]) == 1
    assert sum("reload" in call for call in made["calls"]) == 1
    root = made["results"][0]["facts"]["tls"]["ca"]
    for number in (0, 99, 199):
        assert server.get_over_tls(f"site-{number}.example.com", "/", root)[0] == 200
    again = server.run(*items)
    assert not any(outcome["changed"] for outcome in again["results"])
    one = server.run(items[0])
    assert again["calls"] == one["calls"], "an unchanged run starts as many programs for all as for one"


def options(attempt: int) -> dict[str, Any]:
    """Return a task: private URLs below a domain of their own, and below /p/, in turn."""
    below = {"name": "apps.example.com", "tls": "internal"} if attempt % 3 else {"name": ""}
    return {"exclusive": True, "private_domain": below}


def changes(port: int, attempt: int) -> list[dict[str, Any]]:
    """Return other items each time: new aliases, HTTPS and HTTP, private URLs, and everything gone."""
    if attempt % 4 == 3:
        return [{"app": f"app-{number}", "state": "absent"} for number in range(2)]
    found = domains(port, 4, 2, tls=("none", "internal")[attempt % 2])
    private = [{"app": f"app-{number}", "private_url": True, "port": port} for number in range(attempt % 4)]
    return [{**item, "aliases": [f"alias-{attempt % 3}.{item['name']}"]} for item in found] + private[:2]


def assert_served(server: Server, outcomes: list[dict[str, Any]]) -> None:
    for outcome in outcomes:
        facts = outcome["facts"]
        if (facts.get("url") or "").startswith("https:"):
            host = facts["url"].removeprefix("https://").rstrip("/")
            assert server.get_over_tls(host, "/", facts["tls"]["ca"])[0] == 200
        elif facts["state"] == "present":
            place = (outcome["name"], "/") if facts["kind"] == "domain" else ("192.0.2.1", facts["path"])
            assert server.get(*place)[0] == 200


def test_a_hundred_changes_under_load_and_killed_runs_that_the_next_one_repairs(server: Server) -> None:
    port = server.app()
    server.good({"app": "other", "name": "other.example.com", "port": port})
    generator = random.Random(4)
    killed = 0
    with wrk(f"http://127.0.0.1:{server.port}/", "other.example.com"):
        for attempt in range(25):
            items = changes(port, attempt)
            argv, text, environment = server.command(*items, **options(attempt))
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
            )
            assert process.stdin is not None
            process.stdin.write(text)
            process.stdin.close()
            time.sleep(generator.uniform(0.3, 1.3))
            killed += process.poll() is None
            process.kill()
            process.wait()
            # What is on disk is valid at any instant: a reload by somebody else, or a reboot, must not fail.
            tested = subprocess.run(["nginx", "-t", "-c", server.conf], capture_output=True, text=True, check=False)
            assert tested.returncode == 0, tested.stderr
            if attempt % 3 == 2:  # what killed runs have left adds up until somebody repairs it
                assert_served(server, server.good(*items, **options(attempt)))
                assert not any(outcome["changed"] for outcome in server.good(*items, **options(attempt)))
        server.good(*changes(port, 3), **options(3))
    assert killed > 5
    litter = [path for path in (server.root / "nginx").rglob(".*") if path.name.startswith(".")]
    assert litter == []
