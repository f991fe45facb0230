# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local stage is what every promise is tried on, so it is tried itself."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import artifacts
import layout
import pytest
import stage

SERVICE = os.path.join(layout.REPO, "tests", "stage", "service")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def service(verb: str, member: str, slot: str) -> subprocess.CompletedProcess:
    # As Ansible runs it: no terminal, nothing on its standard input, another directory.
    return subprocess.run([SERVICE, verb, member, slot], cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def get(url: str) -> tuple[int, dict, dict]:
    try:
        with OPENER.open(url, timeout=60) as response:
            return response.status, dict(response.headers), json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), {}


def eventually(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.05)
    return value


def in_inventory(inventory: str, host: str, expression: str, tmp_path) -> str:
    """What an expression is worth on a host, asked of Ansible from another directory."""
    target = tmp_path / "value"
    subprocess.run([os.path.join(os.path.dirname(sys.executable), "ansible"), "-i", inventory, host, "-m", "ansible.builtin.copy",
                    "-a", json.dumps({"content": "{{ %s }}" % expression, "dest": str(target), "mode": "0600"}), "-e", "deploy_release=1.0.0"],
                   cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return target.read_text()


@pytest.mark.claim("local-stage")
def test_it_starts_twice_and_ends_twice_and_leaves_nothing(running_stage):
    before = {p.pid for p in layout.balancer_processes()}
    running_stage.up(["1.0.0"])
    assert {p.pid for p in layout.balancer_processes()} == before, "a second start must not touch a running balancer"
    assert get("http://127.0.0.1:%d/" % layout.PORT)[0] == 503  # no release yet
    running_stage.down()
    running_stage.down()
    assert not layout.balancer_processes() and not layout.member_processes()
    assert not [p for p in layout.processes() if any(word.startswith(layout.STAGE) for word in p.argv)]


def test_a_slot_is_served_restarted_and_stopped_without_orphans(running_stage, install):
    digest = install("1.0.0", "app1", "blue")
    assert service("status", "app1", "blue").returncode == 3
    assert service("start", "app1", "blue").returncode == 0
    first = service("status", "app1", "blue").stdout
    assert digest in first
    assert service("start", "app1", "blue").returncode == 0
    assert service("status", "app1", "blue").stdout == first, "a second start must change nothing"

    url = "http://127.0.0.1:%d/" % layout.PORT
    eventually(lambda: get(url)[0] == 200)
    status, headers, answer = get(url)
    assert (headers["x-release"], answer["version"], answer["member"], answer["slot"]) == (digest, "1.0.0", "app1", "blue")

    other = install("2.0.0", "app1", "blue")
    assert get(url)[2]["release"] == digest, "the running release stays when only the link moves"
    assert service("restart", "app1", "blue").returncode == 0
    assert get("http://127.0.0.1:8101/")[2]["release"] == other

    assert service("stop", "app1", "blue").returncode == 0
    assert service("stop", "app1", "blue").returncode == 0
    assert not layout.member_processes()


def test_a_stop_lets_requests_finish_and_takes_a_killed_masters_workers_along(running_stage, install):
    install("1.0.0", "app2", "green")
    assert service("start", "app2", "green").returncode == 0
    hold = pathlib.Path(layout.hold_file("app2", "green"))
    hold.touch()
    seen = []
    slow = threading.Thread(target=lambda: seen.append(get("http://127.0.0.1:8202/held")[0]))
    slow.start()
    eventually(lambda: get("http://127.0.0.1:8202/in_flight")[2]["in_flight"] == 1)
    stopping = subprocess.Popen([SERVICE, "stop", "app2", "green"], cwd="/", stdin=subprocess.DEVNULL)
    log = pathlib.Path(layout.LOG, "app2-green.log")
    eventually(lambda: "Handling signal: term" in log.read_text(encoding="utf-8"))
    assert stopping.poll() is None and not seen, "it must not be over while a request is in flight"
    hold.unlink()
    assert stopping.wait(60) == 0
    slow.join()
    assert seen == [200]

    assert service("start", "app2", "green").returncode == 0
    pids = {p.pid for p in layout.member_processes("app2", "green")}
    master = next(p for p in layout.member_processes("app2", "green") if p.ppid not in pids)
    os.kill(master.pid, signal.SIGKILL)
    assert service("restart", "app2", "green").returncode == 0
    assert get("http://127.0.0.1:8202/health")[0] == 200
    assert not pids & {p.pid for p in layout.member_processes()}


def test_the_service_speaks_in_sentences(running_stage):
    for words, sentence in (
        (("start", "app9", "blue"), "member is app9; accepted: app1, app2, app3, app4"),
        (("start", "app1", "red"), "slot is red; accepted: blue, green"),
        (("jump", "app1", "blue"), "usage: service"),
        (("start", "app1", "blue"), "blue of app1 holds no release"),
    ):
        said = service(*words)
        assert said.returncode == 1
        assert sentence in said.stderr and "Traceback" not in said.stderr


def test_the_off_file_takes_a_member_out_of_the_balancer(running_stage, install):
    install("1.0.0", "app1", "blue")
    assert service("start", "app1", "blue").returncode == 0
    url = "http://127.0.0.1:%d/" % layout.PORT
    eventually(lambda: get(url)[0] == 200)
    with open(layout.off_file("app1", "blue"), "w", encoding="utf-8"):
        pass
    assert get("http://127.0.0.1:8101/ready")[0] == 503
    assert get("http://127.0.0.1:8101/health")[0] == 200
    eventually(lambda: get(url)[0] == 503)
    os.unlink(layout.off_file("app1", "blue"))
    eventually(lambda: get(url)[0] == 200)


def test_artifacts_are_the_same_bytes_each_time(tmp_path):
    first = artifacts.build(["1.0.0", "2.0.0"], str(tmp_path))
    bytes_before = (tmp_path / "shop-1.0.0.tar.gz").read_bytes()
    time.sleep(1.1)  # longer than a time stamp's grain: none may be in the archive
    assert artifacts.build(["1.0.0"], str(tmp_path)) == {"1.0.0": first["1.0.0"]}
    assert (tmp_path / "shop-1.0.0.tar.gz").read_bytes() == bytes_before
    assert hashlib.sha256(bytes_before).hexdigest() == first["1.0.0"] != first["2.0.0"]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == 2
    with pytest.raises(SystemExit):
        artifacts.build(["../evil"], str(tmp_path))


@pytest.fixture
def app(tmp_path):
    def load(label: str, off_file: str = ""):
        release = tmp_path / hashlib.sha256(label.encode()).hexdigest()
        release.mkdir()
        shutil.copy(os.path.join(layout.REPO, "tests", "stage", "app.py"), release / "app.py")
        (release / "VERSION").write_text(label + "\n")
        spec = importlib.util.spec_from_file_location("sample_app_" + label.replace("-", "_").replace(".", "_"), release / "app.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def ask(app, path: str, method: str = "GET", body: bytes = b"", query: str = "") -> tuple[int, dict]:
    said = []
    answer = b"".join(app.application({"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO(body)},
                                      lambda status, headers: said.append((status, dict(headers)))))
    status, headers = said[0]
    assert headers["x-release"] == app.DIGEST
    return int(status.split()[0]), json.loads(answer) if answer else {}


def test_a_good_release_answers(app):
    good = app("1.0.0")
    assert ask(good, "/")[1]["version"] == "1.0.0"
    assert ask(good, "/", "POST", b"x" * 1234)[1]["received"] == 1234
    assert ask(good, "/", "HEAD") == (200, {})
    assert ask(good, "/ready")[0] == ask(good, "/health")[0] == 200
    assert ask(good, "/slow", query="ms=1")[0] == ask(good, "/held")[0] == 200
    assert ask(good, "/slow", query="ms=soon")[0] == ask(good, "/slow", query="ms=-1")[0] == ask(good, "/slow", query="ms=nan")[0] == 400
    assert ask(good, "/nowhere")[0] == 404
    assert ask(good, "/", "DELETE")[0] == 405


@pytest.mark.claim("sample-releases-misbehave")
def test_the_label_decides_how_a_release_misbehaves(app):
    bad = app("3.0.0-bad")
    assert (ask(bad, "/ready")[0], ask(bad, "/health")[0]) == (503, 200)

    slow = app("4.0.0-slow")
    began = time.monotonic()
    assert ask(slow, "/slow", query="ms=20")[0] == 200
    assert time.monotonic() - began >= 0.2

    errors = app("5.0.0-errors")
    errors.WORK_MS = 0.0
    failed = sum(ask(errors, "/")[0] == 500 for _number in range(2000))
    assert 300 < failed < 500
    assert ask(errors, "/ready")[0] == 200


def test_the_inventory_says_the_same_as_the_layout(tmp_path):
    inventory = os.path.join(layout.REPO, "inventories", "local")
    wanted = "{'traffic': deploy_traffic, 'artifact': deploy_artifact, 'records': deploy_records_dir} | to_json"
    said = json.loads(in_inventory(inventory, "app3", wanted, tmp_path))
    assert said["traffic"]["socket"] == os.path.join(layout.run_dir(), "admin.sock")
    assert said["traffic"]["master_socket"] == os.path.join(layout.run_dir(), "master.sock")
    assert said["traffic"]["config"] == layout.CONFIG
    assert [(pool["name"], pool["side"], int(pool["port"])) for pool in said["traffic"]["pools"]] == [
        ("shop_blue", "blue", layout.port("app3", "blue")), ("shop_green", "green", layout.port("app3", "green"))]
    assert said["artifact"]["root"] == os.path.join(layout.HOSTS, "app3", "srv")
    assert said["artifact"]["checksums"] == os.path.join(layout.ARTIFACTS, "SHA256SUMS")
    assert said["records"] == layout.RECORDS


def test_a_long_path_gets_a_short_directory_for_its_sockets(tmp_path):
    deep = tmp_path / ("a-checkout-" + "x" * 90)
    shutil.copytree(os.path.join(layout.REPO, "inventories", "local"), deep / "inventories" / "local")
    said = in_inventory(str(deep / "inventories" / "local"), "lb1", "stage_run", tmp_path)
    assert said == layout.run_dir(os.path.join(os.path.realpath(deep), "build", "stage"))
    assert said.startswith("/tmp/") and len(said) < 40


def test_the_configuration_is_one_haproxy_accepts_and_its_map_splits(running_stage, install):
    for slot in layout.SLOTS:
        install("1.0.0" if slot == "blue" else "2.0.0", "app1", slot)
        assert service("start", "app1", slot).returncode == 0
    url = "http://127.0.0.1:%d/" % layout.PORT
    socket_path = os.path.join(layout.run_dir(), "admin.sock")
    split = os.path.join(layout.ETC, "split.map")

    def checked() -> bool:
        # A server counts as UP until it has been checked as often as it may fail.
        found = stage._ask(socket_path, "show stat")
        return found.count(",L7OK,") == 2 and found.count(",DOWN,") == 2 * len(layout.MEMBERS) - 2

    eventually(checked)
    for share, expected in ((0, {"1.0.0"}), (100, {"2.0.0"}), (50, {"1.0.0", "2.0.0"})):
        assert stage._ask(socket_path, "set map %s shop %d" % (split, share)).strip() == ""
        assert {get(url)[2]["version"] for _number in range(40)} == expected
