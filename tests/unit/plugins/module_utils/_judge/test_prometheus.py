# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus and what stands before it may say, from a real HTTP server."""

from __future__ import annotations

import http.server
import json
import math
import socket
import threading
import time
import urllib.parse

import pytest
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer, NoSeries
from ansible_collections.zero.downtime.plugins.module_utils._judge.prometheus import Prometheus

TOKEN = "s3cret-token"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answer(self)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.daemon_threads = True
        found.asked = []
        found.url = "http://127.0.0.1:%d" % found.server_port
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def _send(status, body, **headers):
    def answer(handler):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)
    return answer


def _success(kind, result):
    return _send(200, {"status": "success", "data": {"resultType": kind, "result": result}})


def _asked(server):
    path, headers = server.asked[-1]
    parts = urllib.parse.urlsplit(path)
    return parts.path, dict(urllib.parse.parse_qsl(parts.query)), headers


def _refused(action):
    with pytest.raises(DowntimeError) as failure:
        action()
    sentence = str(failure.value)
    assert "\n" not in sentence and TOKEN not in sentence
    return sentence


def test_a_series(server):
    server.answer = _success("matrix", [{"metric": {"job": "shop"}, "values": [[1, "0.5"], [16, "1e3"], [31, "NaN"], [46, "+Inf"], [61, "-Inf"]]}])
    found = Prometheus(server.url + "/").series('rate(x{a="ä b&c"}[1m])', 1, 61, 15)
    assert found[:2] == [0.5, 1000.0] and all(math.isnan(one) for one in found[2:]) and len(found) == 5
    path, query, headers = _asked(server)
    assert path == "/api/v1/query_range" and query == {"query": 'rate(x{a="ä b&c"}[1m])', "start": "1.000", "end": "61.000", "step": "15.000"}
    assert "Authorization" not in headers


@pytest.mark.parametrize("kind, result, value", [("vector", [{"metric": {}, "value": [1, "0.25"]}], 0.25), ("scalar", [1, "3"], 3.0)])
def test_a_value(server, kind, result, value):
    server.answer = _success(kind, result)
    assert Prometheus(server.url + "/prometheus").value("x", at=12.5) == value
    assert _asked(server)[:2] == ("/prometheus/api/v1/query", {"query": "x", "time": "12.500"})
    Prometheus(server.url).value("x")
    assert _asked(server)[1] == {"query": "x"}


def test_a_value_that_is_no_number(server):
    server.answer = _success("vector", [{"metric": {}, "value": [1, "NaN"]}])
    assert math.isnan(Prometheus(server.url).value("x"))


def test_nothing_answers(server):
    server.answer = _success("matrix", [])
    with pytest.raises(NoSeries) as failure:
        Prometheus(server.url).series("x", 1, 2, 1)
    assert str(failure.value) == "the query x answers no series (%s)" % server.url
    server.answer = _success("vector", [])
    with pytest.raises(NoSeries):
        Prometheus(server.url).value("x")


def test_several_answer(server):
    server.answer = _success("vector", [{"metric": {"job": "shop", "instance": "a:%d" % number}, "value": [1, "1"]} for number in range(3)])
    assert _refused(lambda: Prometheus(server.url).value("up")) == (
        'the query up answers 3 series where one is needed, such as {instance="a:0", job="shop"} and {instance="a:1", job="shop"}; '
        'sum() or the like makes one of them (%s)' % server.url)


@pytest.mark.parametrize("kind, result", [("string", [1, "x"]), ("matrix", [])])
def test_the_wrong_kind_of_answer(server, kind, result):
    server.answer = _success(kind, result)
    assert "is answered by a %s where one value is needed" % kind in _refused(lambda: Prometheus(server.url).value("x"))
    server.answer = _success("vector", [])
    assert "is answered by a vector where values over time are needed" in _refused(lambda: Prometheus(server.url).series("x", 1, 2, 1))


@pytest.mark.parametrize("status", [400, 422, 503, 200])
def test_prometheus_refuses_in_its_own_words(server, status):
    server.answer = _send(status, {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unexpected <EOF>\nand more"})
    assert _refused(lambda: Prometheus(server.url).value("sum(")) == "the query sum( is refused: 1:5: parse error: unexpected <EOF> (%s)" % server.url


@pytest.mark.parametrize("status, body, sentence", [
    (502, b"<html>bad</html>", " answers 502 Bad Gateway"), (404, b"", " answers 404 Not Found"), (500, b"[1]", " answers 500 Internal Server Error"),
    (401, b"", " answers 401 Unauthorized; the token or the user name and password are not accepted"),
    (403, b"{}", " answers 403 Forbidden; the token or the user name and password are not accepted"),
    (200, b"<html>Grafana</html>\n<body>", " answers with what is not JSON (<html>Grafana</html>); is it the URL of a Prometheus?"),
    (200, b"", " answers with what is not JSON (nothing); is it the URL of a Prometheus?"),
    (200, b'{"status": "success"}', " answers with success and without a result, which is not Prometheus' way"),
])
def test_what_stands_before_prometheus_answers(server, status, body, sentence):
    server.answer = _send(status, body)
    assert _refused(lambda: Prometheus(server.url, token=TOKEN).value("x")) == server.url + sentence


def test_bearer_token_and_headers(server):
    server.answer = _success("scalar", [1, "1"])
    Prometheus(server.url, headers={"X-Scope-OrgID": "shop"}, token=TOKEN).value("x")
    headers = _asked(server)[2]
    assert headers["Authorization"] == "Bearer " + TOKEN and {name.lower(): value for name, value in headers.items()}["x-scope-orgid"] == "shop"


def test_basic_authentication(server):
    server.answer = _success("scalar", [1, "1"])
    Prometheus(server.url, username="Aladdin", password="open sesame").value("x")
    # The example of RFC 7617.
    assert _asked(server)[2]["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.claim("prometheus-secrets-stay")
def test_a_server_that_repeats_a_secret_is_not_quoted(server):
    server.answer = _send(400, {"status": "error", "error": "what is Bearer %s?" % TOKEN})
    assert "what is Bearer ********?" in _refused(lambda: Prometheus(server.url, token=TOKEN).value("x"))
    headers = {"Authorization": "Bearer " + TOKEN, "X-Scope-OrgID": "shop"}
    assert "the query shop_up is refused: what is ********?" in _refused(lambda: Prometheus(server.url, headers=headers).value("shop_up"))


def test_secrets_go_to_nobody_else(server):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        other.asked = []
        other.answer = _success("scalar", [1, "7"])
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.answer = _send(302, b"", Location="http://127.0.0.1:%d/api/v1/query?query=x" % other.server_port)
        assert Prometheus(server.url, headers={"X-Key": "k3y"}, token=TOKEN).value("x") == 7
        other.shutdown()
        thread.join()
    sent = {name.lower() for name in _asked(other)[2]}
    assert "authorization" not in sent and "x-key" not in sent


def test_nobody_is_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % taken.getsockname()[1]
        with pytest.raises(NoAnswer) as failure:
            Prometheus(url, token=TOKEN).value("x")
    assert str(failure.value) == url + " cannot be reached: Connection refused"


def test_a_name_that_nobody_has():
    assert " cannot be reached: " in _refused(lambda: Prometheus("http://prometheus.invalid:9090").value("x"))


def test_silence(server):
    until = threading.Event()
    server.answer = lambda handler: until.wait(10)
    try:
        with pytest.raises(NoAnswer) as failure:
            Prometheus(server.url, timeout=0.2).value("x")
    finally:
        until.set()
    assert str(failure.value) == server.url + " cannot be reached: no answer within 0.2 s"


def test_an_answer_that_drips(server):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.02)
        except OSError:
            pass
    server.answer = answer
    with pytest.raises(NoAnswer, match="no answer within 0.3 s"):
        Prometheus(server.url, timeout=0.3).value("x")


def test_an_answer_that_ends_too_early(server):
    server.answer = _send(200, b'{"status": "success"', Content_Length="1000")
    assert "cannot be reached: IncompleteRead" in _refused(lambda: Prometheus(server.url).value("x"))


def test_an_answer_without_end(server):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 1000000)
        except OSError:
            pass
    server.answer = answer
    assert "answers with more than 8 MiB" in _refused(lambda: Prometheus(server.url).value("x"))


@pytest.mark.parametrize("url, sentence", [
    ("prometheus:9090", "judge.url is prometheus:9090; an http or https URL without a query is accepted, such as https://prometheus.example:9090"),
    ("http://", "judge.url is http://; an http or https URL without a query is accepted, such as https://prometheus.example:9090"),
    ("http://h/?a=b", "judge.url is http://h/; an http or https URL without a query is accepted, such as https://prometheus.example:9090"),
    ("http://h:99999", "judge.url is no URL; such as https://prometheus.example:9090 is accepted"), (None, None), (7, None), ("http://h\n", None),
    ("http://me:%s@h:9090" % TOKEN, "judge.url has a user or a password in the URL (http://h:9090); they are accepted beside it, where they are not logged"),
])
def test_urls_that_cannot_be_meant(url, sentence):
    found = _refused(lambda: Prometheus(url, name="judge.url"))
    assert found == sentence if sentence else found.startswith("judge.url ")


@pytest.mark.parametrize("options, sentence", [
    ({"token": TOKEN, "username": "me"}, "a token and a user name are given; one of them is accepted"),
    ({"username": "me:you"}, "the user name me:you has a colon"), ({"token": TOKEN + "\n"}, "the header 'Authorization', or the secret in it"),
    ({"headers": {"X-Key": "ä"}}, "the header 'X-Key', or the secret in it"), ({"ca_path": "/nowhere.pem"}, "there is no file of certificates /nowhere.pem"),
])
def test_options_that_cannot_be_sent(options, sentence):
    assert _refused(lambda: Prometheus("http://h", **options)).startswith("prometheus.url: " + sentence)


@pytest.mark.parametrize("query", ["", " ", None, 7])
def test_no_query(query):
    assert "an expression of PromQL is accepted" in _refused(lambda: Prometheus("http://h").value(query))


@pytest.mark.parametrize("start, end, step", [(2, 1, 1), (1, 2, 0), (1, 2, -1), (math.nan, 1, 1), (1, 2, math.nan)])
def test_no_points(start, end, step):
    assert "has no point" in _refused(lambda: Prometheus("http://h").series("x", start, end, step))


def test_a_long_query_is_cut():
    assert len(_refused(lambda: Prometheus("http://127.0.0.1:1")._only("x" * 9999, [{"metric": {}}] * 2))) < 500
