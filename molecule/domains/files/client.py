# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask for a page by HTTPS every 50 ms until a file appears, then say how that went.

client.py ADDRESS NAME ISSUER.PEM STOP
"""

from __future__ import annotations

import http.client
import json
import pathlib
import socket
import ssl
import sys
import time

INTERVAL = 0.05
LONGEST = 300  # seconds; nobody may come to stop it
TIMEOUT = 10


def ask(context: ssl.SSLContext, address: str, name: str) -> str:
    """Return the serial number of the certificate, after a page was had on a connection of its own."""
    with socket.create_connection((address, 443), TIMEOUT) as plain:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            certificate = encrypted.getpeercert() or {}
            connection = http.client.HTTPConnection(name)
            connection.sock = encrypted
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
    return str(certificate.get("serialNumber"))


def main() -> None:
    address, name, issuer, stop = sys.argv[1:]
    context = ssl.create_default_context(cafile=issuer)
    began = time.monotonic()
    requests, serials, failures = 0, {}, []
    while not pathlib.Path(stop).exists() and time.monotonic() - began < LONGEST:
        planned = began + (requests + 1) * INTERVAL
        requests += 1
        try:
            serials[ask(context, address, name)] = requests
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{time.monotonic() - began:.2f} s: {error!r}")
        time.sleep(max(0.0, planned - time.monotonic()))
    print(json.dumps({"requests": requests, "failures": failures, "serials": list(serials)}))


if __name__ == "__main__":
    main()
