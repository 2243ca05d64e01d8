# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets which name."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import private_urls, vhost_model
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import (
    Elsewhere,
    Names,
    Resolution,
    described,
    resolve,
    site,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.private_urls import expired
from ansible_collections.serverkit.core.plugins.module_utils._values import site_parsing
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import PrivateDomain, Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DomainRecord, PrivateUrl
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import Mode, TlsRequest
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
SLUGS = {"one": "random-one", "two": "random-two"}


def wanted(app: str, name: str, *aliases: str, present: bool = True, **more: Any) -> Wanted:
    return Wanted("domain", app, present, name, aliases, **more)


def private(app: str, slug: str | None = None, present: bool = True, **more: Any) -> Wanted:
    return Wanted("private_url", app, present, slug=slug, **more)


def rows(app: str, name: str, *aliases: str, shared: bool = False) -> tuple[DomainRecord, ...]:
    return tuple(DomainRecord(found, app, name, shared=shared) for found in (name, *aliases))


def after(items: list[Wanted], owned: dict[str, Names], exclusive: set[str] | None = None, **more: Any) -> Resolution:
    options = {"elsewhere": Elsewhere(), "failures": {}, "now": NOW, **more}
    return resolve(items, owned, exclusive=exclusive or set(), slugs=SLUGS, **options)


def names_of(result: Resolution, app: str) -> list[str]:
    return [row.name for row in result.names.get(app, Names()).domains]


def test_a_new_domain_is_added_to_the_others() -> None:
    result = after([wanted("one", "b.com", "www.b.com")], {"one": Names(rows("one", "a.com"))})
    assert names_of(result, "one") == ["a.com", "b.com", "www.b.com"]


def test_aliases_are_replaced_whole() -> None:
    result = after([wanted("one", "a.com", "new.com")], {"one": Names(rows("one", "a.com", "old.com"))})
    assert names_of(result, "one") == ["a.com", "new.com"]


def test_an_alias_becomes_a_domain_of_its_own_when_it_is_given_up() -> None:
    owned = {"one": Names(rows("one", "a.com", "www.a.com"))}
    assert after([wanted("one", "www.a.com")], owned).failures
    both = after([wanted("one", "www.a.com"), wanted("one", "a.com")], owned)
    assert not both.failures
    assert {row.primary for row in both.names["one"].domains} == {"a.com", "www.a.com"}


def test_absent() -> None:
    owned = {"one": Names((*rows("one", "a.com", "www.a.com"), *rows("one", "b.com")))}
    assert names_of(after([wanted("one", "a.com", present=False)], owned), "one") == ["b.com"]
    assert names_of(after([wanted("one", "www.a.com", present=False)], owned), "one") == ["a.com", "b.com"]
    assert names_of(after([wanted("two", "a.com", present=False)], owned), "one") == ["a.com", "www.a.com", "b.com"]
    assert not after([Wanted("all", "one", present=False)], owned).names["one"]


def test_exclusive() -> None:
    owned = {"one": Names(rows("one", "a.com"), PrivateUrl("s", "one")), "two": Names(rows("two", "t.com"))}
    result = after([wanted("one", "b.com")], owned, {"one"})
    assert names_of(result, "one") == ["b.com"]
    assert result.names["one"].private is None
    assert names_of(result, "two") == ["t.com"]


def test_exclusive_spares_an_app_with_a_failed_item() -> None:
    owned = {"one": Names(rows("one", "a.com")), "two": Names(rows("two", "t.com"))}
    result = after([wanted("one", "b.com"), wanted("one", "t.com")], owned, {"one"})
    assert list(result.failures) == [1]
    assert names_of(result, "one") == ["a.com", "b.com"]


def test_the_owner_is_named() -> None:
    owned = {"two": Names(rows("two", "t.com", "www.t.com"))}
    for name, owner in (("t.com", "the app two"), ("www.t.com", "the app two, as an alias of t.com")):
        result = after([wanted("one", name)], owned)
        assert owner in str(result.failures[0])
        assert not result.names.get("one")
    elsewhere = Elsewhere({"e.com": "the app x on web2"}, {"slug": "the app y on web3"})
    result = after([wanted("one", "e.com"), private("one", "slug")], {}, elsewhere=elsewhere)
    assert "the app x on web2" in str(result.failures[0])
    assert "the app y on web3" in str(result.failures[1])


def test_a_failed_item_keeps_what_it_has() -> None:
    owned = {"one": Names(rows("one", "a.com", "www.a.com")), "two": Names(rows("two", "t.com"))}
    result = after([wanted("one", "a.com", "t.com")], owned)
    assert names_of(result, "one") == ["a.com", "www.a.com"]
    known = after([wanted("one", "a.com")], owned, failures={0: InputError("x", "y")})
    assert known.names["one"] == owned["one"]


def test_names_and_slugs_are_exchanged_in_one_task() -> None:
    owned = {
        "one": Names(rows("one", "a.com"), PrivateUrl("aaa", "one")),
        "two": Names(rows("two", "b.com"), PrivateUrl("bbb", "two")),
    }
    items = [wanted("one", "b.com"), wanted("two", "a.com"), private("one", "bbb"), private("two", "aaa")]
    result = after(items, owned, {"one", "two"})
    assert not result.failures
    assert names_of(result, "one") == ["b.com"]
    assert result.names["two"].private == PrivateUrl("aaa", "two")


def test_private_urls() -> None:
    assert after([private("one")], {}).names["one"].private == PrivateUrl("random-one", "one")
    owned = {"one": Names((), PrivateUrl("kept", "one"))}
    assert after([private("one")], owned, {"one"}).names["one"].private == PrivateUrl("kept", "one")
    assert after([private("one", "new")], owned).names["one"].private == PrivateUrl("new", "one")
    assert after([private("one", present=False)], owned).names["one"].private is None
    assert after([private("one", "kept", present=False)], owned).names["one"].private is None
    assert after([private("one", "other", present=False)], owned).names["one"].private == PrivateUrl("kept", "one")
    assert "the app one" in str(after([private("two", "kept")], owned).failures[0])


def below(name: str, mode: Mode = "none") -> PrivateDomain:
    return PrivateDomain(name, TlsRequest(mode, "dns-01" if mode == "letsencrypt" else "http-01"))


def test_names_below_the_private_domain() -> None:
    row = PrivateUrl("my-slug", "one", {"domain": "apps.com"})
    owned = {"one": Names((), row), "two": Names(rows("two", "taken.apps.com"))}
    for name, owner in (
        ("my-slug.apps.com", "the private URL of one"),
        ("*.apps.com", "the private URLs of this host"),
    ):
        assert owner in str(after([wanted("two", name)], owned).failures[0])
    assert not after([wanted("two", "other.apps.com"), wanted("two", "apps.com")], owned).failures
    refused = after([private("one", "taken")], owned).failures[0]
    assert "the private URL taken.apps.com to the app one" in str(refused)
    assert "the app two" in str(refused)
    free = {"two": owned["two"]}
    assert not after([private("one", "taken"), wanted("two", "*.apps.com")], free).failures
    assert after([private("one", "taken")], free, private_domain=below("apps.com")).failures
    assert after([wanted("two", "*.apps.com")], free, private_domain=below("apps.com")).failures


def test_a_private_url_stays_below_its_domain_until_a_task_names_another_one() -> None:
    apps = below("apps.com", "letsencrypt")
    owned = dict(after([private("one"), wanted("one", "a.com")], {}, private_domain=apps).names)
    row = owned["one"].private
    assert row is not None
    assert private_urls.domain_of(row) == apps
    assert row.host == "random-one.apps.com"
    for items in ([private("one")], [wanted("one", "a.com")], [wanted("one", "b.com", present=False)]):
        assert after(items, owned).names["one"].private == row
    # Who has none yet gets one where tasks that say nothing have always put it.
    assert (after([private("two")], owned).names["two"].private or row).host == ""
    moved = after([private("one")], owned, private_domain=below("other.com")).names["one"].private
    assert moved is not None
    assert private_urls.domain_of(moved) == below("other.com")
    back = after([private("one")], owned, private_domain=below("")).names["one"].private
    assert back == PrivateUrl("random-one", "one")


def test_all_private_urls_below_a_domain_have_one_certificate() -> None:
    owned = {
        "one": Names((), PrivateUrl("aaa", "one", {"domain": "apps.com", "tls": "internal", "port": 7})),
        "two": Names((), PrivateUrl("bbb", "two", {"domain": "other.com", "tls": "internal"})),
    }
    names = after([private("three", "ccc")], owned, private_domain=below("apps.com", "letsencrypt")).names
    one = names["one"].private
    assert one is not None
    assert one.options == {"domain": "apps.com", "tls": "letsencrypt", "challenge": "dns-01", "port": 7}
    assert names["two"] == owned["two"]
    found = private_urls.domains_of((has.private for has in names.values()), None)
    assert [(domain.name, domain.tls.mode) for domain in found] == [
        ("apps.com", "letsencrypt"),
        ("other.com", "internal"),
    ]
    # The task's own has the certificate; one that nobody is below is nobody's concern.
    provided = PrivateDomain("other.com", TlsRequest("provided", certificate="PEM"))
    assert private_urls.domains_of([owned["two"].private, None], provided) == (provided,)
    assert private_urls.domains_of([], provided) == ()


APPS = st.sampled_from(["one", "two"])
DOMAINS = st.lists(st.sampled_from(["a.com", "b.com", "c.com", "d.com"]), min_size=2, max_size=2, unique=True)
ITEMS = st.builds(
    lambda app, names, present: wanted(app, *names, present=present), APPS, DOMAINS, st.booleans()
) | st.builds(private, APPS, st.sampled_from([None, "aaa", "bbb"]), st.booleans())


@given(st.lists(ITEMS, max_size=5), st.lists(ITEMS, max_size=5), st.sets(st.sampled_from(["one", "two"])))
def test_nobody_ever_shares_a_name_and_a_second_run_changes_nothing(
    first: list[Wanted], then: list[Wanted], exclusive: set[str]
) -> None:
    def unrepeated(items: list[Wanted]) -> list[Wanted]:
        return list({item.name: item for item in items}.values())

    owned = dict(after(unrepeated(first), {}).names)
    items = unrepeated(then)
    result = after(items, owned, exclusive)
    held = [row.name for has in result.names.values() for row in has.domains]
    assert len(held) == len(set(held))
    slugs = [has.private.slug for has in result.names.values() if has.private]
    assert len(slugs) == len(set(slugs))
    for at, item in enumerate(items):
        if at not in result.failures and item.present and item.kind == "domain":
            assert item.domain in names_of(result, item.app)
    if not result.failures:
        again = after(items, dict(result.names), exclusive)
        assert again.names == result.names


def test_a_domain_that_hosts_share() -> None:
    elsewhere = Elsewhere({"e.com": "the app x on web2", "www.e.com": "the app x on web2"}, shared={"e.com"})
    assert after([wanted("one", "e.com")], {}, elsewhere=elsewhere).failures
    assert after([wanted("one", "e.com", "www.e.com", shared=True)], {}, elsewhere=elsewhere).failures
    result = after([wanted("one", "e.com", "f.com", shared=True)], {}, elsewhere=elsewhere)
    assert result.names["one"].domains == rows("one", "e.com", "f.com", shared=True)
    # On one host a name has one app.
    owned = {"two": Names(rows("two", "e.com", shared=True))}
    assert after([wanted("one", "e.com", shared=True)], owned, elsewhere=elsewhere).failures


def test_a_duration_runs_from_the_first_run() -> None:
    item = private("one", "slug", expires="7d")
    row = after([item], {}).names["one"].private
    assert row == PrivateUrl("slug", "one", {"expires": "7d", "until": "2026-11-30T12:00:00Z"})
    later = after([item], {"one": Names((), row)}, now=NOW + timedelta(days=2)).names["one"].private
    assert later == row
    longer = after([private("one", "slug", expires="14d")], {"one": Names((), row)}, now=NOW + timedelta(days=2))
    assert longer.names["one"].private == PrivateUrl("slug", "one", {"expires": "14d", "until": "2026-12-09T12:00:00Z"})
    other = after([private("one", "new-slug", expires="7d")], {"one": Names((), row)}, now=NOW + timedelta(days=2))
    assert other.names["one"].private == PrivateUrl(
        "new-slug", "one", {"expires": "7d", "until": "2026-12-02T12:00:00Z"}
    )


def test_an_expired_private_url_keeps_its_row_and_is_not_served() -> None:
    row = PrivateUrl("slug", "one", {"expires": "7d", "until": "2026-11-30T12:00:00Z", "port": 8001})
    end = datetime(2026, 11, 30, 12, 0, tzinfo=timezone.utc)
    for now, over in ((end - timedelta(seconds=1), False), (end, True), (end + timedelta(days=400), True)):
        assert expired(row, now) is over
        assert (site("one", Names((), row), {}, guess=False, now=now).private is None) is over
    names = after([private("one", expires="7d")], {"one": Names((), row)}, now=end).names["one"]
    assert names.private is not None
    assert names.private.options["until"] == "2026-11-30T12:00:00Z"
    assert names.private.slug == "slug"


def test_what_is_served() -> None:
    names = Names(
        (
            *rows("one", "b.com", "z.com", "a.com"),
            DomainRecord("c.com", "one", "c.com", {"port": 9, "websocket": False}),
        ),
        PrivateUrl("s", "one"),
    )
    found = site("one", names, {"one": 8001}, guess=False, now=NOW)
    assert [server.names for server in found.servers] == [("b.com", "a.com", "z.com"), ("c.com",)]
    assert [(server.port, server.site.websocket) for server in found.servers] == [(8001, True), (9, False)]
    assert found.private is not None
    assert found.private.port == 8001
    with pytest.raises(HostError, match="Deploy the app first"):
        site("one", names, {}, guess=False, now=NOW)
    assert site("one", names, {}, guess=True, now=NOW).servers[0].port is None


def test_ports_that_a_domain_needs() -> None:
    def served(options: dict[str, Any], ports: dict[str, int | None]) -> Any:
        port = {"port": options["port"]} if "port" in options else {}
        row = DomainRecord("a.com", "one", "a.com", {**site_parsing.parse(options).as_row(), **port})
        return site("one", Names((row,)), ports, guess=False, now=NOW).servers[0]

    for own_target in (
        {"redirect_to": {"host": "b.com"}},
        {"root": {"directory": "/srv/x"}},
        {"upstreams": [{"port": 1}]},
    ):
        assert served(own_target, {}).port is None
    paths = [
        {"path": "/a", "app": "two"},
        {"path": "/b", "port": 7},
        {"path": "/c"},
        {"path": "/d", "upstreams": [{"port": 1}]},
    ]
    found = served({"paths": paths}, {"one": 8001, "two": 8002})
    assert found.path_ports == {"/a": 8002, "/b": 7, "/c": 8001}
    # A path that says nothing else goes where the domain goes.
    assert served({"paths": [{"path": "/c"}], "port": 9}, {"one": 8001}).path_ports == {"/c": 9}
    assert served({"paths": [{"path": "/c"}], "upstreams": [{"port": 5}]}, {}).path_ports == {}
    assert served({"paths": [{"path": "/c"}], "root": {"directory": "/srv/x"}}, {"one": 1}).path_ports == {"/c": 1}
    with pytest.raises(HostError, match="the app two"):
        served({"paths": paths}, {"one": 8001})


def test_certificates_and_the_private_domain() -> None:
    names = Names(rows("one", "b.com", "a.com"), PrivateUrl("short", "one", {"port": 1, "domain": "apps.com"}))
    files = TlsFiles("c", "k", ("b.com",))
    found = site("one", names, {"one": 1}, guess=False, now=NOW, certificates={"b.com": files}, private_tls=files)
    assert found.servers[0].covered == ("b.com",)
    assert found.private is not None
    assert (found.private.host, found.private.domain) == (
        "short.apps.com",
        vhost_model.PrivateDomain("apps.com", files),
    )
    names = Names((), PrivateUrl("s" * 64, "one", {"port": 1, "domain": "apps.com"}))
    with pytest.raises(HostError, match="shorter slug"):
        site("one", names, {"one": 1}, guess=False, now=NOW)


def test_rows_in_a_diff() -> None:
    shown = described([*rows("one", "a.com", "b.com"), PrivateUrl("s", "one", {"port": 1}), None])
    assert shown == "a.com\nb.com (alias of a.com)\n/p/s/ port=1\n"
    assert described([PrivateUrl("s", "one", {"domain": "a.com", "tls": "internal"})]) == "s.a.com/ tls=internal\n"
