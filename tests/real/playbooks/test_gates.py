# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate between the idle side and the switch fails: users stay where they are, and the idle side is as it was before, in its pool and ready."""

from __future__ import annotations

import pytest

from haproxy_stage import ask
from sides import BLUE_GREEN, version


def admin_states(side) -> set[str]:
    """How people, or we, have the servers of both pools: 0 where nobody took any out."""
    return {line.split()[6] for line in ask(side.stage.socket(), "show servers state").splitlines()[2:] if line.strip() and "shop_" in line}


@pytest.mark.claim("failed-gate-leaves-nobody-out", "rollback-has-no-shadow")
def test_a_failed_smoke_test_gives_the_idle_side_back_to_its_pool(side):
    side.stage.script("up", "2.1.0")
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    smoke = side.path / "smoke.yml"
    smoke.write_text("- name: Ask the shop\n  ansible.builtin.fail:\n    msg: the basket is empty\n", encoding="utf-8")
    # The idle side, blue, has a release to go back to: it has to leave its pool for that, and come back.
    failed = side.play("deploy", deploy_release="2.1.0", deploy_hooks={"smoke": str(smoke)})
    assert failed.rc == 2, failed.output
    assert f"the hook smoke ({smoke}) failed at its task 'Ask the shop': the basket is empty" in failed.sentence
    assert "no request had been switched; green serves 2.0.0" in failed.sentence and version() == "2.0.0"
    assert admin_states(side) == {"0"}, "somebody was left in maintenance"
    assert side.record()["result"] == "rolled_back"
    # All is ready for the next one. A shadow would refuse a log that is not there, and what it compares differs.
    back = side.play("rollback", deploy_shadow={"log": "/no/such/log", "duration": 300})
    assert back.rc == 0 and "1.0.0 serves on blue" in back.sentence, back.output
    assert version() == "1.0.0" and "shadow" not in side.record()


@pytest.mark.claim("members-answer-what-users-ask")
def test_a_release_that_is_ready_and_hangs_on_what_users_ask_gets_no_traffic(side):
    side.stage.script("up", "4.0.0-hangs")
    before = side.stage.seen()["servers"]
    bad = side.play_under_load("deploy", expect="failure", deploy_strategy="rolling", deploy_release="4.0.0-hangs",
                               deploy_health={"path": "/ready?token=s3cret", "header": "x-release", "timeout": 8},
                               deploy_evidence_url="http://127.0.0.1:8080/?token=s3cret")
    assert bad["failed"] == 0 and set(bad["versions"]) == {"1.0.0"}, bad
    # What may be a secret is in no sentence and no record.
    kept = [path.read_text(encoding="utf-8") for path in (side.stage.dir.parent / "records").iterdir() if path.is_file()]
    assert len(kept) > 1 and not [text for text in [bad["output"], *kept] if "s3cret" in text]
    assert "did not answer what users ask within 8 s: app1 is ready, but GET /: 127.0.0.1:8101 did not answer within" in bad["output"]
    assert side.record()["result"] == "rolled_back" and side.stage.seen()["servers"] == before


def test_members_of_the_idle_side_are_taken_out_named_and_brought_back_by_hand(side):
    assert side.play("deploy", deploy_release="2.0.0").rc == 0
    by_hand = {"deploy_side": "blue", "deploy_members": "app1,app3"}
    assert side.play("drain", **by_hand).rc == 0 and admin_states(side) == {"0", "1"}
    seen = side.play("status")
    assert seen.rc == 2 and "on the idle side blue app1, app3 are out of traffic" in seen.sentence, seen.output
    assert "zero.downtime.activate -e deploy_app=shop -e deploy_side=blue -e deploy_members=app1,app3 brings them back" in seen.sentence
    foretold = side.stage.play("zero.downtime.deploy", "--check", **BLUE_GREEN, deploy_release="1.0.0")
    told = foretold.text
    assert "app1, app3 were taken out of traffic before this deploy: they get the release and stay out; ansible-playbook " in told, told
    assert side.play("activate", **by_hand).rc == 0 and admin_states(side) == {"0"}
    assert side.play("status").rc == 0 and version() == "2.0.0"


HEADER = {"path": "/ready", "header": "x-release", "timeout": 60}
ROLLING = {"deploy_strategy": "rolling", "deploy_batches": [2]}
BARE = "but without the header x-release, so which release answers is unproven"


def step(record, name):
    """The seconds that the first step of that name took."""
    found = next(entry for entry in record["steps"] if entry["name"] == name)
    return found["finished"] - found["started"]


@pytest.mark.claim("health-without-header")
def test_a_release_that_does_not_send_the_header_is_told_soon_and_is_not_said_not_to_run(side):
    side.stage.script("up", "5.0.0-silent")
    bad = side.play_under_load("deploy", expect="failure", **ROLLING, deploy_release="5.0.0-silent", deploy_health=HEADER)
    assert bad["failed"] == 0 and set(bad["versions"]) == {"1.0.0"}, bad
    assert "is not proven to run: http://127.0.0.1:8101/ready answers with status 200, " + BARE in bad["output"] and "does not run" not in bad["output"]
    found = side.record()
    assert found["result"] == "rolled_back" and step(found, "activate") < HEADER["timeout"] / 2


@pytest.mark.claim("health-back-without-header", "plan-asks-who-sends-the-header")
def test_a_release_from_before_the_header_is_named_and_gone_back_to_by_its_readiness(side):
    side.stage.script("up", "5.0.0-silent")
    assert side.play("deploy", **ROLLING, deploy_release="5.0.0-silent", deploy_health={"path": "/ready"}).rc == 0 and version() == "5.0.0-silent"
    # The next one is never ready, and what it replaces has never sent the header.
    failed = side.play("deploy", **ROLLING, deploy_release="3.0.0-bad", deploy_health={**HEADER, "timeout": 8})
    assert failed.rc == 2 and "app1, app2 went back; 4 of 4 members serve 5.0.0-silent" in failed.sentence, failed.output
    notes = [note["detail"]["text"] for note in side.record()["notes"]]
    assert notes[0].startswith("deploy_health.header: what runs now on app1, app2, app3, app4 is ready, " + BARE + "; the new one has to send it")
    assert any(text.startswith("app1, app2 are ready, " + BARE + "; accepted by readiness alone") for text in notes[1:]), notes
    # The first one that sends it, and back to the one that does not.
    assert side.play("deploy", **ROLLING, deploy_release="2.0.0", deploy_health=HEADER).rc == 0 and version() == "2.0.0"
    back = side.play("rollback", **ROLLING, deploy_health=HEADER)
    assert back.rc == 0 and version() == "5.0.0-silent" and "accepted by readiness alone" in back.output, back.output
