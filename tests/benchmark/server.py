# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that is measured on: one of the test bed's, reached over SSH by Ansible and by plain commands alike."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import engine
import hosts
import standins
from shell import Failure, output, say

NAME = "serverkit-bench"
IMAGE = "ready-trixie"
APP_IMAGE = "python:3.12-slim"
PYTHON = "/usr/bin/python3"
CONNECT_SECONDS = 20


class Server:
    """A server of our own with Docker on it, and one SSH connection that everything measured shares."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._key = work / "id_ed25519"
        self._known_hosts = work / "known_hosts"
        # Not below the checkout: the path of a socket may have some 100 characters, and SSH appends to it.
        self._sockets = Path(tempfile.mkdtemp(prefix="serverkit-bench-"))
        self._address = ""
        self._mirror_is_ours = False

    def start(self) -> None:
        """Have the server, afresh, with room for many Compose projects, and the image of the apps in it."""
        engine.ensure_engine()
        self._mirror_is_ours = standins.mirror_contents() is None
        mirror = standins.mirror_up([APP_IMAGE]) if standins.needed("auto") else ""
        if not self._key.exists():
            output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", str(self._key)])
        hosts.destroy(NAME)
        self._address = hosts.create(NAME, IMAGE, ssh_key=Path(f"{self._key}.pub")).address
        key = output(["docker", "exec", NAME, "cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).split()
        self._known_hosts.write_text(f"{self._address} {key[0]} {key[1]}\n", encoding="utf-8")
        self._configure_docker(mirror)
        say(f"* Pulling {APP_IMAGE} ...")
        self.run(f"docker pull --quiet {APP_IMAGE}")

    def disconnect(self) -> None:
        if self._address:
            subprocess.run(["ssh", *self._options(), "-O", "exit", self._login], capture_output=True, check=False)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def stop(self) -> None:
        """Remove the server, and whatever else was made for it."""
        hosts.destroy(NAME)
        if self._mirror_is_ours:
            standins.mirror_down()

    def run(self, script: str, stdin: str | None = None) -> str:
        """Run a shell script as root and return what it prints.

        :raises Failure: when it does not end with 0.
        """
        argv = ["ssh", *self._options(), self._login, script]
        done = subprocess.run(argv, input=stdin or "", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise Failure(f"On {NAME}, this ended with {done.returncode}:\n{script}\n{end}")
        return done.stdout.strip()

    def write(self, path: str, content: str) -> None:
        self.run(f"cat >{shlex.quote(path)}", stdin=content)

    def inventory(self) -> str:
        """Return the inventory for Ansible, as YAML (which JSON is)."""
        variables = {
            "ansible_host": self._address,
            "ansible_user": "root",
            "ansible_python_interpreter": PYTHON,
            "ansible_pipelining": True,
            "ansible_ssh_args": shlex.join(self._options()),
        }
        return json.dumps({"all": {"hosts": {NAME: variables}}}, indent=2)

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on, without the names of anybody's machines."""
        script = (
            ". /etc/os-release; echo $PRETTY_NAME; uname -r; nproc; "
            "docker version --format '{{.Server.Version}}'; docker compose version --short; python3 --version"
        )
        names = ("server", "kernel", "cores", "Docker Engine", "Docker Compose", "Python on the server")
        return dict(zip(names, self.run(script).splitlines(), strict=True))

    @property
    def _login(self) -> str:
        return f"root@{self._address}"

    @property
    def _control_path(self) -> Path:
        return self._sockets / "connection"

    def _options(self) -> list[str]:
        settings = {
            "ControlMaster": "auto",
            "ControlPath": self._control_path,
            # Longer than any pause between two measurements, so that none of them pays for the handshake.
            "ControlPersist": "30m",
            "IdentityFile": self._key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self._known_hosts,
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_SECONDS,
            "LogLevel": "ERROR",
        }
        return ["-F", "none", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]

    def _configure_docker(self, mirror: str) -> None:
        # As the role serverkit.core.docker does: Docker's own pools are used up after some thirty projects.
        settings: dict[str, object] = {"default-address-pools": [{"base": "172.16.0.0/12", "size": 24}]}
        if mirror:
            settings["registry-mirrors"] = [mirror]
        self.run("mkdir -p /etc/docker")
        self.write("/etc/docker/daemon.json", json.dumps(settings))
        self.run("systemctl restart docker")
