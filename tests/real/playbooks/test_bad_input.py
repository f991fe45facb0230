# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is wrong with what is asked for: one sentence that names it, and nothing has been changed.

All cases are one run of ansible-playbook; that the playbook itself ends with a code and prints the sentence is the last tests'.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pathlib
import socket
import tarfile
import threading
import typing as t

import pytest
from cases import Case, Told, try_all

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


def shadow(**options: t.Any) -> dict[str, t.Any]:
    return {"deploy_strategy": "blue_green", "deploy_shadow": {"log": "{{ stage_dir }}/log/haproxy.log", "duration": 3, **options}}


# Where the whole role is asked, the plan has nothing against it.
ROLE = "main.yml"
CASES = {
    "unknown backend": Case({"deploy_traffic": traffic(pools=[{"name": "shopp", "port": "{{ stage_blue_port }}"}])}, ["shopp", "shop_blue"]),
    "unknown server": Case({"deploy_traffic": traffic(pools=[{"name": "shop_blue", "port": "{{ stage_blue_port }}", "server": "web7"}])}, ["web7", "app1"]),
    "digest mismatch": Case({"deploy_artifact": artifact(digest=DIGEST)}, [DIGEST[:12]], ROLE),
    "missing socket": Case({"deploy_traffic": traffic(socket="/nowhere/admin.sock")}, ["/nowhere/admin.sock"]),
    "batches that take nothing": Case({"deploy_batches": [0]}, ["deploy_batches", "0"]),
    "batches that are empty": Case({"deploy_batches": []}, ["deploy_batches", "empty"]),
    "floor that cannot be held": Case({"deploy_min_active": "4"}, ["deploy_min_active", "4 of 4 have to serve"]),
    "floor that is no number": Case({"deploy_min_active": "most"}, ["min_active", "most", "75%"]),
    "strategy that no driver has": Case({"deploy_strategy": "leap_of_faith"}, ["deploy_strategy", "leap_of_faith", "rolling"]),
    "unknown driver": Case({"deploy_traffic": {"driver": "pigeon"}}, ["pigeon", "haproxy"]),
    "unknown key in deploy_traffic": Case({"deploy_traffic": traffic(sockett="/x")}, ["deploy_traffic.sockett", "socket"]),
    "unknown balancers": Case({"deploy_traffic": traffic(balancers="shop_lbs")}, ["deploy_traffic.balancers", "shop_lbs", "shop_lb"]),
    "missing health path": Case({"deploy_health": {"header": "x-release"}}, ["deploy_health.path", "/ready"]),
    "records directory that cannot be written": Case({"deploy_records_dir": "/proc/records"}, ["deploy_records_dir", "/proc"]),
    "evidence address that is none": Case({"deploy_evidence_url": "127.0.0.1:8080"}, ["127.0.0.1:8080"]),
    "evidence address that nothing answers": Case({"deploy_evidence_url": "http://127.0.0.1:9/"}, ["http://127.0.0.1:9/"], ROLE),
    "evidence path that is none": Case({"deploy_evidence_paths": ["search"]}, ["deploy_evidence_paths has 'search'", "single / is accepted"]),
    "HTTP/2 for an address without TLS": Case({"deploy_evidence_http2": True}, ["deploy_evidence_http2 is true", "https", "auto and false are accepted"]),
    "two members with one address": Case({"deploy_health": {"path": "/ready", "port": 8101}}, ["app1", "app2", "one address", "8101"]),
    "mistyped name": Case({"deploy_batchs": [1]}, ["deploy_batchs", "deploy_batches"]),
    "hook that is no file": Case({"deploy_hooks": {"before_shift": "/nowhere/hook.yml"}}, ["deploy_hooks.before_shift", "/nowhere/hook.yml"]),
    "hook that is no list of tasks": Case({"deploy_hooks": {"after_activate": "galaxy.yml"}}, ["deploy_hooks.after_activate", "galaxy.yml", "tasks"]),
    "wrong type": Case({"deploy_drain_timeout": "a while"}, ["deploy_drain_timeout", "a while", "whole number"]),
    "log of the shadow that is not there": Case(shadow(log="/nowhere/haproxy.log"), ["deploy_shadow.log", "/nowhere/haproxy.log", "No such file"]),
    "shadow by a mirror": Case(shadow(log=None, method="mirror"), ["deploy_shadow.method is 'mirror'", "haproxy", "replay"]),
    "unknown key in deploy_shadow": Case(shadow(logs="/x"), ["deploy_shadow.logs is no known option", "did you mean log?"]),
}


def archive(path: pathlib.Path, name: str) -> str:
    """A tar archive with one file of that name; returns its digest."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        data = b"x" * 100_000
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def that_leaves_its_directory(path: pathlib.Path) -> Case:
    digest = archive(path / "evil.tar.gz", "../../evil")
    return Case({"deploy_release": "6.6.6", "deploy_artifact": artifact(src=str(path / "evil.tar.gz"), digest=digest)}, ["../../evil"], ROLE)


def that_is_truncated(path: pathlib.Path) -> Case:
    whole = path / "whole.tar.gz"
    archive(whole, "app.py")
    half = path / "half.tar.gz"
    half.write_bytes(whole.read_bytes()[:-40])
    digest = hashlib.sha256(half.read_bytes()).hexdigest()
    return Case({"deploy_release": "6.6.7", "deploy_artifact": artifact(src=str(half), digest=digest)}, ["6.6.7", "truncated"], ROLE)


def log_without_get(path: pathlib.Path) -> Case:
    log = path / "empty.log"
    log.write_text('x [25/Nov/2026:10:00:00.000] shop shop_blue/app1 0/0/0/1/1 200 1 - - ---- 1/1/0/0/0 0/0 "POST / HTTP/1.1"\n', encoding="utf-8")
    return Case(shadow(log=str(log)), [f"log is '{log}', which has 1 requests, and none of them is a GET"])


@contextlib.contextmanager
def deaf(path: pathlib.Path) -> t.Iterator[Case]:
    """While a socket takes connections and never answers."""
    name = str(path / "deaf.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen(8)
        kept: list[socket.socket] = []
        server.settimeout(60)

        def accept() -> None:
            try:
                while True:
                    kept.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield Case({"deploy_traffic": traffic(socket=name, socket_timeout=2)}, [name, "answer"])
        for client in kept:
            client.close()


# Of files or a socket of their own.
MADE = {"archive that leaves its directory": that_leaves_its_directory, "archive that is truncated": that_is_truncated,
        "log of the shadow without GET": log_without_get}
DEAF = "socket that never answers"


@pytest.fixture(scope="module")
def tried(saved_stage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Case, Told]]:
    """Every case, and how it ended."""
    saved_stage.restore()
    path = tmp_path_factory.mktemp("cases")
    with deaf(path) as of_socket:
        cases = {**CASES, **{name: make(path) for name, make in MADE.items()}, DEAF: of_socket}
        told = try_all(saved_stage, path, cases)
    return {name: (cases[name], told[name]) for name in cases}


@pytest.mark.claim("refused-in-one-sentence-unchanged", "replay-empty-log-refused", "socket-that-never-answers")
@pytest.mark.parametrize("name", [*CASES, *MADE, DEAF])
def test_refused_with_one_sentence(tried, name):
    case, told = tried[name]
    assert told.failed, told.sentence
    assert all(word in told.sentence for word in case.words), told.sentence
    assert "\n" not in told.sentence
    # The role says what was refused; the plan alone says why.
    assert not case.role or told.sentence.startswith("Deploy of shop was refused: "), told.sentence


@pytest.mark.claim("limit-is-refused", "a-refusal-is-printed-once", "messages-name-the-variable")
@pytest.mark.parametrize("args, variables, words", [
    # By the first play, by the plan of the second one, and by what its members find when they stage. The first of the words are what is said once.
    (["--limit", "localhost,app1"], {"deploy_release": "2.0.0"}, ["app2, app3, app4", "--limit"]),
    ([], {"deploy_release": "2.0.0", "deploy_drain_timeout": "a while"}, ["deploy_drain_timeout is 'a while'", "whole number"]),
    ([], {"deploy_release": "2.0.0", "deploy_strategy": "leap_of_faith"}, ["deploy_strategy is 'leap_of_faith'", "rolling"]),
    ([], {"deploy_release": "2.0.0", "deploy_traffic": traffic(frontends=["shopp"])}, ["deploy_traffic.frontends names shopp", "it has shop"]),
    ([], {"deploy_release": "9.9.9"}, ["release 9.9.9 is unknown", "deploy_artifact.checksums", "it knows 1.0.0"]),
])
def test_the_playbook_prints_the_sentence_and_fails(stage, args, variables, words):
    before = stage.seen()
    played = stage.play("zero.downtime.deploy", *args, **variables)
    assert played.rc == 2, played.output
    assert all(word in played.sentence for word in ["was refused", *words]), played.sentence
    assert "Traceback" not in played.output, played.output
    assert played.output.count(words[0]) == 1, played.output
    assert "[ERROR]" not in played.output and "non-zero return code" not in played.output, played.output
    assert stage.seen() == before
