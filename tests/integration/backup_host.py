# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real host with database servers, for the tests of `serverkit_backup`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.tests.integration.app_host import IMAGE
from ansible_collections.serverkit.core.tests.integration.link_host import LinkHost

SETS = "/var/serverkit/backups"

# Writes to its volume all the time, and notices when it stands still for long.
_WRITE = "n=0; while :; do n=$$((n+1)); echo $$n > /data/count; sleep 0.1; done"
_QUICK = {"image": IMAGE, "init": True, "stop_grace_period": "1s", "restart": "unless-stopped"}
NOTES: dict[str, Any] = {
    "id": "notes",
    "name": "Notes",
    "version": "1.0",
    "description": "A page, a program that writes to a volume, and mounted directories",
    "main_service": "web",
    "main_port": "HTTP_PORT",
    "health": {"type": "http", "path": "/", "timeout": 60},
    "variables": [{"name": "HTTP_PORT", "type": "port", "default": "8001"}, {"name": "SECRET", "type": "password"}],
    "compose": {
        "services": {
            "web": {
                **_QUICK,
                "command": ["sh", "-c", "cd /srv; exec python3 -m http.server 80"],
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"SECRET": "${SECRET}"},
                "volumes": ["./data/pages:/srv", "cache:/cache", "/etc/ssl:/ssl:ro"],
            },
            "writer": {**_QUICK, "command": ["sh", "-c", _WRITE], "volumes": ["data:/data"]},
        },
        "volumes": {"data": {}, "cache": {}},
    },
}


class BackupHost(LinkHost):
    """Calls serverkit_backup on the host, and looks at what is in sets."""

    def prepare(self) -> None:
        super().prepare()
        self.sh("command -v zstd >/dev/null || apt-get install -y -qq --no-install-recommends zstd >/dev/null")

    def backup(self, *backups: Mapping[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        """Run serverkit_backup to its end and return its result."""
        return self.run_module("serverkit_backup", {"backups": list(backups), **options}, check=check)

    def backup_killed(self, *backups: Mapping[str, Any], after: float) -> str:
        """Run it and kill it, as by `killed`."""
        return self.killed("serverkit_backup", {"backups": list(backups)}, after)

    def sets(self, app: str = "shop") -> list[str]:
        """Return what lies in the app's directory of sets, but for the notes."""
        listed = self.sh(f"ls -A {SETS}/{app} 2>/dev/null | grep -v state.json", fails=True)
        return sorted(listed.split())

    def state(self, app: str = "shop") -> dict[str, Any]:
        """Return the notes about an app's backups."""
        text = self.sh(f"cat {SETS}/{app}/state.json", fails=True)
        return dict(json.loads(text or "{}"))

    def manifest(self, identity: str, app: str = "shop") -> dict[str, Any]:
        """Return the manifest of a set."""
        return dict(json.loads(self.sh(f"cat {SETS}/{app}/{identity}/manifest.json")))

    def states(self, app: str = "shop") -> set[str]:
        """Return the states that the app's containers are in."""
        listed = f"docker ps -a --filter label=com.docker.compose.project={app} --format '{{{{.State}}}}'"
        return set(self.sh(listed).split())
