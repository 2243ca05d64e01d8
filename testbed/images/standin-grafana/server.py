# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers on port 3000 where Grafana would; every page says that it is not Grafana."""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 3000
HEALTH = {"database": "ok", "version": "stand-in", "commit": "none"}
PAGE = "<!doctype html><title>Stand-in</title><p>This stands in for Grafana, whose image could not be pulled.</p>\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        healthy = self.path.partition("?")[0] == "/api/health"
        body = (json.dumps(HEALTH) if healthy else PAGE).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if healthy else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", PORT), Handler).serve_forever()
