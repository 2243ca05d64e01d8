# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Orders from an authority, one after the other: looked at, rehearsed, made and remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import acme as acme_gateway
from ansible_collections.serverkit.core.plugins.module_utils._gateways import dns
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certbot import Certbot
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import certificates as plans
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan
from ansible_collections.serverkit.core.plugins.module_utils._plan.order_limits import (
    HORIZON,
    TIME,
    Wait,
    refusal,
    wait_before,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import CertbotFailure, FailureKind
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.records import CertificateOrder, OrderOutcome
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import AcmeSettings

# The rehearsal says nothing of the order when the stage itself is not available.
_STAGE_IS_DARK: frozenset[FailureKind] = frozenset({"unreachable", "rate_limited"})


class Orders:
    """Carries out what was planned; what goes wrong with one order is its result, and stops no other."""

    def __init__(
        self,
        host: Host,
        layout: Layout,
        acme: AcmeSettings | None,
        *,
        registry: Callable[[bool], AbstractContextManager[Registry]],
        clock: Callable[[], datetime],
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._host = host
        self._layout = layout
        self._acme = acme
        self._registry = registry
        self._clock = clock
        self._pass_fds = pass_fds
        self._identities: dict[str, tuple[str, ...] | ServerkitError] = {}

    def carry_out(self, plan: CertificatePlan, unreachable: Mapping[str, ServerkitError]) -> TlsFiles | ServerkitError:
        """Order one certificate; return it, or why there is none."""
        if plan.order is None:
            raise ValueError(f"there is nothing to order for {plan.request.key}")
        names, in_the_way = plans.narrowed(plan.order, unreachable)
        if not names:
            return unreachable[in_the_way]
        try:
            return self._carry_out(plan, names)
        except ServerkitError as error:
            return error

    def _carry_out(self, plan: CertificatePlan, names: tuple[str, ...]) -> TlsFiles:
        key, challenge = plan.request.key, plan.request.challenge
        before = Certbot(self._host.commands, self._layout, AcmeSettings()).lineage(key)
        settings = plans.effective(self._acme, before)
        certbot = Certbot(self._host.commands, self._layout, settings, pass_fds=self._pass_fds)
        self._check_limits(names, settings)
        self._check_caa(names, settings)
        if settings.staging_directory:
            failure = certbot.rehearse(key, names, challenge, self._clock())
            if failure and failure.kind not in _STAGE_IS_DARK:
                self._record(key, names, settings, "rehearsal_failed", failure)
                raise self._explained(plan, names, settings, failure, "the rehearsal failed: ")
        failure = certbot.order(key, names, challenge, self._clock())
        if failure:
            if failure.kind != "unreachable":
                outcome: OrderOutcome = "rate_limited" if failure.kind == "rate_limited" else "failed"
                self._record(key, names, settings, outcome, failure)
            raise self._explained(plan, names, settings, failure)
        self._record(key, names, settings, "issued", None)
        after = certbot.lineage(key)
        files = certbot.files_of(key, after)
        if files is None or set(files.names) != set(names):
            reason = after.problem or "certbot says that it is there, and what is there is for other names"
            raise HostError(f"have a certificate for {', '.join(names)}", reason, "See the log of certbot on the host")
        return files

    def _check_limits(self, names: tuple[str, ...], settings: AcmeSettings) -> None:
        wait = self._wait(names, settings)
        if wait:
            raise refusal(names, wait)

    def _wait(self, names: tuple[str, ...], settings: AcmeSettings) -> Wait | None:
        now = self._clock()
        with self._registry(True) as registry:
            known = registry.certificate_orders((now - HORIZON).strftime(TIME))
        return wait_before(known, names, settings.directory, now)

    def _check_caa(self, names: tuple[str, ...], settings: AcmeSettings) -> None:
        """Ask before the authority does: what it refuses for this counts as a failure of ours."""
        problems = dns.caa_problems(names, self._identities_of(settings))
        if problems:
            raise HostError(
                f"have a certificate for {', '.join(names)}",
                "; ".join(f"{name}: {problem}" for name, problem in problems.items()),
                "Add the authority to that record, or take the record out, and run again",
            )

    def _identities_of(self, settings: AcmeSettings) -> tuple[str, ...]:
        directory = settings.directory
        if directory not in self._identities:
            try:
                self._identities[directory] = acme_gateway.caa_identities(directory, settings.ca_bundle)
            except ServerkitError as error:  # kept: one app after the other would wait for the same
                self._identities[directory] = error
        found = self._identities[directory]
        if isinstance(found, ServerkitError):
            raise found
        return found

    def _record(
        self,
        key: str,
        names: tuple[str, ...],
        settings: AcmeSettings,
        outcome: OrderOutcome,
        failure: CertbotFailure | None,
    ) -> None:
        retry_after = failure.retry_after.strftime(TIME) if failure and failure.retry_after else None
        # What happens on the stage says nothing of when the authority itself takes another order.
        retry_after = None if outcome == "rehearsal_failed" else retry_after
        at, reason = self._clock().strftime(TIME), failure.reason if failure else ""
        order = CertificateOrder(key, names, settings.directory, at, outcome, reason, retry_after)
        with self._registry(False) as registry, registry.transaction():
            registry.add_certificate_order(order)

    def _explained(
        self,
        plan: CertificatePlan,
        names: tuple[str, ...],
        settings: AcmeSettings,
        failure: CertbotFailure,
        prefix: str = "",
    ) -> HostError:
        wait = self._wait(names, settings)
        sentences = [failure.remedy]
        sentences.append(f"The next try is possible at {wait.until.strftime(TIME)}" if wait else "Then run again")
        if plan.now is not None:
            sentences.append(f"Until then the certificate for {', '.join(plan.now.names)} is served on")
        remedy = ". ".join(sentence for sentence in sentences if sentence)
        return HostError(f"have a certificate for {', '.join(names)}", prefix + failure.reason, remedy)
