# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict over the three lines of evidence, and what each loss is put down to: pure functions.

Private to the collection: it may change without notice.

Two kinds of failure are judged apart:

- **Transport** (no whole answer, or a 502, 503 or 504 that the application did not sign) has a budget, usually 0.
- **Application** errors (other 4xx and 5xx, and those that carry the release's version) are compared with the window
  before the first move. They are worse when all of this holds: at least 3 of them came; they are at least twice as frequent as
  before; and chance alone, at the frequency of both windows together, would spread them so unevenly in less than 1 of 100 cases
  (binomial test). With fewer than 30 requests before there is nothing to compare with: then more than 1 of 100 is worse. A window of fewer
  than 300 with no more than 1 of 100 is also taken as 300 with 3: by itself it may be too short to tell 1 error in 10 from chance.
  A step ``clear`` only takes requests off what a dead deploy left serving: errors until its end are that deploy's, and belong to the window before.
  Where an idle side gets the release, users meet it from the first change of shares on, often long after the first move. The window before may
  end at either, and worse by one is worse: at the first move the window is short and what comes after it diluted, at the change of shares it
  would not see an application that the work on the idle side disturbs.

Verdicts, the worst that holds: ``lost`` (transport, confirmed), ``degraded`` (application), ``unconfirmed`` (the probe lost requests that a
complete balance sheet does not miss; it fails a deploy and rolls nothing back), ``clean``. Losses of the probe alone are looked at twice: where it loses
requests that it sent after the first look, they go on, and are confirmed by that. So a release on which users wait for ever, which no counter of a
balancer misses before they give up, does not stay.
"""

from __future__ import annotations

import math
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._balance import balance, moments
from ansible_collections.zero.downtime.plugins.module_utils._kernel import delta
from ansible_collections.zero.downtime.plugins.module_utils._probe import SHARE, admits, bound, hist_percentile_ms

# Steps that touch what serves. Until the first of them begins, nothing can be the deploy's doing.
MOVES = ("clear", "drain", "activate", "gate", "return", "switch", "back_drain", "back_activate", "back_gate", "back_return", "back_switch")

FEW = 30
LEAST = 3
RATIO = 2.0
CHANCE = 0.01
WITHOUT_BEFORE = 0.01
SHORT = 300

# Failures that happen before a balancer counts a request: its sheet cannot know of them, the kernel may.
_BEFORE_ACCEPT = ("refused", "unreachable", "timeout", "dns", "tls")

_DOING = {
    "plan": "while the deploy was planned", "lock": "while the lock was taken", "gates": "during the gates", "stage": "while the release was staged",
    "drain": "while {who} drained", "activate": "while {who} changed release", "gate": "while {who} was checked", "return": "while {who} came back",
    "switch": "while traffic was switched", "back_switch": "while traffic was switched back",
    "verify": "while the deploy was verified", "record": "while the record was written",
    "back_drain": "while {who} drained, going back", "back_activate": "while {who} went back to the old release",
    "back_gate": "while {who} was checked, going back", "back_return": "while {who} came back with the old release",
}


# -- is it worse? ---------------------------------------------------------------------------------------------------

def tail(count: int, total: int, share: float) -> float:
    """The chance that ``count`` or more of ``total`` fall on one side that gets ``share`` of them."""
    if count <= 0:
        return 1.0
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    logs = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * math.log(share) + (total - k) * math.log1p(-share)
            for k in range(count, total + 1)]
    top = max(logs)
    return min(1.0, math.exp(top) * sum(math.exp(one - top) for one in logs))


def worse(errors_before: int, before: int, errors_during: int, during: int) -> bool:
    """Whether errors became more frequent, by the rule at the top of this file."""
    if errors_during < LEAST or during <= 0:
        return False
    if before < FEW:
        return errors_during / during > WITHOUT_BEFORE
    if _unlikely(errors_before, before, errors_during, during):
        return True
    return (before < SHORT and errors_before <= WITHOUT_BEFORE * before
            and _unlikely(round(WITHOUT_BEFORE * SHORT), SHORT, errors_during, during))


def _unlikely(errors_before: int, before: int, errors_during: int, during: int) -> bool:
    """Whether errors are at least ``RATIO`` times as frequent during as before, and chance would hardly spread them so."""
    if errors_during / during < RATIO * errors_before / before:
        return False
    # Beyond some thousands the sum is long and its result long certain: scale both windows down.
    scale = max(1.0, (errors_before + errors_during) / 5000)
    ours, all_of_them = int(errors_during / scale), int((errors_before + errors_during) / scale)
    return tail(ours, all_of_them, during / (before + during)) < CHANCE


def beyond(count_before: int, before: int, count_during: int, during: int) -> int:
    """How many of the failures during are more than the window before explains; all of them when it had none."""
    if not count_before or not before:
        return count_during
    if not worse(count_before, before, count_during, during):
        return 0
    return max(0, count_during - math.ceil(count_before * during / before))


# -- windows --------------------------------------------------------------------------------------------------------

def _is_move(step: t.Mapping[str, t.Any]) -> bool:
    return step["name"] in MOVES or step["name"].startswith(SHARE)


def window(steps: t.Sequence[dict[str, t.Any]]) -> tuple[float | None, float | None]:
    """From the first move to the end of the last; None for what has not happened."""
    moves = [step for step in steps if _is_move(step)]
    if not moves:
        return None, None
    ends = [step["finished"] for step in moves]
    return min(step["started"] for step in moves), None if any(end is None for end in ends) else max(ends)


def blamed_from(steps: t.Sequence[dict[str, t.Any]], began: float | None) -> list[float | None]:
    """From when on errors of the application can be the doing of this deploy: of its release where users meet that later, and of its work.

    Transport is another matter: taking requests off may lose some, and that is this deploy's doing.
    """
    clears = [step["finished"] for step in steps if step["name"] == "clear"]
    work = began if not clears else math.inf if None in clears else max(clears)
    met = min((step["started"] for step in steps if step["name"] == "switch" or step["name"].startswith(SHARE)), default=None)
    return [work] if work is None or met is None or met <= work else [met, work]


def phases(series: dict[str, t.Any], began: float | None, ended: float | None) -> dict[str, dict[str, t.Any]]:
    """Counts and percentiles before, during and after the moves. Without any move everything is before."""
    found: dict[str, dict[str, t.Any]] = {}
    half = series["bucket_s"] / 2
    for name in ("before", "during", "after"):
        found[name] = {"sent": 0, "failed": 0, "transport": 0, "hist": {}}
    for row in series["rows"]:
        middle = row["t"] + half
        name = "before" if began is None or middle < began else "during" if ended is None or middle <= ended else "after"
        phase = found[name]
        phase["sent"] += row["ok"] + row["failed"]
        phase["failed"] += row["failed"]
        phase["transport"] += row.get("transport", row["failed"])
        for slot, count in row.get("hist", {}).items():
            phase["hist"][slot] = phase["hist"].get(slot, 0) + count
    for phase in found.values():
        hist = phase.pop("hist")
        phase["p50_ms"], phase["p99_ms"] = hist_percentile_ms(hist, 0.5), hist_percentile_ms(hist, 0.99)
    return found


# -- attribution ----------------------------------------------------------------------------------------------------

def _step_of(began: float, ended: float, steps: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any] | None:
    """The step that ran while it happened: the latest to start, moves first."""
    running = [step for step in steps if step["started"] <= ended and (step["finished"] is None or step["finished"] >= began)]
    if not running:
        # A loss shows a moment after its cause, when the step may be over.
        running = [step for step in steps if step["finished"] is not None and 0 <= began - step["finished"] <= 2]
    moves = [step for step in running if _is_move(step)]
    return max(moves or running, key=lambda step: step["started"], default=None)


def _who(step: dict[str, t.Any] | None) -> str | None:
    return ", ".join(step["members"]) if step and step.get("members") else None


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _entry(when: float, kind: str, count: int, step: dict[str, t.Any] | None, balancer: str | None, line: str) -> dict[str, t.Any]:
    who = _who(step)
    doing = _DOING.get(step["name"], "during %s" % step["name"]).format(who=who or "members") if step else "while no step ran"
    text = "%d lost (%s) at %s %s%s" % (count, kind, _clock(when), doing, " on %s" % balancer if balancer else "")
    return {"time": round(when, 3), "kind": kind, "count": count, "step": step["name"] if step else None, "member": who, "balancer": balancer,
            "line": line, "text": text}


def attribute(losses: t.Sequence[dict[str, t.Any]], moved: t.Sequence[dict[str, t.Any]], steps: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Losses joined with what the deploy was doing, those of one kind and step together.

    :param losses: the probe's: {time, scheduled, kind}.
    :param moved: the balance sheet's, as _balance.moments gives them.
    """
    found: list[dict[str, t.Any]] = []
    groups: dict[tuple, dict[str, t.Any]] = {}
    for loss in sorted(losses, key=lambda one: one["time"]):
        # A time-out is noticed long after its cause: what ran when it was asked comes closer than what ran then.
        late = loss["kind"] == "timeout"
        step = _step_of(loss["scheduled"] if late else loss["time"], loss["scheduled"] + 0.5 if late else loss["time"], steps)
        where = {one["balancer"] for one in moved if one["began"] - 1 <= loss["time"] <= one["ended"] + 1}
        named = (step or {}).get("balancer") or (where.pop() if len(where) == 1 else None)
        key = (loss["kind"], step["name"] if step else None, _who(step), (step or {}).get("batch"), named)
        group = groups.get(key)
        if group is None:
            group = groups[key] = {"loss": loss, "count": 0, "step": step, "balancer": named}
        group["count"] += 1
    for group in groups.values():
        found.append(_entry(group["loss"]["time"], group["loss"]["kind"], group["count"], group["step"], group["balancer"], "probe"))
    for moment in moved:
        step = _step_of(moment["began"], moment["ended"], steps)
        for name, kind in (("unanswered", "unanswered"), ("truncated", "truncated"), ("own_errors", "5xx of the balancer")):
            if moment[name]:
                found.append(_entry(moment["ended"], kind, moment[name], step, moment["balancer"], "balance"))
    return sorted(found, key=lambda one: one["time"])


# -- the verdict ----------------------------------------------------------------------------------------------------

def kernel_of(samples: t.Sequence[dict[str, t.Any]]) -> dict[str, int | None]:
    """Growth of the kernel's counters, summed over the balancers; None where no balancer tells."""
    totals: dict[str, int | None] = {"overflows": None, "drops": None}
    for name in sorted({sample["balancer"] for sample in samples}):
        told = [sample["kernel"] for sample in samples if sample["balancer"] == name and sample.get("kernel")]
        if len(told) >= 2:
            for key, value in delta(told[0], told[-1]).items():
                if value is not None:
                    totals[key] = (totals[key] or 0) + value
    return totals


def _kinds(failures: dict[str, int]) -> str:
    return ", ".join("%d %s" % (count, kind) for kind, count in sorted(failures.items(), key=lambda item: -item[1]))


def _plural(count: int, noun: str) -> str:
    return "%s %s%s" % (format(count, ","), noun, "" if count == 1 else "s")


def compose(probe: dict[str, t.Any] | None, samples: t.Sequence[dict[str, t.Any]] = (), events: t.Sequence[dict[str, t.Any]] = (),
            steps: t.Sequence[dict[str, t.Any]] = (), max_failed: int = 0, first: bool = False, died: str | None = None) -> dict[str, t.Any]:
    """The whole evidence of one deploy: the three lines, what each loss is put down to, verdict and sentence.

    :param probe: the account in probe.json or snapshot.json; None when no URL was given.
    :param samples: the lines of counters.jsonl.
    :param max_failed: the budget of transport failures.
    :param first: nothing served when the deploy began.
    :param died: why the probe's account is not whole, as the end of a sentence.
    """
    began, ended = window(steps)
    since = None
    if first:
        since = next((step["finished"] for step in steps if admits(step["name"]) and step["finished"]), None)
        if probe is not None:
            # Not before something answered, either.
            since = max(since or 0.0, probe["first_ok"]) if probe.get("first_ok") else None
        if since is None:
            samples = ()
    cut = sum(int((event.get("detail") or {}).get("cut") or 0) for event in events)
    notes: list[str] = []
    baseline = [event["detail"] for event in events if (event.get("detail") or {}).get("baseline")]
    if baseline:
        # The counters begin anew there: what was lost before is said, and it is not the deploy's.
        samples = [sample for sample in samples if sample["time"] >= baseline[-1]["baseline"]]
        notes.append("before anything moved: %s" % baseline[-1]["reason"])
    sheet = balance(samples, moved_at=began, since=since, cut=cut)
    blamed = blamed_from(steps, began)
    kernel = kernel_of(samples)

    over_probe, app_worse = 0, []
    if probe is not None:
        probe = dict(probe)
        spans = phases(probe["series"], began, ended)
        probe["phases"] = spans
        over_probe = _over_probe(spans, began)
        for moment in blamed:
            # The row in which what came before ended is not this deploy's either.
            apart = spans if moment in (None, began) else phases(probe["series"], moment + probe["series"]["bucket_s"] / 2, ended)
            app_worse += _worse_by_probe(probe, apart, began)
        notes += probe.get("notes") or []
        if spans["before"]["transport"] and began is not None:
            notes.append("%s failed before anything moved" % _plural(spans["before"]["transport"], "probe request"))
        # Latencies and gaps below this may be the probe's own doing.
        probe["void_below_ms"] = probe["stall_ms"]
        if (probe["p99_ms"] or 0) < probe["stall_ms"] > 50:
            notes.append("the probe itself stood still for %d ms at worst: it cannot vouch for gaps and latencies below that" % math.ceil(probe["stall_ms"]))
        if probe.get("skipped"):
            notes.append("%s could not be sent in time by the probe itself" % _plural(probe["skipped"], "request"))
        probe["series"] = {"bucket_s": probe["series"]["bucket_s"],
                           "rows": [{name: value for name, value in row.items() if name != "hist"} for row in probe["series"]["rows"]]}
        probe["bound"] = bound(probe["failed"], probe["sent"])
    over_sheet = 0
    if sheet is not None:
        over_sheet = sheet["lost"] = _over_sheet(sheet)
        for moment in blamed:
            apart = sheet if moment == began else balance(samples, moved_at=moment, since=since, cut=cut)
            app_worse += _worse_by_sheet(apart, first) if apart else []

    grown = bool(kernel["overflows"] or kernel["drops"])
    verdict, reason = _verdict(probe, sheet, grown, over_probe, over_sheet, app_worse, max_failed, died, _goes_on(probe, events))
    losses = [loss for loss in (probe or {}).get("losses", []) if began is None or loss["time"] >= began]
    attributed = attribute(losses, moments(samples) if over_sheet else [], steps)
    if grown:
        notes.append("the kernels of the balancers counted %s listen-queue overflows and %s drops (of any listener on those hosts)"
                     % (kernel["overflows"], kernel["drops"]))
    if sheet is not None and over_sheet and not over_probe and probe is not None:
        notes.append("the probe met none of them")
    return {
        "probe": probe, "balance": sheet, "kernel": kernel, "attributed": attributed, "verdict": verdict,
        "rollback": verdict in ("lost", "degraded"), "notes": notes, "blind": died,
        "sentence": _sentence(verdict, reason, probe, sheet, attributed, died),
    }


def _before_and_later(spans: dict[str, dict[str, t.Any]], began: float | None) -> tuple[dict[str, int], dict[str, int]]:
    before = {name: spans["before"][name] for name in ("sent", "failed", "transport")}
    if began is None:
        # Nothing is known to have moved: nothing can be called background either.
        return {name: 0 for name in before}, before
    return before, {name: spans["during"][name] + spans["after"][name] for name in before}


def _over_probe(spans: dict[str, dict[str, t.Any]], began: float | None) -> int:
    """Transport failures of the probe that count."""
    before, later = _before_and_later(spans, began)
    return beyond(before["transport"], before["sent"], later["transport"], later["sent"])


def _worse_by_probe(probe: dict[str, t.Any], spans: dict[str, dict[str, t.Any]], began: float | None) -> list[str]:
    """In which way the application became worse between the windows, by the probe; empty when it did not."""
    before, later = _before_and_later(spans, began)
    errors = {"before": before["failed"] - before["transport"], "later": later["failed"] - later["transport"]}
    if not worse(errors["before"], before["sent"], errors["later"], later["sent"]):
        return []
    answered = {kind: count for kind, count in probe["failures"].items() if kind.startswith("status_")}
    return ["%d of %s probe requests were answered with an error (%s), %d of %s before"
            % (errors["later"], format(later["sent"], ","), _kinds(answered), errors["before"], format(before["sent"], ","))]


def _over_sheet(sheet: dict[str, t.Any]) -> int:
    """Real requests that were lost, by the sheet."""
    lost = sheet["unanswered"] + sheet["truncated"]
    if sheet["own_errors_during"] is not None:
        lost += beyond(sheet["own_errors_before"], sheet["received_before"], sheet["own_errors_during"], sheet["received_during"])
    # A connection that was cut on purpose shows as one of these too (a 502, a truncated answer, none at all). It was asked for, and it is told apart.
    return max(0, lost - sheet["cut"])


def _worse_by_sheet(sheet: dict[str, t.Any], first: bool) -> list[str]:
    """In which way the application became worse between the sheet's windows; empty when it did not."""
    before, during = sheet["received_before"], sheet["received_during"]
    # Without a window before, a busy site's everyday errors would look like this release's.
    if before < FEW and not first:
        return []
    errors_before = sheet["errors_before"] - (sheet["own_errors_before"] or 0)
    errors_during = sheet["errors_during"] - (sheet["own_errors_during"] or 0)
    if not worse(errors_before, before, errors_during, during):
        return []
    return ["%d of %s real requests were answered with a 5xx, %d of %s before" % (errors_during, format(during, ","), errors_before, format(before, ","))]


def _verdict(probe: dict[str, t.Any] | None, sheet: dict[str, t.Any] | None, grown: bool, over_probe: int, over_sheet: int, app_worse: list[str],
             max_failed: int, died: str | None, goes_on: bool) -> tuple[str, str]:
    if over_sheet > max_failed:
        return "lost", ""
    if over_probe > max_failed:
        if sheet is None:
            return "lost", "no balancer's counters can be asked, so the probe's word stands"
        if not sheet["complete"]:
            return "lost", "the balance sheet is incomplete (%s), so the probe's word stands" % sheet["note"]
        if grown and any(kind in _BEFORE_ACCEPT or kind == "reset" for kind in (probe or {}).get("failures", {})):
            return "lost", "the kernel lost connections before the balancer saw them"
        if app_worse:
            return "degraded", app_worse[0]
        if goes_on:
            return "lost", "the probe goes on losing requests, so its word stands"
        return "unconfirmed", "the balance sheet misses none of its %s requests" % format(sheet["received"], ",")
    if app_worse:
        return "degraded", app_worse[0]
    if died:
        return "unconfirmed", died
    return "clean", ""


def _goes_on(probe: dict[str, t.Any] | None, events: t.Sequence[dict[str, t.Any]]) -> bool:
    """Whether the probe lost requests that it sent after somebody had looked at losses that nobody confirmed: that is no blink of its own network."""
    looks = [event["detail"]["suspected"] for event in events if (event.get("detail") or {}).get("suspected")]
    return bool(looks) and any(loss["scheduled"] > min(looks) for loss in (probe or {}).get("losses", ()))


def _sentence(verdict: str, reason: str, probe: dict[str, t.Any] | None, sheet: dict[str, t.Any] | None, attributed: list[dict[str, t.Any]],
              died: str | None) -> str:
    parts = []
    if probe is not None:
        parts.append("%s of %s" % (format(probe["failed"], ","), _plural(probe["sent"], "probe request"))
                     + (" failed (%s)" % _kinds(probe["failures"]) if probe["failed"] else ""))
    if sheet is not None:
        what = [name for name in ("unanswered", "truncated") if sheet[name]]
        own = sheet["lost"] + sheet["cut"] - sheet["unanswered"] - sheet["truncated"] if sheet["lost"] else 0
        told = ["%d %s" % (sheet[name], name) for name in what] + (["%d answered by the balancer with a 5xx" % own] if own > 0 else [])
        kinds = " lost (%s)" % ", ".join(told) if told and sheet["lost"] else ""
        parts.append("%s of %s%s" % (format(sheet["lost"], ","), _plural(sheet["received"], "real request"), kinds))
        if sheet["cut"]:
            parts[-1] += " (%d more cut on purpose)" % sheet["cut"]
    numbers = " and ".join(parts)
    if verdict == "clean":
        if not parts:
            return "Nothing was measured: there is neither an evidence URL nor a balancer that counts requests."
        fine = "" if probe is None else "; longest gap %d ms, own stall %d ms" % (round(probe["longest_gap_ms"]), math.ceil(probe["stall_ms"]))
        gap = "" if sheet is None or sheet["complete"] else "; the balance sheet is incomplete: %s" % sheet["note"]
        lost = (probe or {}).get("failed") or (sheet or {}).get("lost")
        return "%s: %s%s%s." % ("Within the budget" if lost else "No request was lost", numbers, fine, gap)
    if verdict == "degraded":
        return "The application got worse: %s." % reason
    if verdict == "unconfirmed" and died and reason == died:
        return "The evidence is not whole: %s%s." % (died, " (%s so far)" % numbers if numbers else "")
    where = "; ".join(entry["text"] for entry in attributed[:3]) + ("; and %d more places" % (len(attributed) - 3) if len(attributed) > 3 else "")
    start = "Requests were lost" if verdict == "lost" else "Losses that only the probe saw"
    return "%s: %s%s%s." % (start, numbers, "; " + reason if reason else "", "; " + where if where else "")
