# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The release that a backup set holds, read without unpacking the set."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from ansible_collections.serverkit.core.plugins.module_utils._edges import streams
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._values.app import RELEASE_FILES
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile

# Bytes. What is longer is none of the files that a release consists of.
_LONGEST = 16 << 20


def read(path: str) -> dict[str, RenderedFile]:
    """Return those files of an archived release that describe it: all but `files/`.

    :raises HostError: when the archive cannot be read.
    """
    found: dict[str, RenderedFile] = {}
    attempted = f"read the release in {path}"
    try:
        # A pipe can only be read forward ("r|").
        with streams.read(path) as parts, tarfile.open(fileobj=cast(IO[bytes], _Parts(parts)), mode="r|") as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                stream = archive.extractfile(member) if name in RELEASE_FILES and member.isfile() else None
                if stream is None:
                    continue
                if member.size > _LONGEST:
                    raise HostError(attempted, f"its {name} has {member.size} bytes")
                text = stream.read().decode("utf-8", "surrogateescape")
                found[name] = RenderedFile(text, member.mode & 0o7777)
    except tarfile.TarError as error:
        raise HostError(attempted, str(error)) from error
    return found


class _Parts:
    """A generator of bytes as a file that tarfile can read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            part = next(self._parts, b"")
            if not part:
                break
            self._rest += part
        wanted, self._rest = self._rest[:size], self._rest[size:]
        return wanted
