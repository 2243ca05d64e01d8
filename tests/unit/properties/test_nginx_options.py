# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any text in any option of a domain is refused, or it is that very text that nginx gets to read.

What was written is read back by a parser that is not ours, and nginx itself tests it, many examples in one run.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import crossplane  # the package ngxparse, a maintained fork
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import domain as names
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost
from ansible_collections.serverkit.core.plugins.module_utils._values import domain, nginx_syntax, site_parsing
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, NginxVersion
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)
LAYOUT = Layout(port=18080, tls_port=18443)
TARGET = vhost.Target(LAYOUT, NginxVersion(1, 18, 0), ipv6=True)
OPTIONS = {"app": "blog", "name": "a.example", "aliases": None, "private_url": False, "slug": None, "port": 8001}
OPTIONS |= {"state": "present", "dns_check": "off", "check_port": True}
CONFIGURATION = """
pid {root}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    variables_hash_max_size 65536;
    server_names_hash_max_size 65536;
    include {root}/*.conf;
}}
"""

Walked = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Slot:
    """A place for a value: which options it makes, and what is then found where nginx reads it."""

    options: Callable[[Any], dict[str, Any]]
    found: Callable[[Walked], Iterator[Any]]
    like: st.SearchStrategy[Any]
    written: Callable[[Any], Any] = lambda value: value


def arguments(directive: str, at: int = 0) -> Callable[[Walked], Iterator[Any]]:
    return lambda walked: (one["args"][at] for one in walked if one["directive"] == directive and len(one["args"]) > at)


def keys(walked: Walked) -> Iterator[Any]:
    return (one["directive"] for one in walked)


TRICKY = st.text(st.sampled_from(" ;{}\"'\\$#\n\r\t\x00\x7f\u00a0\u2028\ud800äab/.:*~=()[]^|?%,-_0189"), max_size=12)
ANY = (
    st.text(max_size=30)
    | TRICKY
    | st.sampled_from(["", "off", "on", "default", "all", "$host", "a" * 5000, "~*", "..", "/"])
)
NUMBERS = st.integers() | st.integers(0, 70000) | st.booleans() | ANY | st.floats()


def near(pattern: str) -> st.SearchStrategy[Any]:
    """Texts of a form, with something else in them now and then."""
    good = st.from_regex(pattern, fullmatch=True)
    bad = st.builds(
        lambda text, more, at: text[: at % (len(text) + 1)] + more + text[at % (len(text) + 1) :],
        good,
        TRICKY,
        st.integers(0, 99),
    )
    return good | good | bad | ANY


PLAIN_ADDRESSES = st.ip_addresses().map(str).filter(lambda address: address != "255.255.255.255")
ADDRESSES = (
    st.ip_addresses().map(str)
    | st.builds(lambda ip, bits: f"{ip}/{bits}", st.ip_addresses(), st.integers(0, 140))
    | st.sampled_from(
        [
            "255.255.255.255",
            "10.0.0.0/8",
            "2001:db8::/32",
            "::/0",
            "0.0.0.0/0",
            "10.0.0.1/8",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
        ]
    )
    | near(r"[0-9a-f.:]{1,20}(/[0-9]{1,3})?")
)
HOSTS = near(r"[a-z0-9-]{1,10}(\.[a-z0-9-]{1,10}){0,3}(:[0-9]{1,5})?")
DIRECTORIES = near(r"(/[A-Za-z0-9 ._äß;{}-]{1,9}){1,4}")
FILES = near(r"[A-Za-z0-9._-]{1,12}")
HEADERS = near(r"[A-Za-z0-9_-]{1,20}")
LINES = near(r"[ -~]{1,40}")
TOKENS = st.text(max_size=30) | TRICKY


def one(name: str, more: Mapping[str, Any] | None = None, inner: str = "") -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: {**(more or {}), inner: value}} if inner else {name: value}


SLOTS: dict[str, Slot] = {
    "name": Slot(one("name"), arguments("server_name"), HOSTS | near(r"\*\.[a-z]{1,9}\.[a-z]{2,5}")),
    "alias": Slot(lambda value: {"aliases": [value]}, arguments("server_name", 1), HOSTS),
    "max_body_size": Slot(one("max_body_size"), arguments("client_max_body_size"), near(r"[0-9]{1,12}[kKmMgGtT]?")),
    "connect": Slot(one("timeouts", {}, "connect"), arguments("proxy_connect_timeout"), NUMBERS, "{}s".format),
    "read": Slot(one("timeouts", {}, "read"), arguments("proxy_read_timeout"), NUMBERS, "{}s".format),
    "send": Slot(one("timeouts", {}, "send"), arguments("proxy_send_timeout"), NUMBERS, "{}s".format),
    "realm": Slot(one("basic_auth", {"users": {"ann": "x"}}, "realm"), arguments("auth_basic"), LINES),
    "allow": Slot(lambda value: {"allow": [value]}, arguments("allow"), ADDRESSES),
    "deny": Slot(lambda value: {"deny": [value]}, arguments("deny"), ADDRESSES),
    "header": Slot(lambda value: {"headers": {value: "x"}}, arguments("add_header"), HEADERS),
    "header value": Slot(lambda value: {"headers": {"X-A": value}}, arguments("add_header", 1), LINES),
    "redirect host": Slot(
        one("redirect_to", {}, "host"), arguments("return", 1), HOSTS, "$scheme://{}$request_uri".format
    ),
    "redirect url": Slot(
        one("redirect_to", {"keep_path": False}, "url"),
        arguments("return", 1),
        near(r"https?://[a-z]{1,5}\.[a-z]{2,5}(:[0-9]{1,5})?(/[ -~]{0,9}){0,3}"),
    ),
    "redirect code": Slot(
        one("redirect_to", {"host": "b.example"}, "code"),
        arguments("return"),
        NUMBERS | st.sampled_from([301, 302, 307, 308]),
        str,
    ),
    "rate": Slot(
        one("rate_limit", {"per": "minute"}, "requests"), arguments("limit_req_zone", 2), NUMBERS, "rate={}r/m".format
    ),
    "burst": Slot(
        one("rate_limit", {"requests": 7}, "burst"), arguments("limit_req", 1), st.integers(1) | ANY, "burst={}".format
    ),
    "max_age": Slot(
        one("cache_static", {}, "max_age"),
        lambda walked: (arg for found in walked for arg in found["args"]),
        NUMBERS,
        "{}s".format,
    ),
    "extension": Slot(
        lambda value: {"cache_static": {"extensions": [value]}},
        keys,
        near(r"[A-Za-z0-9]{1,8}"),
        lambda value: f"~*^ .*[.](?:{value.lower()})$",
    ),
    "retry_after": Slot(one("maintenance", {}, "retry_after"), arguments("add_header", 1), NUMBERS, str),
    "maintenance allow": Slot(lambda value: {"maintenance": {"allow": [value]}}, keys, ADDRESSES),
    "proxy range": Slot(lambda value: {"real_ip_from": {"ranges": [value]}}, arguments("set_real_ip_from"), ADDRESSES),
    "proxy header": Slot(
        one("real_ip_from", {"ranges": ["192.0.2.1"]}, "header"), arguments("real_ip_header"), HEADERS
    ),
    "path": Slot(
        lambda value: {"paths": [{"path": value, "port": 1, "strip": True}]},
        arguments("location", 1),
        near(r"(/[A-Za-z0-9._~-]{1,8}){1,3}"),
        "{}/".format,
    ),
    "path port": Slot(
        lambda value: {"paths": [{"path": "/x", "port": value}]}, arguments("server"), NUMBERS, "127.0.0.1:{}".format
    ),
    "path size": Slot(
        lambda value: {"paths": [{"path": "/x", "port": 1, "max_body_size": value}]},
        arguments("client_max_body_size"),
        near(r"[0-9]{1,12}[kmg]?"),
    ),
    "path directory": Slot(
        lambda value: {"paths": [{"path": "/x", "strip": True, "root": {"directory": value}}]},
        arguments("alias"),
        DIRECTORIES,
        "{}/".format,
    ),
    "port": Slot(one("port"), arguments("server"), NUMBERS, "127.0.0.1:{}".format),
    "upstream host": Slot(
        lambda value: {"upstreams": [{"host": value, "port": 1}]},
        arguments("server"),
        ADDRESSES,
        lambda value: f"[{value}]:1" if ":" in value else f"{value}:1",
    ),
    "upstream port": Slot(
        lambda value: {"upstreams": [{"port": value}]}, arguments("server"), NUMBERS, "127.0.0.1:{}".format
    ),
    "weight": Slot(
        lambda value: {"upstreams": [{"port": 1, "weight": value}]},
        arguments("server", 1),
        st.integers(2) | ANY,
        "weight={}".format,
    ),
    "max_fails": Slot(
        lambda value: {"upstreams": [{"port": 1, "max_fails": value}]},
        arguments("server", 1),
        NUMBERS,
        "max_fails={}".format,
    ),
    "fail_timeout": Slot(
        lambda value: {"upstreams": [{"port": 1, "fail_timeout": value}]},
        arguments("server", 1),
        NUMBERS,
        "fail_timeout={}s".format,
    ),
    "keepalive": Slot(one("keepalive"), arguments("keepalive"), st.integers(1) | ANY, str),
    "directory": Slot(one("root", {}, "directory"), arguments("root"), DIRECTORIES),
    "index": Slot(lambda value: {"root": {"directory": "/srv/a", "index": [value]}}, arguments("index"), FILES),
    "php root": Slot(one("php_fpm", {"port": 1}, "root"), arguments("root"), DIRECTORIES),
    "php socket": Slot(
        one("php_fpm", {"root": "/srv/a"}, "socket"), arguments("fastcgi_pass"), DIRECTORIES, "unix:{}".format
    ),
    "php port": Slot(
        one("php_fpm", {"root": "/srv/a"}, "port"), arguments("fastcgi_pass"), NUMBERS, "127.0.0.1:{}".format
    ),
    "php index": Slot(
        one("php_fpm", {"root": "/srv/a", "port": 1}, "index"), arguments("index"), FILES | near(r"[a-z]{1,8}\.php")
    ),
    "script_root": Slot(
        one("php_fpm", {"root": "/srv/a", "port": 1}, "script_root"),
        arguments("fastcgi_param", 1),
        DIRECTORIES,
        "{}$fastcgi_script_name".format,
    ),
    "extra": Slot(
        lambda value: {"extra": f"add_header X-A {nginx_quoted(value)};"}, arguments("add_header", 1), LINES | TOKENS
    ),
}

# One of each that is taken for sure.
GOOD: dict[str, Any] = {
    "name": "b.example",
    "alias": "b.example",
    "max_body_size": "10m",
    "connect": 7,
    "read": 7,
    "send": 7,
    "realm": "a b",
    "allow": "192.0.2.0/24",
    "deny": "2001:db8::/32",
    "header": "X-B",
    "header value": "a; {b}",
    "redirect host": "b.example:8080",
    "redirect url": "https://b.example/a",
    "redirect code": 307,
    "rate": 5,
    "burst": 5,
    "max_age": 5,
    "extension": "CSS",
    "retry_after": 5,
    "maintenance allow": "::1",
    "proxy range": "10.0.0.0/8",
    "proxy header": "CF-Connecting-IP",
    "path": "/a.b/c",
    "path port": 5,
    "path size": "5k",
    "path directory": "/srv/a b",
    "port": 5,
    "upstream host": "::1",
    "upstream port": 5,
    "weight": 5,
    "max_fails": 0,
    "fail_timeout": 5,
    "keepalive": 5,
    "directory": "/srv/ b;{}",
    "index": "a.html",
    "php root": "/srv/a b",
    "php socket": "/run/a.sock",
    "php port": 5,
    "php index": "a.php",
    "script_root": "/srv/a b",
    "extra": "a; {b}",
}

# Those for which `$`, which an extra may well have, is the name of a variable.
VARIABLE_SLOTS = frozenset({"extra"})


def nginx_quoted(value: str) -> str:
    """A parameter as a careful person would write it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def walked(directives: Walked) -> list[Mapping[str, Any]]:
    return [found for one in directives for found in (one, *walked(one.get("block", [])))]


def parsed(path: pathlib.Path) -> list[Mapping[str, Any]]:
    payload = crossplane.parse(str(path), single=True, check_args=False, check_ctx=False)
    assert payload["status"] == "ok", payload["errors"]
    found: list[Mapping[str, Any]] = payload["config"][0]["parsed"]
    return found


def texts(item: domain.Wanted) -> list[str]:
    """What nginx is given to read for an item, under an app's name of its own."""
    rows = names.resolve([item], {}, names.Elsewhere(), exclusive=(), slugs={item.app: "random"}, failures={}, now=NOW)
    site = names.site(item.app, rows.names[item.app], {item.app: 8001}, guess=False, now=NOW)
    rendered = [vhost.site_text(site, TARGET), vhost.private_site_text(site, TARGET), vhost.private_text(site, TARGET)]
    return [found.text for found in rendered if found]


def wanted(options: Mapping[str, Any], app: str) -> domain.Wanted | None:
    """The item, or None where the options are refused."""
    try:
        return domain.parse({**OPTIONS, **options, "app": app})
    except InputError:
        return None


def options_of(slot: str, value: Any) -> dict[str, Any]:
    options = SLOTS[slot].options(value)
    own_target = {"redirect_to", "root", "php_fpm", "upstreams"} & set(options)
    return {**options, "port": None} if own_target else options


@dataclass
class Judge:
    """nginx itself, on files in a directory of their own."""

    root: pathlib.Path

    def complaint(self, texts_by_name: Mapping[str, str]) -> str:
        directory = self.root / "conf"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for name, text in texts_by_name.items():
            (directory / f"{name}.conf").write_text(text)
        shared = vhost.shared_text(vhost.Target(Layout(str(self.root)), TARGET.version, ipv6=True), names_hash=True)
        (directory / "_shared.conf").write_text(shared)
        main = directory / "nginx"
        main.write_text(CONFIGURATION.format(root=directory))
        done = subprocess.run(["nginx", "-t", "-q", "-c", str(main)], capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    return Judge(tmp_path_factory.mktemp("nginx"))


# Each half gets as many examples as a test does.
HALVES = [sorted(SLOTS)[::2], sorted(SLOTS)[1::2]]


def read_back(slot: str, value: Any, text: str, path: pathlib.Path) -> str:
    """What is wrong with the text that was rendered, or nothing."""
    path.write_text(text)
    directives = parsed(path)
    strangers = {one["directive"] for one in directives} - {"geo", "limit_req_zone", "map", "server", "upstream"}
    if strangers or sum(one["directive"] == "server" for one in directives) != 1:
        return f"{slot} has made {strangers} of {value!r}"
    expected = SLOTS[slot].written(value)
    found = list(SLOTS[slot].found(walked(directives)))
    if isinstance(expected, str):
        # crossplane leaves backslashes doubled.
        found = [one.replace("\\\\", "\\") for one in found]
    return "" if expected in found else f"{slot} has made {found!r} of {value!r}"


@pytest.mark.parametrize("slots", HALVES, ids=["one half", "the other"])
def test_any_text_in_any_option_is_refused_or_is_what_nginx_reads(
    nginx: Judge, judge: Any, tmp_path: pathlib.Path, slots: list[str]
) -> None:
    taken: set[str] = set()

    def disagreement(examples: Sequence[tuple[str, Any]]) -> str:
        given_to_nginx: dict[str, str] = {}
        for number, (slot, value) in enumerate(examples):
            item = wanted(options_of(slot, value), f"app-{number}")
            # An empty header is one that is taken away.
            if item is None or (slot, value) == ("header value", ""):
                continue
            taken.add(slot)
            (text,) = texts(item)
            problem = read_back(slot, value, text, tmp_path / "one.conf")
            if problem:
                return problem
            if slot not in VARIABLE_SLOTS or "$" not in value:
                given_to_nginx[f"app-{number}"] = text
        return nginx.complaint(given_to_nginx)

    examples = st.sampled_from(slots).flatmap(lambda slot: st.tuples(st.just(slot), SLOTS[slot].like))
    judge(examples, disagreement, [(slot, GOOD[slot]) for slot in slots])
    assert taken == set(slots)


VALID: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "aliases": st.lists(st.from_regex(r"[a-z]{1,9}\.example", fullmatch=True), max_size=3),
        "max_body_size": st.from_regex(r"[1-9][0-9]{0,3}[kmg]?", fullmatch=True),
        "timeouts": st.fixed_dictionaries({}, optional=dict.fromkeys(("connect", "read", "send"), st.integers(1, 999))),
        "websocket": st.booleans(),
        "buffering": st.booleans(),
        "basic_auth": st.fixed_dictionaries(
            {"users": st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.just("x"), min_size=1)}
        ),
        "allow": st.lists(PLAIN_ADDRESSES, max_size=3, unique=True),
        "deny": st.lists(PLAIN_ADDRESSES, max_size=3, unique=True),
        "headers": st.dictionaries(
            st.from_regex(r"X-[a-z]{1,8}", fullmatch=True),
            st.from_regex(r"[a-z;'\"\\{}][a-z ;'\"\\{}]{0,9}x", fullmatch=True),
            max_size=3,
        ),
        "rate_limit": st.fixed_dictionaries(
            {"requests": st.integers(1, 99)},
            optional={"burst": st.integers(0, 9), "by": st.sampled_from(["address", "domain"])},
        ),
        "cache_static": st.fixed_dictionaries({}, optional={"max_age": st.integers(1, 999)}),
        "gzip": st.booleans(),
        "maintenance": st.fixed_dictionaries(
            {}, optional={"allow": st.lists(PLAIN_ADDRESSES, max_size=2, unique=True)}
        ),
        "real_ip_from": st.fixed_dictionaries(
            {"ranges": st.lists(PLAIN_ADDRESSES, min_size=1, max_size=2, unique=True)}
        ),
        "keepalive": st.integers(0, 64),
        "paths": st.lists(
            st.fixed_dictionaries(
                {"path": st.from_regex(r"(/[a-z.~-]{1,4}z){1,2}", fullmatch=True)},
                optional={
                    "strip": st.booleans(),
                    "basic_auth": st.booleans(),
                    "websocket": st.booleans(),
                    "root": st.just({"directory": "/srv/x y", "spa": True}),
                },
            ),
            max_size=3,
            unique_by=lambda path: path["path"],
        ),
        "extra": st.sampled_from(
            ["", "set $a b;", "location /x { return 200 'y'; }", 'if ($arg_a ~ "^x{2}$") { return 403; }']
        ),
    },
)
TARGETS = st.sampled_from(
    [
        {},
        {"redirect_to": {"url": "https://b.example/x y"}},
        {"redirect_to": {"host": "b.example", "code": 307}},
        {"root": {"directory": "/srv/x y"}},
        {"root": {"directory": "/srv/x", "spa": True, "index": ["a.html", "b.html"]}},
        {"php_fpm": {"root": "/srv/x y", "socket": "/run/php.sock", "script_root": "/app y"}},
        {"php_fpm": {"root": "/srv/x", "host": "::1", "port": 9000}},
        {"upstreams": [{"host": "2001:db8::1", "port": 1}, {"port": 2, "backup": True}], "balance": "least_conn"},
        {"upstreams": [{"port": 1, "weight": 3}, {"port": 2, "max_fails": 0}], "balance": "ip_hash"},
    ]
)


def test_options_that_are_valid_alone_are_valid_together(nginx: Judge, judge: Any) -> None:
    def disagreement(examples: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> str:
        given_to_nginx: dict[str, str] = {}
        for number, (options, target) in enumerate(examples):
            both = {**options, **target, "name": f"n{number}.test", **({"port": None} if target else {})}
            item = wanted(both, f"app-{number}")
            if item is None:
                if "x y" in str(target.get("redirect_to")):
                    continue
                return f"{both!r} is refused"
            assert site_parsing.from_row(item.options) == item.site
            (given_to_nginx[f"app-{number}"],) = texts(item)
        return nginx.complaint(given_to_nginx)

    judge(st.tuples(VALID, TARGETS), disagreement)


@given(TOKENS | st.text(st.sampled_from("ab {};\"'\\\n#$~()"), max_size=60))
def test_any_extra_is_refused_or_read_as_it_was_written(snippet: str) -> None:
    item = wanted({"extra": snippet}, "blog")
    if item is None:
        return
    (text,) = texts(item)
    servers = [one for one in nginx_syntax.parse(text) if one.name == "server"]
    (main,) = [one for one in servers[0].block or () if one.name == "location" and one.arguments == ("/",)]
    written = [shape(one) for one in nginx_syntax.parse(snippet)]
    assert [shape(one) for one in main.block or ()][len(main.block or ()) - len(written) :] == written
    assert len(servers) == 1


def shape(directive: nginx_syntax.Directive) -> tuple[Any, ...]:
    block = None if directive.block is None else tuple(map(shape, directive.block))
    return (directive.name, directive.arguments, block)


@given(
    near(r"[a-z0-9-]{3,20}"),
    near(r"([1-9][0-9]{0,4}[mhdw])|(20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:00Z)"),
)
def test_any_slug_and_end_is_refused_or_read_as_it_was_written(slug: str, expires: str) -> None:
    more = {"name": None, "private_url": True, "slug": slug}
    plain, ending = wanted(more, "blog"), wanted({**more, "slug": "slug", "expires": expires}, "blog")
    if plain is not None:
        assert f"\nlocation ^~ /p/{slug}/ {{\n" in texts(plain)[-1]
    if ending is not None:
        found = texts(ending)
        assert all(nginx_syntax.parse(text) for text in found)
        assert ending.expires == expires


@given(HEADERS | LINES, st.dictionaries(ANY, ANY, max_size=3))
def test_users_are_refused_or_one_line_each(user: str, users: dict[str, str]) -> None:
    item = wanted({"basic_auth": {"users": {**users, user: "password"}}}, "blog")
    if item is None:
        return
    assert item.site.basic_auth is not None
    assert set(item.site.basic_auth.users) == {*users, user}
    for name in item.site.basic_auth.users:
        assert ":" not in name
        assert name.isprintable()
        assert not name.startswith("#")
