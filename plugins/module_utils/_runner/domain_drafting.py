# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Deciding for a task as a whole: who gets which name, which certificates that takes, and what nginx's files become."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.htpasswd import Htpasswd
from ansible_collections.serverkit.core.plugins.module_utils._plan import certificates, sites, vhost_model
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import resolve, site
from ansible_collections.serverkit.core.plugins.module_utils._plan.private_urls import domain_of, domains_of
from ansible_collections.serverkit.core.plugins.module_utils._plan.sites import SiteChange
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_checks import Checks
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_slugs import prepared_slugs
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Draft, Snapshot, Task
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    CATCH_ALL_HOST,
    HEADER,
    SHARED,
    Content,
    TlsFiles,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.records import PrivateUrl
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import (
    CertificateRequest,
    TlsRequest,
    tls_from_row,
)

_Names = tuple[tuple[str, ...], TlsRequest]

# What an older nginx shows to whoever asks for a name that nobody has.
_FALLBACK: _Names = ((CATCH_ALL_HOST,), TlsRequest("internal"))
_TO_COME = "not ordered yet"  # stands for the revision of a certificate in what is only shown


class Drafting:
    """Makes the draft of one reading of the registry. Reads the host, and writes nothing.

    :param refused: apps whose files nginx is known to refuse, and why.
    """

    def __init__(
        self,
        task: Task,
        snapshot: Snapshot,
        checks: Checks,
        wanted: Sequence[Wanted],
        refused: Mapping[str, ServerkitError],
    ) -> None:
        self._task = task
        self._snapshot = snapshot
        self._checks = checks
        self._wanted = wanted
        self._refused = refused
        self._now = task.clock()
        self._slugs = prepared_slugs(task, snapshot, wanted)
        self._htpasswd = Htpasswd(task.host.commands)
        self._auth: dict[str, Content] = {}
        self._planned: tuple[tuple[CertificateRequest, ...], Sequence[CertificatePlan]] = ((), ())

    def draft(self) -> Draft:
        """Find out which items can be had: each one that cannot changes what the others mean, so start over."""
        counted = Counter(item.app for item in self._wanted)
        listed = self._task.listed
        exclusive = {app for app, count in counted.items() if self._task.exclusive and count == listed.get(app)}
        failures = {at: self._refused[item.app] for at, item in enumerate(self._wanted) if item.app in self._refused}
        while True:
            resolution = resolve(
                self._wanted,
                self._snapshot.owned,
                self._snapshot.elsewhere,
                exclusive=exclusive,
                slugs=self._slugs,
                failures=failures,
                now=self._now,
                private_domain=self._task.private_domain,
            )
            draft = Draft(resolution)
            failures = dict(resolution.failures)
            found = self._fill(draft)
            if not found:
                break
            failures.update(found)
        if draft.sites:
            draft.shared, draft.shared_goal = self.shared_changes(draft)
        return draft

    def site_change(self, app: str, draft: Draft, files: Mapping[str, TlsFiles]) -> SiteChange:
        """Return the change of an app's files, with these certificates, by the keys of their requests."""
        names = draft.names(app)
        own = {
            row.name: files[plan.request.key]
            for plan in draft.certificates.get(app, ())
            for row in names.domains
            if row.name in plan.request.names and plan.request.key in files
        }
        wanted_site = site(
            app,
            names,
            self._snapshot.main_ports,
            guess=self._task.host.check,
            now=self._now,
            certificates=own,
            private_tls=_private_tls(draft, names.private, files),
        )
        nginx, layout = self._task.nginx, self._task.layout
        return sites.site_change(
            wanted_site,
            self._snapshot.served.get(app, ""),
            nginx.content,
            self._task.target,
            auth=self._auth_of(app),
            auth_files=glob.glob(f"{glob.escape(layout.auth_directory)}/{app}_*.htpasswd"),
        )

    def shared_change(
        self, draft: Draft, files: Mapping[str, TlsFiles], changes: Mapping[str, SiteChange]
    ) -> SiteChange:
        """Return the change of what all apps share, with these certificates and these changes of the apps' files."""
        nginx, target = self._task.nginx, self._task.target
        below = self._private_domains(draft)
        private_domains = [vhost_model.PrivateDomain(one.name, _covering(draft, files, one.wildcard)) for one in below]
        rewritten = {self._task.layout.enabled(app) for app in changes}
        return sites.shared_change(
            self._snapshot.served.get(SHARED, ""),
            nginx.content,
            target,
            names_hash=not nginx.configuration().sets_names_hash,
            tls=any(proof.tls for change in changes.values() for proof in change.proofs)
            or any(domain.tls for domain in private_domains)
            or bool(nginx.configuration().with_tls - rewritten - {self._task.layout.enabled(SHARED)}),
            fallback=self._fallback(draft, files),
            private_domains=private_domains,
        )

    def shared_changes(self, draft: Draft) -> tuple[SiteChange | None, SiteChange | None]:
        """What all apps share is there as long as one has a name, and may stay longer."""
        here = self._task.nginx.content(self._task.layout.available(SHARED)) is not None
        if not here and not any(draft.resolution.names.values()):
            return None, None
        now = self.shared_change(draft, files_now(draft), draft.sites)
        if not draft.goals:
            return now, None
        return now, self.shared_change(draft, self._files_then(draft), {**draft.sites, **draft.goals})

    def note_served(self, changes: Sequence[SiteChange]) -> None:
        """Take note of changes that nginx was proven to serve meanwhile."""
        served = {**self._snapshot.served, **{change.app: change.hash_after for change in changes}}
        self._snapshot = replace(self._snapshot, served=served)

    # Certificates and files

    def _fill(self, draft: Draft) -> dict[int, ServerkitError]:
        """Work out what each app's files shall be; return the items that turn out to be impossible."""
        good = draft.good(self._wanted)
        apps = list(dict.fromkeys(item.app for _at, item in good))
        failures = self._plan_certificates(draft, apps)
        if failures:
            return failures
        now, then = files_now(draft), self._files_then(draft)
        for app in apps:
            try:
                draft.sites[app] = self.site_change(app, draft, now)
                if self._waits(draft, app):
                    draft.goals[app] = self.site_change(app, draft, then)
            except ServerkitError as error:
                failures.update({at: error for at, item in good if item.app == app})
        self._fill_others(draft, set(apps), now, then)
        failures.update(self._checks.claimed_elsewhere(good, draft))
        if not failures:
            busy = [(at, item) for at, item in good if item.present and self._touched(item, draft)]
            failures.update(self._checks.unreachable(busy))
        return failures

    def _fill_others(
        self, draft: Draft, apps: Collection[str], now: Mapping[str, TlsFiles], then: Mapping[str, TlsFiles]
    ) -> None:
        """Work out the files of other apps that show the shared certificate, which may become another one."""
        names = draft.resolution.names
        others = [app for app, has in names.items() if app not in apps and domain_of(has.private)] if apps else []
        for app in others:
            try:
                if app in self._refused:
                    raise self._refused[app]
                draft.sites[app] = self.site_change(app, draft, now)
                if self._waits(draft, app):
                    draft.goals[app] = self.site_change(app, draft, then)
            except ServerkitError:  # a task about that app says why
                draft.left_alone.add(app)

    def _plan_certificates(self, draft: Draft, apps: Sequence[str]) -> dict[int, ServerkitError]:
        """Plan the certificates of the task's apps; return the items that ask for an impossible one."""
        requests = {app: certificates.requests_of(app, self._domains_with_tls(draft, app)) for app in apps}
        requests[SHARED] = certificates.requests_of(SHARED, self._shared_names_with_tls(draft)) if apps else ()
        every = tuple(request for found in requests.values() for request in found)
        if every != self._planned[0]:
            self._planned = (every, [self._settled(plan) for plan in self._task.certificates.plan(every)])
        about_private = any(item.kind == "private_url" and item.present for _at, item in draft.good(self._wanted))
        for plan in self._planned[1]:
            # Whether it can be had is told to those who ask for it: a task about something else does not try.
            asked = plan.request.app != SHARED or about_private
            draft.certificates.setdefault(plan.request.app, []).append(plan if asked else _unordered(plan))
        draft.unused = {app: self._task.certificates.unused(app, requests[app]) for app in apps}
        if apps:
            older = not self._task.target.version.rejects_handshakes
            fallback = certificates.requests_of(SHARED, [_FALLBACK] if older else [])
            draft.unused[SHARED] = self._task.certificates.unused(SHARED, (*requests[SHARED], *fallback))
        return {
            at: plan.blocked
            for at, item in draft.good(self._wanted)
            for plan in self.plans_of(draft, item)
            if isinstance(plan.blocked, InputError)
        }

    def _settled(self, plan: CertificatePlan) -> CertificatePlan:
        """Leave nginx's files as they are when a certificate was renewed meanwhile, and nginx serves the new one."""
        now = plan.now
        if now is None or plan.request.mode != "letsencrypt":
            return plan
        written = self._task.nginx.configuration().revisions.get(now.certificate, now.revision)
        if written == now.revision or not self._task.nginx.shows(sites.concrete(now.names[0]), now):
            return plan
        return replace(plan, now=replace(now, revision=written))

    def plans_of(self, draft: Draft, item: Wanted) -> list[CertificatePlan]:
        """Return the certificates that an item asks for."""
        if not item.present:
            return []
        if item.kind == "private_url":
            domain = domain_of(draft.names(item.app).private)
            shared = draft.certificates.get(SHARED, ())
            return [plan for plan in shared if domain is not None and domain.wildcard in plan.request.names]
        names = set(item.names) if item.tls.mode != "none" else set()
        return [plan for plan in draft.certificates.get(item.app, ()) if names & set(plan.request.names)]

    def _domains_with_tls(self, draft: Draft, app: str) -> list[tuple[tuple[str, ...], TlsRequest]]:
        """What each domain of the app asks for: as listed in the task, else as the registry remembers it."""
        listed = {
            item.domain: item.tls
            for _at, item in draft.good(self._wanted)
            if item.app == app and item.kind == "domain" and item.present
        }
        rows = draft.names(app).domains
        found = []
        for row in rows:
            if row.primary == row.name:
                aliases = sorted(other.name for other in rows if other.primary == row.name != other.name)
                found.append(((row.name, *aliases), listed.get(row.name) or tls_from_row(row.options)))
        return found

    def _shared_names_with_tls(self, draft: Draft) -> list[_Names]:
        found: list[_Names] = [((domain.wildcard,), domain.tls) for domain in self._private_domains(draft)]
        asked = [item.tls for _at, item in draft.good(self._wanted)] + [tls for _names, tls in found]
        wants_tls = any(tls.mode != "none" for tls in asked) or self._task.nginx.configuration().with_tls
        if wants_tls and not self._task.target.version.rejects_handshakes:
            found.append(_FALLBACK)
        return found

    def _waits(self, draft: Draft, app: str) -> bool:
        """Whether an app's files will be others once certificates have come."""
        own = draft.certificates.get(app, [])
        shared = draft.certificates.get(SHARED, []) if domain_of(draft.names(app).private) else []
        return any(plan.order for plan in (*own, *shared))

    def _files_then(self, draft: Draft) -> dict[str, TlsFiles]:
        """The certificates as they will be when every order succeeds."""
        files = files_now(draft)
        for plan in draft.certificate_plans:
            if plan.order:
                live = f"{self._task.layout.letsencrypt}/live/{plan.request.key}"
                files[plan.request.key] = TlsFiles(
                    f"{live}/fullchain.pem", f"{live}/privkey.pem", plan.order.names, _TO_COME
                )
        return files

    def _private_domains(self, draft: Draft) -> tuple[PrivateDomain, ...]:
        return domains_of((has.private for has in draft.resolution.names.values()), self._task.private_domain)

    def _fallback(self, draft: Draft, files: Mapping[str, TlsFiles]) -> TlsFiles | None:
        return _covering(draft, files, CATCH_ALL_HOST)

    def _auth_of(self, app: str) -> dict[str, Content]:
        """Return the password files of the app's items: an existing hash of the same password stays as it is."""
        found: dict[str, Content] = {}
        for item in self._wanted:
            if item.app != app or not item.present or not item.passwords:
                continue
            path = self._task.layout.htpasswd(app, item.domain or "private")
            if path not in self._auth:
                before = self._task.nginx.content(path)
                text = self._password_text(before, item)
                self._auth[path] = Content(text, 0o600, owner=self._task.nginx.worker_user())
            found[path] = self._auth[path]
        return found

    def _password_text(self, before: Content | None, item: Wanted) -> str:
        if self._task.host.check and self._task.host.commands.find("openssl") is None:
            # A task before this one would install it.
            return HEADER + "".join(f"{user}:<hash>\n" for user in sorted(item.passwords))
        return self._htpasswd.text(before.text if before else None, item.passwords)

    def _touched(self, item: Wanted, draft: Draft) -> bool:
        before, after = self._snapshot.names(item.app).rows_of(item), draft.names(item.app).rows_of(item)
        return draft.sites[item.app].changed or before != after


def files_now(draft: Draft) -> dict[str, TlsFiles]:
    """Return the certificates that nginx can serve right away, by the keys of their requests."""
    return {plan.request.key: plan.now for plan in draft.certificate_plans if plan.now}


def _private_tls(draft: Draft, row: PrivateUrl | None, files: Mapping[str, TlsFiles]) -> TlsFiles | None:
    domain = domain_of(row)
    return _covering(draft, files, domain.wildcard) if domain else None


def _unordered(plan: CertificatePlan) -> CertificatePlan:
    return replace(plan, order=None, changed=False, diffs=(), blocked=None) if plan.order or plan.blocked else plan


def _covering(draft: Draft, files: Mapping[str, TlsFiles], name: str) -> TlsFiles | None:
    keys = [plan.request.key for plan in draft.certificates.get(SHARED, ()) if name in plan.request.names]
    return next((files[key] for key in keys if key in files), None)
