# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's own templates."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.randomness import generate
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan import template_schema
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose import render
from ansible_collections.serverkit.core.plugins.module_utils._plan.linked_template import linked
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import needs, resolve
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Rendered, Template

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "templates").glob("*"))


def document(path: pathlib.Path) -> dict[str, Any]:
    return parse_yaml(path.read_text(encoding="utf-8"), str(path))


def deploy(template: Template, engines: tuple[str, ...] = (), **given: Any) -> Rendered:
    template, _needless = linked(template, engines)
    found = needs(template, "my-blog", given=given, secrets={}, stored={})
    values = resolve(
        template,
        "my-blog",
        given=given,
        secrets={},
        stored={},
        ports={request.name: request.start for request in found.ports},
        generated={variable.name: generate(variable) for variable in found.generated},
    )
    return render(template, "my-blog", values, "loopback")


every_template = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_the_library() -> None:
    names = {path.name.removesuffix(".yaml") for path in FILES}
    assert names == {"flask-hello-world", "flask-page", "grafana", "n8n", "node-app", "static-site", "wordpress"}


@every_template
def test_template_is_valid_and_renders(path: pathlib.Path) -> None:
    template = template_schema.parse(document(path), str(path))
    assert template.id == path.stem
    assert template.description
    assert template.warnings == ()
    found = deploy(template)
    assert found.warnings == ()
    assert found.main is not None
    assert found.main.host_ip == "127.0.0.1"
    assert all(entry.lease == "HTTP_PORT" for entry in found.published)


@every_template
def test_images_are_pinned(path: pathlib.Path) -> None:
    for facts in deploy(template_schema.parse(document(path), str(path))).services.values():
        assert re.fullmatch(r"[a-z0-9./-]+:[0-9]+\.[0-9]+[A-Za-z0-9.-]*", facts.image)


@every_template
def test_containers_start_again_and_health_is_asked_for(path: pathlib.Path) -> None:
    if path.stem == "flask-hello-world":  # word for word the reference's
        return
    template = template_schema.parse(document(path), str(path))
    assert template.health is not None
    assert template.health.type == "http"
    main = deploy(template).main
    for name, service in document(path)["compose"]["services"].items():
        assert service["restart"] == "unless-stopped"
        # Of a container that answers no request of ours, Docker has to know.
        assert "healthcheck" in service or (main and main.service == name)


@every_template
def test_a_declared_variable_is_used(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    for variable in template_schema.parse(document(path), str(path)).variables:
        assert f"${{{variable.name}}}" in text, variable.name


def test_flask_hello_world_is_the_references() -> None:
    assert document(ROOT / "templates" / "flask-hello-world.yaml") == {
        "id": "flask-hello-world",
        "name": "Flask - Hello World",
        "version": "1.0",
        "description": "Simple Flask debug app",
        "categories": ["development", "api"],
        "variables": [{"name": "HTTP_PORT", "type": "port", "default": "5000", "hidden": True}],
        "compose": {
            "services": {
                "app": {
                    "image": "python:3.12-slim",
                    "container_name": "${APP_NAME}",
                    "ports": ["${HTTP_PORT}:5000"],
                    "environment": ["APP_NAME=${APP_NAME}", "EXTERNAL_PORT=${HTTP_PORT}"],
                }
            }
        },
    }


def test_flask_hello_world_rendered() -> None:
    path = ROOT / "templates" / "flask-hello-world.yaml"
    found = deploy(template_schema.parse(document(path), str(path)), HTTP_PORT=8247)
    assert found.compose == {
        "name": "my-blog",
        "services": {
            "app": {
                "image": "python:3.12-slim",
                "container_name": "my-blog",
                "ports": ["127.0.0.1:8000:5000"],
                "environment": ["APP_NAME=my-blog", "EXTERNAL_PORT=8000"],
            }
        },
    }


def test_wordpress_has_its_secrets_in_the_environment_only() -> None:
    path = ROOT / "templates" / "wordpress.yaml"
    found = deploy(template_schema.parse(document(path), str(path)), SITE_TITLE='My "Blog" & $more')
    assert list(found.environment) == ["DB_PASSWORD", "DB_ROOT_PASSWORD"]
    assert not any(secret in json.dumps(found.compose) for secret in found.environment.values())
    environment = found.compose["services"]["wordpress"]["environment"]
    assert environment["WORDPRESS_DB_PASSWORD"] == "${DB_PASSWORD}"
    assert environment["SITE_TITLE"] == 'My "Blog" & $$more'


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
def test_wordpress_with_a_linked_database_has_none_of_its_own(engine: str) -> None:
    path = ROOT / "templates" / "wordpress.yaml"
    found = deploy(template_schema.parse(document(path), str(path)), (engine,))
    assert list(found.services) == ["wordpress"]
    assert list(found.compose["volumes"]) == ["html"]
    assert found.environment == {}
    assert found.warnings == ()
    service = found.compose["services"]["wordpress"]
    assert "depends_on" not in service
    assert not {name for name in service["environment"] if name.startswith("WORDPRESS_DB_")}


@pytest.mark.parametrize("engine", ["postgresql", "redis"])
def test_wordpress_keeps_its_own_database_beside_another_engine(engine: str) -> None:
    path = ROOT / "templates" / "wordpress.yaml"
    assert list(deploy(template_schema.parse(document(path), str(path)), (engine,)).services) == ["wordpress", "db"]
