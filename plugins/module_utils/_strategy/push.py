# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The strategy push: a platform gets the release handed and brings its own members to it. Pure functions.

Private to the collection.

The platform stands where a member would, and is the only one: it is moved as a whole, by its own order.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome
from ansible_collections.zero.downtime.plugins.module_utils._strategy import rolling as _rolling

# The side that gets the release.
SIDE = "live"
# So many requests of a probe, before anything moves, show whether those of a release fail more often; and the seconds
# that are given for that at most.
ENOUGH, LONGEST = 200, 5.0

Release = t.Optional[t.Mapping[str, t.Any]]


def lay_out(
    plan: t.Mapping[str, t.Any],
    staged: t.Mapping[str, t.Mapping[str, t.Any]],
    out: t.Sequence[str] = (),
    interrupted: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """One batch, the platform, and what it goes back to; no batch where it has the release and is at rest.

    Raises DowntimeError where it does not know the release, or is being brought to one by nobody who is known here.
    """
    name = plan["platform"]
    found = staged[name]
    pending, active = found.get("pending"), found.get("active") or {}
    if pending and not interrupted:
        raise DowntimeError(
            f"{name} is being brought to {_outcome.label_of(pending)}, which no deploy that is known here has begun; "
            f"{_commands.again({'app': None, **plan})} can go on when that has ended"
        )
    if plan["verb"] == "rollback" and plan["release"] == "previous" and not interrupted:
        _rolling.something_before(plan, staged)
    release = _rolling.target(plan, found, name, interrupted)
    if not release:
        raise DowntimeError(f"{name} has no release {plan['release']}; it has {_labels(found) or 'none'}")
    was = _rolling.origin(found, _rolling.ran_before(plan, interrupted).get(name))
    moving = [name] if pending or active.get("digest") != release["digest"] else []
    left = pending or _rolling.undone(plan, staged, interrupted)
    return {
        "release": dict(release),
        # What users leave: with a rollback of a deploy that did not end that is its release.
        "previous": left if plan["verb"] == "rollback" and left else was,
        "first": not active,
        "watch_before": _watch_before(plan) if active else 0.0,
        "floor": plan["min_active"],
        "batches": [{"n": 1, "members": moving}] if moving else [],
        "going_back_to": {name: was} if moving else {},
        # What an interrupted deploy has moved is this one's to put right, also where it fails before it moves anything.
        "unsettled": moving if pending or (was or {}).get("digest") != active.get("digest") else [],
        "unmoved": [] if moving else [name],
        "tells": [],
        "absent": [],
        "undone": left,
        "not_serving": [],
        "down": [],
    }


def _watch_before(plan: t.Mapping[str, t.Any]) -> float:
    """Seconds to watch what served before: nothing is staged meanwhile, and where nobody counts real requests, the
    probe alone has to tell a release that fails more often.
    """
    evidence = plan.get("evidence") or {}
    if not evidence.get("url") or _drivers.load(plan["driver"]).info:
        return 0.0
    return min(LONGEST, ENOUGH / float(evidence["rate"]))


def _labels(found: t.Mapping[str, t.Any]) -> str:
    return ", ".join(str(_outcome.label_of(entry)) for entry in found.get("staged") or ())


def outcome(
    local: t.Mapping[str, t.Any], plan: t.Mapping[str, t.Any], title: str, why: str | None, checking: bool
) -> dict[str, t.Any]:
    """Result, sentence and what the platform runs; C(why) is None when nothing failed."""
    name, label = plan["platform"], _outcome.label_of(plan["release"])

    def told(result: str, sentence: str, runs: str | None) -> dict[str, t.Any]:
        row = {"name": name, "release": runs, "state": "active" if runs else "unknown"}
        return {"result": result, "sentence": _outcome.full_stop(sentence), "members": [row], "lost": []}

    if why is None:
        if not plan["batches"]:
            return told("succeeded", f"{title}: {name} runs {label} already, and nothing was moved", label)
        if checking:
            return told(
                "succeeded",
                f"{title} would move {name} to {label}; nothing has been changed",
                _outcome.label_of(plan["going_back_to"][name]),
            )
        return told("succeeded", f"{title}: {name} was moved to {label}", label)
    failed = f"{title} to {label} failed: {why.rstrip('.')}"
    problems = [
        text for text in map(_outcome.first_line, local.get("__deploy_problems") or ()) if text.rstrip(".") not in why
    ]
    moved, back = _outcome.moved(local, name), _outcome.back(local, name)
    before = _outcome.label_of(plan["going_back_to"].get(name))
    at = _outcome.where(moved, back) if plan["batches"] else "new"
    if local.get("__deploy_stay") or at == "new":
        kept = (
            f"nothing was moved back; {name} runs {label}" if _outcome.ran(moved) else f"{name} runs {label} as before"
        )
        return told(
            "failed" if _outcome.ran(moved) or problems else "rolled_back", "; ".join([failed, kept, *problems]), label
        )
    if at == "old" and before:
        # Where the platform itself gave the release up, there was nothing left to bring back.
        how = "went back to" if _outcome.ran(back) and back.get("changed") else "kept"
        return told(
            "failed" if problems else "rolled_back", "; ".join([failed, f"{name} {how} {before}", *problems]), before
        )
    if at == "old":
        return told("rolled_back", f"{failed}; {name} has run no release before, and runs none now", None)
    ways = _going_on.ways(_outcome.unfinished(plan), plan["app"])
    unknown = f"what {name} runs now is not known; {_commands.command('status', plan['app'])} asks again, and {ways}"
    if not before:
        says = f"{_commands.command('status', plan['app'])} says what it runs"
        unknown = f"there is no release before that {name} could go back to; {says}"
    return told("failed", "; ".join([failed, *problems, unknown]), None)
