# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a record's page that shows a canary: its shares over time, and what the judge saw at each. Private to the report.

Everything is drawn with boxes whose place is a share of the width, so that a phone shows the same picture, and each picture's numbers stand beside it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._record.report_text import (
    Record, _clock, _count, _dicts, _duration, _mapping, _nice, _number, _plural, _share, _text,
)

VERDICTS = {"pass": ("✓", "good", "passed"), "fail": ("✕", "bad", "failed"), "inconclusive": ("?", "warn", "nothing could be said")}
UNKNOWN = ("?", "warn", "no verdict")
# What one metric's colour says.
CLASSES = {"Pass": ("✓", "good"), "High": ("▲", "bad"), "Low": ("▼", "bad"), "Nodata": ("?", "warn")}


def section(record: Record) -> str:
    """The card, or nothing for a deploy without a canary. Any part of an entry may be missing."""
    steps = _dicts(_mapping(record.get("canary")).get("steps"))
    if not steps:
        return ""
    scales = _scales(steps)
    return (
        f'<section class="card canary" id="canary"><div class="sechead"><h2>Canary</h2><p>{_text(_told(steps))}</p></div>{_shares(steps)}'
        f'<ol class="csteps">{"".join(_step(step, scales) for step in steps)}</ol></section>'
    )


def _verdict(step: Record) -> tuple[str, str, str]:
    return VERDICTS.get(str(step.get("verdict")), UNKNOWN)


def _percent(step: Record) -> str:
    share = _number(step.get("share"))
    return "–" if share is None else f"{share:g} %"


def _told(steps: list[Record]) -> str:
    passed = sum(step.get("verdict") == "pass" for step in steps)
    last = "" if steps[-1].get("verdict") == "pass" else f"; at {_percent(steps[-1])} {_verdict(steps[-1])[2]}"
    return f"{_plural(len(steps), 'share')} judged beside the release before, {_count(passed)} passed{last}."


# ---------------------------------------------------------------------------------------------------------------- shares


def _shares(steps: list[Record]) -> str:
    """The share of the requests over time: a box for each step, as high as its share, with its verdict."""
    spans = []
    for step in steps:
        began, ended = _number(step.get("started")), _number(step.get("finished"))
        if began is not None:
            spans.append((began, max(ended if ended is not None else began, began), step))
    if not spans:
        return ""
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    length = max(end - start, 0.001)
    boxes = ""
    for began, ended, step in spans:
        left, width = (began - start) / length * 100, (ended - began) / length * 100
        height = min(max(_number(step.get("share")) or 0.0, 0.0), 100.0)
        sign, kind, words = _verdict(step)
        title = f"{_percent(step)}, {words}, {_clock(began)} to {_clock(ended)} UTC"
        boxes += (
            f'<div class="cshare" style="left:{left:.2f}%;width:{width:.2f}%" title="{_text(title)}"><i style="height:{height:.1f}%"></i>'
            f'<span class="{kind}"><b>{sign}</b> {_text(_percent(step))}</span></div>'
        )
    words = "Share of the requests over time: " + ", ".join(_percent(step) for _began, _ended, step in spans)
    return (
        f'<div class="cplot" role="img" aria-label="{_text(words)}">{boxes}</div>'
        f'<p class="cspan"><span>{_clock(start)} UTC</span><span>{_text(_duration(end - start))}</span></p>'
    )


# ------------------------------------------------------------------------------------------------------------- one share


def _step(step: Record, scales: t.Mapping[str, float]) -> str:
    sign, kind, words = _verdict(step)
    began, ended = _number(step.get("started")), _number(step.get("finished"))
    took = f" after {_duration(ended - began)}" if began is not None and ended is not None and ended >= began else ""
    reasons = step.get("reasons")
    sentences = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    told = "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)
    metrics = "".join(_metric(metric, scales) for metric in _dicts(step.get("metrics")))
    return (
        f'<li class="cstep"><h3>{_text(_percent(step))} <span class="badge {kind}">{sign} {_text(words + took)}</span></h3>'
        f'<ul class="creasons">{told}</ul>{_errors(_mapping(step.get("errors")))}{metrics}</li>'
    )


def _errors(errors: Record) -> str:
    """How many requests of each side failed, as bars of one scale, and the evidence that the canary's fail more often."""
    if not errors:
        return ""
    rates: dict[str, float | None] = {}
    for side in ("canary", "baseline"):
        requests, failed = _number(errors.get(f"{side}_requests")), _number(errors.get(f"{side}_errors"))
        rates[side] = min(max(failed / requests, 0.0), 1.0) if requests and failed is not None else None
    top = max([rate for rate in rates.values() if rate] or [1.0])
    bars = ""
    for side, colour in (("canary", "v1"), ("baseline", "v0")):
        rate = rates[side]
        width = rate / top * 100 if rate else 0.0
        words = f"{_count(errors.get(f'{side}_errors'))} of {_plural(errors.get(f'{side}_requests'), 'request')}"
        if rate:
            words += f", {_share(rate)}"
        drawn = f'<span class="cbar"><i class="{colour}" style="width:{width:.2f}%"></i></span>'
        bars += f'<div class="crow"><span class="cname">{side}</span>{drawn}<span>{_text(words)}</span></div>'
    value, needed = _number(errors.get("e_value")), _number(errors.get("needed"))
    evidence = ""
    if value is not None and needed is not None:
        evidence = f'<p class="note">Evidence that the canary fails more often: {_text(_big(value))}; {_text(_big(needed))} fail it.</p>'
    return f'<h4>Errors</h4>{bars}{evidence}'


def _big(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}" if value < 1e6 else "more than a million"


class _Bounds(t.NamedTuple):
    """What was measured, and between which limits it lies; None for a limit that nobody can tell."""

    low: float | None
    estimate: float
    high: float | None

    def words(self) -> str:
        low, high = ("" if one is None else _signed(one) for one in (self.low, self.high))
        if low and high:
            told = f"{low} to {high}"
        elif low:
            told = f"at least {low}; the upper limit cannot be told yet"
        elif high:
            told = f"at most {high}; the lower limit cannot be told yet"
        else:
            told = "limits cannot be told yet"
        return f"{_signed(self.estimate)} ({told})"


def _bounds(metric: Record) -> _Bounds | None:
    low, estimate, high = (_number(metric.get(key)) for key in ("low", "estimate", "high"))
    return None if estimate is None else _Bounds(low, estimate, high)


def _scales(steps: list[Record]) -> dict[str, float]:
    """How far each metric's picture reaches from 0 to either side: the same at all shares, so that they can be compared."""
    found: dict[str, float] = {}
    for step in steps:
        for metric in _dicts(step.get("metrics")):
            bounds = _bounds(metric)
            if bounds:
                name = str(metric.get("name"))
                found[name] = max(found.get(name, 0.0), *(abs(one) for one in bounds if one is not None))
    return {name: _nice(min(widest, 1e300) * 1.05) for name, widest in found.items()}


def _signed(value: float) -> str:
    percent = value * 100
    return f"{percent:+,.0f} %" if abs(percent) >= 10 else f"{percent:+.1f} %"


def _metric(metric: Record, scales: t.Mapping[str, float]) -> str:
    """The interval in which the canary's shift lies, around 0: beside the baseline's mean, in percent."""
    name, bounds = str(metric.get("name")), _bounds(metric)
    sign, kind = CLASSES.get(str(metric.get("classification")), ("?", "warn"))
    samples = f"{_count(metric.get('canary_samples'))} and {_count(metric.get('baseline_samples'))} samples"
    if bounds is None:
        reason = metric.get("reason") or "There is nothing to tell."
        return f'<h4>{_text(name)} <b class="{kind}">{sign}</b></h4><p class="note">{_text(reason)}</p>'
    scale = scales[name]
    low, estimate, high = (None if one is None else min(max((one / scale + 1) * 50, 0.0), 100.0) for one in bounds)
    words = bounds.words()
    # Where a limit cannot be told, the line is pale and goes to the edge.
    left, right = 0.0 if low is None else low, 100.0 if high is None else high
    fades = " nolow" * (low is None) + " nohigh" * (high is None)
    return (
        f'<h4>{_text(name)} <b class="{kind}">{sign}</b></h4><div class="crow"><span class="cname">±{scale * 100:g} %</span>'
        f'<span class="civ {kind}" role="img" aria-label="{_text(words)}"><i class="zero"></i>'
        f'<i class="range{fades}" style="left:{left:.2f}%;width:{max(right - left, 0.0):.2f}%"></i>'
        f'<i class="dot" style="left:{estimate:.2f}%"></i></span><span title="{_text(samples)}">{_text(words)}</span></div>'
    )


STYLE = """
.cplot{position:relative;height:92px;background:var(--shade);border-bottom:1px solid var(--line);border-radius:5px 5px 0 0;overflow:hidden}
.cshare{position:absolute;top:0;bottom:0;min-width:2px;border-right:1px solid var(--card);container-type:inline-size}
.cshare i{position:absolute;left:0;right:0;bottom:0;min-height:2px;background:var(--v1);opacity:.55}
.cshare span{position:absolute;left:4px;top:3px;font-size:12px;line-height:17px;font-weight:600;white-space:nowrap;background:var(--card);border-radius:99px;
padding:0 6px}
@container (max-width:54px){.cshare span{visibility:hidden}}
.cspan{display:flex;justify-content:space-between;font-size:12px;color:var(--soft)}
.csteps>li{border-top:1px solid var(--line);padding:12px 0 10px;margin-top:8px}
.cstep h3{font-size:15px;display:flex;flex-wrap:wrap;gap:2px 10px;align-items:center}
.cstep h4{font-size:13px;font-weight:600;margin:9px 0 2px}
.creasons{font-size:13.5px;color:var(--soft);margin-top:3px}
.crow{display:grid;grid-template-columns:132px minmax(0,1fr) 250px;gap:2px 14px;align-items:center;font-size:13px;line-height:20px}
.cname{color:var(--soft)}
.cbar{position:relative;display:block;height:11px;background:var(--shade);border-radius:4px;overflow:hidden}
.cbar i{position:absolute;left:0;top:0;bottom:0;min-width:1px}
.civ{position:relative;display:block;height:18px;background:var(--shade);border-radius:4px}
.civ i{position:absolute}
.civ .zero{left:50%;top:-2px;bottom:-2px;border-left:1px dashed var(--soft)}
.civ .range{top:7px;height:4px;min-width:2px;border-radius:2px;background:currentColor}
.civ .range.nolow,.civ .range.nohigh{opacity:.25}
.civ .dot{top:4px;width:10px;height:10px;margin-left:-5px;border-radius:50%;background:currentColor;border:2px solid var(--card)}
@media (max-width:640px){.crow{grid-template-columns:minmax(0,1fr) auto}.cbar,.civ{grid-column:1/-1;grid-row:2}.crow{margin-bottom:6px}}
"""
