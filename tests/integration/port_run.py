# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""serverkit_port as a process of its own, with its registry elsewhere than /var/serverkit.

Takes the SQLite file's path and the module's arguments (JSON) on the command line, and prints what the module prints.
"""

from __future__ import annotations

import json
import sys

from ansible.module_utils.testing import patch_module_args
from ansible_collections.serverkit.core.plugins.module_utils._gateways.registry import sqlite
from ansible_collections.serverkit.core.plugins.modules import serverkit_port

if __name__ == "__main__":
    sqlite.PATH = sys.argv[1]
    with patch_module_args(json.loads(sys.argv[2])):
        serverkit_port.main()
