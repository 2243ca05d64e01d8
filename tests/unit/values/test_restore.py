# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores as users ask for them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import drill_name, label, moment, parse
from hypothesis import given
from hypothesis import strategies as st


def utc(*numbers: int) -> dt.datetime:
    return dt.datetime(*numbers, tzinfo=dt.timezone.utc)  # type: ignore[arg-type,misc] # a mypy limit


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31", utc(2026, 1, 31, 23, 59, 59)),
        ("2026-01-31 12:00", utc(2026, 1, 31, 12, 0, 59)),
        ("2026-01-31T12:00:07Z", utc(2026, 1, 31, 12, 0, 7)),
        ("2026-01-31 12:00:07.5", utc(2026, 1, 31, 12, 0, 7)),
        ("2026-01-31t12:00:07+02:00", utc(2026, 1, 31, 10, 0, 7)),
        (" 2026-01-31T00:30-01:00 ", utc(2026, 1, 31, 1, 30, 59)),
    ],
)
def test_a_time_is_meant_with_all_of_what_it_leaves_out(text: str, meant: dt.datetime) -> None:
    assert moment(text) == meant


@pytest.mark.parametrize("text", ["", "noon", "2026-02-30", "2026-01-31 25:00", "31.1.2026", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a point in time"):
        moment(text)


@given(st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2199, 1, 1), timezones=st.just(dt.timezone.utc)))  # noqa: DTZ001 - bounds have none
def test_every_time_as_yaml_writes_it_is_taken(value: dt.datetime) -> None:
    value = value.replace(microsecond=0)
    assert moment(value) == moment(value.isoformat()) == value


def test_parts_that_are_not_named_are_told_from_none() -> None:
    whole = parse({"app": "blog"})
    assert (whole.databases, whole.volumes, whole.binds, whole.limited) == (None, None, None, False)
    part = parse({"app": "blog", "databases": ["mariadb", "mariadb"], "volumes": []})
    assert (part.databases, part.volumes, part.binds, part.limited) == (("mariadb",), (), None, True)


def test_an_item_is_called_after_what_is_made() -> None:
    assert parse({"app": "blog"}).name == "blog"
    assert parse({"app": "blog", "as": "copy"}).name == "copy"
    assert parse({"app": "blog", "drill": True}).name == "blog-drill"
    assert not parse({"app": "blog", "as": "blog"}).elsewhere
    assert label({"app": "blog", "as": "B"}) == "B"


@given(st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True).filter(lambda name: name != "default"))
def test_the_name_of_a_drill_is_one_of_an_app(name: str) -> None:
    assert parse({"app": drill_name(name)}).app == drill_name(name)


def test_administrators_are_known_by_their_links() -> None:
    server = {"host": "db.example.com", "user": "admin", "password": "hidden-word"}
    request = parse({"app": "blog", "links": [{"name": "mariadb", "server": server}]})
    assert request.servers["mariadb"].user == "admin"
    assert "hidden-word" not in repr(request)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"app": "Blog"}, "an app's name"),
        ({"app": "blog", "set": "../other"}, "named after the time"),
        ({"app": "blog", "set": "20260131T031500Z", "time": "2026-01-31"}, "both are given"),
        ({"app": "blog", "time": "soon"}, "not a point in time"),
        ({"app": "blog", "drill": True, "as": "copy"}, "place of its own"),
        ({"app": "blog", "drill": True, "volumes": ["data"]}, "place of its own"),
        ({"app": "blog", "as": "copy", "databases": ["mariadb"]}, "all of a set"),
        ({"app": "blog", "as": "Copy"}, "an app's name"),
        ({"app": "blog", "state": "discarded", "set": "20260131T031500Z"}, "as a whole"),
        ({"app": "blog", "state": "discarded", "binds": []}, "as a whole"),
        ({"app": "blog", "links": [{"name": "a"}, {"name": "a"}]}, "named twice"),
        ({"app": "blog", "links": [{"name": ""}]}, "no name"),
        ({"app": "blog", "links": [{"name": "a", "server": {"host": "db.example.com"}}]}, "no administrator"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse(options)
