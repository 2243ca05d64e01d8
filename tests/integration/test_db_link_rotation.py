# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords changed by serverkit_db_link under a client, half-way, and by runs that are killed (SIGKILL)."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import only
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES, FAITHFUL, LinkHost, one, shop

pytestmark = [pytest.mark.real, pytest.mark.testbed]
HOST = LinkHost

INSTANTS = 2


def link(engine: str, **options: Any) -> dict[str, Any]:
    return {"app": "shop", "engine": engine, "services": ["web"], **options}


def password(host: LinkHost, engine: str) -> str:
    return host.secrets()[f"SERVERKIT_LINK_{engine.upper()}_PASSWORD"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_that_never_stops_does_not_notice(host: LinkHost, engine: str) -> None:
    only(host.call(shop()))
    one(host.link(link(engine)))
    with host.client(engine):
        for _time in range(2):  # PostgreSQL goes to its second login and back
            before = password(host, engine)
            rotated = one(host.link(link(engine, rotate=True)))
            assert (rotated["rotated"], rotated["proven"]) == (True, "container shop-web-1")
            assert password(host, engine) != before
    assert one(host.link(link(engine)))["changed"] is False


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rotation_that_the_app_does_not_survive_is_taken_back(host: LinkHost, engine: str) -> None:
    only(host.call(shop(FAITHFUL)))
    one(host.link(link(engine)))
    before = host.secrets()
    with host.client(engine):
        failed = host.link(link(engine, rotate=True))
    assert failed["failed"]
    assert any("former password" in step for step in failed["results"][0]["rolled_back"]), failed
    assert host.secrets() == before
    assert host.get(8001) == "hello"
    assert one(host.link(link(engine)))["changed"] is False


@pytest.mark.parametrize("engine", ENGINES)
def test_runs_that_are_killed_are_finished_by_the_next_one(host: LinkHost, engine: str) -> None:
    """Link, rotate and unlink, each killed at random instants: the next run converges, and the data is there."""
    only(host.call(shop()))
    begin = time.monotonic()
    one(host.link(link(engine)))
    duration = time.monotonic() - begin
    if engine != "redis":
        host.sql(engine, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42);", "shop")
    for _instant in range(INSTANTS):
        for change in ({"rotate": True}, {"state": "absent"}, {}):
            host.link_killed(link(engine, **change), after=random.uniform(0.1, duration))
            settled = one(host.link(link(engine, state=change.get("state", "present"))))
            assert settled["state"] == change.get("state", "present")
            again = one(host.link(link(engine, state=change.get("state", "present"))))
            assert again["changed"] is False, again
        assert only(host.call(shop()))["changed"] is False
    assert "SERVERKIT_LINK" in host.sh("cat /var/serverkit/apps/shop/.env")
    if engine != "redis":
        assert host.sql(engine, "SELECT n FROM kept;", "shop") == "42"
    with host.client(engine):
        assert host.get(8001) == "hello"
