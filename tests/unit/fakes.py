# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's programs, for tests: the one home of what stands in for `_edges.commands.Commands`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed, SubprocessCommands


@dataclass(frozen=True)
class Call:
    """How a program was run."""

    argv: list[str]
    stdin: str | None
    cwd: str | None
    environment: Mapping[str, str]
    pass_fds: tuple[int, ...]


class FakeCommands:
    """Programs that say what a test has prepared, in that order or by what they are asked; and nothing when that ends.

    `calls` remembers how they were run, `looked_for` what was looked for. Taking a name out of `missing` installs it.
    """

    def __init__(
        self,
        *answers: Completed,
        answer: Callable[[Sequence[str]], Completed] | None = None,
        missing: Sequence[str] = (),
    ) -> None:
        self.answers = list(answers)
        self.answer = answer
        self.missing = set(missing)
        self.calls: list[Call] = []
        self.looked_for: list[str] = []

    @property
    def argvs(self) -> list[list[str]]:
        return [call.argv for call in self.calls]

    def find(self, program: str) -> str | None:
        self.looked_for.append(program)
        return None if program in self.missing else f"/usr/bin/{program}"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        assert argv[0] not in self.missing, argv
        self.calls.append(Call(list(argv), stdin, cwd, environment or {}, tuple(pass_fds)))
        if self.answer:
            return self.answer(argv)
        return self.answers.pop(0) if self.answers else Completed(0, "", "")


class NoPrograms:
    """A host without any program, on which none is run."""

    def find(self, program: str) -> str | None:
        del program
        return None

    def run(self, argv: Sequence[str], **_options: object) -> Completed:
        raise AssertionError(f"{argv} was run")


def watched_programs() -> FakeCommands:
    """Return the programs of this machine, which are run; what others on it could see is in `argvs`."""
    programs = SubprocessCommands()
    commands = FakeCommands(answer=lambda argv: programs.run(argv, stdin=commands.calls[-1].stdin))
    return commands
