# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The strategy blue_green: the idle side gets the release, and one switch moves every request there. Pure functions. Private to the collection.

The side that serves is never touched, so going back is the same switch the other way. What the idle side ran before is put back when a deploy
fails: it is what a later rollback goes to.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.module_utils._strategy import rolling as _rolling
from ansible_collections.zero.downtime.plugins.module_utils._strategy import seen as _seen

# The side that gets the release.
SIDE = "idle"

Release = t.Optional[t.Mapping[str, t.Any]]

# What the role registers of its moves, the last one first.
MOVES = ("__deploy_switched_back", "__deploy_switched")


def lay_out(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]], out: t.Sequence[str] = (),
            interrupted: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """One batch of those idle members that have to change, and the switch, from what staging found on the hosts.

    A member that runs the release already and that every balancer calls fit is left as it is: then the switch is all there is to do. When the
    serving side runs the release already, nothing is, as long as it serves: a side that died is left for the other one, with the same release.

    Raises DowntimeError when hosts disagree on the release, or the idle side has none to go back to.
    """
    here, absent = _rolling.present(plan, staged)
    serves = {name: _serving(plan, result, name) for name, result in here.items()}
    before = _rolling.ran_before(plan, interrupted)
    idle_was = {name: _rolling.origin(result, before.get(name)) for name, result in here.items()}
    # Another rollback does not undo one that was killed: it ends what that one began.
    unfinished = interrupted if interrupted and interrupted.get("verb") != "rollback" else None
    switched = _switched(unfinished, serves)
    dead = _rolling.dead(plan, here)
    stays = plan["verb"] == "rollback" and plan["release"] == "previous" and _stays(plan, interrupted, bool(unfinished) and not switched)
    undone = stays and bool(unfinished) and not dead
    in_place = False
    if stays and not undone:
        release = _rolling.agreed(plan, serves)
        in_place = not dead
    elif not stays:
        origin = _going_on.origin(plan, _digests(serves)) if not interrupted else None
        release = _rolling.agreed(plan, {name: _target(plan, result, name, interrupted, origin) for name, result in here.items()})
        in_place = _digests(serves) == {release["digest"]} and all(serves.values())
        if in_place and dead:
            _leave_dead(plan, release, dead)
            in_place = False
    served, warm = (next((entry for entry in known.values() if entry), None) for known in (serves, idle_was))
    intended = served if undone else release
    ended = _going_on.ended(plan, interrupted, release, warm) if in_place else None
    half_done = len(_digests(idle_was)) == 1 and any(_differs(result.get("active"), idle_was[name]) for name, result in here.items())
    if undone or (in_place and (half_done or any(name in here for name in out))):
        # A deploy that was killed had not switched, or back again: what served serves, and the idle side gets back what it had. Members that were
        # left out of traffic there would otherwise be taken for a person's.
        undone, in_place = True, False
        targets: dict[str, Release] = dict(idle_was)
        release = _rolling.agreed(plan, targets if all(targets.values()) else serves)
    digest = release["digest"]
    ready = plan["capacity"].get("ready", ())
    moving = [] if in_place else [name for name, result in here.items()
                                  if (result.get("active") or {}).get("digest") != digest or name not in ready or name in out]
    _rolling.on_hosts(plan, here, release, moving)
    return {
        "release": release,
        "previous": served,
        "serving_release": served,
        "first": plan["capacity"]["first"],
        # Nobody counts on the idle side.
        "floor": "0",
        "batches": [{"n": 1, "members": moving}] if moving else [],
        "going_back_to": {name: idle_was[name] for name in moving},
        "unsettled": [],
        "unmoved": [name for name in here if name not in moving],
        "tells": _proof.tells(plan, here, digest),
        "absent": absent,
        # Nobody may be asked while its release changes.
        "clear_first": bool(moving) and not plan.get("sides_agree", True),
        "switch": _switch(plan, in_place or undone),
        "down": [],
        "dead": dead,
        # What users are to have in the end: where the idle side is only put right, that is no release that moves.
        "intended": intended,
        "ended": ended,
    }


def _differs(active: Release, was: Release) -> bool:
    """Whether an idle member runs something else than before an interrupted deploy, and could get that back."""
    return was is not None and was["digest"] != (active or {}).get("digest")


def _stays(plan: t.Mapping[str, t.Any], interrupted: t.Mapping[str, t.Any] | None, not_switched: bool) -> bool:
    """Whether a rollback leaves every request where it was: on the side that a person names, else where a killed deploy had not moved them all from, or
    where another rollback has brought them."""
    wanted = (plan.get("said") or {}).get("deploy_side")
    if wanted:
        return bool(wanted == plan["serving_side"])
    return not_switched or (not interrupted and _going_on.went_back(plan) is not None)


def _leave_dead(plan: t.Mapping[str, t.Any], release: t.Mapping[str, t.Any], dead: t.Sequence[str]) -> None:
    """Refuse to bring a release to the other side for the sake of a few members: whoever deploys what serves already wants nothing to move."""
    if plan["verb"] == "rollback" or plan["capacity"]["first"]:
        return
    raise DowntimeError(f"{_outcome.label_of(release)} serves already, on {plan['serving_side']}, but {agreeing(dead, 'does', 'do')} "
                        f"not serve there; {_commands.command('restart', plan.get('app'))} begins "
                        f"{'it' if len(dead) == 1 else 'them'} anew")


def _digests(serves: t.Mapping[str, Release]) -> set[str]:
    return {entry["digest"] for entry in serves.values() if entry}


def _switch(plan: t.Mapping[str, t.Any], stays: bool) -> dict[str, t.Any] | None:
    """From which side to which; none where every balancer sends its requests to the right one already.

    C(home) is true of requests that are only brought back to the side that serves, from where a killed deploy sent them: that side has nothing to
    prove, and whatever fails behind that, they stay there.
    """
    if not stays:
        return {"from": plan["serving_side"], "to": plan["side"], "home": False}
    if not plan.get("sides_agree", True):
        return {"from": plan["side"], "to": plan["serving_side"], "home": True}
    return None


def _serving(plan: t.Mapping[str, t.Any], result: t.Mapping[str, t.Any], name: str) -> Release:
    """What a member's slot on the serving side runs."""
    return ((result.get("slots") or {}).get(plan["serving_slots"][name]) or {}).get("active")


def _switched(interrupted: t.Mapping[str, t.Any] | None, serves: t.Mapping[str, Release]) -> bool:
    """Whether the interrupted deploy's release is what serves now."""
    wanted = (interrupted or {}).get("release")
    return bool(wanted) and any(entry and entry["digest"] == wanted for entry in serves.values())


def _target(plan: t.Mapping[str, t.Any], result: t.Mapping[str, t.Any], name: str, interrupted: t.Mapping[str, t.Any] | None,
            origin: str | None = None) -> Release:
    """The release that shall serve, as a member's host knows it; C(origin) is the digest that served before the last deploy, where it is known."""
    if plan["verb"] == "rollback" and plan["release"] == "previous":
        if interrupted and interrupted.get("verb") == "rollback":
            # Going back once more ends what was begun, and does not undo it.
            return _rolling.origin(result, interrupted.get("release"))
        found = _rolling.origin(result, origin)
        if not found:
            raise DowntimeError(f"the idle side {plan['side']} of member {name} has run no release, so there is none to go back to; "
                                + _rolling.another(plan, {name: {**result, "active": _serving(plan, result, name)}}))
        return found
    return result.get("release")


def shares(plan: t.Mapping[str, t.Any], share: int = 100, back: bool = False) -> dict[str, int]:
    """All requests (or C(share) percent of them) to the side that gets the release, or all back to the one that served."""
    share = 0 if back else share
    return {plan["switch"]["to"]: share, plan["switch"]["from"]: 100 - share}


def outcome(local: t.Mapping[str, t.Any], plan: t.Mapping[str, t.Any], title: str, why: str | None, checking: bool) -> dict[str, t.Any]:
    """Result, sentence and members' releases; C(why) is None when nothing failed."""
    label, old, warm = (_outcome.label_of(plan[name]) for name in ("intended", "serving_release", "release"))
    switch = plan["switch"]
    count = f"{len(plan['members']) - len(plan['absent'])} of {len(plan['members'])} members"
    at = _shares(local, plan)
    now = next((side for side, share in (at or {}).items() if share == 100), None)
    home = switch is not None and switch["home"]
    new = now is not None and switch is not None and not home and now == switch["to"]
    held = plan.get("held") or []
    rows = [{"name": name, "release": None if name in plan["absent"] else label if new else old,
             "state": "absent" if name in plan["absent"] else "drained" if name in held else "active"} for name in plan["members"]]
    seen = _seen.look(rows, local, plan, now or plan["serving_side"])
    # The release gets requests, although the deploy failed. Where nobody knows who gets them, status has to be asked first.
    there = why is not None and bool(at and switch and not home and at.get(switch["to"]))
    way = _going_on.ways(_outcome.unfinished(plan), plan.get("app")) if there else ""
    mended = _seen.mended(seen, plan, lambda _name: plan["release"] if new else plan["serving_release"], way)
    problems = list(dict.fromkeys(_outcome.first_line(text).rstrip(".") for text in local.get("__deploy_problems") or []))

    def told(result: str, parts: t.Sequence[str]) -> dict[str, t.Any]:
        return {"shares": _last_told(local), "result": result, "sentence": _outcome.full_stop("; ".join(parts)), "members": seen.rows,
                "lost": list(plan["absent"]), **({"beside": [*([seen.unknown] if seen.unknown else []), *mended]} if why is None else {})}

    if why is None:
        # What becomes of it at the end of the deploy is told there.
        keeps = "has {0}" if (plan.get("retire") or {}).get("at_end") else "keeps {0} warm"
        if switch is None:
            if plan.get("ended"):
                left = _outcome.label_of(plan["ended"]["origin"]) if plan["ended"]["switched"] else None
                return told("succeeded", [f"{title}: {old} serves already, on {plan['serving_side']}: {plan['ended']['told']} had not ended, and "
                                          + ("would be ended by this; nothing has been changed" if checking else "is ended now"),
                                          *([f"{plan['side']} {keeps.format(left)}"] if left and not checking else [])])
            if plan["batches"]:
                return told("succeeded", [f"{title}: the idle side {plan['side']} has {warm} again, and {plan['serving_side']} serves {old} as before"])
            return told("succeeded", [f"{title}: {old or label} serves already, on {plan['serving_side']}, and nothing was moved", *_to_leave(plan)])
        if home:
            return told("succeeded", [f"{title} would bring every request back to {switch['to']}, which serves {old}; nothing has been changed" if checking else
                                      f"{title}: every request goes to {switch['to']} again, which serves {old}"])
        if checking:
            return told("succeeded", [f"{title} would bring {label} to the idle side {switch['to']} and switch every request there from {switch['from']}; "
                                      "nothing has been changed"])
        if plan.get("dead"):
            keeps = f"has {{0}}, and {', '.join(plan['dead'])} did not serve there"
        kept = f"{switch['from']} {keeps.format(old)}" if old else f"{switch['from']} has no release"
        return told("succeeded", [f"{title}: {label} serves on {switch['to']} ({count}); {kept}"])
    parts = [f"{title} to {label} failed: {why.rstrip('.')}"]
    if local.get("__deploy_stay"):
        parts.append("nothing was switched back")
    elif _outcome.ran(local.get("__deploy_switched_back")):
        parts.append(f"every request was switched back to {switch['from']}" if not new and now else "the switch back failed")
    elif home and now == plan["serving_side"] and _outcome.ran(local.get("__deploy_switched")):
        parts.append(f"every request goes to {now} again")
    else:
        parts.append("no request had been switched")
    parts += _outcome.cut_on_the_way_back(local)
    parts += [text for text in problems if text not in why]
    if at and now is None and switch:
        parts.append(f"{switch['to']} still gets {at[switch['to']]} % of the requests")
    elif now is None:
        parts.append(_nobody_knows(plan.get("balancers") or ()))
    else:
        serving = label if new else old
        nobody = bool(seen.dead) and not any(row["state"] == "active" for row in seen.rows)
        parts.append("no member serves" if not serving else f"{now} has {serving}, and no member serves there" if nobody else
                     f"every request goes to {now}, which has {serving}" if seen.unknown else f"{now} serves {serving}")
    parts += [*([seen.unknown] if seen.unknown else []), *mended]
    whole = now is not None and not new and not problems and not local.get("__deploy_stay")
    return told("rolled_back" if whole else "failed", parts)


def _nobody_knows(balancers: t.Sequence[str]) -> str:
    """That no side can be said to serve: one balancer cannot disagree with itself, but it can fail to tell."""
    if len(balancers) == 1:
        return f"which side serves is not known, since {balancers[0]} did not tell; status asks again"
    return "the balancers disagree which side serves; status names them"


def _to_leave(plan: t.Mapping[str, t.Any]) -> list[str]:
    """How to leave what another rollback went back to, in a part of the sentence."""
    last = _going_on.went_back(plan) or {}
    left = last.get("origin")
    if plan["verb"] != "rollback" or not left or last["release"]["digest"] != (plan["serving_release"] or {}).get("digest"):
        return []
    command = _commands.command("rollback", plan["app"], deploy_strategy=plan["strategy"], deploy_release=_commands.release(left))
    return [f"rollback {last['deploy_id']} went back to it, and {command} would undo that"]


def _shares(local: t.Mapping[str, t.Any], plan: t.Mapping[str, t.Any]) -> t.Mapping[str, int] | None:
    """The sides' shares, by what the balancers said last; None where they disagree."""
    moved = any(_outcome.ran(local.get(name)) for name in MOVES)
    return _last_told(local) if moved else {plan["serving_side"]: 100}


def _last_told(local: t.Mapping[str, t.Any]) -> t.Mapping[str, int] | None:
    """The shares after this deploy's last move of them; None where it made none, or the balancers disagree since."""
    return next((local[name].get("shares") for name in MOVES if _outcome.ran(local.get(name))), None)
