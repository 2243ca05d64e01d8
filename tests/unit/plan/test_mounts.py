# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a service mounts, in either notation of Compose, and which paths are inside of which."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan.mounts import (
    Mount,
    absolute,
    below,
    outermost,
    parsed,
    with_source,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("entry", "kind", "value", "target", "read_only"),
    [
        ("data:/data", "volume", "data", "/data", False),
        ("/data/", "volume", "", "/data", False),
        ("./a$$b:/c:z,ro", "bind", "./a$b", "/c", True),
        ("~/a:/c:rox", "bind", "~/a", "/c", False),
        ("${A:-/srv}/x:/c:ro", "bind", "/srv/x", "/c", True),
        ("${DIR}/x:/c", "bind", "/secret/x", "/c", False),
        ("${NAME}:/c", "volume", "data", "/c", False),
        ({"source": "${DIR}", "target": "/c", "read_only": "True"}, "bind", "/secret", "/c", True),
        ({"type": "tmpfs", "target": "/c", "read_only": "false"}, "tmpfs", "", "/c", False),
    ],
)
def test_an_entry_in_either_notation(entry: Any, kind: str, value: str, target: str, read_only: bool) -> None:
    found = parsed(entry, {"DIR": "/secret", "NAME": "data"})
    assert (found.kind, found.value, found.target, found.read_only) == (kind, value, target, read_only)


def test_an_escaped_dollar_sign_is_no_variable() -> None:
    assert [parsed(f"{source}:/x").variable for source in ("./a", "./$$a", "./$$$a", "${A}", "$A/b")] == [
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("entry", "read_only", "expected"),
    [
        ("/a:/b", False, "/new:/b"),
        ("/a:/b:z", False, "/new:/b:z"),
        ("/a:/b:rw,z", True, "/new:/b:ro,z"),
        ("/a:/b:z,ro", True, "/new:/b:z,ro"),
        ("${A:-/srv}:/b", True, "/new:/b:ro"),
        ({"type": "bind", "source": "/a", "x": 1}, False, {"type": "bind", "source": "/new", "x": 1}),
        ({"source": "/a", "read_only": False}, True, {"source": "/new", "read_only": True}),
    ],
)
def test_another_source(entry: Any, read_only: bool, expected: Any) -> None:
    assert with_source(entry, "/new", read_only=read_only) == expected


_SOURCES = st.sampled_from(["/a", "./b", "~/c", "${D}/e", "${F:-/g}"])
_MODES = st.lists(st.sampled_from(["ro", "z", "rshared"]), unique=True).map(",".join)


@given(_SOURCES, _MODES, st.booleans())
def test_nothing_but_the_source_becomes_another(source: str, mode: str, read_only: bool) -> None:
    entry = f"{source}:/target" + (f":{mode}" if mode else "")
    assert with_source(entry, source, read_only=False) == entry
    found = parsed(with_source(entry, "/new", read_only=read_only))
    assert found == Mount("bind", "/new", "/new", "/target", read_only or "ro" in mode.split(","))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a//b/", "/a/b"), ("//a", "/a"), ("../x", "/apps/x"), (".", "/apps/blog"), ("~", "/root"), ("~/a", "/root/a")],
)
def test_where_a_source_is_on_the_host(path: str, expected: str) -> None:
    assert absolute(path, "/apps/blog") == expected


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/a", "/a/b", False), ("/a", "/", True)],
)
def test_below(path: str, directory: str, expected: bool) -> None:
    assert below(path, directory) is expected


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))))
def test_outermost_directories_bring_all_others(paths: list[str]) -> None:
    found = outermost(paths)
    assert set(found) <= set(paths)
    for path in paths:
        assert sum(path == each or path.startswith(f"{each}/") for each in found) == 1
