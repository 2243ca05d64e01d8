# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What pg_restore makes of a dump: SQL, to be read by us or by psql."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._edges import processes, streams
from ansible_collections.serverkit.core.plugins.module_utils._edges.processes import Program
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

# pg_restore of PostgreSQL 17 sets it whether or not the server knows it, in the first lines of what it prints.
_UNKNOWN = b"SET transaction_timeout = 0;\n"
_HEAD = 4096


class _Feeding(threading.Thread):
    """Gives pg_restore a dump, to the end or as long as it reads."""

    def __init__(self, reader: processes.Process, path: str) -> None:
        super().__init__(daemon=True)
        self.error: HostError | None = None
        self._reader = reader
        self._path = path

    def run(self) -> None:
        try:
            with streams.read(self._path) as parts:
                for part in parts:
                    if not self._reader.write(part):
                        break
            self._reader.close()
        except HostError as error:
            self.error = error
            self._reader.end()  # else it waits for the rest


def outline(path: str, restore: Program) -> str:
    """Return what pg_restore prints of a dump.

    :param restore: pg_restore, without the rows: so no more is read than what comes before them.
    :raises HostError: when the dump is damaged, or it cannot be read for another reason.
    """
    found: list[bytes] = []
    with processes.pipeline(f"read the dump {path}") as running:
        reader = running.start(restore, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        feeding = _Feeding(reader, path)
        running.read_by(feeding)
        while part := reader.output.read(processes.CHUNK):
            found.append(part)
        _ended_well(reader, feeding)
    return b"".join(found).decode(errors="replace")


def load(path: str, restore: Program, psql: Program, secrets: Sequence[str]) -> None:
    """Load a dump into a server that is older than pg_restore, which would set what that server does not know.

    psql sees the end of its input only after all of the dump was read and was right.

    :raises HostError: when the dump is damaged, or a program fails.
    """
    with processes.pipeline(f"read {path}", secrets) as running:
        taker = running.start(psql, stdin=subprocess.PIPE)
        reader = running.start(restore, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        feeding = _Feeding(reader, path)
        running.read_by(feeding)
        head = b""
        while len(head) < _HEAD and (part := reader.output.read(processes.CHUNK)):
            head += part
        part = head.replace(_UNKNOWN, b"", 1)
        while part and taker.write(part):
            part = reader.output.read(processes.CHUNK)
        if not part:  # else psql has ended, and says why
            _ended_well(reader, feeding)
        taker.close()
        taker.wait()
        taker.check()


def _ended_well(reader: processes.Process, feeding: _Feeding) -> None:
    reader.wait()
    feeding.join()
    if feeding.error:
        raise feeding.error
    reader.check()
