# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which apps depend on a database server that another app's container is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import link_order
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink


def link(app: str, server: str) -> DatabaseLink:
    return DatabaseLink(app, "db", "redis", server, app, app, "owner", "somewhere", 1)


@pytest.mark.parametrize(
    ("server", "app"),
    [
        ("redis:///shared/cache:6379", "shared"),
        ("mysql:///my-app/db_1:3306", "my-app"),
        ("mysql://127.0.0.1:3306", ""),
        ("postgresql://db.example.com:5432", ""),
        ("", ""),
    ],
)
def test_the_app_whose_container_a_server_is(server: str, app: str) -> None:
    assert link_order.server_app(link("shop", server)) == app


@pytest.mark.parametrize(
    ("apps", "links", "waves"),
    [
        ([], [], []),
        (
            ["a", "b", "c"],
            [link("a", "mysql://127.0.0.1:3306"), link("b", "mysql://127.0.0.1:3306")],
            [["a", "b", "c"]],
        ),
        (["a", "b", "c"], [link("a", "redis:///b/cache:6379")], [["a"], ["b", "c"]]),
        (["b", "a", "c"], [link("a", "redis:///b/cache:6379")], [["b"], ["a", "c"]]),
        (["a", "c", "b"], [link("a", "redis:///b/cache:6379")], [["a", "c"], ["b"]]),
        (["a", "b"], [link("a", "redis:///a/cache:6379")], [["a", "b"]]),
        (["a", "b"], [link("a", "redis:///shared/cache:6379"), link("b", "redis:///shared/cache:6379")], [["a", "b"]]),
    ],
)
def test_an_app_and_its_server_are_not_made_anew_at_once(
    apps: Sequence[str], links: Sequence[DatabaseLink], waves: Sequence[Sequence[str]]
) -> None:
    assert link_order.waves(apps, links) == waves


@pytest.mark.parametrize(
    ("apps", "links", "order"),
    [
        (["a", "b"], [], ["a", "b"]),
        (["b", "a"], [link("a", "redis:///b/cache:6379")], ["a", "b"]),
        (["b", "a"], [link("a", "redis:///elsewhere/cache:6379"), link("c", "redis:///b/cache:6379")], ["b", "a"]),
        (["c", "b", "a"], [link("a", "redis:///b/cache:6379"), link("b", "redis:///c/cache:6379")], ["a", "b", "c"]),
        (["b", "a"], [link("a", "redis:///a/cache:6379")], ["b", "a"]),
        (["b", "a"], [link("a", "redis:///b/cache:6379"), link("b", "redis:///a/cache:6379")], ["b", "a"]),
    ],
)
def test_guests_come_before_their_servers(
    apps: Sequence[str], links: Sequence[DatabaseLink], order: Sequence[str]
) -> None:
    assert link_order.guests_first(apps, links) == order
