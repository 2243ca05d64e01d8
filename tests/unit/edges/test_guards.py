# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import guards, locks
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError


def die(folder: pathlib.Path, *, how: signal.Signals = signal.SIGKILL, slow: bool = False) -> None:
    """Be a process that dies with a guard beside it, perhaps while a program runs that it has begun."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == how
        return
    os.setsid()
    signal.signal(how, signal.SIG_DFL) if how != signal.SIGKILL else None
    with locks.held("app", directory=str(folder)) as lock:
        guard = guards.Guard(["/bin/sh", "-c", f"echo $0 $1 > {folder}/done", "a b", "$HOME"], lock)
        if slow:
            subprocess.Popen(["/bin/sleep", "0.5"], pass_fds=[guard.pipe], start_new_session=True)
        os.killpg(0, how)
        time.sleep(10)
    os._exit(1)


def wait_for(path: pathlib.Path) -> str:
    deadline = time.monotonic() + 20
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path.read_text()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_acts_when_its_process_dies_with_all_of_its_group(tmp_path: pathlib.Path, how: signal.Signals) -> None:
    die(tmp_path, how=how)
    # No shell has read the arguments.
    assert wait_for(tmp_path / "done") == "a b $HOME\n"
    with locks.held("app", directory=str(tmp_path), timeout=20):
        pass


def test_it_waits_for_a_program_that_has_its_pipe_open(tmp_path: pathlib.Path) -> None:
    die(tmp_path, slow=True)
    with pytest.raises(HostError, match="take the lock"), locks.held("app", directory=str(tmp_path), timeout=0):
        pass
    assert not (tmp_path / "done").exists()
    assert wait_for(tmp_path / "done")


def test_one_that_was_dismissed_does_nothing(tmp_path: pathlib.Path) -> None:
    with locks.held("app", directory=str(tmp_path)) as lock:
        guard = guards.Guard(["/bin/touch", str(tmp_path / "done")], lock)
        guard.dismiss()
    assert not (tmp_path / "done").exists()
    with locks.held("app", directory=str(tmp_path), timeout=0):
        pass


def test_dismissing_one_that_is_gone_is_fine(tmp_path: pathlib.Path) -> None:
    with locks.held("app", directory=str(tmp_path)) as lock:
        guard = guards.Guard(["/bin/true"], lock)
        os.kill(guard._process.pid, signal.SIGKILL)
        time.sleep(0.05)
        guard.dismiss()


def test_a_program_that_is_ended_by_a_late_signal_is_run_again(tmp_path: pathlib.Path) -> None:
    # The first `mkdir` ends the program as the signal would; the second one fails, as the directory is there.
    script = f"mkdir {tmp_path}/once 2>/dev/null && kill -TERM $$; echo done > {tmp_path}/done"
    with locks.held("app", directory=str(tmp_path)) as lock:
        # A shell cannot undo that it was started with a signal ignored, as Docker's program does.
        undo = "import os, signal, sys; signal.signal(15, signal.SIG_DFL); os.execv('/bin/sh', sys.argv[1:])"
        guard = guards.Guard([sys.executable, "-c", undo, "sh", "-c", script], lock)
        guard._pipe.close()
        assert guard._process.wait(timeout=20) == 0
    assert wait_for(tmp_path / "done") == "done\n"
