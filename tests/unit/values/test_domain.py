# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which domains, slugs, ports and combinations of options are taken, and what is said about the others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import domain
from hypothesis import given
from hypothesis import strategies as st

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@pytest.mark.parametrize(
    "name", ["my-blog.com", "a.b", "1.example", "xn--mnchen-3ya.de", "4.2.2.example", "a--b.example", LONGEST]
)
def test_domains(name: str) -> None:
    assert domain.domain_name(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "not empty"),
        (None, "not empty"),
        (7, "not empty"),
        ("my-blog", "no dot"),
        ("My-Blog.com", "Write 'my-blog.com'"),
        ("my-blog.com.", "ends with a dot"),
        ("my-blog.com\n", "white space"),
        (" my-blog.com", "white space"),
        ("my blog.com", "joined by single dots"),
        ("my-blog.com;", "joined by single dots"),
        ("my-blog.com}", "joined by single dots"),
        ("a.com; return 200", "joined by single dots"),
        ("a.com\nb.com", "joined by single dots"),
        ("a.com\x00", "joined by single dots"),
        ("a..com", "joined by single dots"),
        (".com", "joined by single dots"),
        ("-a.com", "joined by single dots"),
        ("a-.com", "joined by single dots"),
        ("a_b.com", "joined by single dots"),
        ("http://a.com", "without scheme"),
        ("a.com/x", "without scheme"),
        ("a.com:80", "without scheme"),
        ("$host.com", "joined by single dots"),
        ("[2001:db8::1]", "joined by single dots"),
        ("192.0.2.1", "IP address"),
        ("*.example.com", "wildcard"),
        ("*.", "wildcard"),
        (LONGEST + "d", "254 characters"),
        ("a" * 64 + ".com", "64 characters"),
        ("münchen.de", "'xn--mnchen-3ya.de'"),
        ("MÜNCHEN.de", "'xn--mnchen-3ya.de'"),
        # IDNA 2003 makes strasse.de of it, which is somebody else's.
        ("straße.de", "its ASCII form, which starts with xn--"),
        ("１９２.de", "outside ASCII"),
    ],
)
def test_no_domains(name: object, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        domain.domain_name(name)


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(InputError) as caught:
        domain.domain_name("a" * 10_000)
    assert len(str(caught.value)) < 300


@given(st.text())
def test_any_text_is_refused_or_comes_back(text: str) -> None:
    for check in (domain.domain_name, domain.slug):
        try:
            assert check(text) == text
        except InputError:
            continue
        assert re.fullmatch(r"[a-z0-9.-]+", text)


@pytest.mark.parametrize("slug", ["abc", "preview-of-my-blog", "2025", "a" * 64])
def test_slugs(slug: str) -> None:
    assert domain.slug(slug) == slug


@pytest.mark.parametrize(
    "slug",
    ["", "ab", "a" * 65, "Abc", "-abc", "abc-", "a/b", "a b", "a_b", "abc\n", "äöü", "../x", "admin", "api", None, 3],
)
def test_no_slugs(slug: object) -> None:
    with pytest.raises(InputError):
        domain.slug(slug)


@pytest.mark.parametrize("port", [0, -1, 65536, 70000, "80", None, True, 1.5])
def test_no_ports(port: object) -> None:
    with pytest.raises(InputError, match="from 1 to 65535"):
        domain.port_number(port)


OPTIONS: dict[str, Any] = {
    "app": "blog",
    "name": None,
    "aliases": None,
    "private_url": False,
    "slug": None,
    "port": None,
    "websocket": True,
    "state": "present",
    "dns_check": "probe",
    "check_port": True,
}


def parse(**options: Any) -> domain.Wanted:
    return domain.parse({**OPTIONS, **options})


def test_a_domain() -> None:
    item = parse(name="a.com", aliases=["www.a.com", "b.com", "a.com", "b.com"], port=8001, websocket=False)
    assert (item.kind, item.name, item.aliases) == ("domain", "a.com", ("b.com", "www.a.com"))
    assert item.options == {"port": 8001, "websocket": False}
    assert parse(name="a.com").options == {}


def test_the_row_of_a_domain() -> None:
    item = parse(
        name="a.com", tls="letsencrypt", gzip=True, basic_auth={"users": {"ann": "secret-1"}}, headers={"X-A": "1"}
    )
    assert item.options == {
        "tls": "letsencrypt",
        "gzip": True,
        "basic_auth": {"users": ["ann"]},
        "headers": {"X-A": "1"},
    }
    assert item.passwords == {"ann": "secret-1"}
    assert "secret-1" not in repr(item)
    assert item.names == ("a.com",)


def test_wildcards() -> None:
    assert parse(name="*.a.com", aliases=["a.com"]).names == ("*.a.com", "a.com")
    assert parse(name="*.a.com", tls="letsencrypt", challenge="dns-01").tls.challenge == "dns-01"
    for name in ("*.com", "*", "a.*.com", "**.a.com", "*.*.a.com", "*a.com", "*.a_b.com", "*.192.0.2.1"):
        with pytest.raises(InputError):
            parse(name=name)


def test_what_goes_needs_no_valid_options() -> None:
    item = parse(name="a.com", state="absent", tls="provided", max_body_size="nonsense")
    assert not item.present


def test_the_private_domain() -> None:
    assert domain.parse_private_domain(None) is None
    found = domain.parse_private_domain({"name": "apps.a.com", "tls": "letsencrypt"})
    assert found is not None
    assert (found.wildcard, found.tls.mode, found.tls.challenge) == ("*.apps.a.com", "letsencrypt", "dns-01")
    nowhere = domain.parse_private_domain({"name": "", "tls": "none"})
    assert nowhere == domain.PrivateDomain("", domain.TlsRequest())
    bad_ones = [{"name": "*.a.com"}, {"name": "apps"}, {"name": "a.com", "tls": "provided"}]
    bad_ones += [{"name": "", "tls": "internal"}, {"name": "", "certificate": "PEM"}, {"name": None}]
    for bad in bad_ones:
        with pytest.raises(InputError):
            domain.parse_private_domain(bad)


def test_a_private_url() -> None:
    assert parse(private_url=True).name == "private URL of blog"
    assert parse(private_url=True, slug="my-slug").slug == "my-slug"


def test_all_names() -> None:
    item = parse(state="absent")
    assert (item.kind, item.present, item.name) == ("all", False, "all names of blog")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "a.com", "private_url": True},
        {"aliases": ["a.com"], "private_url": True},
        {"name": "a.com", "slug": "my-slug"},
        {"name": "a.com", "port": 0},
        {"name": "a.com", "aliases": ["a b"]},
        {"private_url": True, "slug": "admin"},
        {"private_url": True, "slug": ""},
        {"app": "../x", "name": "a.com"},
        {"app": "serverkit", "name": "a.com"},
        {"app": "default", "name": "a.com"},
        {"name": "a.com", "expires": "7d"},
        {"name": "a.com", "hsts": {}},
        {"name": "a.com", "aliases": ["www.a.com"], "redirect_to": {"host": "www.a.com"}},
        {"name": "a.com", "redirect_to": {"url": "https://a.com:8443/x"}},
        {"name": "a.com", "port": 1, "root": {"directory": "/srv/x"}},
        {"name": "*.a.com", "tls": "letsencrypt"},
        {"private_url": True, "gzip": True},
        {"private_url": True, "tls": "internal"},
        {"private_url": True, "shared": True},
        {"private_url": True, "expires": "tomorrow"},
        {"private_url": True, "expires": "2026-12-24T18:00:00"},
    ],
)
def test_bad_combinations(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        parse(**options)


def test_main_ports_of_apps() -> None:
    assert domain.main_ports({"blog": 8001, "shop": "8002", "worker": None}) == {
        "blog": 8001,
        "shop": 8002,
        "worker": None,
    }
    for bad in ({"../x": 1}, {"blog": 70000}, {"blog": "x"}):
        with pytest.raises(InputError):
            domain.main_ports(bad)
