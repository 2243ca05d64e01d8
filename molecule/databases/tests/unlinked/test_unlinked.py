# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from conftest import link_values

if TYPE_CHECKING:
    from conftest import Web
    from testinfra.host import Host


def ask(server: Host, database: str, query: str) -> str:
    return str(server.check_output(f"psql -XAt -d {database} -c {shlex.quote(query)}"))


def test_the_app_is_not_told_any_more(web: Web, server: Host) -> None:
    variables = web.json("/p/the-notes/variables")
    assert not [name for name in variables if name.startswith(("DB_", "DATABASE_"))]
    assert "REDIS_URL" in variables
    assert not link_values(server, "notes", "postgresql")


def test_its_user_gets_in_no_more(server: Host) -> None:
    assert ask(server, "postgres", "SELECT count(*) FROM pg_roles WHERE rolname ~ '^notes' AND rolcanlogin") == "0"


def test_its_data_is_kept(server: Host) -> None:
    assert ask(server, "notes", "SELECT text FROM public.notes") == "a note to keep"


def test_the_others_are_as_they_were(web: Web) -> None:
    assert web.json("/p/the-notes/visits") > 1
    assert isinstance(web.json("/p/the-other/notes"), list)
    assert "A linked blog" in web.get("/", "blog.example.test")
