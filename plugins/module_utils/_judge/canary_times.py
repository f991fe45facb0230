# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a canary takes to tell what matters at a rate of requests, and which steps can. Private to the plan."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._judge import clusters as _clusters
from ansible_collections.zero.downtime.plugins.module_utils._judge import sequential as _sequential

# The errors that matter: a release that fails so much in place of so much.
USUAL, WORSE = 0.005, 0.02
# Shares that are proposed, the fewest first.
PROPOSED = ((1, 5, 25, 50), (5, 25, 50), (10, 50), (25, 50), (50,))


def seconds(share: float, rate: float, alpha: float) -> float:
    """How long a share (from 0 to 1) takes, as a rule, to tell so many more errors, where they do not come in bursts.

    What the e-value grows by for each error is the divergence between the canary's part of the errors when it is worse
    and when it is not; it starts at a part of 1, since its alternatives are several."""
    if rate <= 0:
        return math.inf
    errors = rate * (share * WORSE + (1 - share) * USUAL)
    mine = rate * share * WORSE / errors
    growth = errors * (mine * math.log(mine / share) + (1 - mine) * math.log((1 - mine) / (1 - share)))
    return max(math.log(len(_sequential.WORSE) / alpha) / growth, _clusters.ENOUGH / (rate * share * WORSE))


def _filled(share: int, rate: float, canary: t.Mapping[str, t.Any], limit: float) -> bool:
    """Whether a share gets the requests in that time without which nothing is said."""
    return rate * share / 100 * (limit - canary["warm_up"]) >= canary["judge"]["min_samples"]


def _tells(steps: t.Iterable[int], step_time: float, rate: float, alpha: float) -> bool:
    """Whether so many more errors are told by all steps together."""
    return sum(step_time / seconds(step / 100, rate, alpha) for step in steps) >= 1


def told(canary: t.Mapping[str, t.Any], rate: float, timed: float | None = None) -> dict[str, t.Any]:
    """For each share below 100 how long it takes, and a warning where the steps cannot tell.

    @param canary: the checked options
    @param rate: requests a second that are counted while it is watched
    @param timed: those of them that are timed, where each is a value of latency_ms
    """
    least_rate = rate if timed is None else min(rate, timed)
    small = [step for step in canary["steps"] if step < 100]
    alpha = canary["judge"]["alpha"]
    times = {step: seconds(step / 100, rate, alpha) for step in small}
    found = {
        "rate": rate,
        "seconds": {str(step): None if math.isinf(time) else round(time) for step, time in times.items()},
        "warning": None,
    }
    empty = [step for step in small if not _filled(step, least_rate, canary, canary["deadline"])]
    if empty:
        least = canary["judge"]["min_samples"]
        needs = f"not get {least} requests within {_shown(canary['deadline'])}, without which nothing is said: the release would be held, and then go back"
        if canary["at_deadline"] == "go_on":
            needs = needs.replace("then go back", "then go on unjudged")
        found["warning"] = (
            f"at {_rate(least_rate)} a share of {empty[-1]} % does {needs}; {_proposal(canary, rate, least_rate)}"
        )
    elif small and not _tells(small, canary["step_time"], rate, alpha):
        found["warning"] = (
            f"at {_rate(rate)} these steps do not tell {_percent(WORSE)} errors from {_percent(USUAL)}: {small[-1]} % of the requests takes "
            f"{_shown(times[small[-1]])} for that, and is watched for {_shown(canary['step_time'])}; {_proposal(canary, rate, least_rate)}"
        )
    return found


def _proposal(canary: t.Mapping[str, t.Any], rate: float, least_rate: float) -> str:
    """Fewer and larger steps, watched for longer, and what else helps."""
    more = "a higher deploy_canary.probe_rate helps, too"
    if rate <= 0:
        return more
    alpha = canary["judge"]["alpha"]
    # The smallest share has to say something in the time that a person meant to give it.
    steps = next(
        (steps for steps in PROPOSED if _filled(steps[0], least_rate, canary, canary["step_time"])), PROPOSED[-1]
    )
    needed = max(seconds(steps[-1] / 100, rate, alpha) + canary["warm_up"], canary["step_time"])
    step_time = math.ceil(needed / 60) * 60
    return f"steps: {[*steps, 100]}, step_time: {step_time}, deadline: {max(2 * step_time, math.ceil(canary['deadline']))} can; {more}"


def line(found: t.Mapping[str, t.Any]) -> str:
    """What the plan says."""
    times = ", ".join(f"{_shown(time)} at {step} %" for step, time in found["seconds"].items() if time is not None)
    return (
        f"at {_rate(found['rate'])}, {_percent(WORSE)} errors are told from {_percent(USUAL)} after {times}"
        if times
        else f"at {_rate(found['rate'])} nothing is told"
    )


def _rate(rate: float) -> str:
    number = f"{rate:.2g}" if rate < 10 else f"{rate:.0f}"
    return f"{number} request{'' if number == '1' else 's'} a second"


def _percent(part: float) -> str:
    return f"{part * 100:g} %"


def _shown(time: float) -> str:
    return f"{time:.0f} s" if time < 120 else f"{time / 60:.0f} min" if time < 7200 else f"{time / 3600:.0f} h"
