# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Keeping secrets out of text that people and log files see."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

# Shorter ones occur by chance, and masking them would garble what is around.
_SHORTEST = 8
# A run of letters and digits that no word looks like: with digits in it, or with upper case after lower case.
_RUN = re.compile(rf"[A-Za-z0-9]{{{_SHORTEST},}}")
_RANDOM = re.compile(r"[0-9].*[A-Za-z]|[A-Za-z].*[0-9]|[a-z].*[A-Z]")


def encoded_forms(secret: str) -> frozenset[str]:
    """Return every form in which a secret can turn up in files, URLs, headers and shell lines, itself included.

    Ansible's `no_log` masks only the exact value: an encoded or generated one would be shown. Of a text of several
    lines, such as a private key, each line counts, since the end of a log may begin in its middle.
    """
    if not secret:
        return frozenset()
    lines = [line.strip() for line in secret.splitlines()]
    parts = [line for line in lines if len(line) >= _SHORTEST] if len(lines) > 1 else []
    # Messages of programs are shown on one line, with single blanks.
    joined = " ".join(secret.split())
    return frozenset(form for text in (secret, joined, *parts) for form in _forms(text) if form)


def _forms(text: str) -> Iterator[str]:
    yield from (text, quote(text), quote(text, safe=""), quote_plus(text), html.escape(text))
    yield from (shlex.quote(text), text.replace("$", "$$"), text.replace("'", "''"))
    escaped = (repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    yield from escaped
    yield from (json.dumps(form)[1:-1] for form in escaped)  # within a message that is itself written as JSON
    yield from _base64(text.encode())


def _base64(raw: bytes) -> Iterator[str]:
    """Yield Base64 of a text as it is, and of its inner part behind one and two more bytes, as in `user:password`."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        yield from (whole, whole.rstrip("="))
        for before in range(3):
            # Six bits a character: those that share a character with what is around are left out.
            inner = encode(b"\0" * before + raw).decode()[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
            if len(inner) >= _SHORTEST:
                yield inner


def fingerprint(secret: str) -> str:
    """Return a marker that shows whether a secret changed, and from which two reviewers can tell that it is the same.

    Nothing of a generated value can be learned from eight hexadecimal digits of a SHA-256. A guess of a weak one that
    somebody chose could be confirmed with them.
    """
    return f"<redacted sha256:{hashlib.sha256(secret.encode()).hexdigest()[:8]}>"


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret, in any of its encoded forms, replaced by its fingerprint.

    What looks random in a secret is replaced by itself too: every way of escaping leaves letters and digits alone, and
    text may be cut off or broken anywhere.
    """
    marked = {form: fingerprint(secret) for secret in secrets for form in (*_pieces(secret), *encoded_forms(secret))}
    for form in sorted(marked, key=len, reverse=True):
        text = text.replace(form, marked[form])
    return text


def _pieces(secret: str) -> Iterator[str]:
    for run in _RUN.findall(secret):
        if _RANDOM.search(run):
            yield run
            yield from _base64(run.encode())  # which programs break into lines
