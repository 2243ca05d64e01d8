# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Names that users give to things, checked before they reach a path, a URL, a container or a configuration file."""

from __future__ import annotations

import re

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

# A DNS label (RFC 1035 section 2.3.1, digits first allowed by RFC 1123 section 2.1) is also a valid Compose project
# name, container name, file name and registry key, so one rule serves all of them.
_APP_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

# Files in nginx's sites-available that are not an app's, and names that would read as one of ours.
RESERVED_APP_NAMES = frozenset({"default", "serverkit"})

# POSIX.1-2017, section 8.1: environment variable names.
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def app_name(value: object) -> str:
    """Return the name of an app, unchanged.

    :raises InputError: when it is not 1 to 63 characters of a-z, 0-9 and inner hyphens, or is reserved.
    """
    if not isinstance(value, str) or not _APP_NAME.fullmatch(value):
        raise InputError(
            f"use {value!r} as the name of an app",
            "an app's name has 1 to 63 characters of a-z, 0-9 and '-', and starts and ends with a letter or digit",
            "Choose such a name, for example my-blog",
        )
    if value in RESERVED_APP_NAMES:
        raise InputError(f"use {value!r} as the name of an app", "the name is reserved", "Choose another name")
    return value


def variable_name(value: object) -> str:
    """Return the name of an environment variable, unchanged.

    :raises InputError: when it is not letters, digits and underscores, not starting with a digit.
    """
    if not isinstance(value, str) or not _VARIABLE_NAME.fullmatch(value):
        raise InputError(
            f"use {value!r} as the name of a variable",
            "a variable's name has letters, digits and '_', and does not start with a digit",
        )
    return value
