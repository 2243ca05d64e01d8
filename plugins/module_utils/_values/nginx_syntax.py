# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""nginx's own syntax: from text to directives, and from a value to the text that stands for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

# ngx_conf_read_token() reads a parameter into a buffer of 4096 bytes and refuses longer ones.
LONGEST_TOKEN = 4000

_PLAIN = re.compile(r"[A-Za-z0-9._:/@=~^*+?<>-]+")
_PLAIN_WITH_VARIABLES = re.compile(r"[A-Za-z0-9._:/@=~^*+?<>$()|!&,%-]+")
_SPACE = " \t\r\n"  # and nothing else, unlike Python's isspace()


class UnreadableConfigurationError(Exception):
    """The text is not nginx configuration; `nginx -t` says why better than this reader could."""


@dataclass(frozen=True)
class Directive:
    """A directive with its parameters, unquoted. `block` is None for one that ends in a semicolon."""

    name: str
    arguments: tuple[str, ...]
    line: int
    block: tuple[Directive, ...] | None = None


_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}

_Token = tuple[str, int, bool]  # text, line, whether it is one of { } ; written as such


def parse(text: str) -> tuple[Directive, ...]:
    """Return the directives of a file, by the rules of ngx_conf_read_token().

    :raises UnreadableConfigurationError: when braces, quotes or semicolons do not add up.
    """
    return tuple(_directives(_tokens(text), nested=False))


def walk(directives: Sequence[Directive]) -> Iterator[Directive]:
    """Yield the directives and all those in their blocks."""
    for directive in directives:
        yield directive
        yield from walk(directive.block or ())


def token(value: str) -> str:
    """Return a value as one parameter of an nginx directive: quoted where it has to be, else unchanged.

    nginx has no way to write a literal `$` in most directives, so a value with one is refused rather than expanded
    (https://nginx.org/en/docs/http/ngx_http_rewrite_module.html, https://trac.nginx.org/nginx/ticket/1063).

    :raises InputError: for `$`, control characters and what is too long.
    """
    if _PLAIN.fullmatch(value) and len(value) <= LONGEST_TOKEN:
        return value
    if "$" in value:
        raise InputError(f"write {value[:80]!r} into nginx's configuration", "'$' cannot be written there")
    return _quote(value)


def raw_token(value: str) -> str:
    """Return a parameter as it was read, `$` included, so that it is read the same again.

    :raises InputError: for control characters and what is too long.
    """
    if _PLAIN_WITH_VARIABLES.fullmatch(value) and len(value) <= LONGEST_TOKEN:
        return value
    return _quote(value)


def _quote(value: str) -> str:
    attempted = f"write {value[:80]!r} into nginx's configuration"
    if any(ord(one) < 32 or ord(one) == 127 or 0xD800 <= ord(one) <= 0xDFFF for one in value):
        raise InputError(attempted, "control characters cannot be written there")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    if len(escaped.encode()) > LONGEST_TOKEN:
        raise InputError(attempted, f"it has more than {LONGEST_TOKEN} bytes, and nginx reads no more at once")
    return f'"{escaped}"'


def _directives(tokens: Iterator[_Token], *, nested: bool) -> Iterator[Directive]:
    words: list[str] = []
    line = 0
    for text, at, special in tokens:
        if not special:
            line = line if words else at
            words.append(text)
        elif text == ";" and words:
            yield Directive(words[0], tuple(words[1:]), line)
            words = []
        elif text == "{" and words:
            yield Directive(words[0], tuple(words[1:]), line, tuple(_directives(tokens, nested=True)))
            words = []
        elif text == "}" and nested and not words:
            return
        else:
            raise UnreadableConfigurationError(f"unexpected {text!r} in line {at}")
    if nested or words:
        raise UnreadableConfigurationError("unexpected end")


def _tokens(text: str) -> Iterator[_Token]:
    position, line, end = 0, 1, len(text)
    while position < end:
        character = text[position]
        if character in _SPACE:
            line += character == "\n"
            position += 1
        elif character == "#":
            newline = text.find("\n", position)
            position = end if newline < 0 else newline
        elif character in "{};":
            yield character, line, True
            position += 1
        else:
            reader = _quoted if character in "\"'" else _bare
            value, stop = reader(text, position)
            yield value, line, False
            line += text.count("\n", position, stop)
            position = stop


def _quoted(text: str, start: int) -> tuple[str, int]:
    position = start + 1
    while position < len(text):
        if text[position] == text[start]:
            return _unescaped(text[start + 1 : position]), position + 1
        position += 2 if text[position] == "\\" else 1
    raise UnreadableConfigurationError("a quote is not closed")


def _bare(text: str, start: int) -> tuple[str, int]:
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\" or text.startswith("${", position):
            position += 2
        elif character in _SPACE or character in ";{":
            break
        else:
            position += 1
    return _unescaped(text[start:position]), min(position, len(text))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)
