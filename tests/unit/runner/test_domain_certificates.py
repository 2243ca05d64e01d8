# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a domain gets when its certificate comes, does not come, or cannot be used; with a tame nginx and authority."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import web
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx import Expectation, Nginx
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan, Order
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.domains import Domains
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    FileChange,
    Layout,
    NginxVersion,
    TlsFiles,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Success
from ansible_collections.serverkit.core.plugins.module_utils._values.records import AppRecord
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import SiteOptions, Timeouts
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import CertificateRequest, TlsRequest
from ansible_collections.serverkit.core.tests.unit.fakes import NoPrograms

REFUSED = HostError("order a certificate", "too many", "The next try is possible at 2026-01-01T00:00:00Z")


class Authority:
    """Stands for the certificates of a host: which there are, and what comes of an order."""

    def __init__(self) -> None:
        self.present: dict[str, TlsFiles] = {}
        self.answer: TlsFiles | ServerkitError | None = None
        self.blocked: ServerkitError | None = None
        self.ordered: list[tuple[str, ...]] = []
        self.retired: list[str] = []
        self.lock_descriptors: Sequence[int] = ()

    def plan(self, requests: Sequence[CertificateRequest]) -> list[CertificatePlan]:
        return [self._plan(request) for request in requests]

    def _plan(self, request: CertificateRequest) -> CertificatePlan:
        now = self.present.get(request.key)
        if now and set(now.names) == set(request.names):
            return CertificatePlan(request, now)
        if self.blocked:
            return CertificatePlan(request, now, blocked=self.blocked)
        return CertificatePlan(request, now, True, Order(request.names, "none yet", check=request.names))

    def prepare(self, plans: Sequence[CertificatePlan], undo: UndoStack) -> None:
        pass

    def order(
        self,
        plans: Sequence[CertificatePlan],
        unreachable: Mapping[str, ServerkitError],
        *,
        lock_descriptors: Sequence[int] = (),
    ) -> dict[str, TlsFiles | ServerkitError]:
        self.lock_descriptors = lock_descriptors
        came: dict[str, TlsFiles | ServerkitError] = {}
        for plan in plans:
            self.ordered.append(plan.request.names)
            key = plan.request.key
            came[key] = self.answer or TlsFiles(f"/{key}.pem", f"/{key}.key", plan.request.names, "1")
            if isinstance(came[key], TlsFiles):
                self.present[key] = came[key]  # type: ignore[assignment]
        return came

    def facts(self, plan: CertificatePlan) -> dict[str, Any]:
        return {"mode": plan.request.mode}

    def tidy(self, plans: Sequence[CertificatePlan]) -> None:
        pass

    def unused(self, app: str, requests: Sequence[CertificateRequest]) -> tuple[str, ...]:
        """Keys are `serverkit-<app>[.dns]` and `<app>/<what>`."""
        wanted = {request.key for request in requests}
        own = (key for key in self.present if key.removeprefix("serverkit-").split(".")[0].split("/")[0] == app)
        return tuple(key for key in own if key not in wanted)

    def retire(self, keys: Sequence[str]) -> None:
        self.retired += keys
        for key in keys:
            del self.present[key]


class TameNginx(Nginx):
    """Real files, and a program that is always pleased, until it sees a certificate that it is told to dislike."""

    dislikes = ""
    tests = 0
    reloads = 0

    def installed(self) -> bool:
        return True

    def running(self) -> bool:
        return True

    def version(self) -> NginxVersion:
        return NginxVersion(1, 22, 1)

    def problem(self) -> str:
        return ""

    def problem_after(self, changes: Sequence[FileChange]) -> str:
        self.tests += 1
        disliked = [change.path for change in changes if change.after and self.dislikes in change.after.text]
        return f"{disliked[0]}:7: cannot take it" if self.dislikes and disliked else ""

    def reload(self) -> None:
        self.reloads += 1

    def answer(self, host: str, path: str, tls: TlsFiles | None = None) -> str:
        return ""

    def shows(self, host: str, tls: TlsFiles) -> bool:
        return False

    def unproven(self, expectations: Sequence[Expectation], **_more: object) -> str:
        return ""


class Bench:
    def __init__(self, root: pathlib.Path) -> None:
        names = ("nginx", "logs", "run")
        self.layout = Layout(*(str(root / name) for name in names), 8080, 8443, str(root / "webroot"))
        for name in ("conf.d", "sites-available", "sites-enabled"):
            (root / "nginx" / name).mkdir(parents=True)
        (root / "logs").mkdir()
        include = f"include {self.layout.configuration}/{{}};"
        pathlib.Path(self.layout.main).write_text(include.format("conf.d/*.conf") + include.format("sites-enabled/*"))
        self.path = str(root / "registry.db")
        self.authority = Authority()
        self.nginx = TameNginx(NoPrograms(), self.layout)
        with open_registry(Settings(), read_only=False, path=self.path) as registry, registry.transaction():
            for app in ("blog", "shop"):
                registry.put_app(AppRecord(app, "t", "1", "started", "h", main_port=8001))

    def run(self, *items: Wanted, check: bool = False, below: PrivateDomain | None = None) -> list[Outcome]:
        host = Host(NoPrograms(), Settings(), check, lambda _secret: None)
        resource = Domains(
            host,
            listed={"blog": len(items)},
            exclusive=False,
            private_domain=below,
            layout=self.layout,
            registry_path=self.path,
            nginx=TameNginx(NoPrograms(), self.layout),
        )
        resource._task = replace(resource._task, certificates=self.authority, nginx=self.nginx)  # type: ignore[arg-type]
        self.nginx._configuration = None
        return converge(resource, items, check=check)

    def private_site(self, app: str = "blog") -> str:
        return pathlib.Path(self.layout.private_site(app)).read_text()

    @property
    def text(self) -> str:
        return pathlib.Path(self.layout.available("blog")).read_text()


@pytest.fixture
def bench(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(web, "problem_with_tcp", lambda _address, _port: "")
    return Bench(tmp_path)


def domain(*names: str, mode: str = "letsencrypt") -> Wanted:
    tls = TlsRequest(mode)  # type: ignore[arg-type]
    return Wanted("domain", "blog", domain=names[0], aliases=names[1:], tls=tls, dns_check="off")


def success(outcome: Outcome) -> Success:
    assert isinstance(outcome, Success), outcome
    return outcome


def failure(outcome: Outcome) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


def test_a_certificate_that_comes_is_served_after_a_second_reload(bench: Bench) -> None:
    (outcome,) = bench.run(domain("a.example", "b.example"))
    assert success(outcome).facts["url"] == "https://a.example/"
    assert "ssl_certificate /serverkit-blog.pem;" in bench.text
    assert bench.nginx.reloads == 2
    (again,) = bench.run(domain("a.example", "b.example"))
    assert not success(again).changed
    assert bench.nginx.reloads == 2
    assert len(bench.authority.ordered) == 1
    assert len(bench.authority.lock_descriptors) == 1, "certbot keeps the lock of a killed run"


def test_a_certificate_that_does_not_come_leaves_http(bench: Bench) -> None:
    bench.authority.answer = REFUSED
    plain = Wanted("domain", "blog", domain="plain.example", dns_check="off")
    first, other = bench.run(domain("a.example"), plain)
    assert failure(first).changed
    assert "no certificate for a.example, so HTTP goes on being served" in str(failure(first).error)
    assert "The next try is possible at 2026" in str(failure(first).error)
    assert success(other).changed
    assert "ssl_certificate" not in bench.text
    assert "server_name a.example;" in bench.text
    (again,) = bench.run(domain("a.example"))
    assert not failure(again).changed
    assert bench.nginx.reloads == 1


def test_a_certificate_that_cannot_be_had_now_is_told_each_time(bench: Bench) -> None:
    bench.authority.blocked = REFUSED
    assert failure(bench.run(domain("a.example"))[0]).changed
    (again,) = bench.run(domain("a.example"))
    assert not failure(again).changed
    assert bench.authority.ordered == []
    (checked,) = bench.run(domain("a.example"), check=True)
    assert "The next try is possible" in success(checked).warnings[0]


def test_names_that_have_a_certificate_keep_it_when_the_next_does_not_come(bench: Bench) -> None:
    bench.run(domain("a.example", "b.example"))
    bench.authority.answer = REFUSED
    (outcome,) = bench.run(domain("a.example", "b.example", "c.example"))
    assert "no certificate for c.example" in str(failure(outcome).error)
    assert "ssl_certificate /serverkit-blog.pem;" in bench.text
    (fewer,) = bench.run(domain("a.example"))
    assert "the certificate stays as it is: Could not order" in success(fewer).warnings[0]


def test_a_certificate_that_nginx_cannot_use_is_not_used(bench: Bench) -> None:
    bench.nginx.dislikes = "ssl_certificate"
    (outcome,) = bench.run(domain("a.example"))
    assert "sites-available/blog:7: cannot take it" in str(failure(outcome).error)
    assert "ssl_certificate" not in bench.text
    bench.nginx.dislikes = ""
    (mended,) = bench.run(domain("a.example"))
    assert success(mended).changed
    assert len(bench.authority.ordered) == 1, "the certificate is there already"


def test_what_the_user_has_done_wrong_changes_nothing(bench: Bench) -> None:
    bench.authority.blocked = InputError("use the certificate", "the key is another one's")
    plain = Wanted("domain", "blog", domain="plain.example", dns_check="off")
    wrong, other = bench.run(domain("a.example", mode="provided"), plain)
    assert "the key is another one's" in str(failure(wrong).error)
    assert not failure(wrong).changed
    assert success(other).changed
    assert "a.example" not in bench.text


def test_a_certificate_that_is_not_needed_any_more_goes(bench: Bench) -> None:
    bench.run(domain("a.example"))
    (outcome,) = bench.run(domain("a.example", mode="none"))
    assert any(diff.header == "certificate serverkit-blog" for diff in success(outcome).diffs)
    assert bench.authority.retired == ["serverkit-blog"]
    assert success(outcome).facts["url"] == "http://a.example/"


def test_check_mode_orders_nothing_and_shows_what_would_be_served(bench: Bench) -> None:
    (outcome,) = bench.run(domain("a.example"), check=True)
    shown = "".join(diff.after for diff in success(outcome).diffs)
    assert "/etc/letsencrypt/live/serverkit-blog/fullchain.pem" in shown
    assert bench.authority.ordered == []
    assert not pathlib.Path(bench.layout.available("blog")).exists()


APPS = PrivateDomain("apps.example", TlsRequest("letsencrypt", "dns-01"))
PREVIEW = Wanted("private_url", "blog", slug="preview")
PLAIN = Wanted("domain", "blog", domain="plain.example", dns_check="off")
WILDCARD = "serverkit-serverkit.dns"


def test_a_task_about_something_else_leaves_a_private_url_below_its_domain(bench: Bench) -> None:
    (made,) = bench.run(PREVIEW, below=APPS)
    assert success(made).facts["url"] == "https://preview.apps.example/"
    text = bench.private_site()
    assert f"ssl_certificate /{WILDCARD}.pem;" in text
    assert success(bench.run(PLAIN)[0]).changed
    assert bench.private_site() == text
    assert "server_name *.apps.example;" in pathlib.Path(bench.layout.available("serverkit")).read_text()
    (same,) = bench.run(PREVIEW)
    assert not success(same).changed
    assert success(same).facts["url"] == "https://preview.apps.example/"
    assert bench.authority.ordered == [("*.apps.example",)]
    assert bench.authority.retired == []


def test_the_wildcard_certificate_goes_with_the_last_private_url(bench: Bench) -> None:
    shop = Wanted("private_url", "shop", slug="till")
    bench.run(PREVIEW, shop, below=APPS)
    bench.run(replace(PREVIEW, present=False), below=APPS)
    assert bench.authority.retired == []
    (back,) = bench.run(shop, below=PrivateDomain("", TlsRequest()))
    assert any(diff.header == f"certificate {WILDCARD}" for diff in success(back).diffs)
    assert success(back).facts["path"] == "/p/till/"
    assert bench.authority.retired == [WILDCARD]
    assert "apps.example" not in pathlib.Path(bench.layout.available("serverkit")).read_text()
    assert not success(bench.run(shop)[0]).changed


def test_files_of_other_apps_follow_the_certificate_that_they_share(bench: Bench) -> None:
    bench.run(Wanted("private_url", "shop", slug="till"), below=APPS)
    own = PrivateDomain(APPS.name, TlsRequest("internal"))
    (outcome,) = bench.run(PREVIEW, below=own)
    shown = {diff.header: diff.after for diff in success(outcome).diffs}
    assert shown["registry: private URL of shop"] == "till.apps.example/ tls=internal\n"
    for app in ("blog", "shop"):
        assert "ssl_certificate /serverkit/internal.pem;" in bench.private_site(app)
    assert bench.authority.retired == [WILDCARD]


def test_the_shared_certificate_stays_while_a_file_that_shows_it_cannot_be_written(bench: Bench) -> None:
    bench.run(Wanted("private_url", "shop", slug="till"), below=APPS)
    with open_registry(Settings(), read_only=False, path=bench.path) as registry, registry.transaction():
        registry.put_app(AppRecord("shop", "t", "1", "absent", "h", main_port=None))
    bench.run(PREVIEW, below=PrivateDomain(APPS.name, TlsRequest("internal")))
    assert f"ssl_certificate /{WILDCARD}.pem;" in bench.private_site("shop")
    assert bench.authority.retired == []


def test_only_who_asks_for_a_private_url_orders_its_certificate(bench: Bench) -> None:
    bench.authority.answer = REFUSED
    assert "no certificate for *.apps.example" in str(failure(bench.run(PREVIEW, below=APPS)[0]).error)
    assert "listen 8080;" in bench.private_site()
    assert success(bench.run(PLAIN)[0]).changed
    assert not success(bench.run(PLAIN)[0]).changed
    assert len(bench.authority.ordered) == 1
    bench.authority.answer = None
    assert success(bench.run(PREVIEW)[0]).changed
    assert f"ssl_certificate /{WILDCARD}.pem;" in bench.private_site()


def test_what_nginx_refuses_of_some_apps_stops_no_other(bench: Bench) -> None:
    bench.run(Wanted("domain", "shop", domain="old.example", dns_check="off"))
    odd = SiteOptions(timeouts=Timeouts(read=77))
    shop = Wanted("domain", "shop", domain="shop.example", site=odd, dns_check="off")
    fine = Wanted("domain", "shop", domain="fine.example", dns_check="off")
    bench.nginx.dislikes, bench.nginx.tests, bench.nginx.reloads = "_timeout 77s", 0, 0
    refused, same_app, other = bench.run(shop, fine, PLAIN)
    for outcome in (refused, same_app):
        assert "Could not serve the names of the app shop" in str(failure(outcome).error)
        assert f"{bench.layout.available('shop')}:7: cannot take it" in str(failure(outcome).error)
        assert not failure(outcome).changed
    assert success(other).changed
    assert (bench.nginx.tests, bench.nginx.reloads) == (2, 1)
    text = pathlib.Path(bench.layout.available("shop")).read_text()
    assert "old.example" in text
    assert "shop.example" not in text
    with open_registry(Settings(), read_only=True, path=bench.path) as registry:
        assert {row.name for row in registry.domains()} == {"old.example", "plain.example"}
    both = [replace(shop, domain="a.example"), replace(shop, app="blog", domain="b.example")]
    assert all("cannot take it" in str(failure(outcome).error) for outcome in bench.run(*both))
    assert bench.nginx.reloads == 1
    bench.nginx.dislikes = ""
    assert all(success(outcome).changed for outcome in bench.run(shop, fine))
