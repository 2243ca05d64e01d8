# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What an app is told of its linked database: values, their variables, and the URL that says all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from ansible_collections.serverkit.core.plugins.module_utils._values.database import MYSQL_FAMILY, Engine, bracketed
from ansible_collections.serverkit.core.plugins.module_utils._values.names import variable_name


@dataclass(frozen=True)
class Target:
    """A linked database as the app sees it: where, which, as whom.

    :param options: parameters of the URL's query, such as `sslmode`.
    """

    engine: Engine
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False

    @property
    def prefix(self) -> str:
        """What every key in Redis has to begin with."""
        return f"{self.database}:"


def connection_url(target: Target) -> str:
    """Return the URL by which libraries find a database, percent-encoded by RFC 3986 section 2.1.

    Everything but unreserved characters is encoded, so that it does not matter whether a library takes `+` for a blank.
    """
    user, secret, name = (quote(text, safe="") for text in (target.user, target.password, target.database))
    options = dict(target.options)
    if target.engine == "redis":
        scheme, path = ("rediss" if target.tls else "redis"), "0"
    elif target.engine == "mongodb":
        scheme, path = "mongodb", name
        options = {"authSource": target.database, **({"tls": "true"} if target.tls else {}), **options}
    else:
        # SQLAlchemy, Rails, Laravel, Django and Prisma all know MariaDB by this name.
        scheme, path = ("mysql" if target.engine in MYSQL_FAMILY else "postgresql"), name
    query = f"?{urlencode(options, quote_via=quote, safe='')}" if options else ""
    return f"{scheme}://{user}:{secret}@{bracketed(target.host)}:{target.port}/{path}{query}"


# What a linked database provides, under the names that a template's `database` uses.
VALUE_KEYS = ("host", "port", "name", "user", "password", "url", "prefix")
SECRET_KEYS = frozenset({"password", "url"})


def provided(target: Target) -> dict[str, str]:
    """Return what an app gets to know of its database, by the keys that templates use; `SECRET_KEYS` are secrets."""
    values = {
        "host": target.host,
        "port": str(target.port),
        "name": target.database,
        "user": target.user,
        "password": target.password,
        "url": connection_url(target),
    }
    return {**values, "prefix": target.prefix} if target.engine == "redis" else values


_SQL_NAMES = {
    "host": "DB_HOST",
    "port": "DB_PORT",
    "name": "DB_NAME",
    "user": "DB_USER",
    "password": "DB_PASSWORD",
    "url": "DATABASE_URL",
}
_REDIS_NAMES = {
    "host": "REDIS_HOST",
    "port": "REDIS_PORT",
    "user": "REDIS_USER",
    "password": "REDIS_PASSWORD",
    "url": "REDIS_URL",
    "prefix": "REDIS_PREFIX",
}
_MONGODB_NAMES = {
    "host": "MONGODB_HOST",
    "port": "MONGODB_PORT",
    "name": "MONGODB_DATABASE",
    "user": "MONGODB_USER",
    "password": "MONGODB_PASSWORD",
    "url": "MONGODB_URI",
}


def variable_names(engine: Engine, prefix: str = "", declared: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return under which names an app gets what is `provided`: value key -> variable.

    :param prefix: put before each, so that several links of one app do not meet: `REPORTS_`.
    :param declared: the names that the app's template declares, instead of the usual ones.
    :raises InputError: when a prefix makes something that is no variable's name.
    """
    usual = {"redis": _REDIS_NAMES, "mongodb": _MONGODB_NAMES}.get(engine, _SQL_NAMES)
    return {key: variable_name(prefix + name) for key, name in (declared or usual).items()}


def environment(target: Target, prefix: str = "", declared: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that tell an app of its database; those of `SECRET_KEYS` have to stay secret.

    :raises InputError: as `variable_names`.
    """
    values = provided(target)
    names = variable_names(target.engine, prefix, declared)
    return {name: values[key] for key, name in names.items() if key in values}
