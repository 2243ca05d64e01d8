# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Where nginx keeps its files and what it listens on; a file's content before and after a change."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

# Whoever edits one of our files meets this line first, and by it we know that a file is ours to replace.
HEADER = "# Managed by serverkit.core. Changes made here by hand are undone by the next run.\n"
_MARK = "# Managed by serverkit.core"

PROOF_PATH = "/.well-known/serverkit-proof"
# RFC 6761 section 6.4: no name below .invalid is ever a real one, so this reaches the catch-all.
CATCH_ALL_HOST = "serverkit.invalid"
# What the files that all apps share are called in the registry; no app can have this name.
SHARED = "serverkit"


@dataclass(frozen=True)
class Layout:
    """The defaults are Debian's and Ubuntu's; tests drive an nginx of their own elsewhere."""

    configuration: str = "/etc/nginx"
    logs: str = "/var/log/nginx"
    runtime: str = "/run/serverkit"
    port: int = 80

    @property
    def main(self) -> str:
        return posixpath.join(self.configuration, "nginx.conf")

    @property
    def private_directory(self) -> str:
        return posixpath.join(self.configuration, "serverkit", "private")

    @property
    def shared(self) -> str:
        return posixpath.join(self.configuration, "conf.d", "serverkit.conf")

    def available(self, site: str) -> str:
        return posixpath.join(self.configuration, "sites-available", site)

    def enabled(self, site: str) -> str:
        return posixpath.join(self.configuration, "sites-enabled", site)

    def private(self, app: str) -> str:
        return posixpath.join(self.private_directory, f"{app}.conf")

    def log(self, app: str, kind: str) -> str:
        return posixpath.join(self.logs, f"{app}.{kind}.log")


@dataclass(frozen=True)
class Content:
    """A regular file (`mode` are its permission bits), or a symbolic link, whose text is then its target."""

    text: str
    mode: int = 0o644
    link: bool = False


@dataclass(frozen=True)
class FileChange:
    """A path with what is there and what has to be; None is nothing."""

    path: str
    before: Content | None
    after: Content | None

    @property
    def needed(self) -> bool:
        return self.before != self.after


def is_ours(content: str) -> bool:
    """Whether a file's content is one that serverkit.core wrote; an empty file is nobody's work worth keeping."""
    return content.startswith(_MARK) or not content.strip()
