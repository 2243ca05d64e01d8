# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks that die with their holder, and live on with the child that inherits them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def is_free(directory: Path) -> bool:
    try:
        with locks.held("app-x", directory=str(directory), timeout=0):
            return True
    except HostError:
        return False


def test_a_held_lock_is_refused_with_its_holder(tmp_path: Path) -> None:
    with locks.held("app-x", directory=str(tmp_path)):
        with pytest.raises(HostError, match=rf"process {os.getpid()} has held it"):
            with locks.held("app-x", directory=str(tmp_path), timeout=0):
                pass
        with locks.held("app-y", directory=str(tmp_path), timeout=0):
            pass
    assert is_free(tmp_path)


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with locks.held("app-x", directory=str(tmp_path)):
            (tmp_path / "ready").touch()
            signal.pause()
    while not (tmp_path / "ready").exists():
        os.sched_yield()
    assert not is_free(tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert is_free(tmp_path)


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    with locks.held("app-x", directory=str(tmp_path)) as descriptor:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    assert not is_free(tmp_path)
    child.communicate(b"\n")
    assert is_free(tmp_path)
