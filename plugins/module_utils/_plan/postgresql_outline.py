# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a dump of PostgreSQL says of roles, read from the SQL that pg_restore makes of it.

A dump of one database has no roles in it, though its objects belong to some and are granted to others. What is made of
SQL here is only read, never run: the least that tells statements, quoted texts and names apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

# PostgreSQL 17 manual, 4.1 "Lexical Structure". Lines with a backslash are for psql.
_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|--[^\n]*|/\*.*?\*/|(?m:^\\[^\n]*))
    |(?P<name>"(?:[^"]|"")*")
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<end>;)
    |(?P<word>\w[\w$]*)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LISTS_END = frozenset({"WITH", "GRANTED", "CASCADE", "RESTRICT", "USING", "SERVER"})
# Who is no role that somebody made (`RoleSpec` in PostgreSQL's grammar).
_WORDS = frozenset({"PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER", "GROUP", "NONE", "DEFAULT"})
_RIGHTS = frozenset({"ALL", "CREATE", "CONNECT", "TEMPORARY", "TEMP"})


@dataclass(frozen=True)
class _Token:
    text: str
    quoted: bool = False

    def says(self, word: str) -> bool:
        return not self.quoted and self.text.upper() == word


@dataclass(frozen=True)
class Outline:
    """The roles of a dump.

    :ivar owner: whom the database belonged to.
    :ivar grants: who had been granted which rights on the database itself, without those of everybody and the owner's.
    :ivar owners: whom anything in it belongs to.
    :ivar roles: all of them, also those that something is granted to; without PostgreSQL's own.
    """

    owner: str = ""
    grants: tuple[tuple[str, tuple[str, ...]], ...] = ()
    owners: frozenset[str] = field(default_factory=frozenset)
    roles: frozenset[str] = field(default_factory=frozenset)

    @property
    def users(self) -> frozenset[str]:
        """Who owns the database, or was let into it."""
        return frozenset({self.owner, *(role for role, _rights in self.grants)}) - {""}


def parse(sql: str) -> Outline:
    """Read the output of `pg_restore --create` without the data."""
    owner = ""
    grants: dict[str, tuple[str, ...]] = {}
    owners: set[str] = set()
    roles: set[str] = set()
    for statement in _statements(sql):
        belongs = _owner(statement)
        if belongs:
            owners.add(belongs)
            if statement[1].says("DATABASE"):
                owner = belongs
        named = _named(statement)
        roles.update(named)
        if statement[0].says("GRANT"):
            rights = _database_rights(statement)
            grants.update({role: (*grants.get(role, ()), *rights) for role in named if rights})
    made = frozenset(role for role in (*owners, *roles) if not role.startswith("pg_"))
    return Outline(owner, tuple(sorted(grants.items())), frozenset(owners) & made, made)


def _statements(sql: str) -> Iterator[Sequence[_Token]]:
    found: list[_Token] = []
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup, match.group()
        if kind == "end":
            if found:
                yield found
            found = []
        elif match["name"] is not None:
            found.append(_Token(text[1:-1].replace('""', '"'), quoted=True))
        elif match["text"] is not None:
            # Only `SET SESSION AUTHORIZATION` has a role so.
            found.append(_Token(text[1:-1].replace("''", "'"), quoted=True))
        elif kind != "blank":
            found.append(_Token(text))
    if found:
        yield found


def _owner(statement: Sequence[_Token]) -> str:
    """Return whom `ALTER ... OWNER TO ...` gives something."""
    if len(statement) < 5 or not statement[0].says("ALTER"):
        return ""
    owner, to, role = statement[-3:]
    return role.text if owner.says("OWNER") and to.says("TO") and not _is_word(role) else ""


def _named(statement: Sequence[_Token]) -> tuple[str, ...]:
    """Return the roles of a statement that grants, revokes, limits or acts for somebody."""
    first, second, third = (*statement, _Token(""), _Token(""))[:3]
    if first.says("GRANT") or first.says("REVOKE"):
        return tuple(_list(statement, ("FROM",) if first.says("REVOKE") else ("TO",), last=True))
    if first.says("ALTER") and second.says("DEFAULT") and third.says("PRIVILEGES"):
        return (*_list(statement, ("ROLE",)), *_list(statement, ("TO", "FROM"), last=True))
    if first.says("CREATE") and second.says("POLICY"):
        # Behind these are expressions, which may have a TO of their own.
        ends = [place for place, token in enumerate(statement) if token.says("USING") or token.says("WITH")]
        return tuple(_list(statement[: min(ends, default=None)], ("TO",)))
    if first.says("CREATE") and second.says("USER") and third.says("MAPPING"):
        return tuple(_list(statement, ("FOR",)))
    if first.says("SET") and second.says("SESSION") and third.says("AUTHORIZATION"):
        return tuple(_list(statement, ("AUTHORIZATION",)))
    return ()


def _list(statement: Sequence[_Token], words: Sequence[str], *, last: bool = False) -> Iterator[str]:
    """Yield the names of a list that follows a word."""
    places = [place for place, token in enumerate(statement) if any(map(token.says, words))]
    if not places:
        return
    expected = True
    for token in statement[places[-1 if last else 0] + 1 :]:
        if token.says(","):
            expected = True
        elif not expected or (not token.quoted and token.text.upper() in _LISTS_END):
            return  # the list ended without a comma
        elif not _is_word(token):
            yield token.text
            expected = False
        elif not token.says("GROUP"):
            expected = False


def _is_word(token: _Token) -> bool:
    return not token.quoted and token.text.upper() in _WORDS


def _database_rights(statement: Sequence[_Token]) -> tuple[str, ...]:
    """Return what is granted by `GRANT ... ON DATABASE ...`."""
    for place, token in enumerate(statement[:-1]):
        if token.says("ON"):
            if not statement[place + 1].says("DATABASE"):
                return ()
            return tuple(one.text.upper() for one in statement[1:place] if one.text.upper() in _RIGHTS)
    return ()
