# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Host-wide settings, `/etc/serverkit/config.yaml`: what every module on this host must agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

PATH = "/etc/serverkit/config.yaml"


@dataclass(frozen=True)
class Settings:
    """`registry_dsn` is empty for the SQLite file; `registry_host` names this host in a shared registry."""

    registry_dsn: str = ""
    registry_host: str = ""


def load(path: str = PATH) -> Settings:
    """Return the host's settings, or the defaults where there is no file.

    :raises HostError: when the file is not a YAML mapping of known keys to strings.
    """
    state = files.read(path)
    if state is None:
        return Settings()
    document = _parse(path, state.content)
    known = {"registry_dsn", "registry_host"}
    unknown = sorted(set(document) - known)
    if unknown:
        raise HostError(f"use {path}", f"it has unknown keys: {', '.join(map(str, unknown))}", "Remove them")
    for key, value in document.items():
        if not isinstance(value, str):
            raise HostError(f"use {path}", f"{key} is not a string", "Put it between quotes")
    return replace(Settings(), **document)


def _parse(path: str, content: str) -> dict[str, Any]:
    # Imported here: only a host that has this file pays for the import, and such a host has PyYAML from the base role.
    try:
        import yaml
    except ImportError as error:
        raise HostError(f"read {path}", "PyYAML is not installed", "Install python3-yaml, or run site.yml") from error
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        # The parser quotes the offending line, which may hold the password of registry_dsn: only the place is told.
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark else ""
        raise HostError(f"read {path}", f"it is not valid YAML{where}", "Mend it, or run site.yml") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise HostError(f"use {path}", "it is not a mapping of settings", "Mend it, or run site.yml")
    return document
