# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds the program `serverkit` on the controller and has it copied to the host."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.serverkit.core.plugins.plugin_utils import program

_OPTIONS = ("path",)
_PATH = "/usr/local/sbin/serverkit"


class ActionModule(ActionBase):
    """Installs the program."""

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec({"path": {"type": "path", "default": _PATH}})
        path = arguments["path"]
        with tempfile.TemporaryDirectory(prefix="serverkit-") as directory:
            built = Path(directory) / "serverkit"
            built.write_bytes(program.build())
            result = self._copy(str(built), path, task_vars or {})
        result["path"] = path
        return result

    def _copy(self, source: str, path: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        task = self._task.copy()
        task.args = {"src": source, "dest": path, "owner": "root", "group": "root", "mode": "0755", "follow": False}
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = copy.run(task_vars=task_vars)
        # Where it was on the controller is of no use to anybody, and differs each time.
        return {key: value for key, value in result.items() if key in _RETURNED}


_RETURNED = ("changed", "checksum", "failed", "msg", "exception", "warnings", "deprecations", "skipped", "size")
