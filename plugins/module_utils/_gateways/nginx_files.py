# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What nginx's files say, read as files: `nginx -T` would say the same, and make log and pid files."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._plan import nginx_config, sites
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, is_ours

_DEFAULT_PID_FILE = "/run/nginx.pid"
_DEFAULT_ERROR_LOG = "/var/log/nginx/error.log"
_REVISION = re.compile(r"^ +# Certificate (\S+)\n +ssl_certificate \"?([^\n;\"]+)\"?;", re.MULTILINE)
_OUR_TLS = re.compile(r"^ +ssl_certificate ", re.MULTILINE)
_MOST_FILES = 10_000  # of an include that goes round in circles


@dataclass(frozen=True)
class Configuration:
    """What nginx reads, as far as it matters to us: server blocks of others, and the domains in files of ours."""

    servers: tuple[nginx_config.ServerBlock, ...] = ()
    ours: Mapping[str, str] = field(default_factory=dict)  # domain: path
    includes: tuple[str, ...] = ()
    with_tls: frozenset[str] = frozenset()  # paths of our files that serve a certificate
    revisions: Mapping[str, str] = field(default_factory=dict)  # of certificates in our files, by path
    sets_names_hash: bool = False
    user: str = ""
    pid_file: str = _DEFAULT_PID_FILE
    error_log: str = _DEFAULT_ERROR_LOG

    def includes_path(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.includes)


def read_configuration(layout: Layout) -> Configuration:
    """Follow nginx.conf and what it includes.

    A file that cannot be read as nginx configuration is passed over: the test of the configuration will name it.
    """
    return _Reader(layout).read()


class _Reader:
    """Follows `include` from nginx.conf, in nginx's order, and notes what matters."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: set[str] = set()
        self._servers: list[nginx_config.ServerBlock] = []
        self._ours: dict[str, str] = {}
        self._includes: list[str] = []
        self._with_tls: set[str] = set()
        self._revisions: dict[str, str] = {}
        self._sets_names_hash = False
        self._first: dict[str, str] = {}

    def read(self) -> Configuration:
        self._read_file(self._layout.main)
        return Configuration(
            tuple(self._servers),
            self._ours,
            tuple(self._includes),
            frozenset(self._with_tls),
            self._revisions,
            self._sets_names_hash,
            self._first.get("user", ""),
            self._absolute(self._first.get("pid", _DEFAULT_PID_FILE)),
            self._absolute(self._first.get("error_log", _DEFAULT_ERROR_LOG)),
        )

    def _read_file(self, path: str) -> None:
        if path in self._seen or len(self._seen) >= _MOST_FILES or not os.path.isfile(path):
            return
        self._seen.add(path)
        state = files.read(path)
        if state is None:
            return
        if is_ours(state.content):
            self._ours.update(dict.fromkeys(sites.names_in(state.content), path))
            if _OUR_TLS.search(state.content):
                self._with_tls.add(path)
                self._revisions.update({found[2]: found[1] for found in _REVISION.finditer(state.content)})
            return
        try:
            directives = nginx_config.parse(state.content)
        except nginx_config.UnreadableConfigurationError:
            return
        self._servers += nginx_config.server_blocks(path, directives)
        for directive in directives:
            if directive.name in ("pid", "error_log", "user") and directive.arguments:
                self._first.setdefault(directive.name, directive.arguments[0])
        for directive in nginx_config.walk(directives):
            self._sets_names_hash |= directive.name == "server_names_hash_bucket_size"
            if directive.name == "include" and directive.arguments:
                pattern = self._absolute(directive.arguments[0])
                self._includes.append(pattern)
                for included in sorted(glob.glob(pattern)):
                    self._read_file(included)

    def _absolute(self, path: str) -> str:
        # nginx resolves names in its configuration from the directory of nginx.conf.
        return path if path.startswith("/") else os.path.join(self._layout.configuration, path)
