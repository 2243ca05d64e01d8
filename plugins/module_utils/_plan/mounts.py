# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What the services of a Compose file mount, and the host's paths in it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan import interpolation

# Directories of the operating system: no data of an app's, and a container that mounts them wants just these.
SYSTEM = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run",
)  # fmt: skip
# A variable may have a colon of its own: `${DATA:-/srv}`.
_SHORT = re.compile(r"(?P<source>(?:\$\{[^}]*\}|[^:])*)(?::(?P<rest>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Mount:
    """One entry of a service's `volumes`.

    :ivar kind: `volume`, `bind`, `tmpfs` or another of Compose's types.
    :ivar source: as the file has it; empty for an anonymous volume.
    :ivar target: where it is in the container.
    :ivar value: the source as Compose understands it: variables resolved as far as they are known, `$$` a dollar sign.
    """

    kind: str
    source: str
    value: str
    target: str
    read_only: bool

    @property
    def variable(self) -> bool:
        """Whether there is a variable in the source; in a rendered file that is a secret."""
        return "$" in self.source.replace("$$", "")


def parsed(entry: Any, environment: Mapping[str, str] | None = None) -> Mount:
    """Return what an entry of `volumes` says, in either of its notations.

    :param environment: variables of `.env`, where they are known.
    :raises InputError: when a variable without which Compose would refuse the file is not in it.
    """
    if isinstance(entry, Mapping):
        source = str(entry.get("source") or "")
        value = _value(source, environment)
        kind = str(entry.get("type") or _kind(value))
        return Mount(kind, source, value, _normal(entry.get("target")), str(entry.get("read_only")).lower() == "true")
    source, rest = _split(str(entry))
    if rest is None:
        return Mount("volume", "", "", _normal(source), read_only=False)
    value = _value(source, environment)
    target, _colon, options = rest.partition(":")
    return Mount(_kind(value), source, value, _normal(target), "ro" in options.split(","))


def with_source(entry: Any, source: str, *, read_only: bool) -> Any:
    """Return an entry of `volumes` with another source.

    :param source: as text of a Compose file, where a dollar sign is two.
    :param read_only: it is mounted read-only, whatever the entry says.
    """
    if isinstance(entry, Mapping):
        return {**entry, "source": source, **({"read_only": True} if read_only else {})}
    target, _colon, mode = (_split(str(entry))[1] or "").partition(":")
    options = [option for option in mode.split(",") if option]
    if read_only and "ro" not in options:
        options = ["ro", *(option for option in options if option != "rw")]
    return ":".join([source, target, *([",".join(options)] if options else [])])


def absolute(path: str, directory: str, home: str = "/root") -> str:
    """Return the path on the host that a source is.

    :param path: the source's value.
    :param directory: the app's directory.
    :param home: what `~` is: that of root, who runs Compose.
    """
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    joined = posixpath.normpath(posixpath.join(directory, path))
    # POSIX lets two slashes at the beginning mean something else; Linux does not.
    return "/" + joined.lstrip("/")


def below(path: str, directory: str) -> bool:
    """Tell whether an absolute path is a directory or in it. Both are normal: no `..`, no slash at the end."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return normal absolute paths without those that are inside of another one, which brings them."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(below(path, other) for other in found):
            found.append(path)
    return tuple(found)


def _split(text: str) -> tuple[str, str | None]:
    """https://docs.docker.com/reference/compose-file/services/#short-syntax-6"""
    match = _SHORT.fullmatch(text)
    return (match["source"], match["rest"]) if match else (text, None)


def _value(source: str, environment: Mapping[str, str] | None) -> str:
    if environment is None:
        return source.replace("$$", "$")
    parts = interpolation.interpolate(source, environment, {}, set(), f"the source {source} of a mount")
    return "".join(part.text for part in parts if isinstance(part, interpolation.Literal))


def _kind(value: str) -> str:
    return "bind" if value.startswith(("/", ".", "~")) else "volume"


def _normal(target: Any) -> str:
    return posixpath.normpath(str(target).replace("$$", "$")) if target else ""
