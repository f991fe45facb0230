# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ordinary haproxy.cfg with one backend: what doctor prints, and nothing else, makes blue/green work on it, under load."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import haproxy_lines
import haproxy_stage
import playing
import pytest
import yaml

sys.path.insert(0, str(playing.REPO / "tests" / "stage"))

import layout  # noqa: E402  pylint: disable=wrong-import-position

LOAD = playing.REPO / "tests" / "load" / "load.py"
SERVICE = {side: {verb: "{{ stage_service }} " + what + " {{ inventory_hostname }} " + side for verb, what in (("command", "restart"), ("stop", "stop"))}
           for side in layout.SLOTS}
PORTS = {side: "{{ stage_" + side + "_port }}" for side in layout.SLOTS}


class Ordinary:
    """A balancer of its own before the members of the stage, of which it knows one side; and what an inventory says of it."""

    def __init__(self, stage: t.Any, path: pathlib.Path, pools: t.Sequence[str] = ("shop",), rules: t.Sequence[str] = ()) -> None:
        """Requests go to the first of C(pools) unless C(rules) send them to another one; each has all members."""
        self.stage, self.path = stage, path
        self.balancer = haproxy_stage.HaproxyStage({pool: list(layout.MEMBERS) for pool in pools}, start_apps=False, backend_lines=["option redispatch 1"],
                                                   frontend_lines=rules,
                                                   default_server="check inter 500ms fastinter 200ms downinter 200ms fall 3 rise 2 weight 100")
        self.balancer.ports = {member: layout.port(member, "blue") for member in layout.MEMBERS}
        self.variables: dict[str, t.Any] = {
            "deploy_traffic": {"driver": "haproxy", "balancers": "shop_lb", "socket": self.balancer.socket, "master_socket": self.balancer.master_socket,
                               "frontends": ["front"], "pools": [{"name": "shop", "port": PORTS["blue"]}]},
            "deploy_service": SERVICE["blue"], "deploy_slot": "blue", "deploy_evidence_url": self.balancer.url + "/", "deploy_soak": 0,
            "deploy_state_dir": str(path / "state"),
        }

    def play(self, playbook: str, **variables: t.Any) -> playing.Played:
        return self.stage.play("zero.downtime." + playbook, **{**self.variables, **variables})

    def play_under_load(self, playbook: str, **variables: t.Any) -> dict[str, t.Any]:
        report, output = self.path / "load.json", self.path / "output"
        command = playing.command("zero.downtime." + playbook, inventories=[str(playing.REPO / "inventories" / "local")],
                                  variables={**self.variables, **variables})
        subprocess.run([sys.executable, str(LOAD), "--target", self.balancer.url, "--report", str(report), "--output", str(output), "--rate", "20",
                        "--", *command], check=True, timeout=300, env={**os.environ, **playing.ENV}, cwd=playing.REPO)
        return {**json.loads(report.read_text(encoding="utf-8")), "output": output.read_text(encoding="utf-8")}

    def apply(self, lines: list[str]) -> None:
        """What a team does with the lines that doctor printed, each at its place; only the ports of the second slots are filled in."""
        others = haproxy_lines.apply(pathlib.Path(self.balancer.config), lines, lambda member: layout.port(member, "green"))
        pools = yaml.safe_load(others.pop("deploy_traffic.pools"))
        self.variables["deploy_traffic"] = {**self.variables["deploy_traffic"], "pools": [{**pool, "port": PORTS[pool["side"]]} for pool in pools]}
        assert others.pop("deploy_service").startswith("{blue: {…, slot: …}, green: {…}}") and not others
        self.variables["deploy_service"] = {"blue": {**SERVICE["blue"], "slot": self.variables.pop("deploy_slot")}, "green": SERVICE["green"]}


def printed(output: str) -> list[str]:
    """The lines that doctor printed for the finding about sides."""
    found = [json.JSONDecoder().raw_decode(output, match.end())[0] for match in re.finditer(r'"msg": (?=\[)', output)]
    return next(lines for lines in found if lines[0].startswith("lb1, info, split: "))


def as_documented(ordinary: Ordinary, played: playing.Played) -> list[str]:
    """What doctor printed, with the places that the documentation has."""
    places = {str(ordinary.balancer.dir): "/etc/haproxy", str(ordinary.path / "state"): "/var/lib/zero-downtime",
              str(ordinary.stage.dir / "hosts"): "/srv/stage",
              str(playing.REPO / "build"): "/srv/build", ordinary.balancer.url: "https://shop.example"}
    looked = re.search(r"TASK \[zero\.downtime\.status : Look at .*\n((?:.*\n)*?)ok: ", played.output)
    assert looked, played.output
    text = looked[1] + "\n" + played.sentence
    for place, name in places.items():
        text = text.replace(place, name)
    for found, word in ((r"haproxy \d\S+ answers", "haproxy 2.6.12 answers"), (r"127\.0\.0\.1", "192.0.2.1"),
                        (r"x-release \w+", "x-release eb742327e2b2"), (r"it knows [\w., -]+", "it knows 1.0.0, 2.0.0")):
        text = re.sub(found, word, text)
    return text.splitlines()


@pytest.fixture
def ordinary(stage, tmp_path):
    """Back to 1.0.0 on blue alone, as the other tests know the stage."""
    found = Ordinary(stage, tmp_path)
    with found.balancer:
        haproxy_stage.wait_until(found.balancer.settled, "every member is up")
        yield found
    green = [process for member in layout.MEMBERS for process in layout.member_processes(member, "green")]
    if green:
        for member in layout.MEMBERS:
            subprocess.run([str(playing.REPO / "tests" / "stage" / "service"), "stop", member, "green"], check=True, timeout=60)


@pytest.mark.claim("doctor-tells-strategies-and-lines", "doctor-example")
def test_from_one_backend_to_blue_green_by_the_lines_that_doctor_prints(ordinary):
    refused = ordinary.play("deploy", deploy_release="2.0.0", deploy_strategy="blue_green")
    assert refused.rc == 2 and "needs pools of both sides" in refused.output, refused.output
    said = ordinary.play("doctor")
    assert said.rc == 0, said.output
    lines = printed(said.output)
    assert "pool shop has no second side: rolling works, blue/green and canary need these lines and a reload" in lines[0]
    # The refusal names the same lines.
    assert all(line in refused.sentence for line in lines[1:]), (refused.sentence, lines)

    # Built, and forgotten in the checksum file.
    built = ordinary.stage.artifacts / "shop-2.0.1.tar.gz"
    built.touch()
    try:
        unknown = ordinary.play("doctor", deploy_release="2.0.1")
    finally:
        built.unlink()
    assert unknown.rc == 2, unknown.output
    documented = (playing.REPO / "docs" / "doctor.md").read_text(encoding="utf-8").partition("## An example")[2].split("```\n")[1]
    assert as_documented(ordinary, unknown) == documented.splitlines(), "\n".join(as_documented(ordinary, unknown))

    ordinary.apply(lines[1:])
    ordinary.balancer.reload()
    again = ordinary.play("doctor")
    assert again.rc == 0 and "blue/green and canary work: frontend front splits requests by 'shop'" in again.output, again.output
    there = ordinary.play_under_load("deploy", deploy_release="2.0.0", deploy_strategy="blue_green")
    assert there["failed"] == 0 and set(there["versions"]) == {"1.0.0", "2.0.0"}, there
    assert "2.0.0 serves on green (4 of 4 members); blue keeps 1.0.0 warm" in there["output"], there["output"]
    back = ordinary.play_under_load("rollback", deploy_strategy="blue_green")
    assert back["failed"] == 0 and set(back["versions"]) == {"1.0.0", "2.0.0"}, back
    assert "1.0.0 serves on blue (4 of 4 members)" in back["output"], back["output"]


@pytest.mark.claim("doctor-passes-by-its-own-lines")
@pytest.mark.parametrize("rules", [["acl is_shop hdr(host) shop.example", "use_backend shop if is_shop"],
                                   ["use_backend %[req.hdr(host),lower,map({map},rest)]"]],
                         ids=["condition", "map"])
def test_a_pool_behind_a_rule_passes_doctor_by_the_lines_that_it_prints(stage, tmp_path, rules):
    hosts = tmp_path / "hosts.map"
    hosts.write_text("shop.example shop\n", encoding="ascii")
    found = Ordinary(stage, tmp_path, ("rest", "shop"), [rule.replace("{map}", str(hosts)) for rule in rules])
    with found.balancer:
        haproxy_stage.wait_until(found.balancer.settled, "every member is up")
        said = found.play("doctor", deploy_strategy="blue_green")
        assert said.rc == 2, said.output
        assert said.sentence.startswith("ready for rolling; not ready for blue_green, canary because a second side needs pools of both sides"), \
            said.output
        lines = printed(said.output)
        assert "requests come to it by 'use_backend " in lines[0] and all(f"\n    {line}\n" in said.output for line in lines[1:]), said.output
        found.apply(lines[1:])
        found.balancer.reload()
        again = found.play("doctor", deploy_strategy="blue_green")
        assert again.rc == 0 and again.sentence == "ready for rolling, blue_green, canary" and not {"✗", "⚠"} & set(again.output), again.output
