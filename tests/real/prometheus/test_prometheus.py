# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus, with TLS and a password, that scrapes an exporter whose numbers the test moves."""

from __future__ import annotations

import http.server
import json
import math
import random
import shutil
import subprocess
import threading
import time

import pytest
from haproxy_stage import free_port, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer, NoSeries
from ansible_collections.zero.downtime.plugins.module_utils._judge import judge as _judge
from ansible_collections.zero.downtime.plugins.module_utils._judge.prometheus import Prometheus

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None or shutil.which("openssl") is None, reason="needs the packages prometheus and openssl")

USER, PASSWORD = "judge", "open sesame"
# Of the password, made with the fewest rounds.
BCRYPT = "$2b$04$2ka2g3ODcsUtvs.FS2.yb.JXkK.mSoACub3UPXnQrMJouvY7i9N/S"
EVERY = 0.1


class Exporter(http.server.BaseHTTPRequestHandler):
    """Counters of requests and a latency for each side; a new latency at each scrape."""

    def do_GET(self):
        shop = self.server.shop
        lines = ["shop_requests_total{side=\"%s\"} %d" % one for one in shop["requests"].items()]
        lines += ["shop_latency_seconds{side=\"%s\"} %r" % (side, factor * shop["draw"].lognormvariate(-3, 0.2)) for side, factor in shop["factor"].items()]
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def shop():
    """What the exporter tells, to be moved."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter) as server:
        server.daemon_threads = True
        server.shop = {"requests": {"canary": 0, "baseline": 0}, "factor": {"canary": 1.0, "baseline": 1.0, "slow": 2.0}, "draw": random.Random(7),
                       "port": server.server_port}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.shop
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def place(shop, tmp_path_factory):
    """The URL of a Prometheus that scrapes the shop ten times a second, and the certificate that it shows."""
    room = tmp_path_factory.mktemp("prometheus")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=prometheus",
                    "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", str(room / "key.pem"), "-out", str(room / "cert.pem")], check=True, capture_output=True)
    (room / "web.yml").write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {%s: %s}\n" % (USER, BCRYPT),
                                  encoding="ascii")
    (room / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "%dms" % (EVERY * 1000), "scrape_timeout": "%dms" % (EVERY * 1000)},
        "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": ["127.0.0.1:%d" % shop["port"]]}]}]}), encoding="ascii")
    port = free_port()
    with open(room / "prometheus.log", "wb") as log:
        process = subprocess.Popen([str(PROMETHEUS), "--config.file=%s" % (room / "prometheus.yml"), "--web.config.file=%s" % (room / "web.yml"),
                                    "--storage.tsdb.path=%s" % (room / "data"), "--web.listen-address=127.0.0.1:%d" % port],
                                   stdout=log, stderr=subprocess.STDOUT)
    url = "https://127.0.0.1:%d" % port
    try:
        asking = Prometheus(url, username=USER, password=PASSWORD, ca_path=str(room / "cert.pem"))
        try:
            wait_until(lambda: _ask(asking, 'shop_requests_total{side="canary"}') is not None, "Prometheus has scraped", timeout=60)
        except AssertionError as late:
            raise AssertionError("%s\n%s" % (late, (room / "prometheus.log").read_text(encoding="utf-8"))) from late
        yield url, str(room / "cert.pem")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ask(prometheus, query):
    """None as long as nothing answers."""
    try:
        return prometheus.value(query)
    except (NoAnswer, NoSeries):
        return None
    except DowntimeError as error:
        # While it reads what it stored.
        if "503" in str(error):
            return None
        raise


@pytest.fixture
def prometheus(place):
    url, certificate = place
    return Prometheus(url, username=USER, password=PASSWORD, ca_path=certificate)


def test_a_counter_that_moves_is_seen_to_move(shop, prometheus):
    query = 'shop_requests_total{side="canary"}'
    wait_until(lambda: _ask(prometheus, query) == 0, "the counter is known")
    began = time.time()
    wait_until(lambda: prometheus.value(query, at=began) == 0, "the begin is stored")
    for total in (7, 19):
        shop["requests"]["canary"] = total
        wait_until(lambda wanted=total: _ask(prometheus, query) == wanted, "the counter has moved to %d" % total)
    # The last point of a range lies up to a step before its end.
    wait_until(lambda: prometheus.series(query, began, time.time(), EVERY)[-1] == 19.0, "the last point has it")
    found = prometheus.series(query, began, time.time(), EVERY)
    assert found == sorted(found) and set(found) == {0.0, 7.0, 19.0}
    assert prometheus.value(query, at=began) == 0
    # One of all sides, and a rate as the judge would be given it.
    assert prometheus.value("sum(shop_requests_total)") == 19
    assert prometheus.value("increase(%s[1m])" % query) > 0


def test_a_target_that_is_gone(shop, prometheus):
    wait_until(lambda: _ask(prometheus, 'up{job="shop"}') == 1, "it is up")
    with pytest.raises(NoSeries, match=r'the query up\{job="nobody"\} answers no series \(https://127\.0\.0\.1:\d+\)$'):
        prometheus.series('up{job="nobody"}', time.time() - 5, time.time(), 1)


def test_what_is_no_number(prometheus):
    for query in ("vector(0) / 0", "vector(1) / 0", "vector(-1) / 0", "0 / 0"):
        assert math.isnan(prometheus.value(query)), query
    assert all(math.isnan(one) for one in prometheus.series("vector(0) / 0", time.time() - 1, time.time(), 0.5))


@pytest.mark.claim("prometheus-own-words")
@pytest.mark.parametrize("query, sentence", [
    ("sum(", "is refused: invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"),
    ("shop_requests_total", "answers 2 series where one is needed, such as {__name__=\"shop_requests_total\""),
    ("shop_requests_total[1m]", "is answered by a matrix where one value is needed"),
    ("'text'", "is answered by a string where one value is needed"),
])
def test_a_query_that_is_no_good(prometheus, query, sentence):
    with pytest.raises(DowntimeError) as failure:
        prometheus.value(query)
    assert sentence in str(failure.value) and "\n" not in str(failure.value) and PASSWORD not in str(failure.value)


def test_more_points_than_prometheus_gives(prometheus):
    with pytest.raises(DowntimeError, match="is refused: exceeded maximum resolution of 11,000 points"):
        prometheus.series("up", time.time() - 20000, time.time(), 1)


@pytest.mark.claim("prometheus-own-authority")
def test_a_wrong_password_and_a_certificate_that_nobody_vouches_for(place):
    url, certificate = place
    with pytest.raises(DowntimeError) as failure:
        Prometheus(url, username=USER, password="guessed", ca_path=certificate).value("up")
    assert str(failure.value) == url + " answers 401 Unauthorized; the token or the user name and password are not accepted"
    with pytest.raises(NoAnswer, match="cannot be reached: .*certificate verify failed"):
        Prometheus(url, username=USER, password=PASSWORD).value("up")
    assert Prometheus(url, username=USER, password=PASSWORD, validate_certs=False).value("vector(3)") == 3


def test_the_judge_decides_from_what_prometheus_measured(prometheus):
    """Latencies of the last seconds: the canary's are as the baseline's, the slow one's are twice as long."""
    def latencies(side):
        return prometheus.series('shop_latency_seconds{side="%s"}' % side, began, ended, EVERY)

    began = time.time()
    wait_until(lambda: prometheus.value('count_over_time(shop_latency_seconds{side="slow"}[10m])') > 45 and time.time() - began > 4,
               "they are measured", timeout=30)
    ended = time.time()
    verdicts = {}
    for side in ("canary", "slow"):
        look = {"canary": {"requests": 100, "errors": 0, "metrics": {"latency": latencies(side)}},
                "baseline": {"requests": 100, "errors": 0, "metrics": {"latency": latencies("baseline")}}}
        # So sure that chance cannot fail this test.
        found = _judge.judge([look], {"metrics": {"latency": {"critical": True}}, "confidence": 0.99999})
        verdicts[side] = found["verdict"]
        assert found["metrics"][0]["canary_samples"] >= 35
    assert verdicts == {"canary": "pass", "slow": "fail"}
