# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_restore on a real host, of apps that are not there: moved to an empty host, or beside the original."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import ids, only, wait_for
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES, shop
from ansible_collections.serverkit.core.tests.integration.placement_host import NAMED, PlacementHost

pytestmark = [pytest.mark.real, pytest.mark.testbed]

HOST = PlacementHost


@pytest.fixture(scope="module")
def host(machine: PlacementHost) -> Iterator[PlacementHost]:
    """The server with the app on it; tests leave it as they find it, or take the app away first."""
    machine.deploy()
    yield machine
    machine.clean()


@pytest.fixture(scope="module")
def sets(host: PlacementHost) -> tuple[str, str]:
    """A set that is good, and one that the app does not get healthy with."""
    return host.back_up_twice()


def moved(host: PlacementHost) -> None:
    """Check that the app is what it was when the set was made."""
    assert host.sh(f"cat {APP}/data/notes/note /srv/media/file") == "first\nfirst"
    assert [host.posts(engine) for engine in ENGINES] == ["one\ntwo"] * len(ENGINES)
    for engine in ENGINES:
        assert host.link({"app": "shop", "engine": engine, **host.prefix(engine)})["changed"] is False
    assert host.sh("ls -A /var/serverkit/restores", fails=True) == ""


APP = "/var/serverkit/apps/shop"


def test_a_copy_lives_beside_the_original_and_shares_nothing_with_it(
    host: PlacementHost, sets: tuple[str, str]
) -> None:
    before, containers, files = host.secrets(), ids(host, "shop"), host.sh(f"cat {APP}/.env")
    copied = only(host.restore_as("twin", sets[0]))
    port = copied["ports"]["HTTP_PORT"]
    assert (host.get(port), port == 8001) == ("first", False)
    assert [host.posts(engine, "twin") for engine in ENGINES] == ["one\ntwo"] * len(ENGINES)
    told = host.environment("twin")
    assert (told["DB_NAME"], told["DB_USER"], told["REPORTS_DB_NAME"]) == ("twin", "twin", "twin")
    assert not set(host.secrets("twin").values()) & set(before.values())
    # Each writes to its own.
    host.sh("echo second > /srv/media/file; docker exec twin-web-1 sh -c 'echo third > /media/file; echo x > /files/x'")
    host.sql("mariadb", "DELETE FROM posts;", "twin")
    assert host.sh("docker exec the-shop cat /media/file; cat /srv/media/file") == "second\nsecond"
    assert host.sh("docker exec the-shop ls /files") == "index.html"
    assert host.posts("mariadb") == "one\ntwo"
    assert host.page() == "first"
    assert (ids(host, "shop"), host.sh(f"cat {APP}/.env")) == (containers, files)
    joined = json.loads(host.sh("docker inspect -f '{{json .NetworkSettings.Networks}}' twin-web-1"))
    # Its other services find it under the name that it had.
    assert "the-shop" in joined["twin_default"]["Aliases"]
    assert set(joined) == {"twin_default"}
    assert host.link({"app": "twin", "engine": "mariadb"})["changed"] is False


def test_what_is_in_the_way_is_told_before_anything_is_touched(host: PlacementHost, sets: tuple[str, str]) -> None:
    host.sh("docker volume create --label com.docker.compose.project=third third_files")
    host.sql("mariadb", "CREATE DATABASE fourth;")
    host.sh("mkdir -p /var/serverkit/apps/fifth; echo SECRET=x > /var/serverkit/apps/fifth/.env")
    before = host.everything()
    for name, reason in {
        "third": "there are volumes of that name: third_files",
        "fourth": "the database fourth of",
        "fifth": "there is an app of that name, or its data",
    }.items():
        refused = host.restore_as(name, sets[0])
        assert refused["failed"], name
        assert reason in refused["msg"]
        assert host.everything() == before


def test_an_app_that_does_not_get_healthy_leaves_nothing_behind(host: PlacementHost, sets: tuple[str, str]) -> None:
    before = host.everything()
    failed = host.restore_as("sick", sets[1])
    assert failed["failed"]
    assert "All that was made of sick was removed again" in failed["msg"]
    assert host.everything() == before


def test_an_app_is_made_on_an_empty_host_of_its_set_alone(host: PlacementHost, sets: tuple[str, str]) -> None:
    secrets = host.secrets()
    host.purge()
    host.sh("docker network rm outside")
    empty = host.everything()
    refused = host.restore(set=sets[0])
    assert "networks of others that are not on this host: outside" in refused["msg"]
    host.sh("docker network create outside")
    planned = only(host.restore(set=sets[0], check=True))
    assert (planned["set"], planned["ports"]) == (sets[0], {"HTTP_PORT": 8001})
    host.sh("docker network rm outside")
    assert host.everything() == empty
    host.sh("docker network create outside")
    restored = only(host.restore(set=sets[0]))
    assert (restored["set"], restored["databases"]["mariadb"]["rows"]) == (sets[0], 2)
    moved(host)
    # The passwords are those that it had, and its containers know them.
    assert host.secrets() == secrets
    assert host.sh("docker exec the-shop printenv DB_PASSWORD") == secrets["SERVERKIT_LINK_MARIADB_PASSWORD"]
    assert (host.page(), host.sh("docker volume inspect -f '{{.Name}}' precious")) == ("first", "precious")
    # What deploys apps finds nothing to do.
    assert only(host.call(shop(NAMED)))["changed"] is False


def test_a_port_that_is_taken_becomes_another(host: PlacementHost, sets: tuple[str, str]) -> None:
    host.purge()
    host.sh("setsid python3 -m http.server 8001 --bind 127.0.0.1 >/dev/null 2>&1 & echo $! > /root/listener")
    assert wait_for(lambda: host.get(8001))
    try:
        restored = only(host.restore(set=sets[0]))
        port = restored["ports"]["HTTP_PORT"]
        assert port != 8001
        assert host.get(port) == "first"
        assert (port, "shop", "HTTP_PORT") in host.leases()
        assert only(host.call(shop(NAMED, variables={"HTTP_PORT": port})))["changed"] is False
    finally:
        host.sh("kill $(cat /root/listener)", fails=True)


@pytest.mark.parametrize(
    "instant",
    [
        "test -e /var/serverkit/restores/shop.json",
        "docker volume inspect shop_cache",
        "docker ps -q --filter name=the-shop | grep .",
    ],
)
def test_a_restore_that_is_killed_is_done_by_the_next_one(
    host: PlacementHost, sets: tuple[str, str], instant: str
) -> None:
    host.purge()
    assert host.kill_restore_when(instant, set=sets[0])
    restored = only(host.restore(set=sets[0]))
    assert restored["changed"] is True
    moved(host)
    assert host.get(restored["ports"]["HTTP_PORT"]) == "first"
