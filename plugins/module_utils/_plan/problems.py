# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Collecting what is wrong with a document, so that a person mends it in one go."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

# Above this likeness, an unknown key is taken for a misspelt one: compse for compose, varaibles for variables.
_LIKENESS = 0.8


class Problems:
    """Problems, each as `key: reason`, and warnings, in the order they were found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.warnings: list[str] = []

    def add(self, key: str, reason: str) -> None:
        self.found.append(f"{key}: {reason}")

    def unknown_key(self, where: str, key: str, known: Collection[str]) -> None:
        """Note a key that nobody reads: a problem when it looks misspelt, else a warning."""
        close = difflib.get_close_matches(key, sorted(known), n=1, cutoff=_LIKENESS)
        if close:
            self.add(where, f"it is not a known key; did you mean {close[0]}?")
        else:
            self.warnings.append(f"{where}: it is not a known key and does nothing")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of a message that proposes the known name closest to an unknown one, or nothing."""
    close = difflib.get_close_matches(str(name), sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
