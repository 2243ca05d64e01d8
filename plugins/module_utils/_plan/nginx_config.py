# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Reading nginx configuration that others wrote: just enough to see who listens where and under which names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


class UnreadableConfigurationError(Exception):
    """The text is not nginx configuration; `nginx -t` says why better than this reader could."""


@dataclass(frozen=True)
class Directive:
    """A directive with its parameters, unquoted. `block` is None for one that ends in a semicolon."""

    name: str
    arguments: tuple[str, ...]
    line: int
    block: tuple[Directive, ...] | None = None


@dataclass(frozen=True)
class ServerBlock:
    """A server block of the http block, and where it is written."""

    path: str
    line: int
    names: tuple[str, ...]
    listens: tuple[tuple[str, ...], ...]


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


def server_blocks(path: str, directives: Sequence[Directive]) -> Iterator[ServerBlock]:
    """Yield the server blocks of a file; `server` lines of upstreams are no blocks."""
    for directive in walk(directives):
        if directive.name == "server" and directive.block is not None:
            names = tuple(name for found in directive.block if found.name == "server_name" for name in found.arguments)
            listens = tuple(found.arguments for found in directive.block if found.name == "listen")
            yield ServerBlock(path, directive.line, names, listens)


def listens_as_default(block: ServerBlock, port: int) -> bool:
    """Whether the block claims all requests to a port, on every address, that no name matches."""
    return any(
        _on_port(listen[0], port) and _wildcard(listen[0]) and {"default_server", "default"} & set(listen[1:])
        for listen in block.listens
        if listen
    )


def special_addresses(block: ServerBlock, port: int) -> tuple[str, ...]:
    """Return single addresses that the block listens on: nginx asks no wildcard listener about requests to those."""
    return tuple(
        listen[0] for listen in block.listens if listen and _on_port(listen[0], port) and not _wildcard(listen[0])
    )


def _split_listen(address: str) -> tuple[str, str]:
    if address.isdigit():
        return "*", address
    if address.startswith("["):
        host, _bracket, rest = address.partition("]")
        return host + "]", rest.lstrip(":") or "80"
    host, _colon, port = address.partition(":")
    return host, port or "80"


def _on_port(address: str, port: int) -> bool:
    return not address.startswith("unix:") and _split_listen(address)[1] == str(port)


def _wildcard(address: str) -> bool:
    return _split_listen(address)[0] in ("*", "0.0.0.0", "[::]")  # noqa: S104 - read, never bound


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
        if character.isspace():
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
        elif character.isspace() or character in ";{":
            break
        else:
            position += 1
    return _unescaped(text[start:position]), min(position, len(text))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text)
