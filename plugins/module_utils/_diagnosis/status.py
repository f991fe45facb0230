# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an application stands: joined from what hosts and balancers say. Pure functions, private to the collection."""

from __future__ import annotations

import shlex
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import called, named
from ansible_collections.zero.downtime.plugins.module_utils._finding import MISSING_FILE, SHOWN, with_lines
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock


# A deploy that has had the lock for so long is looked after by nobody, even where its holder cannot be proven dead.
LONG = 6 * 3600.0


class Watch:
    """What is not as it should be: a kind for programs, whom it is about, and a sentence for people."""

    def __init__(self, app: str) -> None:
        # For commands in sentences.
        self.app = app
        self.found: list[dict[str, t.Any]] = []

    def add(self, kind: str, who: t.Sequence[str], text: str) -> None:
        self.found.append({"kind": kind, "who": list(who), "text": text})


def build(plan: t.Mapping[str, t.Any], releases: t.Mapping[str, t.Mapping[str, t.Any]], infos: t.Mapping[str, t.Mapping[str, t.Any]],
          locks: t.Mapping[str, t.Mapping[str, t.Any]] | None = None, dead: t.Callable[[t.Mapping[str, t.Any]], bool] = lambda lock: False,
          now: t.Callable[[], float] = time.time) -> dict[str, t.Any]:
    """Join the release of each member's host with the state of each member on each balancer.

    What a deploy that runs has out or has not moved yet is its own affair, and no problem.

    :param locks: what each state host says of lock and journal.
    :param dead: whether a lock's holder is proven dead.
    :returns: C(members) ([{name, release, digest, previous, states{balancer/pool: state}, in_flight}]), C(watch) ([{kind, who, text}]),
        C(problems) (its texts), C(running) (deploys that have the lock and are not known to be dead), C(without), C(sentence).
    """
    locks = locks or {}
    watch = Watch(plan["app"])
    names = {server: name for name, server in plan["servers"].items()}
    left_out = _left_out(plan, locks)
    states = _states(plan, infos, names, left_out, watch)
    held, orphans, holders = _of_locks(locks, infos, names, watch, dead, now)
    served = [name for name in plan["members"] if releases[name].get("active") and not releases[name].get("failed") and not holders]
    _missing(infos, plan["servers"], plan["members"], left_out, served, watch)
    _missing_files(infos, watch)
    rows = []
    dead_by_way: dict[str, list[str]] = {}
    for name in plan["members"]:
        result = releases[name]
        active = None if result.get("failed") else result.get("active")
        if result.get("failed"):
            watch.add("unreachable", [name], named("member", name, result))
        elif result.get("leftovers") and not holders:
            watch.add("half_staged", [name], f"member {name} has what an interrupted staging left, which the next deploy removes: "
                                             f"{', '.join(str(path) for path in result['leftovers'])}")
        elif result.get("pending") and not holders:
            watch.add("rolling", [name], f"{name} is being brought to {_commands.release(result['pending'])}, and no deploy that is known here waits for that")
        seen = {place: entry["state"] for place, entry in states[name].items()}
        rows.append({
            "name": name,
            "release": active and active.get("label"),
            "digest": active and active["digest"],
            "previous": (result.get("previous") or {}).get("label") if not result.get("failed") else None,
            "states": seen,
            "in_flight": _sum(entry.get("in_flight") for entry in states[name].values()),
        })
        if active and seen and not (holders and name in orphans):
            if set(seen.values()) == {"down"} and name not in orphans:
                way = _commands.anew(watch.app, _commands.release(active), bool(plan.get("sides")))
                dead_by_way.setdefault(way, []).append(name)
            else:
                _of_member(name, seen, name in orphans, watch)
    for way, names in dead_by_way.items():
        _of_dead(names, watch, way)
    _nobody_serves(rows, watch)
    interrupted = _lock.interrupted_of(_lock.journal_of(locks)) if plan.get("platform") and not held else None
    if interrupted:
        # Nobody is out of traffic, so nobody else says it.
        watch.add("unfinished", [plan["platform"]], f"{_going_on.told(interrupted)} has not ended; {_going_on.ways(interrupted, plan['app'])}")
    left = [entry for entry in watch.found if entry["kind"] == "orphan"]
    if left and not held:
        left[-1]["text"] += "; " + next(_ends(result, plan["app"]) for result in locks.values() if result.get("journal"))
    reconciled = [name for name in left_out if not infos.get(name, {"failed": True}).get("failed") and not _differing(name, states)]
    for name in left_out:
        if name not in reconciled and not infos.get(name, {}).get("failed"):
            watch.add("left_out", [name], f"{called(name)} has {', '.join(_differing(name, states)) or 'its members'} in another state than the others; "
                                          f"{left_out[name]}")
    runs: dict[str, list[str]] = {}
    for row in rows:
        if row["digest"]:
            runs.setdefault(row["release"] or row["digest"][:12], []).append(row["name"])
    if len({row["digest"] for row in rows if row["digest"]}) > 1 and not holders:
        watch.add("mixed_releases", [row["name"] for row in rows if row["digest"]],
                  "members run different releases: " + "; ".join(f"{release} on {', '.join(names)}" for release, names in sorted(runs.items())))
    if plan.get("side_problem") and not holders:
        watch.add("sides", plan["balancers"], plan["side_problem"])
    problems = [entry["text"] for entry in watch.found]
    sentence = "; ".join(problems) or (f"{plan['app']} ({plan['environment']}): {'; '.join(holders)} runs" if holders else _healthy(plan, sorted(runs)))
    return {"app": plan["app"], "environment": plan["environment"], "members": rows, "locks": held, "running": holders, "watch": watch.found,
            "problems": problems, "without": [name for name in left_out if name not in reconciled], "sentence": sentence}


def add_idle(status: dict[str, t.Any], plan: t.Mapping[str, t.Any], infos: t.Mapping[str, t.Mapping[str, t.Any]], side: str, runs: bool = True) -> None:
    """Add to a status who is missing or out of traffic on the side that does not serve: the next switch would find too few, and nobody else says so.

    What a deploy that runs has out there is its own affair.

    :param runs: whether anything is to run there; on a side that is stopped or empty nobody is missed.
    """
    watch = Watch(plan["app"])
    there = {host: {**info, "pools": [pool for pool in info.get("pools") or () if pool["name"] in plan["sides"][side]["pools"]]}
             for host, info in infos.items()}
    names_of = {name: host["server"] for name, host in plan["sides"][side]["hosts"].items()}
    _missing(there, names_of, plan["members"], status.get("without") or (), set(plan["members"]) if runs and not status["running"] else set(), watch)
    servers = {server: name for name, server in names_of.items()}
    out = {servers[entry["name"]] for info in there.values() for pool in info["pools"]
           for entry in pool["members"] if entry["state"] in ("drained", "draining") and entry["name"] in servers}
    if out and runs and not status["running"]:
        names = [name for name in plan["members"] if name in out]
        watch.add("idle_out", names, (
            f"on the idle side {side} {', '.join(names)} {'is' if len(names) == 1 else 'are'} out of traffic, and a switch would find "
            f"{'it' if len(names) == 1 else 'them'} missing; "
            f"{_commands.command('activate', watch.app, deploy_side=side, deploy_members=names)} brings {'it' if len(names) == 1 else 'them'} back"))
    if watch.found:
        status["watch"] += watch.found
        status["problems"] += [entry["text"] for entry in watch.found]
        status["sentence"] = "; ".join(status["problems"])


def add_late(status: dict[str, t.Any], late: t.Mapping[str, t.Any] | None) -> None:
    """Add to a status what became of the requests that were open when the last deploy ended: no problem that somebody could mend, and good to know."""
    status["late"] = late
    if late:
        status["sentence"] += f"; {late['sentence']}"


def _missing(infos: t.Mapping[str, t.Mapping[str, t.Any]], servers: t.Mapping[str, str], members: t.Sequence[str], left_out: t.Collection[str],
             served: t.Collection[str], watch: Watch) -> None:
    """Name the members that a pool has no server for: nobody sends them requests, and their state is nobody's to tell.

    :param served: the members that should have served by now; a driver that writes its servers itself has none for the others.
    """
    lacking: dict[str, list[str]] = {}
    unwritten: dict[str, list[str]] = {}
    for balancer, info in infos.items():
        for pool in (info.get("pools") or ()) if not info.get("failed") and balancer not in left_out else ():
            have = {entry["name"]: entry for entry in pool["members"]}
            for name in members:
                entry = have.get(servers[name])
                if entry is None:
                    lacking.setdefault(name, []).append(f"{balancer}/{pool['name']}")
                elif _absent(entry) and name in served:
                    unwritten.setdefault(name, []).append(f"{balancer}/{pool['name']}")
    for name, places in lacking.items():
        watch.add("missing", [name], f"member {name} is no server of {', '.join(places)}, so nobody sends it requests there; a deploy is refused until "
                                     f"there is a server {servers[name]}, or {name} is not in the inventory any more")
    for name, places in unwritten.items():
        watch.add("missing", [name], f"member {name} has no line in {', '.join(places)}, so nobody sends it requests there; "
                                     f"{_commands.command('activate', watch.app, deploy_members=name)} writes one")


def _absent(entry: t.Mapping[str, t.Any]) -> bool:
    """Whether a balancer only knows of a member that its pool has no server for."""
    return entry.get("status") == "absent"


def _missing_files(infos: t.Mapping[str, t.Mapping[str, t.Any]], watch: Watch) -> None:
    """Name the files that a balancer's configuration needs and that somebody deleted while it runs, with the lines that bring them back."""
    for balancer, info in infos.items():
        for finding in info.get("findings") or ():
            if finding["setting"] == MISSING_FILE:
                watch.add("missing_file", [balancer], f"{called(balancer)}: {finding['text']}" + with_lines(finding["lines"])
                          + (f"; {command} writes them" if (command := written(balancer, finding)) else ""))


def written(balancer: str, missing: t.Mapping[str, t.Any]) -> str | None:
    """The command that writes a deleted file again, by the finding. None where nobody can write it there, or where it is too long to be pasted."""
    if not missing.get("file") or not 0 < len(missing.get("lines") or ()) <= SHOWN:
        return None
    # Word by word, since plain words need no quotes.
    echoed = "; ".join(f"echo {shlex.join(line.split(' '))}" for line in missing["lines"])
    return _commands.in_shell(balancer, f"({echoed}) > {shlex.quote(missing['file'])}")


def _states(plan: t.Mapping[str, t.Any], infos: t.Mapping[str, t.Mapping[str, t.Any]], names: t.Mapping[str, str], left_out: t.Mapping[str, str],
            watch: Watch) -> dict[str, dict[str, dict[str, t.Any]]]:
    """Each member as each balancer has it in each pool."""
    states: dict[str, dict[str, dict[str, t.Any]]] = {name: {} for name in plan["members"]}
    for balancer, info in infos.items():
        if info.get("failed"):
            told = named("balancer", balancer, info)
            if balancer in left_out:
                watch.add("left_out", [balancer], f"{told}; {left_out[balancer]}")
            else:
                watch.add("missing_file" if info.get("missing_file") else "unreachable", [balancer], told)
            continue
        for pool in info.get("pools", []):
            for entry in pool["members"]:
                if entry["name"] in names and not _absent(entry):
                    states[names[entry["name"]]][f"{balancer}/{pool['name']}"] = entry
        old = [worker for worker in info.get("workers", []) if not worker["current"]]
        if old:
            processes = ", ".join(str(worker["pid"]) for worker in old)
            watch.add("old_workers", [balancer],
                      f"{called(balancer)} still has {len(old)} worker{'s' * (len(old) > 1)} from before a reload (process {processes})")
    return states


def _of_locks(locks: t.Mapping[str, t.Mapping[str, t.Any]], infos: t.Mapping[str, t.Mapping[str, t.Any]], names: t.Mapping[str, str], watch: Watch,
              dead: t.Callable[[t.Mapping[str, t.Any]], bool], now: t.Callable[[], float]) -> tuple[dict[str, str], set[str], list[str]]:
    """Who has the lock (C(dead) or C(running)), the members that deploys have out by the journal, and the holders that run as far as one can tell."""
    held: dict[str, str] = {}
    orphans: set[str] = set()
    late: set[str] = set()
    ends: dict[str, str] = {}
    for host, result in locks.items():
        if result.get("failed"):
            # A balancer that cannot be reached has been named already.
            if not (infos.get(host, {}).get("failed") and result.get("unreachable_host")):
                watch.add("unreachable", [host], _lock.failed(host, result, _commands.command("rollback", watch.app, deploy_lock_break=True)))
            continue
        if result.get("lock"):
            told = _lock.told(result["lock"])
            held[told] = "dead" if dead(result["lock"]) else "running"
            if told not in ends or result.get("journal"):
                ends[told] = _ends(result, watch.app)
            if now() - (result["lock"].get("since") or 0) > LONG:
                late.add(told)
        orphans |= {names[server] for server in _lock.out_of(result.get("journal") or []) if server in names}
    for told, how in held.items():
        if how == "dead":
            watch.add("dead_lock", [], f"{told} has the lock, and its controller has died; {ends[told]}")
        elif told in late:
            watch.add("old_lock", [], f"{told} has had the lock for more than {LONG / 3600:g} h; if it is known to be dead, "
                                      f"{_commands.command('rollback', watch.app, deploy_lock_break=True)} takes it over")
    return held, orphans, [told for told, how in held.items() if how == "running" and told not in late]


def _ends(result: t.Mapping[str, t.Any], app: str) -> str:
    """What ends that of which a state host has the lock and the journal, for a sentence."""
    interrupted = _lock.interrupted_of(result.get("journal") or [])
    if interrupted:
        return _going_on.ways(interrupted, app)
    verb = ((result.get("lock") or {}).get("holder") or {}).get("verb")
    return f"{_commands.command(verb if verb in ('restart', 'retire') else 'rollback', app)} takes it over"


def _of_member(name: str, seen: t.Mapping[str, str], orphan: bool, watch: Watch) -> None:
    """Whether a member that has a release, and is not dead, is where it belongs."""
    out = [place for place, state in seen.items() if state != "active"]
    if out and len(out) < len(seen):
        # One balancer may have it in several pools.
        who = "balancers disagree" if len({place.partition("/")[0] for place in seen}) > 1 else "pools disagree"
        watch.add("disagree", [name], f"{who} on member {name}: " + ", ".join(f"{place} has it {state}" for place, state in seen.items()))
    elif out:
        watch.add("orphan" if orphan else "out", [name], f"member {name} is out of traffic ({', '.join(sorted(set(seen.values())))})"
                                                         + (", left by a deploy that did not end" if orphan else ""))


def _of_dead(names: t.Sequence[str], watch: Watch, anew: str) -> None:
    """Name the members that do not serve, though nobody took them out; C(anew) is the one command that begins all of them anew."""
    if len(names) == 1:
        watch.add("dead", names, f"member {names[0]} is out of traffic (down), and nobody took it out; {anew} begins it anew")
        return
    watch.add("dead", names, f"members {', '.join(names[:-1])} and {names[-1]} are out of traffic (down), and nobody took them out; {anew} begins them anew")


def _nobody_serves(rows: t.Sequence[t.Mapping[str, t.Any]], watch: Watch) -> None:
    """Say it with the first of the members that are out: a list of all of them does not."""
    out = [entry for entry in watch.found if entry["kind"] in ("dead", "out", "orphan")]
    states = [state for row in rows for state in row["states"].values()]
    if out and states and "active" not in states:
        out[0]["text"] = f"no member serves: {out[0]['text']}"


def _left_out(plan: t.Mapping[str, t.Any], locks: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Why a balancer of the plan may lack what others did, for each that was left out and not been part of a deploy since."""
    found = dict.fromkeys(plan.get("without") or [], "it is left out by deploy_without")
    for result in locks.values():
        for name, entry in (result.get("without") or {}).items():
            if name in plan["balancers"]:
                found[name] = f"deploy {entry['deploy_id']} went on without it"
    return found


def _differing(balancer: str, states: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]]) -> list[str]:
    """The members that this balancer does not have in the state that all others have them in."""
    found = []
    for member, places in states.items():
        by_pool: dict[str, dict[str, str]] = {}
        for place, entry in places.items():
            host, dummy, pool = place.partition("/")
            by_pool.setdefault(pool, {})[host] = entry["state"]
        if any(hosts.get(balancer) != state for hosts in by_pool.values() for state in hosts.values()):
            found.append(member)
    return found


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
    who = f"{plan['platform']} runs" if plan.get("platform") else f"all {len(plan['members'])} members run"
    return f"{plan['app']} ({plan['environment']}): {who} {found[0]}"


def _sum(values: t.Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
