# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.interpolation import (
    ExpressionError,
    Literal,
    Reference,
    interpolate,
    names_in,
    to_compose_text,
)

PLAIN = {"SET": "value", "EMPTY": "", "DOLLAR": "a$b${SET}"}
SENSITIVE = {"SECRET": "hush", "HOLLOW": ""}


def resolve(text: str) -> str:
    return to_compose_text(interpolate(text, PLAIN, SENSITIVE, set()))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ""),
        ("no variable", "no variable"),
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a-${SET}-b", "a-value-b"),
        ("$SET-x", "value-x"),
        ("${UNSET}", ""),
        ("$$SET", "$$SET"),
        ("$${SET}", "$${SET}"),
        ("$$$SET", "$$value"),
        ("5$ and $. and $9 and $", "5$$ and $$. and $$9 and $$"),
        ("${DOLLAR}", "a$$b$${SET}"),
        # :- and -
        ("${SET:-d}${EMPTY:-d}${UNSET:-d}", "valuedd"),
        ("${SET-d}${EMPTY-d}${UNSET-d}", "valued"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b-c?d+e}", "a:-b-c?d+e"),
        # :? and ?
        ("${SET:?m}${SET?m}${EMPTY?m}", "valuevalue"),
        # :+ and +
        ("${SET:+a}${EMPTY:+a}${UNSET:+a}", "a"),
        ("${SET+a}${EMPTY+a}${UNSET+a}", "aa"),
        # nested
        ("${UNSET:-$SET}", "value"),
        ("${UNSET:-${EMPTY:-${SET}}}", "value"),
        ("${UNSET:-x${SET}y$SET}z", "xvalueyvaluez"),
        ("${UNSET:-a$$b}", "a$$b"),
        ("${SET:+${UNSET:-${SET}}}", "value"),
        # The word that is not needed is not looked at.
        ("${SET:-${UNSET:?m}}", "value"),
        ("${UNSET:+${UNSET:?m}}", ""),
        # braces
        ("${UNSET:-{a}}", "{a}"),
        ("${UNSET:-a}b}", "ab}"),
        ("${UNSET:-{a}", "{a"),
        ("${UNSET:-{{.Names}}} ${SET}", "{{.Names}} value"),
        ("${UNSET:-{}} ${SET}", "{} value"),
        ("{${SET}}", "{value}"),
        # secrets
        ("${SECRET}", "${SECRET}"),
        ("$SECRET$$", "${SECRET}$$"),
        ("pg://u:${SECRET}@h/${SET}", "pg://u:${SECRET}@h/value"),
        ("${SECRET:-d}${HOLLOW:-d}", "${SECRET}d"),
        ("${SECRET:+set}${HOLLOW:+set}${HOLLOW+set}", "setset"),
        ("${UNSET:-$SECRET}", "${SECRET}"),
        ("${HOLLOW}", "${HOLLOW}"),
        ("line\n${SET}\nline", "line\nvalue\nline"),
    ],
)
def test_resolved_text(text: str, written: str) -> None:
    assert resolve(text) == written


def test_parts() -> None:
    parts = interpolate("a${SET}${SECRET}$$b", PLAIN, SENSITIVE, set())
    assert parts == (Literal("avalue"), Reference("SECRET"), Literal("$b"))


def test_names_without_a_value_are_told() -> None:
    unset: set[str] = set()
    interpolate("${A} $B ${C:-x} ${D:+x} ${E-$F} ${SET:-$G}", PLAIN, SENSITIVE, unset)
    assert unset == {"A", "B", "F"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${UNSET:?set the mail server}", "UNSET has no value: set the mail server"),
        ("${EMPTY:?message}", "EMPTY has no value: message"),
        ("${UNSET?}", "UNSET has no value"),
        ("${UNSET:?needs $SET}", "needs value"),
        ("${UNSET:?needs ${SECRET}}", r"needs \$\{SECRET\}"),
        ("${", r"'\$\{' is not a valid expression"),
        ("${}", "not a valid expression"),
        ("${1}", "not a valid expression"),
        ("${SET!}", "not a valid expression"),
        ("${SET:}", "not a valid expression"),
        ("${ SET}", "not a valid expression"),
        ("${SET", "not a valid expression"),
        ("${SET:-x", "no closing brace"),
        ("${SET:-x\n}", "no closing brace"),
    ],
)
def test_errors(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        interpolate(text, PLAIN, SENSITIVE, set(), "services.app.image")
    assert "services.app.image" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_names_in() -> None:
    assert names_in("$A ${B} ${C:-$D ${E+${F}}} $$G ${H:?i $J}") == set("ABCDEFHJ")
    with pytest.raises(ExpressionError):
        names_in("${A:-${}}")
