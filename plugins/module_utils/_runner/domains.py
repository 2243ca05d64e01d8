# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Domains and private URLs: the registry's rows and nginx's files, changed together, any number in one reload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, network, randomness, web
from ansible_collections.serverkit.core.plugins.module_utils._errors import (
    ConflictError,
    HostError,
    ServerkitError,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Expectation, Nginx
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import nginx_config, sites
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import (
    Elsewhere,
    Names,
    Resolution,
    described,
    resolve,
    site,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.sites import SiteChange
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    CATCH_ALL_HOST,
    PROOF_PATH,
    SHARED,
    Layout,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff, Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import (
    DomainRecord,
    PortLease,
    PrivateUrl,
    VhostRecord,
)

DNS_TIMEOUT = 10.0  # seconds for all names of a task
PROOF_TIMEOUT = 15.0  # seconds; a busy host with thousands of names takes several to start its new workers
PROOF_SETTLE = 0.3  # seconds; nginx tells the old workers to stop 0.1 s after it has started the new ones


_MOST_RACES = 3  # against other hosts for a name, before giving up


class _NameTakenError(ConflictError):
    """A name was free when we read the registry, and is not any more."""


@dataclass(frozen=True)
class DomainPlan:
    """What happens to one item."""

    name: str
    changed: bool
    diffs: tuple[Diff, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """What the registry says."""

    owned: Mapping[str, Names]
    elsewhere: Elsewhere
    main_ports: Mapping[str, int | None]
    leases: Mapping[int, PortLease]
    served: Mapping[str, str]


@dataclass
class Draft:
    """What is to be done for all items of the task together."""

    resolution: Resolution
    sites: dict[str, SiteChange] = field(default_factory=dict)
    shared: SiteChange | None = None

    @property
    def changes(self) -> list[SiteChange]:
        """What nginx gets, in the order in which it can be written."""
        shared = [self.shared] if self.shared else []
        return [change for change in (*shared, *self.sites.values()) if change.changed]

    @property
    def concerns_nginx(self) -> bool:
        """False when only rows go that nginx has no files of any more."""
        return any(change.hash_after or any(file.needed for file in change.files) for change in self.changes)


class Domains:
    """The resource behind serverkit_domain.

    :param listed: how many items of the task name each app, those that could not be parsed included.
    :param exclusive: whether these apps lose the names that are not listed.
    :param main_ports: of apps, for check mode: those that the registry would have by now.
    """

    kind = "domain"

    def __init__(
        self,
        host: Host,
        *,
        listed: Mapping[str, int],
        exclusive: bool,
        main_ports: Mapping[str, int | None] | None = None,
        layout: Layout | None = None,
        registry_path: str | None = None,
        proof_timeout: float = PROOF_TIMEOUT,
    ) -> None:
        self._host = host
        self._listed = listed
        self._exclusive = exclusive
        self._main_ports = main_ports or {}
        self._layout = layout or Layout()
        self._registry_path = registry_path
        self._proof_timeout = proof_timeout
        self._nginx = Nginx(host.commands, self._layout)
        self._ipv6 = network.ipv6_available()
        self._slugs: dict[str, str] = {}
        self._port_problems: dict[int, str] = {}
        self._addresses: dict[str, tuple[str, ...] | str] = {}
        self._wanted: Sequence[Wanted] = ()
        self._snapshot = Snapshot({}, Elsewhere(), {}, {}, {})
        self._draft = Draft(Resolution({}, {}))
        self._races = 0

    def locks(self, wanted: Sequence[Wanted]) -> Sequence[str]:
        return ["nginx"] if wanted else []

    # Reading and deciding

    def plan(self, wanted: Sequence[Wanted]) -> Sequence[DomainPlan | Failure]:
        self._wanted = wanted
        with self._open(read_only=True) as registry:
            self._snapshot = _snapshot(registry)
            if self._host.check:
                ports = {**self._snapshot.main_ports, **self._main_ports}
                self._snapshot = replace(self._snapshot, main_ports=ports)
        self._prepare_slugs(wanted)
        self._draft = self._decide(wanted)
        self._draft.shared = self._shared_change() if self._draft.sites else None
        warnings = self._host_problems()
        return self._item_plans(wanted, warnings)

    def _open(self, *, read_only: bool) -> AbstractContextManager[Registry]:
        return open_registry(self._host.settings, read_only=read_only, path=self._registry_path)

    def _prepare_slugs(self, wanted: Sequence[Wanted]) -> None:
        """Have a slug ready for each app that may need one.

        Where nginx serves a private URL that the registry does not know, the registry was lost: people have the link,
        so it stays.
        """
        owned, elsewhere = self._snapshot.owned, self._snapshot.elsewhere.slugs
        taken = {names.private.slug for names in owned.values() if names.private} | set(elsewhere)
        for app in {item.app for item in wanted if item.kind == "private_url" and item.present and not item.slug}:
            if not owned.get(app, Names()).private:
                slug = self._slug_on_disk(app)
                self._slugs[app] = slug if slug and slug not in taken else self._new_slug(app)

    def _slug_on_disk(self, app: str) -> str:
        content = self._nginx.content(self._layout.private(app))
        if content is None or content.link:
            return ""
        return sites.slug_in(content.text)

    def _new_slug(self, app: str) -> str:
        # In check mode a random slug would be another one than the real run then takes.
        return f"<random-{app}>" if self._host.check else randomness.slug()

    def _decide(self, wanted: Sequence[Wanted]) -> Draft:
        """Find out which items can be had: each one that cannot changes what the others mean, so start over."""
        counted = Counter(item.app for item in wanted)
        exclusive = {app for app, count in counted.items() if self._exclusive and count == self._listed.get(app)}
        failures: dict[int, ServerkitError] = {}
        while True:
            resolution = resolve(
                wanted,
                self._snapshot.owned,
                self._snapshot.elsewhere,
                exclusive=exclusive,
                slugs=self._slugs,
                failures=failures,
            )
            draft = Draft(resolution)
            failures = dict(resolution.failures)
            found = self._fill(draft, wanted)
            if not found:
                return draft
            failures.update(found)

    def _fill(self, draft: Draft, wanted: Sequence[Wanted]) -> dict[int, ServerkitError]:
        """Work out what each app's files shall be; return the items that turn out to be impossible."""
        failures: dict[int, ServerkitError] = {}
        good = [(at, item) for at, item in enumerate(wanted) if at not in draft.resolution.failures]
        for app in dict.fromkeys(item.app for _at, item in good):
            names = draft.resolution.names.get(app, Names())
            try:
                draft.sites[app] = self._site_change(app, names)
            except ServerkitError as error:
                failures.update({at: error for at, item in good if item.app == app})
        failures.update(self._claimed_elsewhere(good, draft))
        if not failures:
            busy = [(at, item) for at, item in good if item.present and self._touched(item, draft)]
            failures.update(self._unreachable(busy))
            failures.update(self._unresolved(busy))
        return failures

    def _site_change(self, app: str, names: Names) -> SiteChange:
        served = self._snapshot.served.get(app, "")
        wanted_site = site(app, names, self._snapshot.main_ports.get(app), guess=self._host.check)
        return sites.site_change(wanted_site, names, served, self._nginx.content, self._layout, ipv6=self._ipv6)

    def _shared_change(self) -> SiteChange | None:
        """What all apps share is there as long as one has a name, and may stay longer."""
        here = self._nginx.content(self._layout.available(SHARED)) is not None
        if not here and not any(self._draft.resolution.names.values()):
            return None
        return sites.shared_change(
            self._snapshot.served.get(SHARED, ""),
            self._nginx.content,
            self._layout,
            ipv6=self._ipv6,
            names_hash=not self._nginx.configuration().sets_names_hash,
        )

    def _touched(self, item: Wanted, draft: Draft) -> bool:
        return draft.sites[item.app].changed or self._rows_changed(item, draft.resolution)

    def _rows_changed(self, item: Wanted, resolution: Resolution) -> bool:
        before = self._snapshot.owned.get(item.app, Names()).rows_of(item)
        return before != resolution.names.get(item.app, Names()).rows_of(item)

    def _claimed_elsewhere(self, good: Iterable[tuple[int, Wanted]], draft: Draft) -> dict[int, ServerkitError]:
        """Find names that nginx would serve from another file, whichever of the two it reads first."""
        configuration = self._nginx.configuration()
        foreign = {name: block for block in configuration.servers for name in block.names}
        rewritten = {self._layout.enabled(app) for app in draft.sites}
        failures: dict[int, ServerkitError] = {}
        for at, item in good:
            for name in (item.domain, *item.aliases) if item.present and item.kind == "domain" else ():
                attempted = f"give the domain {name} to the app {item.app}"
                path = configuration.ours.get(name, "")
                if name in foreign:
                    failures[at] = ConflictError(
                        attempted,
                        f"the server block at {foreign[name].path}:{foreign[name].line}, which serverkit.core did not"
                        " make, has that name",
                        "Take the name out there, or choose another one",
                    )
                elif path and path not in rewritten:
                    failures[at] = ConflictError(
                        attempted,
                        f"{path} has that name, although the registry does not know of it",
                        f"Run this module for the app {path.rpartition('/')[2]} first, with what it shall have",
                    )
        return failures

    def _port_of(self, item: Wanted) -> int | None:
        return item.port if item.port is not None else self._snapshot.main_ports.get(item.app)

    def _unreachable(self, items: Sequence[tuple[int, Wanted]]) -> dict[int, ServerkitError]:
        checked = {at: port for at, item in items if item.check_port and (port := self._port_of(item)) is not None}
        ports = sorted(set(checked.values()) - set(self._port_problems))
        if ports:
            with ThreadPoolExecutor(max_workers=min(16, len(ports))) as pool:
                problems = pool.map(lambda port: web.problem_with_tcp("127.0.0.1", port), ports)
                self._port_problems.update(zip(ports, problems, strict=True))
        if self._host.check:  # what the app's own task would start is not there yet; _warnings tells
            return {}
        return {
            at: HostError(
                f"serve {wanted.name} from the app {wanted.app}"
                if wanted.kind == "domain"
                else f"serve the {wanted.name}",
                self._port_problems[port],
                "Start the app first, or give check_port: false",
            )
            for at, wanted in items
            if (port := checked.get(at)) is not None and self._port_problems[port]
        }

    def _unresolved(self, items: Sequence[tuple[int, Wanted]]) -> dict[int, ServerkitError]:
        """Ask DNS about the names that are new: a name that is served already has proven itself."""
        new = {
            at: [name for name in (item.domain, *item.aliases) if not self._is_known(item.app, name)]
            for at, item in items
            if item.kind == "domain" and item.dns_check != "off"
        }
        asked = {name for names in new.values() for name in names} - set(self._addresses)
        if asked:
            self._addresses.update(network.resolve(sorted(asked), DNS_TIMEOUT))
        failures: dict[int, ServerkitError] = {}
        for at, item in items:
            problems = [problem for name in new.get(at, ()) if (problem := self._dns_problem(name))]
            if problems and item.dns_check == "require":
                failures[at] = HostError(
                    f"serve {item.domain}",
                    "; ".join(problems),
                    "Point the domain at this host, or give dns_check: warn",
                )
        return failures

    def _is_known(self, app: str, name: str) -> bool:
        return any(row.name == name for row in self._snapshot.owned.get(app, Names()).domains)

    def _dns_problem(self, name: str) -> str:
        addresses = self._addresses.get(name, ())
        if isinstance(addresses, str):
            return f"{name} does not resolve ({addresses})"
        if not addresses or any(network.is_own(address) for address in addresses):
            return ""
        own = ", ".join(network.outward_addresses()) or "unknown"
        return (
            f"{name} resolves to {', '.join(addresses)}, and this host's address is {own} (which is fine when a CDN, a"
            " proxy or NAT stands in between)"
        )

    def _host_problems(self) -> list[str]:
        """Return what on the host is in the way; a real run ends here, check mode goes on, for a task before this one
        may be what mends it.

        :raises HostError: in a real run, when nginx's files have to change and cannot.
        """
        if not self._draft.concerns_nginx:
            return []
        problems = list(self._obstacles())
        if problems and not self._host.check:
            raise problems[0]
        return [str(problem) for problem in problems]

    def _obstacles(self) -> Iterable[ServerkitError]:
        attempted = "serve domains and private URLs"
        if not self._nginx.installed():
            if not self._host.check:
                yield HostError(attempted, "nginx is not installed", "Run site.yml, or install it")
            return
        configuration = self._nginx.configuration()
        for path in (self._layout.shared, self._layout.enabled(SHARED)):
            if not configuration.includes_path(path):
                yield HostError(
                    attempted,
                    f"{self._layout.main} does not include {path}",
                    f"Add `include {path.rpartition('/')[0]}/*{'.conf' if path.endswith('.conf') else ''};` to its http"
                    " block",
                )
        for block in configuration.servers:
            if self._draft.shared and nginx_config.listens_as_default(block, self._layout.port):
                yield ConflictError(
                    attempted,
                    f"{block.path}:{block.line} already is the default_server of port {self._layout.port}",
                    "Take default_server out of its listen lines, or disable the file; Debian's own"
                    " sites-enabled/default is removed by the role serverkit.core.nginx",
                )

    # What each item is told

    def _item_plans(self, wanted: Sequence[Wanted], warnings: Sequence[str]) -> list[DomainPlan | Failure]:
        resolution = self._draft.resolution
        diffs: dict[int, list[Diff]] = {}
        for at, item in enumerate(wanted):
            if at not in resolution.failures and self._rows_changed(item, resolution):
                diffs[at] = [self._rows_diff(item)]
        for app, change in self._draft.sites.items():
            self._attribute(wanted, [app], [*change.diffs, *self._dropped(app, wanted)], diffs)
        if self._draft.shared:
            self._attribute(wanted, list(self._draft.sites), self._draft.shared.diffs, diffs)
        first = min(diffs, default=None)
        plans: list[DomainPlan | Failure] = []
        for at, item in enumerate(wanted):
            if at in resolution.failures:
                plans.append(Failure(item.name, resolution.failures[at]))
                continue
            own = (*(warnings if at == first else ()), *self._warnings(item, changed=at in diffs))
            plans.append(DomainPlan(item.name, at in diffs, tuple(diffs.get(at, ())), self._facts(item), own))
        return plans

    def _attribute(
        self, wanted: Sequence[Wanted], apps: Sequence[str], found: Sequence[Diff], diffs: dict[int, list[Diff]]
    ) -> None:
        """Give diffs that belong to several items to the first of them, best to one that changes anyway."""
        if not found:
            return
        good = [at for at, item in enumerate(wanted) if at not in self._draft.resolution.failures and item.app in apps]
        changing = [at for at in good if at in diffs]
        diffs.setdefault((changing or good)[0], []).extend(found)

    def _rows_diff(self, item: Wanted) -> Diff:
        before = self._snapshot.owned.get(item.app, Names()).rows_of(item)
        after = self._draft.resolution.names.get(item.app, Names()).rows_of(item)
        return Diff(f"registry: {item.name} ({item.app})", described(before), described(after))

    def _dropped(self, app: str, wanted: Sequence[Wanted]) -> list[Diff]:
        """Rows that go although no item is about them: `exclusive`."""
        before, after = (owned.get(app, Names()) for owned in (self._snapshot.owned, self._draft.resolution.names))
        shown = {row for item in wanted if item.app == app for row in map(id, before.rows_of(item))}
        gone = [row for row in (*before.domains, before.private) if row is not None and id(row) not in shown]
        gone = [row for row in gone if row not in (*after.domains, after.private)]
        return [Diff(f"registry: not listed ({app})", described(gone), "")] if gone else []

    def _warnings(self, item: Wanted, *, changed: bool) -> list[str]:
        if not changed or not item.present:
            return []
        found = []
        if item.kind == "domain" and item.dns_check != "off":
            found += [
                problem
                for name in (item.domain, *item.aliases)
                if name in self._addresses and (problem := self._dns_problem(name))
            ]
        port = self._port_of(item)
        if port is None:
            found.append(f"the app {item.app} has no port yet; deploying it gives it one")
        elif item.check_port and self._port_problems.get(port):
            found.append(f"{self._port_problems[port]}; a real run stops at this")
        lease = self._snapshot.leases.get(port or 0)
        if lease is not None and lease.owner != item.app:
            found.append(f"port {port} is reserved for {lease.owner}/{lease.name}")
        return found + self._unreached(item)

    def _unreached(self, item: Wanted) -> list[str]:
        return [
            f"{block.path}:{block.line} listens on {address}: requests to that address never reach {item.name}"
            for block in self._nginx.configuration().servers
            for address in nginx_config.special_addresses(block, self._layout.port)
        ]

    def _facts(self, item: Wanted) -> dict[str, Any]:
        facts: dict[str, Any] = {"app": item.app, "kind": item.kind, "state": "present" if item.present else "absent"}
        if not item.present:
            return facts
        facts |= {"port": self._port_of(item), "websocket": item.websocket, "file": self._layout.available(item.app)}
        if item.kind == "domain":
            found = self._addresses.get(item.domain)
            resolved = None if found is None else [] if isinstance(found, str) else list(found)
            facts |= {"aliases": list(item.aliases), "url": f"http://{item.domain}/", "resolves_to": resolved}
            return facts
        private = self._draft.resolution.names[item.app].private
        known = private is not None and not private.slug.startswith("<")
        slug = private.slug if private is not None and known else None
        return {**facts, "slug": slug, "path": f"/p/{slug}/" if slug else None}

    # Writing

    def apply(self, plans: Sequence[DomainPlan], lock_descriptors: Mapping[str, int]) -> Sequence[Outcome]:
        undo = UndoStack()
        kept: list[str] = []
        try:
            self._carry_out(undo, kept)
        except _NameTakenError as lost:
            undo.unwind()
            return self._apply_again(plans, lock_descriptors, lost)
        except ServerkitError as error:
            rolled_back, not_rolled_back = undo.unwind()
            return [
                Failure(plan.name, error, rolled_back, not_rolled_back, changed=bool(not_rolled_back)) for plan in plans
            ]
        for aside in kept:
            files.remove(aside)
        return [Success(plan.name, True, plan.diffs, plan.facts, plan.warnings) for plan in plans]

    def _apply_again(
        self, plans: Sequence[DomainPlan], lock_descriptors: Mapping[str, int], lost: _NameTakenError
    ) -> Sequence[Outcome]:
        """Another host of the registry took a name between our reading and our writing: decide anew, knowing that."""
        self._races += 1
        if self._races > _MOST_RACES:
            return [Failure(plan.name, lost) for plan in plans]
        outcomes: dict[str, Outcome] = {}
        changing: list[DomainPlan] = []
        for plan in self.plan(self._wanted):
            if isinstance(plan, Failure):
                outcomes[plan.name] = plan
            elif plan.changed:
                changing.append(plan)
            else:
                outcomes[plan.name] = Success(plan.name, False, facts=plan.facts)
        applied = self.apply(changing, lock_descriptors) if changing else []
        outcomes.update({outcome.name: outcome for outcome in applied})
        return [outcomes[plan.name] for plan in plans]

    def _carry_out(self, undo: UndoStack, kept: list[str]) -> None:
        changes = self._draft.changes
        if self._draft.concerns_nginx:
            self._rehearse(changes, undo)
        self._reserve(undo)
        if self._draft.concerns_nginx:
            self._switch(changes, undo, kept)
        self._record(changes)

    def _rehearse(self, changes: Sequence[SiteChange], undo: UndoStack) -> None:
        if not self._nginx.running():
            raise HostError(
                "change what nginx serves",
                "nginx is not running",
                "Start it (`systemctl start nginx`; `journalctl -u nginx` says why it stopped) and run again. Nothing"
                " was changed",
            )
        already = self._nginx.problem()
        for change in changes:
            for path in self._nginx.make_logs(change.app) if change.hash_after and change.app != SHARED else ():
                undo.push(f"removed {path}", partial(files.remove, path))
        problem = self._nginx.problem_after([file for change in changes for file in change.files])
        # When only one of our own files was broken, the change itself mends it.
        if problem and already:
            raise HostError(
                "change what nginx serves",
                f"its configuration is broken already: {already}",
                "Mend that file and run again. Nothing was changed, and nginx goes on with what it has loaded",
            )
        if problem:
            raise HostError("change what nginx serves", f"nginx refuses the change: {problem}", "Nothing was changed")

    def _reserve(self, undo: UndoStack) -> None:
        before, after = self._snapshot.owned, self._draft.resolution.names
        touched = [app for app in {**before, **after} if before.get(app, Names()) != after.get(app, Names())]
        if not touched:
            return
        try:
            self._replace_rows(touched, after)
        except ConflictError as error:
            raise _NameTakenError(error.attempted, error.reason, error.remedy) from error
        undo.push("restored the names in the registry", lambda: self._replace_rows(touched, before))

    def _replace_rows(self, apps: Sequence[str], names: Mapping[str, Names]) -> None:
        with self._open(read_only=False) as registry, registry.transaction():
            for app in apps:  # first everything is let go, so that apps can exchange names
                registry.replace_domains(app, ())
                registry.replace_private_urls(app, ())
            for app in apps:
                has = names.get(app, Names())
                registry.replace_domains(app, has.domains)
                registry.replace_private_urls(app, (has.private,) if has.private else ())

    def _switch(self, changes: Sequence[SiteChange], undo: UndoStack, kept: list[str]) -> None:
        expectations = [Expectation(p.host, p.path, p.text) for change in changes for p in change.proofs]
        expectations += self._partings(expectations)
        reloaded: list[bool] = []
        # Pushed first, so it comes last: after the files are back.
        undo.push("reloaded nginx with what it had", lambda: self._nginx.reload() if reloaded else None)
        self._swap(changes, undo, kept)
        problem = self._nginx.problem()
        if problem:
            raise HostError(
                "change what nginx serves", f"nginx refuses the new files: {problem}", "They are taken back"
            )
        position = self._nginx.log_position()
        reloaded.append(True)
        self._nginx.reload()
        unproven = self._nginx.unproven(expectations, timeout=self._proof_timeout, settle=PROOF_SETTLE)
        if unproven:
            complaint = self._nginx.complaint_since(position)
            raise HostError(
                "change what nginx serves",
                "nginx was reloaded, and does not serve the new configuration: " + (complaint or unproven),
                "The files are taken back",
            )

    def _partings(self, kept: Sequence[Expectation]) -> list[Expectation]:
        """What must stop answering: the proofs of names that go."""
        staying = {(expected.host, expected.path) for expected in kept}
        before = self._snapshot.owned
        leaving: list[tuple[str, str]] = []
        for app in self._draft.sites:
            has, gets = before.get(app, Names()), self._draft.resolution.names.get(app, Names())
            remaining = {row.name for row in gets.domains}
            leaving += [(row.name, PROOF_PATH) for row in has.domains if row.name not in remaining]
            if has.private and (gets.private is None or gets.private.slug != has.private.slug):
                leaving.append((CATCH_ALL_HOST, f"/p/{has.private.slug}{PROOF_PATH}"))
        answered = [
            (host, path, self._nginx.answer(host, path)) for host, path in leaving if (host, path) not in staying
        ]
        return [
            Expectation(host, path, proof, gone=True) for host, path, proof in answered if sites.looks_like_proof(proof)
        ]

    def _swap(self, changes: Sequence[SiteChange], undo: UndoStack, kept: list[str]) -> None:
        self._nginx.make_private_directory()
        for change in changes:
            for file in change.files:
                self._nginx.sweep(file.path)
                if not file.needed:
                    continue
                aside = files.set_aside(file.path)
                if aside:
                    kept.append(aside)
                undo.push(f"restored {file.path}", partial(files.put_back, file.path, aside))
                self._nginx.put(file)

    def _record(self, changes: Sequence[SiteChange]) -> None:
        if not changes:
            return
        with self._open(read_only=False) as registry, registry.transaction():
            for change in changes:
                if change.hash_after:
                    registry.put_vhost(VhostRecord(change.app, change.hash_after))
                else:
                    registry.remove_vhost(change.app)


def _snapshot(registry: Registry) -> Snapshot:
    domains: dict[str, list[DomainRecord]] = {}
    for row in registry.domains():
        domains.setdefault(row.app, []).append(row)
    private: dict[str, PrivateUrl] = {row.app: row for row in registry.private_urls()}
    return Snapshot(
        {app: Names(tuple(domains.get(app, ())), private.get(app)) for app in {**domains, **private}},
        Elsewhere(registry.domains_elsewhere(), registry.private_urls_elsewhere()),
        {name: app.main_port for name, app in registry.apps().items()},
        {lease.port: lease for lease in registry.ports() if lease.protocol == "tcp"},
        {app: vhost.content_hash for app, vhost in registry.vhosts().items()},
    )
