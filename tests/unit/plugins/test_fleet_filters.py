# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible.utils.display import Display
from ansible_collections.serverkit.core.plugins.filter.domain_claims import domain_claims
from ansible_collections.serverkit.core.plugins.filter.fleet_problems import fleet_problems

App = dict[str, Any]


def app(name: str, *domains: App, **more: object) -> App:
    return {"name": name, "domains": list(domains), **more}


class Unreadable(Mapping[str, Any]):
    """Variables that depend on what is not known here, as those of a host that was never asked for facts."""

    def __getitem__(self, key: str) -> Any:
        if key == "__app_claims":
            raise KeyError(key)
        raise AnsibleUndefinedVariable("'ansible_facts' has no attribute 'domain'")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def problems(**apps: list[App]) -> list[str]:
    hostvars = {host: {"serverkit_apps": listed} for host, listed in apps.items()}
    return fleet_problems(hostvars, list(apps), list(apps))


# --- claims -------------------------------------------------------------------------------------------------------


def test_domains_aliases_and_slugs_are_claimed() -> None:
    apps = [
        app("blog", {"name": "blog.test", "aliases": ["www.blog.test", "blog.test"]}),
        app("api", {"name": "api.test", "shared": True}, private_url={"slug": "our-api"}),
        app("old", {"name": "old.test"}, state="absent"),
    ]
    assert domain_claims(apps, "apps.test") == [
        {"name": "blog.test", "app": "blog", "shared": False},
        {"name": "www.blog.test", "app": "blog", "shared": False},
        {"name": "api.test", "app": "api", "shared": True},
        {"name": "our-api.apps.test", "app": "api", "shared": False},
    ]


def test_what_a_module_takes_for_a_list_or_a_boolean_is_one() -> None:
    domains = [{"name": "a.test", "aliases": "b.test,c.test", "shared": "yes"}, {"name": "d.test", "shared": "no"}]
    claims = domain_claims([app("blog", *domains)])
    assert [(claim["name"], claim["shared"]) for claim in claims] == [
        ("a.test", True),
        ("b.test", True),
        ("c.test", True),
        ("d.test", False),
    ]


def test_slugs_below_a_path_are_each_servers_own() -> None:
    assert domain_claims([app("api", private_url={"slug": "our-api"})]) == []


@pytest.mark.parametrize(
    "apps",
    [None, "web", {"name": "a"}, ["a"], [{"domains": "x.test"}], [{"domains": [{"name": 1, "aliases": {"x": 1}}]}]],
)
def test_what_is_no_list_of_apps_claims_nothing(apps: object) -> None:
    assert domain_claims(apps) == []


# --- problems -----------------------------------------------------------------------------------------------------


def test_servers_with_names_of_their_own_are_fine() -> None:
    assert problems(web1=[app("a", {"name": "a.test"})], web2=[app("a", {"name": "b.test"})]) == []


def test_a_name_on_two_servers_is_told_with_both() -> None:
    theirs = {"name": "y.test", "aliases": ["x.test"]}
    (told,) = problems(web1=[app("blog", {"name": "x.test"})], web2=[app("shop", theirs)])
    assert told == (
        "The domain x.test is claimed by the app blog on web1 and the app shop on web2. Leave it to one of them, or "
        "let each of them say `shared: true` for it if they are to serve it together."
    )


def test_one_app_on_two_servers_is_two_owners() -> None:
    (told,) = problems(web1=[app("blog", {"name": "x.test"})], web2=[app("blog", {"name": "x.test"})])
    assert "the app blog on web1 and the app blog on web2" in told


def test_a_name_may_be_shared_by_all_who_claim_it() -> None:
    shared = [app("blog", {"name": "x.test", "shared": True})]
    assert problems(web1=shared, web2=shared, web3=shared) == []


def test_a_name_that_one_of_them_does_not_share_is_told() -> None:
    (told,) = problems(
        web1=[app("blog", {"name": "x.test", "shared": True})], web2=[app("shop", {"name": "x.test", "shared": False})]
    )
    assert "let shop on web2 say" in told


def test_two_apps_of_one_server_are_not_the_fleets_business() -> None:
    assert problems(web1=[app("a", {"name": "x.test"}), app("b", {"name": "x.test"})], web2=[]) == []


def test_an_app_that_goes_makes_room_for_another_servers() -> None:
    assert problems(web1=[app("a", {"name": "x.test"}, state="absent")], web2=[app("a", {"name": "x.test"})]) == []


def test_a_slug_below_one_private_domain_is_one_name() -> None:
    listed = [app("a", private_url={"slug": "preview"})]
    hostvars = {
        host: {"serverkit_apps": listed, "serverkit_private_domain": domain}
        for host, domain in (("web1", "apps.test"), ("web2", "apps.test"), ("web3", "other.test"), ("web4", ""))
    }
    (told,) = fleet_problems(hostvars, list(hostvars), list(hostvars))
    assert told.startswith("The domain preview.apps.test is claimed by the app a on web1 and the app a on web2.")


def test_a_play_is_told_of_its_own_servers_only() -> None:
    hostvars = {
        "web1": {"serverkit_apps": [app("a", {"name": "a.test"})]},
        "web2": {"serverkit_apps": [app("a", {"name": "x.test"})]},
        "web3": {"serverkit_apps": [app("a", {"name": "x.test"})]},
    }
    assert fleet_problems(hostvars, list(hostvars), ["web1"]) == []
    assert len(fleet_problems(hostvars, list(hostvars), ["web2"])) == 1


def test_what_a_server_of_the_play_says_itself_counts() -> None:
    hostvars = {
        "web1": {"serverkit_apps": [], "__app_claims": [{"name": "x.test", "app": "a", "shared": False}]},
        "web2": {"serverkit_apps": [app("b", {"name": "x.test"})]},
    }
    (told,) = fleet_problems(hostvars, list(hostvars), list(hostvars))
    assert "the app a on web1 and the app b on web2" in told


def test_a_server_without_apps_claims_nothing() -> None:
    assert fleet_problems({"web1": {}, "web2": {}}, ["web1", "web2"], ["web1"]) == []


def test_a_server_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _display, text: warnings.append(text))
    hostvars: dict[str, Mapping[str, Any]] = {"web1": {"serverkit_apps": [app("a", {"name": "a.test"})]}}
    hostvars["web9"] = Unreadable()
    assert fleet_problems(hostvars, list(hostvars), ["web1"]) == []
    (warning,) = warnings
    assert "web9" in warning
    assert "has no attribute 'domain'" in warning
