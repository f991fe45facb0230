# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green on the local stage, under load: the idle side gets the release, one switch moves every request, and another one brings them back."""

from __future__ import annotations

import subprocess
import sys

from sides import BLUE_GREEN, killed, version


def test_there_and_back_again_under_load(side):
    there = side.play_under_load("deploy", deploy_release="2.0.0")
    assert there["failed"] == 0 and set(there["versions"]) == {"1.0.0", "2.0.0"}, there
    assert "2.0.0 serves on green (4 of 4 members); blue keeps 1.0.0 warm" in there["output"]
    assert side.shares() == ("100", "100") and version() == "2.0.0"
    found = side.record()
    assert found["strategy"] == "blue_green" and found["result"] == "succeeded" and "switch" in [step["name"] for step in found["steps"]]
    assert found["evidence"]["balance"]["unanswered"] == 0 and found["evidence"]["probe"]["failed"] == 0

    again = side.play("deploy", deploy_release="2.0.0")
    assert again.rc == 0 and "2.0.0 serves already, on green, and nothing was moved" in again.sentence

    back = side.play_under_load("rollback")
    assert back["failed"] == 0 and set(back["versions"]) == {"1.0.0", "2.0.0"}, back
    assert "1.0.0 serves on blue (4 of 4 members); green keeps 2.0.0 warm" in back["output"]
    assert "Bring the idle side" not in [line.strip() for line in back["output"].splitlines() if "changed:" in line]
    assert side.shares() == ("0", "0") and version() == "1.0.0"


def test_a_bad_release_never_gets_a_request_and_the_idle_side_is_put_back(side):
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    bad = side.play_under_load("deploy", expect="failure", deploy_release="3.0.0-bad", deploy_health={"path": "/ready", "header": "x-release", "timeout": 3})
    assert bad["failed"] == 0 and set(bad["versions"]) == {"2.0.0"}, bad
    assert "no request had been switched" in bad["output"] and "green serves 2.0.0" in bad["output"]
    assert side.record()["result"] == "rolled_back"
    # What a rollback goes to is the release before, and not the bad one that was there meanwhile.
    back = side.play("rollback")
    assert back.rc == 0 and "1.0.0 serves on blue" in back.sentence, back.output


def test_losses_after_the_switch_switch_back(side):
    side.stage.script("up", "4.0.0-errors")
    played = side.play("deploy", deploy_release="4.0.0-errors", deploy_soak=4)
    assert played.rc == 2, played.output
    assert "The application got worse" in played.sentence and "every request was switched back to blue; blue serves 1.0.0" in played.sentence, played.sentence
    assert side.shares() == ("0", "0") and version() == "1.0.0" and side.record()["result"] == "rolled_back"


def test_check_mode_shows_the_switch_and_changes_nothing(side):
    before = side.stage.seen()
    played = side.stage.play("zero.downtime.deploy", "--check", "--diff", **BLUE_GREEN, deploy_release="2.0.0")
    assert played.rc == 0, played.output
    assert "would bring 2.0.0 to the idle side green and switch every request there from blue; nothing has been changed" in played.sentence
    assert side.stage.seen() == before and side.shares() == ("0", "0")


def test_a_failing_smoke_test_keeps_every_request_where_it_is(side):
    hook = side.path / "smoke.yml"
    hook.write_text("- name: Ask the idle side\n  ansible.builtin.assert:\n    that: false\n    fail_msg: the smoke test failed\n", encoding="utf-8")
    played = side.play("deploy", deploy_release="2.0.0", deploy_hooks={"smoke": str(hook)})
    assert played.rc == 2 and "the smoke test failed; no request had been switched; blue serves 1.0.0" in played.sentence, played.output


def test_an_old_side_that_is_down_gets_its_release_before_the_switch_back(side):
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    for name in ("app1", "app2", "app3", "app4"):
        subprocess.run(["pkill", "-f", f"{side.stage.dir}.*{name}-blue.pid"], check=True)
    back = side.play_under_load("rollback")
    assert back["failed"] == 0 and version() == "1.0.0", back


def test_a_controller_that_dies_before_the_switch_is_undone_by_a_rollback(side):
    mark = side.path / "gates"
    hook = side.path / "smoke.yml"
    hook.write_text(f"- name: Wait to be killed\n  ansible.builtin.shell: touch {mark}; sleep 30\n", encoding="utf-8")
    killed(side, mark.exists, deploy_release="2.0.0", deploy_hooks={"smoke": str(hook)})
    assert side.shares() == ("0", "0") and version() == "1.0.0"
    back = side.play_under_load("rollback")
    assert back["failed"] == 0 and set(back["versions"]) == {"1.0.0"}, back
    assert side.shares() == ("0", "0") and side.record()["result"] == "succeeded", back["output"]


def test_a_controller_that_dies_behind_the_switch_leaves_what_serves_and_a_rollback_switches_back(side):
    killed(side, lambda: side.shares()[0] == "100", deploy_release="2.0.0", deploy_soak=30)
    again = side.play("deploy", deploy_release="2.0.0")
    assert again.rc == 0 and "2.0.0 serves already, on green" in again.sentence, again.output
    killed(side, lambda: side.shares()[0] == "0", deploy_release="1.0.0", deploy_soak=30)
    back = side.play_under_load("rollback")
    assert back["failed"] == 0 and version() == "2.0.0" and side.shares() == ("100", "100"), back


def test_the_naive_switch_loses_requests_on_the_same_stage(side):
    """Without gates: the map is turned to a side where nobody serves yet, as a script would that switches first and starts then."""
    naive = side.path / "naive.py"
    naive.write_text(
        "import socket, sys, time\n"
        "def tell(share):\n"
        "    with socket.socket(socket.AF_UNIX) as client:\n"
        f"        client.connect({side.stage.socket()!r})\n"
        f"        client.sendall(('set map {side.split} shop %d\\n' % share).encode())\n"
        "        client.recv(100)\n"
        "tell(100); time.sleep(1); tell(0)\n", encoding="utf-8")
    for name in ("app1", "app2", "app3", "app4"):
        subprocess.run(["pkill", "-f", f"{side.stage.dir}.*{name}-green.pid"], check=False)
    lost = side.under_load(sys.executable, str(naive))
    assert lost["failed"] > 0, "without a gate this stage loses requests, else the tests above prove nothing"
