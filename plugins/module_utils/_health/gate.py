# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
The health gate: asks every member whether it really serves the release that it should.

This module_util is private to the collection: do not import it from outside.

The same code runs on the controller (action plugin) and on a balancer's host (module), because "healthy" seen from
the controller says little about the network path that requests will take.
"""

from __future__ import annotations

import re
import ssl
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, agreeing, is_phrase, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof
from ansible_collections.zero.downtime.plugins.module_utils._health.request import SHORTEST, Answer, Clock, Sleep, request, split_url

# Threads, not members: a fleet of a thousand is probed in slices, each slice at once.
MAX_THREADS = 128


def member_spec() -> dict[str, t.Any]:
    return dict(
        name=dict(type="str", required=True),
        url=dict(type="str", required=True),
        digest=dict(type="str"),
        proof=dict(_proof.OPTION),
    )


def smoke_spec() -> dict[str, t.Any]:
    return dict(
        path=dict(type="str", required=True),
        status=dict(type="list", elements="int", default=[]),
        body=dict(type="str"),
        host=dict(type="str"),
    )


def argument_spec() -> dict[str, t.Any]:
    """The options of ``health_gate``, for the module and for the action plugin alike."""
    spec: dict[str, t.Any] = dict(
        members=dict(type="list", elements="dict", required=True, options=member_spec()),
        # Said aloud, since the name looks like that of a secret.
        passes=dict(type="int", default=3, no_log=False),
        interval=dict(type="float", default=0.2),
        timeout=dict(type="int", default=60),
        connect_timeout=dict(type="float", default=2.0),
        read_timeout=dict(type="float", default=5.0),
        status=dict(type="list", elements="int", default=[200]),
        body=dict(type="str"),
        header=dict(type="str"),
        digest=dict(type="str"),
        host=dict(type="str"),
        smoke=dict(type="list", elements="dict", default=[], options=smoke_spec()),
        validate_certs=dict(type="bool", default=True),
        ca_path=dict(type="path"),
        on_failure=dict(type="str", choices=["fail", "report"], default="fail"),
        run_dir=dict(type="path"),
        step=dict(type="str", default="gate"),
        batch=dict(type="int"),
    )
    # A keyword of Python, hence not an argument of dict().
    spec["from"] = dict(type="str", default="controller")
    return spec


@dataclass(frozen=True)
class Target:
    """One member and where it answers."""

    name: str
    url: str
    digest: str | None = None
    proof: str = _proof.NEEDED


@dataclass(frozen=True)
class Smoke:
    """What users ask, and what it has to answer; without C(status) any answer below 500 passes, since a stranger may be sent elsewhere."""

    path: str
    status: tuple[int, ...] = ()
    body: re.Pattern[str] | None = None
    host: str | None = None


@dataclass(frozen=True)
class Check:
    """What counts as a pass, and how patient the gate is."""

    passes: int = 3
    interval: float = 0.2
    timeout: float = 60
    connect_timeout: float = 2.0
    read_timeout: float = 5.0
    status: tuple[int, ...] = (200,)
    body: re.Pattern[str] | None = None
    header: str | None = None
    digest: str | None = None
    host: str | None = None
    smoke: tuple[Smoke, ...] = ()
    validate_certs: bool = True
    ca_path: str | None = None


Attempt = t.Callable[[Target, Check, float], Answer]
# What users ask, asked of one member.
Ask = t.Callable[[Target, Smoke, Check, float], Answer]


# --- input -----------------------------------------------------------------------------------------------------------


def parse(params: t.Mapping[str, t.Any]) -> tuple[list[Target], Check]:
    """Checks every option before the first request is sent."""
    members = params.get("members") or []
    targets: list[Target] = []
    seen: set[str] = set()
    for index, member in enumerate(members):
        name = member.get("name")
        if not name:
            raise DowntimeError(f"members[{index}].name is empty; accepted: the name of a member")
        if name in seen:
            raise DowntimeError(f"members names {name!r} twice; accepted: each member once")
        seen.add(name)
        split_url(f"members[{index}].url (of {name})", member.get("url"))
        targets.append(Target(name=name, url=member["url"], digest=member.get("digest") or None, proof=member.get("proof") or _proof.NEEDED))

    passes = params["passes"]
    if passes < 1:
        raise DowntimeError(f"passes is {passes}; accepted: 1 or more")
    if params["interval"] < 0:
        raise DowntimeError(f"interval is {params['interval']:g}; accepted: 0 or more seconds")
    for option in ("timeout", "connect_timeout", "read_timeout"):
        if params[option] <= 0:
            raise DowntimeError(f"{option} is {params[option]:g}; accepted: more than 0 seconds")
    status = params["status"]
    if not status:
        raise DowntimeError("status is empty; accepted: HTTP status codes, for example [200]")
    _check_status("status", status)
    header = params.get("header") or None
    if header is not None and not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header):
        raise DowntimeError(f"header {header!r} is not the name of an HTTP header; accepted: for example x-release")
    digest = params.get("digest") or None
    if header is None and (digest or any(target.digest for target in targets)):
        raise DowntimeError("digest is given without header; accepted: header names the HTTP header in which a member says what it runs, for example x-release")
    host = _host("host", params.get("host"))
    return targets, Check(
        passes=passes,
        interval=params["interval"],
        timeout=params["timeout"],
        connect_timeout=params["connect_timeout"],
        read_timeout=params["read_timeout"],
        status=tuple(status),
        body=_pattern("body", params.get("body")),
        header=header,
        digest=digest,
        host=host,
        smoke=tuple(_smoke(index, entry) for index, entry in enumerate(params.get("smoke") or ())),
        validate_certs=params["validate_certs"],
        ca_path=params.get("ca_path") or None,
    )


def _check_status(option: str, codes: t.Iterable[int]) -> None:
    for code in codes:
        if not 100 <= code <= 599:
            raise DowntimeError(f"{option} contains {code}; accepted: HTTP status codes from 100 to 599")


def _pattern(option: str, text: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as exc:
        raise DowntimeError(f"{option} {text!r} is not a regular expression ({exc}); accepted: Python's syntax") from exc


def _host(option: str, name: str | None) -> str | None:
    if name and re.search(r"[\x00-\x20\x7f/]", name):
        raise DowntimeError(f"{option} {name!r} is not a host name; accepted: for example shop.example")
    return name or None


def _smoke(index: int, entry: t.Mapping[str, t.Any]) -> Smoke:
    option = f"smoke[{index}]"
    path = entry.get("path") or ""
    if not path.startswith("/") or re.search(r"[\x00-\x20\x7f]", path):
        raise DowntimeError(f"{option}.path is {shown_url(path)!r}; accepted: a path that begins with / and has no space, for example /search?q=tea")
    _check_status(option + ".status", entry.get("status") or ())
    return Smoke(path, tuple(entry.get("status") or ()), _pattern(option + ".body", entry.get("body")), _host(option + ".host", entry.get("host")))


# --- one attempt -----------------------------------------------------------------------------------------------------


def _tls_context(check: Check) -> ssl.SSLContext:
    if not check.validate_certs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=check.ca_path)
    except (OSError, ssl.SSLError) as exc:
        raise DowntimeError(f"ca_path {check.ca_path!r} cannot be read ({exc}); accepted: a file of PEM certificates") from exc


def http_attempt(check: Check, targets: t.Sequence[Target], clock: Clock = time.monotonic) -> Attempt:
    """An attempt over real sockets. The TLS context is built once, and where it is needed: it reads certificate files, which takes longer than a check."""
    context = _tls_context(check) if check.ca_path or any(urlsplit(target.url).scheme == "https" for target in targets) else None

    def attempt(target: Target, check: Check, left: float) -> Answer:
        return request(
            target.url,
            connect_timeout=min(check.connect_timeout, left),
            read_timeout=min(check.read_timeout, left),
            left=left,
            host=check.host,
            context=context,
            clock=clock,
        )

    return attempt


def http_ask(check: Check, targets: t.Sequence[Target], clock: Clock = time.monotonic) -> Ask:
    """What users ask, over real sockets, of each member directly: with the public name as C(Host), and the certificate as the check has it."""
    context = _tls_context(check) if any(urlsplit(target.url).scheme == "https" for target in targets) else None

    def ask(target: Target, smoke: Smoke, check: Check, left: float) -> Answer:
        parts = urlsplit(target.url)
        return request(
            f"{parts.scheme}://{parts.netloc}{smoke.path}",
            connect_timeout=min(check.connect_timeout, left),
            read_timeout=min(check.read_timeout, left),
            left=left,
            host=smoke.host or check.host,
            server_name=None if check.host else parts.hostname,
            context=context,
            clock=clock,
        )

    return ask


# --- judging ---------------------------------------------------------------------------------------------------------


def plain_digest(value: str) -> str:
    """Digests are compared without their algorithm's prefix: ledgers write it, HTTP headers often do not."""
    value = value.strip().lower()
    return value[len("sha256:"):] if value.startswith("sha256:") else value


def judge(answer: Answer, target: Target, check: Check) -> tuple[bool, str]:
    """Whether an answer is a pass, and in words what was answered."""
    if answer.error is not None:
        return False, answer.error
    said = f"answered {answer.status}"
    if answer.status not in check.status:
        location = answer.headers.get("location")
        if location:
            said += f" (a redirect to {shown_url(location)}, which is not followed)"
        return False, said
    value = answer.headers.get(check.header.lower()) if check.header is not None else None
    expected = target.digest or check.digest
    if value is not None and expected is not None and plain_digest(value) != plain_digest(expected):
        return False, f"{said} with {check.header} {value!r} instead of {expected!r}"
    if check.body is not None and not check.body.search(answer.body):
        return False, f"{said} with a body that does not match {check.body.pattern!r}"
    if check.header is not None and value is None:
        return target.proof == _proof.OPTIONAL, f"{said}, {_proof.without(check.header)}"
    return True, said


def is_bare(answer: Answer, check: Check) -> bool:
    """Whether a member is ready and does not say with which release."""
    return (check.header is not None and check.header.lower() not in answer.headers and answer.error is None and answer.status in check.status
            and (check.body is None or bool(check.body.search(answer.body))))


def judge_smoke(answer: Answer, smoke: Smoke) -> tuple[bool, str]:
    """Whether what users ask was answered as it has to be, and in words what was answered."""
    if answer.error is not None:
        return False, answer.error
    said = f"answered {answer.status}"
    if answer.status not in smoke.status if smoke.status else (answer.status or 0) >= 500:
        return False, said
    if smoke.body is not None and not smoke.body.search(answer.body):
        return False, f"{said} with a body that does not match {smoke.body.pattern!r}"
    return True, said


@dataclass
class _Member:
    target: Target
    passes: int = 0
    attempts: int = 0
    status: int | None = None
    digest: str | None = None
    detail: str = "was not asked"
    waited: float = 0.0
    # What users ask and it did not answer as it has to; None before it was asked.
    smoke: str | None = None
    # Since when it has been ready without saying with which release.
    bare: float | None = None

    def note(self, answer: Answer, check: Check, waited: float) -> None:
        self.attempts += 1
        ok, self.detail = judge(answer, self.target, check)
        self.status = answer.status
        self.bare = (waited if self.bare is None else self.bare) if is_bare(answer, check) else None
        self.digest = answer.headers.get(check.header.lower()) if check.header else None
        before = self.passes
        self.passes = self.passes + 1 if ok else 0
        if not ok:
            # That it is not ready any more says more than what it answered while it was.
            self.smoke = None
        if before < check.passes:
            self.waited = waited

    def tells_nothing(self, waited: float) -> bool:
        """Whether it has been ready for so long without the header that more time would not bring it."""
        return self.target.proof == _proof.SEEN and self.bare is not None and waited - self.bare >= _proof.AFTER

    def result(self, check: Check) -> dict[str, t.Any]:
        return dict(
            name=self.target.name,
            ok=self.passes >= check.passes and not self.smoke,
            passes=self.passes,
            attempts=self.attempts,
            status=self.status,
            digest=self.digest,
            detail=self.smoke or self.detail,
            unproven=self.bare is not None,
            waited=round(self.waited, 3),
        )


def gate(
    targets: t.Sequence[Target],
    check: Check,
    attempt: Attempt | None = None,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
    ask_smoke: Ask | None = None,
) -> dict[str, t.Any]:
    """
    Probes all members in rounds until each has ``passes`` passes in a row, or the time is over.

    Then each is asked once what users ask, since a release may call itself ready and answer nothing else.

    A member that has passed is asked again in each round, so that success means "all of them, now", not "each of them, once":
    a member that dies while another warms up does not slip through.
    """
    ask = attempt if attempt is not None else http_attempt(check, targets, clock)
    if ask_smoke is None and check.smoke:
        ask_smoke = http_ask(check, targets, clock)
    members = [_Member(target) for target in targets]
    started = clock()
    deadline = started + check.timeout
    with ThreadPoolExecutor(max_workers=min(len(members), MAX_THREADS)) as pool:
        while True:
            begun = clock()
            # Worked out for each: of more members than threads the later ones have less of it.
            answers = list(pool.map(lambda member: ask(member.target, check, max(deadline - clock(), SHORTEST)), members))
            now = clock()
            for member, answer in zip(members, answers):
                # An attempt that our own deadline cut short must not replace what the member really said.
                if answer.timed_out and now >= deadline and member.attempts:
                    continue
                member.note(answer, check, now - started)
            if all(member.passes >= check.passes for member in members):
                _smoke_round(pool, members, check, ask_smoke, lambda: deadline - clock())
                if not any(member.smoke for member in members):
                    break
            left = deadline - clock()
            behind = [member for member in members if member.passes < check.passes]
            if left <= 0 or (behind and all(member.tells_nothing(clock() - started) for member in behind)):
                break
            # A round of many members takes its own time, which is part of the interval.
            sleep(max(0.0, min(begun + check.interval - clock(), left)))
            if clock() >= deadline:
                break
    waited = round(clock() - started, 3)
    results = [member.result(check) for member in members]
    bad = [member for member in results if not member["ok"]]
    if not bad:
        return dict(changed=False, members=results, waited=waited, problems=[], notes=_notes(results, check))
    told = sentence(bad, len(results), check)
    return dict(changed=False, members=results, waited=waited, problems=[told], notes=[], failed=True, msg=told)


def _notes(passed: t.Sequence[t.Mapping[str, t.Any]], check: Check) -> list[str]:
    """Whose release nobody has proven, although it passed."""
    names = [member["name"] for member in passed if member["unproven"]]
    return [f"{agreeing(names, 'is', 'are')} ready, {_proof.without(str(check.header))}; accepted by readiness alone"] if names else []


def _smoke_round(pool: ThreadPoolExecutor, members: t.Sequence[_Member], check: Check, ask: Ask | None, left: t.Callable[[], float]) -> None:
    """Ask every member what users ask, and note the first that it does not answer as it has to, or that no time was left for."""
    if ask is None:
        return

    def of(member: _Member) -> str | None:
        for smoke in check.smoke:
            now = left()
            well, said = judge_smoke(ask(member.target, smoke, check, now), smoke) if now > 0 else (False, "was not asked any more")
            if not well:
                return f"is ready, but GET {shown_url(smoke.path)}: {said}"
        return None

    for member, found in zip(members, pool.map(of, members)):
        member.smoke = found


def sentence(bad: t.Sequence[t.Mapping[str, t.Any]], total: int, check: Check) -> str:
    """Names each member that did not pass, and what it said last."""
    each = "; ".join(
        f"{member['name']} last {member['detail']}"
        if member["detail"].startswith("answered")
        else f"{member['name']} {member['detail']}"
        if _is_ready(member, check)
        else f"{member['name']}: {member['detail']}"
        if not member["passes"]
        else member["name"]
        for member in (_with_passes(member, check) for member in bad)
    )
    who, are_ready = f"{len(bad)} of {total} members", "are ready, but which release they run"
    if is_phrase(bad[0]["name"]):
        # A platform, which stands where members would and is the only one.
        who, are_ready = bad[0]["name"], "is ready, but which release it runs"
        each = each.replace(f"{who}: ", "", 1).replace(who, "it", 1)
    if all(member.get("unproven") and not _is_ready(member, check) for member in bad):
        return f"{who} {are_ready} is unproven: {each}"
    if all(_is_ready(member, check) for member in bad):
        return f"{who} did not answer what users ask within {check.timeout:g} s: {each}"
    runs = "pass" if check.passes == 1 else "passes in a row"
    return f"{who} did not reach {check.passes} {runs} within {check.timeout:g} s: {each}"


def _is_ready(member: t.Mapping[str, t.Any], check: Check) -> bool:
    """Of a member that failed: whether it passed its readiness check, so that what users ask is what it did not answer."""
    return member["passes"] >= check.passes


def _with_passes(member: t.Mapping[str, t.Any], check: Check) -> dict[str, t.Any]:
    """A member whose last answer was a pass must not read as if that answer were the fault."""
    told = dict(member)
    if member["passes"] and not _is_ready(member, check):
        told["detail"] = f"{member['detail']}, only {member['passes']} of {check.passes} in a row"
    return told


def look(params: t.Mapping[str, t.Any], within: float) -> list[dict[str, t.Any]]:
    """One question to each member, at most C(within) seconds: what it answers now, whatever that is.

    Whoever did not get so far in that time (C(timed_out)) may be ready all the same.
    """
    targets, check = parse(params)
    if not targets:
        return []
    attempt = http_attempt(check, targets)
    with ThreadPoolExecutor(max_workers=min(len(targets), MAX_THREADS)) as pool:
        answers = list(pool.map(lambda target: attempt(target, check, within), targets))
    members = [_Member(target) for target in targets]
    for member, answer in zip(members, answers):
        member.note(answer, check, 0.0)
    return [{**member.result(check), "timed_out": answer.timed_out} for member, answer in zip(members, answers)]


def run(params: t.Mapping[str, t.Any], check_mode: bool = False, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> dict[str, t.Any]:
    """What both the module and the action plugin call."""
    targets, check = parse(params)
    if not targets:
        # Nobody to wait for, as when no member of a batch can go back. The other options have been checked all the same.
        return dict(changed=False, members=[], waited=0.0, problems=[], notes=[])
    result = gate(targets, check, clock=clock, sleep=sleep)
    if params["on_failure"] == "report":
        result.pop("failed", None)
    return result
