# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks without those that others of them contain."""

from __future__ import annotations

DOCUMENTATION = r"""
name: collapsed_networks
short_description: Leave out networks that others contain
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Makes a list of IPv4 networks as short as it can be. The roles for databases make the rules for Docker's networks
    of it.
options:
  _input:
    description: The networks, such as V(172.17.0.0/16). A single address is a network of one.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show that the second network is a part of the first
  ansible.builtin.debug:
    msg: "{{ ['172.16.0.0/12', '172.17.0.0/16'] | serverkit.core.collapsed_networks }}"
"""

RETURN = r"""
_value:
  description: The networks that are left, sorted.
  type: list
  elements: str
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError


def collapsed_networks(networks: Iterable[object]) -> list[str]:
    """Return the fewest IPv4 networks that hold all addresses of `networks`, and no other address.

    :raises AnsibleFilterError: if one of them is no IPv4 network.
    """
    try:
        parsed = [ipaddress.IPv4Network(str(network)) for network in networks]
    except ValueError as error:
        raise AnsibleFilterError(f"{error}; write a network such as 172.16.0.0/12") from error
    return [str(network) for network in ipaddress.collapse_addresses(parsed)]


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"collapsed_networks": collapsed_networks}
