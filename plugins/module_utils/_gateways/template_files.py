# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Template files and Compose files as YAML: a strict reader, and a writer that any YAML version reads back alike.

Compose reads YAML 1.2 with a few habits of 1.1 (go-yaml v3), PyYAML reads 1.1. The reader follows Compose: `yes` is a
text and so is `22:22`. The writer quotes whatever either of them would take for something other than a text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError

# Aliases can make a small file unfold into a huge document ("billion laughs").
_MAX_VALUES = 100_000
_MAX_DEPTH = 100

_TAG = "tag:yaml.org,2002:"
_PLAIN = "!serverkit/plain"  # what the loader tags an unquoted scalar with: its type is decided here, not in PyYAML
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INT = re.compile(r"[-+]?(?:0b_*[01][01_]*|0o?_*[0-7][0-7_]*|0x_*[0-9A-Fa-f][0-9A-Fa-f_]*|0|[1-9][0-9_]{0,40})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

# What some version of YAML takes for a boolean, a null, a merge or a special number.
_AMBIGUOUS = re.compile(r"(?i:y|yes|n|no|on|off|true|false|null|~|[-+]?\.inf|\.nan|=|<<|)")
# ... and for a number of any notation, a sexagesimal, a date or a time. Too much is quoted rather than too little.
_NUMERIC = re.compile(r"[-+._]*[0-9][0-9A-Fa-fxXoO_.:eE+\-TtZz ]*")
# Characters that YAML versions and parsers differ on (which of them break lines, which may stand unescaped).
_DELICATE = re.compile(r"[^\n\x20-\x7e\xa1-\u1fff\u2070-\ud7ff\uf900-\ufdff]")
# A literal block cannot start with a blank, and trailing blanks are invisible in it.
_UNFIT_FOR_BLOCK = re.compile(r"\A\s|[ ]\n|[ ]\Z|\n\n\Z")


def available() -> bool:
    """Whether this host has PyYAML."""
    return _pyyaml() is not None


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Return a YAML mapping of plain dict, list, str, int, float, bool and None.

    Dates, times and numbers that would not be written the same way again (`1.10`) stay the text that was written.

    :param source: where the text is from, for messages.
    :raises InputError: when it is not a YAML mapping, a key is there twice or is not a text, or a tag is used.
    :raises HostError: when this host has no PyYAML.
    """
    yaml, loader_class, _dumper_class = _classes(f"read {source}")
    try:
        loader = loader_class(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError(f"read {source}", _described(error), "Mend the YAML") from None
    if node is None or node.id != "mapping":
        raise InputError(f"read {source}", "it is not a YAML mapping of keys to values")
    document: dict[str, Any] = _Reader(source).value(node, 0)
    return document


def dump_yaml(document: Mapping[str, Any]) -> str:
    """Return a document as block-style YAML: keys in order, no aliases, texts of several lines as literal blocks.

    :param document: of plain values only; on the controller, Ansible's own kinds of them have to be converted before.
    :raises HostError: when this host has no PyYAML.
    """
    yaml, _loader_class, dumper_class = _classes("write YAML")
    # A width that no line reaches: folded lines are hard to read and to compare.
    dumped = yaml.dump(
        document, Dumper=dumper_class, default_flow_style=False, sort_keys=False, allow_unicode=True, width=1 << 30
    )
    return str(dumped)


class _Reader:
    """Makes plain values of YAML nodes, by Compose's rules rather than PyYAML's."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._values = 0

    def value(self, node: Any, depth: int) -> Any:
        self._values += 1
        if depth > _MAX_DEPTH:
            # An alias that refers to something around itself ends here as well.
            raise self._error(node, f"it is nested more than {_MAX_DEPTH} levels deep")
        if self._values > _MAX_VALUES:
            raise self._error(node, f"its aliases unfold into more than {_MAX_VALUES} values")
        if node.id == "mapping" and node.tag == f"{_TAG}map":
            return self._mapping(node, depth)
        if node.id == "sequence" and node.tag == f"{_TAG}seq":
            return [self.value(item, depth + 1) for item in node.value]
        if node.tag == f"{_TAG}str":
            return node.value
        if node.tag == _PLAIN:
            return _scalar(node.value)
        raise self._error(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported")

    def _mapping(self, node: Any, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merged = {**self._merge(value_node, depth), **merged}
                continue
            key = self.value(key_node, depth + 1)
            if not isinstance(key, str):
                raise self._error(key_node, f"the key {key!r} is not a text; put it between quotes")
            if key in own:
                raise self._error(key_node, f"the key {key!r} is there twice")
            own[key] = self.value(value_node, depth + 1)
        return {**merged, **own}

    def _merge(self, node: Any, depth: int) -> dict[str, Any]:
        sources = node.value if node.id == "sequence" else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if source.id != "mapping":
                raise self._error(source, "what << refers to is not a mapping")
            # The first one that has a key wins (https://yaml.org/type/merge.html).
            merged = {**self.value(source, depth + 1), **merged}
        return merged

    def _error(self, node: Any, problem: str) -> InputError:
        return InputError(f"read {self._source}", f"line {node.start_mark.line + 1}: {problem}")


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if repr(number) == text else text
    return text


def _integer(text: str) -> int:
    digits = text.replace("_", "").lstrip("+-")
    # A leading zero means octal, as `mode: 0440` does in Compose files.
    base = 8 if re.fullmatch(r"0[0-7]+", digits) else 0
    return int(digits, base) * (-1 if text.startswith("-") else 1)


def _described(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not valid YAML"
    context = getattr(error, "context", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return f"{where}{problem}" + (f" ({context})" if context else "")


def _represent_text(dumper: Any, text: str) -> Any:
    style = None
    if _DELICATE.search(text):
        style = '"'
    elif "\n" in text:
        style = '"' if _UNFIT_FOR_BLOCK.search(text) else "|"
    elif _AMBIGUOUS.fullmatch(text) or _NUMERIC.fullmatch(text):
        style = "'"
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


@functools.lru_cache(maxsize=1)
def _pyyaml() -> Any:
    # Imported where it is needed: a run that changes nothing neither reads nor writes YAML, and a bare server has none.
    try:
        import yaml
    except ImportError:
        return None
    return yaml


@functools.lru_cache(maxsize=1)
def _built() -> tuple[Any, Any]:
    yaml = _pyyaml()
    # The C versions are ten times as fast; Debian's python3-yaml has them.
    base_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    base_dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Loader(base_loader):  # type: ignore[misc]  # which base class depends on the host
        yaml_implicit_resolvers: dict[str | None, Any] = {None: [(_PLAIN, re.compile(""))]}  # noqa: RUF012  # a constant

    class Dumper(base_dumper):  # type: ignore[misc]  # which base class depends on the host
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the base class's signature
            return True

    Dumper.add_representer(str, _represent_text)
    return Loader, Dumper


def _classes(attempted: str) -> tuple[Any, Any, Any]:
    yaml = _pyyaml()
    if yaml is None:
        raise HostError(attempted, "PyYAML is not installed", "Install python3-yaml, or run site.yml")
    return yaml, *_built()
