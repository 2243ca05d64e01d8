#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serverkit_app
short_description: Run apps from templates with Docker Compose
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Renders a template for an app, reserves the host ports that it needs, generates the passwords that it asks for,
    brings its containers up with Docker Compose, and waits until they are healthy and the app's main port answers.
  - A release that does not become healthy is taken back. The release before it is put in place again, and its health is
    checked again. Where there was none, the containers are taken down, and the volumes, the generated passwords and the
    ports are kept for the next attempt.
  - An app whose files, ports and containers are as they should be costs no C(docker compose) process. One C(docker ps)
    looks after all apps of a task, so one task with a list of apps is much faster than a loop.
  - A run that was killed is repaired by the next one. Each app is protected by a lock that dies with the process that
    holds it.
options:
  name:
    description:
      - The name of the app, which is also its Compose project, its directory in C(/var/serverkit/apps), and the owner
        of its ports.
      - It has 1 to 63 characters of C(a-z), C(0-9) and C(-), and starts and ends with a letter or digit.
    type: str
  template: &template
    description:
      - The name of a template, or the path of a template file on the controller.
      - A name is looked for beside the task, in the directories of the variable C(serverkit_template_paths), in the
        playbook's C(templates) directory, and among the templates of this collection, in that order.
      - Without a template, an app that is deployed already is started, stopped or restarted as it is.
    type: str
  variables: &variables
    description:
      - Values for variables that the template declares. V(true) becomes the text V(true), a number its digits.
      - Variables that the template declares as passwords, secrets or generated values are treated as O(secrets).
    type: dict
  secrets: &secrets
    description:
      - Values for variables of the template that must not be shown. They are written into the app's C(.env), with mode
        C(0600), and nowhere else.
    type: dict
  state: &state
    description:
      - V(started) brings the app up with what the template and the variables say.
      - V(stopped) does so without starting it, and stops the containers that run. They are kept.
      - V(restarted) is V(started), and containers that ran before are restarted. It always reports a change.
      - V(absent) removes the containers, the networks, the Compose file and the ports. Volumes, the C(data) directory
        and C(.env) are kept, since the passwords in it open what is in the volumes. An app that comes back finds them.
      - An app that nginx still serves is not removed. M(serverkit.core.serverkit_domain) takes its names away first.
      - An app whose container is the database server of other apps is not removed either, unless they are removed by
        the same task. M(serverkit.core.serverkit_db_link) takes the links away first.
    type: str
    choices: [started, stopped, restarted, absent]
    default: started
  publish: &publish
    description:
      - The addresses on which ports are published for which the template names no address.
      - V(loopback) is C(127.0.0.1), for nginx on the same host. V(public) is every address of the host. Docker's rules
        come before those of ufw, so a public port is open to everybody.
    type: str
    choices: [loopback, public]
    default: loopback
  health_timeout: &health_timeout
    description:
      - Seconds that the app has to become healthy, from 1 to 3600.
      - Without it, the template says how long.
    type: int
  databases: &databases
    description:
      - The engines of the databases that the app is linked to with M(serverkit.core.serverkit_db_link).
      - A template that can use one of them leaves its own database out, and the services get the variables of the link.
        Links to other engines are taken out of the app.
      - Without it, the app uses all links that it has. V([]) goes back to the template's own database.
      - The links have to be made before. In check mode they may be missing.
    type: list
    elements: str
    choices: [mysql, mariadb, postgresql, redis, mongodb]
  purge: &purge
    description:
      - With O(state=absent), deletes the app's volumes and its directory too, passwords included.
      - A final backup set is made before, as by M(serverkit.core.serverkit_backup), with the databases that the app is
        linked to. When that fails, nothing is deleted. No thinning removes such a set.
    type: bool
    default: false
  skip_backup: &skip_backup
    description: Makes no final backup before O(purge) deletes the data.
    type: bool
    default: false
  apps:
    description:
      - A list of apps, instead of one app at top level. Each is independent. When one fails, the others are brought
        about all the same, and the task fails naming each.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the app.
        type: str
        required: true
      template: *template
      variables: *variables
      secrets: *secrets
      state: *state
      publish: *publish
      health_timeout: *health_timeout
      databases: *databases
      purge: *purge
      skip_backup: *skip_backup
  remote_src:
    description:
      - Takes templates from C(/etc/serverkit/templates) on the host, where each app leaves a copy of its template, and
        not from the controller. O(template) is then the id of a template.
    type: bool
    default: false
  definitions:
    description:
      - The templates of the task as JSON, keyed by the names that the task uses. The action plugin that belongs to this
        module sets it. There is no need to, and no use in, setting it in a playbook.
    type: str
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
  - serverkit.core._registry
attributes:
  idempotent:
    support: partial
    details: O(state=restarted) changes something each time.
requirements:
  - Docker Engine and Docker Compose 2.19 or newer on the host
  - PyYAML on the host (C(python3-yaml))
notes:
  - On a host without Docker and PyYAML, check mode plans as if nothing was there yet.
  - The ports of an app are leased under its name in the registry. Leases under an app's name whose own names are in
    upper case belong to its template. They are released when the template does not ask for them any more.
seealso:
  - module: serverkit.core.serverkit_port
  - module: serverkit.core.serverkit_domain
"""

EXAMPLES = r"""
- name: Run a page
  serverkit.core.serverkit_app:
    name: hello
    template: flask-page

- name: Run several apps in one task
  serverkit.core.serverkit_app:
    apps:
      - name: my-site
        template: static-site
      - name: my-blog
        template: wordpress
        health_timeout: 300

- name: Run an app with the MariaDB database that serverkit_db_link gave it, and not with its own
  serverkit.core.serverkit_app:
    name: journal
    template: wordpress
    databases: [mariadb]
    health_timeout: 300

- name: Restart an app as it is
  serverkit.core.serverkit_app:
    name: hello
    state: restarted

- name: Stop an app and keep its containers
  serverkit.core.serverkit_app:
    name: hello
    state: stopped

- name: Remove an app and keep its data
  serverkit.core.serverkit_app:
    name: hello
    state: absent

- name: Remove an app with all of its data, after a final backup
  serverkit.core.serverkit_app:
    name: my-site
    state: absent
    purge: true

- name: Remove an app with all of its data, which nobody wants back
  serverkit.core.serverkit_app:
    name: hello
    state: absent
    purge: true
    skip_backup: true
"""

RETURN = r"""
results:
  description: One item for each app, in the order of the task.
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
      description: Whether anything about this app was changed, or would be in check mode.
      returned: always
      type: bool
    state:
      description: What the app is now.
      returned: when the app did not fail
      type: str
      sample: started
    directory:
      description: Where the app's Compose file is.
      returned: when the app did not fail
      type: str
      sample: /var/serverkit/apps/my-blog
    template:
      description: The id of its template.
      returned: when the app is present
      type: str
      sample: wordpress
    template_version:
      description: The version of its template.
      returned: when the app is present
      type: str
      sample: "1.0"
    ports:
      description: Its host ports, by the name of the template's variable.
      returned: when the app is present
      type: dict
      sample: {HTTP_PORT: 8001}
    main_port:
      description: The host port that nginx proxies to.
      returned: when the app is present
      type: int
      sample: 8001
    url:
      description: Where the main port answers, as seen from the host itself.
      returned: when the app is present
      type: str
      sample: http://127.0.0.1:8001/
    containers:
      description: Its containers, stopped ones too. In check mode, those before the change.
      returned: when the app is present
      type: list
      elements: dict
      sample: [{service: db, name: my-blog-db-1, state: running, health: healthy}]
    release:
      description: The name of the release, made of the content of its Compose file and environment.
      returned: when the app is present
      type: str
      sample: 3f2ac8d01b7e
    recreated:
      description: Services with a container that was made anew. In check mode, as far as that can be foreseen.
      returned: when the app is present
      type: list
      elements: str
      sample: [web]
    notes:
      description: Shell text of a template written for ServerKit, by its key. It is shown here and never executed.
      returned: when the app is present
      type: dict
      sample: {post_install: echo done}
    volumes:
      description: Its volumes, which are kept.
      returned: when the app is absent
      type: list
      elements: str
      sample: [my-blog_db]
    final_backup:
      description: The directory of the backup set that was made before the data were deleted.
      returned: when one was made
      type: str
      sample: /var/serverkit/backups/my-site/20260131T120000Z
    failed:
      description: Whether this app failed.
      returned: when the app failed
      type: bool
    msg:
      description: What was attempted, why it failed, what the host is left with, and what to do.
      returned: when the app failed
      type: str
    rolled_back:
      description: What was taken back after the failure, in that order.
      returned: when the app failed
      type: list
      elements: str
    not_rolled_back:
      description: What could not be taken back, and why.
      returned: when the app failed
      type: list
      elements: str
"""

from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.apps import Apps
from ansible_collections.serverkit.core.plugins.module_utils._values.app import parse

APP: dict[str, Any] = {
    "name": {"type": "str"},
    "template": {"type": "str"},
    "variables": {"type": "dict"},
    "secrets": {"type": "dict", "no_log": True},
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "absent"], "default": "started"},
    "publish": {"type": "str", "choices": ["loopback", "public"], "default": "loopback"},
    "health_timeout": {"type": "int"},
    "databases": {
        "type": "list",
        "elements": "str",
        "choices": ["mysql", "mariadb", "postgresql", "redis", "mongodb"],
    },
    "purge": {"type": "bool", "default": False},
    "skip_backup": {"type": "bool", "default": False},
}
TASK: dict[str, Any] = {
    "remote_src": {"type": "bool", "default": False},
    # It would flood the log of the host and the output of -vvv; values of it are not secret.
    "definitions": {"type": "str", "no_log": True},
}


def main() -> None:
    run_module(one_or_list(APP, "apps", "name", TASK), list_option="apps", key="name", parse=parse, make_resource=Apps)


if __name__ == "__main__":
    main()
