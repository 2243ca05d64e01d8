# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Being another user of the system for a moment, for servers that ask the kernel who connects to their socket."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator


def owner_of(path: str) -> str | None:
    """Return the name of a file's owner; None when there is no such file, or nobody of that number."""
    try:
        return pwd.getpwuid(os.stat(path).st_uid).pw_name
    except (OSError, KeyError):
        return None


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Let root have the effective user id of somebody else; for anyone but root this does nothing.

    The kernel notes the effective ids of whoever connects to a socket, at that moment (unix(7), SO_PEERCRED). The real
    id stays, so that we can go back.
    """
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam(user).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
