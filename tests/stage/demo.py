# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the collection at work: deploys on the local stage, all but the first under load, and what each one cost.

Two witnesses that share no code count the requests: the collection's own evidence, read from the records, and the tests'
load generator. The exit code is 0 only if neither saw a failure and every deploy ended as it should. The errors that a bad canary gives its few users
are its own and stand in a column of their own; no request may go without an answer there either.

With --short, what the tests of the playbooks show under load as well is left out: what is left is the first deploy, a roll and the way back.
With --strategies, each strategy brings one good release.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

import layout
import stage

URL = "http://127.0.0.1:%d/" % layout.PORT
OUTPUT = os.path.join(layout.BUILD, "demo")
LOAD = os.path.join(layout.REPO, "tests", "load", "load.py")
RELEASES = ["1.0.0", "2.0.0", "3.0.0-bad", "4.0.0-errors"]
# What the sample application answers in a release with errors.
ERROR = "status_500"
LONGEST_DEPLOY = 150


class Step(t.NamedTuple):
    title: str
    playbook: str
    release: str
    result: str
    serves: str
    load: bool
    variables: dict[str, t.Any] = {}
    errors: bool = False


BLUE_GREEN = {"deploy_strategy": "blue_green"}
# Short steps, since requests come in all the time here.
CANARY = {"deploy_strategy": "canary", "deploy_canary": {
    "steps": [20, 50, 100], "step_time": 4, "interval": 1, "warm_up": 0, "deadline": 60, "latency": "none"}}

# claim: demo
STEPS = [
    Step("1.0.0, the first", "deploy", "1.0.0", "succeeded", "1.0.0", False),
    Step("2.0.0", "deploy", "2.0.0", "succeeded", "2.0.0", True),
    Step("3.0.0-bad", "deploy", "3.0.0-bad", "rolled_back", "2.0.0", True),
    Step("rollback to 1.0.0", "rollback", "1.0.0", "succeeded", "1.0.0", True),
    Step("2.0.0, blue/green", "deploy", "2.0.0", "succeeded", "2.0.0", True, BLUE_GREEN),
    Step("1.0.0, canary", "deploy", "1.0.0", "succeeded", "1.0.0", True, CANARY),
    Step("4.0.0-errors, canary", "deploy", "4.0.0-errors", "rolled_back", "1.0.0", True, CANARY, True),
]

CHOICES = {
    "": STEPS,
    "--short": [step for step in STEPS if step.title in ("1.0.0, the first", "2.0.0", "rollback to 1.0.0")],
    "--strategies": [*STEPS[:2], Step("1.0.0, blue/green", "deploy", "1.0.0", "succeeded", "1.0.0", True, BLUE_GREEN),
                     Step("2.0.0, canary", "deploy", "2.0.0", "succeeded", "2.0.0", True, CANARY)],
}

COLUMNS = ("deploy", "result", "requests", "failed", "unanswered", "own errors", "longest gap", "p99", "seconds")


class Finding(Exception):
    """The demo did not go as it should."""


def _records() -> set[str]:
    return {name for name in os.listdir(layout.RECORDS) if name.endswith(".json")}


def _command(step: Step) -> list[str]:
    return [
        os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
        "-i", os.path.join(layout.REPO, "inventories", "local"),
        "zero.downtime." + step.playbook, "-e", json.dumps({"deploy_release": step.release, **step.variables}),
    ]


def _environment() -> dict[str, str]:
    """The checkout's own settings, whatever the caller's shell says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    kept["ANSIBLE_CONFIG"] = os.path.join(layout.REPO, "ansible.cfg")
    return kept


def _run(argv: list[str], log: str) -> int:
    with open(log, "wb") as file:
        child = subprocess.Popen(argv, cwd=layout.REPO, env=_environment(), stdin=subprocess.DEVNULL, stdout=file,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return child.wait(LONGEST_DEPLOY)
        except subprocess.TimeoutExpired:
            raise Finding("%s did not end within %d s; see %s" % (" ".join(argv), LONGEST_DEPLOY, log)) from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _serving() -> set[str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    seen = set()
    for _turn in range(3 * len(layout.MEMBERS)):
        try:
            with opener.open(URL, timeout=5) as response:
                seen.add(json.load(response)["version"])
        except urllib.error.URLError as error:
            seen.add("nothing (%s)" % error)
    return seen


def _tail(path: str, lines: int = 25) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-lines:])


def deploy(number: int, step: Step) -> tuple[tuple[str, ...], list[str], str]:
    """Returns the row of the table, what was not as it should be, and the report's path."""
    log = os.path.join(OUTPUT, "%d-%s-%s.log" % (number, step.variables.get("deploy_strategy", step.playbook), step.release))
    load_report = log[:-4] + ".json"
    before = _records()
    if step.load:
        rc = _run([sys.executable, LOAD, "--target", URL.rstrip("/"), "--report", load_report, "--output", log,
                   "--holds", "2", "--hold-until", "Out of traffic", "--hold-more", "2", "--expect", "any", "--", *_command(step)], log[:-4] + ".load.log")
        if rc:
            raise Finding("the load generator failed: %s" % _tail(log[:-4] + ".load.log"))
        with open(load_report, encoding="utf-8") as file:
            load = json.load(file)
        rc = load["command"]["rc"]
    else:
        rc, load = _run(_command(step), log), None
    new = sorted(_records() - before)
    if len(new) != 1:
        raise Finding("%s (rc %d) wrote %d records instead of one; the end of %s:\n%s" % (step.title, rc, len(new), log, _tail(log)))
    path = os.path.join(layout.RECORDS, new[0])
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    return (*_judge(step, rc, record, load, log), path[:-5] + ".html")


def _judge(step: Step, rc: int, record: dict, load: dict | None, log: str) -> tuple[tuple[str, ...], list[str]]:
    evidence = record.get("evidence") or {}
    probe, balance = evidence.get("probe") or {}, evidence.get("balance") or {}
    seen = [probe, *([load] if load else [])]
    errors = sum((one.get("failures") or {}).get(ERROR, 0) for one in seen) if step.errors else 0
    failed = sum(one.get("failed") or 0 for one in seen) - errors
    unanswered = (balance.get("unanswered") or 0) + (balance.get("truncated") or 0)
    wrong = []
    if record["result"] != step.result:
        wrong.append("the record says %s instead of %s; see %s" % (record["result"], step.result, log))
    if (rc == 0) != (step.result == "succeeded"):
        wrong.append("ansible-playbook ended with %d; see %s" % (rc, log))
    if not probe.get("sent") or not balance.get("received"):
        wrong.append("the evidence is incomplete: probe or balance sheet saw no request")
    if failed or unanswered:
        wrong.append("%d requests failed and %d went unanswered: %s %s" % (
            failed, unanswered, probe.get("failures") or "", load["failures"] if load else ""))
    if step.errors and not errors:
        wrong.append("nobody saw an error of the release, so nothing was shown")
    if (serving := _serving()) != {step.serves}:
        wrong.append("%s serves instead of %s" % (", ".join(sorted(serving)), step.serves))
    row = (step.title, record["result"], str(balance.get("received", "?")), str(failed), str(unanswered), str(errors),
           "%s ms" % _rounded(probe.get("longest_gap_ms")), "%s ms" % _rounded(probe.get("p99_ms")),
           "%.1f" % (record["finished"] - record["started"]))
    return row, ["%s: %s" % (step.title, text) for text in wrong]


def _rounded(value: float | None) -> str:
    return "?" if value is None else "%.0f" % value


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    lines = []
    for row in [COLUMNS, *rows]:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def show(steps: list[Step]) -> list[str]:
    rows, wrong, reports = [], [], []
    for number, step in enumerate(steps, 1):
        print("demo: %s%s …" % (step.title, " under load" if step.load else ""), flush=True)
        row, findings, report = deploy(number, step)
        rows.append(row)
        wrong += findings
        reports.append(report)
    print("\n%s\n" % _table(rows))
    print("reports, to be opened in a browser:")
    for report in reports:
        print("  %s" % os.path.relpath(report, os.getcwd()))
    return wrong


def main(args: list[str]) -> int:
    if len(args) > 1 or (args and args[0] not in CHOICES):
        layout.stop_with_sentence("usage: demo.py [--short | --strategies]")
    began = time.monotonic()
    # A terminated demo ends its stage as well.
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(143))
    os.makedirs(OUTPUT, exist_ok=True)
    try:
        stage.down()
        stage.up(RELEASES)
        wrong = show(CHOICES["".join(args)])
    except Finding as finding:
        wrong = [str(finding)]
    finally:
        stage.down()
    for text in wrong:
        print("demo: %s" % text)
    print("demo: %s in %.0f s" % ("not as it should be" if wrong else "no request failed, every deploy ended as it should", time.monotonic() - began))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
