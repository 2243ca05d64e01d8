# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in to a WordPress and publish a post, as its editor does: `write_post.py ADDRESS NAME USER PASSWORD TITLE`."""

from __future__ import annotations

import http.client
import http.cookies
import json
import sys
import urllib.parse

ADDRESS, NAME, USER, PASSWORD, TITLE = sys.argv[1:]


class Browser:
    """Keeps cookies, and follows no redirect: the name of the blog leads nowhere here."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {"wordpress_test_cookie": "WP%20Cookie%20check"}

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(ADDRESS, 80, timeout=60)
        connection.request(method, path, body, {"Host": NAME, "Cookie": cookies, **headers})
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            self.cookies.update({name: cookie.coded_value for name, cookie in http.cookies.SimpleCookie(line).items()})
        return answer.status, answer.read().decode()


browser = Browser()
form = urllib.parse.urlencode({"log": USER, "pwd": PASSWORD, "testcookie": "1"})
status, page = browser.ask("POST", "/wp-login.php", form, **{"Content-Type": "application/x-www-form-urlencoded"})
assert status == 302, (status, page)
status, nonce = browser.ask("GET", "/wp-admin/admin-ajax.php?action=rest-nonce")
assert status == 200, (status, nonce)
post = json.dumps({"title": TITLE, "content": "Written before the backup", "status": "publish"})
status, page = browser.ask(
    "POST", "/?rest_route=/wp/v2/posts", post, **{"Content-Type": "application/json", "X-WP-Nonce": nonce}
)
assert status == 201, (status, page)
