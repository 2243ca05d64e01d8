# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Being somebody else for a moment."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import identity


def test_the_owner_of_a_file_is_named(tmp_path: pathlib.Path) -> None:
    assert identity.owner_of(str(tmp_path)) == pwd.getpwuid(os.geteuid()).pw_name
    assert identity.owner_of(str(tmp_path / "missing")) is None


def test_another_identity_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where the tests do not run as root: what the kernel would be asked is what counts.
    calls: list[int] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "seteuid", calls.append)
    nobody = pwd.getpwnam("nobody").pw_uid
    with contextlib.suppress(ValueError), identity.acting_as("nobody"):
        assert calls == [nobody]
        raise ValueError("whatever happens inside")
    assert calls == [nobody, 0]


def test_nobody_but_root_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "seteuid", lambda _uid: pytest.fail("must not be called"))
    with identity.acting_as("nobody"):
        pass
