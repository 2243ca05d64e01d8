# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real host with MariaDB, PostgreSQL and Redis on it, for the tests of `serverkit_db_link`.

The servers are Debian's. What the collection's roles would configure is done here in few lines: listening on Docker's
bridge, and letting Docker's networks in.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.serverkit.core.tests.integration.app_host import (
    IMAGE,
    AppHost,
    definitions,
    wait_for,
)

ENGINES = ("mariadb", "postgresql", "redis")
REDIS_ADMIN = "correct-horse-battery"

_PACKAGES = "mariadb-server postgresql redis-server python3-pymysql python3-psycopg2 python3-redis python3-cryptography"
_BRIDGE = "ip -4 -o address show docker0 | awk '{split($4, address, \"/\"); print address[1]}'"
# The file names the address that the servers listen at: a deploy of another test moves Docker's bridge, since the role
# `docker` sets the address pools.
_READY = "/root/databases-ready"
_SETUP = rf"""
set -e
bridge=$({_BRIDGE})
if ! test -e {_READY}; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null
  apt-get install -y -qq --no-install-recommends {_PACKAGES} >/dev/null
  cd /etc/postgresql/*/main
  printf 'host all all %s scram-sha-256\n' 172.16.0.0/12 192.168.0.0/16 >> pg_hba.conf
  cat >> /etc/redis/redis.conf <<END
protected-mode no
unixsocket /run/redis/redis-server.sock
aclfile /etc/redis/serverkit.acl
include /etc/redis/tests.conf
END
  chgrp redis /etc/redis
  chmod 2775 /etc/redis
  install -o redis -g redis -m 0640 /dev/null /etc/redis/serverkit.acl
  printf 'user default off\nuser serverkit on >{REDIS_ADMIN} ~* &* +@all\n' > /etc/redis/serverkit.acl
  touch {_READY}
fi
if test "$(cat {_READY})" != "$bridge"; then
  printf '[mysqld]\nbind-address = 127.0.0.1,%s\n' "$bridge" > /etc/mysql/mariadb.conf.d/99-tests.cnf
  cd /etc/postgresql/*/main/conf.d
  echo "listen_addresses = '127.0.0.1,$bridge'" > tests.conf
  echo "bind 127.0.0.1 $bridge" > /etc/redis/tests.conf
  systemctl restart mariadb postgresql redis-server
  echo "$bridge" > {_READY}
fi
"""
# The file that the role `redis` writes; the other two are found by their sockets.
_REDIS = {
    "engine": "redis",
    "port": 6379,
    "socket": "/run/redis/redis-server.sock",
    "user": "serverkit",
    "password": REDIS_ADMIN,
    "clients": ["172.16.0.0/12"],
}
_EMPTY = rf"""
mariadb -NBe "SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.global_priv WHERE user NOT IN
  ('root', 'mysql', 'mariadb.sys', '', 'PUBLIC')" | mariadb
mariadb -NBe "SELECT CONCAT('DROP DATABASE ', CHAR(96), schema_name, CHAR(96), ';') FROM information_schema.schemata
  WHERE schema_name NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')" | mariadb
cd /tmp
psql="setpriv --reuid postgres --regid postgres --clear-groups psql -qXAt -v ON_ERROR_STOP=1"
$psql -c "SELECT format('DROP DATABASE %I WITH (FORCE);', datname) FROM pg_database
  WHERE datname NOT IN ('postgres', 'template0', 'template1')" | $psql
$psql -c "SELECT format('DROP ROLE %I;', rolname) FROM pg_roles
  WHERE rolname !~ '^pg_' AND rolname <> 'postgres'" | $psql
export REDISCLI_AUTH={REDIS_ADMIN}
redis="redis-cli -s /run/redis/redis-server.sock --user serverkit"
$redis flushall >/dev/null
for user in $($redis acl users); do
  case $user in default|serverkit) ;; *) $redis acl deluser "$user" >/dev/null ;; esac
done
$redis acl save >/dev/null
"""

# Containers that say what they were told, and stay healthy whatever that is.
_SERVE = 'mkdir /w; cd /w; echo "$$GREETING" > index.html; exec python3 -m http.server 80'
_QUICK = {"image": IMAGE, "init": True, "stop_grace_period": "1s", "restart": "unless-stopped"}
SHOP: dict[str, Any] = {
    "id": "shop",
    "name": "Shop",
    "version": "1.0",
    "description": "A page and a worker that has nothing to do with it",
    "main_service": "web",
    "main_port": "HTTP_PORT",
    "health": {"type": "http", "path": "/", "timeout": 60},
    "variables": [{"name": "HTTP_PORT", "type": "port", "default": "8001"}, {"name": "GREETING", "default": "hello"}],
    "compose": {
        "services": {
            "web": {
                **_QUICK,
                "command": ["sh", "-c", _SERVE],
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"GREETING": "${GREETING}"},
            },
            "worker": {**_QUICK, "command": ["sleep", "900"]},
        }
    },
}
# Does not start when a linked database has told it a password that it does not like.
PICKY: dict[str, Any] = {
    **SHOP,
    "id": "picky",
    "health": {"type": "http", "path": "/", "timeout": 15},
    "compose": {
        "services": {
            "web": {
                **_QUICK,
                "command": ["sh", "-c", f'[ "$$DB_PORT" != 3306 ] || exit 3; {_SERVE}'],
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"GREETING": "${GREETING}"},
            }
        }
    },
}
# This host's own Redis in a container: no image brings one, and any that has a shell can run it with its own loader.
_REDIS_COMMAND = (
    "exec /host/lib/*-linux-gnu/ld-linux-*.so.* --library-path $$(echo /host/lib/*-linux-gnu) /host/bin/redis-server"
    f" --requirepass {REDIS_ADMIN} --protected-mode no --dir /tmp"
)
SHARED: dict[str, Any] = {
    "id": "shared",
    "name": "Shared",
    "version": "1.0",
    "description": "A server for other apps",
    "compose": {
        "services": {
            "cache": {**_QUICK, "command": ["sh", "-c", _REDIS_COMMAND], "volumes": ["/usr:/host:ro"]},
        }
    },
}
_FAITHFUL = (
    'told="$$DB_PASSWORD$$REDIS_PASSWORD"; [ -z "$$told" ] || [ -e /data/told ] || printf %s "$$told" > /data/told;'
    ' [ -z "$$told" ] || [ "$$told" = "$$(cat /data/told)" ] || exit 3;'
)
# Keeps the first password that it is told, and does not start with another one.
FAITHFUL: dict[str, Any] = {
    **PICKY,
    "id": "faithful",
    "compose": {
        "services": {
            "web": {
                **_QUICK,
                "command": [
                    "sh",
                    "-c",
                    f"{_FAITHFUL} {_SERVE}",
                ],
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"GREETING": "${GREETING}"},
                "volumes": ["data:/data"],
            }
        },
        "volumes": {"data": {}},
    },
}
# Logs in every 20 ms with what `.env` has at that moment, and writes down what failed.
_CLIENT = r"""
import json, pathlib, sys, time
app, engine, bridge = sys.argv[1:4]
where = pathlib.Path(f"/var/serverkit/apps/{app}/.env")
report = pathlib.Path("/root/client.json")
stop = pathlib.Path("/root/client.stop")
failures, queries = [], 0


def told():
    # Generated values need no quotes there.
    pairs = dict(line.split("=", 1) for line in where.read_text().splitlines() if "=" in line)
    prefix = f"SERVERKIT_LINK_{engine.upper()}_"
    return pairs[prefix + "USER"], pairs[prefix + "PASSWORD"]


def query(user, password):
    if engine == "mariadb":
        import pymysql

        with pymysql.connect(host=bridge, user=user, password=password, database="shop") as connection:
            connection.cursor().execute("SELECT 1")
    elif engine == "postgresql":
        import psycopg2

        connection = psycopg2.connect(host=bridge, user=user, password=password, dbname="shop")
        connection.cursor().execute("SELECT 1")
        connection.close()
    else:
        import redis

        redis.Redis(host=bridge, username=user, password=password).set("shop:key", "1")


while not stop.exists():
    try:
        query(*told())
    except Exception as error:
        failures.append(repr(error))
    queries += 1
    report.write_text(json.dumps([queries, failures]))
    time.sleep(0.02)
"""


class LinkHost(AppHost):
    """Calls serverkit_db_link on the host."""

    def prepare(self) -> None:
        super().prepare()
        self.sh(_SETUP)
        self.bridge = self.sh(_BRIDGE)

    def clean(self) -> None:
        super().clean()
        self.sh(_EMPTY)
        self.sh(
            "mkdir -p /etc/serverkit/databases; umask 077; cat > /etc/serverkit/databases/redis.json",
            json.dumps({**_REDIS, "host": self.bridge}),
        )

    def sh(self, script: str, stdin: str = "", *, fails: bool = False) -> str:
        """Run a shell script on the host and return what it printed."""
        done = self._exec(["sh", "-c", script], stdin.encode())
        if done.returncode != 0 and not fails:
            raise AssertionError(f"{script}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def link(self, *links: Mapping[str, Any], check: bool = False) -> dict[str, Any]:
        """Run serverkit_db_link to its end and return its result."""
        return self.run_module("serverkit_db_link", {"links": list(links)}, check=check)

    def run_module(self, module: str, arguments: Mapping[str, Any], *, check: bool = False) -> dict[str, Any]:
        """Run a module to its end and return its result."""
        done = self.completed(module, arguments, check=check)
        # Whatever it says, no password may be in it, as it is or as it stands in a URL or in JSON.
        told = done.stdout.decode() + done.stderr.decode()
        for name, value in self.secrets_everywhere():
            assert name.endswith("_USER") or value not in told, name
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def secrets_everywhere(self) -> list[tuple[str, str]]:
        """Return what the apps' `.env` files hold of their links."""
        text = self.sh("grep -hE '^SERVERKIT_LINK_' /var/serverkit/apps/*/.env", fails=True)
        return [(name, value) for name, _equals, value in (line.partition("=") for line in text.splitlines())]

    def link_killed(self, *links: Mapping[str, Any], after: float) -> str:
        """Run it and kill it, as by `killed`."""
        return self.killed("serverkit_db_link", {"links": list(links)}, after)

    @contextlib.contextmanager
    def client(self, engine: str) -> Iterator[None]:
        """Let a client of the app `shop` query all the time; none of its queries may fail."""
        self.sh("rm -f /root/client.stop /root/client.json; cat > /root/client.py", _CLIENT)
        self.sh(f"setsid python3 /root/client.py shop {engine} {self.bridge} >/dev/null 2>&1 &")
        try:
            assert wait_for(lambda: self._queries() > 0)
            yield
            queries = self._queries()
            assert wait_for(lambda: self._queries() > queries)
        finally:
            self.sh("touch /root/client.stop")
        assert json.loads(self.sh("cat /root/client.json"))[1] == []

    def _queries(self) -> int:
        text = self.sh("cat /root/client.json", fails=True)
        return int(json.loads(text)[0]) if text.endswith("]") else 0

    def environment(self, app: str = "shop", service: str = "web") -> dict[str, str]:
        """Return the variables of a running container."""
        script = "import json,os; print(json.dumps(dict(os.environ)))"
        text = self.sh(f"docker exec {app}-{service}-1 python3 -c '{script}'")
        return dict(json.loads(text))

    def sql(self, engine: str, statement: str, database: str = "") -> str:
        """Run a statement as the administrator of a server."""
        programs = {
            "mariadb": f"mariadb -NB {database}",
            "postgresql": "cd /tmp; setpriv --reuid postgres --regid postgres --clear-groups"
            f" psql -qXAt -v ON_ERROR_STOP=1 {database}",
            "redis": f"REDISCLI_AUTH={REDIS_ADMIN} redis-cli -s /run/redis/redis-server.sock --user serverkit",
        }
        return self.sh(programs[engine], f"{statement}\n")

    def secrets(self, app: str = "shop") -> dict[str, str]:
        """Return what the app's `.env` holds of its links."""
        text = self.sh(f"grep -E '^SERVERKIT_LINK_' /var/serverkit/apps/{app}/.env", fails=True)
        return dict(line.split("=", 1) for line in text.splitlines())


def shop(template: Mapping[str, Any] | None = None, name: str = "shop", **options: Any) -> dict[str, Any]:
    """Return a task for serverkit_app, with the template SHOP unless another one is given."""
    template = template or SHOP
    variables = {"HTTP_PORT": 8001, **options.pop("variables", {})}
    return {
        "name": name,
        "template": template["id"],
        "definitions": definitions(template),
        "variables": variables,
        **options,
    }


def one(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the only item of a result that must not have failed."""
    assert not result.get("failed"), result
    item: dict[str, Any] = result["results"][0]
    return item
