# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole rolling deploy under load: ours, the guide's with community.general.haproxy, and the least that this machine allows."""

from __future__ import annotations

import json
import sys
import typing as t

from measure import OUTPUT, Finding, length, playbook, run, under_load
from scene import HERE, Scene

THEIRS = str(HERE / "play" / "rolling_theirs.yml")
LIMIT = str(HERE / "limit.py")
BATCHES = 4


def compare(count: int, rate: float) -> dict[str, t.Any]:
    """Each from 1.0.0 on running members, each on a scene that nobody has used before."""
    with Scene(count, members=True) as scene:
        scene.build("1.0.0", "2.0.0")
        run("rolling-ours-first", playbook(scene.inventory, "zero.downtime.deploy", deploy_release="1.0.0"))
        ours = _row(under_load("rolling-ours", scene.url, rate, playbook(scene.inventory, "zero.downtime.deploy", deploy_release="2.0.0")))
        ours.update(_of_record(scene, ours))
    theirs, with_facts = _theirs(count, rate, False), _theirs(count, rate, True)
    with Scene(count, members=True) as scene:
        scene.build("1.0.0", "2.0.0")
        run("rolling-limit-first", [sys.executable, LIMIT, scene.note(), "place", "1.0.0"])
        run("rolling-limit-stage", [sys.executable, LIMIT, scene.note(), "stage", "2.0.0"])
        limit = _row(under_load("rolling-limit", scene.url, rate, [sys.executable, LIMIT, scene.note(), "roll", "2.0.0", str(BATCHES)]))
        limit["parts"] = json.loads((OUTPUT / "rolling-limit.log").read_text(encoding="utf-8").splitlines()[-1])
        limit["seconds"] = round(sum(limit["parts"].values()), 3)
    return {"members": count, "batches": BATCHES, "load": round(rate * 2.5, 1), "ours": ours, "theirs": theirs, "theirs_with_facts": with_facts, "limit": limit,
            "ratio": round(with_facts["seconds"] / ours["seconds"], 2), "ratio_without_facts": round(theirs["seconds"] / ours["seconds"], 2),
            "to_limit": round(ours["seconds"] / limit["seconds"], 2)}


def _theirs(count: int, rate: float, facts: bool) -> dict[str, t.Any]:
    """The guide's play gathers facts, as plays do by default, and is what the target is held against; without them is what a careful team may do."""
    name = "rolling-theirs-facts" if facts else "rolling-theirs"
    with Scene(count, members=True) as scene:
        scene.build("1.0.0", "2.0.0")
        run(name + "-first", [sys.executable, LIMIT, scene.note(), "place", "1.0.0"])
        return _row(under_load(name, scene.url, rate, playbook(
            scene.inventory, THEIRS, bench_label="2.0.0", bench_digest=scene.digests["2.0.0"], bench_batch=-(-count // BATCHES), bench_facts=facts)))


def _row(report: dict[str, t.Any]) -> dict[str, t.Any]:
    if set(report["versions"]) != {"1.0.0", "2.0.0"}:
        raise Finding(f"the load saw {sorted(report['versions'])} and not both releases")
    return {name: report[name] for name in ("seconds", "cpu", "sent", "failed", "failures", "longest_gap_ms", "slowest_ms")} | {
        "began": report["command"]["started"], "ended": report["command"]["finished"]}


def _of_record(scene: Scene, ours: dict[str, t.Any]) -> dict[str, t.Any]:
    """Where the time went: the record's steps, and what lies before, between and after them."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (scene.dir / "records").glob("*.json")]
    record = next((one for one in records if one["release"]["label"] == "2.0.0"), None)
    if record is None or record["result"] != "succeeded":
        raise Finding("there is no record of a deploy that succeeded; see build/bench/rolling-ours.log")
    spans: dict[str, list[tuple[float, float]]] = {}
    for step in record["steps"]:
        if step.get("finished"):
            spans.setdefault(step["name"], []).append((step["started"], step["finished"]))
    steps = {name: round(length(found), 3) for name, found in spans.items()}
    everything = [span for found in spans.values() for span in found]
    inside = length(everything)
    evidence = record["evidence"]
    return {
        "steps": steps,
        "between": round(max(end for _begin, end in everything) - min(begin for begin, _end in everything) - inside, 3),
        "before": round(min(begin for begin, _end in everything) - ours["began"], 3),
        "after": round(ours["ended"] - max(end for _begin, end in everything), 3),
        "evidence": {"probe_sent": evidence["probe"]["sent"], "probe_failed": evidence["probe"]["failed"],
                     "received": (evidence["balance"] or {}).get("received"), "unanswered": (evidence["balance"] or {}).get("unanswered"),
                     "verdict": evidence.get("verdict")},
    }
