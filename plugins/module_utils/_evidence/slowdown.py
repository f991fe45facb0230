# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether answers take longer than before anything moved: pure functions.

Private to the collection: it may change without notice.

Compared with the window before are the answers of each release that did not answer before, by the header in which it
names itself; where there is none such, all answers after and during the moves. Where the releases from before go on
answering beside a new one, as during a canary, what they answered meanwhile is a yardstick, too: it is of the same
minutes, and of far more answers than there often are before. They are slower when the median or the
99th percentile lies above a limit: ``TOLD`` times what it was, and at least ``LEAST_MS`` and the probe's own stall
above that. Beside that, more of them lie above the limit than chance explains (_rates): a percentile of some hundred answers varies
much where latencies do. Both windows need ``FEW`` answers.

Slower is told. It fails a deploy only by a factor that somebody has asked for, with that in place of ``TOLD``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import rates as _rates
from ansible_collections.zero.downtime.plugins.module_utils._evidence.probe import hist_percentile_ms, slot_ms

TOLD = 1.5
LEAST_MS = 20.0
FEW = 30
SHARES = (("p50", 0.5), ("p99", 0.99))
# Of the time in which a new release answers, so large a part has to be one in which those from before do.
BESIDE = 0.5

_MEANWHILE = "of the release before meanwhile"

Hist = t.Dict[str, int]


class Slowdown(t.NamedTuple):
    """C(account) is for the record, C(told) the part of a sentence, C(failing) why the deploy fails."""

    account: dict[str, t.Any] | None
    told: str
    failing: list[str]


def phase_of(when: float, began: float | None, ended: float | None) -> str:
    """Whether a time is before, during or after the moves. Without any move everything is before."""
    if began is None or when < began:
        return "before"
    return "during" if ended is None or when <= ended else "after"


def look(probe: t.Mapping[str, t.Any], began: float | None, ended: float | None, most: float | None) -> Slowdown:
    """What became slower.

    :param probe: the account of the probe, with the histograms of its series.
    :param most: the factor that fails a deploy; None for none.
    """
    if began is None:
        return Slowdown(None, "", [])
    before, groups = _groups(probe, began, ended)
    meanwhile = _meanwhile(probe, began, before)
    # What to compare with, and how to call it.
    measures = [(hist, when) for hist, when in ((before, "before"), (meanwhile, _MEANWHILE)) if _count(hist) >= FEW]
    if not measures:
        return Slowdown(None, "", [])
    slack = LEAST_MS + probe["stall_ms"]
    told: list[str] = []
    failing: list[str] = []
    compared = []
    for what, hist in groups:
        if _count(hist) < FEW:
            continue
        slower = _slower(measures, hist, TOLD, slack)
        if slower and not told:
            told.append("%s slower: %s" % (what, slower))
        beyond = _slower(measures, hist, most, slack) if most is not None else ""
        if beyond and not failing:
            failing.append("%s slower: %s, and max_slowdown allows %g times" % (what, beyond, most))
        compared.append({"what": what, "slower": bool(slower), **_percentiles(hist)})
    account = {"before": _percentiles(before), "meanwhile": _percentiles(meanwhile) if meanwhile else None}
    return Slowdown({**account, "compared": compared}, "".join(told), failing)


def without_hist(probe: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What each release did, as the record has it."""
    return {
        digest: {name: value for name, value in entry.items() if name != "hist"}
        for digest, entry in (probe.get("by_release") or {}).items()
    }


def said(sentence: str, slowdown: Slowdown | None) -> str:
    """The sentence of a verdict, with what became slower where it does not say that already."""
    if slowdown is None or not slowdown.told or any(text in sentence for text in slowdown.failing):
        return sentence
    return "%s; %s." % (sentence.rstrip("."), slowdown.told)


def _groups(probe: t.Mapping[str, t.Any], began: float, ended: float | None) -> tuple[Hist, list[tuple[str, Hist]]]:
    """The latencies before, and those that are compared with them, each with the begin of a sentence."""
    spans: dict[str, Hist] = {"before": {}, "during": {}, "after": {}}
    half = probe["series"]["bucket_s"] / 2
    for row in probe["series"]["rows"]:
        into = spans[phase_of(row["t"] + half, began, ended)]
        for slot, count in row.get("hist", {}).items():
            into[slot] = into.get(slot, 0) + count
    found = [("%s answers" % what, entry["hist"]) for what, entry in _answers.new_releases(probe, began)]
    # The rows are half a second long or longer; the probe itself knows better what came before.
    return probe.get("before") or spans["before"], found or [
        ("answers %s the moves are" % name, spans[name]) for name in ("after", "during")
    ]


def _meanwhile(probe: t.Mapping[str, t.Any], began: float, before: Hist) -> Hist:
    """What the releases from before answered since the first move, where they did so beside a new one; or nothing."""
    seen = {digest: probe["releases"][digest] for digest in probe.get("by_release") or {}}
    new = [one for one in seen.values() if one["first"] >= began]
    old = {digest: one for digest, one in seen.items() if one["first"] < began}
    if not new or not old:
        return {}
    first, last = min(one["first"] for one in new), max(one["last"] for one in new)
    if max(one["last"] for one in old.values()) - first < BESIDE * (last - first):
        return {}
    found: Hist = {}
    for digest in old:
        for slot, count in probe["by_release"][digest]["hist"].items():
            found[slot] = found.get(slot, 0) + count
    left = {slot: count - before.get(slot, 0) for slot, count in found.items()}
    return {slot: count for slot, count in left.items() if count > 0}


def _count(hist: Hist) -> int:
    return sum(hist.values())


def _percentiles(hist: Hist) -> dict[str, t.Any]:
    return {"requests": _count(hist), **{name + "_ms": hist_percentile_ms(hist, share) for name, share in SHARES}}


def _slower(measures: t.Sequence[tuple[Hist, str]], hist: Hist, factor: float, slack: float) -> str:
    """By how much, in words; empty when it is not."""
    for usual, when in measures:
        for name, share in SHARES:
            was, now = hist_percentile_ms(usual, share), hist_percentile_ms(hist, share)
            if was is None or now is None:
                continue
            limit = max(factor * was, was + slack)
            if now > limit and _rates.higher(_above(usual, limit), _above(hist, limit)):
                times = format(now / was, ".1f" if now < 10 * was else ",.0f")
                shown = (name, format(round(now), ","), format(round(was), ","), when, times)
                return "%s %s ms, %s ms %s (%s times)" % shown
    return ""


def _above(hist: Hist, limit: float) -> _rates.Count:
    return _rates.Count(sum(count for slot, count in hist.items() if slot_ms(slot) > limit), _count(hist))
