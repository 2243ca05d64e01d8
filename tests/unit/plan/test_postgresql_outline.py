# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles read from what pg_restore prints."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan.postgresql_outline import Outline, parse
from hypothesis import given
from hypothesis import strategies as st

HEAD = """--
-- PostgreSQL database dump; ALTER TABLE a OWNER TO comment;
--

\\restrict GRANT;
SET standard_conforming_strings = on;
CREATE DATABASE "shop" WITH TEMPLATE = template0 ENCODING = 'UTF8';
ALTER DATABASE "shop" OWNER TO "shop_owner";
\\connect "shop"
REVOKE CONNECT,TEMPORARY ON DATABASE "shop" FROM PUBLIC;
GRANT CONNECT ON DATABASE "shop" TO "reader";
GRANT TEMPORARY ON DATABASE "shop" TO "reader";
"""


def test_reads_whom_the_database_belongs_to_and_who_was_let_in() -> None:
    found = parse(HEAD)
    assert found == Outline(
        "shop_owner",
        (("reader", ("CONNECT", "TEMPORARY")),),
        frozenset({"shop_owner"}),
        frozenset({"shop_owner", "reader"}),
    )
    assert found.users == {"shop_owner", "reader"}
    assert parse("") == Outline()
    assert parse("").users == frozenset()


@pytest.mark.parametrize(
    ("sql", "roles"),
    [
        ("ALTER TABLE public.t OWNER TO a;", {"a"}),
        ('ALTER FUNCTION "f"("x" integer) OWNER TO "a b";', {"a b"}),
        ("ALTER LARGE OBJECT 12 OWNER TO a;", {"a"}),
        ("ALTER SCHEMA public OWNER TO pg_database_owner;", set()),
        ('GRANT SELECT("TO") ON TABLE "t;" TO "a", b WITH GRANT OPTION;', {"a", "b"}),
        ('GRANT ALL ON FUNCTION "f"("to" text, "x" integer) TO a;', {"a"}),
        ("GRANT USAGE ON SCHEMA s TO PUBLIC;", set()),
        ('GRANT USAGE ON SCHEMA s TO "PUBLIC";', {"PUBLIC"}),
        ("GRANT USAGE ON SCHEMA s TO GROUP a GRANTED BY b;", {"a"}),
        ("REVOKE ALL ON TABLE t FROM a CASCADE;", {"a"}),
        ("SET SESSION AUTHORIZATION 'it''s';", {"it's"}),
        ("SET SESSION AUTHORIZATION a; GRANT SELECT ON t TO b; RESET SESSION AUTHORIZATION;", {"a", "b"}),
        ("SET SESSION AUTHORIZATION DEFAULT;", set()),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT SELECT ON TABLES  TO b;", {"a", "b"}),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE a REVOKE ALL ON FUNCTIONS  FROM PUBLIC;", {"a"}),
        ("CREATE POLICY p ON t TO a, \"b\" USING ((x SIMILAR TO 'c')) WITH CHECK (true);", {"a", "b"}),
        ("CREATE POLICY p ON t FOR SELECT USING ((x SIMILAR TO 'c'));", set()),
        ("CREATE USER MAPPING FOR a SERVER far OPTIONS (\"user\" 'b');", {"a"}),
        ("CREATE FUNCTION f() AS $a$ GRANT ALL ON x TO b; $$; $a$; ALTER FUNCTION f() OWNER TO a", {"a"}),
        ("CREATE FUNCTION f() BEGIN ATOMIC\n SELECT 1;\n SELECT 2;\nEND;\nALTER FUNCTION f() OWNER TO a;", {"a"}),
        ("COMMENT ON TABLE t IS 'GRANT ALL ON t TO b; it''s'; GRANT SELECT ON t TO a;", {"a"}),
        (r"CREATE VIEW v AS SELECT E'\'; GRANT ALL ON t TO b;'; GRANT SELECT ON v TO a;", {"a"}),
        ("GRANT SELECT ON t TO", set()),
    ],
)
def test_reads_the_roles_of_a_statement(sql: str, roles: set[str]) -> None:
    assert parse(sql).roles == roles


names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1).filter(
    lambda name: not name.startswith("pg_")
)


@given(owner=names, role=names, text=st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
def test_reads_any_name_and_is_misled_by_no_text(owner: str, role: str, text: str) -> None:
    def quoted(name: str, mark: str = '"') -> str:
        return mark + name.replace(mark, mark * 2) + mark

    literal = quoted(text, "'")
    sql = (
        f"ALTER DATABASE {quoted(text)} OWNER TO {quoted(owner)};\n"
        f"COMMENT ON TABLE {quoted(text)} IS {literal};\n"
        f"GRANT CONNECT ON DATABASE {quoted(text)} TO {quoted(role)};\n"
    )
    assert parse(sql) == Outline(owner, ((role, ("CONNECT",)),), frozenset({owner}), frozenset({owner, role}))
