# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is PRIVATE to the collection: it can change or go away in any release.

"""The program `serverkit` in one file: the collection's module_utils as an application that Python runs by itself."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path, PurePosixPath

MODULE_UTILS = Path(__file__).resolve().parents[1] / "module_utils"

_PACKAGE = PurePosixPath("ansible_collections/serverkit/core/plugins/module_utils")
# Isolated: neither the directory it is called in nor anybody's environment has a say in what it imports.
_INTERPRETER = b"#!/usr/bin/python3 -I\n"
_MAIN = f"""import sys

from {".".join(_PACKAGE.parts)}._program import main

sys.exit(main())
"""
# Ansible itself is not on the host.
_ONLY_FOR_MODULES = frozenset({"_module.py"})
# The first that a zip file can have: a program of the same content is the same file, whoever builds it.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(source: Path = MODULE_UTILS) -> bytes:
    """Return the program.

    It is not compressed, since two versions of zlib may do that differently.

    :param source: the directory of the module_utils.
    """
    files = {
        _PACKAGE / path.relative_to(source).as_posix(): path.read_bytes()
        for path in source.rglob("*.py")
        if path.relative_to(source).as_posix() not in _ONLY_FOR_MODULES
    }
    # Python finds a package without an __init__.py in a zip file only where the directory has an entry of its own.
    packages = {folder / "__init__.py" for path in files for folder in path.parents if folder.parts}
    content = {**dict.fromkeys(packages, b""), **files, PurePosixPath("__main__.py"): _MAIN.encode()}
    stream = io.BytesIO()
    stream.write(_INTERPRETER)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for path, text in sorted(content.items()):
            entry = zipfile.ZipInfo(str(path), _EPOCH)
            entry.create_system = 3  # Unix
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, text)
    return stream.getvalue()
