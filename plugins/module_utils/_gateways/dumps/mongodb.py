# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Dumps of MongoDB, by mongodump and mongorestore.

A dump of one database is not of one moment, as the oplog is of all databases: the app must not write meanwhile.

A database has no other name to be had: its collections are moved, one after the other. A note in the database that is
kept tells how far that came. It stays there, so that a database without collections can be kept as well.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterable
from typing import ClassVar, cast

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.base import DatabaseEngine
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.mongodb import MARKER, Mongodb
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps.base import DatabaseDumps, Dumped
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import encoded_forms
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access

# https://github.com/mongodb/mongo-tools/blob/master/common/archive/spec.md
_MAGIC = b"\x6d\xe2\x99\x81"
_TERMINATOR = b"\xff\xff\xff\xff"
# BSON of the last collection's end: EOF is true, and a checksum of its documents.
_LAST = re.compile(rb"\x08EOF\x00\x01\x12CRC\x00.{8}\x00\xff\xff\xff\xff\Z", re.DOTALL)
_METADATA = b"\x02collection\x00"

# What the note says: the live collections are kept, the fresh ones are not all in their place, or they are.
_PLACING = "placing"
_PLACED = "placed"


class MongodbDumps(DatabaseDumps):
    """The databases of one MongoDB server, or replica set."""

    directory: ClassVar[str] = "mongodb"
    suffix: ClassVar[str] = "archive"
    needs_quiet: ClassVar[bool] = True

    def __init__(self, engine: DatabaseEngine, scratch: str) -> None:
        super().__init__(engine, scratch)
        self._server = cast("Mongodb", engine)
        self._secrets = [form for secret in self.secrets for form in encoded_forms(secret)]

    # --- dump ---

    def dump(self, access: Access, path: str) -> Dumped:
        before = self._server.estimates(access.database)
        counting = _Counting(self._server, access.database)
        counting.start()
        try:
            # What a restore noted is not the app's.
            program = self._program(
                "mongodump", f"--db={access.database}", f"--excludeCollection={MARKER}", "--archive"
            )
            stored = streams.store(program, path, self._secrets)
        finally:
            counting.join()
        try:
            if counting.error:
                raise counting.error
            _ends_well(stored, path, empty=not counting.rows)
            after = self._server.estimates(access.database)
        except BaseException:
            os.unlink(path)
            raise
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        return Dumped(stored, counting.rows, tuple(sorted(changed)), self._server.version())

    @staticmethod
    def check(stored: streams.Stored, path: str) -> None:
        with streams.read(path) as parts:
            head = next(parts, b"")
        if not head.startswith(_MAGIC):
            raise HostError(f"read the dump {path}", "it is none of mongodump's", "Use another backup")
        _ends_well(stored, path, empty=stored.content_size == len(stored.tail) and _METADATA not in stored.tail)

    # --- load ---

    def load(self, path: str, access: Access) -> None:
        # The name of a database has no dot in it, and a variable takes as little as it can.
        renamed = ("--nsFrom=$database$.$collection$", f"--nsTo={access.database}.$collection$")
        streams.load(path, self._program("mongorestore", "--archive", "--stopOnError", *renamed), self._secrets)

    def _program(self, name: str, *arguments: str) -> Program:
        """Return how a program is run; where the server is, and as whom, is in a file, since it has the password."""
        config = os.path.join(self.scratch, "mongodb.yaml")
        # JSON is YAML.
        files.write(config, json.dumps({"uri": self._server.address()}) + "\n", 0o600)
        tls = self.engine.endpoint.tls
        lenient = ("--sslAllowInvalidHostnames",) if tls is not None and tls.mode == "verify-ca" else ()
        return Program((name, f"--config={config}", *lenient, *arguments))

    # --- switch ---

    def switch(self, live: Access, fresh: str, kept: str) -> None:
        database, server = live.database, self._server
        state = server.marker(kept)
        if state == _PLACED:
            return
        if not state:
            self._check_movable((database, fresh))
            self._move(database, kept)
            server.mark(kept, _PLACING)
        self._move(fresh, database)
        server.mark(kept, _PLACED)

    def switch_back(self, live: Access, kept: str, fresh: str) -> None:
        if self._server.marker(kept):
            # All of the live collections are kept: what is live came from the fresh ones. Not all of it from now on.
            self._server.mark(kept, _PLACING)
            self._move(live.database, fresh)
            self._server.mark(kept, "")
        self._move(kept, live.database)

    def _move(self, source: str, target: str) -> None:
        for collection in self._server.collections(source):
            if collection["name"] != MARKER:
                self._server.move(collection, source, target)

    def _check_movable(self, databases: Iterable[str]) -> None:
        for database in databases:
            for collection in self._server.collections(database):
                if collection["type"] == "timeseries":
                    raise HostError(
                        f"move the collection {collection['name']} of {database} on {self.engine.where}",
                        "it is a time series, which MongoDB cannot move to another database",
                        "Restore the app under another name (as), and take over from there",
                    )


def _ends_well(stored: streams.Stored, path: str, *, empty: bool) -> None:
    """Check that the last collection of an archive is whole; one of no collections ends after its head."""
    if not (_LAST.search(stored.tail) or (empty and stored.tail.endswith(_TERMINATOR))):
        reason = "it does not end as a complete archive of mongodump does"
        raise HostError(f"read the dump {path}", reason, "Run the backup again, or use another one")


class _Counting(threading.Thread):
    """Counts documents while they are dumped."""

    def __init__(self, server: Mongodb, database: str) -> None:
        super().__init__(daemon=True)
        self.rows: dict[str, int] = {}
        self.error: HostError | None = None
        self._server = server
        self._database = database

    def run(self) -> None:
        try:
            self.rows = self._server.row_counts(self._database)
        except HostError as error:
            self.error = error
