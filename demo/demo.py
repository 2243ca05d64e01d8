# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way once: a bare server, `playbooks/deploy.yml` over SSH, three apps that answer from this machine.

`up` may be run again at any time: it continues where it was, and deploys what changed in `demo/inventory`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from answers import App, free_port, wait_for_answer

ROOT = Path(__file__).resolve().parent.parent
INVENTORY = ROOT / "demo" / "inventory"
PLAYBOOK = ROOT / "playbooks" / "deploy.yml"
TESTBED = [sys.executable, str(ROOT / "testbed" / "testbed.py")]

WORK = ROOT / ".dev" / "demo"
KEY = WORK / "id_ed25519"
KNOWN_HOSTS = WORK / "known_hosts"
GENERATED = WORK / "inventory.yml"
LOG = WORK / "ansible.log"

SERVER = "serverkit-demo"
PREFERRED_HTTP_PORT = 8080
PREFERRED_SSH_PORT = 2222
SILENCE_SECONDS = 15
PATIENCE_SECONDS = 20


class Failure(Exception):
    """Something that the user has to know."""


@dataclass(frozen=True)
class Ports:
    """Where this machine publishes the server's ports 80 and 22."""

    http: int
    ssh: int

    def publish(self) -> list[str]:
        return [f"127.0.0.1:{self.http}:80", f"127.0.0.1:{self.ssh}:22"]


def up(arguments: argparse.Namespace) -> None:
    apps = read_apps()
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    testbed("engine")
    templates = sorted({app.template for app in apps})
    mirror = testbed("mirror", "up", "--standins", arguments.standins, "--templates", *templates)
    ensure_key()
    ports = start_server()
    write_known_hosts(ports)
    write_inventory(ports, mirror)
    recap = deploy()
    report(apps, ports, recap)


def destroy(arguments: argparse.Namespace) -> None:
    if shutil.which("docker"):
        testbed("host", "destroy", SERVER)
        if others := testbed("host", "list"):
            print(f"Other servers of the test bed still use its images and its mirror, which therefore stay:\n{others}")
        else:
            testbed("destroy", *(["--keep-images"] if arguments.keep_images else []))
    shutil.rmtree(WORK, ignore_errors=True)
    print("The demo is gone. Docker itself stays, if it was installed for it.")


def read_apps() -> list[App]:
    declared = yaml.safe_load((INVENTORY / "group_vars" / "all.yml").read_text(encoding="utf-8"))["serverkit_apps"]
    return [App.from_inventory(entry) for entry in declared]


def testbed(*words: str) -> str:
    """One command of the test bed: its progress goes to the terminal, its result is returned."""
    done = subprocess.run([*TESTBED, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"`testbed.py {' '.join(words)}` failed; its message is above.")
    return done.stdout.strip()


def ensure_key() -> None:
    if not KEY.exists():
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", SERVER, "-f", str(KEY)]
        subprocess.run(make, check=True)


def start_server() -> Ports:
    ports = published_ports() or Ports(free_port(PREFERRED_HTTP_PORT), free_port(PREFERRED_SSH_PORT))
    publish = [word for port in ports.publish() for word in ("--publish", port)]
    testbed("host", "create", SERVER, "--image", "bare-trixie", "--ssh-key", f"{KEY}.pub", *publish)
    return ports


def published_ports() -> Ports | None:
    """The ports of the server that is there already: it remembers them best."""
    inspect = ["docker", "inspect", "--format", "{{json .HostConfig.PortBindings}}", SERVER]
    done = subprocess.run(inspect, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    bindings = yaml.safe_load(done.stdout)
    return Ports(*(int(bindings[port][0]["HostPort"]) for port in ("80/tcp", "22/tcp")))


def write_known_hosts(ports: Ports) -> None:
    """Note the server's host key as the server itself has it, so that SSH needs to trust nobody."""
    read = ["docker", "exec", SERVER, "cat", "/etc/ssh/ssh_host_ed25519_key.pub"]
    key = subprocess.run(read, capture_output=True, text=True, check=True).stdout.split()
    KNOWN_HOSTS.write_text(f"[127.0.0.1]:{ports.ssh} {key[0]} {key[1]}\n", encoding="utf-8")


def write_inventory(ports: Ports, mirror: str) -> None:
    # Quoted for ssh itself as well: it takes a list of files here, which a blank in the path would part.
    known_hosts = shlex.quote(f'UserKnownHostsFile="{KNOWN_HOSTS}"')
    ssh_options = f"-o {known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    server = {
        "ansible_host": "127.0.0.1",
        "ansible_port": ports.ssh,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(KEY),
        "ansible_ssh_common_args": ssh_options,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    if mirror:
        server["serverkit_docker_registry_mirrors"] = [mirror]
    text = yaml.safe_dump({"all": {"hosts": {SERVER: server}}}, sort_keys=False)
    GENERATED.write_text(f"---\n# Written by demo.py at each `up`.\n{text}", encoding="utf-8")


def deploy() -> str:
    """Run the playbook a user would run; the server's line of its recap."""
    playbook = shutil.which("ansible-playbook")
    if playbook is None:
        raise Failure("ansible-playbook is not on PATH; `make demo` prepares one and calls this program with it.")
    command = [playbook, "--inventory", str(INVENTORY), "--inventory", str(GENERATED), str(PLAYBOOK)]
    shown = [os.path.relpath(word, ROOT) if word.startswith("/") else word for word in command[1:]]
    print(f"* ansible-playbook {' '.join(shown)}", flush=True)
    LOG.unlink(missing_ok=True)
    # The log is read for the recap, so that Ansible keeps the terminal, and its colours, for itself.
    ours = {"ANSIBLE_HOST_KEY_CHECKING": "true", "ANSIBLE_LOG_PATH": str(LOG), "ANSIBLE_PIPELINING": "true"}
    ours |= {"ANSIBLE_DISPLAY_OK_HOSTS": "false", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false"}
    code = wait_with_signs_of_life(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **ours}))
    if code != 0:
        raise Failure(f"The deployment failed. Mend the cause and run this again; the server waits. Log: {LOG}")
    lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    recaps = [match[0] for line in lines if (match := re.search(rf"{SERVER}\s+: ok=.*", line))]
    return re.sub(r"\s+", " ", recaps[-1]).strip() if recaps else "(no recap)"


def wait_with_signs_of_life(process: subprocess.Popen[bytes]) -> int:
    began = time.monotonic()
    size, changed = 0, began
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            now, size_now = time.monotonic(), LOG.stat().st_size if LOG.exists() else 0
            if size_now != size or now - changed > SILENCE_SECONDS:
                if size_now == size:
                    print(f"  ... still at it after {now - began:.0f} s", flush=True)
                size, changed = size_now, now


def report(apps: list[App], ports: Ports, recap: str) -> None:
    failures = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    print("\nAsking the apps:", flush=True)
    for app in apps:
        for name, path in app.addresses:
            authority = f"{name}:{ports.http}"
            answer = wait_for_answer(ports.http, authority, path, app, deadline)
            print(f"  {app.name:8} {answer:18} {curl_line(authority, path)}")
            if not answer.startswith("200"):
                failures.append(f"http://{authority}{path}")
    print(f"\n{recap}")
    if failures:
        raise Failure(f"Not all of them answer as they should: {', '.join(failures)}")
    key, known_hosts = KEY.relative_to(ROOT), KNOWN_HOSTS.relative_to(ROOT)
    print(f"The server: ssh -i {key} -o UserKnownHostsFile={known_hosts} -p {ports.ssh} root@127.0.0.1")
    print("Run it again to see that nothing changes; `make demo-destroy` removes all of it.")


def curl_line(authority: str, path: str) -> str:
    name, port = authority.split(":")
    url = f"http://{authority}{path}"
    return url if name == "127.0.0.1" else f"curl -L --resolve {name}:{port}:127.0.0.1 {url}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("up", help="start a bare server and deploy three apps to it")
    command.add_argument("--standins", choices=("auto", "always", "never"), default="auto", help="for public images")
    command.set_defaults(function=up)
    command = commands.add_parser("destroy", help="remove what `up` made")
    command.add_argument("--keep-images", action="store_true", help="keep what took long to build")
    command.set_defaults(function=destroy)
    arguments = parser.parse_args()
    try:
        arguments.function(arguments)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
