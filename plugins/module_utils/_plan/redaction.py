# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Keeping secrets out of text that people and log files see."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable
from urllib.parse import quote, quote_plus


def encoded_forms(secret: str) -> frozenset[str]:
    """Return every form in which a secret can turn up in files, URLs, headers and shell lines, itself included.

    Ansible's `no_log` masks only the exact value: an encoded or generated one would be shown.
    """
    if not secret:
        return frozenset()
    raw = secret.encode()
    forms = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(raw).decode(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode(),
        shlex.quote(secret),
        secret.replace("$", "$$"),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    return frozenset(form for form in forms if form)


def fingerprint(secret: str) -> str:
    """Return a marker that shows whether a secret changed without showing anything of it.

    Eight hexadecimal digits of a SHA-256 are enough to see a change, and too few to confirm a guess with confidence.
    """
    return f"<redacted sha256:{hashlib.sha256(secret.encode()).hexdigest()[:8]}>"


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret, in any of its encoded forms, replaced by its fingerprint."""
    marked = {form: fingerprint(secret) for secret in secrets for form in encoded_forms(secret)}
    for form in sorted(marked, key=len, reverse=True):
        text = text.replace(form, marked[form])
    return text
