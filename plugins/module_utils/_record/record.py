# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one deploy: composed from the plan, the steps and the evidence, and kept on disk.

Private to the collection. docs/records.md describes what is written here, key by key.
"""

from __future__ import annotations

import json
import math
import os
import re
import typing as t
from datetime import datetime, timezone

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events

# Raised when a key changes its meaning or goes away; a new key does not raise it.
SCHEMA = 1

RESULTS = ("succeeded", "rolled_back", "failed")

ARGUMENT_SPEC: dict[str, t.Any] = {
    "plan": {"type": "dict", "required": True},
    "result": {"type": "str", "required": True, "choices": list(RESULTS)},
    "records_dir": {"type": "path", "required": True},
    "run_dir": {"type": "path"},
    "evidence": {"type": "dict"},
    "members": {"type": "list", "elements": "dict"},
    "sentence": {"type": "str"},
    "tidy": {"type": "bool", "default": False},
}

# The identifier becomes a file's name, so it may not climb out of the directory or hide in it. What does not fit is replaced rather
# than refused: at the end of a deploy an odd name is no reason to have no record.
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._+-]|\A\.")

_RELEASE_KEYS = ("digest", "label")
_STEP_KEYS = ("name", "started", "finished", "result", "members", "batch")
_MEMBER_KEYS = ("name", "release", "state")
_BATCH_KEYS = ("n", "members")
_PROBE_KEYS = (
    "sent", "ok", "failed", "failures", "longest_gap_ms", "p50_ms", "p99_ms", "versions",
    "max_ms", "stall_ms", "bound", "streams", "protocols", "repeated", "phases", "by_release", "paths", "answers", "slowdown", "losses", "series",
)
_BALANCE_KEYS = (
    "received", "answered", "truncated", "unanswered", "cut", "client_aborts", "errors_before", "errors_during",
    "lost", "complete", "note", "balancers",
)
_KERNEL_KEYS = ("overflows", "drops")
_LOSS_KEYS = ("time", "kind", "count", "step", "member", "balancer", "text")
_SHADOW_KEYS = ("method", "requests", "compared", "late", "differences", "fields", "verdict", "sentence")
_FIELD_KEYS = ("field", "raw", "noise", "how", "path", "reported")
_ROW_KEYS = ("t", "sent", "ok", "failed", "p50_ms", "p99_ms", "versions")


def seconds(value: t.Any, option: str) -> float | None:
    """Epoch seconds out of a number, a numeric string or an ISO 8601 time; None stays None."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        raise DowntimeError(f"{option} is {value!r}; it must be a time: epoch seconds or ISO 8601.")
    try:
        number = float(value)
    except (TypeError, ValueError):
        try:
            # Python 3.9 does not know the letter Z.
            moment = datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", str(value)))
        except ValueError:
            raise DowntimeError(f"{option} is {value!r}; it must be a time: epoch seconds or ISO 8601.") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        number = moment.timestamp()
    if not math.isfinite(number):
        raise DowntimeError(f"{option} is {value!r}; it must be a time: epoch seconds or ISO 8601.")
    return round(number, 3)


def _plain(value: t.Any) -> t.Any:
    """JSON's own types only, keys in a stable order. NaN and infinity have no JSON form: they become null."""
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    # str() also sheds the tagged strings of Ansible's templating.
    return str(value)


def _ordered(value: t.Mapping[str, t.Any], first: t.Sequence[str], required: int | None = None) -> dict[str, t.Any]:
    """`first` keys in their order (the first `required` of them present even when unknown: null), then the others by name."""
    plain = _plain(dict(value))
    out: dict[str, t.Any] = {}
    for index, key in enumerate(first):
        if key in plain or required is None or index < required:
            out[key] = plain.pop(key, None)
    out.update(plain)
    return out


def _release(value: t.Any, option: str) -> dict[str, t.Any] | None:
    if value is None or value == {} or value == "":
        return None
    if isinstance(value, str):
        # A deploy that failed before its release was resolved knows only the name that was asked for.
        return {"digest": None, "label": str(value)}
    if not isinstance(value, dict):
        raise DowntimeError(f"{option} is {value!r}; it must be a dictionary with digest and label.")
    return _ordered(value, _RELEASE_KEYS)


def _evidence(evidence: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """The three lines with every key of the record, whatever of them was measured; a line that nobody drew is null."""
    given = dict(evidence or {})
    probe = given.pop("probe", None)
    balance = given.pop("balance", None)
    kernel = given.pop("kernel", None)
    attributed = given.pop("attributed", None) or []
    out: dict[str, t.Any] = {
        "probe": _ordered(probe, _PROBE_KEYS, required=8) if probe else None,
        "balance": _ordered(balance, _BALANCE_KEYS, required=8) if balance else None,
        "kernel": _ordered(kernel, _KERNEL_KEYS) if kernel else None,
        "attributed": [_ordered(loss, _LOSS_KEYS) for loss in attributed],
        "verdict": _plain(given.pop("verdict", None)),
        "sentence": _plain(given.pop("sentence", None)),
    }
    series = (out["probe"] or {}).get("series")
    if isinstance(series, dict) and isinstance(series.get("rows"), list):
        series["rows"] = [_ordered(row, _ROW_KEYS, required=0) for row in series["rows"]]
    out.update(_plain(given))
    return out


def _steps(events: t.Sequence[dict[str, t.Any]], finished: float) -> list[dict[str, t.Any]]:
    steps = []
    for step in _events.steps(list(events)):
        entry = _ordered(step, _STEP_KEYS)
        entry["members"] = entry["members"] or []
        for key in ("started", "finished"):
            entry[key] = seconds(entry[key], f"the time of step {entry['name']}")
        # This very step writes the record, so its end cannot be among the events yet.
        if entry["name"] == "record" and entry["finished"] is None:
            entry["finished"] = finished
            entry["result"] = "succeeded"
        elif entry["finished"] is None:
            # Nothing runs any more when the record is written: the step was cut off.
            entry["result"] = "interrupted"
        steps.append(entry)
    return steps


def compose(
    plan: t.Mapping[str, t.Any],
    result: str,
    finished: float,
    evidence: t.Mapping[str, t.Any] | None = None,
    members: t.Sequence[t.Mapping[str, t.Any]] | None = None,
    sentence: str | None = None,
    events: t.Sequence[dict[str, t.Any]] = (),
    canary: t.Mapping[str, t.Any] | None = None,
    shadow: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """The record. Keys come in a fixed order, so that two records can be compared line by line."""
    deploy_id = plan.get("deploy_id")
    if not deploy_id:
        raise DowntimeError("plan has no deploy_id; the plan that zero.downtime.plan returned is expected.")
    if result not in RESULTS:
        raise DowntimeError(f"result is {result!r}; accepted are {', '.join(RESULTS)}.")
    started = seconds(plan.get("started"), "plan.started")
    if started is None:
        # A deploy that failed before its plan was whole has its first event at most.
        started = seconds(events[0].get("time"), "the first event's time") if events else finished
    record: dict[str, t.Any] = {
        "schema": SCHEMA,
        "deploy_id": str(deploy_id),
        "app": _plain(plan.get("app")),
        "environment": _plain(plan.get("environment")),
        "strategy": _plain(plan.get("strategy")),
        "driver": _plain(plan.get("driver")),
        "release": _release(plan.get("intended") or plan.get("release"), "plan.release"),
        "previous": _release(plan.get("previous"), "plan.previous"),
        "started": started,
        "finished": round(finished, 3),
        "result": result,
        "sentence": _plain(sentence or None),
        "batches": [_ordered(batch, _BATCH_KEYS) for batch in plan.get("batches") or []],
        "members": [_ordered(member, _MEMBER_KEYS) for member in members or []],
        "steps": _steps(events, round(finished, 3)),
        "notes": [_plain(event) for event in events if event.get("event") == "note"],
        "evidence": _evidence(evidence),
    }
    if canary:
        record["canary"] = {"steps": [_plain(step) for step in canary["steps"]]}
    if shadow:
        record["shadow"] = _ordered(shadow, _SHADOW_KEYS)
        record["shadow"]["fields"] = [_ordered(field, _FIELD_KEYS) for field in record["shadow"]["fields"] or []]
    # `rollback` and `restart` are the same record: only the verb tells them from a deploy.
    if plan.get("verb"):
        record["verb"] = _plain(plan["verb"])
    return record


def dumps(record: t.Any, width: int = 140) -> str:
    """JSON for people and for diff: what fits a line stays on one, so a time series is one row a line and not eight."""

    def write(value: t.Any, indent: int) -> str:
        compact = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if not isinstance(value, (dict, list)) or not value or indent + len(compact) <= width and indent > 0:
            return compact
        pad = " " * (indent + 2)
        if isinstance(value, dict):
            lines = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {write(item, indent + 2)}" for key, item in value.items()]
            return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
        return "[\n" + ",\n".join(pad + write(item, indent + 2) for item in value) + "\n" + " " * indent + "]"

    return write(record, 0) + "\n"


def paths(records_dir: str, deploy_id: str) -> tuple[str, str]:
    """Where a deploy's JSON and HTML lie."""
    base = os.path.join(_events.records_in(records_dir), _NO_FILE_NAME.sub("_", deploy_id)[:200])
    return base + ".json", base + ".html"


def read(path: str) -> dict[str, t.Any] | None:
    """The record that is already there; None when there is none, or one that a crash left unreadable."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return None
    except OSError as error:
        raise DowntimeError(f"the record {path} cannot be read: {error.strerror}.") from error
    return found if isinstance(found, dict) else None


def same(one: t.Mapping[str, t.Any] | None, other: t.Mapping[str, t.Any]) -> bool:
    """Whether two records tell the same, apart from the moment of writing (which ends the open `record` step as well)."""

    def essence(record: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        out = {key: value for key, value in record.items() if key != "finished"}
        out["steps"] = [step for step in record.get("steps") or [] if step.get("name") != "record"]
        return out

    return one is not None and essence(one) == essence(other)


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Whole or not at all: written beside, fsynced, renamed, and the directory fsynced, since a record outlives its controller."""
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        _durable.replace(path, text.encode(), mode)
        _durable.sync_directory(directory)
    except OSError as error:
        raise DowntimeError(
            f"records_dir {directory} cannot be written ({error.strerror}): a directory that the controller's user may write to is needed; "
            "nothing is lost, the record is in this task's result under record."
        ) from error
