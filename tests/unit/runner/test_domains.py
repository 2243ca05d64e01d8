# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the domain resource decides and tells, without any nginx: check mode on hosts in all states."""

from __future__ import annotations

import os
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import network, web
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Expectation, Nginx
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.domains import DomainPlan, Domains
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    FileChange,
    Layout,
    NginxVersion,
    TlsFiles,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord, DomainRecord, PortLease
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import BasicAuth, SiteOptions
from ansible_collections.serverkit.core.tests.unit.fakes import NoPrograms


class Bench:
    """A registry in a file, and DNS and ports that say what they are told to."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.path = str(root / "registry.db")
        self.layout = Layout(
            str(root / "nginx"),
            str(root / "logs"),
            str(root / "run"),
            8080,
            8443,
            str(root / "webroot"),
            str(root / "ssl"),
            str(root / "letsencrypt"),
        )

    def registered(self, *domains: DomainRecord, port: int | None = 8001) -> None:
        with open_registry(Settings(), read_only=False, path=self.path) as registry, registry.transaction():
            registry.put_app(AppRecord("blog", "t", "1", "started", "h", main_port=port))
            registry.add_port(PortLease(9001, "tcp", "shop", "HTTP_PORT"))
            registry.replace_domains("blog", domains)

    def run(self, *items: Wanted, check: bool = True, **more: Any) -> list[Outcome]:
        host = Host(NoPrograms(), Settings(), check, lambda _secret: None)
        listed = more.pop("listed", Counter(item.app for item in items))
        resource = Domains(
            host,
            listed=listed,
            exclusive=more.pop("exclusive", False),
            layout=self.layout,
            registry_path=self.path,
        )
        return converge(resource, items, check=check)


@pytest.fixture
def bench(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(web, "problem_with_tcp", lambda _address, port: "" if port == 8001 else f"{port} is dead")
    addresses = {"ours.example": ("192.0.2.1",), "cdn.example": ("203.0.113.9",)}
    monkeypatch.setattr(network, "resolve", lambda names, _timeout: {n: addresses.get(n, "unknown") for n in names})
    monkeypatch.setattr(network, "is_own", lambda address: address == "192.0.2.1")
    monkeypatch.setattr(network, "outward_addresses", lambda: ("192.0.2.1",))
    return Bench(tmp_path)


def domain(name: str, app: str = "blog", **more: Any) -> Wanted:
    return Wanted("domain", app, domain=name, **more)


def success(outcome: Outcome) -> Success:
    assert isinstance(outcome, Success), outcome
    return outcome


def failure(outcome: Outcome) -> str:
    assert isinstance(outcome, Failure), outcome
    return str(outcome.error)


def test_check_mode_on_a_bare_host(bench: Bench) -> None:
    first, second = bench.run(domain("ours.example"), Wanted("private_url", "blog"))
    assert success(first).changed
    assert success(first).facts["port"] is None
    assert "has no port yet" in success(first).warnings[0]
    assert "<port>" in "".join(diff.after for diff in success(first).diffs)
    assert success(second).facts["path"] is None
    assert list(bench.root.iterdir()) == []


def test_check_mode_on_a_host_without_openssl(bench: Bench) -> None:
    bench.registered()
    site = SiteOptions(basic_auth=BasicAuth(("ann",)))
    (outcome,) = bench.run(domain("ours.example", site=site, passwords={"ann": "s3cr3t"}))
    shown = "".join(diff.after for diff in success(outcome).diffs)
    assert "ann:<hash>" in shown
    assert "s3cr3t" not in shown


def test_a_real_run_without_nginx(bench: Bench) -> None:
    bench.registered()
    with pytest.raises(HostError, match="nginx is not installed"):
        bench.run(domain("ours.example"), check=False)
    assert not success(bench.run(Wanted("all", "other", present=False), check=False)[0]).changed


def test_an_unknown_app(bench: Bench) -> None:
    bench.registered(port=None)
    for app in ("blog", "nobody"):
        assert "its port is not known" in failure(bench.run(domain("ours.example", app), check=False)[0])


def test_dns_in_check_mode(bench: Bench) -> None:
    """Nothing can be probed, so a name that leads elsewhere may lead to a CDN that leads here."""
    bench.registered()
    ours, cdn, none = bench.run(domain("ours.example"), domain("cdn.example"), domain("none.example"))
    assert success(ours).warnings == success(cdn).warnings == ()
    assert success(ours).facts["resolves_to"] == ["192.0.2.1"]
    assert "none.example does not resolve (unknown)" in success(none).warnings[0]
    assert success(none).facts["resolves_to"] == []
    strict = bench.run(
        domain("ours.example", dns_check="records"),
        domain("cdn.example", dns_check="records"),
        domain("none.example", dns_check="off"),
    )
    assert success(strict[0]).warnings == success(strict[2]).warnings == ()
    assert "its A record 203.0.113.9 is not an address of this host" in success(strict[1]).warnings[0]


def test_dns_is_not_asked_about_names_that_are_served(bench: Bench) -> None:
    bench.registered(DomainRecord("cdn.example", "blog", "cdn.example"))
    (outcome,) = bench.run(domain("cdn.example", dns_check="records"))
    assert success(outcome).facts["resolves_to"] is None


def test_dead_ports(bench: Bench) -> None:
    bench.registered()
    (warned,) = bench.run(domain("ours.example", port=9001))
    assert any("9001 is dead" in warning for warning in success(warned).warnings)
    assert any("reserved for shop/HTTP_PORT" in warning for warning in success(warned).warnings)
    (refused,) = bench.run(domain("ours.example", port=9001), check=False)
    assert "check_port: false" in failure(refused)


def test_exclusive_spares_an_app_with_an_item_that_could_not_be_parsed(bench: Bench) -> None:
    bench.registered(DomainRecord("old.example", "blog", "old.example"))
    (outcome,) = bench.run(domain("ours.example"), exclusive=True, listed={"blog": 2})
    assert not any("not listed" in diff.header for diff in success(outcome).diffs)
    (outcome,) = bench.run(domain("ours.example"), exclusive=True)
    dropped = [diff for diff in success(outcome).diffs if "not listed" in diff.header]
    assert [diff.before for diff in dropped] == ["old.example\n"]


def test_the_same_domain_twice_in_one_task(bench: Bench) -> None:
    bench.registered()
    outcomes = bench.run(
        domain("ours.example"), domain("ours.example"), domain("cdn.example", aliases=("ours.example",))
    )
    assert success(outcomes[0]).changed
    assert "listed twice" in failure(outcomes[1])
    assert "belongs to the app blog" in failure(outcomes[2])


def test_nothing_but_failures_changes_nothing_that_is_shared(bench: Bench, tame: tuple[Domains, TameNginx]) -> None:
    resource, nginx = tame
    applied(resource, resource.plan([domain("ours.example")]))
    (bench.root / "registry.db").unlink()
    (plan,) = resource.plan([domain("ours.example", "nobody")])
    assert isinstance(plan, Failure)
    assert "its port is not known" in str(plan.error)
    assert nginx.reloads == 1


def test_foreign_links_are_refused(bench: Bench) -> None:
    bench.registered()
    for name in ("sites-available", "sites-enabled"):
        (bench.root / "nginx" / name).mkdir(parents=True)
    link = bench.root / "nginx/sites-enabled/blog"
    link.symlink_to("/srv/blog.conf")
    assert "a symbolic link to /srv/blog.conf" in failure(bench.run(domain("ours.example"))[0])
    link.unlink()
    link.symlink_to("../sites-available/blog")
    assert success(bench.run(domain("ours.example"))[0]).changed


class TameNginx(Nginx):
    """Real files, and a program that is always pleased, unless it is told not to be."""

    refuses = ""
    deaf = ""
    silent = ""
    reloads = 0

    def installed(self) -> bool:
        return True

    def running(self) -> bool:
        return True

    def problem(self) -> str:
        return ""

    def problem_after(self, changes: Sequence[FileChange]) -> str:
        return self.refuses

    def reload(self) -> None:
        self.reloads += 1
        if self.deaf and os.path.exists(self._layout.enabled("blog")):
            raise HostError("reload nginx", self.deaf)

    def version(self) -> NginxVersion:
        return NginxVersion(1, 22, 1)

    def worker_user(self) -> str:
        return ""

    def answer(self, host: str, path: str, tls: TlsFiles | None = None) -> str:
        return ""

    def unproven(self, expectations: Sequence[Expectation], **_more: object) -> str:
        assert expectations
        return self.silent


@pytest.fixture
def tame(bench: Bench) -> tuple[Domains, TameNginx]:
    for name in ("conf.d", "sites-available", "sites-enabled"):
        (bench.root / "nginx" / name).mkdir(parents=True)
    (bench.root / "logs").mkdir()
    include = f"include {bench.layout.configuration}/{{}};"
    (bench.root / "nginx/nginx.conf").write_text(include.format("conf.d/*.conf") + include.format("sites-enabled/*"))
    host = Host(NoPrograms(), Settings(), False, lambda _secret: None)
    nginx = TameNginx(NoPrograms(), bench.layout)
    resource = Domains(
        host, listed={"blog": 2}, exclusive=False, layout=bench.layout, registry_path=bench.path, nginx=nginx
    )
    bench.registered()
    return resource, nginx


def applied(resource: Domains, plans: Sequence[DomainPlan | Failure]) -> Sequence[Outcome]:
    return resource.apply([plan for plan in plans if not isinstance(plan, Failure)], {})


def files_of(bench: Bench) -> list[str]:
    return sorted(path.name for path in bench.root.rglob("*") if path.is_file() or path.is_symlink())


def rows(bench: Bench) -> tuple[tuple[str, ...], tuple[str, ...]]:
    with open_registry(Settings(), read_only=True, path=bench.path) as registry:
        return tuple(row.name for row in registry.domains()), tuple(registry.vhosts())


def test_files_rows_and_the_proof_are_written_together(bench: Bench, tame: tuple[Domains, TameNginx]) -> None:
    resource, nginx = tame
    outcomes = applied(resource, resource.plan([domain("ours.example"), Wanted("private_url", "blog")]))
    assert all(success(outcome).changed for outcome in outcomes)
    assert nginx.reloads == 1
    assert rows(bench) == (("ours.example",), ("blog", "serverkit"))
    assert (bench.root / "nginx/sites-enabled/blog").is_symlink()
    assert not any(plan.changed for plan in resource.plan([domain("ours.example")]) if isinstance(plan, DomainPlan))


def test_what_a_killed_run_has_left_goes_although_its_file_stays(bench: Bench, tame: tuple[Domains, TameNginx]) -> None:
    """The run was killed after all was done, and before the old files were given up."""
    resource, _nginx = tame
    applied(resource, resource.plan([domain("ours.example")]))
    left = bench.root / "nginx/sites-available/.serverkit.serverkit-aside"
    left.touch()
    applied(resource, resource.plan([domain("cdn.example")]))
    assert not left.exists()


@pytest.mark.parametrize("trouble", ["refuses", "deaf", "silent"])
def test_all_is_taken_back(bench: Bench, tame: tuple[Domains, TameNginx], trouble: str) -> None:
    resource, nginx = tame
    before = files_of(bench)
    setattr(nginx, trouble, "of a reason")
    (outcome,) = applied(resource, resource.plan([domain("ours.example")]))
    assert "of a reason" in failure(outcome)
    assert isinstance(outcome, Failure)
    assert outcome.not_rolled_back == ()
    assert not outcome.changed
    assert nginx.reloads == (0 if trouble == "refuses" else 2)
    assert files_of(bench) == before
    assert rows(bench) == ((), ())


def test_what_cannot_be_taken_back_is_told(bench: Bench, tame: tuple[Domains, TameNginx]) -> None:
    resource, nginx = tame
    nginx.silent = "of a reason"
    calls: list[int] = []

    def reload() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise HostError("reload nginx", "it has gone")

    nginx.reload = reload  # type: ignore[method-assign]
    (outcome,) = applied(resource, resource.plan([domain("ours.example")]))
    assert isinstance(outcome, Failure)
    assert outcome.changed
    assert "it has gone" in outcome.not_rolled_back[0]


def test_a_name_that_another_host_takes_at_the_last_moment(bench: Bench, tame: tuple[Domains, TameNginx]) -> None:
    resource, nginx = tame
    plans = resource.plan([domain("ours.example"), domain("cdn.example")])
    with open_registry(Settings(), read_only=False, path=bench.path) as registry, registry.transaction():
        registry.replace_domains("shop", [DomainRecord("ours.example", "shop", "ours.example")])
    taken, rest = applied(resource, plans)
    assert "belongs to the app shop" in failure(taken)
    assert success(rest).changed
    assert rows(bench)[0] == ("cdn.example", "ours.example")
    assert nginx.reloads == 1
