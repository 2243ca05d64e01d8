# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Where the registry is: the same two options in every state module."""

    DOCUMENTATION = r"""
options:
  registry_dsn:
    description:
      - A PostgreSQL connection string, such as V(postgresql://serverkit:secret@db.internal/serverkit), that puts the
        registry of a whole fleet into one database. Needs C(psycopg2) on the target.
      - Without it, C(registry_dsn) in C(/etc/serverkit/config.yaml) is used where that file has it, else the SQLite
        file C(/var/serverkit/serverkit.db).
    type: str
    version_added: 1.0.0
  registry_host:
    description:
      - What this host is called in a registry that several hosts share.
      - Without it, C(registry_host) in C(/etc/serverkit/config.yaml) is used where that file has it, else the host
        name.
    type: str
    version_added: 1.0.0
"""
