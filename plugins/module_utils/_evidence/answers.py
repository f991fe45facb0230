# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a whole answer is the right one: what an address answered before anything moved is what is expected of it.

Private to the collection: it may change without notice.

The probe learns until the deploy's first move, and compares from then on. Four kinds of answer are wrong:

- ``wrong_release``: the header names a release that is neither one of those that answered before nor one that the
  deploy knows; there is no header, where each answer had one and the new release has to send it; or header and body
  name two different releases, where they went together before.
- ``redirect_loop``: a redirect to the very address that was asked.
- ``wrong_status``: a status that the address has not answered with before.
- ``empty``: nothing, where each answer with this status had a body.

What was seen before, however rarely, is not wrong. An address that was asked fewer than ``FEW`` times before is not
judged, nor one on which new statuses still came up (more than ``RARE`` of its answers had a status that was seen
once: by the estimate of Good and Turing, as often one comes that was never seen). What would be wrong there is
counted apart and told.

An answer of an unknown release is never a matter of chance, so a single one counts (``CERTAIN``). The others are
judged as errors of the application are, by their rate before and during.

The probe is a process that knows no collections and finds this file beside its own: it needs the standard library
only.
"""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urljoin, urlsplit

WRONG_RELEASE, REDIRECT_LOOP, WRONG_STATUS, EMPTY = "wrong_release", "redirect_loop", "wrong_status", "empty"
KINDS = (WRONG_RELEASE, REDIRECT_LOOP, WRONG_STATUS, EMPTY)
CERTAIN = (WRONG_RELEASE,)
# The file with what the deploy knows of releases, in its working directory.
FILE = "answers.json"

FEW = 30
RARE = 0.01
# An address that names more releases than this names something else.
_MOST = 20
# Redirects that are followed with the same method, and those after which any other becomes a GET.
_SAME, _GET = (307, 308), (301, 302, 303)
_PORTS = {"http": 80, "https": 443}


class Told(t.NamedTuple):
    """What an answer says."""

    status: int
    release: str | None  # by the header
    label: str | None  # the version by the body
    empty: bool
    loop: bool


class Wrong(t.NamedTuple):
    """What is wrong with an answer; C(detail) is the end of a sentence."""

    kind: str
    detail: str


class Known(t.NamedTuple):
    """What the deploy knows of releases: the label of each digest, and whether the new one has to send its header."""

    labels: t.Mapping[str, str | None] = {}
    signed: bool = False


def known(plan: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Of a plan that has its batches, as the module C(evidence) takes it: the releases that may answer, and whether the
    new one has to send the header. Going back to what has never sent it is accepted by readiness alone."""
    found = [plan.get("release"), plan.get("previous"), *(plan.get("going_back_to") or {}).values()]
    releases = {
        entry["digest"]: entry.get("label") for entry in found if isinstance(entry, dict) and entry.get("digest")
    }
    lacking = (plan.get("headers") or {}).get("lacking") or []
    signed = (
        bool((plan.get("health") or {}).get("header")) and plan.get("verb") in ("deploy", "restart") and not lacking
    )
    return {"releases": [{"digest": digest, "label": label} for digest, label in releases.items()], "signed": signed}


def read(path: str | None) -> Known:
    """What the deploy has written about releases; nothing while it has written nothing."""
    try:
        with open(path or "", encoding="utf-8") as stream:
            found = json.load(stream)
    except FileNotFoundError:
        return Known()
    return Known({entry["digest"]: entry.get("label") for entry in found["releases"]}, bool(found["signed"]))


def first_move(events: str | None, moves: t.Collection[str], prefix: str) -> float | None:
    """When the first of C(moves), or of the steps with this C(prefix), began, by the file of a deploy's events."""
    try:
        with open(events or "", encoding="utf-8") as stream:
            lines = stream.readlines()
    except FileNotFoundError:
        return None
    for line in lines:
        event = json.loads(line) if line.endswith("\n") else {}
        if event.get("event") == "started" and (event["step"] in moves or event["step"].startswith(prefix)):
            return float(event["time"])
    return None


def _plain(url: str) -> tuple[t.Any, ...]:
    """An address in a form that can be compared."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        (parts.hostname or "").lower(),
        parts.port or _PORTS.get(parts.scheme),
        parts.path or "/",
        parts.query,
    )


def is_loop(method: str, asked: str, status: int, location: str | None) -> bool:
    """Whether an answer has the same asked again. It may set a cookie and mean it; then it did so before."""
    if not location or not (status in _SAME or (status in _GET and method != "POST")):
        return False
    try:
        return _plain(urljoin(asked, location)) == _plain(asked)
    except ValueError:
        return False


def _shown(text: str) -> str:
    """What an answer called itself, for a sentence: anybody may have written it."""
    return "".join(char if char.isprintable() else "?" for char in text[:12])


class Place:
    """What one address was answered before, by one method."""

    def __init__(self) -> None:
        self.answers = 0
        self.statuses: dict[int, int] = {}
        self.empties: dict[int, int] = {}
        self.loops = 0
        self.unsigned = 0
        self.releases: dict[str, set[str]] = {}  # the labels that went with each

    def learn(self, told: Told) -> None:
        self.answers += 1
        self.statuses[told.status] = self.statuses.get(told.status, 0) + 1
        if told.empty:
            self.empties[told.status] = self.empties.get(told.status, 0) + 1
        self.loops += told.loop
        self.unsigned += told.release is None
        if told.release is not None and (told.release in self.releases or len(self.releases) <= _MOST):
            labels = self.releases.setdefault(told.release, set())
            if told.label is not None and len(labels) <= _MOST:
                labels.add(told.label)

    def is_new(self, told: Told) -> bool:
        """Whether something of an answer has not been seen yet."""
        return bool(
            told.status not in self.statuses
            or (told.empty and told.status not in self.empties)
            or (told.loop and not self.loops)
            or (told.release is None and not self.unsigned)
            or (told.release is not None and not self._went_together(told) and len(self.releases) <= _MOST)
        )

    def _went_together(self, told: Told) -> bool:
        labels = self.releases.get(told.release or "")
        return labels is not None and (told.label is None or told.label in labels or len(labels) > _MOST)

    @property
    def settled(self) -> bool:
        """Whether it was answered so often before that a status which never came is more than the next of many."""
        once = sum(1 for count in self.statuses.values() if count == 1)
        return self.answers >= FEW and once <= RARE * self.answers

    def judges(self, kind: str) -> bool:
        return self.settled or (kind in CERTAIN and self.answers >= FEW)

    def wrong(self, told: Told, releases: Known) -> Wrong | None:
        """What is wrong with an answer, the worst first."""
        return (
            self._wrong_release(told, releases)
            or self._wrong_pair(told, releases)
            or self._loop(told)
            or self._status(told)
            or self._empty(told)
        )

    def _wrong_release(self, told: Told, releases: Known) -> Wrong | None:
        # A header that never had a digest of this application carries something else.
        if len(self.releases) > _MOST or not any(digest in releases.labels for digest in self.releases):
            return None
        if told.release is None:
            if releases.signed and not self.unsigned:
                return Wrong(WRONG_RELEASE, "it names no release, and all %d answers before did" % self.answers)
            return None
        if told.release in self.releases or told.release in releases.labels:
            return None
        return Wrong(
            WRONG_RELEASE, "it is of release %s, which neither served before nor is the new one" % _shown(told.release)
        )

    def _wrong_pair(self, told: Told, releases: Known) -> Wrong | None:
        """Header and body of one answer that belong to two releases."""
        if told.release is None or told.label is None or any(len(labels) != 1 for labels in self.releases.values()):
            return None
        went = {digest: next(iter(labels)) for digest, labels in self.releases.items()}
        expected = went.get(told.release)
        if expected is None and went and all(releases.labels.get(digest) == label for digest, label in went.items()):
            # The body carries the labels of releases: that of another one is not this one's.
            expected = releases.labels.get(told.release) if told.label in went.values() else None
        if expected is None or expected == told.label:
            return None
        return Wrong(
            WRONG_RELEASE,
            "its header is of release %s (%s) and its body of %s"
            % tuple(map(_shown, (told.release, expected, told.label))),
        )

    def _loop(self, told: Told) -> Wrong | None:
        return Wrong(REDIRECT_LOOP, "it redirects to itself") if told.loop and not self.loops else None

    def _status(self, told: Told) -> Wrong | None:
        if told.status in self.statuses:
            return None
        before = ", ".join(str(status) for status in sorted(self.statuses))
        return Wrong(WRONG_STATUS, "answered %d, and %s before" % (told.status, before))

    def _empty(self, told: Told) -> Wrong | None:
        if not told.empty or self.empties.get(told.status) or self.statuses.get(told.status, 0) < FEW:
            return None
        return Wrong(EMPTY, "answered %d without a body, and with one before" % told.status)


class Expected:
    """What is expected of each address, and what was not.

    :param moved: when the first move began, None while there was none.
    :param releases: what the deploy knows of releases; asked once, at the first move.
    """

    def __init__(self, moved: t.Callable[[], float | None], releases: t.Callable[[], Known]) -> None:
        self._moved, self._releases = moved, releases
        self.moved: float | None = None
        self.releases = Known()
        self.places: dict[str, Place] = {}
        self.unjudged: dict[str, dict[str, int]] = {}
        # Like those before, and it is not known yet whether they came before the first move.
        self._since: list[tuple[float, Place, Told]] = []

    def look(self) -> None:
        """Whether anything has moved by now."""
        if self.moved is not None:
            return
        self.moved = self._moved()
        if self.moved is not None:
            self.releases = self._releases()
        for when, place, told in self._since:
            if self.moved is None or when < self.moved:
                place.learn(told)
        self._since.clear()

    def judge(self, name: str, told: Told, when: float) -> Wrong | None:
        """What is wrong with an answer of the address C(name) at this time; until the first move it is learned from."""
        place = self.places.setdefault(name, Place())
        if self.moved is None:
            if not place.is_new(told):
                self._since.append((when, place, told))
                return None
            # What has never been seen may be the first that a move has brought about.
            self.look()
        if self.moved is None or when < self.moved:
            place.learn(told)
            return None
        # Without any answer before there is nothing to compare with.
        wrong = place.wrong(told, self.releases) if place.answers else None
        if wrong is None or place.judges(wrong.kind):
            return wrong
        apart = self.unjudged.setdefault(name, {})
        apart[wrong.kind] = apart.get(wrong.kind, 0) + 1
        return None

    def answers(self, name: str) -> int:
        """How often the address C(name) was answered before anything moved, by the last look."""
        return self.places[name].answers if name in self.places else 0

    def account(self) -> dict[str, t.Any] | None:
        """For the record; None while nothing has moved."""
        if self.moved is None:
            return None
        return {
            "labels": dict(self.releases.labels),
            "addresses": {
                name: {
                    "before": place.answers,
                    "judged": place.settled,
                    "statuses": {str(status): count for status, count in sorted(place.statuses.items())},
                    "unjudged": dict(self.unjudged.get(name, {})),
                }
                for name, place in self.places.items()
            },
        }


# -- for the verdict ---------------------------------------------------------------------------------------------------


def of_application(failures: t.Mapping[str, int]) -> dict[str, int]:
    """Of the probe's failures those that were answered."""
    return {kind: count for kind, count in failures.items() if kind.startswith("status_") or kind in KINDS}


def new_releases(probe: t.Mapping[str, t.Any], began: float | None) -> list[tuple[str, dict[str, t.Any]]]:
    """What each release did that did not answer before, by the header in which it names itself; with its name."""
    if began is None:
        return []
    labels = (probe.get("answers") or {}).get("labels") or {}
    return [
        ("release %s" % (labels.get(digest) or _shown(digest)), entry)
        for digest, entry in (probe.get("by_release") or {}).items()
        if probe["releases"][digest]["first"] >= began
    ]


def first_wrong(probe: t.Mapping[str, t.Any]) -> str:
    """What the first wrong answer was, as a part of a sentence; empty where there was none."""
    for loss in probe["losses"]:
        if loss["kind"] in KINDS:
            return "; the first wrong one: %s%s" % (loss["path"] + " " if loss.get("path") else "", loss["detail"])
    return ""


def certain(probe: t.Mapping[str, t.Any]) -> list[str]:
    """The sentences about answers of which a single one is too much; empty where there is none."""
    found = []
    for kind in CERTAIN:
        count = probe["failures"].get(kind)
        if count:
            told = "%d of %s probe requests got a wrong answer (%s)" % (count, format(probe["sent"], ","), kind)
            found.append(told + first_wrong(probe))
    return found


def notes(probe: t.Mapping[str, t.Any], serving: bool = True) -> list[str]:
    """Where the time before did not say what is right; C(serving): something did serve before."""
    addresses = (probe.get("answers") or {}).get("addresses") or {}
    left = {name: entry for name, entry in addresses.items() if serving and not entry["judged"]}
    seldom = {name: entry for name, entry in left.items() if entry["before"] < FEW}
    varied = {name: entry for name, entry in left.items() if name not in seldom}
    found = []
    if seldom:
        most = max(entry["before"] for entry in seldom.values())
        times = "it was answered %d times" % most if len(seldom) == 1 else "each was answered %d times at most" % most
        found.append(_not_judged(seldom, "%s before anything moved, and %d are needed" % (times, FEW)))
    if varied:
        found.append(_not_judged(varied, "there were statuses that came only once"))
    return found


def _not_judged(addresses: t.Mapping[str, dict[str, t.Any]], why: str) -> str:
    unlike: dict[str, int] = {}
    for entry in addresses.values():
        for kind, count in entry["unjudged"].items():
            unlike[kind] = unlike.get(kind, 0) + count
    told = ", ".join("%d %s" % (count, kind) for kind, count in sorted(unlike.items()))
    more = " and %d more" % (len(addresses) - 3) if len(addresses) > 3 else ""
    names = ", ".join(sorted(addresses)[:3]) + more
    verb = "was" if len(addresses) == 1 else "were"
    return "whether %s %s answered rightly is not judged: %s%s" % (
        names,
        verb,
        why,
        "; unlike before were " + told if told else "",
    )
