# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Where encrypted copies of backup sets go: a repository of restic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Keep

_KINDS = ("local", "sftp", "rest", "s3", "swift", "b2", "azure", "gs", "rclone")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Such as `s3.region`, `sftp.command`.
_OPTION = re.compile(r"[a-z0-9]+\.[a-z0-9-]+")
# What this collection sets itself, and what would make restic do something else.
_OURS = re.compile(r"RESTIC_(?!REST_|AWS_).*|PATH|LD_.*")
_SHORTEST = 4
_KEEP = ("last", "daily", "weekly", "monthly")

OPTIONS: dict[str, Any] = {
    # A URL may carry a login.
    "url": {"type": "str", "required": True, "no_log": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "environment": {"type": "dict", "no_log": True},
    "options": {"type": "dict"},
    "keep": {"type": "dict", "options": {name: {"type": "int"} for name in _KEEP}},
}


@dataclass(frozen=True)
class Repository:
    """A repository of restic, and what is needed to open it.

    :ivar url: as restic takes it: an absolute path, `sftp:...`, `s3:...` and so on; may carry a login.
    :ivar environment: variables for restic alone, such as `AWS_SECRET_ACCESS_KEY`.
    :ivar options: restic's extended options, such as `sftp.command`; they are arguments of a program, and no secrets.
    :ivar keep: which copies stay; None is as with the sets on the host.
    """

    url: str = field(repr=False)
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    keep: Keep | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see: the password, that of a login in the address, and the variables' values.

        Not the shortest ones, such as a 1 that switches something on: hiding them would blot out digits all over.
        """
        login = urlsplit(self.url.partition(":")[2] if "://" in self.url else "").password
        values = (value for value in self.environment.values() if len(value) >= _SHORTEST)
        return tuple(filter(None, (self.password, login, *values)))


def parse(value: Mapping[str, Any] | None) -> Repository | None:
    """Return the repository that an option describes; None where there is none.

    :raises InputError: when restic could not be given it, or would read it as something else.
    """
    if value is None:
        return None
    url, password = _text(value, "url"), _text(value, "password")
    if not (url.startswith("/") or (url.partition(":")[0] in _KINDS and ":" in url)):
        reason = f"it has to be an absolute path, or start with one of {', '.join(f'{kind}:' for kind in _KINDS)}"
        raise InputError("use the url of the repository of backups", reason)
    return Repository(
        url, password, _environment(value.get("environment")), _options(value.get("options")), _keep(value.get("keep"))
    )


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text or set(text) & {"\n", "\r", "\0"}:
        raise InputError(f"use the {name} of the repository of backups", "it has to be a text of one line")
    return text


def _environment(value: Mapping[str, Any] | None) -> dict[str, str]:
    for name, content in (value or {}).items():
        attempted = f"use the variable {name} of the repository of backups"
        if not _VARIABLE.fullmatch(name) or _OURS.fullmatch(name):
            raise InputError(attempted, "it is none that tells restic how to log in", "Leave it out")
        if content is None or "\0" in str(content):
            raise InputError(attempted, "it has no value that a program could be given")
    return {name: str(content) for name, content in (value or {}).items()}


def _options(value: Mapping[str, Any] | None) -> dict[str, str]:
    for name, content in (value or {}).items():
        if not _OPTION.fullmatch(name) or content is None or set(str(content)) & {"\n", "\0"}:
            reason = "a name such as s3.region or sftp.command, and a text of one line, are needed"
            raise InputError(f"use the option {name} of the repository of backups", reason)
    return {name: str(content) for name, content in (value or {}).items()}


def _keep(value: Mapping[str, Any] | None) -> Keep | None:
    if value is None:
        return None
    given = {name: count for name, count in value.items() if count is not None}
    for name, count in given.items():
        if name not in _KEEP or isinstance(count, bool) or not isinstance(count, int) or count < 0:
            reason = f"numbers from 0 on are taken for {', '.join(_KEEP)}"
            raise InputError(f"use keep.{name} of the repository of backups", reason)
    return Keep(**given)
