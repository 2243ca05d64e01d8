# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Site

Named = Callable[[str], Site]
NAMES = frozenset({"hello.example.test", "www.hello.example.test", "new.example.test"})


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_names_that_are_listed_have_https(secure: Named, name: str) -> None:
    answer = secure(name).get()
    assert (answer.status, answer.names) == (200, NAMES)


def test_the_name_that_was_taken_off_is_nobodys(plain: Named) -> None:
    assert plain("old.example.test").get().status == 404


def test_each_change_was_one_order(orders: list[list[str]]) -> None:
    assert [lineage for lineage, _outcome in orders].count("serverkit-hello") == 3
    assert len(orders) == 5
    assert {outcome for _lineage, outcome in orders} == {"issued"}
