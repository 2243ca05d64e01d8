# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""certbot on the host: the certificates that it keeps for us, proven over a webroot or in DNS, renewed by its timer.

Everything of ours has a name that starts with `serverkit-`, and a mark in `<letsencrypt>/serverkit/lineages/`, made
before certbot first hears of the name. What has no such mark is somebody else's, and is never ordered or deleted.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands, Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import certificates
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certificates import UnusableError
from ansible_collections.serverkit.core.plugins.module_utils._plan import certbot_output
from ansible_collections.serverkit.core.plugins.module_utils._plan.certificates import lineage_names
from ansible_collections.serverkit.core.plugins.module_utils._plan.dns_credentials import credentials_text
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import CertbotFailure, Lineage
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout, TlsFiles
from ansible_collections.serverkit.core.plugins.module_utils._values.tls import AcmeSettings, Challenge

_DEFAULT = Layout().letsencrypt
# Debian's and Ubuntu's package ca-certificates.
_SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
_LOG_LIMIT = 4 * 1024 * 1024  # characters
# certbot.timer's run holds certbot's locks while it renews.
_BUSY_TRIES, _BUSY_PAUSE = 25, 5.0  # seconds
# These plugins take no file: they read what the vendor's own programs read, from where the environment says.
_BY_ENVIRONMENT = {"route53": "AWS_CONFIG_FILE"}


@dataclass(frozen=True)
class _Places:
    """certbot's directories."""

    config: str
    work: str
    logs: str


class Certbot:
    """certbot, with the directory of the layout as its configuration.

    :param pass_fds: locks that an order keeps when this process is killed, so that the next run waits for that certbot.
    """

    def __init__(
        self,
        commands: Commands,
        layout: Layout,
        settings: AcmeSettings,
        *,
        pass_fds: Sequence[int] = (),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._commands = commands
        self._pass_fds = pass_fds
        self._layout = layout
        self._settings = settings
        self._pause = pause
        base = layout.letsencrypt
        self._ours = os.path.join(base, "serverkit")
        self._live = (
            _Places(base, "/var/lib/letsencrypt", "/var/log/letsencrypt")
            if base == _DEFAULT
            else _Places(base, os.path.join(base, "work"), os.path.join(base, "logs"))
        )
        rehearsal = os.path.join(self._ours, "rehearsal")
        self._rehearsal = _Places(rehearsal, os.path.join(rehearsal, "work"), os.path.join(rehearsal, "logs"))

    def installed(self) -> bool:
        return self._commands.find("certbot") is not None

    # What is there

    def lineage(self, key: str) -> Lineage:
        """Return what certbot has under a name.

        :raises HostError: when it cannot be read.
        """
        conf = files.read(os.path.join(self._live.config, "renewal", f"{key}.conf"))
        ours = files.read(self._mark(key)) is not None
        # A directory that is left of one would make certbot refuse the name, or choose another (`-0001`).
        left = [os.path.join(self._live.config, part, key) for part in ("live", "archive")]
        exists = conf is not None or any(os.path.isdir(path) for path in left)
        if conf is None:
            return Lineage(exists, ours, problem="certbot has lost its renewal file" if exists and ours else "")
        found = {name: _setting(conf.content, name) for name in ("server", "authenticator")}
        texts = [files.read(path) for path in self._paths(key)]
        try:
            certificate = certificates.read(*(state.content if state else "" for state in texts))
        except UnusableError as error:
            return Lineage(exists, ours, None, f"what is there is of no use: {error}", **found)
        return Lineage(exists, ours, certificate, "", **found)

    def files_of(self, key: str, lineage: Lineage) -> TlsFiles | None:
        """Return where nginx finds a certificate, or None when there is none of use."""
        if lineage.certificate is None or not lineage.ours:
            return None
        return TlsFiles(*self._paths(key), lineage.certificate.names, lineage.certificate.fingerprint[:16])

    def keys_of(self, app: str) -> tuple[str, ...]:
        """Return the certificates of an app that are ours."""
        return tuple(key for key in lineage_names(app) if files.read(self._mark(key)) is not None)

    def stale_credentials(self) -> bool:
        """Whether what the DNS plugin reads at the next renewal is not what the settings say."""
        path, text = self._credentials()
        if not text:
            return False
        state = files.read(path)
        return state is None or (state.content, state.mode) != (text, 0o600)

    # Changing it

    def write_credentials(self) -> None:
        """Put the credentials of the DNS plugin where it reads them, for root only.

        :raises HostError: when they cannot be written.
        """
        path, text = self._credentials()
        if text:
            files.make_directory(self._ours, 0o700)
            files.write(path, text, 0o600)

    def order(self, key: str, names: Sequence[str], challenge: Challenge, now: datetime) -> CertbotFailure | None:
        """Order a certificate from the authority; return why there is none, or None when it is there.

        What was there before is served on until the new one is complete; what is of no use to anybody goes first.

        :raises ConflictError: when certbot has somebody else's certificate of that name.
        :raises HostError: when certbot is not installed, or the disk refuses.
        """
        before = self.lineage(key)
        if before.exists and not before.ours:
            raise ConflictError(f"order the certificate {key}", "certbot has one of that name, which is not ours")
        files.make_directory(self._ours, 0o700)
        files.make_directory(os.path.dirname(self._mark(key)), 0o700)
        files.write(
            self._mark(key), "Ordered by serverkit.core, which deletes it when it is not needed any more.\n", 0o600
        )
        if before.exists and before.certificate is None:
            self._clear(key)
        return self._certonly(self._live, self._settings.directory, key, names, challenge, now)

    def rehearse(self, key: str, names: Sequence[str], challenge: Challenge, now: datetime) -> CertbotFailure | None:
        """Order the same from the staging directory, into a place of its own, and throw it away.

        :raises HostError: when certbot is not installed, or the disk refuses.
        """
        for directory in (self._ours, self._rehearsal.config):
            files.make_directory(directory, 0o700)
        try:
            return self._certonly(self._rehearsal, self._settings.staging_directory, key, names, challenge, now)
        finally:
            for part in ("live", "archive", "renewal", "csr", "keys"):  # the account stays
                trees.remove(os.path.join(self._rehearsal.config, part))

    def delete(self, key: str) -> None:
        """Have certbot forget a certificate of ours; any other is left alone.

        :raises HostError: when certbot or the disk refuses.
        """
        if files.read(self._mark(key)) is None:
            return
        if self.lineage(key).exists and self.installed():
            self._run(["delete", "--cert-name", key, "--non-interactive", *self._directories(self._live)], {})
        self._clear(key)
        files.remove(self._mark(key))

    def _clear(self, key: str) -> None:
        """Remove what certbot leaves of a lineage that it cannot read: it would call a new one `-0001`."""
        files.remove(os.path.join(self._live.config, "renewal", f"{key}.conf"))
        for part in ("live", "archive"):
            trees.remove(os.path.join(self._live.config, part, key))

    def _certonly(
        self, places: _Places, server: str, key: str, names: Sequence[str], challenge: Challenge, now: datetime
    ) -> CertbotFailure | None:
        if challenge == "http-01":
            files.make_directory(self._layout.webroot, 0o755)
        else:
            self.write_credentials()
        account_file = self._write_account_file()
        argv = ["certonly", *self._directories(places), *self._how(places, server, key, challenge)]
        argv += ["--config", account_file] if account_file else []
        argv += [word for name in names for word in ("--domain", name)]
        try:
            completed = self._run(argv, self._environment())
        finally:
            if account_file:
                files.remove(account_file)
        if completed.ok:
            return None
        output = f"{completed.stdout}\n{completed.stderr}"
        log = files.read(os.path.join(places.logs, "letsencrypt.log"))
        content = log.content[-_LOG_LIMIT:] if log else ""
        return certbot_output.failure(output, content, now, over_dns=challenge == "dns-01")

    def _run(self, argv: Sequence[str], environment: dict[str, str]) -> Completed:
        if not self.installed():
            raise HostError("run certbot", "it is not installed", "Run site.yml, or install it")
        for tries_left in reversed(range(_BUSY_TRIES)):
            completed = self._commands.run(["certbot", *argv], environment=environment, pass_fds=self._pass_fds)
            if completed.ok or not tries_left or not certbot_output.is_busy(completed.stdout + completed.stderr):
                return completed
            self._pause(_BUSY_PAUSE)
        raise AssertionError("the last try returns")

    def _directories(self, places: _Places) -> list[str]:
        return ["--config-dir", places.config, "--work-dir", places.work, "--logs-dir", places.logs]

    def _how(self, places: _Places, server: str, key: str, challenge: Challenge) -> list[str]:
        """Everything but the names. What a person has put into /etc/letsencrypt/cli.ini is overruled: a hook there that
        stops nginx, say, is meant for that person's own way."""
        argv = ["--non-interactive", "--agree-tos", "--no-eff-email", "--server", server, "--cert-name", key]
        argv += ["--key-type", "ecdsa", "--elliptic-curve", "secp256r1"]
        # The names may be the same: what is there is not wanted all the same, or nobody would have asked.
        argv += ["--force-renewal", "--renew-with-new-domains"]
        argv += ["--pre-hook", "", "--post-hook", "", "--deploy-hook", ""]
        account = self._account(places, server)
        argv += ["--account", account] if account else []
        email = self._settings.email
        argv += ["--email", email] if email else ["--register-unsafely-without-email"]
        return argv + self._authenticator(challenge)

    def _authenticator(self, challenge: Challenge) -> list[str]:
        settings = self._settings
        if challenge == "http-01":
            return ["--authenticator", "webroot", "--webroot-path", self._layout.webroot]
        if settings.auth_hook:
            argv = ["--authenticator", "manual", "--preferred-challenges", "dns"]
            argv += ["--manual-auth-hook", settings.auth_hook]
            return argv + (["--manual-cleanup-hook", settings.cleanup_hook] if settings.cleanup_hook else [])
        plugin = f"dns-{settings.dns_plugin}"
        argv = ["--authenticator", plugin]
        path, text = self._credentials()
        if text and settings.dns_plugin not in _BY_ENVIRONMENT:
            argv += [f"--{plugin}-credentials", path]
        if settings.dns_propagation is not None:
            argv += [f"--{plugin}-propagation-seconds", str(settings.dns_propagation)]
        return argv

    def _environment(self) -> dict[str, str]:
        environment = {}
        if self._settings.ca_bundle:
            environment["REQUESTS_CA_BUNDLE"] = self._write_trust()
        path, text = self._credentials()
        if text and self._settings.dns_plugin in _BY_ENVIRONMENT:
            environment[_BY_ENVIRONMENT[self._settings.dns_plugin]] = path
        return environment

    def _write_trust(self) -> str:
        """Add the authority's own trust to the system's: a DNS plugin talks to its provider in the same process."""
        paths = (_SYSTEM_TRUST, self._settings.ca_bundle)
        states = [files.read(path) for path in paths]
        if states[1] is None:
            raise HostError(f"reach {self._settings.directory}", f"its ca_bundle {paths[1]} is not there")
        target = os.path.join(self._ours, "ca-bundle.pem")
        files.make_directory(self._ours, 0o700)
        files.write(target, "\n".join(state.content for state in states if state), 0o644)
        return target

    def _credentials(self) -> tuple[str, str]:
        """The path and the content of what the DNS plugin reads; the role certbot knows the path too."""
        plugin = self._settings.dns_plugin
        text = credentials_text(plugin, self._settings.dns_credentials) if self._settings.dns_credentials else ""
        return os.path.join(self._ours, f"dns-{plugin}.{'json' if plugin == 'google' else 'ini'}"), text

    def _account(self, places: _Places, server: str) -> str:
        """Choose among several accounts at one authority, where certbot would ask; empty when there is no choice."""
        parts = urlsplit(server)
        directory = os.path.join(places.config, "accounts", parts.netloc, parts.path.lstrip("/"))
        found = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        return found[0] if len(found) > 1 else ""

    def _write_account_file(self) -> str:
        """Write the account that the authority wants certbot to be bound to: arguments can be seen by everybody."""
        settings = self._settings
        if not settings.eab_kid:
            return ""
        files.make_directory(self._ours, 0o700)
        descriptor, path = tempfile.mkstemp(prefix=".account-", suffix=".ini", dir=self._ours)
        os.close(descriptor)
        files.write(path, f"eab-kid = {settings.eab_kid}\neab-hmac-key = {settings.eab_hmac_key}\n", 0o600)
        return path

    def _mark(self, key: str) -> str:
        return os.path.join(self._ours, "lineages", key)

    def _paths(self, key: str) -> tuple[str, str]:
        directory = os.path.join(self._live.config, "live", key)
        return os.path.join(directory, "fullchain.pem"), os.path.join(directory, "privkey.pem")


def _setting(conf: str, name: str) -> str:
    found = re.search(rf"^{name} *= *(.*?) *$", conf, re.MULTILINE)
    return found[1] if found else ""
