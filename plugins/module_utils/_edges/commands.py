# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Running programs on the host: argv lists only, a fixed locale, secrets on standard input or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


@dataclass(frozen=True)
class Completed:
    """What a finished program left behind."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


class Commands(Protocol):
    """The edge that gateways run programs through; unit tests put a fake here."""

    def find(self, program: str) -> str | None:
        """Return the path of a program, or None when the host does not have it."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        """Run a program to its end. `argv[0]` is a name to find or an absolute path.

        :raises HostError: when the program does not exist.
        """


# One language, whatever the administrator speaks: what programs say is read.
_LOCALE = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
# Which a service's search path may lack.
_SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class ModuleCommands:
    """Commands through AnsibleModule.run_command, so that they appear in Ansible's debug log and obey its umask."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._found: dict[str, str | None] = {}

    def find(self, program: str) -> str | None:
        if program not in self._found:
            self._found[program] = self._module.get_bin_path(program)
        return self._found[program]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        program = self.find(argv[0])
        if program is None:
            raise _absent(argv[0])
        returncode, stdout, stderr = self._module.run_command(
            [program, *argv[1:]],
            data=stdin,
            cwd=cwd,
            environ_update={**_LOCALE, **(environment or {})},
            expand_user_and_vars=False,
            pass_fds=tuple(pass_fds) or None,
            errors="surrogateescape",
        )
        return Completed(returncode, stdout, stderr)


class SubprocessCommands:
    """Commands without Ansible, for the program that the host runs by itself."""

    def __init__(self) -> None:
        self._path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM))

    def find(self, program: str) -> str | None:
        return shutil.which(program, path=self._path)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        program = self.find(argv[0])
        if program is None:
            raise _absent(argv[0])
        # There is no module whose run_command could do it.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [program, *argv[1:]],
            input=stdin or "",
            cwd=cwd,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**os.environ, "PATH": self._path, **_LOCALE, **(environment or {})},
            pass_fds=tuple(pass_fds),
            check=False,
        )
        return Completed(done.returncode, done.stdout, done.stderr)


def _absent(program: str) -> HostError:
    return HostError(f"run {program}", "the program is not installed", "Run site.yml, or install it")
