# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real host for the tests of apps that are made of backup sets: all that there is of an app, and taking it away."""

from __future__ import annotations

from typing import Any

from ansible_collections.serverkit.core.tests.integration.app_host import PLACE, module_call, only
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES, one, shop
from ansible_collections.serverkit.core.tests.integration.restore_host import APP_DIRECTORY, STORE, RestoreHost

_WEB = STORE["compose"]["services"]["web"]
# All by which an app can be in another one's way.
NAMED: dict[str, Any] = {
    **STORE,
    "id": "named",
    "compose": {
        "services": {
            "web": {
                **_WEB,
                "container_name": "the-shop",
                "labels": {"traefik.enable": "true"},
                "networks": ["default", "outside"],
                "volumes": [*_WEB["volumes"], "/srv/media:/media"],
            }
        },
        "networks": {"outside": {"external": True}},
        "volumes": {"files": {"name": "precious"}, "cache": {}},
    },
}
TABLE = "CREATE TABLE posts (id int PRIMARY KEY, body text); INSERT INTO posts VALUES (1, 'one'), (2, 'two');"
# What a restore or a drill could change, but for what changes while nobody does anything.
_EVERYTHING = r"""
mariadb -NBe "SHOW DATABASES; SELECT user, host FROM mysql.global_priv ORDER BY 1, 2"
cd /tmp
setpriv --reuid postgres --regid postgres --clear-groups psql -qXAtc \
  'SELECT datname FROM pg_database ORDER BY 1; SELECT rolname FROM pg_roles ORDER BY 1'
python3 - <<'END'
import os, sqlite3
if os.path.exists("/var/serverkit/serverkit.db"):
    for line in sqlite3.connect("/var/serverkit/serverkit.db").iterdump():
        print(line)
END
docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort
docker volume ls --format '{{.Name}}' | sort
docker network ls --format '{{.ID}} {{.Name}}' | sort
find /var/serverkit /etc/serverkit /srv ! -name 'serverkit.db*' -printf '%p %m %U %y\n' | sort
find /var/serverkit /etc/serverkit /srv -type f ! -name 'serverkit.db*' -exec sha256sum {} + | sort
"""


class PlacementHost(RestoreHost):
    """Calls the modules, and looks at everything."""

    def everything(self) -> str:
        """Return all that there is of apps and their data."""
        return self.sh(_EVERYTHING, fails=True)

    def clean(self) -> None:
        super().clean()
        self.sh("rm -rf /srv/media")

    def deploy(self) -> None:
        """Deploy the app with links to databases, and put something into each of its places."""
        self.sh("docker network create outside; mkdir -p /srv/media; echo first > /srv/media/file")
        for engine in ENGINES:
            one(self.link({"app": "shop", "engine": engine, **self.prefix(engine)}))
        only(self.call(shop(NAMED)))
        self.sql("mariadb", TABLE, "shop")
        self.sql("postgresql", f"SET ROLE shop; {TABLE}", "shop")
        if "redis" in ENGINES:
            self.sql("redis", "SET shop:post:1 one\nSET shop:post:2 two\nSET other:post kept")
        self.write("first")
        self.sh(f"echo first > {APP_DIRECTORY}/data/notes/note")

    def back_up_twice(self) -> tuple[str, str]:
        """Make a set that is good, and one with data that the app does not start with; return their names."""
        good = self.back_up()
        self.write("bad")
        bad = self.back_up()
        self.write("first")
        return good, bad

    def write(self, text: str) -> None:
        """Write into the volume of the app's page."""
        self.sh("docker exec -i the-shop sh -c 'cat > /files/index.html'", f"{text}\n")

    def posts(self, engine: str, database: str = "shop") -> str:
        """Return what is in a database, as the administrator sees it."""
        if engine == "redis":
            return self.sql(engine, f"GET {database}:post:1\nGET {database}:post:2")
        return self.sql(engine, "SELECT body FROM posts ORDER BY id;", database)

    def purge(self) -> None:
        """Take the app away with all of its data; its sets stay."""
        only(self.call({"name": "shop", "state": "absent", "purge": True, "skip_backup": True}))
        gone = {"app": "shop", "state": "absent", "drop": True, "skip_backup": True}
        result = self.link(*({**gone, "engine": engine} for engine in ENGINES))
        assert not result.get("failed"), result
        self.sh("rm -rf /srv/media")

    def restore_as(self, name: str, identity: str) -> dict[str, Any]:
        """Make another app of a set and return the module's result."""
        return self.run_module("serverkit_restore", {"app": "shop", "as": name, "set": identity})

    def kill_restore_when(self, script: str, **options: Any) -> bool:
        """Run serverkit_restore and kill it (SIGKILL) as soon as a script succeeds; return whether it was still there.

        All of this is done on the host: by the time that this machine has asked it, the instant may be over.
        """
        self.sh("cat > /root/call.json", module_call("serverkit_restore", {"app": "shop", **options}).decode())
        killed = self.sh(
            f"setsid python3 {PLACE}/run.py < /root/call.json > /root/call.log 2>&1 & run=$!;"
            f" until ({script}) >/dev/null 2>&1; do kill -0 $run || exit 1; sleep 0.02; done;"
            " kill -KILL $run && echo killed",
            fails=True,
        )
        return killed == "killed"

    def reaches_out(self, container: str) -> bool:
        """Return whether a container can connect to somebody who is not on the host."""
        address = self.sh("ip -4 route show default | awk '{print $3}'")
        # Refused is an answer, too.
        script = (
            "import socket\ntry:\n    socket.create_connection(('%s', 9), 5)\nexcept ConnectionRefusedError:\n    pass"
        )
        done = self.sh(f'docker exec {container} python3 -c "{script % address}" && echo yes', fails=True)
        return done == "yes"
