# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Web
    from testinfra.host import Host

APPS = ("hello", "site", "blog", "node", "metrics")

# Name or private URL, and a piece of the page.
PAGES = [
    ("", "/p/hello-there/", "Good"),
    ("hello.example.test", "/", "Good"),
    ("www.hello.example.test", "/", "Good"),
    ("", "/p/the-site/", "<html"),
    ("site.example.test", "/", "<html"),
    ("", "/p/the-node/", ""),
    ("metrics.example.test", "/", ""),
]


@pytest.mark.parametrize(("name", "path", "piece"), PAGES)
def test_a_page_is_served(web: Web, name: str, path: str, piece: str) -> None:
    answer = web.follow(path, name)
    assert answer.status == 200
    assert piece in answer.body


@pytest.mark.parametrize(("name", "path"), [("blog.example.test", "/"), ("", "/p/the-blog/")])
def test_wordpress_offers_its_installation(web: Web, name: str, path: str) -> None:
    answer = web.follow(path, name)
    assert answer.status == 200
    assert "WordPress" in answer.body
    assert "install" in answer.body.lower()


def test_a_stranger_gets_nobodys_app(web: Web, address: str) -> None:
    for name in ("", address, "unknown.example.test"):
        assert web.get("/", name).status == 404
    assert web.get("/p/nobody/").status == 404


def test_ports_are_published_on_loopback_only(server: Host, address: str) -> None:
    ports = {json.loads(line)["port"] for line in server.check_output(PUBLISHED).splitlines()}
    assert len(ports) >= len(APPS)
    for port in ports:
        assert server.socket(f"tcp://127.0.0.1:{port}").is_listening
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=3).close()


PUBLISHED = (
    "docker ps --quiet | xargs docker inspect --format "
    "'{{range $target, $all := .NetworkSettings.Ports}}{{range $all}}"
    '{"port": {{.HostPort}}}{{println}}'
    "{{end}}{{end}}' | grep port"
)


@pytest.mark.parametrize("app", APPS)
def test_files_of_an_app_have_their_modes(server: Host, app: str) -> None:
    directory = f"/var/serverkit/apps/{app}"
    assert server.file(f"{directory}/docker-compose.yml").mode == 0o644
    environment = server.file(f"{directory}/.env")
    assert (environment.mode, environment.user) == (0o600, "root")


def test_the_secret_is_in_one_place(server: Host) -> None:
    found = server.check_output(
        "grep --recursive --files-with-matches --fixed-strings 's3cret-' /etc /var/serverkit || true"
    )
    assert found.split() == ["/var/serverkit/apps/metrics/.env"]


def test_services_come_back_after_a_reboot(server: Host) -> None:
    for name in ("docker", "nginx"):
        assert server.service(name).is_running
        assert server.service(name).is_enabled


def test_all_containers_are_up(server: Host) -> None:
    deadline = time.monotonic() + 60
    while True:
        shown = server.check_output("docker ps --all --format '{{.Names}} {{.State}} {{.Status}}'").splitlines()
        bad = [line for line in shown if " running " not in line or "unhealthy" in line or "starting" in line]
        if not bad or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert not bad
    assert len(shown) == 6


def test_logs_are_capped_and_rotated(server: Host) -> None:
    settings = json.loads(server.file("/etc/docker/daemon.json").content_string)
    assert settings["log-opts"] == {"max-size": "10m", "max-file": "3"}
    caps = server.check_output(
        "docker inspect --format '{{json .HostConfig.LogConfig}}' $(docker ps --quiet | head -1)"
    )
    assert json.loads(caps)["Config"]["max-size"] == "10m"
    assert server.package("logrotate").is_installed
    assert "/var/log/nginx/*.log" in server.file("/etc/logrotate.d/nginx").content_string


def test_nothing_is_left_of_the_default_site(server: Host) -> None:
    assert not server.file("/etc/nginx/sites-enabled/default").exists
    assert server.run("nginx -t").rc == 0
