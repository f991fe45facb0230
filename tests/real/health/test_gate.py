# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health gate against real servers that are slow, dead, restarted, redirecting, or behind TLS."""

from __future__ import annotations

import contextlib
import http.server
import pathlib
import shutil
import ssl
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from haproxy_stage import free_port, get, wait_until

from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health

APP = pathlib.Path(__file__).resolve().parent.parent / "loopback_app.py"


@contextlib.contextmanager
def app(port: int, *options: str) -> t.Iterator[str]:
    process = subprocess.Popen([sys.executable, str(APP), "--port", str(port), *options], stdin=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def gate(urls: dict[str, str], **options: t.Any) -> dict[str, t.Any]:
    params = {name: option.get("default") for name, option in _health.argument_spec().items()}
    params.update(members=[dict(name=name, url=url) for name, url in urls.items()], timeout=10, interval=0.05)
    params.update(options)
    return _health.run(params)


def test_waits_until_all_are_warm_and_asks_them_at_once() -> None:
    first, second = free_port(), free_port()
    with app(first) as one, app(second) as two:
        wait_until(lambda: get(two + "/health"), "it answers")
        started = time.monotonic()
        get(two + "/ctl?warm=800")
        result = gate({"app1": one + "/ready", "app2": two + "/ready"}, header="x-release", digest="0" * 64)
        assert "failed" not in result, result["msg"]
        assert time.monotonic() - started > 0.8
        assert [member["ok"] for member in result["members"]] == [True, True]


@pytest.mark.claim("answers-with-the-new-digest")
def test_the_old_release_does_not_pass_although_it_is_healthy() -> None:
    port = free_port()
    with app(port, "--digest", "a" * 64) as url:
        wait_until(lambda: get(url + "/health"), "it answers")
        result = gate({"app1": url + "/ready"}, header="x-release", digest="b" * 64, timeout=1)
        assert result["failed"] is True
        assert f"app1 last answered 200 with x-release '{'a' * 64}' instead of '{'b' * 64}'" in result["msg"]
    with app(port, "--digest", "b" * 64) as url:
        assert "failed" not in gate({"app1": url + "/ready"}, header="x-release", digest="sha256:" + "b" * 64)


def test_dead_silent_and_hanging_members_are_told_apart() -> None:
    with app(free_port()) as url:
        wait_until(lambda: get(url + "/health"), "it answers")
        result = gate(
            {
                "slow": url + "/slow?ms=60000", "silent": url + "/?fault=silent", "cut": url + "/?fault=truncate",
                "dead": f"http://127.0.0.1:{free_port()}/", "good": url + "/ready",
            },
            timeout=6, read_timeout=1.5)
    details = {member["name"]: member["detail"] for member in result["members"]}
    assert "did not answer within 1.5 s" in details["slow"]
    assert "closed the connection without an answer" in details["silent"]
    assert "body is cut short" in details["cut"]
    assert "refused the connection" in details["dead"]
    assert details["good"] == "answered 200"
    assert result["msg"].startswith("4 of 5 members did not reach 3 passes in a row within 6 s: ")
    assert result["waited"] < 20


class Handler(http.server.BaseHTTPRequestHandler):
    followed = False

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        if self.path == "/elsewhere":
            Handler.followed = True
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: t.Any) -> None:  # pylint: disable=arguments-differ
        pass


@contextlib.contextmanager
def serve(context: ssl.SSLContext | None = None) -> t.Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.05))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_redirects_are_not_followed() -> None:
    with serve() as port:
        result = gate({"app1": f"http://127.0.0.1:{port}/moved"}, timeout=1)
    assert "answered 302 (a redirect to /elsewhere, which is not followed)" in result["msg"]
    assert Handler.followed is False


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificates_are_verified_unless_told_otherwise(tmp_path: pathlib.Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert),
         "-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serve(context) as port:
        url = f"https://127.0.0.1:{port}/ready"
        assert "failed the TLS handshake (self" in gate({"app1": url}, timeout=1)["msg"]
        assert "failed the TLS handshake" in gate({"app1": url}, timeout=1, ca_path=str(cert))["msg"]
        assert "failed" not in gate({"app1": url}, ca_path=str(cert), host="shop.example")
        assert "failed" not in gate({"app1": url}, validate_certs=False)
