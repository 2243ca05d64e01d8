# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge that gateways run programs through, without Ansible."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed


class Programs:
    """Commands without Ansible; keeps what was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def find(self, program: str) -> str | None:
        return shutil.which(program)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        self.calls.append(" ".join(argv))
        done = subprocess.run(
            argv,
            input=stdin,
            cwd=cwd,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            check=False,
            pass_fds=pass_fds,
        )
        return Completed(done.returncode, done.stdout, done.stderr)
