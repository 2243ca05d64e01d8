# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure serverkit.core against other ways to do the same work, both sides in one run, on a server in a container.

`make bench` runs this; docs/benchmarks.md says how to read what it prints. It ends with 1 when a budget does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.metadata
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

# The test bed's modules import each other by bare names.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "testbed"))

import databases
import vhosts
from ansible_runs import HERE, Ansible
from cases import Cases
from comparison import table
from dumps import Dumps
from links import Links
from server import NAME, Server

from shell import Failure, say

WORK = HERE.parents[1] / ".dev" / "bench"


def measure(arguments: argparse.Namespace) -> bool:
    """Do it all and print the tables; whether every budget holds."""
    server = Server(WORK)
    try:
        server.start()
        ansible = Ansible(WORK, server.inventory())
        held = [PARTS[name](server, ansible, arguments) for name in ([arguments.only] if arguments.only else PARTS)]
    finally:
        server.disconnect()
        if arguments.keep:
            say(f"The server {NAME} is kept: docker exec -it {NAME} bash")
        else:
            server.stop()
    return all(held)


def measure_vhosts(server: Server, ansible: Ansible, arguments: argparse.Namespace) -> bool:
    """Measure requests per second, print the table; whether every budget holds."""
    proxies = vhosts.Vhosts(server, ansible, arguments.seconds)
    proxies.prepare()
    for number in range(1, arguments.vhost_rounds + 1):
        say(f"* Vhosts, round {number} of {arguments.vhost_rounds}")
        proxies.measure_round()
    rows = proxies.rows()
    print(f"\n{machine({**server.versions(), **proxies.versions()})}\n")
    print(vhosts.table(rows))
    print(f"\nMedians of {arguments.vhost_rounds} rounds of {arguments.seconds} seconds each (smallest to largest).")
    return all(row.holds for row in rows)


def measure_apps(server: Server, ansible: Ansible, arguments: argparse.Namespace) -> bool:
    """Measure what deploying takes, print the table; whether every budget holds."""
    began = time.monotonic()
    cases = Cases(server, ansible, WORK, arguments.apps, arguments.ports, min(arguments.scanned, arguments.ports))
    cases.prepare()
    for number in range(1, arguments.rounds + 1):
        say(f"* Round {number} of {arguments.rounds}, after {(time.monotonic() - began) / 60:.0f} minutes")
        cases.measure_round(loops=number > arguments.rounds - arguments.loop_rounds)
    rows = cases.rows()
    print(f"\n{machine(server.versions())}\n")
    print(table(rows))
    minutes = (time.monotonic() - began) / 60
    print(f"\nMedians of {arguments.rounds} rounds (smallest to largest); all of it took {minutes:.0f} minutes.")
    return all(row.holds for row in rows)


def measure_links(server: Server, ansible: Ansible, arguments: argparse.Namespace) -> bool:
    """Measure what linked databases take, print the table; whether every budget holds."""
    links = Links(server, ansible, arguments.links)
    links.prepare()
    for number in range(1, arguments.rounds + 1):
        say(f"* Links, round {number} of {arguments.rounds}")
        links.measure_round()
    rows = links.rows()
    print(f"\n{machine({**server.versions(), **databases.versions(server)})}\n")
    print(table(rows))
    print(f"\nMedians of {arguments.rounds} rounds (smallest to largest).")
    return all(row.holds for row in rows)


def measure_dumps(server: Server, _ansible: Ansible, arguments: argparse.Namespace) -> bool:
    """Measure dumps and loads of databases, print the table; whether every budget holds."""
    dumps = Dumps(server, arguments.rows)
    dumps.prepare()
    dumps.measure(arguments.rounds)
    rows = dumps.rows()
    print(f"\n{machine({**server.versions(), **databases.versions(server)})}\n")
    print(table(rows))
    print(f"\nMedians of {arguments.rounds} rounds (smallest to largest).")
    return all(row.holds for row in rows)


# The vhosts first: a hundred idle containers are not idle enough.
PARTS = {"vhosts": measure_vhosts, "apps": measure_apps, "links": measure_links, "dumps": measure_dumps}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Refuse to run beside another run, which has the same server and would spoil the numbers."""
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure("Another run measures right now; wait until it is done.") from None
        yield


def machine(versions: Mapping[str, str]) -> str:
    """Return in one line what the numbers depend on."""
    facts = {
        **versions,
        "ansible-core": importlib.metadata.version("ansible-core"),
        "Python of Ansible": platform.python_version(),
        "load of the last minute": f"{os.getloadavg()[0]:.1f}",
    }
    return "; ".join(f"{name}: {value}" for name, value in facts.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("--apps", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--loop-rounds",
        type=int,
        default=3,
        metavar="N",
        help="rounds, the last ones, that run the loops too (default: %(default)s)",
    )
    parser.add_argument("--ports", type=int, default=1000, metavar="N", help="to reserve (default: %(default)s)")
    parser.add_argument(
        "--scanned", type=int, default=50, metavar="N", help="to find one by one, and scale (default: %(default)s)"
    )
    parser.add_argument("--links", type=int, default=50, metavar="N", help="databases (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, default=500_000, metavar="N", help="of a database that is dumped (default: %(default)s)"
    )
    parser.add_argument("--only", choices=PARTS, help="one of the tables (default: all)")
    parser.add_argument(
        "--vhost-rounds", type=int, default=15, metavar="N", help="of load on each vhost (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=int, default=2, metavar="N", help="of load on a vhost in a round (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the server there, to look at it")
    arguments = parser.parse_args()
    # Who ends it politely wants the server removed as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone():
            return 0 if measure(arguments) else 1
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
