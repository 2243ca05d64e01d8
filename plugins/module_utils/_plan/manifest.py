# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The manifest of a backup set, as text and back. The text carries a digest of itself.

The digest finds damage and files of another set, not forgery: whoever can write to the host's backups owns the host.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    FORMAT,
    QUIESCE,
    REASONS,
    DatabaseDump,
    Manifest,
    StoredFile,
    TreeArchive,
    set_id,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def to_text(manifest: Manifest) -> str:
    """Return the manifest as JSON."""
    fields = dataclasses.asdict(manifest)
    return json.dumps({**fields, "digest": _digest(fields)}, indent=1, sort_keys=True) + "\n"


def from_text(text: str, where: str) -> Manifest:
    """Return the manifest that a text holds.

    :param where: what to call it in errors.
    :raises InputError: when it is none, was changed, or was written by a newer release of the collection.
    """
    attempted = f"read {where}"
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise TypeError("it is not a JSON object")
        _check_format(attempted, document.get("format"))
        digest = document.pop("digest", None)
        if digest != _digest(document):
            raise ValueError("its digest is not that of its content: it is damaged, or was changed")
        return _manifest(document)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(attempted, reason, "Use another set") from error


def _check_format(attempted: str, found: object) -> None:
    if isinstance(found, int) and found > FORMAT:
        raise InputError(
            attempted,
            f"it has the format {found}, and this release of serverkit.core knows up to {FORMAT}",
            "Use the release of the collection that wrote it, or a newer one",
        )


def _digest(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _manifest(document: Mapping[str, Any]) -> Manifest:
    if document["reason"] not in REASONS or document["quiesce"] not in QUIESCE:
        raise ValueError("its reason or its quiesce is not one that there is")
    set_id(document["id"])
    manifest = Manifest(
        **{
            **document,
            "release": _file(document["release"]),
            "databases": tuple(_database(entry) for entry in document["databases"]),
            "volumes": tuple(_tree(entry) for entry in document["volumes"]),
            "binds": tuple(_tree(entry) for entry in document["binds"]),
            "links": tuple(dict(entry) for entry in document["links"]),
        }
    )
    paths = [file.path for file in manifest.files]
    if len(set(paths)) != len(paths):
        raise ValueError("two parts are in one file")
    return manifest


def _database(entry: Mapping[str, Any]) -> DatabaseDump:
    return DatabaseDump(**{**entry, "file": _file(entry["file"]), "moving": tuple(entry["moving"])})


def _tree(entry: Mapping[str, Any]) -> TreeArchive:
    return TreeArchive(**{**entry, "file": _file(entry["file"])})


def _file(entry: Mapping[str, Any]) -> StoredFile:
    path, sha256, lengths = entry["path"], entry["sha256"], (entry["size"], entry["content_size"])
    if not isinstance(path, str) or not isinstance(sha256, str):
        raise TypeError("a file in it has no path or no SHA-256")
    if not path or posixpath.isabs(path) or posixpath.normpath(path) != path or path.startswith("../"):
        raise ValueError(f"{path!r} is not the path of a file in the set")
    if not _SHA256.fullmatch(sha256) or not all(isinstance(length, int) and length >= 0 for length in lengths):
        raise ValueError(f"{path!r} has no SHA-256 or size")
    return StoredFile(**entry)
