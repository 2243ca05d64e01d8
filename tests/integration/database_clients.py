# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases as apps use them: by libraries and their own readers of URLs, with nothing of the collection's between."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit


def query(engine: str, variables: Mapping[str, str]) -> None:
    """Connect with the separate variables and ask something of the app's own database."""
    with contextlib.closing(connect(engine, variables)) as connection:
        ask(engine, connection, variables)


def query_by_url(engine: str, variables: Mapping[str, str]) -> None:
    """Connect with the URL, as the engine's most used library reads it."""
    with contextlib.closing(_connect_by_url(engine, variables)) as connection:
        ask(engine, connection, variables)


def connect(engine: str, variables: Mapping[str, str]) -> Any:
    if engine == "redis":
        import redis

        host, port = variables["REDIS_HOST"], int(variables["REDIS_PORT"])
        return redis.Redis(host, port, username=variables["REDIS_USER"], password=variables["REDIS_PASSWORD"])
    if engine == "mongodb":
        import pymongo

        account = {"username": variables["MONGODB_USER"], "password": variables["MONGODB_PASSWORD"]}
        host, port = variables["MONGODB_HOST"], int(variables["MONGODB_PORT"])
        return pymongo.MongoClient(host, port, authSource=variables["MONGODB_DATABASE"], **account)
    host, port, name = variables["DB_HOST"], int(variables["DB_PORT"]), variables["DB_NAME"]
    if engine == "postgresql":
        import psycopg2

        account = {"user": variables["DB_USER"], "password": variables["DB_PASSWORD"]}
        return psycopg2.connect(host=host, port=port, dbname=name, **account)
    import pymysql

    # As PHP, Node and Go send it: in UTF-8.
    account = {"user": variables["DB_USER"], "password": variables["DB_PASSWORD"].encode()}
    return pymysql.connect(host=host, port=port, database=name, charset="utf8mb4", **account)


def _connect_by_url(engine: str, variables: Mapping[str, str]) -> Any:
    if engine == "redis":
        import redis

        return redis.Redis.from_url(variables["REDIS_URL"])
    if engine == "mongodb":
        import pymongo

        return pymongo.MongoClient(variables["MONGODB_URI"])
    if engine == "postgresql":
        import psycopg2

        return psycopg2.connect(variables["DATABASE_URL"])  # read by libpq
    import pymysql
    from sqlalchemy.engine import make_url

    url = make_url(variables["DATABASE_URL"])
    return pymysql.connect(
        host=url.host,
        port=url.port,
        user=url.username,
        password=str(url.password).encode(),
        database=url.database,
        charset="utf8mb4",
    )


def ask(engine: str, connection: Any, variables: Mapping[str, str]) -> None:
    if engine == "redis":
        connection.incr(f"{variables['REDIS_PREFIX']}visits")
    elif engine == "mongodb":
        connection[urlsplit(variables["MONGODB_URI"]).path[1:]].command("ping")
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone()[0] == 1


class Traffic:
    """An app that connects and asks something every 20 ms, and another that keeps its connection for ever.

    `variables` is what both were started with; a new value is what a container that was recreated gets.
    """

    def __init__(self, engine: str, variables: Mapping[str, str]) -> None:
        self.engine = engine
        self.variables = variables
        self.failures: list[str] = []
        self.answers = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in (self._anew, self._kept())]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        self.wait()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self, answers: int = 12) -> None:
        """Let it run until so many more questions were answered, or one was not."""
        until = self.answers + answers
        while self.answers < until and not self.failures:
            time.sleep(0.01)

    def _repeat(self, once: Callable[[Mapping[str, str]], None]) -> None:
        while not self._stop.is_set():
            try:
                once(self.variables)
                self.answers += 1
            except Exception as error:  # noqa: BLE001 - whatever a library raises is a failed query
                self.failures.append(f"{type(error).__name__}: {error}")
            self._stop.wait(0.02)

    def _anew(self, variables: Mapping[str, str]) -> None:
        query(self.engine, variables)

    def _kept(self) -> Callable[[Mapping[str, str]], None]:
        held: list[tuple[Mapping[str, str], Any]] = []

        def once(variables: Mapping[str, str]) -> None:
            if not held or held[0][0] is not variables:
                held[:] = [(variables, connect(self.engine, variables))]
            ask(self.engine, held[0][1], variables)

        return once


@contextlib.contextmanager
def traffic(engine: str, variables: Mapping[str, str]) -> Iterator[Traffic]:
    """Let an app ask for the time of a `with` statement."""
    app = Traffic(engine, variables)
    app.run()
    try:
        yield app
    finally:
        app.stop()
