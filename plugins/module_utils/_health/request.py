# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request with limits that hold, and what came of it. Private to the collection."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import ssl
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url

# More of a body than this is not read: a readiness page is small, and a streaming answer would never end.
BODY_LIMIT = 1024 * 1024
# A socket without any time would not wait at all, and say something else.
SHORTEST = 0.001

Clock = t.Callable[[], float]
Sleep = t.Callable[[float], None]


@dataclass(frozen=True)
class Answer:
    """What one attempt saw. ``timed_out`` is apart because an attempt that the gate's own deadline cut short says nothing."""

    status: int | None = None
    headers: t.Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    error: str | None = None
    timed_out: bool = False


def split_url(option: str, url: t.Any) -> SplitResult:
    """The parts of a URL that can be asked, or one sentence that says why it cannot."""
    example = "accepted: an http or https URL with a path, for example http://app1.example:8000/ready"
    if not isinstance(url, str) or not url.strip():
        raise DowntimeError(f"{option} is empty; {example}")
    try:
        parts = urlsplit(url)
        parts.port  # pylint: disable=pointless-statement  # raises when it is no port
    except ValueError:
        # Its own words may have a part of a password in them.
        raise DowntimeError(f"{option} {shown_url(url)!r} is not a URL: its host or port cannot be read; {example}") from None
    if parts.scheme not in ("http", "https"):
        raise DowntimeError(f"{option} {shown_url(url)!r} has the scheme {parts.scheme!r}; {example}")
    if not parts.hostname:
        raise DowntimeError(f"{option} {shown_url(url)!r} names no host; {example}")
    if not parts.path:
        raise DowntimeError(f"{option} {shown_url(url)!r} has no path; {example}")
    if re.search(r"[\x00-\x20\x7f]", url):
        raise DowntimeError(f"{option} {shown_url(url)!r} contains a space or a control character; {example}")
    return parts


class _DeadlineReader(io.RawIOBase):
    """Reads a socket against *one* deadline: with a time-out for each read, a server that trickles bytes never times out."""

    def __init__(self, sock: socket.socket, deadline: float, clock: Clock) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self._clock = clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        left = self._deadline - self._clock()
        if left <= 0:
            raise socket.timeout("timed out")
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


class _Readable:
    """The one method of a socket that http.client.HTTPResponse uses."""

    def __init__(self, sock: socket.socket, deadline: float, clock: Clock) -> None:
        self._reader = _DeadlineReader(sock, deadline, clock)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        return io.BufferedReader(self._reader)


def _seconds(limit: float) -> str:
    """A limit for a sentence: what is left of the whole time has digits that nobody reads."""
    return f"{round(limit, 2) or limit:g}"


def request(
    url: str,
    connect_timeout: float,
    read_timeout: float,
    host: str | None = None,
    server_name: str | None = None,
    context: ssl.SSLContext | None = None,
    headers: t.Mapping[str, str] | None = None,
    clock: Clock = time.monotonic,
    connect: t.Callable[..., socket.socket] = socket.create_connection,
    left: float | None = None,
) -> Answer:
    """One GET on a fresh connection. No retry, no redirect, no pooling: what the member says now is the answer.

    :param left: seconds for all of it, if that is less than its parts may take together.
    """
    parts = urlsplit(url)
    end = None if left is None else clock() + left

    def at_most(seconds: float) -> float:
        return seconds if end is None else max(min(seconds, end - clock()), SHORTEST)

    secure = parts.scheme == "https"
    hostname = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    where = f"[{hostname}]:{port}" if ":" in hostname else f"{hostname}:{port}"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    # What the certificate has to be for: a Host header may carry a port, an address of IPv6 has colons of its own.
    certified = server_name or (host.rsplit(":", 1)[0] if host and host.count(":") == 1 else host or hostname)
    # A default port is left out, as browsers do: some virtual hosts compare the header literally.
    host_header = host or (where if parts.port else where.rsplit(":", 1)[0])
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host_header}",
        "User-Agent: zero.downtime",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    message = "\r\n".join(lines) + "\r\n\r\n"
    phase = "connect"
    try:
        sock = connect((hostname, port), timeout=at_most(connect_timeout))
        try:
            if secure:
                phase = "tls"
                sock.settimeout(at_most(connect_timeout))
                sock = (context or ssl.create_default_context()).wrap_socket(sock, server_hostname=certified)
            phase = "answer"
            sock.settimeout(at_most(read_timeout))
            sock.sendall(message.encode("utf-8"))
            with http.client.HTTPResponse(_Readable(sock, clock() + at_most(read_timeout), clock), method="GET") as response:  # type: ignore[arg-type]
                response.begin()
                got = {name.lower(): value for name, value in response.getheaders()}
                body = response.read(BODY_LIMIT)
                # read(n) returns less without a word when the connection ends early; what is left of content-length tells.
                if response.length and len(body) < BODY_LIMIT:
                    return Answer(response.status, got, error=f"answered {response.status}, but its body is cut short by {response.length} bytes")
                return Answer(response.status, got, body.decode("utf-8", "replace"))
        finally:
            sock.close()
    except socket.timeout:
        if phase == "answer":
            return Answer(error=f"{where} did not answer within {_seconds(read_timeout)} s", timed_out=True)
        return Answer(error=f"{where} did not accept a connection within {_seconds(connect_timeout)} s", timed_out=True)
    except ConnectionRefusedError:
        return Answer(error=f"{where} refused the connection")
    except socket.gaierror as exc:
        return Answer(error=f"{hostname} cannot be resolved ({exc.strerror})")
    except ssl.SSLError as exc:
        return Answer(error=f"{where} failed the TLS handshake ({getattr(exc, 'verify_message', None) or exc.reason or exc})")
    except http.client.RemoteDisconnected:
        # Before ConnectionResetError, of which http.client makes it a kind.
        return Answer(error=f"{where} closed the connection without an answer")
    except ConnectionResetError:
        return Answer(error=f"{where} reset the connection")
    except http.client.HTTPException as exc:
        return Answer(error=f"{where} did not answer in HTTP ({type(exc).__name__}: {str(exc)[:80]})")
    except ValueError as exc:
        # A name that no resolver or certificate can have, such as one with an empty label.
        return Answer(error=f"{where} cannot be asked ({exc})")
    except OSError as exc:
        return Answer(error=f"{where} cannot be reached ({exc.strerror or exc})")


def json_field(body: str, path: str | None) -> t.Any:
    """A value of a JSON answer by its dotted path; the whole answer without one. None when it is not there."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    for key in (path or "").split(".") if path else []:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value
