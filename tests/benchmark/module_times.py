# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long modules run on the server, Python's own start included."""

from __future__ import annotations

from typing import Any

from server import PYTHON, Server

# The server's Python, as Ansible's interpreter: writes down how long each module took.
_TIMED = "/root/timed-python"
_LOG = "/run/timed-python.log"
_SCRIPT = f"""#!/bin/bash
began=$EPOCHREALTIME
{PYTHON} "$@"
code=$?
echo "$began $EPOCHREALTIME" >>{_LOG}
exit "$code"
"""
# For a run whose modules are to be timed.
TIMED: dict[str, Any] = {"ansible_python_interpreter": _TIMED}


def install(server: Server) -> None:
    server.write(_TIMED, _SCRIPT)
    server.run(f"chmod 755 {_TIMED}")


def read(server: Server) -> list[float]:
    """Return the seconds of the modules that ran since the last time."""
    lines = server.run(f"touch {_LOG} && cat {_LOG} && rm {_LOG}").splitlines()
    return [float(ended) - float(began) for began, ended in map(str.split, lines)]
