# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of another collection: an API on the controller that asks for a secret, which only the members' own variables have."""

from __future__ import annotations

import os
import pathlib
import re
import sys
import typing as t

import layout
import playing
import pytest
import yaml
from foreign import THIRD, Runs, releases
from haproxy_load import Load
from sides import version

sys.path.insert(0, str(THIRD))

from desk import Desk  # noqa: E402

TOKEN = "planted-desk-token-4b7d"
# Of each driver, what stands in the variables of the members' group.
VARIABLES = {
    "desk": """
deploy_traffic:
  driver: acme.edge.desk
  url: {url}
  token: {token}
  pools:
    - name: shop_blue
      port: "{{{{ stage_blue_port }}}}"
deploy_service:
  command: "{{{{ stage_service }}}} restart {{{{ inventory_hostname }}}} blue"
deploy_slot: blue
""",
    "lever": """
deploy_traffic:
  driver: acme.edge.lever
  url: {url}
  token: {token}
  split: shop
  pools:
    - name: shop_blue
      side: blue
      port: "{{{{ stage_blue_port }}}}"
    - name: shop_green
      side: green
      port: "{{{{ stage_green_port }}}}"
deploy_strategy: blue_green
""",
}


@pytest.fixture
def desk(stage: t.Any) -> t.Iterator[Desk]:
    with Desk(stage.socket(), TOKEN, f"{stage.dir}/etc/split.map", os.path.join(layout.run_dir(), "master.sock")) as found:
        yield found


def with_driver(driver: str, url: str, place: pathlib.Path) -> Runs:
    """Playbooks on the local stage, whose members' own group names the driver."""
    inventory = place / driver
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("{}", encoding="utf-8")
    (inventory / "group_vars" / "shop_app.yml").write_text(VARIABLES[driver].format(url=url, token=TOKEN), encoding="utf-8")
    return Runs([playing.LOCAL, str(inventory)], TOKEN, place, deploy_batches=[2])


@pytest.fixture
def runs(desk: Desk, tmp_path: pathlib.Path) -> t.Iterator[Runs]:
    found = with_driver("desk", desk.url, tmp_path)
    yield found
    assert found.leaks() == []


@pytest.fixture
def switches(desk: Desk, tmp_path: pathlib.Path) -> t.Iterator[Runs]:
    found = with_driver("lever", desk.url, tmp_path)
    yield found
    assert found.leaks() == []


@pytest.mark.claim("drivers-with-secrets")
def test_a_deploy_and_a_rollback_by_an_api_that_asks_for_a_secret(runs: Runs, desk: Desk) -> None:
    with Load(layout.PORT) as load:
        deployed = runs.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0")
        assert deployed.rc == 0 and releases() == ["2.0.0"] * 4 and version() == "2.0.0", deployed.output
        # One batch after the other, by nobody but the API.
        moved = [{move[0] for move in desk.moved[index:index + 2]} for index in range(0, len(desk.moved), 2)]
        assert moved == [{"app1", "app2"}, {"app1", "app2"}, {"app3", "app4"}, {"app3", "app4"}]
        assert [state for _member, state in desk.moved] == ["drain", "drain", "ready", "ready"] * 2
        back = runs.play("zero.downtime.rollback")
        assert back.rc == 0 and releases() == ["1.0.0"] * 4, back.output
    assert load.failures == [] and desk.refused == 0
    again = runs.play("zero.downtime.deploy", "--check", "--diff", deploy_release="1.0.0")
    assert again.rc == 0 and "nothing moves" in again.output, again.output
    status = runs.play("zero.downtime.status")
    assert status.rc == 0 and f"the desk at {desk.url}/shop_blue" in status.output, status.output
    # In its own words: it is no balancer, and localhost is nothing that anybody asked for.
    assert not re.search("balancer (localhost|the desk)|on localhost|localhost:", deployed.sentence + back.sentence + status.sentence)


def test_the_lock_lies_at_the_api_and_a_late_move_is_refused_by_it(runs: Runs, desk: Desk) -> None:
    def held() -> t.Any:
        return desk.document("local-shop")["content"]

    def third_is_out() -> bool:
        return ("app3", "drain") in desk.moved

    runs.kill("zero.downtime.deploy", third_is_out, "the second batch is taken out", deploy_release="2.0.0")
    killed = held()["lock"]
    assert {entry.get("state") for entry in held()["journal"]} == {"drained", "active"}
    back = runs.play("zero.downtime.rollback")
    assert back.rc == 0 and "took the lock over" in back.output and releases() == ["1.0.0"] * 4, back.output
    assert held()["lock"] is None and held()["journal"] == []

    # The last call of the one that was killed comes when another deploy has the lock.
    kept = desk.document("local-shop")
    other = {**killed, "key": "another", "deploy_id": "another", "holder": {**killed["holder"], "controller": "elsewhere"}}
    desk.documents["local-shop"] = {"content": {**held(), "lock": other}, "version": kept["version"] + 1}
    moved = list(desk.moved)
    late = {"state": "drain", "lock": {"name": "local-shop", "key": killed["key"]}}
    assert desk.answer("PUT", ["pools", "shop_blue", "servers", "app1"], late)[0] == 409
    called = playing.play(runs.call("acme.edge.desk_members", url=desk.url, token=TOKEN, pool="shop_blue", state="drained", members=["app1"],
                                    min_active="0", lock="local-shop", lock_key=killed["key"], deploy_id=killed["deploy_id"]), env=runs.env)
    assert called.rc == 2 and "is held by deploy another" in called.output, called.output
    refused = runs.play("zero.downtime.deploy", deploy_release="2.0.0")
    assert refused.rc == 2 and "shop (local) is locked on the desk at" in refused.output, refused.output
    assert desk.moved == moved


@pytest.mark.claim("drivers-of-apis-that-are-killed")
def test_a_killed_deploy_by_such_an_api_is_known_and_goes_back(runs: Runs, desk: Desk) -> None:
    def third_is_out() -> bool:
        return ("app3", "drain") in desk.moved

    runs.kill("zero.downtime.deploy", third_is_out, "the second batch is taken out", deploy_release="2.0.0")
    status = runs.play("zero.downtime.status")
    assert status.rc == 2 and "zero.downtime.rollback" in status.sentence, status.output
    back = runs.play("zero.downtime.rollback")
    assert back.rc == 0 and releases() == ["1.0.0"] * 4 and version() == "1.0.0", back.output
    assert {server["status"] for server in desk.servers("shop_blue")} == {"UP"}


REFUSED = {
    "none": ({"token": None}, "deploy_traffic.token is missing; a text is needed"),
    "another": ({"token": "other-token-9e2c"}, "{desk}: GET {url}/pools/shop_blue/servers answered 401"),
    "no text": ({"token": ["other-token-9e2c"]}, "deploy_traffic.token is not shown, since it is secret; a text is accepted"),
}


@pytest.mark.claim("drivers-with-secrets")
@pytest.mark.parametrize("given", REFUSED)
def test_a_secret_that_is_wrong_is_refused_before_anything_moves_and_is_not_shown(given: str, runs: Runs, desk: Desk) -> None:
    changed, sentence = REFUSED[given]
    variables = yaml.safe_load((pathlib.Path(runs.inventories[-1]) / "group_vars" / "shop_app.yml").read_text(encoding="utf-8"))["deploy_traffic"]
    played = runs.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0", deploy_traffic={**variables, **changed})
    assert played.rc == 2 and sentence.format(desk=f"refused: the desk at {desk.url}", url=desk.url) in played.sentence, played.output
    assert "other-token" not in played.output and desk.moved == []


@pytest.mark.claim("drivers-that-only-split")
def test_both_sides_by_an_api_that_knows_no_members(switches: Runs, desk: Desk) -> None:
    with Load(layout.PORT) as load:
        deployed = switches.play("zero.downtime.deploy", "-vvv", deploy_release="2.0.0")
        assert deployed.rc == 0 and version() == "2.0.0" and desk.set == [100], deployed.output
        back = switches.play("zero.downtime.rollback")
        assert back.rc == 0 and version() == "1.0.0" and desk.set == [100, 0], back.output
    # Nobody of either side was taken out of traffic: whoever gets no requests needs no drain.
    assert load.failures == [] and desk.moved == [] and desk.refused == 0
    status = switches.play("zero.downtime.status")
    assert status.rc == 0, status.output


@pytest.mark.claim("drivers-of-apis-that-are-killed")
def test_a_switch_that_is_killed_behind_its_move_is_known_and_goes_back(switches: Runs, desk: Desk) -> None:
    switches.kill("zero.downtime.deploy", lambda: desk.set == [100], "the switch has been made", deploy_release="2.0.0", deploy_soak=600)
    assert version() == "2.0.0"
    status = switches.play("zero.downtime.status")
    assert status.rc == 2 and "zero.downtime.rollback" in status.sentence, status.output
    back = switches.play("zero.downtime.rollback")
    assert back.rc == 0 and version() == "1.0.0" and desk.set == [100, 0], back.output


def test_what_it_cannot_do_is_refused_before_anything_moves(switches: Runs, desk: Desk) -> None:
    restart = switches.play("zero.downtime.restart")
    assert restart.rc == 2 and "restart moves members in traffic, which driver lever cannot do" in restart.sentence, restart.output
    rolling = switches.play("zero.downtime.deploy", deploy_release="2.0.0", deploy_strategy="rolling")
    assert rolling.rc == 2 and "with it work blue_green, canary" in rolling.sentence, rolling.output
    assert (desk.set, desk.moved) == ([], []) and releases() == ["1.0.0"] * 4


def test_a_canary_by_it_is_judged_by_the_probe(switches: Runs, desk: Desk) -> None:
    canary = {"steps": [50, 100], "step_time": 10, "interval": 1, "warm_up": 0, "latency": "none"}
    bad = switches.play("zero.downtime.deploy", deploy_release="4.0.0-errors", deploy_strategy="canary", deploy_canary=canary, deploy_evidence_rate=60)
    assert bad.rc == 2 and version() == "1.0.0" and desk.set == [50, 0], bad.output
    assert "The canary fails more often" in bad.sentence, bad.sentence
