# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker Compose itself as the judge of what the collection writes for it.

A process per example would take most of an hour for what the `ci` profile asks for. So Hypothesis makes the examples,
Compose judges many of them in one file, and the culprit of a file that it judges otherwise is looked for by halves.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st

PROVIDER = pathlib.Path(__file__).resolve().parents[3] / "testbed" / "compose.py"
BATCH = 250

Example = TypeVar("Example")


@dataclass(frozen=True)
class Refused:
    """What Compose said when it did not accept a file."""

    message: str


class Compose:
    """`docker compose config` on files of ours, with nothing from this process's environment."""

    def __init__(self, program: str, directory: pathlib.Path) -> None:
        self._program = program
        self._directory = directory

    def config(self, compose: str, env: str = "") -> dict[str, Any] | Refused:
        """The whole configuration as Compose understands it."""
        file, env_file = self._directory / "docker-compose.yml", self._directory / ".env"
        file.write_text(compose, encoding="utf-8", newline="")
        env_file.write_text(env, encoding="utf-8", newline="")
        done = subprocess.run(
            [self._program, "--project-directory", self._directory, "--file", file, "config", "--format", "json"],
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self._directory)},
            check=False,
        )
        if done.returncode != 0:
            return Refused(done.stderr.decode(errors="replace"))
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def environment(self, values: dict[str, str], env: str = "") -> dict[str, str] | Refused:
        """What a container gets when the values stand under `environment`; no writer of ours takes part."""
        lines = "".join(f"      {name}: {_quoted(value)}\n" for name, value in values.items())
        config = self.config(f"name: x\nservices:\n  x:\n    image: x\n    environment:\n{lines}", env)
        if isinstance(config, Refused):
            return config
        # `config` prints a file that can be read again: it doubles every dollar sign.
        return {name: value.replace("$$", "$") for name, value in config["services"]["x"]["environment"].items()}


def _quoted(text: str) -> str:
    """A text between double quotes in which all but letters, digits and dollar signs is escaped."""
    escaped = (char if char.isascii() and (char.isalnum() or char == "$") else f"\\U{ord(char):08X}" for char in text)
    return f'"{"".join(escaped)}"'


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    if not PROVIDER.is_file():
        pytest.skip("this copy of the tests came without the test bed, which finds Docker Compose")
    found = subprocess.run([sys.executable, PROVIDER], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no Docker Compose v2: {found.stderr.strip()}")
    return Compose(found.stdout.strip(), tmp_path_factory.mktemp("compose"))


Judge = Callable[[st.SearchStrategy[Any], Callable[[Sequence[Any]], str], Sequence[Any]], None]


def _examples(strategy: st.SearchStrategy[Example]) -> list[Example]:
    """As many examples as the profile in force asks for."""
    found: list[Example] = []

    # Nothing can fail while they are made, so there is nothing to shrink or to explain.
    @hypothesis.settings(phases=[hypothesis.Phase.generate], database=None)
    @hypothesis.given(strategy)
    def collect(example: Example) -> None:
        found.append(example)

    collect()
    return found


def _culprit(examples: Sequence[Example], disagreement: Callable[[Sequence[Example]], str]) -> Example | None:
    while len(examples) > 1:
        half = len(examples) // 2
        left, right = examples[:half], examples[half:]
        if disagreement(left):
            examples = left
        elif disagreement(right):
            examples = right
        else:
            return None
    return examples[0]


@pytest.fixture
def judge() -> Judge:
    """Have every example judged: `disagreement` takes many and returns what is wrong with them, or nothing."""

    def run(
        strategy: st.SearchStrategy[Example],
        disagreement: Callable[[Sequence[Example]], str],
        always: Sequence[Example] = (),
    ) -> None:
        examples = [*always, *_examples(strategy)]
        # Hypothesis makes fewer only where there are no more different ones.
        assert len(examples) >= hypothesis.settings().max_examples
        for start in range(0, len(examples), BATCH):
            batch = examples[start : start + BATCH]
            problem = disagreement(batch)
            if problem:
                culprit = _culprit(batch, disagreement)
                assert culprit is not None, f"only together do the examples fail: {problem}"
                pytest.fail(f"{culprit!r}: {disagreement([culprit])}")

    return run
