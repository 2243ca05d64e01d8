# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.
"""The backup sets of one app on this host.

A set is made in a hidden directory beside the others, verified there, and gets its name last; it loses its name first
when it is removed. So whatever has the name of a set is one, or was damaged later. Whoever writes here holds the app's
lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, streams, trees
from ansible_collections.serverkit.core.plugins.module_utils._edges.streams import Stored
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan import manifest as manifests
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, StoredFile, order, set_id

ROOT = "/var/serverkit/backups"
MANIFEST = "manifest.json"
# Where the parts of a set lie; one that nothing came into is not in the set.
FOLDERS = ("mysql", "postgres", "redis", "mongodb", "volumes", "binds")

_STATE = "state.json"
_UNFINISHED = re.compile(r"\.[0-9]{8}T[0-9]{6}Z(-[0-9]{1,3})?\.(partial|removed)")
# How `files.write` calls the new notes until they are whole.
_UNWRITTEN = f".{_STATE}."


def apps(root: str = ROOT) -> tuple[str, ...]:
    """Return the apps that have sets, or had an attempt at one.

    :raises HostError: when the directory cannot be read.
    """
    return tuple(name for name in _names(root) if not name.startswith(".") and os.path.isdir(os.path.join(root, name)))


class BackupSets:
    """The sets of one app. Methods raise HostError when the host refuses, InputError when a set is not what it says."""

    def __init__(self, app: str, root: str = ROOT) -> None:
        self.app = app
        self.root = root
        self.directory = os.path.join(root, app)

    def path(self, identity: str) -> str:
        return os.path.join(self.directory, set_id(identity))

    def partial(self, identity: str) -> str:
        """Return where a set lies until it is whole."""
        return os.path.join(self.directory, f".{set_id(identity)}.partial")

    def identities(self) -> tuple[str, ...]:
        """Return what has the name of a set, the newest last, in whatever state it is."""
        return tuple(sorted(filter(_is_set, _names(self.directory)), key=order))

    def list(self) -> tuple[Manifest, ...]:
        """Return the sets whose files are there in full length, the newest last. What is in the files is not read."""
        return tuple(self._sound().values())

    def damaged(self) -> tuple[str, ...]:
        """Return what has the name of a set and is none."""
        sound = self._sound()
        return tuple(identity for identity in self.identities() if identity not in sound)

    def load(self, identity: str) -> Manifest:
        """Return a set's manifest."""
        return self._load(self.path(identity), identity)

    def verify(self, identity: str, check_dump: Callable[[str, Stored, str], None] | None = None) -> Manifest:
        """Read all of a set back: each file has the recorded length and SHA-256, and can be decompressed.

        :param check_dump: looks at each dump besides, given its engine, what was read and its path.
        """
        return self._verify(self.path(identity), identity, check_dump)

    def begin(self, identity: str, folders: Iterable[str] = FOLDERS) -> str:
        """Make the directory for a new set, and remove what killed runs have left. Return its path."""
        if os.path.lexists(self.path(identity)):
            raise HostError(f"begin the backup set {identity}", f"{self.path(identity)} is there already")
        files.make_directory(self.root, 0o700)
        files.make_directory(self.directory, 0o700)
        self.abandon()
        for folder in ("", *folders):
            files.make_directory(os.path.join(self.partial(identity), folder), 0o700)
        return self.partial(identity)

    def finish(self, manifest: Manifest) -> None:
        """Verify what was written since `begin`, and make a set of it."""
        partial = self.partial(manifest.id)
        with files.attempting(f"finish the backup set {manifest.id}"):
            for name in os.listdir(partial):
                if os.path.isdir(os.path.join(partial, name)) and not os.listdir(os.path.join(partial, name)):
                    os.rmdir(os.path.join(partial, name))
        files.write(os.path.join(partial, MANIFEST), manifests.to_text(manifest), 0o600)
        self.adopt(manifest.id)

    def adopt(self, identity: str) -> Manifest:
        """Verify a set that came from elsewhere as a whole, manifest included, after `begin`; make it one of ours."""
        partial = self.partial(identity)
        manifest = self._verify(partial, identity)
        with files.attempting(f"finish the backup set {identity}"):
            for folder, _folders, names in os.walk(partial):
                for name in names:
                    os.chmod(os.path.join(folder, name), 0o600)
                os.chmod(folder, 0o700)
                files.sync_directory(folder)
            os.rename(partial, self.path(identity))
            files.sync_directory(self.directory)
        return manifest

    def abandon(self) -> None:
        """Remove unfinished sets and notes, and finish removals that were cut short."""
        for name in self.leftovers():
            trees.remove(os.path.join(self.directory, name))
        for name in _names(self.directory):
            if name.startswith(_UNWRITTEN):
                files.remove(os.path.join(self.directory, name))

    def leftovers(self) -> tuple[str, ...]:
        """Return the names of what `abandon` removes."""
        return tuple(filter(_UNFINISHED.fullmatch, _names(self.directory)))

    def remove(self, identities: Iterable[str]) -> None:
        """Remove sets; one that is gone already is fine."""
        for identity in identities:
            removed = os.path.join(self.directory, f".{set_id(identity)}.removed")
            trees.remove(removed)
            with files.attempting(f"remove {self.path(identity)}"), contextlib.suppress(FileNotFoundError):
                os.rename(self.path(identity), removed)
            trees.remove(removed)

    def state(self) -> dict[str, Any]:
        """Return what was noted of this app's backups and restores; empty when nothing was, or nobody can read it."""
        found = files.read(os.path.join(self.directory, _STATE))
        try:
            state = json.loads(found.content) if found else {}
        except ValueError:
            # Notes about sets, which are still there; a run that makes the next one must not fail of them.
            return {}
        return state if isinstance(state, dict) else {}

    def put_state(self, state: Mapping[str, Any]) -> None:
        """Note something in place of what was noted before."""
        files.make_directory(self.root, 0o700)
        files.make_directory(self.directory, 0o700)
        text = json.dumps(dict(state), indent=1, sort_keys=True) + "\n"
        files.write(os.path.join(self.directory, _STATE), text, 0o600)

    def _sound(self) -> dict[str, Manifest]:
        found = {}
        for identity in self.identities():
            with contextlib.suppress(ServerkitError):
                manifest = self.load(identity)
                for file in manifest.files:
                    _check_length(self.path(identity), file)
                found[identity] = manifest
        return found

    def _load(self, directory: str, identity: str) -> Manifest:
        where = os.path.join(directory, MANIFEST)
        state = files.read(where)
        if state is None:
            raise InputError(f"read {where}", "there is no such file, so this is no backup set", "Use another set")
        manifest = manifests.from_text(state.content, where)
        if (manifest.app, manifest.id) != (self.app, identity):
            reason = (
                f"it is that of the set {manifest.id} of the app {manifest.app}, and not of {identity} of {self.app}"
            )
            raise InputError(f"use {where}", reason, "Use another set, or put this one where it was")
        return manifest

    def _verify(
        self, directory: str, identity: str, check_dump: Callable[[str, Stored, str], None] | None = None
    ) -> Manifest:
        manifest = self._load(directory, identity)
        engines = {dump.file.path: dump.engine for dump in manifest.databases}
        for file in manifest.files:
            _check_length(directory, file)
        for file in manifest.files:
            found = _check_content(directory, file)
            if check_dump and file.path in engines:
                path = os.path.join(directory, file.path)
                with _unless_damaged(path):
                    check_dump(engines[file.path], found, path)
        return manifest


def _is_set(name: str) -> bool:
    try:
        return set_id(name) == name
    except InputError:
        return False


def _check_length(directory: str, file: StoredFile) -> None:
    path = os.path.join(directory, file.path)
    try:
        status = os.lstat(path)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise _damaged(path, "it is not a regular file")
    if status.st_size != file.size:
        raise _damaged(path, f"it has {status.st_size} bytes, and the manifest says {file.size}")


def _check_content(directory: str, file: StoredFile) -> Stored:
    path = os.path.join(directory, file.path)
    with _unless_damaged(path):
        found = streams.check(path)
    if found.sha256 != file.sha256:
        raise _damaged(path, f"its SHA-256 is {found.sha256}, and the manifest says {file.sha256}")
    if found.content_size != file.content_size:
        raise _damaged(path, f"{found.content_size} bytes are in it, and the manifest says {file.content_size}")
    return found


@contextlib.contextmanager
def _unless_damaged(path: str) -> Iterator[None]:
    try:
        yield
    except HostError as error:
        raise _damaged(path, error.reason) from error


def _damaged(path: str, reason: str) -> InputError:
    return InputError(f"use {path}", reason, "Use another set")


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostError(f"read {directory}", error.strerror or str(error)) from error
