# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates from a real ACME authority by a real certbot: Pebble, over HTTP and, with bind9, over DNS."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import pathlib
import random
import re
import string
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import acme_authority
import pytest
from acme_authority import Authority
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import acme, dns
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings
from ansible_collections.serverkit.core.plugins.module_utils._plan import certificates as plans
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import CertificatePlan
from ansible_collections.serverkit.core.plugins.module_utils._plan.dns_credentials import credentials_text
from ansible_collections.serverkit.core.plugins.module_utils._runner.certificates import Certificates
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.undo import UndoStack
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import TlsRequest, parse_acme
from programs import Programs

pytestmark = pytest.mark.real

LETSENCRYPT = TlsRequest("letsencrypt")
DNS = TlsRequest("letsencrypt", "dns-01")


class Server:
    """A host without nginx: a directory served over HTTP, certbot's files, a registry and a clock that can be set."""

    def __init__(self, place: pathlib.Path, acme: Mapping[str, Any]) -> None:
        self.place = place
        self.layout = Layout(
            webroot=str(place / "webroot"),
            ssl=str(place / "ssl"),
            letsencrypt=str(place / "letsencrypt"),
            runtime=str(place / "run"),
        )
        self.acme = dict(acme)
        self.programs = Programs()
        self.later = timedelta()
        self.secrets: list[str] = []
        (place / "webroot").mkdir()

    def certificates(self, *, unsaid: bool = False, **acme: Any) -> Certificates:
        return Certificates(
            Host(self.programs, Settings(), check=False, hide=self.secrets.append),
            self.layout,
            None if unsaid else parse_acme({**self.acme, **acme}),
            registry=lambda read_only: open_registry(
                Settings(), read_only=read_only, path=str(self.place / "registry.db")
            ),
            clock=lambda: datetime.now(timezone.utc) + self.later,
        )

    def run(
        self,
        *names: str,
        tls: TlsRequest = LETSENCRYPT,
        unreachable: Mapping[str, ServerkitError] | None = None,
        dry: bool = False,
        **acme: Any,
    ) -> tuple[CertificatePlan, TlsFiles | ServerkitError | None]:
        """Do what serverkit_domain does for one app, and return what was planned and what came of it.

        :param dry: whether to plan only.
        """
        certificates = self.certificates(**acme)
        (plan,) = certificates.plan(plans.requests_of("blog", [(names, tls)]))
        if dry:
            return plan, None
        undo = UndoStack()
        certificates.prepare([plan], undo)
        results = certificates.order([plan], unreachable or {})
        certificates.tidy([plan])
        return plan, results.get(plan.request.key)

    def remember_the_last_order_again(self, times: int) -> None:
        with open_registry(Settings(), read_only=False, path=str(self.place / "registry.db")) as registry:
            last = registry.certificate_orders()[-1]
            with registry.transaction():
                for _time in range(times):
                    registry.add_certificate_order(last)

    def orders(self) -> list[tuple[str, tuple[str, ...]]]:
        with open_registry(Settings(), read_only=True, path=str(self.place / "registry.db")) as registry:
            return [(order.outcome, order.names) for order in registry.certificate_orders()]


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with acme_authority.running() as started:
        yield started


@pytest.fixture(scope="module")
def zoned() -> Iterator[Authority]:
    with acme_authority.running(zone=True) as started:
        yield started


@contextlib.contextmanager
def served(directory: str, port: int) -> Iterator[None]:
    """Serve a directory over HTTP, as nginx does the webroot."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=directory)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


@pytest.fixture
def server(authority: Authority, tmp_path: pathlib.Path) -> Iterator[Server]:
    acme = {"directory": authority.directory, "ca_bundle": authority.ca_bundle, "email": "admin@example.com"}
    made = Server(tmp_path, acme)
    with served(made.layout.webroot, authority.http_port):
        yield made


def _serial(path: str) -> str:
    done = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-serial"], check=True, capture_output=True)
    return done.stdout.decode().strip()


def _issued(result: TlsFiles | ServerkitError | None) -> TlsFiles:
    assert isinstance(result, TlsFiles), str(result)
    return result


def _refused(result: TlsFiles | ServerkitError | None) -> ServerkitError:
    assert isinstance(result, ServerkitError)
    return result


def test_a_domain_with_two_aliases_then_one_added_and_one_removed(authority: Authority, server: Server) -> None:
    plan, result = server.run("a.example.com", "b.example.com", "c.example.com")
    assert plan.now is None
    assert plan.changed
    files = _issued(result)
    assert files.names == ("a.example.com", "b.example.com", "c.example.com")
    assert pathlib.Path(files.key).stat().st_mode & 0o777 == 0o600
    key = subprocess.run(["openssl", "pkey", "-in", files.key, "-noout", "-text"], check=True, capture_output=True)
    assert b"prime256v1" in key.stdout
    roots = server.place / "roots.pem"
    roots.write_text(authority.roots())
    verify = ["openssl", "verify", "-CAfile", str(roots), "-untrusted", files.certificate, files.certificate]
    subprocess.run(verify, check=True, capture_output=True)

    calls = len(server.programs.calls)
    again, nothing = server.run("c.example.com", "a.example.com", "b.example.com")
    assert (again.changed, again.order, nothing) == (False, None, None)
    assert again.now == files
    assert len(server.programs.calls) == calls
    assert 85 <= again.facts["days_left"] <= 90

    changed, result = server.run("a.example.com", "b.example.com", "d.example.com")
    assert changed.order is not None
    assert changed.order.reason == "+d.example.com, -c.example.com"
    after = _issued(result)
    assert after.certificate == files.certificate
    assert after.names == ("a.example.com", "b.example.com", "d.example.com")
    assert after.revision != files.revision
    assert [outcome for outcome, _names in server.orders()] == ["issued", "issued"]

    _check_what_certbot_renews_later(authority, server, after)


def _check_what_certbot_renews_later(authority: Authority, server: Server, files: TlsFiles) -> None:
    before = _serial(files.certificate)
    argv = ["certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew", "--cert-name", "serverkit-blog"]
    argv += ["--config-dir", server.layout.letsencrypt, "--non-interactive"]
    argv += ["--work-dir", f"{server.layout.letsencrypt}/work", "--logs-dir", f"{server.layout.letsencrypt}/logs"]
    done = server.programs.run(argv, environment={"REQUESTS_CA_BUNDLE": authority.ca_bundle})
    assert done.ok, done.stdout + done.stderr
    assert _serial(files.certificate) != before
    plan, result = server.run(*files.names)
    assert plan.now is not None
    assert plan.now.revision != files.revision
    assert (plan.changed, result) == (False, None)


def test_a_failing_challenge_says_which_name_and_keeps_what_is_there(authority: Authority, server: Server) -> None:
    files = _issued(server.run("a.example.com")[1])
    before = _serial(files.certificate)
    authority.say("add-a", host="away.example.com.", addresses=["127.0.0.9"])
    plan, result = server.run("a.example.com", "away.example.com")
    error = _refused(result)
    assert "away.example.com: " in error.reason
    assert "connection" in error.reason
    assert "port 80 of away.example.com" in error.remedy
    assert "the certificate for a.example.com is served on" in error.remedy
    assert plan.now == files
    assert _serial(files.certificate) == before
    assert server.orders()[-1] == ("failed", ("a.example.com", "away.example.com"))

    # Tried again at once, and then made to wait, a little longer each time.
    assert server.run("a.example.com", "away.example.com", dry=True)[0].order
    server.remember_the_last_order_again(2)
    plan, result = server.run("a.example.com", "away.example.com")
    assert result is None
    assert isinstance(plan.blocked, HostError)
    assert "The next try is possible at 20" in plan.blocked.remedy
    assert plan.now == files
    assert not plan.changed
    server.later = timedelta(minutes=11)
    assert server.run("a.example.com", "away.example.com", dry=True)[0].blocked is None


def test_names_that_cannot_be_reached_are_left_out_and_none_is_lost(authority: Authority, server: Server) -> None:
    problem = HostError("reach c.example.com", "it leads elsewhere")
    files = _issued(server.run("a.example.com", "c.example.com", unreachable={"c.example.com": problem})[1])
    assert files.names == ("a.example.com",)
    orders = server.orders()
    # Nothing can be won by another order now.
    plan, result = server.run("a.example.com", "c.example.com", unreachable={"c.example.com": problem})
    assert result is problem
    assert plan.now == files
    # A name that has a certificate never loses it to one that is new.
    gone = HostError("reach a.example.com", "it leads elsewhere now")
    _plan, result = server.run("a.example.com", "c.example.com", unreachable={"a.example.com": gone})
    assert result is gone
    assert server.orders() == orders

    _check_an_authority_that_is_down(authority, server, files)


def _check_an_authority_that_is_down(authority: Authority, server: Server, files: TlsFiles) -> None:
    orders = server.orders()
    authority.stop()
    try:
        plan, result = server.run("a.example.com", "b.example.com")
        error = _refused(result)
        assert f"reach the certificate authority at {authority.directory}" in error.attempted
        assert "Connection refused" in error.reason
        assert plan.now == files
        unchanged, _result = server.run("a.example.com")
        assert (unchanged.changed, unchanged.now) == (False, files)
        assert server.orders() == orders
    finally:
        authority.start()


def test_a_rehearsal_that_fails_costs_nothing(authority: Authority, server: Server) -> None:
    authority.say("add-a", host="lost.example.com.", addresses=["127.0.0.9"])
    staging: dict[str, Any] = {"staging_directory": authority.directory}
    _plan, result = server.run("lost.example.com", **staging)
    assert _refused(result).reason.startswith("the rehearsal failed: lost.example.com: ")
    assert [outcome for outcome, _names in server.orders()] == ["rehearsal_failed"]
    assert not (server.place / "letsencrypt" / "live").exists()

    _issued(server.run("a.example.com", **staging)[1])
    assert [outcome for outcome, _names in server.orders()] == ["rehearsal_failed", "issued"]
    rehearsal = server.place / "letsencrypt" / "serverkit" / "rehearsal"
    assert (rehearsal / "accounts").is_dir()
    assert not list(rehearsal.glob("live/*"))
    assert len([call for call in server.programs.calls if "certonly" in call]) == 3


def test_a_lineage_of_somebody_else_is_left_alone(authority: Authority, server: Server) -> None:
    argv = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email"]
    argv += ["--server", authority.directory, "--config-dir", server.layout.letsencrypt]
    argv += ["--work-dir", f"{server.layout.letsencrypt}/work", "--logs-dir", f"{server.layout.letsencrypt}/logs"]
    argv += ["--webroot", "-w", server.layout.webroot, "--cert-name", "serverkit-blog", "-d", "mine.example.com"]
    done = server.programs.run(argv, environment={"REQUESTS_CA_BUNDLE": authority.ca_bundle})
    assert done.ok, done.stderr
    live = pathlib.Path(server.layout.letsencrypt, "live", "serverkit-blog", "fullchain.pem")
    before = _serial(str(live))

    plan, result = server.run("mine.example.com")
    assert result is None
    assert plan.now is None
    assert "did not order" in str(plan.blocked)
    certificates = server.certificates()
    assert certificates.unused("blog", ()) == ()
    certificates.retire(["serverkit-blog"])
    assert _serial(str(live)) == before


def test_lost_files_are_ordered_again_and_retired_when_no_name_is_left(server: Server) -> None:
    lost = _issued(server.run("a.example.com")[1])
    pathlib.Path(lost.key).resolve().unlink()
    plan, result = server.run("a.example.com")
    assert plan.now is None
    files = _issued(result)
    assert files == TlsFiles(lost.certificate, lost.key, lost.names, files.revision)
    certificates = server.certificates()
    assert certificates.unused("blog", plans.requests_of("blog", [(["a.example.com"], LETSENCRYPT)])) == ()
    assert certificates.unused("blog", ()) == ("serverkit-blog",)
    certificates.retire(certificates.unused("blog", ()))
    assert not pathlib.Path(files.certificate).exists()
    assert not list(pathlib.Path(server.layout.letsencrypt, "renewal").iterdir())
    assert certificates.unused("blog", ()) == ()


def test_what_a_killed_certbot_leaves_and_somebody_elses_settings_are_in_nobodys_way(
    server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = pathlib.Path(server.layout.letsencrypt, "serverkit", "lineages", "serverkit-blog")
    mark.parent.mkdir(parents=True)
    mark.touch()
    # certbot/_internal/storage.py, new_lineage: in this order.
    pathlib.Path(server.layout.letsencrypt, "renewal").mkdir()
    pathlib.Path(server.layout.letsencrypt, "renewal", "serverkit-blog.conf").touch()
    pathlib.Path(server.layout.letsencrypt, "archive", "serverkit-blog").mkdir(parents=True)
    home = tmp_path / "config" / "letsencrypt"
    home.mkdir(parents=True)
    witness = tmp_path / "witness"
    hooks = "".join(f"{kind}-hook = touch {witness}\n" for kind in ("pre", "post", "deploy"))
    (home / "cli.ini").write_text(f"{hooks}authenticator = standalone\nkey-type = rsa\ndomains = other.example.com\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    files = _issued(server.run("a.example.com")[1])
    assert files.certificate.endswith("/live/serverkit-blog/fullchain.pem")
    assert files.names == ("a.example.com",)
    assert not witness.exists()


def test_another_authority_issues_once(authority: Authority, server: Server) -> None:
    before = _issued(server.run("a.example.com")[1])
    with acme_authority.running() as other, served(server.layout.webroot, other.http_port):
        elsewhere: dict[str, Any] = {"directory": other.directory, "ca_bundle": other.ca_bundle}
        plan, result = server.run("a.example.com", **elsewhere)
        assert plan.now == before
        assert plan.order is not None
        assert plan.order.reason == f"it is from {authority.directory}"
        after = _issued(result)
        assert after.revision != before.revision
        assert not server.run("a.example.com", **elsewhere)[0].changed
        # A task that does not say which authority leaves it as it is.
        (plan,) = server.certificates(unsaid=True).plan(plans.requests_of("blog", [(("a.example.com",), LETSENCRYPT)]))
        assert (plan.changed, plan.now) == (False, after)


def test_external_account_binding(tmp_path: pathlib.Path) -> None:
    # 32 bytes: Pebble insists on keys as long as the digest.
    secret = base64.urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode().rstrip("=")
    with acme_authority.running(eab={"account-1": secret}) as authority:
        server = Server(tmp_path, {"directory": authority.directory, "ca_bundle": authority.ca_bundle})
        with served(server.layout.webroot, authority.http_port):
            refused = _refused(server.run("a.example.com")[1])
            # Or, in certbot 1, only that there is no account.
            assert re.search("external account binding|register an account", refused.reason)
            server.later = timedelta(hours=1)
            _issued(server.run("a.example.com", eab_kid="account-1", eab_hmac_key=secret)[1])
    assert not any(secret in call for call in server.programs.calls)
    assert secret in server.secrets
    assert not list(pathlib.Path(server.layout.letsencrypt, "serverkit").glob(".account-*"))


def test_a_wildcard_by_dns(zoned: Authority, tmp_path: pathlib.Path) -> None:
    server = Server(tmp_path, {"directory": zoned.directory, "ca_bundle": zoned.ca_bundle})
    zone = acme_authority.ZONE
    credentials = {
        "server": "127.0.0.1",
        "port": str(zoned.dns_port),
        "name": acme_authority.TSIG_NAME,
        "secret": zoned.tsig_secret,
        "algorithm": "HMAC-SHA512",
    }
    rfc2136: dict[str, Any] = {"dns_plugin": "rfc2136", "dns_credentials": credentials, "dns_propagation": 1}
    plan, result = server.run(zone, f"*.{zone}", tls=DNS, **rfc2136)
    assert plan.order is not None
    assert plan.order.check == ()
    files = _issued(result)
    assert files.names == (f"*.{zone}", zone)
    assert files.covers(f"any.{zone}")
    written = pathlib.Path(server.layout.letsencrypt, "serverkit", "dns-rfc2136.ini")
    assert written.stat().st_mode & 0o777 == 0o600
    assert not any(zoned.tsig_secret in call for call in server.programs.calls)
    assert server.run(zone, f"*.{zone}", tls=DNS, **rfc2136)[0].changed is False

    # New credentials reach the next renewal, which no run is there for.
    credentials["algorithm"] = "HMAC-SHA256"
    plan, result = server.run(zone, f"*.{zone}", tls=DNS, **rfc2136)
    assert plan.changed
    assert result is None
    assert all(zoned.tsig_secret not in diff.after for diff in plan.diffs)
    assert "HMAC-SHA256" in written.read_text()

    credentials["secret"] = base64.b64encode(b"wrong").decode()
    error = _refused(server.run(zone, tls=DNS, **rfc2136)[1])
    # The plugin of certbot 4 finds out earlier than that of certbot 5.
    assert re.fullmatch(r"Encountered error .*: The peer didn't know the key we used", error.reason)
    assert "the DNS plugin or hook changes the zone" in error.remedy
    assert server.run(zone, f"*.{zone}", tls=DNS, **rfc2136)[0].now == files


def test_a_wildcard_by_hooks_of_the_users_own(authority: Authority, tmp_path: pathlib.Path) -> None:
    server = Server(tmp_path, {"directory": authority.directory, "ca_bundle": authority.ca_bundle})
    hook = tmp_path / "set-txt"
    hook.write_text(
        "#!/usr/bin/python3\nimport json, os, urllib.request\n"
        "record = {'host': f'_acme-challenge.{os.environ[\"CERTBOT_DOMAIN\"]}.',"
        " 'value': os.environ['CERTBOT_VALIDATION']}\n"
        f"urllib.request.urlopen('{authority.dns_management}/set-txt', json.dumps(record).encode())\n"
    )
    hook.chmod(0o755)
    files = _issued(server.run("*.hooked.example.com", tls=DNS, auth_hook=str(hook))[1])
    assert files.names == ("*.hooked.example.com",)


def test_an_authority_that_has_enough_of_us(authority: Authority, tmp_path: pathlib.Path) -> None:
    answers: list[Callable[[], tuple[int, dict[str, str], dict[str, str]]]] = []
    with acme_authority.in_front_of(authority, answers) as directory:
        server = Server(tmp_path, {"directory": directory, "ca_bundle": authority.ca_bundle})
        with served(server.layout.webroot, authority.http_port):
            files = _issued(server.run("a.example.com")[1])
            detail = "too many certificates (5) already issued for this exact set of domains in the last 168h0m0s"
            problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": detail}
            answers.append(lambda: (429, {"Retry-After": "7200"}, problem))
            plan, result = server.run("a.example.com", "b.example.com")
            error = _refused(result)
            assert detail in error.reason
            assert plan.now == files
            until = (datetime.now(timezone.utc) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:")
            earlier = (datetime.now(timezone.utc) + timedelta(hours=2, minutes=-1)).strftime("%Y-%m-%dT%H:")
            assert f"possible at {until}" in error.remedy or f"possible at {earlier}" in error.remedy
            assert server.orders()[-1][0] == "rate_limited"

            plan, result = server.run("a.example.com", "b.example.com")
            assert result is None
            assert "the authority has answered" in str(plan.blocked)
            assert plan.now == files
            answers.clear()
            server.later = timedelta(hours=2, minutes=1)
            assert len(_issued(server.run("a.example.com", "b.example.com")[1]).names) == 2


def test_caa_records_are_read_before_an_order(zoned: Authority) -> None:
    with acme_authority.in_front_of(zoned, [], ["ca.example.net"]) as directory:
        assert acme.caa_identities(directory, zoned.ca_bundle) == ("ca.example.net",)
    nameserver = ("127.0.0.1", zoned.dns_port)
    forbidden = f"a.b.forbidden.{acme_authority.ZONE}"
    names = [forbidden, f"free.{acme_authority.ZONE}", acme_authority.ZONE]
    assert dns.caa_problems(names, ["ca.example.net"], nameserver=nameserver) == {}
    (problem,) = dns.caa_problems(names, ["letsencrypt.org"], nameserver=nameserver).items()
    assert problem == (
        forbidden,
        f"the CAA record of forbidden.{acme_authority.ZONE} allows ca.example.net, and not letsencrypt.org",
    )
    found = dns.addresses([acme_authority.ZONE, f"a.b.forbidden.{acme_authority.ZONE}"], nameserver=nameserver)
    assert found[acme_authority.ZONE].a == ("127.0.0.1",)
    assert found[forbidden].problem == "it has neither A nor AAAA records"


def test_credentials_are_read_as_they_were_given(tmp_path: pathlib.Path) -> None:
    """By ConfigObj, with which certbot reads them."""
    numbers = random.Random(3)
    characters = string.printable.strip() + " äß€#,;=[]%\"'\\$"
    taken: dict[str, str] = {}
    for number in range(2000):
        value = "".join(numbers.choice(characters) for _position in range(numbers.randint(1, 12)))
        with contextlib.suppress(InputError):
            parsed = parse_acme({"dns_plugin": "x", "dns_credentials": {f"v{number}": value}})
            taken |= {name: str(text) for name, text in parsed.dns_credentials.items()}
            assert parsed.dns_credentials[f"v{number}"] == value
    assert len(taken) > 1000
    (tmp_path / "credentials.ini").write_text(credentials_text("x", taken), encoding="utf-8")
    read = "import configobj, json, sys; print(json.dumps(dict(configobj.ConfigObj(sys.argv[1]))))"
    # As certbot calls it, which takes the encoding of the locale.
    argv = ["/usr/bin/python3", "-c", read, str(tmp_path / "credentials.ini")]
    environment = {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, check=True, capture_output=True, env=environment)
    assert json.loads(done.stdout) == {f"dns_x_{name}": value for name, value in taken.items()}
