# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict over the three lines of evidence, and what each loss is put down to: pure functions.

Private to the collection: it may change without notice.

Two kinds of failure are judged apart:

- **Transport** (no whole answer, or a 502, 503 or 504 that the application did not sign) has a budget, usually 0. It counts where and when the deploy
  moved something (_losses); anywhere else it is background, as long as it is no more frequent than before.
- **Application** errors (other 5xx, and those that carry the release's version) are compared with the window before the first move: they are worse
  when chance alone would hardly ever deal them so unevenly to the two windows (_rates). On a first deploy there is no such window: then 3 errors that
  are more than 1 of 100 are worse. Answers with a 4xx are compared likewise, where there is a window before; their rise is told, and decides something
  only where that is asked for.
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

import dataclasses
import math
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._driver.kernel import delta
from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import late as _late
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence import slowdown as _slowdown
from ansible_collections.zero.downtime.plugins.module_utils._evidence.balance import balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence.placing import LOSSES, STATUS, Cell
from ansible_collections.zero.downtime.plugins.module_utils._evidence.probe import bound, hist_percentile_ms

# Steps that touch what serves. Until the first of them begins, nothing can be the deploy's doing.
MOVES = _steps.moving(_steps.ALL, _steps.MEMBERS)

# On a first deploy nothing was before: so many errors, which are more than this part of all answers, are too many.
LEAST, WITHOUT_BEFORE = 3, 0.01
# Of fewer real requests before the first move a record says how little they tell (none failed: the rate is below 3 / n with 95 % confidence).
SHORT = 300
# Where failures of this share of its answers would not be found, a release has answered too few requests to be said to be well.
TOLD = 0.1
# So many open requests are no sign of anything.
FEW_OPEN = 10
# Fewer requests of a probe are no window to compare with.
FEW = 30

# Failures that happen before a balancer counts a request: its sheet cannot know of them, the kernel may.
_BEFORE_ACCEPT = ("refused", "unreachable", "timeout", "dns", "tls")

APP, REFUSED = "app_errors", "refused"
# What a sentence calls the answers of the application that nobody wants.
CLASSES = {APP: "5xx", REFUSED: "4xx"}
# What a record calls the balance sheet's losses.
KINDS = {"unanswered": "unanswered", "truncated": "truncated", "own_errors": "5xx of the balancer"}


# -- is it worse? ---------------------------------------------------------------------------------------------------

def worse(before: _rates.Count, during: _rates.Count) -> bool:
    """Whether errors became more frequent, by the rule at the top of this file."""
    if before.requests < FEW:
        return during.failed >= LEAST and during.rate > WITHOUT_BEFORE
    return _rates.higher(before, during)


# -- windows --------------------------------------------------------------------------------------------------------

def window(steps: t.Sequence[dict[str, t.Any]]) -> tuple[float | None, float | None]:
    """From the first move to the end of the last; None for what has not happened."""
    moves = [step for step in steps if _steps.is_move(step["name"])]
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
    met = min((step["started"] for step in steps if _steps.meets_users(step["name"])), default=None)
    return [work] if work is None or met is None or met <= work else [met, work]


def phases(series: dict[str, t.Any], began: float | None, ended: float | None) -> dict[str, dict[str, t.Any]]:
    """Counts and percentiles before, during and after the moves. Without any move everything is before."""
    found: dict[str, dict[str, t.Any]] = {}
    half = series["bucket_s"] / 2
    for name in ("before", "during", "after"):
        found[name] = {"sent": 0, "failed": 0, "transport": 0, "failures": {}, "hist": {}}
    for row in series["rows"]:
        middle = row["t"] + half
        phase = found[_slowdown.phase_of(middle, began, ended)]
        phase["sent"] += row["ok"] + row["failed"]
        phase["failed"] += row["failed"]
        phase["transport"] += row.get("transport", row["failed"])
        for name in ("failures", "hist"):
            for key, count in row.get(name, {}).items():
                phase[name][key] = phase[name].get(key, 0) + count
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
    moves = [step for step in running if _steps.is_move(step["name"])]
    return max(moves or running, key=lambda step: step["started"], default=None)


def _who(step: dict[str, t.Any] | None) -> str | None:
    return ", ".join(step["members"]) if step and step.get("members") else None


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _entry(when: float, kind: str, count: int, step: dict[str, t.Any] | None, balancer: str | None, line: str,
           member: str | None = None) -> dict[str, t.Any]:
    who = _who(step)
    doing = _steps.doing(step["name"], who) if step else "while no step ran"
    # Whose loss it was, where that is not who was being moved.
    whose = " of %s" % member if member and member != who else ""
    text = "%d lost (%s)%s at %s %s%s" % (count, kind, whose, _clock(when), doing, " on %s" % balancer if balancer else "")
    return {"time": round(when, 3), "kind": kind, "count": count, "step": step["name"] if step else None, "member": member or who, "balancer": balancer,
            "line": line, "text": text}


def _together(moved: t.Sequence[tuple[str, Cell]]) -> dict[tuple[str, str, str | None], list[Cell]]:
    """The places of losses, those of one kind, balancer and member that lie beside each other in time as one."""
    found: dict[tuple[str, str, str | None], list[Cell]] = {}
    for kind, cell in moved:
        found.setdefault((kind, cell.balancer, cell.member), []).append(cell)
    return found


def attribute(losses: t.Sequence[dict[str, t.Any]], moved: t.Sequence[tuple[str, Cell]], steps: t.Sequence[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Losses joined with what the deploy was doing, those of one kind and step together.

    :param losses: the probe's: {time, scheduled, kind}.
    :param moved: the balance sheet's: the kind of each, and where it was counted.
    """
    found: list[dict[str, t.Any]] = []
    groups: dict[tuple, dict[str, t.Any]] = {}
    for loss in sorted(losses, key=lambda one: one["time"]):
        # A time-out is noticed long after its cause: what ran when it was asked comes closer than what ran then.
        late = loss["kind"] == "timeout"
        step = _step_of(loss["scheduled"] if late else loss["time"], loss["scheduled"] + 0.5 if late else loss["time"], steps)
        where = {cell.balancer for _kind, cell in moved if cell.began - 1 <= loss["time"] <= cell.ended + 1}
        named = (step or {}).get("balancer") or (where.pop() if len(where) == 1 else None)
        key = (loss["kind"], step["name"] if step else None, _who(step), (step or {}).get("batch"), named)
        group = groups.get(key)
        if group is None:
            group = groups[key] = {"loss": loss, "count": 0, "step": step, "balancer": named}
        group["count"] += 1
    for group in groups.values():
        found.append(_entry(group["loss"]["time"], group["loss"]["kind"], group["count"], group["step"], group["balancer"], "probe"))
    for (kind, balancer, member), placed in _together(moved).items():
        cell = placed[0]
        own = [step for step in steps if cell.member in (step.get("members") or ()) or not step.get("members")]
        step = _step_of(cell.began, cell.ended, own if cell.member else steps)
        found.append(_entry(cell.ended, KINDS[kind], sum(one.counts[kind] for one in placed), step, balancer, "balance", member))
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


@dataclasses.dataclass
class _Line:
    """What one line of the evidence comes to."""

    # Transport failures that count.
    over: int = 0
    # In which ways the application became worse; in which it did for a moment only, so that one has to look on.
    worse: list[str] = dataclasses.field(default_factory=list)
    suspected: str = ""
    # For the sentence, whatever the verdict is; and for people who read the record.
    told: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    slower: t.Any = None


def _line_of_probe(account: dict[str, t.Any], began: float | None, ended: float | None, blamed: t.Sequence[float | None], usual: _rates.Count,
                   max_slowdown: float | None, first: bool) -> tuple[dict[str, t.Any], _Line]:
    """The probe's account as the record has it, and what it comes to.

    :param usual: of how many real requests so many were lost without the deploy's doing.
    """
    probe = dict(account)
    spans = probe["phases"] = phases(probe["series"], began, ended)
    line = _Line(over=_over_probe(probe, spans, began, usual))
    for moment in blamed:
        # The row in which what came before ended is not this deploy's either.
        apart = spans if moment in (None, began) else phases(probe["series"], moment + probe["series"]["bucket_s"] / 2, ended)
        line.worse += _worse_by_probe(probe, apart, began)
    line.slower = _slowdown.look(probe, began, ended, max_slowdown)
    line.worse += _worse_by_release(probe, spans, began) + _answers.certain(probe) + line.slower.failing
    probe.update(slowdown=line.slower.account, by_release=_slowdown.without_hist(probe))
    probe.pop("before", None)
    line.notes += (probe.get("notes") or []) + _answers.notes(probe, serving=not first)
    if spans["before"]["transport"] and began is not None:
        line.notes.append("%s failed before anything moved" % _plural(spans["before"]["transport"], "probe request"))
    # Latencies and gaps below this may be the probe's own doing.
    probe["void_below_ms"] = probe["stall_ms"]
    if (probe["p99_ms"] or 0) < probe["stall_ms"] > 50:
        line.notes.append("the probe itself stood still for %d ms at worst: it cannot vouch for gaps and latencies below that" % math.ceil(probe["stall_ms"]))
    if probe.get("skipped"):
        line.notes.append("%s could not be sent in time by the probe itself" % _plural(probe["skipped"], "request"))
    probe["series"] = {"bucket_s": probe["series"]["bucket_s"],
                       "rows": [{name: value for name, value in row.items() if name != "hist"} for row in probe["series"]["rows"]]}
    probe["bound"] = bound(probe["failed"], probe["sent"])
    return probe, line


def _line_of_sheet(sheet: dict[str, t.Any], samples: t.Sequence[dict[str, t.Any]], cells: t.Sequence[Cell], places: _losses.Places,
                   verdicts: t.Sequence[_losses.Verdict], blamed: t.Sequence[float | None], began: float | None, first: bool,
                   judge_4xx: bool) -> _Line:
    """What the balance sheet comes to; it gets what the record has beside its counts."""
    sheet["lost"] = sum(one.lost for one in verdicts)
    sheet["lost_by_kind"] = {one.kind: one.lost for one in verdicts if one.lost}
    sheet["background"] = _losses.background(verdicts)
    sheet["waiting"] = waiting(samples, places)
    sheet["streams_asked"] = places.asked
    sheet["streams_cut_short"] = sum(one.asked for one in verdicts)
    sheet["open_at_end"] = _late.kept(samples, verdicts, places.names, bool(sheet["waiting"]), began)
    line = _Line(over=sheet["lost"])
    for kind in (APP, *_statuses(cells), REFUSED):
        rise = _rise_by_sheet(cells, blamed, places, first, kind)
        if rise and rise.lasting and kind != APP and not (line.told and kind == REFUSED):
            line.told.append("answers with a %s became more frequent: %s" % (_called(kind), rise.text))
        if rise and (judge_4xx or kind == APP):
            if rise.lasting:
                line.worse.append(rise.text)
            else:
                line.suspected = line.suspected or rise.text
                line.notes.append("for a moment only: %s" % rise.text)
    line.notes += line.told + _short_before(cells, began)
    return line


def compose(probe: dict[str, t.Any] | None, samples: t.Sequence[dict[str, t.Any]] = (), events: t.Sequence[dict[str, t.Any]] = (),
            steps: t.Sequence[dict[str, t.Any]] = (), max_failed: int = 0, first: bool = False, died: str | None = None,
            max_slowdown: float | None = None, baseline: bool = False, judge_4xx: bool = False) -> dict[str, t.Any]:
    """The whole evidence of one deploy: the three lines, what each loss is put down to, verdict and sentence.

    :param probe: the account in probe.json or snapshot.json; None when no URL was given.
    :param samples: the lines of counters.jsonl.
    :param max_failed: the budget of transport failures.
    :param first: nothing served when the deploy began.
    :param died: why the probe's account is not whole, as the end of a sentence.
    :param baseline: this is the look before the first move: what is lost already is to be told.
    :param max_slowdown: how many times slower than before answers may be; None for no limit.
    :param judge_4xx: whether a lasting rise of answers with a 4xx is a verdict; it is told in any case.
    """
    began, ended = window(steps)
    if began is None and not baseline and any(step["name"] != "verify" for step in steps):
        # A deploy that has moved nothing (yet) has lost nothing either.
        began = math.inf
    since = None
    if first:
        since = next((step["finished"] for step in steps if _steps.admits(step["name"]) and step["finished"]), None)
        if probe is not None:
            # Not before something answered, either.
            since = max(since or 0.0, probe["first_ok"]) if probe.get("first_ok") else None
        if since is None:
            samples = ()
    cut = sum(int((event.get("detail") or {}).get("cut") or 0) for event in events)
    baselines = [event["detail"] for event in events if (event.get("detail") or {}).get("baseline")]
    notes: list[str] = ["before anything moved: %s" % detail["reason"] for detail in baselines[-1:]]
    sheet = balance(samples, moved_at=began, since=since, cut=cut)
    cells: list[Cell] = sheet.pop("cells") if sheet else []
    places = _losses.Places(steps, baselines[-1]["baseline"] if began is None and baselines else began)
    verdicts = _losses.judge(cells, places) if sheet else []
    blamed = blamed_from(steps, began)
    kernel = kernel_of(samples)

    by_probe, by_sheet = _Line(), _Line()
    if probe is not None:
        probe, by_probe = _line_of_probe(probe, began, ended, blamed, _losses.background_rate(verdicts, cells), max_slowdown, first)
    # Where this run ends one that was killed, what serves now has served since then, and nobody here knows what it has answered.
    served = any((event.get("detail") or {}).get("served_before") for event in events)
    few = "" if served else _few_answers(cells if sheet is not None else None, probe, blamed, places, steps, first)
    if sheet is not None:
        by_sheet = _line_of_sheet(sheet, samples, cells, places, verdicts, blamed, began, first, judge_4xx)
    notes += by_probe.notes + by_sheet.notes

    grown = bool(kernel["overflows"] or kernel["drops"])
    unsure = _unsure(verdicts, cells, began) if by_sheet.over > max_failed else ""
    verdict, reason = _verdict(probe, sheet, grown, by_probe.over, by_sheet.over, by_probe.worse + by_sheet.worse, max_failed, died, _goes_on(probe, events))
    losses = [loss for loss in (probe or {}).get("losses", []) if began is None or loss["time"] >= began]
    attributed = attribute(losses, [(one.kind, cell._replace(member=places.names.get(cell.member or "", cell.member)))
                                    for one in verdicts for cell in one.where], steps)
    dropped = "the kernels of the balancers counted %s listen-queue overflows and %s drops (of any listener on those hosts)" % (
        kernel["overflows"], kernel["drops"]) if grown else ""
    notes += [dropped] * grown
    nobody = _nobody_counts(samples, sheet)
    notes += ["no balancer counted real requests: %s" % nobody] if nobody else []
    if sheet is not None and by_sheet.over and not by_probe.over and probe is not None:
        notes.append("the probe met none of them")
    return {
        "probe": probe, "balance": sheet, "cut": cut, "kernel": kernel, "attributed": attributed, "verdict": verdict,
        "at_the_end": _at_the_end(probe, sheet, began, _gaps(sheet, dropped, nobody)),
        "rollback": verdict in ("lost", "degraded"), "notes": notes, "blind": died, "suspected": by_sheet.suspected,
        "hasty": verdict == "lost" and bool(unsure) and places.leaves_some(cells),
        "sentence": _slowdown.said(_with_clauses(_sentence(verdict, reason, probe, sheet, attributed, died, dropped, nobody, cut, places.asked),
                                                 [unsure, *by_sheet.told, few if verdict == "clean" else ""]), by_probe.slower),
    }


def _before_and_later(spans: dict[str, dict[str, t.Any]], began: float | None) -> tuple[dict[str, int], dict[str, int]]:
    before = {name: spans["before"][name] for name in ("sent", "failed", "transport")}
    if began is None:
        # Nothing is known to have moved: nothing can be called background either.
        return {name: 0 for name in before}, before
    return before, {name: spans["during"][name] + spans["after"][name] for name in before}


def _over_probe(probe: dict[str, t.Any], spans: dict[str, dict[str, t.Any]], began: float | None, usual: _rates.Count) -> int:
    """Transport failures of the probe that count: those before a balancer counts, and all others, each beside what of that was before.

    :param usual: of how many real requests so many were lost without the deploy's doing. What the probe lost at that rate is explained by it, unless it is
        of a kind that no balancer counts.
    """
    before, later = _before_and_later(spans, began)
    unseen = [loss["time"] for loss in probe.get("losses") or () if loss["kind"] in _BEFORE_ACCEPT]
    early = min(before["transport"], sum(began is not None and when < began for when in unseen))
    late = min(later["transport"], len(unseen) - early)
    over = 0
    for failed_before, failed, explained in ((early, late, _rates.NONE), (before["transport"] - early, later["transport"] - late, usual)):
        known = _rates.Count(failed_before, before["sent"])
        known = known.plus(explained) if explained.failed else known
        now = _rates.Count(failed, later["sent"])
        if not known.failed:
            over += failed
        elif _rates.higher(known, now):
            over += _rates.beyond(known, now)
    return over


def _worse_by_probe(probe: dict[str, t.Any], spans: dict[str, dict[str, t.Any]], began: float | None) -> list[str]:
    """In which way the application became worse between the windows, by the probe; empty when it did not."""
    before, later = _before_and_later(spans, began)
    then, now = (_rates.Count(one["failed"] - one["transport"], one["sent"]) for one in (before, later))
    if not worse(then, now):
        return []
    answered: dict[str, int] = {}
    for name in ("before", "during", "after") if began is None else ("during", "after"):
        for kind, count in _answers.of_application(spans[name]["failures"]).items():
            answered[kind] = answered.get(kind, 0) + count
    return ["%d of %s probe requests were answered with an error (%s), %d of %s before%s"
            % (now.failed, format(now.requests, ","), _kinds(answered), then.failed, format(then.requests, ","), _answers.first_wrong(probe))]


def _worse_by_release(probe: dict[str, t.Any], spans: dict[str, dict[str, t.Any]], began: float | None) -> list[str]:
    """Wrong answers of each new release by itself: while few members have it, all of them together hardly show it.

    Its errors are left to the balance sheet, which knows a member that stumbles for a moment from a release that fails.
    """
    then = _rates.Count(0, spans["before"]["sent"])
    for what, entry in _answers.new_releases(probe, began):
        now = _rates.Count(entry["wrong"], entry["requests"])
        if then.requests and worse(then, now):
            return ["%d of %s probe requests got a wrong answer of %s, none of %s before%s"
                    % (now.failed, format(now.requests, ","), what, format(then.requests, ","), _answers.first_wrong(probe))]
    return []


def waiting(samples: t.Sequence[dict[str, t.Any]], places: _losses.Places) -> str:
    """On which balancers far more requests are open than before, and who has most of them, for a sentence; empty where there is none.

    Those of a busy site are always open, and so are its streams. More than twice as many as there ever were at a reading before the first move, without
    the streams, are not that: they wait.
    """
    before: dict[str, int] = {}
    last: dict[str, tuple[int, dict[str, int]]] = {}
    for sample in samples:
        rows = sample.get("counters") or ()
        held = sum(row.get("open", 0) - row.get("streams", 0) for row in rows)
        members: dict[str, int] = {}
        for row in rows:
            for pool in (row.get("pools") or {}).values():
                for name, own in (pool.get("members") or {}).items():
                    members[name] = members.get(name, 0) + own.get("open", 0)
        if places.began is None or sample["time"] <= places.began:
            before[sample["balancer"]] = max(before.get(sample["balancer"], 0), held)
        if rows:
            last[sample["balancer"]] = held, members
    found = []
    for balancer, (held, members) in last.items():
        if places.began is not None and held > 2 * before.get(balancer, 0) + FEW_OPEN:
            most = sorted(members.items(), key=lambda item: -item[1])[:_losses.FEW]
            who = ", ".join("%d on %s" % (number, places.names.get(name, name)) for name, number in most if number)
            # A member's streams are among its open requests, and no counter says whose they are.
            at_most = "at most " if sum(members.values()) > held else ""
            found.append("%d on %s%s" % (held, balancer, " (%s%s)" % (at_most, who) if who else ""))
    return ", ".join(found)


class _Rise(t.NamedTuple):
    """How the application became worse, by the sheet, and whether that has lasted for longer than a moment."""

    text: str
    lasting: bool


def _rise_by_sheet(cells: t.Sequence[Cell], blamed: t.Sequence[float | None], places: _losses.Places, first: bool, kind: str) -> _Rise | None:
    """In which way the application became worse, by the sheet; None when it did not.

    Compared are what came before and after each moment to blame, and members that the deploy had moved with those that it had not: while few
    members have a bad release, all of them together hardly show it.
    """
    windows = [_losses.split(cells, moment) for moment in blamed]
    if blamed and None not in blamed:
        before, during = _losses.split(cells, max(moment for moment in blamed if moment is not None))
        moved = [cell for cell in during if places.moved_before(cell, cell.began)]
        windows.append((before + [cell for cell in during if not places.moved_before(cell, cell.ended)], moved))
    found = None
    for before, during in windows:
        then, now = _losses.count(before, kind), _losses.count(during, kind)
        # Of a first release nobody knows how much it is to refuse.
        anew = first and then.requests < FEW and kind == APP
        if worse(then, now) if anew else _losses.worse(before, during, kind):
            text = "%s of %s real requests were answered with a %s, %s of %s before" % (
                format(now.failed, ","), format(now.requests, ","), _called(kind), format(then.failed, ","), format(then.requests, ","))
            found = _Rise(text, anew or _losses.lasts(before, during, kind))
            if found.lasting:
                return found
    return found


def _statuses(cells: t.Sequence[Cell]) -> list[str]:
    """The kinds of answers with one status each, where a balancer knows them: a rise of one is found beside many of another."""
    return sorted({kind for cell in cells for kind in cell.counts if kind.startswith(STATUS)})


def _called(kind: str) -> str:
    return CLASSES.get(kind) or kind[len(STATUS):]


def _short_before(cells: t.Sequence[Cell], began: float | None) -> list[str]:
    """That the time before was too short to tell a rate that was there from one that is new."""
    seen = 0 if began is None else _losses.count(_losses.split(cells, began)[0]).requests
    if began is None or seen >= SHORT:
        return []
    return ["only %s came before anything moved: a rate below %s may have been there all the time" % (
        _plural(seen, "real request"), "%.0f %%" % (300 / seen) if seen > 3 else "100 %")]


def _unsure(verdicts: t.Sequence[_losses.Verdict], cells: t.Sequence[Cell], began: float | None) -> str:
    """That the losses may be what happens all the time, for a sentence: so few of them, beside so few requests before."""
    if began is None or not all(one.hasty for one in verdicts if one.lost):
        return ""
    seen = _losses.count(_losses.split(cells, began)[0]).requests
    return "so few losses may be what happens all the time, since %s came before anything moved" % (
        "only " + _plural(seen, "real request") if seen else "no real request")


def _few_answers(cells: t.Sequence[Cell] | None, probe: dict[str, t.Any] | None, blamed: t.Sequence[float | None], places: _losses.Places,
                 steps: t.Sequence[dict[str, t.Any]], first: bool) -> str:
    """How little the answers of what serves now tell, for a sentence; empty where they are enough to find a release that fails a part of them.

    :param cells: None where no balancer counts. Then the probe knows what was answered after a switch.
    """
    moments = [moment for moment in blamed if moment is not None]
    if len(moments) < len(blamed) or math.inf in moments or any(step["name"].startswith("back_") for step in steps):
        return ""
    if cells is not None and (places.all or any(cell.member for cell in cells)):
        before, during = _losses.split(cells, max(moments))
        then = _losses.count(before + [cell for cell in during if not places.moved_before(cell, cell.ended)], APP)
        seen = _losses.count([cell for cell in during if places.moved_before(cell, cell.began)], APP).requests
        test = worse if first and then.requests < FEW else _rates.higher
    elif cells is None and probe is not None and places.all:
        spans = phases(probe["series"], max(moments), None)
        then, seen, test = _rates.Count(spans["before"]["failed"] - spans["before"]["transport"], spans["before"]["sent"]), spans["during"]["sent"], worse
    else:
        return ""
    return _told_by(then, seen, test)


def _told_by(then: _rates.Count, seen: int, test: t.Callable[[_rates.Count, _rates.Count], bool]) -> str:
    """Which share of failures so many answers can tell from what was before, where that is a large one for want of answers."""
    least = next((failed for failed in range(1, seen + 1) if test(then, _rates.Count(failed, seen))), None) if seen < SHORT else 0
    if least is not None and least <= TOLD * seen and seen:
        return ""
    if not seen:
        return "what serves now has answered no request yet"
    answered = "what serves now has answered %s only" % _plural(seen, "request")
    if least == seen:
        return answered + ": only failures of all of them would be told from chance"
    if least is None:
        return answered + ": whatever became of %s could not be told from chance" % ("it" if seen == 1 else "them")
    return answered + ": failures of less than %d %% of them would not be told from chance" % math.ceil(100 * least / seen)


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


def _nobody_counts(samples: t.Sequence[dict[str, t.Any]], sheet: dict[str, t.Any] | None) -> str:
    """Why there are balancers and no balance sheet, for a sentence. A driver that has none to ask has nobody who could count."""
    why = {sample["balancer"]: sample["failed"] for sample in samples if "failed" in sample} if sheet is None else {}
    return "; ".join("%s: %s" % (", ".join(sorted(name for name in why if why[name] == reason)), reason) for reason in dict.fromkeys(why.values()))


def _gaps(sheet: dict[str, t.Any] | None, dropped: str, nobody: str) -> list[str]:
    """What keeps one from saying that no request was lost, though none was seen to be."""
    found = [] if sheet is None or sheet["complete"] else ["the balance sheet is incomplete: %s" % sheet["note"]]
    if nobody:
        found.append("no balancer counted real requests: %s" % nobody)
    if sheet is not None and sheet["waiting"]:
        found.append("without an answer yet: %s" % sheet["waiting"])
    return found + [dropped] * bool(dropped)


def _with_clauses(sentence: str, clauses: t.Iterable[str]) -> str:
    """A sentence with those that it does not say already, whatever words lead to them."""
    new = [clause for clause in clauses if clause and clause.rpartition(": ")[2] not in sentence]
    return "%s." % "; ".join([sentence.rstrip("."), *new]) if new else sentence


def _at_the_end(probe: dict[str, t.Any] | None, sheet: dict[str, t.Any] | None, began: float | None, gaps: t.Sequence[str]) -> str:
    """The last numbers of a deploy that has moved something, for the sentence of one that went back: those of its finding are of before that."""
    if began is None or began == math.inf:
        return ""
    parts = []
    if probe is not None:
        parts.append("%s of %s failed%s" % (format(probe["failed"], ","), _plural(probe["sent"], "probe request"),
                                            " (%s)" % _kinds(probe["failures"]) if probe["failed"] else ""))
    if sheet is not None:
        parts.append("%s of %s lost" % (format(sheet["lost"], ","), _plural(sheet["received"], "real request")))
    return "; ".join([" and ".join(parts), *gaps]) if parts else ""


def _ended(cut: str, asked: int, cut_short: int = 0) -> str:
    """What the deploy ended on purpose, for a sentence."""
    short = ", %d of them cut short by it" % cut_short if cut_short else ""
    return (" (%s cut on purpose)" % cut if cut else "") + (" (%s left to the application to end%s)" % (_plural(asked, "stream"), short) if asked else "")


def _sentence(verdict: str, reason: str, probe: dict[str, t.Any] | None, sheet: dict[str, t.Any] | None, attributed: list[dict[str, t.Any]],
              died: str | None, dropped: str, nobody: str, cut: int, asked: int) -> str:
    parts = []
    if probe is not None:
        parts.append("%s of %s" % (format(probe["failed"], ","), _plural(probe["sent"], "probe request"))
                     + (" failed (%s)" % _kinds(probe["failures"]) if probe["failed"] else ""))
    if sheet is not None:
        told = ["%d %s" % (sheet["lost_by_kind"][kind], _losses.WORDS[kind]) for kind in LOSSES if sheet["lost_by_kind"].get(kind)]
        kinds = " lost (%s)" % ", ".join(told) if told and sheet["lost"] else ""
        parts.append("%s of %s%s" % (format(sheet["lost"], ","), _plural(sheet["received"], "real request"), kinds))
        parts[-1] += _ended("%d more" % cut if cut else "", asked, sheet["streams_cut_short"])
    numbers = " and ".join(parts) + (_ended(_plural(cut, "connection") if cut else "", asked) if sheet is None else "")
    if verdict == "clean":
        if not parts:
            return "Nothing was measured: there is neither an evidence URL nor a balancer that counts requests%s%s." % (
                " (%s)" % nobody if nobody else "", numbers)
        fine = "" if probe is None else "; longest gap %d ms, own stall %d ms" % (round(probe["longest_gap_ms"]), math.ceil(probe["stall_ms"]))
        gaps = _gaps(sheet, dropped, nobody)
        usual = (sheet or {}).get("background")
        # The application's own errors are no lost requests, as long as they are no more than before.
        broken = 0 if usual or probe is None else sum(probe["phases"][name]["transport"] for name in ("before", "during", "after"))
        lost = (sheet or {}).get("lost") or broken
        said = ("Within the budget" if lost else "No loss was seen, and not everything was counted" if gaps
                else "No request was lost by this deploy" if usual else "No request was lost")
        return "%s: %s%s%s%s." % (said, numbers, "; %s" % usual if usual else "", fine, "".join("; " + gap for gap in gaps))
    if verdict == "degraded":
        return "The application got worse: %s." % reason
    if verdict == "unconfirmed" and died and reason == died:
        return "The evidence is not whole: %s%s." % (died, " (%s so far)" % numbers if numbers else "")
    # What real requests met comes first: the probe's own entries hold the application's everyday errors, too.
    told = sorted(attributed, key=lambda entry: entry["line"] != "balance")
    more = len(told) - 3
    where = "; ".join(entry["text"] for entry in told[:3]) + ("; and %d more place%s" % (more, "s" * (more > 1)) if more > 0 else "")
    start = "Requests were lost" if verdict == "lost" else "Losses that only the probe saw"
    return "%s: %s%s%s." % (start, numbers, "; " + reason if reason else "", "; " + where if where else "")
