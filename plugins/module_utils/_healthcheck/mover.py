# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Driver ``healthcheck``: a member leaves traffic by failing its own readiness check.

This module_util is private to the collection: do not import it from outside.

It is for teams who have no access to the balancer's socket. The price is proof: a balancer that is not asked cannot say when
the last request has ended. What can be known is tried in order of strength, and the result says which it was:

1. the balancer's own read-only statistics: not UP, and no session on the member;
2. the application's own gauge of requests in flight, once the balancer must have noticed;
3. neither: the time that the balancer needs to notice plus the time of the slowest request. That is *waited*, not proven.

Counting TCP connections is not among them: a balancer keeps idle ones open to a member that it no longer uses.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import re
import shlex
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ansible_collections.zero.downtime.plugins.module_utils._driver import members as _members
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._health import request as _request
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence

# What is accepted where the switch's file does not lie well.
DIRECTORY = "accepted: a path in a directory that the connecting user may write"
# How often readiness, statistics and gauge are asked while waiting.
POLL = 0.1

DrainedBy = t.Optional[str]


def pool_spec() -> dict[str, t.Any]:
    return dict(
        name=dict(type="str", required=True),
        server=dict(type="str"),
        port=dict(type="int"),
        side=dict(type="str", choices=["blue", "green"], default="blue"),
    )


def driver_spec() -> dict[str, t.Any]:
    """What is the driver's own, in ``deploy_traffic`` and in the module alike."""
    return dict(
        off_file=dict(type="path"),
        off_command=dict(type="raw"),
        on_command=dict(type="raw"),
        check_url=dict(type="str", required=True),
        inter=dict(type="float", default=2.0),
        fall=dict(type="int", default=3),
        rise=dict(type="int", default=2),
        slowest_request=dict(type="float", default=30.0),
        in_flight=dict(type="dict", options=dict(url=dict(type="str", required=True), field=dict(type="str"))),
        stats_url=dict(type="list", elements="str", default=[]),
        stats_user=dict(type="str"),
        stats_password=dict(type="str", no_log=True),
        pools=dict(type="list", elements="dict", default=[], options=pool_spec()),
    )


def argument_spec() -> dict[str, t.Any]:
    spec = _members.common_spec()
    spec.update(driver_spec())
    spec["together"] = dict(type="list", elements="str")
    spec["connect_timeout"] = dict(type="float", default=2.0)
    spec["read_timeout"] = dict(type="float", default=5.0)
    return spec


# --- the world, as far as this driver touches it ---------------------------------------------------------------------


class World:
    """Clock, network, files and commands, so that a test can replace them all."""

    def __init__(
        self,
        run_command: t.Callable[[list[str]], tuple[int, str, str]],
        clock: t.Callable[[], float] = time.monotonic,
        wall: t.Callable[[], float] = time.time,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.run_command = run_command
        self.clock = clock
        self.wall = wall
        self.sleep = sleep

    def get(self, url: str, connect_timeout: float, read_timeout: float, headers: t.Mapping[str, str]) -> _request.Answer:
        return _request.request(url, connect_timeout, read_timeout, headers=headers, clock=self.clock)

    def age(self, path: str) -> float | None:
        """Seconds since the file was made; None when there is none."""
        try:
            return self.wall() - os.stat(path).st_mtime
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise DowntimeError(f"off_file {path!r} cannot be looked at ({exc.strerror}); {DIRECTORY}") from exc

    def fault_of_directory(self, path: str) -> str | None:
        """Asked in check mode too, so that it foretells what creating or removing the file would meet."""
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            return "does not exist"
        return None if os.access(directory, os.W_OK | os.X_OK) else "the connecting user may not write"

    def create(self, path: str) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            # The application may run as another user than the one who deploys, whatever the umask is.
            os.fchmod(handle, 0o644)
            os.close(handle)
        except OSError as exc:
            raise DowntimeError(f"off_file {path!r} cannot be created ({exc.strerror}); {DIRECTORY}") from exc

    def remove(self, path: str) -> None:
        try:
            os.unlink(path)
        except OSError as exc:
            raise DowntimeError(f"off_file {path!r} cannot be removed ({exc.strerror}); {DIRECTORY}") from exc


# --- what is read ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One server of one pool, as one balancer's statistics tell it."""

    url: str
    pool: str
    server: str
    status: str
    in_flight: int
    throttle: str
    weight: int | None
    address: str
    check: str

    @property
    def in_traffic(self) -> bool:
        # "UP 1/3" is on its way down and still gets requests; "no check" always does.
        return self.status.startswith("UP") or self.status == "no check"

    @property
    def serves(self) -> bool:
        return self.status in ("UP", "no check") and self.throttle in ("", "100", "100%")


def parse_csv(url: str, text: str) -> list[Row]:
    """The servers (not frontends, not backends) of HAProxy's statistics in CSV."""
    if not text.startswith("# pxname,"):
        raise DowntimeError(f"stats_url {shown_url(url)!r} does not answer with HAProxy's CSV; accepted: the address of a statistics page with ;csv behind it")
    rows = []
    for line in csv.DictReader(io.StringIO(text[2:])):
        if line.get("type") != "2":
            continue
        rows.append(
            Row(
                url=url,
                pool=line["pxname"],
                server=line["svname"],
                status=line["status"],
                in_flight=_number(line.get("scur")) + _number(line.get("qcur")),
                throttle=line.get("throttle") or "",
                weight=_number(line.get("weight")) if line.get("weight") else None,
                address=line.get("addr") or "",
                check=line.get("check_status") or "",
            )
        )
    return rows


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def parse_uptime(page: str) -> float | None:
    """How long the worker that draws the statistics page has lived. Its CSV does not tell."""
    found = re.search(r"uptime\s*=\s*</b>\s*(\d+)d (\d+)h(\d+)m(\d+)s", page)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part) for part in found.groups())
    return ((days * 24.0 + hours) * 60 + minutes) * 60 + seconds


def argv(option: str, value: t.Any) -> list[str]:
    """A command as a list of arguments. No shell reads it, so nothing in it needs quoting twice."""
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as exc:
            raise DowntimeError(f"{option} {value!r} cannot be split into words ({exc}); accepted: a command line, or a list of arguments") from exc
    elif isinstance(value, (list, tuple)) and all(isinstance(word, (str, int, float)) for word in value):
        words = [str(word) for word in value]
    else:
        raise DowntimeError(f"{option} is a {type(value).__name__}; accepted: a command line, or a list of arguments")
    if not words:
        raise DowntimeError(f"{option} is empty; accepted: a command line, or a list of arguments")
    return words


class NotReached(DowntimeError):
    """A member did not get where it should: what is known about it goes with the sentence."""

    def __init__(self, message: str, result: dict[str, t.Any]) -> None:
        super().__init__(message)
        self.details = result


@dataclass
class Reading:
    """One look at everything that can be asked."""

    off_for: float | None
    ready: bool
    said: str
    rows: list[Row] = field(default_factory=list)
    fleet: list[Row] = field(default_factory=list)
    gauge: int | None = None

    @property
    def in_flight(self) -> int | None:
        if self.rows:
            return sum(row.in_flight for row in self.rows)
        return self.gauge


# --- moving ----------------------------------------------------------------------------------------------------------


class Mover:
    """Moves the one member whose host this runs on."""

    def __init__(self, params: t.Mapping[str, t.Any], world: World, check_mode: bool = False) -> None:
        self.world = world
        self.check_mode = check_mode
        self.p = params
        self.started = world.clock()
        self.deadline = self.started + params["timeout"]
        self.off_argv: list[str] = []
        self.on_argv: list[str] = []
        self.name = self._validate()
        self.notice = params["inter"] * params["fall"]
        self.pools: list[dict[str, t.Any]] = list(params.get("pools") or [])
        self.headers: dict[str, str] = {}
        if params.get("stats_user"):
            secret = f"{params['stats_user']}:{params.get('stats_password') or ''}"
            self.headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        self.drained_by: DrainedBy = None
        self.proof: str | None = None

    # -- input --

    def _validate(self) -> str:
        p = self.p
        members = p.get("members") or []
        if len(members) != 1 or not members[0]:
            raise DowntimeError(f"members names {len(members)} members; accepted: exactly one, the member whose host this runs on")
        if p.get("weight") is not None:
            raise DowntimeError(f"weight is {p['weight']}; accepted: none, since failing a health check is all or nothing")
        if p.get("timeout_action") == "cut":
            raise DowntimeError("timeout_action is 'cut'; accepted: fail, since without the balancer there is nothing to cut connections with")
        _members.no_streams(p.get("streams"))
        for option in ("timeout", "fall", "rise"):
            if p[option] < 1:
                raise DowntimeError(f"{option} is {p[option]}; accepted: 1 or more")
        for option in ("inter", "connect_timeout", "read_timeout"):
            if p[option] <= 0:
                raise DowntimeError(f"{option} is {p[option]:g}; accepted: more than 0 seconds")
        if p["slowest_request"] < 0:
            raise DowntimeError(f"slowest_request is {p['slowest_request']:g}; accepted: 0 or more seconds")
        self._validate_switch()
        _request.split_url("check_url", p.get("check_url"))
        if p.get("in_flight"):
            _request.split_url("in_flight.url", p["in_flight"].get("url"))
        for url in p.get("stats_url") or []:
            _request.split_url("stats_url", url)
        if p.get("stats_url") and not p.get("pools"):
            raise DowntimeError("stats_url is given without pools; accepted: the pools (HAProxy backends) whose server this member is")
        _members.floor_of(p["min_active"], 100)
        self._validate_patience()
        return members[0]

    def _validate_switch(self) -> None:
        p = self.p
        commands = [option for option in ("off_command", "on_command") if p.get(option)]
        if p.get("off_file"):
            if commands:
                raise DowntimeError(f"off_file and {commands[0]} are both given; accepted: off_file, or off_command with on_command")
            if not os.path.isabs(p["off_file"]):
                raise DowntimeError(f"off_file is {p['off_file']!r}; accepted: an absolute path")
            return
        if len(commands) != 2:
            raise DowntimeError("nothing says how readiness is failed; accepted: off_file, or off_command with on_command")
        self.off_argv = argv("off_command", p["off_command"])
        self.on_argv = argv("on_command", p["on_command"])

    def _validate_patience(self) -> None:
        """A wait that can never end within the time-out is refused before anything is changed."""
        p = self.p
        if not p["wait"] or p.get("stats_url"):
            return
        if p["state"] == "active":
            need, what = p["inter"] * p["rise"], "inter × rise"
        elif p["state"] == "drained":
            need, what = p["inter"] * p["fall"], "inter × fall"
            if not p.get("in_flight"):
                need, what = need + p["slowest_request"], "inter × fall + slowest_request"
        else:
            return
        if need >= p["timeout"]:
            raise DowntimeError(f"timeout is {p['timeout']} s; accepted: more than the {need:g} s of {what}, which have to pass first")

    # -- reading --

    def _get(self, url: str, headers: t.Mapping[str, str] | None = None) -> _request.Answer:
        return self.world.get(url, self.p["connect_timeout"], self.p["read_timeout"], headers or {})

    def server_of(self, pool: t.Mapping[str, t.Any]) -> str:
        return pool.get("server") or self.name

    def _rows(self) -> tuple[list[Row], list[Row]]:
        """This member's rows, one a pool and balancer, and the whole pools' rows."""
        own: list[Row] = []
        fleet: list[Row] = []
        for url in self.p.get("stats_url") or []:
            answer = self._get(url, self.headers)
            if answer.error is not None or answer.status != 200:
                raise DowntimeError(f"stats_url {shown_url(url)!r} cannot be read: {answer.error or f'it answered {answer.status}'}")
            rows = parse_csv(url, answer.body)
            for pool in self.pools:
                inside = [row for row in rows if row.pool == pool["name"]]
                if not inside:
                    known = ", ".join(sorted({row.pool for row in rows})) or "none"
                    raise DowntimeError(f"pools names {pool['name']!r}, which {shown_url(url)} does not have; accepted: {known}")
                server = self.server_of(pool)
                mine = [row for row in inside if row.server == server]
                if not mine:
                    known = ", ".join(row.server for row in inside)
                    raise DowntimeError(f"members names {server!r}, which pool {pool['name']} at {shown_url(url)} does not have; accepted: {known}")
                if mine[0].status == "no check":
                    raise DowntimeError(
                        f"{server} in pool {pool['name']} has no health check at {shown_url(url)}, so it cannot leave traffic by failing one; "
                        "accepted: a server line with check"
                    )
                own += mine
                fleet += inside
        return own, fleet

    def _gauge(self) -> int | None:
        wanted = self.p.get("in_flight")
        if not wanted:
            return None
        answer = self._get(wanted["url"])
        if answer.error is not None:
            raise DowntimeError(f"in_flight.url {shown_url(wanted['url'])!r} cannot be read: {answer.error}")
        value = _request.json_field(answer.body, wanted.get("field")) if answer.status == 200 else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            where = f"field {wanted['field']!r}" if wanted.get("field") else "answer"
            raise DowntimeError(f"in_flight.url {shown_url(wanted['url'])!r} answered {answer.status}, and its {where} is no number; "
                                "accepted: a JSON number of 0 or more")
        return int(value)

    def _readiness(self) -> tuple[bool, str]:
        answer = self._get(self.p["check_url"])
        if answer.error is not None or answer.status is None:
            return False, answer.error or "no answer"
        # HAProxy's own rule for "option httpchk": 2xx and 3xx pass.
        return 200 <= answer.status < 400, f"answered {answer.status}"

    def read(self) -> Reading:
        off_for = self.world.age(self.p["off_file"]) if self.p.get("off_file") else None
        ready, said = self._readiness()
        rows, fleet = self._rows()
        return Reading(off_for=off_for, ready=ready, said=said, rows=rows, fleet=fleet)

    def is_off(self, reading: Reading) -> bool:
        """A command leaves no trace that could be looked at: then readiness itself is the switch's position."""
        if self.p.get("off_file"):
            return reading.off_for is not None
        return not reading.ready

    def state_of(self, reading: Reading) -> str:
        if reading.rows:
            if any(row.in_traffic for row in reading.rows):
                return "draining" if self.is_off(reading) else "active"
            if reading.in_flight:
                return "draining"
            return "drained" if self.is_off(reading) else "down"
        if reading.ready:
            return "draining" if self.is_off(reading) else "active"
        if not self.p.get("off_file"):
            return "drained" if reading.said.startswith("answered") else "down"
        if reading.off_for is None:
            return "down"
        return "drained" if reading.off_for >= self.notice + self.p["slowest_request"] else "draining"

    # -- results --

    def entries(self, reading: Reading, state: str) -> list[dict[str, t.Any]]:
        """One entry a pool, as every driver returns them."""
        parts = urlsplit(self.p["check_url"])
        entries = []
        for pool in self.pools or [{}]:
            rows = [row for row in reading.rows if row.pool == pool.get("name") and row.server == self.server_of(pool)]
            weights = [row.weight for row in rows if row.weight is not None]
            port = pool.get("port") or parts.port or (443 if parts.scheme == "https" else 80)
            address = rows[0].address if rows and rows[0].address else f"{parts.hostname}:{port}"
            entries.append(
                dict(
                    name=self.name,
                    pool=pool.get("name"),
                    address=address,
                    state=state,
                    weight=min(weights) if weights else None,
                    in_flight=sum(row.in_flight for row in rows) if rows else reading.gauge,
                    drained_by=self.drained_by,
                    cut=0,
                )
            )
        return entries

    def result(self, before: Reading, after: Reading, state: str, changed: bool) -> dict[str, t.Any]:
        # Waiting for what was begun earlier is no change, and a diff that shows one would contradict "changed".
        found = self.state_of(before) if changed else state
        return dict(
            changed=changed,
            members=self.entries(after, state),
            waited=round(self.world.clock() - self.started, 3),
            floor="enforced" if self.p.get("stats_url") else "unenforced",
            proof=self.proof,
            diff=dict(
                before=dict(members=[dict(name=self.name, state=found)]),
                after=dict(members=[dict(name=self.name, state=state)]),
            ),
        )

    def fail(self, sentence: str, before: Reading, after: Reading, changed: bool, **more: str) -> t.NoReturn:
        raise NotReached(sentence, {**self.result(before, after, self.state_of(after), changed), **more})

    # -- the moves --

    def run(self) -> dict[str, t.Any]:
        before = self.read()
        return self.activate(before) if self.p["state"] == "active" else self.take_out(before)

    def _floor(self, before: Reading) -> None:
        """How many would be left, as each balancer says. The other members of the same batch leave at the same moment."""
        if not any(row.in_traffic for row in before.rows):
            return
        leaving = set(self.p.get("together") or []) | {self.name}
        restored = (self.p.get("restored") or ()) if self.check_mode else ()
        for own in before.rows:
            fleet = [row for row in before.fleet if (row.url, row.pool) == (own.url, own.pool)]
            floor = _members.floor_of(self.p["min_active"], len(fleet))
            left = sum(1 for row in fleet if (row.serves or row.server in restored) and row.server != own.server and row.server not in leaving)
            if left < floor:
                raise DowntimeError(
                    f"min_active is {self.p['min_active']}, which of {len(fleet)} members in pool {own.pool} means {floor}, "
                    f"but {left} would be left without {', '.join(sorted(leaving))} at {shown_url(own.url)}; "
                    "accepted: fewer members at a time, or a lower floor"
                )

    def _switch(self, off: bool) -> None:
        path = self.p.get("off_file")
        if path:
            fault = self.world.fault_of_directory(path)
            if fault:
                raise DowntimeError(f"off_file {path!r} lies in a directory that {fault}; {DIRECTORY}")
            if not self.check_mode:
                (self.world.create if off else self.world.remove)(path)
            return
        if self.check_mode:
            return
        option, command = ("off_command", self.off_argv) if off else ("on_command", self.on_argv)
        code, out, err = self.world.run_command(command)
        if code != 0:
            # Only the program's name: its arguments may hold a token.
            last = ((err or out).strip().splitlines() or ["it said nothing"])[-1]
            raise DowntimeError(f"{option} ({command[0]}) ended with {code}: {last}; accepted: a command that ends with 0")

    def take_out(self, before: Reading) -> dict[str, t.Any]:
        changed = not self.is_off(before)
        if changed:
            self._floor(before)
            self._switch(off=True)
        if self.check_mode:
            return self.result(before, before, self.p["state"], changed)
        off_since = self.world.clock() - max(0.0, before.off_for or 0.0)
        if not self.p["wait"]:
            after = self.read()
            if self.p["state"] == "down":
                return self.result(before, after, "down", changed)
            # Only statistics can say without waiting that it is out already.
            return self.result(before, after, "drained" if after.rows and self.state_of(after) == "drained" else "draining", changed)
        failing = self._until_failing(before, changed)
        if self.p["state"] == "down":
            return self.result(before, failing, "down", changed)
        # Seconds that had passed before this call began count only if readiness was failing already when it began.
        if before.ready:
            off_since = self.world.clock()
        after = self._until_drained(before, off_since, changed)
        return self.result(before, after, "drained", changed)

    def _until_failing(self, before: Reading, changed: bool) -> Reading:
        while True:
            now = self.read()
            if not now.ready:
                return now
            if self.world.clock() >= self.deadline:
                switch = f"{self.p['off_file']} exists" if self.p.get("off_file") else "off_command has run"
                self.fail(
                    f"{self.name} still {now.said} at {shown_url(self.p['check_url'])} after {self.p['timeout']} s although {switch}: "
                    "the application does not heed it",
                    before,
                    now,
                    changed,
                )
            self._nap()

    def _nap(self) -> None:
        self.world.sleep(max(0.0, min(POLL, self.deadline - self.world.clock())))

    def _until_drained(self, before: Reading, off_since: float, changed: bool) -> Reading:
        quiet = 0
        while True:
            now = self.read()
            if now.ready:
                self.fail(
                    f"{self.name} became ready again while it was drained ({now.said} at {shown_url(self.p['check_url'])}): somebody or something put it back",
                    before,
                    now,
                    changed,
                )
            passed = self.world.clock() - off_since
            out, why = self._is_drained(now, passed)
            # Twice running: one look can fall between two requests that a balancer had already assigned.
            quiet = quiet + 1 if out else 0
            if quiet >= 2 or (out and self.drained_by == "waited"):
                return now
            if self.world.clock() >= self.deadline:
                self.drained_by = self.proof = None
                until_back = "; it stays out of traffic"
                self.fail(f"{self.name} is not drained after {self.p['timeout']} s: {why}{until_back}", before, now, changed, until_back=until_back)
            self._nap()

    def _is_drained(self, now: Reading, passed: float) -> tuple[bool, str]:
        """The ladder of proof. Says by what the member counts as drained, or why it does not."""
        if now.rows:
            busy = [row for row in now.rows if row.in_traffic or row.in_flight]
            if busy:
                return False, ", ".join(f"pool {row.pool} says {row.status} with {_requests(row.in_flight)}" for row in busy)
            if self._workers_old_enough():
                self.drained_by, self.proof = "sessions", "stats"
                return True, ""
        elif passed < self.notice:
            return False, f"the balancer needs inter × fall = {self.notice:g} s to notice, and {passed:.1f} s have passed"
        if self.p.get("in_flight"):
            now.gauge = self._gauge()
            if now.gauge:
                return False, f"the application says {_requests(now.gauge)}"
            self.drained_by, self.proof = "sessions", "gauge"
            return True, ""
        # With statistics the balancer's noticing is seen, and only what a replaced worker may still hold is waited for.
        need = self.p["slowest_request"] + (0 if now.rows else self.notice)
        if passed < need:
            return False, f"{need:g} s have to pass until the slowest request must have ended, and {passed:.1f} s have passed"
        self.drained_by, self.proof = "waited", None
        return True, ""

    def _workers_old_enough(self) -> bool:
        """
        Whether the workers that draw the statistics can speak for all requests.

        After a reload the new worker knows nothing of what the old one still carries. A worker that has lived longer than the
        slowest request leaves no such rest.
        """
        for url in self.p["stats_url"]:
            answer = self._get(re.sub(r";csv\b.*$", "", url), self.headers)
            uptime = parse_uptime(answer.body) if answer.status == 200 else None
            # HAProxy subtracts whole seconds of the clock: a worker that was born at 10.99 says 1 s at 11.00.
            if uptime is None or uptime - 1 < self.p["slowest_request"]:
                return False
        return True

    def activate(self, before: Reading) -> dict[str, t.Any]:
        kept_out = [row for row in before.rows if row.status.startswith("MAINT") or row.status == "DRAIN"]
        if kept_out:
            row = kept_out[0]
            raise DowntimeError(
                f"{row.server} in pool {row.pool} is in {row.status} at {shown_url(row.url)}: somebody took it out at the balancer; "
                "accepted: a member that only its health check keeps out"
            )
        # Only our switch is turned: a member that is not ready for a reason of its own has nothing to be switched on.
        changed = self.is_off(before)
        if changed:
            self._switch(off=False)
        if self.check_mode:
            return self.result(before, before, "active", changed)
        if not self.p["wait"]:
            after = self.read()
            return self.result(before, after, self.state_of(after), changed)
        after = self._until_serving(before, changed)
        return self.result(before, after, "active", changed)

    def _until_serving(self, before: Reading, changed: bool) -> Reading:
        ready_since: float | None = None
        need = self.p["inter"] * self.p["rise"]
        while True:
            now = self.read()
            clock = self.world.clock()
            why = f"{shown_url(self.p['check_url'])} says: {now.said}"
            if not now.ready:
                ready_since = None
            else:
                ready_since = clock if ready_since is None else ready_since
                absent = [row for row in now.rows if not row.serves]
                if now.rows and not absent:
                    self.proof = "stats"
                    return now
                if not now.rows and clock - ready_since >= need:
                    return now
                if absent:
                    why = ", ".join(f"pool {row.pool} says {row.status}{_slow(row)} {row.check}".rstrip() for row in absent)
                else:
                    why = f"inter × rise = {need:g} s have to pass, and it has been ready for {clock - ready_since:.1f} s"
            if clock >= self.deadline:
                self.fail(f"{self.name} does not serve after {self.p['timeout']} s: {why}", before, now, changed)
            self._nap()


def _requests(count: int) -> str:
    return f"{count} request in flight" if count == 1 else f"{count} requests in flight"


def _slow(row: Row) -> str:
    return f" at {row.throttle.rstrip('%')} % of its weight" if row.throttle and not row.serves else ""


def run(params: t.Mapping[str, t.Any], check_mode: bool, run_command: t.Callable[[list[str]], tuple[int, str, str]]) -> dict[str, t.Any]:
    """The module: behind the fence."""
    with _fence.fence(params, check_mode):
        return Mover(params, World(run_command), check_mode).run()
