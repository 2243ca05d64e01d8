# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in text, whole or in part, whatever they were encoded as on the way there.

Every escaping (of URLs, shells, JSON, YAML, Python, Compose, HTML) leaves letters and digits alone. So a secret of
these tests has runs of random letters and digits between everything that is awkward, and ten of them in a row give it
away. Base64 does not leave them alone, but turns a run into one of three others, by where in a group of three bytes it
begins.
"""

from __future__ import annotations

import base64
import re
import secrets
import string
from collections.abc import Iterator

_WINDOW = 10
_RUN = re.compile(rf"[A-Za-z0-9]{{{_WINDOW},}}")
_ALPHABET = string.ascii_letters + string.digits


def marker(length: int = 14) -> str:
    """Return a run of letters and digits that is nowhere else."""
    return "".join(secrets.choice(_ALPHABET) for _index in range(length))


def awkward(middle: str) -> str:
    """Return a secret that has something awkward in its middle."""
    return f"{marker()}{middle}{marker()}"


class Scanner:
    """Looks for secrets by name."""

    def __init__(self) -> None:
        self._traces: dict[str, str] = {}
        self.names: set[str] = set()

    def add(self, name: str, secret: str) -> str:
        """Look for this secret as well; returns it."""
        runs = _RUN.findall(secret)
        if not runs:
            raise ValueError(f"{name} has nothing by which it could be found")
        for trace in {trace for run in runs for trace in _traces(run)}:
            self._traces[trace] = name
        self.names.add(name)
        return secret

    def find(self, text: str) -> list[str]:
        """Return a line for each secret that there is, with what stands around it."""
        found: dict[str, str] = {}
        for trace, name in self._traces.items():
            if name not in found and trace in text:
                place = text.index(trace)
                found[name] = f"{name}: ...{text[max(0, place - 300) : place + 80]}..."
        return [found[name] for name in sorted(found)]


def _traces(run: str) -> Iterator[str]:
    for text in (run, *_base64(run)):
        for start in range(len(text) - _WINDOW + 1):
            yield text[start : start + _WINDOW]


def _base64(run: str) -> Iterator[str]:
    """Yield what base64 makes of a run in the middle of something, as far as it does not depend on what is around."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + run.encode()).decode().rstrip("=")
        first = -(-before * 8 // 6)
        last = (before + len(run)) * 8 // 6
        yield whole[first:last]
