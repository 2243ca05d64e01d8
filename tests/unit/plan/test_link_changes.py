# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server needs for a link, and when an app may not have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import link_changes
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_changes import Secret, ServerSteps
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Access, DatabaseState, Login
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink

LINK = DatabaseLink(
    "blog", "mariadb", "mariadb", "mysql://127.0.0.1:3306", "blog", "blog", "owner", "host.docker.internal", 3306
)
ACCESS = Access("mariadb", "blog", "blog", "owner", ("172.16.0.0/255.240.0.0",))
FINE = DatabaseState(
    database_exists=True,
    user_exists=True,
    logins=(Login("blog"),),
    hosts=ACCESS.hosts,
    privileges="owner",
    some_privileges=True,
)
PASSWORD = Secret("blog", "correct horse")


@pytest.mark.parametrize(
    ("state", "stored", "wanted", "valid", "expected"),
    [
        (FINE, PASSWORD, PASSWORD, True, ServerSteps()),
        (
            DatabaseState(),
            Secret(),
            PASSWORD,
            False,
            ServerSteps(create_user=True, create_database=True, grant=True),
        ),
        # PostgreSQL keeps the owner of data without a login.
        (
            replace(FINE, logins=(), hosts=()),
            Secret(),
            PASSWORD,
            False,
            ServerSteps(create_user=True, grant=True),
        ),
        (replace(FINE, database_exists=False), PASSWORD, PASSWORD, True, ServerSteps(create_database=True, grant=True)),
        (replace(FINE, privileges=None), PASSWORD, PASSWORD, True, ServerSteps(grant=True)),
        (replace(FINE, problems=("anyone may connect",)), PASSWORD, PASSWORD, True, ServerSteps(grant=True)),
        (replace(FINE, hosts=("%",)), PASSWORD, PASSWORD, True, ServerSteps(grant=True)),
        # A lost .env, or a password that was changed on the server.
        (FINE, Secret(), PASSWORD, False, ServerSteps(reset=True)),
        (FINE, PASSWORD, PASSWORD, False, ServerSteps(reset=True)),
        (FINE, PASSWORD, Secret("blog", "battery staple"), True, ServerSteps(rotate=True)),
        # A rotation that was cut short.
        (
            replace(FINE, logins=(Login("blog", passwords=2),)),
            PASSWORD,
            PASSWORD,
            True,
            ServerSteps(settle=True),
        ),
        (
            replace(FINE, logins=(Login("blog"), Login("blog__2"))),
            PASSWORD,
            Secret("blog", "battery staple"),
            True,
            ServerSteps(rotate=True),
        ),
    ],
)
def test_steps(state: DatabaseState, stored: Secret, wanted: Secret, valid: bool, expected: ServerSteps) -> None:
    assert link_changes.steps(state, ACCESS, stored, wanted, valid=valid) == expected


@pytest.mark.parametrize(
    ("state", "adopt", "siblings", "complaint"),
    [
        (DatabaseState(), False, (), ""),
        (FINE, False, (), "the user blog .* exists, and no link is known"),
        (FINE, True, (), ""),
        (replace(FINE, elsewhere=("may read shop.orders",)), False, (), "exists with other grants: it may read shop"),
        (replace(FINE, elsewhere=("may read shop.orders",)), True, (), "exists with other grants"),
        (DatabaseState(database_exists=True), False, (), "the database blog .* exists, and no link is known"),
        (DatabaseState(database_exists=True, others=("shop",)), False, (), "belongs to shop"),
        (DatabaseState(database_exists=True, others=("shop",)), True, (), "belongs to shop"),
        # A second link of the app to its own database.
        (DatabaseState(database_exists=True, others=("blog_owner",)), False, ("blog_owner",), ""),
    ],
)
def test_what_is_somebody_elses_is_refused(
    state: DatabaseState, adopt: bool, siblings: tuple[str, ...], complaint: str
) -> None:
    error = link_changes.refusal(LINK, state, known=False, adopt=adopt, siblings=siblings)
    if complaint:
        with pytest.raises(type(error) if error else AssertionError, match=complaint):
            raise error or AssertionError("it is not refused")
    else:
        assert error is None


def test_what_is_the_links_own_is_not_refused() -> None:
    state = replace(FINE, elsewhere=("may read shop.orders",), others=("shop",))
    assert link_changes.refusal(LINK, state, known=True, adopt=False, siblings=()) is None


def test_redis_has_no_databases_that_somebody_made() -> None:
    link = replace(LINK, engine="redis")
    state = DatabaseState(database_exists=True)
    assert link_changes.refusal(link, state, known=False, adopt=False, siblings=()) is None


@pytest.mark.parametrize(
    ("rival", "complaint"),
    [
        ({"database": "blog", "user": "x"}, "the database blog .* belongs to the app shop"),
        ({"database": "x", "user": "blog"}, "the user blog .* belongs to the app shop"),
        ({"database": "blog", "user": "x", "options": {"state": "unlinked"}}, "keeps its data"),
        ({"database": "x", "user": "x"}, ""),
        ({"server": "mysql://db:3306"}, ""),
        ({"app": "blog"}, ""),
    ],
)
def test_what_another_app_has_is_refused_by_name(rival: dict[str, Any], complaint: str) -> None:
    row = replace(LINK, **{"app": "shop", **rival})
    error = link_changes.taken(LINK, [row], [])
    assert bool(error) == bool(complaint)
    if error:
        with pytest.raises(type(error), match=complaint):
            raise error


def test_another_hosts_server_is_another_one_only_when_it_is_local() -> None:
    here = replace(LINK, server="mysql://db.internal:3306")
    there = replace(here, app="shop")
    error = link_changes.taken(here, [], [("web2", there)])
    assert error is not None
    assert "the app shop on web2" in str(error)
    assert link_changes.taken(LINK, [], [("web2", replace(LINK, app="shop"))]) is None


@pytest.mark.parametrize("change", [{"database": "other"}, {"user": "other"}, {"server": "mysql://db:3306"}])
def test_a_link_does_not_leave_its_data_behind(change: dict[str, str]) -> None:
    error = link_changes.moved(replace(LINK, **change), LINK)  # type: ignore[arg-type]
    assert error is not None
    assert "stay behind" in str(error)
    assert link_changes.moved(replace(LINK, privileges="readonly"), LINK) is None


def test_diffs_show_that_a_password_changes_and_not_which() -> None:
    before = link_changes.summary(LINK, FINE, PASSWORD, valid=True, linked=True)
    after = link_changes.wanted_summary(LINK, ACCESS, Secret("blog", "battery staple"), hosts=True)
    assert before != after
    assert "horse" not in before + after
    assert "staple" not in before + after
    assert link_changes.wanted_summary(LINK, ACCESS, PASSWORD, hosts=True) == before


def test_rows_are_replaced_added_and_removed() -> None:
    other = replace(LINK, name="other")
    changed = replace(LINK, privileges="readonly")
    assert link_changes.after([LINK], {("blog", "mariadb"): changed, ("blog", "other"): other}) == (changed, other)
    assert link_changes.after([LINK, other], {("blog", "mariadb"): None}) == (other,)
