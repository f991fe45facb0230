# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The canary judge: is the canary worse than a fresh baseline? Three verdicts: pass, fail, inconclusive.

Two kinds of evidence. Errors are counts, and are judged by a test that may be looked at as often as one likes, by blocks of members, since failures
come in bursts (C(_clusters)). Metrics are samples. Many of them come as counts of each value, and are judged by their order, in the middle and in the
tails (C(_order)); few come as lists, and are judged as Spinnaker's NetflixACAJudge does (https://spinnaker.io/guides/user/canary/judge): the interval
of the location shift has to lie beyond a quarter of the estimate, the ratio of the means beyond what is allowed; the score is the share of metrics
that pass, and one critical metric that fails sets it to 0.

Where this judge departs from that one:

- Missing data holds, and does not abort. There, a critical metric without data fails the canary, and so do half or more of all metrics; here both are
  inconclusive, since what is missing is more often the monitoring than the canary. C(nodata=fail) is its C(mustHaveData): the metric counts as one
  that failed. But only where the canary is at fault as far as can be seen: it got requests enough, the baseline has samples enough, the canary none.
- A value that is not a number is inconclusive too. It is neither dropped nor taken for 0.
- Looking repeatedly is paid for. There, one interval is drawn at the end; here one at every look, so it is widened as far as the tolerance does not
  already make up for it (see C(_sequential.standard_errors)).
- An C(allowed_increase) or C(allowed_decrease) of 1 sets no condition: an outlier of the baseline cannot then hide a shift of all values.
"""

from __future__ import annotations

import math
import statistics
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._judge import clusters as _clusters
from ansible_collections.zero.downtime.plugins.module_utils._judge import mann_whitney as _mann_whitney
from ansible_collections.zero.downtime.plugins.module_utils._judge import order as _order
from ansible_collections.zero.downtime.plugins.module_utils._judge import sequential as _sequential
from ansible_collections.zero.downtime.plugins.module_utils._judge import slow as _slow

Rule = t.Dict[str, t.Any]
Found = t.Dict[str, t.Any]

# How often a healthy canary may be failed for its errors; the confidence of a metric's interval; in parts of 1.
DEFAULTS: Rule = {"alpha": 0.01, "min_samples": 20, "confidence": 0.98, "tolerance": 0.25, "pass_score": 95, "marginal_score": 75, "margin": None,
                  "users": None}
METRIC: Rule = {"direction": "increase", "critical": False, "allowed_increase": 1.0, "allowed_decrease": 1.0, "nodata": "inconclusive"}

# What a number may be, and how to say so.
RANGES: dict[str, tuple[t.Callable[[float], bool], str]] = {
    "alpha": (lambda value: 0 < value < 1, "a number above 0 and below 1"),
    "confidence": (lambda value: 0 < value < 1, "a number above 0 and below 1"),
    "min_samples": (lambda value: value >= 1 and value == int(value), "a whole number from 1"),
    "tolerance": (lambda value: 0 <= value < 1, "a number from 0 to below 1; from 1 on no metric could ever fail"),
    "pass_score": (lambda value: 0 <= value <= 100, "a number from 0 to 100"),
    "marginal_score": (lambda value: 0 <= value <= 100, "a number from 0 to 100"),
    "margin": (lambda value: value > 0, "a number above 0, or nothing"),
    "users": (lambda value: value >= 1, "a number from 1, or nothing"),
    "allowed_increase": (lambda value: value >= 1, "a number from 1 (1.2 allows 20 percent more)"),
    "allowed_decrease": (lambda value: 0 < value <= 1, "a number above 0 and at most 1 (0.8 allows 20 percent less)"),
}
CHOICES = {"direction": ("increase", "decrease", "either"), "nodata": ("inconclusive", "fail", "pass")}

# Beyond these a sum or a quotient of values could leave the range of numbers.
SMALLEST, LARGEST = 1e-150, 1e150


def check(criteria: t.Any, name: str = "judge", metrics_name: str | None = None) -> None:
    """Refuse criteria that cannot be meant, in a sentence that names the option, its value and what is accepted. Asks nobody, changes nothing.

    @param criteria: as C(judge) takes them
    @param name: the option that they were given in
    @param metrics_name: the option that C(metrics) was given in, where that is another one than C(name).metrics
    @raise DowntimeError: for the first thing that is wrong
    """
    metrics_name = metrics_name or name + ".metrics"
    _options(criteria, name, metrics_name)
    _refuse_unknown(criteria or {}, [*DEFAULTS, "metrics"], name)
    for metric, rule in ((criteria or {}).get("metrics") or {}).items():
        _refuse_unknown(rule or {}, list(METRIC), "%s.%s" % (metrics_name, metric))


def _refuse_unknown(given: t.Mapping[str, t.Any], known: list[str], name: str) -> None:
    for key in given:
        if key not in known:
            raise DowntimeError("%s.%s is not known; there are: %s" % (name, key, ", ".join(sorted(known))))


def _options(criteria: t.Any, name: str, metrics_name: str) -> tuple[Rule, dict[str, Rule]]:
    """The criteria of the whole and of each metric, complete with their defaults. Names that are not ours are left out."""
    given = _dictionary(criteria, name, "of criteria")
    options = {key: _value(key, given.get(key, default), "%s.%s" % (name, key)) for key, default in DEFAULTS.items()}
    if options["marginal_score"] > options["pass_score"]:
        raise DowntimeError("%s.marginal_score is %g; it must not be above pass_score, which is %g" % (
            name, options["marginal_score"], options["pass_score"]))
    metrics = _dictionary(given.get("metrics"), metrics_name, "with a metric's name for each key")
    return options, {str(metric): _rule(rule, "%s.%s" % (metrics_name, metric)) for metric, rule in metrics.items()}


def _rule(rule: t.Any, name: str) -> Rule:
    given = _dictionary(rule, name, "of criteria")
    return {key: _value(key, given.get(key, default), "%s.%s" % (name, key)) for key, default in METRIC.items()}


def _dictionary(value: t.Any, name: str, what: str) -> t.Mapping[str, t.Any]:
    if value is None:
        return {}
    if not isinstance(value, t.Mapping):
        raise DowntimeError("%s is %r; it must be a dictionary %s" % (name, value, what))
    return value


def _value(key: str, value: t.Any, name: str) -> t.Any:
    if key in CHOICES:
        if value not in CHOICES[key]:
            raise DowntimeError("%s is %r; it must be one of: %s" % (name, value, ", ".join(CHOICES[key])))
        return str(value)
    if key == "critical":
        if not isinstance(value, bool):
            raise DowntimeError("%s is %r; it must be true or false" % (name, value))
        return value
    if key in ("margin", "users") and value is None:
        return None
    number = _number(value)
    is_good, accepted = RANGES[key]
    if not math.isfinite(number) or not is_good(number):
        raise DowntimeError("%s is %r; it must be %s" % (name, value, accepted))
    return int(number) if key == "min_samples" else number


def _number(value: t.Any) -> float:
    """NaN for what is no number. A template may well give a number as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


class _Samples(t.NamedTuple):
    """A metric's values on both sides, and how far they have grown."""

    canary: list[float]
    baseline: list[float]
    information: float  # how many times as much is known as when there first was enough; 0 before


def _information(canary: int, baseline: int) -> float:
    """How much a difference between samples of these sizes tells: the inverse of its variance, but for a factor."""
    return canary * baseline / (canary + baseline)


def _samples(looks: t.Sequence[t.Mapping[str, t.Any]], name: str, at_least: int) -> _Samples:
    found: dict[str, list[float]] = {"canary": [], "baseline": []}
    first = 0.0
    for look in looks:
        for side, values in found.items():
            values += (look[side].get("metrics") or {}).get(name) or []
        sizes = len(found["canary"]), len(found["baseline"])
        if not first and min(sizes) >= at_least:
            first = _information(*sizes)
    return _Samples(found["canary"], found["baseline"], _information(*sizes) / first if first else 0.0)


def _confidence(information: float, options: Rule) -> float:
    """Of the interval: as wide as asked for, or wider, so that a healthy canary is not failed more often the more often one looks.

    A metric fails when its estimate is more than z / (1 - tolerance) standard errors from 0. That has to be as many as may be seen at any look.
    """
    enough = (1 - options["tolerance"]) * _sequential.standard_errors(information, 1 - options["confidence"])
    return max(options["confidence"], 1 - 2 * statistics.NormalDist().cdf(-enough))


def _metric(name: str, samples: _Samples, rule: Rule, options: Rule) -> Found:
    """What one metric shows: its classification (Pass, High, Low, Nodata), and the reason in a sentence."""
    canary, baseline = samples.canary, samples.baseline
    found: Found = {"name": name, "critical": rule["critical"], "canary_samples": len(canary), "baseline_samples": len(baseline), "failed": False}
    strange = sum(not (isinstance(one, (int, float)) and abs(one) <= LARGEST) for one in canary + baseline)
    if strange:
        return dict(found, classification="Nodata", reason="%s has %d value%s of %d that no number can stand for." % (
            name, strange, "s" * (strange > 1), len(canary) + len(baseline)))
    if not samples.information:
        return dict(found, classification="Nodata", reason="%s has %d samples of the canary and %d of the baseline; %d of each are needed." % (
            name, len(canary), len(baseline), options["min_samples"]))
    # In units of the baseline's mean, so that numbers are relative; as they are where the baseline is nothing but zeros.
    mean = math.fsum(baseline) / len(baseline)
    size = math.fsum(abs(one) for one in baseline) / len(baseline)
    unit = size if size >= SMALLEST else 1.0
    confidence = _confidence(samples.information, options)
    shift = _mann_whitney.location_shift([one / unit for one in canary], [one / unit for one in baseline], confidence)
    if math.isinf(shift.low):
        return dict(found, classification="Nodata", reason="%s has %d samples of the canary and %d of the baseline, too few to be %g %% sure." % (
            name, len(canary), len(baseline), 100 * confidence))
    effect = math.fsum(canary) / len(canary) / mean if mean >= SMALLEST else None
    classification = _classify(shift, effect, rule, options["tolerance"])
    return dict(found, classification=classification, failed=classification != "Pass", confidence=confidence, effect=effect, unit=unit,
                estimate=shift.estimate, low=shift.low, high=shift.high, exact=shift.exact,
                reason=_reason(name, shift, size >= SMALLEST))


def _counts(looks: t.Sequence[t.Mapping[str, t.Any]], name: str) -> list[_order.Pair]:
    """A metric's values where they come as counts; nothing where they come as lists."""
    found = [tuple((look[side].get("metrics") or {}).get(name) for side in _clusters.SIDES) for look in looks]
    return [(canary or {}, baseline or {}) for canary, baseline in found] if any(isinstance(one, t.Mapping) for pair in found for one in pair) else []


def _distribution(name: str, looks: list[_order.Pair], rule: Rule, options: Rule) -> list[Found]:
    """What a metric of many values shows: one finding for its middle and one for each of its tails."""
    sizes = [sum(sum(pair[at].values()) for pair in looks) for at in (0, 1)]
    of_all: Found = {"critical": rule["critical"], "canary_samples": sizes[0], "baseline_samples": sizes[1], "failed": False, "of": name}
    if min(sizes) < options["min_samples"]:
        return [dict(of_all, name=name, classification="Nodata", reason="%s has %d samples of the canary and %d of the baseline; %d of each are needed." % (
            name, *sizes, options["min_samples"]))]
    # The parts share the probability of a false alarm, and so do both directions.
    needed = 2 * (len(_order.PARTS) + 1) / (1 - options["confidence"])
    found = []
    for part, shown in zip(_order.PARTS, _order.judged(looks, rule["allowed_increase"], rule["allowed_decrease"], needed)):
        called = name + part.suffix
        classification = _ordered(shown, needed, rule)
        found.append(dict(of_all, name=called, classification=classification, failed=classification != "Pass", confidence=options["confidence"],
                          effect=shown.ratio, unit=1.0, estimate=shown.ratio - 1, low=_less_one(shown.low), high=_less_one(shown.high),
                          exact=False, e_value=max(shown.above, shown.below), needed=needed,
                          reason="%s of the canary is %+.1f %% beside the baseline's (%s)." % (called, 100 * (shown.ratio - 1), _between(shown))))
    return [*found, _slow_part(name + "_slow", _slow.judged(looks, rule["allowed_increase"], rule["allowed_decrease"]), of_all, needed, rule)]


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _between(shown: _order.Order) -> str:
    """The interval, as far as anybody can tell it."""
    low, high = ("" if one is None else "%+.1f" % (100 * (one - 1)) for one in (shown.low, shown.high))
    if low and high:
        return "%s to %s %%" % (low, high)
    if low or high:
        return "at least %s %%; the upper limit cannot be told yet" % low if low else "at most %s %%; the lower limit cannot be told yet" % high
    return "limits cannot be told yet"


def _slow_part(name: str, shown: _slow.Slow, of_all: Found, needed: float, rule: Rule) -> Found:
    """What is known of the values that lie far above most of the baseline's: shares of all, and no interval."""
    classification = _ordered(shown, needed, rule)
    shares = [hits / size if size else None for hits, size in (shown.canary, shown.baseline)]
    reason = "%s: %d of %d values of the canary lie above %g, and %d of %d of the baseline." % (name, *shown.canary, round(shown.limit, 1), *shown.baseline)
    return dict(of_all, name=name, classification=classification, failed=classification != "Pass", limit=shown.limit or None,
                canary_slow=shares[0], baseline_slow=shares[1], e_value=max(shown.above, shown.below), needed=needed,
                reason=reason if shown.limit else "%s cannot be told yet: too few values of the baseline came before." % name)


def _ordered(shown: _order.Order | _slow.Slow, needed: float, rule: Rule) -> str:
    if rule["direction"] != "decrease" and shown.above >= needed:
        return "High"
    if rule["direction"] != "increase" and shown.below >= needed:
        return "Low"
    return "Pass"


def _reason(name: str, shift: _mann_whitney.Shift, is_relative: bool) -> str:
    if is_relative:
        return "%s of the canary is %+.1f %% beside the baseline's (%+.1f to %+.1f %%)." % (name, *(100 * one for one in shift[:3]))
    return "%s of the canary is %+g beside the baseline's zero (%+g to %+g)." % (name, *shift[:3])


def _classify(shift: _mann_whitney.Shift, effect: float | None, rule: Rule, tolerance: float) -> str:
    bound = tolerance * abs(shift.estimate)
    up, down = rule["allowed_increase"], rule["allowed_decrease"]
    if rule["direction"] != "decrease" and shift.low > bound and (up == 1 or effect is None or effect >= up):
        return "High"
    if rule["direction"] != "increase" and shift.high < -bound and (down == 1 or effect is None or effect <= down):
        return "Low"
    return "Pass"


def _without_data(found: Found, nodata: str, requests: int, options: Rule) -> Found:
    """What becomes of a metric that has no data: it holds the verdict, passes, or fails."""
    if found["classification"] != "Nodata" or found["canary_samples"]:
        return found
    if nodata == "pass":
        return dict(found, classification="Pass", reason="%s has no data of the canary, which is taken for good." % found["name"])
    if nodata == "fail" and requests >= options["min_samples"] <= found["baseline_samples"]:
        return dict(found, failed=True, reason="%s has no data of the canary, though it got %d requests and the baseline has %d samples." % (
            found["name"], requests, found["baseline_samples"]))
    return found


def _score(metrics: list[Found]) -> float | None:
    """From 0 to 100: how many of the metrics that tell something pass. None where half of them or more tell nothing."""
    if any(one["critical"] and one["failed"] for one in metrics):
        return 0.0
    # Middle and tails of one metric count once, and the worst of them.
    whole: dict[str, list[Found]] = {}
    for one in metrics:
        whole.setdefault(one.get("of", one["name"]), []).append(one)
    told = [parts for parts in whole.values() if any(one["classification"] != "Nodata" or one["failed"] for one in parts)]
    if 2 * len(told) <= len(whole):
        return None
    return 100.0 * sum(not any(one["failed"] for one in parts) for parts in told) / len(told)


def _errors(looks: t.Sequence[t.Mapping[str, t.Any]], options: Rule) -> Found:
    """The sums of requests and errors, and the evidence in them. A look with a count below 0, as a restarted counter gives, is left out."""
    blocks = [block for number, look in enumerate(looks) for block in _blocks(number, look)]
    effects = _clusters.design_effects(blocks)
    if options["users"]:
        # A user for whom everything fails is one event, however often he asks.
        each = sum(block.requests for block in blocks) / options["users"]
        effects = {key: max(effect, each) for key, effect in effects.items()}
    seen = _sequential.deflated(blocks, effects)
    margin = options["margin"]
    return {**{"%s_%s" % (side, kind): sum(getattr(block, field) for block in blocks if block.side == side)
               for side in _clusters.SIDES for kind, field in (("requests", "requests"), ("errors", "hits"))},
            "e_value": _sequential.e_value(seen), "needed": 1 / options["alpha"],
            "e_not_worse": None if margin is None else _sequential.e_value(seen, 1 + margin, better=True),
            "design_effect": max(effects.values(), default=1.0), "bad_blocks": _clusters.bad(blocks)}


def _blocks(number: int, look: t.Mapping[str, t.Any]) -> list[_clusters.Block]:
    """What each member did in a look; what a side did where members are not told apart."""
    found = [_clusters.Block(side, look.get("share"), number, one.get("member"), one.get("requests") or 0, one.get("errors") or 0)
             for side in _clusters.SIDES for one in look[side].get("blocks") or [look[side]]]
    return found if all(one.requests >= 0 and one.hits >= 0 for one in found) else []


def judge(step_samples: t.Sequence[t.Mapping[str, t.Any]], criteria: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Judge a step from all that was seen in it so far.

    @param step_samples: a dictionary for each look, oldest first, with C(canary) and C(baseline); each has C(requests) and C(errors), counted since
        the look before, the same of each member as C(blocks), if members are told apart, and C(metrics), for each metric's name a list of values
        measured since then or a dictionary of how often each came. C(share), if given, says which looks were at the same share
    @param criteria: see docs/judge.md; C(metrics) has a dictionary for each metric's name. Names that the judge does not know are not looked at
    @return: C(verdict) (pass, fail, inconclusive), C(reasons) (sentences), C(errors) (sums, C(e_value), C(needed), C(e_not_worse)), C(metrics) (a list;
        C(estimate), C(low) and C(high) are parts of the baseline's mean, or of its quantile) and C(score) (0 to 100, or None)
    @raise DowntimeError: for criteria that C(check) refuses
    """
    options, rules = _options(criteria, "judge", "judge.metrics")
    errors = _errors(step_samples, options)
    metrics = []
    for name, rule in rules.items():
        counted = _counts(step_samples, name)
        for found in _distribution(name, counted, rule, options) if counted else [
                _metric(name, _samples(step_samples, name, options["min_samples"]), rule, options)]:
            metrics.append(_without_data(found, rule["nodata"], errors["canary_requests"], options))
    result = {"errors": errors, "metrics": metrics, "score": _score(metrics)}
    verdict, reasons = _verdict(result, options)
    return dict(result, verdict=verdict, reasons=reasons)


def _verdict(found: Found, options: Rule) -> tuple[str, list[str]]:
    """First what shows that the canary is worse, then what is lacking to say that it is not."""
    errors, metrics, score = found["errors"], found["metrics"], found["score"]
    bad = [one["reason"] for one in metrics if one["failed"]]
    missing = [one["reason"] for one in metrics if one["classification"] == "Nodata" and not one["failed"]]
    if errors["e_value"] >= errors["needed"] and errors["bad_blocks"] >= _clusters.ENOUGH:
        return "fail", ["The canary fails more often: %d of %d requests, the baseline %d of %d." % (
            errors["canary_errors"], errors["canary_requests"], errors["baseline_errors"], errors["baseline_requests"])] + bad
    if any(one["critical"] and one["failed"] for one in metrics):
        return "fail", bad
    if min(errors["canary_requests"], errors["baseline_requests"]) < options["min_samples"]:
        return "inconclusive", ["The canary got %d requests and the baseline %d; %d of each are needed." % (
            errors["canary_requests"], errors["baseline_requests"], options["min_samples"])] + bad + missing
    if score is not None and score < options["marginal_score"]:
        return "fail", bad + missing
    if errors["e_value"] >= errors["needed"]:
        return "inconclusive", ["The canary failed %d of %d requests, the baseline %d of %d; that may be a burst until %d blocks have errors, and %d have." % (
            errors["canary_errors"], errors["canary_requests"], errors["baseline_errors"], errors["baseline_requests"], _clusters.ENOUGH,
            errors["bad_blocks"])] + bad + missing
    if score is not None and score < options["pass_score"]:
        return "inconclusive", ["The score is %.0f; %g are needed." % (score, options["pass_score"])] + bad + missing
    if missing:
        return "inconclusive", bad + missing
    if errors["e_not_worse"] is not None and errors["e_not_worse"] < errors["needed"]:
        return "inconclusive", ["It is not yet shown that the canary's error rate is below %g times the baseline's." % (1 + options["margin"])]
    return "pass", ["The score is %.0f; %g are needed." % (score, options["pass_score"])] + bad if bad else ["Nothing shows that the canary is worse."]
