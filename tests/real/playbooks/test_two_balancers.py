# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two balancers before the same members, under load, in one story of rolling deploys: somebody else deploys meanwhile,
the controller is killed with members out, one of the balancers dies. And in one story with two sides: their shares are
alike on both, whatever happens in between.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import time
import typing as t

import pair as pairs
import playing
import pytest
from haproxy_stage import get, wait_until
from under_load import Load

import layout

SERVING = ["2 0"] * len(layout.MEMBERS)
ALIVE, DYING = (url.partition("//")[2] for url in pairs.URLS)

SECOND = """
- name: Deploy the same application, and another one
  ansible.builtin.shell: >-
    if {second} > {dir}/second.log 2>&1; then echo both deploys ran; exit 1; fi; {other} > {dir}/other.log 2>&1
  changed_when: true
  when: rolling_batch.n == 2
"""
# Another application on the same hosts: a worker, beside what serves.
ACCOUNT = {
    "deploy_app": "account", "deploy_service": {"command": "true"}, "deploy_traffic": {"driver": "none"},
    "deploy_health": {}, "deploy_evidence_url": "", "deploy_state_hosts": "shop_lb", "deploy_min_active": "0",
}
DIE = """
- name: Kill the controller, as an out-of-memory killer does
  ansible.builtin.shell: >-
    kill -KILL $(python3 -c 'import json; print(json.load(open("{lock}"))["holder"]["pid"])')
  changed_when: true
  delegate_to: localhost
  run_once: true
"""
LB2_DIES = """
- name: Let lb2's HAProxy die, master and workers
  ansible.builtin.shell: pkill -KILL -f '[h]aproxy .*{config}'
  changed_when: true
  when: rolling_batch.n == 2
"""


class Told(t.NamedTuple):
    """A run of the story: how it ended, all that it said, and the records that there were then, by deploys' names."""
    rc: int
    output: str
    records: dict[str, dict[str, t.Any]]

    @property
    def text(self) -> str:
        return " ".join(self.output.split())


class Story:
    """Runs on two balancers under load, and what was seen in between."""

    def __init__(self, stage: t.Any, path: pathlib.Path, sides: t.Sequence[str]) -> None:
        self.stage, self.path = stage, path
        self.pair = pairs.Pair(stage, sides)
        self.records = path / "records"
        self.told: dict[str, Told] = {}
        self.seen: dict[str, t.Any] = {}
        self.times: dict[str, float] = {}
        self.load = Load(pairs.URLS, path)

    def hook(self, name: str, text: str, **words: t.Any) -> dict[str, str]:
        path = self.path / f"{name}.yml"
        path.write_text(text.format(**words), encoding="utf-8")
        return {name: str(path)}

    def _variables(self, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"deploy_records_dir": str(self.records), "deploy_soak": 0, "deploy_batches": [2], **variables}

    def play(self, name: str, playbook: str, **variables: t.Any) -> None:
        """A run to its end; its name is the deploy's."""
        process = self.begin(name, playbook, **variables)
        try:
            process.wait(600)
        finally:
            process.kill()
        self.ended(name, process.returncode)

    def begin(self, name: str, playbook: str, **variables: t.Any) -> t.Any:
        with open(self.path / f"{name}.log", "wb") as log:
            variables = self._variables({"deploy_id": name, **variables})
            return self.pair.begin("zero.downtime." + playbook, log, **variables)

    def ended(self, name: str, rc: int) -> None:
        output = (self.path / f"{name}.log").read_text(encoding="utf-8")
        records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in self.records.glob("*.json")}
        self.told[name] = Told(rc, output, records)

    @staticmethod
    def _lasting(files: t.Iterable[str]) -> list[str]:
        """Since when the sides have their shares outlives every deploy."""
        return [name for name in files if not name.endswith((".shares", ".last"))]

    def look(self, name: str) -> None:
        """All that has to be in order after a deploy that ended well."""
        side = self.serving()
        both = tuple(self.pair.sockets)
        self.seen[name] = {
            "states": {balancer: self.pair.states(balancer, side) for balancer in both},
            "state files": {balancer: self._lasting(self.pair.state_files(balancer)) for balancer in both},
            "shares": {balancer: self.pair.shares(balancer) for balancer in both},
            "runs": {member: runs(member, side) for member in layout.MEMBERS},
            # Neither a probe nor a module lives on.
            "left": [str(one) for one in layout.processes() if str(self.records) in " ".join(one.argv)],
        }

    def serving(self) -> str:
        return "green" if self.pair.shares("lb1")[0] == "100" else "blue"

    def record(self, name: str) -> dict[str, t.Any]:
        return self.told[name].records[name]

    def nothing_lost(self, name: str) -> None:
        """What a deploy's own evidence says."""
        evidence = self.record(name)["evidence"]
        assert evidence["probe"]["failed"] == 0 and evidence["probe"]["sent"] > 20, evidence["probe"]
        balance = evidence["balance"]
        assert balance["complete"] and set(balance["balancers"]) == {"lb1", "lb2"}, balance["note"]
        assert (balance["truncated"], balance["unanswered"], balance["cut"], balance["errors_during"]) == (0, 0, 0, 0)
        assert evidence["kernel"]["overflows"] == evidence["kernel"]["drops"] == 0
        assert (evidence["attributed"], evidence["verdict"]) == ([], "clean")

    def all_serve(self, name: str, version: str) -> None:
        seen = self.seen[name]
        assert seen["states"] == {"lb1": SERVING, "lb2": SERVING}
        assert seen["state files"] == {"lb1": [], "lb2": []}
        assert seen["runs"] == dict.fromkeys(layout.MEMBERS, version)
        assert seen["left"] == []


def runs(member: str, side: str) -> str:
    """The release that a member answers with, asked past the balancers."""
    return json.loads(get(f"http://127.0.0.1:{layout.port(member, side)}/")[1])["version"]


def told(
    stage: t.Any, path: pathlib.Path, sides: t.Sequence[str], tell: t.Callable[[Story], None],
) -> t.Iterator[Story]:
    """The story, once it has happened."""
    stage.restore()
    story = Story(stage, path, sides)
    try:
        with story.load:
            tell(story)
    finally:
        # Before another story begins: its second balancer has the same port, and the kernel would share the connections between them.
        story.pair.stop()
    yield story


# -- rolling ---------------------------------------------------------------------------------------------------------
def tell_rolling(story: Story) -> None:
    pair, path = story.pair, story.path
    lock = path / "lb1-lock"
    artifacts = story.stage.artifacts
    account = {"deploy_artifact": {"src": f"{artifacts}/shop-2.0.0.tar.gz", "checksums": f"{artifacts}/SHA256SUMS",
                                   "root": "{{ stage_host }}/account"}, **ACCOUNT}
    second, other = (pair.command("zero.downtime.deploy", deploy_release="2.0.0", deploy_id=name,
                                  deploy_records_dir=str(path / name), **variables)
                     for name, variables in (("second", {}), ("other", account)))
    story.play("first", "deploy", deploy_release="2.0.0", deploy_hooks=story.hook(
        "before_drain", SECOND, dir=path, second=raw(second), other=raw(other)))
    story.look("first")

    lock.symlink_to(pair.dir / "lb1" / "state" / "local-shop.lock")
    killed = story.begin("killed", "deploy", deploy_release="1.0.0", deploy_hooks=story.hook(
        "after_activate", DIE, lock=lock))
    story.ended("killed", killed.wait(300))
    story.play("where", "status")
    story.play("taken_over", "deploy", deploy_release="1.0.0")
    story.look("taken_over")

    story.times["dies"] = time.time()
    story.play("dying", "deploy", deploy_release="2.0.0", deploy_hooks=story.hook(
        "before_drain", LB2_DIES, config=pair.dir / "lb2"))
    story.play("without", "rollback", deploy_without=f"lb2:{pairs.PORT}")
    story.play("named", "status", status_fail=False)
    pair.kill()
    pair.start()
    story.times["lives"] = time.time()
    story.play("with", "deploy", deploy_release="2.0.0")
    story.look("with")


def raw(command: t.Sequence[str]) -> str:
    """The command for a shell, whose words Ansible leaves as they are."""
    return "{% raw %}" + shlex.join(command) + "{% endraw %}"


@pytest.fixture(scope="module")
def rolling(saved_stage: t.Any, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Story]:
    yield from told(saved_stage, tmp_path_factory.mktemp("rolling"), ("blue",), tell_rolling)


def test_no_client_lost_a_request_but_those_of_the_balancer_that_died(rolling: Story) -> None:
    report = rolling.load.report
    assert report["streams"].keys() >= {"fresh", "keepalive", "post"}
    assert report["targets"][ALIVE]["failed"] == 0, report["losses"]
    assert min(target["sent"] for target in report["targets"].values()) > 200
    assert report["targets"][DYING]["failed"] > 0
    lost = [one["time"] + one["seconds"] for one in rolling.load.requests if not one["ok"]]
    assert rolling.times["dies"] < min(lost) and max(lost) < rolling.times["lives"] + 1
    assert set(report["versions"]) == {"1.0.0", "2.0.0"}


@pytest.mark.parametrize("name", ["first", "taken_over", "with"])
def test_each_ended_well_on_both(rolling: Story, name: str) -> None:
    assert rolling.told[name].rc == 0, rolling.told[name].output
    assert rolling.record(name)["result"] == "succeeded"
    rolling.nothing_lost(name)
    rolling.all_serve(name, {"first": "2.0.0", "taken_over": "1.0.0", "with": "2.0.0"}[name])


@pytest.mark.claim("one-deploy-at-a-time")
def test_a_second_deploy_was_refused_and_names_the_first(rolling: Story) -> None:
    refused = playing.Played(2, (rolling.path / "second.log").read_text(encoding="utf-8"))
    assert refused.sentence.startswith("Deploy of shop was refused: shop (local) is locked on lb1 by deploy first of "), refused.output
    assert "(process " in refused.sentence
    assert list((rolling.path / "second").glob("*.json")) == []


@pytest.mark.claim("other-applications-go-on")
def test_another_application_went_on(rolling: Story) -> None:
    assert "Deploy of account: 4 of 4 members were moved" in (rolling.path / "other.log").read_text(encoding="utf-8")


@pytest.mark.claim("status-after-a-killed-controller")
def test_status_said_where_a_killed_controller_left_things(rolling: Story) -> None:
    assert rolling.told["killed"].rc in (-9, 137), rolling.told["killed"].output
    assert "killed" not in rolling.told["killed"].records, "a killed run writes no record"
    said = rolling.told["where"].text
    # And whom it left out no person took out.
    assert "was taken out of traffic before" not in rolling.told["taken_over"].output
    assert "has the lock, and its" in said and " zero.downtime.rollback -e deploy_app=shop -e deploy_strategy=rolling undoes it" in said, said
    assert "member app1 is out of traffic" in said and "member app2 is out of traffic" in said


@pytest.mark.claim("balancer-lost-in-the-middle")
def test_a_balancer_that_died_in_the_middle_is_named_and_ends_the_deploy(rolling: Story) -> None:
    assert rolling.told["dying"].rc == 2, rolling.told["dying"].output
    record = rolling.record("dying")
    assert record["result"] == "failed" and "lb2" in record["sentence"]


@pytest.mark.claim("status-exit-code-can-be-zero")
def test_the_way_back_was_made_without_it(rolling: Story) -> None:
    assert rolling.told["without"].rc == 0, rolling.told["without"].output
    record = rolling.record("without")
    assert record["result"] == "succeeded"
    assert {row["name"]: row["release"] for row in record["members"]} == dict.fromkeys(layout.MEMBERS, "1.0.0")
    assert record["evidence"]["probe"]["failed"] == 0
    assert rolling.told["named"].rc == 0 and "lb2" in rolling.told["named"].output


# -- two sides -------------------------------------------------------------------------------------------------------
# The load is light, so the shares are large.
CANARY = {"deploy_strategy": "canary", "deploy_canary": {
    "steps": [25, 50, 100], "step_time": 3, "interval": 1, "warm_up": 0, "deadline": 60, "latency": "none"}}
# Few requests are no reason to pass at the first share, only to wait.
STRICT = {**CANARY, "deploy_canary": {**CANARY["deploy_canary"], "deadline": 200, "judge": {"margin": 1}}}


def tell_sides(story: Story) -> None:
    pair = story.pair
    story.stage.script("up", "4.0.0-errors")
    story.play("switched", "deploy", deploy_release="2.0.0", deploy_strategy="blue_green")
    # The shares outlive a reload.
    pair.reload("lb1")
    story.look("switched")

    good = story.begin("good", "deploy", deploy_release="1.0.0", **CANARY)
    # In the middle, with requests on both sides.
    wait_until(lambda: pair.shares("lb2")[1] in ("50", "0") or good.poll() is not None,
               "half of the requests go to the canary", timeout=300)
    story.seen["reloaded at"] = pair.shares("lb2")[1]
    pair.reload("lb2")
    story.ended("good", good.wait(300))
    story.look("good")

    story.play("bad", "deploy", deploy_release="4.0.0-errors", **STRICT)
    pair.reload("lb1")
    story.look("bad")

    # It dies between the switch and the end of the side that served before; another rollback ends what this one began.
    killed = story.begin("killed", "rollback", deploy_strategy="blue_green", deploy_keep_previous=0, deploy_idle_for=60)
    evidence = story.records / ".running" / "killed" / "evidence.json"
    wait_until(lambda: evidence.exists() or killed.poll() is not None, "the rollback has switched", timeout=300)
    killed.kill()
    story.ended("killed", killed.wait(60))
    story.play("back", "rollback", deploy_strategy="blue_green")
    story.look("back")


@pytest.fixture(scope="module")
def two_sides(saved_stage: t.Any, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Story]:
    yield from told(saved_stage, tmp_path_factory.mktemp("sides"), ("blue", "green"), tell_sides)


ENDS = {"switched": (0, "succeeded"), "good": (0, "succeeded"), "bad": (2, "rolled_back"), "back": (0, "succeeded")}
# What serves then, and green's share in the process and in the file of both.
THEN = {"switched": ("2.0.0", "100"), "good": ("1.0.0", "0"), "bad": ("1.0.0", "0"), "back": ("2.0.0", "100")}


@pytest.mark.parametrize("name", ENDS)
def test_each_ended_as_it_should(two_sides: Story, name: str) -> None:
    told = two_sides.told[name]
    assert (told.rc, two_sides.record(name)["result"]) == ENDS[name], told.output
    evidence = two_sides.record(name)["evidence"]
    balance = evidence["balance"]
    assert (balance["truncated"], balance["unanswered"], balance["cut"]) == (0, 0, 0)
    assert name == "bad" or evidence["probe"]["failed"] == 0


@pytest.mark.parametrize("name", THEN)
def test_the_shares_are_alike_and_outlive_reloads(two_sides: Story, name: str) -> None:
    version, share = THEN[name]
    assert two_sides.seen[name]["shares"] == dict.fromkeys(("lb1", "lb2"), (share, share))
    two_sides.all_serve(name, version)


def test_no_request_went_without_an_answer(two_sides: Story) -> None:
    report = two_sides.load.report
    # What the bad release answered itself, while it had its share, is all that anybody saw.
    assert set(report["failures"]) == {"status_500"}, report["losses"]
    assert report["failures"]["status_500"] < 0.2 * report["sent"]
    bad = two_sides.record("bad")
    lost = [one["time"] + one["seconds"] for one in two_sides.load.requests if not one["ok"]]
    assert bad["started"] < min(lost) and max(lost) < bad["finished"] + 1
    assert set(report["versions"]) == {"1.0.0", "2.0.0", "4.0.0-errors"}


@pytest.mark.claim("canary-growing-share")
def test_the_canaries_were_judged_by_what_both_balancers_counted(two_sides: Story) -> None:
    assert two_sides.seen["reloaded at"] == "50"
    good, bad = two_sides.record("good")["canary"]["steps"], two_sides.record("bad")["canary"]["steps"]
    assert [(step["share"], step["verdict"]) for step in good] == [(25, "pass"), (50, "pass")]
    steps = [step["name"] for step in two_sides.record("good")["steps"]]
    assert [name for name in steps if name.startswith(("share", "judge", "back_switch"))] == [
        "share 25 %", "judge 25 %", "share 50 %", "judge 50 %", "share 100 %"]
    first, last = good[0]["errors"], good[-1]["errors"]
    assert last["canary_errors"] == 0 and last["canary_requests"] > first["canary_requests"]
    assert bad[-1]["verdict"] == "fail" and "4.0.0-errors was withdrawn at 25 %" in two_sides.record("bad")["sentence"]


def test_a_controller_that_died_after_the_switch_left_a_whole_side(two_sides: Story) -> None:
    assert two_sides.told["killed"].rc in (-9, 137), two_sides.told["killed"].output
    ended = two_sides.record("back")["sentence"]
    assert "2.0.0 serves already, on green" in ended or "every request goes to green" in ended, ended
