# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_restore on a real host: data of an app that is there.

The app is deployed once for all tests; each fills its databases, its volume and its directory anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import IMAGE, only, wait_for
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES
from ansible_collections.serverkit.core.tests.integration.restore_host import APP_DIRECTORY, SETS, RestoreHost

pytestmark = [pytest.mark.real, pytest.mark.testbed]

HOST = RestoreHost
PLACES = (*ENGINES, "page", "note")


def everywhere(text: str) -> dict[str, str]:
    return dict.fromkeys(PLACES, text)


@pytest.fixture(scope="module")
def store(machine: RestoreHost) -> Iterator[RestoreHost]:
    machine.deploy()
    yield machine
    machine.clean()


@pytest.fixture(scope="module")
def first(store: RestoreHost) -> str:
    """A set in which everything is `first`."""
    store.fill("first")
    return store.back_up()


@pytest.fixture
def second(store: RestoreHost, first: str) -> RestoreHost:
    """The app when everything is `second`."""
    store.fill("second")
    assert store.data() == everywhere("second")
    return store


def test_what_was_dropped_behind_the_apps_back_is_restored(second: RestoreHost, first: str) -> None:
    second.sql("mariadb", "DROP DATABASE shop; DROP USER shop@'172.16.0.0/255.240.0.0';")
    second.sql("postgresql", "DROP DATABASE shop WITH (FORCE); DROP ROLE shop;")
    second.sql("redis", "DEL shop:post:1 shop:post:2")
    second.sh(f"rm -rf {APP_DIRECTORY}/data/notes")
    restored = only(second.restore())
    assert (restored["set"], restored["changed"]) == (first, True)
    assert {name: found["rows"] for name, found in restored["databases"].items()} == dict.fromkeys(ENGINES, 2)
    assert second.data() == everywhere("first")
    assert second.sql("redis", "GET other:post") == "kept"
    # Of what was not there any more, nothing is kept.
    assert [kept["name"] for kept in restored["kept"]] == ["cache", "files"]
    # The app's own login works, with the password that it has.
    for engine in ENGINES:
        link = {"app": "shop", "engine": engine, **second.prefix(engine)}
        assert only(second.link(link))["changed"] is False


def test_what_was_there_is_kept_until_it_is_discarded(second: RestoreHost, first: str) -> None:
    restored = only(second.restore(set=first))
    assert second.data() == everywhere("first")
    kept = {(each["kind"], each["name"]): each["kept"] for each in restored["kept"]}
    assert {kind for kind, _name in kept} == {"database", "volume", "bind"}
    assert second.sh(f"cat {kept['bind', APP_DIRECTORY + '/data/notes']}/note") == "second"
    assert second.sql("postgresql", "SELECT body FROM posts WHERE id = 1;", kept["database", "postgresql"]) == "second"
    assert second.sql("mariadb", "SELECT body FROM posts WHERE id = 1;", kept["database", "mariadb"]) == "second"
    assert second.sql("redis", f"GET {kept['database', 'redis']}:post:1") == "second"
    place = second.sh(f"docker volume inspect -f '{{{{.Mountpoint}}}}' {kept['volume', 'files']}")
    assert second.sh(f"cat {place}/index.html") == "second"
    before = second.state()
    assert only(second.restore(state="discarded", check=True))["changed"] is True
    assert second.state() == before
    assert only(second.restore(state="discarded"))["discarded"] == restored["kept"]
    assert "old" not in second.state().replace(first, "")
    assert only(second.restore(state="discarded"))["changed"] is False
    assert second.data() == everywhere("first")


def test_one_part_of_a_time_is_restored_and_the_others_stay(second: RestoreHost, first: str) -> None:
    assert wait_for(lambda: second.sh("date -u +%Y%m%dT%H%M%SZ") > first)  # the names of sets tell seconds
    later = second.back_up()
    second.fill("third")
    until = f"{first[:4]}-{first[4:6]}-{first[6:8]}T{first[9:11]}:{first[11:13]}:{first[13:15]}Z"
    assert only(second.restore(time=until, databases=["postgresql"]))["set"] == first
    assert second.data() == {**everywhere("third"), "postgresql": "first"}
    assert only(second.restore(volumes=["files"]))["set"] == later
    assert second.data() == {**everywhere("third"), "postgresql": "first", "page": "second"}
    second.sh(f"rm -rf {SETS}/shop/{later}")


DAMAGES = {
    "truncated": "truncate -s -1 {set}/postgres/postgresql.dump.zst",
    "flipped": "f={set}/volumes/files.tar.zst; printf X | dd of=$f bs=1 seek=$(($(stat -c %s $f) / 2)) conv=notrunc",
    "missing": "rm {set}/mysql/mariadb.sql.zst",
    "swapped": "cp {set}/volumes/cache.tar.zst {set}/volumes/files.tar.zst",
    "altered": 'sed -i \'s/"rows": 2/"rows": 3/; s/"posts": 2/"posts": 3/\' {set}/manifest.json',
    "renamed": "mv {set} {sets}/shop/20300101T000000Z",
    "another app's": "mkdir -p {sets}/other; mv {set} {sets}/other/",
}


def test_a_damaged_set_is_refused_and_nothing_is_touched(second: RestoreHost, first: str) -> None:
    second.sh(f"cp -a {SETS}/shop/{first} /root/whole")
    names = {"set": f"{SETS}/shop/{first}", "sets": SETS}
    for damage, script in DAMAGES.items():
        second.sh(script.format(**names))
        chosen = "20300101T000000Z" if damage == "renamed" else first
        app = "other" if damage == "another app's" else "shop"
        before = second.state()
        result = second.restore(app=app, set=chosen)
        assert result["failed"], damage
        assert result["changed"] is False
        assert second.state() == before, damage
        second.sh(f"rm -rf {SETS}/other {SETS}/shop/2*; cp -a /root/whole {names['set']}")
    assert second.data() == everywhere("second")
    second.sh("rm -rf /root/whole")


def test_an_app_that_is_not_well_with_the_restored_data_gets_its_own_back(second: RestoreHost) -> None:
    second.write("bad")
    bad = second.back_up()
    second.write("second")
    before = second.state()
    result = second.restore(set=bad)
    assert result["failed"]
    assert "The data is as it was before the restore" in result["msg"]
    assert result["results"][0]["rolled_back"][:2] == ["put the former data back", "brought the app up with it"]
    assert result["results"][0]["not_rolled_back"] == []
    assert second.data() == everywhere("second")
    assert second.journal().get("journal") is None
    assert second.state() == before
    second.sh(f"rm -rf {SETS}/shop/{bad}")


def test_check_mode_tells_and_writes_nothing(second: RestoreHost, first: str) -> None:
    before = second.state() + second.snapshot()
    planned = second.restore(check=True)
    assert only(planned)["changed"] is True
    assert only(planned)["set"] == first
    assert "database postgresql: shop of the set" in planned["diff"][0]["after"]
    assert second.state() + second.snapshot() == before


def test_a_volume_that_somebody_else_has_mounted_is_left_alone(second: RestoreHost, first: str) -> None:
    second.sh(f"docker run -d --name stranger --init -v shop_files:/files {IMAGE} sleep 900")
    try:
        before = second.state()
        assert "mounted by stranger" in second.restore(set=first)["msg"]
        assert second.state() == before
    finally:
        second.sh("docker rm -f stranger")
    assert second.data() == everywhere("second")


def test_an_app_that_is_stopped_stays_so(second: RestoreHost, first: str) -> None:
    only(second.call({"name": "shop", "state": "stopped"}))
    only(second.restore(set=first))
    assert second.sh("docker ps -q") == ""
    only(second.call({"name": "shop", "state": "started"}))
    assert second.data() == everywhere("first")


def test_whenever_it_is_killed_the_next_run_converges(second: RestoreHost, first: str) -> None:
    begun = time.monotonic()
    only(second.restore(set=first))
    whole = time.monotonic() - begun
    chance = random.Random(first)
    for number in range(3):
        text = f"round-{number}"
        second.fill(text)
        second.restore_killed(chance.uniform(0.2, 1.0) * whole, set=first)
        # Whatever it was in the middle of, each thing is one of the two, and none is lost.
        only(second.restore(set=first))
        assert second.data() == everywhere("first")
        kept = second.journal()["kept"]
        for engine in ("mariadb", "postgresql"):
            former = {each["part"]["kept"] for each in kept if each["part"]["name"] == engine}
            assert text in {second.sql(engine, "SELECT body FROM posts WHERE id = 1;", name) for name in former}
        assert "journal" not in second.journal()
        assert wait_for(lambda: "new" not in second.state().replace("new-", ""))


def test_what_a_killed_run_left_can_be_discarded(second: RestoreHost, first: str) -> None:
    # Later and later, until it is killed in the midst of its work.
    for tenths in range(5, 300, 3):
        second.restore_killed(tenths / 10, set=first)
        if "journal" in second.journal():
            break
    assert "journal" in second.journal()
    only(second.restore(state="discarded"))
    assert "journal" not in second.journal()
    assert second.data() in (everywhere("first"), everywhere("second"))
