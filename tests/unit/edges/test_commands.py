# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import sys

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import SubprocessCommands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def test_a_program_is_run_to_its_end() -> None:
    source = "import sys; print(sys.stdin.read() + sys.argv[1]); sys.stderr.write('told'); sys.exit(3)"
    done = SubprocessCommands().run([sys.executable, "-c", source, "an argument; with $signs"], stdin="in, ")
    assert (done.returncode, done.stdout, done.stderr, done.ok) == (3, "in, an argument; with $signs\n", "told", False)


def test_it_speaks_one_language_and_has_the_variables_that_are_given(tmp_path: pathlib.Path) -> None:
    source = "import os; print(os.environ['LC_ALL'], os.environ['LANGUAGE'], os.environ['GIVEN'], os.getcwd())"
    done = SubprocessCommands().run([sys.executable, "-c", source], environment={"GIVEN": "x"}, cwd=str(tmp_path))
    assert done.stdout.split() == ["C.UTF-8", "C", "x", str(tmp_path)]


def test_nothing_to_read_is_an_end_at_once() -> None:
    assert SubprocessCommands().run([sys.executable, "-c", "print(len(input()))"]).returncode == 1


def test_bytes_that_are_no_text_are_kept() -> None:
    source = r"import sys; sys.stdout.buffer.write(b'\xff')"
    assert os.fsencode(SubprocessCommands().run([sys.executable, "-c", source]).stdout) == b"\xff"


def test_programs_of_the_system_are_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert SubprocessCommands().find("sh")
    assert SubprocessCommands().find("no-such-program") is None


def test_one_that_is_not_there_is_told() -> None:
    with pytest.raises(HostError, match="no-such-program: the program is not installed"):
        SubprocessCommands().run(["no-such-program"])
