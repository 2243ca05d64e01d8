# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading other people's nginx configuration."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import nginx_config as reader
from ansible_collections.serverkit.core.plugins.module_utils._plan.nginx_config import Directive
from hypothesis import given
from hypothesis import strategies as st

SITE = """
# server { listen 1; }
upstream app { server 127.0.0.1:1; }
server {
    listen 80 default_server;
    listen [::]:80;
    server_name  a.com
        "b.com" 'c.com';  # not d.com
    location ~ "^/x{1,2}$" { return 200 "}"; }
    log_format x '$a' "say \\"hi\\" ${b};";
}
server { listen unix:/run/x.sock; listen 10.0.0.1; server_name _; }
"""


def blocks() -> list[reader.ServerBlock]:
    return list(reader.server_blocks("f", reader.parse(SITE)))


def test_server_blocks() -> None:
    first, second = blocks()
    assert (first.path, first.line) == ("f", 4)
    assert first.names == ("a.com", "b.com", "c.com")
    assert first.listens == (("80", "default_server"), ("[::]:80",))
    assert (second.line, second.names) == (12, ("_",))


def test_quotes_and_braces_in_parameters() -> None:
    (directive,) = reader.parse("""a "b\\"c" 'd"e' f"g ${h}i "j\nk" l\\;m \'n\\"o\\\\p\';""")
    assert directive == Directive("a", ('b"c', 'd"e', 'f"g', "${h}i", "j\nk", "l\\;m", 'n"o\\p'), 1)


@pytest.mark.parametrize("text", ["a", "a {", "}", ";", "a b {}}", 'a "b;', "{ }", "a { b }"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(reader.UnreadableConfigurationError):
        reader.parse(text)


@given(st.text(alphabet="ab;{}\"'\\$ \n#"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        for directive in reader.walk(reader.parse(text)):
            assert directive.line >= 1
    except reader.UnreadableConfigurationError:
        pass


@pytest.mark.parametrize(
    ("listens", "expected"),
    [
        ([("80", "default_server")], True),
        ([("80", "default")], True),
        ([("*:80", "default_server")], True),
        ([("0.0.0.0:80", "reuseport", "default_server")], True),
        ([("[::]:80", "default_server")], True),
        ([("*", "default_server")], True),
        ([("80",)], False),
        ([("443", "ssl", "default_server")], False),
        ([("10.0.0.1:80", "default_server")], False),
        ([("[::1]:80", "default_server")], False),
        ([("unix:/x:80", "default_server")], False),
        ([()], False),
        ([], False),
    ],
)
def test_who_is_default(listens: list[tuple[str, ...]], expected: bool) -> None:
    assert reader.listens_as_default(reader.ServerBlock("f", 1, (), tuple(listens)), 80) is expected


def test_single_addresses() -> None:
    assert reader.special_addresses(blocks()[1], 80) == ("10.0.0.1",)
    assert reader.special_addresses(blocks()[0], 80) == ()
