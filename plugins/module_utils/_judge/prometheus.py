# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Prometheus, or anything that speaks its HTTP API, for the values of a query. From the controller, over GET alone.

What the API answers is described at https://prometheus.io/docs/prometheus/latest/querying/api. Each way in which asking fails is one sentence, without
the secrets that were sent along.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import time
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils import urls
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer, NoSeries, shown_url

# Prometheus gives 11,000 points of a series at most; a page of something else is not read to its end.
BODY_LIMIT = 8 * 1024 * 1024
CHUNK = 65536
# So much of a query, or of what was answered, is shown in a sentence.
SHOWN = 200
# A header's value that is shorter is a name, such as a tenant's, not a secret.
SECRET = 8


class Prometheus:
    """A server that is asked. Nothing is sent before the first question.

    @param url: where its API is, without C(/api/v1)
    @param headers: sent with each question, to this server only
    @param token: for C(Authorization: Bearer)
    @param username, password: for HTTP basic authentication, in place of the token
    @param timeout: seconds, for the connection, for each silence, and for the whole answer
    @param ca_path: a file of certificates to trust in place of the system's
    @param name: the option that C(url) was given in
    @raise DowntimeError: for a URL, a header or a secret that cannot be sent
    """

    def __init__(self, url: str, headers: t.Mapping[str, str] | None = None, token: str | None = None, username: str | None = None,
                 password: str | None = None, timeout: float = 10.0, validate_certs: bool = True, ca_path: str | None = None, name: str = "prometheus.url",
                 open_url: t.Callable[..., t.Any] = urls.open_url, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.url = _checked(url, name)
        # Of a header "Bearer ..." the second word alone is a secret, too.
        parts = [part for value in (headers or {}).values() for part in (str(value), *str(value).split())]
        self._secrets = [part for part in parts if len(part) >= SECRET] + [secret for secret in (token, password) if secret]
        self._headers = {"Accept": "application/json", **{str(header): str(value) for header, value in (headers or {}).items()}}
        if username is not None:
            if token is not None:
                raise DowntimeError("%s: a token and a user name are given; one of them is accepted" % name)
            if ":" in username:
                raise DowntimeError("%s: the user name %s has a colon, which basic authentication cannot carry" % (name, username))
            self._secrets.append(base64.b64encode(("%s:%s" % (username, password or "")).encode()).decode("ascii"))
            self._headers["Authorization"] = "Basic " + self._secrets[-1]
        elif token is not None:
            self._headers["Authorization"] = "Bearer " + token
        for header, value in self._headers.items():
            if not (header + value).isprintable() or not (header + value).isascii():
                raise DowntimeError("%s: the header %r, or the secret in it, has characters that a header cannot carry, such as the end of a line" % (
                    name, header))
        if ca_path is not None and not os.path.isfile(ca_path):
            raise DowntimeError("%s: there is no file of certificates %s" % (name, ca_path))
        self._timeout, self._validate, self._ca_path = timeout, validate_certs, ca_path
        self._open, self._clock = open_url, clock

    def series(self, query: str, start: float, end: float, step: float) -> list[float]:
        """The values of the one series that the query answers, in order of time. What is no number, or none that is finite, is nan.

        @param start, end: seconds since the epoch
        @param step: seconds from one value to the next, at least 0.001; where nothing was measured there is no value
        @raise NoSeries: when nothing answers the query
        @raise NoAnswer: when nobody is there
        @raise DowntimeError: for whatever else keeps the values from us
        """
        if not step >= 0.001 or not start <= end:
            raise DowntimeError("a step of %g s from %.3f to %.3f has no point; from the earlier to the later time, in steps of at least 0.001 s, is accepted"
                                % (step, start, end))
        kind, result = self._ask("query_range", query, start="%.3f" % start, end="%.3f" % end, step="%.3f" % step)
        if kind != "matrix":
            raise DowntimeError(self._about(query, "is answered by a %s where values over time are needed" % kind))
        return [_number(value) for _time, value in self._only(query, result)["values"]]

    def value(self, query: str, at: float | None = None) -> float:
        """The one value that the query answers; nan for what is no number, or none that is finite.

        @param at: seconds since the epoch; now, by the server's clock, unless given
        @raise NoSeries, NoAnswer, DowntimeError: as C(series)
        """
        kind, result = self._ask("query", query, **({} if at is None else {"time": "%.3f" % at}))
        if kind == "scalar":
            return _number(result[1])
        if kind != "vector":
            raise DowntimeError(self._about(query, "is answered by a %s where one value is needed" % kind))
        return _number(self._only(query, result)["value"][1])

    def _only(self, query: str, result: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        if not result:
            raise NoSeries(self._about(query, "answers no series"))
        if len(result) > 1:
            raise DowntimeError(self._about(query, "answers %d series where one is needed, such as %s and %s; sum() or the like makes one of them" % (
                len(result), *(_labels(one["metric"]) for one in result[:2]))))
        return result[0]

    def _ask(self, endpoint: str, query: str, **parameters: str) -> tuple[str, t.Any]:
        """The kind of the answer, and the answer."""
        if not isinstance(query, str) or not query.strip():
            raise DowntimeError("the query for %s is %r; an expression of PromQL is accepted" % (shown_url(self.url), query))
        address = "%s/api/v1/%s?%s" % (self.url, endpoint, urllib.parse.urlencode(dict(parameters, query=query)))
        try:
            with self._open(address, headers=self._headers, unredirected_headers=list(self._headers), method="GET", timeout=self._timeout,
                            validate_certs=self._validate, ca_path=self._ca_path, decompress=False, use_netrc=False) as response:
                answer = self._parsed(self._read(response))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(query, error) from error
        except (OSError, http.client.HTTPException, urls.ConnectionError) as error:
            raise NoAnswer(self._clean("%s cannot be reached: %s" % (shown_url(self.url), _reason(error, self._timeout)))) from error
        if answer.get("status") != "success":
            raise DowntimeError(self._about(query, "is refused: " + _said(answer)))
        try:
            return answer["data"]["resultType"], answer["data"]["result"]
        except (KeyError, TypeError) as error:
            raise DowntimeError("%s answers with success and without a result, which is not Prometheus' way" % shown_url(self.url)) from error

    def _read(self, response: t.Any) -> bytes:
        found, until = bytearray(), self._clock() + self._timeout
        while True:
            part = response.read1(CHUNK)
            found += part
            if not part:
                break
            if len(found) > BODY_LIMIT:
                raise DowntimeError("%s answers with more than %d MiB, which is no answer to a query of one series" % (shown_url(self.url), BODY_LIMIT >> 20))
            if self._clock() > until:
                raise TimeoutError
        length = response.headers.get("Content-Length") or ""
        if length.isdigit() and len(found) < int(length):
            raise http.client.IncompleteRead(bytes(found), int(length) - len(found))
        return bytes(found)

    def _parsed(self, body: bytes) -> dict[str, t.Any]:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise DowntimeError(self._clean("%s answers with what is not JSON (%s); is it the URL of a Prometheus?" % (
                shown_url(self.url), _line(body.decode("utf-8", "replace")) or "nothing")))
        return answer

    def _refusal(self, query: str, error: urllib.error.HTTPError) -> DowntimeError:
        """Prometheus refuses with a status and a reason in JSON; what stands before it, with a status alone."""
        try:
            answer = json.loads(error.read(CHUNK))
        except (ValueError, OSError, http.client.HTTPException):
            answer = None
        if isinstance(answer, dict) and answer.get("status") == "error":
            return DowntimeError(self._about(query, "is refused: " + _said(answer)))
        hint = "; the token or the user name and password are not accepted" if error.code in (401, 403) else ""
        return DowntimeError(self._clean("%s answers %d %s%s" % (shown_url(self.url), error.code, error.reason, hint)))

    def _about(self, query: str, what: str) -> str:
        return self._clean("the query %s %s (%s)" % (_line(query), what, shown_url(self.url)))

    def _clean(self, text: str) -> str:
        """No secret is repeated, even by a server that repeats it."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "********")
        return text


def _checked(url: t.Any, name: str) -> str:
    if not isinstance(url, str):
        raise DowntimeError("%s is %r; an http or https URL is accepted, such as https://prometheus.example:9090" % (name, url))
    try:
        parts = urllib.parse.urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0) and not parts.query
    except ValueError:
        raise DowntimeError("%s is no URL; such as https://prometheus.example:9090 is accepted" % name) from None
    if "@" in parts.netloc:
        raise DowntimeError("%s has a user or a password in the URL (%s); they are accepted beside it, where they are not logged" % (name, shown_url(url)))
    if not is_good or not url.isprintable() or " " in url:
        raise DowntimeError("%s is %s; an http or https URL without a query is accepted, such as https://prometheus.example:9090" % (
            name, _line(shown_url(url))))
    return url.rstrip("/")


def _reason(error: BaseException, timeout: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError) or "timed out" in str(reason):
        return "no answer within %g s" % timeout
    if isinstance(reason, OSError) and reason.strerror and not hasattr(reason, "verify_message"):
        return reason.strerror
    return _line(str(reason)) or type(reason).__name__


def _said(answer: t.Mapping[str, t.Any]) -> str:
    return _line(str(answer.get("error") or "")) or "without a reason"


def _line(text: str) -> str:
    """The first line, cut to what a sentence can hold."""
    first = text.strip().split("\n", 1)[0].strip()
    return first if len(first) <= SHOWN else first[:SHOWN] + "..."


def _labels(metric: t.Mapping[str, str]) -> str:
    return "{%s}" % ", ".join("%s=%s" % (name, json.dumps(value)) for name, value in sorted(metric.items()))


def _number(text: t.Any) -> float:
    """What Prometheus writes as text: NaN, +Inf and -Inf too, which no judge can weigh."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan
