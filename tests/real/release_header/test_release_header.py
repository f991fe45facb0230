# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of docs/release_header.md, each as it stands there: what says its release says another one when the link was moved and it was restarted."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import shutil
import subprocess
import sys
import typing as t
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import document  # noqa: E402  pylint: disable=wrong-import-position
import haproxy_stage  # noqa: E402  pylint: disable=wrong-import-position
import nginx_stage  # noqa: E402  pylint: disable=wrong-import-position
import playing  # noqa: E402  pylint: disable=wrong-import-position

DOCUMENT = playing.REPO / "docs/release_header.md"
OLD, NEW = (hashlib.sha256(name).hexdigest() for name in (b"old", b"new"))


class Root:
    """A root with two releases that hold the same file, and a link to one of them."""

    def __init__(self, place: pathlib.Path, name: str) -> None:
        self.place, self.port = place, haproxy_stage.free_port()
        self.link = place / "current"
        for digest in (OLD, NEW):
            release = place / "releases" / digest
            release.mkdir(parents=True)
            (release / name).write_text(document.files(document.blocks(DOCUMENT)).get(name, "hello\n"), encoding="utf-8")
        self.point(OLD)

    def point(self, digest: str) -> None:
        new = self.place / "next"
        new.symlink_to(f"releases/{digest}")
        new.rename(self.link)

    def said(self) -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            return answer.headers.get("x-release")

    @contextlib.contextmanager
    def running(self, argv: t.Sequence[str], **env: str) -> t.Iterator[None]:
        with open(self.place / "log", "ab") as log:
            process = subprocess.Popen(argv, cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        try:
            haproxy_stage.wait_until(lambda: self.said() is not None, "it answers", logs=self.place / "log")
            yield
        finally:
            process.terminate()
            process.wait(60)

    def restarts(self, argv: t.Sequence[str], **env: str) -> None:
        """It says the release that it runs, not the one that the link leads to; after a restart, these are the same."""
        with self.running(argv, **env):
            assert self.said() == OLD
            self.point(NEW)
            assert self.said() == OLD
        with self.running(argv, **env):
            assert self.said() == NEW


@pytest.mark.claim("release-header-examples")
def test_wsgi(tmp_path):
    root = Root(tmp_path, "app.py")
    argv = [sys.executable, "-m", "gunicorn", "--chdir", str(root.link), "--bind", f"127.0.0.1:{root.port}", "--no-control-socket", "app:application"]
    root.restarts(argv)
    with root.running(argv, RELEASE_DIGEST="from-the-command"):
        assert root.said() == "from-the-command"


@pytest.mark.claim("release-header-examples")
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node(tmp_path):
    root = Root(tmp_path, "server.js")
    root.restarts(["node", str(root.link / "server.js")], PORT=str(root.port))


@pytest.mark.claim("release-header-examples")
@pytest.mark.skipif(nginx_stage.NGINX is None, reason="nginx is not installed")
def test_static_files_follow_the_link_without_a_reload(tmp_path):
    root = Root(tmp_path, "index.html")
    site = document.files(document.blocks(DOCUMENT))["site.conf"].replace("8080", str(root.port)).replace("/srv/site", str(tmp_path))
    config = tmp_path / "nginx.conf"
    config.write_text(f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; user root;\n"
                      f"events {{}}\nhttp {{ access_log off;\n{site}}}\n", encoding="utf-8")
    with root.running([str(nginx_stage.NGINX), "-p", str(tmp_path), "-c", str(config), "-e", f"{tmp_path}/error.log"]):
        assert root.said() == OLD
        root.point(NEW)
        assert root.said() == NEW
