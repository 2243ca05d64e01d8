# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real host for the tests of `serverkit_restore`: databases, Docker, apps with data of every kind, and their sets."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.serverkit.core.tests.integration.app_host import IMAGE, only
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES, LinkHost, one, shop

SETS = "/var/serverkit/backups"
APP_DIRECTORY = "/var/serverkit/apps/shop"

_QUICK = {"image": IMAGE, "init": True, "stop_grace_period": "1s", "restart": "unless-stopped"}
# Shows what is in its volume, and does not become healthy where that says `bad`.
_SERVE = (
    "cd /files; [ -e index.html ] || echo first > index.html; grep -q bad index.html && exit 3;"
    " exec python3 -m http.server 80"
)
STORE: dict[str, Any] = {
    "id": "store",
    "name": "Store",
    "version": "1.0",
    "description": "A page from a volume, and a directory of the host",
    "main_service": "web",
    "main_port": "HTTP_PORT",
    "health": {"type": "http", "path": "/", "timeout": 15},
    "variables": [{"name": "HTTP_PORT", "type": "port", "default": "8001"}],
    "compose": {
        "services": {
            "web": {
                **_QUICK,
                "command": ["sh", "-c", _SERVE],
                "ports": ["${HTTP_PORT}:80"],
                "volumes": ["files:/files", "./data/notes:/notes", "cache:/cache"],
            },
        },
        "volumes": {"files": {}, "cache": {}},
    },
}
# What a restore could leave behind, or change.
_STATE = f"""
mariadb -NBe 'SHOW DATABASES'
cd /tmp
setpriv --reuid postgres --regid postgres --clear-groups psql -qXAtc 'SELECT datname FROM pg_database ORDER BY 1'
docker volume ls --format '{{{{.Name}}}}' | sort
find {APP_DIRECTORY} | sort
find {SETS} -type f -exec sha256sum {{}} + | sort
"""


class RestoreHost(LinkHost):
    """Calls serverkit_backup and serverkit_restore on the host."""

    def prepare(self) -> None:
        super().prepare()
        self.sh("command -v zstd >/dev/null || { apt-get update -qq && apt-get install -y -qq zstd; } >/dev/null 2>&1")

    def deploy(self) -> None:
        """Deploy the app with links to databases."""
        for engine in ENGINES:
            one(self.link({"app": "shop", "engine": engine, **self.prefix(engine)}))
        only(self.call(shop({**STORE, "id": "store"})))

    def fill(self, text: str) -> None:
        """Put a text into each place where the app keeps data, and take away what restores have left."""
        only(self.restore(state="discarded"))
        rows = f"INSERT INTO posts VALUES (1, '{text}'), (2, 'two');"
        self.sql("mariadb", f"CREATE OR REPLACE TABLE posts (id int PRIMARY KEY, body text); {rows}", "shop")
        # As the app itself would have made it.
        table = "DROP TABLE IF EXISTS posts; CREATE TABLE posts (id int PRIMARY KEY, body text);"
        self.sql("postgresql", f"SET ROLE shop; {table} {rows}", "shop")
        self.sql("redis", f"SET shop:post:1 {text}\nSET shop:post:2 two\nSET other:post kept")
        self.write(text)
        self.sh(f"echo {text} > {APP_DIRECTORY}/data/notes/note")

    def data(self) -> dict[str, str]:
        """Return what is in each of those places."""
        found = {engine: self.post(engine) for engine in ENGINES}
        return {**found, "page": self.page(), "note": self.sh(f"cat {APP_DIRECTORY}/data/notes/note", fails=True)}

    def prefix(self, engine: str) -> dict[str, str]:
        """Return the options of a link by which several can be told to one app."""
        return _PREFIXES[engine]

    def write(self, text: str) -> None:
        """Write into the volume of the app's page."""
        self.sh("docker exec -i shop-web-1 sh -c 'cat > /files/index.html'", f"{text}\n")

    def page(self) -> str:
        return self.get(8001).strip()

    def post(self, engine: str) -> str:
        """Return the first post of the app, as the administrator sees it."""
        if engine == "redis":
            return self.sql(engine, "GET shop:post:1")
        return self.sql(engine, "SELECT body FROM posts WHERE id = 1;", "shop")

    def back_up(self, **options: Any) -> str:
        """Make a set and return its name."""
        return str(only(self.run_module("serverkit_backup", {"app": "shop", **options}))["set"])

    def restore(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run serverkit_restore to its end and return its result."""
        return self.run_module("serverkit_restore", {"app": "shop", **options}, check=check)

    def restore_killed(self, after: float, **options: Any) -> str:
        """Run it and kill it, as by `killed`."""
        return self.killed("serverkit_restore", {"app": "shop", **options}, after)

    def state(self) -> str:
        """Return what a restore could leave behind, or change."""
        return self.sh(_STATE)

    def journal(self) -> dict[str, Any]:
        """Return what the host remembers of the app's backups and restores."""
        return dict(json.loads(self.sh(f"cat {SETS}/shop/state.json", fails=True) or "{}"))


_PREFIXES: dict[str, dict[str, str]] = {
    "mariadb": {},
    "postgresql": {"env_prefix": "REPORTS"},
    "redis": {},
}
