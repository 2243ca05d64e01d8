# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How certbot is called, and what of its files is ours; a real one is driven in tests/integration."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from datetime import datetime, timezone

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certbot import Certbot
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import AcmeSettings
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

NOW = datetime(2026, 6, 15, tzinfo=timezone.utc)
KEY = "serverkit-blog"


@pytest.fixture
def layout(tmp_path: pathlib.Path) -> Layout:
    (tmp_path / "letsencrypt").mkdir()
    return Layout(letsencrypt=str(tmp_path / "letsencrypt"), webroot=str(tmp_path / "webroot"))


def option(argv: Sequence[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def renewal_file(layout: Layout, key: str, server: str = "https://ca/dir") -> None:
    renewal = pathlib.Path(layout.letsencrypt, "renewal")
    renewal.mkdir(exist_ok=True)
    (renewal / f"{key}.conf").write_text(f"[renewalparams]\nserver = {server}\nauthenticator = webroot\n")


def test_an_order_over_http(layout: Layout) -> None:
    commands = FakeCommands()
    certbot = Certbot(commands, layout, AcmeSettings(email="a@example.com"))
    assert certbot.order(KEY, ("a.com", "b.com"), "http-01", NOW) is None
    (argv,) = commands.argvs
    assert argv[:2] == ["certbot", "certonly"]
    assert option(argv, "--cert-name") == KEY
    assert option(argv, "--webroot-path") == layout.webroot
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--domain"] == ["a.com", "b.com"]
    assert option(argv, "--email") == "a@example.com"
    assert os.path.isdir(layout.webroot)
    assert certbot.keys_of("blog") == (KEY,)


def test_an_order_outlives_a_killed_run_with_its_lock(layout: Layout) -> None:
    commands = FakeCommands()
    Certbot(commands, layout, AcmeSettings(), pass_fds=(7,)).order(KEY, ("a.com",), "http-01", NOW)
    assert commands.calls[0].pass_fds == (7,)


def test_an_order_over_dns(layout: Layout) -> None:
    commands = FakeCommands()
    settings = AcmeSettings(dns_plugin="cloudflare", dns_credentials={"api_token": "t0ken"}, dns_propagation=30)
    certbot = Certbot(commands, layout, settings)
    assert certbot.stale_credentials()
    certbot.order(KEY, ("*.a.com",), "dns-01", NOW)
    (argv,) = commands.argvs
    assert option(argv, "--authenticator") == "dns-cloudflare"
    assert option(argv, "--dns-cloudflare-propagation-seconds") == "30"
    written = pathlib.Path(option(argv, "--dns-cloudflare-credentials"))
    assert written.read_text().endswith('dns_cloudflare_api_token = "t0ken"\n')
    assert written.stat().st_mode & 0o777 == 0o600
    assert written.parent.stat().st_mode & 0o777 == 0o700
    assert not any("t0ken" in word for word in argv)
    assert not certbot.stale_credentials()
    written.chmod(0o644)
    assert certbot.stale_credentials()


def test_route53_reads_what_the_environment_says(layout: Layout) -> None:
    commands = FakeCommands()
    settings = AcmeSettings(dns_plugin="route53", dns_credentials={"aws_access_key_id": "A"})
    Certbot(commands, layout, settings).order(KEY, ("*.a.com",), "dns-01", NOW)
    (call,) = commands.calls
    assert "--dns-route53-credentials" not in call.argv
    assert pathlib.Path(call.environment["AWS_CONFIG_FILE"]).read_text().endswith("aws_access_key_id = A\n")


def test_hooks_of_the_users_own(layout: Layout) -> None:
    commands = FakeCommands()
    settings = AcmeSettings(auth_hook="/usr/local/bin/set", cleanup_hook="/usr/local/bin/unset")
    Certbot(commands, layout, settings).order(KEY, ("*.a.com",), "dns-01", NOW)
    (argv,) = commands.argvs
    assert option(argv, "--manual-auth-hook") == "/usr/local/bin/set"
    assert option(argv, "--manual-cleanup-hook") == "/usr/local/bin/unset"
    assert option(argv, "--preferred-challenges") == "dns"


def test_the_key_of_an_external_account_is_in_no_argument(layout: Layout) -> None:
    seen: list[str] = []

    def certbot_reads(argv: Sequence[str]) -> Completed:
        path = pathlib.Path(option(argv, "--config"))
        assert path.stat().st_mode & 0o777 == 0o600
        seen.append(path.read_text())
        return Completed(1, "", "Something failed")

    commands = FakeCommands(answer=certbot_reads)
    settings = AcmeSettings(eab_kid="kid-1", eab_hmac_key="c2VjcmV0")
    failure = Certbot(commands, layout, settings).order(KEY, ("a.com",), "http-01", NOW)
    assert failure is not None
    assert failure.reason == "Something failed"
    assert seen == ["eab-kid = kid-1\neab-hmac-key = c2VjcmV0\n"]
    assert not any("c2VjcmV0" in word for word in commands.argvs[0])
    assert not os.path.exists(option(commands.argvs[0], "--config"))


def test_what_is_trusted_beside_the_systems(layout: Layout, tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.pem").write_text("OWN ROOT\n")
    commands = FakeCommands()
    settings = AcmeSettings(ca_bundle=str(tmp_path / "own.pem"))
    Certbot(commands, layout, settings).order(KEY, ("a.com",), "http-01", NOW)
    bundle = pathlib.Path(commands.calls[0].environment["REQUESTS_CA_BUNDLE"]).read_text()
    assert bundle.endswith("OWN ROOT\n")
    assert "BEGIN CERTIFICATE" in bundle
    (tmp_path / "own.pem").unlink()
    with pytest.raises(HostError, match=r"its ca_bundle .* is not there"):
        Certbot(commands, layout, settings).order(KEY, ("a.com",), "http-01", NOW)


def test_a_rehearsal_leaves_nothing_but_its_account(layout: Layout) -> None:
    def certbot_writes(argv: Sequence[str]) -> Completed:
        for part in ("live", "archive", "renewal", "accounts", "csr", "keys"):
            pathlib.Path(option(argv, "--config-dir"), part).mkdir()
        return Completed(0, "", "")

    commands = FakeCommands(answer=certbot_writes)
    certbot = Certbot(commands, layout, AcmeSettings())
    assert certbot.rehearse(KEY, ("a.com",), "http-01", NOW) is None
    (argv,) = commands.argvs
    assert option(argv, "--server").startswith("https://acme-staging")
    place = pathlib.Path(option(argv, "--config-dir"))
    assert place.is_relative_to(layout.letsencrypt)
    assert {path.name for path in place.iterdir()} == {"accounts"}
    assert certbot.keys_of("blog") == ()
    assert not certbot.lineage(KEY).exists


def test_a_lineage_without_our_mark_is_somebody_elses(layout: Layout) -> None:
    renewal_file(layout, KEY)
    commands = FakeCommands()
    certbot = Certbot(commands, layout, AcmeSettings())
    lineage = certbot.lineage(KEY)
    assert (lineage.exists, lineage.ours) == (True, False)
    assert certbot.files_of(KEY, lineage) is None
    with pytest.raises(ConflictError):
        certbot.order(KEY, ("a.com",), "http-01", NOW)
    certbot.delete(KEY)
    assert commands.calls == []
    assert pathlib.Path(layout.letsencrypt, "renewal", f"{KEY}.conf").exists()
    assert not certbot.lineage(KEY).ours


def test_one_of_ours_is_deleted_with_all_that_is_left_of_it(layout: Layout) -> None:
    commands = FakeCommands()
    certbot = Certbot(commands, layout, AcmeSettings())
    certbot.order(KEY, ("a.com",), "http-01", NOW)
    renewal_file(layout, KEY, server="https://ca/dir")
    renewal_file(layout, "serverkit-blog2")
    pathlib.Path(layout.letsencrypt, "live", KEY).mkdir(parents=True)
    lineage = certbot.lineage(KEY)
    assert (lineage.server, lineage.authenticator, lineage.ours) == ("https://ca/dir", "webroot", True)
    assert "of no use" in lineage.problem
    certbot.delete(KEY)
    assert commands.argvs[1][:4] == ["certbot", "delete", "--cert-name", KEY]
    assert not certbot.lineage(KEY).exists
    assert certbot.keys_of("blog") == ()
    assert certbot.lineage("serverkit-blog2").exists


def test_one_of_several_accounts_is_chosen(layout: Layout) -> None:
    accounts = pathlib.Path(layout.letsencrypt, "accounts", "acme-v02.api.letsencrypt.org", "directory")
    commands = FakeCommands()
    certbot = Certbot(commands, layout, AcmeSettings())
    for name, chosen in (("bbb", None), ("aaa", "aaa")):
        (accounts / name).mkdir(parents=True)
        certbot.order(KEY, ("a.com",), "http-01", NOW)
        argv = commands.argvs[-1]
        assert (option(argv, "--account") if "--account" in argv else None) == chosen


def test_another_certbot_is_waited_for(layout: Layout) -> None:
    busy = Completed(1, "", "Another instance of Certbot is already running.")
    pauses: list[float] = []
    commands = FakeCommands(busy, busy)
    certbot = Certbot(commands, layout, AcmeSettings(), pause=pauses.append)
    assert certbot.order(KEY, ("a.com",), "http-01", NOW) is None
    assert pauses == [5.0, 5.0]

    commands = FakeCommands(answer=lambda _argv: busy)
    certbot = Certbot(commands, layout, AcmeSettings(), pause=pauses.append)
    failure = certbot.order(KEY, ("a.com",), "http-01", NOW)
    assert failure is not None
    assert "Another instance" in failure.reason
    assert len(commands.calls) == 25


def test_without_certbot(layout: Layout) -> None:
    certbot = Certbot(FakeCommands(missing=["certbot"]), layout, AcmeSettings())
    assert not certbot.installed()
    with pytest.raises(HostError, match="not installed"):
        certbot.order(KEY, ("a.com",), "http-01", NOW)
