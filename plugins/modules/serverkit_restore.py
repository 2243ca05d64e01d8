#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serverkit_restore
short_description: Restore apps from their backups
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Restores an app from a set that M(serverkit.core.serverkit_backup) has made, as a whole or in parts.
  - All of the set is read and checked before anything is touched. One that is truncated, altered, or another app's is
    refused.
  - Of an app that is deployed, the data is restored, and the release stays as it is. Databases, volumes and directories
    are restored under new names beside the present ones, and their rows and files are counted. Then the app is stopped,
    old and new change places, and the app has to become healthy with the restored data. Else everything is put back as
    it was.
  - What the app had before is kept, until O(state=discarded) deletes it.
  - An app that is not deployed on this host, or gets another name by O(as), is made whole from the set, with its
    release, its passwords, its databases and its volumes. Ports that another has by now are replaced by free ones.
  - A run that was killed is finished or taken back by the next one.
options:
  app:
    description: The name of the app whose set it is.
    type: str
    version_added: 1.0.0
  set: &set
    description:
      - The name of the set, such as V(20260131T031500Z).
      - Without it, and without O(time), the newest set.
    type: str
    version_added: 1.0.0
  time: &time
    description:
      - Takes the newest set that was begun not later than this, such as V(2026-01-31 12:00), V(2026-01-31) or
        V(2026-01-31T12:00:00+01:00). Without an offset, it is in UTC.
    type: str
    version_added: 1.0.0
  databases: &databases
    description:
      - Restores only the databases of these links of the app, and what O(volumes) and O(binds) name.
      - Without any of the three, all of the set is restored.
    type: list
    elements: str
    version_added: 1.0.0
  volumes: &volumes
    description: Restores only these volumes, by their Compose keys, and what O(databases) and O(binds) name.
    type: list
    elements: str
    version_added: 1.0.0
  binds: &binds
    description: Restores only these directories of the host, by their paths, and what O(databases) and O(volumes) name.
    type: list
    elements: path
    version_added: 1.0.0
  links: &links
    description:
      - Who administrates the servers of the app's links.
      - Not needed for servers on this host, which are found as M(serverkit.core.serverkit_db_link) finds them.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      name:
        description: The name of the link.
        type: str
        required: true
        version_added: 1.0.0
      server:
        description: Where the server is, as with M(serverkit.core.serverkit_db_link).
        type: dict
        version_added: 1.0.0
        suboptions:
          host:
            description:
              - Its name or address, which this host and the app's containers reach it at. C(localhost) is this host,
                which containers reach as C(host.docker.internal).
            type: str
            version_added: 1.0.0
          port:
            description: Its port, where that is not the usual one.
            type: int
            version_added: 1.0.0
          socket:
            description: The path of its socket on this host; with PostgreSQL, of the socket's directory.
            type: path
            version_added: 1.0.0
          user:
            description:
              - Its administrator. Not needed for MariaDB, MySQL and PostgreSQL on this host, where root may log in by
                the socket.
            type: str
            version_added: 1.0.0
          password:
            description: The administrator's password. It is used and not kept.
            type: str
            version_added: 1.0.0
          app:
            description:
              - The app in one of whose containers it runs, the linked app itself or another one.
            type: str
            version_added: 1.0.0
          service:
            description: The Compose service of O(links[].server.app) that it is.
            type: str
            version_added: 1.0.0
          tls:
            description:
              - How connections to it are encrypted. V(verify) checks its certificate and that it is for
                O(links[].server.host), V(require) does not, V(disable) does not encrypt.
              - Without it, V(verify) for another host and V(disable) otherwise.
            type: str
            choices: [disable, require, verify]
            version_added: 1.0.0
          ca_cert:
            description: A PEM file on this host with the certificates to trust, instead of the operating system's.
            type: path
            version_added: 1.0.0
          clients:
            description:
              - Addresses and networks that MySQL and MariaDB let the user log in from, C(%) for all.
              - Without it, the networks of this host's Docker for a server on this host, and all for others.
            type: list
            elements: str
            version_added: 1.0.0
  as: &as
    description: Makes another app of the set, with this name. The set's own app is left alone.
    type: str
    version_added: 1.0.0
  drill: &drill
    description:
      - Tries the set out. An app of the same name with C(-drill) behind it is made of the set, in a network that leads
        nowhere else; rows and files are counted, its page is asked for, and everything is removed again.
    type: bool
    default: false
    version_added: 1.0.0
  from_host: &from_host
    description: The host that has made the set, where it is fetched from O(repository) and is not this one's.
    type: str
    version_added: 1.0.0
  state: &state
    description:
      - V(restored) restores the app, each time.
      - V(discarded) deletes what former restores have kept of the app's data. After a run that was killed, that restore
        is finished or taken back as well.
    type: str
    choices: [restored, discarded]
    default: restored
    version_added: 1.0.0
  restores:
    description:
      - A list of restores, instead of one at top level. They are made one after the other. When one fails, the others
        are made all the same, and the task fails naming each.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      app:
        description: The name of the app whose set it is.
        type: str
        required: true
        version_added: 1.0.0
      set: *set
      time: *time
      databases: *databases
      volumes: *volumes
      binds: *binds
      links: *links
      as: *as
      drill: *drill
      from_host: *from_host
      state: *state
  directory:
    description: Where the sets are.
    type: path
    default: /var/serverkit/backups
    version_added: 1.0.0
  repository:
    description:
      - The restic repository that a set is fetched from which is not on this host.
    type: dict
    version_added: 1.0.0
    suboptions:
      url:
        description: Where it is, as restic takes it, such as C(sftp:backup@nas:/srv/restic) or an absolute path.
        type: str
        required: true
        version_added: 1.0.0
      password:
        description: What it is encrypted with. Without it, nobody can read the copies.
        type: str
        required: true
        version_added: 1.0.0
      environment:
        description: Variables for restic, such as C(AWS_ACCESS_KEY_ID) and C(AWS_SECRET_ACCESS_KEY).
        type: dict
        version_added: 1.0.0
      options:
        description: Extended options of restic, such as C(s3.region). They are no place for secrets.
        type: dict
        version_added: 1.0.0
      keep:
        description: Which copies stay when backups are made. It has no effect on restores.
        type: dict
        version_added: 1.0.0
        suboptions:
          last:
            description: How many of the newest copies.
            type: int
            version_added: 1.0.0
          daily:
            description: Of how many days the newest copy.
            type: int
            version_added: 1.0.0
          weekly:
            description: Of how many weeks the newest copy.
            type: int
            version_added: 1.0.0
          monthly:
            description: Of how many months the newest copy.
            type: int
            version_added: 1.0.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
  - serverkit.core._registry
attributes:
  idempotent:
    support: partial
    details: V(restored) restores each time. V(discarded) changes nothing when nothing is kept.
requirements:
  - zstd and GNU tar on the host
  - the engines' own client programs on the host, such as C(mariadb) or C(pg_restore)
  - restic on the host, with O(repository)
notes:
  - While the app's data changes places, the app is stopped. That takes no longer for large data than for small.
  - There has to be room for the restored data beside the present.
seealso:
  - module: serverkit.core.serverkit_backup
  - module: serverkit.core.serverkit_db_link
"""

EXAMPLES = r"""
- name: Restore an app from its newest backup
  serverkit.core.serverkit_restore:
    app: blog

- name: Have an app's database as it was at noon, and leave its files as they are
  serverkit.core.serverkit_restore:
    app: shop
    time: "2026-01-31 12:00"
    databases: [postgresql]

- name: Delete what that restore has kept of the data before it
  serverkit.core.serverkit_restore:
    app: shop
    state: discarded

- name: Make a second app of a backup, to look something up
  serverkit.core.serverkit_restore:
    app: shop
    set: 20260131T031500Z
    as: shop-in-january

- name: Try out that the newest backups can be restored
  serverkit.core.serverkit_restore:
    restores:
      - app: blog
        drill: true
      - app: shop
        drill: true

- name: Make an app on this host of the backup that another one has made
  serverkit.core.serverkit_restore:
    app: shop
    from_host: web1.example.com
    repository:
      url: s3:https://s3.example.com/backups
      password: "{{ vault_backup_password }}"
      environment:
        AWS_ACCESS_KEY_ID: "{{ vault_backup_key_id }}"
        AWS_SECRET_ACCESS_KEY: "{{ vault_backup_key }}"
"""

RETURN = r"""
results:
  description: One item for each restore, in the order of the task.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The app that was restored, or that was made of the set.
      returned: always
      type: str
      sample: blog
    changed:
      description: Whether anything was changed, or would be in check mode.
      returned: always
      type: bool
    app:
      description: The app whose set it is.
      returned: when the restore did not fail
      type: str
      sample: blog
    set:
      description: The name of the set.
      returned: when the app was restored
      type: str
      sample: 20260131T031500Z
    created:
      description: When the set was begun, in UTC.
      returned: when the set is on the host
      type: str
      sample: "2026-01-31T03:15:00Z"
    data_age:
      description: How old the data is, in seconds.
      returned: when the set is on the host
      type: int
      sample: 39600
    seconds:
      description: How long the restore took.
      returned: when the app was restored, and not in check mode
      type: float
      sample: 12.4
    fetched:
      description: Whether the set was fetched from the repository, or would be.
      returned: when the app was restored
      type: bool
    databases:
      description: By name of the link, the RV(ignore:engine) and the number of RV(ignore:rows) of what was restored.
      returned: when the set is on the host
      type: dict
      sample: {"postgresql": {"engine": "postgresql", "rows": 1234}}
    volumes:
      description: By key in the Compose file, the number of files and directories of what was restored.
      returned: when the set is on the host
      type: dict
      sample: {"uploads": 42}
    binds:
      description: By path, the number of files and directories of what was restored.
      returned: when the set is on the host
      type: dict
      sample: {"/srv/shared": 3}
    resumed:
      description: Whether a restore that was killed was V(finished) or V(taken back) before; empty when there was none.
      returned: when the data of a deployed app was restored, and not in check mode
      type: str
      sample: ""
    kept:
      description: What is kept of the app's former data, this restore's and earlier ones'.
      returned: when the restore did not fail
      type: list
      elements: dict
      sample:
        - {"kind": "database", "name": "postgresql", "kept": "blog__old260131142500", "set": "20260131T031500Z"}
      contains:
        kind:
          description: V(database), V(volume) or V(bind).
          returned: always
          type: str
        name:
          description: The link, the volume's key or the path.
          returned: always
          type: str
        kept:
          description: What it is called now, on the database server, in Docker, or on the host.
          returned: always
          type: str
        set:
          description: The set that took its place.
          returned: always
          type: str
    discarded:
      description: What was deleted, as in RV(results[].kept).
      returned: with O(state=discarded)
      type: list
      elements: dict
    drill:
      description: What the drill has found out.
      returned: with O(drill)
      type: dict
    failed:
      description: Whether this restore failed.
      returned: when the restore failed
      type: bool
    msg:
      description: What was attempted, why it failed, and what to do.
      returned: when the restore failed
      type: str
    rolled_back:
      description: What was taken back after the failure, in that order.
      returned: when the restore failed
      type: list
      elements: str
    not_rolled_back:
      description: What could not be taken back, and why.
      returned: when the restore failed
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.restores import Restores
from ansible_collections.serverkit.core.plugins.module_utils._values.links import SERVER_OPTIONS
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import OPTIONS as REPOSITORY
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import label, parse

LINK: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "server": {"type": "dict", "options": SERVER_OPTIONS},
}
RESTORE: dict[str, Any] = {
    "app": {"type": "str"},
    "set": {"type": "str"},
    "time": {"type": "str"},
    "databases": {"type": "list", "elements": "str"},
    "volumes": {"type": "list", "elements": "str"},
    "binds": {"type": "list", "elements": "path"},
    "links": {"type": "list", "elements": "dict", "options": LINK},
    "as": {"type": "str"},
    "drill": {"type": "bool", "default": False},
    "from_host": {"type": "str"},
    "state": {"type": "str", "choices": ["restored", "discarded"], "default": "restored"},
}
TASK: dict[str, Any] = {
    "directory": {"type": "path", "default": "/var/serverkit/backups"},
    "repository": {"type": "dict", "options": REPOSITORY},
}


def main() -> None:
    run_module(
        one_or_list(RESTORE, "restores", "app", TASK),
        list_option="restores",
        key="app",
        parse=parse,
        make_resource=Restores,
        label=label,
    )


if __name__ == "__main__":
    main()
