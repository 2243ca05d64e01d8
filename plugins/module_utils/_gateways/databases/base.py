# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What every database engine can do for a link: one administrator's connection to one server.

A method that writes can be repeated: after a run that was killed, the next one calls it again. No password is part of
any exception's text.
"""

from __future__ import annotations

import abc
import ssl
from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._values.database import (
    Access,
    Credentials,
    DatabaseState,
    DatabaseTls,
    Endpoint,
    Login,
)


class DatabaseEngine(abc.ABC):
    """One server. Every method raises HostError when the server is down, refuses, or its Python library is missing.

    :param endpoint: the server.
    :param admin: its administrator; None: whoever the operating system says that we are, over the socket.
    """

    def __init__(self, endpoint: Endpoint, admin: Credentials | None) -> None:
        self.endpoint = endpoint
        self.admin = admin

    @property
    def where(self) -> str:
        """The server's place, for messages; never with a password."""
        return self.endpoint.socket or self.endpoint.identity

    def redacted(self, text: str, secret: str = "") -> str:
        """Return a server's message without the administrator's password, and without another."""
        return redact(text, [known for known in (secret, self.admin.password if self.admin else "") if known])

    def not_valid(self, login: str) -> HostError:
        """Return what to raise when a rotation starts from a password that does not open anything."""
        return HostError(
            f"rotate the password of {login} on {self.where}",
            "the password that the app has now is not valid on the server",
            "Run the link without rotate first, which repairs it",
        )

    @abc.abstractmethod
    def connect(self) -> None:
        """Connect as the administrator, unless that is done."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection, if there is one."""

    @abc.abstractmethod
    def version(self) -> str:
        """Return product and version of the server, such as `MariaDB 10.11.6`."""

    @abc.abstractmethod
    def read(self, accesses: Sequence[Access]) -> list[DatabaseState]:
        """Return what there is of each, in order; with one set of queries for all of them. Writes nothing."""

    @abc.abstractmethod
    def matches(self, login: Login, password: str) -> bool | None:
        """Whether a password is one of a login's, told without logging in; None: only the server can tell."""

    @abc.abstractmethod
    def create_database(self, access: Access) -> None:
        """Make the database for Unicode text, unless it is there. An owner's belongs to its user, made beforehand."""

    @abc.abstractmethod
    def create_user(self, access: Access, password: str) -> None:
        """Make the user, or let the one that is there log in again, with this password alone. Grants nothing."""

    @abc.abstractmethod
    def grant(self, access: Access) -> None:
        """Give the user its privileges on the database, these and no others, and mend `DatabaseState.problems`."""

    @abc.abstractmethod
    def set_password(self, access: Access, login: str, password: str) -> None:
        """Make this the only password of the only login: ends a rotation, either way, and repairs a lost password.

        :param login: the user, or its second login.
        """

    @abc.abstractmethod
    def begin_rotation(self, access: Access, login: str, current: str, new: str) -> str:
        """Let the app log in with a new password as well as with its current one, and return the new one's login.

        `set_password` with either ends it. Where the server cannot do that (`rotation_gap`), nothing is changed.

        :param login: what the app logs in with now, the password of which is `current`.
        :returns: the login that belongs to the new password; the same name where the engine keeps two for a user.
        :raises HostError: when `current` is not valid any more.
        """

    def rotation_gap(self) -> str:
        """Return why this server cannot have two passwords at once, or an empty text when it can.

        Where it cannot, set_password is the way, and an app's new connections fail until it is recreated.
        """
        return ""

    def warnings(self) -> list[str]:
        """Return what a person should know of the server, such as users that will not survive its restart."""
        return []

    @abc.abstractmethod
    def drop_user(self, access: Access) -> None:
        """Take all logins and privileges away and end the user's connections; the data stays.

        PostgreSQL keeps a role that owns data, without a login, since data has to belong to somebody.
        """

    @abc.abstractmethod
    def drop_database(self, access: Access) -> None:
        """Delete the database (Redis: all keys with the prefix) with all data, and whatever was kept of its owner."""

    @abc.abstractmethod
    def row_counts(self, database: str) -> dict[str, int]:
        """Return the number of rows of each table (of documents of each collection, of keys as `keys`)."""

    @abc.abstractmethod
    def login(self, credentials: Credentials, database: str) -> None:
        """Prove that an app can log in at the endpoint and see its database, by a connection of its own.

        Needs no administrator, and no `connect` beforehand.

        :raises HostError: when it cannot, with the server's reason.
        """


def missing_library(library: str, package: str, engine: str) -> HostError:
    """Return what to raise when a driver is not installed on the host."""
    return HostError(
        f"use {engine}",
        f"the Python library {library} is not installed on this host",
        f"Install {package}, or run deploy.yml, which does so for apps with a linked database",
    )


def tls_context(tls: DatabaseTls) -> ssl.SSLContext:
    """Return how the ssl module has to check a server's certificate.

    :raises HostError: when a file cannot be read, or is none of certificates.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        # What Python 3.13 wants of an authority's certificate, the one that a database server makes for itself has not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = tls.mode == "verify-full"
        if tls.mode == "require":
            context.verify_mode = ssl.CERT_NONE
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(filter(None, (tls.ca, tls.certificate, tls.key)))
        raise HostError(f"use {files} for TLS to a database", str(error), "Check these PEM files") from None
    return context
