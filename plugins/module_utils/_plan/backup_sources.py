# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.
"""What of an app's data is where: the volumes and bind mounts of its rendered Compose file."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.mounts import (
    SYSTEM,
    Mount,
    absolute,
    below,
    outermost,
    parsed,
)

# Directories of the host's own: what the system makes anew, besides what it consists of.
_OF_HOST = (*SYSTEM, "/var/cache", "/var/lib/containerd", "/var/lib/docker", "/var/log")
# Directories that all programs of the host share; what is below them may well be an app's.
_SHARED = ("/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var", "/var/lib", "/var/www")
_OURS = "/var/serverkit"


@dataclass(frozen=True)
class Sources:
    """What goes into a backup set besides databases.

    :ivar volumes: key in the Compose file -> name in Docker.
    :ivar binds: paths on the host, none of them below another one.
    :ivar left_out: what is mounted and is not in the set -> why.
    """

    volumes: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def sources(
    document: Mapping[str, Any], app: str, directory: str, exclude: Iterable[str] = (), home: str = "/root"
) -> Sources:
    """Return what of an app's data a backup takes.

    In it are the named volumes, and the bind mounts that a container can write to, or that are in the app's `data/`.
    What else lies in the app's directory is part of its release.

    :param document: the rendered Compose file, parsed.
    :param app: the app, which is the Compose project.
    :param directory: the app's directory.
    :param exclude: what the user does not want: keys of volumes, and bind mounts as the Compose file has them or as
        absolute paths.
    :param home: what `~` is.
    :raises InputError: when something is excluded that is not there.
    """
    found = _Finding(document, app, directory, home)
    for service, definition in _mapping(document.get("services")).items():
        for entry in definition.get("volumes") or []:
            found.add(str(service), parsed(entry))
    found.look_elsewhere()
    return found.without(tuple(exclude))


class _Finding:
    def __init__(self, document: Mapping[str, Any], app: str, directory: str, home: str) -> None:
        self._document = document
        self._app = app
        self._directory = posixpath.normpath(directory)
        self._home = home
        self._volumes: dict[str, str] = {}
        self._binds: set[str] = set()
        self._left_out: dict[str, str] = {}

    def add(self, service: str, mount: Mount) -> None:
        where = f"{service}:{mount.target}"
        if mount.kind == "tmpfs":
            self._left_out[where] = "it is in the memory only"
        elif mount.kind not in ("volume", "bind"):
            self._left_out[where] = f"a mount of the type {mount.kind} holds no data of the app"
        elif not mount.source:
            self._left_out[where] = "an anonymous volume is lost with its container; give it a name to have it kept"
        elif mount.variable:
            # Neither what it is nor where is known before Compose has put the secret in, and a manifest holds none.
            self._left_out[where] = "its source is made of a secret"
        elif mount.kind == "bind":
            self._add_bind(mount)
        elif mount.source not in _mapping(self._document.get("volumes")):
            self._left_out[mount.source] = "the Compose file does not declare this volume"

    def look_elsewhere(self) -> None:
        """Find what is not below a service's `volumes`."""
        for key, definition in _mapping(self._document.get("volumes")).items():
            self._add_volume(str(key), _mapping(definition))
        for service, definition in _mapping(self._document.get("services")).items():
            for target in _listed(definition.get("tmpfs")):
                self._left_out[f"{service}:{target.partition(':')[0]}"] = "it is in the memory only"
            for other in _listed(definition.get("volumes_from")):
                if other.startswith("container:"):
                    self._left_out[f"{service}:{other}"] = "these are volumes of a container that is not the app's"

    def without(self, exclude: tuple[str, ...]) -> Sources:
        unknown = []
        for name in exclude:
            path = absolute(_unescaped(name), self._directory, self._home)
            if name in self._volumes:
                del self._volumes[name]
                self._left_out[name] = "it is excluded"
            elif path in self._binds:
                self._binds.remove(path)
                self._left_out[path] = "it is excluded"
            elif name not in self._left_out and path not in self._left_out:
                unknown.append(name)
        if unknown:
            present = ", ".join([*sorted(self._volumes), *sorted(self._binds)]) or "nothing"
            raise InputError(
                f"exclude {', '.join(unknown)} from the backup of the app {self._app}",
                f"it has no such volume or bind mount; there is {present}",
            )
        volumes, left_out = dict(sorted(self._volumes.items())), dict(sorted(self._left_out.items()))
        return Sources(volumes, outermost(self._binds), left_out)

    def _add_volume(self, key: str, definition: Mapping[str, Any]) -> None:
        external = definition.get("external")
        if external:
            self._left_out[key] = "an external volume is not the app's own"
            return
        name = _unescaped(str(definition.get("name") or f"{self._app}_{key}"))
        if "${" in name:
            self._left_out[key] = "its name is made of a secret"
        else:
            self._volumes[key] = name

    def _add_bind(self, mount: Mount) -> None:
        path = absolute(mount.value, self._directory, self._home)
        reason = self._refusal(path)
        own = below(path, self._directory)
        if reason:
            self._left_out[path] = reason
        elif not mount.read_only or below(path, posixpath.join(self._directory, "data")):
            self._binds.add(path)
            self._left_out.pop(path, None)
        elif not own and path not in self._binds:
            self._left_out[path] = "it is mounted read-only, so the app has changed nothing there"

    def _refusal(self, path: str) -> str:
        if path == self._directory:
            return "it is the app's own directory, which is in the set as the release"
        if below(path, self._directory):
            return ""
        if path.endswith(".sock"):
            return "a socket holds no data"
        if path in _SHARED:
            return "it is shared with the rest of the host"
        if any(below(path, place) for place in _OF_HOST):
            return "it belongs to the host's system"
        if below(path, _OURS):
            return "it belongs to another app, or to the host's management"
        if below(self._directory, path):
            return "the app's own directory is in it"
        return ""


def _unescaped(text: str) -> str:
    return text.replace("$$", "$")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)] if value else []
