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
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost import (
    Private,
    PrivateDomain,
    Server,
    Site,
    Target,
)
from ansible_collections.serverkit.core.plugins.module_utils._values import domain, nginx_syntax, site_parsing
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    PROOF_PATH,
    Content,
    Layout,
    NginxVersion,
    TlsFiles,
)
from hypothesis import example, given
from hypothesis import strategies as st

LAYOUT = Layout()
TARGET = Target(LAYOUT, NginxVersion(1, 22, 1), ipv6=True)
TLS = TlsFiles("/ssl/chain.pem", "/ssl/key.pem", ("a.com", "www.a.com"), "0123abcd")


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
    return Site("blog", servers, Private(slug, 8001) if slug else None)


def text_of(of: Site, target: Target = TARGET) -> str:
    rendered = vhost.site_text(of, target)
    assert rendered is not None
    return rendered.text


def private_text(of: Site) -> str:
    rendered = vhost.private_text(of, TARGET)
    assert rendered is not None
    return rendered.text


def domain_with(options: dict[str, Any], *names: str, tls: TlsFiles | None = None) -> Site:
    return site(Server(names or ("a.com",), 8001, site_parsing.parse(options), tls))


def blocks(text: str) -> list[dict[str, list[list[str]]]]:
    """The server blocks, each as its own directives by name."""
    found = []
    for server in [one for one in parsed(text) if one["directive"] == "server"]:
        shown: dict[str, list[list[str]]] = {}
        for one in server["block"]:
            shown.setdefault(one["directive"], []).append(one["args"])
        found.append(shown)
    return found


def test_a_domain() -> None:
    text = text_of(site(Server(("a.com", "www.a.com"), 8001)))
    assert arguments(text, "server_name") == [["a.com", "www.a.com"]]
    assert arguments(text, "listen") == [["80"], ["[::]:80"]]
    assert arguments(text, "proxy_pass") == [["http://serverkit-blog-8001"]]
    assert ["127.0.0.1:8001"] in arguments(text, "server")
    assert arguments(text, "proxy_http_version") == [["1.1"]]
    assert ["Connection", "$serverkit_connection"] in arguments(text, "proxy_set_header")
    assert arguments(text, "access_log")[0][0] == "/var/log/nginx/blog.access.log"
    assert arguments(text, "error_log") == [["/var/log/nginx/blog.error.log"]]


def test_without_ipv6_and_without_websockets() -> None:
    text = text_of(domain_with({"websocket": False}), Target(LAYOUT, NginxVersion(1, 22, 1), ipv6=False))
    assert arguments(text, "listen") == [["80"]]
    assert ["Upgrade", ""] in arguments(text, "proxy_set_header")
    assert ["Connection", ""] in arguments(text, "proxy_set_header")


def test_one_upstream_for_each_port() -> None:
    servers = [Server((f"{port}-{number}.com",), port) for port in (2, 1) for number in range(2)]
    text = text_of(site(*servers))
    assert arguments(text, "upstream") == [["serverkit-blog-1"], ["serverkit-blog-2"]]


def test_a_certificate_for_some_of_the_names() -> None:
    of = site(Server(("a.com", "b.com", "www.a.com"), 8001, tls=TLS))
    secure, redirecting, plain = blocks(text_of(of))
    assert secure["server_name"] == [["a.com", "www.a.com"]]
    assert secure["listen"] == [["443", "ssl", "http2"], ["[::]:443", "ssl", "http2"]]
    assert (secure["ssl_certificate"], secure["ssl_certificate_key"]) == ([["/ssl/chain.pem"]], [["/ssl/key.pem"]])
    assert secure["ssl_protocols"] == [["TLSv1.2", "TLSv1.3"]]
    assert redirecting["server_name"] == [["a.com", "www.a.com"]]
    assert ["/"] in redirecting["location"]
    assert plain["server_name"] == [["b.com"]]
    assert arguments(text_of(of), "return").count(["301", "https://$host$request_uri"]) == 1
    for block in (redirecting, plain):
        assert block["listen"] == [["80"], ["[::]:80"]]
        assert ["^~", "/.well-known/acme-challenge/"] in block["location"]
        assert ["^~", "/.well-known/serverkit-probe/"] in block["location"]
    assert "# Certificate 0123abcd" in text_of(of)


def test_a_certificate_for_none_of_the_names() -> None:
    of = site(Server(("c.com",), 8001, tls=TLS))
    assert text_of(of) == text_of(site(Server(("c.com",), 8001)))


def test_without_a_redirect() -> None:
    secure, plain = blocks(text_of(domain_with({"http_redirect": False}, "a.com", "b.com", tls=TLS)))
    assert secure["server_name"] == [["a.com"]]
    assert plain["server_name"] == [["a.com", "b.com"]]


def test_http2_by_version() -> None:
    of = site(Server(("a.com",), 8001, tls=TLS))
    secure = blocks(text_of(of, Target(LAYOUT, NginxVersion(1, 25, 1), ipv6=False)))[0]
    assert (secure["listen"], secure["http2"]) == ([["443", "ssl"]], [["on"]])
    assert blocks(text_of(of, Target(LAYOUT, NginxVersion(1, 25, 0), ipv6=False)))[0]["listen"] == [
        ["443", "ssl", "http2"]
    ]


def test_unknown_names_by_version() -> None:
    new = vhost.catch_all_text(TARGET, tls=True).text
    assert arguments(new, "ssl_reject_handshake") == [["on"]]
    old = Target(LAYOUT, NginxVersion(1, 18, 0), ipv6=False)
    with pytest.raises(ValueError, match="certificate"):
        vhost.catch_all_text(old, tls=True)
    text = vhost.catch_all_text(old, tls=True, fallback=TLS).text
    assert ["444"] in arguments(text, "return")
    assert arguments(text, "ssl_reject_handshake") == []
    assert arguments(vhost.catch_all_text(old, tls=False).text, "listen") == [["80", "default_server"]]


def test_hsts_goes_by_https_only() -> None:
    of = domain_with({"hsts": {"include_subdomains": True}, "http_redirect": False}, tls=TLS)
    secure, plain = text_of(of).split("\nserver {")[1:]
    assert 'add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;' in secure
    assert "Strict-Transport-Security" not in plain


def test_no_option_keeps_a_proof_or_a_challenge_from_being_answered() -> None:
    closed = {
        "basic_auth": {"users": {"a": "b"}}, "allow": ["192.0.2.1"], "deny": ["192.0.2.0/24"], "maintenance": {},
        "rate_limit": {"requests": 1}, "extra": "return 403;", "headers": {"X-A": "b"}, "cache_static": {},
    }  # fmt: skip
    harmless = {
        "listen", "server_name", "server_tokens", "absolute_redirect", "client_max_body_size", "access_log",
        "error_log", "location", "set_real_ip_from", "real_ip_header", "real_ip_recursive",
    }  # fmt: skip
    for options in (closed, {"redirect_to": {"host": "b.com"}, "real_ip_from": {"ranges": ["192.0.2.1"]}}):
        (block,) = blocks(text_of(domain_with(options)))
        assert set(block) <= harmless
        for answered in (["=", PROOF_PATH], ["^~", "/.well-known/acme-challenge/"]):
            assert answered in block["location"]


def test_a_proof_stands_for_the_whole_text() -> None:
    one = vhost.site_text(site(Server(("a.com",), 1)), TARGET)
    two = vhost.site_text(site(Server(("a.com",), 2)), TARGET)
    assert one is not None
    assert two is not None
    assert one.proof != two.proof
    assert ["200", one.proof] in arguments(one.text, "return")
    assert sites.looks_like_proof(one.proof)
    assert arguments(one.text, "location")[0] == ["=", PROOF_PATH]


def test_the_proof_of_a_domain_says_nothing_about_the_slug() -> None:
    server = Server(("a.com",), 8001)
    assert vhost.site_text(site(server, slug="one"), TARGET) == vhost.site_text(site(server, slug="two"), TARGET)


def test_the_slug_is_found_again() -> None:
    text = private_text(site(slug="k5zq3mnd"))
    assert sites.slug_in(text) == "k5zq3mnd"
    assert sites.slug_in(text.replace("# Managed by serverkit.core", "#")) == ""
    assert sites.slug_in("") == ""
    for tls in (TLS, None):
        below = Site("blog", (), Private("k5zq3mnd", 8001, domain=PrivateDomain("apps.a.com", tls)))
        rendered = vhost.private_site_text(below, TARGET)
        assert rendered is not None
        assert sites.slug_in(rendered.text) == "k5zq3mnd"
        assert vhost.private_text(below, TARGET) is None
        assert vhost.site_text(below, TARGET) is None


def test_what_is_shared() -> None:
    assert arguments(vhost.shared_text(TARGET, names_hash=True), "server_names_hash_bucket_size") == [["512"]]
    assert arguments(vhost.shared_text(TARGET, names_hash=False), "server_names_hash_bucket_size") == []
    catch_all = vhost.catch_all_text(TARGET, tls=False).text
    assert arguments(catch_all, "listen") == [["80", "default_server"], ["[::]:80", "default_server"]]
    assert arguments(catch_all, "include") == [["/etc/nginx/serverkit/private/*.conf"]]


def changed(of: Site, **more: Any) -> sites.SiteChange:
    return sites.site_change(of, "", more.pop("look", lambda _path: None), TARGET, **more)


def test_files_come_in_an_order_that_is_valid_at_every_instant() -> None:
    def written(path: str) -> Content | None:
        return Content(LAYOUT.available("blog"), link=True) if "enabled" in path else Content(vhost.HEADER)

    of = Site("blog", (Server(("a.com",), 1),), Private("slug", 1, until="2030-01-01T00:00:00Z"))
    order = [LAYOUT.available("blog"), LAYOUT.enabled("blog"), LAYOUT.private_site("blog"), LAYOUT.private("blog")]
    assert [change.path for change in changed(of).files] == order
    assert [change.path for change in changed(Site("blog", (), None), look=written).files] == order[::-1]
    below = Site("blog", of.servers, Private("slug", 1, domain=PrivateDomain("apps.a.com")))
    assert [change.path for change in changed(below, look=written).files] == [*order[:3], order[3]]


def test_proofs() -> None:
    of = Site(
        "blog",
        (Server(("*.a.com", "a.com"), 1, tls=TLS),),
        Private("slug", 1, domain=PrivateDomain("apps.a.com", TLS)),
    )
    found = [(proof.host, proof.tls is not None) for proof in changed(of).proofs]
    assert found == [
        ("serverkit-proof.a.com", False), ("a.com", False), ("a.com", True), ("slug.apps.a.com", True),
    ]  # fmt: skip


def test_password_files() -> None:
    options = site_parsing.parse({"basic_auth": {"users": {"ann": "x"}}})
    of = site(Server(("a.com",), 1, options), Server(("b.com",), 1, options), Server(("c.com",), 1))
    mine, kept, stale = (LAYOUT.htpasswd("blog", name) for name in ("a.com", "b.com", "old.com"))
    hashed = Content(f"{vhost.HEADER}ann:$6$salt$abc\n", 0o600, owner="www-data")
    change = changed(of, look={stale: hashed}.get, auth={mine: hashed}, auth_files=[kept, stale])
    by_path = {file.path: file.after for file in change.files}
    assert by_path[mine] == hashed
    assert kept not in by_path
    assert by_path[stale] is None
    shown = "".join(diff.before + diff.after for diff in change.diffs)
    assert "ann:<redacted sha256:" in shown
    assert "$6$" not in shown
    assert LAYOUT.htpasswd("a-b", "c.com") != LAYOUT.htpasswd("a", "b-c.com")


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join)


@given(st.lists(NAMES | st.text(), min_size=1, max_size=4), LABELS | st.text(), st.integers())
@example(["0" * 32 + ".com"], "0" * 32, 8001)
@example(["proof.com"], "proof", 8001)
@example(["a.com;}"], "x y", 0)
def test_any_string_is_refused_or_comes_back(names: list[str], slug: str, port: int) -> None:
    options = {"aliases": None, "state": "present", "dns_check": "off", "check_port": True}
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
        tuple(Server((name,), port) for name in domains),
        Private(slugs[0], port) if slugs else None,
    )
    main, private = text_of(of), [private_text(of)] if slugs else []
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
        token = nginx_syntax.token(value)
    except InputError:
        assert "$" in value or any(ord(one) < 32 or ord(one) == 127 for one in value)
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
            nginx_syntax.token(value)
