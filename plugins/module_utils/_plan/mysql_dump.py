# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Texts for and from the client programs of MySQL and MariaDB: their option file, and what is in a dump."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping

# What stands for a character between quotes in an option file (MySQL 8.4 manual, 6.2.2.2).
_ESCAPES = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# The comment with which mysqldump and mariadb-dump end, if they get to the end.
_FOOTER = re.compile(rb"\n-- Dump completed[^\n]*\n?\Z")

# No header of an object is longer, up to where the patterns end.
_HEADER = 4096
_NAME = rb"(?:`(?:[^`]|``)*`|[^\s`.(*/@]+)"
# A line of its own begins so, before a view, a trigger, an event, a routine or a package (MariaDB); a row of data
# never does: line ends in values are escaped.
_DEFINER = re.compile(
    rb"(?P<before>\n(?:/\*!50013 |/\*![0-9]{5,6} CREATE\*/ /\*![0-9]{5,6} |CREATE (?:OR REPLACE )?))"
    rb"DEFINER=" + _NAME + rb"(?:@" + _NAME + rb")?(?=[\s*])"
)
# Triggers are kept as somebody once wrote them, maybe with the name of the database, which is another now.
_TRIGGER_NAMES = (
    rb"TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?)(?:" + _NAME + rb"\s*\.\s*)?(?P<name>" + _NAME + rb")"
    rb"(?P<when>\s+(?:BEFORE|AFTER)\s+(?:INSERT|UPDATE|DELETE)\s+ON\s+)"
    rb"(?:" + _NAME + rb"\s*\.\s*)?(?P<table>" + _NAME + rb")(?=\s)"
)
_TRIGGER_LINE = re.compile(
    rb"(?P<create>\n/\*!50003 CREATE\*/ (?:/\*!50017 DEFINER=\S+\*/ )?/\*!50003 " + _TRIGGER_NAMES, re.IGNORECASE
)
_TRIGGER = re.compile(
    r"\A(?P<create>CREATE (?:OR REPLACE )?DEFINER=.*?\s+" + _TRIGGER_NAMES.decode(), re.IGNORECASE | re.DOTALL
)
_BARE_TRIGGER = "{create}{name}{when}{table}"
_VIEW = b"\n/*!50001 VIEW "
_VIEW_LINE = re.compile(rb"(?<=\n/\*!50001 VIEW )[^\n]*(?=\*/;\n)")
# What a dump begins with; the name is as it is.
_ORIGIN = re.compile(rb"\n-- Host: [^\n]* Database: (?P<name>[^\n]*)\n")
_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|(?P<name>`(?:[^`]|``)*`)(?P<dot>\.?)", re.DOTALL)
# Around a routine that was made when the database had another collation.
_ALTER = re.compile(rb"(?P<before>\n(?:/\*![0-9]{5,6} )?ALTER DATABASE )" + _NAME + rb"(?= CHARACTER SET )")


def option_file(options: Mapping[str, str]) -> str:
    """Return an option file for the client programs, which read from it what others must not see in `ps`."""
    lines = (f'{name}="{option_value(value)}"' for name, value in options.items())
    return "\n".join(["[client]", *lines, ""])


def option_value(text: str) -> str:
    """Return a text as it is written between double quotes in an option file."""
    return "".join(_ESCAPES.get(char, char) for char in text)


def is_complete(tail: bytes) -> bool:
    """Whether the end of a dump is that of a complete one."""
    return _FOOTER.search(tail) is not None


def adapted(parts: Iterable[bytes], database: bytes, definer: bytes) -> Iterator[bytes]:
    """Yield a dump as it has to be to load it into another database, and for another user.

    :param database: name of the database that it is loaded into, in backticks.
    :param definer: who views, triggers, routines and events belong to from now on, as in SQL. Whose they were may not
        exist here; and what an administrator had defined must not let an app act as the administrator.
    """
    rest = b"\n"  # every pattern begins with the end of the line before
    origin = ""
    for part in parts:
        block = rest + part
        if not origin:
            found = _ORIGIN.search(block)
            origin = found["name"].decode() if found else ""
        block = _changed(block, origin, database, definer)
        keep = _settled(block)
        yield block[:keep]
        rest = block[keep:]
    yield rest


def unqualified(sql: str, database: str) -> str:
    """Return a view's definition without the name of its own database, which the server writes here and there.

    `a`.`b` is a column of a table where a table or an alias is called like the database; then it stays.
    """
    own = "`" + database.replace("`", "``") + "`"
    tokens = [match for match in _TOKEN.finditer(sql) if match["name"]]
    ambiguous = any(match["name"] == own and not match["dot"] for match in tokens)
    # `database`.`table`.`column`, of which the second has a dot behind it as well.
    full = {
        one.start() for one, two in itertools.pairwise(tokens) if one["dot"] and two["dot"] and one.end() == two.start()
    }

    def shortened(match: re.Match[str]) -> str:
        if match["name"] != own or not match["dot"]:
            return match[0]
        return "" if match.start() in full or not ambiguous else match[0]

    return _TOKEN.sub(shortened, sql)


def bare_trigger(sql: str) -> str:
    """Return the statement that makes a trigger without the name of a database in front of its and the table's name."""
    return _TRIGGER.sub(lambda match: _BARE_TRIGGER.format(**match.groupdict()), sql)


def _settled(block: bytes) -> int:
    """Return up to where nothing depends on what comes next; the rest begins with a line's end, or is empty."""
    last = block.rfind(b"\n")
    if block.startswith(_VIEW, last):
        return last
    # A header may go on in the next part. One that began before this window was there as a whole.
    start = block.find(b"\n", max(0, len(block) - _HEADER))
    return start if start >= 0 else len(block)


def _changed(block: bytes, origin: str, database: bytes, definer: bytes) -> bytes:
    # Looking for a fixed text is several times faster than for a pattern, and most blocks are data.
    if b"DEFINER=" in block:
        block = _TRIGGER_LINE.sub(rb"\g<create>\g<name>\g<when>\g<table>", block)
        block = _DEFINER.sub(lambda match: match["before"] + b"DEFINER=" + definer, block)
    if origin and _VIEW in block:
        block = _VIEW_LINE.sub(lambda match: _unqualified(match[0], origin), block)
    if b"ALTER DATABASE " in block:
        block = _ALTER.sub(lambda match: match["before"] + database, block)
    return block


def _unqualified(line: bytes, database: str) -> bytes:
    try:
        return unqualified(line.decode(), database).encode()
    except UnicodeDecodeError:  # written by a client with another character set
        return line
