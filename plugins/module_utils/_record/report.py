# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy's record as one HTML page: the headline, the three lines of evidence, the timeline, the members.

Private to the collection. The page asks for nothing: style, script and pictures are inside it, and its policy forbids the rest, so it can be
mailed, archived and opened years later. It tells everything without its script too, which only adds the reading under the pointer.
Every text from the record goes through `_text`; nothing else is trusted to be harmless.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _steps
from ansible_collections.zero.downtime.plugins.module_utils._record import report_canary as _report_canary
from ansible_collections.zero.downtime.plugins.module_utils._record.report_text import (
    Record, _clock, _count, _dicts, _duration, _mapping, _ms, _name, _nice, _number, _plural, _share, _text,
)

# More columns than a wide screen has pixels would only make the file heavier.
MAX_ROWS = 720

# What the eye needs to see, not the table: beyond this many rows of steps the picture is a wall.
MAX_LOSSES = 200
MAX_FIELDS = 20

RESULTS = {
    "succeeded": ("✓", "Succeeded", "good"),
    "rolled_back": ("↩", "Rolled back", "warn"),
    "failed": ("✕", "Failed", "bad"),
}

# After Okabe and Ito: told apart under each kind of colour blindness, and they differ in lightness as well. The old release is
# the quiet one, the new one carries the page's accent. The stylesheet has them as v0..v5.
PALETTE_SIZE = 6

STEP_WORDS = {step.name: step.title for step in _steps.STEPS.values()}
STEP_KINDS = {"drain": "drain", "activate": "activate", "gate": "gate", "return": "return"}


def lost(record: Record) -> int | None:
    """Real requests that got no whole answer, as the balance sheet says; None without one."""
    balance = _mapping(_mapping(record.get("evidence")).get("balance"))
    if not balance:
        return None
    # The evidence's own count also knows of errors that the balancer itself gave instead of an answer.
    counted = _number(balance.get("lost"))
    return int(sum(_number(balance.get(key)) or 0 for key in ("truncated", "unanswered")) if counted is None else counted)


def headline(record: Record) -> str:
    """The page's one sentence: about every real request if a balancer counted them, else about the probe's."""
    evidence = _mapping(record.get("evidence"))
    balance, probe = _mapping(evidence.get("balance")), _mapping(evidence.get("probe"))
    gone = lost(record)
    if gone is not None and (gone or _number(balance.get("received"))):
        return f"{_count(gone)} of {_plural(balance.get('received'), 'real request')} lost"
    if probe and not _number(probe.get("sent")) or gone is not None and not probe:
        # As for an application's first release that never served: nothing was lost, nor proven.
        return "No request was counted"
    if probe:
        return f"{_count(probe.get('failed'))} of {_plural(probe.get('sent'), 'probe')} failed"
    return "No traffic was measured"


# ---------------------------------------------------------------------------------------------------------------- series


def _rows(record: Record) -> tuple[float, list[Record]]:
    """The probe's time series as (bucket in seconds, rows with absolute times), thinned to what a screen can show."""
    series = _mapping(_mapping(_mapping(record.get("evidence")).get("probe")).get("series"))
    bucket = _number(series.get("bucket_s")) or 1.0
    # A series may count from its own start.
    origin = _number(series.get("started")) or _number(series.get("start")) or _number(record.get("started")) or 0.0
    rows = []
    for row in _dicts(series.get("rows")):
        moment = _number(row.get("t"))
        if moment is None:
            continue
        rows.append({
            "t": moment if moment > 1e8 else origin + moment,
            "sent": _number(row.get("sent")) or 0.0,
            "failed": _number(row.get("failed")) or 0.0,
            "p50": _number(row.get("p50_ms")),
            "p99": _number(row.get("p99_ms")),
            "versions": {str(label): _number(count) or 0.0 for label, count in _mapping(row.get("versions")).items()},
        })
    rows.sort(key=lambda row: row["t"])
    step = math.ceil(len(rows) / MAX_ROWS) or 1
    if step == 1:
        return bucket, rows
    return bucket * step, [_merged(rows[start:start + step]) for start in range(0, len(rows), step)]


def _merged(rows: list[Record]) -> Record:
    """Several buckets as one. The p99 of the worst is kept, since a picture must not hide a spike; the p50 is their mean."""
    versions: dict[str, float] = {}
    for row in rows:
        for label, count in row["versions"].items():
            versions[label] = versions.get(label, 0.0) + count
    middle = [(row["p50"], row["sent"] or 1.0) for row in rows if row["p50"] is not None]
    worst = [row["p99"] for row in rows if row["p99"] is not None]
    return {
        "t": rows[0]["t"],
        "sent": sum(row["sent"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "p50": sum(value * weight for value, weight in middle) / sum(weight for value, weight in middle) if middle else None,
        "p99": max(worst) if worst else None,
        "versions": versions,
    }


class _Axis:
    """The one time axis that every lane shares: seconds to a share of the width."""

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.span = max(end - start, 1.0)

    def at(self, moment: float) -> float:
        """0..1000, the width of every picture's own coordinates."""
        return round(min(max((moment - self.start) / self.span, 0.0), 1.0) * 1000, 2)

    def percent(self, moment: float) -> str:
        return f"{self.at(moment) / 10:.2f}%"

    def ticks(self, most: int = 8) -> list[float]:
        for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400):
            if self.span / step <= most:
                break
        else:
            step = _nice(self.span / most)
        return [index * step for index in range(int(self.span // step) + 1)]


def _points(pairs: t.Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in pairs)


def _svg(body: str, label: str) -> str:
    return f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{_text(label)}">{body}</svg>'


def _grid(levels: t.Iterable[float]) -> str:
    return "".join(f'<line class="grid" x1="0" x2="1000" y1="{y:g}" y2="{y:g}"/>' for y in levels)


# ----------------------------------------------------------------------------------------------------------------- lanes


def _lane(name: str, note: str, plot: str, kind: str = "", legend: str = "") -> str:
    return (
        f'<div class="lane {kind}"><div class="lab"><h3>{_text(name)}</h3><p>{note}</p>{legend}</div>'
        f'<div class="plot">{plot}</div></div>'
    )


def _swatch(kind: str, text: str) -> str:
    return f'<li><i class="sw {kind}"></i>{_text(text)}</li>'


def _clusters(moments: list[tuple[float, float]], axis: _Axis, apart: float) -> list[tuple[float, float, float]]:
    """(first, last, count) of what lies closer than `apart` of the width: marks that would overlap become one with a number."""
    out: list[tuple[float, float, float]] = []
    for moment, count in sorted(moments):
        if out and (moment - out[-1][1]) / axis.span <= apart:
            out[-1] = (out[-1][0], moment, out[-1][2] + count)
        else:
            out.append((moment, moment, count))
    return out


def _requests_lane(axis: _Axis, bucket: float, rows: list[Record], shade: str) -> str:
    rates = [(axis.at(row["t"] + bucket / 2), row["sent"] / bucket) for row in rows]
    top = _nice(max([rate for _x, rate in rates] or [0.0]) * 1.15)
    body = _grid((50,)) if rates else ""
    if rates:
        line = [(x, round(100 - rate / top * 100, 2)) for x, rate in rates]
        body += f'<polygon class="area" points="{_points([(line[0][0], 100)] + line + [(line[-1][0], 100)])}"/>'
        body += f'<polyline class="line rate" points="{_points(line)}"/>'
    failed = [(row["t"] + bucket / 2, row["failed"]) for row in rows if row["failed"]]
    marks = ""
    for first, last, count in _clusters(failed, axis, 0.03):
        left, right = axis.at(first - bucket / 2), axis.at(last + bucket / 2)
        body += f'<rect class="failband" x="{left:g}" width="{max(right - left, 1):g}" y="0" height="100"/>'
        middle = (left + right) / 20
        edge = " atend" if middle > 92 else ""
        marks += f'<span class="fail{edge}" style="left:{middle:.2f}%"><b>✕</b> {_count(count)}</span>'
    total = sum(count for _t, count in failed)
    note = f'<strong class="bad">✕ {_plural(total, "failure")}</strong>' if total else '<strong class="good">✓ no failure</strong>'
    label = f"Requests per second, up to {top:g}; {int(total)} failed"
    return _lane("Requests/s", note, shade + _svg(body, label) + f'<span class="ymax">{top:g}/s</span>' + marks)


def _latency_lane(axis: _Axis, bucket: float, rows: list[Record], shade: str) -> str:
    values = [value for row in rows for value in (row["p50"], row["p99"]) if value]
    if not values:
        return ""
    low, high = min(values), max(values)
    # A stall of two seconds must not press the milliseconds flat, nor the milliseconds hide the stall.
    logarithmic = high / max(low, 0.001) > 30
    if logarithmic:
        floor, ceiling = math.floor(math.log10(max(low, 0.1))), math.ceil(math.log10(high))
        ceiling = max(ceiling, floor + 1)

        def height(value: float) -> float:
            return round(100 - (math.log10(max(value, 10.0 ** floor)) - floor) / (ceiling - floor) * 100, 2)

        top = 10.0 ** ceiling
        levels = [height(10.0 ** power) for power in range(floor + 1, ceiling)]
    else:
        top = _nice(high * 1.1)

        def height(value: float) -> float:
            return round(100 - value / top * 100, 2)

        levels = [50.0]
    body = _grid(levels)
    for key in ("p99", "p50"):
        # A bucket in which nothing was answered is a gap in the line, not a zero.
        runs: list[list[tuple[float, float]]] = [[]]
        for row in rows:
            if row[key] is None:
                runs.append([])
            else:
                runs[-1].append((axis.at(row["t"] + bucket / 2), height(row[key])))
        for run in runs:
            if len(run) == 1:
                run = [(run[0][0] - 1, run[0][1]), (run[0][0] + 1, run[0][1])]
            if run:
                body += f'<polyline class="line {key}" points="{_points(run)}"/>'
    legend = '<ul class="legend">' + _swatch("p50", "p50") + _swatch("p99", "p99") + "</ul>"
    peak = max((row["p99"] for row in rows if row["p99"] is not None), default=None)
    note = f"p99 at most {_ms(peak)}" + (", log scale" if logarithmic else "")
    return _lane("Latency", note, shade + _svg(body, f"Latency, {note}") + f'<span class="ymax">{_ms(top)}</span>', legend=legend)


def _labels(record: Record, rows: list[Record]) -> list[str]:
    """Every label seen, the previous release first, then the new one: so each always has the same colour."""
    probe = _mapping(_mapping(record.get("evidence")).get("probe"))
    seen = set(map(str, _mapping(probe.get("versions"))))
    for row in rows:
        seen.update(row["versions"])
    order = [_name(record.get("previous")), _name(record.get("release"))]
    return [label for label in order if label in seen] + sorted(seen - set(order))


def _shade_of(record: Record, label: str, labels: list[str]) -> str:
    previous, new = _name(record.get("previous")), _name(record.get("release"))
    if label == new:
        return "v1"
    if label == previous:
        return "v0"
    others = [other for other in labels if other not in (previous, new)]
    return f"v{2 + others.index(label) % (PALETTE_SIZE - 2)}" if label in others else "v0"


def _versions_lane(record: Record, axis: _Axis, bucket: float, rows: list[Record], shade: str) -> str:
    labels = _labels(record, rows)
    totals = [sum(row["versions"].values()) for row in rows]
    if not labels or not any(totals):
        return ""
    body, names = "", ""
    base = [0.0] * len(rows)
    for label in labels:
        upper, widest = [], []
        for index, row in enumerate(rows):
            share = row["versions"].get(label, 0.0) / totals[index] if totals[index] else 0.0
            upper.append(base[index] + share)
            widest.append(share)
        # Runs of answered buckets: where nothing was answered, no release is claimed to have served.
        index = 0
        while index < len(rows):
            if not totals[index]:
                index += 1
                continue
            last = index
            while last + 1 < len(rows) and totals[last + 1]:
                last += 1
            top, bottom = [], []
            for at in range(index, last + 1):
                left, right = axis.at(rows[at]["t"]), axis.at(rows[at]["t"] + bucket)
                top += [(left, round(100 - upper[at] * 100, 2)), (right, round(100 - upper[at] * 100, 2))]
                bottom += [(left, round(100 - base[at] * 100, 2)), (right, round(100 - base[at] * 100, 2))]
            if max(widest[index:last + 1]) > 0:
                body += f'<polygon class="{_shade_of(record, label, labels)}" points="{_points(top + bottom[::-1])}"/>'
            index = last + 1
        names += _area_name(record, label, labels, axis, bucket, rows, widest, base)
        base = upper
    legend = '<ul class="legend">' + "".join(_swatch(_shade_of(record, label, labels), label) for label in labels) + "</ul>"
    words = "Share of answers by release: " + ", ".join(labels)
    return _lane("Release mix", "share of answers", shade + _svg(body, words) + names, legend=legend)


def _area_name(
    record: Record, label: str, labels: list[str], axis: _Axis, bucket: float, rows: list[Record], shares: list[float], base: list[float]
) -> str:
    """The label written into its own area, where that is thick for longest: a colour alone is not a name."""
    best, start = (0, 0), None
    for index, share in enumerate(shares + [0.0]):
        if share >= 0.3:
            start = index if start is None else start
        elif start is not None:
            best = max(best, (index - start, -start))
            start = None
    length, first = best[0], -best[1]
    if not length or length * bucket / axis.span < 0.06:
        return ""
    middle = first + length // 2
    left = (axis.at(rows[first]["t"]) + axis.at(rows[first + length - 1]["t"] + bucket)) / 20
    top = 100 - (base[middle] + shares[middle] / 2) * 100
    return (
        f'<span class="vname on-{_shade_of(record, label, labels)}" '
        f'style="left:{left:.2f}%;top:{top:.1f}%;max-width:{length * bucket / axis.span * 100:.1f}%">{_text(label)}</span>'
    )


def _bands(record: Record, end: float) -> list[dict[str, t.Any]]:
    """The steps as bands. The same step on two balancers at the same time is one band: a person asks when, not how often."""
    bands: list[dict[str, t.Any]] = []
    for step in _dicts(record.get("steps")):
        start = _number(step.get("started"))
        if start is None:
            continue
        finish = _number(step.get("finished"))
        members = step.get("members")
        band = {
            "name": str(step.get("name")),
            "batch": step.get("batch"),
            "start": start,
            "end": max(finish if finish is not None else end, start),
            "result": str(step.get("result") or ""),
            "members": [str(member) for member in members] if isinstance(members, list) else [],
            "reason": step.get("reason"),
        }
        for other in bands:
            if (other["name"], other["batch"]) == (band["name"], band["batch"]) and band["start"] < other["end"] and other["start"] < band["end"]:
                other["start"], other["end"] = min(other["start"], band["start"]), max(other["end"], band["end"])
                other["members"] += [member for member in band["members"] if member not in other["members"]]
                if band["result"] != "succeeded":
                    other["result"], other["reason"] = band["result"], band["reason"] or other["reason"]
                break
        else:
            bands.append(band)
    return bands


def _band_kind(name: str) -> str:
    back = name.startswith("back_")
    return STEP_KINDS.get(name[5:] if back else name, "other") + (" back" if back else "")


def _steps_lanes(record: Record, axis: _Axis, bands: list[dict[str, t.Any]]) -> str:
    """One row for what concerns the whole deploy, then one a batch; rows split where bands overlap."""
    if not bands:
        return ""
    planned = {batch.get("n"): batch.get("members") for batch in _dicts(record.get("batches"))}
    groups: dict[t.Any, list[dict[str, t.Any]]] = {}
    for band in sorted(bands, key=lambda one: (one["start"], one["end"])):
        groups.setdefault(band["batch"], []).append(band)
    out = ""
    for batch in sorted(groups, key=lambda one: (one is not None, groups[one][0]["start"])):
        tracks: list[list[dict[str, t.Any]]] = []
        for band in groups[batch]:
            for track in tracks:
                # Bands that only touch belong on one row, whatever the clock's last digit says.
                if band["start"] >= track[-1]["end"] - axis.span * 0.002:
                    track.append(band)
                    break
            else:
                tracks.append([band])
        plot = "".join('<div class="track">' + "".join(_band(band, axis) for band in track) + "</div>" for track in tracks)
        if batch is None:
            name, note = "Deploy", "steps of the whole"
        else:
            members = planned.get(batch)
            if not isinstance(members, list):
                members = sorted({member for band in groups[batch] for member in band["members"]})
            shown = ", ".join(map(str, members[:4])) + (f" and {len(members) - 4} more" if len(members) > 4 else "")
            name, note = f"Batch {batch}", _text(shown)
        out += _lane(name, note, plot, kind="steps")
    used = {_band_kind(band["name"]).split()[0] for band in bands}
    legend = "".join(_swatch("s-" + kind, word) for kind, word in (
        ("drain", "drain"), ("activate", "activate"), ("gate", "health gate"), ("return", "return"), ("other", "other step"),
    ) if kind in used)
    if any("back" in _band_kind(band["name"]) for band in bands):
        legend += _swatch("s-other back", "hatched: going back")
    if any(band["result"] not in ("succeeded", "") for band in bands):
        legend += _swatch("s-failed", "✕ failed")
    return out + f'<div class="lane legendrow"><div class="lab"></div><ul class="legend">{legend}</ul></div>'


def _band(band: dict[str, t.Any], axis: _Axis) -> str:
    word = STEP_WORDS.get(band["name"], band["name"])
    # What stands in the band is the bare verb; that it goes back shows in the hatching.
    short = band["name"][5:] if band["name"].startswith("back_") else band["name"]
    failed = band["result"] not in ("succeeded", "")
    title = f"{word}: {_duration(band['end'] - band['start'])} from {_clock(band['start'])} UTC"
    if band["members"]:
        title += ", " + ", ".join(band["members"])
    if failed:
        title += f", {band['result']}" + (f": {band['reason']}" if band["reason"] else "")
    # The last step of all is too short to be seen where it is: it may not stick out either.
    left, right = min(axis.at(band["start"]) / 10, 99.6), max(axis.at(band["end"]) / 10, 0.4)
    wide = " wide" if len(short) + 2 * failed > 6 else ""
    mark = '<b aria-hidden="true">✕</b> ' if failed else ""
    return (
        f'<div class="band s-{_band_kind(band["name"])}{" s-failed" if failed else ""}{wide}" title="{_text(title)}" '
        f'style="left:{left:.2f}%;width:{right - left:.2f}%"><span>{mark}{_text(short)}</span></div>'
    )


def _losses(record: Record) -> list[Record]:
    return _dicts(_mapping(record.get("evidence")).get("attributed"))


def _losses_lane(record: Record, axis: _Axis) -> str:
    losses = [(index, _number(loss.get("time"))) for index, loss in enumerate(_losses(record), 1)]
    timed = [(moment, index) for index, moment in losses if moment is not None]
    if not losses:
        return ""
    groups: list[list[t.Any]] = []
    for moment, index in sorted(timed):
        if groups and (moment - groups[-1][1]) / axis.span <= 0.03:
            groups[-1][1] = moment
            groups[-1][2].append(index)
        else:
            groups.append([moment, moment, [index]])
    marks = ""
    for first, last, indexes in groups:
        name = str(indexes[0]) if len(indexes) == 1 else f"{min(indexes)}–{max(indexes)}"
        middle = (axis.at(first) + axis.at(last)) / 20
        marks += f'<a class="pin" href="#loss-{indexes[0]}" style="left:{middle:.2f}%">{name}</a>'
    return _lane("Attributed", f'<a href="#losses">{_plural(len(losses), "finding")}</a>', marks, kind="pins")


def _phases(bands: list[dict[str, t.Any]], axis: _Axis) -> tuple[str, str]:
    """The batches, and the way back as one, behind every lane: so that the eye finds what was done when a number changed."""
    phases: dict[str, tuple[float, float]] = {}
    for band in bands:
        if band["name"].startswith("back_"):
            name = "<em>going </em>back"
        elif band["batch"] is not None:
            name = f"<em>batch </em>{_text(band['batch'])}"
        else:
            continue
        first, last = phases.get(name, (band["start"], band["end"]))
        phases[name] = (min(first, band["start"]), max(last, band["end"]))
    shade = names = ""
    for name, (first, last) in sorted(phases.items(), key=lambda one: one[1]):
        width = (axis.at(last) - axis.at(first)) / 10
        shade += f'<div class="shade{" goingback" if name.endswith("back") else ""}" style="left:{axis.percent(first)};width:{width:.2f}%"></div>'
        names += f'<span class="{"narrow" if width < 8 else ""}" style="left:{axis.percent((first + last) / 2)}">{name}</span>'
    return shade, names


def _timeline(record: Record) -> tuple[str, Record]:
    """The picture and the numbers behind it, for the reading under the pointer."""
    bucket, rows = _rows(record)
    moments = [row["t"] for row in rows] + [row["t"] + bucket for row in rows]
    for key in ("started", "finished"):
        moments += [moment for moment in [_number(record.get(key))] if moment is not None]
    for step in _dicts(record.get("steps")):
        moments += [moment for moment in (_number(step.get("started")), _number(step.get("finished"))) if moment is not None]
    if not moments:
        return "", {}
    axis = _Axis(min(moments), max(moments))
    end = axis.start + axis.span
    bands = _bands(record, end)
    shade, names = _phases(bands, axis)
    lanes = f'<div class="lane heads"><div class="lab"></div><div class="plot">{names}</div></div>' if names else ""
    if rows:
        lanes += _requests_lane(axis, bucket, rows, shade)
        lanes += _latency_lane(axis, bucket, rows, shade)
        lanes += _versions_lane(record, axis, bucket, rows, shade)
    else:
        ran = _mapping(_mapping(record.get("evidence")).get("probe"))
        lanes += _lane("Requests/s", "none counted" if ran else "no probe ran", shade + '<p class="empty">No request was counted during this deploy.</p>')
    lanes += _losses_lane(record, axis)
    lanes += _steps_lanes(record, axis, bands)
    ticks = axis.ticks()
    axis_plot = "".join(
        f'<span{" class=odd" if index % 2 else ""} style="left:{axis.percent(axis.start + tick)}">{_tick(tick, ticks)}</span>'
        for index, tick in enumerate(ticks)
    )
    lanes += f'<div class="lane axis"><div class="lab"></div><div class="plot">{axis_plot}</div></div>'
    data = {
        "start": round(axis.start, 3), "span": round(axis.span, 3), "bucket": bucket,
        "rows": [
            [round(row["t"] - axis.start, 3), row["sent"], row["failed"], row["p50"], row["p99"], {k: v for k, v in row["versions"].items() if v}]
            for row in rows
        ],
        "steps": [
            [STEP_WORDS.get(band["name"], band["name"]), band["batch"], round(band["start"] - axis.start, 3), round(band["end"] - axis.start, 3)]
            for band in bands
        ],
    }
    picture = (
        '<section class="card"><div class="sechead"><h2>Timeline</h2>'
        f'<p>{_clock(axis.start)} to {_clock(end)} UTC. <span class="js">Point at it, or use the arrow keys, to read a moment.</span></p></div>'
        f'<div id="timeline" role="group" aria-label="Timeline" tabindex="0">{lanes}<div id="tip" hidden></div></div></section>'
    )
    return picture, data


def _tick(tick: float, ticks: list[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    if step < 60:
        return f"{tick:g} s" if tick < 60 or step < 10 and ticks[-1] < 60 else f"{int(tick // 60)}:{int(tick % 60):02d}"
    return f"{tick / 60:g} min" if step < 3600 else f"{tick / 3600:g} h"


# ----------------------------------------------------------------------------------------------------------------- tiles


def _facts(pairs: t.Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs) + "</dl>"


def _tile(title: str, what: str, state: str, big: str, of: str, facts: t.Iterable[tuple[str, str]], note: str = "") -> str:
    sign = {"good": "✓", "bad": "✕", "warn": "!", "none": "–"}[state]
    return (
        f'<section class="card tile t-{state}"><h2><i class="sign" aria-hidden="true">{sign}</i>{_text(title)}</h2><p class="what">{_text(what)}</p>'
        f'<p class="big"><strong>{_text(big)}</strong> {_text(of)}</p>{_facts(facts)}{f"<p class=note>{_text(note)}</p>" if note else ""}</section>'
    )


def _balance_tile(record: Record) -> str:
    balance = _mapping(_mapping(record.get("evidence")).get("balance"))
    what = "every real request, counted by the balancer"
    if not balance:
        cut = _number(_mapping(record.get("evidence")).get("cut"))
        facts = [("cut on purpose", _count(cut))] if cut else []
        return _tile("Balance sheet", what, "none", "–", "not counted", facts, "This driver's balancer gives no counters, or none were read.")
    gone = lost(record)
    state = "bad" if gone else "warn" if balance.get("complete") is False else "good" if _number(balance.get("received")) else "none"
    facts = [
        ("received", _count(balance.get("received"))),
        ("answered whole", _count(balance.get("answered"))),
        ("truncated", _count(balance.get("truncated"))),
        ("unanswered", _count(balance.get("unanswered"))),
        ("cut on purpose", _count(balance.get("cut"))),
        ("given up by clients", _count(balance.get("client_aborts"))),
        ("5xx before / during", f"{_count(balance.get('errors_before'))} / {_count(balance.get('errors_during'))}"),
    ]
    by_kind = balance.get("lost_by_kind")
    # Records from before the sheet told the kinds of what was lost had everything that was broken among the lost.
    own = (int(_number(_mapping(by_kind).get("own_errors")) or 0) if by_kind is not None
           else (gone or 0) - int(sum(_number(balance.get(key)) or 0 for key in ("truncated", "unanswered"))))
    if own > 0:
        facts.insert(4, ("5xx of the balancer's own", _count(own)))
    # Without these two the sheet would not add up in the reader's head.
    for key, word in (("open", "still open at the end"), ("open_before", "open from before")):
        if _number(balance.get(key)):
            facts.insert(1, (word, _count(balance.get(key))))
    note = "; ".join(str(text) for text in (balance.get("note"), balance.get("background")) if text)
    if balance.get("complete") is False and not note:
        note = "The count is not complete."
    return _tile("Balance sheet", what, state, _count(gone), f"lost of {_count(balance.get('received'))}", facts, note)


def _probe_tile(record: Record) -> str:
    probe = _mapping(_mapping(record.get("evidence")).get("probe"))
    what = "requests of our own, from outside, all the time"
    if not probe:
        return _tile("Probe", what, "none", "–", "not run", [])
    if not _number(probe.get("sent")):
        early = _number(_mapping(probe.get("uncounted")).get("sent"))
        note = f"{_plural(early, 'request')} before anything served, not counted." if early else ""
        return _tile("Probe", what, "none", "0", "counted", [], note)
    failed = _number(probe.get("failed")) or 0
    facts = [("longest gap", _ms(probe.get("longest_gap_ms")))]
    phases = _mapping(probe.get("phases"))
    if phases:
        for phase in ("before", "during", "after"):
            values = _mapping(phases.get(phase))
            if _number(values.get("sent")):
                facts.append((f"p50 / p99 {phase}", f"{_ms(values.get('p50_ms'))} / {_ms(values.get('p99_ms'))}"))
    else:
        facts.append(("p50 / p99", f"{_ms(probe.get('p50_ms'))} / {_ms(probe.get('p99_ms'))}"))
    for kind, count in sorted(_mapping(probe.get("failures")).items()):
        if _number(count):
            facts.append((str(kind), _count(count)))
    protocols = _mapping(probe.get("protocols"))
    if protocols:
        parts = [f"{name} ({_count(count)})" if len(protocols) > 1 else str(name) for name, count in sorted(protocols.items())]
        facts.append(("spoke", ", ".join(parts)))
    if _number(probe.get("repeated")):
        facts.append(("asked again", _count(probe.get("repeated"))))
    if probe.get("stall_ms") is not None:
        facts.append(("the probe's own stall", _ms(probe.get("stall_ms"))))
    bound = probe.get("bound")
    if isinstance(bound, str) and bound:
        note = bound
    elif _number(bound):
        # The rule of three: what a run without a failure still allows.
        note = f"With 95 % confidence fewer than {_share(_number(bound) or 0.0)} of such requests fail."
    else:
        note = ""
    return _tile("Probe", what, "bad" if failed else "good", _count(failed), f"failed of {_count(probe.get('sent'))}", facts, note)


def _kernel_tile(record: Record) -> str:
    kernel = _mapping(_mapping(record.get("evidence")).get("kernel"))
    what = "connections the balancers' kernels turned away"
    overflows, drops = _number(kernel.get("overflows")), _number(kernel.get("drops"))
    if overflows is None and drops is None:
        return _tile("Kernel", what, "none", "–", "not read", [])
    # An overflow is counted as a drop as well, so the larger number is the whole.
    worst = max(overflows or 0, drops or 0)
    return _tile(
        "Kernel", what, "bad" if worst else "good", _count(worst), "turned away",
        [("listen queue overflows", _count(overflows)), ("listen drops", _count(drops))],
    )


# ---------------------------------------------------------------------------------------------------------------- tables


def _table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]], kind: str = "") -> str:
    """`rows` are of HTML already; each cell carries its column's name, for the phone's layout."""
    body = ""
    for row in rows:
        body += "<tr>" + "".join(f'<td data-h="{_text(name)}">{cell}</td>' for name, cell in zip(head, row)) + "</tr>"
    return f'<table class="{kind}"><thead><tr>' + "".join(f"<th scope=col>{_text(name)}</th>" for name in head) + f"</tr></thead><tbody>{body}</tbody></table>"


def _losses_section(record: Record) -> str:
    losses = _losses(record)
    if not losses:
        return ""
    items = ""
    for index, loss in enumerate(losses[:MAX_LOSSES], 1):
        where = ", ".join(f"{word} {loss[word]}" for word in ("step", "member", "balancer") if loss.get(word))
        text = loss.get("text") or f"{_count(loss.get('count'))} {loss.get('kind') or 'lost'}"
        items += (
            f'<li id="loss-{index}"><span class="pin still">{index}</span><div><p>{_text(text)}</p>'
            f'<p class="what">{_clock(_number(loss.get("time")))} UTC{_text(", " + str(loss["kind"])) if loss.get("kind") else ""}'
            f'{_text(", " + where) if where else ""}</p></div></li>'
        )
    more = f"<p class=what>{_plural(len(losses) - MAX_LOSSES, 'more finding')} in the JSON record.</p>" if len(losses) > MAX_LOSSES else ""
    return f'<section class="card" id="losses"><h2>Losses, attributed</h2><ol class="losses">{items}</ol>{more}</section>'


def _members_section(record: Record) -> str:
    members = _dicts(record.get("members"))
    if not members:
        return ""
    labels = _labels(record, _rows(record)[1])
    rows = []
    for member in members:
        release = member.get("release")
        label = _name(release) if isinstance(release, dict) else str(release or "")
        state = str(member.get("state") or "unknown")
        sign, kind = {"active": ("●", "good"), "draining": ("◐", "warn"), "drained": ("○", "warn"), "down": ("✕", "bad")}.get(state, ("?", "warn"))
        swatch = f'<i class="sw {_shade_of(record, label, labels)}"></i>' if label else ""
        rows.append((_text(member.get("name")), f"{swatch}{_text(label or '–')}", f'<span class="{kind}">{sign} {_text(state)}</span>'))
    return (
        f'<section class="card"><div class="sechead"><h2>Members</h2><p>{_plural(len(members), "member")} as the deploy left them.</p></div>'
        f'<div class="long">{_table(("Member", "Release", "State"), rows, "members")}</div></section>'
    )


def _steps_section(record: Record) -> str:
    steps = _dicts(record.get("steps"))
    if not steps:
        return ""
    start = _number(record.get("started")) or 0.0
    rows = []
    for step in steps:
        began, ended = _number(step.get("started")), _number(step.get("finished"))
        members = step.get("members")
        result = str(step.get("result") or "")
        sign = "✓" if result == "succeeded" else "✕"
        words = f'<span class="{"good" if result == "succeeded" else "bad"}">{sign} {_text(result)}</span>'
        rows.append((
            _text(STEP_WORDS.get(str(step.get("name")), step.get("name"))),
            _text("–" if step.get("batch") is None else step.get("batch")),
            _text(", ".join(map(str, members)) if isinstance(members, list) and members else "–"),
            f'<span title="{_clock(began)} UTC">+{_text(_duration(began - start) if began is not None and began >= start else "0 ms")}</span>',
            _text(_duration(ended - began if ended is not None and began is not None else None)),
            words + (f" {_text(step['reason'])}" if step.get("reason") else ""),
        ))
    table = _table(("Step", "Batch", "Members", "At", "Took", "Result"), rows, "stepstable")
    return f'<details class="card"><summary>All {len(steps)} steps as a table</summary>{table}</details>'


def _shadow_section(record: Record) -> str:
    shadow = _mapping(record.get("shadow"))
    if not shadow:
        return ""
    rows = []
    fields = _dicts(shadow.get("fields"))
    for field in fields[:MAX_FIELDS]:
        sign, kind = ("✕ reported", "bad") if field.get("reported") else ("✓ noise", "good")
        rows.append((f"<code>{_text(field.get('field'))}</code>", _count(field.get("raw")), _count(field.get("noise")),
                     _text(field.get("how") or "–"), f"<code>{_text(field.get('path') or '–')}</code>", f'<span class="{kind}">{sign}</span>'))
    table = _table(("Field", "New and old", "Old and old", "How", "First at", "Verdict"), rows, "shadow") if rows else ""
    more = f"<p class=what>{_plural(len(fields) - MAX_FIELDS, 'more field')} in the JSON record.</p>" if len(fields) > MAX_FIELDS else ""
    what = (f"{_count(shadow.get('compared'))} of {_plural(shadow.get('requests'), 'request')} compared by {_text(shadow.get('method'))}: "
            f"{_text(shadow.get('sentence'))}.")
    return f'<section class="card"><div class="sechead"><h2>Shadow</h2><p>{what}</p></div><div class="long">{table}</div>{more}</section>'


def _notes_section(record: Record) -> str:
    said = _mapping(record.get("evidence")).get("notes")
    items = "".join(f"<li>{_text(note)}</li>" for note in said if note) if isinstance(said, list) else ""
    for note in _dicts(record.get("notes")):
        detail = _mapping(note.get("detail"))
        text = detail.get("text") or detail.get("msg") or ", ".join(f"{key} {value}" for key, value in detail.items())
        if text:
            step = STEP_WORDS.get(str(note.get("step")), note.get("step"))
            items += f'<li><span class="what">{_clock(_number(note.get("time")))} {_text(step)}</span> {_text(text)}</li>'
    return f'<section class="card"><h2>Notes</h2><ul class="notes">{items}</ul></section>' if items else ""


# ------------------------------------------------------------------------------------------------------------------ page


def _head(record: Record) -> str:
    evidence = _mapping(record.get("evidence"))
    sign, word, kind = RESULTS.get(str(record.get("result")), ("?", str(record.get("result")), "warn"))
    app = " · ".join(_text(record.get(key)) for key in ("app", "environment") if record.get(key))
    previous, release = _name(record.get("previous")), _name(record.get("release"))
    move = f"<b>{_text(previous)}</b> → <b>{_text(release)}</b>" if previous else f"<b>{_text(release)}</b>"
    if record.get("result") == "rolled_back" and previous:
        move += f" → <b>{_text(previous)}</b>"
    if record.get("verb"):
        move = f"{_text(str(record['verb']).capitalize())} {move}"
    start, finish = _number(record.get("started")), _number(record.get("finished"))
    took = _duration(finish - start) if start is not None and finish is not None and finish >= start else "–"
    how = " over ".join(_text(str(record[key]).replace("_", "/")) for key in ("strategy", "driver") if record.get(key))
    facts = [move, how, f"{_clock(start, '%Y-%m-%d %H:%M:%S')} UTC", took]
    said, measured = (str(source.get("sentence") or "") for source in (record, evidence))
    # The deploy's sentence may well quote the evidence's: once is enough.
    late = str(_mapping(record.get("late")).get("sentence") or "")
    told = (said, "" if measured.lower().rstrip(".") in said.lower() else measured, late[:1].upper() + late[1:] + "." * bool(late))
    sentences = "".join(f"<p class=lead>{_text(text)}</p>" for text in told if text)
    verdict = evidence.get("verdict")
    gone, failed = lost(record), _number(_mapping(evidence.get("probe")).get("failed"))
    mood = "bad" if gone or failed or verdict in ("lost", "degraded") else "good"
    return (
        f'<header><p class="app">{app} <span class="badge {kind}">{sign} {_text(word)}</span></p>'
        f'<h1 class="{mood}">{_text(headline(record))}</h1>{sentences}<ul class="meta">{"".join(f"<li>{fact}</li>" for fact in facts if fact)}</ul></header>'
    )


def _digests(record: Record) -> str:
    pairs = [("Deploy", str(record.get("deploy_id") or ""))]
    for key, word in (("release", "Release"), ("previous", "Previous")):
        release = _mapping(record.get(key))
        if release.get("digest"):
            pairs.append((f"{word} {release.get('label') or ''}".strip(), str(release["digest"])))
    return "<footer>" + "".join(f"<p>{_text(name)} <code>{_text(value)}</code></p>" for name, value in pairs) + "</footer>"


def render(record: Record) -> str:
    """The whole page. Pure: the same record always gives the same page, and any part of a record may be missing."""
    picture, data = _timeline(record)
    # In JSON these three may be written as escapes, and then no text can end the script element.
    numbers = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    numbers = numbers.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    # Only this very script may run: what slipped past the escaping could still not.
    fingerprint = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{fingerprint}'; img-src data:; base-uri 'none'; form-action 'none'"
    title = " ".join(str(part) for part in (record.get("app"), _name(record.get("release")), f"({headline(record)})") if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_text(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f'<link rel="icon" href="data:,">\n<title>{_text(title)}</title>\n<style>{STYLE}{_report_canary.STYLE}</style>\n</head>\n<body>\n<main>\n'
        f'{_head(record)}\n<div class="tiles">{_balance_tile(record)}{_probe_tile(record)}{_kernel_tile(record)}</div>\n{picture}\n'
        f'{_report_canary.section(record)}\n'
        f'{_losses_section(record)}\n{_members_section(record)}\n{_shadow_section(record)}\n'
        f'{_notes_section(record)}\n{_steps_section(record)}\n{_digests(record)}\n</main>\n'
        f'<script type="application/json" id="data">{numbers}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f7;--card:#fff;--ink:#171c22;--soft:#5a6472;--line:#e2e5e9;--shade:#0f172a0a;
--good:#00705a;--bad:#b8320f;--warn:#8a5a00;--goodbg:#e2f3ee;--badbg:#fbe6df;--warnbg:#fbf0d9;--accent:#0067a8;
--v0:#a9b4c2;--v1:#0072b2;--v2:#e69f00;--v3:#cc79a7;--v4:#009e73;--v5:#56b4e9;
--drain:#f0b429;--activate:#8a63b8;--gate:#4fa8dc;--return:#1d9a78;--other:#8f9aa8;--p50:#0072b2;--p99:#d17c00;--on1:#fff;--onact:#fff}
@media (prefers-color-scheme:dark){:root{--bg:#0f1317;--card:#181d23;--ink:#e9edf2;--soft:#9aa5b3;--line:#2b323b;--shade:#ffffff0d;
--good:#4fd0ab;--bad:#ff8a66;--warn:#f0bf57;--goodbg:#12332b;--badbg:#432017;--warnbg:#3a2d10;--accent:#64b9f2;
--v0:#66717f;--v1:#2f9be0;--v2:#e6a726;--v3:#d58db5;--v4:#22b58b;--v5:#84cdf5;
--drain:#d9a01e;--activate:#a684d1;--gate:#4a9ccf;--return:#22a480;--other:#6d7886;--p50:#4fb0ee;--p99:#f0a63c;--on1:#0b1117;--onact:#0b1117}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
main{max-width:1160px;margin:0 auto;padding:28px 20px 40px}
h1,h2,h3,p,ul,ol,dl,dd{margin:0;padding:0}
ul,ol{list-style:none}
a{color:var(--accent)}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.app{font-weight:600;display:flex;gap:10px;align-items:center;flex-wrap:wrap}
.badge{font-size:13px;border-radius:99px;padding:2px 11px;font-weight:600}
.badge.good{background:var(--goodbg)}.badge.bad{background:var(--badbg)}.badge.warn{background:var(--warnbg)}
h1{font-size:clamp(27px,5.2vw,46px);line-height:1.12;letter-spacing:-.02em;margin:10px 0 8px;font-weight:700;text-wrap:balance}
h1.good,h1.none{color:var(--ink)}
.lead{font-size:17px;max-width:82ch}
.lead+.lead{color:var(--soft);font-size:15px}
.meta{display:flex;flex-wrap:wrap;gap:2px 18px;color:var(--soft);margin-top:10px}
.meta b{color:var(--ink);font-weight:600}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin-top:16px}
.tiles{display:grid;grid-template-columns:repeat(3,1fr);gap:16px;margin-top:22px}
.tiles .card{margin:0}
h2{font-size:16px;line-height:1.3}
.sechead{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;margin-bottom:12px}
.sechead p,.what,.note{color:var(--soft);font-size:13px}
.tile h2{display:flex;gap:8px;align-items:center}
.sign{font-style:normal;width:21px;height:21px;border-radius:50%;display:inline-grid;place-items:center;font-size:12px;font-weight:700;flex:none}
.tile.t-good .sign{background:var(--goodbg);color:var(--good)}.tile.t-bad .sign{background:var(--badbg);color:var(--bad)}
.tile.t-warn .sign{background:var(--warnbg);color:var(--warn)}.tile.t-none .sign{background:var(--line);color:var(--soft)}
.tile.t-bad{border-color:var(--bad)}
.big{margin:10px 0 12px;color:var(--soft)}
.big strong{font-size:34px;line-height:1;color:var(--ink);letter-spacing:-.02em}
.tile.t-bad .big strong{color:var(--bad)}
.note{margin-top:10px}
dl div{display:flex;justify-content:space-between;gap:12px;padding:3px 0;border-top:1px solid var(--line);font-size:13.5px}
dt{color:var(--soft);min-width:0}dd{text-align:right;font-weight:500;white-space:nowrap}
#timeline{position:relative;outline-offset:6px;--x:-1;touch-action:pan-y;border-radius:4px}
.lane{display:grid;grid-template-columns:148px minmax(0,1fr);gap:16px;margin-bottom:14px}
.lab,.legend,.legend li{min-width:0}
.lab h3{font-size:13.5px;line-height:1.35}
.lab p{font-size:12.5px;color:var(--soft);line-height:1.4}
.plot{position:relative;height:104px;min-width:0;border-bottom:1px solid var(--line)}
.plot svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible;display:block}
.plot::after{content:"";position:absolute;top:-4px;bottom:-10px;width:1px;background:var(--ink);opacity:.55;left:calc(var(--x)*100%);
pointer-events:none;display:none}
#timeline.reading .plot::after{display:block}
.shade{position:absolute;top:0;bottom:0;background:var(--shade)}
.shade.goingback{background-image:repeating-linear-gradient(135deg,var(--shade) 0 4px,transparent 4px 10px)}
svg *{vector-effect:non-scaling-stroke}
.grid{stroke:var(--line);stroke-width:1;stroke-dasharray:2 4}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.area{fill:var(--v1);opacity:.15}
.line.rate{stroke:var(--v1)}
.line.p50{stroke:var(--p50);stroke-width:2.2}.line.p99{stroke:var(--p99);stroke-dasharray:5 3}
.failband{fill:var(--bad);opacity:.3;stroke:var(--bad);stroke-width:1.5}
.fail{position:absolute;top:3px;transform:translateX(-50%);background:var(--bad);color:var(--card);font-size:12px;font-weight:600;border-radius:99px;
padding:0 8px;line-height:19px;white-space:nowrap;z-index:2}
.fail.atend{transform:translateX(-100%)}
.ymax{position:absolute;left:0;top:-1px;font-size:11.5px;line-height:15px;color:var(--soft);
text-shadow:0 0 3px var(--card),0 0 3px var(--card),0 0 5px var(--card)}
.empty{position:absolute;inset:0;display:grid;place-items:center;color:var(--soft);font-size:13px}
.v0{fill:var(--v0)}.v1{fill:var(--v1)}.v2{fill:var(--v2)}.v3{fill:var(--v3)}.v4{fill:var(--v4)}.v5{fill:var(--v5)}
svg polygon[class^=v]{stroke:var(--card);stroke-width:.75}
.vname{position:absolute;transform:translate(-50%,-50%);font-size:12.5px;font-weight:600;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;
padding:0 4px;pointer-events:none;color:#0b1117}
.on-v1{color:var(--on1)}
.legend{display:flex;flex-wrap:wrap;gap:1px 12px;font-size:12.5px;color:var(--soft);margin-top:3px}
.sw{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px;background-color:var(--other)}
i.v0{background-color:var(--v0)}i.v1{background-color:var(--v1)}i.v2{background-color:var(--v2)}i.v3{background-color:var(--v3)}
i.v4{background-color:var(--v4)}i.v5{background-color:var(--v5)}
i.p50{height:0;border-top:3px solid var(--p50);background:none;vertical-align:4px;border-radius:0}
i.p99{height:0;border-top:3px dashed var(--p99);background:none;vertical-align:4px;border-radius:0}
.heads{margin-bottom:2px}.heads .plot{height:18px;border:0}
.heads span{position:absolute;transform:translateX(-50%);font-size:12px;color:var(--soft);white-space:nowrap;overflow:hidden;line-height:18px}
.heads em{font-style:normal}.heads .narrow em{display:none}
.steps{margin-bottom:7px}.steps .plot{height:auto;border:0;min-height:26px}
.steps .lab{display:flex;flex-wrap:wrap;gap:0 8px;align-items:baseline;align-content:center}
.track{position:relative;height:24px;margin-bottom:2px;background:var(--shade);border-radius:5px}
.band{position:absolute;top:0;bottom:0;min-width:3px;border-radius:4px;background-color:var(--other);color:#0b1117;overflow:hidden;
container-type:inline-size;
box-shadow:inset 0 0 0 1px #0000001f}
.band span{position:absolute;inset:0;padding:0 6px;font-size:12px;line-height:24px;font-weight:500;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}
@container (max-width:50px){.band span{visibility:hidden}}
@container (max-width:68px){.band.wide span{visibility:hidden}}
.s-drain{background-color:var(--drain)}.s-activate{background-color:var(--activate)}.s-gate{background-color:var(--gate)}
.s-return{background-color:var(--return)}.s-other{background-color:var(--other)}
.band.s-activate,.band.s-return{color:var(--onact)}
.back{background-image:repeating-linear-gradient(135deg,#00000038 0 3px,transparent 3px 8px)}
.s-failed{box-shadow:inset 0 0 0 2.5px var(--bad)}
.band.s-failed b{color:var(--card);background:var(--bad);border-radius:3px;padding:0 3px}
i.s-failed{background:none}
.legendrow{margin:2px 0 10px}.legendrow .legend{margin:0}
.axis{margin:0}.axis .plot{height:22px;border:0;border-top:1px solid var(--line)}
.axis span{position:absolute;top:3px;transform:translateX(-50%);font-size:12px;color:var(--soft);white-space:nowrap}
.axis span:first-child{transform:none}
.axis span::before{content:"";position:absolute;left:50%;top:-4px;height:4px;border-left:1px solid var(--soft)}
.axis span:first-child::before{left:0}
.pins .plot{height:26px}
.pin{position:absolute;top:2px;transform:translateX(-50%);background:var(--bad);color:var(--card);border-radius:6px;min-width:22px;padding:0 6px;
text-align:center;
font-size:12px;font-weight:700;line-height:21px;text-decoration:none}
.pin.still{position:static;align-self:flex-start;margin-top:1px;transform:none;flex:none}
.losses li{display:flex;gap:12px;padding:9px 0;border-top:1px solid var(--line)}
.losses li:first-child{border:0}
.losses li:target{background:var(--badbg);border-radius:8px;box-shadow:0 0 0 6px var(--badbg)}
#losses h2{margin-bottom:4px}
#tip{position:absolute;top:0;z-index:5;background:var(--card);border:1px solid var(--line);border-radius:8px;box-shadow:0 6px 22px #0000002e;
padding:8px 11px;font-size:12.5px;
pointer-events:none;min-width:150px;max-width:230px;line-height:1.45}
#tip b{display:block}
.js{display:none}.scripted .js{display:inline}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;font-size:12.5px;color:var(--soft);font-weight:500}
th,td{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child td{border:0}
.long{max-height:440px;overflow-y:auto}
.notes li{padding:3px 0}
summary{cursor:pointer;font-weight:600}
details table{margin-top:10px}
footer{margin:20px 4px 0;color:var(--soft);font-size:12.5px}
code{font:12px ui-monospace,"DejaVu Sans Mono",monospace}
@media (max-width:860px){.tiles{grid-template-columns:1fr}.tile .what{display:none}}
@media (max-width:640px){main{padding:18px 12px 30px}.card{padding:14px;border-radius:10px}
.lane{grid-template-columns:minmax(0,1fr);gap:3px}.lab{display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline}.lab .legend{margin:0}
.plot{height:88px}.heads em,.axis .odd{display:none}.legendrow .lab,.axis .lab,.heads .lab{display:none}
.stepstable thead{display:none}.stepstable tr{display:grid;grid-template-columns:1fr 1fr;gap:1px 12px;padding:8px 0;
border-bottom:1px solid var(--line)}
.stepstable td{border:0;padding:0}.stepstable td::before{content:attr(data-h) " ";color:var(--soft);font-size:12px}}
@media print{:root{color-scheme:light}body{background:#fff;font-size:12px}main{max-width:none;padding:0}.card{break-inside:avoid;margin-top:10px}
.js,#tip{display:none!important}.long{max-height:none;overflow:visible}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.tiles{grid-template-columns:repeat(3,1fr);gap:10px}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
"""

# The tip is filled by textContent only: the script never makes HTML out of a record's text.
SCRIPT = """
(function(){
'use strict';
var data=JSON.parse(document.getElementById('data').textContent),line=document.getElementById('timeline'),tip=document.getElementById('tip');
if(!line||!data.span)return;
document.body.classList.add('scripted');
var plot=line.querySelector('.lane:not(.heads):not(.legendrow) .plot'),at=null;
function ms(v){return v===null?'–':v>=10000?(v/1000).toFixed(1)+' s':v>=100||v%1===0?Math.round(v)+' ms':v.toFixed(1)+' ms'}
function add(text,kind){var p=document.createElement(kind||'div');p.textContent=text;tip.appendChild(p);return p}
function row(s){var found=null;for(var i=0;i<data.rows.length;i++){var r=data.rows[i];if(r[0]<=s&&s<r[0]+data.bucket){found=r}}return found}
function show(s){
at=Math.max(0,Math.min(data.span,s));
var share=at/data.span,r=row(at);
tip.textContent='';
add(new Date((data.start+at)*1000).toISOString().slice(11,19)+' UTC, +'+at.toFixed(1)+' s','b');
if(r){
add((r[1]/data.bucket).toFixed(r[1]/data.bucket<10?1:0)+' requests/s');
if(r[2])add('✕ '+r[2]+' failed').className='bad';
if(r[3]!==null||r[4]!==null)add('p50 '+ms(r[3])+', p99 '+ms(r[4]));
var total=0,k;for(k in r[5])total+=r[5][k];
for(k in r[5])add(k+': '+Math.round(100*r[5][k]/total)+' %');
}
var steps=data.steps.filter(function(b){return b[2]<=at&&at<=b[3]}).map(function(b){return b[1]===null?b[0]:b[0]+' (batch '+b[1]+')'});
if(steps.length)add(steps.slice(0,5).join(', '));
line.style.setProperty('--x',share);
line.classList.add('reading');
tip.hidden=false;
var box=line.getBoundingClientRect(),area=plot.getBoundingClientRect(),x=area.left-box.left+share*area.width;
var left=share>.5?x-tip.offsetWidth-12:x+12;
tip.style.left=Math.max(0,Math.min(box.width-tip.offsetWidth,left))+'px';
tip.style.top=(area.top-box.top+4)+'px';
}
function hide(){line.classList.remove('reading');tip.hidden=true}
function point(e){var a=plot.getBoundingClientRect(),s=(e.clientX-a.left)/a.width;if(s<-.01||s>1.01){hide()}else{show(s*data.span)}}
line.addEventListener('pointermove',point);
line.addEventListener('pointerdown',point);
line.addEventListener('pointerleave',hide);
line.addEventListener('blur',hide);
line.addEventListener('keydown',function(e){
var by=e.shiftKey?10:1,step=Math.max(data.bucket,data.span/200)*by;
if(e.key==='ArrowRight')show((at===null?-step:at)+step);
else if(e.key==='ArrowLeft')show((at===null?data.span+step:at)-step);
else if(e.key==='Home')show(0);else if(e.key==='End')show(data.span);
else if(e.key==='Escape'){hide();return}else return;
e.preventDefault();
});
})();
"""
