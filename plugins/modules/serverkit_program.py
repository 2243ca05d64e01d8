#!/usr/bin/python
# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serverkit_program
short_description: Install the program that a host makes its backups with
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Copies to the host what this collection's modules for backups consist of, as one program that needs neither Ansible
    nor a controller. Timers of the host call it, see the role C(serverkit.core.backup).
  - "C(serverkit backup) backs up the apps. C(serverkit backup --check) tells how the backups are, and ends with 1 when
    one failed or is stale. C(serverkit drill) tries to restore them. C(serverkit facts) prints what Ansible's local
    facts tell of them."
options:
  path:
    description: Where the program is installed.
    type: path
    default: /usr/local/sbin/serverkit
    version_added: 1.0.0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - serverkit.core._attributes
attributes:
  diff_mode:
    support: none
    details: It is a program.
requirements:
  - Python 3.10 or newer as C(/usr/bin/python3) on the host, with PyYAML (C(python3-yaml))
notes:
  - The program is of this release of the collection. Install it again after an update.
seealso:
  - module: serverkit.core.serverkit_backup
  - module: serverkit.core.serverkit_restore
"""

EXAMPLES = r"""
- name: Have the host make its backups by itself
  serverkit.core.serverkit_program:
"""

RETURN = r"""
path:
  description: Where the program is.
  returned: always
  type: str
  sample: /usr/local/sbin/serverkit
checksum:
  description: SHA-1 of the program, as of M(ansible.builtin.copy).
  returned: success
  type: str
"""
