# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of certificates have in common: a client that never stops asking, and a certificate that nobody signed."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from nginx_server import Server


def names_of(certificate: dict[str, Any]) -> set[str]:
    return {name for _kind, name in certificate["subjectAltName"]}


@contextlib.contextmanager
def asked_all_the_time(server: Server, host: str, trusted: str, pause: float = 0.05) -> Iterator[None]:
    """Request a page over verified HTTPS all the while; fail when one request fails."""
    stop, failures, good = threading.Event(), list[str](), list[int]()

    def ask() -> None:
        while not stop.is_set():
            try:
                good.append(server.get_over_tls(host, trusted=trusted)[0])
            except OSError as error:
                failures.append(repr(error))
            time.sleep(pause)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert set(good) == {200}


def blog(port: int, *aliases: str, **more: Any) -> dict[str, Any]:
    return {
        "app": "blog",
        "name": "blog.example.com",
        "aliases": list(aliases),
        "port": port,
        "tls": "letsencrypt",
        **more,
    }


def self_signed(place: pathlib.Path, *names: str) -> tuple[str, str]:
    key, certificate = place / "provided.key", place / "provided.crt"
    listed = ",".join(f"DNS:{name}" for name in names)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "200", "-subj", "/CN=x"]
    new += ["-addext", f"subjectAltName={listed}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(new, check=True, capture_output=True)
    return certificate.read_text(), key.read_text()
