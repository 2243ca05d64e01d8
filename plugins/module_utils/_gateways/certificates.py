# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""X.509 certificates: read, checked, and made by an authority of this host's own.

By python3-cryptography of the distribution, versions 3.4 (Ubuntu 22.04) to 43 and later.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import Certificate
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import TlsFiles

if TYPE_CHECKING:
    from cryptography import x509

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)

# https://support.apple.com/en-us/103769: the longest life that Apple's systems accept under a root that the user added.
# There is no controller that renews in time as certbot's timer does, so as long as possible.
LEAF_LIFETIME = timedelta(days=820)
ROOT_LIFETIME = timedelta(days=3653)
# A clock of a client that is behind.
_LENIENCE = timedelta(hours=1)


class UnusableError(Exception):
    """A certificate or key is there and cannot be used; the text says why."""


def available() -> bool:
    """Whether certificates can be read on this host."""
    try:
        from cryptography import x509  # noqa: F401 - whether it is there is the question
    except ImportError:
        return False
    return True


def require(attempted: str) -> None:
    """Make sure that certificates can be read.

    :raises HostError: when the host lacks the library.
    """
    if not available():
        raise HostError(
            attempted,
            "the Python library cryptography is not installed on the host",
            "Run site.yml, or install python3-cryptography",
        )


def read(certificate: str, key: str) -> Certificate:
    """Return what a PEM certificate (with its chain behind it) and its PEM key are for.

    :raises UnusableError: when they cannot be read, or do not belong together.
    """
    chain = _chain(certificate)
    if not _same_key(chain[0], _private_key(key)):
        raise UnusableError("the private key is not the certificate's")
    return describe(chain[0])


def check_chain(certificate: str) -> None:
    """Make sure that each certificate of a chain is vouched for by the next.

    :raises UnusableError: naming the one that is not.
    """
    chain = _chain(certificate)
    for lower, upper in itertools.pairwise(chain):
        if lower.issuer != upper.subject or not _signed_by(lower, upper):
            raise UnusableError(
                f"{lower.subject.rfc4514_string() or 'a certificate'} is followed by"
                f" {upper.subject.rfc4514_string() or 'another one'}, which did not issue it"
            )


def describe(certificate: x509.Certificate) -> Certificate:
    """Return what matters of a certificate."""
    from cryptography.hazmat.primitives import hashes

    names = certificate.issuer
    return Certificate(
        names=tuple(sorted(_names(certificate))),
        issuer=_common_name(names) or names.rfc4514_string(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=_time(certificate, "not_valid_before"),
        not_after=_time(certificate, "not_valid_after"),
    )


def check_provided(names: Sequence[str], certificate: str, key: str, now: datetime) -> Certificate:
    """Return what a certificate of the user's is for, if it will do for all the names.

    :raises InputError: saying why it will not.
    """
    attempted = f"use the certificate provided for {names[0]}"
    try:
        found = read(certificate, key)
        check_chain(certificate)
    except UnusableError as error:
        raise InputError(attempted, str(error), "Give the certificate, its chain and its key once more") from error
    if found.expired(now):
        raise InputError(attempted, f"it expired on {found.not_after:%Y-%m-%d}", "Give a newer one")
    if found.not_before > now:
        raise InputError(attempted, f"it is not valid before {found.not_before:%Y-%m-%d %H:%M} UTC")
    files = TlsFiles("", "", found.names)
    lacking = [name for name in names if not files.covers(name)]
    if lacking:
        raise InputError(
            attempted,
            f"it is for {', '.join(found.names) or 'no DNS name'}, and not for {', '.join(lacking)}",
            "Give one with all of the names among its subjectAltName",
        )
    return found


def make_root(name: str, now: datetime) -> tuple[str, str]:
    """Make an internal authority; return its certificate and key as PEM.

    :param name: of the host, so that a person who trusts several of them can tell them apart.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"serverkit internal CA of {name}")
    builder = _builder(subject, subject, key, key, now, now + ROOT_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _signed(builder, key), _key_text(key)


def make_leaf(root: str, root_key: str, names: Sequence[str], now: datetime) -> tuple[str, str]:
    """Have the internal authority certify names; return the certificate with its chain, and the key, as PEM.

    :raises UnusableError: when the authority's own certificate or key cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer, issuer_key = _chain(root)[0], _private_key(root_key)
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + LEAF_LIFETIME, _time(issuer, "not_valid_after"))
    # A common name has at most 64 characters (RFC 5280, appendix A.1), and nobody looks at it any more.
    subject = _subject(names[0]) if len(names[0]) <= 64 else x509.Name([])
    builder = _builder(subject, issuer.subject, key, issuer_key, now, until)
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    # RFC 5280, section 4.2.1.6: critical where there is no subject.
    builder = builder.add_extension(alternative, critical=not list(subject))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return _signed(builder, issuer_key) + root, _key_text(key)


def _subject(name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, issuer_key: Any, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LENIENCE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, key: Any) -> str:
    from cryptography.hazmat.primitives import hashes, serialization

    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _key_text(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode()


def _chain(text: str) -> list[x509.Certificate]:
    from cryptography import x509

    blocks = _PEM.findall(text)
    if not blocks:
        raise UnusableError("there is no certificate in it")
    try:
        return [x509.load_pem_x509_certificate(block.encode()) for block in blocks]
    except ValueError as error:
        raise UnusableError("the certificate is damaged") from error


def _private_key(text: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: the library's message may quote what it could not read.
        raise UnusableError("the private key is damaged, encrypted or of an unknown kind") from None


def _same_key(certificate: x509.Certificate, key: Any) -> bool:
    from cryptography.hazmat.primitives import serialization

    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return bool(certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form))


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether a certificate's signature is its issuer's; only version 40 and later have `verify_directly_issued_by`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
    from cryptography.x509.oid import SignatureAlgorithmOID

    key, digest = issuer.public_key(), certificate.signature_hash_algorithm
    signed = (certificate.signature, certificate.tbs_certificate_bytes)
    try:
        if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(*signed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(*signed, ec.ECDSA(digest))
        elif (
            isinstance(key, rsa.RSAPublicKey)
            and digest is not None
            # Its parameters can be read by version 41 and later only; nginx checks nothing of this either.
            and certificate.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS
        ):
            key.verify(*signed, padding.PKCS1v15(), digest)
    except InvalidSignature:
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        # No browser looks at the common name any more (RFC 9525, section 2).
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _time(certificate: x509.Certificate, attribute: str) -> datetime:
    # Version 42 has `..._utc`, and warns of the attributes without a time zone.
    with_zone: datetime | None = getattr(certificate, f"{attribute}_utc", None)
    if with_zone is not None:
        return with_zone
    without_zone: datetime = getattr(certificate, attribute)
    return without_zone.replace(tzinfo=timezone.utc)
