#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serverkit_backup
short_description: Back apps up, with their databases and volumes
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Puts all that an app would need on an empty server into one set, which is a directory below
    C(/var/serverkit/backups/<app>/). That is dumps of its linked databases, its named volumes, the directories that it
    mounts from the host, and its own files with its passwords. Sets can be read by root only.
  - Databases are dumped from a snapshot while the app runs. While its volumes and directories, and keys of Redis, are
    read, its containers are paused, unless O(quiesce) or the app's template says otherwise. When the run is killed
    meanwhile, they go on all the same.
  - A set gets its name when all of it has been written, read back and compared. Until then, no other set is thinned
    out. A set that fails leaves nothing but the reason.
  - An app's lock is held while its own set is made, not while others are.
options:
  app:
    description: The name of the app.
    type: str
    version_added: 1.0.0
  state: &state
    description:
      - With V(present), a set is made. With V(verified), nothing is changed, the newest set is read back, and the task
        fails when there is none, when it is damaged, or when it is older than O(max_age). A dump that does not begin or
        end as its engine's do counts as damaged.
    type: str
    choices: [present, verified]
    default: present
    version_added: 1.0.0
  max_age: &max_age
    description:
      - How old the newest set may be, such as V(90m), V(24h), V(7d) or V(4w). With O(state=present), no set is made
        while one is younger than that and has all databases, volumes and directories that the app has now.
      - Without it, O(state=present) makes a set each time.
    type: str
    version_added: 1.0.0
  keep: &keep
    description:
      - Which sets stay. The newest one always does, and so do those that were made because something was about to be
        deleted or replaced.
      - Without it, all sets stay.
    type: dict
    version_added: 1.0.0
    suboptions:
      last:
        description: How many of the newest sets.
        type: int
        default: 1
        version_added: 1.0.0
      daily:
        description: Of how many days the newest set. Only days that have one count, and they are those of UTC.
        type: int
        default: 7
        version_added: 1.0.0
      weekly:
        description: Of how many weeks the newest set.
        type: int
        default: 4
        version_added: 1.0.0
      monthly:
        description: Of how many months the newest set.
        type: int
        default: 6
        version_added: 1.0.0
  quiesce: &quiesce
    description:
      - How the app is kept from writing while its files are read.
      - V(pause) freezes its containers, so that requests wait and what is read is as after a power cut, which databases
        can start from. V(stop) stops them before anything is read, and starts them again. V(none) lets the app write.
      - Without it, what the app's template says, and V(pause) where it says nothing.
    type: str
    choices: [pause, stop, none]
    version_added: 1.0.0
  exclude: &exclude
    description:
      - Volumes, by their names in the Compose file, and paths on the host that are not to be in the set, besides those
        that the app's template names.
    type: list
    elements: str
    version_added: 1.0.0
  databases: &databases
    description:
      - Who dumps the databases of links. Links that are not listed need not be. A server on this host is asked by its
        socket, and any other one with the app's own login.
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
        description: The server and its administrator, as the option C(server) of M(serverkit.core.serverkit_db_link).
        type: dict
        version_added: 1.0.0
        suboptions: &server
          host:
            description: Its name or address.
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
            description: Its administrator.
            type: str
            version_added: 1.0.0
          password:
            description: The administrator's password. It is used and not kept.
            type: str
            version_added: 1.0.0
          app:
            description: The app in one of whose containers it runs.
            type: str
            version_added: 1.0.0
          service:
            description: The Compose service of C(app) that it is.
            type: str
            version_added: 1.0.0
          tls:
            description: How the connection is encrypted. By default, V(verify) for another host, else V(disable).
            type: str
            choices: [disable, require, verify]
            version_added: 1.0.0
          ca_cert:
            description: A PEM file on this host with the certificates to trust.
            type: path
            version_added: 1.0.0
          clients:
            description: Has no effect here.
            type: list
            elements: str
            version_added: 1.0.0
  directory:
    description: Where the sets of all apps are, instead of C(/var/serverkit/backups).
    type: path
    version_added: 1.0.0
  repository:
    description:
      - A repository of restic that sets are copied to, encrypted. It is made where there is none.
      - A set that cannot be copied stays on this host, and the item fails.
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
        description: Which copies stay. Without it, O(keep) counts for copies as well.
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
  backups:
    description:
      - A list of backups, instead of one at top level. Each is independent. When one fails, the others are made all the
        same, and the task fails naming each.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      app:
        description: The name of the app.
        type: str
        required: true
        version_added: 1.0.0
      state: *state
      max_age: *max_age
      keep: *keep
      quiesce: *quiesce
      exclude: *exclude
      databases: *databases
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
  - serverkit.core._registry
attributes:
  idempotent:
    support: partial
    details: A set is made each time, unless O(max_age) says that the newest one will do.
requirements:
  - zstd and GNU tar on the host
  - the client programs of the linked databases (C(mariadb-client), C(postgresql-client), C(mongodb-database-tools))
  - restic on the host, with O(repository)
notes:
  - In check mode, the diff tells what would be in the set.
seealso:
  - module: serverkit.core.serverkit_app
  - module: serverkit.core.serverkit_db_link
"""

EXAMPLES = r"""
- name: Back an app up
  serverkit.core.serverkit_backup:
    app: my-blog

- name: Have a set of each app that is no older than a day, and thin the older ones out
  serverkit.core.serverkit_backup:
    backups:
      - app: my-blog
        max_age: 24h
        keep: {daily: 7, weekly: 4, monthly: 12}
      - app: shop
        max_age: 24h
        quiesce: stop
        exclude: [cache]

- name: Copy sets to another place, encrypted
  serverkit.core.serverkit_backup:
    app: my-blog
    repository:
      url: sftp:backup@nas.example.com:/srv/restic
      password: "{{ vault_repository_password }}"

- name: Fail unless there is a set of the last two days that can be restored
  serverkit.core.serverkit_backup:
    app: my-blog
    state: verified
    max_age: 2d
"""

RETURN = r"""
results:
  description: One item for each backup, in the order of the task.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the app.
      returned: always
      type: str
      sample: my-blog
    changed:
      description: Whether a set was made, copied or removed, or would be in check mode.
      returned: always
      type: bool
    set:
      description: The name of the set, which is when it was begun, in UTC.
      returned: when there is a set
      type: str
      sample: 20260131T031500Z
    path:
      description: The set's directory.
      returned: when there is a set
      type: str
      sample: /var/serverkit/backups/my-blog/20260131T031500Z
    size:
      description: The size of the set's files, in bytes.
      returned: when there is a set
      type: int
      sample: 48310233
    seconds:
      description: How long it took to make the set.
      returned: when there is a set
      type: float
      sample: 4.217
    age:
      description: How old the data in the set are, in seconds.
      returned: when there is a set
      type: int
      sample: 12
    quiesce:
      description: How the app was kept from writing.
      returned: when there is a set
      type: str
      sample: pause
    databases:
      description: For each link, its engine, the rows of each table, and the size of the dump in bytes, uncompressed.
      returned: when there is a set
      type: dict
      sample: {mariadb: {engine: mariadb, rows: {wp_posts: 312, wp_users: 4}, size: 5120344}}
    volumes:
      description: For each volume, the number of entries (files, directories and links) and the size in bytes.
      returned: when there is a set
      type: dict
      sample: {wordpress: {entries: 2411, size: 91022336}}
    binds:
      description: For each directory that is mounted from the host, likewise.
      returned: when there is a set
      type: dict
      sample: {}
    left_out:
      description: What the app uses and is not in the set, with the reason.
      returned: when the backup did not fail
      type: dict
      sample: {/var/run/docker.sock: it is a socket of the host}
    removed:
      description: The names of the sets that were thinned out.
      returned: when the backup did not fail
      type: list
      elements: str
      sample: [20260117T031500Z]
    snapshot:
      description: The name of the set's copy in the repository; none when there is no copy.
      returned: when there is a set
      type: str
      sample: 4bba301e
    failed:
      description: Whether this backup failed.
      returned: when the backup failed
      type: bool
    msg:
      description: What was attempted, why it failed, and what to do.
      returned: when the backup failed
      type: str
    rolled_back:
      description: Always empty, since a set that fails is not there.
      returned: when the backup failed
      type: list
      elements: str
    not_rolled_back:
      description: Always empty.
      returned: when the backup failed
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.backups import Backups
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import parse
from ansible_collections.serverkit.core.plugins.module_utils._values.links import SERVER_OPTIONS
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import OPTIONS as REPOSITORY

KEEP: dict[str, Any] = {
    "last": {"type": "int", "default": 1},
    "daily": {"type": "int", "default": 7},
    "weekly": {"type": "int", "default": 4},
    "monthly": {"type": "int", "default": 6},
}
BACKUP: dict[str, Any] = {
    "app": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
    "max_age": {"type": "str"},
    "keep": {"type": "dict", "options": KEEP},
    "quiesce": {"type": "str", "choices": ["pause", "stop", "none"]},
    "exclude": {"type": "list", "elements": "str"},
    "databases": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "server": {"type": "dict", "options": SERVER_OPTIONS},
        },
    },
}
TASK: dict[str, Any] = {
    "directory": {"type": "path"},
    "repository": {"type": "dict", "options": REPOSITORY},
}


def main() -> None:
    run_module(
        one_or_list(BACKUP, "backups", "app", TASK),
        list_option="backups",
        key="app",
        parse=parse,
        make_resource=Backups,
    )


if __name__ == "__main__":
    main()
