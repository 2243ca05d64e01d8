#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: serverkit_port
short_description: Reserve and release host ports
version_added: 1.0.0
author: "serverkit.core contributors (@serverkit-core)"
description:
  - Reserves ports of a host, so that no two owners ever get the same one, and releases them.
  - A port is free when nobody has reserved it in the registry, no container has or will take it (stopped containers
    count too), and binding it succeeds, over IPv4 and over IPv6.
  - The first free port from O(start) on is taken. Ports of the kernel's ephemeral range
    (C(net.ipv4.ip_local_port_range)) come last, because an outgoing connection may occupy one at any time.
  - Who asks again gets the same port again, whatever happens to be listening on it by then.
  - An owner gets all the ports of a task or no new one; other owners in the same task are not affected by that.
options:
  name:
    description:
      - What the owner needs the port for. O(owner) and O(name) together identify a port.
      - Exactly one of O(name) and O(ports) is required.
    type: str
    version_added: 1.0.0
  owner:
    description:
      - Who the port is for, usually the name of an app. Required with O(name).
      - When an explicit O(port) is in use by containers of the Compose project of this name, that is no conflict.
    type: str
    version_added: 1.0.0
  port:
    description:
      - This port and no other, from 1 to 65535. When somebody else has it, the item fails, and the message names the
        holder and proposes a port that is free.
      - If the owner has another port under this O(name), that one is released.
      - Without it a free port is chosen, or the one that the owner has is kept.
    type: int
    version_added: 1.0.0
  start:
    description: Where the search for a free port starts.
    type: int
    default: 8000
    version_added: 1.0.0
  last:
    description: Where the search for a free port ends, inclusive. When there is none up to here, the item fails.
    type: int
    default: 60000
    version_added: 1.0.0
  protocol:
    description:
      - V(both) reserves one number for TCP and UDP.
    type: str
    choices: [tcp, udp, both]
    default: tcp
    version_added: 1.0.0
  state:
    description:
      - V(absent) releases what the owner has under this name. It does not stop whatever listens on the port.
    type: str
    choices: [present, absent]
    default: present
    version_added: 1.0.0
  ports:
    description:
      - Several ports, decided and written in one step. The ones that are released are free for the others.
    type: list
    elements: dict
    version_added: 1.0.0
    suboptions:
      name:
        description: As O(name).
        type: str
        required: true
        version_added: 1.0.0
      owner:
        description: As O(owner). Required.
        type: str
        version_added: 1.0.0
      port:
        description: As O(port).
        type: int
        version_added: 1.0.0
      start:
        description: As O(start).
        type: int
        default: 8000
        version_added: 1.0.0
      last:
        description: As O(last).
        type: int
        default: 60000
        version_added: 1.0.0
      protocol:
        description: As O(protocol).
        type: str
        choices: [tcp, udp, both]
        default: tcp
        version_added: 1.0.0
      state:
        description: As O(state).
        type: str
        choices: [present, absent]
        default: present
        version_added: 1.0.0
extends_documentation_fragment:
  - serverkit.core._registry
  - serverkit.core._attributes
notes:
  - Needs to run as C(root), to write the registry and to see which process has a port.
  - Containers are asked for through the C(docker) program. Where it is not installed there are none; where the engine
    does not answer, the module warns that it knows nothing of stopped containers.
seealso:
  - module: serverkit.core.serverkit_app
"""

EXAMPLES = r"""
- name: Reserve a port
  serverkit.core.serverkit_port:
    owner: my-blog
    name: http
  register: my_blog_http

- name: Tell which one it is
  ansible.builtin.debug:
    msg: "http://127.0.0.1:{{ my_blog_http.results[0].port }}/"

- name: Reserve several ports in one step, one of them for TCP and UDP
  serverkit.core.serverkit_port:
    ports:
      - {owner: my-dns, name: dns, protocol: both, start: 5300}
      - {owner: my-dns, name: admin}
      - {owner: my-shop, name: http, port: 8443}

- name: Release a port
  serverkit.core.serverkit_port:
    owner: my-shop
    name: http
    state: absent
"""

RETURN = r"""
results:
  description: One element for each port of the task, in order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the port.
      returned: always
      type: str
      sample: http
    owner:
      description: Who the port belongs to, or belonged to.
      returned: when the item did not fail
      type: str
      sample: my-blog
    port:
      description: The reserved port. In check mode, the one that would be reserved now.
      returned: when O(state=present) and the item did not fail
      type: int
      sample: 8001
    protocol:
      description: What it is reserved for.
      returned: when O(state=present) and the item did not fail
      type: str
      sample: tcp
    state:
      description: Whether the port is reserved.
      returned: when the item did not fail
      type: str
      sample: present
    changed:
      description: Whether this port was reserved, moved or released.
      returned: always
      type: bool
    failed:
      description: V(true) for a port that could not be reserved.
      returned: when the item failed
      type: bool
    msg:
      description: Why the item failed, who holds the port, and which port is free instead.
      returned: when the item failed
      type: str
      sample: >-
        Could not reserve port 8080/tcp for my-shop/http: process 812 (nginx) has 8080/tcp. Port 8000 is free; without
        an explicit port a free one is chosen.
"""

from ansible_collections.serverkit.core.plugins.module_utils._module import one_or_list, run_module
from ansible_collections.serverkit.core.plugins.module_utils._runner.ports import Ports, parse


def main() -> None:
    port = {
        "name": {"type": "str"},
        "owner": {"type": "str"},
        "port": {"type": "int"},
        "start": {"type": "int", "default": 8000},
        "last": {"type": "int", "default": 60000},
        "protocol": {"type": "str", "choices": ["tcp", "udp", "both"], "default": "tcp"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    run_module(
        one_or_list(port, "ports", "name"),
        list_option="ports",
        key="name",
        parse=parse,
        make_resource=lambda host, _options: Ports(host),
    )


if __name__ == "__main__":
    main()
