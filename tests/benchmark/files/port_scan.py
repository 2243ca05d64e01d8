# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds free ports one at a time: a database, `docker ps`, and a socket, asked again for each port that is looked at.

This runs on the server, as the other side of the comparison with serverkit_port. It is told which ports are taken by
apps already and does not ask Docker about those, so it runs `docker ps` no more often than once per port it gives out.
"""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

FIRST, LAST = 8000, 60000


def ports_of_containers() -> set[int]:
    listed = subprocess.run(["docker", "ps", "--format", "{{.Ports}}"], capture_output=True, text=True, check=True)
    return {int(port) for port in re.findall(r":(\d+)->", listed.stdout)}


def can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def find_port(database: sqlite3.Connection) -> int:
    taken = {port for (port,) in database.execute("SELECT port FROM applications WHERE port IS NOT NULL")}
    for port in range(FIRST, LAST + 1):
        if port not in taken and port not in ports_of_containers() and can_bind(port):
            return port
    raise SystemExit("no port is free")


def reserve(count: int, taken: Iterable[int]) -> float:
    """Reserve that many ports and return the seconds it took, the start of this program not included."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(f"{folder}/panel.db")
        database.execute("CREATE TABLE applications (port INTEGER UNIQUE)")
        database.executemany("INSERT INTO applications VALUES (?)", [(port,) for port in taken])
        database.commit()
        began = time.monotonic()
        for _index in range(count):
            database.execute("INSERT INTO applications VALUES (?)", (find_port(database),))
            database.commit()
        seconds = time.monotonic() - began
        database.close()
    return seconds


if __name__ == "__main__":
    print(reserve(int(sys.argv[1]), map(int, sys.argv[2:])))
