# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server needs for the certificates of its apps, so that one without any gets no certbot."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_needs
short_description: Tell what a server needs for the certificates of its apps
version_added: 1.0.0
author: serverkit.core contributors (@serverkit-core)
description:
  - Tells whether a server needs the R(serverkit.core.certbot role,ansible_collections.serverkit.core.certbot_role), and
    whether certbot itself.
options:
  _input:
    description: The apps, as in C(serverkit_apps).
    type: list
    elements: dict
    required: true
  private_domain_tls:
    description: Where the certificate of the private domain comes from, as in C(serverkit_private_domain_tls).
    type: str
    default: none
"""

EXAMPLES = r"""
- name: Install certbot where it is needed
  ansible.builtin.include_role:
    name: serverkit.core.certbot
  when: serverkit_apps | serverkit.core.certificate_needs | length > 0
"""

RETURN = r"""
_value:
  description:
    - V(libraries) where certificates or DNS records are read, V(acme) where certificates are ordered as well. Empty
      where everything is served over plain HTTP.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def certificate_needs(apps: Sequence[Mapping[str, Any]], private_domain_tls: str = "none") -> list[str]:
    """Return what is needed, the smaller need first."""
    domains = [domain for app in apps if app.get("state") != "absent" for domain in app.get("domains") or ()]
    modes = {domain.get("tls") or "none" for domain in domains} | {private_domain_tls or "none"}
    records = any(domain.get("dns_check") == "records" for domain in domains)
    return ["libraries"] * (records or modes != {"none"}) + ["acme"] * ("letsencrypt" in modes)


class FilterModule:
    """Tells Ansible the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"certificate_needs": certificate_needs}
