# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The side that does not serve: what it runs, since when, and whether it may be stopped. Pure functions. Private to the collection.

It belongs to every strategy that leaves a side idle: nothing here knows which one it was. Whatever cannot be known is in the way, since a side
that is stopped while somebody still uses it loses requests.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import called, named
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._state import lock as _lock
from ansible_collections.zero.downtime.plugins.module_utils._strategy.outcome import label_of

Answers = t.Mapping[str, t.Mapping[str, t.Any]]


def look(plan: t.Mapping[str, t.Any], releases: Answers, infos: Answers, locks: Answers, now: float) -> dict[str, t.Any]:
    """The idle side, from what hosts, balancers and state hosts say.

    :param infos: what each balancer says of the pools of both sides.
    :param now: this controller's time, for sentences; how long ago something was is told by the host that saw it.
    :returns: C(side), C(release), C(state) (warm, stopped, down, partly warm, empty), C(since), C(idle_s), C(in_flight), C(requests), C(why) (what is in
        the way, whatever the time), C(wait) (seconds until its time has come), C(when) (that moment), C(due), C(begin) (whether the time has to be
        counted from now on), C(left) (whether one that was stopping it has the lock), C(shares), C(sentence).
    """
    told = {host: info for host, info in infos.items() if not info.get("failed")}
    splits = {host: info["split"] for host, info in told.items() if info.get("split")}
    serving = _plan.most_served(list(splits.values()))
    side = next(other for other in _plan.SIDES if other != serving)
    why = [named("balancer", host, info) for host, info in infos.items() if info.get("failed")]
    why += _of_shares(side, told, why)
    pools = {f"{pool['name']} on {host}": pool for host, info in told.items() for pool in info["pools"] if pool["name"] in plan["sides"][side]["pools"]}
    open_now = _in_flight(pools)
    if open_now is None:
        told_why = sorted({str(pool["uncountable"]) for pool in pools.values() if pool.get("uncountable")})
        why.append(f"what {side} still answers cannot be counted" + (f": {'; '.join(told_why)}" if told_why else ""))
    elif open_now:
        clients = _summed(pools, "clients")
        why.append(f"{side} has {open_now} open connection{'s' * (open_now > 1)}, from {', '.join(clients)}" if clients else
                   f"{side} has {open_now} request{'s' * (open_now > 1)} in flight")
    why += _of_locks(plan, locks)
    shares = {serving: 100, side: 0}
    age = _age(shares, locks)
    keep, idle_for = plan["retire"]["keep"], plan["retire"]["idle_for"]
    idle_s = _idle(pools)
    wait = 0.0
    begin = False
    if keep is None:
        why.append("deploy_keep_previous is not set")
    elif age is None:
        # Where it is stopped at once, it does not matter since when it is idle, unless others may still know it.
        if not keep and plan["retire"].get("holds"):
            why.append(f"since when others are told that {serving} serves is not known")
        begin = keep > 0 and not why
        wait = float(keep)
    else:
        wait = max(0.0, keep - age)
    if idle_s is None:
        told_why = sorted({str(pool["uncountable"]) for pool in pools.values() if pool.get("uncountable")})
        why.append(f"{'nobody' if told_why else 'no balancer'} can tell when {side} got its last request" + (f" ({'; '.join(told_why)})" if told_why else ""))
    else:
        wait = max(wait, idle_for - idle_s)
    release, state = _runs(plan, side, releases, pools)
    if state == "empty":
        why = [f"{side} has no release"]
    found = {
        "side": side, "serving": serving, "release": release, "state": state, "since": None if age is None else round(now - age, 3), "idle_s": idle_s,
        "in_flight": open_now, "requests": sum(pool.get("requests") or 0 for pool in pools.values()), "why": list(dict.fromkeys(why)),
        "left": any(result.get("lock") and _lock.key_of(result["lock"]) != plan["lock"]["key"]
                    and result["lock"].get("holder", {}).get("verb") == "retire" for result in locks.values()),
        "wait": round(wait, 3), "when": None if why or begin else round(now + wait, 3), "due": not why and wait <= 0, "begin": begin and not why,
        "askers": [address for address, ago in sorted(_summed(pools, "recent").items(), key=lambda entry: entry[1]) if ago < idle_for],
        "shares": shares if not _of_shares(side, told, []) and len(told) == len(infos) else None,
    }
    asked = any(split[side] for split in splits.values())
    return {**found, "sentence": sentence({**found, "asked": asked, "retires": _commands.command("retire", plan.get("app"))})}


def _of_shares(side: str, told: Answers, known: t.Sequence[str]) -> list[str]:
    """Where a balancer sends requests to this side, or would after a reload, or cannot say."""
    found = []
    if not told and not known:
        found.append("no balancer can be asked")
    for host, info in told.items():
        split = info.get("split")
        if not split:
            found.append(f"{called(host)} cannot tell which side serves")
        elif split[side]:
            found.append(f"{called(host)} sends {split[side]} % of the requests to {side}")
        elif split.get("kept", {}) is None:
            found.append(f"{called(host)} cannot tell the shares that a reload would bring")
        elif (split.get("kept") or {}).get(side):
            found.append(f"{called(host)} would send {split['kept'][side]} % of the requests to {side} after a reload")
    return found


def _of_locks(plan: t.Mapping[str, t.Any], locks: Answers) -> list[str]:
    """Deploys that are not over."""
    found = []
    for host, result in locks.items():
        if result.get("failed"):
            found.append(_lock.failed(host, result, _commands.command("rollback", plan.get("app"), deploy_lock_break=True)))
            continue
        lock = result.get("lock")
        if lock and _lock.key_of(lock) != plan["lock"]["key"]:
            # One that was stopping the side, and died, is no deploy; who takes its lock over ends it.
            if (lock.get("holder") or {}).get("verb") != "retire":
                found.append(f"{_lock.told(lock)} has the lock")
        elif plan["verb"] not in _plan.SHIFTS and any(entry.get("deploy_id") != plan["deploy_id"] for entry in result.get("journal") or ()):
            found.append(f"a deploy before did not end; {_going_on.ways(_lock.interrupted_of(result['journal']) or {}, plan.get('app'))}")
    return list(dict.fromkeys(found))


def _age(shares: t.Mapping[str, int], locks: Answers) -> float | None:
    """Seconds for which all of the state hosts that know of these shares have known them; None when none does."""
    ages = [result["now"] - result["shares"]["since"] for result in locks.values()
            if (result.get("shares") or {}).get("shares") == dict(shares) and result.get("now")]
    return max(0.0, min(ages)) if ages else None


def _in_flight(pools: t.Mapping[str, t.Mapping[str, t.Any]]) -> int | None:
    counts = [entry.get("in_flight") for pool in pools.values() for entry in pool["members"]]
    return None if not counts or None in counts else sum(t.cast("list[int]", counts))


def _summed(pools: t.Mapping[str, t.Mapping[str, t.Any]], name: str) -> dict[str, float]:
    """What pools tell by address, where they do; each is told by all of them alike."""
    found: dict[str, float] = {}
    for pool in pools.values():
        found.update(pool.get(name) or {})
    return found


def _idle(pools: t.Mapping[str, t.Mapping[str, t.Any]]) -> float | None:
    times = [pool.get("idle_s") for pool in pools.values()]
    return None if not times or None in times else min(t.cast("list[float]", times))


def _runs(plan: t.Mapping[str, t.Any], side: str, releases: Answers, pools: t.Mapping[str, t.Mapping[str, t.Any]]) -> tuple[dict[str, t.Any] | None, str]:
    """The release of the side's slots, and whether it runs there: by the hosts' notes whether it was stopped, by the balancers whether it is up."""
    hosts = plan["sides"][side]["hosts"]
    slots = {name: (result.get("slots") or {}).get(hosts[name]["slot"]) or {} for name, result in releases.items() if not result.get("failed")}
    active = [slot["active"] for slot in slots.values() if slot.get("active")]
    if not active:
        return None, "empty" if len(slots) == len(hosts) else "unknown"
    up = {entry["name"] for pool in pools.values() for entry in pool["members"] if entry["state"] != "down"}
    running = [name for name in slots if hosts[name]["server"] in up]
    if len(running) == len(hosts):
        return active[0], "warm"
    if running:
        return active[0], f"warm on {len(running)} of {len(hosts)} members"
    stopped = all(slot.get("settled") == "stopped" for slot in slots.values() if slot.get("active")) and len(slots) == len(hosts)
    return active[0], "stopped" if stopped else "down"


def sentence(found: t.Mapping[str, t.Any]) -> str:
    """The idle side for a person, without a full stop."""
    side, label = found["side"], label_of(found["release"])
    if not label:
        return f"{side} is idle and has no release"
    # Where a canary was left in the middle, both sides serve.
    has = f"has {label}, {found['state']}"
    parts = [f"{side} {has}, and gets some of the requests" if found.get("asked") else f"{side} is idle and {has}"]
    if found["since"] is not None:
        parts[0] += f", since {at(found['since'])}"
    if found["state"] == "stopped":
        parts.append("a rollback starts it")
    elif found["begin"]:
        parts.append(f"since when is not known, so its time counts from the first run of {found['retires']} that finds it so")
    elif found["why"]:
        parts.append("it is not stopped: " + "; ".join(found["why"]))
    elif found["due"]:
        parts.append("it may be stopped now")
    else:
        still = f"; {', '.join(found['askers'])} asked it last" if found.get("askers") else ""
        parts.append(f"it may be stopped from {at(found['when'])} on, if nobody asks it until then{still}")
    return "; ".join(parts)


def at(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def slots(plan: t.Mapping[str, t.Any], side: str) -> list[dict[str, t.Any]]:
    """The places of a side's members, with what stops them."""
    return [{"name": name, "root": host["root"], "slot": host["slot"], "service": host["service"]} for name, host in plan["sides"][side]["hosts"].items()]


def _from(askers: t.Sequence[str] | None) -> str:
    return f" from {', '.join(askers)}" if askers else ""


def retired(outcome: t.Mapping[str, t.Any], idle: t.Mapping[str, t.Any], stopped: t.Mapping[str, t.Any], problem: str = "") -> dict[str, t.Any]:
    """An outcome with what became of the idle side. That it could not be stopped is told, and is no failure of the deploy: it runs on.

    :param idle: what was found before, C(stopped): what the members said.
    """
    side = idle.get("side") or "the idle side"
    tried = bool(stopped) and not stopped.get("skipped")
    if not problem:
        if idle.get("state") == "empty":
            return dict(outcome)
        if idle.get("state") == "stopped":
            text = f"{side} is stopped already"
        elif tried:
            text = f"{side} was stopped, and a rollback starts it again"
        else:
            problem = "; ".join(idle.get("why") or ()) or (
                f"it got a request {idle.get('idle_s') or 0:g} s ago{_from(idle.get('askers'))}, so it would have been too early")
    if problem and tried:
        text = f"{side} was not stopped on every member: {problem}" if stopped.get("failed") else f"{side} was stopped, but {problem}"
    elif problem:
        text = f"{side} was not stopped: {problem}"
    return {**outcome, "sentence": f"{outcome['sentence'].rstrip('. ')}; {text.rstrip('. ')}."}
