# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""nginx on the host: what its files say, whether a change would be valid, and which configuration answers."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees, web
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._plan import nginx_config, sites
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    Content,
    FileChange,
    Layout,
    is_ours,
)

# Where systemd is the init system (sd_booted(3)).
_SYSTEMD = "/run/systemd/system"
_DEFAULT_PID_FILE = "/run/nginx.pid"
_DEFAULT_ERROR_LOG = "/var/log/nginx/error.log"
# `nginx: [emerg] unexpected "}" in /etc/nginx/sites-enabled/x:12`, or in the error log after date and process.
_COMPLAINT = re.compile(
    r"\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?(?P<what>.*?)(?: in (?P<where>/\S+:\d+))?$", re.MULTILINE
)
_MOST_FILES = 10_000  # of an include that goes round in circles


@dataclass(frozen=True)
class Configuration:
    """What nginx reads, as far as it matters to us: server blocks of others, and the domains in files of ours."""

    servers: tuple[nginx_config.ServerBlock, ...] = ()
    ours: Mapping[str, str] = field(default_factory=dict)  # domain: path
    includes: tuple[str, ...] = ()
    sets_names_hash: bool = False
    pid_file: str = _DEFAULT_PID_FILE
    error_log: str = _DEFAULT_ERROR_LOG

    def includes_path(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.includes)


@dataclass(frozen=True)
class Expectation:
    """A request that tells which configuration answers.

    `proof` is the text to be answered; with `gone` set, the text not to be answered any more.
    """

    host: str
    path: str
    proof: str
    gone: bool = False


class Nginx:
    """One nginx, with the files that its layout names."""

    def __init__(self, commands: Commands, layout: Layout) -> None:
        self._commands = commands
        self._layout = layout
        self._configuration: Configuration | None = None

    def installed(self) -> bool:
        return self._commands.find("nginx") is not None

    def content(self, path: str) -> Content | None:
        """Return what is at a path, whoever put it there.

        :raises HostError: when it cannot be read, or is neither a regular file nor a symbolic link.
        """
        target = files.read_link(path)
        if target is not None:
            return Content(target, link=True)
        state = files.read(path)
        return None if state is None else Content(state.content, state.mode)

    def configuration(self) -> Configuration:
        """Read nginx.conf and what it includes, as files: `nginx -T` would say the same, and make log and pid files.

        A file that cannot be read as nginx configuration is passed over: the test of the configuration will name it.
        """
        if self._configuration is None:
            self._configuration = _Reader(self._layout).read()
        return self._configuration

    def running(self) -> bool:
        """Whether the master process that the pid file names is there."""
        state = files.read(self.configuration().pid_file)
        pid = state.content.strip() if state else ""
        command = files.read(f"/proc/{pid}/cmdline") if pid.isdigit() else None
        return command is not None and "nginx" in command.content

    def problem(self) -> str:
        """Test the configuration as it is; return file, line and reason, or the empty string when it is valid.

        Not for check mode: the test opens, and so makes, the log files and the pid file.
        """
        return self._test(self._layout.main)

    def problem_after(self, changes: Sequence[FileChange]) -> str:
        """Test a private copy of the whole configuration with changes in it; the live files stay as they are.

        :raises HostError: when the copy cannot be made.
        """
        staged = os.path.join(self._layout.runtime, "nginx-staged")
        live = self._layout.configuration + "/"
        files.make_directory(self._layout.runtime, 0o700)
        try:
            trees.copy(
                self._layout.configuration,
                staged,
                lambda content: content.replace(os.fsencode(live), os.fsencode(staged + "/")),
            )
            for change in changes:
                self.put(_staged(change, live, staged + "/"))
            return self._test(os.path.join(staged, "nginx.conf")).replace(staged + "/", live)
        finally:
            trees.remove(staged)

    def put(self, change: FileChange) -> None:
        """Bring about a change of one path, in one step.

        :raises HostError: when the disk is full, read-only or refuses.
        """
        if change.after is None:
            files.remove(change.path)
        elif change.after.link:
            files.link(change.after.text, change.path)
        else:
            directory = os.path.dirname(change.path)
            if not os.path.isdir(directory):
                files.make_directory(directory, 0o755)
            files.write(change.path, change.after.text, change.after.mode)

    def make_private_directory(self) -> None:
        """Make the directory of the private URLs, which nobody but root may list."""
        files.make_directory(self._layout.private_directory, 0o700)

    def make_logs(self, app: str) -> list[str]:
        """Make the app's log files, for root and the group that reads logs; return those that were not there.

        nginx itself makes them readable for everybody, until logrotate first gives them the mode they should have.
        """
        paths = [self._layout.log(app, kind) for kind in ("access", "error")]
        return [path for path in paths if files.create_empty(path, 0o640)]

    def sweep(self, path: str) -> None:
        """Remove what a killed run left beside one of our files: temporary and set-aside copies, all hidden."""
        directory, name = os.path.split(path)
        for leftover in glob.glob(os.path.join(glob.escape(directory), f".{glob.escape(name)}.*")):
            files.remove(leftover)

    def reload(self) -> None:
        """Have the running nginx take up its configuration. Returns before the new configuration answers.

        :raises HostError: when it refuses; it then goes on with the old configuration.
        """
        argv = ["nginx", "-c", self._layout.main, "-s", "reload"]
        if self._is_service():
            argv = ["systemctl", "reload", "nginx"]
        completed = self._commands.run(argv)
        if not completed.ok:
            raise HostError("reload nginx", _complaint(completed.stderr) or "it refused", "See journalctl -u nginx")

    def _is_service(self) -> bool:
        if self._layout != Layout() or not os.path.isdir(_SYSTEMD):
            return False
        return self._commands.run(["systemctl", "is-active", "--quiet", "nginx"]).ok

    def answer(self, host: str, path: str) -> str:
        """Return what is answered to a request, as the start of a text that can be compared and shown."""
        try:
            response = web.get("127.0.0.1", self._layout.port, path, host, timeout=2.0)
        except HostError as error:
            return error.reason
        body = response.body[:64].decode("utf-8", errors="replace")
        return body if response.status == 200 else f"HTTP status {response.status}"

    def unproven(
        self,
        expectations: Sequence[Expectation],
        *,
        timeout: float,
        settle: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> str:
        """Ask until all is as expected; return what is not, or the empty string.

        :param timeout: seconds after which waiting ends.
        :param settle: seconds over which it has to stay so: for a moment, old and new workers both accept connections.
        """
        deadline = time.monotonic() + timeout
        good_since: float | None = None
        while True:
            problem = next(filter(None, map(self._mismatch, expectations)), "")
            now = time.monotonic()
            if problem:
                good_since = None
                if now >= deadline:
                    return problem
            elif good_since is None:
                good_since = now
            elif now - good_since >= settle:
                return ""
            pause(0.05)

    def _mismatch(self, expected: Expectation) -> str:
        answered = self.answer(expected.host, expected.path)
        if (answered == expected.proof) != expected.gone:
            return ""
        wanted = "something else" if expected.gone else expected.proof
        return f"http://{expected.host}{expected.path} is answered with {answered!r}, and not with {wanted}"

    def log_position(self) -> int:
        """Return the size of the error log, in bytes, for `complaint_since`."""
        try:
            return os.path.getsize(self.configuration().error_log)
        except OSError:
            return 0

    def complaint_since(self, position: int) -> str:
        """Return the first serious message of the error log after a position, or the empty string."""
        try:
            with open(self.configuration().error_log, encoding="utf-8", errors="replace") as stream:
                stream.seek(position)
                return _complaint(stream.read(65536))
        except OSError:
            return ""

    def _test(self, main: str) -> str:
        completed = self._commands.run(["nginx", "-t", "-c", main])
        if completed.ok:
            return ""
        return _complaint(completed.stderr) or completed.stderr.strip() or "nginx -t fails without a reason"


def _complaint(text: str) -> str:
    found = _COMPLAINT.search(text)
    if found is None:
        return ""
    return f"{found['where']}: {found['what']}" if found["where"] else found["what"]


def _staged(change: FileChange, live: str, staged: str) -> FileChange:
    after = change.after
    if after is not None:
        after = Content(after.text.replace(live, staged), 0o600, after.link)
    return FileChange(change.path.replace(live, staged, 1), None, after)


class _Reader:
    """Follows `include` from nginx.conf, in nginx's order, and notes what matters."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: set[str] = set()
        self._servers: list[nginx_config.ServerBlock] = []
        self._ours: dict[str, str] = {}
        self._includes: list[str] = []
        self._sets_names_hash = False
        self._first: dict[str, str] = {}

    def read(self) -> Configuration:
        self._read_file(self._layout.main)
        return Configuration(
            tuple(self._servers),
            self._ours,
            tuple(self._includes),
            self._sets_names_hash,
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
            return
        try:
            directives = nginx_config.parse(state.content)
        except nginx_config.UnreadableConfigurationError:
            return
        self._servers += nginx_config.server_blocks(path, directives)
        for directive in directives:
            if directive.name in ("pid", "error_log") and directive.arguments:
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
