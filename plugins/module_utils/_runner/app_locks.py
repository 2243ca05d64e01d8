# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The lock of one app, which every module that changes the app holds."""

from __future__ import annotations


def lock_name(app: str) -> str:
    """Return the name of an app's lock (see `_edges.locks`)."""
    return f"app-{app}"
