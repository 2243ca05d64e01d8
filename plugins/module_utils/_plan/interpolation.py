# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Variable interpolation by the rules of the Compose Specification, on one string at a time.

The grammar (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md): `$NAME`, `${NAME}` and
`${NAME<operator>word}` with the operators `:-` `-` `:?` `?` `:+` `+`, where the word is interpolated in turn and may
hold balanced braces but no line break; `$$` is a dollar sign, and so is a `$` that starts none of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

# Compose accepts ASCII names only; re.ASCII is not needed, since the classes are spelled out.
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(rf"\$(?:(?P<escaped>\$)|(?P<named>{_NAME})|(?P<open>\{{))")
_BRACED = re.compile(rf"(?P<name>{_NAME})(?:\}}|(?P<operator>:?[-?+]))")


@dataclass(frozen=True)
class Literal:
    """Text that is written as it is."""

    text: str


@dataclass(frozen=True)
class Reference:
    """A variable that stays a reference (`${NAME}`), for Compose to resolve from `.env`."""

    name: str


Part: TypeAlias = "Literal | Reference"


@dataclass(frozen=True)
class _Expression:
    """`$NAME`, or `${NAME}` with an operator and its word."""

    name: str
    operator: str = ""
    word: str = ""


class ExpressionError(ValueError):
    """What stands after a `$` is no expression."""


def interpolate(
    text: str, plain: Mapping[str, str], sensitive: Mapping[str, str], unset: set[str], where: str = "a text"
) -> tuple[Part, ...]:
    """Resolve every expression of a text.

    As in a shell, and in Compose since 2.27, the word of an operator is looked at only where it is needed.

    :param plain: variables whose values are written out.
    :param sensitive: variables that stay references; their values only decide `:-`, `:?` and `:+`.
    :param unset: gets the names that are not set and have no default; they resolve to nothing, as in Compose.
    :param where: what the text is, for messages.
    :raises InputError: for `${NAME:?message}` without a value, and for what is not a valid expression.
    """
    if "$" not in text:
        return (Literal(text),) if text else ()
    scope = _Scope(plain, sensitive, unset, where)
    try:
        return tuple(_merged(scope.parts(text)))
    except ExpressionError as error:
        raise InputError(f"resolve {where}", str(error), "Write $$ for a dollar sign that starts no variable") from None


def to_compose_text(parts: Iterable[Part]) -> str:
    """Return parts as text that Compose interpolates back to the same value: `$` doubled, references kept."""
    return "".join(part.text.replace("$", "$$") if isinstance(part, Literal) else f"${{{part.name}}}" for part in parts)


def names_in(text: str) -> frozenset[str]:
    """Return the names of all variables that a text mentions, those in words of operators included.

    :raises ExpressionError: when the text has something that is not a valid expression.
    """
    found: set[str] = set()
    for piece in _pieces(text):
        if isinstance(piece, _Expression):
            found.add(piece.name)
            found |= names_in(piece.word)
    return frozenset(found)


@dataclass(frozen=True)
class _Scope:
    plain: Mapping[str, str]
    sensitive: Mapping[str, str]
    unset: set[str]
    where: str

    def parts(self, text: str) -> Iterator[Part]:
        for piece in _pieces(text):
            if isinstance(piece, str):
                yield Literal(piece)
            else:
                yield from self._resolved(piece)

    def _resolved(self, expression: _Expression) -> Iterator[Part]:
        name, operator = expression.name, expression.operator
        value = self.plain.get(name, self.sensitive.get(name))
        # With a colon, an empty value counts as none.
        missing = value is None or (operator.startswith(":") and value == "")
        kind = operator[-1:]
        if kind == "+":
            if not missing:
                yield from self.parts(expression.word)
        elif not missing:
            yield Reference(name) if name in self.sensitive and name not in self.plain else Literal(value or "")
        elif kind == "-":
            yield from self.parts(expression.word)
        elif kind == "?":
            raise self._required(expression)
        elif value is None:
            self.unset.add(name)

    def _required(self, expression: _Expression) -> InputError:
        # A secret that the message mentions stays a reference.
        message = "".join(
            part.text if isinstance(part, Literal) else f"${{{part.name}}}" for part in self.parts(expression.word)
        )
        reason = f"the variable {expression.name} has no value" + (f": {message}" if message else "")
        return InputError(f"resolve {self.where}", reason, f"Set {expression.name} in the app's variables or secrets")


def _pieces(text: str) -> Iterator[str | _Expression]:
    position = 0
    while (match := _DOLLAR.search(text, position)) is not None:
        if match.start() > position:
            yield text[position : match.start()]
        position = match.end()
        if match["escaped"]:
            yield "$"
        elif match["named"]:
            yield _Expression(match["named"])
        else:
            expression, position = _braced(text, position)
            yield expression
    if position < len(text):
        yield text[position:]


def _braced(text: str, start: int) -> tuple[_Expression, int]:
    """Parse what follows `${`; return the expression and the position behind its closing brace."""
    match = _BRACED.match(text, start)
    if match is None:
        raise ExpressionError(f"{_excerpt(text, start - 2)} is not a valid expression")
    if match["operator"] is None:
        return _Expression(match["name"]), match.end()
    end = _closing_brace(text, match.end())
    if end is None:
        raise ExpressionError(f"{_excerpt(text, start - 2)} has no closing brace on its line")
    return _Expression(match["name"], match["operator"], text[match.end() : end]), end + 1


def _closing_brace(text: str, start: int) -> int | None:
    """Return where the brace that matches an open one is; where braces are unbalanced, the last one on the line."""
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    depth = 1
    for position in range(start, line_end):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    last = text.rfind("}", start, line_end)
    return last if last >= 0 else None


def _excerpt(text: str, start: int) -> str:
    excerpt = text[start : start + 40].split("\n", maxsplit=1)[0]
    return repr(excerpt)


def _merged(parts: Iterable[Part]) -> Iterator[Part]:
    pending = ""
    for part in parts:
        if isinstance(part, Literal):
            pending += part.text
            continue
        if pending:
            yield Literal(pending)
            pending = ""
        yield part
    if pending:
        yield Literal(pending)
