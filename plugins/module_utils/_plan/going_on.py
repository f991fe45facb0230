# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deploy or rollback goes on from, and by which strategy. Pure functions. Private to the collection.

The rule. Who names a strategy gets it, unless it contradicts what was left unfinished: moves of one side are not undone
by moves of the other. Who names none gets the strategy of what was left unfinished, by its journal. Without that, a
rollback undoes the last deploy as it was made, by what the state hosts keep of it, and a deploy has the default. A
rollback of what an idle side was used for is one switch, whichever strategy brought the requests there.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

DEFAULT = next(iter(_drivers.STRATEGIES))
# Moves every request at once: nobody has to be compared with what he flees from.
SWITCH = "blue_green"

Known = t.Optional[t.Mapping[str, t.Any]]


def strategy(verb: str, app: str, given: str | None, named: str | None, interrupted: Known, last: Known) -> str:
    """The strategy of a deploy or rollback.

    :param given: what a person has set, if anything.
    :param named: the release or the side that was named to go to.
    :param interrupted: what was left unfinished (C(_lock.interrupted_of)).
    :param last: the last deploy or rollback that ended well (C(_lock.Lock.last)).

    Raises DowntimeError, naming both, when what a person has set contradicts what was left unfinished.
    """
    if not interrupted:
        return given or (_undoing(last) if verb == "rollback" else DEFAULT)
    unfinished = of_interrupted(interrupted)
    switches = idle(unfinished)
    if not given:
        return SWITCH if switches and verb == "rollback" else unfinished
    # A rolling deploy goes back where it was made. To a release that is named, the other side can be brought, as long
    # as nobody was left out.
    there = interrupted.get("verb") == "deploy" and verb == "rollback" and not named
    if (switches and not idle(given)) or (not switches and idle(given) and there):
        raise DowntimeError(f"deploy_strategy is '{given}', but {told(interrupted)} by {unfinished} has not ended, and "
                            f"{given} does not go on from there; {ways(interrupted, app)}")
    return given


def of_interrupted(interrupted: t.Mapping[str, t.Any]) -> str:
    """The strategy of what was left unfinished. A journal without it tells it by the side whose members were moved."""
    named = interrupted.get("strategy")
    if named in _drivers.STRATEGIES:
        return str(named)
    side, serving = interrupted.get("side"), interrupted.get("serving")
    return SWITCH if side and serving and side != serving else DEFAULT


def begun(interrupted: Known) -> bool:
    """Whether what was left unfinished has moved the idle side: it is gone on with, and nothing may be restarted before."""
    return interrupted is not None and interrupted.get("verb") in ("deploy", "rollback") and idle(of_interrupted(interrupted))


def idle(name: str) -> bool:
    """Whether a strategy brings the release to the side that does not serve."""
    return bool(_drivers.strategy(name).SIDE == "idle")


def told(interrupted: t.Mapping[str, t.Any]) -> str:
    """What was left unfinished, for a sentence."""
    label = interrupted.get("label") or (interrupted.get("release") or "")[:12]
    deploy = f" ({interrupted['deploy_id']})" if interrupted.get("deploy_id") else ""
    return f"the {interrupted.get('verb') or 'deploy'}{' to ' + label if label else ''}{deploy}"


def ended(plan: t.Mapping[str, t.Any], interrupted: Known, release: t.Mapping[str, t.Any],
          warm: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """What was killed after it had brought users a release, and is ended by a plan that finds this C(release) in place; None where nothing was.

    It is that deploy or rollback, for whatever comes later: what it left (C(origin)) is what a rollback goes to, in its way.

    :param warm: what the idle side ran before.
    """
    if not interrupted or interrupted.get("verb") not in ("deploy", "rollback") or interrupted.get("release") != release["digest"]:
        return None
    unfinished, origin = of_interrupted(interrupted), warm
    if not idle(unfinished):
        digest = next(iter((interrupted.get("before") or {}).values()), None)
        origin = {"digest": digest, "label": None} if digest else None
    elif interrupted.get("serving") == plan["serving_side"]:
        return None
    intent = {**{name: interrupted.get(name) for name in ("verb", "release", "label", "serving", "side")}, "strategy": unfinished}
    return {"verb": interrupted["verb"], "strategy": unfinished, "release": dict(release), "origin": dict(origin) if origin else None,
            "switched": idle(unfinished), "told": told(interrupted), "intent": intent}


def intent(plan: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the journal says of a run's moves, for what ends it. Who only ends another one, which was killed, is that one there, too."""
    release = plan.get("intended") or plan["release"]
    own = {"verb": plan["verb"], "strategy": plan.get("strategy"), "release": release["digest"], "label": release.get("label"),
           "serving": plan.get("serving_side"), "side": plan.get("side")}
    streams = (plan.get("said") or {}).get("deploy_streams")
    return {**(plan["ended"]["intent"] if plan.get("ended") else own), **({"streams": streams} if streams else {})}


def kept(plan: t.Mapping[str, t.Any], result: str = "succeeded") -> dict[str, t.Any] | None:
    """What is kept of one that ended, for a later rollback; None where users got no other release by it.

    One that was killed and is ended by this run (C(ended)) is kept also where this run went back: its own moves were those of the idle side.
    """
    if not plan.get("sides"):
        # With one side there is one way back, which the hosts know.
        return None
    if plan.get("ended") and result != "failed":
        return {"deploy_id": plan["deploy_id"], **{name: plan["ended"][name] for name in ("verb", "strategy", "release", "origin")}}
    if result != "succeeded":
        return None
    previous, release = plan.get("previous") or {}, plan["release"]
    switched = bool(plan.get("switch")) and not plan["switch"]["home"]
    rolled = bool(plan["going_back_to"]) and previous.get("digest") != release["digest"]
    moved = switched if idle(plan["strategy"]) else rolled
    if plan["verb"] not in ("deploy", "rollback") or not moved:
        return None
    return {"verb": plan["verb"], "strategy": plan["strategy"], "deploy_id": plan["deploy_id"], "release": dict(release),
            "origin": dict(previous) or None}


def went_back(plan: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any] | None:
    """The last rollback, where another one without a strategy and a release of its own would only undo it."""
    last = plan.get("last") or {}
    named = (plan.get("said") or {}).get("deploy_strategy")
    return last if last.get("verb") == "rollback" and idle(last.get("strategy") or DEFAULT) and not named else None


def origin(plan: t.Mapping[str, t.Any], serves: t.Collection[str]) -> str | None:
    """The digest that served before the last deploy, as long as what that one brought is what C(serves)."""
    last = plan.get("last") or {}
    if last.get("verb") != "deploy" or (last.get("release") or {}).get("digest") not in serves:
        return None
    return (last.get("origin") or {}).get("digest")


def _undoing(last: Known) -> str:
    return SWITCH if last and last.get("strategy") in _drivers.STRATEGIES and idle(str(last["strategy"])) else DEFAULT


def ways(interrupted: t.Mapping[str, t.Any], app: str | None) -> str:
    """What ends something that was left unfinished, for a sentence."""
    verb, unfinished, streams = interrupted.get("verb"), of_interrupted(interrupted), interrupted.get("streams")
    if verb == "restart":
        return f"{_commands.command('restart', app, deploy_streams=streams)} ends it"
    back = _commands.command("rollback", app, deploy_strategy=SWITCH if idle(unfinished) else unfinished, deploy_streams=streams)
    if verb == "rollback":
        return f"{back} ends it"
    label = interrupted.get("label") or interrupted.get("release")
    there = _commands.command("deploy", app, deploy_release=label, deploy_strategy=unfinished, deploy_streams=streams) if label else None
    return f"{back} undoes it" + (f", or {there} goes on with it" if there else "")
