# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker Engine that answers, and the Debian packages that the test bed needs."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable

from shell import Failure, output, say, succeeds, work

DOCKERD_LOG = "/var/log/dockerd.log"
POLICY = "/usr/sbin/policy-rc.d"
START_SECONDS = 60


def ensure_engine() -> None:
    """Install and start a Docker Engine unless one answers already."""
    check_dev_null()
    if answers():
        return
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        ensure_packages(_engine_packages())
    _require_root("start the Docker Engine")
    _start()
    say(f"Docker Engine {output(['docker', 'version', '--format', '{{.Server.Version}}'])} answers.")


def answers() -> bool:
    return succeeds(["docker", "info"])


def require_engine() -> None:
    if not answers():
        raise Failure("No Docker Engine answers; `testbed.py engine` installs and starts one.")


def ensure_commands(packages: dict[str, str]) -> None:
    """Install the packages whose command (or file, where the key is a path) is missing."""
    ensure_packages([package for needed, package in packages.items() if not _present(needed)])


def ensure_packages(packages: Iterable[str]) -> None:
    wanted = sorted(set(packages))
    if not wanted:
        return
    _require_root(f"install {', '.join(wanted)}")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *wanted]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    title = f"Installing {', '.join(wanted)}"
    try:
        work(title, install, quiet)
    except Failure:
        # The package lists may be missing or older than the archive; a second failure is a real one.
        _refresh_package_lists()
        work(title, install, quiet)


def ensure_idle_programs(packages: dict[str, str]) -> None:
    """Install server programs without their services: the tests start their own, on ports and files of their own.

    Debian's packages start and enable what they bring. The first is what policy-rc.d(8) is asked about.
    """
    missing = [package for needed, package in packages.items() if not _present(needed)]
    if not missing:
        return
    _require_root(f"install {', '.join(missing)}")
    foreign = os.path.exists(POLICY)
    if not foreign:
        with open(POLICY, "w", encoding="ascii") as stream:
            stream.write("#!/bin/sh\nexit 101\n")
        os.chmod(POLICY, 0o755)
    try:
        ensure_packages(missing)
    finally:
        if not foreign:
            os.unlink(POLICY)
    if os.path.isdir("/run/systemd/system"):
        for package in missing:
            succeeds(["systemctl", "disable", package])


def check_dev_null() -> None:
    """Say how to mend a /dev/null that something replaced by a file: apt would only blame gpgv."""
    if not stat.S_ISCHR(os.stat(os.devnull).st_mode):
        raise Failure(
            "/dev/null of this machine is no device any more, so every signature check of apt fails. "
            "As root: rm /dev/null && mknod -m 666 /dev/null c 1 3"
        )


def _present(needed: str) -> bool:
    return os.path.exists(needed) if needed.startswith("/") else shutil.which(needed) is not None


def _engine_packages() -> list[str]:
    if not _in_archive("docker.io"):
        _refresh_package_lists()
    # Debian 13 split the command line off into a package of its own, which Debian 12 and Ubuntu do not have.
    return ["docker.io", "iptables", *(["docker-cli"] if _in_archive("docker-cli") else [])]


def _in_archive(package: str) -> bool:
    return succeeds(["apt-cache", "show", package])


def _refresh_package_lists() -> None:
    _require_root("refresh the package lists")
    work("Refreshing the package lists", ["apt-get", "update"])


def _require_root(purpose: str) -> None:
    if os.geteuid() != 0:
        raise Failure(f"Root is needed to {purpose}: run the same command with `sudo`.")


def _start() -> None:
    if os.path.isdir("/run/systemd/system"):
        work("Starting the Docker Engine", ["systemctl", "start", "docker"])
    else:
        say(f"* Starting dockerd without a service manager (log: {DOCKERD_LOG}) ...")
        with open(DOCKERD_LOG, "ab") as log:
            subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise Failure(
                f"The Docker Engine does not answer after {START_SECONDS} s; `docker info` and its log say why."
            )
        time.sleep(0.5)
