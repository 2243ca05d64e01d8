# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import re
import uuid

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.randomness import generate
from ansible_collections.serverkit.core.plugins.module_utils._plan import variable_schema
from ansible_collections.serverkit.core.plugins.module_utils._plan.problems import Problems


def generated(**declaration: object) -> str:
    problems = Problems()
    (variable,) = variable_schema.parse([{"name": "X", **declaration}], problems)
    assert problems.found == []
    assert variable.generated
    return generate(variable)


@pytest.mark.parametrize(
    ("declaration", "pattern"),
    [
        ({"type": "password"}, r"[A-Za-z0-9]{32}"),
        ({"generate": "password"}, r"[A-Za-z0-9]{32}"),
        ({"generate": True}, r"[A-Za-z0-9]{32}"),
        ({"type": "password", "length": 16}, r"[A-Za-z0-9]{16}"),
        ({"type": "password", "min": 64}, r"[A-Za-z0-9]{64}"),
        ({"type": "password", "max": 20}, r"[A-Za-z0-9]{20}"),
        ({"type": "password", "bytes": 32}, r"[A-Za-z0-9]{43}"),
        ({"type": "password", "encoding": "hex", "bytes": 32}, r"[0-9a-f]{64}"),
        ({"type": "random"}, r"[0-9a-f]{16}"),
        ({"type": "random", "length": 7}, r"[0-9a-f]{7}"),
        ({"type": "random", "bytes": 64}, r"[0-9a-f]{128}"),
        ({"type": "random", "encoding": "alphanumeric"}, r"[A-Za-z0-9]{16}"),
        ({"type": "random", "encoding": "base64", "bytes": 32}, r"[A-Za-z0-9+/]{43}="),
        ({"type": "random", "encoding": "base64url", "bytes": 32}, r"[A-Za-z0-9_-]{43}"),
        ({"type": "random", "encoding": "base64", "length": 10}, r"[A-Za-z0-9+/]{10}"),
        ({"type": "uuid"}, r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    ],
)
def test_value_has_the_form_that_was_asked_for(declaration: dict[str, object], pattern: str) -> None:
    for _index in range(20):
        assert re.fullmatch(pattern, generated(**declaration))


def test_values_differ() -> None:
    assert len({generated(type="password") for _index in range(100)}) == 100


def test_special_characters_are_safe_in_urls_and_all_kinds_are_there() -> None:
    for _index in range(50):
        value = generated(type="password", special_chars=True, length=8)
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~-]{7}", value)
        assert all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[._~-]"))


def test_encodings_decode_to_as_many_bytes() -> None:
    assert len(base64.b64decode(generated(type="random", encoding="base64", bytes=32))) == 32
    assert len(bytes.fromhex(generated(type="random", encoding="hex", bytes=33))) == 33
    assert uuid.UUID(generated(type="uuid")).version == 4
