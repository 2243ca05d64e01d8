# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of domains and private URLs, from the inventory to an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from conftest import Site

if TYPE_CHECKING:
    from testinfra.host import Host

Named = Callable[[str], Site]
ANNA = "anna:s3cret-$of'anna"


def test_headers_are_set(secure: Named) -> None:
    headers = secure("hello.example.test").get().headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["strict-transport-security"] == "max-age=600"


def test_uploads_are_let_through_up_to_the_limit(secure: Named) -> None:
    # The app has no such page, which is what it says once nginx has let the upload through.
    assert secure("hello.example.test").get(body=b"x" * 2 * 1024 * 1024).status == 405
    assert secure("hello.example.test").get(body=b"x" * (2 * 1024 * 1024 + 1)).status == 413


def test_paths_lead_elsewhere(secure: Named) -> None:
    site = secure("hello.example.test")
    assert "The other one" in site.get("/other/").body
    assert '"app":"other"' in site.get("/other/facts").body.replace(" ", "")
    assert site.get("/files/file.txt").body == "A file\n"
    assert site.get("/facts").status == 200


def test_a_domain_is_closed_for_maintenance(plain: Named) -> None:
    answer = plain("closed.example.test").get()
    assert answer.status == 503
    assert answer.headers["retry-after"] == "120"


def test_a_domain_has_moved(plain: Named) -> None:
    answer = plain("moved.example.test").get("/x?y=1")
    assert (answer.status, answer.headers["location"]) == (308, "https://hello.example.test/new/x?y=1")


def test_a_plain_domain_is_served_over_http(plain: Named) -> None:
    answer = plain("plain.example.test").get()
    assert answer.status == 200
    assert "The other one" in answer.body


def test_a_private_url_has_a_name_of_its_own(secure: Named) -> None:
    site = secure("hello-there.apps.example.test")
    assert site.get().status == 401
    answer = site.get(auth=ANNA)
    assert (answer.status, answer.names) == (200, {"*.apps.example.test"})
    assert "Good morning" in answer.body
    assert "X-Forwarded-Prefix" not in answer.body
    assert answer.headers["x-robots-tag"].startswith("noindex")


def test_a_private_url_has_no_path_then(plain: Named, address: str) -> None:
    assert plain(address).get("/p/hello-there/", auth=ANNA).status == 404


def test_an_unknown_slug_is_nobodys(plain: Named) -> None:
    assert plain("nobody.apps.example.test").get().status in (301, 308, 404)


@pytest.mark.parametrize("name", ["nobody.test", "unknown.example.test"])
def test_a_stranger_gets_nobodys_app(plain: Named, name: str) -> None:
    assert plain(name).get().status == 404


def test_passwords_are_hashed_in_files_that_nginx_alone_reads(server: Host) -> None:
    assert server.check_output("grep -rlF s3cret- /etc /var/serverkit /var/log || true") == ""
    files = server.check_output("find /etc/nginx/serverkit/auth -type f -printf '%m %u %p\\n'").splitlines()
    assert len(files) == 2
    assert {tuple(line.split()[:2]) for line in files} == {("600", "www-data")}
