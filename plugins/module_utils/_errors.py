# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The collection's own exceptions: what was attempted, on which object, why it failed, what to do next.

Plan code and gateways raise them; `_runner` collects them per item and `_module` turns them into `fail_json`.
"""

from __future__ import annotations


class ServerkitError(Exception):
    """A failure that a person can act on.

    :param attempted: what was being done and on which object, as the rest of "Could not ...".
    :param reason: why it failed, as a sentence without the final stop.
    :param remedy: what to do next, as a sentence without the final stop; may be empty when the reason says it.
    """

    def __init__(self, attempted: str, reason: str, remedy: str = "") -> None:
        self.attempted = attempted
        self.reason = reason
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        sentences = [f"Could not {self.attempted}: {self.reason}", self.remedy]
        return " ".join(
            sentence if sentence.endswith("?") else f"{sentence.rstrip('.')}." for sentence in sentences if sentence
        )


class InputError(ServerkitError):
    """What the user asked for is not valid; nothing was touched."""


class ConflictError(ServerkitError):
    """What the user asked for belongs to somebody else; nothing was touched."""


class HostError(ServerkitError):
    """The host lacks something (a program, a service, disk space) or refuses."""


class RegistryError(ServerkitError):
    """The registry cannot be opened, read or written."""


class UnhealthyError(ServerkitError):
    """A release was brought up and did not become healthy in time."""
