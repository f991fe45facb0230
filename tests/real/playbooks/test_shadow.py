# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadow on the local stage with blue/green: the balancer's own log is replayed before the switch, and a difference keeps every request where it is.
(The same answers let requests move: the scenario haproxy_reload.)"""

from __future__ import annotations

import json
import pathlib
import urllib.request

import pytest
from haproxy_stage import ask, get

URL = "http://127.0.0.1:8080"
LOG = "{{ stage_dir }}/log/haproxy.log"
# What the sample application says of itself.
BY_DESIGN = ["body.version", "body.release", "body.slot"]


def shadow(**options):
    return {"deploy_strategy": "blue_green", "deploy_soak": 0, "deploy_shadow": {"log": LOG, "duration": 3, "ignore": BY_DESIGN, **options}}


def version():
    with urllib.request.urlopen(URL + "/", timeout=30) as answer:
        return json.load(answer)["version"]


def record(stage):
    path = max((stage.dir.parent / "records").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".html").read_text(encoding="utf-8")


def share(stage):
    found = ask(stage.socket(), f"show map {stage.dir}/etc/split.map").split()
    return found[found.index("shop") + 1]


def test_a_difference_prevents_the_switch(stage):
    for number in range(20):
        get(f"{URL}/?item={number}")
    differs = stage.play("zero.downtime.deploy", deploy_release="2.0.0", **shadow(ignore=["body.release", "body.slot"]))
    assert differs.rc == 2, differs.output
    assert "shadow: the new release answers otherwise: body.version (changed in" in differs.sentence, differs.sentence
    assert "no request had been switched; blue serves 1.0.0" in differs.sentence and (version(), share(stage)) == ("1.0.0", "0")
    found, page = record(stage)
    assert found["result"] == "rolled_back" and found["shadow"]["verdict"] == "different" and found["shadow"]["differences"] == 1
    assert [entry["field"] for entry in found["shadow"]["fields"] if entry["reported"]] == ["body.version"]
    assert "<h2>Shadow</h2>" in page and "body.version" in page


CASES = {
    "a log that is not there": ({"log": "/nowhere/haproxy.log"}, ["deploy_shadow.log", "/nowhere/haproxy.log", "No such file"]),
    "mirror": ({"log": None, "ignore": None, "method": "mirror"}, ["deploy_shadow.method is 'mirror'", "haproxy", "replay"]),
    "unknown key": ({"logs": "/x"}, ["deploy_shadow.logs is no known option", "did you mean log?"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_work_is_refused_before_anything_is_changed(stage, name):
    options, words = CASES[name]
    before = stage.seen()
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", **shadow(**options))
    assert played.rc == 2 and all(word in played.sentence for word in words), played.output
    assert stage.seen() == before


def test_a_log_without_get_is_refused(stage, tmp_path):
    log = pathlib.Path(tmp_path / "empty.log")
    log.write_text('x [25/Nov/2026:10:00:00.000] shop shop_blue/app1 0/0/0/1/1 200 1 - - ---- 1/1/0/0/0 0/0 "POST / HTTP/1.1"\n', encoding="utf-8")
    played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", **shadow(log=str(log)))
    assert played.rc == 2 and f"log is '{log}', which has 1 requests, and none of them is a GET" in played.sentence, played.output
