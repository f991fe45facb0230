# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an application stands: joined from what hosts and balancers say. Pure functions, private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _lock


def build(plan: t.Mapping[str, t.Any], releases: t.Mapping[str, t.Mapping[str, t.Any]], infos: t.Mapping[str, t.Mapping[str, t.Any]],
          locks: t.Mapping[str, t.Mapping[str, t.Any]] | None = None, dead: t.Callable[[t.Mapping[str, t.Any]], bool] = lambda lock: False) -> dict[str, t.Any]:
    """Join the release of each member's host with the state of each member on each balancer.

    :param locks: what each state host says of lock and journal.
    :param dead: whether a lock's holder is proven dead.
    :returns: C(members) ([{name, release, digest, previous, states{balancer/pool: state}, in_flight}]), C(problems) ([sentence]), C(workers).
    """
    problems: list[str] = []
    states: dict[str, dict[str, dict[str, t.Any]]] = {name: {} for name in plan["members"]}
    names = {server: name for name, server in plan["servers"].items()}
    for balancer, info in infos.items():
        if info.get("failed"):
            problems.append(_named("balancer", balancer, info))
            continue
        for pool in info.get("pools", []):
            for entry in pool["members"]:
                if entry["name"] in names:
                    states[names[entry["name"]]][f"{balancer}/{pool['name']}"] = entry
        old = [worker for worker in info.get("workers", []) if not worker["current"]]
        if old:
            processes = ", ".join(str(worker["pid"]) for worker in old)
            problems.append(f"balancer {balancer} still has {len(old)} worker{'s' * (len(old) > 1)} from before a reload (process {processes})")
    orphans: set[str] = set()
    running: dict[str, str] = {}
    for host, result in (locks or {}).items():
        if result.get("failed"):
            problems.append(_named("state host", host, result))
            continue
        if result.get("lock"):
            running[_lock.told(result["lock"])] = "dead" if dead(result["lock"]) else "running"
        orphans |= {names[server] for server in _lock.out_of(result.get("journal") or []) if server in names}
    for told, how in running.items():
        problems.append(f"{told} has the lock" + (", and its controller has died; deploy or rollback again takes it over" if how == "dead" else ""))
    rows = []
    for name in plan["members"]:
        result = releases[name]
        active = None if result.get("failed") else result.get("active")
        if result.get("failed"):
            problems.append(_named("member", name, result))
        elif result.get("half_staged"):
            problems.append(f"member {name} has half-staged releases, which can never be activated: {', '.join(result['half_staged'])}")
        seen = {place: entry["state"] for place, entry in states[name].items()}
        rows.append({
            "name": name,
            "release": active and active.get("label"),
            "digest": active and active["digest"],
            "previous": (result.get("previous") or {}).get("label") if not result.get("failed") else None,
            "states": seen,
            "in_flight": _sum(entry.get("in_flight") for entry in states[name].values()),
        })
        if active and seen:
            out = [place for place, state in seen.items() if state != "active"]
            if out and len(out) < len(seen):
                problems.append(f"balancers disagree on member {name}: " + ", ".join(f"{place} has it {state}" for place, state in seen.items()))
            elif out:
                whose = ", left by a deploy that did not end" if name in orphans and "running" not in running.values() else ""
                problems.append(f"member {name} is out of traffic ({', '.join(sorted(set(seen.values())))}){whose}")
    runs: dict[str, list[str]] = {}
    for row in rows:
        if row["digest"]:
            runs.setdefault(row["release"] or row["digest"][:12], []).append(row["name"])
    if len({row["digest"] for row in rows if row["digest"]}) > 1:
        problems.append("members run different releases: " + "; ".join(f"{release} on {', '.join(names)}" for release, names in sorted(runs.items())))
    return {"app": plan["app"], "environment": plan["environment"], "members": rows, "locks": running, "problems": problems,
            "sentence": "; ".join(problems) if problems else _healthy(plan, sorted(runs))}


def table(status: t.Mapping[str, t.Any]) -> list[str]:
    """The status as lines of a table."""
    places = sorted({place for row in status["members"] for place in row["states"]})
    rows = [["member", "release", "previous", *places, "in flight"]]
    for row in status["members"]:
        flight = "-" if row["in_flight"] is None else str(row["in_flight"])
        states = [row["states"].get(place, "-") for place in places]
        rows.append([row["name"], row["release"] or (row["digest"] or "-")[:12], row["previous"] or "-", *states, flight])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _healthy(plan: t.Mapping[str, t.Any], found: list[str]) -> str:
    if not found:
        return f"{plan['app']} ({plan['environment']}): no release has been deployed yet"
    return f"{plan['app']} ({plan['environment']}): all {len(plan['members'])} members run {found[0]}"


def _sum(values: t.Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _named(what: str, name: str, result: t.Mapping[str, t.Any]) -> str:
    text = str(result.get("msg", "it gave no answer")).rstrip(".")
    return text if name in text else f"{what} {name}: {text}"
