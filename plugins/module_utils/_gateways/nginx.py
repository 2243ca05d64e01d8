# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""nginx on the host: what its files say, whether a change would be valid, and which configuration answers."""

from __future__ import annotations

import glob
import os
import re
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees, web
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.nginx_files import (
    Configuration,
    read_configuration,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    CHALLENGE_PATH,
    PROBE_PATH,
    PROOF_PATH,
    Content,
    FileChange,
    Layout,
    NginxVersion,
    TlsFiles,
)

# Where systemd is the init system (sd_booted(3)).
_SYSTEMD = "/run/systemd/system"
# `nginx: [emerg] unexpected "}" in /etc/nginx/sites-enabled/x:12`, or in the error log after date and process.
_COMPLAINT = re.compile(
    r"\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?(?P<what>.*?)(?: in (?P<where>/\S+:\d+))?$", re.MULTILINE
)
_PEM_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_ANSWER_TIMEOUT = 2.0  # seconds
_ASSUMED_VERSION = NginxVersion(1, 22, 1)
_BUILT_IN_USER = "www-data"  # Debian's and Ubuntu's packages


@dataclass(frozen=True)
class Expectation:
    """A request that tells which configuration answers.

    `proof` is the text to be answered; with `gone` set, the text not to be answered any more. With `tls`, the request
    goes over TLS, and the certificate has to be the very one in these files.
    """

    host: str
    path: str
    proof: str
    gone: bool = False
    tls: TlsFiles | None = None


class Nginx:
    """One nginx, with the files that its layout names."""

    def __init__(self, commands: Commands, layout: Layout) -> None:
        self._commands = commands
        self._layout = layout
        self._configuration: Configuration | None = None

    def installed(self) -> bool:
        return self._commands.find("nginx") is not None

    def version(self) -> NginxVersion:
        """Return the version of the program; without one, what Debian 12 has, so that check mode has something to show.

        :raises HostError: when the program says nothing of a version.
        """
        if not self.installed():
            return _ASSUMED_VERSION
        completed = self._commands.run(["nginx", "-v"])
        version = NginxVersion.parse(completed.stderr)
        if version is None:
            raise HostError("ask nginx for its version", f"it says {completed.stderr.strip()[:200]!r}")
        return version

    def worker_user(self) -> str:
        """Return the user as whom nginx reads password files: what nginx.conf says, else what it was built with."""
        return self.configuration().user or self._built_in_user()

    def _built_in_user(self) -> str:
        built = self._commands.run(["nginx", "-V"]).stderr if self.installed() else ""
        found = re.search(r"--user=(\S+)", built)
        return found[1] if found else _BUILT_IN_USER

    def content(self, path: str) -> Content | None:
        """Return what is at a path, whoever put it there.

        :raises HostError: when it cannot be read, or is neither a regular file nor a symbolic link.
        """
        target = files.read_link(path)
        if target is not None:
            return Content(target, link=True)
        state = files.read(path)
        return None if state is None else Content(state.content, state.mode, owner=files.user_name(state.uid))

    def configuration(self) -> Configuration:
        """Read nginx.conf and what it includes, as files: `nginx -T` would say the same, and make log and pid files.

        A file that cannot be read as nginx configuration is passed over: the test of the configuration will name it.
        """
        if self._configuration is None:
            self._configuration = read_configuration(self._layout)
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
            files.write(change.path, change.after.text, change.after.mode, change.after.owner)

    def make_directories(self) -> None:
        """Make the directories of our files; those of the private URLs nobody but root may list."""
        layout = self._layout
        for path, mode in (
            (layout.private_directory, 0o700),
            (layout.private_sites, 0o700),
            (layout.auth_directory, 0o711),
            (layout.webroot + CHALLENGE_PATH, 0o755),
            (layout.webroot + PROBE_PATH, 0o755),
        ):
            files.make_directory(path, mode)

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
            reason = _complaint(completed.stderr) or self.problem() or "it refused"
            raise HostError("reload nginx", reason, "See journalctl -u nginx")

    def _is_service(self) -> bool:
        if self._layout != Layout() or not os.path.isdir(_SYSTEMD):
            return False
        return self._commands.run(["systemctl", "is-active", "--quiet", "nginx"]).ok

    def answer(self, host: str, path: str, tls: TlsFiles | None = None) -> str:
        """Return what is answered to a request, as the start of a text that can be compared and shown.

        :param tls: asks over TLS, for the certificate in these files.
        """
        try:
            if tls is None:
                response = web.get("127.0.0.1", self._layout.port, path, host, timeout=_ANSWER_TIMEOUT)
            else:
                response = web.get_over_tls("127.0.0.1", self._layout.tls_port, path, host, timeout=_ANSWER_TIMEOUT)
                if response.certificate != _leaf(tls.certificate):
                    return f"another certificate than the one in {tls.certificate}"
        except HostError as error:
            return error.reason
        body = response.body[:64].decode("utf-8", errors="replace")
        return body if response.status == 200 else f"HTTP status {response.status}"

    def shows(self, host: str, tls: TlsFiles) -> bool:
        """Whether a client that asks for a name over TLS gets the certificate that is in these files now."""
        try:
            response = web.get_over_tls("127.0.0.1", self._layout.tls_port, PROOF_PATH, host, timeout=_ANSWER_TIMEOUT)
        except HostError:
            return False
        return response.certificate == _leaf(tls.certificate)

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
        answered = self.answer(expected.host, expected.path, expected.tls)
        if (answered == expected.proof) != expected.gone:
            return ""
        wanted = "something else" if expected.gone else expected.proof
        scheme = "https" if expected.tls else "http"
        return f"{scheme}://{expected.host}{expected.path} is answered with {answered!r}, and not with {wanted}"

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


def _leaf(path: str) -> bytes:
    """Return the first certificate of a PEM file as DER: nginx takes it for the server's own (`ssl_certificate`)."""
    state = files.read(path)
    found = _PEM_CERTIFICATE.search(state.content) if state else None
    return ssl.PEM_cert_to_DER_cert(found[0]) if found else b""


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
