#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: serverkit_domain
short_description: Serve apps by domain and by private URL through nginx
version_added: 1.0.0
author: "serverkit.core contributors (@serverkit-core)"
description:
  - Makes the nginx on the host answer for domains, with their aliases, and for private URLs
    (C(http://server/p/<slug>/)), and passes the requests on to an app's port on the loopback address.
  - An app has one file, C(/etc/nginx/sites-available/<app>), that is always written whole from the registry. A private
    URL has a second one below C(/etc/nginx/serverkit/private/). Requests for names that nobody has get a 404 from the
    catch-all C(/etc/nginx/sites-available/serverkit) instead of somebody's app.
  - However many items a task has, the change is tested once in a private copy of the whole configuration, swapped in
    file by file without an invalid instant, and loaded by one reload. Then every name is asked until it answers with
    the new configuration. When any of this fails, the files and the registry are as they were before.
  - Files that this collection did not make are never touched. What is in the way is named, and nothing is changed.
options:
  app:
    description:
      - The app that is served.
      - Required for each item.
    type: str
    version_added: 1.0.0
  name:
    description:
      - The domain, in lower case, without a trailing dot. An international domain is written in its ASCII form
        (V(xn--mnchen-3ya.example)).
      - An item has either O(name) or O(private_url). An item with neither of them, and O(state=absent), means all
        names of the app.
    type: str
    version_added: 1.0.0
  aliases:
    description:
      - Further domains that are served like O(name).
    type: list
    elements: str
    version_added: 1.0.0
  private_url:
    description:
      - Serve the app at C(/p/<slug>/) of the server's address, without a domain. The prefix is taken off on the way to
        the app and announced to it in C(X-Forwarded-Prefix), and put before the paths of redirects and cookies on the
        way back. Search engines are asked to keep out, browsers not to pass the address on, and the access log leaves
        the requests out.
      - An app has at most one.
    type: bool
    default: false
    version_added: 1.0.0
  slug:
    description:
      - The O(private_url)'s last part, 3 to 64 characters of a-z, 0-9 and inner hyphens.
      - Without it the app keeps the one it has, or gets a random one of 128 bits, which is as good as a password.
    type: str
    version_added: 1.0.0
  port:
    description:
      - The port on the loopback address that requests are passed on to.
      - Without it, it is the main port that the registry has for the app, and follows it.
    type: int
    version_added: 1.0.0
  websocket:
    description:
      - Whether to pass on requests that ask for an upgrade of the connection, as websockets do.
    type: bool
    default: true
    version_added: 1.0.0
  state:
    description:
      - V(present) serves the name, V(absent) ends that. The app itself is not touched.
    type: str
    choices: [present, absent]
    default: present
    version_added: 1.0.0
  dns_check:
    description:
      - What to do when a domain that is new to the app does not resolve to an address of this host.
      - V(warn) says what was found and goes on, since a CDN, a proxy or NAT in between is no mistake. V(require) fails.
        V(off) does not ask.
    type: str
    choices: [warn, require, "off"]
    default: warn
    version_added: 1.0.0
  check_port:
    description:
      - Fail when nothing answers at the port, before anything is changed. Asked only when the item or the app's files
        change.
    type: bool
    default: true
    version_added: 1.0.0
  domains:
    description:
      - A list of items, each with the options above, instead of one item at top level.
      - One that fails does not stop the others. The task then fails, naming each.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      app:
        description: As O(app).
        type: str
        required: true
        version_added: 1.0.0
      name:
        description: As O(name).
        type: str
        version_added: 1.0.0
      aliases:
        description: As O(aliases).
        type: list
        elements: str
        version_added: 1.0.0
      private_url:
        description: As O(private_url).
        type: bool
        default: false
        version_added: 1.0.0
      slug:
        description: As O(slug).
        type: str
        version_added: 1.0.0
      port:
        description: As O(port).
        type: int
        version_added: 1.0.0
      websocket:
        description: As O(websocket).
        type: bool
        default: true
        version_added: 1.0.0
      state:
        description: As O(state).
        type: str
        choices: [present, absent]
        default: present
        version_added: 1.0.0
      dns_check:
        description: As O(dns_check).
        type: str
        choices: [warn, require, "off"]
        default: warn
        version_added: 1.0.0
      check_port:
        description: As O(check_port).
        type: bool
        default: true
        version_added: 1.0.0
  exclusive:
    description:
      - Whether the apps in the task lose the names that are not listed for them. Apps that are not in the task keep
        theirs.
      - An app one of whose items fails loses nothing.
    type: bool
    default: false
    version_added: 1.0.0
  main_ports:
    description:
      - The main ports that apps are going to have, by their names, for check mode. A task before this one may be about
        to change them, and has not told the registry. Apps that are not named have the port that the registry has.
      - A real run asks the registry only.
    type: dict
    version_added: 1.0.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
  - serverkit.core._registry
notes:
  - In check mode an obstacle that a task before this one may remove (an app that does not answer yet, Debian's default
    site) is a warning, and C(nginx -t) is not run, since it makes log files.
  - The log files are C(/var/log/nginx/<app>.access.log) and C(/var/log/nginx/<app>.error.log).
seealso:
  - module: serverkit.core.serverkit_port
  - module: serverkit.core.serverkit_app
"""

EXAMPLES = r"""
- name: Serve an app by its domain
  serverkit.core.serverkit_domain:
    app: my-blog
    name: my-blog.com
    aliases: [www.my-blog.com]

- name: Serve an app by an address that nobody can guess
  serverkit.core.serverkit_domain:
    app: my-blog
    private_url: true
  register: private

- name: Show the address
  ansible.builtin.debug:
    msg: "http://{{ ansible_facts['default_ipv4']['address'] }}{{ private.results[0].path }}"

- name: Serve these names of two apps and no others, in one reload
  serverkit.core.serverkit_domain:
    exclusive: true
    domains:
      - {app: my-blog, name: my-blog.com, aliases: [www.my-blog.com]}
      - {app: my-blog, private_url: true, slug: preview-of-my-blog}
      - {app: grafana, name: metrics.my-blog.com, websocket: false}

- name: Serve something that is not an app of this collection
  serverkit.core.serverkit_domain:
    app: wiki
    name: wiki.my-blog.com
    port: 9000

- name: Stop serving a domain
  serverkit.core.serverkit_domain:
    app: my-blog
    name: my-blog.com
    state: absent

- name: Stop serving an app altogether
  serverkit.core.serverkit_domain:
    app: my-blog
    state: absent
"""

RETURN = r"""
results:
  description: One result for each item, in order.
  returned: always
  type: list
  elements: dict
  version_added: 1.0.0
  contains:
    name:
      description: The domain, or C(private URL of <app>), or C(all names of <app>).
      returned: always
      version_added: 1.0.0
      type: str
      sample: my-blog.com
    changed:
      description: Whether the item was changed, or would be.
      returned: always
      version_added: 1.0.0
      type: bool
    kind:
      description: What the item is about, V(domain), V(private_url) or V(all).
      returned: success
      version_added: 1.0.0
      type: str
    app:
      description: The app.
      returned: success
      version_added: 1.0.0
      type: str
    state:
      description: V(present) or V(absent).
      returned: success
      version_added: 1.0.0
      type: str
    url:
      description: Where the domain is served.
      returned: for a domain that is present
      version_added: 1.0.0
      type: str
      sample: http://my-blog.com/
    aliases:
      description: Its aliases, sorted.
      returned: for a domain that is present
      version_added: 1.0.0
      type: list
      elements: str
    resolves_to:
      description: The addresses that the domain resolves to on this host; null when it was not asked.
      returned: for a domain that is present
      version_added: 1.0.0
      type: list
      elements: str
    slug:
      description: The slug; null in check mode when a random one would be drawn.
      returned: for a private URL that is present
      version_added: 1.0.0
      type: str
    path:
      description: The path at the server's address, V(/p/<slug>/); null as for the slug.
      returned: for a private URL that is present
      version_added: 1.0.0
      type: str
      sample: /p/k5zq3mnd4tqk7yh2q6ywq2v3ra/
    port:
      description: The port that requests are passed on to; null in check mode when the app is not deployed yet.
      returned: for what is present
      version_added: 1.0.0
      type: int
    websocket:
      description: Whether upgrades are passed on.
      returned: for what is present
      version_added: 1.0.0
      type: bool
    file:
      description: The app's nginx file.
      returned: for what is present
      version_added: 1.0.0
      type: str
      sample: /etc/nginx/sites-available/my-blog
    failed:
      description: Whether the item failed.
      returned: failure
      version_added: 1.0.0
      type: bool
    msg:
      description: What was attempted, why it failed, and what to do.
      returned: failure
      version_added: 1.0.0
      type: str
    rolled_back:
      description: What was undone.
      returned: failure
      version_added: 1.0.0
      type: list
      elements: str
    not_rolled_back:
      description: What could not be undone, each with the reason.
      returned: failure
      version_added: 1.0.0
      type: list
      elements: str
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.domains import Domains
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values import domain

ITEM = {
    "app": {"type": "str"},
    "name": {"type": "str"},
    "aliases": {"type": "list", "elements": "str"},
    "private_url": {"type": "bool", "default": False},
    "slug": {"type": "str"},
    "port": {"type": "int"},
    "websocket": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "dns_check": {"type": "str", "choices": ["warn", "require", "off"], "default": "warn"},
    "check_port": {"type": "bool", "default": True},
}

TASK = {"exclusive": {"type": "bool", "default": False}, "main_ports": {"type": "dict"}}


def label(options: Mapping[str, Any]) -> str:
    """Call an item that cannot be parsed what it is meant to be."""
    return str(options["name"]) if options["name"] is not None else f"private URL of {options['app']}"


def make_domains(host: Host, params: Mapping[str, Any]) -> Domains:
    listed = params["domains"] if params["domains"] is not None else [params]
    counted = Counter(str(options["app"]) for options in listed)
    main_ports = domain.main_ports(params["main_ports"] or {})
    return Domains(host, listed=counted, exclusive=params["exclusive"], main_ports=main_ports)


def main() -> None:
    run_module(
        one_or_list(ITEM, "domains", key="app", more=TASK),
        list_option="domains",
        key="app",
        parse=domain.parse,
        make_resource=make_domains,
        label=label,
    )


if __name__ == "__main__":
    main()
