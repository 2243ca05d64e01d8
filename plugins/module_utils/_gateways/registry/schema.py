# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The registry's tables, as an ordered list of migrations that SQLite and PostgreSQL both understand.

A migration is never edited once released: a change of the tables is a new migration at the end of the list. What the
list has no word for is a dialect's own (AUTOINCREMENT, JSONB, BOOLEAN): numbers are INTEGER, everything else is TEXT.
"""

from __future__ import annotations

# `host` is the same in all rows of a SQLite file. Domains (but for shared ones) and private URLs are unique over all
# hosts, the rest is unique per host.
_FIRST = (
    """
    CREATE TABLE ports (
        host TEXT NOT NULL,
        port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
        protocol TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp')),
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (host, port, protocol),
        UNIQUE (host, owner, name, protocol)
    )
    """,
    """
    CREATE TABLE apps (
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        template TEXT NOT NULL,
        template_version TEXT NOT NULL,
        state TEXT NOT NULL,
        content_hash TEXT NOT NULL,
        config_hashes TEXT NOT NULL,
        main_port INTEGER,
        confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
        PRIMARY KEY (host, name)
    )
    """,
    """
    CREATE TABLE releases (
        host TEXT NOT NULL,
        app TEXT NOT NULL,
        number INTEGER NOT NULL,
        created TEXT NOT NULL,
        template TEXT NOT NULL,
        template_version TEXT NOT NULL,
        content_hash TEXT NOT NULL,
        outcome TEXT NOT NULL,
        PRIMARY KEY (host, app, number)
    )
    """,
    """
    CREATE TABLE domains (
        host TEXT NOT NULL,
        name TEXT NOT NULL PRIMARY KEY,
        app TEXT NOT NULL,
        primary_name TEXT NOT NULL,
        options TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE private_urls (
        host TEXT NOT NULL,
        slug TEXT NOT NULL PRIMARY KEY,
        app TEXT NOT NULL,
        options TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE vhosts (
        host TEXT NOT NULL,
        app TEXT NOT NULL,
        content_hash TEXT NOT NULL,
        PRIMARY KEY (host, app)
    )
    """,
)

# The key of `domains` was the name. Now several hosts may have a name, when each of them says that it is shared; the
# index is what is left of that key for the others. SQLite cannot change a primary key, so the table is made anew.
_SHARED_DOMAINS_CERTIFICATES_LINKS = (
    """
    CREATE TABLE domains_with_shared (
        host TEXT NOT NULL,
        name TEXT NOT NULL,
        app TEXT NOT NULL,
        primary_name TEXT NOT NULL,
        options TEXT NOT NULL,
        shared INTEGER NOT NULL CHECK (shared IN (0, 1)),
        PRIMARY KEY (host, name)
    )
    """,
    """
    INSERT INTO domains_with_shared (host, name, app, primary_name, options, shared)
    SELECT host, name, app, primary_name, options, 0 FROM domains
    """,
    "DROP TABLE domains",
    "ALTER TABLE domains_with_shared RENAME TO domains",
    "CREATE UNIQUE INDEX domains_not_shared ON domains (name) WHERE shared = 0",
    """
    CREATE TABLE certificate_orders (
        host TEXT NOT NULL,
        lineage TEXT NOT NULL,
        names TEXT NOT NULL,
        directory TEXT NOT NULL,
        at TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL,
        retry_after TEXT
    )
    """,
    "CREATE INDEX certificate_orders_at ON certificate_orders (at)",
    """
    CREATE TABLE database_links (
        host TEXT NOT NULL,
        app TEXT NOT NULL,
        name TEXT NOT NULL,
        engine TEXT NOT NULL,
        server TEXT NOT NULL,
        database_name TEXT NOT NULL,
        user_name TEXT NOT NULL,
        privileges TEXT NOT NULL,
        address TEXT NOT NULL,
        port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
        env_prefix TEXT NOT NULL,
        services TEXT NOT NULL,
        options TEXT NOT NULL,
        PRIMARY KEY (host, app, name)
    )
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SHARED_DOMAINS_CERTIFICATES_LINKS)
