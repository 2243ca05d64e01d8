# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Certificates that certbot does not manage: below /var/serverkit/ssl/, and those of the host's own authority.

`<app>/<certificate>/<number>/` holds fullchain.pem and privkey.pem, and is never changed again: another certificate is
another directory, which nginx is told to use instead. So nginx never sees a certificate beside another one's key, and
going back is what going back in its configuration is.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Sequence
from datetime import datetime

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, trees
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import certificates
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certificates import UnusableError
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import Certificate, Version
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import SHARED, Layout, TlsFiles

CERTIFICATE, KEY = "fullchain.pem", "privkey.pem"
# In the directory of no app: the host's own authority, whose certificate is what people's devices have to trust.
_ROOT, _ROOT_KEY = "internal-ca.pem", "internal-ca.key"


class CertificateFiles:
    """What lies below the layout's `ssl`."""

    def __init__(self, layout: Layout) -> None:
        self._ssl = layout.ssl

    def place(self, key: str, number: int) -> tuple[str, str]:
        """Return the paths of a version's certificate and key."""
        directory = self._directory(key, number)
        return os.path.join(directory, CERTIFICATE), os.path.join(directory, KEY)

    def files_of(self, key: str, number: int, names: Sequence[str]) -> TlsFiles:
        certificate, private_key = self.place(key, number)
        return TlsFiles(certificate, private_key, tuple(sorted(names)), str(number))

    def latest(self, key: str) -> Version | None:
        """Return the newest version, usable or not, or None when there is none.

        :raises HostError: when it cannot be read.
        """
        number = max(self.numbers(key), default=0)
        if not number:
            return None
        certificate_path, key_path = self.place(key, number)
        texts = [files.read(path) for path in (certificate_path, key_path)]
        text, key_text = (state.content if state else "" for state in texts)
        found: Certificate | None = None
        problem = ""
        try:
            found = certificates.read(text, key_text)
        except UnusableError as error:
            problem = str(error)
        return Version(number, certificate_path, key_path, found, text, key_text, problem)

    def numbers(self, key: str) -> list[int]:
        return sorted(int(name) for name in _listed(os.path.join(self._ssl, key)) if name.isdigit())

    def write(self, key: str, number: int, certificate: str, private_key: str) -> None:
        """Add a version, in one step: it is there whole, or not at all.

        :raises HostError: when the disk is full, read-only or refuses.
        """
        parent = os.path.join(self._ssl, key)
        for directory in (self._ssl, os.path.dirname(parent), parent):
            files.make_directory(directory, 0o755)
        target = self._directory(key, number)
        try:
            staged = tempfile.mkdtemp(prefix=".new-", dir=parent)
        except OSError as error:
            raise HostError(f"make a directory in {parent}", error.strerror or str(error)) from error
        try:
            files.write(os.path.join(staged, CERTIFICATE), certificate, 0o644)
            files.write(os.path.join(staged, KEY), private_key, 0o600)
            files.make_directory(staged, 0o755)  # mkdtemp(3) lets nobody else in
            os.rename(staged, target)
        except OSError as error:
            raise HostError(f"write {target}", error.strerror or str(error)) from error
        finally:
            trees.remove(staged)

    def remove_version(self, key: str, number: int) -> None:
        trees.remove(self._directory(key, number))
        self._remove_empty(os.path.join(self._ssl, key))

    def remove_older(self, key: str, number: int) -> None:
        """Remove what no configuration of nginx uses any more, and what killed runs left."""
        parent = os.path.join(self._ssl, key)
        for name in _listed(parent):
            if name.startswith(".new-") or (name.isdigit() and int(name) < number):
                trees.remove(os.path.join(parent, name))

    def remove(self, key: str) -> None:
        """Remove a certificate with all its versions."""
        parent = os.path.join(self._ssl, key)
        trees.remove(parent)
        self._remove_empty(os.path.dirname(parent))

    def keys_of(self, app: str) -> tuple[str, ...]:
        """Return the certificates of an app that are there."""
        directory = os.path.join(self._ssl, app)
        found = [name for name in _listed(directory) if os.path.isdir(os.path.join(directory, name))]
        return tuple(sorted(f"{app}/{name}" for name in found))

    def root(self) -> Certificate | None:
        """Return the host's own authority, or None when there is none that can be used."""
        return self._read_root()[0]

    def make_root(self, now: datetime) -> None:
        """Make the host's own authority, unless there is one that can be used and lasts for a while.

        :raises HostError: when it cannot be written.
        """
        if self.root_lasts(now):
            return
        certificates.require("make an internal certificate authority")
        text, key_text = certificates.make_root(socket.gethostname(), now)
        directory = self._authority()
        for path in (self._ssl, directory):
            files.make_directory(path, 0o755)
        # For people, and first: without the other one, an authority is made anew, and so is this.
        files.write(os.path.join(directory, _ROOT), text, 0o644)
        # Certificate and key in one file: there is no moment at which they do not match.
        files.write(os.path.join(directory, _ROOT_KEY), key_text + text, 0o600)

    def root_lasts(self, now: datetime) -> bool:
        root = self.root()
        return root is not None and not root.overdue(now)

    def is_from_root(self, version: Version) -> bool:
        """Whether a version was certified by the authority as it is now."""
        found, text, _key_text = self._read_root()
        return found is not None and version.text.endswith(text)

    def issue(self, names: Sequence[str], now: datetime) -> tuple[str, str]:
        """Have the host's own authority certify names; return certificate with chain, and key, as PEM.

        :raises HostError: when there is no such authority.
        """
        found, text, key_text = self._read_root()
        if found is None:
            raise HostError("certify names", f"{self._authority()} has no usable authority", "Run again")
        return certificates.make_leaf(text, key_text, names, now)

    def root_path(self) -> str:
        """Return the path of the authority's certificate, for people to trust."""
        return os.path.join(self._authority(), _ROOT)

    def _read_root(self) -> tuple[Certificate | None, str, str]:
        state = files.read(os.path.join(self._authority(), _ROOT_KEY))
        if state is None:
            return None, "", ""
        key_text, begin, rest = state.content.partition("-----BEGIN CERTIFICATE-----")
        text = begin + rest
        try:
            return certificates.read(text, key_text), text, key_text
        except UnusableError:
            return None, "", ""

    def _authority(self) -> str:
        return os.path.join(self._ssl, SHARED)

    def _directory(self, key: str, number: int) -> str:
        return os.path.join(self._ssl, key, str(number))

    def _remove_empty(self, directory: str) -> None:
        while directory != self._ssl and os.path.isdir(directory) and not _listed(directory):
            trees.remove(directory)
            directory = os.path.dirname(directory)


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise HostError(f"read the directory {directory}", error.strerror or str(error)) from error
