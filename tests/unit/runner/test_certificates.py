# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates that are provided or internal, and what keeps one from being ordered."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import acme as acme_gateway
from ansible_collections.serverkit.core.plugins.module_utils._gateways import certificates as x509
from ansible_collections.serverkit.core.plugins.module_utils._gateways import dns
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan, requests_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.certificates import Certificates
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.records import CertificateOrder
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import AcmeSettings, TlsRequest
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

NOW = datetime.now(timezone.utc).replace(microsecond=0)
ROOT = x509.make_root("somewhere else", NOW)
INTERNAL = TlsRequest("internal")
ACME = TlsRequest("letsencrypt")


def provided(*names: str, now: datetime = NOW) -> TlsRequest:
    return TlsRequest("provided", "http-01", *x509.make_leaf(*ROOT, names, now))


class Server:
    """Certificates of an app on a host whose certbot says what a test has prepared."""

    def __init__(self, place: pathlib.Path) -> None:
        self.place = place
        self.layout = Layout(
            ssl=str(place / "ssl"), letsencrypt=str(place / "letsencrypt"), webroot=str(place / "webroot")
        )
        self.commands = FakeCommands()
        self.hidden: list[str] = []
        self.later = timedelta()
        self.acme: AcmeSettings | None = AcmeSettings(directory="https://ca/dir", staging_directory="")

    def certificates(self, *, check: bool = False) -> Certificates:
        return Certificates(
            Host(self.commands, Settings(), check, self.hidden.append),
            self.layout,
            self.acme,
            registry=lambda read_only: open_registry(
                Settings(), read_only=read_only, path=str(self.place / "registry.db")
            ),
            clock=lambda: NOW + self.later,
        )

    def plan(self, *items: tuple[Sequence[str], TlsRequest], check: bool = False) -> list[CertificatePlan]:
        return self.certificates(check=check).plan(requests_of("blog", items))

    def run(self, *items: tuple[Sequence[str], TlsRequest]) -> tuple[list[CertificatePlan], UndoStack]:
        plans, undo = self.plan(*items), UndoStack()
        self.certificates().prepare(plans, undo)
        self.certificates().tidy(plans)
        return plans, undo

    def order(
        self, *names: str, unreachable: Mapping[str, ServerkitError] | None = None
    ) -> TlsFiles | ServerkitError | None:
        plans = self.plan((names, ACME))
        return self.certificates().order(plans, unreachable or {}).get("serverkit-blog")

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file())


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(acme_gateway, "caa_identities", lambda _directory, _bundle: ())
    return Server(tmp_path)


def test_a_provided_one_is_written_once(server: Server) -> None:
    tls = provided("a.com", "b.com")
    plan = server.plan((["a.com", "b.com"], tls))[0]
    assert plan.changed
    assert plan.now == TlsFiles(
        f"{server.place}/ssl/blog/a.com/1/fullchain.pem",
        f"{server.place}/ssl/blog/a.com/1/privkey.pem",
        ("a.com", "b.com"),
        "1",
    )
    assert plan.facts["days_left"] == x509.LEAF_LIFETIME.days
    assert "  - a.com\n" in plan.diffs[0].after
    assert server.files() == []
    server.run((["a.com", "b.com"], tls))
    assert pathlib.Path(plan.now.key).read_text() == tls.private_key
    (again,), _undo = server.run((["a.com", "b.com"], tls))
    assert (again.changed, again.now, again.diffs) == (False, plan.now, ())
    assert tls.private_key in server.hidden


def test_text_that_was_copied_by_hand_is_the_same(server: Server) -> None:
    tls = provided("a.com")
    server.run((["a.com"], tls))
    copied = TlsRequest(
        "provided", "http-01", "\r\n".join(tls.certificate.splitlines()) + "\r\n\r\n", f"\n{tls.private_key.rstrip()}"
    )
    assert not server.plan((["a.com"], copied))[0].changed


def test_a_newer_one_is_another_version_and_can_be_taken_back(server: Server) -> None:
    first = server.run((["a.com"], provided("a.com")))[0][0].now
    newer = provided("a.com")
    plans, undo = server.plan((["a.com"], newer)), UndoStack()
    assert plans[0].now is not None
    assert plans[0].now.revision == "2"
    assert "sha256: " in plans[0].diffs[0].after
    certificates = server.certificates()
    certificates.prepare(plans, undo)
    undo.unwind()
    assert server.plan((["a.com"], TlsRequest("provided")))[0].now == first
    server.run((["a.com"], newer))
    assert [name for name in server.files() if "ssl/" in name] == [
        "ssl/blog/a.com/2/fullchain.pem",
        "ssl/blog/a.com/2/privkey.pem",
    ]


def test_a_provided_one_that_is_no_good_leaves_what_is_there(server: Server) -> None:
    first = server.run((["a.com"], provided("a.com")))[0][0].now
    before = server.files()
    (plan,), _undo = server.run((["a.com", "c.com"], provided("a.com")))
    assert "not for c.com" in str(plan.blocked)
    assert (plan.now, plan.changed) == (first, False)
    assert server.files() == before


def test_the_registry_knows_of_one_that_is_not_there_any_more(server: Server) -> None:
    (plan,) = server.plan((["a.com"], TlsRequest("provided")))
    assert "not on this host any more" in str(plan.blocked)
    server.run((["a.com"], provided("a.com")))
    assert server.plan((["a.com"], TlsRequest("provided")))[0].blocked is None
    server.later = timedelta(days=900)
    (plan,) = server.plan((["a.com"], TlsRequest("provided")))
    assert "it has expired" in str(plan.blocked)
    assert plan.now is None


def test_an_internal_one_for_all_names(server: Server) -> None:
    (plan,) = server.plan((["a.lan"], INTERNAL), (["b.lan", "*.b.lan"], INTERNAL))
    assert plan.now is not None
    server.run((["a.lan"], INTERNAL), (["b.lan", "*.b.lan"], INTERNAL))
    (again,) = server.plan((["a.lan"], INTERNAL), (["b.lan", "*.b.lan"], INTERNAL))
    assert (again.changed, again.now) == (False, plan.now)
    assert again.facts["names"] == ["*.b.lan", "a.lan", "b.lan"]
    assert pathlib.Path(again.facts["ca"]).read_text().startswith("-----BEGIN CERTIFICATE")
    (more,) = server.plan((["a.lan"], INTERNAL))
    assert more.now is not None
    assert more.now.revision == "2"


def test_an_internal_one_is_renewed_long_before_its_end(server: Server) -> None:
    server.run((["a.lan"], INTERNAL))
    server.later = x509.LEAF_LIFETIME * 0.6
    assert not server.plan((["a.lan"], INTERNAL))[0].changed
    server.later = x509.LEAF_LIFETIME * 0.7
    assert server.plan((["a.lan"], INTERNAL))[0].changed


def test_without_its_authority_an_internal_one_is_made_anew(server: Server) -> None:
    server.run((["a.lan"], INTERNAL))
    (server.place / "ssl/serverkit/internal-ca.key").write_text("damaged")
    (plan,), _undo = server.run((["a.lan"], INTERNAL))
    assert plan.changed
    assert not server.plan((["a.lan"], INTERNAL))[0].changed


def test_check_mode_writes_nothing(server: Server) -> None:
    server.plan((["a.lan"], INTERNAL), (["b.com"], provided("b.com")), (["c.com"], ACME), check=True)
    assert server.files() == []
    assert server.commands.calls == []


def test_a_host_without_the_library(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x509, "available", lambda: False)
    with pytest.raises(HostError, match="python3-cryptography"):
        server.plan((["a.lan"], INTERNAL))
    (plan,) = server.plan((["a.lan"], INTERNAL), check=True)
    assert "not installed yet" in plan.warnings[0]
    assert server.plan() == []


def test_a_host_without_certbot(server: Server) -> None:
    server.commands.missing.add("certbot")
    (plan,) = server.plan((["a.com"], ACME))
    assert "certbot is not installed" in str(plan.blocked)
    assert (plan.order, plan.changed) == (None, False)
    (plan,) = server.plan((["a.com"], ACME), check=True)
    assert (plan.order is not None, plan.warnings) == (True, ("certbot is not installed yet",))


def test_what_an_app_does_not_use_any_more(server: Server) -> None:
    server.run((["a.com"], provided("a.com")), (["b.lan"], INTERNAL))
    certificates = server.certificates()
    requests = requests_of("blog", [(["b.lan"], INTERNAL)])
    assert certificates.unused("blog", requests) == ("blog/a.com",)
    assert certificates.unused("other", ()) == ()
    certificates.retire(certificates.unused("blog", ()))
    assert server.files() == ["ssl/serverkit/internal-ca.key", "ssl/serverkit/internal-ca.pem"]


def test_an_order_that_fails_is_remembered_and_tells_when_the_next_is_possible(server: Server) -> None:
    server.commands = FakeCommands(answer=lambda _argv: Completed(1, "", "The plugin is unhappy"))
    for attempt in range(3):
        result = server.order("a.com")
        assert isinstance(result, HostError)
        assert ("The next try is possible at" in result.remedy) is (attempt == 2)
    (plan,) = server.plan((["a.com"], ACME))
    assert "the last 3 orders failed, the latest with: The plugin is unhappy" in str(plan.blocked)
    assert plan.order is None


def test_no_order_is_made_against_the_caa_record(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme_gateway, "caa_identities", lambda _directory, _bundle: ("ca.test",))
    monkeypatch.setattr(dns, "caa_problems", lambda names, _identities: {names[0]: "it allows nobody"})
    result = server.order("a.com")
    assert "a.com: it allows nobody" in str(result)
    assert server.commands.calls == []


def test_what_was_ordered_by_another_host_counts_too(server: Server) -> None:
    server.acme = AcmeSettings()
    at = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    with open_registry(Settings(), read_only=False, path=str(server.place / "registry.db")) as registry:
        with registry.transaction():
            for _number in range(5):
                registry.add_certificate_order(
                    CertificateOrder("serverkit-blog", ("a.com",), server.acme.directory, at, "issued")
                )
    (plan,) = server.plan((["a.com"], ACME))
    assert "5 certificates for the very same names in a week" in str(plan.blocked)


def test_certbot_that_says_yes_and_has_nothing(server: Server) -> None:
    result = server.order("a.com")
    assert isinstance(result, HostError)
    assert "certbot" in str(result)


def test_one_order_that_fails_stops_no_other(server: Server) -> None:
    def answer(argv: Sequence[str]) -> Completed:
        return Completed(1, "", "unhappy" if "serverkit-blog" in argv else "unhappy too")

    server.commands = FakeCommands(answer=answer)
    server.acme = AcmeSettings(directory="https://ca/dir", staging_directory="", dns_plugin="x")
    plans = server.plan((["a.com"], ACME), (["*.b.com"], TlsRequest("letsencrypt", "dns-01")))
    results = server.certificates().order(plans, {})
    assert {key: "unhappy" in str(error) for key, error in results.items()} == {
        "serverkit-blog": True,
        "serverkit-blog.dns": True,
    }
