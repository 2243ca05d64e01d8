# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""serverkit_backup on a real host: apps in containers with volumes, linked to MariaDB, PostgreSQL and Redis."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.serverkit.core.tests.integration.app_host import PLACE, definitions, module_call, wait_for
from ansible_collections.serverkit.core.tests.integration.backup_host import NOTES, SETS, BackupHost
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES, REDIS_ADMIN, SHARED, one, shop

pytestmark = [pytest.mark.real, pytest.mark.testbed]

HOST = BackupHost
SHOP = {"app": "shop"}
DATA = "/var/lib/docker/volumes/shop_data/_data"
PAGES = "/var/serverkit/apps/shop/data/pages"


@pytest.fixture(scope="module")
def deployed(machine: BackupHost) -> Iterator[BackupHost]:
    """The host with an app that has everything: links, volumes, a mounted directory."""
    linked = machine.link(*({"app": "shop", "engine": engine, "env_prefix": engine.upper()} for engine in ENGINES))
    assert not linked.get("failed"), linked
    one(machine.call(shop(NOTES)))
    machine.sql("mariadb", "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('one'), ('two');", "shop")
    machine.sql("postgresql", "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('one')", "shop")
    machine.sql("redis", "SET shop:a 1\nSET shop:b 2\nSET other:c 3")
    machine.sh(f"echo hello > {PAGES}/index.html; touch {DATA}/kept")
    yield machine
    machine.clean()


@pytest.fixture
def host(deployed: BackupHost) -> Iterator[BackupHost]:
    """That host, without sets; no container is left paused or stopped by a test."""
    deployed.sh(f"rm -rf {SETS}")
    yield deployed
    assert deployed.states() == {"running"}


def taken(host: BackupHost, **options: Any) -> dict[str, Any]:
    """Make a set and return what is told of it."""
    return one(host.backup({**SHOP, **options}))


def age(host: BackupHost, identity: str, days: int) -> str:
    """Make a set look older; its manifest is written anew, as nothing else would do."""
    script = (
        "import dataclasses,datetime as dt,json,os,sys; sys.path.insert(0,sys.argv[1])\n"
        "from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets\n"
        "from ansible_collections.serverkit.core.plugins.module_utils._plan import manifest\n"
        "from ansible_collections.serverkit.core.plugins.module_utils._values.backup import begun\n"
        "sets=BackupSets('shop'); old=sys.argv[2]\n"
        "new=(begun(old)-dt.timedelta(days=int(sys.argv[3]))).strftime('%Y%m%dT%H%M%SZ')\n"
        "text=manifest.to_text(dataclasses.replace(sets.load(old),id=new)); os.rename(sets.path(old),sets.path(new))\n"
        "open(sets.path(new)+'/manifest.json','w').write(text); print(new)\n"
    )
    return host.sh(f"cat > /tmp/age.py; python3 -B /tmp/age.py {PLACE} {identity} {days}", script)


def content(host: BackupHost, identity: str, file: str, name: str) -> str:
    """Return a file out of a set's archive, read with nothing of ours."""
    return host.sh(f"zstd -dc {SETS}/shop/{identity}/{file} | tar -xO ./{name}")


def test_a_set_holds_all_that_the_app_has(host: BackupHost) -> None:
    before = host.snapshot()
    planned = host.backup(SHOP, check=True)
    assert one(planned)["changed"] is True
    shown = planned["diff"][0]["after"]
    assert "database mariadb: shop" in shown
    assert "volume data: shop_data" in shown
    assert host.snapshot() == before

    found = taken(host)
    identity = found["set"]
    rows = {link: told["rows"] for link, told in found["databases"].items()}
    assert rows["mariadb"] == {"notes": 2}
    assert sum(rows["postgresql"].values()) == 1
    assert rows["redis"] == {"keys": 2}
    assert found["quiesce"] == "pause"
    assert set(found["volumes"]) == {"data", "cache"}
    assert set(found["binds"]) == {PAGES}
    assert found["left_out"] == {"/etc/ssl": "it belongs to the host's system"}
    assert host.sh(f"cat {PAGES}/index.html") == content(host, identity, "binds/1.tar.zst", "index.html") == "hello"
    assert content(host, identity, "volumes/data.tar.zst", "kept") == ""
    assert int(content(host, identity, "volumes/data.tar.zst", "count")) > 0
    assert content(host, identity, "release.tar.zst", ".env") == host.sh("cat /var/serverkit/apps/shop/.env")
    assert "data/pages" not in host.sh(f"zstd -dc {SETS}/shop/{identity}/release.tar.zst | tar -t")
    # For root alone, and without a password but in the archive.
    assert host.sh(f"find {SETS} -type f ! -perm 0600 -o -type d ! -perm 0700") == ""
    written = host.sh(f"cat {SETS}/shop/{identity}/manifest.json {SETS}/shop/state.json")
    for name, secret in host.secrets_everywhere():
        assert name.endswith("_USER") or secret not in written
    assert host.sets() == [identity]
    assert host.state()["attempt"]["outcome"] == "taken"


def test_a_young_set_will_do_and_old_ones_are_thinned(host: BackupHost) -> None:
    first = age(host, taken(host)["set"], 9)
    assert one(host.backup({**SHOP, "max_age": "10d"}))["changed"] is False
    second = taken(host, max_age="1d")["set"]
    third = taken(host, keep={"last": 1, "daily": 0, "weekly": 0, "monthly": 0})
    assert third["removed"] == [first, second]
    assert host.sets() == [third["set"]]
    checked = one(host.backup({**SHOP, "state": "verified", "max_age": "1d"}))
    assert (checked["set"], checked["changed"]) == (third["set"], False)
    # A set that lacks a database of today is not enough, however young.
    host.link(
        {"app": "shop", "engine": "mariadb", "name": "more", "database": "more", "user": "more", "env_prefix": "MORE"}
    )
    try:
        assert set(taken(host, max_age="10d")["databases"]) == {*ENGINES, "more"}
    finally:
        host.link({"app": "shop", "name": "more", "state": "absent", "drop": True, "skip_backup": True})


def test_a_damaged_set_is_found(host: BackupHost) -> None:
    identity = taken(host)["set"]
    file = f"{SETS}/shop/{identity}/mysql/mariadb.sql.zst"
    host.sh(f"printf '\\377' | dd of={file} bs=1 seek=200 conv=notrunc status=none")
    refused = host.backup({**SHOP, "state": "verified"})
    assert refused["failed"]
    assert "mariadb.sql.zst" in refused["msg"]
    host.sh(f"truncate -s -1 {file}")
    refused = host.backup({**SHOP, "state": "verified", "max_age": "1d"})
    assert "there is none" in refused["msg"]
    assert one(host.backup({**SHOP, "max_age": "1d"}))["set"] != identity


@pytest.mark.parametrize(("quiesce", "seen"), [("stop", "exited"), ("none", "")])
def test_how_the_app_is_kept_from_writing(host: BackupHost, quiesce: str, seen: str) -> None:
    started = "docker inspect -f '{{.State.StartedAt}} {{.Id}}' shop-writer-1"
    before = host.sh(started)
    found = taken(host, quiesce=quiesce, exclude=["cache"])
    assert found["quiesce"] == quiesce
    assert "cache" not in found["volumes"]
    assert found["left_out"]["cache"] == "it is excluded"
    after = host.sh(started)
    assert (after != before) is bool(seen)
    assert after.split()[1] == before.split()[1]


def test_what_is_excluded_has_to_be_there(host: BackupHost) -> None:
    refused = host.backup({**SHOP, "exclude": ["nonsense"]})
    assert refused["failed"]
    assert "nonsense" in refused["msg"]
    assert host.sets() == []


def test_a_full_disk_leaves_the_old_set(host: BackupHost) -> None:
    host.sh("mkdir -p /mnt/small; mount -t tmpfs -o size=2m tmpfs /mnt/small")
    try:
        first = one(host.backup(SHOP, directory="/mnt/small"))["set"]
        host.sh(f"head -c 4000000 /dev/urandom > {DATA}/large")
        failed = host.backup(SHOP, directory="/mnt/small")
        assert failed["failed"]
        assert "No space left on device" in failed["msg"]
        assert host.sh("ls -A /mnt/small/shop").split() == [first, "state.json"]
        assert '"outcome": "failed"' in host.sh("cat /mnt/small/shop/state.json")
        assert one(host.backup({**SHOP, "state": "verified"}, directory="/mnt/small"))["set"] == first
    finally:
        host.sh(f"umount /mnt/small; rm -f {DATA}/large")


def test_a_stopped_server_fails_and_says_so(host: BackupHost) -> None:
    first = taken(host)["set"]
    host.sh("systemctl stop mariadb")
    try:
        failed = host.backup(SHOP)
    finally:
        host.sh("systemctl start mariadb")
    assert failed["failed"]
    assert host.sets() == [first]
    assert host.state()["attempt"]["outcome"] == "failed"
    stale = age(host, first, 3)
    refused = host.backup({**SHOP, "state": "verified", "max_age": "2d"})
    assert stale in refused["msg"]
    assert "the last try" in refused["msg"]


def test_a_corrupt_table_fails_and_says_so(host: BackupHost) -> None:
    filled = "CREATE TABLE broken (text TEXT); INSERT INTO broken SELECT REPEAT('x', 1000) FROM seq_1_to_200;"
    host.sql("mariadb", filled, "shop")
    host.sh("systemctl stop mariadb; dd if=/dev/urandom of=/var/lib/mysql/shop/broken.ibd bs=16k seek=4 count=8"
            " conv=notrunc status=none; systemctl start mariadb")  # fmt: skip
    try:
        failed = host.backup(SHOP)
    finally:
        host.sql("mariadb", "DROP TABLE broken;", "shop")
    assert failed["failed"], failed
    assert "broken" in failed["msg"]
    assert host.sets() == []


def test_killed_while_the_app_is_paused(host: BackupHost) -> None:
    first = taken(host)["set"]
    call = module_call("serverkit_backup", {"backups": [SHOP]}).decode()
    host.sh(f"head -c 200000000 /dev/urandom > {DATA}/large; cat > /tmp/call", call)
    paused = "docker ps -q --filter status=paused"
    for _attempt in range(2):
        killed = host.sh(
            f"python3 {PLACE}/run.py < /tmp/call >/dev/null 2>&1 & run=$!;"
            f" until {paused} | grep -q . || ! kill -0 $run 2>/dev/null; do sleep 0.02; done;"
            " kill -9 $run && echo killed"
        )
        assert killed == "killed"
        assert wait_for(lambda: host.states() == {"running"})
        assert [name for name in host.sets() if not name.startswith(".")] == [first]
    host.sh(f"rm {DATA}/large")
    second = taken(host)["set"]
    assert host.sets() == [first, second]
    assert "quiet" not in host.state()


def test_a_machine_that_went_down_while_the_app_was_paused(host: BackupHost) -> None:
    taken(host)
    identity = host.sh("docker inspect -f '{{.Id}}' shop-writer-1")
    host.sh("docker pause shop-writer-1")
    notes = f'{{"quiet": {{"how": "pause", "containers": ["{identity}"]}}}}'
    host.sh(f"cat > {SETS}/shop/state.json", notes)
    taken(host)
    assert host.states() == {"running"}


def test_killed_at_any_instant(host: BackupHost) -> None:
    whole = [taken(host)["set"]]
    for _attempt in range(4):
        host.backup_killed(SHOP, after=random.uniform(0.3, 2.0))
        assert wait_for(lambda: host.states() == {"running"})
        whole = [name for name in host.sets() if not name.startswith(".")]
        assert one(host.backup({**SHOP, "state": "verified"}))["set"] == whole[-1]
    found = taken(host)["set"]
    assert host.sets() == [*whole, found]


def test_a_server_in_a_container_of_the_app_answers_before_it_is_paused(host: BackupHost) -> None:
    services = {**SHARED["compose"]["services"], "worker": NOTES["compose"]["services"]["writer"]}
    template = {**SHARED, "compose": {"services": services, "volumes": {"data": {}}}}
    one(host.call({"name": "solo", "template": "shared", "definitions": definitions(template)}))
    server = {"app": "solo", "service": "cache", "user": "default", "password": REDIS_ADMIN}
    one(host.link({"app": "solo", "engine": "redis", "server": server, "services": ["worker"]}))
    address = "$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' solo-cache-1)"
    host.sh(f"REDISCLI_AUTH={REDIS_ADMIN} redis-cli -h {address} set solo:a 1")
    for quiesce in ("pause", "stop"):
        found = one(host.backup({"app": "solo", "quiesce": quiesce}))
        assert found["databases"]["redis"]["rows"] == {"keys": 1}, quiesce
        assert host.states("solo") == {"running"}


def test_a_database_is_dropped_after_a_last_backup(host: BackupHost) -> None:
    extra = {"app": "shop", "engine": "mariadb", "name": "extra", "env_prefix": "EXTRA"}
    one(host.link(extra))
    host.sql("mariadb", "CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2), (3);", "shop_extra")
    gone = {"app": "shop", "name": "extra", "state": "absent", "drop": True}
    host.sh("mkdir -p /var/serverkit/backups; mount -t tmpfs -o size=16k tmpfs /var/serverkit/backups")
    try:
        refused = host.link(gone)
    finally:
        host.sh("umount /var/serverkit/backups")
    assert refused["failed"]
    assert "Nothing was deleted" in refused["msg"]
    assert host.sql("mariadb", "SELECT COUNT(*) FROM t", "shop_extra") == "3"
    done = one(host.link(gone))
    assert done["changed"] is True
    manifest = host.manifest(done["final_backup"].rpartition("/")[2])
    assert manifest["reason"] == "final"
    assert {dump["link"]: dump["rows"] for dump in manifest["databases"]}["extra"] == {"t": 3}
    assert "shop_extra" not in host.sql("mariadb", "SHOW DATABASES")
    assert one(host.link(gone))["changed"] is False


def test_an_app_is_purged_after_a_last_backup(deployed: BackupHost) -> None:
    host = deployed
    host.sh(f"rm -rf {SETS}; docker volume create --label com.docker.compose.project=shop shop_former >/dev/null")
    host.sh("echo old > /var/lib/docker/volumes/shop_former/_data/file")
    host.sh("systemctl stop mariadb")
    try:
        refused = host.call({"name": "shop", "state": "absent", "purge": True})
    finally:
        host.sh("systemctl start mariadb")
    assert refused["failed"]
    assert host.states() == {"running"}
    gone = one(host.call({"name": "shop", "state": "absent", "purge": True}))
    identity = gone["final_backup"].rpartition("/")[2]
    assert content(host, identity, "volumes/former.tar.zst", "file") == "old"
    assert content(host, identity, "binds/1.tar.zst", "index.html") == "hello"
    assert host.sh("docker volume ls -q --filter name=shop") == ""
    assert host.sets() == [identity]
    # What a purged app leaves are its databases.
    dropped = host.link(*({"app": "shop", "name": name, "state": "absent", "drop": True} for name in ENGINES))
    assert not dropped.get("failed"), dropped
    last = host.manifest(host.sets()[-1])
    assert {dump["link"] for dump in last["databases"]} == {*ENGINES}
    assert last["template"] == ""
