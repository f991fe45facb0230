# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deploy in a noisy place: a service that is cut off by its balancer all the time, and a neighbour on its frontend that answers nothing."""

from __future__ import annotations

import json
import pathlib
import threading
import typing as t

import haproxy_stage
import layout
import pytest
from haproxy_stage import get
from sides import version

PATIENCE_S = 0.3


class Noisy:
    """A balancer of its own before the stage's members, which gives up what takes longer than a moment; and who meets that."""

    def __init__(self) -> None:
        self.balancer = haproxy_stage.HaproxyStage(
            {"shop": list(layout.MEMBERS), "neighbour": ["theirs"]}, start_apps=False,
            frontend_lines=["use_backend neighbour if { path_beg /neighbour }", "http-request deny deny_status 503 if { path_beg /denied }"],
            backend_lines={"shop": ["option redispatch 1", f"timeout server {int(PATIENCE_S * 1000)}ms"], "neighbour": ["retries 0", "timeout connect 100ms"]},
            default_server="check inter 500ms fastinter 200ms downinter 200ms fall 3 rise 2 weight 100",
            server_options={"theirs": "no-check"})
        self.balancer.ports.update({member: layout.port(member, "blue") for member in layout.MEMBERS})
        self.ended = threading.Event()
        # Of a hundred users' requests, two take too long for the balancer.
        paths = ["/slow?ms=2000" if number % 50 == 0 else ("/", "/neighbour", "/denied")[number % 3] for number in range(150)]
        self.threads = [threading.Thread(target=self._ask, args=(paths[begin:] + paths[:begin],)) for begin in range(0, 150, 25)]
        self.answers: dict[str, set[int]] = {}

    def _ask(self, paths: list[str]) -> None:
        while not self.ended.is_set():
            for path in paths:
                self.answers.setdefault(path, set()).add(get(self.balancer.url + path)[0])
                if self.ended.wait(0.02):
                    return

    def __enter__(self) -> Noisy:
        self.balancer.__enter__()
        haproxy_stage.wait_until(self.balancer.settled, "every member is up")
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failed: t.Any) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.balancer.stop()

    def variables(self, path: pathlib.Path) -> dict[str, t.Any]:
        return {
            "deploy_traffic": {"driver": "haproxy", "balancers": "shop_lb", "socket": self.balancer.socket, "master_socket": self.balancer.master_socket,
                               "frontends": ["front"], "pools": [{"name": "shop", "port": "{{ stage_blue_port }}"}]},
            "deploy_evidence_url": self.balancer.url + "/", "deploy_state_dir": str(path / "state"), "deploy_records_dir": str(path / "records")}


@pytest.mark.claim("background-is-not-the-deploys")
def test_noise_is_told_and_takes_no_deploy_back(stage, tmp_path):
    with Noisy() as noisy:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", **noisy.variables(tmp_path))
    assert noisy.answers["/slow?ms=2000"] == {504} and noisy.answers["/neighbour"] == {503} == noisy.answers["/denied"], noisy.answers
    assert noisy.answers["/"] == {200}, "who is answered in time is always answered"
    assert played.rc == 0 and version() == "2.0.0", played.output
    assert "no request was lost by this deploy: 0 of " in played.sentence and "; background as before: " in played.sentence, played.sentence
    (record,) = (tmp_path / "records").glob("*.json")
    balance = json.loads(record.read_text(encoding="utf-8"))["evidence"]["balance"]
    # The balancer's own 504s; the neighbour's 503s and those of the rule are several times as many, and in no number.
    assert balance["lost"] == 0 and balance["own_errors_before"] > 0 < balance["own_errors_during"], balance
    assert balance["own_errors_before"] + balance["own_errors_during"] < 0.1 * balance["received"], balance
