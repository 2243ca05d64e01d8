# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of nginx, names of certificates, and when a file has to change."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    Content,
    FileChange,
    NginxVersion,
    TlsFiles,
)


def test_versions() -> None:
    assert NginxVersion.parse("nginx version: nginx/1.18.0 (Ubuntu)") == NginxVersion(1, 18, 0)
    assert NginxVersion.parse("nginx version: nginx/1.29.3\n") == NginxVersion(1, 29, 3)
    assert NginxVersion.parse("nginx: command not found") is None
    found = [
        (version.has_http2_directive, version.rejects_handshakes)
        for version in (NginxVersion(1, 19, 3), NginxVersion(1, 19, 4), NginxVersion(1, 25, 0), NginxVersion(1, 25, 1))
    ]
    assert found == [(False, False), (False, True), (False, True), (True, True)]


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("a.com", True),
        ("b.com", False),
        ("x.b.com", True),
        ("y.x.b.com", False),
        ("*.b.com", True),
        ("*.a.com", False),
        ("*.x.b.com", False),
    ],
)
def test_names_of_a_certificate(name: str, covered: bool) -> None:
    assert TlsFiles("c", "k", ("a.com", "*.b.com")).covers(name) is covered


def test_an_owner_counts_where_one_is_asked_for() -> None:
    def needed(before: Content, after: Content) -> bool:
        return FileChange("/x", before, after).needed

    assert not needed(Content("x", owner="root"), Content("x"))
    assert not needed(Content("x", owner="www-data"), Content("x", owner="www-data"))
    assert needed(Content("x", owner="root"), Content("x", owner="www-data"))
    assert needed(Content("x", owner="root"), Content("y"))
    assert needed(Content("x", 0o600), Content("x"))
    assert FileChange("/x", None, Content("")).needed
    assert not FileChange("/x", None, None).needed
