# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import mysql_dump
from ansible_collections.serverkit.core.plugins.module_utils._plan.mysql_switch import Journal, Part, moves
from ansible_collections.serverkit.core.plugins.module_utils._plan.restore_names import staged_name
from ansible_collections.serverkit.core.plugins.module_utils._values.database import ENGINES, Engine
from hypothesis import example, given
from hypothesis import strategies as st

NEW = b"`app`@`127.0.0.1`"

# As mariadb-dump 10.11 and mysqldump 8.0 write it, shortened.
DUMP = rb"""/*M!999999\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: blog
-- ------------------------------------------------------
INSERT INTO `t` VALUES
(1,'a\n/*!50013 DEFINER=`root`@`localhost` '),
(2,'CREATE DEFINER=`root`@`localhost` PROCEDURE');
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`local``host`*/ /*!50003 trigger blog.tr before insert on `blog` . `t`
for each row set new.id = (select 1 from `blog`.`t`) */;;
/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY DO select 1 */ ;;
CREATE DEFINER=`a_role` FUNCTION `f`() RETURNS int(11)
return 1 ;;
ALTER DATABASE `blog` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select `blog`.`f`() AS `x`,'`blog`.`t`' AS `y` from `t` */;

-- Dump completed
"""
LOADED = rb"""/*M!999999\- enable the sandbox mode */
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: blog
-- ------------------------------------------------------
INSERT INTO `t` VALUES
(1,'a\n/*!50013 DEFINER=`root`@`localhost` '),
(2,'CREATE DEFINER=`root`@`localhost` PROCEDURE');
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`app`@`127.0.0.1`*/ /*!50003 trigger tr before insert on `t`
for each row set new.id = (select 1 from `blog`.`t`) */;;
/*!50106 CREATE*/ /*!50117 DEFINER=`app`@`127.0.0.1`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY DO select 1 */ ;;
CREATE DEFINER=`app`@`127.0.0.1` FUNCTION `f`() RETURNS int(11)
return 1 ;;
ALTER DATABASE `fresh` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`app`@`127.0.0.1` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select `f`() AS `x`,'`blog`.`t`' AS `y` from `t` */;

-- Dump completed
"""


@given(st.lists(st.integers(0, len(DUMP)), max_size=30))
@example(list(range(len(DUMP))))
def test_a_dump_is_adapted_wherever_it_is_cut_into_parts(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(DUMP)]
    parts = [DUMP[start:end] for start, end in itertools.pairwise(edges)]
    assert b"".join(mysql_dump.adapted(parts, b"`fresh`", NEW)).removeprefix(b"\n") == LOADED


@given(st.lists(st.binary(max_size=50).map(lambda part: b"(" + part.replace(b"\n", b"\\n") + b"),\n")))
def test_rows_are_left_alone(rows: list[bytes]) -> None:
    assert b"".join(mysql_dump.adapted(rows, b"`fresh`", NEW)) == b"\n" + b"".join(rows)


def test_a_long_row_goes_by_in_parts() -> None:
    parts = [b"INSERT INTO `t` VALUES (0x", *[b"00" * 500_000] * 8, b");\n"]
    given_on = list(mysql_dump.adapted(parts, b"`fresh`", NEW))
    assert max(map(len, given_on)) <= 1_000_000 + 4096
    assert b"".join(given_on) == b"\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("select `a`.`t`.`c` from `a`.`t`", "select `t`.`c` from `t`"),
        ("select `a`.`t`.`c`,'`a`.`t`' from `t`", "select `t`.`c`,'`a`.`t`' from `t`"),
        ("select 'it''s \\' `a`.`b`',`a`.`f`(1)", "select 'it''s \\' `a`.`b`',`f`(1)"),
        # A table or an alias that is called like the database.
        ("select `a`.`c` AS `c` from `a`", "select `a`.`c` AS `c` from `a`"),
        ("select `a`.`a`.`c` from `a`.`a`", "select `a`.`c` from `a`.`a`"),
        ("select `b`.`t`.`c` from `b`.`t` join `a`.`t`", "select `b`.`t`.`c` from `b`.`t` join `t`"),
    ],
)
def test_the_name_of_a_views_own_database_is_left_out(sql: str, wanted: str) -> None:
    assert mysql_dump.unqualified(sql, "a") == wanted


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        (
            "CREATE DEFINER=`u`@`h` trigger a.tr\nbefore insert on `a`.`t x` for each row begin end",
            "CREATE DEFINER=`u`@`h` trigger tr\nbefore insert on `t x` for each row begin end",
        ),
        (
            (
                "CREATE DEFINER=`u`@`h` TRIGGER tr AFTER UPDATE ON t FOR EACH ROW"
                " SET @a = ' TRIGGER x.y BEFORE INSERT ON a.b'"
            ),
            (
                "CREATE DEFINER=`u`@`h` TRIGGER tr AFTER UPDATE ON t FOR EACH ROW"
                " SET @a = ' TRIGGER x.y BEFORE INSERT ON a.b'"
            ),
        ),
    ],
)
def test_a_trigger_is_made_without_the_name_of_a_database(sql: str, wanted: str) -> None:
    assert mysql_dump.bare_trigger(sql) == wanted


@pytest.mark.parametrize(
    ("tail", "whole"),
    [
        (b"x\n-- Dump completed\n", True),
        (b"x\n-- Dump completed on 2026-01-31  3:15:00\n", True),
        (b"x\n-- Dump completed", True),
        (b"x\n-- Dump completed\nx", False),
        (b"'-- Dump completed", False),
        (b"", False),
    ],
)
def test_a_dump_is_complete_when_it_says_so_at_its_end(tail: bytes, whole: bool) -> None:
    assert mysql_dump.is_complete(tail) is whole


def test_an_option_file_holds_any_password() -> None:
    text = mysql_dump.option_file({"user": "blog", "password": "a'\"\\#; ü\n"})
    assert text == '[client]\nuser="blog"\npassword="a\\\'\\"\\\\#; ü\\n"\n'


# --- which table goes where -------------------------------------------------------------------------------------------

LIVE, FRESH, KEPT = "app", "app__new", "app__old"
PARTS = tuple(Part(home, "TABLE", name) for home, name in ((LIVE, "a"), (LIVE, "b"), (FRESH, "b"), (FRESH, "c")))
JOURNAL = Journal(LIVE, FRESH, KEPT, parts=PARTS)
BEFORE = {LIVE: frozenset("ab"), FRESH: frozenset("bc"), KEPT: frozenset[str]()}
AFTER = {LIVE: frozenset("bc"), FRESH: frozenset[str](), KEPT: frozenset("ab")}


def test_tables_move_both_ways_and_only_once() -> None:
    there = list(moves(JOURNAL, BEFORE, forward=True))
    assert set(there[:2]) == {((LIVE, "a"), (KEPT, "a")), ((LIVE, "b"), (KEPT, "b"))}
    assert set(there[2:]) == {((FRESH, "b"), (LIVE, "b")), ((FRESH, "c"), (LIVE, "c"))}
    assert list(moves(JOURNAL, AFTER, forward=True)) == []
    back = list(moves(JOURNAL, AFTER, forward=False))
    assert {(place, source) for source, place in back} == set(there)
    assert {source[0] for source, _place in back[:2]} == {LIVE}
    assert list(moves(JOURNAL, BEFORE, forward=False)) == []


def test_a_journal_reads_back() -> None:
    part = Part(LIVE, "EVENT", "ü'`", 3, 'say "\\"', "ANSI", "utf8mb4_bin", "SYSTEM", broken=True)
    journal = Journal(LIVE, FRESH, KEPT, existed=False, parts=(*PARTS, part), done=True)
    assert Journal.read(journal.written()) == journal


# --- names ------------------------------------------------------------------------------------------------------------


@given(st.sampled_from(ENGINES), st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", fullmatch=True))
def test_names_beside_the_apps_own_are_short_enough_and_differ(engine: Engine, database: str) -> None:
    first, second = (staged_name(engine, database, mark) for mark in ("new20260131T031500Z", "old20260131T031500Z"))
    assert first != second
    assert database not in (first, second)
    assert len(first) <= 63
    assert first != staged_name(engine, f"{database[:61]}x", "new20260131T031500Z")


def test_a_short_name_is_kept_whole() -> None:
    assert staged_name("mariadb", "my_blog", "new1") == "my_blog__new1"
