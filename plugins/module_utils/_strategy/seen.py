# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who serves at the end of a deploy that failed, as the balancers said when they were asked once more: pure functions.

A deploy knows what became of its own moves. What became of the members that it did not move, and of those that it
brought back a while ago, only the balancers know. Private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import agreeing

# Of each balancer: each pool's servers with their states; None of a balancer that did not answer.
Seen = t.Mapping[str, t.Optional[t.Mapping[str, t.Mapping[str, str]]]]
Row = t.Dict[str, t.Any]


class Survey(t.NamedTuple):
    """What the balancers said of those who should serve.

    C(dead) do not serve, and nobody took them out; C(parts) say for a sentence who else does not serve, and where;
    C(unknown) says why nobody knows who serves, where no balancer told.
    """

    rows: list[Row]
    dead: list[str]
    parts: list[str]
    unknown: str


def told(infos: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """The states (C(Seen)) from what each balancer's module returned. A server that no pool has is not among them."""
    return {host: None if info.get("failed") else {
        pool["name"]: {entry["name"]: entry["state"] for entry in pool["members"] if entry.get("status") != "absent"}
        for pool in info.get("pools") or ()
    } for host, info in infos.items()}


def look(rows: t.Sequence[Row], local: t.Mapping[str, t.Any], plan: t.Mapping[str, t.Any], side: str | None = None) -> Survey:
    """The members' rows with the states that the balancers told of those that are thought to serve.

    :param side: the side that serves, where there are two.
    """
    seen: Seen | None = (local.get("__deploy_evidence") or {}).get("seen")
    if local.get("__deploy_evidence_problem") and seen is None and _drivers.load(plan["driver"]).info:
        # The question is asked at the end of the evidence.
        seen = dict.fromkeys(plan["balancers"])
    if not seen:
        return Survey(list(rows), [], [], "")
    silent = [host for host, pools in seen.items() if pools is None]
    if len(silent) == len(seen):
        again = _commands.command("status", plan["app"])
        unsure = [{**row, "state": "unknown"} if row["state"] == "active" else row for row in rows]
        return Survey(unsure, [], [], f"who of them serves is not known, since {', '.join(silent)} did not tell; {again} asks again")
    found, partly, out = [], [], []
    for row in rows:
        places = _places(seen, plan, side, row["name"]) if row["state"] == "active" else {}
        lacking = [place for place, state in places.items() if state != "active"]
        if lacking and len(lacking) < len(places):
            partly.append(f"{row['name']} does not serve on {', '.join(lacking)}")
        elif lacking:
            state = "down" if "down" in places.values() else places[lacking[0]]
            out += [row["name"]] if state != "down" else []
            row = {**row, "state": state}
        found.append(row)
    parts = list(partly)
    if out:
        parts.append(agreeing(out, "is out of traffic: somebody else took it out meanwhile",
                              "are out of traffic: somebody else took them out meanwhile"))
    if silent:
        parts.append(f"who serves on {agreeing(silent, 'is not known, since it', 'is not known, since they')} did not tell")
    before = {row["name"]: row["state"] for row in rows}
    dead = [row["name"] for row in found if row["state"] == "down" and before[row["name"]] == "active"]
    return Survey(found, dead, parts, "")


def mended(found: Survey, plan: t.Mapping[str, t.Any], runs: t.Callable[[str], t.Mapping[str, t.Any] | None], way: str = "") -> list[str]:
    """Parts of a sentence: who does not serve, and what ends that.

    :param runs: the release that a member runs, as far as it is known.
    :param way: what ends a deploy that is unfinished; it begins the dead anew as well.
    """
    parts = []
    if found.dead:
        parts.append(agreeing(found.dead, "does not serve, and nobody took it out", "do not serve, and nobody took them out"))
    if found.dead and not way:
        by_release: dict[str, list[str]] = {}
        for name in found.dead:
            if release := runs(name):
                by_release.setdefault(_commands.release(release), []).append(name)
        for label, names in by_release.items():
            who = ("it" if len(names) == 1 else "them") if len(by_release) == 1 else ", ".join(names)
            parts.append(f"{_commands.anew(plan['app'], label, bool(plan.get('sides')))} begins {who} anew")
    return [*parts, *found.parts, *([way] if way else [])]


def _places(seen: Seen, plan: t.Mapping[str, t.Any], side: str | None, name: str) -> dict[str, str]:
    """The state of a member in each pool that serves, on each balancer that told."""
    known = (plan.get("sides") or {}).get(side) if side else None
    pools = known["pools"] if known else plan["pools"]
    server = known["hosts"][name]["server"] if known else plan["servers"].get(name, name)
    return {f"{host}/{pool}": servers[server] for host, by_pool in seen.items() for pool, servers in (by_pool or {}).items()
            if pool in pools and server in servers}
