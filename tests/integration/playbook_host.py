# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host of `app_host` as Ansible sees it: `ansible-playbook` of this environment, over SSH, as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from ansible_collections.serverkit.core.tests.integration.app_host import IMAGE, ROOT, AppHost

__all__ = ["IMAGE", "PlaybookHost", "Run", "host_for_playbooks"]

_RESULTS = """
import json
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "results"

    def _keep(self, result, failed=False, **_options):
        # Ansible has taken `failed` out of the result by now.
        kept = {"task": result._task.get_name(), "result": {**result._result, "failed": failed}}
        with open(PATH, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(kept, default=str) + "\\n")

    def _failed(self, result, **_options):
        self._keep(result, failed=True)

    v2_runner_on_ok = v2_runner_on_skipped = _keep
    v2_runner_on_failed = v2_runner_on_unreachable = _failed
"""


@dataclass(frozen=True)
class Run:
    """What a run left on the controller. `results` has what each task returned, by the task's name."""

    returncode: int
    output: str
    log: str
    results: Mapping[str, Mapping[str, Any]]

    def message(self, task: str) -> str:
        """Return why a task failed."""
        result = self.results[task]
        assert result.get("failed"), result
        return str(result["msg"])


class PlaybookHost(AppHost):
    """Runs playbooks against the host."""

    def __init__(self, container: str, work: pathlib.Path) -> None:
        super().__init__(container)
        self.work = work
        self._key = work / "id_ed25519"
        self._known_hosts = work / "known_hosts"
        # The path of a socket may have some 100 characters.
        self._sockets = work / "s"

    def keep_nginx(self) -> None:
        """Keep nginx's configuration as it is now, for `restore_nginx`."""
        self.sh("cp -a /etc/nginx /root/nginx.before")

    def restore_nginx(self) -> None:
        self.sh("rm -rf /etc/nginx && mv /root/nginx.before /etc/nginx && systemctl restart nginx")

    def connect(self) -> None:
        """Let this controller in, by a key of its own."""
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "serverkit-tests", "-f", str(self._key)]
        subprocess.run(keygen, check=True)
        public = pathlib.Path(f"{self._key}.pub").read_text(encoding="utf-8").strip()
        self.sh(f"mkdir -m 700 -p /root/.ssh; echo '{public}' >> /root/.ssh/authorized_keys")
        address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        inspect = ["docker", "inspect", "--format", address, self.container]
        self.address = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.split()[0]
        kind, key = self.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
        self._known_hosts.write_text(f"{self.address} {kind} {key}\n", encoding="utf-8")
        tree = self.work / "ansible_collections" / "serverkit"
        tree.mkdir(parents=True)
        (tree / "core").symlink_to(ROOT, target_is_directory=True)
        self._sockets.mkdir()

    def disconnect(self) -> None:
        self.sh("sed -i '/ serverkit-tests$/d' /root/.ssh/authorized_keys")

    def tasks(
        self, tasks: Sequence[Mapping[str, Any]], variables: Mapping[str, Any] | None = None, **options: Any
    ) -> Run:
        """Run tasks, each of which may fail; `options` are those of `playbook`."""
        play = {"hosts": "all", "gather_facts": False, "ignore_errors": True, "tasks": list(tasks)}
        path = self.work / "tasks.yml"
        path.write_text(yaml.safe_dump([play], sort_keys=False, allow_unicode=True), encoding="utf-8")
        return self.playbook(str(path), variables, **options)

    def playbook(
        self,
        playbook: str,
        variables: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        verbose: bool = False,
        tags: str = "all",
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """Run a playbook with `--diff`.

        :param playbook: a path, or a playbook of the collection by its full name.
        :param variables: of the host, in an inventory file.
        :param tags: those of the playbook's parts that are run, separated by commas.
        """
        inventory, log, kept = (self.work / name for name in ("inventory.yml", "ansible.log", "results"))
        inventory.write_text(self._inventory(variables or {}), encoding="utf-8")
        plugins = self.work / "callback_plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "results.py").write_text(f"PATH = {str(kept)!r}\n{_RESULTS}", encoding="utf-8")
        for path in (log, kept):
            path.unlink(missing_ok=True)
        argv = [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "--diff"]
        argv += [*(["--check"] if check else []), *(["-vvvv"] if verbose else []), "--tags", tags, playbook]
        env = self._environment(log, environment or {})
        done = subprocess.run(argv, env=env, cwd=self.work, capture_output=True, text=True, check=False)
        lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
        results = {line["task"]: line["result"] for line in map(json.loads, lines)}
        logged = log.read_text(encoding="utf-8") if log.exists() else ""
        return Run(done.returncode, done.stdout + done.stderr, logged, results)

    @contextlib.contextmanager
    def forwarded(self, port: int) -> Iterator[None]:
        """Let the host reach a port of this machine's loopback address as its own."""
        forward = ["ssh", *self._ssh_options(), "-o", "ExitOnForwardFailure=yes", "-N", "-T"]
        forward += ["-R", f"127.0.0.1:{port}:127.0.0.1:{port}", f"root@{self.address}"]
        process = subprocess.Popen(forward, stdin=subprocess.DEVNULL)
        try:
            self.sh(f"timeout 20 sh -c 'until ss -Hltn sport = {port} | grep -q .; do sleep 0.1; done'")
            yield
        finally:
            process.terminate()
            process.wait()

    def _ssh_options(self) -> list[str]:
        options = {
            "IdentityFile": str(self._key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self._known_hosts),
            "BatchMode": "yes",
        }
        return ["-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]

    def _inventory(self, variables: Mapping[str, Any]) -> str:
        connection = {
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": " ".join(self._ssh_options()),
        }
        host = {**connection, **variables}
        inventory = {"all": {"hosts": {self.container: host}}}
        return yaml.safe_dump(inventory, sort_keys=False, allow_unicode=True, width=10_000)

    def _environment(self, log: pathlib.Path, more: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return {
            **inherited,
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.work),
            "ANSIBLE_COLLECTIONS_PATH": str(self.work),
            "ANSIBLE_LOG_PATH": str(log),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._sockets),
            "ANSIBLE_CALLBACK_PLUGINS": str(self.work / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "results",
            "ANSIBLE_NOCOLOR": "1",
            **more,
        }


def host_for_playbooks(server: str, work: pathlib.Path) -> PlaybookHost:
    """Return a server of the test bed, ready for playbooks and for calls."""
    host = PlaybookHost(server, work)
    host.prepare()
    host.connect()
    return host
