# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Database servers, what an app may do on them, and the rules for their names and passwords."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import stringprep
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

Engine = Literal["mysql", "mariadb", "postgresql", "redis", "mongodb"]
Privileges = Literal["owner", "readwrite", "readonly"]
TlsMode = Literal["require", "verify-ca", "verify-full"]

ENGINES: tuple[Engine, ...] = get_args(Engine)
PRIVILEGES: tuple[Privileges, ...] = get_args(Privileges)
# Two names for one protocol: which of the two a server is, the server says.
MYSQL_FAMILY: frozenset[Engine] = frozenset({"mysql", "mariadb"})

DEFAULT_PORTS: Mapping[Engine, int] = {
    "mysql": 3306,
    "mariadb": 3306,
    "postgresql": 5432,
    "redis": 6379,
    "mongodb": 27017,
}

# Where an engine has no second password for a user, a rotation goes back and forth between two logins: the user's own,
# and one with this at its end.
SECOND_LOGIN = "__2"

# Bytes. MySQL 8.4 manual, 11.2.1; MariaDB: identifier names; PostgreSQL: NAMEDATALEN - 1; MongoDB: limits, database
# names. Users of Redis and MongoDB have no limit of their own.
_NAME_LENGTHS: Mapping[Engine, int] = {"mysql": 64, "mariadb": 64, "postgresql": 63, "redis": 63, "mongodb": 63}
_USER_LENGTHS: Mapping[Engine, int] = {
    "mysql": 32,
    "mariadb": 80,
    "postgresql": 63 - len(SECOND_LOGIN),
    "redis": 63,
    "mongodb": 63,
}

# Narrower than what the engines take between quotes: such a name needs no escaping in a URL, an ACL rule, a file's name
# or a person's shell either.
_LONGEST_PASSWORD = 128  # characters
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_RESERVED_DATABASES: Mapping[Engine, frozenset[str]] = {
    "mysql": frozenset({"mysql", "information_schema", "performance_schema", "sys"}),
    "mariadb": frozenset({"mysql", "information_schema", "performance_schema", "sys"}),
    "postgresql": frozenset({"postgres", "template0", "template1", "rdsadmin", "cloudsqladmin", "azure_maintenance"}),
    "redis": frozenset(),
    "mongodb": frozenset({"admin", "local", "config"}),
}
_MYSQL_USERS = frozenset(
    {"root", "mysql", "public", "mariadb-backup", "debian-sys-maint", "rdsadmin", "cloudsqlsuperuser"}
)
_RESERVED_USERS: Mapping[Engine, frozenset[str]] = {
    "mysql": _MYSQL_USERS,
    "mariadb": _MYSQL_USERS,
    # The words that stand for a role in PostgreSQL's grammar (RoleSpec), and the administrators of managed servers.
    "postgresql": frozenset(
        {"postgres", "public", "none", "current_user", "current_role", "session_user", "rdsadmin", "rds_superuser"}
        | {"cloudsqladmin", "cloudsqlsuperuser", "azuresu", "azure_superuser"}
    ),
    "redis": frozenset({"default"}),
    "mongodb": frozenset({"__system", "root", "admin"}),
}

# RFC 1123 section 2.1 and IP addresses; underscores because service names of Compose have them.
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?|[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True)
class DatabaseTls:
    """How a connection is encrypted. Files are paths on the machine that connects.

    :param mode: `require` encrypts without asking who answers; `verify-ca` checks who signed the certificate;
        `verify-full` also that it is for this host.
    :param ca: PEM file with the certificates to trust; None: those of the operating system.
    :param certificate: PEM file of our own certificate, where the server asks for one, with `key` beside it.
    """

    mode: TlsMode = "verify-full"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where a server answers. With `socket` (a file; for PostgreSQL its directory) host and port only name it.

    :param container: the id of the Docker container on this host that the server runs in, where that is known.
    :raises InputError: when host or port are none.
    """

    engine: Engine
    host: str = "127.0.0.1"
    port: int = 0  # 0: the engine's own
    socket: str | None = None
    tls: DatabaseTls | None = None
    timeout: int = 10  # seconds to wait for a connection
    container: str = ""

    def __post_init__(self) -> None:
        host_name(self.host)
        if isinstance(self.port, bool) or not 0 <= self.port <= 65535:
            raise InputError(f"use {self.port!r} as a database server's port", "a port is a number from 1 to 65535")
        if self.port == 0:
            object.__setattr__(self, "port", DEFAULT_PORTS[self.engine])

    @property
    def identity(self) -> str:
        """The server's name in the registry, such as `mysql://127.0.0.1:3306`; MariaDB counts as MySQL."""
        scheme = "mysql" if self.engine in MYSQL_FAMILY else self.engine
        return f"{scheme}://{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """Who logs in. The password never shows in a message or a traceback; None: the operating system vouches.

    :param database: where a login belongs that is no administrator's, and may not go elsewhere: an app's own.
    """

    user: str
    password: str | None = field(default=None, repr=False)
    database: str = ""


@dataclass(frozen=True)
class Access:
    """What one app shall have on a server.

    :param database: name of the database; with Redis the prefix of its keys, without the colon behind it.
    :param hosts: MySQL only: from where the user may log in, as in `user@host`: names, addresses, `%`, or a network as
        `172.16.0.0/255.240.0.0` (see `account_hosts`).
    :raises InputError: when a name is not one that the engine takes, or is reserved.
    """

    engine: Engine
    database: str
    user: str
    privileges: Privileges = "owner"
    hosts: tuple[str, ...] = ("%",)

    def __post_init__(self) -> None:
        database_name(self.engine, self.database)
        user_name(self.engine, self.user)
        privileges(self.privileges)


@dataclass(frozen=True)
class Login:
    """A name with which one can log in.

    :param passwords: how many passwords it has; two in the middle of a rotation, 0 when it has none.
    :param verifiers: what the server keeps instead of the passwords, where the administrator may read it; for
        `Engine.matches` only.
    """

    name: str
    passwords: int = 1
    verifiers: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class DatabaseState:
    """What the server has of an `Access`.

    :param database_exists: always true for Redis and MongoDB, which make databases by themselves.
    :param owner: PostgreSQL: the role that the database belongs to, if it exists; else None.
    :param user_exists: there is such a user, maybe without a login (PostgreSQL keeps the owner of data so).
    :param logins: those of the user; more than one, or one with several passwords, in the middle of a rotation.
    :param hosts: MySQL: from where the user may log in.
    :param privileges: those on the database when they are exactly one of ours, else None.
    :param some_privileges: the user has any privilege on the database, be it one of ours or not.
    :param elsewhere: what else the user may do on the server, in words; empty when it is a user such as we make.
    :param others: other users that own the database or may do everything in it, administrators left out.
    :param problems: what has to be mended though none of the above shows it, in words (`anyone may connect`).
    """

    database_exists: bool = False
    owner: str | None = None
    user_exists: bool = False
    logins: tuple[Login, ...] = ()
    hosts: tuple[str, ...] = ()
    privileges: Privileges | None = None
    some_privileges: bool = False
    elsewhere: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def login(self, name: str) -> Login | None:
        return next((login for login in self.logins if login.name == name), None)

    @property
    def rotating(self) -> bool:
        """More than one password is valid."""
        return sum(login.passwords for login in self.logins) > 1


def engine_name(value: object) -> Engine:
    """Return the name of an engine, unchanged.

    :raises InputError: when it is none that can be linked.
    """
    if value not in ENGINES:
        raise InputError(f"use {value!r} as a database engine", f"it is not one of {', '.join(ENGINES)}")
    return value


def privileges(value: object) -> Privileges:
    """Return the name of a set of privileges, unchanged.

    :raises InputError: when it is none.
    """
    if value not in PRIVILEGES:
        raise InputError(f"use {value!r} as privileges", f"they are not one of {', '.join(PRIVILEGES)}")
    return value


def database_name(engine: Engine, value: object) -> str:
    """Return the name of a database (Redis: of a key prefix, without its colon), unchanged.

    :raises InputError: when the engine does not take it, it needs escaping somewhere, or it is reserved.
    """
    name = _identifier(engine, value, "a database", _NAME_LENGTHS[engine])
    if name.lower() in _RESERVED_DATABASES[engine]:
        raise InputError(
            f"use {name!r} as the name of a database", f"{engine} keeps its own data there", "Choose another"
        )
    return name


def user_name(engine: Engine, value: object) -> str:
    """Return the name of a user, unchanged.

    :raises InputError: when the engine does not take it, it needs escaping somewhere, or it is reserved.
    """
    name = _identifier(engine, value, "a database user", _USER_LENGTHS[engine])
    attempted = f"use {name!r} as the name of a database user"
    if name.lower() in _RESERVED_USERS[engine] or (engine == "postgresql" and name.lower().startswith("pg_")):
        raise InputError(attempted, f"{engine} or its administrator has it", "Choose another name")
    if name.endswith(SECOND_LOGIN):
        raise InputError(attempted, f"names that end in {SECOND_LOGIN} are for rotations", "Choose another name")
    return name


def default_name(engine: Engine, app: str, suffix: str = "") -> str:
    """Return the name of an app's database and user where the inventory has none: `my-blog` gives `my_blog`.

    :param suffix: tells several links of one app apart; `my-blog` with `reports` gives `my_blog_reports`.

    One that is too long for the engine is cut off and ends in a digest, so that two long names stay apart.
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", f"{app}_{suffix}" if suffix else app)
    if not _IDENTIFIER.fullmatch(name):
        name = f"app_{name}"
    limit = min(_NAME_LENGTHS[engine], _USER_LENGTHS[engine])
    reserved = name.lower() in (*_RESERVED_DATABASES[engine], *_RESERVED_USERS[engine])
    if reserved or name.endswith(SECOND_LOGIN) or (engine == "postgresql" and name.startswith("pg_")):
        name = f"app_{name}_db"
    if len(name) > limit:
        digest = hashlib.sha256(f"{app}/{suffix}".encode()).hexdigest()[:8]
        name = f"{name[: limit - 9]}_{digest}"
    return name


def second_login(user: str) -> str:
    """Return the other login of a user, for engines that know one password for each."""
    return user.removesuffix(SECOND_LOGIN) if user.endswith(SECOND_LOGIN) else user + SECOND_LOGIN


def password(value: object, engine: Engine | None = None) -> str:
    """Return a password that a person chose, unchanged. The message never quotes it.

    :param engine: who shall take it; MongoDB does not take every one.
    :raises InputError: when it is empty, longer than 128 characters, or holds characters that are not for passwords.
    """
    attempted = "use the given database password"
    if not isinstance(value, str) or not value:
        raise InputError(attempted, "it is empty, or not a text", "Leave it out and one is generated")
    if len(value) > _LONGEST_PASSWORD:
        raise InputError(attempted, f"it has {len(value)} characters; up to {_LONGEST_PASSWORD} are taken")
    # Line ends and NUL do not survive configuration files and C strings; half a surrogate pair is not Unicode.
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in value):
        raise InputError(attempted, "it has a control character in it", "Use printable characters")
    if engine == "mongodb" and not _can_be_prepared(value):
        reason = "MongoDB takes no characters that are newer than Unicode 3.2, such as emoji, or without a meaning"
        raise InputError(attempted, reason, "Use letters, digits and punctuation")
    return value


_PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _can_be_prepared(text: str) -> bool:
    """Whether RFC 4013 (SASLprep) has a form for a password; PostgreSQL takes one as it is where there is none."""
    kept = (" " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", "".join(kept))
    if not prepared or any(prohibited(char) for char in prepared for prohibited in _PROHIBITED):
        return False
    if not any(map(stringprep.in_table_d1, prepared)):
        return True
    # RFC 3454 section 6: from right to left throughout, or not at all.
    ends_right = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
    return ends_right and not any(map(stringprep.in_table_d2, prepared))


def host_name(value: object) -> str:
    """Return the host of a database server, a name or an address without brackets, unchanged.

    :raises InputError: when it is neither.
    """
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise InputError(f"use {value!r} as a database server's host", "it is neither a host name nor an address")
    return value


def account_hosts(subnets: Iterable[str]) -> tuple[str, ...]:
    """Return MySQL's host parts for networks: `172.16.0.0/12` gives `172.16.0.0/255.240.0.0`; sorted.

    MySQL 8.4 manual, 8.2.4: a netmask goes with an IPv4 address only, so networks of IPv6 are left out.

    :raises InputError: when a text is no network.
    """
    found: set[str] = set()
    for subnet in subnets:
        try:
            network = ipaddress.ip_network(subnet)
        except ValueError as error:
            raise InputError(f"use {subnet!r} as a network of database clients", str(error)) from None
        if isinstance(network, ipaddress.IPv4Network):
            found.add(network.with_netmask)
    return tuple(sorted(found))


def bracketed(host: str) -> str:
    """Return a host as RFC 3986 section 3.2.2 wants it in a URL."""
    return f"[{host}]" if ":" in host else host


def _identifier(engine: Engine, value: object, what: str, limit: int) -> str:
    attempted = f"use {value!r} as the name of {what}"
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        reason = "such a name has letters of a-z and A-Z, digits, '_' and '-', and starts with a letter or '_'"
        raise InputError(attempted, reason, "Choose such a name, for example my_blog")
    if len(value) > limit:
        raise InputError(attempted, f"it has {len(value)} characters, and {engine} takes up to {limit}")
    return value
