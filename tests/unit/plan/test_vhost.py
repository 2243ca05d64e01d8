# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nginx is given to read, read back by a parser that is not ours."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import crossplane  # the package ngxparse, a maintained fork
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import nginx_config, sites, vhost
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost import Backend, Private, Server, Site
from ansible_collections.serverkit.core.plugins.module_utils._values import domain
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import PROOF_PATH, Layout
from hypothesis import example, given
from hypothesis import strategies as st

LAYOUT = Layout()


def parsed(text: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "x.conf")
        path.write_text(text)
        payload = crossplane.parse(str(path), single=True, check_args=False, check_ctx=False)
    assert payload["status"] == "ok", payload["errors"]
    found: list[dict[str, Any]] = payload["config"][0]["parsed"]
    return found


def walked(directives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found for one in directives for found in (one, *walked(one.get("block", [])))]


def arguments(text: str, directive: str) -> list[list[str]]:
    return [found["args"] for found in walked(parsed(text)) if found["directive"] == directive]


def site(*servers: Server, slug: str = "") -> Site:
    return Site("blog", servers, Private(slug, Backend(8001)) if slug else None)


def texts(of: Site) -> list[str]:
    found = [vhost.site_text(of, LAYOUT, ipv6=True).text]
    return found + ([vhost.private_text(of, LAYOUT).text] if of.private else [])


def test_a_domain() -> None:
    text = vhost.site_text(site(Server(("a.com", "www.a.com"), Backend(8001))), LAYOUT, ipv6=True).text
    assert arguments(text, "server_name") == [["a.com", "www.a.com"]]
    assert arguments(text, "listen") == [["80"], ["[::]:80"]]
    assert arguments(text, "proxy_pass") == [["http://serverkit-blog-8001"]]
    assert ["127.0.0.1:8001"] in arguments(text, "server")
    assert arguments(text, "proxy_http_version") == [["1.1"]]
    assert ["Connection", "$serverkit_connection"] in arguments(text, "proxy_set_header")
    assert arguments(text, "access_log")[0][0] == "/var/log/nginx/blog.access.log"
    assert arguments(text, "error_log") == [["/var/log/nginx/blog.error.log"]]


def test_without_ipv6_and_without_websockets() -> None:
    text = vhost.site_text(site(Server(("a.com",), Backend(1, websocket=False))), LAYOUT, ipv6=False).text
    assert arguments(text, "listen") == [["80"]]
    assert ["Upgrade", ""] in arguments(text, "proxy_set_header")
    assert ["Connection", ""] in arguments(text, "proxy_set_header")


def test_one_upstream_for_each_port() -> None:
    servers = [Server((f"{port}-{number}.com",), Backend(port)) for port in (2, 1) for number in range(2)]
    text = vhost.site_text(site(*servers), LAYOUT, ipv6=True).text
    assert arguments(text, "upstream") == [["serverkit-blog-1"], ["serverkit-blog-2"]]


def test_a_proof_stands_for_the_whole_text() -> None:
    one = vhost.site_text(site(Server(("a.com",), Backend(1))), LAYOUT, ipv6=True)
    two = vhost.site_text(site(Server(("a.com",), Backend(2))), LAYOUT, ipv6=True)
    assert one.proof != two.proof
    assert ["200", one.proof] in arguments(one.text, "return")
    assert sites.looks_like_proof(one.proof)
    assert arguments(one.text, "location")[0] == ["=", PROOF_PATH]


def test_the_proof_of_a_domain_says_nothing_about_the_slug() -> None:
    server = Server(("a.com",), Backend(8001))
    assert vhost.site_text(site(server, slug="one"), LAYOUT, ipv6=True) == vhost.site_text(
        site(server, slug="two"), LAYOUT, ipv6=True
    )


def test_the_slug_is_found_again() -> None:
    text = vhost.private_text(site(slug="k5zq3mnd"), LAYOUT).text
    assert sites.slug_in(text) == "k5zq3mnd"
    assert sites.slug_in(text.replace("# Managed by serverkit.core", "#")) == ""
    assert sites.slug_in("") == ""


def test_what_is_shared() -> None:
    assert arguments(vhost.shared_text(names_hash=True), "server_names_hash_bucket_size") == [["512"]]
    assert arguments(vhost.shared_text(names_hash=False), "server_names_hash_bucket_size") == []
    catch_all = vhost.catch_all_text(LAYOUT, ipv6=True).text
    assert arguments(catch_all, "listen") == [["80", "default_server"], ["[::]:80", "default_server"]]
    assert arguments(catch_all, "include") == [["/etc/nginx/serverkit/private/*.conf"]]


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join)


@given(st.lists(NAMES | st.text(), min_size=1, max_size=4), LABELS | st.text(), st.integers())
@example(["0" * 32 + ".com"], "0" * 32, 8001)
@example(["proof.com"], "proof", 8001)
@example(["a.com;}"], "x y", 0)
def test_any_string_is_refused_or_comes_back(names: list[str], slug: str, port: int) -> None:
    options = {"aliases": None, "websocket": True, "state": "present", "dns_check": "off", "check_port": True}
    items: list[domain.Wanted] = []
    for given_options in [{"name": name, "private_url": False, "slug": None} for name in names] + [
        {"name": None, "private_url": True, "slug": slug}
    ]:
        try:
            items.append(domain.parse({**options, "app": "blog", "port": port, **given_options}))
        except InputError:
            continue
    domains = [item.domain for item in items if item.kind == "domain"]
    slugs = [item.slug for item in items if item.kind == "private_url" and item.slug]
    assert set(domains) <= set(names)
    assert set(slugs) <= {slug}
    if not items:
        return
    of = Site(
        "blog",
        tuple(Server((name,), Backend(port)) for name in domains),
        Private(slugs[0], Backend(port)) if slugs else None,
    )
    main, *private = texts(of)
    assert [name for found in arguments(main, "server_name") for name in found] == domains
    assert arguments(main, "server")[0] == [f"127.0.0.1:{port}"]
    for text in private:
        assert [found[-1] for found in arguments(text, "location")] == [
            f"/p/{slug}",
            f"/p/{slug}{PROOF_PATH}",
            f"/p/{slug}/",
        ]


@given(st.text())
@example('a"b\\')
@example("{ } ; #")
@example("")
@example("\\")
@example('a\\\\"')
def test_any_token_is_refused_or_comes_back(value: str) -> None:
    try:
        token = vhost.token(value)
    except InputError:
        assert "$" in value or any(ord(character) < 32 or ord(character) == 127 for character in value)
        return
    text = f"before;\nx {token} y;\nafter;\n"
    shape = ["before", "x", "after"]
    if "\\" not in value:  # which crossplane leaves doubled; what nginx makes of it is tested with nginx itself
        theirs = parsed(text)
        assert [found["directive"] for found in theirs] == shape
        assert theirs[1]["args"] == [value, "y"]
    ours = nginx_config.parse(text)
    assert [found.name for found in ours] == shape
    assert ours[1].arguments == (value, "y")


def test_a_token_that_nginx_cannot_hold() -> None:
    for value in ("$host", "a\nb", "\x00", "\x7f"):
        with pytest.raises(InputError):
            vhost.token(value)
