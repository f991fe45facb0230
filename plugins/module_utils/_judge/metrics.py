# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the judge looks at: how much each side has done since the look before, from the balancers, the probe and Prometheus. Private to the collection.

A source has C(begin), which notes where counting starts, and C(look), which returns for each side (C(canary), C(baseline)) what came since then or since
the look before: C(requests) and C(errors), where it counts them, the same by member as C(blocks), and C(metrics), C({name: [values]}), or
C({name: {value: how often}}) of many values.
"""

from __future__ import annotations

import string
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer, NoSeries
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe

SIDES = ("canary", "baseline")
LATENCY = "latency_ms"

Sample = t.Dict[str, t.Dict[str, t.Any]]


class Source(t.Protocol):
    """One place where numbers of both sides come from. C(problem): a sentence on why there are none for now."""

    problem: str | None

    def begin(self) -> None:
        """Note where counting starts. Raises DowntimeError when the source cannot tell."""

    def look(self) -> Sample:
        """What came since."""


class Balancers:
    """The balancers' own counts of every real request, pool by pool.

    :param read: asks every balancer; returns its counters by name.
    :param pools: the names of each side's pools.
    :param errors: whether requests and errors are taken from here.
    :param latency: whether times are.
    """

    def __init__(self, read: t.Callable[[], t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]], pools: t.Mapping[str, t.Sequence[str]],
                 errors: bool, latency: bool) -> None:
        self.read, self.pools, self.errors, self.latency = read, pools, errors, latency
        self.last: dict[tuple[t.Any, ...], t.Mapping[str, t.Any]] = {}
        self.problem: str | None = None

    def begin(self) -> None:
        self.last = self._rows()
        for side in SIDES:
            for pool in self.pools[side]:
                if not any(name == pool for dummy, dummy2, name in self.last):
                    raise DowntimeError(f"no balancer counts the requests of pool {pool}, so nobody can judge by them; "
                                        "deploy_canary.errors and deploy_canary.latency can be taken from the probe")

    def look(self) -> Sample:
        before, self.last = self.last, self._rows()
        return {side: self._grown(before, self.pools[side]) for side in SIDES}

    def _rows(self) -> dict[tuple[t.Any, ...], t.Mapping[str, t.Any]]:
        return {(balancer, row["worker"], pool): counts
                for balancer, rows in self.read().items() for row in rows for pool, counts in (row.get("pools") or {}).items()}

    def _grown(self, before: t.Mapping[tuple[t.Any, ...], t.Mapping[str, t.Any]], pools: t.Sequence[str]) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {"requests": 0, "errors": 0, "metrics": {LATENCY: []} if self.latency else {}}
        members: dict[str | None, dict[str, int]] = {}
        for key, now in self.last.items():
            if key[2] not in pools:
                continue
            then = before.get(key) or {}
            requests = now["requests"] - then.get("requests", 0)
            if requests <= 0:
                continue
            if self.errors:
                errors = max(0, now["errors"] - then.get("errors", 0))
                found["requests"] += requests
                found["errors"] += errors
                _by_member(members, requests, errors, now.get("members") or {}, then.get("members") or {})
            if self.latency:
                # A counter of all times gives the mean since the look before; without one there is the balancer's own moving mean.
                mean = (now["time_ms"] - then.get("time_ms", 0)) / requests if now.get("time_ms") is not None else now.get("average_ms")
                found["metrics"][LATENCY] += [] if mean is None else [float(mean)]
        if self.errors:
            found["blocks"] = [{"member": name, **counts} for name, counts in members.items() if counts["requests"]]
        return found


def _by_member(into: dict[str | None, dict[str, int]], requests: int, errors: int, now: t.Mapping[str, t.Mapping[str, int]],
               then: t.Mapping[str, t.Mapping[str, int]]) -> None:
    """Add what each member answered; what no member did (the balancer's own answers), and all of it where members are not told apart, is nobody's."""
    left = {"requests": requests, "errors": errors}
    for name, counts in now.items():
        for field in left:
            grown = max(0, counts.get(field, 0) - then.get(name, {}).get(field, 0))
            grown = min(grown, left[field])
            into.setdefault(name, {"requests": 0, "errors": 0})[field] += grown
            left[field] -= grown
    if left["requests"] or left["errors"]:
        nobody = into.setdefault(None, {"requests": 0, "errors": 0})
        # Every error is a request, also where two counters were read at different moments.
        nobody["errors"] += left["errors"]
        nobody["requests"] += max(left.values())


class Asked:
    """The probe's own requests, by the release that answered.

    :param progress: what the running probe last wrote, None when there is none.
    :param releases: digest of each side's release.
    :param errors: whether requests and errors are taken from here.
    :param latency: whether times are.
    """

    def __init__(self, progress: t.Callable[[], t.Mapping[str, t.Any] | None], releases: t.Mapping[str, str | None], errors: bool, latency: bool) -> None:
        self.progress, self.releases, self.errors, self.latency = progress, releases, errors, latency
        self.last: t.Mapping[str, t.Any] = {}
        self.problem: str | None = None

    def begin(self) -> None:
        for side in SIDES:
            if not self.releases.get(side):
                raise DowntimeError(f"the {side}'s release is not known, so the probe's answers cannot be told apart; "
                                    "deploy_health.header, and a side that serves, are needed")
        if self.progress() is None:
            raise DowntimeError("no probe runs, so nothing can be judged by it; deploy_evidence_url is needed")
        self.last = self._now()

    def look(self) -> Sample:
        before, self.last = self.last, self._now()
        return {side: self._grown(before.get(self.releases[side]) or {}, self.last.get(self.releases[side]) or {}) for side in SIDES}

    def _now(self) -> t.Mapping[t.Any, t.Any]:
        return (self.progress() or {}).get("by_release") or {}

    def _grown(self, then: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {"requests": 0, "errors": 0, "metrics": {}}
        if self.errors:
            found["requests"] = now.get("requests", 0) - then.get("requests", 0)
            found["errors"] = now.get("errors", 0) - then.get("errors", 0)
        if self.latency:
            old = then.get("hist") or {}
            grown = {slot: count - old.get(slot, 0) for slot, count in (now.get("hist") or {}).items()}
            values: dict[float, int] = {}
            for slot, count in grown.items():
                if count > 0:
                    values[_probe.slot_ms(slot)] = values.get(_probe.slot_ms(slot), 0) + count
            found["metrics"][LATENCY] = values
        return found


class Queries:
    """Series of a Prometheus server, each asked once for each side.

    Each moment is asked for once: a value that is counted twice would make the judge surer than it may be. A server that is away for a while still has the
    values when it is back, so they are asked for then.

    :param series: (query, start, end) -> values.
    :param metrics: C(query) by name of the metric; C($side), C($pool) and C($release) in it are replaced.
    :param words: what these are for each side.
    :param clock: seconds since the epoch.
    :param step: seconds between two values.
    :param rare: names of metrics that are there only when something goes wrong.
    """

    def __init__(self, series: t.Callable[[str, float, float], t.Sequence[float]], metrics: t.Mapping[str, str],
                 words: t.Mapping[str, t.Mapping[str, str]], clock: t.Callable[[], float], step: float, rare: t.Collection[str] = ()) -> None:
        self.series, self.metrics, self.words, self.clock, self.step, self.rare = series, metrics, words, clock, step, rare
        self.since = 0.0
        self.problem: str | None = None

    def begin(self) -> None:
        self.since = self.clock()
        # What has just begun may have no values yet; what has run all the time has some, or the query is wrong.
        values = {side: self._values(side, self.since, self.since) for side in SIDES}
        for name, query in self.metrics.items():
            if not values["baseline"][name] and name not in self.rare:
                raise DowntimeError(f"deploy_canary.metrics.{name}.query is {query!r}, and Prometheus has no value of it for the side that serves "
                                    f"({self._of(query, 'baseline')}); a query that answers one series is needed")

    def look(self) -> Sample:
        steps = int((self.clock() - self.since) / self.step + 1e-6)
        start, end = self.since + self.step, self.since + steps * self.step
        try:
            found = {side: {"metrics": self._values(side, start, end)} for side in SIDES} if steps else {side: {"metrics": {}} for side in SIDES}
        except NoAnswer as error:
            self.problem = f"Prometheus is away: {error}."
            return {side: {"metrics": {}} for side in SIDES}
        self.since, self.problem = max(self.since, end), None
        return found

    def _values(self, side: str, start: float, end: float) -> dict[str, list[float]]:
        found = {}
        for name, query in self.metrics.items():
            try:
                found[name] = [float(one) for one in self.series(self._of(query, side), start, end)]
            except NoSeries:
                found[name] = []
        return found

    def _of(self, query: str, side: str) -> str:
        return string.Template(query).safe_substitute(self.words[side])


def together(looks: t.Sequence[Sample]) -> Sample:
    """One look out of those of several sources."""
    found: Sample = {side: {"requests": 0, "errors": 0, "metrics": {}} for side in SIDES}
    for look in looks:
        for side in SIDES:
            found[side]["requests"] += look[side].get("requests", 0)
            found[side]["errors"] += look[side].get("errors", 0)
            found[side]["metrics"].update(look[side].get("metrics") or {})
            if "blocks" in look[side]:
                found[side]["blocks"] = look[side]["blocks"]
    return found
