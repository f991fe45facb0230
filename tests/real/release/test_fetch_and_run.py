# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases from real HTTP servers that lie, stall and redirect; a real service; a disk that is really full."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import typing as t

import pytest
from haproxy_stage import free_port

from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._artifact import service as _service
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

TOKEN = "Bearer of-a-secret"


def packed(label: str, extra: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, data in (("VERSION", label.encode()), ("data", extra)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


ARCHIVE = packed("1.0.0", os.urandom(300_000))
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()


class Store(http.server.BaseHTTPRequestHandler):
    """An artifact store with bad habits, chosen by path."""

    protocol_version = "HTTP/1.1"
    other = ""
    seen: list[tuple[str, t.Optional[str]]] = []

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        Store.seen.append((self.path, self.headers.get("Authorization")))
        getattr(self, kind.replace("-", "_"), self.missing)()

    def answer(self, body: bytes, status: int = 200, length: t.Optional[int] = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def good(self) -> None:
        if self.path.endswith("SUMS"):
            self.answer(f"{DIGEST}  shop-1.0.0.tar.gz\n{'b' * 64}  shop-2.0.0.tar.gz\n".encode())
        elif self.path.endswith("/shop-1.0.0.tar.gz"):
            self.answer(ARCHIVE)
        else:
            self.missing()

    def private(self) -> None:
        if self.headers.get("Authorization") == TOKEN:
            self.answer(ARCHIVE)
        else:
            self.answer(b"", 401)

    def missing(self) -> None:
        self.answer(b"no", 404)

    def short(self) -> None:
        self.answer(ARCHIVE[:1000], length=len(ARCHIVE))
        self.close_connection = True

    def short_sums(self) -> None:
        self.answer(b"x" * 10, length=100)
        self.close_connection = True

    def chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n" % len(ARCHIVE) + ARCHIVE[:1000])
        self.close_connection = True

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True

    def stall(self) -> None:
        self.answer(ARCHIVE[:1000], length=len(ARCHIVE))
        # Until the client has left.
        self.rfile.read(1)
        self.close_connection = True

    def drip(self) -> None:
        self.answer(b"", length=len(ARCHIVE))
        # Until the client has left.
        for number in range(len(ARCHIVE)):
            try:
                self.wfile.write(b"x")
            except OSError:
                break
            time.sleep(0.1)
        self.close_connection = True

    def elsewhere(self) -> None:
        self.answer(b"", 302, Location=Store.other + "/good/shop-1.0.0.tar.gz")

    def here(self) -> None:
        self.answer(b"", 302, Location="/private/shop-1.0.0.tar.gz")

    def loop(self) -> None:
        self.answer(b"", 302, Location="/loop/shop-1.0.0.tar.gz")

    def to_file(self) -> None:
        self.answer(b"", 302, Location="ftp://127.0.0.1/etc/passwd")

    def log_message(self, *args: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def store() -> t.Iterator[str]:
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) for dummy in range(2)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    Store.other = f"http://127.0.0.1:{servers[1].server_port}"
    yield f"http://127.0.0.1:{servers[0].server_port}"
    for server in servers:
        server.shutdown()
        server.server_close()


def call(root: pathlib.Path, state: str, release: t.Optional[str] = None, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    params = {name: option.get("default") for name, option in _release.argument_spec().items()}
    params.update(root=str(root), state=state, release=release)
    for name, spec in (("artifact", _release.artifact_spec()), ("service", _release.service_spec()), ("running", _release.running_spec())):
        if name in options:
            options[name] = dict({key: option.get("default") for key, option in spec.items()}, **options[name])
    params.update(options)
    return _release.run(params, check)


def artifact(url: str, kind: str, **more: t.Any) -> dict[str, t.Any]:
    return dict({"url": f"{url}/{kind}/shop-1.0.0.tar.gz", "digest": DIGEST, "timeout": 0.5}, **more)


def empty(root: pathlib.Path) -> bool:
    return not (root / "releases").exists() or not (os.listdir(root / "releases") or os.listdir(root / ".releases/tmp"))


@pytest.mark.claim("label-to-digest")
def test_label_checksums_and_archive_over_http(store: str, tmp_path: pathlib.Path) -> None:
    options = {"url": f"{store}/good/shop-1.0.0.tar.gz", "checksums": f"{store}/good/SHA256SUMS"}
    assert call(tmp_path / "srv", "staged", "1.0.0", check=True, artifact=options)["changed"]
    assert not (tmp_path / "srv").exists()
    result = call(tmp_path / "srv", "staged", "1.0.0", artifact=options)
    assert result["changed"] and result["release"] == {"label": "1.0.0", "digest": DIGEST}
    assert not call(tmp_path / "srv", "staged", "1.0.0", artifact=options)["changed"]


@pytest.mark.claim("release-by-digest")
def test_release_named_by_digest(store: str, tmp_path: pathlib.Path) -> None:
    options = {"url": f"{store}/good/shop-{DIGEST}.tar.gz", "checksums": f"{store}/good/SHA256SUMS"}
    assert call(tmp_path / "srv", "staged", DIGEST, artifact=options)["release"]["label"] == "1.0.0"


def test_known_digest_is_all_that_is_asked_for(store: str, tmp_path: pathlib.Path) -> None:
    Store.seen.clear()
    call(tmp_path / "srv", "staged", "1.0.0", artifact=artifact(store, "good", checksums=f"{store}/good/SHA256SUMS"))
    assert [path for path, dummy in Store.seen] == ["/good/shop-1.0.0.tar.gz"]


@pytest.mark.parametrize("label, kind, sums, sentence", [
    ("7", "good", "good/SUMS", "release 7 is unknown: artifact.checksums .* has no line for shop-7.tar.gz; it knows 1.0.0, 2.0.0"),
    ("1.0.0", "good", "missing/SUMS", "artifact.checksums: .*/missing/SUMS answers 404 Not Found"),
    ("1.0.0", "good", "short-sums/SUMS", "artifact.checksums: .*/short-sums/SUMS is truncated"),
    ("1.0.0", "good", "private/x", "artifact.checksums: .*/private/x answers 401"),
])
def test_bad_checksums(store: str, tmp_path: pathlib.Path, label: str, kind: str, sums: str, sentence: str) -> None:
    options = {"url": f"{store}/{kind}/shop-{label}.tar.gz", "checksums": f"{store}/{sums}", "timeout": 0.5}
    for check in (True, False):
        with pytest.raises(DowntimeError, match=sentence):
            call(tmp_path / "srv", "staged", label, check=check, artifact=options)
    assert not (tmp_path / "srv").exists()


@pytest.mark.parametrize("kind, sentence", [
    ("missing", "artifact.url: .*/missing/shop-1.0.0.tar.gz answers 404 Not Found"),
    ("short", "is truncated: 1000 bytes came, [0-9]+ are missing"),
    ("chunked", "cannot be fetched: IncompleteRead"),
    ("reset", "cannot be fetched: "),
    ("stall", r"sent nothing for 0.5 s \(artifact.timeout\)"),
    ("drip", r"took longer than 1 s \(artifact.deadline\)"),
    ("loop", "answers 302 "),
    ("to-file", "redirects to ftp://127.0.0.1/etc/passwd, which is less safe"),
    ("private", "answers 401"),
])
def test_bad_stores_leave_nothing_behind(store: str, tmp_path: pathlib.Path, kind: str, sentence: str) -> None:
    with pytest.raises(DowntimeError, match=sentence):
        call(tmp_path / "srv", "staged", "1.0.0", artifact=artifact(store, kind, deadline=1.0))
    assert empty(tmp_path / "srv")


def test_nobody_listens(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DowntimeError, match="http://127.0.0.1:1/x/shop-1.0.0.tar.gz cannot be fetched: .*Connection refused"):
        call(tmp_path / "srv", "staged", "1.0.0", artifact=artifact("http://127.0.0.1:1", "x"))


def test_another_archive_than_expected(store: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DowntimeError, match=f"has the sha256 {DIGEST} .{len(ARCHIVE)} bytes., but {'b' * 64} is expected: it was not unpacked"):
        call(tmp_path / "srv", "staged", "1.0.0", artifact=artifact(store, "good", digest="b" * 64))
    assert empty(tmp_path / "srv")


@pytest.mark.claim("artifact-headers-stay-secret")
def test_secrets_go_to_their_own_server_only(store: str, tmp_path: pathlib.Path) -> None:
    headers = {"authorization": TOKEN}
    Store.seen.clear()
    assert call(tmp_path / "one", "staged", "1.0.0", artifact=artifact(store, "here", headers=headers))["changed"]
    assert Store.seen == [("/here/shop-1.0.0.tar.gz", TOKEN), ("/private/shop-1.0.0.tar.gz", TOKEN)]
    Store.seen.clear()
    assert call(tmp_path / "two", "staged", "1.0.0", artifact=artifact(store, "elsewhere", headers=headers))["changed"]
    assert Store.seen == [("/elsewhere/shop-1.0.0.tar.gz", TOKEN), ("/good/shop-1.0.0.tar.gz", None)]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can make a small file system")
def test_full_disk(tmp_path: pathlib.Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    # From a file of this host: what a disk refuses has nothing to do with where the archive comes from.
    archive = tmp_path / "shop-1.0.0.tar.gz"
    archive.write_bytes(ARCHIVE)
    source = {"src": str(archive), "remote_src": True, "digest": DIGEST}
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=448k", "zero-downtime-test", str(small)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr}")
    try:
        # The archive fits, archive and tree together do not.
        with pytest.raises(DowntimeError, match="no space left on its file system .* inodes free.; what was half done has been removed"):
            call(small / "srv", "staged", "1.0.0", artifact=source)
        assert empty(small / "srv")
        assert call(small / "srv", "observed")["leftovers"] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


SERVICE = """
import http.server, os, sys
release = os.path.basename(os.path.realpath(sys.argv[1]))
if open(os.path.join(sys.argv[1], "VERSION")).read().endswith("-bad"):
    print("this release never comes up", flush=True)
    sys.exit(3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.send_header("x-release", release)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
if os.fork():
    os._exit(0)
open(sys.argv[3], "w").write(str(os.getpid()))
server.serve_forever()
"""


def test_a_real_service_is_restarted_and_read_back(tmp_path: pathlib.Path) -> None:
    port = str(free_port())
    root, pid, script = tmp_path / "srv", tmp_path / "pid", tmp_path / "service.py"
    script.write_text(SERVICE)
    digests = {}
    for label in ("1.0.0", "2.0.0", "3.0.0-bad"):
        (tmp_path / f"{label}.tar.gz").write_bytes(packed(label))
        digests[label] = hashlib.sha256((tmp_path / f"{label}.tar.gz").read_bytes()).hexdigest()
    for label, digest in digests.items():
        call(root, "staged", label, artifact={"src": str(tmp_path / f"{label}.tar.gz"), "remote_src": True, "digest": digest})
    options = {
        "service": {"start": [sys.executable, str(script), str(root / "current"), port, str(pid)],
                    "stop": ["sh", "-c", f"kill $(cat {pid}) || exit 1; while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.01; done"]},
        "running": {"url": f"http://127.0.0.1:{port}/", "timeout": 5},
    }
    try:
        first = call(root, "activated", "1.0.0", **options)
        assert first["restarted"] and first["running"]["digest"] == digests["1.0.0"] and first["running"]["status"] == 503
        alive = pid.read_text()
        again = call(root, "activated", "1.0.0", **options)
        assert not again["changed"] and pid.read_text() == alive
        second = call(root, "activated", "2.0.0", **options)
        assert second["running"]["digest"] == digests["2.0.0"] and second["active"]["label"] == "1.0.0"
        with pytest.raises(_service.ActivationError) as caught:
            call(root, "activated", "3.0.0-bad", **options)
        assert "failed with rc 3" in str(caught.value) and "this release never comes up" in str(caught.value)
        assert "pointed at 3.0.0-bad" in str(caught.value) and caught.value.details["rc"] == 3
        # Nothing runs now, so stop fails; that must not stand in the way back.
        back = call(root, "activated", "previous", **options)
        assert "stopping it did not succeed" in back["warnings"][0]
        assert back["release"]["label"] == "2.0.0" and back["running"]["digest"] == digests["2.0.0"]
        assert call(root, "stopped", **options)["changed"]
        assert call(root, "observed", running=options["running"])["running"]["digest"] is None
    finally:
        if pid.exists():
            try:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass
