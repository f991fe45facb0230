# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan as lines for a person. Pure. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._judge import canary_times as _canary_times


def _anew(plan: t.Mapping[str, t.Any], members: t.Sequence[str]) -> str:
    """Of a batch: who does not serve now."""
    dead = [name for name in members if name in plan.get("not_serving", ())]
    told = "does not serve now, and is begun anew" if len(dead) == 1 else "do not serve now, and are begun anew"
    return f" ({', '.join(dead)} {told})" if dead else ""


def _of_streams(plan: t.Mapping[str, t.Any]) -> str:
    """What becomes of streams, as a step."""
    if plan["streams"]["mode"] == "cut":
        return "cut streams"
    return "have streams ended by the hook end_streams" if plan["hooks"].get("end_streams") else "have streams ended by the application's stop signal"


def describe(plan: t.Mapping[str, t.Any]) -> list[str]:
    """The plan as lines for a person."""
    release, previous = plan["release"], plan["previous"]
    lines = [f"Plan: {plan['verb']} {plan['app']} ({plan['environment']}) to {release['label']} ({release['digest'][:12]})"
             + (f" from {previous['label']} ({previous['digest'][:12]})" if previous else ", the first release")]
    if plan.get("platform"):
        return [*lines, f"  push by {plan['driver']}: {plan['platform']} brings its own members to it, within {plan['push_timeout']} s" if plan["batches"] else
                f"  {plan['platform']} runs this release already; nothing moves"]
    lines.append(f"  {plan['strategy']} by {plan['driver']} on {', '.join(plan['balancers'])}; floor {plan['min_active']}"
                 + (f"; no member serves {'now' if previous else 'yet'}" if plan["first"] else ""))
    lines += [f"  batch {batch['n']}: {', '.join(batch['members'])}{_anew(plan, batch['members'])}: drain at most {plan['drain_timeout']} s, "
              f"{_of_streams(plan) + ', ' if plan['streams']['out'] else ''}activate, "
              f"{plan['health']['passes'] if plan['health'].get('path') else 'no'} passes, return" for batch in plan["batches"]]
    if plan.get("switch"):
        small = [step for step in plan.get("steps") or () if step < 100]
        if small:
            lines.append(f"  {plan['switch']['to']} gets {', '.join(map(str, small))} % of the requests, is watched for "
                         f"{plan['canary']['step_time']:g} s or more at each share, and goes back as soon as it is worse")
            if plan.get("telling"):
                lines.append(f"  {_canary_times.line(plan['telling'])}")
        lines.append(f"  switch every request from {plan['switch']['from']} to {plan['switch']['to']}; {plan['switch']['from']} is left as it is")
        if holds := (plan.get("retire") or {}).get("holds"):
            lines.append(f"  others may keep for {holds} s what they were told before: the switch waits for that, and is over when nobody has it any more")
        if plan["streams"]["behind"]:
            lines.append(f"  {_of_streams(plan)} on {plan['switch']['from']}, which is warm again then")
    elif not plan["batches"]:
        lines.append("  every member runs this release already; nothing moves")
    if (plan.get("retire") or {}).get("at_end"):
        lines.append(f"  stop the side that does not serve, once it has seen no request for {plan['retire']['idle_for']} s "
                     f"(at most {plan['drain_timeout']} s later)")
    return lines
