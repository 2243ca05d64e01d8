# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates in every shape that ServerKit's own have: they load as they are, and do what their authors meant."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose import render
from ansible_collections.serverkit.core.plugins.module_utils._plan.template_schema import parse
from ansible_collections.serverkit.core.plugins.module_utils._plan.variables import needs, resolve
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Rendered, Template

# The informational keys, variables as a list, types left out, a tag that is declared nowhere, a secret within a URL.
CMS = """
id: some-cms
name: Some CMS
version: "6.4"
description: A content management system
icon: https://example.com/icon.png
website: https://example.com
documentation: https://example.com/docs
categories: [cms, blog]
variables:
  - {name: HTTP_PORT, description: HTTP port, type: port, default: "8080", hidden: true}
  - {name: DB_PASSWORD, description: Database password, type: password, generate: password, hidden: true}
  - {name: ADMIN_PASSWORD, type: password, length: 16, special_chars: true}
  - {name: BASE_URL, description: Base URL, default: http://localhost, required: true}
  - {name: THEME, default: light, options: [light, dark]}
  - {name: MAIL_FROM}
ports:
  - {port: "${HTTP_PORT}", protocol: http, description: Web interface}
volumes:
  - {name: html, path: /var/www/html, description: Files}
requirements: {memory: 1GB, storage: 10GB}
compose:
  version: "3.8"
  services:
    cms:
      image: cms:${VERSION:-6.4-apache}
      container_name: ${APP_NAME}
      restart: unless-stopped
      environment:
        - DATABASE_URL=postgres://cms:${DB_PASSWORD}@db:5432/cms
        - ADMIN_PASSWORD=${ADMIN_PASSWORD}
        - BASE_URL=${BASE_URL}
        - THEME=${THEME}
        - MAIL_FROM=${MAIL_FROM}
      volumes: ["cms_html:/var/www/html:Z"]
      ports: ["${HTTP_PORT}:80"]
      depends_on: [db]
    db:
      image: postgres:15-alpine
      container_name: ${APP_NAME}-db
      environment: {POSTGRES_PASSWORD: "${DB_PASSWORD}"}
      volumes: ["cms_db:/var/lib/postgresql/data"]
  volumes:
    cms_html:
    cms_db:
post_install: |
  docker exec ${APP_NAME} setup --url "${BASE_URL}" --password "${ADMIN_PASSWORD}"
"""

# No id, variables as a mapping, a number for a default, a fixed container name, a key in front of the others.
MONITOR = """
name: monitor
version: "1.23"
description: Monitoring
variables:
  PORT: {type: port, default: 3001, description: Port}
  DATA_PATH: {type: string, default: ./data}
compose:
  services:
    monitor:
      image: monitor:1
      container_name: monitor
      ports: ["${PORT}:3001"]
      volumes: ["monitor-data:/app/data"]
      dns: [1.1.1.1]
  volumes:
    monitor-data:
scripts:
  pre_install: mkdir -p data
  post_install: echo done
"""

# A program that comes as a file into a volume that is mounted above it.
SCRIPTED = """
id: scripted
name: Scripted
version: "1.0"
description: A program in a file
variables:
  - {name: HTTP_PORT, type: port, default: "5000", hidden: true}
compose:
  services:
    app:
      image: python:3.12-slim
      working_dir: /app
      command: >
        sh -c "pip install --no-cache-dir flask && python app.py"
      ports: ["${HTTP_PORT}:5000"]
      volumes: ["app_code:/app"]
  volumes:
    app_code:
files:
  - path: /app/app.py
    content: |
      print(f"{1 + 1} $HOME ${HTTP_PORT}")
"""

# Several ports of one variable set, UDP, and a port that is spelled out.
VIDEO = """
id: video
name: Video
version: "9111"
description: Video conferencing
variables:
  - {name: HTTP_PORT, type: port, default: "80"}
  - {name: HTTPS_PORT, type: port, default: "443"}
  - {name: PUBLIC_URL, description: "Public URL (e.g., https://meet.example.com)", required: true}
compose:
  services:
    web:
      image: web:stable-${VERSION:-9111}
      ports: ["${HTTP_PORT}:80", "${HTTPS_PORT}:443"]
      environment: ["PUBLIC_URL=${PUBLIC_URL}", TZ=UTC]
    bridge:
      image: bridge:stable
      ports: ["10000:10000/udp"]
"""

# No port at all, the host's network, the engine's socket.
AGENT = """
id: agent
name: Agent
version: 16.10
description: An agent
variables:
  - {name: HTTP_PORT, type: port, default: "8123"}
  - {name: TOKEN, type: password, required: true}
compose:
  services:
    agent:
      image: agent:v${VERSION:-16.6.0}
      privileged: yes
      network_mode: host
      environment: ["TOKEN=${TOKEN}"]
      volumes: [/var/run/docker.sock:/var/run/docker.sock]
"""


def load(text: str, path: str = "templates/foreign.yaml") -> Template:
    return parse(parse_yaml(text, path), path)


def deploy(template: Template, given: dict[str, Any] | None = None, secrets: dict[str, Any] | None = None) -> Rendered:
    assigned: dict[str, Any] = {"given": given or {}, "secrets": secrets or {}, "stored": {}}
    found = needs(template, "my-app", **assigned)
    ports = {request.name: 8000 + number for number, request in enumerate(found.ports)}
    generated = {variable.name: f"<{variable.name}>" for variable in found.generated}
    return render(
        template, "my-app", resolve(template, "my-app", **assigned, ports=ports, generated=generated), "loopback"
    )


def test_a_typical_one() -> None:
    template = load(CMS)
    assert template.warnings == ()
    found = deploy(template)
    assert "version" not in found.compose
    cms = found.compose["services"]["cms"]
    assert cms["image"] == "cms:6.4-apache"
    assert cms["ports"] == ["127.0.0.1:8000:80"]
    assert cms["environment"] == [
        "DATABASE_URL=postgres://cms:${DB_PASSWORD}@db:5432/cms",
        "ADMIN_PASSWORD=${ADMIN_PASSWORD}",
        "BASE_URL=http://localhost",
        "THEME=light",
        "MAIL_FROM=",
    ]
    assert found.environment == {"DB_PASSWORD": "<DB_PASSWORD>", "ADMIN_PASSWORD": "<ADMIN_PASSWORD>"}
    assert found.main is not None
    assert (found.main.service, found.main.port, found.health.type) == ("cms", 8000, "auto")
    # Shown to whoever deploys it, and run by nobody.
    assert found.notes == {
        "post_install": 'docker exec my-app setup --url "http://localhost" --password "${ADMIN_PASSWORD}"\n'
    }
    assert found.warnings == ()


def test_a_tag_can_be_given_although_nothing_declares_it() -> None:
    assert deploy(load(CMS), {"VERSION": "6.5"}).compose["services"]["cms"]["image"] == "cms:6.5"


def test_options_are_choices() -> None:
    with pytest.raises(InputError, match="'blue' is not one of light, dark"):
        deploy(load(CMS), {"THEME": "blue"})


def test_one_with_a_mapping_of_variables_and_no_id() -> None:
    template = load(MONITOR, "templates/monitor.yaml")
    assert template.id == "monitor"
    found = deploy(template)
    assert found.compose["services"]["monitor"]["ports"] == ["127.0.0.1:8000:3001"]
    assert found.main is not None
    assert found.main.lease == "PORT"
    assert set(found.notes) == {"scripts.pre_install", "scripts.post_install"}
    assert ["monitor is fixed" in warning for warning in template.warnings] == [True]


def test_one_with_a_program_in_a_file() -> None:
    found = deploy(load(SCRIPTED))
    (path,) = found.files
    assert found.compose["services"]["app"]["volumes"] == ["app_code:/app", f"./{path}:/app/app.py:ro"]
    assert found.files[path].content == 'print(f"{1 + 1} $HOME 8000")\n'


def test_one_with_several_ports() -> None:
    found = deploy(load(VIDEO), {"PUBLIC_URL": "https://meet.example.com"})
    assert found.compose["services"]["web"]["ports"] == ["127.0.0.1:8001:80", "127.0.0.1:8002:443"]
    assert [(entry.port, entry.protocol, entry.lease) for entry in found.published] == [
        (8001, "tcp", "HTTP_PORT"),
        (8002, "tcp", "HTTPS_PORT"),
        (10000, "udp", "fixed:10000/udp"),
    ]
    with pytest.raises(InputError, match=r"PUBLIC_URL: it is required .* \(Public URL \(e\.g\."):
        deploy(load(VIDEO))


def test_one_that_publishes_nothing() -> None:
    template = load(AGENT)
    assert template.version == "16.10"
    found = deploy(template, secrets={"TOKEN": "x"})
    assert found.main is None
    assert found.health.type == "none"
    # Text to YAML 1.2; Compose takes it for true where it wants a boolean.
    assert found.compose["services"]["agent"]["privileged"] == "yes"
    with pytest.raises(InputError, match=r"secrets\.TOKEN: it is required"):
        deploy(template)


@pytest.mark.parametrize("typo", ["compse", "composer", "varibles", "variable", "file", "dockerfil", "post_instal"])
def test_a_typo_is_told(typo: str) -> None:
    with pytest.raises(InputError, match=f"{typo}: it is not a known key; did you mean"):
        load(f"{typo}: x\n{MONITOR}")


def test_a_key_of_another_catalogue_is_no_typo() -> None:
    assert "maintainer: it is not a known key" in load(f"maintainer: x\n{MONITOR}").warnings[0]
