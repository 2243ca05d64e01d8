# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from conftest import DIRECTORY, link_values

if TYPE_CHECKING:
    from conftest import Web
    from testinfra.host import Host


@pytest.mark.parametrize("link", ["postgresql", "mariadb"])
def test_no_query_failed_meanwhile(server: Host, link: str) -> None:
    answers = json.loads(server.file("/root/answers.json").content_string)[link]
    assert answers["failures"] == []
    assert answers["asked"] > 50


@pytest.mark.parametrize(("app", "link"), [("notes", "postgresql"), ("notes", "redis"), ("blog", "mariadb")])
def test_passwords_are_others(server: Host, app: str, link: str) -> None:
    before = (DIRECTORY / "passwords").read_text()
    password = link_values(server, app, link)["PASSWORD"]
    assert password
    assert password not in before


def test_the_apps_have_their_data(web: Web) -> None:
    assert web.json("/p/the-notes/notes") == ["a note to keep"]
    assert web.json("/p/the-notes/visits") > 1
    assert "A linked blog" in web.get("/", "blog.example.test")
