# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a template becomes for one app."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose import render
from ansible_collections.serverkit.core.plugins.module_utils._plan.template_schema import parse
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    Health,
    Publish,
    Published,
    Rendered,
    ServiceFacts,
    Values,
)

PORTS = [{"name": "HTTP_PORT", "type": "port"}, {"name": "ADMIN_PORT", "type": "port"}]
VALUES = Values(
    plain={"APP_NAME": "blog", "HTTP_PORT": "8001", "ADMIN_PORT": "8002", "TITLE": "A $title"},
    sensitive={"SECRET": "hush"},
    ports={"HTTP_PORT": 8001, "ADMIN_PORT": 8002},
)


def rendered(
    services: dict[str, Any], publish: Publish = "loopback", compose: dict[str, Any] | None = None, **keys: Any
) -> Rendered:
    document = {
        "name": "A",
        "version": "1",
        "variables": [*PORTS, {"name": "TITLE"}, {"name": "NOTE"}, {"name": "SECRET", "type": "password"}],
        "compose": {"services": services, **(compose or {})},
        **keys,
    }
    return render(parse(document, "a.yaml"), "blog", VALUES, publish)


def service(found: Rendered, name: str = "app") -> Any:
    return found.compose["services"][name]


def test_the_whole_document() -> None:
    found = rendered(
        {
            "app": {
                "image": "app:${VERSION:-1}",
                "container_name": "${APP_NAME}",
                "environment": ["T=${TITLE}", "S=${SECRET}", "N=${NOTE}", "C=$$5"],
                "ports": ["${HTTP_PORT}:80"],
            }
        },
        compose={"version": "3.8", "name": "other", "volumes": {"data": None}},
    )
    assert found.compose == {
        "name": "blog",
        "services": {
            "app": {
                "image": "app:1",
                "container_name": "blog",
                "environment": ["T=A $$title", "S=${SECRET}", "N=", "C=$$5"],
                "ports": ["127.0.0.1:8001:80"],
            }
        },
        "volumes": {"data": None},
    }
    assert list(found.compose) == ["name", "services", "volumes"]
    assert found.environment == {"SECRET": "hush"}
    assert found.main == Published("app", "127.0.0.1", 8001, "tcp", 80, "HTTP_PORT")
    assert found.warnings == ()


def test_publishing_on_every_address() -> None:
    found = rendered({"app": {"image": "x", "ports": ["${HTTP_PORT}:80", "127.0.0.1:9:9"]}}, "public")
    assert service(found)["ports"] == ["8001:80", "127.0.0.1:9:9"]
    assert [entry.host_ip for entry in found.published] == ["", "127.0.0.1"]


def test_names_that_are_not_set_are_told_unless_they_are_declared() -> None:
    found = rendered({"app": {"image": "x", "command": "$UNKNOWN ${NOTE} ${OTHER:-x}"}})
    assert found.warnings == ("the variable UNKNOWN is not set: ${UNKNOWN} is empty",)


def test_a_missing_value_with_a_message() -> None:
    with pytest.raises(InputError, match=r"services\.app\.command: the variable NOTE has no value: write one"):
        rendered({"app": {"image": "x", "command": "${NOTE:?write one}"}})


def test_a_value_never_becomes_yaml() -> None:
    evil = "x\n    privileged: true\n# ${SECRET}"
    values = Values(plain={**VALUES.plain, "TITLE": evil}, sensitive=VALUES.sensitive, ports=VALUES.ports)
    document = {
        "name": "A",
        "version": "1",
        "variables": [{"name": "TITLE"}],
        "compose": {"services": {"app": {"image": "x", "command": ["${TITLE}"]}}},
    }
    found = render(parse(document, "a.yaml"), "blog", values, "loopback")
    assert found.compose["services"] == {"app": {"image": "x", "command": [evil.replace("$", "$$")]}}


def test_fixed_ports_get_leases_and_dynamic_ones_a_warning() -> None:
    found = rendered({"app": {"image": "x", "ports": ["8080-8081:80-81", "53:53/udp", "99", "${ADMIN_PORT}:1"]}})
    assert service(found)["ports"][2] == "127.0.0.1::99"
    assert [(entry.port, entry.lease) for entry in found.published] == [
        (8080, "fixed:8080/tcp"),
        (8081, "fixed:8081/tcp"),
        (53, "fixed:53/udp"),
        (8002, "ADMIN_PORT"),
    ]
    assert found.warnings == (
        "services.app.ports[2]: Docker chooses a host port at every start; give one to have it reserved",
    )


def test_a_port_made_of_a_secret() -> None:
    with pytest.raises(InputError, match="a port cannot be made of a secret"):
        rendered({"app": {"image": "x", "ports": ["${SECRET}:80"]}})


@pytest.mark.parametrize(
    ("services", "keys", "main", "health"),
    [
        ({"app": ["${HTTP_PORT}:80"]}, {}, ("app", 8001), "auto"),
        ({"db": ["3306:3306"], "app": ["${ADMIN_PORT}:81", "${HTTP_PORT}:80"]}, {}, ("app", 8001), "auto"),
        ({"app": ["${HTTP_PORT}:80", "${ADMIN_PORT}:81"]}, {"main_port": "ADMIN_PORT"}, ("app", 8002), "auto"),
        ({"app": ["${HTTP_PORT}:80", "${ADMIN_PORT}:81"]}, {"main_port": 81}, ("app", 8002), "auto"),
        ({"a": ["${HTTP_PORT}:80"], "b": ["${ADMIN_PORT}:81"]}, {"main_service": "b"}, ("b", 8002), "auto"),
        ({"app": ["${ADMIN_PORT}:81"]}, {}, ("app", 8002), "auto"),
        ({"app": ["9000:81", "9001:82"]}, {}, ("app", 9000), "auto"),
        ({"a": ["9000:81"], "b": ["9001:82"]}, {}, None, "none"),
        ({"app": ["${HTTP_PORT}:80/udp"]}, {}, None, "none"),
        ({"app": []}, {}, None, "none"),
        ({"app": ["${HTTP_PORT}:80"]}, {"health": {"type": "none"}}, ("app", 8001), "none"),
    ],
)
def test_main_port_and_health(
    services: dict[str, list[str]], keys: dict[str, Any], main: tuple[str, int] | None, health: str
) -> None:
    found = rendered({name: {"image": "x", "ports": ports} for name, ports in services.items()}, **keys)
    assert (found.main and (found.main.service, found.main.port)) == main
    assert found.health.type == health


@pytest.mark.parametrize("main_port", ["ADMIN_PORT", 81])
def test_a_main_port_that_is_not_published(main_port: Any) -> None:
    found = rendered({"app": {"image": "x", "ports": ["${HTTP_PORT}:80", "${ADMIN_PORT}:81/udp"]}}, main_port=main_port)
    assert found.main is None
    assert "over TCP" in found.warnings[0]


def test_declared_health_is_kept() -> None:
    found = rendered({"app": {"image": "x"}}, health={"path": "/up", "status": 204, "timeout": 5})
    assert found.health == Health("http", "/up", (204, 204), 5)


def test_a_main_port_in_the_hosts_network() -> None:
    found = rendered({"app": {"image": "x", "network_mode": "host"}}, main_port=8123)
    assert found.main == Published("app", "", 8123, "tcp", 8123, "fixed:8123/tcp")


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"image": "x"}, ServiceFacts("x")),
        ({"image": "x", "restart": "no"}, ServiceFacts("x", one_shot=True)),
        ({"image": "x", "restart": False}, ServiceFacts("x", one_shot=True)),
        ({"image": "x", "restart": "on-failure:3"}, ServiceFacts("x", one_shot=True)),
        ({"image": "x", "restart": "always"}, ServiceFacts("x")),
        ({"image": "x", "profiles": ["debug"]}, ServiceFacts("x", started=False)),
        ({"image": "x", "container_name": "c-${APP_NAME}"}, ServiceFacts("x", container_name="c-blog")),
        ({"image": "x", "healthcheck": {"test": ["CMD", "a"]}}, ServiceFacts("x", has_healthcheck=True)),
        ({"image": "x", "healthcheck": {"test": ["NONE"]}}, ServiceFacts("x")),
        ({"image": "x", "healthcheck": {"test": "a", "disable": True}}, ServiceFacts("x")),
        ({"image": "x", "scale": 3}, ServiceFacts("x", replicas=3)),
        ({"image": "x", "deploy": {"replicas": "2"}}, ServiceFacts("x", replicas=2)),
        ({"build": "https://example.com/x.git"}, ServiceFacts("", builds=True)),
    ],
)
def test_facts(definition: dict[str, Any], expected: ServiceFacts) -> None:
    assert rendered({"app": definition}).services == {"app": expected}


def test_a_service_that_another_waits_for_to_complete_is_one_shot() -> None:
    done = {"migrate": {"condition": "service_completed_successfully"}, "db": {"condition": "service_started"}}
    found = rendered({"app": {"image": "x", "depends_on": done}, "migrate": {"image": "x"}, "db": {"image": "x"}})
    assert [name for name, facts in found.services.items() if facts.one_shot] == ["migrate"]


def test_notes_have_plain_values_and_no_secrets() -> None:
    found = rendered(
        {"app": {"image": "x"}}, post_install="curl ${APP_NAME}:${HTTP_PORT} -u ${SECRET} $HOME $$ ${X:-y}"
    )
    assert found.notes == {"post_install": "curl blog:8001 -u ${SECRET} $HOME $$ ${X:-y}"}


# Files


def placed(found: Rendered, name: str = "app") -> dict[str, str]:
    """The content of each file by where a service has it."""
    mounts = [str(entry).split(":") for entry in service(found, name).get("volumes", []) if "/files/" in str(entry)]
    assert all(options == ["ro"] for _source, _target, *options in mounts)
    return {target: found.files[source.removeprefix("./")].content for source, target, _ro in mounts}


def test_a_file_goes_to_the_service_that_has_a_volume_above_it() -> None:
    found = rendered(
        {
            "db": {"image": "x", "volumes": ["data:/var/lib/db"]},
            "app": {"image": "x", "volumes": ["code:/app", "/etc/localtime:/etc/localtime:ro"]},
        },
        files=[{"path": "/app/main.py", "content": "print('$x')"}],
    )
    (path,) = found.files
    assert re.fullmatch(r"files/[0-9a-f]{12}/main\.py", path)
    assert service(found)["volumes"] == ["code:/app", "/etc/localtime:/etc/localtime:ro", f"./{path}:/app/main.py:ro"]
    assert service(found, "db") == {"image": "x", "volumes": ["data:/var/lib/db"]}


def test_a_file_goes_to_the_services_that_it_names() -> None:
    services = {name: {"image": "x", "volumes": ["code:/app"]} for name in ("app", "worker", "db")}
    found = rendered(services, files=[{"path": "/app/a", "content": "1", "services": ["app", "worker"]}])
    assert placed(found) == placed(found, "worker") == {"/app/a": "1"}
    assert placed(found, "db") == {}


@pytest.mark.parametrize(
    ("services", "keys"),
    [
        ({"app": {"image": "x"}}, {}),
        ({"app": {"image": "x", "ports": ["${HTTP_PORT}:80"]}, "db": {"image": "x"}}, {}),
        ({"app": {"image": "x"}, "db": {"image": "x"}}, {"main_service": "app"}),
    ],
)
def test_a_file_goes_to_the_main_service_otherwise(services: dict[str, Any], keys: dict[str, Any]) -> None:
    found = rendered(services, files=[{"path": "/etc/a.conf", "content": "1"}], **keys)
    assert placed(found) == {"/etc/a.conf": "1"}


def test_a_file_that_belongs_to_no_service() -> None:
    with pytest.raises(InputError, match=r"/etc/a\.conf: no service mounts it.*Name one of them"):
        rendered({"a": {"image": "x"}, "b": {"image": "x"}}, files=[{"path": "/etc/a.conf", "content": ""}])


def test_files_of_one_name_do_not_collide() -> None:
    files = [{"path": "/a/index.html", "content": "1"}, {"path": "/b/index.html", "content": "2"}]
    assert placed(rendered({"app": {"image": "x"}}, files=files)) == {"/a/index.html": "1", "/b/index.html": "2"}


def test_a_data_volume_is_never_dropped_for_a_file() -> None:
    with pytest.raises(InputError, match="the service app has a volume at that very path"):
        rendered({"app": {"image": "x", "volumes": ["data:/data"]}}, files=[{"path": "/data", "content": ""}])


def test_a_changed_file_gets_a_new_path_and_an_unchanged_one_does_not() -> None:
    def path(**changes: Any) -> str:
        file = {"path": "/a", "content": "1", **changes}
        return next(iter(rendered({"app": {"image": "x"}}, files=[file]).files))

    assert path() == path()
    assert len({path(), path(content="2"), path(mode="0755")}) == 3


def test_what_is_filled_in_in_a_file() -> None:
    text = "${TITLE} ${SECRET} ${NOTE}| $TITLE $host ${host} ${TITLE:-x} $$ ${HTTP_PORT}"
    files = [{"path": "/a", "content": text}, {"path": "/b", "content": text, "substitute": False}]
    found = placed(rendered({"app": {"image": "x"}}, files=files))
    assert found == {"/a": "A $title hush | $TITLE $host ${host} ${TITLE:-x} $$ 8001", "/b": text}


@pytest.mark.parametrize(
    ("volume", "path", "target"),
    [
        ("./conf/a.yml:/etc/a.yml:ro", "conf/a.yml", "/etc/a.yml"),
        ("./conf/a.yml:/etc/a.yml", "./conf/a.yml", "/etc/a.yml"),
        ("./conf:/etc/app", "conf/sub/a.yml", "/etc/app/sub/a.yml"),
        ({"type": "bind", "source": "./conf", "target": "/etc/app"}, "conf/a.yml", "/etc/app/a.yml"),
    ],
)
def test_a_file_beside_the_compose_file(volume: Any, path: str, target: str) -> None:
    services = {"db": {"image": "x"}, "app": {"image": "x", "volumes": [volume]}}
    found = rendered(services, files=[{"path": path, "content": "1"}])
    assert placed(found) == {target: "1"}
    replaced = isinstance(volume, str) and ".yml:" in volume
    assert len(service(found)["volumes"]) == (1 if replaced else 2)


def test_files_that_compose_refers_to_elsewhere() -> None:
    found = rendered(
        {"app": {"image": "x", "env_file": ["a.env", {"path": "./b.env", "required": False}]}},
        compose={"configs": {"c": {"file": "./c.conf"}, "d": {"content": "x"}}, "secrets": {"s": {"file": "/etc/s"}}},
        files=[{"path": name, "content": name} for name in ("a.env", "b.env", "c.conf")],
    )
    written = [*service(found)["env_file"], found.compose["configs"]["c"]["file"]]
    written[1] = written[1]["path"]
    assert [found.files[path.removeprefix("./")].content for path in written] == ["a.env", "b.env", "c.conf"]
    assert found.compose["configs"]["d"] == {"content": "x"}
    assert found.compose["secrets"] == {"s": {"file": "/etc/s"}}


def test_a_file_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"services\.app\.env_file: the template brings no a\.env"):
        rendered({"app": {"image": "x", "env_file": "a.env"}})


@pytest.mark.parametrize("entry", [".env", ["./.env"], [{"path": ".env"}]])
def test_a_container_that_reads_the_whole_environment(entry: Any) -> None:
    found = rendered({"app": {"image": "x", "env_file": entry}})
    assert found.environment == {**VALUES.plain, **VALUES.sensitive}


@pytest.mark.parametrize("build", [".", "./", {"context": "."}, {"context": ".", "args": {"A": "${TITLE}"}}])
def test_a_build_has_a_directory_of_its_own(build: Any) -> None:
    files = [{"path": "src/app.py", "content": "1"}, {"path": "/etc/x", "content": "2"}]
    found = rendered({"app": {"build": build}}, dockerfile="FROM x\nENV A=${TITLE}\n", files=files)
    context = service(found)["build"]["context"].removeprefix("./")
    assert {path: file.content for path, file in found.files.items() if path.startswith(context)} == {
        f"{context}/Dockerfile": "FROM x\nENV A=${TITLE}\n",
        f"{context}/src/app.py": "1",
    }
    assert found.services["app"].builds
    if isinstance(build, dict) and "args" in build:
        assert service(found)["build"]["args"] == {"A": "A $$title"}


def test_a_build_in_a_directory_and_with_an_inline_dockerfile() -> None:
    services = {
        "a": {"build": {"context": "./a", "dockerfile": "Dockerfile.prod"}},
        "b": {"build": {"context": ".", "dockerfile_inline": "FROM $$x\n"}},
    }
    found = rendered(services, files=[{"path": "a/Dockerfile.prod", "content": "FROM a"}])
    a, b = (service(found, name)["build"]["context"].removeprefix("./") for name in "ab")
    assert found.files[f"{a}/Dockerfile.prod"].content == "FROM a"
    assert found.files[f"{b}/Dockerfile"].content == "FROM $x\n"
    assert "dockerfile_inline" not in service(found, "b")["build"]


def test_a_build_without_a_dockerfile() -> None:
    with pytest.raises(InputError, match=r"build the service app: the template brings no Dockerfile for \."):
        rendered({"app": {"build": "."}})


@pytest.mark.parametrize("context", ["https://example.com/x.git", "/srv/app", "git@example.com:x/y.git"])
def test_a_build_from_elsewhere_is_left_alone(context: str) -> None:
    assert service(rendered({"app": {"build": {"context": context}}}))["build"] == {"context": context}
