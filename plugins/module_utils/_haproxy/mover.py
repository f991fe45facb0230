# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes servers of HAProxy out of traffic and back in, without losing a request. Private to the collection.

Out: no new requests, then nothing in flight in any worker, twice running, then maintenance. In: the re-admission gate (health down,
so that C(rise) checks have to pass, without traffic), then ready, then exactly UP with slow start over. The worker that was told is
noted: another one knows nothing of it, so its appearance voids what was seen and the move begins again.
"""

from __future__ import annotations

import socket
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of, told_back, told_gone, told_theirs, told_untold
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NotDrained, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import streams as _haproxy_streams
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.places import check_floor, find_places, in_flight
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.state import (
    CHECK_CONFIGURED, CHECK_ENABLED, CHECK_PASSED, FORCED_DRAIN, FORCED_MAINT, HTTP, RUNNING, STARTING, Key, Server, read_servers)
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Balancer, Snapshot
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

POLL = 0.05
ZEROES = 2
CUT_WITHIN = 5.0
# Seconds between two lists of all sessions, which are long where there are many.
LIST_EVERY = 0.5
PROBE_EVERY = 0.2
PROBE_PASSES = 3


class Request(t.NamedTuple):
    """What is wanted: the options of the module."""

    members: list[str]
    state: str
    pools: list[str] | None = None
    weight: int | None = None
    wait: bool = True
    timeout: float = 60
    timeout_action: str = "fail"
    min_active: str = "0"
    # Whom earlier moves would have brought back, where none is made.
    restored: t.Collection[str] = ()
    take_out: str = "auto"
    probe_path: str | None = None
    # What becomes of streams, and how long a request may last: what lasts longer is a stream.
    streams: str = "wait"
    slowest_request: float = 30.0
    check_mode: bool = False


class Knowledge(t.NamedTuple):
    """What the configuration says and the sockets do not; C(known) is false when it could not be read.

    :param sticky: pools that send a client back to its server.
    :param cuts: places whose sessions haproxy closes when they are marked down.
    :param lingers: whether old workers keep idle client connections, whose next request they may send to any server.
    """

    known: bool = False
    sticky: frozenset[str] = frozenset()
    cuts: frozenset[Key] = frozenset()
    lingers: bool = False


class View(t.NamedTuple):
    look: Snapshot
    servers: dict[Key, Server]
    level: str = "admin"


def probe(address: str, path: str | None, timeout: float = 1.0) -> str:
    """One try of our own on a server that haproxy does not check; returns what went wrong, or nothing."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) == 0:
        return f"its address {address} cannot be probed"
    # Only servers without checks need it, and it would cost every call its import.
    import http.client  # pylint: disable=import-outside-toplevel

    host = host.strip("[]")
    try:
        if not path:
            socket.create_connection((host, int(port)), timeout).close()
            return ""
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            status = connection.getresponse().status
        finally:
            connection.close()
        return "" if 200 <= status < 400 else f"{shown_url(path)} answered {status}"
    except (OSError, http.client.HTTPException) as error:
        return f"{shown_url(path) if path else 'its port'} did not answer ({error})"


class Mover:
    def __init__(self, balancer: Balancer, request: Request, knowledge: Knowledge | None = None, clock: t.Callable[[], float] = time.monotonic,
                 sleep: t.Callable[[float], None] = time.sleep, probe_member: t.Callable[[str, str | None], str] = probe,
                 memory: Memory | None = None) -> None:
        self.balancer, self.request, self.knowledge = balancer, request, knowledge or Knowledge()
        self.clock, self.sleep, self.probe = clock, sleep, probe_member
        self.places: dict[str, list[Key]] = {}
        self.commanded: set[str] = set()   # members that got a command: what "changed" means
        self.cuts: dict[str, int] = {}
        self.upgraded: dict[str, int] = {}  # of what was cut, what no counter calls a loss
        self.streams: dict[Key, int] = {}  # what was left open, since it were streams
        self.listed: float = float("-inf")
        self.only: set[Key] = set()        # places that had nothing but streams in the list before
        self.notes: list[str] = []
        self.waited_for_workers = False
        self.memory = memory
        self.theirs: set[Key] = set()      # places that somebody else took out
        self.let_go_of: set[Key] = set()   # places whose idle connections were closed
        self.lost: list[str] = []          # members that were out, and that a reload brought back
        self.removed: set[Key] = set()     # places whose server was removed during the move
        self.gone: list[str] = []          # members that were out, and that have no server any more

    # -- looking -----------------------------------------------------------------------------------------------------------
    def view(self, everything: t.Mapping[Key, Server] | None = None) -> View:
        """The servers now: all of them, or those of the pools that are concerned when C(everything) is known."""
        if everything is None:
            look = self.balancer.look(["show stat -1 4 -1", "show servers state", "show cli level"], ["show stat -1 4 -1"])
            return View(look, read_servers(look.replies[:1], look.replies[1:2]), look.replies[2].strip())
        pools = {key[0]: everything[key].iid for keys in self.places.values() for key in keys}
        look = self.balancer.look([f"show stat {iid} 4 -1" for iid in pools.values()] + [f"show servers state {pool}" for pool in pools],
                                  ["show stat -1 4 -1"])
        wanted = {key for keys in self.places.values() for key in keys}
        found = read_servers(look.replies[:len(pools)], look.replies[len(pools):], wanted)
        for key in wanted - set(found):
            if not self.was_there(key):
                raise DowntimeError(f"server {'/'.join(key)} is gone from haproxy since it was reloaded or changed; it was there when this move began")
            self.removed.add(key)
            self.places = self.without_removed(self.places)
        self.name_gone()
        return View(look, {**everything, **found})

    def without_removed(self, places: t.Mapping[str, list[Key]]) -> dict[str, list[Key]]:
        return {member: [key for key in keys if key not in self.removed] for member, keys in places.items()}

    def was_there(self, key: Key) -> bool:
        """Whether a place belongs to a member that this deploy has moved before: somebody who removes its server then is not in the way of the others."""
        return any(key in places and self.memory and self.memory.had(member) for member, places in self.places.items())

    def name_gone(self) -> None:
        """Note the members that have no server any more; their requests and their state are nobody's to tell."""
        new = [member for member, places in self.places.items() if not places and member not in self.gone]
        if new:
            self.gone += new
            self.notes.append(told_gone(new, "haproxy"))

    def run(self) -> dict[str, t.Any]:
        request = self.request
        if request.weight is not None and not 0 <= request.weight <= 256:
            raise DowntimeError(f"weight is {request.weight}; 0 to 256 is accepted")
        floor_of(request.min_active, 0)  # a text that means nothing is refused whatever the state
        started = self.clock()
        view = self.view()
        self.places = find_places(view.servers, request.members, request.pools, self.memory.had if self.memory else lambda dummy: False)
        self.name_gone()
        if view.level != "admin":
            raise DowntimeError(f"{self.balancer.runtime.label} gives the level '{view.level}'; moving members needs 'level admin' in its stats socket line")
        moved = {key for keys in self.places.values() for key in keys}
        self.remember(view)
        if request.state != "active":
            self.check_streams(view, moved)
            view = self.checked(view, {pool for pool, dummy in moved}, started)
            check_floor(view.servers, moved, request.min_active, request.restored if request.check_mode else ())
        before = {member: self.summary(view, member) for member in request.members}
        if request.check_mode:
            after = {member: self.predicted(view, member, before[member]) for member in request.members}
        else:
            view = self.activate(view, started) if request.state == "active" else self.take_out(view, started)
            after = {member: self.summary(view, member) for member in request.members}
        return self.result(view, before, after, self.clock() - started)

    def check_streams(self, view: View, places: t.Collection[Key]) -> None:
        """Refuse, before anything is moved, what could not tell streams from requests.

        In another mode than http a session is as old as its connection: a kept one looks like a stream, whatever request is on it.
        """
        others = {key[0]: view.servers[key].mode for key in sorted(places) if view.servers[key].mode != HTTP}
        if others and self.request.streams != "wait":
            raise DowntimeError(told_untold(f"streams is '{self.request.streams}'", "haproxy", others))

    def checked(self, view: View, pools: t.Collection[str], started: float) -> View:
        """The servers once each of the pools' has been checked: a floor cannot be judged while a fresh worker knows nobody's health."""
        while any(not server.known for key, server in view.servers.items() if key[0] in pools) and self.clock() - started < self.request.timeout:
            self.sleep(POLL)
            view = self.view()
        return view

    # -- what happened beside it -------------------------------------------------------------------------------------------
    def remember(self, view: View) -> None:
        """Compare what is found with what the journal says that deploys did; without a journal nothing is anybody's.

        What is out and was not taken out by a deploy somebody else took out, and it is theirs to bring back. What a deploy took out and is back
        came back by a reload, when another worker answers now, or else by somebody's hand.
        """
        memory = self.memory
        if memory is None:
            return
        back: list[str] = []
        theirs: dict[str, list[str]] = {}
        for member, keys in self.places.items():
            out = [key for key in keys if view.servers[key].admin & (FORCED_MAINT | FORCED_DRAIN)]
            others = [key for key in out if member not in memory.out or view.servers[key].label in memory.theirs.get(member, [])]
            self.theirs |= set(others)
            theirs[member] = [view.servers[key].label for key in others]
            worker = memory.out.get(member)
            if not worker or len(out) == len(keys):
                continue
            if worker == view.look.identity:
                back.append(member)
            else:
                self.lost.append(member)
                self.notes.append(f"haproxy was reloaded or started anew while {member} was out (worker {worker['pid']} then, {view.look.current} now): "
                                  f"{member} got requests since, and is taken out again"
                                  + (" until it has passed its checks" if self.request.state == "active" else ""))
        if not self.request.check_mode:
            memory.found_out(theirs)
        if self.theirs:
            self.notes.append(told_theirs([member for member, places in theirs.items() if places]))
        if back:
            told = told_back(back)
            if self.request.state != "active":
                raise DowntimeError(told)
            self.notes.append(told)

    def told(self, view: View, worker: int) -> int:
        """The worker that was told, or 0 when it is not the one that was looked at, so that the commands rest on another's state."""
        return worker if worker == view.look.current else 0

    def reloaded(self, view: View) -> None:
        self.notes.append(f"haproxy was reloaded during the move; worker {view.look.current} serves now, and the move began again in it")

    # -- out ---------------------------------------------------------------------------------------------------------------
    def first_step(self, view: View, key: Key) -> str:
        """C(drain) where C(maint) at once would lose something: sessions that stick, or requests that are cut when a server is marked down.

        Without the configuration nobody can tell whether maintenance cuts, so drain comes first there, too.
        """
        if self.request.take_out != "auto":
            return self.request.take_out
        return "maint" if self.drains_like_maint(view, key) else "drain"

    def drains_like_maint(self, view: View, key: Key) -> bool:
        """Whether C(drain) lets no more requests through than C(maint) does, and C(maint) cuts no more than C(drain)."""
        return self.knowledge.known and key not in self.knowledge.cuts and key[0] not in self.knowledge.sticky and not view.servers[key].cookie

    def leave(self, view: View, members: t.Iterable[str], step: str | None = None) -> int:
        """Send C(members) out of traffic, as far as they are not; returns the worker that was told."""
        commands: list[str] = []
        for member in members:
            for key in self.places[member]:
                server = view.servers[key]
                wanted = step or self.first_step(view, key)
                if server.admin & FORCED_MAINT or (wanted == "drain" and server.admin & FORCED_DRAIN):
                    continue
                if server.agent & CHECK_ENABLED:
                    # An agent that says "ready" would bring the member back on its own.
                    commands.append(f"disable agent {server.label}")
                commands.append(f"set server {server.label} state {wanted}")
                self.commanded.add(member)
        return self.balancer.command(commands) if commands else view.look.current

    def let_go(self, view: View, members: t.Iterable[str]) -> bool:
        """Have the connections closed that haproxy keeps open to empty members; whether there were any.

        On its way into maintenance a server loses the idle ones, but a request that is in flight then leaves its own open when it ends. A
        service that stops waits for those: gunicorn 2 s, others until they time out. The way into maintenance once more closes them.
        """
        kept = [key for member in members if member in self.commanded for key in self.places[member]
                if view.servers[key].idle and key not in self.let_go_of and key not in self.theirs and self.drains_like_maint(view, key)]
        if kept:
            # Once only: what is open still after that is not closed this way.
            self.let_go_of.update(kept)
            self.balancer.command([f"set server {view.servers[key].label} state {state}" for key in kept for state in ("drain", "maint")])
        return bool(kept)

    def take_out(self, view: View, started: float) -> View:
        request = self.request
        members = list(self.places)
        step = "maint" if request.state == "down" else None
        worker = self.told(view, self.leave(view, members, step))
        deadline = started + request.timeout
        streak = dict.fromkeys(members, 0)
        cutting: float | None = None
        while True:
            view = self.view(view.servers)
            if view.look.current != worker:
                # The new worker has read the configuration, in which everybody serves.
                self.reloaded(view)
                streak = dict.fromkeys(members, 0)
                worker = self.told(view, self.leave(view, members, step))
                continue
            if request.state == "down" or not request.wait:
                return view
            counts = in_flight(view.look, view.servers, self.places)
            blocked = view.look.unreadable or (sorted(view.look.old) if self.knowledge.lingers else [])
            if blocked:
                self.waited_for_workers = True
            for member in members:
                # A member whose state somebody else changed back is not out, whatever it has in flight.
                out = all(view.servers[key].admin & (FORCED_MAINT | FORCED_DRAIN) for key in self.places[member])
                streak[member] = streak[member] + 1 if out and not blocked and not sum(counts[member].values()) else 0
                if not out:
                    raise DowntimeError(f"member {member} was brought back into traffic by somebody else while it drained ("
                                        + ", ".join(f"{view.servers[key].label} is {view.servers[key].status}" for key in self.places[member]) + ")")
            empty = [member for member in members if streak[member] >= ZEROES]
            closing = [member for member in empty if not all(view.servers[key].admin & FORCED_MAINT for key in self.places[member])]
            if closing:
                # Sessions that stick may have come between the look and the command, so these are counted again.
                told = self.leave(view, closing, "maint")
                streak.update(dict.fromkeys(closing, 0))
                if told != worker:
                    continue
            elif len(empty) == len(members):
                if not self.let_go(view, members):
                    return view
                # No request can have come in between; one more look shows it, also when time is over.
                streak = dict.fromkeys(members, ZEROES - 1)
                self.sleep(POLL)
                continue
            now = self.clock()
            if cutting is None and not blocked and request.streams in ("leave", "cut"):
                left = [member for member in members if member not in empty]
                streams = self.only_streams(left) if left and now - self.listed >= LIST_EVERY else None
                entering = [member for member in left if streams and self.may_enter_maint(view, member)]
                if entering:
                    # Sessions that stick may have come between the list and the command, so there is another list.
                    self.leave(view, entering, "maint")
                    continue
                if streams and request.streams == "leave" and not any(self.may_return(view, member) for member in left):
                    self.let_go(view, left)
                    self.streams = streams
                    return view
                if streams and request.streams == "cut":
                    self.cut(view, {member: {key: streams.get(key, 0) for key in self.places[member]} for member in left})
                    cutting = now + CUT_WITHIN
                    continue
            if cutting is not None and now >= cutting:
                raise DowntimeError(f"{self.busy(counts, blocked)} still, {CUT_WITHIN:g} s after haproxy was told to shut their sessions")
            if cutting is None and now >= deadline:
                self.expire(view, counts, blocked)
                cutting = now + CUT_WITHIN
                continue
            self.sleep(POLL)

    def may_enter_maint(self, view: View, member: str) -> bool:
        """Whether maintenance is still to come for this member, and would cut nothing that it holds."""
        return any(not view.servers[key].admin & FORCED_MAINT for key in self.places[member]) and not any(
            not self.knowledge.known or key in self.knowledge.cuts for key in self.places[member])

    def may_return(self, view: View, member: str) -> bool:
        """Whether clients that stick to this member still come to it."""
        return any(not view.servers[key].admin & FORCED_MAINT and (key[0] in self.knowledge.sticky or view.servers[key].cookie)
                   for key in self.places[member])

    def only_streams(self, members: t.Iterable[str]) -> dict[Key, int] | None:
        """The streams of these members' places, once two lists running have shown nothing else there; else None."""
        keys = {key for member in members for key in self.places[member]}
        self.listed = self.clock()
        found = _haproxy_streams.held(self.balancer.look([_haproxy_streams.COMMAND], [_haproxy_streams.COMMAND]), keys, self.request.slowest_request)
        before, self.only = self.only, {key for key, held in found.items() if held.streams and not held.requests}
        quiet = {key for key, held in found.items() if not held.requests}
        return {key: found[key].streams for key in self.only} if quiet == keys and self.only and self.only <= before else None

    def busy(self, counts: t.Mapping[str, t.Mapping[Key, int]], blocked: t.Sequence[int]) -> str:
        left = [f"{'/'.join(key)} ({count} in flight)" for keys in counts.values() for key, count in keys.items() if count]
        text = ", ".join(left[:20]) + (f" and {len(left) - 20} more" if len(left) > 20 else "")
        if blocked:
            text += ("; " if text else "") + f"haproxy workers from before a reload live ({', '.join(map(str, blocked))}) and may hold requests for them"
        return text or "members that had just become empty"

    def expire(self, view: View, counts: t.Mapping[str, t.Mapping[Key, int]], blocked: t.Sequence[int]) -> None:
        """The deadline is over: fail, leaving everybody out and everything in flight alone, or cut."""
        request = self.request
        if request.timeout_action != "cut":
            sticking = any(count and not view.servers[key].admin & FORCED_MAINT for keys in counts.values() for key, count in keys.items())
            raise NotDrained(f"after {request.timeout:g} s not drained: {self.busy(counts, blocked)}; nothing was cut", f", and {', '.join(self.places)} get "
                             + ("only the requests of clients that stick to them (take_out=maint sends those elsewhere, too)" if sticking
                                else "no new requests") + " until they are activated")
        if blocked and view.look.unreadable:
            raise DowntimeError(f"after {request.timeout:g} s not drained: {self.busy(counts, blocked)}; they cannot be cut without master_socket")
        self.cut(view, counts)

    def cut(self, view: View, counts: t.Mapping[str, t.Mapping[Key, int]]) -> None:
        """Shut the sessions of members that still have some, and count them."""
        members = [member for member, held in counts.items() if sum(held.values())]
        self.leave(view, members, "maint")
        keys = [key for member in members for key in self.places[member]]
        held = _haproxy_streams.held(self.balancer.look([_haproxy_streams.COMMAND], [_haproxy_streams.COMMAND]), keys, self.request.slowest_request)
        for member in members:
            self.cuts[member] = sum(counts[member].values())
            self.upgraded[member] = min(self.cuts[member], sum(held[key].upgraded for key in self.places[member]))
        self.balancer.cut([key for member in members for key, count in counts[member].items() if count], view.look.old)

    # -- in ----------------------------------------------------------------------------------------------------------------
    def wants_weight(self, server: Server) -> bool:
        return self.request.weight is not None and server.weight != self.request.weight

    def serving(self, server: Server) -> bool:
        """Exactly what serves at the full weight it has: no failing check, slow start over."""
        if server.admin or server.op != RUNNING or server.throttle != 100:
            return False
        return server.status in ("UP", "no check") or (server.weight == 0 and server.status == "DRAIN")

    def gate(self, view: View, members: t.Iterable[str]) -> int:
        """Begin the re-admission gate: out of maintenance, but without traffic, and with no check passed.

        One that still holds something, after a drain that failed, keeps the checks that it has passed where marking it down would cut that.
        """
        members = list(members)
        counts = in_flight(view.look, view.servers, {member: self.places[member] for member in members})
        commands: list[str] = []
        for member in members:
            for key in self.places[member]:
                server = view.servers[key]
                self.commanded.add(member)
                if server.checked and counts[member][key] and (not self.knowledge.known or key in self.knowledge.cuts):
                    commands.append(f"set server {server.label} state drain")
                elif server.checked:
                    # Side by side, so that no check comes between them.
                    commands += [f"set server {server.label} state drain", f"set server {server.label} health down"]
                elif server.tracked:
                    commands.append(f"set server {server.label} state drain")
                elif not server.admin & FORCED_MAINT:
                    commands.append(f"set server {server.label} state maint")
        return self.balancer.command(commands) if commands else view.look.current

    def passed(self, view: View, key: Key, probes: dict[Key, tuple[int, float, str]]) -> bool:
        server = view.servers[key]
        if server.checked:
            return server.op in (STARTING, RUNNING) and server.check_result == CHECK_PASSED
        if server.tracked:
            # Its own passes are those of the server that it tracks, which is a place of the same member.
            return server.op in (STARTING, RUNNING)
        passes, last, dummy = probes.get(key, (0, float("-inf"), ""))
        now = self.clock()
        if passes < PROBE_PASSES and now - last >= PROBE_EVERY:
            wrong = self.probe(server.address, self.request.probe_path)
            passes = 0 if wrong else passes + 1
            probes[key] = (passes, now, wrong)
        return passes >= PROBE_PASSES

    def admit(self, view: View, members: t.Iterable[str]) -> int:
        commands: list[str] = []
        for member in members:
            for key in self.places[member]:
                server = view.servers[key]
                if self.wants_weight(server):
                    commands.append(f"set server {server.label} weight {self.request.weight}")
                    self.commanded.add(member)
                if server.admin & (FORCED_MAINT | FORCED_DRAIN):
                    commands.append(f"set server {server.label} state ready")
                if server.agent & CHECK_CONFIGURED and not server.agent & CHECK_ENABLED:
                    commands.append(f"enable agent {server.label}")
                    self.commanded.add(member)
        return self.balancer.command(commands) if commands else view.look.current

    def activate(self, view: View, started: float) -> View:
        deadline = started + self.request.timeout
        # What somebody else took out is left alone: it is neither admitted nor waited for.
        everywhere = self.places
        self.places = {member: mine for member, keys in everywhere.items() if (mine := [key for key in keys if key not in self.theirs])}
        try:
            return self.bring_back(view, deadline)
        finally:
            self.places = self.without_removed(everywhere)

    def bring_back(self, view: View, deadline: float) -> View:
        request = self.request
        members = list(self.places)
        gated = [member for member in members
                 if member in self.lost or any(view.servers[key].admin & (FORCED_MAINT | FORCED_DRAIN) for key in self.places[member])]
        # Members that nobody took out need no gate: haproxy's own checks already decide about them.
        worker = self.told(view, self.admit(view, [member for member in members if member not in gated]))
        if gated and worker:
            worker = self.told(view, self.gate(view, gated))
        probes: dict[Key, tuple[int, float, str]] = {}
        if not request.wait:
            return self.view(view.servers)
        while True:
            view = self.view(view.servers)
            if view.look.current != worker:
                self.reloaded(view)
                gated = list(members)
                worker = self.told(view, self.gate(view, gated))
                probes = {}
                continue
            # All places, also after one that has not passed: each probe of our own is a step of its own.
            passed = {member: [self.passed(view, key, probes) for key in self.places[member]] for member in gated}
            ready = [member for member in gated if all(passed[member])]
            if ready:
                told = self.admit(view, ready)
                gated = [member for member in gated if member not in ready]
                if told != worker:
                    continue
                view = self.view(view.servers)
            if not gated and view.look.current == worker and all(self.serving(view.servers[key]) for member in members for key in self.places[member]):
                return view
            if self.clock() >= deadline:
                self.give_up(view, members, gated, probes)
            self.sleep(POLL)

    def give_up(self, view: View, members: t.Iterable[str], gated: t.Sequence[str], probes: t.Mapping[Key, tuple[int, float, str]]) -> None:
        missing: list[str] = []
        for member in members:
            for server in (view.servers[key] for key in self.places[member]):
                if member not in gated and self.serving(server):
                    continue
                text = f"{server.label} is {server.status}"
                if member in gated and server.key in probes:
                    text += f", {probes[server.key][2] or 'its probes did not pass often enough'}"
                elif server.checked:
                    text += f", last check {server.check or 'not made'}"
                if server.throttle != 100:
                    text += f", slow start at {server.throttle} %"
                missing.append(text)
        if gated:
            # Left in drain, a member that becomes healthy later would get the sessions that stick to it.
            self.leave(view, gated, "maint")
        raise DowntimeError(f"after {self.request.timeout:g} s not active: {'; '.join(missing[:20])}"
                            + (f"; {', '.join(gated)} went back to maintenance" if gated else ""))

    # -- what is told ------------------------------------------------------------------------------------------------------
    def summary(self, view: View, member: str) -> list[dict[str, t.Any]]:
        counts = in_flight(view.look, view.servers, {member: self.places[member]})[member]
        rows: list[dict[str, t.Any]] = []
        for key in self.places[member]:
            server = view.servers[key]
            open_now = None if view.look.unreadable else counts[key]
            rows.append({"name": member, "pool": key[0], "server": key[1], "address": server.address, "state": server.state(open_now),
                         "weight": server.weight, "in_flight": open_now, "status": server.status, "full": server.full})
        return rows

    def predicted(self, view: View, member: str, rows: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
        """What would follow, for check mode: really read, nothing sent."""
        request = self.request
        after: list[dict[str, t.Any]] = []
        for row in rows:
            server = view.servers[(row["pool"], row["server"])]
            row = dict(row)
            if request.state == "active":
                if server.admin & (FORCED_MAINT | FORCED_DRAIN) or self.wants_weight(server):
                    self.commanded.add(member)
                row["state"] = "active"
                row["weight"] = server.weight if request.weight is None else request.weight
            else:
                if not server.admin & FORCED_MAINT:
                    self.commanded.add(member)
                row["state"] = request.state
            after.append(row)
        return after

    def result(self, view: View, before: t.Mapping[str, list[dict[str, t.Any]]], after: t.Mapping[str, list[dict[str, t.Any]]],
               waited: float) -> dict[str, t.Any]:
        request = self.request
        members: list[dict[str, t.Any]] = []
        for member in request.members:
            first = {(row["pool"], row["server"]): row for row in before[member]}
            for row in after[member]:
                row, was = dict(row), first[row["pool"], row["server"]]
                if request.state == "down" and row["state"] in ("drained", "draining"):
                    row["state"] = "down"
                done = request.state == "drained" and row["state"] == "drained" and not request.check_mode
                row["drained_by"] = ("workers_exited" if self.waited_for_workers else "sessions") if done and request.wait else None
                first_place = row["pool"] == after[member][0]["pool"]
                row["cut"] = self.cuts.get(member, 0) if first_place else 0
                row["cut_answers"] = row["cut"] - self.upgraded.get(member, 0) if first_place else 0
                row["streams"] = self.streams.get((row["pool"], row["server"]), 0)
                if row["streams"] and row["state"] == "draining":
                    # What is left is for the application to end; nobody waits for it here.
                    row["state"] = "drained"
                row["found"] = was["state"]
                members.append(row)
        # Both are maintenance to HAProxy: who asks for "down" must not be told of a change from "drained" that nobody made.
        same = request.state == "down"
        found = [{**row, "state": "down"} if same and row["status"].startswith("MAINT") else row for member in request.members for row in before[member]]
        diff = {"before": _compact(found), "after": _compact(members)}
        out_before = [member for member in request.members if before[member] and all(row["status"].startswith("MAINT") for row in before[member])]
        return {
            "changed": bool(self.commanded),
            "members": members,
            "diff": diff,
            "waited": round(waited, 3),
            "workers": [worker.as_dict() for worker in view.look.workers],
            "already_out": out_before,
            "theirs": sorted({key[1] for key in self.theirs} & set(request.members)),
            "lost": self.lost,
            "gone": self.gone,
            "worker": view.look.identity,
            "notes": self.notes,
        }


def _compact(rows: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    return {f"{row['pool']}/{row['server']}": {"state": row["state"], "weight": row["weight"]} for row in rows}
