# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore into an app that is there: what failures and kills leave, at every step."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Collection
from typing import Any, cast

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, UnhealthyError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._runner import restore_state
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_change import Change, Undone
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_parts import Parts
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import DataPlan, Journal, Part, Source
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_service import Service
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import StoredFile, TreeArchive

SET = "20260131T031500Z"


class Killed(BaseException):
    """What no code handles, as SIGKILL is not handled."""


class World:
    """Data by name, and an app that is well with some of it. Each step can be the last one."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {"one": "old one", "two": "old two"}
        self.running = True
        self.judged_with: list[tuple[str, str]] = []
        self.well: Callable[[dict[str, str]], bool] = lambda data: True
        self.steps = 0
        self.last = -1
        self.refused: frozenset[str] = frozenset()

    def step(self, what: str) -> None:
        if self.steps == self.last:
            raise Killed
        self.steps += 1
        if what in self.refused:
            raise HostError(what, "it is refused")

    # As Parts has it

    def stage(self, part: Part, source: Source, identity: str) -> None:
        self.step(f"stage {part.name}")
        self.data[part.fresh] = "half"
        self.step(f"load {part.name}")
        self.data[part.fresh] = f"new {part.name}"

    def switch(self, part: Part) -> None:
        assert not self.running
        self.step(f"switch {part.name}")
        if part.existed:
            self.data[part.kept] = self.data.pop(part.live)
        self.step(f"switch {part.name} further")
        self.data[part.live] = self.data.pop(part.fresh)

    def back(self, part: Part) -> None:
        assert not self.running
        self.step(f"back {part.name}")
        if (part.kept in self.data or not part.existed) and part.live in self.data and part.fresh not in self.data:
            self.data[part.fresh] = self.data.pop(part.live)
        self.step(f"back {part.name} further")
        if part.kept in self.data:
            self.data[part.live] = self.data.pop(part.kept)

    def discard(self, part: Part, name: str) -> None:
        self.step(f"discard {part.name}")
        assert name != part.live
        self.data.pop(name, None)

    def needed(self, journal: Journal) -> Collection[str]:
        return ()

    def tidy(self) -> None:
        self.step("tidy")

    # As Service has it

    def stop(self, but: Collection[str] = ()) -> None:
        self.step("stop")
        self.running = False

    def up(self, *, judged: bool = True) -> None:
        self.step("up")
        self.running = True
        self.step("wait")
        if judged and not self.well(self.data):
            raise UnhealthyError("bring the app up healthy", "it is not well")


OLD = {"one": "old one", "two": "old two"}
NEW = {"one": "new one", "two": "new two"}
KEPT = {"one.old": "old one", "two.old": "old two"}


def part(name: str, *, existed: bool = True) -> Part:
    return Part("volume", name, name, f"{name}.new", f"{name}.old", existed)


PARTS = (part("one"), part("two"))


def journal(parts: tuple[Part, ...] = PARTS) -> Journal:
    return Journal("1", SET, "staging", True, parts)


def plan(parts: tuple[Part, ...] = PARTS) -> DataPlan:
    file = StoredFile("volumes/x.tar.zst", 1, 1, "00")
    sources = tuple(
        Source("volume", each.name, each.live, TreeArchive(each.name, each.live, 1, file)) for each in parts
    )
    return DataPlan(SET, sources, (), {})


@pytest.fixture
def sets(tmp_path: pathlib.Path) -> BackupSets:
    return BackupSets("blog", str(tmp_path))


def change(sets: BackupSets, world: World) -> Change:
    return Change(sets, cast(Parts, world), cast(Service, world))


def steps_of(tmp_path: pathlib.Path, prepare: Callable[[World], None]) -> int:
    """Return how many steps a run takes that nobody kills."""
    world = World()
    prepare(world)
    with contextlib.suppress(Undone):
        change(BackupSets("blog", str(tmp_path / "counted")), world).carry_out(journal(), plan())
    return world.steps


def test_new_data_takes_the_place_of_the_old_which_is_kept(sets: BackupSets) -> None:
    world = World()
    change(sets, world).carry_out(journal(), plan())
    assert world.data == {**NEW, **KEPT}
    assert world.running
    assert restore_state.journal(sets) is None
    assert [each.part.kept for each in restore_state.kept(sets)] == ["one.old", "two.old"]


def test_what_was_not_there_leaves_nothing_to_keep(sets: BackupSets) -> None:
    world, parts = World(), (part("one"), part("two", existed=False))
    del world.data["two"]
    change(sets, world).carry_out(journal(parts), plan(parts))
    assert world.data == {**NEW, "one.old": "old one"}
    assert [each.part.kept for each in restore_state.kept(sets)] == ["one.old"]


def test_an_app_that_is_stopped_is_not_started(sets: BackupSets) -> None:
    world = World()
    world.running = False
    change(sets, world).carry_out(Journal("1", SET, "staging", False, PARTS), plan())
    assert not world.running
    assert world.data == {**NEW, **KEPT}


@pytest.mark.parametrize("refused", ["stage one", "load two"])
def test_a_failure_before_the_switch_touches_nothing(sets: BackupSets, refused: str) -> None:
    world = World()
    world.refused = frozenset({refused})
    with pytest.raises(Undone) as caught:
        change(sets, world).carry_out(journal(), plan())
    assert caught.value.done == ("removed what was restored; nothing of the app's was touched",)
    assert (world.data, world.running, restore_state.journal(sets)) == (OLD, True, None)


@pytest.mark.parametrize("refused", ["stop", "switch one", "switch two further"])
def test_a_failure_at_the_switch_puts_everything_back(sets: BackupSets, refused: str) -> None:
    world = World()
    world.refused = frozenset({refused})
    if refused == "stop":
        with pytest.raises(Undone) as caught:
            change(sets, world).carry_out(journal(), plan())
        assert "The app is stopped" in caught.value.failed[0]
        # What could not be stopped then can be now.
        world.refused = frozenset()
        assert change(sets, world).resume(noted(sets)) == "taken back"
    else:
        with pytest.raises(Undone) as caught:
            change(sets, world).carry_out(journal(), plan())
        assert caught.value.failed == ()
        assert "The data is as it was before the restore" in str(caught.value.error)
    assert (world.data, world.running, restore_state.journal(sets)) == (OLD, True, None)


def test_an_app_that_is_not_well_with_the_new_data_gets_the_old_back(sets: BackupSets) -> None:
    world = World()
    world.well = lambda data: data["one"] == "old one"
    with pytest.raises(Undone) as caught:
        change(sets, world).carry_out(journal(), plan())
    assert caught.value.failed == ()
    assert caught.value.done[:2] == ("put the former data back", "brought the app up with it")
    assert (world.data, world.running, restore_state.journal(sets)) == (OLD, True, None)


def test_an_app_that_was_not_well_before_either_has_its_data_all_the_same(sets: BackupSets) -> None:
    world = World()
    world.well = lambda data: False
    with pytest.raises(Undone) as caught:
        change(sets, world).carry_out(journal(), plan())
    assert caught.value.failed[0].startswith("brought the app up with it: ")
    assert (world.data, restore_state.journal(sets)) == (OLD, None)


def test_going_back_that_fails_is_gone_on_with_by_the_next_run(sets: BackupSets) -> None:
    world = World()
    world.well = lambda data: data["one"] == "old one"
    world.refused = frozenset({"back one"})
    with pytest.raises(Undone) as caught:
        change(sets, world).carry_out(journal(), plan())
    assert "The app is stopped" in caught.value.failed[0]
    assert not world.running
    with pytest.raises(HostError, match="that was cut short"):
        change(sets, world).resume(noted(sets))
    world.refused = frozenset()
    assert change(sets, world).resume(noted(sets)) == "taken back"
    assert (world.data, world.running, restore_state.journal(sets)) == (OLD, True, None)


def noted(sets: BackupSets) -> Journal:
    found = restore_state.journal(sets)
    assert found is not None
    return found


def fine(world: World) -> None:
    pass


def ill(world: World) -> None:
    world.well = lambda data: data["one"] == "old one"


@pytest.mark.parametrize("prepare", [fine, ill])
def test_whenever_it_is_killed_the_next_run_finishes_it_or_takes_it_back(tmp_path: pathlib.Path, prepare: Any) -> None:
    outcomes = set()
    for last in range(steps_of(tmp_path, prepare)):
        sets, world = BackupSets("blog", str(tmp_path / str(last))), World()
        prepare(world)
        world.last = last
        with pytest.raises(Killed):
            change(sets, world).carry_out(journal(), plan())
        outcomes.add(converged(sets, world))
    assert outcomes == {"old", "new"} if prepare is fine else {"old"}


@pytest.mark.parametrize("prepare", [fine, ill])
def test_the_next_run_may_be_killed_as_well(tmp_path: pathlib.Path, prepare: Any) -> None:
    for first in range(steps_of(tmp_path, prepare)):
        for second in range(100):
            sets, world = BackupSets("blog", str(tmp_path / f"{first}-{second}")), World()
            prepare(world)
            world.last = first
            with pytest.raises(Killed):
                change(sets, world).carry_out(journal(), plan())
            world.last = world.steps + second
            found = restore_state.journal(sets)
            if found is None:
                break
            try:
                change(sets, world).resume(found)
                break
            except Killed:
                converged(sets, world)
        else:
            raise AssertionError("it never ends")


def converged(sets: BackupSets, world: World) -> str:
    """Let the next run put right what a killed one has left; returns which data there is then."""
    world.last = -1
    found = restore_state.journal(sets)
    if found is not None:
        change(sets, world).resume(found)
    assert restore_state.journal(sets) is None
    assert world.running
    kept = {each.part.kept for each in restore_state.kept(sets)}
    if world.data["one"].startswith("new"):
        assert world.data == {**NEW, **KEPT}
        assert kept == set(KEPT)
        return "new"
    assert world.data == OLD
    assert kept == set()
    return "old"
