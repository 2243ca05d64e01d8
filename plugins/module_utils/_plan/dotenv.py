# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

r"""The `.env` file beside a Compose file: the one encoder, and the reader of what it wrote.

The rules are those of compose-go's dotenv package (https://github.com/compose-spec/compose-go/tree/main/dotenv):
between double quotes, `\\`, `\"`, `\$`, `\n` and `\r` stand for one character each and all else for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.names import variable_name

# What no parser of such files, Compose's or another, takes for anything but itself.
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_SPECIAL = re.compile(r'[\\"$\n\r]')
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(?:
        "(?P<double>(?:[^"\\]|\\.)*)"[ \t]*(?:\#.*)?
      | '(?P<single>[^']*)'[ \t]*(?:\#.*)?
      | (?P<bare>[^"'\s][^\n]*)?
    )""",
    re.VERBOSE,
)


def encode(values: Mapping[str, str]) -> str:
    """Return the text of a `.env` file; Compose 2.26 and newer reads exactly these values back from it.

    One line for each variable, in the order given.

    :raises InputError: when a name is not a valid variable name, or a value holds a NUL (execve(2) cannot pass one).
    """
    return "".join(f"{variable_name(name)}={_encoded(name, value)}\n" for name, value in values.items())


def decode(text: str) -> dict[str, str]:
    """Return the values of a file that `encode` wrote, or of a simple one that a person did.

    :raises InputError: when a line cannot be understood; the message has the line's number, never its content.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise InputError(
                f"read line {number} of the app's .env",
                'it is not of the form NAME=value or NAME="value"',
                "Mend the line, or restore the file",
            )
        values[match["name"]] = _decoded(match)
    return values


def _encoded(name: str, value: str) -> str:
    problem = unusable(value)
    if problem:
        raise InputError(f"write the variable {name} into .env", problem)
    if _BARE.fullmatch(value):
        return value
    return '"' + _SPECIAL.sub(lambda match: _ESCAPES[match[0]], value) + '"'


def unusable(value: str) -> str:
    """Return why a text cannot be the value of an environment variable, or an empty text when it can."""
    if "\0" in value:
        return "the value holds a NUL character, which no environment variable can"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "the value is not valid Unicode text"
    return ""


def _decoded(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return _ESCAPED.sub(lambda escape: _UNESCAPES.get(escape[0], escape[0]), match["double"])
    if match["single"] is not None:
        return str(match["single"])
    # A comment starts at a '#' behind a space; the rest is the value.
    return re.split(r"\s#", match["bare"] or "", maxsplit=1)[0].strip()
