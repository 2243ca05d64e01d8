# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories for secrets: for their owner alone, and gone, however the process ends that made them."""

from __future__ import annotations

import os
import pathlib
import signal
import sys

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import scratch
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "run" / "serverkit"


def killed_with_a_secret(root: pathlib.Path) -> pathlib.Path:
    """Have a process killed while it uses a directory, and return that."""
    process = os.fork()
    if not process:
        with scratch.directory(str(root)) as path:
            pathlib.Path(path, "password").write_text("secret")
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    (left,) = root.iterdir()
    assert (left / "password").read_text() == "secret"
    return left


def test_it_is_in_memory() -> None:
    assert scratch.ROOT == "/run/serverkit"


def test_nobody_else_looks_in_and_nothing_stays(root: pathlib.Path) -> None:
    with scratch.directory(str(root)) as path:
        pathlib.Path(path, "password").write_text("secret")
        assert pathlib.Path(path).parent == root
        assert [os.stat(each).st_mode & 0o777 for each in (root, path)] == [0o700, 0o700]
    assert not list(root.iterdir())


def test_nothing_stays_of_a_failure(root: pathlib.Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch.directory(str(root)):
        raise KeyboardInterrupt
    assert not list(root.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(root: pathlib.Path) -> None:
    left = killed_with_a_secret(root)
    with scratch.directory(str(root)) as path:
        assert list(root.iterdir()) == [pathlib.Path(path)]
        assert path != str(left)


def test_what_others_use_stays(root: pathlib.Path) -> None:
    root.mkdir(parents=True)
    (root / "nginx-staged").mkdir()
    with scratch.directory(str(root)) as first, scratch.directory(str(root)) as second:
        assert {first, second} < {str(path) for path in root.iterdir()}
    assert [path.name for path in root.iterdir()] == ["nginx-staged"]


def test_where_it_cannot_be_made(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="make the directory"), scratch.directory(str(tmp_path / "file" / "x")):
        pass
