# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""A program that is run when this process dies, unless it has been dismissed by then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

# `read` fails at the end of the pipe, which comes when no other process has it open any more, however that went.
# A service that is stopped gets its signals sent to all of its processes (systemd.kill(5)): those do not count here.
# They may come once more when the first of these processes has ended, and end the program: so it is run again.
_SCRIPT = """trap '' HUP INT TERM; read -r word; [ "$word" = dismissed ] && exit
for once in 1 2 3; do "$@" && exit; sleep 1; done"""


class Guard:
    """Waits beside us, in a session of its own; a killed process cannot clean up after itself."""

    def __init__(self, argv: Sequence[str], lock: int) -> None:
        """
        :param argv: the program to run when we die; its first word is an absolute path.
        :param lock: descriptor of a lock (see `_edges.locks`) that is held until the guard has done its work, too.
        :raises HostError: when no process can be started.
        """
        try:
            # It outlives us, and run_command waits for an end.
            self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                ["/bin/sh", "-c", _SCRIPT, "serverkit-guard", *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
                pass_fds=[lock],
            )
        except OSError as error:
            raise HostError(f"guard against a sudden end with {argv[0]}", error.strerror or str(error)) from error
        if self._process.stdin is None:
            raise RuntimeError("a process that was started with a pipe has one")
        self._pipe = self._process.stdin

    @property
    def pipe(self) -> int:
        """What the guard listens to. A program that has it open, too, is waited for."""
        return self._pipe.fileno()

    def dismiss(self) -> None:
        """Let the guard go without having done anything."""
        try:
            self._process.communicate(b"dismissed\n")
        except OSError:  # it is gone already
            self._process.wait()
