# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Where the journals of apps are that are being made of a set; what is in them, `restore_remains` knows."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.serverkit.core.plugins.module_utils._edges import files

_DIRECTORY = "restores"


def path_of(root: str, name: str) -> str:
    """Return the path of an app's journal.

    :param root: where the apps' directories are.
    """
    return os.path.join(os.path.dirname(root), _DIRECTORY, f"{name}.json")


def forget(root: str, name: str) -> None:
    """Remove the journal of an app, which is no restore's any more; one that is gone is fine.

    :raises HostError: when the disk is read-only.
    """
    path = path_of(root, name)
    files.remove(path)
    with contextlib.suppress(OSError):  # another restore has its journal there
        os.rmdir(os.path.dirname(path))
