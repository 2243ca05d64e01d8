# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from conftest import PORTS, link_values

if TYPE_CHECKING:
    from conftest import Web
    from testinfra.host import Host

LOOPBACK = {"127.0.0.1", "[::1]"}


def test_an_app_creates_tables_in_public(web: Web, server: Host) -> None:
    assert isinstance(web.json("/p/the-notes/notes"), list)
    owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'notes'"
    assert server.check_output(f"psql -XAt -d notes -c {shlex.quote(owner)}") == "notes"


def test_an_app_counts_in_redis(web: Web) -> None:
    first = web.json("/p/the-notes/visits")
    assert web.json("/p/the-notes/visits") == first + 1


def test_apps_have_data_of_their_own(web: Web) -> None:
    for _visit in range(3):
        mine = web.json("/p/the-notes/visits")
    assert web.json("/p/the-other/visits") != mine
    assert "a note to keep" not in web.json("/p/the-other/notes")


def test_wordpress_runs_on_the_linked_database(web: Web, server: Host) -> None:
    assert "WordPress" in web.get(
        "/wp-login.php" if installed(server) else "/wp-admin/install.php", "blog.example.test"
    )
    assert server.check_output("docker ps --filter label=com.docker.compose.project=blog --format '{{.Names}}'") == (
        "blog-wordpress-1"
    )
    assert server.check_output("docker volume ls --quiet --filter label=com.docker.compose.project=blog") == "blog_html"


def test_wordpress_has_kept_its_post(web: Web, server: Host) -> None:
    if installed(server):
        assert "A linked blog" in web.get("/", "blog.example.test")


def installed(server: Host) -> bool:
    return bool(server.check_output("mariadb -N -e \"SHOW TABLES IN blog LIKE 'wp_options'\""))


@pytest.mark.parametrize("port", PORTS.values(), ids=list(PORTS))
def test_a_server_listens_on_loopback_and_the_bridge_only(server: Host, bridge: str, port: int) -> None:
    lines = server.check_output(f"ss --no-header --listening --tcp --numeric 'sport = :{port}'").splitlines()
    addresses = {line.split()[3].rpartition(":")[0] for line in lines}
    assert bridge in addresses
    assert addresses <= {bridge, *LOOPBACK}


def test_a_neighbour_finds_no_database(server: Host, neighbour: Host, address: str) -> None:
    assert set(open_ports(neighbour, address, range(1, 65536), 3)) == {22, 80}


def test_a_neighbour_who_knows_the_bridge_finds_none_either(neighbour: Host, bridge: str, address: str) -> None:
    # Linux takes packets for any of its addresses from any of its networks.
    neighbour.check_output(f"ip route replace {bridge}/32 via {address}")
    assert open_ports(neighbour, bridge, [80], 3) == [80]
    assert open_ports(neighbour, bridge, list(PORTS.values()), 2) == []


def open_ports(host: Host, address: str, ports: Iterable[int], timeout: int) -> list[int]:
    program = SCAN.format(address=address, ports=ports, timeout=timeout)
    return [int(port) for port in host.check_output(f"python3 -c {shlex.quote(program)}").split()]


SCAN = """
import concurrent.futures, socket

def answers(port):
    try:
        socket.create_connection(("{address}", port), {timeout}).close()
    except OSError:
        return False
    return True

ports = {ports}
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(*(port for port, found in zip(ports, pool.map(answers, ports)) if found))
"""


def test_an_app_does_not_get_into_the_database_of_another(server: Host) -> None:
    own = link_values(server, "other", "postgresql")
    told = login(server, f"psycopg2.connect({own['URL']!r}).close()")
    assert told == ""
    stranger, common = (own["URL"].removesuffix("/other") + name for name in ("/notes", "/postgres"))
    assert "permission denied for database" in login(server, f"psycopg2.connect({stranger!r})")
    assert "rejects connection" in login(server, f"psycopg2.connect({common!r})")


def test_an_app_does_not_read_the_keys_of_another(server: Host) -> None:
    own = link_values(server, "other", "redis")["URL"]
    assert login(server, f"redis.Redis.from_url({own!r}).get('other:visits')") == ""
    assert "NoPermission" in login(server, f"redis.Redis.from_url({own!r}).get('notes:visits')")
    assert "NoPermission" in login(server, f"redis.Redis.from_url({own!r}).acl_list()")


def test_a_container_is_nobody_by_itself(server: Host) -> None:
    assert "Error" in login(server, "redis.Redis('host.docker.internal').ping()")
    for user in ("root", "postgres"):
        attempt = f"psycopg2.connect(host='host.docker.internal', user={user!r}, password='', dbname='notes')"
        assert "Error" in login(server, attempt)


def login(server: Host, statement: str) -> str:
    """Return why a statement of Python fails in the container of `other`; nothing if it does not."""
    program = f"import psycopg2, redis\ntry:\n    {statement}\nexcept Exception as error:\n    print(repr(error))"
    return str(server.check_output(f"docker exec other-app-1 python3 -c {shlex.quote(program)}"))


def test_passwords_are_in_one_place(server: Host) -> None:
    for app, link in (("notes", "postgresql"), ("notes", "redis"), ("blog", "mariadb")):
        password = link_values(server, app, link)["PASSWORD"]
        assert len(password) >= 32
        found = server.check_output(
            f"grep --recursive --files-with-matches --fixed-strings {password} /etc /var/serverkit"
        )
        assert found.split() == [f"/var/serverkit/apps/{app}/.env"]
        assert server.file(f"/var/serverkit/apps/{app}/.env").mode == 0o600
        assert server.file(f"/var/serverkit/apps/{app}/compose.links.yml").mode == 0o644


def test_nobody_else_reads_how_servers_are_administrated(server: Host) -> None:
    assert server.file("/etc/serverkit/databases").mode == 0o700
    record = server.file("/etc/serverkit/databases/redis.json")
    assert (record.mode, record.user) == (0o600, "root")
    assert json.loads(record.content_string)["password"]


def test_there_are_no_leftovers_of_an_installation(server: Host) -> None:
    assert server.check_output("mariadb -N -e \"SELECT COUNT(*) FROM mysql.user WHERE User = ''\"") == "0"
    assert server.check_output("mariadb -N -e \"SHOW DATABASES LIKE 'test'\"") == ""
    hosts = server.check_output("mariadb -N -e \"SELECT DISTINCT Host FROM mysql.user WHERE User = 'root'\"")
    assert hosts == "localhost"


def test_a_persons_compose_sees_the_same(server: Host) -> None:
    for app in ("notes", "blog"):
        shown = server.check_output(f"cd /var/serverkit/apps/{app} && docker compose ps --services")
        assert shown
        settings = server.check_output(f"cd /var/serverkit/apps/{app} && docker compose config")
        assert "host.docker.internal" in settings
