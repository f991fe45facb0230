# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP API on loopback for those who have its token."""

from __future__ import annotations

import abc
import http.server
import json
import threading
import typing as t


class Guarded(abc.ABC):
    """Serves while it is entered.

    :param token: what it asks for; anybody else gets 401, and so does everybody without it.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.refused = 0
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # pylint: disable=invalid-name
                self._answer()

            def do_PUT(self) -> None:  # pylint: disable=invalid-name
                self._answer()

            def do_DELETE(self) -> None:  # pylint: disable=invalid-name
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != f"Bearer {api.token}":
                    api.refused += 1
                    self._send(401, {"error": "no valid token"})
                    return
                self._send(*api.answer(self.command, self.path.split("/")[1:], json.loads(body) if body else None))

            def _send(self, status: int, found: t.Any) -> None:
                text = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: t.Any) -> None:  # pylint: disable=redefined-builtin
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @abc.abstractmethod
    def answer(self, method: str, path: list[str], body: t.Any) -> tuple[int, t.Any]:
        """The status and the body of an answer."""

    def __enter__(self) -> t.Any:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: t.Any) -> None:
        self._server.shutdown()
        self._server.server_close()
