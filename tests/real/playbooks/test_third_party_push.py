# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A driver of another collection whose platform gets releases handed: no host of the inventory is one of its members."""

from __future__ import annotations

import json
import pathlib
import re
import sys
import threading
import typing as t

import layout
import playing
import pytest
from foreign import THIRD, Runs, releases
from haproxy_load import Load
from haproxy_stage import wait_until
from sides import version

sys.path.insert(0, str(THIRD))

import works as works_code  # noqa: E402
from works import Works  # noqa: E402

TOKEN = "planted-works-token-8c1f"
AT = "app shop at the works"
# All that an application needs that stands on a platform.
INVENTORY = """
shop:
  hosts:
    shop_at_the_works:
  vars:
    deploy_app: shop
    deploy_environment: local
    deploy_traffic:
      driver: acme.edge.works
      url: {url}
      token: {token}
      app: shop
    deploy_evidence_url: http://127.0.0.1:{port}/
    deploy_state_dir: {state}
blog:
  hosts:
    blog_at_the_works:
  vars:
    deploy_app: blog
keepers:
  hosts:
    keeper1:
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
"""


def record(runs: Runs) -> dict[str, t.Any]:
    """The newest."""
    return json.loads(
        max(runs.records.glob("*.json"), key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8")
    )


def free(works: Works, asked: int) -> None:
    """Let the platform go on once it has been asked so often."""
    wait_until(lambda: works.asked > asked, "it is waited for", timeout=120)
    works.go_on.set()


@pytest.fixture
def works(stage: t.Any) -> t.Iterator[Works]:
    with Works(stage.socket(), TOKEN, "1.0.0") as found:
        yield found


@pytest.fixture
def runs(works: Works, tmp_path: pathlib.Path) -> t.Iterator[Runs]:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        INVENTORY.format(url=works.url, token=TOKEN, port=layout.PORT, state=tmp_path / "state"), encoding="utf-8"
    )
    found = Runs([str(inventory)], TOKEN, tmp_path, deploy_push_timeout=60, deploy_app="shop")
    yield found
    assert found.leaks() == []


@pytest.mark.claim("push-without-members")
@pytest.mark.claim("push-stands-where-members-would")
def test_a_deploy_and_a_rollback_by_a_platform(runs: Runs, works: Works) -> None:
    with Load(layout.PORT) as load:
        deployed = runs.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0")
        assert deployed.rc == 0 and releases() == ["2.0.0"] * 4 and version() == "2.0.0", deployed.output
        again = runs.play("zero.downtime.deploy", deploy_release="2.0.0")
        assert (
            again.rc == 0
            and works.pushed == ["2.0.0"]
            and f"{AT} runs 2.0.0 already, and nothing was moved" in again.sentence
        ), again.output
        status = runs.play("zero.downtime.status")
        back = runs.play("zero.downtime.rollback")
        assert back.rc == 0 and releases() == ["1.0.0"] * 4 and works.pushed == ["2.0.0", "1.0.0"], back.output
    assert load.failures == [] and works.refused == 0 and works.rejected == []
    # What was gone back from is not what a second rollback goes to.
    twice = runs.play("zero.downtime.rollback")
    assert (
        twice.rc == 2 and "1.0.0 serves, and nothing ran there before it" in twice.sentence and len(works.pushed) == 2
    ), twice.output
    assert deployed.sentence.startswith(f"Deploy of shop: {AT} was moved to 2.0.0"), deployed.sentence
    assert status.rc == 0 and f"shop (local): {AT} runs 2.0.0" in status.sentence, status.output
    assert back.sentence.startswith(f"Rollback of shop: {AT} was moved to 1.0.0"), back.sentence
    # It is no balancer, it has no members that anybody here counts, and localhost is nothing that anybody asked for.
    assert not re.search("balancer|localhost|of 1 member|member ", deployed.sentence + status.sentence + back.sentence)


BAD = "3.0.0-bad"


@pytest.mark.claim("push-in-the-platforms-words")
def test_a_release_that_the_platform_gives_up_is_told_in_its_words(runs: Runs, works: Works) -> None:
    with Load(layout.PORT) as load:
        bad = runs.play("zero.downtime.deploy", deploy_release=BAD)
    assert bad.rc == 2 and load.failures == [] and works.pushed == [BAD], bad.output
    said = f"{AT}: {BAD} was given up: app1 was not ready within {works_code.PATIENCE:g} s (GET /ready answered 503)"
    assert f"Deploy of shop to {BAD} failed: {said}; {AT} kept 1.0.0" in bad.sentence, bad.sentence
    assert releases() == ["1.0.0"] * 4 and record(runs)["result"] == "rolled_back"
    # The journal has ended with it.
    status = runs.play("zero.downtime.status")
    assert status.rc == 0 and f"{AT} runs 1.0.0" in status.sentence, status.output


@pytest.mark.claim("push-goes-back")
@pytest.mark.claim("push-watches-before")
def test_a_release_with_errors_goes_back(runs: Runs, works: Works) -> None:
    errors = runs.play("zero.downtime.deploy", deploy_release="4.0.0-errors", deploy_evidence_rate=60, deploy_soak=5)
    assert errors.rc == 2 and works.pushed == ["4.0.0-errors", "1.0.0"] and releases() == ["1.0.0"] * 4, errors.output
    assert f"{AT} went back to 1.0.0" in errors.sentence and record(runs)["result"] == "rolled_back", errors.sentence


@pytest.mark.claim("push-that-was-killed")
@pytest.mark.claim("push-lock-on-the-controller")
@pytest.mark.parametrize("state_hosts", [None, "keepers"])
def test_a_killed_deploy_is_known_and_goes_back_once_the_platform_is_at_rest(
    state_hosts: str | None, runs: Runs, works: Works
) -> None:
    runs.variables["deploy_state_hosts"] = state_hosts
    works.go_on.clear()
    with Load(layout.PORT) as load:
        runs.kill(
            "zero.downtime.deploy", lambda: works.phase == "rolling", "the platform is at work", deploy_release="2.0.0"
        )
        status = runs.play("zero.downtime.status")
        assert (
            status.rc == 2
            and f"{AT} is being brought to 2.0.0" in status.sentence
            and "zero.downtime.rollback" in status.sentence
        ), status.output
        # It has been asked what it does, and whether it has the release, and is waited for now.
        freed = threading.Thread(target=free, args=(works, works.asked + 4))
        freed.start()
        back = runs.play("zero.downtime.rollback")
        freed.join(120)
        assert back.rc == 0 and releases() == ["1.0.0"] * 4 and version() == "1.0.0", back.output
    assert (
        load.failures == [] and works.rejected == [] and f"Rollback of shop: {AT} was moved to 1.0.0" in back.sentence
    ), back.sentence
    healthy = runs.play("zero.downtime.status")
    assert healthy.rc == 0 and f"{AT} runs 1.0.0" in healthy.sentence, healthy.output
    assert ("lie on this controller alone" in back.text) == (state_hosts is None), back.output


def test_a_deploy_that_is_killed_behind_its_push_goes_back_as_well(runs: Runs, works: Works) -> None:
    runs.kill(
        "zero.downtime.deploy",
        lambda: works.active == "2.0.0",
        "the release is in place",
        deploy_release="2.0.0",
        deploy_soak=600,
    )
    status = runs.play("zero.downtime.status")
    assert status.rc == 2 and "zero.downtime.rollback" in status.sentence, status.output
    back = runs.play("zero.downtime.rollback")
    assert back.rc == 0 and releases() == ["1.0.0"] * 4 and works.pushed == ["2.0.0", "1.0.0"], back.output


@pytest.mark.claim("push-by-hand")
def test_a_second_deploy_is_refused_while_one_runs_and_so_is_one_while_somebody_else_pushes(
    runs: Runs, works: Works
) -> None:
    works.go_on.clear()
    with open(runs.log, "wb") as output:
        first = playing.start(runs.argv("zero.downtime.deploy", deploy_release="2.0.0"), output, runs.env)
        try:
            wait_until(
                lambda: works.phase == "rolling" or first.poll() is not None, "the platform is at work", timeout=120
            )
            second = runs.play("zero.downtime.deploy", deploy_release="4.0.0-slow")
            works.go_on.set()
            assert first.wait(120) == 0, runs.log.read_text(encoding="utf-8")
        finally:
            works.go_on.set()
            first.kill()
    assert (
        second.rc == 2 and "shop (local) is locked" in second.sentence and "which is at work" in second.sentence
    ), second.output
    assert "Nothing has been changed." in second.sentence
    assert works.pushed == ["2.0.0"] and works.rejected == [] and releases() == ["2.0.0"] * 4
    # A push of somebody's own, past all deploys.
    works.go_on.clear()
    works.answer("PUT", ["apps", "shop"], {"release": "1.0.0"})
    by_hand = runs.play("zero.downtime.deploy", deploy_release="4.0.0-slow")
    assert (
        by_hand.rc == 2
        and f"refused: {AT} is being brought to 1.0.0, which no deploy that is known here has begun" in by_hand.sentence
    ), by_hand.output
    assert works.pushed == ["2.0.0", "1.0.0"] and works.rejected == []


REFUSED = {
    "a wrong token": ({"token": "other-token-9e2c"}, "refused: {at}: GET {url}/apps/shop answered 401"),
    "no token": ({"token": None}, "refused: deploy_traffic.token is missing; a text is needed"),
    "another application": ({"app": "shoe"}, "refused: app shoe at the works: GET {url}/apps/shoe answered 404"),
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_does_not_let_it_in_is_refused_before_anything_is_pushed(given: str, runs: Runs, works: Works) -> None:
    changed, sentence = REFUSED[given]
    traffic = {"driver": "acme.edge.works", "url": works.url, "token": TOKEN, "app": "shop", **changed}
    played = runs.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0", deploy_traffic=traffic)
    assert played.rc == 2 and sentence.format(at=AT, url=works.url) in played.sentence, played.output
    assert "other-token" not in played.output and works.pushed == []


def test_check_mode_shows_the_plan_and_changes_nothing(runs: Runs, works: Works) -> None:
    checked = runs.play("zero.downtime.deploy", "--check", "--diff", deploy_release="2.0.0")
    assert checked.rc == 0 and works.pushed == [] and releases() == ["1.0.0"] * 4, checked.output
    assert f"push by acme.edge.works: {AT} brings its own members to it" in checked.output, checked.output
    assert f"Deploy of shop would move {AT} to 2.0.0; nothing has been changed." in checked.sentence, checked.sentence
    assert not list(runs.records.glob("*.json"))


def test_of_several_applications_one_is_picked(runs: Runs, works: Works) -> None:
    del runs.variables["deploy_app"]
    unsaid = runs.play("zero.downtime.status")
    assert (
        unsaid.rc == 2 and "several applications, blog, shop" in unsaid.sentence and works.pushed == []
    ), unsaid.output


def test_what_somebody_else_pushes_meanwhile_is_not_given_up(runs: Runs, works: Works, tmp_path: pathlib.Path) -> None:
    works.go_on.clear()
    hook = tmp_path / "push_by_hand.yml"
    body = json.dumps({"release": "4.0.0-slow"})
    by_hand = [
        "curl",
        "--silent",
        "--fail",
        "-X",
        "PUT",
        "-H",
        f"@{tmp_path / 'header'}",
        "-d",
        body,
        f"{works.url}/apps/shop",
    ]
    (tmp_path / "header").write_text(f"Authorization: Bearer {TOKEN}", encoding="utf-8")
    hook.write_text(
        json.dumps([{"name": "Push by hand", "ansible.builtin.command": {"argv": by_hand}, "no_log": True}])
    )
    freed = threading.Thread(target=free, args=(works, works.asked + 8))
    freed.start()
    # It is at work when the deploy comes to its own push, which waits for that.
    played = runs.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_hooks={"before_shift": str(hook)})
    freed.join(120)
    assert played.rc == 0 and works.pushed == ["4.0.0-slow", "2.0.0"] and releases() == ["2.0.0"] * 4, played.output
    assert works.rejected == [] and works.given_up == []


@pytest.mark.claim("push-refused-verbs")
def test_what_it_cannot_do_is_refused_in_one_sentence(runs: Runs, works: Works) -> None:
    for verb in ("restart", "drain", "activate", "retire"):
        played = runs.play(f"zero.downtime.{verb}")
        assert played.rc == 2 and f"{verb} is for members or sides that Ansible knows" in played.sentence, played.output
    unknown = runs.play("zero.downtime.deploy", deploy_release="9.9.9")
    assert (
        unknown.rc == 2 and f"refused: {AT} has no release 9.9.9; it has 1.0.0, 2.0.0" in unknown.sentence
    ), unknown.output
    rolling = runs.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_strategy="rolling")
    assert rolling.rc == 2 and "with it work push" in rolling.sentence, rolling.output
    hosts = runs.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_hosts="shop")
    assert hosts.rc == 2 and "no deploy_hosts is accepted" in hosts.sentence, hosts.output
    assert works.pushed == [] and releases() == ["1.0.0"] * 4


def test_the_naive_way_loses_requests_on_the_same_stage(works: Works) -> None:
    for member in layout.MEMBERS:
        works_code.place(member, "2.0.0")
    with Load(layout.PORT) as load:
        load.more(50)
        works_code.service("restart", *layout.MEMBERS)
        wait_until(lambda: version() == "2.0.0", "it serves again")
    assert load.failures != []


def test_doctor_looks_at_all_that_a_push_needs(runs: Runs, works: Works) -> None:
    well = runs.play("zero.downtime.doctor", deploy_release="2.0.0")
    assert well.rc == 0 and well.sentence == "ready for push", well.output
    assert f"✓ platform: {AT} answers, and runs 1.0.0" in well.output
    assert f"✓ artifact: {AT} has 2.0.0" in well.output
    assert "✗" not in well.output and "member" not in "".join(
        line for line in well.output.splitlines() if line.startswith(("✓", "–"))
    ), well.output
    unknown = runs.play("zero.downtime.doctor", deploy_release="9.9.9")
    assert (
        unknown.rc == 2 and f"not ready for push because {AT} has no release 9.9.9" in unknown.sentence
    ), unknown.output
    traffic = {"driver": "acme.edge.works", "url": works.url, "token": "other-token-9e2c", "app": "shop"}
    wrong = runs.play("zero.downtime.doctor", deploy_traffic=traffic)
    assert (
        wrong.rc == 2 and "not ready for push because" in wrong.sentence and "answered 401" in wrong.sentence
    ), wrong.output
    assert "other-token" not in wrong.output and works.pushed == []
    works.go_on.clear()
    works.answer("PUT", ["apps", "shop"], {"release": "2.0.0"})
    busy = runs.play("zero.downtime.doctor")
    assert busy.rc == 2 and f"not ready for push because {AT} is being brought to 2.0.0" in busy.sentence, busy.output


@pytest.mark.claim("push-goes-back")
def test_a_readiness_check_asks_where_it_is_told_to(runs: Runs, works: Works) -> None:
    health = {"path": "/", "address": "127.0.0.1", "port": layout.PORT, "header": "x-release", "timeout": 10}
    well = runs.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_health=health)
    assert (
        well.rc == 0
        and releases() == ["2.0.0"] * 4
        and [step["name"] for step in record(runs)["steps"]][-3:-1] == ["push", "gate"]
    ), well.output
    # What the platform calls well and the check does not.
    bad = runs.play(
        "zero.downtime.deploy",
        deploy_release="4.0.0-slow",
        deploy_health={**health, "body": '"version": "2', "timeout": 2},
    )
    assert (
        bad.rc == 2 and works.pushed == ["2.0.0", "4.0.0-slow", "2.0.0"] and f"{AT} went back to 2.0.0" in bad.sentence
    ), bad.output
    assert (
        "1 of 1" not in bad.sentence
        and f"failed: {AT} did not reach 3 passes in a row within 2 s: it last answered" in bad.sentence
    )
    nowhere = runs.play("zero.downtime.deploy", deploy_release="1.0.0", deploy_health={"path": "/ready"})
    assert (
        nowhere.rc == 2 and "deploy_health.address and deploy_health.port are needed, or no path" in nowhere.sentence
    ), nowhere.output


def test_a_state_host_that_is_lost_meanwhile_holds_no_way_back_up(
    runs: Runs, works: Works, tmp_path: pathlib.Path
) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    (pathlib.Path(runs.inventories[0]).parent / "host_vars").mkdir()
    host_vars = pathlib.Path(runs.inventories[0]).parent / "host_vars" / "keeper1.yml"
    host_vars.write_text(f"ansible_python_interpreter: {python}", encoding="utf-8")
    health = {"path": "/", "address": "127.0.0.1", "port": layout.PORT, "body": '"version": "1', "timeout": 8}
    with open(runs.log, "wb") as output:
        argv = runs.argv(
            "zero.downtime.deploy", deploy_release="2.0.0", deploy_health=health, deploy_state_hosts="keepers"
        )
        deploy = playing.start(argv, output, runs.env)
        try:
            wait_until(
                lambda: works.active == "2.0.0" or deploy.poll() is not None, "the release is in place", timeout=120
            )
            wait_until(lambda: noted(tmp_path), "the state host has noted that", timeout=30)
            python.unlink()
            assert deploy.wait(120) == 2
        finally:
            deploy.kill()
    printed = runs.log.read_text(encoding="utf-8")
    runs.printed.append(printed)
    assert (
        works.pushed == ["2.0.0", "1.0.0"] and releases() == ["1.0.0"] * 4 and f"{AT} went back to 1.0.0" in printed
    ), printed


def noted(place: pathlib.Path) -> bool:
    """Whether the journal there has the end of a move."""
    return any('"done": true' in path.read_text(encoding="utf-8") for path in (place / "state").glob("*.journal"))


def test_one_that_takes_too_long_is_given_up(runs: Runs, works: Works) -> None:
    works.go_on.clear()
    with Load(layout.PORT) as load:
        late = runs.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_push_timeout=15)
    assert late.rc == 2 and load.failures == [] and works.pushed == ["2.0.0"] and works.rejected == [], late.output
    assert works.given_up == ["2.0.0"]
    assert (
        f"{AT}: 2.0.0 is still rolling after 15 s; {AT} went back to 1.0.0" in late.sentence
        and releases() == ["1.0.0"] * 4
    ), late.sentence


def test_a_platform_that_lets_nobody_in_any_more_leaves_a_state_that_status_names(runs: Runs, works: Works) -> None:
    works.go_on.clear()
    with open(runs.log, "wb") as output:
        deploy = playing.start(runs.argv("zero.downtime.deploy", deploy_release="2.0.0"), output, runs.env)
        try:
            wait_until(
                lambda: works.phase == "rolling" or deploy.poll() is not None, "the platform is at work", timeout=120
            )
            works.token = "another-works-token-3a55"
            assert deploy.wait(120) == 2
        finally:
            works.go_on.set()
            deploy.kill()
    printed = runs.log.read_text(encoding="utf-8")
    runs.printed.append(printed)
    assert (
        f"what {AT} runs now is not known" in printed
        and "answered 401" in printed
        and record(runs)["result"] == "failed"
    ), printed
    works.token = TOKEN
    wait_until(lambda: works.active == "2.0.0", "the platform has gone on")
    status = runs.play("zero.downtime.status")
    assert (
        status.rc == 2 and "the deploy to 2.0.0" in status.sentence and "has not ended" in status.sentence
    ), status.output
    assert "zero.downtime.rollback" in status.sentence, status.sentence
    back = runs.play("zero.downtime.rollback")
    assert back.rc == 0 and releases() == ["1.0.0"] * 4 and works.pushed == ["2.0.0", "1.0.0"], back.output
    healthy = runs.play("zero.downtime.status")
    assert healthy.rc == 0, healthy.output
