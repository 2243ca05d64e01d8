# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Web
    from testinfra.host import Host


def test_no_container_is_left(server: Host) -> None:
    assert server.check_output("docker ps --all --quiet") == ""


def test_volumes_and_passwords_are_kept(server: Host) -> None:
    volumes = server.check_output("docker volume ls --format '{{.Name}}'").split()
    assert any(name.startswith("blog_") for name in volumes)
    assert server.file("/var/serverkit/apps/blog/.env").mode == 0o600
    assert not server.file("/var/serverkit/apps/blog/docker-compose.yml").exists


def test_no_name_is_served(web: Web) -> None:
    assert web.get("/", "blog.example.test").status == 404
    assert web.get("/p/the-blog/").status == 404


def test_nginx_is_none_the_worse(server: Host) -> None:
    assert server.service("nginx").is_running
    assert server.run("nginx -t").rc == 0
    assert server.check_output("ls /etc/nginx/sites-enabled") == "serverkit"
