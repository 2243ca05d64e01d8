# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the demo's apps for their pages, as a browser on this machine would."""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

REDIRECTS = 5
# A page that does not contain the value of this variable was made by something else.
SHOWN_VARIABLE = {"flask-page": "MESSAGE", "static-site": "SITE_TITLE"}
SHOWN_ALWAYS = {"wordpress": "WordPress"}


@dataclass(frozen=True)
class App:
    """An app of the inventory: where it has to answer, as name and path, and what its page contains."""

    name: str
    template: str
    addresses: list[tuple[str, str]]
    expected: str

    @classmethod
    def from_inventory(cls, entry: dict[str, Any]) -> App:
        template, variables = entry["template"], entry.get("variables", {})
        slugs = [entry["private_url"]["slug"]] if "private_url" in entry else []
        addresses = [("127.0.0.1", f"/p/{slug}/") for slug in slugs]
        addresses += [(domain["name"], "/") for domain in entry.get("domains", [])]
        shown = variables.get(SHOWN_VARIABLE.get(template, ""), SHOWN_ALWAYS.get(template, ""))
        return cls(entry["name"], template, addresses, str(shown))


def free_port(preferred: int) -> int:
    """The first port from `preferred` on that nothing listens on."""
    for port in range(preferred, preferred + 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {preferred} on")


def wait_for_answer(port: int, authority: str, path: str, app: App, deadline: float) -> str:
    """What the app says: "200" and the size of its page, or what is wrong."""
    while True:
        answer = _ask(port, authority, path, app)
        if answer.startswith("200") or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def _ask(port: int, authority: str, path: str, app: App) -> str:
    try:
        status, body = _get(port, authority, path)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"
    if status == 200 and app.expected not in body:
        return f"another page, without {app.expected!r}"
    return f"{status}, {len(body)} bytes" if status == 200 else f"status {status}"


def _get(port: int, authority: str, path: str) -> tuple[int, str]:
    """The page after its redirects, as long as these stay with the app."""
    url = f"http://{authority}{path}"
    for _redirect in range(REDIRECTS):
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"Host": parts.netloc})
            answer = connection.getresponse()
            status, location = answer.status, answer.getheader("Location")
            body = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if location is None:
            return status, body
        url = urljoin(url, location)
        if urlsplit(url).netloc != authority:
            raise http.client.HTTPException(f"redirected to {url}")
    raise http.client.HTTPException(f"redirected more than {REDIRECTS} times")
