# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of backup sets: the time they were begun, safe as names of directories, in order."""

from __future__ import annotations

import datetime as dt

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import begun, new_set_id, order, set_id

NOW = dt.datetime(2026, 1, 31, 3, 15, tzinfo=dt.timezone.utc)


def test_a_set_is_named_after_its_time() -> None:
    assert new_set_id(NOW) == "20260131T031500Z"
    # The first one of that second is gone by now, and the newest set still sorts last.
    assert new_set_id(NOW, frozenset({"20260131T031500Z-2"})) == "20260131T031500Z-3"
    assert begun("20260131T031500Z") == begun("20260131T031500Z-12") == NOW


def test_names_of_one_second_differ_and_sort() -> None:
    taken: list[str] = []
    for _number in range(15):
        taken.append(new_set_id(NOW, frozenset(taken)))
    assert taken[1] == "20260131T031500Z-2"
    assert sorted(frozenset(taken), key=order) == taken
    assert [set_id(name) for name in taken] == taken


@pytest.mark.parametrize(
    "value",
    ["", "latest", "20260131", "20261331T031500Z", "20260131T031500", "20260131T031500Z-", "20260131T031500Z-1000"]
    + ["20260131T031500Z\n", "../20260131T031500Z", "٢٠٢٦٠١٣١T031500Z", None, 20260131],
)
def test_other_names_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="named after the time"):
        set_id(value)
