# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses and errors while a deploy runs: it goes back, or says what was cut on purpose."""

from __future__ import annotations

import json
import threading
import urllib.request

URL = "http://127.0.0.1:8080"


class Slow:
    """Requests that are in flight for so long, on every member."""

    def __init__(self, seconds: float, count: int = 4) -> None:
        self.answers: list[int] = []
        self._threads = [threading.Thread(target=self._ask, args=(seconds,)) for _number in range(count)]

    def _ask(self, seconds: float) -> None:
        try:
            with urllib.request.urlopen(f"{URL}/slow?ms={int(seconds * 1000)}", timeout=seconds + 30) as answer:
                answer.read()
                self.answers.append(answer.status)
        except urllib.error.HTTPError as error:
            self.answers.append(error.code)
        except OSError:
            self.answers.append(0)

    def __enter__(self) -> "Slow":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        for thread in self._threads:
            thread.join()


def record(stage) -> dict:
    records = stage.dir.parent / "records"
    return json.loads(max(records.glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))


def version() -> str:
    with urllib.request.urlopen(URL + "/", timeout=30) as answer:
        return json.load(answer)["version"]


def test_a_release_with_errors_goes_back(stage):
    stage.script("up", "4.0.0-errors")
    played = stage.play("zero.downtime.deploy", deploy_release="4.0.0-errors", deploy_batch_pause=3)
    assert played.rc == 2, played.output
    assert "The application got worse" in played.sentence
    assert "went back; 4 of 4 members serve 1.0.0" in played.sentence
    assert record(stage)["result"] == "rolled_back"
    assert version() == "1.0.0"


def test_a_drain_that_takes_too_long_fails_and_cuts_nothing(stage):
    with Slow(45) as slow:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_drain_timeout=1)
    assert played.rc == 2, played.output
    assert "not drained: shop_blue/app1 (1 in flight)" in played.sentence
    assert "4 of 4 members serve 1.0.0" in played.sentence
    assert slow.answers == [200] * 4
    assert version() == "1.0.0"


def test_a_drain_that_may_cut_counts_what_it_cut(stage):
    # The second batch may come when they have ended: those that were cut keep the first one's processes for as long as they last.
    with Slow(55) as slow:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_drain_timeout=1, deploy_drain_timeout_action="cut", deploy_batches=[2])
    assert played.rc == 0, played.output
    sheet = record(stage)["evidence"]["balance"]
    assert sheet["cut"] == len([answer for answer in slow.answers if answer != 200]) >= 2
    assert f"{sheet['cut']} more cut on purpose" in played.sentence


def test_a_member_killed_under_load_takes_the_deploy_back(stage, tmp_path):
    """The hook kills a member that answers slow requests: the balance sheet sees what they lost, so everybody goes back."""
    hook = tmp_path / "kill.yml"
    hook.write_text(
        "- name: Kill the last member, as the first batch begins\n"
        "  ansible.builtin.shell: >-\n"
        "    pkill -9 -f '[a]pp4-blue.pid'\n"
        "  when: rolling_batch.n == 1\n", encoding="utf-8")
    with Slow(50, 8) as slow:
        played = stage.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_batches=[1], deploy_hooks={"before_drain": str(hook)},
                            deploy_drain_timeout=60)
    assert played.rc == 2, played.output
    lost = [answer for answer in slow.answers if answer != 200]
    assert lost, "the kill must hit requests in flight, else this test proves nothing"
    assert "lost" in played.sentence
    found = record(stage)
    assert found["evidence"]["balance"]["lost"] >= len(lost)
    assert version() == "1.0.0"
