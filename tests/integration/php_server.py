# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A php-fpm of our own, at a socket and at a port."""

from __future__ import annotations

import contextlib
import glob
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from free_ports import free_port

CONFIGURATION = """
[global]
daemonize = no
error_log = {root}/php-fpm.log
[socket]
user = www-data
group = www-data
listen = {root}/php.sock
listen.mode = 0666
pm = static
pm.max_children = 1
[port]
user = www-data
group = www-data
listen = 127.0.0.1:{port}
pm = static
pm.max_children = 1
"""


@dataclass(frozen=True)
class Php:
    """Where php-fpm listens."""

    socket: str
    port: int


@contextlib.contextmanager
def running(root: pathlib.Path) -> Iterator[Php]:
    """Start php-fpm; end it with all that it started."""
    programs = sorted(glob.glob("/usr/sbin/php-fpm*"))
    assert programs, "php-fpm is not installed; `python3 testbed/testbed.py programs` installs it"
    port = free_port()
    configuration = root / "php-fpm.conf"
    configuration.write_text(CONFIGURATION.format(root=root, port=port))
    process = subprocess.Popen([programs[-1], "--fpm-config", str(configuration)])
    try:
        _wait_for(port, process)
        yield Php(str(root / "php.sock"), port)
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("php-fpm does not answer")
