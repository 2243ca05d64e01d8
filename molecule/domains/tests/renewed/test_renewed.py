# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from conftest import Site

if TYPE_CHECKING:
    from testinfra.host import Host


def test_the_renewed_certificate_is_served(secure: Callable[[str], Site], server: Host) -> None:
    shown = server.check_output("openssl x509 -noout -serial -in /etc/letsencrypt/live/serverkit-hello/cert.pem")
    assert secure("hello.example.test").get().serial == shown.removeprefix("serial=")


def test_others_were_left_as_they_are(server: Host) -> None:
    names = server.check_output("find /etc/letsencrypt/archive -name 'cert*.pem' -printf '%h %f\\n'").splitlines()
    counts = {line.split()[0].rsplit("/", 1)[1]: 0 for line in names}
    for line in names:
        counts[line.split()[0].rsplit("/", 1)[1]] += 1
    # Its own, one for each change of its names, and the renewed one.
    assert counts.pop("serverkit-hello") == 4
    assert set(counts.values()) == {1}
