# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers, what they are compared with, and the table that is made of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Samples:
    """Seconds that one thing took, each time that it was done."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def without(self, other: Samples) -> Samples:
        """Return what is left of each when the other's is taken away, round by round."""
        return Samples([mine - its for mine, its in zip(self.seconds, other.seconds, strict=True)])

    def shown(self) -> str:
        """Return the median with the smallest and the largest value."""
        text = _time(self.median)
        if len(self.seconds) > 1:
            text += f" ({_time(min(self.seconds))} to {_time(max(self.seconds))})"
        return text


@dataclass(frozen=True)
class Comparison:
    """A row of the table: ours against something else, as a factor or a difference.

    What has no budget is there to be read.
    """

    work: str
    ours: Samples
    other: str
    theirs: Samples
    largest_ratio: float | None = None  # ours divided by theirs
    as_difference: bool = False
    largest_difference: float | None = None  # seconds, ours minus theirs

    @property
    def ratio(self) -> float:
        return self.ours.median / self.theirs.median

    @property
    def difference(self) -> float:
        """Seconds."""
        return self.ours.median - self.theirs.median

    @property
    def holds(self) -> bool:
        if self.largest_difference is not None:
            return self.difference <= self.largest_difference
        return self.largest_ratio is None or self.ratio <= self.largest_ratio

    def cells(self) -> list[str]:
        if self.as_difference:
            figures = [_milliseconds(self.difference), _milliseconds(self.largest_difference)]
        else:
            figures = [_ratio(self.ratio), _ratio(self.largest_ratio)]
        holds = "" if not figures[1] else "yes" if self.holds else "NO"
        return [self.work, self.ours.shown(), self.other, self.theirs.shown(), *figures, holds]


HEAD = ["work", "serverkit.core", "against", "takes", "ratio or difference", "budget", "holds"]


def table(rows: Sequence[Comparison]) -> str:
    """Return the rows as a Markdown table that can be read as it is."""
    return markdown(HEAD, [row.cells() for row in rows])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:+.0f} ms"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"1/{1 / ratio:.1f}".removesuffix(".0") if ratio < 1 else f"{ratio:.1f}x".replace(".0x", "x")
