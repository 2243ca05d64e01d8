# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge that gateways run programs through, without Ansible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed, SubprocessCommands


class Programs(SubprocessCommands):
    """Commands without Ansible; keeps what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        self.calls.append(" ".join(argv))
        return super().run(argv, **options)
