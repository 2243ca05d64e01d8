# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Walking parsed YAML documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan.interpolation import interpolate, to_compose_text

# What `to_compose_text` writes, and nothing else has a dollar sign.
_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield every text in a document with the key that it is found at (`services.app.ports[0]`); keys are none."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from texts(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts(item, f"{key}[{number}]")


def resolved(value: Any, key: str, plain: Mapping[str, str], sensitive: Mapping[str, str], unset: set[str]) -> Any:
    """Return a document with every text resolved, as text that Compose reads back (see `interpolation`).

    Keys are left alone, as Compose does.
    """
    if isinstance(value, str):
        if "$" not in value:
            return value
        return to_compose_text(interpolate(value, plain, sensitive, unset, key))
    if isinstance(value, dict):
        return {
            name: resolved(item, f"{key}.{name}" if key else name, plain, sensitive, unset)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [resolved(item, f"{key}[{number}]", plain, sensitive, unset) for number, item in enumerate(value)]
    return value


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a resolved document in which references to variables have other names."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: f"${{{names.get(match[1], match[1])}}}" if match[1] else "$$", value)
    if isinstance(value, dict):
        return {name: renamed(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return value
