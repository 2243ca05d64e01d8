# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any text comes through `.env` into a container unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from hypothesis import given
from hypothesis import strategies as st

# NUL cannot be in an environment variable, and lone surrogates are no characters: both are refused (see test_dotenv in
# tests/unit/plan).
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# The same, but mostly of what means something to a shell, to YAML or to the parser of .env files.
DANGEROUS = st.text(st.sampled_from("$#'\"\\\n\r\t `={}()!%&*?-:;,|<>@~^[]aZ09é \u0085\u2028\ufeff😀"), max_size=30)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True)

KNOWN_TROUBLE = [
    "",
    " ",
    "end\\",
    "end'\\",
    "\\n",
    "\\\\",
    '\\"',
    "a#b",
    "a #b",
    "$HOME ${HOME} $$ $",
    "'quoted'",
    '"quoted"',
    "two\nlines\r\n",
    "export A=b",
    "NAME=value",
    "`id` $(id)",
    "\ufeffbom",
    "{{ x }}",
    "\\0101",
    "\x01\x1f\x7f",
]


def test_any_text_reaches_the_container(compose: Any, judge: Any) -> None:
    def disagreement(texts: Sequence[str]) -> str:
        values = {f"V{number}": text for number, text in enumerate(texts)}
        references = {name: f"${{{name}}}" for name in values}
        found = compose.environment(references, dotenv.encode(values))
        return "" if found == values else f"Compose has {found!r}"

    judge(TEXTS | DANGEROUS, disagreement, KNOWN_TROUBLE)


def test_any_text_reaches_the_container_through_env_file(compose: Any, judge: Any) -> None:
    def disagreement(texts: Sequence[str]) -> str:
        values = {f"V{number}": text for number, text in enumerate(texts)}
        document = '{"name": "x", "services": {"x": {"image": "x", "env_file": [".env"]}}}'
        config = compose.config(document, dotenv.encode(values))
        if not isinstance(config, dict):
            return str(config)
        found = {name: text.replace("$$", "$") for name, text in config["services"]["x"]["environment"].items()}
        return "" if found == values else f"Compose has {found!r}"

    judge(TEXTS | DANGEROUS, disagreement, KNOWN_TROUBLE)


@given(st.dictionaries(NAMES, TEXTS | DANGEROUS))
def test_decode_undoes_encode(values: dict[str, str]) -> None:
    text = dotenv.encode(values)
    assert text.count("\n") == len(values)
    assert list(dotenv.decode(text).items()) == list(values.items())
