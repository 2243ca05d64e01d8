# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", 'A=""'),
        ("plain-1.0_x/y:z@h%,+", "A=plain-1.0_x/y:z@h%,+"),
        ("two words", 'A="two words"'),
        ("a#b", 'A="a#b"'),
        ("it's", 'A="it\'s"'),
        ('say "hi"', 'A="say \\"hi\\""'),
        ("$HOME", 'A="\\$HOME"'),
        ("end\\", 'A="end\\\\"'),
        ("a\nb\r\n", 'A="a\\nb\\r\\n"'),
        ("\\n", 'A="\\\\n"'),
        ("é😀", 'A="é😀"'),
    ],
)
def test_encode(value: str, line: str) -> None:
    assert dotenv.encode({"A": value}) == f"{line}\n"
    assert dotenv.decode(f"{line}\n") == {"A": value}


def test_order_is_kept() -> None:
    assert dotenv.encode({"B": "1", "A": "2"}) == "B=1\nA=2\n"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"A": "a\0b"}, "NUL"),
        ({"A": "\ud800"}, "Unicode"),
        ({"A B": "x"}, "letters, digits"),
        ({"1A": "x"}, "letters, digits"),
        ({"A\n": "x"}, "letters, digits"),
        ({"": "x"}, "letters, digits"),
    ],
)
def test_what_no_environment_can_hold_is_refused(values: dict[str, str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        dotenv.encode(values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# comment\n\n  A=1  \nexport B=two words\n", {"A": "1", "B": "two words"}),
        ("A='single $quoted \\n'", {"A": "single $quoted \\n"}),
        ("A=value # comment\nB=a#b\n", {"A": "value", "B": "a#b"}),
        ('A="x" # comment\r\n', {"A": "x"}),
        ("A = spaced", {"A": "spaced"}),
        ("A=\nB=1", {"A": "", "B": "1"}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_decode_reads_what_people_write(text: str, values: dict[str, str]) -> None:
    assert dotenv.decode(text) == values


@pytest.mark.parametrize("line", ["no assignment", 'A="open', "A='open", 'A="x" y', "1A=x", "=x"])
def test_decode_names_the_line_and_does_not_show_it(line: str) -> None:
    with pytest.raises(InputError, match="line 2") as caught:
        dotenv.decode(f"FINE=1\n{line}\n")
    assert line not in str(caught.value)
