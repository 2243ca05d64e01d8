# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The certificates of the apps: those that a user provides, those of the host's own authority, those of an ACME one.

A part of serverkit_domain, in the order in which that does it: `plan`; `prepare`, before nginx is told of the files;
`order`, once nginx serves the challenges; `tidy` and `retire`, when nothing uses what was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import certificates
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certbot import Certbot
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certificate_files import CertificateFiles
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import certificates as plans
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan
from ansible_collections.serverkit.core.plugins.module_utils._plan.order_limits import (
    HORIZON,
    TIME,
    refusal,
    wait_before,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.certificate_orders import Orders
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import Certificate, Version
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.records import CertificateOrder
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import AcmeSettings, CertificateRequest

# Of a leaf's life: what a run that happens to come by should leave for the next one to come by.
_RENEW_INTERNAL = 3


class Certificates:
    """What serverkit_domain asks for certificates.

    :param acme: None when the task does not say which authority: each certificate's own is then kept.
    :param registry: opens the registry; its argument is whether it is only read.
    :param clock: tells the time, in UTC.
    """

    def __init__(
        self,
        host: Host,
        layout: Layout,
        acme: AcmeSettings | None,
        *,
        registry: Callable[[bool], AbstractContextManager[Registry]],
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._host = host
        self._layout = layout
        self._acme = acme
        self._registry = registry
        self._clock = clock
        self._files = CertificateFiles(layout)
        self._certbot = Certbot(host.commands, layout, acme or AcmeSettings())
        self._known_orders: tuple[CertificateOrder, ...] | None = None
        for secret in acme.secrets if acme else ():
            host.hide(secret)

    # Reading and deciding

    def plan(self, requests: Sequence[CertificateRequest]) -> list[CertificatePlan]:
        """Decide for each request, in order; reads only.

        :raises HostError: in a real run, when certificates cannot be read on this host.
        """
        if requests and not certificates.available():
            if not self._host.check:
                certificates.require("look after certificates")
            note = "python3-cryptography is not installed yet, so it is not known which certificates there are"
            return [CertificatePlan(request, changed=True, warnings=(note,)) for request in requests]
        self._known_orders = None
        made = [self._planned(request) for request in requests]
        return self._with_credentials(made)

    def _planned(self, request: CertificateRequest) -> CertificatePlan:
        if request.private_key:
            self._host.hide(request.private_key)
        if request.mode == "provided":
            return self._provided(request)
        return self._internal(request) if request.mode == "internal" else self._ordered(request)

    def _provided(self, request: CertificateRequest) -> CertificatePlan:
        latest, now = self._files.latest(request.key), self._clock()
        present = latest.certificate if latest else None
        plan = CertificatePlan(
            request,
            self._usable(request.key, latest),
            facts=plans.facts_of(request, present, now),
            warnings=plans.expiry_warning(present, now),
        )
        if not request.certificate:
            return plan if plan.now else replace(plan, blocked=_nothing_provided(request, latest))
        text, key_text = _normal(request.certificate), _normal(request.private_key)
        try:
            found = certificates.check_provided(request.names, text, key_text, now)
        except InputError as error:
            return replace(plan, blocked=error)
        if latest and plan.now and (latest.text, latest.key_text) == (text, key_text):
            return plan
        return self._new_version(plan, latest, present, found)

    def _new_version(
        self, plan: CertificatePlan, latest: Version | None, present: Certificate | None, found: Certificate
    ) -> CertificatePlan:
        number = latest.number + 1 if latest else 1
        diff = plans.diff_of(plan.request, present, found.issuer)
        if present and not (set(present.names) ^ set(found.names)):
            diff = _renewed(plan.request, present, found)
        now = self._clock()
        return replace(
            plan,
            now=self._files.files_of(plan.request.key, number, found.names),
            changed=True,
            diffs=(diff,),
            facts=plans.facts_of(plan.request, found, now),
            warnings=plans.expiry_warning(found, now),
        )

    def _internal(self, request: CertificateRequest) -> CertificatePlan:
        latest, now = self._files.latest(request.key), self._clock()
        present = latest.certificate if latest else None
        facts = {**plans.facts_of(request, present, now), "ca": self._files.root_path()}
        plan = CertificatePlan(request, self._usable(request.key, latest), facts=facts)
        if latest and present and plan.now and self._still_good(request, latest, present, now):
            return plan
        number = latest.number + 1 if latest else 1
        diff = plans.diff_of(request, present, "the internal CA of this host")
        files = self._files.files_of(request.key, number, request.names)
        return replace(plan, now=files, changed=True, diffs=(diff,), facts={**facts, "names": list(request.names)})

    def _still_good(self, request: CertificateRequest, version: Version, present: Certificate, now: datetime) -> bool:
        return (
            present.names == request.names
            and now < present.not_after - present.lifetime / _RENEW_INTERNAL
            and self._files.root_lasts(now)
            and self._files.is_from_root(version)
        )

    def _usable(self, key: str, version: Version | None) -> TlsFiles | None:
        if version is None or version.certificate is None or version.certificate.expired(self._clock()):
            return None
        return self._files.files_of(key, version.number, version.certificate.names)

    def _ordered(self, request: CertificateRequest) -> CertificatePlan:
        now = self._clock()
        lineage = self._certbot.lineage(request.key)
        present = lineage.certificate if lineage.ours else None
        usable = present is not None and not present.expired(now)
        plan = CertificatePlan(
            request,
            self._certbot.files_of(request.key, lineage) if usable else None,
            facts=plans.facts_of(request, present, now),
            warnings=plans.expiry_warning(present, now),
        )
        order = plans.order_for(request, lineage, self._acme, now)
        foreign = lineage.exists and not lineage.ours
        if order is None and not foreign:
            return plan
        settings = plans.effective(self._acme, lineage)
        obstacle = plans.obstacle(request, lineage, settings)
        if obstacle is None and not self._certbot.installed():
            obstacle = HostError("order a certificate", "certbot is not installed", "Run site.yml, or install it")
            if self._host.check:  # a task before this one would have installed it
                plan = replace(plan, warnings=(*plan.warnings, "certbot is not installed yet"))
                obstacle = None
        if obstacle is None:
            wait = wait_before(self._orders(), request.names, settings.directory, now)
            obstacle = refusal(request.names, wait) if wait else None
        if obstacle is not None:
            return replace(plan, blocked=obstacle)
        diff = plans.diff_of(request, present, settings.directory)
        return replace(plan, order=order, changed=True, diffs=(diff,))

    def _orders(self) -> tuple[CertificateOrder, ...]:
        if self._known_orders is None:
            with self._registry(True) as registry:
                self._known_orders = registry.certificate_orders((self._clock() - HORIZON).strftime(TIME))
        return self._known_orders

    def _with_credentials(self, made: list[CertificatePlan]) -> list[CertificatePlan]:
        """Have the first certificate by dns-01 bring the credentials that its renewal will need."""
        first = next((at for at, plan in enumerate(made) if plan.request.challenge == "dns-01"), None)
        if first is not None and made[first].blocked is None and self._certbot.stale_credentials():
            diff = Diff("credentials of certbot's DNS plugin", "", "(not shown)\n")
            made[first] = replace(made[first], changed=True, diffs=(*made[first].diffs, diff))
        return made

    # Writing

    def prepare(self, made: Sequence[CertificatePlan], undo: UndoStack) -> None:
        """Write what does not have to be ordered, so that every plan's `now` is there.

        :raises HostError: when the disk refuses.
        """
        for plan in made:
            request = plan.request
            if request.challenge == "dns-01" and plan.blocked is None:
                self._certbot.write_credentials()
            if not plan.changed or plan.now is None or request.mode == "letsencrypt":
                continue
            if request.mode == "provided":
                texts = _normal(request.certificate), _normal(request.private_key)
            else:
                self._files.make_root(self._clock())
                texts = self._files.issue(request.names, self._clock())
            number = int(plan.now.revision)
            undo.push(
                f"removed the new certificate {request.key}", partial(self._files.remove_version, request.key, number)
            )
            self._files.write(request.key, number, *texts)

    def order(
        self,
        made: Sequence[CertificatePlan],
        unreachable: Mapping[str, ServerkitError],
        *,
        lock_descriptors: Sequence[int] = (),
    ) -> dict[str, TlsFiles | ServerkitError]:
        """Order the certificates that have an `order`, while nginx serves the challenges, and record each try.

        :param unreachable: names that cannot be proven over HTTP now, and why.
        :param lock_descriptors: of the locks that protect all this; certbot keeps them when this process is killed.
        :returns: by key, the certificate, or why there is none: then that of the plan (`now`) is the one to serve.
        """
        orders = Orders(
            *(self._host, self._layout, self._acme),
            registry=self._registry,
            clock=self._clock,
            pass_fds=lock_descriptors,
        )
        return {plan.request.key: orders.carry_out(plan, unreachable) for plan in made if plan.order is not None}

    def facts(self, plan: CertificatePlan) -> dict[str, Any]:
        """Return what a user is told of a certificate, after everything was done."""
        request, now = plan.request, self._clock()
        if request.mode == "letsencrypt":
            return plans.facts_of(request, self._certbot.lineage(request.key).certificate, now)
        latest = self._files.latest(request.key)
        facts = plans.facts_of(request, latest.certificate if latest else None, now)
        return {**facts, "ca": self._files.root_path()} if request.mode == "internal" else facts

    def tidy(self, made: Sequence[CertificatePlan]) -> None:
        """Remove the versions that nginx does not use any more.

        :raises HostError: when they cannot be removed.
        """
        for plan in made:
            if plan.request.mode != "letsencrypt" and plan.now is not None:
                self._files.remove_older(plan.request.key, int(plan.now.revision))

    def unused(self, app: str, requests: Sequence[CertificateRequest]) -> tuple[str, ...]:
        """Return the certificates of ours that an app has on the host, and does not ask for any more."""
        wanted = {request.key for request in requests}
        found = (*self._certbot.keys_of(app), *self._files.keys_of(app))
        return tuple(key for key in found if key not in wanted)

    def retire(self, keys: Collection[str]) -> None:
        """Remove certificates that nginx does not use any more; those of others are left alone.

        :raises HostError: when one cannot be removed.
        """
        for key in keys:
            if "/" in key:
                self._files.remove(key)
            else:
                self._certbot.delete(key)


def _nothing_provided(request: CertificateRequest, latest: Version | None) -> HostError:
    attempted = f"use the certificate provided for {request.names[0]}"
    reason = (latest.problem or "it has expired") if latest else "it is not on this host any more"
    return HostError(attempted, reason, "Give certificate and private_key again")


def _renewed(request: CertificateRequest, before: Certificate, after: Certificate) -> Diff:
    texts = (f"expires: {found.not_after:%Y-%m-%d}\nsha256: {found.fingerprint}\n" for found in (before, after))
    return Diff(f"certificate {request.key}", *texts)


def _normal(text: str) -> str:
    """Write a PEM text as it is kept: with plain line ends, and one at its end."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"
