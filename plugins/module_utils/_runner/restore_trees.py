# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Restoring the volumes and the bind-mounted directories of an app that is there: beside them, and then by rename."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import archives
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import (
    DockerVolumes,
    Volume,
    compose_labels,
)
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import Part
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import DatabaseDump, TreeArchive

# Of a volume that takes what a restore had put into the place of the former content.
_RETURNED = "serverkit.returned"


class Volumes:
    """The app's volumes."""

    def __init__(self, volumes: DockerVolumes, app: str) -> None:
        self._volumes = volumes
        self._app = app

    def exists(self, part: Part) -> bool:
        return part.live in self._volumes.inspect([part.live])

    def stage(self, part: Part, content: DatabaseDump | TreeArchive, path: str) -> None:
        """Extract an archive into a new volume and count what is in it.

        :raises HostError: when it cannot be extracted, or is not what the manifest says.
        """
        if not part.existed:
            own = part.live == f"{self._app}_{part.name}"
            self._volumes.create(part.live, compose_labels(self._app, part.name) if own else {})
        place = self._volumes.create(part.fresh, {}).mountpoint
        _check_entries(content, archives.extract(path, place))

    def switch(self, part: Part) -> None:
        self._volumes.switch(part.live, part.fresh, part.kept)

    def back(self, part: Part) -> None:
        found = self._volumes.inspect([part.live, part.fresh, part.kept])
        if part.kept not in found:
            return
        if part.fresh not in found:
            # Marked, to be told from one of the set that has nothing in it.
            self._volumes.create(part.fresh, {_RETURNED: part.live})
        elif _RETURNED not in found[part.fresh].labels and _in_place(found, part):
            # Cut off right after the name `kept` was made, or right before it was to be removed.
            self._volumes.remove([part.kept])
            return
        self._volumes.switch(part.live, part.kept, part.fresh)

    def discard(self, part: Part, name: str) -> None:
        del part
        self._volumes.remove([name])


class Binds:
    """The app's bind-mounted directories and files."""

    def exists(self, part: Part) -> bool:
        return os.path.lexists(part.live)

    def stage(self, part: Part, content: DatabaseDump | TreeArchive, path: str) -> None:
        """Extract an archive beside the directory and count what is in it.

        :raises HostError: when it cannot be extracted, or is not what the manifest says.
        """
        with files.attempting(f"make {part.fresh}"):
            os.makedirs(part.fresh, mode=0o700)
        entries = archives.extract(path, part.fresh)
        _check_entries(content, entries)
        single = os.path.join(part.fresh, os.path.basename(part.live))
        if entries == 1 and os.path.lexists(single):
            # Of a file that is mounted by itself, the archive has its name, and no directory.
            with files.attempting(f"make {part.fresh}"):
                os.rename(single, f"{part.fresh}.file")
                os.rmdir(part.fresh)
                os.rename(f"{part.fresh}.file", part.fresh)

    def switch(self, part: Part) -> None:
        with files.attempting(f"put {part.fresh} in the place of {part.live}"):
            if os.path.lexists(part.live):
                os.rename(part.live, part.kept)
            os.rename(part.fresh, part.live)

    def back(self, part: Part) -> None:
        # Before the first of the two steps there is no `kept`, between them no `live`, afterwards no `fresh`.
        with files.attempting(f"put {part.kept} back in the place of {part.live}"):
            begun = os.path.lexists(part.kept) or not part.existed
            if begun and os.path.lexists(part.live) and not os.path.lexists(part.fresh):
                os.rename(part.live, part.fresh)
            if os.path.lexists(part.kept):
                os.rename(part.kept, part.live)

    def discard(self, part: Part, name: str) -> None:
        del part
        for path in (name, f"{name}.file"):
            if os.path.isdir(path) and not os.path.islink(path):
                trees.remove(path)
            elif os.path.lexists(path):
                with files.attempting(f"remove {path}"):
                    os.unlink(path)


def _in_place(found: Mapping[str, Volume], part: Part) -> bool:
    """Whether both the former content and that of the set have their directories, so that neither is elsewhere."""
    aside = found[part.kept].mountpoint
    if os.path.isdir(aside) and os.listdir(aside):
        return False
    return all(name in found and os.path.isdir(found[name].mountpoint) for name in (part.live, part.fresh))


def beside(path: str, mark: str) -> str:
    """Return a name in the directory of a path, on the same file system, that nobody takes for data."""
    directory, name = os.path.split(path.rstrip("/"))
    return os.path.join(directory, f".{name[:150]}.serverkit-{mark}")


def _check_entries(content: DatabaseDump | TreeArchive, entries: int) -> None:
    if isinstance(content, TreeArchive) and entries != content.entries:
        reason = f"it has {entries} files and directories, and had {content.entries} when the set was made"
        raise HostError(f"restore {content.name}", reason, "Use another set")
