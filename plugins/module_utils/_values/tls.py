# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Certificates as users ask for them: where each comes from, and how an authority is reached and convinced."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

Mode = Literal["none", "letsencrypt", "provided", "internal"]
Challenge = Literal["http-01", "dns-01"]

# https://letsencrypt.org/docs/acme-protocol-updates/ and https://letsencrypt.org/docs/staging-environment/
LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETSENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"

_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_WORD = re.compile(r"[A-Za-z0-9._~-]+")
_PLUGIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_CREDENTIAL = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# certbot gives a hook to a shell, and systemd reads the path of the bundle: nothing that either would read otherwise.
_PATH = re.compile(r"/[A-Za-z0-9._/+@-]+")
_HOOK_ADVICE = "Give the path of a program, without arguments: certbot tells it what to do by environment variables"
_LONGEST_PROPAGATION = 7200  # seconds


@dataclass(frozen=True)
class TlsRequest:
    """Where the certificate of a domain and its aliases comes from; the PEM texts are those of `provided` only."""

    mode: Mode = "none"
    challenge: Challenge = "http-01"
    certificate: str = ""
    private_key: str = field(default="", repr=False)

    def as_row(self) -> dict[str, Any]:
        """Return what the registry remembers with a domain: what differs from the defaults, and no PEM text."""
        row: dict[str, Any] = {}
        if self.mode != "none":
            row["tls"] = self.mode
        if self.challenge != "http-01":
            row["challenge"] = self.challenge
        return row


@dataclass(frozen=True)
class AcmeSettings:
    """A certificate authority that speaks ACME (RFC 8555), and what certbot needs to know to be believed by it.

    `staging_directory` is where an order is rehearsed, or empty. `dns_plugin` is certbot's, without `dns-`.
    `dns_propagation` is in seconds. `ca_bundle` is the path of a PEM file on the host that its HTTPS is trusted by,
    beside the system's.
    """

    directory: str = LETSENCRYPT
    staging_directory: str = LETSENCRYPT_STAGING
    ca_bundle: str = ""
    email: str = ""
    eab_kid: str = ""
    eab_hmac_key: str = field(default="", repr=False)
    dns_plugin: str = ""
    dns_credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    dns_propagation: int | None = None
    auth_hook: str = ""
    cleanup_hook: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.eab_hmac_key, *self.dns_credentials.values())))

    @property
    def answers_dns(self) -> bool:
        return bool(self.dns_plugin or self.auth_hook)


@dataclass(frozen=True)
class CertificateRequest:
    """One certificate that has to be there. `key` tells the certificates of all apps apart, and names its place.

    Of a `provided` one that is there already, the registry knows neither certificate nor key: they are empty then, and
    what is there stays.
    """

    key: str
    app: str
    mode: Mode
    names: tuple[str, ...]
    challenge: Challenge = "http-01"
    certificate: str = ""
    private_key: str = field(default="", repr=False)


def parse_tls(options: Mapping[str, Any], names: Sequence[str]) -> TlsRequest:
    """Return what the options tls, challenge, certificate and private_key of one domain ask for.

    :param names: the domain and its aliases.
    :raises InputError: naming the option and what is wrong with it.
    """
    mode = cast(Mode, options.get("tls") or "none")
    challenge = cast(Challenge, options.get("challenge") or "http-01")
    attempted = f"have a certificate for {names[0]}"
    certificate, key = options.get("certificate") or "", options.get("private_key") or ""
    if mode == "provided":
        _check_pem(attempted, certificate, key)
    elif certificate or key:
        raise InputError(attempted, f"certificate or private_key is given with tls: {mode}", "Give tls: provided")
    if challenge == "dns-01" and mode != "letsencrypt":
        raise InputError(attempted, f"challenge is given with tls: {mode}", "Leave it out, or give tls: letsencrypt")
    wildcards = [name for name in names if name.startswith("*.")]
    if wildcards and mode == "letsencrypt" and challenge != "dns-01":
        raise InputError(
            attempted,
            f"{wildcards[0]} is a wildcard, which http-01 cannot prove (RFC 8555, section 8.3, is about one host)",
            "Give challenge: dns-01, and acme with dns_plugin or auth_hook",
        )
    return TlsRequest(mode, challenge, certificate, key)


def tls_from_row(row: Mapping[str, Any]) -> TlsRequest:
    """Return what `TlsRequest.as_row` remembers."""
    return TlsRequest(cast(Mode, row.get("tls", "none")), cast(Challenge, row.get("challenge", "http-01")))


def _check_pem(attempted: str, certificate: str, key: str) -> None:
    missing = [name for name, value in (("certificate", certificate), ("private_key", key)) if not value.strip()]
    if missing:
        raise InputError(attempted, f"tls: provided needs {' and '.join(missing)}", "Give the PEM text of both")
    if "-----BEGIN CERTIFICATE-----" not in certificate:
        raise InputError(
            attempted,
            "certificate has no line -----BEGIN CERTIFICATE-----",
            "Give the content of the PEM file: the server's certificate first, then those that link it to its root",
        )
    if "PRIVATE KEY-----" in certificate:
        # The certificate is no secret: it would be shown, logged and readable on disk.
        raise InputError(attempted, "certificate contains a private key", "Give the key as private_key only")
    if "PRIVATE KEY-----" not in key:
        raise InputError(attempted, "private_key has no line -----BEGIN PRIVATE KEY-----", "Give the key as PEM text")
    if "ENCRYPTED" in key:
        raise InputError(
            attempted,
            "private_key is encrypted, and nginx would ask for its password at each start",
            "Decrypt it (`openssl pkey -in FILE`), and keep it in Ansible Vault",
        )


def parse_acme(options: Mapping[str, Any] | None) -> AcmeSettings:
    """Return how to reach the certificate authority, from the task's option acme.

    :raises InputError: naming the option and what is wrong with it.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    directory = _url("directory", given.get("directory") or LETSENCRYPT)
    staging = given.get("staging_directory", LETSENCRYPT_STAGING if directory == LETSENCRYPT else "")
    settings = AcmeSettings(
        directory=directory,
        staging_directory=_url("staging_directory", staging) if staging else "",
        ca_bundle=_path("ca_bundle", given.get("ca_bundle", ""), "Give the path of a PEM file on the host"),
        email=_matching("email", given.get("email", ""), _EMAIL, "an address such as admin@example.com"),
        eab_kid=_matching("eab_kid", given.get("eab_kid", ""), _WORD, "letters, digits, '.', '_', '~' and '-'"),
        eab_hmac_key=_secret("eab_hmac_key", given.get("eab_hmac_key", "")),
        dns_plugin=_plugin(given.get("dns_plugin", "")),
        dns_credentials=_credentials(given.get("dns_credentials") or {}),
        dns_propagation=_propagation(given.get("dns_propagation")),
        auth_hook=_path("auth_hook", given.get("auth_hook", ""), _HOOK_ADVICE),
        cleanup_hook=_path("cleanup_hook", given.get("cleanup_hook", ""), _HOOK_ADVICE),
    )
    _check_together(settings)
    return settings


def _check_together(settings: AcmeSettings) -> None:
    attempted = "use acme"
    if bool(settings.eab_kid) != bool(settings.eab_hmac_key):
        raise InputError(attempted, "eab_kid and eab_hmac_key belong together", "Give both, or none")
    if settings.dns_plugin and settings.auth_hook:
        raise InputError(attempted, "dns_plugin and auth_hook both answer dns-01 challenges", "Give one of them")
    if settings.cleanup_hook and not settings.auth_hook:
        raise InputError(attempted, "cleanup_hook is given without auth_hook", "Give both, or none")
    if not settings.dns_plugin and (settings.dns_credentials or settings.dns_propagation is not None):
        raise InputError(attempted, "dns_credentials or dns_propagation is given without dns_plugin", "Give dns_plugin")


def _url(option: str, value: object) -> str:
    text = _text(option, value)
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    # RFC 8555, section 6.1: ACME is spoken over HTTPS only.
    if not host or not text.startswith("https://") or "@" in text or not text.isascii() or _odd(text):
        raise InputError(
            f"use acme.{option}", f"{text!r} is no https:// URL", f"Give the directory's URL, such as {LETSENCRYPT}"
        )
    return text


def _path(option: str, value: object, advice: str) -> str:
    text = _text(option, value)
    if text and (not _PATH.fullmatch(text) or text != posixpath.normpath(text)):
        raise InputError(
            f"use acme.{option}",
            f"{text!r} is no absolute path in letters, digits, '/', '.', '_', '+', '@' and '-'",
            advice,
        )
    return text


def _plugin(value: object) -> str:
    return _matching("dns_plugin", _text("dns_plugin", value).removeprefix("dns-"), _PLUGIN, "one such as cloudflare")


def _credentials(values: Mapping[str, Any]) -> dict[str, str]:
    for name, value in values.items():
        attempted = f"use acme.dns_credentials.{name}"
        if not _CREDENTIAL.fullmatch(name):
            raise InputError(
                attempted, "a name has letters, digits, '_' and '-'", "See the documentation of the plugin"
            )
        if not isinstance(value, (str, int)) or isinstance(value, bool) or not str(value):
            raise InputError(attempted, "the value is no text, or empty", "Give the value as the plugin documents it")
        # certbot reads the file with ConfigObj, which knows no escapes in quotes and replaces %(name)s.
        if _odd(str(value), spaces=True) or "%(" in str(value) or ("'" in str(value) and '"' in str(value)):
            raise InputError(
                attempted,
                "the value has a control character, '%(' or both kinds of quotes, which certbot cannot read",
                "Have the DNS provider make another one",
            )
    return {name: str(value) for name, value in values.items()}


def _propagation(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LONGEST_PROPAGATION:
        raise InputError(
            "use acme.dns_propagation", f"{value!r} is not a number of seconds from 1 to {_LONGEST_PROPAGATION}"
        )
    return value


def _secret(option: str, value: object) -> str:
    text = _text(option, value)
    if text and not _BASE64URL.fullmatch(text):
        # RFC 8555, section 7.3.4. The value is a secret, so it is not shown.
        raise InputError(f"use acme.{option}", "it is not in base64url form", "Copy it from the authority once more")
    return text


def _matching(option: str, value: object, pattern: re.Pattern[str], form: str) -> str:
    text = _text(option, value)
    if text and not pattern.fullmatch(text):
        raise InputError(f"use acme.{option}", f"{text!r} is not {form}")
    return text


def _text(option: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"use acme.{option}", "it is no text")
    return value


def _odd(text: str, *, spaces: bool = False) -> bool:
    """Whether a text has control characters, or (unless allowed) white space."""
    return any(
        not (character.isprintable() or character == "\t") or (not spaces and character.isspace()) for character in text
    )
