# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Undoing what a failed apply has done, newest first."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError


class UndoStack:
    """Steps that take back what was done; each is pushed right after (or before) the step that it takes back."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, description: str, action: Callable[[], object]) -> None:
        """Add a step. The description completes "rolled back: ...", for example "restored /etc/nginx/...\"."""
        self._steps.append((description, action))

    def unwind(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Run all steps, newest first; a step that fails does not stop the others.

        :returns: descriptions of what was rolled back, and of what was not, with the reason.
        """
        done: list[str] = []
        failed: list[str] = []
        while self._steps:
            description, action = self._steps.pop()
            try:
                action()
            except ServerkitError as error:
                failed.append(f"{description}: {error}")
            else:
                done.append(description)
        return tuple(done), tuple(failed)
