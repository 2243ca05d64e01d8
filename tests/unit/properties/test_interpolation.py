# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any expression means to the collection what it means to Compose, secrets included."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.plugins.module_utils._plan.interpolation import interpolate, to_compose_text
from hypothesis import strategies as st

# One of each kind: with dollar signs and braces in it, plain, empty. UNSET and unset are not set.
PLAIN = {"PLAIN": "p$la{in}", "a": "${PLAIN}", "_": "x", "EMPTY": ""}
SENSITIVE = {"SECRET": "s$$ec}'\"ret", "HOLLOW": ""}
VALUES = {**PLAIN, **SENSITIVE}
SET = st.sampled_from([name for name, value in VALUES.items() if value])
NAMES = st.sampled_from([*VALUES, "UNSET", "unset"])
OPERATORS = st.sampled_from([":-", "-", ":+", "+"])

# U+017F and U+212A are letters to Compose's pattern, which ignores the case of letters beyond ASCII too; no name that
# can be declared has them. A NUL cannot be in a YAML file.
_ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0\u017f\u212a$")
_ANY_IN_WORD = st.characters(exclude_categories=["Cs"], exclude_characters="\0\u017f\u212a$\n{}")
_LETTERS = st.sampled_from(string.ascii_letters + " .-:+?#'\"\\")


def _expression(word: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        NAMES.map(lambda name: f"${{{name}}}"),
        # A name without braces goes as far as it can, so something else has to follow.
        st.builds("${}{}".format, NAMES, st.sampled_from([".", "-", " ", "/", "$$", "é"])),
        st.builds("${{{}{}{}}}".format, NAMES, OPERATORS, word),
        # Compose before 2.27 looks at a message, and at any word, even where it is not needed; so what is nested here
        # must have a value. What happens without one has tests of its own.
        st.builds("${{{}{}{}}}".format, SET, st.sampled_from([":?", "?"]), word),
    )


# Braces within a word are balanced, and something stands between them: Compose's count of braces skips the character
# after an opening one (getFirstBraceClosingIndex), so that `{{` and `{}` confuse it.
_WORD_TEXT = st.one_of(
    st.text(_ANY_IN_WORD, max_size=6),
    st.text(_LETTERS, min_size=1, max_size=4).map(lambda text: f"{{{text}}}"),
    st.just("$$"),
    st.just("$ "),
)
WORDS = st.recursive(
    _WORD_TEXT,
    lambda word: st.lists(_expression(word) | _WORD_TEXT, max_size=3).map("".join),
    max_leaves=6,
)
TEXTS = st.one_of(st.text(_ANY, max_size=8), st.sampled_from(["$$", "$ ", "$.", "$9", "{", "}", "{}", "${}"[1:], "\n"]))
VALID = st.lists(_expression(WORDS) | TEXTS, max_size=6).map("".join)

# Nothing may stand behind these that would complete them.
_INVALID_ENDS = (
    "${",
    "${}",
    "${ PLAIN}",
    "${PLAIN }",
    "${PLAIN",
    "${1}",
    "${PLAIN!}",
    "${PLAIN:}",
    "${-x}",
    "${PLAIN:-\n}",
    "${UNSET:?}",
    "${UNSET?message}",
    "${EMPTY:?message}",
    "${HOLLOW:?$PLAIN}",
    "${PLAIN:-x",
    "${UNSET:-${}}",
)


def _ours(text: str) -> str | None:
    try:
        return to_compose_text(interpolate(text, PLAIN, SENSITIVE, set()))
    except InputError:
        return None


def test_valid_expressions(compose: Any, judge: Any) -> None:
    def disagreement(texts: Sequence[str]) -> str:
        originals = {f"V{number}": text for number, text in enumerate(texts)}
        ours = {name: _ours(text) for name, text in originals.items()}
        refused = [name for name, text in ours.items() if text is None]
        if refused:
            return f"refused: {originals[refused[0]]!r}"
        expected = compose.environment(originals, dotenv.encode(VALUES))
        # What is written to disk has only the secrets left to resolve.
        found = compose.environment(ours, dotenv.encode(SENSITIVE))
        return "" if isinstance(found, dict) and found == expected else f"ours {found!r}, Compose's {expected!r}"

    judge(VALID, disagreement, ["", "$", "$$", "${PLAIN}", "${UNSET:-${SECRET:-x}}", "${EMPTY:-{a}}", "${UNSET:-a}b}"])


def test_nothing_but_references_to_secrets_is_left(judge: Any) -> None:
    def disagreement(texts: Sequence[str]) -> str:
        for text in texts:
            written = (_ours(text) or "").replace("$$", "")
            for name in SENSITIVE:
                written = written.replace(f"${{{name}}}", "")
            if "$" in written:
                return written
        return ""

    judge(VALID, disagreement)


def test_invalid_expressions_are_refused_by_both(compose: Any) -> None:
    # Each takes a process of its own, since Compose stops at the first one.
    for text in [f"{start}{end}" for end in _INVALID_ENDS for start in ("", "a -{ ", "${PLAIN:-b}")]:
        assert _ours(text) is None, text
        assert not isinstance(compose.environment({"V": text}, dotenv.encode(VALUES)), dict), text
