# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Doing something as if it was done in a container: with the container's network and its names, but with our programs.

What `ip netns exec` does (ip-netns(8)), with the calls that it makes: setns(2), unshare(2) and mount(2). They need
root, and nothing of the container's image.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError

# <linux/sched.h> and <linux/mount.h>
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

_HOSTS = "/etc/hosts"


def hosts_of(process: int) -> str:
    """Return the `/etc/hosts` that a process sees; empty where it has none.

    :raises HostError: when the process is gone.
    """
    try:
        with open(f"/proc/{process}/root{_HOSTS}", encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        if os.path.exists(f"/proc/{process}"):
            return ""
        raise HostError("look into a container", "it has just ended", "Run it again") from None
    except OSError as error:
        raise HostError("look into a container", error.strerror or str(error)) from error


def inside(process: int, names: Mapping[str, str], action: Callable[[], None], timeout: float = 60.0) -> None:
    """Run an action in a process of its own that has the network, and knows the names, of another process.

    :param process: one in the container, by its number on this host.
    :param names: more names that the action may use, with their addresses.
    :param action: what it raises must be a ServerkitError.
    :param timeout: in seconds.
    :raises HostError: when the container cannot be entered, the action does not end in time, or dies.
    :raises ServerkitError: what the action raises, as a HostError.
    """
    lines = "".join(f"{address}\t{name}\n" for name, address in names.items())
    with tempfile.NamedTemporaryFile("w", prefix="serverkit-hosts-", encoding="utf-8") as hosts:
        # First: the names that are given win over those that are there.
        hosts.write(f"{lines}{hosts_of(process)}")
        hosts.flush()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _work(process, hosts.name, action, writing)
        os.close(writing)
        problem = _answer(child, reading, timeout)
    if problem:
        raise HostError(*problem)


def _answer(child: int, reading: int, timeout: float) -> list[str]:
    """Wait for the child, and return the arguments of the error that it told; empty when there was none."""
    with os.fdopen(reading, "rb") as stream:
        ready, _writable, _failed = select.select([stream], [], [], timeout)
        if not ready:
            os.kill(child, signal.SIGKILL)
        told = stream.read()
    _child, status = os.waitpid(child, 0)
    if not ready:
        return ["work inside a container", f"it was not done after {timeout:.0f} seconds"]
    if not told:
        return ["work inside a container", f"the process that did so ended with status {status}"]
    problem: list[str] = json.loads(told)
    return problem


def _work(process: int, hosts: str, action: Callable[[], None], writing: int) -> NoReturn:
    """The child's whole life. It ends without the clean-up of the interpreter, which is the parent's to do."""
    problem: list[str] = []
    status = 1
    try:
        try:
            _enter(process, hosts)
            action()
        except ServerkitError as error:
            problem = [error.attempted, error.reason, error.remedy]
        except OSError as error:
            problem = ["enter the network of a container", error.strerror or str(error)]
        os.write(writing, json.dumps(problem).encode())
        status = 0
    finally:
        os._exit(status)


def _enter(process: int, hosts: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.unshare, _CLONE_NEWNS)
    # Else the mounts below would be seen by the whole host.
    _call(libc.mount, b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    _call(libc.mount, os.fsencode(hosts), os.fsencode(_HOSTS), None, ctypes.c_ulong(_MS_BIND), None)
    network = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _call(libc.setns, network, _CLONE_NEWNET)
    os.close(network)


def _call(function: Any, *arguments: Any) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
