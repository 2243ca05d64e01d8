# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search for secrets finds one in each encoding, written by programs other than ours. Needs no host."""

from __future__ import annotations

import base64
import html
import json
import shlex
import string
import subprocess
import urllib.parse
from collections.abc import Callable

import pytest
import yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.tests.integration.secrets_scan import Scanner, awkward, marker

AWKWARD = string.punctuation + " \t$HOME ${X} $$ `id` äß€😀 "


def _bash(text: str) -> str:
    return subprocess.run(
        ["bash", "-c", 'printf %q "$1"', "-", text], check=True, capture_output=True, text=True
    ).stdout


def _wrapped(text: str) -> str:
    return subprocess.run(["base64"], input=text.encode(), check=True, capture_output=True).stdout.decode()


ENCODERS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "url": urllib.parse.quote,
    "url with slashes": lambda text: urllib.parse.quote(text, safe=""),
    "form": urllib.parse.quote_plus,
    "base64": _wrapped,
    "base64 behind one byte": lambda text: _wrapped("x" + text),
    "base64 behind two bytes": lambda text: _wrapped("xy" + text),
    "url-safe base64": lambda text: base64.urlsafe_b64encode(f"user:{text}:x".encode()).decode(),
    "shell": shlex.quote,
    "bash": _bash,
    "json": json.dumps,
    "json in json": lambda text: json.dumps(json.dumps([text])),
    "json, not ascii": lambda text: json.dumps(text, ensure_ascii=False),
    "yaml": yaml.safe_dump,
    "yaml, quoted": lambda text: yaml.safe_dump(text, default_style='"'),
    "yaml, single quotes": lambda text: yaml.safe_dump(text, default_style="'", allow_unicode=True),
    "repr": repr,
    "repr in a message in json": lambda text: json.dumps(f"got {text!r}"),
    "compose": lambda text: text.replace("$", "$$"),
    "html": html.escape,
}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("middle", ["", AWKWARD, "\n"], ids=["plain", "awkward", "two lines"])
def test_a_planted_secret_is_found(encoder: str, middle: str) -> None:
    scanner = Scanner()
    secret = scanner.add("PLANTED", awkward(middle))
    scanner.add("OTHER", awkward(middle))
    text = f"before {ENCODERS[encoder](secret)} after"
    assert [line.split(":")[0] for line in scanner.find(text)] == ["PLANTED"]


@pytest.mark.parametrize("cut", [0, 4, 20])
def test_a_part_of_a_secret_is_found(cut: int) -> None:
    scanner = Scanner()
    secret = scanner.add("PLANTED", marker(40))
    assert scanner.find(f"...{secret[cut : cut + 12]}...")


def test_what_is_not_there_is_not_found() -> None:
    scanner = Scanner()
    for _number in range(50):
        scanner.add("ABSENT", awkward(AWKWARD))
    assert scanner.find("\n".join(awkward(AWKWARD) + _wrapped(awkward(AWKWARD)) for _number in range(200))) == []


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("middle", ["", AWKWARD, "\n"], ids=["plain", "awkward", "two lines"])
def test_redaction_leaves_nothing_to_find(encoder: str, middle: str) -> None:
    scanner = Scanner()
    secret = scanner.add("PLANTED", awkward(middle))
    assert scanner.find(redact(f"before {ENCODERS[encoder](secret)} after", [secret])) == []
