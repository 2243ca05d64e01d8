# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening a registry for one test's writing and reading."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import Registry, open_registry
from ansible_collections.serverkit.core.plugins.module_utils._gateways.settings import Settings


@contextlib.contextmanager
def writing(settings: Settings) -> Iterator[Registry]:
    with open_registry(settings, read_only=False) as registry, registry.transaction():
        yield registry


def reading(settings: Settings) -> contextlib.AbstractContextManager[Registry]:
    return open_registry(settings, read_only=True)
