# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""An app's directory: the release that is in place, the one to go back to, and what outlives both.

`docker-compose.yml`, `compose.links.yml` (where databases are linked), `.env`, `.release.json` and `files/` are the
release. During an update `.rollback/` holds hard links to all but `files/` of the last good release; its `files/` are
still there, since a new content has a new path.
`data/` and anything else in the directory is the app's own and is never touched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    ENVIRONMENT_FILE,
    RELEASE_FILES,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile

ROOT = "/var/serverkit/apps"
TEMPLATES = "/etc/serverkit/templates"

ROLLBACK = ".rollback"

_FILES = "files"


class AppDirectory:
    """The directory of one app. Methods that write raise HostError when the disk is full, read-only or refuses."""

    def __init__(self, app: str, root: str = ROOT) -> None:
        self.path = os.path.join(root, app)

    @property
    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def read(self) -> dict[str, RenderedFile]:
        """Return the files of the release that is in place, by their path below the directory."""
        found = {name: state for name in RELEASE_FILES if (state := self._read(name)) is not None}
        for path in self._below_files():
            state = self._read(path)
            if state is not None:
                found[path] = state
        return found

    def read_previous(self) -> dict[str, RenderedFile]:
        """Return the last good release but for its `files/`; empty unless an update is under way or was cut short."""
        found = {name: self._read(f"{ROLLBACK}/{name}") for name in RELEASE_FILES}
        return {name: state for name, state in found.items() if state is not None}

    def keep_previous(self) -> None:
        """Make the release that is in place the one to go back to."""
        staged = self._join(f"{ROLLBACK}.new")
        with files.attempting(f"keep the present release in {self._join(ROLLBACK)}"):
            shutil.rmtree(staged, ignore_errors=True)
            os.makedirs(staged, mode=0o700)
            for name in RELEASE_FILES:
                if os.path.exists(self._join(name)):
                    os.link(self._join(name), os.path.join(staged, name))
            shutil.rmtree(self._join(ROLLBACK), ignore_errors=True)
            os.rename(staged, self._join(ROLLBACK))

    def write(self, wanted: Mapping[str, RenderedFile]) -> None:
        """Put a release in place, each file whole or not at all; what is right already is left alone."""
        files.make_directory(self.path)
        order = [
            *(path for path in sorted(wanted) if path not in RELEASE_FILES),
            *(name for name in RELEASE_FILES if name in wanted or name == LINKS_FILE),
        ]
        for path in order:
            if path not in wanted:
                files.remove(self._join(path))
            elif self._read(path) != wanted[path]:
                self._make_parent(path)
                files.write(self._join(path), wanted[path].content, wanted[path].mode)

    def write_environment(self, wanted: RenderedFile | None) -> None:
        """Put an `.env` in place for a release that is yet to come, or take it away."""
        if wanted is None:
            files.remove(self._join(ENVIRONMENT_FILE))
            return
        files.make_directory(self.path)
        files.write(self._join(ENVIRONMENT_FILE), wanted.content, wanted.mode)

    def restore_previous(self, environment: str | None = None) -> None:
        """Put the last good release back in place, with another content of `.env` where one is given."""
        with files.attempting(f"restore the release of {self._join(ROLLBACK)}"):
            for name in RELEASE_FILES:
                if name == ENVIRONMENT_FILE and environment is not None:
                    files.write(self._join(name), environment, 0o600)
                elif os.path.exists(self._join(f"{ROLLBACK}/{name}")):
                    self._link_back(name)
                elif name == LINKS_FILE:
                    files.remove(self._join(name))  # the last good release has no links

    def drop_previous(self) -> None:
        with files.attempting(f"remove {self._join(ROLLBACK)}"):
            for name in (ROLLBACK, f"{ROLLBACK}.new"):
                if os.path.isdir(self._join(name)):
                    shutil.rmtree(self._join(name))

    def prune(self, keep: Collection[str]) -> None:
        """Remove files of former releases, and what killed runs have left of theirs."""
        with files.attempting(f"clean {self.path}"):
            for path in self._below_files():
                if path not in keep:
                    os.unlink(self._join(path))
            for folder, _folders, _names in os.walk(self._join(_FILES), topdown=False):
                if not os.listdir(folder):
                    os.rmdir(folder)
            for name in self._temporaries():
                os.unlink(self._join(name))

    def remove_release(self, keep_environment: bool = True) -> None:
        """Remove what belongs to the release; data, and the secrets that open it, stay.

        A directory in which nothing is left is removed, one that keeps data stays as the proof that it is ours.
        """
        for name in reversed(RELEASE_FILES):
            if name != ENVIRONMENT_FILE or not keep_environment:
                files.remove(self._join(name))
        self.drop_previous()
        self.prune(keep=())
        if self.exists and not os.listdir(self.path):
            with files.attempting(f"remove {self.path}"):
                os.rmdir(self.path)

    def purge(self) -> None:
        """Remove the directory with all that is in it."""
        with files.attempting(f"remove {self.path}"):
            if os.path.isdir(self.path):
                shutil.rmtree(self.path)

    def leftovers(self) -> tuple[str, ...]:
        """Return names of what a killed run has left behind."""
        if not self.exists:
            return ()
        staged = [name for name in (ROLLBACK, f"{ROLLBACK}.new") if os.path.isdir(self._join(name))]
        return (*staged, *self._temporaries())

    def _temporaries(self) -> list[str]:
        if not self.exists:
            return []
        prefixes = tuple(f".{name}." for name in RELEASE_FILES)
        return sorted(name for name in os.listdir(self.path) if name.startswith(prefixes))

    def _below_files(self) -> Iterator[str]:
        for folder, _folders, names in os.walk(self._join(_FILES)):
            for name in sorted(names):
                yield os.path.relpath(os.path.join(folder, name), self.path)

    def _make_parent(self, path: str) -> None:
        parent = os.path.dirname(path)
        if parent:
            if parent.split("/")[0] == _FILES:
                # Docker mounts what is below; nobody else on the host has to see it.
                files.make_directory(self._join(_FILES), 0o700)
            files.make_directory(self._join(parent))

    def _link_back(self, name: str) -> None:
        source, target = self._join(f"{ROLLBACK}/{name}"), self._join(name)
        # rename(2) does nothing at all when both names are links to one file.
        if os.path.exists(target) and os.path.samefile(source, target):
            return
        temporary = self._join(f".{name}.rollback")
        files.remove(temporary)
        os.link(source, temporary)
        os.replace(temporary, target)

    def _read(self, path: str) -> RenderedFile | None:
        state = files.read(self._join(path))
        return None if state is None else RenderedFile(state.content, state.mode)

    def _join(self, path: str) -> str:
        return os.path.join(self.path, path)


def read_template(identity: str, root: str | None = None) -> str:
    """Return the text of the host's copy of a template; empty when there is none."""
    state = files.read(template_path(identity, root))
    return "" if state is None else state.content


def write_template(identity: str, text: str, root: str | None = None) -> None:
    """Replace the host's copy of a template; an empty text removes it."""
    path = template_path(identity, root)
    if text:
        files.make_directory(os.path.dirname(path))
        files.write(path, text, 0o644)
    else:
        files.remove(path)


def template_path(identity: str, root: str | None = None) -> str:
    return os.path.join(root or TEMPLATES, f"{identity}.yaml")
