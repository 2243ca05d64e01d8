# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in and query every 20 ms as an app does, with what its .env says at that moment, and write each failure down."""

from __future__ import annotations

import json
import pathlib
import sys
import threading
import time
from collections.abc import Callable

import psycopg2
import pymysql

HOST = "127.0.0.1"
PERIOD = 0.02
Query = Callable[[str, str], object]


def postgresql(user: str, password: str) -> None:
    connection = psycopg2.connect(host=HOST, dbname="notes", user=user, password=password)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM public.notes")
    connection.close()


def mariadb(user: str, password: str) -> None:
    # Loopback is not Docker's network: the account of the containers does not go for it, hence the bridge.
    with pymysql.connect(host=BRIDGE, database="blog", user=user, password=password) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM wp_posts")


def environment(app: str) -> dict[str, str]:
    lines = pathlib.Path(f"/var/serverkit/apps/{app}/.env").read_text(encoding="utf-8").splitlines()
    return {name: value.strip("'\"") for name, _separator, value in (line.partition("=") for line in lines)}


def keep_asking(app: str, link: str, query: Query, answers: list[str]) -> None:
    while not STOP.exists():
        values = environment(app)
        prefix = f"SERVERKIT_LINK_{link.upper()}_"
        try:
            query(values[f"{prefix}USER"], values[f"{prefix}PASSWORD"])
            answers.append("")
        except (psycopg2.Error, pymysql.Error, KeyError) as error:
            answers.append(f"{time.time():.2f} {type(error).__name__}: {error}")
        time.sleep(PERIOD)


STOP, RESULT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
BRIDGE = json.loads(pathlib.Path("/etc/serverkit/databases/mysql.json").read_text(encoding="utf-8"))["host"]
CLIENTS: list[tuple[str, str, Query]] = [("notes", "postgresql", postgresql), ("blog", "mariadb", mariadb)]

found: dict[str, list[str]] = {link: [] for _app, link, _query in CLIENTS}
threads = [
    threading.Thread(target=keep_asking, args=(app, link, query, found[link]), daemon=True)
    for app, link, query in CLIENTS
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
RESULT.write_text(
    json.dumps(
        {link: {"asked": len(all_), "failures": [line for line in all_ if line]} for link, all_ in found.items()}
    ),
    encoding="utf-8",
)
