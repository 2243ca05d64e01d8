# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The files that certbot's DNS plugins read their credentials from."""

from __future__ import annotations

import json
from collections.abc import Mapping

_HEADER = "# Written by serverkit.core from acme.dns_credentials.\n"


def credentials_text(plugin: str, credentials: Mapping[str, str]) -> str:
    """Return the content of a plugin's file.

    :param plugin: its name, without `dns-`.
    :param credentials: as the plugin's documentation names them, with or without its prefix (`dns_cloudflare_`).
    """
    if plugin == "google":  # https://certbot-dns-google.readthedocs.io/: a service account's key file
        return json.dumps(dict(credentials), indent=2) + "\n"
    if plugin == "route53":  # https://certbot-dns-route53.readthedocs.io/: the AWS SDK's own format, without quotes
        lines = [f"{name} = {value}\n" for name, value in credentials.items()]
        return _HEADER + "[default]\n" + "".join(lines)
    prefix = f"dns_{plugin.replace('-', '_')}_"
    return _HEADER + "".join(
        f"{name if name.startswith(prefix) else prefix + name} = {_quoted(value)}\n"
        for name, value in credentials.items()
    )


def _quoted(value: str) -> str:
    """Quote for ConfigObj, which knows no escapes; `_values.tls` refuses a value with both kinds of quotes."""
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}"
