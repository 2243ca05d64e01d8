# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users say of certificates and authorities, and what of it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import (
    LETSENCRYPT,
    LETSENCRYPT_STAGING,
    TlsRequest,
    parse_acme,
    parse_tls,
    tls_from_row,
)
from hypothesis import given
from hypothesis import strategies as st

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
NAMES = ("example.com", "www.example.com")


def test_nothing_said_is_no_tls() -> None:
    assert parse_tls({}, NAMES) == TlsRequest("none")
    assert parse_tls({"tls": None, "challenge": None, "certificate": None}, NAMES) == TlsRequest("none")


@pytest.mark.parametrize(
    "request_",
    [TlsRequest("none"), TlsRequest("internal"), TlsRequest("letsencrypt", "dns-01"), TlsRequest("provided")],
)
def test_the_registry_remembers_it(request_: TlsRequest) -> None:
    assert tls_from_row(request_.as_row()) == request_


def test_the_registry_remembers_no_pem_text() -> None:
    given_ = parse_tls({"tls": "provided", "certificate": CERTIFICATE, "private_key": KEY}, NAMES)
    assert given_.as_row() == {"tls": "provided"}
    assert KEY not in repr(given_)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tls": "provided"}, "needs certificate and private_key"),
        ({"tls": "provided", "certificate": CERTIFICATE}, "needs private_key"),
        ({"tls": "provided", "certificate": "x", "private_key": KEY}, "no line -----BEGIN CERTIFICATE"),
        ({"tls": "provided", "certificate": CERTIFICATE, "private_key": "x"}, "no line -----BEGIN PRIVATE KEY"),
        ({"tls": "provided", "certificate": CERTIFICATE + KEY, "private_key": KEY}, "contains a private key"),
        (
            {"tls": "provided", "certificate": CERTIFICATE, "private_key": KEY.replace("PRIVATE", "ENCRYPTED PRIVATE")},
            "is encrypted",
        ),
        ({"tls": "letsencrypt", "certificate": CERTIFICATE, "private_key": KEY}, "given with tls: letsencrypt"),
        ({"certificate": CERTIFICATE}, "given with tls: none"),
        ({"tls": "internal", "challenge": "dns-01"}, "challenge is given with tls: internal"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_tls(options, NAMES)
    assert complaint in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_wildcard_needs_dns() -> None:
    names = ("example.com", "*.example.com")
    with pytest.raises(InputError, match=r"\*\.example\.com is a wildcard"):
        parse_tls({"tls": "letsencrypt"}, names)
    assert parse_tls({"tls": "letsencrypt", "challenge": "dns-01"}, names).challenge == "dns-01"
    assert parse_tls({"tls": "internal"}, names).mode == "internal"


def test_lets_encrypt_by_default_with_its_stage() -> None:
    settings = parse_acme(None)
    assert (settings.directory, settings.staging_directory) == (LETSENCRYPT, LETSENCRYPT_STAGING)
    assert parse_acme({"staging_directory": ""}).staging_directory == ""


def test_another_authority_has_no_stage_unless_it_is_said() -> None:
    assert parse_acme({"directory": "https://ca.internal/dir"}).staging_directory == ""
    both = parse_acme({"directory": "https://ca.internal/dir", "staging_directory": "https://ca.internal/stage"})
    assert both.staging_directory == "https://ca.internal/stage"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"directory": "http://ca.internal/dir"}, "no https:// URL"),
        ({"directory": "https://"}, "no https:// URL"),
        ({"directory": "https://user:password@ca.internal/"}, "no https:// URL"),
        ({"directory": "https://ca.internal:port/"}, "no https:// URL"),
        ({"directory": "https://ca.internal/a b"}, "no https:// URL"),
        ({"directory": "--help"}, "no https:// URL"),
        ({"ca_bundle": "root.pem"}, "no absolute path"),
        ({"ca_bundle": "/etc/../root.pem"}, "no absolute path"),
        ({"ca_bundle": "/etc/ssl/%H.pem"}, "no absolute path"),
        ({"email": "admin"}, "such as admin@example.com"),
        ({"email": "a@b.c, d@e.f"}, "such as admin@example.com"),
        ({"eab_kid": "x"}, "belong together"),
        ({"eab_hmac_key": "x"}, "belong together"),
        ({"eab_kid": "x", "eab_hmac_key": "not base64!"}, "not in base64url form"),
        ({"dns_plugin": "../x"}, "such as cloudflare"),
        ({"dns_plugin": "cloudflare", "auth_hook": "/usr/local/bin/hook"}, "Give one of them"),
        ({"dns_credentials": {"a": "b"}}, "without dns_plugin"),
        ({"dns_plugin": "x", "dns_credentials": {"a b": "c"}}, "a name has letters"),
        ({"dns_plugin": "x", "dns_credentials": {"a": ""}}, "empty"),
        ({"dns_plugin": "x", "dns_credentials": {"a": "b\nc"}}, "control character"),
        ({"dns_plugin": "x", "dns_credentials": {"a": "'\""}}, "both kinds of quotes"),
        ({"dns_plugin": "x", "dns_propagation": 0}, "number of seconds"),
        ({"dns_plugin": "x", "dns_propagation": True}, "number of seconds"),
        ({"auth_hook": "/usr/local/bin/hook --now"}, "no absolute path"),
        ({"auth_hook": "/bin/sh;reboot"}, "no absolute path"),
        ({"cleanup_hook": "/usr/local/bin/hook"}, "without auth_hook"),
        ({"directory": 1}, "no text"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_acme(options)
    assert complaint in str(refused.value)


def test_secrets_are_listed_and_not_shown() -> None:
    settings = parse_acme(
        {
            "eab_kid": "kid-1",
            "eab_hmac_key": "c2VjcmV0",
            "dns_plugin": "dns-cloudflare",
            "dns_credentials": {"api_token": "t0ken"},
        }
    )
    assert set(settings.secrets) == {"c2VjcmV0", "t0ken"}
    assert settings.dns_plugin == "cloudflare"
    assert "t0ken" not in repr(settings)
    assert "c2VjcmV0" not in repr(settings)


@given(st.text())
def test_a_secret_that_is_refused_is_not_told(secret: str) -> None:
    marked = f"{secret}!s3cret!"
    with pytest.raises(InputError) as refused:
        parse_acme({"eab_kid": "x", "eab_hmac_key": marked})
    assert "s3cret" not in str(refused.value)


@given(st.sampled_from(["directory", "ca_bundle", "email", "eab_kid", "dns_plugin", "auth_hook"]), st.text())
def test_what_is_taken_is_one_line_without_spaces(option: str, value: str) -> None:
    try:
        settings = parse_acme({option: value} | ({"eab_hmac_key": "AAAA"} if option == "eab_kid" else {}))
    except InputError:
        return
    taken = str(getattr(settings, option))
    assert not set(taken) & set(" \t\n\r\0'\"$`\\;|&<>(){}")
    assert not taken.startswith("-")
