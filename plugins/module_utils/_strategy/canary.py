# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The strategy canary: the idle side gets the release, then a growing share of the requests, and is judged at each share. Private to the collection.

It is blue/green with more than one step: the same sides, the same gates, and the same way back, which is one change on the balancers.
"""

from __future__ import annotations

import string
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _spec
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._judge import judge as _judge
from ansible_collections.zero.downtime.plugins.module_utils._judge import metrics as _metrics
from ansible_collections.zero.downtime.plugins.module_utils._judge import warm_up as _warm_up
from ansible_collections.zero.downtime.plugins.module_utils._plan import plan as _plan
from ansible_collections.zero.downtime.plugins.module_utils._plan.canary_options import LATENCY, METRIC, OPTIONS, PROMETHEUS
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._strategy import blue_green as _blue_green
from ansible_collections.zero.downtime.plugins.module_utils._strategy import outcome as _outcome

# The side that gets the release.
SIDE = "idle"

NAME = "deploy_canary"
STICKY = ("Users stay on their side, and nobody counts by user: a few for whom everything fails, on either release, look just like this, the more so the "
          "smaller the share.")


def check(canary: t.Mapping[str, t.Any], url: str | None, counted: bool, path: str = NAME) -> dict[str, t.Any]:
    """The options of C(deploy_canary), converted, with who counts and who times filled in.

    :param url: the probe's address, if there is one.
    :param counted: whether the balancers count requests.

    Raises DowntimeError for steps that do not ascend to 100, times that do not fit together, and metrics that nobody could tell apart.
    """
    found = _spec.check(canary, OPTIONS, path + ".")
    steps = found["steps"]
    ascending = all(0 < one <= 100 for one in steps) and all(one < other for one, other in zip(steps, steps[1:]))
    if not steps or not ascending or steps[-1] != 100:
        raise DowntimeError(f"{path}.steps is {steps}; ascending whole percents from 1 on that end with 100 are accepted, such as [1, 5, 25, 50, 100]")
    if found["deadline"] < found["step_time"]:
        raise DowntimeError(f"{path}.deadline is {found['deadline']:g}, which is below step_time, {found['step_time']:g}; "
                            "at least that many seconds are accepted")
    if found["warm_up"] and found["deadline"] <= found["warm_up"]:
        raise DowntimeError(f"{path}.deadline is {found['deadline']:g}, which is not above warm_up, {found['warm_up']:g}; "
                            "more seconds are accepted, since nothing is judged before")
    metrics = {}
    for name, rule in found["metrics"].items():
        where = f"{path}.metrics.{name}"
        if not isinstance(rule, dict):
            raise DowntimeError(f"{where} is {rule!r}; a mapping with a query is accepted")
        metrics[name] = _spec.check(rule, METRIC, where + ".")
        if name == _metrics.LATENCY:
            if metrics[name]["query"]:
                raise DowntimeError(f"{where}.query is set, but {path}.latency says who times the requests; another name is accepted for a query")
            continue
        if not metrics[name]["query"]:
            raise DowntimeError(f"{where}.query is missing; a query for Prometheus is needed")
        if not any(word in ("side", "pool", "release") for word in _words(metrics[name]["query"], where)):
            raise DowntimeError(f"{where}.query is {metrics[name]['query']!r}, which asks the same of both sides; "
                                "one with $side, $pool or $release is accepted")
        if not found["prometheus"]:
            raise DowntimeError(f"{where} has a query, but {path}.prometheus is missing; its url is needed")
    if found["prometheus"] and not found["prometheus"]["url"]:
        raise DowntimeError(f"{path}.prometheus.url is missing; the address of a Prometheus server is needed")
    found["errors"] = found["errors"] or ("balancer" if counted else "probe")
    found["latency"] = found["latency"] or ("probe" if url else "balancer" if counted else "none")
    for option in ("errors", "latency"):
        if found[option] == "probe" and not url:
            raise DowntimeError(f"{path}.{option} is 'probe', but deploy_evidence_url is not set; an address that the probe can ask is needed")
        if found[option] == "balancer" and not counted:
            raise DowntimeError(f"{path}.{option} is 'balancer', but the balancers of this driver do not count requests; probe is accepted")
    if found["latency"] != "none":
        metrics.setdefault(_metrics.LATENCY, _spec.check(LATENCY[found["latency"]], METRIC))
    found["metrics"] = metrics
    _judge.check(criteria(found), path + ".judge", path + ".metrics")
    return found


def _words(query: str, where: str) -> list[str]:
    found = [match.group("named") or match.group("braced") for match in string.Template.pattern.finditer(query)]
    unknown = [word for word in found if word and word not in ("side", "pool", "release")]
    if unknown:
        raise DowntimeError(f"{where}.query has ${unknown[0]}; $side, $pool and $release are accepted")
    return [word for word in found if word]


def planned(checked: t.Mapping[str, t.Any], counted: bool) -> dict[str, t.Any]:
    """What the plan has of this strategy alone. Secrets are not among it, since a plan is shown."""
    found = check(checked[NAME], checked["deploy_evidence_url"], counted)
    if found["prometheus"]:
        found["prometheus"] = _plan.without_secrets(found["prometheus"], PROMETHEUS)
    return {"canary": found}


def evidence_rate(plan: t.Mapping[str, t.Any], usual: float) -> float:
    """Requests a second that the probe makes."""
    return plan.get("canary", {}).get("probe_rate") or usual


def criteria(canary: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options as the judge takes them."""
    rules = {name: {option: value for option, value in rule.items() if option != "query"} for name, rule in canary["metrics"].items()}
    return {**{name: value for name, value in canary["judge"].items() if value is not None}, "metrics": rules}


def lay_out(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]], out: t.Sequence[str] = (),
            interrupted: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """As blue/green, and the C(steps) in which requests move. Whoever goes back, or finds the release in place, moves all of them at once."""
    found = _blue_green.lay_out(plan, staged, out, interrupted)
    gradually = plan["verb"] == "deploy" and found["switch"] and found["switch"]["to"] == plan["side"] and found["previous"]
    return {**found, "steps": list(plan["canary"]["steps"]) if gradually else [100]}


def outcome(local: t.Mapping[str, t.Any], plan: t.Mapping[str, t.Any], title: str, why: str | None, checking: bool) -> dict[str, t.Any]:
    """As blue/green; of a release that went on, at which shares nobody could judge it."""
    found = _blue_green.outcome(local, plan, title, why, checking)
    unjudged = unjudged_shares(_events.load(plan.get("run_dir"), _events.CANARY)) if why is None and not checking else ""
    if not unjudged:
        return found
    return {**found, "sentence": _outcome.full_stop(f"{found['sentence'].rstrip('.')}; {unjudged}"), "beside": [*found.get("beside", []), unjudged]}


def unjudged_shares(kept: t.Mapping[str, t.Any] | None) -> str:
    """A clause on the shares that a release left without a verdict, by what the judge kept; empty where it passed each."""
    shares = [f"{step['share']} %" for step in (kept or {}).get("steps") or () if step["verdict"] == "inconclusive" and step.get("deadline")]
    if not shares:
        return ""
    return f"it was not judged at {' and '.join(shares)} of the requests: nothing could be said until the deadline, and deploy_canary.at_deadline is go_on"


def watch(sources: t.Sequence[_metrics.Source], canary: t.Mapping[str, t.Any], share: int, earlier: t.Sequence[_metrics.Sample],
          lost: t.Callable[[], str | None], clock: t.Callable[[], float] = time.monotonic, sleep: t.Callable[[float], None] = time.sleep,
          sticky: bool = False) -> tuple[dict[str, t.Any], list[_metrics.Sample]]:
    """Watch a share until it can be judged.

    :param earlier: looks at smaller shares: of them errors count, since the error test may be looked at as often as one likes, and times do not.
    :param lost: what the evidence has against going on, or None.
    :param sticky: whether users stay on the side that they were sent to.
    :returns: the judge's last result, with C(share), C(waited) and, when the deadline was what ended it, C(deadline); and the looks of this share.

    The canary fails as soon as the judge says so, or a request is lost. It passes when C(step_time) has gone by and the judge lets it; until
    C(deadline) it is held while nothing can be said.
    """
    rules = criteria(canary)
    errors_only = [{**look, **{side: {**look[side], "metrics": {}} for side in _metrics.SIDES}} for look in earlier]
    for source in sources:
        source.begin()
    began = seen = clock()
    looks: list[_metrics.Sample] = []
    while True:
        gone = clock() - began
        left = (canary["step_time"] if gone < canary["step_time"] else canary["deadline"]) - gone
        sleep(min(canary["interval"], left) if left > 0 else canary["interval"])
        looks.append({**_metrics.together([source.look() for source in sources]), "share": share, "seconds": clock() - seen})
        seen += looks[-1]["seconds"]
        found = _judged(errors_only, looks, rules, canary["warm_up"])
        waited = clock() - began
        found.update(share=share, waited=round(waited, 3))
        if found["verdict"] == "inconclusive":
            found["reasons"] = found["reasons"] + [source.problem for source in sources if source.problem]
        problem = lost()
        if problem:
            return {**found, "verdict": "fail", "reasons": [problem]}, looks
        if sticky and not rules.get("users") and found["errors"]["e_value"] >= found["errors"]["needed"]:
            found["reasons"] = found["reasons"] + [STICKY]
        if found["verdict"] == "fail" or (found["verdict"] == "pass" and waited >= canary["step_time"]):
            return found, looks
        if found["verdict"] == "inconclusive" and waited >= canary["deadline"]:
            return {**found, "deadline": True}, looks


def _judged(earlier: t.Sequence[_metrics.Sample], looks: t.Sequence[_metrics.Sample], rules: t.Mapping[str, t.Any], warm_up: float) -> dict[str, t.Any]:
    """The verdict over all looks; without requests at this share nothing can be said, however many there were at a smaller one."""
    warm = _warm_up.judged([*earlier, *looks], warm_up)
    found = _judge.judge(warm, rules)
    beyond = _warm_up.beyond(looks, rules["min_samples"])
    if beyond and found["verdict"] != "fail":
        return {**found, "verdict": "fail", "reasons": [beyond]}
    cold, here = ({side: sum(look[side]["requests"] for look in some) for side in _metrics.SIDES} for some in (looks, warm[len(earlier):]))
    if found["verdict"] == "pass" and min(here.values()) < rules["min_samples"]:
        found = {**found, "verdict": "inconclusive", "reasons": [
            f"At this share the canary got {here['canary']} requests and the baseline {here['baseline']}; {rules['min_samples']} of each are needed."]}
    if found["verdict"] == "inconclusive" and here["canary"] < cold["canary"]:
        return {**found, "reasons": found["reasons"] + [
            f"{cold['canary'] - here['canary']} more requests came in the first {warm_up:g} s of a member's traffic, which are not judged."]}
    return found


def told(found: t.Mapping[str, t.Any], label: str | None) -> str:
    """Why the canary goes, for a sentence."""
    reasons = " ".join(found["reasons"]).rstrip(".")
    what = f"{label or 'the release'} was withdrawn at {found['share']} % of the requests"
    return f"{what}: after {found['waited']:.0f} s nothing could be said: {reasons}" if found.get("deadline") else f"{what}: {reasons}"
