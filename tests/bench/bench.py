# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the collection with the module that people use today, and with what the machine allows, all in one run.

    python tests/bench/bench.py [--members 40] [--servers 200] [--only balancer,rolling,growth,probe,safety,judge,switch,streams] [--no-table]

Writes build/bench.json, docs/judge_figures.md from the part judge, docs/stream_figures.md from the part streams and, from a whole run, docs/bench.md.
The exit code is 0 when every target is met.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import typing as t

import ansible_collections
import balancer
import fleet
import judge
import judge_page
import probe_cost
import rolling
import safety
import stream_page
import streams
import switch
import table
from haproxy_stage import HAPROXY
from measure import BUILD, FORKS, REPO, Finding

PARTS = ("balancer", "growth", "fleet", "probe", "rolling", "safety", "judge", "switch", "streams")
SIZES = (10, 100, 1000)
SAFE_SIZES = (4, 40)
# Members and batches.
FLEETS = ((10, 4), (200, 10), (200, 40), (1000, 40))


def _machine() -> dict[str, t.Any]:
    if HAPROXY is None:
        raise Finding("haproxy is not installed; run make setup")
    version = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout.split()[2]
    general = json.loads((_collections() / "community" / "general" / "MANIFEST.json").read_text(encoding="utf-8"))
    return {
        "date": datetime.date.today().isoformat(), "cores": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[0], 2),
        "forks": FORKS, "python": platform.python_version(), "linux": platform.release().split("-")[0], "haproxy": version.split("-")[0],
        "ansible_core": importlib.metadata.version("ansible-core"), "gunicorn": importlib.metadata.version("gunicorn"),
        "community_general": general["collection_info"]["version"],
    }


def _collections() -> pathlib.Path:
    return pathlib.Path(next(iter(ansible_collections.__path__)))


def _targets(found: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    targets = []

    def target(name: str, value: float, wanted: float, least: bool) -> None:
        targets.append({"name": name, "value": value, "target": wanted, "least": least, "met": value >= wanted if least else value <= wanted})

    if "balancer" in found:
        # claim: bench-faster-than-a-call-each
        target("times faster than a call for each server", found["balancer"]["ratio"], 30, True)
    if "fleet" in found:
        largest = found["fleet"][-1]
        target("times the processor time of a play that does nothing, 1,000 members in 40 batches", largest["ratio"], 2, False)
        target("times that of one task that does nothing, status of 1,000 members", largest["status_ratio"], 1.5, False)
        target("MiB of the controller's largest process", max(row["deploy"]["memory"] for row in found["fleet"]), 1024, False)
    if "rolling" in found:
        # claim: bench-faster-than-the-guide
        target("times faster than the guide's playbook", found["rolling"]["ratio"], 4, True)
        # claim: bench-rolling-loses-nothing
        target("requests lost by our deploy", found["rolling"]["ours"]["failed"] + found["rolling"]["ours"]["evidence"]["probe_failed"], 0, False)
    if "probe" in found:
        # claim: bench-probe-is-cheap
        target("share of a core that the probe takes", found["probe"]["share"], 0.05, False)
    if "judge" in found:
        figures = found["judge"]
        # claim: bench-judge-seldom-fails-the-healthy
        target("share of healthy canaries that the judge fails", round(judge.worst(figures), 4), 0.01, False)
        # claim: bench-judge-finds-the-bad
        target("share of canaries with 2 % errors in place of 0.5 % that it fails", judge.share_found(figures, "errors 0.5 → 2 %"), 0.99, True)
        target("seconds in the median until it does, at half of 100 requests a second", figures["at_half"]["median_s"] or 1e9, 40, False)
        target("share of canaries with 50 % more latency that it fails, at half of 50 and of 200 requests a second",
               judge.share_found(figures, "latency +50 %", "50/50", "50/200"), 0.95, True)
        # claim: bench-judge-decides-fast
        target("milliseconds of a decision over 10,000 samples", round(max(figures["ms"], figures["ms_of_a_list"]), 1), 50, False)
    if "switch" in found:
        switches, fronts = found["switch"], found["switch"]["fronts"]
        target("requests lost by %d switches on HAProxy and as many on nginx, and again as module runs" % switches["switches"],
               sum(front["failed"] for name, front in fronts.items() if name.startswith(("haproxy", "nginx"))), 0, False)
        # claim: bench-switch-no-slower-than-caddy
        for peer, name in (("caddy", "Caddy"), ("kamal_proxy", "kamal-proxy")):
            for ours, balancer in (("haproxy", "HAProxy"), ("nginx", "nginx")):
                if peer in fronts:
                    target(f"times as slow as {name} to the last answer of the old side, {balancer}", round(fronts[ours]["last"] / fronts[peer]["last"], 2), 1,
                           False)
        # claim: bench-blue-green-overhead
        target("seconds of a blue/green deploy beside its waits", switches["command"]["rest"], 5, False)
    if "streams" in found:
        ways = found["streams"]["ways"]
        asked, clients = ways["ask"], found["streams"]["rounds"] * (found["streams"]["sockets"] + found["streams"]["events"])
        # claim: bench-asked-streams-lose-nothing
        target("streams cut by a deploy that asks for their end", asked["cut"], 0, False)
        gone = asked["server_messages"]["missing"] + asked["client_messages"]["unknown"]
        target("messages of theirs that are missing, or that nobody knows of", gone, 0, False)
        target("clients of %d that are on the new release after it" % clients, asked["on_the_new"], clients, True)
        target("requests lost beside the streams, by each value", sum(ways[value]["requests"]["failed"] for value in streams.VALUES), 0, False)
        if "kamal_proxy" in ways and asked["moved"] is not None:
            slower = round(asked["moved"] / ways["kamal_proxy"]["moved"], 2)
            target("times as slow as kamal-proxy until the last client is on the new release", slower, 1, False)
    if "safety" in found:
        for row in found["safety"]["cost"]:
            # claim: bench-safety-is-cheap
            target("share of a deploy of %d that lock, journal and fence take" % row["members"], row["share"], 0.05, False)
        # claim: bench-death-is-told-in-time
        target("seconds over the time-out until a death is told, at worst", max(row["over"] for row in found["safety"]["deaths"]), 2, False)
    return targets


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--members", type=int, default=40)
    parser.add_argument("--rate", type=float, default=20.0, help="fresh requests a second of the load; as many kept alive, half as many POSTs")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, by comma")
    parser.add_argument("--no-table", action="store_true", help="write no page of docs/")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error("--only names %s; accepted: %s" % (", ".join(sorted(unknown)), ", ".join(PARTS)))
    # A terminated bench ends its servers as well.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    work: dict[str, t.Callable[[], t.Any]] = {
        "balancer": lambda: balancer.compare(options.servers),
        "growth": lambda: balancer.growth(SIZES),
        "fleet": lambda: [fleet.measure(*size) for size in FLEETS],
        "judge": judge.measure,
        "probe": lambda: probe_cost.cost(100, 20),
        "rolling": lambda: rolling.compare(options.members, options.rate),
        "switch": switch.compare,
        "streams": streams.compare,
        "safety": lambda: {"cost": safety.cost(SAFE_SIZES), "deaths": safety.deaths()},
    }
    try:
        found: dict[str, t.Any] = {"machine": _machine()}
        for part in PARTS:
            if part in parts:
                print("bench: %s …" % part, flush=True)
                found[part] = work[part]()
    except Finding as finding:
        print("bench: %s" % finding)
        return 1
    found["targets"] = _targets(found)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if "judge" in found and not options.no_table:
        (REPO / "docs" / "judge_figures.md").write_text(judge_page.render(found["judge"]), encoding="utf-8")
    if "streams" in found and not options.no_table:
        (REPO / "docs" / "stream_figures.md").write_text(stream_page.render(
            found["streams"], found["machine"], _targets({"streams": found["streams"]})), encoding="utf-8")
    if set(parts) == set(PARTS):
        text = table.render(found)
        print("\n" + text)
        if not options.no_table:
            (REPO / "docs" / "bench.md").write_text(text, encoding="utf-8")
    for one in found["targets"]:
        bound, how = ("at least" if one["least"] else "at most"), ("met" if one["met"] else "MISSED")
        print("bench: %s: %g, target %s %g: %s" % (one["name"], one["value"], bound, one["target"], how))
    return 0 if all(one["met"] for one in found["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
