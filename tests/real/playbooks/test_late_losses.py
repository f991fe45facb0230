# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that a member holds when the deploy ends, and that the balancer gives up later: nobody looks on any more, and still it is told."""

from __future__ import annotations

import json
import os
import pathlib
import threading
import typing as t

import haproxy_stage
import layout
import pytest
from haproxy_stage import get, wait_until
from held import events

# Far more than are open at a time on a busy machine, and fewer than two members can hold.
HELD = 24
# Of a member, before the balancer answers in its place.
PATIENCE_S = 30


class Waiting:
    """A balancer of its own before the stage's members, which is patient; and users who are held by those that have the new release already."""

    def __init__(self, records: pathlib.Path) -> None:
        self.records = records
        self.balancer = haproxy_stage.HaproxyStage(
            {"shop": list(layout.MEMBERS)}, start_apps=False, backend_lines={"shop": [f"timeout server {PATIENCE_S}s"]},
            default_server="check inter 500ms fastinter 200ms downinter 200ms fall 3 rise 2 weight 100")
        self.balancer.ports.update({member: layout.port(member, "blue") for member in layout.MEMBERS})
        self.files = [pathlib.Path(layout.hold_file(member, "blue")) for member in layout.MEMBERS]
        self.answers: list[int] = []
        self.users = [threading.Thread(target=lambda: self.answers.append(get(self.balancer.url + "/held", timeout=600)[0])) for dummy in range(HELD)]
        self.coming = threading.Thread(target=self._come)
        self.over = threading.Event()

    def _come(self) -> None:
        # Those of the first batch are back, and those of the second are out.
        while not any((event["step"], event["event"], event.get("batch")) == ("drain", "finished", 2) for event in events(self.records)):
            if self.over.wait(0.05):
                return
        for user in self.users:
            user.start()

    def __enter__(self) -> Waiting:
        self.balancer.__enter__()
        wait_until(self.balancer.settled, "every member is up")
        for file in self.files:
            file.touch()
        self.coming.start()
        return self

    def __exit__(self, *failed: t.Any) -> None:
        self.over.set()
        self.coming.join()
        for file in self.files:
            file.unlink(missing_ok=True)
        for user in self.users:
            if user.ident is not None:
                user.join()
        self.balancer.stop()


@pytest.mark.claim("late-losses-reach-the-record")
def test_requests_that_time_out_after_the_deploy_reach_its_record_and_the_status(stage, tmp_path):
    records = tmp_path / "records"
    with Waiting(records) as waiting:
        variables = {
            "deploy_traffic": {"driver": "haproxy", "balancers": "shop_lb", "socket": waiting.balancer.socket,
                               "master_socket": waiting.balancer.master_socket, "pools": [{"name": "shop", "port": "{{ stage_blue_port }}"}]},
            "deploy_evidence_url": waiting.balancer.url + "/", "deploy_state_dir": str(tmp_path / "state"), "deploy_records_dir": str(records)}
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[2], deploy_drain_timeout=2, **variables)
        assert played.rc == 0 and f"; without an answer yet: {HELD} on " in played.sentence, played.output
        assert waiting.answers == [], "they must be open when the record is written, else this test proves nothing"
        (path,) = records.glob("*.json")
        before = json.loads(path.read_text(encoding="utf-8"))
        os.chmod(path, 0o640)

        wait_until(lambda: len(waiting.answers) == HELD, "the balancer gives all of them up", timeout=3 * PATIENCE_S)
        assert set(waiting.answers) == {504}
        told = f"of {HELD} requests that were open on "
        lost = f" when deploy {before['deploy_id']} ended, {HELD} were lost later ("
        check = stage.play("zero.downtime.status", "--check", **variables)
        assert check.rc == 0 and told in check.sentence and lost in check.sentence, check.output
        assert json.loads(path.read_text(encoding="utf-8")) == before, "under --check nothing is written"
        for dummy in range(2):
            status = stage.play("zero.downtime.status", **variables)
            assert status.rc == 0 and told in status.sentence and lost in status.sentence, status.output
    record = json.loads(path.read_text(encoding="utf-8"))
    late = record.pop("late")
    assert (late["open"], late["lost"], late["settled"], record) == (HELD, HELD, True, before)
    assert late["sentence"] in status.sentence and set(late["members"]) <= {"app1", "app2"} and path.stat().st_mode & 0o777 == 0o640
    assert lost in path.with_suffix(".html").read_text(encoding="utf-8")
