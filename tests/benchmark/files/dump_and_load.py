# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the server: dumps and loads a database with the collection's code, and by a pipeline as a person writes it.

Arguments: the directory of the collection's code, the engine, rows in the database, rounds. Prints JSON: the seconds of
each round by what was done, and the size of the dump in bytes.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

# Some 170 bytes a row, of which little repeats.
FILL = {
    "mariadb": "CREATE TABLE t (id INT PRIMARY KEY, a CHAR(64), b CHAR(64), c DATETIME, KEY (a)) AS SELECT seq AS id,"
    " SHA2(RAND(seq), 256) AS a, SHA2(RAND(seq + 1000000007), 256) AS b, NOW() AS c FROM seq_1_to_{rows}",
    "postgresql": "CREATE TABLE t AS SELECT n AS id, encode(sha256(n::text::bytea), 'hex') AS a,"
    " encode(sha256((-n)::text::bytea), 'hex') AS b, now() AS c FROM generate_series(1, {rows}) n;"
    " ALTER TABLE t ADD PRIMARY KEY (id); CREATE INDEX ON t (a)",
}
AS_ADMIN = {"mariadb": "", "postgresql": "setpriv --reuid postgres --regid postgres --clear-groups "}
SQL = {"mariadb": "mariadb {database}", "postgresql": "psql -qXAt -v ON_ERROR_STOP=1 -d {database}"}
DUMP = {
    "mariadb": "mariadb-dump --single-transaction --routines --events --triggers --hex-blob {database}",
    "postgresql": "pg_dump -Fc -Z0 {database}",
}
LOAD = {"mariadb": "mariadb {database}", "postgresql": "pg_restore --exit-on-error --single-transaction -d {database}"}


def shell(script: str, stdin: str = "") -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], input=stdin, text=True, check=True, cwd="/tmp")


def timed(step: Callable[[], object]) -> float:
    began = time.monotonic()
    step()
    return time.monotonic() - began


def main(code: str, engine_name: str, rows: int, rounds: int) -> dict[str, list[float]]:
    sys.path.insert(0, code)
    ours = "ansible_collections.serverkit.core.plugins.module_utils."
    values = importlib.import_module(ours + "_values.database")
    engines = importlib.import_module(ours + "_gateways.databases.engines")
    servers = importlib.import_module(ours + "_gateways.database_servers")
    dumps_of = importlib.import_module(ours + "_gateways.dumps.engines")

    engine = engines.open_engine(values.Endpoint(engine_name, socket=servers.local_server(engine_name).socket), None)
    engine.connect()
    big, fresh, by_hand = (values.Access(engine_name, name, "big", "owner") for name in ("big", "fresh", "by_hand"))
    engine.create_user(big, "correct-horse-battery")
    engine.create_database(big)
    engine.grant(big)
    admin = AS_ADMIN[engine_name]
    shell(admin + SQL[engine_name].format(database="big"), FILL[engine_name].format(rows=rows))
    if engine_name == "postgresql":
        shell(admin + SQL[engine_name].format(database="big"), "ALTER TABLE t OWNER TO big")

    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        dumps = dumps_of.open_dumps(engine, scratch)
        files = {name: os.path.join(scratch, name) for name in ("ours", "hand")}
        dump = admin + DUMP[engine_name].format(database="big")
        load = admin + LOAD[engine_name].format(database="by_hand")
        steps: list[tuple[str, Callable[[], object]]] = [
            ("dump by hand", lambda: shell(f"{dump} | zstd -q -3 -f -o {files['hand']}")),
            ("dump", lambda: dumps.dump(big, files["ours"])),
            ("load by hand", lambda: shell(f"zstd -q -dc {files['hand']} | {load}")),
            ("load", lambda: dumps.load(files["ours"], fresh)),
        ]
        for number in range(rounds):
            for access in (fresh, by_hand):
                engine.create_database(access)
                engine.grant(access)
            # Each goes first in turn: the second finds the data in memory.
            for pair in (steps[:2], steps[2:]):
                for what, step in pair[:: -1 if number % 2 else 1]:
                    found.setdefault(what, []).append(timed(step))
            found.setdefault("size", []).append(float(os.path.getsize(files["ours"])))
            for access in (fresh, by_hand):
                engine.drop_database(access)
            os.unlink(files["ours"])
    engine.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
