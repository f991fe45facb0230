# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The balancer's part alone: one call for all servers against a call for each, and how one call grows."""

from __future__ import annotations

import json
import sys
import time
import typing as t

from measure import OUTPUT, Finding, median, playbook, run
from scene import HERE, REPO, Scene

OURS, THEIRS = str(HERE / "play" / "balancer_ours.yml"), str(HERE / "play" / "balancer_theirs.yml")
REPEAT = 5

# One module process as a host runs it, without a controller.
CALL = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.zero.downtime.plugins.modules import haproxy_members
with patch_module_args(json.load(open(sys.argv[1]))):
    haproxy_members.main()
"""


def _call(scene: Scene, state: str) -> dict[str, float]:
    path = scene.dir / "arguments.json"
    path.write_text(json.dumps({"socket": scene.balancer.socket, "master_socket": scene.balancer.master_socket, "config": scene.balancer.config,
                                "pools": ["shop"], "members": scene.names, "state": state}), encoding="utf-8")
    return run("call", [sys.executable, "-c", CALL, str(path)], PYTHONPATH=str(REPO / "build" / "collections"))


def _all_up(scene: Scene) -> None:
    """Nothing may be left over from one side's measurement for the next one."""
    end = time.monotonic() + 30
    while True:
        rows = [line.split(",") for line in scene.ask("show stat shop 4 -1").splitlines()[1:] if line]
        if len(rows) == len(scene.names) and all(row[17] == "UP" for row in rows):
            return
        if time.monotonic() > end:
            raise Finding("not every server came back into traffic")
        time.sleep(0.05)


def _one_call(scene: Scene) -> dict[str, t.Any]:
    outs, backs = [], []
    for _number in range(REPEAT):
        outs.append(_call(scene, "drained")["seconds"])
        backs.append(_call(scene, "active")["seconds"])
    return {"drain": median(outs), "return": median(backs), "both": round(median([a + b for a, b in zip(outs, backs)]), 3)}


def _play(scene: Scene, name: str, path: str) -> dict[str, float]:
    """A play: its seconds with the start of ansible-playbook, and those of its tasks alone, from the first one's beginning to the end of the play."""
    timeline = OUTPUT / f"{name}.timeline"
    timeline.unlink(missing_ok=True)
    found = run(name, playbook(scene.inventory, path), ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback"), BENCH_TIMELINE=str(timeline))
    marks = [json.loads(line) for line in timeline.read_text(encoding="utf-8").splitlines()]
    began = min(mark["time"] for mark in marks if mark["event"] == "began")
    return {**found, "tasks": round(next(mark["time"] for mark in marks if mark["event"] == "ended") - began, 3)}


def _plays(scene: Scene, repeat: int = REPEAT) -> dict[str, float]:
    found = []
    for _number in range(repeat):
        _all_up(scene)
        found.append(_play(scene, "balancer-ours", OURS))
    return {name: median([one[name] for one in found]) for name in ("seconds", "cpu", "tasks")}


def compare(count: int) -> dict[str, t.Any]:
    with Scene(count) as scene:
        _all_up(scene)
        calls = _one_call(scene)
        ours = _plays(scene)
        _all_up(scene)
        theirs = _play(scene, "balancer-theirs", THEIRS)
    return {"servers": count, "call": calls, "ours": ours, "theirs": theirs,
            "ratio": round(theirs["tasks"] / ours["tasks"], 1), "ratio_play": round(theirs["seconds"] / ours["seconds"], 1),
            "ratio_call": round(theirs["tasks"] / calls["both"], 1)}


def growth(sizes: t.Sequence[int]) -> list[dict[str, t.Any]]:
    rows = []
    for count in sizes:
        with Scene(count) as scene:
            _all_up(scene)
            rows.append({"servers": count, **_one_call(scene), "play": _plays(scene, 3)["seconds"]})
    return rows
