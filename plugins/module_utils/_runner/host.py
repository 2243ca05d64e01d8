# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a resource may use of the host: the edges, bundled once per run by `_module`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings


@dataclass(frozen=True)
class Host:
    """`check`: nothing may be written. `hide` masks a secret, in all its forms, in whatever the module returns."""

    commands: Commands
    settings: Settings
    check: bool
    hide: Callable[[str], None]
