# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The last set of what is about to be deleted."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import (
    app_files,
    backup_sets,
    backup_settings,
)
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry.store import open_registry
from ansible_collections.serverkit.core.plugins.module_utils._plan import links
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import TakeOptions
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest

_REMEDY = "Nothing was deleted. Mend that, or set skip_backup: true to delete without a backup"


class FinalBackups:
    """Takes sets that no thinning removes. The caller holds the locks of the apps."""

    def __init__(self, host: Host, apps: str = app_files.ROOT, config: str = backup_settings.PATH) -> None:
        """
        :param apps: where the apps' directories are.
        :param config: the settings of the host's own backups: what they restore from has these sets too.
        """
        self._host = host
        self._apps = apps
        self._config = config

    def of_app(self, app: str, lock: int) -> str:
        """Take a set of all that an app has, volumes that it does not use any more too; return where it is.

        :raises ServerkitError: when that cannot be done.
        """
        return self._take(app, lock, TakeOptions(everything=True))

    def of_links(self, app: str, lock: int, dropped: Mapping[str, ServerRequest]) -> str:
        """Take a set of an app whose databases are to be dropped; return where it is.

        :param dropped: names of the links, which may be unlinked by now, with their administrators.
        :raises ServerkitError: when that cannot be done.
        """
        with open_registry(self._host.settings, read_only=True) as registry:
            linked = [link.name for link in links.linked(registry.links(), app)]
        names = tuple(sorted({*linked, *dropped}))
        return self._take(app, lock, TakeOptions(servers=dropped, databases=names))

    def _take(self, app: str, lock: int, options: TakeOptions) -> str:
        # Here: few runs delete anything, and all would take a tenth longer to start.
        from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_taking import take

        try:
            root = backup_settings.load(self._config).directory or backup_sets.ROOT
            made = take(self._host, app, lock, "final", options, root=root, apps=self._apps)
        except ServerkitError as error:
            remedy = f"{error.remedy.rstrip('.')}. {_REMEDY}" if error.remedy else _REMEDY
            raise type(error)(error.attempted, error.reason, remedy) from error
        return BackupSets(app, root).path(made.id)
