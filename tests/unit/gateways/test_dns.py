# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DNS records by an answer that was prepared; a real server is asked in tests/integration."""

from __future__ import annotations

from typing import Any

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dns import Records, addresses, caa_problems

ZONE: dict[tuple[str, str], list[str] | type[Exception]] = {
    ("both.example.", "A"): ["192.0.2.1"],
    ("both.example.", "AAAA"): ["2001:db8::1"],
    ("dead.example.", "A"): dns.exception.Timeout,
    ("example.", "CAA"): ['0 issue "letsencrypt.org"', '0 issuewild ";"', '0 iodef "mailto:a@example"'],
    ("own.example.", "CAA"): ['0 issue "ca.own; validationmethods=dns-01"'],
    ("none.example.", "CAA"): ['0 issue ";"'],
    ("mail.example.", "CAA"): ['0 issuemail "x"'],
    ("critical.example.", "CAA"): ['128 tbs "x"'],
    ("broken.example.", "CAA"): dns.exception.Timeout,
}


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(_self: object, name: str, kind: str, **_more: object) -> Any:
        found = ZONE.get((name, kind))
        if found is None:
            raise dns.resolver.NXDOMAIN
        if isinstance(found, type):
            raise found
        return [dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text) for text in found]

    monkeypatch.setattr(dns.resolver.Resolver, "resolve", resolve)


def test_addresses() -> None:
    found = addresses(["both.example", "none.example", "dead.example"], nameserver=("127.0.0.1", 53))
    assert found["both.example"] == Records(("192.0.2.1",), ("2001:db8::1",))
    assert found["none.example"].problem == "it has neither A nor AAAA records"
    assert found["dead.example"].problem
    assert addresses([]) == {}


@pytest.mark.parametrize(
    ("name", "identity", "complaint"),
    [
        ("www.example", "letsencrypt.org", ""),
        ("deep.below.example", "letsencrypt.org", ""),
        ("www.example", "LetsEncrypt.org", ""),
        ("www.example", "pki.goog", "the CAA record of example allows letsencrypt.org, and not pki.goog"),
        ("*.example", "letsencrypt.org", "allows no authority at all"),
        ("x.own.example", "letsencrypt.org", "the CAA record of own.example allows ca.own"),
        ("*.own.example", "ca.own", ""),
        ("none.example", "letsencrypt.org", "allows no authority at all"),
        ("mail.example", "letsencrypt.org", ""),
        ("critical.example", "letsencrypt.org", "a critical CAA record of the unknown kind 'tbs'"),
        ("broken.example", "pki.goog", ""),
        ("elsewhere.test", "pki.goog", ""),
    ],
)
def test_who_may_certify(name: str, identity: str, complaint: str) -> None:
    found = caa_problems([name], [identity], nameserver=("127.0.0.1", 53))
    assert complaint in found.get(name, "")
    assert bool(found) is bool(complaint)


def test_an_authority_without_a_name_is_not_judged() -> None:
    assert caa_problems(["none.example"], []) == {}
