# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that reach paths, containers and configuration files."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import names


@pytest.mark.parametrize("name", ["a", "7", "my-blog", "a" * 63, "0-0"])
def test_good_app_names_are_returned_unchanged(name: str) -> None:
    assert names.app_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a b", "../x", "a/b", "a.b", "A", "-a", "a-", "a_b", "a\n", "a" * 64, "a" * 300, "é", "a\x00", None, 7, ["a"]],
)
def test_bad_app_names_are_refused_and_quoted(name: object) -> None:
    with pytest.raises(InputError) as refusal:
        names.app_name(name)
    assert repr(name) in str(refusal.value)


@pytest.mark.parametrize("name", sorted(names.RESERVED_APP_NAMES))
def test_reserved_app_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="reserved"):
        names.app_name(name)


@pytest.mark.parametrize("name", ["A", "_", "DB_PASSWORD", "a1"])
def test_good_variable_names_are_returned_unchanged(name: str) -> None:
    assert names.variable_name(name) == name


@pytest.mark.parametrize("name", ["", "1A", "A B", "A\n", "A-B", "A=B", "Ä", 1, None])
def test_bad_variable_names_are_refused(name: object) -> None:
    with pytest.raises(InputError):
        names.variable_name(name)
