# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real host for the tests of `serverkit_app`: a container with Docker, Compose and PyYAML, reached by `docker exec`.

`SERVERKIT_TEST_HOST` names it, for example one that `testbed/testbed.py host create NAME --image ready-trixie` made;
several names are for several processes of pytest (`-n`), each with a host of its own.
The modules run there as Ansible would run them: a fresh process for each task, arguments in, JSON out.
"""

from __future__ import annotations

import io
import json
import pathlib
import subprocess
import tarfile
import time
from collections.abc import Mapping
from typing import Any

import ansible
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = "/opt/serverkit-tests"
IMAGE = "python:3.12-slim"

_SERVE = (
    'echo "starting with $$SECRET" >&2; [ "$$GREETING" != crash ] || exit 3;'
    ' [ "$$GREETING" != hang ] || exec sleep 900;'
    ' mkdir /w; cd /w; echo "$$GREETING" > index.html; exec python3 -m http.server 80'
)
_QUICK = {"image": IMAGE, "init": True, "stop_grace_period": "1s"}
WEB: dict[str, Any] = {
    "id": "web",
    "name": "Web",
    "version": "1.0",
    "description": "A page, a worker that keeps data, and a migration that ends",
    "main_service": "app",
    "main_port": "HTTP_PORT",
    "health": {"type": "http", "path": "/", "timeout": 60},
    "variables": [
        {"name": "HTTP_PORT", "type": "port", "default": "8001"},
        {"name": "GREETING", "default": "hello"},
        {"name": "LEVEL", "default": "1"},
        {"name": "SECRET", "type": "password"},
    ],
    "compose": {
        "services": {
            "app": {
                **_QUICK,
                "command": ["sh", "-c", _SERVE],
                "ports": ["${HTTP_PORT}:80"],
                "environment": {"GREETING": "${GREETING}", "SECRET": "${SECRET}"},
                "restart": "unless-stopped",
            },
            "worker": {
                **_QUICK,
                "command": ["sleep", "900"],
                "environment": {"LEVEL": "${LEVEL}"},
                "restart": "unless-stopped",
                "volumes": ["data:/data"],
            },
            "migrate": {**_QUICK, "command": ["true"], "restart": "no"},
        },
        "volumes": {"data": {}},
    },
}


_RUNNER = r"""
import json, os, signal, subprocess, sys, time
sys.path.insert(0, "/opt/serverkit-tests")
sys.dont_write_bytecode = True


def run():
    from ansible.module_utils import basic
    from ansible.module_utils.testing import patch_module_args
    from importlib import import_module

    call = json.loads(sys.stdin.read())
    module = import_module("ansible_collections.serverkit.core.plugins.modules." + call["module"])
    with patch_module_args(call["arguments"]):
        module.main()


if len(sys.argv) > 1:  # run it in a child and kill that child after so many seconds
    child = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    child.stdin.write(sys.stdin.buffer.read())
    child.stdin.close()
    try:
        child.wait(float(sys.argv[1]))
        print("finished")
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait()
        print("killed")
else:
    run()
"""

# Everything that a run could change: files, containers and volumes.
_SNAPSHOT = r"""
for folder in /var/serverkit /etc/serverkit /run/lock/serverkit /etc/nginx; do
  find $folder -exec stat -c '%n %a %U %s %Y' {} + 2>/dev/null
  find $folder -type f -exec sha256sum {} + 2>/dev/null
done
docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}'
docker volume ls --format '{{.Name}}'
docker network ls --format '{{.ID}} {{.Name}}'
"""


class AppHost:
    """Calls modules on the host and looks at what they left there."""

    def __init__(self, container: str) -> None:
        self.container = container

    def prepare(self) -> None:
        """Put this checkout and the installed ansible-core's `module_utils` on the host."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            core = pathlib.Path(ansible.__file__).parent
            for path in (core / "release.py", core / "module_utils"):
                archive.add(path, f"ansible/{path.name}", filter=_sources)
            for folder in ("modules", "module_utils"):
                name = f"ansible_collections/serverkit/core/plugins/{folder}"
                archive.add(ROOT / "plugins" / folder, name, filter=_sources)
            # Of the package itself, AnsiballZ ships no more than this either.
            _add(archive, "ansible/__init__.py", "from ansible.release import __author__, __version__")
            _add(archive, "run.py", _RUNNER)
        self.sh(f"rm -rf {PLACE}; mkdir -p {PLACE}")
        self._exec(["tar", "-x", "-C", PLACE], stream.getvalue())

    def call(self, arguments: Mapping[str, Any], *, check: bool = False) -> dict[str, Any]:
        """Run serverkit_app to its end and return its result."""
        done = self.completed("serverkit_app", arguments, check=check)
        result: dict[str, Any] = json.loads(done.stdout)
        result["stderr"] = done.stderr.decode()
        return result

    def call_killed(self, arguments: Mapping[str, Any], after: float) -> str:
        """Run serverkit_app and kill it, as by `killed`."""
        return self.killed("serverkit_app", arguments, after)

    def completed(
        self, module: str, arguments: Mapping[str, Any], *, check: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a module to its end; what it has printed is its result."""
        done = self._exec(["python3", f"{PLACE}/run.py"], module_call(module, arguments, check=check))
        if not done.stdout.strip():
            raise AssertionError(done.stderr.decode())
        return done

    def killed(self, module: str, arguments: Mapping[str, Any], after: float) -> str:
        """Run a module and kill it (SIGKILL) after so many seconds; `killed`, or `finished` when it was faster."""
        done = self._exec(["python3", f"{PLACE}/run.py", str(after)], module_call(module, arguments))
        return done.stdout.decode().strip()

    def start(self, arguments: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Begin to run serverkit_app; its result comes on standard output."""
        command = ["docker", "exec", "-i", self.container, "python3", f"{PLACE}/run.py"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if process.stdin is None:
            raise AssertionError("no pipe")
        process.stdin.write(module_call("serverkit_app", arguments))
        process.stdin.close()
        process.stdin = None
        return process

    def sh(self, script: str, *, fails: bool = False) -> str:
        """Run a shell script on the host and return what it printed."""
        done = self._exec(["sh", "-c", script])
        if done.returncode != 0 and not fails:
            raise AssertionError(f"{script}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def snapshot(self, *, locks: bool = True) -> str:
        """Return what there is of files, containers, volumes and networks; a real run leaves its mark on lock files."""
        lines = self.sh(_SNAPSHOT, fails=True).splitlines()
        return "\n".join(line for line in lines if locks or "/run/lock/" not in line)

    def get(self, port: int, path: str = "/") -> str:
        """Return what the host's port answers; empty when it does not."""
        return self.sh(f"curl -s --max-time 30 http://127.0.0.1:{port}{path}", fails=True)

    def leases(self) -> list[tuple[int, str, str]]:
        """Return the registry's ports: number, owner, name."""
        script = "import json,sqlite3; print(json.dumps(sqlite3.connect('/var/serverkit/serverkit.db').execute("
        script += "'SELECT port, owner, name FROM ports ORDER BY port').fetchall()))"
        return [tuple(row) for row in json.loads(self.sh(f'python3 -c "{script}"'))]

    def clean(self) -> None:
        """Take away whatever tests have left."""
        self.sh(
            "docker ps -aq | xargs -r docker rm -f >/dev/null; docker volume ls -q | xargs -r docker volume rm -f"
            " >/dev/null; docker network prune -f >/dev/null; rm -rf /var/serverkit /etc/serverkit /srv/foreign"
        )

    def _exec(self, command: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["docker", "exec", "-i", self.container, *command], input=stdin, capture_output=True, check=False
        )


def definitions(*templates: Mapping[str, Any]) -> str:
    """Return what the action plugin hands over for these templates, by their ids."""
    return json.dumps(
        {
            item["id"]: {
                "document": item,
                "text": yaml.safe_dump(dict(item), sort_keys=False),
                "source": f"{item['id']}.yaml",
            }
            for item in templates
        }
    )


def web(name: str = "blog", variables: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Return a task for an app of the template `web`.

    The port is spelled out: a free one is only chosen by itself when no closed connection lingers on it (TIME_WAIT).
    """
    wanted = {"HTTP_PORT": 8001, **(variables or {})}
    return {"name": name, "template": "web", "definitions": definitions(WEB), "variables": wanted, **options}


def only(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result
    item: dict[str, Any] = result["results"][0]
    return item


def ids(host: AppHost, app: str = "blog") -> dict[str, str]:
    listed = host.sh(
        f"docker ps -aq --no-trunc --filter label=com.docker.compose.project={app} | xargs -r docker inspect"
    )
    return {item["Config"]["Labels"]["com.docker.compose.service"]: item["Id"] for item in json.loads(listed or "[]")}


def wait_for(condition: Any, seconds: float = 60.0) -> bool:
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def module_call(module: str, arguments: Mapping[str, Any], *, check: bool = False) -> bytes:
    """Return what the host's run.py wants to read to run a module."""
    own = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
    return json.dumps({"module": module, "arguments": {**arguments, **own}}).encode()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    archive.addfile(member, io.BytesIO(text.encode()))


def _sources(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith("__pycache__") else member
