# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What a certificate authority says of itself (RFC 8555, section 7.1.1)."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError

_TIMEOUT = 15.0  # seconds
_LIMIT = 1024 * 1024  # bytes


def caa_identities(directory: str, ca_bundle: str) -> tuple[str, ...]:
    """Return what the authority is called in CAA records; none when it does not say.

    :param directory: an https:// URL.
    :param ca_bundle: the path of a PEM file that its own HTTPS is trusted by, beside the system's; may be empty.
    :raises HostError: when the authority cannot be reached, or does not speak ACME.
    """
    attempted = f"reach the certificate authority at {directory}"
    try:
        context = ssl.create_default_context()
        # Python 3.13 and later refuse roots that others take, many a company's among them. certbot decides, not we.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if ca_bundle:
            context.load_verify_locations(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise HostError(attempted, f"its ca_bundle {ca_bundle} cannot be read: {reason}") from error
    try:
        # open_url of Ansible has no way to hand over a context.
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        with opener.open(directory, timeout=_TIMEOUT) as answer:
            content = json.loads(answer.read(_LIMIT))
    except urllib.error.HTTPError as error:
        raise HostError(attempted, f"it answers with HTTP status {error.code}", _REMEDY) from error
    except urllib.error.URLError as error:
        raise HostError(attempted, str(getattr(error.reason, "strerror", None) or error.reason), _REMEDY) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HostError(attempted, str(error) or type(error).__name__, _REMEDY) from error
    if not isinstance(content, dict) or "newOrder" not in content:
        raise HostError(attempted, "what it answers is no ACME directory", "See acme.directory")
    meta = content.get("meta")
    listed = meta.get("caaIdentities") if isinstance(meta, dict) else None
    return tuple(str(identity) for identity in listed) if isinstance(listed, list) else ()


_REMEDY = "See acme.directory, acme.ca_bundle and whether this host may connect there, then run again"
