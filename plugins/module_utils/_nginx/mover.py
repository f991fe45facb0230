# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes servers of nginx out of traffic and back in, without losing a request. Private to the collection.

Out: the word down in the upstream file, a reload that is seen to have happened, and then every worker from before it has exited, which is
the only sign nginx gives that nothing is in flight any more. In: probes of our own have to pass, since nginx has no health checks, then
down goes away and nginx is reloaded in the same way.
"""

from __future__ import annotations

import collections
import dataclasses
import signal
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of, told_back, told_gone, told_theirs
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NotDrained
from ansible_collections.zero.downtime.plugins.module_utils._nginx.pools import probe, read_pools, resolved, silent
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx, Revision
from ansible_collections.zero.downtime.plugins.module_utils._nginx.split import kept
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import Upstream
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

POLL = 0.05
CUT_WITHIN = 5.0
PROBE_EVERY = 0.2
PROBE_PASSES = 3
WEIGHT_MOST = 65535

Key = t.Tuple[str, str]  # pool and member


@dataclasses.dataclass
class Request:
    """What is wanted: the options of the module. C(pools) maps a pool to the addresses of members that are known without its file."""

    members: list[str]
    state: str
    pools: t.Mapping[str, t.Mapping[str, str]] = dataclasses.field(default_factory=dict)
    weight: int | None = None
    wait: bool = True
    timeout: float = 60
    timeout_action: str = "fail"
    min_active: str = "0"
    # Whom earlier moves would have brought back, where none is made.
    restored: t.Collection[str] = ()
    probe_path: str | None = None
    # What becomes of streams, and how long a request may last: what lasts longer is a stream.
    streams: str = "wait"
    slowest_request: float = 60.0
    # How long a connection that nginx has accepted may be silent until its first request is there: client_header_timeout.
    silence: float = 60.0
    check_mode: bool = False


class Mover:
    def __init__(self, nginx: Nginx, request: Request, clock: t.Callable[[], float] = time.monotonic, sleep: t.Callable[[float], None] = time.sleep,
                 probe_member: t.Callable[[str, str | None], str] = probe, memory: Memory | None = None) -> None:
        self.nginx, self.request, self.memory = nginx, request, memory
        self.clock, self.sleep, self.probe = clock, sleep, probe_member
        self.pools: dict[str, Upstream] = {}
        self.places: dict[str, list[Key]] = {}
        self.revision: Revision | None = None
        self.applied = False
        self.cuts = 0
        self.uncounted = False
        self.streams: dict[Key, int] | None = None  # what old workers hold of these members, where only streams are left
        self.notes: list[str] = []
        self.theirs: set[Key] = set()
        self.gone: list[str] = []

    # -- looking -----------------------------------------------------------------------------------------------------------
    def look(self) -> None:
        self.pools = read_pools(self.nginx, self.request.pools)
        self.revision = self.nginx.revision()

    def find_places(self) -> dict[str, list[Key]]:
        request = self.request
        duplicates = sorted(name for name, count in collections.Counter(request.members).items() if count > 1)
        if duplicates:
            raise DowntimeError(f"members names {', '.join(duplicates)} more than once; each member is accepted once")
        found = {}
        for member in request.members:
            places = [(pool, member) for pool, upstream in self.pools.items() if member in upstream.names]
            if not places and not (self.memory and self.memory.had(member)):
                known = "; ".join(f"{pool}: {', '.join(upstream.names) or 'none'}" for pool, upstream in self.pools.items())
                raise DowntimeError(f"member '{member}' is not a server of {'these pools' if request.pools else 'any pool'}; known are "
                                    f"{known or 'no pools at all'}")
            found[member] = places
        self.gone = [member for member, places in found.items() if not places]
        if self.gone:
            self.notes.append(told_gone(self.gone, "nginx"))
        return found

    def down(self, key: Key) -> bool:
        server = self.pools[key[0]].by_name.get(key[1])
        return server is None or server.down

    def absent(self, key: Key) -> bool:
        return key[1] not in self.pools[key[0]].by_name

    def settled(self) -> bool:
        """Whether nginx runs these files just as they lie there. What somebody edited by hand it may not have read."""
        return self.revision is not None and self.revision.digest == self.nginx.digest() and self.nginx.runs(self.revision)

    def run(self) -> dict[str, t.Any]:
        request = self.request
        if request.weight is not None and not 1 <= request.weight <= WEIGHT_MOST:
            raise DowntimeError(f"weight is {request.weight}; 1 to {WEIGHT_MOST} is accepted")
        floor_of(request.min_active, 0)  # a text that means nothing is refused whatever the state
        started = self.clock()
        self.nginx.workers(self.nginx.master())
        self.look()
        self.places = self.find_places()
        self.remember()
        if request.state != "active":
            self.check_floor()
            self.check_streams()
        before = {member: self.summary(member) for member in request.members}
        if request.check_mode:
            changed = self.predict()
        elif request.state == "active":
            changed = self.activate(started)
        else:
            changed = self.take_out(started)
        return self.result(before, changed, self.clock() - started)

    # -- what happened beside it -------------------------------------------------------------------------------------------
    def remember(self) -> None:
        """Compare what is found with what the journal says that deploys did; without a journal nothing is anybody's."""
        memory = self.memory
        if memory is None:
            return
        back: list[str] = []
        theirs: dict[str, list[str]] = {}
        for member, keys in self.places.items():
            # One that never had a line was never taken out.
            out = [key for key in keys if self.down(key) and not self.absent(key)]
            others = [key for key in out if member not in memory.out or "/".join(key) in memory.theirs.get(member, [])]
            self.theirs |= set(others)
            theirs[member] = ["/".join(key) for key in others]
            if memory.out.get(member) and not all(self.down(key) for key in keys):
                back.append(member)
        if not self.request.check_mode:
            memory.found_out(theirs)
        if self.theirs:
            self.notes.append(told_theirs([member for member, places in theirs.items() if places]))
        if back:
            told = told_back(back)
            if self.request.state != "active":
                raise DowntimeError(told)
            self.notes.append(told)

    def check_floor(self) -> None:
        """Refuse to take out what a pool needs. What does not serve may always be taken out."""
        for pool in dict.fromkeys(key[0] for keys in self.places.values() for key in keys):
            upstream = self.pools[pool]
            configured = [name for name in upstream.names if name not in upstream.by_name or not upstream.by_name[name].backup]
            floor = floor_of(self.request.min_active, len(configured))
            if not floor:
                continue
            dead = silent(upstream, self.request.probe_path, self.probe)
            restored = self.request.restored if self.request.check_mode else ()
            serving = [name for name in configured if name in restored or (name in upstream.serving() and name not in dead)]
            leaving = [name for name in serving if name in self.request.members]
            left = [name for name in serving if name not in self.request.members]
            if leaving and len(left) < floor:
                raise DowntimeError(
                    f"min_active is '{self.request.min_active}', which is {floor} of the {len(configured)} members of pool {pool}, but without "
                    f"{', '.join(leaving)} only {len(left)} would serve at full weight ({', '.join(left) or 'none'})"
                    + "".join(f", since {name} does not ({wrong})" for name, wrong in dead.items() if name not in (*self.request.members, *restored))
                    + "; nothing was moved")

    # -- out ---------------------------------------------------------------------------------------------------------------
    def apply(self, changed: t.Mapping[str, Upstream], deadline: float) -> None:
        self.revision = self.nginx.apply(list(changed.values()), deadline - self.clock())
        self.pools.update(changed)
        self.applied = True

    def outgoing(self) -> dict[str, Upstream]:
        changed = {pool: upstream.out([name for keys in self.places.values() for where, name in keys if where == pool])
                   for pool, upstream in self.pools.items()}
        return {pool: upstream for pool, upstream in changed.items() if upstream != self.pools[pool]}

    def all_absent(self) -> bool:
        return all(self.absent(key) for keys in self.places.values() for key in keys)

    def take_out(self, started: float) -> bool:
        request = self.request
        if self.all_absent() and (self.revision is None or self.settled()):
            return False  # they do not serve, so there is nothing to take out of; a line that somebody has just removed nginx may not have read
        with self.nginx.locked(max(1.0, started + request.timeout - self.clock())):
            self.look()
            self.check_floor()
            changed = self.outgoing()
            if changed or not self.settled():
                self.apply(changed, started + request.timeout)
        if request.state == "drained" and request.wait:
            self.wait_for_workers(started + request.timeout)
        return self.applied

    def old(self) -> list[str]:
        """The workers from before the last change that still live, as pid/start."""
        return self.nginx.processes.alive(self.revision.workers) if self.revision else []

    @property
    def only_streams_after(self) -> float:
        """Seconds after a change from which on old workers hold nothing but streams.

        What a client has opened ahead of need gets its first request up to C(silence) later, which an old worker gives to whoever served in its time, and
        which may last. nginx closes only those that wait between two requests.
        """
        return self.request.silence + self.request.slowest_request

    def wait_for_workers(self, deadline: float) -> None:
        request = self.request
        cutting: float | None = None
        while True:
            left = self.old()
            pools = read_pools(self.nginx, request.pools)
            for member, keys in self.places.items():
                back = [key for key in keys if key[1] in pools[key[0]].by_name and not pools[key[0]].by_name[key[1]].down]
                if back:
                    raise DowntimeError(f"member {member} was brought back into traffic by somebody else while it drained "
                                        f"({', '.join(pools[key[0]].path for key in back)})")
            if not left:
                return
            if request.streams != "wait" and self.nginx.changed_for() >= self.only_streams_after:
                # What nginx had taken before the change is over, but for streams: those of other members need not end.
                self.streams = self.held(left)
                if request.streams != "end" or not any(self.streams.values()):
                    return
            now = self.clock()
            names = ", ".join(self.places)
            pids = ", ".join(key.partition("/")[0] for key in left)
            if cutting is not None and now >= cutting:
                raise DowntimeError(f"nginx's old workers ({pids}) still live {CUT_WITHIN:g} s after they were told to end")
            if cutting is None and now >= deadline:
                if request.timeout_action != "cut":
                    raise NotDrained(f"after {request.timeout:g} s not drained: nginx's workers from before the change ({pids}) still live and may hold "
                                     f"requests for {names}; nothing was cut", f", and {names} get no new requests until they are activated")
                self.cut([int(key.partition("/")[0]) for key in left])
                cutting = now + CUT_WITHIN
                continue
            self.sleep(POLL)

    def check_streams(self) -> None:
        """Refuse, before anything is moved, what could not tell streams from requests."""
        request = self.request
        if request.streams in ("leave", "cut") and request.timeout <= self.only_streams_after:
            raise DowntimeError(f"timeout is {request.timeout:g}, slowest_request is {request.slowest_request:g} and nginx's client_header_timeout "
                                f"{request.silence:g} s; with streams other than wait a timeout above {self.only_streams_after:g} is accepted, since before "
                                "that what nginx's old workers hold may still be a request, or bring its first one")
        if request.streams != "wait" and self.nginx.processes.connections([worker.pid for worker in self.nginx.workers(self.nginx.master())]) is None:
            raise DowntimeError(f"streams is '{request.streams}', but this user may not see the connections of nginx's workers; root is needed")

    def held(self, keys: t.Iterable[str]) -> dict[Key, int]:
        """How many connections these workers (pid/start) hold to each place of the members that are moved."""
        counted = self.nginx.processes.connections([int(key.partition("/")[0]) for key in keys]) or {}
        found: dict[Key, int] = {}
        for place in (place for places in self.places.values() for place in places):
            found[place] = sum(counted.get(address, 0) for address in resolved(self.pools[place[0]].address(place[1])))
        return found

    def cut(self, pids: t.Sequence[int]) -> None:
        """End the old workers with all that they hold, for whichever member, and count it first as far as this user may see it."""
        counted = self.nginx.processes.connections(pids)
        if counted is None:
            self.uncounted = True
            self.notes.append("old workers were ended with the requests they held, whose number this user may not see")
        else:
            servers = {place for upstream in read_pools(self.nginx, {}).values() for server in upstream.servers for place in resolved(server.address)}
            self.cuts = sum(count for place, count in counted.items() if place in servers)
        for pid in pids:
            try:
                self.nginx.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue  # it has just exited by itself
            except OSError as error:
                raise DowntimeError(f"nginx's old worker {pid} cannot be told to end: {error.strerror}; timeout_action=cut needs root") from error

    # -- in ----------------------------------------------------------------------------------------------------------------
    def incoming(self, members: t.Collection[str]) -> dict[str, Upstream]:
        changed = {}
        for pool, upstream in self.pools.items():
            names = [name for member in members for where, name in self.places[member] if where == pool and (where, name) not in self.theirs]
            after = upstream.into(names, self.request.weight)
            if after != upstream:
                changed[pool] = after
        return changed

    def activate(self, started: float) -> bool:
        request = self.request
        gated = {key for keys in self.places.values() for key in keys if self.down(key) and key not in self.theirs}
        wrong = self.gate(gated, started + request.timeout)
        failed = sorted({key[1] for key in wrong})
        ready = [member for member in request.members if member not in failed]
        if ready:
            with self.nginx.locked(max(1.0, started + request.timeout - self.clock())):
                self.look()
                changed = self.incoming(ready)
                waking = [pool for pool in changed if not self.pools[pool].serving() and self.asked(pool)]
                if changed or not self.settled():
                    self.apply(changed, started + request.timeout)
            if waking and request.wait:
                self.let_go(started + request.timeout)
        if failed and request.wait:
            raise DowntimeError(f"after {request.timeout:g} s not active: "
                                + "; ".join(f"{pool}/{name} ({self.pools[pool].address(name)}): {text}" for (pool, name), text in wrong.items())
                                + f"; {', '.join(failed)} stayed out of traffic")
        return self.applied

    def asked(self, pool: str) -> bool:
        """Whether anything may pass requests to a pool: all but the sides of a split that have no share."""
        return all(split.shares[side] for split in kept(self.nginx)[0] for side, pools in split.pools.items() if pool in pools)

    def let_go(self, deadline: float) -> None:
        """Wait for the old workers where nobody served before: until they have exited, they go on to answer for nobody with 502.

        What they had taken before the change is over once no request can come or last any longer; they may live on with streams.
        """
        while self.old() and self.nginx.changed_for() < self.only_streams_after:
            if self.clock() >= deadline:
                self.notes.append("nginx's workers from before the change still live; a request that they have taken may still find no server")
                return
            self.sleep(POLL)

    def gate(self, keys: t.Collection[Key], deadline: float) -> dict[Key, str]:
        """Probe each place until it has passed often enough running; returns those that did not, and why. Without C(wait) the first failure counts."""
        passes = dict.fromkeys(keys, 0)
        wrong: dict[Key, str] = {}
        while True:
            for key in [key for key, count in passes.items() if count < PROBE_PASSES]:
                said = self.probe(self.pools[key[0]].address(key[1]), self.request.probe_path)
                passes[key] = 0 if said else passes[key] + 1
                wrong[key] = said or wrong.get(key, "")
            left = {key: wrong[key] or "its probes did not pass often enough" for key, count in passes.items() if count < PROBE_PASSES}
            if not left or self.clock() >= deadline or (not self.request.wait and any(passes[key] == 0 for key in left)):
                return left
            self.sleep(PROBE_EVERY)

    # -- what is told ------------------------------------------------------------------------------------------------------
    def state(self, key: Key) -> str:
        asked = self.request.state
        if self.absent(key):
            return "down" if asked == "active" else asked
        if not self.down(key):
            return "active"
        if self.streams is not None:
            return "drained"
        return "draining" if self.old() else "drained"

    def summary(self, member: str) -> list[dict[str, t.Any]]:
        rows = []
        for key in self.places[member]:
            server = self.pools[key[0]].by_name.get(member)
            rows.append({"name": member, "pool": key[0], "server": server.address if server else self.pools[key[0]].address(member),
                         "address": self.pools[key[0]].address(member), "state": self.state(key), "weight": server.weight if server else None,
                         "in_flight": None, "status": "absent" if server is None else "down" if server.down else "up",
                         "full": server is not None and not server.down and not server.backup})
        return rows

    def predict(self) -> bool:
        """What would follow, for check mode: really read, nothing written."""
        if self.request.state == "active":
            changed = self.incoming(self.request.members)
        else:
            changed = self.outgoing()
            if not changed and self.all_absent() and self.revision is None:
                return False
        unsettled = not self.settled()
        self.pools.update(changed)
        return bool(changed) or unsettled

    def result(self, before: t.Mapping[str, list[dict[str, t.Any]]], changed: bool, waited: float) -> dict[str, t.Any]:
        request = self.request
        members: list[dict[str, t.Any]] = []
        found: list[dict[str, t.Any]] = []
        for member in request.members:
            for row, was in zip(self.summary(member), before[member]):
                moved = row["status"] != "absent"
                if request.state != "active" and moved and (request.state == "down" or request.check_mode):
                    row["state"] = request.state
                done = request.state == "drained" and row["state"] == "drained" and moved and request.wait and not request.check_mode
                row["drained_by"] = None if not done else "workers_exited" if self.streams is None else "sessions"
                row["cut"] = 0
                row["streams"] = (self.streams or {}).get((row["pool"], row["name"]), 0) if request.streams in ("leave", "cut") else 0
                if self.streams is not None:
                    row["in_flight"] = self.streams.get((row["pool"], row["name"]), 0)
                row["found"] = was["state"]
                members.append(row)
                # Who is out is out: nobody is to be told of a change between two words for it that nobody made.
                found.append({**was, "state": request.state} if request.state != "active" and was["state"] in ("draining", "drained") else was)
        if members:
            # An old worker ends with all that it holds, for whichever member.
            # Nobody can close a single connection of nginx': streams that were to be cut are left, and end with their member.
            members[0]["cut"] = None if self.uncounted else self.cuts
        return {
            "changed": changed,
            "members": members,
            "diff": {"before": _compact(found), "after": _compact(members)},
            "waited": round(waited, 3),
            "workers": self.worker_rows(),
            "already_out": [member for member in request.members if before[member] and all(row["status"] != "up" for row in before[member])],
            "theirs": sorted({key[1] for key in self.theirs} & set(request.members)),
            "lost": [],
            "gone": self.gone,
            "revision": self.revision.id if self.revision else None,
            "worker": {"revision": self.revision.id} if self.revision else None,
            "notes": self.notes,
        }

    def worker_rows(self) -> list[dict[str, t.Any]]:
        return [{"pid": worker.pid, "current": not worker.stopping} for worker in self.nginx.workers(self.nginx.master())]


def _compact(rows: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    return {f"{row['pool']}/{row['name']}": {"state": row["state"], "weight": row["weight"]} for row in rows}
