# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Password files of nginx, with SHA-512 crypt hashes (crypt(5)) made by openssl; passwords go by standard input."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import HEADER

_HASH = re.compile(r"\$6\$(?P<salt>[./A-Za-z0-9]{1,16})\$[./A-Za-z0-9]{86}")


class Htpasswd:
    """Makes the text of password files. It writes nothing, so it may be asked in check mode."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def text(self, existing: str | None, users: Mapping[str, str]) -> str:
        """Return the file for some users and their passwords, by name.

        :param existing: the file as it is. Hashes in it that fit their user's password are kept, so that nothing
            changes where nothing is to change.
        :raises HostError: when there is no openssl, or it does not answer with a hash.
        """
        known = dict(line.split(":", 1) for line in (existing or "").splitlines() if ":" in line and line[0] != "#")
        lines = [f"{user}:{self._hash(user, users[user], known.get(user, ''))}" for user in sorted(users)]
        return HEADER + "".join(f"{line}\n" for line in lines)

    def _hash(self, user: str, password: str, known: str) -> str:
        found = _HASH.fullmatch(known)
        if found and hmac.compare_digest(self._made(user, password, found["salt"]), known):
            return known
        return self._made(user, password, None)

    def _made(self, user: str, password: str, salt: str | None) -> str:
        # The salt is no secret; without one, openssl draws it.
        argv = ["openssl", "passwd", "-6", *(["-salt", salt] if salt else []), "-stdin"]
        # AnsibleModule.run_command() ends the line itself, and openssl makes one hash of each line.
        completed = self._commands.run(argv, stdin=password)
        made = completed.stdout.strip()
        if not completed.ok or not _HASH.fullmatch(made):
            raise HostError(
                f"hash the password of the user {user}",
                "`openssl passwd -6` does not answer with a hash",
                "Install openssl 1.1.1 or newer",
            )
        return made
