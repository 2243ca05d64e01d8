#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serverkit_db_link
short_description: Give apps databases of their own
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Makes a database and a user for an app on a MariaDB, MySQL, PostgreSQL, Redis (or Valkey) or MongoDB server, gives
    the user its privileges, tells the app's containers of it, and proves that they can log in.
  - The containers get variables such as C(DB_HOST), C(DB_PORT), C(DB_NAME), C(DB_USER), C(DB_PASSWORD) and
    C(DATABASE_URL), C(REDIS_URL) with Redis and C(MONGODB_URI) with MongoDB, or those that the app's template declares.
    Only containers whose variables change are made anew, and the app has to become healthy with them. Else everything
    is as it was before.
  - The password is in the app's C(.env), with mode C(0600), and nowhere else. One that was lost there, or changed
    behind its back on the server, is repaired.
  - The app need not be deployed yet. It finds its database when it is.
  - A database, and a user, belongs to one app. One that another app has, or that is on the server already without being
    known, is refused.
  - A run that was killed is repaired by the next one.
options:
  app:
    description: The name of the app.
    type: str
    version_added: 1.0.0
  engine: &engine
    description:
      - What the server is. V(mysql) and V(mariadb) can be said of either of the two.
      - Needed but for O(state=absent), where O(name) will do.
    type: str
    choices: [mysql, mariadb, postgresql, redis, mongodb]
    version_added: 1.0.0
  name: &name
    description:
      - Tells several links of an app apart. It has 1 to 30 characters of C(a-z), C(0-9) and C(-).
      - Without it, the link is called as its O(engine).
    type: str
    version_added: 1.0.0
  database: &database
    description:
      - The name of the database, of letters, digits, C(_) and C(-). With Redis, what the names of all keys start with,
        without the colon behind it.
      - Without it, the name of the app with C(_) for C(-), and the O(name) of the link behind it where there is one.
    type: str
    version_added: 1.0.0
  user: &user
    description:
      - The name of the user, of letters, digits, C(_) and C(-).
      - Without it, as the default of O(database).
    type: str
    version_added: 1.0.0
  password: &password
    description:
      - The user's password, 8 to 128 characters. Another one than before is changed as by O(rotate).
      - Without it, one of 32 letters and digits is generated and kept.
    type: str
    version_added: 1.0.0
  privileges: &privileges
    description:
      - What the user may do in its database.
      - V(owner) is everything, changes of its structure included. V(readwrite) and V(readonly) are about the data only.
    type: str
    choices: [owner, readwrite, readonly]
    default: owner
    version_added: 1.0.0
  env_prefix: &env_prefix
    description:
      - Put before the names of the variables, with C(_) between. V(REPORTS) gives C(REPORTS_DB_HOST) and so on, for the
        second database of an app.
    type: str
    version_added: 1.0.0
  variables: &variables
    description:
      - Names of variables with the part of the link that each gets, instead of the usual names and of those that the
        app's template declares.
      - The parts are V(host), V(port), V(address) (host and port with a colon between), V(name), V(user), V(password),
        V(url) and, with Redis, V(prefix).
    type: dict
    version_added: 1.0.0
  services: &services
    description:
      - The Compose services that get the variables.
      - Without it, those that the app's template declares for a linked database, else all of them.
    type: list
    elements: str
    version_added: 1.0.0
  server: &server
    description:
      - Where the server is, and who administrates it.
      - Without it, the engine's own server on this host, as C(/etc/serverkit/databases) says, where this collection's
        roles describe it, or at its usual socket.
    type: dict
    version_added: 1.0.0
    suboptions:
      host:
        description:
          - Its name or address, which this host and the app's containers reach it at. C(localhost) is this host, which
            containers reach as C(host.docker.internal).
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
          - Its administrator. Not needed for MariaDB, MySQL and PostgreSQL on this host, where root may log in by the
            socket.
        type: str
        version_added: 1.0.0
      password:
        description: The administrator's password. It is used and not kept.
        type: str
        version_added: 1.0.0
      app:
        description:
          - The app in one of whose containers it runs, the linked app itself or another one. The linked services join
            that app's network.
        type: str
        version_added: 1.0.0
      service:
        description: The Compose service of O(server.app) that it is.
        type: str
        version_added: 1.0.0
      tls:
        description:
          - How connections to it are encrypted. V(verify) checks its certificate and that it is for O(server.host),
            V(require) does not, V(disable) does not encrypt.
          - Without it, V(verify) for another host and V(disable) otherwise.
        type: str
        choices: [disable, require, verify]
        version_added: 1.0.0
      ca_cert:
        description: A PEM file on this host with the certificates to trust, instead of those of the operating system.
        type: path
        version_added: 1.0.0
      clients:
        description:
          - Addresses and networks that MySQL and MariaDB let the user log in from, C(%) for all.
          - Without it, the networks of this host's Docker for a server on this host, and all for others.
        type: list
        elements: str
        version_added: 1.0.0
  rotate: &rotate
    description:
      - Changes the password to a generated one, each time.
      - Where the engine can have two passwords or a second login, both are valid until the app uses the new one, and no
        connection fails for the password.
    type: bool
    default: false
    version_added: 1.0.0
  state: &state
    description:
      - V(absent) takes the variables and the user away. The database stays and is kept for the app.
    type: str
    choices: [present, absent]
    default: present
    version_added: 1.0.0
  drop: &drop
    description:
      - With O(state=absent), deletes the database and all data in it.
      - A final backup set of the app is made before, as by M(serverkit.core.serverkit_backup). When that fails, nothing
        is deleted. No thinning removes such a set.
    type: bool
    default: false
    version_added: 1.0.0
  skip_backup: &skip_backup
    description: Makes no final backup before O(drop) deletes the database.
    type: bool
    default: false
    version_added: 1.0.0
  adopt: &adopt
    description:
      - Takes over a database or a user of the wanted name that is on the server already and that no link is known to
        have. The user gets the link's password.
    type: bool
    default: false
    version_added: 1.0.0
  links:
    description:
      - A list of links, instead of one link at top level. Each is independent. When one fails, the others are brought
        about all the same, and the task fails naming each.
      - Several links of an app are told to it together, so that its containers are made anew once.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      app:
        description: The name of the app.
        type: str
        required: true
        version_added: 1.0.0
      engine: *engine
      name: *name
      database: *database
      user: *user
      password: *password
      privileges: *privileges
      env_prefix: *env_prefix
      variables: *variables
      services: *services
      server: *server
      rotate: *rotate
      state: *state
      drop: *drop
      skip_backup: *skip_backup
      adopt: *adopt
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
  - serverkit.core._registry
attributes:
  idempotent:
    support: partial
    details: O(rotate=true) changes something each time.
requirements:
  - pymysql (C(python3-pymysql)) on the host for MariaDB and MySQL
  - psycopg2 (C(python3-psycopg2)) on the host for PostgreSQL
  - redis (C(python3-redis)) on the host for Redis and Valkey
  - pymongo (C(python3-pymongo)) on the host for MongoDB
notes:
  - In check mode, a server on this host that does not answer and that no role of this collection has described counts
    as one that is not installed yet.
  - The login is proven from inside the network of one of the app's running containers, by the host's own Python. While
    no container runs, it is proven from the host.
seealso:
  - module: serverkit.core.serverkit_app
"""

EXAMPLES = r"""
- name: Give an app a database on this host's PostgreSQL
  serverkit.core.serverkit_db_link:
    app: blog
    engine: postgresql

- name: Link several apps in one task
  serverkit.core.serverkit_db_link:
    links:
      - app: my-blog
        engine: mariadb
      - app: shop
        engine: postgresql
      - app: shop
        engine: postgresql
        name: reports
        database: shop
        user: shop_reports
        privileges: readonly
        env_prefix: REPORTS
      - app: shop
        engine: redis

- name: Use a managed server, whose certificate is verified
  serverkit.core.serverkit_db_link:
    app: shop
    engine: postgresql
    server:
      host: db.internal.example.com
      user: admin
      password: "{{ vault_db_admin_password }}"
      ca_cert: /etc/ssl/certs/db-ca.pem

- name: Use the server in a container of another app
  serverkit.core.serverkit_db_link:
    app: shop
    engine: mariadb
    server:
      app: shared-db
      service: db
      user: root
      password: "{{ vault_shared_db_password }}"

- name: Change the password
  serverkit.core.serverkit_db_link:
    app: blog
    engine: postgresql
    rotate: true

- name: Take the user away and keep the data
  serverkit.core.serverkit_db_link:
    app: blog
    engine: postgresql
    state: absent
"""

RETURN = r"""
results:
  description: One item for each link, in the order of the task.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The app and the name of the link.
      returned: always
      type: str
      sample: blog/postgresql
    changed:
      description: Whether anything about this link was changed, or would be in check mode.
      returned: always
      type: bool
    app:
      description: The name of the app.
      returned: when the link did not fail
      type: str
      sample: blog
    link:
      description: The name of the link within the app.
      returned: when the link did not fail
      type: str
      sample: postgresql
    engine:
      description: What the server is.
      returned: when the link did not fail
      type: str
      sample: postgresql
    state:
      description: V(present) or V(absent).
      returned: when the link did not fail
      type: str
      sample: present
    server:
      description: Which server it is, as the registry knows it.
      returned: when the link did not fail
      type: str
      sample: postgresql://127.0.0.1:5432
    version:
      description: Product and version of the server.
      returned: when the link is present
      type: str
      sample: PostgreSQL 17.6
    database:
      description: The name of the database.
      returned: when the link did not fail
      type: str
      sample: blog
    user:
      description: The name of the user.
      returned: when the link is present
      type: str
      sample: blog
    privileges:
      description: What the user may do.
      returned: when the link is present
      type: str
      sample: owner
    host:
      description: Where the app's containers reach the server.
      returned: when the link is present
      type: str
      sample: host.docker.internal
    port:
      description: The server's port.
      returned: when the link is present
      type: int
      sample: 5432
    variables:
      description: The names of the variables that the containers get.
      returned: when the link is present
      type: list
      elements: str
      sample: [DATABASE_URL, DB_HOST, DB_NAME, DB_PASSWORD, DB_PORT, DB_USER]
    services:
      description: The Compose services that get them; empty before the app is deployed.
      returned: when the link is present
      type: list
      elements: str
      sample: [web]
    recreated:
      description: Services with a container that was made anew. In check mode, as far as that can be foreseen.
      returned: when the link is present
      type: list
      elements: str
      sample: [web]
    rotated:
      description: Whether the password was changed while the former one was valid.
      returned: when the link is present
      type: bool
    proven:
      description:
        - From where the login was proven, such as C(container blog-web-1), or C(host). Empty when nothing was changed.
      returned: when the link is present
      type: str
      sample: container blog-web-1
    final_backup:
      description: The directory of the backup set that was made before the database was deleted.
      returned: when one was made
      type: str
      sample: /var/serverkit/backups/blog/20260131T120000Z
    failed:
      description: Whether this link failed.
      returned: when the link failed
      type: bool
    msg:
      description: What was attempted, why it failed, and what to do.
      returned: when the link failed
      type: str
    rolled_back:
      description: What was taken back after the failure, in that order.
      returned: when the link failed
      type: list
      elements: str
    not_rolled_back:
      description: What could not be taken back, and why.
      returned: when the link failed
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.links import Links
from ansible_collections.serverkit.core.plugins.module_utils._values.links import SERVER_OPTIONS, label, parse

LINK: dict[str, Any] = {
    "app": {"type": "str"},
    "engine": {"type": "str", "choices": ["mysql", "mariadb", "postgresql", "redis", "mongodb"]},
    "name": {"type": "str"},
    "database": {"type": "str"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "privileges": {"type": "str", "choices": ["owner", "readwrite", "readonly"], "default": "owner"},
    "env_prefix": {"type": "str"},
    "variables": {"type": "dict"},
    "services": {"type": "list", "elements": "str"},
    "server": {"type": "dict", "options": SERVER_OPTIONS},
    "rotate": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "drop": {"type": "bool", "default": False},
    "skip_backup": {"type": "bool", "default": False},
    "adopt": {"type": "bool", "default": False},
}


def main() -> None:
    run_module(
        one_or_list(LINK, "links", "app"),
        list_option="links",
        key="app",
        parse=parse,
        make_resource=Links,
        label=label,
    )


if __name__ == "__main__":
    main()
