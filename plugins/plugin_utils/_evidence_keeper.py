# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the evidence of one deploy in its working directory: starts the probe, judges it with the balancers' counters, and closes both. Private to the
collection.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._evidence import answers as _answers
from ansible_collections.zero.downtime.plugins.module_utils._evidence import balance as _balance
from ansible_collections.zero.downtime.plugins.module_utils._evidence import evidence as _evidence
from ansible_collections.zero.downtime.plugins.module_utils._evidence import losses as _losses
from ansible_collections.zero.downtime.plugins.module_utils._evidence import probe as _probe
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.plugin_utils import _queries

SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "required": True, "choices": ["started", "awaited", "checked", "stopped"]},
    "run_dir": {"type": "path"},
    "url": {"type": "str"},
    "connect_to": {"type": "str"},
    "rate": {"type": "float", "default": 50.0},
    "streams": {"type": "dict"},
    "timeout": {"type": "float", "default": 10.0},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "http2": {"type": "str", "choices": list(_probe.HTTP2), "default": "auto"},
    "paths": {"type": "list", "elements": "str", "default": []},
    "releases": {"type": "list", "elements": "dict", "options": {"digest": {"type": "str", "required": True}, "label": {"type": "str"}}},
    "signed": {"type": "bool", "default": False},
    "max_failed": {"type": "int", "default": 0, "minimum": 0},
    "max_slowdown": {"type": "float", "minimum": 1},
    "judge_4xx": {"type": "bool", "default": False},
    "driver": {"type": "str"},
    "traffic": {"type": "dict", "default": {}},
    "deploy_id": {"type": "str"},
    "health_header": {"type": "str", "default": "x-release"},
    "expect_serving": {"type": "bool", "default": True},
    "settle": {"type": "float", "default": 0.0, "minimum": 0},
    "open_timeout": {"type": "float", "default": 0.0, "minimum": 0},
    "batch": {"type": "int"},
    "baseline": {"type": "bool", "default": False},
    "pools": {"type": "list", "elements": "dict", "default": []},
    "failed": {"type": "bool", "default": False},
}

CONFIG, PROCESS, ACCOUNT, SNAPSHOT, PROGRESS, RESULT, LOG = (
    "probe-config.json", "probe-process.json", "probe.json", "snapshot.json", "progress.json", "evidence.json", "probe.log")

POLL = 0.1
# Seconds beyond a request's own time-out in which the probe tells what became of it.
AFTER = 2.0
# For what takes the probe a moment.
SHORT = 0.01
# Seconds for which a reading after the last move stands for the end.
FRESH = 3.0
# Seconds for which a deploy waits at most until the probe has learned how each path answers.
LEARN = 5.0
# Seconds after which errors that were suspected to last have shown it.
LASTING = 8.0
ATTEMPTS = 3


class NoHttp2(DowntimeError):
    """The server does not choose what it has to."""

    details: t.ClassVar[dict[str, t.Any]] = {"cause": _probe.NO_HTTP2}


class NoPath(DowntimeError):
    """A path beside the URL's own does not answer."""

    details: t.ClassVar[dict[str, t.Any]] = {"cause": _probe.SETTING}


class Keeper:
    """The states. Clock and sleep are parameters, so that tests need no waiting."""

    def __init__(self, args: dict[str, t.Any], sampler: _queries.Sampler | None, check_mode: bool,
                 clock: t.Callable[[], float] = time.monotonic, sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.args = args
        self.sampler = sampler
        self.check_mode = check_mode
        self.clock = clock
        self.sleep = sleep
        # Only check mode and calls that have nothing to say get by without one; they return before they use it.
        self.run_dir: str = args["run_dir"] or ""

    # -- started --

    def started(self) -> dict[str, t.Any]:
        config = self._config()
        asked = self._ask_once(config) if config else None
        if config and self.args["expect_serving"]:
            config["paths"] = self._ask_paths(config)
        if self.check_mode:
            return {"changed": True, "pid": None, "asked": asked}
        if not self.run_dir:
            raise DowntimeError("run_dir is missing; a directory on the controller is needed to start the evidence")
        if not os.path.isdir(self.run_dir) or not os.access(self.run_dir, os.W_OK):
            raise DowntimeError("run_dir is '%s'; a directory that can be written on the controller is accepted" % self.run_dir)
        process = self._process()
        if process:
            return {"changed": False, "pid": process["pid"], "asked": asked}
        if self.sampler:
            # Where the plan has just asked every balancer, that reading is where the sheet begins.
            told = [sample for sample in _balance.read(self.run_dir) if sample["at"] == "started"]
            problems = [sample for sample in told or self.sampler(self.run_dir, "started") if "failed" in sample and not sample.get("uncounted")]
            if problems:
                raise DowntimeError("; ".join("the counters of %s cannot be read: %s" % (one["balancer"], one["failed"]) for one in problems))
        # Kept even without a URL: the later states have to know how it began.
        _probe.write_json(os.path.join(self.run_dir, CONFIG), config or {"url": None, "expect_serving": self.args["expect_serving"]})
        pid = self._spawn() if config else None
        return {"changed": True, "pid": pid, "asked": asked}

    def _config(self) -> dict[str, t.Any] | None:
        args = self.args
        if not args["url"]:
            return None
        config = {name: args[name] for name in (
            "url", "connect_to", "rate", "streams", "timeout", "validate_certs", "ca_path", "http2", "expect_serving")}
        _probe.check_paths(args["paths"])
        config.update(paths=[{"path": path} for path in args["paths"]], moves=list(_evidence.MOVES),
                      answers=os.path.join(self.run_dir, _answers.FILE) if self.run_dir else None)
        config.update(run_dir=self.run_dir or None, events=os.path.join(self.run_dir, _events.FILE) if self.run_dir else None,
                      release_header=args["health_header"])
        parent = os.getppid()
        # ansible-playbook itself: the worker that runs this is gone in a moment.
        config["watch"] = {"pid": parent, "start_time": _probe.start_time_of(parent)}
        if config["watch"]["start_time"] is None:
            config["watch"] = None      # no /proc on this controller: the hard limit alone ends the probe
        _probe.complete(config)
        return config

    def _ask_once(self, config: dict[str, t.Any]) -> dict[str, t.Any]:
        """Ask the URL before anything relies on it."""
        outcome = self._once(config, lambda outcome: outcome.kind is None or not self.args["expect_serving"])
        asked = {"ok": outcome.kind is None, "kind": outcome.kind, "status": outcome.status or None, "version": outcome.version,
                 "release": outcome.release, "protocol": outcome.protocol, "detail": outcome.detail}
        if outcome.kind == _probe.NO_HTTP2:
            raise NoHttp2("http2 is true, and the server of %s does not choose it (%s); auto and false are accepted there"
                          % (shown_url(config["url"]), outcome.detail))
        if outcome.kind is not None and self.args["expect_serving"]:
            raise DowntimeError("url %s %s, though a release serves; an address that answers 2xx or 3xx is accepted" % (config["url"], _instead(outcome)))
        return asked

    def _once(self, config: dict[str, t.Any], good: t.Callable[[_probe.Outcome], bool]) -> _probe.Outcome:
        """One answer, and another try or two where that is not a good one."""
        outcome = _probe.once(config)
        for _attempt in range(ATTEMPTS - 1):
            if good(outcome):
                break
            self.sleep(0.5)
            outcome = _probe.once(config)
        return outcome

    def _ask_paths(self, config: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Ask each path beside the URL's own once. It may answer as it likes, such as 401 to whoever has not logged in, as long as it answers."""
        found = []
        target = _probe.parse_target(config["url"], config["connect_to"])
        for one in config["paths"]:
            at = target._replace(path=one["path"])
            outcome = self._once({**config, "url": at.url, "paths": []}, _answers_itself)
            if not _answers_itself(outcome):
                raise NoPath("paths has '%s', and %s %s, though a release serves; a path that answers with a status below 500 is accepted"
                             % (one["path"].partition("?")[0], at.shown, _instead(outcome)))
            found.append({**one, "status": outcome.status if outcome.kind else None})
        return found

    def _spawn(self) -> int:
        for name in (ACCOUNT, SNAPSHOT, PROGRESS, RESULT):
            if os.path.exists(os.path.join(self.run_dir, name)):
                os.unlink(os.path.join(self.run_dir, name))
        log = os.open(os.path.join(self.run_dir, LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            # A session of its own, so that a terminal's ctrl-C does not reach it: it ends when ansible-playbook has.
            child = subprocess.Popen([sys.executable, os.path.abspath(_probe.__file__), os.path.join(self.run_dir, CONFIG)],
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True)
        finally:
            os.close(log)
        _probe.write_json(os.path.join(self.run_dir, PROCESS), {"pid": child.pid, "start_time": _probe.start_time_of(child.pid)})
        return child.pid

    def _begun(self, config: dict[str, t.Any]) -> None:
        """Wait until the probe asks: it starts while the release is staged, and has to run before anything moves."""
        end = self.clock() + 10
        while config.get("url") and _events.load(self.run_dir, ACCOUNT) is None:
            progress = _events.load(self.run_dir, PROGRESS)
            if progress and (progress["sent"] or not config["expect_serving"]):
                return
            process = self._process()
            if process is None or self.clock() > end:
                if process:
                    os.kill(process["pid"], signal.SIGKILL)
                raise DowntimeError("the probe of url %s did not start: %s" % (config["url"], self._log() or "it gave no sign within 10 s"))
            self.sleep(SHORT)

    def _log(self) -> str:
        try:
            with open(os.path.join(self.run_dir, LOG), encoding="utf-8", errors="replace") as stream:
                return stream.read().strip()[-300:]
        except FileNotFoundError:
            return ""

    def _process(self) -> dict[str, t.Any] | None:
        """The probe that runs, if it is still the one that was started."""
        process = _events.load(self.run_dir, PROCESS)
        if process and process["start_time"] is not None and _probe.start_time_of(process["pid"]) == process["start_time"]:
            return process
        return None

    # -- awaited --

    def awaited(self) -> dict[str, t.Any]:
        """Before all requests change sides, behind which nobody stands still, let so many come that a loss which happens all the time is known."""
        config = None if self.check_mode or not self.run_dir else _events.load(self.run_dir, CONFIG)
        sheet = _balance.balance(_balance.read(self.run_dir)) if config and config["expect_serving"] else None
        wait = 0.0
        if sheet and sheet["ended"] > sheet["began"]:
            since = max(0.0, _events.clock(self.run_dir)() - sheet["ended"])
            known = sheet["ended"] - sheet["began"]
            # Nobody is asked for that: those since the last reading came as those before it did.
            wait = _losses.patience(round(sheet["received"] * (1 + since / known)), known + since)
        if wait:
            self._event("note", reason="waits %.1f s, until %d requests have come with which losses behind the switch can be compared" % (wait, _losses.ENOUGH))
            self._observe(wait)
        return {"changed": False, "waited": round(wait, 1)}

    # -- checked --

    def checked(self) -> dict[str, t.Any]:
        config = None if self.check_mode or not self.run_dir else _events.load(self.run_dir, CONFIG)
        if config is None:
            return {"changed": False, "verdict": None}
        if self.args["releases"] is not None:
            known = {"releases": self.args["releases"], "signed": self.args["signed"]}
            _probe.write_json(os.path.join(self.run_dir, _answers.FILE), known)
        self._begun(config)
        self._event("started")
        if self.args["baseline"]:
            self._learn(config)
        self._observe(self.args["settle"])
        if self.args["baseline"]:
            return self._baseline(self._judge("checked", self._snapshot))
        evidence = self._judge("checked", self._answered)
        if evidence["verdict"] == "unconfirmed" and self._process() is not None:
            evidence = self._look_again(evidence)
        if (evidence["suspected"] and evidence["verdict"] == "clean") or evidence["hasty"]:
            evidence = self._look_on()
        result = {"changed": False, "verdict": evidence["verdict"], "rollback": evidence["rollback"], "sentence": evidence["sentence"],
                  "evidence": _small(evidence)}
        if evidence["verdict"] != "clean":
            # A person reads this: the sentence is enough, and the record will have the rest.
            del result["evidence"]
            # Nobody watches any more: a deploy between two batches goes back, rather than to leave two releases behind, and one that has moved all stays.
            blind = evidence["blind"] and self.args["batch"] is not None
            result.update(failed=True, msg=evidence["sentence"], stay=evidence["verdict"] == "unconfirmed" and not blind)
        self._event("failed" if result.get("failed") else "finished", reason=result.get("msg"),
                    verdict=evidence["verdict"] if result.get("failed") else None)
        return result

    def _learn(self, config: dict[str, t.Any]) -> None:
        """Before anything moves, let the probe see often enough how each path answers, where its rate makes that a matter of seconds."""
        needed = _answers.FEW * (1 + len(config.get("paths") or ()))
        if not config.get("url") or not config["expect_serving"] or needed > LEARN * config["rate"]:
            return
        end = self.clock() + LEARN
        while self.clock() < end and self._process() is not None:
            progress = _events.load(self.run_dir, PROGRESS) or {"learned": 0, "sent": 0}
            # What fails teaches nothing.
            if progress["learned"] >= _answers.FEW or progress["sent"] >= 2 * needed:
                return
            self.sleep(POLL)

    def _answered(self) -> tuple[dict[str, t.Any] | None, str | None]:
        """The account once all that had been asked by now is answered, or given up: one who waits is no loss yet, and may be the first of many."""
        mark: float | None = None
        end = self.clock() + self.args["timeout"] + AFTER
        while True:
            probe, died = self._snapshot()
            mark = mark or (probe or {}).get("finished")
            waits = (probe or {}).get("open_since")
            if died or not waits or waits >= mark or self.clock() > end:
                return probe, died
            self.sleep(SHORT)

    def _look_again(self, evidence: dict[str, t.Any]) -> dict[str, t.Any]:
        """Losses that only the probe saw, and once, move nobody; whether they go on shows within the time that a request may take."""
        before = evidence["probe"]["failed"]
        self._event("note", suspected=evidence["probe"]["finished"], reason=evidence["sentence"])
        end = self.clock() + self.args["timeout"] + AFTER
        while self.clock() < end:
            progress = _events.load(self.run_dir, PROGRESS)
            if progress is None or progress["failed"] > before or self._process() is None:
                break
            self.sleep(POLL)
        return self._judge("checked", self._answered)

    def _look_on(self) -> dict[str, t.Any]:
        """Errors that came in a moment only may be a member that stumbled, and a loss or two may be what happens all the time.

        Those of a release go on, and what happens all the time happens on members that nobody moves: which it is shows within seconds.
        """
        end = self.clock() + LASTING
        while True:
            self.sleep(1.0)
            evidence = self._judge("checked", self._answered, anew=True)
            open_question = evidence["hasty"] or (evidence["verdict"] == "clean" and evidence["suspected"])
            if not open_question or self.clock() >= end:
                return evidence

    def _baseline(self, evidence: dict[str, t.Any]) -> dict[str, t.Any]:
        """What was already so before anything moved is no reason to refuse a deploy, which may be the cure; it is said, and not counted later."""
        result: dict[str, t.Any] = {"changed": False, "verdict": evidence["verdict"], "rollback": False, "sentence": evidence["sentence"]}
        if evidence["verdict"] != "clean":
            result["warnings"] = ["before anything moved: " + evidence["sentence"]]
            samples = _balance.read(self.run_dir)
            if samples:
                moment = samples[-1].get("moment")
                since = min(sample["time"] for sample in samples if sample.get("moment") == moment)
                self._event("note", baseline=since, reason=evidence["sentence"])
        self._event("finished")
        return result

    def lost(self, at: str) -> str | None:
        """What is to be said where the probe is over its budget, and the balance sheet does not explain it by what is lost all the time."""
        progress = _events.load(self.run_dir, PROGRESS)
        if not progress or progress["transport"] <= self.args["max_failed"]:
            return None
        evidence = self._judge(at, self._snapshot)
        return None if evidence["verdict"] in ("clean", "degraded") else "The probe lost %d of %d requests." % (progress["transport"], progress["sent"])

    def _event(self, event: str, **detail: t.Any) -> None:
        _events.append(self.run_dir, "verify", event, batch=self.args["batch"], **{name: value for name, value in detail.items() if value})

    def _observe(self, seconds: float) -> None:
        """Watch for so long; leave at once when the probe is over its budget."""
        end = self.clock() + seconds
        while self.clock() < end:
            progress = _events.load(self.run_dir, PROGRESS)
            if progress and progress["transport"] > self.args["max_failed"]:
                return
            self.sleep(min(POLL, max(0.0, end - self.clock())))

    def _snapshot(self) -> tuple[dict[str, t.Any] | None, str | None]:
        """What the running probe knows by now; and why that is not whole."""
        path = os.path.join(self.run_dir, SNAPSHOT)
        process = self._process()
        if process is None:
            return self._closed()
        before = os.stat(path).st_mtime_ns if os.path.exists(path) else None
        os.kill(process["pid"], signal.SIGUSR1)
        end = self.clock() + 5
        while not os.path.exists(path) or os.stat(path).st_mtime_ns == before:
            if self._process() is None:
                return self._closed()
            if self.clock() > end:
                return _events.load(self.run_dir, SNAPSHOT), "the probe gave no account within 5 s"
            self.sleep(SHORT)
        return _events.load(self.run_dir, SNAPSHOT), None

    def _closed(self) -> tuple[dict[str, t.Any] | None, str | None]:
        """The account of a probe that has ended."""
        account = _events.load(self.run_dir, ACCOUNT)
        if account is None:
            log = self._log()
            return _events.load(self.run_dir, SNAPSHOT), "the probe ended without an account%s" % (": " + log if log else "")
        if account["ended"] not in ("asked", None):
            why = {"max_run": "the probe reached its hard limit", "controller_died": "the probe saw ansible-playbook end"}
            return account, why.get(account["ended"], "the probe ended: %s" % account["ended"])
        return account, None

    def _judge(self, at: str, account: t.Callable[[], tuple[dict[str, t.Any] | None, str | None]], anew: bool = False) -> dict[str, t.Any]:
        config = _events.load(self.run_dir, CONFIG) or {}
        probe, died = account() if config.get("url") else (None, None)
        moment = "%s %d" % (at, time.time_ns())
        # Between batches the last move has just told all counters: a reading of its own is only made when those look like a loss.
        told = not anew and (self._fresh() if at == "stopped" else self.args["batch"] is not None and not self.args["settle"])
        for attempt in range(3 + told):
            if self.sampler and not (told and attempt == 0):
                self.sampler(self.run_dir, at, moment)
            events = _events.read(self.run_dir)
            evidence = _evidence.compose(probe, _balance.read(self.run_dir), events, _events.steps(events), self.args["max_failed"],
                                         first=not config.get("expect_serving", True), died=died, max_slowdown=self.args["max_slowdown"],
                                         baseline=self.args["baseline"], judge_4xx=self.args["judge_4xx"])
            sheet = evidence["balance"]
            if told and attempt == 0:
                if evidence["verdict"] == "clean":
                    break
                continue
            # A request that begins while the counters are read looks like a lost one, once. A lost one stays lost.
            if not sheet or not sheet["unanswered"]:
                break
            if attempt < 2 + told:
                self.sleep(POLL)
        return evidence

    def _fresh(self) -> bool:
        """Whether all counters were read a moment ago, after the last move: nobody has to be asked again to close what was clean."""
        events = _events.read(self.run_dir)
        last = events[-1] if events else {}
        return last.get("step") == "verify" and last.get("event") == "finished" and _events.clock(self.run_dir)() - last["time"] < FRESH

    # -- stopped --

    def stopped(self) -> dict[str, t.Any]:
        if self.check_mode or not self.run_dir or _events.load(self.run_dir, CONFIG) is None:
            evidence = _evidence.compose(None)
            return {"changed": False, "evidence": evidence, "verdict": evidence["verdict"], "sentence": evidence["sentence"]}
        kept = _events.load(self.run_dir, RESULT)
        if kept is not None:
            return {"changed": False, "evidence": kept, "verdict": kept["verdict"], "sentence": kept["sentence"]}
        # The probe ends first, so that its own open requests are not among those that the balancers still hold.
        self._end_probe()
        evidence = self._judge("stopped", self._closed)
        end = self.clock() + self.args["open_timeout"]
        while (evidence["balance"] or {}).get("waiting") and self.clock() < end:
            self.sleep(min(1.0, max(0.0, end - self.clock())))
            evidence = self._judge("stopped", self._closed, anew=True)
        evidence = self._as_it_was_found(evidence)
        _probe.write_json(os.path.join(self.run_dir, RESULT), evidence)
        return {"changed": True, "evidence": evidence, "verdict": evidence["verdict"], "sentence": evidence["sentence"]}

    def _as_it_was_found(self, evidence: dict[str, t.Any]) -> dict[str, t.Any]:
        """A finding for which the deploy went back stays one, however much was answered well after that."""
        found = [event["detail"] for event in _events.read(self.run_dir) if event["step"] == "verify" and (event.get("detail") or {}).get("verdict")]
        if not found or evidence["verdict"] != "clean":
            return evidence
        return {**evidence, "verdict": found[-1]["verdict"], "rollback": found[-1]["verdict"] in ("lost", "degraded"), "sentence": found[-1]["reason"]}

    def _end_probe(self) -> None:
        """Ask the probe to end; what it has in flight it still waits for. One that does not end is killed."""
        process = self._process()
        if process is None:
            return
        os.kill(process["pid"], signal.SIGTERM)
        end = self.clock() + self.args["timeout"] + 10
        while self._process() is not None:
            if self.clock() > end:
                os.kill(process["pid"], signal.SIGKILL)
                return
            self.sleep(SHORT)


def _answers_itself(outcome: _probe.Outcome) -> bool:
    return outcome.kind is None or (outcome.kind.startswith("status_") and outcome.status < 500)


def _instead(outcome: _probe.Outcome) -> str:
    """What an address did that is not accepted."""
    kind = outcome.kind or ""
    if kind.startswith("status_"):
        return "answers %d" % outcome.status
    return "does not answer: %s" % ("%s (%s)" % (kind, outcome.detail) if outcome.detail else kind)


def _small(evidence: dict[str, t.Any]) -> dict[str, t.Any]:
    """Without the series and the counters: a check is read by people and registered on every host."""
    left_out = {"probe": ("series", "losses"), "balance": ("open_at_end",)}
    return {**evidence, **{line: {name: value for name, value in evidence[line].items() if name not in names}
                           for line, names in left_out.items() if evidence[line] is not None}}
