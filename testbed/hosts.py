# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test hosts: servers in containers, with systemd as PID 1 and room for a Docker Engine of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import images
from network import address_of, ensure_network
from shell import Failure, output, say, succeeds

BOOT_SECONDS = 90
IMAGE_LABEL = "serverkit.testbed.image"
PUBLISH_LABEL = "serverkit.testbed.publish"


@dataclass(frozen=True)
class Host:
    name: str
    image: str
    address: str
    publish: str
    state: str


def create(name: str, image: str, publish: Sequence[str] = (), ssh_key: Path | None = None) -> Host:
    """A running host of that name; one that is there already is started and kept."""
    key = _public_key(ssh_key) if ssh_key else None
    existing = find(name)
    if existing is None:
        tag = images.ensure_images([image])[image]
        output(_run_command(name, image, tag, publish))
        say(f"Host {name} created from {tag}.")
    else:
        _check_same(existing, image, publish)
        output(["docker", "start", name])
    _wait_until_booted(name)
    if key is not None:
        _authorize(name, key)
    return require(name)


def destroy(name: str) -> bool:
    """Remove the host and its volumes; whether there was one."""
    if find(name) is None:
        return False
    output(["docker", "rm", "--force", "--volumes", name])
    return True


def restart(name: str) -> Host:
    require(name)
    output(["docker", "restart", name])
    _wait_until_booted(name)
    return require(name)


def all_hosts() -> list[Host]:
    listed = output(["docker", "ps", "--all", "--filter", f"label={IMAGE_LABEL}", "--format", "{{.Names}}"])
    return [_describe(name) for name in sorted(listed.split())]


def find(name: str) -> Host | None:
    if not succeeds(["docker", "container", "inspect", name]):
        return None
    host = _describe(name)
    if not host.image:
        raise Failure(f"There is a container {name!r} that is no host of the test bed; choose another name.")
    return host


def require(name: str) -> Host:
    host = find(name)
    if host is None:
        raise Failure(f"There is no host {name!r}; `testbed.py host list` shows what there is.")
    return host


def _describe(name: str) -> Host:
    fields = [f'{{{{index .Config.Labels "{IMAGE_LABEL}"}}}}', f'{{{{index .Config.Labels "{PUBLISH_LABEL}"}}}}']
    template = "|".join([*fields, "{{.State.Status}}"])
    image, publish, state = output(["docker", "inspect", "--format", template, name]).split("|")
    return Host(name, image, address_of(name), publish, state)


def _check_same(host: Host, image: str, publish: Sequence[str]) -> None:
    wanted = (image, ",".join(publish))
    if (host.image, host.publish) != wanted:
        raise Failure(
            f"Host {host.name!r} exists with image {host.image} and ports [{host.publish}], not with {wanted[0]} and "
            f"[{wanted[1]}]. `testbed.py host destroy {host.name}` makes room for the new one."
        )


def _run_command(name: str, image: str, tag: str, publish: Sequence[str]) -> list[str]:
    labels = [images.LABEL, f"{IMAGE_LABEL}={image}", f"{PUBLISH_LABEL}={','.join(publish)}"]
    command = ["docker", "run", "--detach", "--name", name, "--hostname", name, "--network", ensure_network()]
    command += [word for label in labels for word in ("--label", label)]
    command += [word for port in publish for word in ("--publish", port)]
    # What a nested Docker Engine stores must not lie on an overlay filesystem: volumes are the disk's own.
    command += ["--volume", "/var/lib/docker", "--volume", "/var/lib/containerd"]
    command += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "--env", "container=docker"]
    return [*command, *_privileges(tag), *_cgroup_options(), tag]


def _privileges(tag: str) -> list[str]:
    # An engine that was itself started without some capability cannot hand out "all" of them: ask it.
    if succeeds(["docker", "run", "--rm", "--privileged", "--network", "none", "--entrypoint", "/bin/true", tag]):
        return ["--privileged"]
    unconfined = [f"{kind}=unconfined" for kind in ("seccomp", "apparmor", "systempaths")]
    return [
        *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm"),
        *(word for option in unconfined for word in ("--security-opt", option)),
    ]


def _cgroup_options() -> list[str]:
    if output(["docker", "info", "--format", "{{.CgroupVersion}}"]) == "2":
        return ["--cgroupns", "private"]
    # systemd 257 and later refuse cgroup v1 unless they are told twice.
    legacy = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
    mount = ["--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    return [*mount, "--env", f"SYSTEMD_PROC_CMDLINE={legacy}"]


def _wait_until_booted(name: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        # "degraded" is a boot in which some unit failed: in a container there may always be one.
        state = _system_state(name)
        if state in ("running", "degraded"):
            return
        if time.monotonic() > deadline or state == "gone":
            raise Failure(f"Host {name!r} does not boot (systemd: {state}); `docker logs {name}` may say why.")
        time.sleep(0.3)


def _system_state(name: str) -> str:
    try:
        return output(["docker", "exec", name, "sh", "-c", "systemctl is-system-running 2>/dev/null || true"])
    except Failure:
        running = output(["docker", "inspect", "--format", "{{.State.Running}}", name]) == "true"
        return "starting" if running else "gone"


def _public_key(path: Path) -> str:
    if not os.path.isfile(path):
        raise Failure(f"There is no public key at {path}; `ssh-keygen -t ed25519 -f FILE` makes a pair.")
    text = path.read_text(encoding="utf-8").strip()
    if "PRIVATE KEY" in text:
        raise Failure(f"{path} is a private key; the host needs the public one beside it ({path}.pub).")
    return text


def _authorize(name: str, key: str) -> None:
    script = (
        "umask 077; mkdir -p /root/.ssh; touch /root/.ssh/authorized_keys; IFS= read -r key; "
        'grep -qxF -e "$key" /root/.ssh/authorized_keys || printf "%s\\n" "$key" >>/root/.ssh/authorized_keys'
    )
    output(["docker", "exec", "--interactive", name, "sh", "-c", script], stdin=key + "\n")
