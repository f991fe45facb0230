# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back from a release on which users wait for ever, although it passes every check: no request that never ends
may keep it in traffic."""

from __future__ import annotations

import re
import threading
import typing as t

import pytest
from haproxy_stage import get, wait_until
from held import LONGEST, URL, in_flight
from sides import version

STUCK = "4.0.0-stuck"
# Longer than anything but what hangs takes.
DRAIN = {"deploy_drain_timeout": 3}


class Users:
    """People who ask for more than the smoke check does: each either is answered at once, or waits for ever."""

    def __init__(self, member: str, wanted: int) -> None:
        self.member, self.wanted = member, wanted
        self.lost = 0
        self._threads: list[threading.Thread] = []

    def _ask(self) -> None:
        try:
            lost = get(URL + "/slow?ms=1", timeout=LONGEST)[0] != 200
        except OSError:
            lost = True
        self.lost += lost

    def _stuck(self) -> bool:
        thread = threading.Thread(target=self._ask, daemon=True)
        self._threads.append(thread)
        thread.start()
        thread.join(0.2)
        return in_flight(self.member) >= self.wanted

    def come(self) -> None:
        """Ask until enough of them wait."""
        wait_until(self._stuck, f"{self.wanted} requests hang on {self.member}")

    def leave(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.fixture
def stuck_hook(side) -> dict[str, t.Any]:
    """A hook that fails before the second batch, once users wait for the member of the first one."""
    come, there = side.path / "come", side.path / "there"
    hook = side.path / "before_drain.yml"
    hook.write_text(
        "- name: Let users come\n"
        "  when: rolling_batch.n == 2\n"
        "  block:\n"
        f"    - name: The first batch serves\n      ansible.builtin.file:\n        path: {come}\n        state: touch\n        mode: '0600'\n"
        f"    - name: They wait\n      ansible.builtin.wait_for:\n        path: {there}\n        timeout: 120\n"
        "    - name: Somebody complains\n      ansible.builtin.fail:\n        msg: users wait for ever\n", encoding="utf-8")
    return {"come": come, "there": there, "path": hook}


@pytest.mark.claim("way-back-cuts")
def test_requests_that_never_end_do_not_keep_a_bad_release_in_traffic(side, stuck_hook):
    side.stage.script("up", STUCK)
    users = Users("app1", 2)

    def come() -> None:
        wait_until(stuck_hook["come"].exists, "the first batch serves", timeout=120)
        users.come()
        stuck_hook["there"].touch()

    coming = threading.Thread(target=come, daemon=True)
    coming.start()
    played = side.play("deploy", deploy_strategy="rolling", deploy_release=STUCK, deploy_batches=[1], deploy_hooks={"before_drain": str(stuck_hook["path"])},
                       **DRAIN)
    coming.join()
    assert played.rc == 2 and "users wait for ever" in played.sentence, played.output
    assert "app1 went back" in played.sentence and "4 of 4 members serve 1.0.0" in played.sentence, played.sentence
    # By what became of them: a member's own count has the probe's requests, too.
    users.leave()
    assert re.search(rf"; {users.lost} connections? (was|were) cut on the way back", played.sentence), played.sentence
    found = side.record()
    assert found["result"] == "rolled_back" and found["evidence"]["balance"]["cut"] == users.lost >= 1, found["evidence"]["balance"]
    assert version() == "1.0.0"


def test_a_rollback_does_not_wait_for_requests_that_never_end(side):
    side.stage.script("up", STUCK)
    rolling = {"deploy_strategy": "rolling", "deploy_batches": [2], **DRAIN}
    assert side.play("deploy", deploy_release=STUCK, **rolling).rc == 0
    users = Users("app2", 1)
    users.come()
    back = side.play("rollback", **rolling)
    assert back.rc == 0 and "4 of 4 members were moved to 1.0.0" in back.sentence, back.output
    users.leave()
    assert f"{users.lost} more cut on purpose" in back.sentence and users.lost >= 1, back.sentence
    assert side.record()["evidence"]["balance"]["cut"] == users.lost and version() == "1.0.0"
