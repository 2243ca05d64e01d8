# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of an app is backed up, found in its Compose file, and what is not, with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.backup_sources import Sources, sources

DIRECTORY = "/var/serverkit/apps/blog"


def of(*volumes: Any, exclude: tuple[str, ...] = (), declared: Any = None, **service: Any) -> Sources:
    document = {"name": "blog", "services": {"web": {"image": "x", "volumes": list(volumes), **service}}}
    if declared is not None:
        document["volumes"] = declared
    return sources(document, "blog", DIRECTORY, exclude)


def test_named_volumes_have_the_name_that_compose_gives_them() -> None:
    declared = {
        "data": None,
        "cache": {},
        "named": {"name": "my_own"},
        "dollar": {"name": "a$$b"},
        "labelled": {"labels": {"a": "b"}},
        "unused": None,
    }
    found = of(
        "data:/data", "cache:/cache:ro", {"type": "volume", "source": "named", "target": "/n"}, declared=declared
    )
    assert found.volumes == {
        "cache": "blog_cache",
        "data": "blog_data",
        "dollar": "a$b",
        "labelled": "blog_labelled",
        "named": "my_own",
        "unused": "blog_unused",
    }
    assert found.binds == ()
    assert found.left_out == {}


@pytest.mark.parametrize(
    "declared",
    [{"x": {"external": True}}, {"x": {"external": True, "name": "shared"}}, {"x": {"external": {"name": "shared"}}}],
)
def test_external_volumes_are_somebody_elses(declared: Any) -> None:
    found = of("x:/data", declared=declared)
    assert found.volumes == {}
    assert found.left_out == {"x": "an external volume is not the app's own"}


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("./data:/data", f"{DIRECTORY}/data"),
        ("./data:/data:ro", f"{DIRECTORY}/data"),
        ("./data/site:/srv:ro", f"{DIRECTORY}/data/site"),
        ("./uploads/:/u", f"{DIRECTORY}/uploads"),
        ("./a/../b:/b:z", f"{DIRECTORY}/b"),
        ("/srv/blog:/data:rw,Z", "/srv/blog"),
        ("/srv//blog/:/data", "/srv/blog"),
        ("//srv/blog:/data", "/srv/blog"),
        ("/var/www/blog:/data", "/var/www/blog"),
        ("~/blog:/data", "/root/blog"),
        ("./a$$b:/data", f"{DIRECTORY}/a$b"),
        ({"type": "bind", "source": "/srv/blog", "target": "/data"}, "/srv/blog"),
        ({"source": "./up", "target": "/data"}, f"{DIRECTORY}/up"),
        ({"type": "bind", "source": "up", "target": "/data"}, f"{DIRECTORY}/up"),
        ({"type": "bind", "source": "/srv/blog", "target": "/d", "read_only": False}, "/srv/blog"),
    ],
)
def test_what_a_container_writes_to_is_taken(entry: Any, path: str) -> None:
    assert of(entry) == Sources(binds=(path,))


@pytest.mark.parametrize(
    ("entry", "what", "reason"),
    [
        ("/srv/media:/media:ro", "/srv/media", "read-only"),
        ({"type": "bind", "source": "/srv/m", "target": "/m", "read_only": True}, "/srv/m", "read-only"),
        ({"type": "bind", "source": "/srv/m", "target": "/m", "read_only": "true"}, "/srv/m", "read-only"),
        ("/var/run/docker.sock:/var/run/docker.sock", "/var/run/docker.sock", "socket"),
        ("/srv/php.sock:/x", "/srv/php.sock", "socket"),
        ("/etc/localtime:/etc/localtime:ro", "/etc/localtime", "system"),
        ("/etc/ssl:/ssl", "/etc/ssl", "system"),
        ("/proc:/host/proc", "/proc", "system"),
        ("/sys:/sys:ro", "/sys", "system"),
        ("/dev/dri:/dev/dri", "/dev/dri", "system"),
        ("/var/lib/docker:/d", "/var/lib/docker", "system"),
        ("/:/host", "/", "shared with"),
        ("~:/home", "/root", "shared with"),
        ("/home:/home", "/home", "shared with"),
        ("/srv/:/srv", "/srv", "shared with"),
        ("../shop/data:/data", "/var/serverkit/apps/shop/data", "another app"),
        ("/var/serverkit/serverkit.db:/x", "/var/serverkit/serverkit.db", "another app"),
        ("/var/serverkit/apps:/x", "/var/serverkit/apps", "another app"),
        (".:/app", DIRECTORY, "the release"),
        ("./${SECRET}:/data", "web:/data", "made of a secret"),
        ("${SECRET}/up:/data", "web:/data", "made of a secret"),
        ("${SECRET}:/data:ro", "web:/data", "made of a secret"),
        ("${SECRET:-/srv}/up:/data", "web:/data", "made of a secret"),
        ("$SECRET/up:/data", "web:/data", "made of a secret"),
        ({"type": "bind", "source": "${SECRET}/up", "target": "/data"}, "web:/data", "made of a secret"),
        ("/data", "web:/data", "anonymous"),
        ({"type": "volume", "target": "/data/"}, "web:/data", "anonymous"),
        ({"type": "tmpfs", "target": "/run"}, "web:/run", "memory"),
        ({"type": "npipe", "source": "x", "target": "/x"}, "web:/x", "type npipe"),
        ("lost:/data", "lost", "does not declare"),
    ],
)
def test_what_is_left_out_is_told_with_the_reason(entry: Any, what: str, reason: str) -> None:
    found = of(entry)
    assert (found.volumes, found.binds) == ({}, ())
    assert list(found.left_out) == [what]
    assert reason in found.left_out[what]


def test_what_is_in_the_release_is_not_missing() -> None:
    assert of("./files/0123/nginx.conf:/etc/nginx.conf:ro", "./conf:/conf:ro") == Sources()


def test_a_path_that_one_service_writes_and_another_reads_is_taken() -> None:
    assert of("/srv/b:/x", "/srv/b:/y:ro") == Sources(binds=("/srv/b",))
    assert of("/srv/b:/y:ro", "/srv/b:/x") == Sources(binds=("/srv/b",))


def test_no_path_is_taken_twice() -> None:
    found = of("./data:/a", "./data/uploads:/b", "./database:/c", "/srv/x/y:/d", "/srv/x:/e")
    assert found.binds == ("/srv/x", f"{DIRECTORY}/data", f"{DIRECTORY}/database")


def test_other_keys_that_mount_are_told() -> None:
    found = of(tmpfs=["/run:size=1m", "/tmp"], volumes_from=["db", "container:other:ro"])
    assert found.left_out == {
        "web:/run": "it is in the memory only",
        "web:/tmp": "it is in the memory only",
        "web:container:other:ro": "these are volumes of a container that is not the app's",
    }
    assert list(of(tmpfs="/run").left_out) == ["web:/run"]


def test_a_name_made_of_a_secret_is_left_out() -> None:
    assert of(declared={"x": {"name": "${SECRET}"}}).left_out == {"x": "its name is made of a secret"}


@pytest.mark.parametrize("bind", ["./cache", "./cache/", "cache", f"{DIRECTORY}/cache"])
def test_what_the_user_excludes_is_left_out(bind: str) -> None:
    declared = {"data": None, "thumbs": None}
    found = of("data:/data", "thumbs:/t", "./cache:/c", "./data:/d", declared=declared, exclude=("thumbs", bind))
    assert found.volumes == {"data": "blog_data"}
    assert found.binds == (f"{DIRECTORY}/data",)
    assert found.left_out == {"thumbs": "it is excluded", f"{DIRECTORY}/cache": "it is excluded"}


def test_something_excluded_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(InputError, match=r"exclude datum .*there is data"):
        of("data:/data", declared={"data": None}, exclude=("datum",))
    of("/etc/ssl:/ssl", exclude=("/etc/ssl",))  # it would be left out anyway


@pytest.mark.parametrize("document", [{}, {"services": None, "volumes": None}, {"services": {"a": {"volumes": None}}}])
def test_an_app_without_data_has_none(document: Any) -> None:
    assert sources(document, "blog", DIRECTORY) == Sources()
