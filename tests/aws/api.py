# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before moto: who is let in, what is refused on demand, and an account of all calls."""

from __future__ import annotations

import io
import logging
import re
import threading
import typing as t
import urllib.parse
import xml.sax.saxutils

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

import objects

# The keys that the stage knows.
KEY, SECRET = "AKIASTAGESTAGESTAGE0", "secret-of-the-stage"
# Where a person asks for a fault: POST /stage/throttle?calls=5.
CONTROL = "/stage/"

Environ = t.Dict[str, t.Any]
Start = t.Callable[..., t.Any]


class Api:
    """Answers at C(url) while it is entered.

    :ivar calls: the name of each action that was asked for, refused ones too.
    """

    def __init__(self, port: int = 0) -> None:
        self.calls: list[str] = []
        self._lock = threading.Lock()
        self._throttled = 0
        self._left: int | None = None
        self._allowed: frozenset[str] | None = None
        self._before: dict[str, list[t.Callable[[], None]]] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        # It would write a line for each request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", port, self._answer, True, request_handler=MotoRequestHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Api:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *dummy: t.Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- faults on demand ----------------------------------------------------------------------------------------------
    def throttle(self, calls: int) -> None:
        """Refuse so many calls: too many of them came."""
        self._throttled = calls

    def expire(self, calls: int = 0) -> None:
        """Let the credentials expire after so many more calls."""
        self._left = calls

    def renew(self) -> None:
        self._left = None

    def allow(self, *actions: str) -> None:
        """Refuse all other actions, as a policy does; without a name, allow all again."""
        self._allowed = frozenset(actions) or None

    def before(self, action: str, *works: t.Callable[[], None] | None) -> None:
        """Do the first of these before the next call of C(action) is answered, the second before the one after; None
        does nothing."""
        self._before[action] = [work or _nothing for work in works]

    def reset(self) -> None:
        """Refuse nothing, wait for nobody, and forget what was asked."""
        with self._lock:
            self._throttled, self._left, self._allowed = 0, None, None
            self._before.clear()
            self.calls.clear()

    # -- answering -----------------------------------------------------------------------------------------------------
    def _answer(self, environ: Environ, start_response: Start) -> t.Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(CONTROL):
            return self._control(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        asked = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        action = (
            asked.get("Action")
            or environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
            or environ.get("REQUEST_METHOD", "")
        )
        refused = self._refused(action, environ.get("HTTP_AUTHORIZATION", ""))
        if refused:
            return _error(start_response, *refused)
        with self._lock:
            works = self._before.get(action) or []
            work = works.pop(0) if works else _nothing
        work()
        if environ.get("REQUEST_METHOD") != "PUT":
            return self._moto(environ, start_response)
        # One write of an object at a time, so that what it was compared with is what it replaces.
        with objects.PUT:
            if not objects.holds(environ):
                return _lost(start_response)
            return list(self._moto(environ, start_response))

    def _refused(self, action: str, authorization: str) -> tuple[int, str, str] | None:
        """Status, code and words of a refusal."""
        with self._lock:
            self.calls.append(action)
            key = re.search(r"Credential=([^/]+)/", authorization)
            if not key:
                return 403, "MissingAuthenticationToken", "Request is missing Authentication Token"
            if key[1] != KEY:
                return 403, "InvalidClientTokenId", "The security token included in the request is invalid."
            if self._left is not None:
                if self._left <= 0:
                    return 403, "ExpiredToken", "The security token included in the request is expired"
                self._left -= 1
            if self._throttled > 0:
                self._throttled -= 1
                return 400, "Throttling", "Rate exceeded"
            if self._allowed is not None and action not in self._allowed:
                return (
                    403,
                    "AccessDenied",
                    (
                        "User: arn:aws:iam::123456789012:user/deploy is not authorized to perform:"
                        f" elasticloadbalancing:{action} because no identity-based policy allows it"
                    ),
                )
        return None

    def _control(self, environ: Environ, start_response: Start) -> t.Iterable[bytes]:
        what = environ["PATH_INFO"][len(CONTROL) :]
        calls = int(dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""))).get("calls", 0))
        works: dict[str, t.Callable[[], None]] = {
            "throttle": lambda: self.throttle(calls),
            "expire": lambda: self.expire(calls),
            "renew": self.renew,
        }
        known = what in works and environ["REQUEST_METHOD"] == "POST"
        if known:
            works[what]()
        start_response("200 OK" if known else "404 Not Found", [("Content-Type", "text/plain")])
        return [f"{what}\n".encode() if known else b"POST to throttle?calls=N, expire?calls=N or renew is known here\n"]


def _nothing() -> None:
    pass


def _lost(start_response: Start) -> t.Iterable[bytes]:
    """What S3 says of a write whose condition does not hold."""
    words = "At least one of the pre-conditions you specified did not hold"
    start_response("412 Precondition Failed", [("Content-Type", "application/xml")])
    return [f"<Error><Code>PreconditionFailed</Code><Message>{words}</Message></Error>".encode()]


def _error(start_response: Start, status: int, code: str, sentence: str) -> t.Iterable[bytes]:
    text = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
        f"<Message>{xml.sax.saxutils.escape(sentence)}</Message></Error>"
        "<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
    )
    start_response(f"{status} Refused", [("Content-Type", "text/xml"), ("x-amzn-RequestId", "0")])
    return [text.encode()]
