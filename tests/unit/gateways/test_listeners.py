# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""/proc/net, recorded and of this host."""

from __future__ import annotations

import os
import pathlib
import socket

from ansible_collections.serverkit.core.plugins.module_utils._gateways import listeners
from ansible_collections.serverkit.core.plugins.module_utils._gateways.listeners import Listener

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TABLES = {
    "tcp": (
        "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0\n"
        "   1: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0\n"
        "   2: 0100007F:1F41 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 103 1 0 20 4\n"
        "   3: 0100007F:1F42 0100007F:C351 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n"
    ),
    "tcp6": (
        "   0: 00000000000000000000000001000000:1F43 00000000000000000000000000000000:0000 0A 00000000:00000000"
        " 00:00000000 00000000     0        0 104 1 0 100 0\n"
    ),
    "udp": (
        " 100: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 105 2 0 0\n"
        " 101: 0100007F:1F44 0100007F:1F45 01 00000000:00000000 00:00000000 00000000     0        0 106 2 0 0\n"
    ),
}


def test_listening_tcp_and_all_udp_sockets_of_both_families(tmp_path: pathlib.Path) -> None:
    (tmp_path / "net").mkdir()
    for name, rows in TABLES.items():  # no udp6: a host without IPv6 lacks such files
        (tmp_path / "net" / name).write_text(HEAD + rows)
    assert listeners.listeners(str(tmp_path)) == (
        Listener(8000, "tcp", 101),
        Listener(443, "tcp", 102),
        Listener(8003, "tcp", 104),
        Listener(53, "udp", 105),
        Listener(8004, "udp", 106),
    )


def test_the_process_behind_a_socket(tmp_path: pathlib.Path) -> None:
    descriptors = tmp_path / "812" / "fd"
    descriptors.mkdir(parents=True)
    (tmp_path / "812" / "comm").write_text("nginx\n")
    (descriptors / "3").symlink_to("socket:[101]")
    (descriptors / "4").symlink_to("/dev/null")
    (tmp_path / "813").mkdir()  # ended while we looked
    assert listeners.process_of(101, str(tmp_path)) == "process 812 (nginx)"
    assert listeners.process_of(102, str(tmp_path)) is None


def test_a_real_listener_is_found_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = [entry for entry in listeners.listeners() if (entry.port, entry.protocol) == (port, "tcp")]
        described = listeners.process_of(found.inode)
    assert described is not None
    assert described.startswith(f"process {os.getpid()} (")
