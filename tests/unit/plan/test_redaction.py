# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets are found in text in whatever form they were written there."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import encoded_forms, fingerprint, redact
from hypothesis import given
from hypothesis import strategies as st

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40)


@given(secrets)
def test_no_form_of_a_secret_survives(secret: str) -> None:
    text = "\n".join(
        [
            f"raw {secret} end",
            f"url mysql://user:{quote(secret, safe='')}@db/name",
            f"path /{quote(secret)}",
            f"form password={quote_plus(secret)}",
            f"header Basic {base64.b64encode(secret.encode()).decode()}",
            f"shell {shlex.quote(secret)}",
        ]
    )
    redacted = redact(text, [secret])
    for form in encoded_forms(secret):
        # A form may be a substring of the sentences around it ("header", say), not of what they carried.
        around = "raw end url mysql://user:@db/name path / form password= header Basic shell"
        assert redacted.count(form) <= around.count(form)


@given(secrets)
def test_json_form_is_known(secret: str) -> None:
    assert redact(json.dumps({"key": secret}), [secret]) == json.dumps({"key": fingerprint(secret)})


def test_the_longest_form_is_replaced_first() -> None:
    assert redact("a$$b", ["a$b"]) == fingerprint("a$b")


def test_nothing_is_hidden_when_the_secret_is_empty() -> None:
    assert redact("text", [""]) == "text"
    assert encoded_forms("") == frozenset()


def test_a_fingerprint_changes_with_the_secret_and_is_stable() -> None:
    assert fingerprint("one") == fingerprint("one") != fingerprint("two")
