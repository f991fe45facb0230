# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the answers of two releases to the same requests differ, field by field, less what differs within one release. Pure. Private to the collection.

Three answers belong to each request: two of the old release (primary, secondary) and one of the new release (candidate). What differs between primary
and candidate is raw, what differs between primary and secondary is noise: time stamps, identifiers, caches. A field is reported when its raw
differences outnumber its noise by enough.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

# Percents: how far raw and noise have to be apart, of their sum and of all requests that were compared.
RELATIVE_LIMIT = 20.0
ABSOLUTE_LIMIT = 0.03

# Of the connection or of the moment, never of the release; Content-Length follows from the body, which is compared itself.
OF_THE_MOMENT = ("age", "connection", "content-length", "date", "keep-alive", "set-cookie", "transfer-encoding")

# An answer with a million keys must not fill the memory of a balancer: what comes later counts for one field.
MOST_FIELDS = 1000
MORE = "body.(more)"

NAMES = "names as the report has them are accepted: status, header.NAME, body, or body.FIELD such as body.items[].price, with * for any text"

Differences = t.Dict[str, str]


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer; C(failure) says in a word why there is none."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    failure: str = ""

    @property
    def told(self) -> str:
        return self.failure or str(self.status)


class Ignored:
    """The fields that differ by design. A name covers all that lies below it."""

    def __init__(self, names: t.Iterable[str] = (), headers: t.Iterable[str] = ()) -> None:
        wanted = [self._checked(str(name)) for name in names] + [f"header.{name.lower()}" for name in (*OF_THE_MOMENT, *headers) if name]
        parts = [".*".join(re.escape(part) for part in name.split("*")) for name in wanted]
        self._pattern = re.compile(rf"(?:{'|'.join(parts)})(?:[.\[].*)?", re.DOTALL)

    @staticmethod
    def _checked(name: str) -> str:
        kind, dummy, rest = name.partition(".")
        if name == "status" or re.fullmatch(r"body(?:[.\[].+)?", name, re.DOTALL):
            return name
        if kind == "header" and rest:
            return name.lower()
        raise DowntimeError(f"ignore has '{name}'; {NAMES}")

    def __contains__(self, field: object) -> bool:
        return isinstance(field, str) and self._pattern.fullmatch(field) is not None


def of_answers(one: Answer, other: Answer, ignored: Ignored) -> Differences:
    """The fields in which two answers differ, each with a word for how: changed, missing (in the other), added, type, length or order."""
    found: Differences = {}
    if one.told != other.told:
        found["status"] = f"{one.told} to {other.told}"
    if not one.failure and not other.failure:
        _headers(one.headers, other.headers, found)
        mine, theirs = _document(one), _document(other)
        if mine is _NO_DOCUMENT or theirs is _NO_DOCUMENT:
            if hashlib.sha256(one.body).digest() != hashlib.sha256(other.body).digest():
                found["body"] = "changed"
        else:
            _walk(mine, theirs, "body", found)
    return {field: how for field, how in found.items() if field not in ignored}


_NO_DOCUMENT = object()


def _document(answer: Answer) -> t.Any:
    """The body as JSON. Whoever forgets the content type still answers JSON, so the body itself decides."""
    if answer.body[:64].lstrip()[:1] not in (b"{", b"["):
        return _NO_DOCUMENT
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return _NO_DOCUMENT


def _headers(one: t.Sequence[tuple[str, str]], other: t.Sequence[tuple[str, str]], found: Differences) -> None:
    mine, theirs = _by_name(one), _by_name(other)
    for name in {**mine, **theirs}:
        if name not in theirs:
            found[f"header.{name}"] = "missing"
        elif name not in mine:
            found[f"header.{name}"] = "added"
        elif mine[name] != theirs[name]:
            found[f"header.{name}"] = "changed"


def _by_name(headers: t.Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _walk(one: t.Any, other: t.Any, path: str, found: Differences) -> None:
    """Compare two JSON values. The elements of a list share one name, C(path[]), or every length of list would make fields of its own."""
    if _kind(one) != _kind(other):
        found[path] = "type"
    elif isinstance(one, dict):
        for key in {**one, **other}:
            below = f"{path}.{key}"
            if key not in other:
                found[below] = "missing"
            elif key not in one:
                found[below] = "added"
            else:
                _walk(one[key], other[key], below, found)
    elif isinstance(one, list):
        if len(one) != len(other):
            found[path] = "length"
        elif one != other and sorted(map(_text, one)) == sorted(map(_text, other)):
            found[path] = "order"
        else:
            for mine, theirs in zip(one, other):
                _walk(mine, theirs, f"{path}[]", found)
    elif one != other:
        found[path] = "changed"


def _kind(value: t.Any) -> str:
    # To JSON 1 and 1.0 are one number, to Python True and 1 are.
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def _text(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True)


@dataclasses.dataclass
class Field:
    raw: int = 0
    noise: int = 0
    how: str = ""
    path: str = ""


class Tally:
    """Counts the differences of many requests."""

    def __init__(self, ignored: Ignored) -> None:
        self.ignored = ignored
        self.requests = self.compared = 0
        self.fields: dict[str, Field] = {}

    def add(self, path: str, primary: Answer, secondary: Answer, candidate: Answer) -> None:
        """One request and its three answers. Where the old release gave none, there is nothing to compare with."""
        self.requests += 1
        if primary.failure:
            return
        self.compared += 1
        for field in of_answers(primary, secondary, self.ignored):
            self._field(field).noise += 1
        for field, how in of_answers(primary, candidate, self.ignored).items():
            entry = self._field(field)
            entry.raw += 1
            if not entry.how:
                # Without the query, which may hold what is nobody's business.
                entry.how, entry.path = how, path.partition("?")[0]

    def _field(self, name: str) -> Field:
        if name not in self.fields and len(self.fields) >= MOST_FIELDS:
            name = MORE
        return self.fields.setdefault(name, Field())

    def as_dict(self) -> dict[str, t.Any]:
        return {"requests": self.requests, "compared": self.compared,
                "fields": [{"field": name, **dataclasses.asdict(field)} for name, field in self.fields.items()]}


def is_reported(raw: int, noise: int, total: int, relative_limit: float = RELATIVE_LIMIT, absolute_limit: float = ABSOLUTE_LIMIT) -> bool:
    """Whether a field differs by more than it differs within one release."""
    if raw <= noise or not total:
        return False
    return 100.0 * (raw - noise) / (raw + noise) > relative_limit and 100.0 * (raw - noise) / total > absolute_limit


def together(tallies: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """What several balancers counted, as C(Tally.as_dict) tells it, as one."""
    fields: dict[str, dict[str, t.Any]] = {}
    for tally in tallies:
        for entry in tally["fields"]:
            known = fields.setdefault(entry["field"], {**entry, "raw": 0, "noise": 0})
            known["raw"] += entry["raw"]
            known["noise"] += entry["noise"]
            if not known["how"]:
                known.update(how=entry["how"], path=entry["path"])
    return {"requests": sum(tally["requests"] for tally in tallies), "compared": sum(tally["compared"] for tally in tallies), "fields": list(fields.values())}


def judged(tally: t.Mapping[str, t.Any], max_differences: int = 0, relative_limit: float = RELATIVE_LIMIT,
           absolute_limit: float = ABSOLUTE_LIMIT) -> dict[str, t.Any]:
    """The report: C(requests), C(compared), C(fields) with those that are reported first, C(differences) (how many are) and C(verdict).

    The verdict is C(same), C(different) when more fields are reported than C(max_differences), or C(nothing) when no request could be compared.
    """
    total = tally["compared"]
    fields = [{**entry, "reported": is_reported(entry["raw"], entry["noise"], total, relative_limit, absolute_limit)} for entry in tally["fields"]]
    fields.sort(key=lambda entry: (not entry["reported"], entry["noise"] - entry["raw"], entry["field"]))
    count = sum(1 for entry in fields if entry["reported"])
    return {"requests": tally["requests"], "compared": total, "fields": fields, "differences": count,
            "verdict": "nothing" if not total else "different" if count > max_differences else "same"}


def sentence(report: t.Mapping[str, t.Any]) -> str:
    """A report for a person."""
    if not report["compared"]:
        return f"none of {report['requests']} requests could be compared: the old release did not answer"
    shown = [f"{entry['field']} ({_how(entry)} in {max(0, entry['raw'] - entry['noise'])} of {report['compared']}, first at {entry['path']})"
             for entry in report["fields"] if entry["reported"]]
    if not shown:
        return f"the answers of both releases to {report['compared']} requests were the same"
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"the new release answers otherwise: {', '.join(shown[:3])}{more}"


def _how(entry: t.Mapping[str, t.Any]) -> str:
    return {"type": "of another type", "length": "of another length", "order": "in another order"}.get(entry["how"], entry["how"])
