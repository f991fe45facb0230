# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is wrong with what is asked for: one sentence that names it, and nothing has been changed."""

from __future__ import annotations

import hashlib
import io
import pathlib
import socket
import tarfile
import threading
import typing as t

import pytest

DIGEST = "0" * 64


def traffic(**changes: t.Any) -> dict[str, t.Any]:
    """The stage's deploy_traffic, in which something is wrong."""
    return {
        "driver": "haproxy", "balancers": "shop_lb", "socket": "{{ stage_run }}/admin.sock", "master_socket": "{{ stage_run }}/master.sock",
        "config": "{{ stage_dir }}/etc/haproxy.cfg", "frontends": ["shop"],
        "pools": [{"name": "shop_blue", "side": "blue", "port": "{{ stage_blue_port }}"}], **changes,
    }


def artifact(**changes: t.Any) -> dict[str, t.Any]:
    return {"src": "{{ stage_repo }}/build/artifacts/shop-2.0.0.tar.gz", "root": "{{ stage_host }}/srv", **changes}


CASES = {
    "unknown backend": ({"deploy_traffic": traffic(pools=[{"name": "shopp", "port": "{{ stage_blue_port }}"}])}, ["shopp", "shop_blue"]),
    "unknown server": ({"deploy_traffic": traffic(pools=[{"name": "shop_blue", "port": "{{ stage_blue_port }}", "server": "web7"}])}, ["web7", "app1"]),
    "unknown release": ({"deploy_release": "9.9.9"}, ["9.9.9"]),
    "digest mismatch": ({"deploy_artifact": artifact(digest=DIGEST)}, [DIGEST[:12]]),
    "missing socket": ({"deploy_traffic": traffic(socket="/nowhere/admin.sock")}, ["/nowhere/admin.sock"]),
    "batches that take nothing": ({"deploy_batches": [0]}, ["deploy_batches", "0"]),
    "batches that are empty": ({"deploy_batches": []}, ["deploy_batches", "empty"]),
    "floor that cannot be held": ({"deploy_min_active": "4"}, ["deploy_min_active", "4 of 4 have to serve"]),
    "floor that is no number": ({"deploy_min_active": "most"}, ["min_active", "most", "75%"]),
    "strategy that no driver has": ({"deploy_strategy": "leap_of_faith"}, ["deploy_strategy", "leap_of_faith", "rolling"]),
    "unknown driver": ({"deploy_traffic": {"driver": "pigeon"}}, ["pigeon", "haproxy"]),
    "unknown key in deploy_traffic": ({"deploy_traffic": traffic(sockett="/x")}, ["deploy_traffic.sockett", "socket"]),
    "unknown balancers": ({"deploy_traffic": traffic(balancers="shop_lbs")}, ["deploy_traffic.balancers", "shop_lbs", "shop_lb"]),
    "missing health path": ({"deploy_health": {"header": "x-release"}}, ["deploy_health.path", "/ready"]),
    "records directory that cannot be written": ({"deploy_records_dir": "/proc/records"}, ["deploy_records_dir", "/proc"]),
    "evidence address that is none": ({"deploy_evidence_url": "127.0.0.1:8080"}, ["127.0.0.1:8080"]),
    "evidence address that nothing answers": ({"deploy_evidence_url": "http://127.0.0.1:9/"}, ["http://127.0.0.1:9/"]),
    "two members with one address": ({"deploy_health": {"path": "/ready", "port": 8101}}, ["app1", "app2", "one address", "8101"]),
    "mistyped name": ({"deploy_batchs": [1]}, ["deploy_batchs", "deploy_batches"]),
    "hook that is no file": ({"deploy_hooks": {"before_shift": "/nowhere/hook.yml"}}, ["deploy_hooks.before_shift", "/nowhere/hook.yml"]),
    "hook that is no list of tasks": ({"deploy_hooks": {"after_activate": "galaxy.yml"}}, ["deploy_hooks.after_activate", "galaxy.yml", "tasks"]),
    "wrong type": ({"deploy_drain_timeout": "a while"}, ["deploy_drain_timeout", "a while", "whole number"]),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_one_sentence(stage, name):
    variables, words = CASES[name]
    refused(stage, words, **{"deploy_release": "2.0.0", **variables})


def refused(stage, words: list[str], **variables: t.Any) -> None:
    before = stage.seen()
    played = stage.play("zero.downtime.deploy", **variables)
    assert played.rc != 0, played.output
    for word in words:
        assert word in played.sentence, played.sentence
    assert "Traceback" not in played.output, played.output
    assert stage.seen() == before


def archive(path: pathlib.Path, name: str) -> str:
    """A tar archive with one file of that name; returns its digest."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        data = b"x" * 100_000
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_archive_that_leaves_its_directory(stage, tmp_path):
    digest = archive(tmp_path / "evil.tar.gz", "../../evil")
    refused(stage, ["../../evil"], deploy_release="6.6.6", deploy_artifact=artifact(src=str(tmp_path / "evil.tar.gz"), digest=digest))


def test_archive_that_is_truncated(stage, tmp_path):
    whole = tmp_path / "whole.tar.gz"
    archive(whole, "app.py")
    half = tmp_path / "half.tar.gz"
    half.write_bytes(whole.read_bytes()[:-40])
    digest = hashlib.sha256(half.read_bytes()).hexdigest()
    refused(stage, ["6.6.7", "truncated"], deploy_release="6.6.7", deploy_artifact=artifact(src=str(half), digest=digest))


def test_socket_that_never_answers(stage, tmp_path):
    path = str(tmp_path / "deaf.sock")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(path)
        deaf.listen(8)
        kept: list[socket.socket] = []
        deaf.settimeout(60)

        def accept() -> None:
            try:
                while True:
                    kept.append(deaf.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        refused(stage, [path, "answer"], deploy_release="2.0.0", deploy_traffic=traffic(socket=path, socket_timeout=2))
        for client in kept:
            client.close()


def test_limit_is_refused(stage):
    before = stage.seen()
    played = stage.play("zero.downtime.deploy", "--limit", "localhost,app1", deploy_release="2.0.0")
    assert played.rc != 0
    assert "app2, app3, app4" in played.sentence and "--limit" in played.sentence
    assert stage.seen() == before
