# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of every kind, and what a handshake shows."""

from __future__ import annotations

import pathlib
import ssl
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from conftest import DIRECTORY, Site

if TYPE_CHECKING:
    from testinfra.host import Host

Named = Callable[[str], Site]
HELLO = frozenset({"hello.example.test", "www.hello.example.test", "old.example.test"})


@pytest.mark.parametrize("name", sorted(HELLO))
def test_a_domain_and_its_aliases_have_one_certificate(secure: Named, name: str) -> None:
    answer = secure(name).get()
    assert (answer.status, answer.names) == (200, HELLO)
    assert "Good morning" in answer.body


@pytest.mark.parametrize("name", ["a.tenants.example.test", "b.tenants.example.test"])
def test_a_wildcard_has_a_certificate_that_was_proven_by_dns(secure: Named, name: str) -> None:
    answer = secure(name).get()
    assert (answer.status, answer.names) == (200, {"*.tenants.example.test"})
    assert "The other one" in answer.body


def test_nothing_was_ordered_twice(orders: list[list[str]]) -> None:
    issued = [lineage for lineage, outcome in orders if outcome == "issued"]
    assert len(issued) == len(set(issued)) == 3
    assert "serverkit-hello" in issued
    assert all(outcome == "issued" for _lineage, outcome in orders)


@pytest.mark.parametrize("name", sorted(HELLO))
def test_http_leads_to_https_of_the_same_name(plain: Named, name: str) -> None:
    answer = plain(name).get("/a%2Fb/c?d=e&f=%20")
    assert answer.status in (301, 308)
    assert answer.headers["location"] == f"https://{name}/a%2Fb/c?d=e&f=%20"
    assert "strict-transport-security" not in answer.headers


def test_proofs_are_asked_for_over_http(plain: Named, server: Host) -> None:
    place = "/var/www/serverkit-acme/.well-known/acme-challenge"
    server.check_output(f"mkdir -p {place} && echo proof > {place}/molecule")
    try:
        for name in (
            "hello.example.test",
            "closed.example.test",
            "moved.example.test",
            "locked.example.test",
            "nobody.test",
        ):
            assert plain(name).get("/.well-known/acme-challenge/molecule").body == "proof\n", name
    finally:
        server.check_output(f"rm {place}/molecule")


def test_an_internal_certificate_is_of_the_servers_own_authority(address: str, server: Host) -> None:
    root = server.check_output("cat /var/serverkit/ssl/serverkit/internal-ca.pem")
    site = Site(address, "locked.example.test", ssl.create_default_context(cadata=root))
    assert site.get().status == 401
    assert site.get(auth="anna:s3cret-$of'anna").status == 200
    assert site.get(auth="anna:wrong").status == 401


def test_a_certificate_that_was_provided_is_served(address: str) -> None:
    text = (DIRECTORY / "own.pem").read_text()
    site = Site(address, "own.example.test", ssl.create_default_context(cadata=text))
    with site.connect() as opened:
        assert isinstance(opened, ssl.SSLSocket)
        assert opened.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(text)


def test_http2_is_offered(address: str, secure: Named) -> None:
    context = ssl.create_default_context(cafile=str(DIRECTORY / "issuer.pem"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Site(address, "hello.example.test", context).connect() as opened:
        assert isinstance(opened, ssl.SSLSocket)
        assert opened.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("name", ["nobody.example.test", "nobody.test", ""])
def test_a_name_that_nobody_has_gets_no_handshake(address: str, name: str) -> None:
    shown = handshake(address, "-servername", name) if name else handshake(address, "-noservername")
    assert "unrecognized name" in shown
    assert "BEGIN CERTIFICATE" not in shown


# --- the scan -----------------------------------------------------------------------------------------------------

# Mozilla's intermediate profile, https://wiki.mozilla.org/Security/Server_Side_TLS, without the DHE ones.
TLS12 = {
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
}  # fmt: skip
TLS13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
ALL = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


def handshake(address: str, *options: str) -> str:
    """Return what OpenSSL shows of a handshake, failed or not."""
    argv = ["openssl", "s_client", "-connect", f"{address}:443", "-showcerts", *options]
    done = subprocess.run(argv, input="", capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


def accepts(address: str, *options: str) -> bool:
    return "BEGIN CERTIFICATE" in handshake(address, "-servername", "hello.example.test", *options)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(address: str, version: str) -> None:
    assert not accepts(address, version, "-cipher", ALL)


def test_only_strong_ciphers_are_accepted(address: str) -> None:
    known = subprocess.run(["openssl", "ciphers", ALL], capture_output=True, text=True, check=True).stdout.strip()
    older = [name for name in known.split(":") if not name.startswith("TLS_")]
    assert len(older) > 50
    found = {name for name in older if accepts(address, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")}
    # The key of the certificate decides which of the two kinds there are.
    assert found == {name for name in TLS12 if "-ECDSA-" in name}


def test_all_ciphers_of_tls_1_3_are_accepted(address: str) -> None:
    found = {name for name in TLS13 if accepts(address, "-tls1_3", "-ciphersuites", name)}
    assert found == TLS13
    assert not accepts(address, "-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256")


def test_there_are_no_session_tickets(address: str) -> None:
    assert "session ticket" not in handshake(address, "-servername", "hello.example.test", "-tls1_2").lower()


def test_keys_are_ecdsa_and_private(server: Host) -> None:
    shown = server.check_output("openssl pkey -noout -text -in /etc/letsencrypt/live/serverkit-hello/privkey.pem")
    assert "NIST CURVE: P-256" in shown
    keys = server.check_output(
        "find /etc/letsencrypt/archive /var/serverkit/ssl -name '*key*' -type f -printf '%m %u %p\\n'"
    )
    assert {line.split()[0] for line in keys.splitlines()} == {"600"}
    assert len(keys.splitlines()) >= 5


def test_renewal_is_the_servers_own_business(server: Host) -> None:
    timer = server.service("certbot.timer")
    assert timer.is_running
    assert timer.is_enabled
    hook = server.file("/etc/letsencrypt/renewal-hooks/deploy/serverkit-nginx")
    assert hook.mode & 0o111


def test_credentials_are_in_one_place_that_only_root_can_read(server: Host) -> None:
    secret = (DIRECTORY / "tsig").read_text().strip()
    found = server.check_output("grep -rlF %s /etc /var/serverkit /var/log || true", secret).split()
    assert len(found) == 1
    assert (server.file(found[0]).mode, server.file(found[0]).user) == (0o600, "root")
    assert pathlib.PurePath(found[0]).is_absolute()
