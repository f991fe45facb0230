# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary judge: how often it is wrong, how soon it is right, and what a decision costs."""

from __future__ import annotations

import json
import math
import random
import sys
import time
import typing as t

from measure import OUTPUT, REPO, Finding, median, run

SEED = 20261125
# A canary that gets a tenth of 200 requests a second, looked at every ten seconds for ten minutes.
EVERY, LOOKS, CANARY, BASELINE = 10, 60, 20, 180
ALPHA = 0.02
USUAL, WORSE = 0.005, 0.02
SAME_RUNS, WORSE_RUNS = 1000, 400
REPEAT = 15


def _errors(rng: random.Random, requests: int, share: float) -> int:
    """How many of so many requests fail, by the gaps between failures."""
    found, at = 0, 0
    while True:
        at += int(math.log(1 - rng.random()) / math.log1p(-share)) + 1
        if at > requests:
            return found
        found += 1


def _until_failed(rng: random.Random, e_value: t.Callable[..., float], canary: float) -> int | None:
    """Seconds until the judge fails the canary; None when it never does."""
    looks: list[dict[str, int]] = []
    for number in range(1, LOOKS + 1):
        looks.append({"canary_requests": CANARY * EVERY, "canary_errors": _errors(rng, CANARY * EVERY, canary),
                      "baseline_requests": BASELINE * EVERY, "baseline_errors": _errors(rng, BASELINE * EVERY, USUAL)})
        if e_value(looks) >= 1 / ALPHA:
            return number * EVERY
    return None


def simulate() -> dict[str, t.Any]:
    from ansible_collections.zero.downtime.plugins.module_utils._sequential import e_value  # pylint: disable=import-outside-toplevel

    rng = random.Random(SEED)
    alarms = sum(_until_failed(rng, e_value, USUAL) is not None for _number in range(SAME_RUNS))
    stops = [_until_failed(rng, e_value, WORSE) for _number in range(WORSE_RUNS)]
    caught = sorted(seconds for seconds in stops if seconds)
    return {"false_alarms": alarms / SAME_RUNS, "found": len(caught) / WORSE_RUNS, "median_s": caught[len(caught) // 2] if caught else None,
            "same_runs": SAME_RUNS, "worse_runs": WORSE_RUNS}


def decide() -> dict[str, t.Any]:
    from ansible_collections.zero.downtime.plugins.module_utils._judge import judge  # pylint: disable=import-outside-toplevel

    rng = random.Random(SEED)
    times = []
    for _number in range(REPEAT):
        look = {side: {"requests": 5000, "errors": 25, "metrics": {"latency_ms": [rng.lognormvariate(3, 0.5) for _request in range(5000)]}}
                for side in ("baseline", "canary")}
        began = time.perf_counter()
        judge([look], {"metrics": {"latency_ms": {"critical": True}}})
        times.append(time.perf_counter() - began)
    return {"ms": median(times) * 1000, "scipy": "scipy" in sys.modules}


def measure() -> dict[str, t.Any]:
    """In a process of its own, so that what a decision imports can be told."""
    run("judge", [sys.executable, __file__], PYTHONPATH=str(REPO / "build" / "collections"))
    found = json.loads((OUTPUT / "judge.log").read_text(encoding="utf-8").splitlines()[-1])
    if found["scipy"]:
        raise Finding("the judge imported scipy")
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps({**simulate(), **decide()}) + "\n")
