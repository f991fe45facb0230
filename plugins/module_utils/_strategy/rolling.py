# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The strategy rolling: which members move in which batch, from what staging found. Pure functions. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan

# The side that gets the release.
SIDE = "live"


def lay_out(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]], out: t.Sequence[str] = (),
            interrupted: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Batches, and what each member goes back to, from what staging found on the hosts.

    A member that runs the release already is left alone, unless the verb is restart, it does not serve, an earlier deploy left it out of traffic
    (C(out)), or an interrupted deploy moved it: that one has to be able to go back with the others, to what it ran before that deploy.

    A host that cannot be reached is left out (C(absent)), as long as no balancer counts on it.

    Raises DowntimeError when hosts disagree on the release, or the floor leaves no room.
    """
    before = ran_before(plan, interrupted)
    staged, absent = present(plan, staged)
    if plan["verb"] == "rollback" and plan["release"] == "previous" and not interrupted:
        something_before(plan, staged)
    release = agreed(plan, {name: target(plan, result, name, interrupted) for name, result in staged.items()})
    was = {name: origin(staged[name], before.get(name)) for name in staged}
    down = dead(plan, staged)
    moving = []
    unsettled = []
    for name in staged:
        active = staged[name].get("active") or {}
        moved_before = bool(was[name]) and was[name] != active and was[name]["digest"] != active.get("digest")
        stays = active.get("digest") == release["digest"] and name not in down
        if plan["verb"] == "restart" or not stays or name in out or (moved_before and was[name]["digest"] != release["digest"]):
            moving.append(name)
            if name in out or moved_before:
                unsettled.append(name)
    on_hosts(plan, staged, release, moving)
    first = plan["capacity"]["first"]
    most = None if first else plan["capacity"]["most"]
    # Members that do not serve may be taken out whatever the floor is, and are its room once they serve again: the way out of an outage.
    idle = [] if most is None else [name for name in moving if name in out or name not in plan["capacity"].get("serving", moving)]
    if most is not None:
        # Whom a person took out stays out, and is no room.
        most += sum(1 for name in idle if name not in (plan.get("held") or ()))
        if len(moving) > len(idle) and most < 1:
            raise DowntimeError(f"deploy_min_active is {plan['min_active']}, which cannot be held while a member is out: {plan['capacity']['tightest']}")
    left = undone(plan, staged, interrupted)
    # What users leave: with a rollback of a deploy that did not end that is its release, where some members still serve it.
    previous = [left] if left else [was[name] for name in moving if was[name]]
    return {
        "release": release,
        "previous": previous[0] if previous else None,
        "first": first,
        "floor": "0" if first else plan["min_active"],
        "batches": _plan.batches([name for name in moving if name not in idle], plan["batch_sizes"], most, idle) if moving else [],
        "going_back_to": {name: was[name] for name in moving},
        # What an interrupted deploy left of them is this one's to put right, also when it fails before their batch.
        "unsettled": unsettled,
        "unmoved": [name for name in staged if name not in moving],
        "tells": _proof.tells(plan, staged, release["digest"]),
        "absent": absent,
        # What a rollback undoes of a deploy that did not end, for whoever wants to undo the rollback.
        "undone": left,
        # For whoever reads the plan: they come first, and what they are brought to is a new beginning.
        "not_serving": [name for name in moving if name in down and staged[name].get("active")],
        # What runs there, if anything, is begun anew, whatever its slot says.
        "down": [name for name in moving if name in down and (staged[name].get("active") or {}).get("digest") == release["digest"]],
    }


def restored(plan: t.Mapping[str, t.Any], number: int) -> list[str]:
    """The members that the batches before the one of this number bring into traffic."""
    return [name for batch in plan["batches"] if batch["n"] < number for name in batch["members"] if name not in (plan.get("held") or ())]


def ran_before(plan: t.Mapping[str, t.Any], interrupted: t.Mapping[str, t.Any] | None) -> t.Mapping[str, str]:
    """What each member ran before an interrupted deploy, in the slots that this one moves: those of the other side are none of them."""
    if not interrupted or interrupted.get("side") not in (None, plan.get("side")):
        return {}
    return interrupted.get("before") or {}


def dead(plan: t.Mapping[str, t.Any], names: t.Collection[str]) -> list[str]:
    """Those of C(names) that should serve and do not, although nobody took them out."""
    return [name for name in plan["capacity"].get("down") or () if name in names and name not in (plan.get("held") or ())]


def present(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]]) -> tuple[dict[str, t.Mapping[str, t.Any]], list[str]]:
    """What staging found on the hosts that answered, and the members whose hosts did not. Raises DowntimeError when one of those serves."""
    absent = [name for name, result in staged.items() if result.get("unreachable_host")]
    serving = [name for name in absent if name in plan["capacity"].get("serving", ())]
    if serving:
        would = agreeing(serving, "cannot be reached, but serves: it", "cannot be reached, but serve: each")
        raise DowntimeError(f"{would} would go on with the release that it runs; deploy_max_absent is for members that do not serve")
    return {name: result for name, result in staged.items() if name not in absent}, absent


def agreed(plan: t.Mapping[str, t.Any], targets: t.Mapping[str, t.Mapping[str, t.Any] | None]) -> t.Mapping[str, t.Any]:
    """The one release that all members are to run. Raises DowntimeError when a host has none, or they disagree."""
    digests: dict[str, list[str]] = {}
    for name, release in targets.items():
        if not release:
            raise DowntimeError(f"member {name} has no release to {plan['verb']}{' to' if plan['verb'] == 'rollback' else ''}; deploy one first: "
                                + _commands.command("deploy", plan.get("app"), deploy_release="LABEL"))
        digests.setdefault(release["digest"], []).append(name)
    if len(digests) > 1:
        found = "; ".join(f"{digest[:12]} on {', '.join(names)}" for digest, names in sorted(digests.items()))
        labels = sorted({_commands.release(entry) for entry in targets.values() if entry})
        given = {"app": None, **plan}
        # A restart takes what runs: members that do not agree are brought to one release first.
        commands = [_commands.instead(given, "deploy", deploy_release=label) if plan["verb"] == "restart" else
                    _commands.again(given, deploy_release=label) for label in labels]
        raise DowntimeError(f"the members do not agree which release {plan['release'] or 'runs'} is: {found}; name one: {' or '.join(commands)}")
    # The label is whatever a host knows; one that never staged it by that name does not.
    return max((entry for entry in targets.values() if entry), key=lambda entry: bool(entry.get("label")))


def on_hosts(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]], release: t.Mapping[str, t.Any], moving: t.Sequence[str]) -> None:
    """Refuse to go to a release that some hosts do not have any more: half of the members would move before the first of these fails.

    A deploy has just staged it everywhere; going back and restarting bring nothing along.
    """
    if plan["verb"] == "deploy":
        return
    lacking = [name for name in moving if "staged" in staged[name] and release["digest"] not in {entry["digest"] for entry in staged[name]["staged"]}]
    if lacking:
        label = _commands.release(release)
        raise DowntimeError(f"{agreeing(lacking, 'has', 'have')} no copy of release {label} any more, which {plan['verb']} does not "
                            f"fetch; {_commands.instead({'app': None, **plan}, 'deploy', deploy_release=label)} fetches it, or {another(plan, staged)}")


def target(plan: t.Mapping[str, t.Any], result: t.Mapping[str, t.Any], name: str,
           interrupted: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """The release that a member shall run, as its host knows it."""
    if plan["verb"] == "restart":
        return result.get("active")
    if plan["verb"] == "rollback" and plan["release"] == "previous" and interrupted:
        if interrupted.get("verb") == "rollback":
            # Going back once more ends what was begun, and does not undo it: whoever went back wanted to be there.
            return origin(result, interrupted.get("release"))
        # Members that the interrupted deploy did not reach still run what the others go back to.
        return origin(result, ran_before(plan, interrupted).get(name))
    if plan["verb"] == "rollback" and plan["release"] == "previous":
        return result.get("previous")
    return result.get("release")


def something_before(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuse a rollback where some members have nothing to go back to, and say what they run, and how to leave that."""
    lacking = {name: result for name, result in staged.items() if not result.get("previous")}
    if not lacking:
        return
    active, left = ({entry["digest"]: entry for result in lacking.values() if (entry := result.get(key))} for key in ("active", "left"))
    where = "" if len(lacking) == len(plan["members"]) else f" on {', '.join(lacking)}"
    serves = " and ".join(_commands.release(entry) for entry in active.values())
    if len(active) == 1 and len(left) == 1:
        came_from = _commands.release(next(iter(left.values())))
        command = _commands.again({"app": None, **plan, "verb": "deploy"}, deploy_release=came_from)
        raise DowntimeError(f"{serves} serves already{where}: it was gone back to from {came_from}, and nothing ran there before it; {command} undoes that")
    if not active:
        raise DowntimeError(f"nothing has run yet{where}, so there is no release to go back to; deploy one first: "
                            + _commands.command("deploy", plan.get("app"), deploy_release="LABEL"))
    raise DowntimeError(f"{serves} serves{where}, and nothing ran there before it, so there is no release to go back to; {another(plan, lacking)}")


def another(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    """How to name another release, for a sentence: the newest that all of these members have a copy of, and do not run."""
    copies = [{entry["digest"]: entry for entry in result.get("staged") or ()} for result in staged.values()]
    run = {(result.get("active") or {}).get("digest") for result in staged.values()}
    shared = [entry for digest, entry in (copies[0] if copies else {}).items() if digest not in run and all(digest in one for one in copies)]
    if not shared:
        return f"{_commands.command('deploy', plan.get('app'), deploy_release='LABEL')} brings another one"
    newest = max(shared, key=lambda entry: float(entry.get("time") or 0))
    return f"name one, as in {_commands.again({'app': None, **plan}, deploy_release=_commands.release(newest))}"


def undone(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]],
           interrupted: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """The release of an interrupted deploy that a rollback takes back from members that run it."""
    if plan["verb"] != "rollback" or plan["release"] != "previous" or (interrupted or {}).get("verb") != "deploy":
        return None
    digest = (interrupted or {}).get("release")
    return next((dict(active) for result in staged.values() if (active := result.get("active")) and active["digest"] == digest), None)


def origin(result: t.Mapping[str, t.Any], digest: str | None) -> dict[str, t.Any] | None:
    """What a member ran before: the release of that digest if the host still has it, else what is active."""
    if not digest:
        return result.get("active")
    known = [result.get("active"), result.get("previous"), *(result.get("staged") or [])]
    found = next((entry for entry in known if entry and entry["digest"] == digest), None)
    return {"digest": found["digest"], "label": found.get("label")} if found else result.get("active")
