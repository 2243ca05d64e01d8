# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which certificates an app needs, and what has to be ordered for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import (
    Order,
    effective,
    expiry_warning,
    facts_of,
    missing,
    narrowed,
    obstacle,
    order_for,
    request_for,
    requests_of,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.dns_credentials import credentials_text
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import Certificate, Lineage
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import (
    LETSENCRYPT,
    AcmeSettings,
    CertificateRequest,
    TlsRequest,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=timezone.utc)
ACME = TlsRequest("letsencrypt")
DNS = TlsRequest("letsencrypt", "dns-01")
NAMES = ("a.example.com", "b.example.com")
REQUEST = CertificateRequest("serverkit-blog", "blog", "letsencrypt", NAMES)
CERTIFICATE = Certificate(NAMES, "R3", "ab" * 32, NOW - timedelta(days=10), NOW + timedelta(days=80))
LINEAGE = Lineage(True, True, CERTIFICATE, "", LETSENCRYPT, "webroot")


def test_one_certificate_for_all_names_of_an_app() -> None:
    requests = requests_of("blog", [(("b.com", "www.b.com"), ACME), (("a.com",), ACME), (("plain.com",), TlsRequest())])
    assert [(request.key, request.names) for request in requests] == [
        ("serverkit-blog", ("a.com", "b.com", "www.b.com"))
    ]


def test_each_way_of_having_one_has_its_own() -> None:
    own = TlsRequest("provided", certificate="C", private_key="K")
    requests = requests_of(
        "blog",
        [
            (("a.com",), ACME),
            (("b.com", "*.b.com"), DNS),
            (("c.lan",), TlsRequest("internal")),
            (("*.d.com", "d.com"), own),
            (("e.com",), own),
        ],
    )
    assert {request.key: request.names for request in requests} == {
        "serverkit-blog": ("a.com",),
        "serverkit-blog.dns": ("*.b.com", "b.com"),
        "blog/internal": ("c.lan",),
        "blog/_.d.com": ("*.d.com", "d.com"),
        "blog/e.com": ("e.com",),
    }
    found = request_for(requests, "d.com")
    assert found is not None
    assert (found.certificate, found.private_key) == ("C", "K")
    assert request_for(requests, "x.com") is None


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,2})?", fullmatch=True), st.booleans()), max_size=8))
def test_keys_never_meet(apps: list[tuple[str, bool]]) -> None:
    names = {app.replace(".", "-") for app, _dns in apps}
    keys = [
        request.key
        for app in names
        for request in requests_of(app, [(("a.com",), ACME), (("b.com",), DNS), (("c.com",), TlsRequest("internal"))])
    ]
    assert len(keys) == len(set(keys)) == 3 * len(names)


def test_names_that_are_left_without() -> None:
    files = TlsFiles("c", "k", ("a.com", "*.b.com"))
    assert missing(["a.com", "x.b.com", "b.com", "x.y.b.com", "*.b.com"], files) == ("b.com", "x.y.b.com")
    assert missing(["a.com"], None) == ("a.com",)


def test_an_unchanged_set_is_never_ordered() -> None:
    shuffled = replace(CERTIFICATE, names=tuple(reversed(NAMES)))
    assert order_for(REQUEST, replace(LINEAGE, certificate=shuffled), AcmeSettings(), NOW) is None
    assert order_for(REQUEST, LINEAGE, None, NOW) is None


def test_a_name_more_and_a_name_less() -> None:
    request = replace(REQUEST, names=("b.example.com", "c.example.com"))
    order = order_for(request, LINEAGE, AcmeSettings(), NOW)
    assert order == Order(request.names, "+c.example.com, -a.example.com", NAMES, request.names, names_only=True)


@pytest.mark.parametrize(
    ("lineage", "reason"),
    [
        (Lineage(), "there is none yet"),
        (Lineage(True, True, None, "what is there is of no use: damaged"), "what is there is of no use: damaged"),
        (replace(LINEAGE, server="https://old.ca/"), "it is from https://old.ca/"),
        (replace(LINEAGE, authenticator="nginx"), "its renewal is by nginx, not webroot"),
        (
            replace(LINEAGE, certificate=replace(CERTIFICATE, not_after=NOW + timedelta(days=2))),
            "it expires in 2 days and was not renewed",
        ),
        (replace(LINEAGE, certificate=replace(CERTIFICATE, not_after=NOW)), "it has expired"),
    ],
)
def test_the_right_names_are_not_enough(lineage: Lineage, reason: str) -> None:
    order = order_for(REQUEST, lineage, AcmeSettings(), NOW)
    assert order is not None
    assert order.reason == reason
    assert not order.names_only
    assert order.check == NAMES


def test_without_settings_an_authority_is_kept() -> None:
    assert order_for(REQUEST, replace(LINEAGE, server="https://own.ca/"), None, NOW) is None
    assert effective(None, replace(LINEAGE, server="https://own.ca/")) == AcmeSettings("https://own.ca/", "")
    assert effective(None, LINEAGE) == AcmeSettings()
    assert effective(None, replace(LINEAGE, ours=False, server="https://own.ca/")) == AcmeSettings()
    chosen = AcmeSettings("https://chosen.ca/")
    assert effective(chosen, LINEAGE) is chosen


def test_over_dns_no_name_has_to_lead_here() -> None:
    request = replace(REQUEST, challenge="dns-01")
    settings = AcmeSettings(dns_plugin="cloudflare")
    order = order_for(request, Lineage(), settings, NOW)
    assert order is not None
    assert order.check == ()
    assert order_for(request, replace(LINEAGE, authenticator="dns-cloudflare"), settings, NOW) is None
    assert order_for(request, replace(LINEAGE, authenticator="manual"), AcmeSettings(auth_hook="/h"), NOW) is None


def test_what_can_never_be_had() -> None:
    assert obstacle(REQUEST, Lineage(), AcmeSettings()) is None
    assert isinstance(obstacle(REQUEST, replace(LINEAGE, ours=False), AcmeSettings()), ConflictError)
    assert isinstance(obstacle(replace(REQUEST, challenge="dns-01"), Lineage(), AcmeSettings()), InputError)
    many = replace(REQUEST, names=tuple(f"n{number}.example.com" for number in range(101)))
    assert "at most 100" in str(obstacle(many, Lineage(), AcmeSettings()))


def test_names_that_are_left_out() -> None:
    new = Order(("a", "b", "c"), "", (), ("a", "b", "c"))
    assert narrowed(new, {}) == (("a", "b", "c"), "")
    assert narrowed(new, {"b"}) == (("a", "c"), "")
    assert narrowed(new, {"a", "b", "c"}) == ((), "a")
    more = replace(new, present=("a", "b"), names_only=True)
    assert narrowed(more, {"c"}) == ((), "c")
    assert narrowed(more, {"a"}) == ((), "a")
    assert narrowed(replace(more, present=("a", "x")), {"c"}) == (("a", "b"), "")
    # One that nobody renews is ordered again, with or without the new name.
    assert narrowed(replace(more, names_only=False), {"c"}) == (("a", "b"), "")


@given(
    st.sets(st.sampled_from("abcdef"), min_size=1),
    st.sets(st.sampled_from("abcdef")),
    st.sets(st.sampled_from("abcdef")),
)
def test_no_name_loses_its_certificate(wanted: set[str], present: set[str], unreachable: set[str]) -> None:
    order = Order(tuple(sorted(wanted)), "", tuple(sorted(present)), names_only=True)
    names, in_the_way = narrowed(order, unreachable)
    if names:
        assert wanted & present <= set(names) <= wanted - unreachable
        assert set(names) != present or not unreachable & wanted
    else:
        assert in_the_way in unreachable & wanted


def test_what_a_user_is_told() -> None:
    assert facts_of(REQUEST, CERTIFICATE, NOW) == {
        "mode": "letsencrypt",
        "names": list(NAMES),
        "issuer": "R3",
        "expires": "2026-09-03T12:00:00Z",
        "days_left": 80,
    }
    assert facts_of(REQUEST, None, NOW)["expires"] is None


@pytest.mark.parametrize(
    ("lifetime", "left", "warned", "overdue"),
    [
        (timedelta(days=90), timedelta(days=22), False, False),
        (timedelta(days=90), timedelta(days=20), True, False),
        (timedelta(days=90), timedelta(days=14), True, True),
        (timedelta(days=6), timedelta(days=2), False, False),
        (timedelta(days=6), timedelta(hours=20), True, True),
        (timedelta(days=3650), timedelta(days=22), False, True),
    ],
)
def test_when_to_warn(lifetime: timedelta, left: timedelta, warned: bool, overdue: bool) -> None:
    certificate = replace(CERTIFICATE, not_before=NOW + left - lifetime, not_after=NOW + left)
    assert bool(expiry_warning(certificate, NOW)) is warned
    assert certificate.overdue(NOW) is overdue


def test_an_expired_one() -> None:
    certificate = replace(CERTIFICATE, not_after=NOW - timedelta(hours=1))
    assert certificate.expired(NOW)
    assert certificate.days_left(NOW) == -1
    assert "has expired" in expiry_warning(certificate, NOW)[0]
    assert expiry_warning(None, NOW) == ()


@pytest.mark.parametrize(
    ("plugin", "credentials", "text"),
    [
        ("cloudflare", {"api_token": "x#y"}, 'dns_cloudflare_api_token = "x#y"\n'),
        ("cloudflare", {"dns_cloudflare_api_token": 'x"y'}, "dns_cloudflare_api_token = 'x\"y'\n"),
        ("route53", {"aws_access_key_id": "A"}, "[default]\naws_access_key_id = A\n"),
    ],
)
def test_files_of_credentials(plugin: str, credentials: dict[str, str], text: str) -> None:
    assert credentials_text(plugin, credentials).endswith(text)


def test_the_credentials_of_google_are_json() -> None:
    assert credentials_text("google", {"type": "service_account"}) == '{\n  "type": "service_account"\n}\n'
