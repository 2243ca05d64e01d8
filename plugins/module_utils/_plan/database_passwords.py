# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What database servers keep instead of passwords: made here, so that a password is never part of a statement, and
compared with here, so that an unchanged link needs no login of its own."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):[A-Za-z0-9+/=]+")
_CACHING_SHA2 = re.compile(r"\$A\$([0-9A-Fa-f]{3})\$(.{20})([./0-9A-Za-z]{43})", re.DOTALL)
_CRYPT_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def mysql_native(password: str) -> str:
    """Return the verifier of mysql_native_password: `*` and SHA-1 of SHA-1, as PASSWORD() of MariaDB."""
    inner = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def redis_hash(password: str) -> str:
    """Return the verifier of an ACL user."""
    return hashlib.sha256(password.encode()).hexdigest()


def matches_mysql(verifier: str, password: str) -> bool | None:
    """Whether a password belongs to what mysql.user or mysql.global_priv has; None: it cannot be told."""
    if re.fullmatch(r"\*[0-9A-F]{40}", verifier):
        return hmac.compare_digest(verifier, mysql_native(password))
    match = _CACHING_SHA2.fullmatch(verifier)
    if match is None:
        return None
    rounds = int(match[1], 16) * 1000  # caching_sha2_password's format: thousands of rounds, in hexadecimal
    return hmac.compare_digest(match[3], sha256_crypt(password.encode(), match[2].encode("latin-1"), rounds))


def matches_postgresql(verifier: str, user: str, password: str) -> bool | None:
    """Whether a password belongs to what pg_authid has; None: it cannot be told."""
    if verifier.startswith("md5"):
        digest = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(verifier, f"md5{digest}")
    match = _SCRAM.fullmatch(verifier)
    if match is None:
        return None
    return matches_scram(password, match[2], int(match[1]), match[3])


def matches_scram(password: str, salt: str, iterations: int, stored_key: str) -> bool | None:
    """Whether a password belongs to a verifier of SCRAM-SHA-256 (RFC 5802 section 3); None: it cannot be told.

    :param salt: in Base64, as is the stored key.
    """
    if not password.isascii():
        return None  # RFC 4013 prepares such a password in ways that not every library knows
    try:
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt, validate=True), iterations)
        stored = base64.b64decode(stored_key, validate=True)
    except binascii.Error:
        return None
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(stored, hashlib.sha256(client_key).digest())


def sha256_crypt(password: bytes, salt: bytes, rounds: int) -> str:
    """Return the digest of crypt(5)'s `$5$`, which MySQL's caching_sha2_password keeps, with a salt of 20 bytes.

    https://www.akkadia.org/drepper/SHA-crypt.txt, whose step numbers the comments give; Python 3.13 has no `crypt`.
    """
    other = hashlib.sha256(password + salt + password).digest()  # 4-8
    first = hashlib.sha256(password + salt + _stretched(other, len(password)))  # 1-10
    bits = len(password)
    while bits:  # 11
        first.update(other if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    p_bytes = _stretched(hashlib.sha256(password * len(password)).digest(), len(password))  # 13-16
    s_bytes = _stretched(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))  # 17-20
    for number in range(rounds):  # 21
        odd = number & 1
        text = p_bytes if odd else digest
        text += s_bytes if number % 3 else b""
        text += p_bytes if number % 7 else b""
        digest = hashlib.sha256(text + (digest if odd else p_bytes)).digest()
    return _crypt_base64(digest)


def _stretched(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _crypt_base64(digest: bytes) -> str:
    """Step 22: three bytes at a time, in an order of its own, the lowest six bits first."""
    groups = [(0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14)]
    groups += [(15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29)]
    text = ""
    for high, middle, low in groups:
        text += _six_bits(digest[high] << 16 | digest[middle] << 8 | digest[low], 4)
    return text + _six_bits(digest[31] << 8 | digest[30], 3)


def _six_bits(value: int, count: int) -> str:
    return "".join(_CRYPT_ALPHABET[value >> 6 * index & 0x3F] for index in range(count))
