# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Values that nobody can guess, from the operating system's generator."""

from __future__ import annotations

import base64
import math
import secrets
import string
import uuid

from ansible_collections.serverkit.core.plugins.module_utils._values.template import Encoding, Variable

# Unreserved in URLs (RFC 3986, section 2.3), without the punctuation: nothing has to be escaped in YAML, shells, .env
# files, connection URLs or SQL, whoever forgets to.
ALPHABET = string.ascii_letters + string.digits
# Unreserved as well, for programs that insist on "special characters".
SPECIAL = "-._~"

DEFAULT_LENGTH = {"password": 32, "random": 16}  # characters
_BITS_PER_CHARACTER = math.log2(len(ALPHABET))


def generate(variable: Variable) -> str:
    """Return a new value for a generated variable, of its type, length and encoding.

    `random` is hexadecimal unless the variable says otherwise, everything else alphanumeric.
    """
    if variable.type == "uuid":
        return str(uuid.uuid4())
    encoding = variable.encoding or ("hex" if variable.type == "random" else "alphanumeric")
    length = variable.length or (None if variable.bytes else DEFAULT_LENGTH.get(variable.type, 32))
    if encoding == "alphanumeric":
        # As many characters as carry at least that many random bytes.
        return _characters(length or math.ceil((variable.bytes or 0) * 8 / _BITS_PER_CHARACTER), variable.special_chars)
    # Every encoding makes at least one character of a byte.
    return _encoded(secrets.token_bytes(variable.bytes or length or 0), encoding)[:length]


def slug() -> str:
    """Return 128 random bits as 26 characters of a-z and 2-7, which survive mail, dictation and lower-casing."""
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


def _characters(length: int, special: bool) -> str:
    if not special or length < 4:
        return "".join(secrets.choice(ALPHABET) for _index in range(length))
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, SPECIAL)
    while True:
        # Not a special character first: a value that starts with '-' reads as an option to many programs.
        value = secrets.choice(ALPHABET) + "".join(secrets.choice(ALPHABET + SPECIAL) for _index in range(length - 1))
        if all(any(character in kind for character in value) for kind in kinds):
            return value


def _encoded(raw: bytes, encoding: Encoding) -> str:
    if encoding == "base64":
        return base64.b64encode(raw).decode()
    if encoding == "base64url":
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return raw.hex()
