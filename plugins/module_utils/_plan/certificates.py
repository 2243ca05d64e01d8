# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Which certificates an app needs, and whether what is there has to be ordered, written or made anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import Certificate, Lineage
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import (
    LETSENCRYPT,
    AcmeSettings,
    CertificateRequest,
    Challenge,
    Mode,
    TlsRequest,
)

LINEAGE_PREFIX = "serverkit-"
# No app's name has a dot, so an app called `blog.dns` cannot be in the way.
_DNS_SUFFIX = ".dns"
INTERNAL = "internal"

# https://letsencrypt.org/docs/rate-limits/: RFC 5280 has no limit, the authorities do.
MOST_NAMES = 100


@dataclass(frozen=True)
class Order:
    """What has to be asked of the authority, and why.

    :ivar present: the names of the certificate that is there, none when it cannot be used any more.
    :ivar check: the names whose way to this host should be looked at first: those that need to be proven over HTTP.
    """

    names: tuple[str, ...]
    reason: str
    present: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    names_only: bool = False


@dataclass(frozen=True)
class CertificatePlan:
    """What happens to one certificate.

    :ivar now: what nginx can serve as soon as `prepare` is done; None stands for plain HTTP.
    :ivar order: what follows once nginx serves the challenges.
    :ivar blocked: why the certificate cannot be had as it should be; what is there (`now`) is served on.
    """

    request: CertificateRequest
    now: TlsFiles | None = None
    changed: bool = False
    order: Order | None = None
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    blocked: ServerkitError | None = None


def requests_of(app: str, items: Iterable[tuple[Sequence[str], TlsRequest]]) -> tuple[CertificateRequest, ...]:
    """Return the certificates that an app needs, by what its domains ask for.

    All names that an authority certifies by one kind of challenge share a certificate, and so do those of the internal
    authority; what the user provides is for the domain that it was given with.

    :param items: for each domain its names, itself first, and what it asks for.
    """
    grouped: dict[tuple[Mode, Challenge], set[str]] = {}
    provided: list[CertificateRequest] = []
    for names, tls in items:
        if tls.mode == "provided":
            ordered = tuple(sorted(names))
            key = f"{app}/{names[0].replace('*', '_')}"
            provided.append(
                CertificateRequest(
                    key, app, tls.mode, ordered, certificate=tls.certificate, private_key=tls.private_key
                )
            )
        elif tls.mode != "none":
            grouped.setdefault((tls.mode, tls.challenge), set()).update(names)
    shared = [
        CertificateRequest(_key(app, mode, challenge), app, mode, tuple(sorted(names)), challenge)
        for (mode, challenge), names in grouped.items()
    ]
    return tuple(sorted([*shared, *provided], key=lambda request: request.key))


def _key(app: str, mode: Mode, challenge: Challenge) -> str:
    if mode == "internal":
        return f"{app}/{INTERNAL}"
    return lineage_names(app)[1 if challenge == "dns-01" else 0]


def lineage_names(app: str) -> tuple[str, str]:
    """Return the names of an app's certificates in certbot: by http-01, by dns-01."""
    return f"{LINEAGE_PREFIX}{app}", f"{LINEAGE_PREFIX}{app}{_DNS_SUFFIX}"


def request_for(requests: Iterable[CertificateRequest], name: str) -> CertificateRequest | None:
    """Return the certificate that a name belongs to, or None when it has none."""
    return next((request for request in requests if name in request.names), None)


def missing(names: Iterable[str], files: TlsFiles | None) -> tuple[str, ...]:
    """Return those names that a certificate does not cover: they are served over HTTP."""
    return tuple(name for name in names if files is None or not files.covers(name))


def authenticator(challenge: Challenge, settings: AcmeSettings) -> str:
    """Return certbot's name for what answers the challenges of the authority."""
    if challenge == "http-01":
        return "webroot"
    return f"dns-{settings.dns_plugin}" if settings.dns_plugin else "manual"


def obstacle(request: CertificateRequest, lineage: Lineage, settings: AcmeSettings) -> ServerkitError | None:
    """Return what keeps a certificate from ever being ordered, as things are configured."""
    attempted = f"have a certificate for {request.names[0]}"
    if lineage.exists and not lineage.ours:
        return ConflictError(
            attempted,
            f"certbot already has a certificate named {request.key}, which serverkit.core did not order",
            f"Rename or delete it (`certbot delete --cert-name {request.key}`), then run again. It was left alone",
        )
    if request.challenge == "dns-01" and not settings.answers_dns:
        return InputError(
            attempted,
            "challenge: dns-01 needs somebody to change the zone",
            "Give acme.dns_plugin, or acme.auth_hook and acme.cleanup_hook",
        )
    if len(request.names) > MOST_NAMES:
        return InputError(
            attempted,
            f"the app {request.app} has {len(request.names)} names, and a certificate has at most {MOST_NAMES}",
            "Split the app's names over several apps, or use a wildcard",
        )
    return None


def order_for(
    request: CertificateRequest, lineage: Lineage, settings: AcmeSettings | None, now: datetime
) -> Order | None:
    """Return what to ask of the authority, or None when what is there will do.

    :param settings: None when nobody has said which authority: then that of the certificate that is there stays.
    """
    present = lineage.certificate
    check = request.names if request.challenge == "http-01" else ()
    if present is None:
        return Order(request.names, lineage.problem or "there is none yet", (), check)
    if present.expired(now):
        return Order(request.names, "it has expired", (), check)
    reason = _renewal_reason(request, lineage, present, settings, now)
    if not reason and set(present.names) == set(request.names):
        return None
    changes = [f"+{name}" for name in request.names if name not in present.names]
    changes += [f"-{name}" for name in present.names if name not in request.names]
    described = "; ".join(filter(None, (", ".join(changes), reason)))
    return Order(request.names, described, present.names, check, names_only=not reason)


def _renewal_reason(
    request: CertificateRequest, lineage: Lineage, present: Certificate, settings: AcmeSettings | None, now: datetime
) -> str:
    """Why a certificate with the right names is not right all the same."""
    if present.overdue(now):
        return f"it expires in {present.days_left(now)} days and was not renewed"
    if settings is None:
        return ""
    if lineage.server != settings.directory:
        return f"it is from {lineage.server or 'an unknown authority'}"
    wanted = authenticator(request.challenge, settings)
    if lineage.authenticator != wanted:
        return f"its renewal is by {lineage.authenticator or 'nothing'}, not {wanted}"
    return ""


def effective(settings: AcmeSettings | None, lineage: Lineage) -> AcmeSettings:
    """Return the authority to ask: the one that was said, else that of the certificate that is there."""
    if settings is not None:
        return settings
    if lineage.ours and lineage.server and lineage.server != LETSENCRYPT:
        return AcmeSettings(directory=lineage.server, staging_directory="")
    return AcmeSettings()


def narrowed(order: Order, unreachable: Collection[str]) -> tuple[tuple[str, ...], str]:
    """Leave out of an order the names that cannot be proven now, as long as none of them loses its certificate by that.

    :returns: the names to ask for, none when asking is no use; and then which name is in the way.
    """
    lost = [name for name in order.names if name in unreachable]
    certified = [name for name in lost if name in order.present]
    if certified:
        return (), certified[0]
    names = tuple(name for name in order.names if name not in lost)
    if not names:
        return (), lost[0]
    if lost and order.names_only and set(names) == set(order.present):
        return (), lost[0]
    return names, ""


def facts_of(request: CertificateRequest, present: Certificate | None, now: datetime) -> dict[str, Any]:
    """Return what a user is told of a certificate."""
    if present is None:
        return {"mode": request.mode, "names": [], "issuer": None, "expires": None, "days_left": None}
    return {
        "mode": request.mode,
        "names": list(present.names),
        "issuer": present.issuer,
        "expires": present.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days_left": present.days_left(now),
    }


def expiry_warning(present: Certificate | None, now: datetime) -> tuple[str, ...]:
    if present is None or not present.expires_soon(now):
        return ()
    if present.expired(now):
        return (f"the certificate for {', '.join(present.names)} has expired",)
    return (f"the certificate for {', '.join(present.names)} expires in {present.days_left(now)} days",)


def diff_of(request: CertificateRequest, before: Certificate | None, issuer: str) -> Diff:
    """Show what a certificate is for and who vouches for it, before and after."""
    old = _described(before.names, before.issuer) if before else ""
    return Diff(f"certificate {request.key}", old, _described(request.names, issuer))


def _described(names: Iterable[str], issuer: str) -> str:
    return "".join(f"{line}\n" for line in (f"issuer: {issuer}", "names:", *(f"  - {name}" for name in sorted(names))))
