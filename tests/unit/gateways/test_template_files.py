# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import template_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text", "text"),
        ("true", True),
        ("False", False),
        # Booleans to YAML 1.1, text to Compose.
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("12", 12),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0440", 0o440),
        ("0o440", 0o440),
        ("0b11", 3),
        ("089", "089"),
        ("0.5", 0.5),
        # Versions and the like, which a number would spoil.
        ("1.10", "1.10"),
        ("1e3", "1e3"),
        ("22:22", "22:22"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31 10:00:00", "2024-01-31 10:00:00"),
        (".inf", ".inf"),
        ("0x_", "0x_"),
        ("9" * 5000, "9" * 5000),
        ("", None),
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("[1, a]", [1, "a"]),
        ("{b: 1}", {"b": 1}),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_values(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}", "test")["a"]
    assert found == value
    assert type(found) is type(value)


def test_merges_and_aliases() -> None:
    text = "base: &base {a: 1, b: 1}\nmore: &more {b: 2, c: 2}\nx: {<<: [*base, *more], c: 3}\ny: *base\n"
    document = parse_yaml(text, "test")
    assert document["x"] == {"a": 1, "b": 1, "c": 3}
    assert document["y"] == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
        ("a:\n  b: 1\n  b: 2", "line 3: the key 'b' is there twice"),
        ("1: x", "line 1: the key 1 is not a text"),
        ("a:\n  true: x", "line 2: the key True is not a text"),
        ("~: x", "the key None is not a text"),
        ("? [a]\n: x", "is not a text"),
        ("a: [", "line 2"),
        ("a: b: c", "line 1: mapping values are not allowed"),
        ("\ta: 1", "line 1"),
        ("a: 'open", "line 1"),
        ("a: &x 1\nb: *y", "undefined alias"),
        ("- a", "not a YAML mapping"),
        ("text", "not a YAML mapping"),
        ("", "not a YAML mapping"),
        ("# only a comment", "not a YAML mapping"),
        ("a: 1\n---\nb: 1", "another document"),
        ("a: \0", "control characters|special characters"),
        ("a: !!python/object/apply:os.system [id]", "the tag !!python/object/apply:os.system is not supported"),
        ("a: !!binary aGk=", "the tag !!binary is not supported"),
        ("a: !reset null", "the tag !reset is not supported"),
        ("a: {<<: 1}", "what << refers to is not a mapping"),
        ("a: &a [*a]", "nested more than"),
        ("a: " + "[" * 200 + "]" * 200, "nested more than"),
    ],
)
def test_errors(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        parse_yaml(text, "templates/x.yaml")
    assert "templates/x.yaml" in str(caught.value)


def test_aliases_cannot_blow_up_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InputError, match="unfold into more than"):
        parse_yaml("\n".join(lines), "bomb.yaml")


def test_the_pure_python_loader_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [1, yes, 1.10, !!str 5]\nb: |\n  x\nc: &c {d: ~}\ne: *c\n"
    expected = parse_yaml(text, "test")
    dumped = dump_yaml(expected)
    template_files._built.cache_clear()
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    monkeypatch.delattr(yaml, "CSafeDumper", raising=False)
    try:
        assert parse_yaml(text, "test") == expected
        assert dump_yaml(expected) == dumped
    finally:
        template_files._built.cache_clear()


def test_dump_is_what_a_person_would_write() -> None:
    document = {
        "name": "my-blog",
        "services": {
            "app": {
                "image": "python:3.12-slim",
                "command": ["sh", "-c", "a && b"],
                "ports": ["127.0.0.1:8000:80"],
                "environment": {"YES": "yes", "SECRET": "${SECRET}", "PORT": "80", "SCRIPT": "one\ntwo\n"},
                "init": True,
                "scale": 2,
            }
        },
        "volumes": {"data": None},
    }
    assert dump_yaml(document) == (
        "name: my-blog\n"
        "services:\n"
        "  app:\n"
        "    image: python:3.12-slim\n"
        "    command:\n"
        "    - sh\n"
        "    - -c\n"
        "    - a && b\n"
        "    ports:\n"
        "    - '127.0.0.1:8000:80'\n"
        "    environment:\n"
        "      'YES': 'yes'\n"
        "      SECRET: ${SECRET}\n"
        "      PORT: '80'\n"
        "      SCRIPT: |\n"
        "        one\n"
        "        two\n"
        "    init: true\n"
        "    scale: 2\n"
        "volumes:\n"
        "  data: null\n"
    )


def test_shared_parts_are_written_out() -> None:
    shared = {"driver": "json-file"}
    assert "&" not in dump_yaml({"a": shared, "b": shared})


def test_long_lines_are_not_folded() -> None:
    text = "word " * 200 + "end"
    assert dump_yaml({"a": text}) == f"a: {text}\n"


def test_a_host_without_pyyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    assert template_files.available()
    monkeypatch.setattr(template_files, "_pyyaml", lambda: None)
    assert not template_files.available()
    for attempt in (lambda: parse_yaml("a: 1", "x.yaml"), lambda: dump_yaml({})):
        with pytest.raises(HostError, match="python3-yaml"):
            attempt()
