# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blue/green on the local stage, under load: the idle side gets the release, one switch moves every request, and another one brings them back.
(Controllers that die: test_two_balancers and the crash sweep.)"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import time

import playing
import pytest
from haproxy_stage import ask, wait_until
from held import Held
from sides import BLUE_GREEN, PASTED, URL, version

sys.path.insert(0, str(playing.REPO / "tests" / "stage"))

import layout  # noqa: E402  pylint: disable=wrong-import-position
import stage as stage_code  # noqa: E402  pylint: disable=wrong-import-position


@pytest.mark.claim("bg-rollback-is-one-switch", "bg-idle-side-put-back")
def test_there_and_back_again_with_a_bad_release_in_between(side):
    there = side.play_under_load("deploy", deploy_release="2.0.0")
    assert there["failed"] == 0 and set(there["versions"]) == {"1.0.0", "2.0.0"}, there
    assert "2.0.0 serves on green (4 of 4 members); blue keeps 1.0.0 warm" in there["output"]
    assert side.shares() == ("100", "100") and version() == "2.0.0"
    found = side.record()
    assert found["strategy"] == "blue_green" and found["result"] == "succeeded" and "switch" in [step["name"] for step in found["steps"]]
    assert found["evidence"]["balance"]["unanswered"] == 0 and found["evidence"]["probe"]["failed"] == 0

    bad = side.play_under_load("deploy", expect="failure", deploy_release="3.0.0-bad", deploy_health={"path": "/ready", "header": "x-release", "timeout": 8})
    assert bad["failed"] == 0 and set(bad["versions"]) == {"2.0.0"}, bad
    assert "no request had been switched" in bad["output"] and "green serves 2.0.0" in bad["output"]
    assert side.record()["result"] == "rolled_back"
    evidence = side.record()["evidence"]
    assert evidence["probe"]["failed"] == 0 and {evidence["balance"][kind] for kind in ("truncated", "unanswered", "cut")} == {0}, evidence

    # What a rollback goes to is the release before, and not the bad one that was there meanwhile.
    back = side.play_under_load("rollback")
    assert back["failed"] == 0 and set(back["versions"]) == {"1.0.0", "2.0.0"}, back
    assert "1.0.0 serves on blue (4 of 4 members); green keeps 2.0.0 warm" in back["output"]
    assert "Bring the idle side" not in [line.strip() for line in back["output"].splitlines() if "changed:" in line]
    assert side.shares() == ("0", "0") and version() == "1.0.0"


@pytest.mark.claim("bg-losses-switch-back")
def test_losses_after_the_switch_switch_back(side):
    played = side.play("deploy", deploy_release="4.0.0-errors", deploy_soak=4, deploy_evidence_rate=50)
    assert played.rc == 2, played.output
    assert "The application got worse" in played.sentence and "every request was switched back to blue; blue serves 1.0.0" in played.sentence, played.sentence
    assert side.shares() == ("0", "0") and version() == "1.0.0" and side.record()["result"] == "rolled_back"


@pytest.mark.claim("bg-gates-before-public-traffic", "hook-smoke", "hook-contract-after-smoke")
def test_hooks_before_the_switch_run_once_in_their_order_and_one_that_fails_keeps_every_request_where_it_is(side):
    ran = side.path / "ran"
    hooks = {}
    for name, passes in {"smoke": "true", "contract": "false"}.items():
        hook = side.path / f"{name}.yml"
        hook.write_text(f"- name: Note that it ran\n  ansible.builtin.shell: 'echo {name} >> {ran}'\n  changed_when: true\n"
                        f"- name: Ask the idle side\n  ansible.builtin.assert:\n    that: {passes}\n    fail_msg: the {name} test failed\n", encoding="utf-8")
        hooks[name] = str(hook)
    played = side.play("deploy", deploy_release="2.0.0", deploy_hooks=hooks)
    assert played.rc == 2 and "the contract test failed; no request had been switched; blue serves 1.0.0" in played.sentence, played.output
    assert ran.read_text(encoding="utf-8").split() == ["smoke", "contract"]


def runs(slot: str) -> set[str]:
    """The members of which something runs in that slot."""
    return {member for member in layout.MEMBERS if layout.member_processes(member, slot)}


ALL = set(layout.MEMBERS)


@pytest.mark.claim("status-as-json", "bg-stopped-side-gets-its-release-first", "bg-retire-is-ended-by-the-next")
def test_an_old_side_that_is_down_is_started_before_the_switch_back_and_is_stopped_in_its_time(side):
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    stage_code.end(lambda: [process for member in ALL for process in layout.member_processes(member, "blue")], kindly=False)
    back = side.play_under_load("rollback")
    assert back["failed"] == 0 and version() == "1.0.0" and runs("blue") == ALL, back

    # Nobody killed it the second time: it is stopped when its time has come.
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    early = side.play("retire", deploy_keep_previous=3600)
    assert early.rc == 0 and "blue is idle and has 1.0.0, warm, since" in early.sentence and "it may be stopped from" in early.sentence, early.output
    due = {"deploy_keep_previous": 1, "deploy_idle_for": 1}
    check = side.stage.play("zero.downtime.retire", "--check", **BLUE_GREEN, **due)
    assert check.rc == 0 and "blue would be stopped; nothing has been changed" in check.sentence, check.output
    assert runs("blue") == ALL and not re.search(r"changed=[1-9]", early.output)

    # One member cannot be stopped: it is named, and the next run ends what was begun.
    stop = "{{ stage_service }} stop {{ inventory_hostname }} blue"
    restart = {side: {"command": "{{ stage_service }} restart {{ inventory_hostname }} " + side} for side in ("blue", "green")}
    half = {"blue": {**restart["blue"], "stop": f"sh -c '[ {{{{ inventory_hostname }}}} != app3 ] && exec {stop}'"},
            "green": {**restart["green"], "stop": "false"}}
    failed = side.play("retire", **due, deploy_service=half)
    assert failed.rc == 2 and "app3" in failed.output and runs("blue") == {"app3"}, failed.output
    retired = side.play_under_load("retire", **due)
    assert retired["failed"] == 0 and "blue was stopped, and a rollback starts it again" in retired["output"], retired
    assert runs("blue") == set() and runs("green") == ALL

    again = side.play("retire", **due)
    assert again.rc == 0 and "has 1.0.0, stopped, since" in again.sentence and not re.search(r"changed=[1-9]", again.output), again.output
    status = side.path / "status.json"
    assert side.stage.play("zero.downtime.status", status_file=str(status)).rc == 0
    idle = json.loads(status.read_text(encoding="utf-8"))["idle"]
    assert (idle["side"], idle["state"], idle["release"]["label"], idle["in_flight"]) == ("blue", "stopped", "1.0.0", 0) and idle["since"] < time.time()


@pytest.mark.claim("bg-retire-looks-once-more")
def test_a_request_that_comes_while_the_old_side_is_stopped_is_told(side):
    """Somebody reaches the old side in a way that its shares do not tell: here, for a moment, while its first member is stopped."""
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    reach = side.path / "reach.py"
    reach.write_text(
        "import sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from haproxy_stage import ask, get\n"
        f"tell = lambda share: ask({side.stage.socket()!r}, f'set map {side.split} shop {{share}}')\n"
        "tell(0)\n"
        f"get({URL + '/'!r})\n"
        "tell(100)\n", encoding="utf-8")
    stop = "{{ stage_service }} stop {{ inventory_hostname }} "
    both = {slot: {"command": "{{ stage_service }} restart {{ inventory_hostname }} " + slot, "stop": stop + slot} for slot in ("blue", "green")}
    both["blue"]["stop"] = f"sh -c '[ {{{{ inventory_hostname }}}} != app1 ] || {sys.executable} {reach}; exec {stop}blue'"

    def retired():
        """What it said once the time of the old side had come, which on a fast machine is not so at once."""
        played = side.play("retire", deploy_keep_previous=1, deploy_idle_for=1, deploy_service=both)
        return None if "it may be stopped from" in played.text else played

    told = wait_until(retired, "the old side may be stopped", timeout=60)
    assert told.rc == 2 and "1 requests came to blue while it was stopped, although no balancer sends it a share" in told.output, told.output
    assert version() == "2.0.0"


@pytest.mark.claim("bg-keep-previous-0", "bg-not-stopped-is-no-failure", "bg-rollback-starts-a-stopped-side")
def test_a_deploy_that_keeps_nothing_stops_the_old_side_at_its_end(side):
    nothing = {"deploy_keep_previous": 0, "deploy_idle_for": 1}
    # Some still wait for an answer of the old side: it is not stopped, which the deploy says, and does not fail for.
    with Held() as held:
        played = side.play("deploy", deploy_release="2.0.0", **nothing, deploy_drain_timeout=2)
        assert played.rc == 0 and f"blue was not stopped: blue has {held.count} requests in flight" in played.sentence, played.output
        assert runs("blue") == ALL and held.answers == []
    assert held.answers == [200] * held.count

    # The next deploy of the same finds nothing to switch, and does what was left.
    again = side.play_under_load("deploy", deploy_release="2.0.0", **nothing)
    assert again["failed"] == 0 and "2.0.0 serves already, on green, and nothing was moved" in again["output"], again
    assert "blue was stopped, and a rollback starts it again" in again["output"], again["output"]
    assert runs("blue") == set()
    # The end of a side belongs to every strategy that leaves one idle.
    back = side.play_under_load("rollback", **{**nothing, "deploy_strategy": "canary"})
    assert back["failed"] == 0 and "green was stopped, and a rollback starts it again" in back["output"], back
    # It began the side that had been stopped first.
    assert runs("blue") == ALL and version() == "1.0.0"
    assert runs("green") == set() and "green was stopped" in side.record()["sentence"]


@pytest.mark.claim("bg-killed-restart")
def test_a_restart_that_died_on_the_serving_side_is_ended_first(side):
    """What it left out there would stay out behind the switch, and belong to nobody."""
    states = 'show servers state shop_blue'
    process = side.stage.start("zero.downtime.restart", deploy_batches=[1])
    wait_until(lambda: re.search(r"^\d+ shop_blue \d+ app1 \S+ \d+ [1-9]", ask(side.stage.socket(), states), re.MULTILINE), "app1 is out", timeout=60)
    process.kill()
    process.wait(10)
    refused = side.play("deploy", deploy_release="2.0.0")
    assert refused.rc == 2 and "app1 is out of traffic on blue, which serves, because a restart there has not ended" in refused.sentence, refused.output
    assert side.play("restart", deploy_batches=[2]).rc == 0
    # Whoever was still out would be named.
    status = side.stage.play("zero.downtime.status")
    assert status.rc == 0, status.output


@pytest.mark.claim("doctor-with-a-deleted-file")
def test_a_map_that_was_deleted_is_named_by_status_and_written_again_by_the_switch(side):
    before = pathlib.Path(side.split).read_text(encoding="utf-8")
    pathlib.Path(side.split).unlink()
    status = side.play("status")
    assert status.rc == 2 and f"{side.split}, the map of the shares, does not exist any more" in status.sentence, status.output
    told, dummy, rest = status.sentence.partition("with these lines it is what haproxy has of it now: shop 0; ")
    assert told and rest.endswith(" writes them"), status.sentence
    # HAProxy goes on without it until its next start, and so does a deploy.
    doctor = side.play("doctor")
    assert doctor.rc == 0 and f"⚠ file, lb1: {side.split}, the map of the shares, does not exist any more" in doctor.output, doctor.output
    command = rest.removesuffix(" writes them")
    # As it is printed: what Ansible writes is JSON.
    assert command in status.output, status.output
    assert f"    {command}  # writes it as it was\n" in doctor.output, doctor.output
    # As a person pastes it.
    pasted = subprocess.run(command, shell=True, cwd=playing.REPO, capture_output=True, text=True, check=False, timeout=120, env=PASTED)
    assert pasted.returncode == 0 and pathlib.Path(side.split).read_text(encoding="utf-8").split() == before.split(), pasted.stdout + pasted.stderr
    pathlib.Path(side.split).unlink()
    rolled = side.stage.play("zero.downtime.deploy", "--check", deploy_release="2.0.0")
    assert rolled.rc == 0 and "what haproxy has of it now: shop 0" in rolled.text and not pathlib.Path(side.split).exists(), rolled.output
    played = side.play("deploy", deploy_release="2.0.0")
    assert played.rc == 0 and "had been deleted, and was written again" in played.text and side.shares() == ("100", "100"), played.output
    assert side.play("rollback").rc == 0 and pathlib.Path(side.split).read_text(encoding="utf-8").split() == before.split()
    assert side.play("status").rc == 0


def test_shares_that_only_a_reload_would_bring_are_put_right(side):
    """A controller that died between the balancer's file and its process left them there."""
    written = pathlib.Path(side.split)
    written.write_text(written.read_text(encoding="utf-8").replace("shop 0", "shop 100"), encoding="utf-8")
    assert side.shares() == ("0", "100")
    status = side.stage.play("zero.downtime.status", deploy_strategy="blue_green")
    assert status.rc == 2 and "balancer lb1 sends 0 % of the requests to green, and would send 100 % there after a reload" in status.sentence, status.output
    again = side.play("deploy", deploy_release="1.0.0")
    assert again.rc == 0 and "every request goes to blue again, which serves 1.0.0" in again.sentence, again.output
    assert side.shares() == ("0", "0") and version() == "1.0.0"
    assert side.stage.play("zero.downtime.status", deploy_strategy="blue_green").rc == 0


@pytest.mark.claim("naive-switch-loses")
def test_the_naive_switch_loses_requests_on_the_same_stage(side):
    """Without gates: the map is turned to a side where nobody serves yet, as a script would that switches first and starts then."""
    naive = side.path / "naive.py"
    naive.write_text(
        "import csv, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from haproxy_stage import ask, wait_until\n"
        "def tell(share):\n"
        f"    ask({side.stage.socket()!r}, 'set map {side.split} shop %d' % share)\n"
        "def turned_away():\n"
        f"    rows = csv.DictReader(ask({side.stage.socket()!r}, 'show stat shop_green 2 -1').lstrip('# ').splitlines())\n"
        "    return sum(int(row['hrsp_5xx']) for row in rows)\n"
        "before = turned_away()\n"
        "tell(100)\n"
        "wait_until(lambda: turned_away() >= before + 5, 'requests were turned away')\n"
        "tell(0)\n", encoding="utf-8")
    assert runs("green") == set()
    lost = side.under_load(sys.executable, str(naive))
    assert lost["failed"] > 0, "without a gate this stage loses requests, else the tests above prove nothing"


def test_a_side_that_does_not_stop_is_told_and_fails_nothing(side):
    service = {slot: {"command": f"{{{{ stage_service }}}} restart {{{{ inventory_hostname }}}} {slot}", "stop": "/bin/false"} for slot in ("blue", "green")}
    played = side.play("deploy", deploy_release="2.0.0", deploy_keep_previous=0, deploy_idle_for=0, deploy_service=service)
    assert "2.0.0 serves on green (4 of 4 members)" in played.sentence and "blue was not stopped on every member: " in played.sentence, played.output
    assert played.rc == 0 and side.record()["result"] == "succeeded", played.output
    assert side.shares() == ("100", "100")
