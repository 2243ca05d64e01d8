# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which options of a domain are taken, what is said about the others, and that the registry gives them back."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import site_parsing
from ansible_collections.serverkit.core.plugins.module_utils._values.site_options import SiteOptions, secrets_of

ALL: dict[str, Any] = {
    "max_body_size": "10m",
    "timeouts": {"connect": 1, "read": 2},
    "websocket": False,
    "buffering": False,
    "basic_auth": {"users": {"bob": "secret", "ann": "secret"}, "realm": "Vault"},
    "allow": ["10.0.0.0/8", "::1"],
    "deny": ["192.0.2.1"],
    "headers": {"X-Frame-Options": "DENY", "Server-Timing": ""},
    "rate_limit": {"requests": 10, "per": "minute", "burst": 3, "by": "domain"},
    "cache_static": {"max_age": 60, "extensions": ["css"]},
    "gzip": False,
    "maintenance": {"retry_after": 60, "allow": ["192.0.2.1"]},
    "real_ip_from": {"ranges": ["10.0.0.0/8"], "header": "X-Real-IP"},
    "paths": [
        {"path": "/z", "app": "other", "strip": True, "basic_auth": False, "timeouts": {"send": 3}},
        {"path": "/a", "upstreams": [{"host": "::1", "port": 1, "weight": 2}], "balance": "least_conn"},
        {"path": "/b", "root": {"directory": "/srv/b", "spa": True}, "allow": ["::1"]},
    ],
    "upstreams": [{"port": 1, "max_fails": 0, "fail_timeout": 5}, {"host": "192.0.2.2", "port": 1, "backup": True}],
    "balance": "least_conn",
    "keepalive": 0,
    "hsts": {"max_age": 31536000, "include_subdomains": True, "preload": True},
    "http_redirect": False,
    "extra": "location /x { return 200 $uri; }",
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        ALL,
        {"root": {"directory": "/srv/x", "index": ["a.html"]}},
        {"redirect_to": {"host": "a.com", "code": 308}},
        {"redirect_to": {"url": "https://a.com:8443/x", "keep_path": False}},
        {"php_fpm": {"root": "/srv/x", "socket": "/run/php.sock", "script_root": "/app"}},
        {"maintenance": {}, "cache_static": {}, "hsts": {}},
    ],
)
def test_the_registry_gives_back_what_it_was_given(options: dict[str, Any]) -> None:
    parsed = site_parsing.parse(options)
    row = json.loads(json.dumps(parsed.as_row()))
    assert site_parsing.from_row(row) == parsed
    assert "secret" not in json.dumps(row)
    assert set(row) == set(options)


def test_every_option_is_tried_here() -> None:
    assert set(ALL) | {"root", "redirect_to", "php_fpm"} == {one.name for one in fields(SiteOptions)}


def test_nothing_is_remembered_of_the_defaults() -> None:
    defaults = {one.name: getattr(SiteOptions(), one.name) for one in fields(SiteOptions)}
    given = {name: value for name, value in defaults.items() if isinstance(value, (bool, int, str)) and value != ""}
    assert site_parsing.parse({**given, "port": 80, "tls": "none"}).as_row() == {}
    # What Ansible makes of suboptions that are left out.
    nothing = {"timeouts": {"connect": None, "read": None, "send": None}, "gzip": None, "paths": []}
    assert site_parsing.parse(nothing).as_row() == {}


def test_the_order_of_what_has_none_does_not_matter() -> None:
    one = site_parsing.parse({"paths": [{"path": "/a"}, {"path": "/b"}], "headers": {"X-A": "1", "X-B": "2"}})
    two = site_parsing.parse({"headers": {"X-B": "2", "X-A": "1"}, "paths": [{"path": "/b"}, {"path": "/a"}]})
    assert one == two


def test_passwords_are_no_part_of_it() -> None:
    assert secrets_of(ALL) == {"bob": "secret", "ann": "secret"}
    assert secrets_of({}) == {}
    assert secrets_of({"basic_auth": {"users": ["ann"]}}) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_body_size": "1 m"}, "not a size"),
        ({"max_body_size": "-1"}, "not a size"),
        ({"max_body_size": "999999999g"}, "not a size"),
        ({"timeouts": {"read": 0}}, "from 1 to"),
        ({"timeouts": {"read": True}}, "from 1 to"),
        ({"timeouts": {"wait": 1}}, "no such suboption"),
        ({"basic_auth": {"users": {}}}, "there is no user"),
        ({"basic_auth": {"realm": "x"}}, "users is left out"),
        ({"basic_auth": {"users": {"a:b": "x"}}}, "no ':'"),
        ({"basic_auth": {"users": {"#a": "x"}}}, "'#'"),
        ({"basic_auth": {"users": {"a": ""}}}, "1 to 255 bytes"),
        ({"basic_auth": {"users": {"a": "x" * 256}}}, "1 to 255 bytes"),
        ({"basic_auth": {"users": {"a": "x\ny"}}}, "control characters"),
        ({"basic_auth": {"users": {"a": "x"}, "realm": "off"}}, "no password at all"),
        ({"basic_auth": {"users": {"a": "x"}, "realm": 'a"b'}}, "'\"'"),
        ({"allow": ["10.0.0.1/8"]}, "Give 10.0.0.0/8"),
        ({"allow": ["all"]}, "neither an IP address"),
        ({"allow": ["255.255.255.255"]}, "neither an IP address"),
        ({"allow": ["255.255.255.255/32"]}, "neither an IP address"),
        ({"allow": ["fe80::1%eth0"]}, "neither an IP address"),
        ({"allow": ["10.0.0.0/255.0.0.0"]}, "neither an IP address"),
        ({"allow": "10.0.0.1"}, "no list"),
        ({"deny": ["::1", "0::1"]}, "twice"),
        ({"headers": {"X-A": "a$b"}}, "'$'"),
        ({"headers": {"X-A": "a\r\nSet-Cookie: b"}}, "'\\r'"),
        ({"headers": {"X-A": "ä"}}, "'ä'"),
        ({"headers": {"X A": "b"}}, "letters, digits"),
        ({"headers": {"Content-Length": "1"}}, "nginx and the app"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "twice"),
        ({"headers": {"Strict-Transport-Security": "x"}, "hsts": {}}, "hsts sets this header"),
        ({"redirect_to": {}}, "either host or url"),
        ({"redirect_to": {"host": "a.com", "url": "https://a.com"}}, "either host or url"),
        ({"redirect_to": {"host": "a.com/x"}}, "no domain"),
        ({"redirect_to": {"host": "a.com:0"}}, "no domain"),
        ({"redirect_to": {"url": "ftp://a.com"}}, "no http://"),
        ({"redirect_to": {"url": "https://a.com/?x"}}, "a query or a fragment"),
        ({"redirect_to": {"url": "https://user@a.com/"}}, "no URL"),
        ({"redirect_to": {"host": "a.com", "code": 303}}, "none of 301"),
        ({"rate_limit": {"burst": 1}}, "left out"),
        ({"rate_limit": {"requests": 0}}, "from 1 to"),
        ({"rate_limit": {"requests": 1, "per": "hour"}}, "none of second"),
        ({"cache_static": {"extensions": [".css"]}}, "no dot"),
        ({"cache_static": {"extensions": ["css", "CSS"]}}, "twice"),
        ({"maintenance": {"retry_after": -1}}, "from 1 to"),
        ({"real_ip_from": {"ranges": []}}, "empty"),
        ({"real_ip_from": {"ranges": ["::1"], "header": "proxy_protocol"}}, "another protocol"),
        ({"paths": [{"path": "/"}]}, "a path has parts"),
        ({"paths": [{"path": "/a/"}]}, "a path has parts"),
        ({"paths": [{"path": "/a/../b"}]}, "a path has parts"),
        ({"paths": [{"path": "/.well-known/x"}]}, "certificates are proven"),
        ({"paths": [{"path": "/a"}, {"path": "/a"}]}, "twice"),
        ({"paths": [{"path": "/a", "app": "x", "port": 1}]}, "one place"),
        ({"paths": [{"path": "/a", "app": "X"}]}, "name of an app"),
        ({"upstreams": []}, "empty"),
        ({"upstreams": [{"port": 1}, {"port": 1}]}, "a weight"),
        ({"upstreams": [{"port": 1, "host": "db.internal"}]}, "keep nginx from starting"),
        ({"upstreams": [{"port": 1, "backup": True}]}, "another one fails"),
        ({"upstreams": [{"port": 1}, {"port": 2, "backup": True}], "balance": "ip_hash"}, "no backup with"),
        ({"balance": "least_conn"}, "no upstreams"),
        ({"root": {"directory": "/"}}, "files of the system"),
        ({"root": {"directory": "/etc/ssl"}}, "files of the system"),
        ({"root": {"directory": "/var/serverkit/ssl"}}, "files of the system"),
        ({"root": {"directory": "srv"}}, "no absolute path"),
        ({"root": {"directory": "/srv/../etc"}}, "no absolute path"),
        ({"root": {"directory": "//srv"}}, "no absolute path"),
        ({"root": {"directory": "/srv/$host"}}, "'$'"),
        ({"root": {"directory": "/srv", "index": ["../x"]}}, "letters, digits"),
        ({"root": {"directory": "/srv"}, "redirect_to": {"host": "a.com"}}, "one place"),
        ({"php_fpm": {"root": "/srv/x"}}, "a socket or at a port"),
        ({"php_fpm": {"root": "/srv/x", "socket": "/a", "port": 1}}, "a socket or at a port"),
        ({"php_fpm": {"root": "/srv/x", "socket": "/a:b"}}, "':'"),
        ({"php_fpm": {"root": "/srv/x", "port": 1, "index": "index.html"}}, "no PHP file"),
        ({"hsts": {"preload": True}}, "include_subdomains"),
        ({"hsts": {"preload": True, "include_subdomains": True, "max_age": 60}}, "max_age"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        site_parsing.parse(options)


def test_data_of_apps_may_be_served() -> None:
    site_parsing.parse({"root": {"directory": "/var/serverkit/apps/blog/data/public"}})


@pytest.mark.parametrize(
    "auth",
    [
        {"users": {"ann": "my-secret\n"}},
        {"users": "ann:my-secret"},
        {"users": {"ann": "my-secret"}, "my": "x"},
        {"users": {"ann": "my-secret", "b:c": "x"}},
        {"users": {"ann": "my-secret" * 99}},
        {"realm": "x", "user": {"ann": "my-secret"}},
    ],
)
def test_no_message_has_a_password(auth: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        site_parsing.parse({"basic_auth": auth})
    assert "my-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("snippet", "message"),
    [
        ("return 403", "whole nginx directives"),
        ("location / {", "whole nginx directives"),
        ("}", "whole nginx directives"),
        ("location / { } }", "whole nginx directives"),
        ("} server { listen 1; }", "whole nginx directives"),
        ("add_header X 'a;", "whole nginx directives"),
        ("a\x00b;", "control character"),
        ("add_header X '\ud800';", "control characters"),
        (f"add_header X {'a' * 5000};", "4000 bytes"),
        ("location /a {" * 9 + "}" * 9, "more than 8 blocks"),
        ("#" * 20000, "more than 16384"),
        ("server { }", "does not belong"),
        ("if ($a) { server { } }", "does not belong"),
        ("include /etc/passwd;", "not part of what is tested"),
        ("location /x { include x; }", "not part of what is tested"),
        ("load_module x.so;", "not part of what is tested"),
        ("content_by_lua_block { os.exit(1) }", "whole nginx directives"),
        ("content_by_lua_block { os.exit(1); }", "run code"),
        ("content_by_lua_file /x.lua;", "run code"),
        ("js_content x;", "run code"),
        ("perl 'sub {}';", "run code"),
        ("location /x { alias /etc; }", "outside of the site"),
        ("listen 81;", "in the registry"),
        ("ssl_certificate x;", "in the registry"),
        ("access_log /etc/cron.d/x;", "write files"),
        ("location /x { error_log /x; }", "write files"),
        ("proxy_store on;", "write files"),
        ("proxy_temp_path /x;", "write files"),
        ("dav_methods PUT;", "write files"),
        ("client_max_body_size 1m;", "the option max_body_size"),
        ("proxy_read_timeout 1s;", "the option timeouts.read"),
        ("auth_basic off;", "the option basic_auth"),
        ('"x y" 1;', "no name of a directive"),
    ],
)
def test_snippets_that_are_refused(snippet: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        site_parsing.parse({"extra": snippet})


@pytest.mark.parametrize(
    "snippet",
    [
        "",
        "# only a comment",
        "return 200 '{};#';",
        'if ($arg_x ~ "^a{2}$") { return 403; }',
        "location /big { client_max_body_size 1g; auth_basic off; proxy_pass http://127.0.0.1:1; }",
        "types { text/x y; }",
        "sub_filter a b;\nsub_filter_once off;",
    ],
)
def test_snippets(snippet: str) -> None:
    assert site_parsing.parse({"extra": snippet}).extra == snippet
