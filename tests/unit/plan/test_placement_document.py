# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compose documents of apps that are made of backup sets: a copy meets the original nowhere."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement import Place
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement_document import Move, Placed, placed
from hypothesis import given
from hypothesis import strategies as st

SHOP: dict[str, Any] = {
    "name": "shop",
    "services": {
        "web": {
            "image": "web",
            "container_name": "the-shop",
            "hostname": "shop",
            "ports": ["127.0.0.1:8001:80", {"target": 443, "published": "8443", "protocol": "tcp"}, "9000-9001:90-91"],
            "labels": {"traefik.enable": "true"},
            "networks": {"proxy": {"aliases": ["shop"]}, "inner": {"ipv4_address": "10.9.0.5"}},
            "environment": {"DB_NAME": "shop", "URL": "postgres://u@db/shop?x=1", "SITE": "my-shop.com"},
            "volumes": ["data:/data", "./data/up:/up", "/srv/media:/media", "/etc/localtime:/etc/localtime:ro"],
        },
        "db": {"image": "db", "volumes": [{"type": "volume", "source": "named", "target": "/db"}]},
    },
    "networks": {
        "proxy": {"external": True, "name": "traefik"},
        "inner": {"ipam": {"config": [{"subnet": "10.9.0.0/24"}]}},
    },
    "volumes": {"data": None, "named": {"name": "precious"}},
}


def moved(document: dict[str, Any], name: str = "shop", *, drill: bool = False, **fields: Any) -> Placed:
    before = copy.deepcopy(document)
    found = placed(document, Move(Place("shop", name, "/apps/shop", f"/apps/{name}", drill), **fields))
    assert document == before
    return found


def test_an_app_keeps_its_document_under_its_own_name() -> None:
    found = moved(SHOP, binds=["/apps/shop/data/up", "/srv/media"], volumes=["data", "named"])
    assert found.document == SHOP
    assert found.volumes == {"data": "shop_data", "named": "precious"}
    assert found.binds == {"/apps/shop/data/up": "/apps/shop/data/up", "/srv/media": "/srv/media"}
    assert (found.needed, found.notes) == (("traefik",), [])


def test_ports_that_are_taken_become_others_in_every_notation() -> None:
    ports = {(8001, "tcp"): 8002, (8443, "tcp"): 8444, (9001, "tcp"): 9500}
    found = moved(SHOP, ports=ports).document["services"]["web"]["ports"]
    assert found == [
        "127.0.0.1:8002:80",
        {"target": 443, "published": "8444", "protocol": "tcp"},
        "9000:90",
        "9500:91",
    ]


def test_a_copy_has_names_and_networks_of_its_own() -> None:
    found = moved(SHOP, "copy", binds=["/apps/shop/data/up", "/srv/media"], volumes=["data", "named"])
    document = found.document
    assert document["name"] == "copy"
    assert document["volumes"] == {"data": None, "named": None}
    assert found.volumes == {"data": "copy_data", "named": "copy_named"}
    assert document["networks"] == {"inner": None}
    web = document["services"]["web"]
    assert "container_name" not in web
    assert "labels" not in web
    # The other services may know it by the name that it had.
    assert web["networks"] == {"inner": {"aliases": ["the-shop"]}}
    assert web["volumes"] == [
        "data:/data",
        "./data/up:/up",
        "/apps/copy/data/srv/media:/media",
        "/etc/localtime:/etc/localtime:ro",
    ]
    assert found.binds == {"/apps/shop/data/up": "/apps/copy/data/up", "/srv/media": "/apps/copy/data/srv/media"}
    assert found.needed == ()
    assert any("traefik" in note for note in found.notes)


def test_a_copy_in_networks_of_others_only_is_in_its_own_then() -> None:
    document = {"services": {"web": {"networks": ["proxy"]}}, "networks": {"proxy": {"external": True}}}
    assert moved(document, "copy").document["services"]["web"]["networks"] == {"default": None}
    assert "networks" not in moved(document, "copy").document
    whole = {"services": {"web": {}}, "networks": {"default": {"external": True, "name": "shared"}}}
    assert "networks" not in moved(whole, "copy").document


def test_a_drill_reaches_nobody_outside() -> None:
    found = moved(SHOP, "shop-drill", drill=True, ports={(8001, "tcp"): 8007}, main=("web", 80, "tcp"))
    alone = {"driver_opts": {"com.docker.network.bridge.enable_ip_masquerade": "false"}}
    assert found.document["networks"] == {"inner": alone, "default": alone}
    assert found.document["services"]["web"]["ports"] == ["127.0.0.1:8007:80"]
    # Not in the set: nothing is shared.
    assert "/apps/shop-drill/data/srv/media:/media" in found.document["services"]["web"]["volumes"]
    assert any("/srv/media" in note for note in found.notes)


def test_a_drill_cannot_write_to_the_host() -> None:
    volumes = [
        "/var/run/docker.sock:/s",
        "/etc/ssl:/ssl",
        "/usr/share/x:/x:rw,z",
        {"type": "bind", "source": "/sys", "target": "/y"},
    ]
    document = {"services": {"web": {"volumes": volumes, "network_mode": "bridge"}}}
    service = moved(document, "shop-drill", drill=True).document["services"]["web"]
    assert service == {
        "volumes": [
            "/etc/ssl:/ssl:ro",
            "/usr/share/x:/x:ro,z",
            {"type": "bind", "source": "/sys", "target": "/y", "read_only": True},
        ]
    }
    found = moved(document, "copy")
    assert found.document["services"]["web"]["volumes"] == ["/var/run/docker.sock:/s", *service["volumes"]]
    assert found.notes == [
        f"its service web has {path} read-only, since the original writes to it"
        for path in ("/etc/ssl", "/usr/share/x", "/sys")
    ]


def test_a_drill_reaches_no_socket_of_the_host() -> None:
    volumes = ["/run/mysqld:/run/mysqld", "/var/run:/host:ro", "/run/docker.sock:/s:ro", "/srv/php.sock:/p"]
    document = {"services": {"web": {"volumes": volumes}}}
    found = moved(document, "drill", drill=True)
    assert found.document["services"]["web"]["volumes"] == [
        "/apps/drill/data/run/mysqld:/run/mysqld",
        "/apps/drill/data/var/run:/host:ro",
    ]
    assert len(found.notes) == len(volumes)


def test_what_is_in_a_directory_of_the_set_is_the_copys_own() -> None:
    document = {"services": {"web": {"volumes": ["/srv/media:/m", "/srv/media/top:/t:ro", "//srv/media/x:/x"]}}}
    found = moved(document, "copy", binds=["/srv/media"])
    assert found.document["services"]["web"]["volumes"] == [
        "/apps/copy/data/srv/media:/m",
        "/apps/copy/data/srv/media/top:/t:ro",
        "/apps/copy/data/srv/media/x:/x",
    ]
    assert found.notes == []


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("${DIR}/up:/up", "/srv/private", "/apps/copy/data/_DIR_/up:/up"),
        ("${DIR}/up:/up:ro", "/srv/private", "${DIR}/up:/up:ro"),
        ("${DIR}:/up:z", "../shop/private", "/apps/copy/data/_DIR_:/up:z"),
        ("/srv/${DIR}:/up", "private", "/apps/copy/data/srv/_DIR_:/up"),
        ("/srv/${DIR}:/up", "../etc/private", "/srv/${DIR}:/up:ro"),
        ("${DIR}/../../../shop:/up", "/private", "/apps/copy/data/shop:/up"),
        ("${DIR}:/up", "/apps/shop/private", "/apps/copy/data/_DIR_:/up"),
        # These are the copy's own already.
        ("./${DIR}:/up", "private", "./${DIR}:/up"),
        ("${DIR}:/up", "./private", "${DIR}:/up"),
        ("${DIR}:/up", "private", "${DIR}:/up"),
        ({"type": "volume", "source": "${DIR}", "target": "/up"}, "private", None),
        (
            {"type": "bind", "source": "${DIR}", "target": "/up"},
            "/srv/private",
            {"type": "bind", "source": "/apps/copy/data/_DIR_", "target": "/up"},
        ),
    ],
)
def test_a_path_made_of_a_secret_is_not_shared_and_not_told(entry: Any, value: str, expected: Any) -> None:
    document = {"services": {"web": {"volumes": [entry]}}}
    found = moved(document, "copy", environment={"DIR": value})
    assert found.document["services"]["web"]["volumes"] == [entry if expected is None else expected]
    assert "private" not in repr(found)


def test_a_copy_cannot_live_in_the_network_of_the_host() -> None:
    for mode in ("host", "container:other"):
        document = {"services": {"web": {"network_mode": mode}}}
        assert moved(document).document == {**document, "name": "shop"}
        with pytest.raises(ConflictError, match="where the original is"):
            moved(document, "copy")


def test_volumes_of_others_and_with_options_become_plain_ones() -> None:
    volumes = {"a": {"external": True, "name": "x"}, "b": {"driver_opts": {"device": "/srv"}}, "c": {"external": True}}
    document = {"services": {"web": {}}, "volumes": volumes}
    found = moved(document, "copy", volumes=["a", "b"])
    assert found.volumes == {"a": "copy_a", "b": "copy_b", "c": "copy_c"}
    assert found.outside == frozenset()
    assert found.notes == ["its volume c is empty: it is another's, and not in the set"]
    here = moved(document, volumes=["a", "b"])
    assert (here.volumes, here.outside) == ({"a": "x", "b": "shop_b", "c": "c"}, frozenset("ac"))
    assert here.notes == ["its volume b is a plain one here, without the options of its driver"]


def test_names_of_databases_in_variables_are_replaced_where_they_stand_alone() -> None:
    environment = moved(SHOP, "copy", renamed={"shop": "copy"}).document["services"]["web"]["environment"]
    assert environment == {"DB_NAME": "copy", "URL": "postgres://u@db/copy?x=1", "SITE": "my-shop.com"}
    listed = {"services": {"web": {"environment": ["NAME=shop", "PREFIX=shop:", "EMPTY"]}}}
    assert moved(listed, "copy", renamed={"shop": "copy"}).document["services"]["web"]["environment"] == [
        "NAME=copy",
        "PREFIX=copy:",
        "EMPTY",
    ]


def test_paths_to_the_former_directory_lead_to_the_new_one() -> None:
    service = {
        "build": {"context": "/apps/shop/files/abc"},
        "env_file": ["/apps/shop/.env", ".env"],
        "volumes": ["/apps/shop/data/x:/x", "../shop/data/y:/y", "~/z:/z:ro", "/apps/shopping:/s:ro"],
    }
    assert moved({"services": {"web": service}}, "copy").document["services"]["web"] == {
        "build": {"context": "/apps/copy/files/abc"},
        "env_file": ["/apps/copy/.env", ".env"],
        "volumes": ["/apps/copy/data/x:/x", "/apps/copy/data/y:/y", "/root/z:/z:ro", "/apps/shopping:/s:ro"],
    }


def test_files_of_secrets_are_those_of_the_copy() -> None:
    secrets = {"key": {"file": "/apps/shop/files/abc/key"}, "other": {"environment": "KEY"}}
    found = moved({"services": {"web": {}}, "secrets": secrets}, "copy").document["secrets"]
    assert found == {"key": {"file": "/apps/copy/files/abc/key"}, "other": {"environment": "KEY"}}


_KEYS = st.sampled_from(["a", "b", "c"])
_PATHS = st.sampled_from(
    ["data", "./data/u", "/srv/media", "/apps/shop/data/v", "/etc/x", "/run/d", "/run/d.sock", "~/h", "${D}/m"]
)
_SERVICES = st.fixed_dictionaries(
    {"image": st.just("x")},
    optional={
        "container_name": st.sampled_from(["shop-1", "shop-2"]),
        "labels": st.just({"traefik.enable": "true"}),
        "networks": st.one_of(
            st.lists(_KEYS, unique=True),
            st.dictionaries(_KEYS, st.sampled_from([None, {"ipv4_address": "10.0.0.2"}, {"aliases": ["z"]}])),
        ),
        "volumes": st.lists(
            st.builds(lambda path, mode: f"{path}:/x{mode}", _PATHS, st.sampled_from(["", ":ro", ":rw"])), max_size=3
        ),
        "ports": st.lists(st.sampled_from(["8001:80", "127.0.0.1:8002:81/udp", "82", "8010-8011:10-11"]), unique=True),
    },
)
_DOCUMENTS = st.fixed_dictionaries(
    {"services": st.dictionaries(st.sampled_from(["web", "db"]), _SERVICES, min_size=1)},
    optional={
        "networks": st.fixed_dictionaries(
            {key: st.sampled_from([None, {"external": True}, {"name": "n", "driver": "macvlan"}]) for key in "abc"}
        ),
        "volumes": st.just({"data": {"name": "precious"}}),
    },
)


@given(_DOCUMENTS, st.booleans(), st.sets(st.sampled_from(["/srv/media", "/apps/shop/data/v"])))
def test_a_copy_shares_nothing_with_the_original(document: dict[str, Any], drill: bool, binds: set[str]) -> None:
    document.setdefault("networks", dict.fromkeys("abc"))
    fields = {"binds": binds, "main": ("web", 80, "tcp"), "environment": {"D": "/srv"}}
    found = moved(document, "copy", drill=drill, **fields)
    text = json.dumps(found.document)
    for shared in ("container_name", "traefik", "10.0.0.2", "external", "macvlan", "precious", "/apps/shop"):
        assert shared not in text
    keys = (found.document.get("networks") or {}).keys() | {"default"}
    for service in found.document["services"].values():
        assert set(service.get("networks") or {}) <= keys
        for mount in service.get("volumes") or []:
            source, _target, mode = (*mount.split(":"), "")[:3]
            written = "ro" not in mode.split(",")
            assert not written or source in ("data", "/run/d.sock") or source.startswith(("./", "/apps/copy/"))
            assert not (drill and source.startswith("/run"))
    if drill:
        options = [(entry or {}).get("driver_opts") for entry in found.document["networks"].values()]
        assert all(options)
        published = [port for service in found.document["services"].values() for port in service.get("ports", ())]
        assert all(str(port).startswith("127.0.0.1:") for port in published)
        assert len(published) <= 1


@given(_DOCUMENTS)
def test_an_app_that_keeps_its_name_and_ports_is_the_same(document: dict[str, Any]) -> None:
    assert moved({"name": "shop", **document}).document == {"name": "shop", **document}
