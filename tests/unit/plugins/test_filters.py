# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.filter.certificate_needs import certificate_needs
from ansible_collections.serverkit.core.plugins.filter.domain_items import domain_items
from ansible_collections.serverkit.core.plugins.filter.inventory_problems import inventory_problems

App = dict[str, Any]


def test_a_good_list_has_no_problems() -> None:
    apps: list[App] = [
        {"name": "blog", "template": "wordpress", "domains": [{"name": "blog.test", "aliases": ["www.blog.test"]}]},
        {"name": "api", "private_url": {"slug": "our-api"}},
        {"name": "worker", "private_url": False},
        {"name": "old", "state": "absent"},
    ]
    assert inventory_problems(apps) == []


@pytest.mark.parametrize(
    ("apps", "expected"),
    [
        ([{"name": "blog"}, {"name": "api"}, {"name": "blog"}], "The app blog is listed 2 times."),
        (
            [{"name": "a", "domains": [{"name": "x.test"}]}, {"name": "b", "domains": [{"name": "x.test"}]}],
            "The domain x.test is claimed by the apps a and b.",
        ),
        (
            [
                {"name": "a", "domains": [{"name": "x.test", "aliases": ["y.test"]}]},
                {"name": "b", "domains": [{"name": "z.test", "aliases": ["y.test"]}]},
            ],
            "The domain y.test is claimed by the apps a and b.",
        ),
        (
            [{"name": "a", "private_url": {"slug": "same"}}, {"name": "b", "private_url": {"slug": "same"}}],
            "The slug same is claimed by the apps a and b.",
        ),
        ([{"name": "a", "private_url": {"slgu": "same"}}], "The private_url of the app a has no option 'slgu'."),
        ([{"name": "a", "private_url": "yes"}], "The private_url of the app a is neither true, false nor a mapping"),
        ([{"name": "../x"}], "Could not use '../x' as the name of an app"),
        (
            [{"name": "a", "domains": [{"name": "x.test;"}]}],
            "In the domain x.test; of the app a: Could not use 'x.test;' as a domain",
        ),
        (
            [{"name": "a", "private_url": {"slug": "a/b"}}],
            "In the private URL of the app a: Could not use 'a/b' as a slug",
        ),
        (
            [{"name": "a", "private_url": {"expires": "soon"}}],
            "In the private URL of the app a: Could not",
        ),
        (
            [{"name": "a", "domains": [{"name": "x.test", "max_body_size": "much"}]}],
            "In the domain x.test of the app a: Could not use 'much' as max_body_size: it is not a size",
        ),
        (
            [{"name": "a", "domains": [{"name": "*.x.test", "tls": "letsencrypt"}]}],
            "In the domain *.x.test of the app a: Could not have a certificate for *.x.test: *.x.test is a wildcard",
        ),
        (
            [{"name": "a", "domains": [{"name": "x.test", "timeouts": {"reed": 5}}]}],
            "In the domain x.test of the app a: timeouts.reed. Supported parameters include: connect, read, send.",
        ),
        (
            [{"name": "a", "domains": [{"name": "x.test", "tls": "yes"}]}],
            "In the domain x.test of the app a: value of tls must be one of: none, letsencrypt, provided, internal",
        ),
    ],
)
def test_a_problem_is_told(apps: list[App], expected: str) -> None:
    problems = inventory_problems(apps)
    assert len(problems) == 1
    assert problems[0].startswith(expected)


def test_all_problems_are_told_at_once() -> None:
    apps = [{"name": "A"}, {"name": "b"}, {"name": "b"}, {"name": "c", "domains": [{"name": "-"}]}]
    assert len(inventory_problems(apps)) == 3


def test_a_problem_with_a_password_does_not_show_it() -> None:
    apps: list[App] = [
        {"name": "a", "domains": [{"name": "a.test", "basic_auth": {"users": {"anna": "s3cret\nx"}}}]},
        {"name": "b", "domains": [{"name": "b.test", "basic_auth": {"users": "anna s3cret"}}]},
        {"name": "c", "private_url": {"basic_auth": "s3cret"}},
        {"name": "d", "domains": [{"name": "d.test", "tls": "provided", "certificate": "x", "private_key": "s3cret"}]},
    ]
    for app in apps:
        problems = inventory_problems([app])
        assert problems
        assert "s3cret" not in " ".join(problems)


def test_values_of_an_inventory_are_as_good_as_plain_ones() -> None:
    class Noted(int):
        """An integer with a note of where it was written, as Ansible has them."""

    domains = [{"name": "x.test", "redirect_to": {"host": "y.test", "code": Noted(308)}}]
    assert inventory_problems([{"name": "a", "domains": domains}]) == []


def test_aliases_as_one_text_are_whole_names() -> None:
    apps: list[App] = [
        {"name": name, "domains": [{"name": f"{name}.test", "aliases": f"www.{name}.test,old.{name}.test"}]}
        for name in "ab"
    ]
    assert inventory_problems(apps) == []
    apps[1]["domains"][0]["aliases"] = "old.b.test,old.a.test"
    assert inventory_problems(apps) == ["The domain old.a.test is claimed by the apps a and b."]


def test_no_slug_is_not_the_same_slug() -> None:
    assert inventory_problems([{"name": name, "private_url": {"slug": None}} for name in "ab"]) == []


def test_an_app_that_goes_claims_no_name() -> None:
    domains = [{"name": "x.test"}]
    assert (
        inventory_problems([{"name": "a", "domains": domains}, {"name": "b", "domains": domains, "state": "absent"}])
        == []
    )


def test_domains_and_private_urls_become_items() -> None:
    apps: list[App] = [
        {"name": "a", "domains": [{"name": "a.test", "aliases": ["www.a.test"], "tls": "internal"}]},
        {"name": "b", "private_url": {"slug": "our-b", "expires": "7d"}},
    ]
    assert domain_items(apps, [{"name": "a", "main_port": 8000}, {"name": "b", "main_port": 8001}]) == [
        {"app": "a", "name": "a.test", "aliases": ["www.a.test"], "tls": "internal"},
        {"app": "a", "private_url": True},
        {"app": "b", "private_url": True, "slug": "our-b", "expires": "7d"},
    ]


def test_an_app_without_a_port_has_a_private_url_only_if_it_asks_for_one() -> None:
    results = [{"name": "a", "main_port": None}, {"name": "b"}]
    assert domain_items([{"name": "a"}, {"name": "b", "private_url": True}], results) == [
        {"app": "a", "state": "absent"},
        {"app": "b", "private_url": True},
    ]


def test_an_app_that_has_no_names_says_so() -> None:
    results = [{"name": "a", "main_port": 8000}, {"name": "b", "main_port": None}]
    assert domain_items([{"name": "a", "private_url": False}, {"name": "b", "state": "absent"}], results) == [
        {"app": "a", "state": "absent"},
        {"app": "b", "state": "absent"},
    ]


def test_an_app_that_failed_keeps_its_names() -> None:
    results = [{"name": "a", "failed": True}, {"name": "b", "main_port": 1}]
    assert domain_items([{"name": "a"}, {"name": "b"}], results) == [{"app": "b", "private_url": True}]


@pytest.mark.parametrize(
    ("domain", "private_domain_tls", "expected"),
    [
        ({}, "none", []),
        ({"tls": "none"}, "none", []),
        ({"tls": "internal"}, "none", ["libraries"]),
        ({"tls": "provided"}, "none", ["libraries"]),
        ({"dns_check": "records"}, "none", ["libraries"]),
        ({"tls": "letsencrypt"}, "none", ["libraries", "acme"]),
        ({}, "letsencrypt", ["libraries", "acme"]),
        ({}, "provided", ["libraries"]),
    ],
)
def test_a_server_gets_what_its_certificates_need(domain: App, private_domain_tls: str, expected: list[str]) -> None:
    apps: list[App] = [{"name": "a"}, {"name": "b", "domains": [{"name": "b.test", **domain}]}]
    assert certificate_needs(apps, private_domain_tls) == expected


def test_an_app_that_goes_needs_no_certificate() -> None:
    domains = [{"name": "b.test", "tls": "letsencrypt"}]
    assert certificate_needs([{"name": "b", "domains": domains, "state": "absent"}]) == []
