# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary judge: is the canary worse than a fresh baseline? Three verdicts: pass, fail, inconclusive."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _mann_whitney, _sequential

DEFAULTS: dict[str, t.Any] = {"alpha": 0.02, "min_samples": 20, "confidence": 0.98, "tolerance": 0.25, "pass_score": 95, "marginal_score": 75, "margin": None}
METRIC: dict[str, t.Any] = {"direction": "increase", "critical": False, "allowed_increase": 1.0, "allowed_decrease": 1.0, "nodata": "inconclusive"}


def _metric(name: str, canary: list[float], baseline: list[float], rule: dict[str, t.Any], options: dict[str, t.Any]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"name": name, "critical": rule["critical"], "canary_samples": len(canary), "baseline_samples": len(baseline)}
    if not all(math.isfinite(one) for one in canary + baseline):
        return dict(found, classification="Nodata", reason="%s has a value that is not a number." % name)
    if min(len(canary), len(baseline)) < max(1, options["min_samples"]):
        return dict(found, classification="Nodata", reason="%s has %d samples of the canary and %d of the baseline; %d of each are needed." % (
            name, len(canary), len(baseline), options["min_samples"]))
    # In units of the baseline's mean, so that numbers are relative.
    unit = math.fsum(abs(one) for one in baseline) / len(baseline) or 1.0
    shift = _mann_whitney.location_shift([one / unit for one in canary], [one / unit for one in baseline], options["confidence"])
    mean = math.fsum(baseline) / len(baseline)
    effect = (math.fsum(canary) / len(canary)) / mean if mean else None
    bound = options["tolerance"] * abs(shift["estimate"])
    classification = "Pass"
    if rule["direction"] in ("increase", "either") and shift["low"] > bound and (effect is None or effect >= rule["allowed_increase"]):
        classification = "High"
    elif rule["direction"] in ("decrease", "either") and shift["high"] < -bound and (effect is None or effect <= rule["allowed_decrease"]):
        classification = "Low"
    reason = "%s of the canary is %+.1f %% beside the baseline's (%+.1f to %+.1f %%)." % (
        name, shift["estimate"] * 100, shift["low"] * 100, shift["high"] * 100)
    return dict(found, classification=classification, reason=reason, effect=effect, unit=unit, **shift)


def _score(metrics: list[dict[str, t.Any]], rules: dict[str, dict[str, t.Any]]) -> float:
    if any(one["critical"] and one["classification"] in ("High", "Low") for one in metrics):
        return 0.0
    nodata = [one for one in metrics if one["classification"] == "Nodata"]
    if 2 * len(nodata) >= len(metrics):
        return 0.0
    counted = len(metrics) - len(nodata) + sum(rules[one["name"]]["nodata"] == "fail" for one in nodata)
    return 100.0 * sum(one["classification"] == "Pass" for one in metrics) / counted


def judge(step_samples: t.Sequence[t.Mapping[str, t.Any]], criteria: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Judge a step. Samples: a list of looks, each with baseline and canary: requests, errors (since the look before), metrics {name: [values]}."""
    options = {**DEFAULTS, **{name: value for name, value in criteria.items() if name != "metrics"}}
    rules = {name: {**METRIC, **rule} for name, rule in (criteria.get("metrics") or {}).items()}
    looks = [{"%s_%s" % (side, kind): look[side].get(kind, 0) for side in ("baseline", "canary") for kind in ("requests", "errors")} for look in step_samples]
    sums = {name: sum(look[name] for look in looks) for name in ("baseline_requests", "baseline_errors", "canary_requests", "canary_errors")}
    needed = 1 / options["alpha"]
    errors: dict[str, t.Any] = dict(sums, e_value=_sequential.e_value(looks), needed=needed)
    margin = options["margin"]
    errors["e_not_worse"] = None if margin is None else _sequential.e_value(looks, 1 + margin, better=True)
    values = {name: {side: [one for look in step_samples for one in (look[side].get("metrics") or {}).get(name, [])] for side in ("canary", "baseline")}
              for name in rules}
    metrics = [_metric(name, values[name]["canary"], values[name]["baseline"], rule, options) for name, rule in rules.items()]
    score = _score(metrics, rules) if metrics else None
    result: dict[str, t.Any] = {"errors": errors, "metrics": metrics, "score": score}
    bad = [one["reason"] for one in metrics if one["classification"] in ("High", "Low")]
    nodata = [one["reason"] for one in metrics if one["classification"] == "Nodata"]
    if errors["e_value"] >= needed:
        return dict(result, verdict="fail", reasons=["The canary fails more often: %d of %d requests, the baseline %d of %d." % (
            sums["canary_errors"], sums["canary_requests"], sums["baseline_errors"], sums["baseline_requests"])] + bad)
    if any(one["critical"] and one["classification"] in ("High", "Low") for one in metrics):
        return dict(result, verdict="fail", reasons=bad)
    if min(sums["canary_requests"], sums["baseline_requests"]) < max(1, options["min_samples"]):
        return dict(result, verdict="inconclusive", reasons=["The canary got %d requests and the baseline %d; %d of each are needed." % (
            sums["canary_requests"], sums["baseline_requests"], max(1, options["min_samples"]))])
    if 2 * len(nodata) >= len(metrics) and metrics:
        return dict(result, verdict="inconclusive", reasons=nodata)
    if score is not None and score < options["marginal_score"] and (bad or any(rules[one["name"]]["nodata"] == "fail" for one in metrics)):
        return dict(result, verdict="fail", reasons=bad + nodata)
    if score is not None and score < options["pass_score"]:
        return dict(result, verdict="inconclusive", reasons=["The score is %.0f; %g are needed." % (score, options["pass_score"])] + bad + nodata)
    if nodata:
        return dict(result, verdict="inconclusive", reasons=nodata)
    if margin is not None and errors["e_not_worse"] < needed:
        return dict(result, verdict="inconclusive", reasons=[
            "It is not yet shown that the canary's error rate is below %g times the baseline's." % (1 + margin)])
    return dict(result, verdict="pass", reasons=["Nothing shows that the canary is worse."])
