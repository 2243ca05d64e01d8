# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifiers against known ones: from the servers themselves, and from the documents that define them."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan import database_passwords


def test_mysql_native_is_what_password_gives() -> None:
    # SELECT PASSWORD('mypass'): MySQL 5.7 manual, 12.14
    assert database_passwords.mysql_native("mypass") == "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"
    assert database_passwords.matches_mysql("*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4", "mypass") is True
    assert database_passwords.matches_mysql("*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4", "other") is False


def test_sha256_crypt_is_that_of_its_document() -> None:
    # https://www.akkadia.org/drepper/SHA-crypt.txt, test vectors: $5$saltstring
    digest = database_passwords.sha256_crypt(b"Hello world!", b"saltstring", 5000)
    assert digest == "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"


def test_what_mysql_keeps_of_a_caching_sha2_password_is_recognised() -> None:
    salt = "abcdefghijklmnopqrst"
    digest = database_passwords.sha256_crypt("pässword".encode(), salt.encode(), 5000)
    verifier = f"$A$005${salt}{digest}"
    assert database_passwords.matches_mysql(verifier, "pässword") is True
    assert database_passwords.matches_mysql(verifier, "password") is False


@pytest.mark.parametrize("verifier", ["", "invalid", "$A$005$short", "*1234"])
def test_what_is_no_verifier_of_mysqls_cannot_be_told(verifier: str) -> None:
    assert database_passwords.matches_mysql(verifier, "x") is None


def test_scram_is_that_of_rfc_7677() -> None:
    # RFC 7677 section 3: user "user", password "pencil"
    salt, iterations = "W22ZaJ0SNY7soEsUEjb6gQ==", 4096
    stored = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    server = "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    verifier = f"SCRAM-SHA-256${iterations}:{salt}${stored}:{server}"
    assert database_passwords.matches_postgresql(verifier, "user", "pencil") is True
    assert database_passwords.matches_postgresql(verifier, "user", "pen") is False
    assert database_passwords.matches_postgresql(verifier, "user", "péncil") is None


def test_md5_of_postgresql_is_recognised() -> None:
    verifier = "md5" + hashlib.md5(b"secretuser", usedforsecurity=False).hexdigest()
    assert database_passwords.matches_postgresql(verifier, "user", "secret") is True
    assert database_passwords.matches_postgresql(verifier, "other", "secret") is False


@pytest.mark.parametrize("verifier", ["", "SCRAM-SHA-256$x", "plain"])
def test_what_is_no_verifier_of_postgresqls_cannot_be_told(verifier: str) -> None:
    assert database_passwords.matches_postgresql(verifier, "user", "x") is None


def test_a_broken_salt_cannot_be_told() -> None:
    good = base64.b64encode(b"x" * 32).decode()
    assert database_passwords.matches_scram("x", "=", 4096, good) is None


def test_redis_keeps_a_sha256() -> None:
    assert database_passwords.redis_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
