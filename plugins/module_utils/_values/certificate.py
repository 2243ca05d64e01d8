# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is known of a certificate that is there, and of the place that it lies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

_DAY = timedelta(days=1)
# Let's Encrypt's 90 days, of which certbot renews at 30 and people get warned at 21; others in proportion.
_USUAL_LIFETIME = timedelta(days=90)
_USUAL_WARNING = timedelta(days=21)
# Half of what is left when certbot should have renewed: the timer does not work.
_OVERDUE = 6


@dataclass(frozen=True)
class Certificate:
    """An X.509 certificate (RFC 5280): its DNS names, sorted, and when it is valid, in UTC."""

    names: tuple[str, ...]
    issuer: str
    fingerprint: str
    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        return max(self.not_after - self.not_before, _DAY)

    def expired(self, now: datetime) -> bool:
        return now >= self.not_after

    def overdue(self, now: datetime) -> bool:
        """Whether so little is left that who renews it has failed for a while."""
        return now >= self.not_after - self.lifetime / _OVERDUE

    def expires_soon(self, now: datetime) -> bool:
        """Whether a person should be told: below 21 days, or as much of a shorter life."""
        return now >= self.not_after - min(_USUAL_WARNING, self.lifetime * (_USUAL_WARNING / _USUAL_LIFETIME))

    def days_left(self, now: datetime) -> int:
        """Return whole days, rounded down: negative when it has expired."""
        return (self.not_after - now) // _DAY


@dataclass(frozen=True)
class Lineage:
    """certbot's certificate of one name: what is served from `live/`, and how `renewal/` says that it is renewed.

    :ivar exists: whether certbot knows the name; then it is somebody else's unless it is `ours`.
    :ivar certificate: None, with a `problem`, when it cannot be used.
    """

    exists: bool = False
    ours: bool = False
    certificate: Certificate | None = None
    problem: str = ""
    server: str = ""
    authenticator: str = ""


@dataclass(frozen=True)
class Version:
    """A certificate that certbot does not manage, in a directory of its own that is never changed again."""

    number: int
    certificate_path: str
    key_path: str
    certificate: Certificate | None
    text: str = ""
    key_text: str = field(default="", repr=False)
    problem: str = ""


FailureKind = Literal["validation", "rate_limited", "unreachable", "other"]


@dataclass(frozen=True)
class CertbotFailure:
    """Why certbot got no certificate, and from when on the authority wants to be asked again, where it says so.

    :ivar problems: by name, what the authority says of it.
    """

    kind: FailureKind
    reason: str
    remedy: str = ""
    retry_after: datetime | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
