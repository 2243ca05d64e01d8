# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner's order, its check-mode gate, and what it does with items that fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Outcome, Success


@dataclass(frozen=True)
class Wish:
    name: str
    value: str


@dataclass(frozen=True)
class ShelfPlan:
    name: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after

    @property
    def diffs(self) -> Sequence[Diff]:
        return (Diff(self.name, self.before, self.after),)

    @property
    def facts(self) -> Mapping[str, str]:
        return {"value": self.after}

    warnings = ()


class Shelf:
    """A resource whose reality is a dictionary."""

    kind = "jar"

    def __init__(self, content: dict[str, str]) -> None:
        self.content = content
        self.calls: list[str] = []

    def locks(self, wanted: Sequence[Wish]) -> Sequence[str]:
        return [f"jar-{wish.name}" for wish in wanted]

    def plan(self, wanted: Sequence[Wish]) -> Sequence[ShelfPlan | Failure]:
        self.calls.append("plan")
        return [
            Failure(wish.name, HostError("look", "it is dark"))
            if wish.value == "unseen"
            else ShelfPlan(wish.name, self.content.get(wish.name, ""), wish.value)
            for wish in wanted
        ]

    def apply(self, plans: Sequence[ShelfPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        self.calls.append("apply")
        assert set(lock_descriptors) >= {f"jar-{plan.name}" for plan in plans}
        for plan in plans:
            self.content[plan.name] = plan.after
        return [Success(plan.name, True, tuple(plan.diffs), plan.facts) for plan in plans]


@pytest.fixture(autouse=True)
def lock_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    defaults = locks.held.__wrapped__.__kwdefaults__  # type: ignore[attr-defined]
    monkeypatch.setitem(defaults, "directory", str(tmp_path / "locks"))
    return tmp_path / "locks"


def test_a_change_is_applied_once_and_the_second_run_is_clean() -> None:
    shelf = Shelf({})
    (first,) = converge(shelf, [Wish("a", "1")], check=False)
    (second,) = converge(shelf, [Wish("a", "1")], check=False)
    assert (first.changed, second.changed) == (True, False)
    assert shelf.calls == ["plan", "apply", "plan"]


def test_check_mode_predicts_and_touches_nothing(lock_directory: Path) -> None:
    shelf = Shelf({"a": "0"})
    (outcome,) = converge(shelf, [Wish("a", "1")], check=True)
    assert outcome == Success("a", True, (Diff("a", "0", "1"),), {"value": "1"})
    assert shelf.content == {"a": "0"}
    assert not lock_directory.exists()


def test_the_prediction_is_what_the_run_reports() -> None:
    shelf = Shelf({"a": "0"})
    assert converge(shelf, [Wish("a", "1")], check=True) == converge(shelf, [Wish("a", "1")], check=False)


def test_failing_items_keep_their_place_and_stop_nobody() -> None:
    shelf = Shelf({})
    bad = Failure("b", InputError("parse", "it is bad"))
    outcomes = converge(shelf, [Wish("a", "1"), bad, Wish("c", "unseen"), Wish("d", "4")], check=False)
    assert [outcome.name for outcome in outcomes] == ["a", "b", "c", "d"]
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, True, True, False]
    assert shelf.content == {"a": "1", "d": "4"}


def test_an_item_listed_twice_is_refused_the_second_time() -> None:
    shelf = Shelf({})
    first, second = converge(shelf, [Wish("a", "1"), Wish("a", "2")], check=False)
    assert isinstance(first, Success)
    assert isinstance(second, Failure)
    assert "listed twice" in str(second.error)
    assert shelf.content == {"a": "1"}


def test_undo_runs_newest_first_and_reports_what_it_could_not_do() -> None:
    order: list[str] = []

    def refuse() -> None:
        raise HostError("write b", "the disk is full")

    undo = UndoStack()
    undo.push("restored a", lambda: order.append("a"))
    undo.push("restored b", refuse)
    undo.push("restored c", lambda: order.append("c"))
    done, failed = undo.unwind()
    assert order == ["c", "a"]
    assert done == ("restored c", "restored a")
    assert failed == ("restored b: Could not write b: the disk is full.",)
    assert undo.unwind() == ((), ())
