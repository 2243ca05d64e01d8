# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which set a restore takes, which parts of it, and what is written down about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._runner import restore_plan
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Journal, Kept, Part
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    DatabaseDump,
    Manifest,
    StoredFile,
    TreeArchive,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import parse

FILE = StoredFile("release.tar.zst", 1, 1, "00")
DUMP = DatabaseDump("mariadb", "mariadb", "MariaDB 11", "mysql://127.0.0.1:3306", "blog", "blog", "owner", FILE)
VOLUME = TreeArchive("data", "blog_data", 3, FILE)
BIND = TreeArchive("/srv/blog", "/srv/blog", 2, FILE)


def manifest(identity: str, **fields: Any) -> Manifest:
    known = {"databases": (DUMP,), "volumes": (VOLUME,), "binds": (BIND,), "template": "blog", **fields}
    return Manifest(
        "blog",
        identity,
        "2026-01-31T03:15:00Z",
        fields.pop("host", "one"),
        "asked",
        "pause",
        1.0,
        FILE,
        **{name: value for name, value in known.items() if name != "host"},
    )


SETS = [
    manifest("20260131T031500Z-2"),
    manifest("20260130T031500Z"),
    manifest("20260131T031500Z"),
    manifest("20260131T031500Z-10"),
]


@pytest.mark.parametrize(
    ("options", "identity"),
    [
        ({}, "20260131T031500Z-10"),
        ({"set": "20260131T031500Z"}, "20260131T031500Z"),
        ({"set": "20250131T031500Z"}, ""),
        ({"time": "2026-01-30"}, "20260130T031500Z"),
        ({"time": "2026-01-31 03:15"}, "20260131T031500Z-10"),
        ({"time": "2026-01-31T03:14:59Z"}, "20260130T031500Z"),
        ({"time": "2026-01-30T03:14:59Z"}, ""),
        ({"from_host": "two"}, ""),
        ({"from_host": "one"}, "20260131T031500Z-10"),
    ],
)
def test_the_newest_set_that_fits_is_taken(options: dict[str, Any], identity: str) -> None:
    assert restore_plan.chosen(SETS, (), parse({"app": "blog", **options})) == identity


def test_a_damaged_set_is_not_passed_over_in_silence() -> None:
    assert restore_plan.chosen(SETS, ["20260201T000000Z"], parse({"app": "blog"})) == "20260201T000000Z"
    assert restore_plan.chosen(SETS, ["20260201T000000Z"], parse({"app": "blog", "time": "2026-01-30"})) == SETS[1].id


def test_a_last_set_of_databases_alone_is_none_of_the_app() -> None:
    last = manifest("20260202T000000Z", template="")
    assert restore_plan.chosen([*SETS, last], (), parse({"app": "blog"})) == "20260131T031500Z-10"
    assert restore_plan.chosen([*SETS, last], (), parse({"app": "blog", "databases": ["mariadb"]})) == last.id
    assert restore_plan.chosen([*SETS, last], (), parse({"app": "blog", "set": last.id})) == last.id


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, ((DUMP,), (VOLUME, BIND))),
        ({"databases": ["mariadb"]}, ((DUMP,), ())),
        ({"volumes": ["data"]}, ((), (VOLUME,))),
        ({"volumes": ["data"], "binds": ["/srv/blog"]}, ((), (VOLUME, BIND))),
        ({"databases": []}, ((), ())),
    ],
)
def test_parts_that_are_not_named_stay_as_they_are(options: dict[str, Any], parts: object) -> None:
    assert restore_plan.wanted(SETS[0], parse({"app": "blog", **options})) == parts


def test_a_part_that_the_set_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="no such volume in it: it has data"):
        restore_plan.wanted(SETS[0], parse({"app": "blog", "volumes": ["uploads"]}))
    with pytest.raises(InputError, match="it has no binds"):
        restore_plan.wanted(replace(SETS[0], binds=()), parse({"app": "blog", "binds": ["/srv/blog"]}))


LINK = DatabaseLink(
    "blog", "mariadb", "mariadb", "mysql://127.0.0.1:3306", "blog", "blog", "owner", "h", 3306, services=("web",)
)
PARTS = (
    Part("database", "mariadb", "blog", "blog__new1", "blog__old1", False, LINK),
    Part("volume", "data", "blog_data", "blog_data__new1", "blog_data__old1"),
)


def test_what_is_written_down_is_read_again() -> None:
    journal = Journal("1", "20260131T031500Z", "switching", True, PARTS)
    assert restore_plan.read_journal(json.loads(json.dumps(restore_plan.journal_as_json(journal)))) == journal
    kept = tuple(Kept("1", "20260131T031500Z", part) for part in PARTS)
    assert restore_plan.read_kept(json.loads(json.dumps(restore_plan.kept_as_json(kept)))) == kept
    assert restore_plan.read_journal(None) is None
    assert restore_plan.read_kept(None) == ()


@pytest.mark.parametrize("value", ["x", 7, {"mark": "1"}, {"parts": 3}, {"parts": [{}]}, []])
def test_what_was_damaged_is_not_taken_for_nothing(value: object) -> None:
    with pytest.raises(HostError, match=r"state\.json: it is damaged"):
        restore_plan.read_journal(value)


@pytest.mark.parametrize("value", ["x", 7, [7], [{"mark": "1"}], {"a": 1}])
def test_what_is_kept_is_not_forgotten_for_a_damage(value: object) -> None:
    with pytest.raises(HostError, match=r"state\.json: it is damaged"):
        restore_plan.read_kept(value)
