# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What the host's own backups are to be like: `/etc/serverkit/backup.yaml`, which only root can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import parse_yaml

PATH = "/etc/serverkit/backup.yaml"

_MEND = "Mend it, or run the role backup"
_TYPES: dict[str, type] = {
    "apps": list,
    "exclude_apps": list,
    "defaults": dict,
    "items": dict,
    "directory": str,
    "max_age": str,
    "repository": dict,
    "read_data": str,
}


@dataclass(frozen=True)
class BackupSettings:
    """The program's settings; what they consist of is checked by those who use it.

    :ivar apps: their names; empty for all that the registry has, but for `exclude_apps`.
    :ivar defaults: options of an item of `serverkit_backup` for all apps, and `items` those of single apps.
    :ivar max_age: how old a backup may be before it counts as stale, such as `26h`.
    :ivar repository: as the option of `serverkit_backup`; None for no copies elsewhere.
    :ivar read_data: how much of the repository's data is read back each time, such as `5%`; empty for none.
    """

    apps: tuple[str, ...] = ()
    exclude_apps: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    directory: str = ""
    max_age: str = "26h"
    repository: Mapping[str, Any] | None = field(default=None, repr=False)
    read_data: str = ""

    @property
    def task(self) -> dict[str, Any]:
        """The options of a task of `serverkit_backup` and `serverkit_restore`."""
        return {"directory": self.directory or None, "repository": self.repository}

    def item(self, app: str) -> dict[str, Any]:
        """Return the options of an item of `serverkit_backup` for an app."""
        return {**self.defaults, **self.items.get(app, {}), "app": app}


def load(path: str = PATH) -> BackupSettings:
    """Return the settings, or the defaults where there is no file.

    :raises HostError: when the file cannot be read, or is not what it has to be.
    """
    state = files.read(path)
    if state is None:
        return BackupSettings()
    try:
        document = parse_yaml(state.content, path)
    except InputError as error:
        # The parser quotes what it does not understand, which may be a password.
        raise HostError(f"use {path}", "it is not valid YAML", _MEND) from error.__cause__
    for key, value in document.items():
        if key not in _TYPES:
            raise HostError(f"use {path}", f"it has an unknown key: {key}", _MEND)
        if not isinstance(value, _TYPES[key]):
            raise HostError(f"use {path}", f"{key} is not of the type {_TYPES[key].__name__}", _MEND)
    listed: dict[str, Any] = {
        key: tuple(map(str, document[key])) for key in ("apps", "exclude_apps") if key in document
    }
    return BackupSettings(**{**document, **listed})
