# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits new requests between two pools of HAProxy by a number in a map, and keeps it there. Private to the collection.

The file is written first, then the running workers are told, then all of it is read again: a worker that a reload starts at any moment
either reads the new file or is seen to differ. Workers from before a reload route their kept-alive connections by a map of their own,
so they are told, too.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import SIDES, NotSet, Shares, check_shares, common_spec, of_green, told
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer
from ansible_collections.zero.downtime.plugins.module_utils._finding import with_lines
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import config as _haproxy_config
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import map as _haproxy_map
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.options import (
    CONNECTION,
    SPLITTING,
    asked_place,
    balancer_of,
    config_of,
    counted,
    full_path,
)
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.state import Key, Server, read_servers
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.workers import Balancer, Snapshot, Processes
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

POLL = 0.05
UNKNOWN = "Unknown map identifier"


class Place(t.NamedTuple):
    """Where green's share is kept, and what the sides are.

    :param map: as haproxy.cfg names the file, which is also its name on the runtime socket.
    :param path: the file on this host.
    :param default: green's share when the map does not have the key.
    :param pools: by side.
    """

    map: str
    key: str
    path: str
    default: int = 0
    pools: t.Mapping[str, t.Sequence[str]] = {}
    sticky: bool = False

    def command(self, verb: str, *rest: str) -> str:
        return " ".join([verb, "map", re.sub(r"([\\ ;])", r"\\\1", self.map), *rest])

    def all(self, reply: str) -> list[tuple[str, str]]:
        """Every key and value in a reply to C(show map)."""
        if UNKNOWN in reply:
            raise DowntimeError(f"haproxy has no map {self.map}; one that its configuration uses, by the very name it has there, is accepted")
        rows = [line.split(None, 2) for line in reply.splitlines()]
        if any(not row[0].startswith("0x") for row in rows if row):
            raise DowntimeError(f"haproxy answered '{self.command('show')}' with: {' '.join(reply.split())[:200]}")
        return [(row[1], row[2].rstrip() if len(row) > 2 else "") for row in rows if len(row) > 1]

    def entries(self, reply: str) -> list[str]:
        """The values of the key in a reply to C(show map)."""
        return [value for key, value in self.all(reply) if key == self.key]

    def lines(self, reply: str) -> list[str]:
        """The file that haproxy would have read what it has from."""
        return [f"{key} {value}".rstrip() for key, value in self.all(reply)]

    def share(self, values: t.Sequence[str]) -> int:
        """Green's share: HAProxy goes by the first entry, and by the default where there is none."""
        return int(values[0]) if values and re.fullmatch(r"-?\d+", values[0]) else self.default

    def shares(self, values: t.Sequence[str]) -> Shares:
        return of_green(self.share(values))


# -- where it is -----------------------------------------------------------------------------------------------------------

def candidates(splits: t.Sequence[_haproxy_config.Split], wanted: t.Mapping[str, t.Any], pools: t.Collection[str],
               app: str | None = None) -> list[_haproxy_config.Split]:
    """The splits that may be meant: those of C(wanted), of C(pools), and, where these are several, the one whose key is C(app)."""
    found = [one for one in splits if wanted.get("map") in (None, one.map) and wanted.get("key") in (None, one.key)]
    if pools:
        found = [one for one in found if any(set(names) & set(pools) for names in one.pools.values())]
    if len(found) > 1 and app:
        found = [one for one in found if one.key == app] or found
    return found


def locate(config: _haproxy_config.Config | None, why: str, wanted: t.Mapping[str, t.Any], sides: t.Mapping[str, t.Sequence[str]] | None,
           app: str | None, full_path: t.Callable[[str], str], pools: t.Sequence[str] = ()) -> Place:
    """Where the split is kept, from the configuration's topology or from what was given. Raises DowntimeError saying what was looked for.

    :param wanted: C(map) and C(key), as far as they were given.
    :param sides: the pools of each side, as far as they were given.
    :param full_path: from a path in haproxy.cfg to one that can be opened.
    """
    sides = {side: list(pools) for side, pools in (sides or {}).items() if pools}
    key = wanted.get("key") or app
    for name, text in (("split_key", key), ("split_map", wanted.get("map"))):
        if text and not re.fullmatch(r"[^\s;#<\\]+" if name == "split_key" else r"[^\n;<\\]+", text):
            raise DowntimeError(f"{name} is {text!r}; a text without blanks and ; # < is accepted")
    known = candidates(config.splits if config else [], wanted, {*pools, *(pool for names in sides.values() for pool in names)}, app)
    if len(known) > 1:
        names = "; ".join(f"key {one.key} in {one.map}" for one in known)
        raise DowntimeError(f"haproxy.cfg has {len(known)} splits that could be meant ({names}); one of them as split_map and split_key is accepted")
    if known:
        split = known[0]
    else:
        if not wanted.get("map") or not key or set(sides) != set(SIDES):
            raise DowntimeError(_missing(config, why, wanted, key, sides))
        split = _haproxy_config.Split(wanted["map"], key, sides)
    for side, mine in sides.items():
        if not set(mine) & set(split.pools[side]):
            raise DowntimeError(f"the side {side} is pool {', '.join(mine)} by deploy_traffic, but key {split.key} of {split.map} sends it to "
                                f"{', '.join(split.pools[side]) or 'no pool'}; the share of green goes to use_backend, that of blue to default_backend")
    if split.map.startswith("virt@"):
        raise DowntimeError(f"map {split.map} of haproxy.cfg is kept in no file, so a reload would forget the shares; a map with a file is accepted")
    return place_of(split, full_path, sides)


def place_of(split: _haproxy_config.Split, full_path: t.Callable[[str], str], sides: t.Mapping[str, t.Sequence[str]] | None = None) -> Place:
    pools = {side: sorted({*split.pools[side], *(sides or {}).get(side, ())}) for side in SIDES}
    return Place(split.map, split.key, full_path(re.sub(r"^(?:opt|file)@", "", split.map)), split.default, pools, split.sticky)


def _missing(config: _haproxy_config.Config | None, why: str, wanted: t.Mapping[str, t.Any], key: str | None,
             sides: t.Mapping[str, t.Sequence[str]]) -> str:
    looked = f"map_str_int({wanted.get('map') or 'FILE'},0) of str({wanted.get('key') or key or 'APP'})"
    pools = ", ".join(pool for names in sides.values() for pool in names)
    text = f"no split was found: looked for {looked}, a draw of rand(100) and a use_backend by them" + (f" for pool {pools}" if pools else "")
    if config is None:
        return f"{text}, but {why}; split_map, split_key and the pools of both sides are accepted in its place"
    text += f", in {', '.join(config.files)}"
    blue = next(iter(sides.get("blue") or []), None) or next((name for section in config.frontends.values()
                                                              if (name := section.value("default_backend"))), None)
    # Most runs have nothing to refuse.
    from ansible_collections.zero.downtime.plugins.module_utils._haproxy import second_side as _second_side  # pylint: disable=import-outside-toplevel

    ways = _second_side.ways_to(config, blue, config.frontends) if blue else []
    if not blue or not ways:
        return text
    lines = _second_side.second_side(ways, config, blue, wanted.get("map") or "/etc/haproxy/split.map")
    return f"{text}. These lines add the second side: {' | '.join(lines)}"


# -- what is there ---------------------------------------------------------------------------------------------------------

class View(t.NamedTuple):
    """:param values: the key's entries in the newest worker. :param old: those of the workers from before a reload that were asked.

    :param lines: all of the map, as its file would have it.
    """

    look: Snapshot
    values: list[str]
    old: dict[int, list[str]]
    servers: dict[Key, Server]
    lines: t.Sequence[str] = ()


class Missing(t.NamedTuple):
    """A map whose file somebody deleted while haproxy runs.

    :param hindrance: why it cannot be written again; None where setting the shares does that.
    """

    path: str
    lines: t.Sequence[str]
    hindrance: str | None

    @property
    def text(self) -> str:
        return (f"{self.path}, the map of the shares, does not exist any more, so haproxy's next start or reload fails; "
                + (f"it cannot be written again here: {self.hindrance}" if self.hindrance else "setting shares writes it again")
                + "; with these lines it is what haproxy has of it now")


def observe(balancer: Balancer, place: Place) -> dict[str, t.Any]:
    """What C(haproxy_info) tells of a split: the shares that are used, and those that a reload would bring."""
    found = Splitter(balancer, place).run()
    return {**found["shares"], "map": place.path, "key": place.key, "kept": found["kept"], "pools": {side: list(place.pools[side]) for side in SIDES},
            "sticky": place.sticky, "notes": found["notes"], "missing": found["missing"]}


class Splitter:
    """Reads the shares, or sets them. C(wanted) None only reads; C(memory) is the journal of the deploy that asks."""

    def __init__(self, balancer: Balancer, place: Place, wanted: Shares | None = None, min_active: str = "0", timeout: float = 20, check_mode: bool = False,
                 clock: t.Callable[[], float] = time.monotonic, sleep: t.Callable[[float], None] = time.sleep, memory: Memory | None = None) -> None:
        self.balancer, self.place, self.wanted, self.min_active = balancer, place, wanted, min_active
        self.timeout, self.check_mode, self.clock, self.sleep, self.memory = timeout, check_mode, clock, sleep, memory
        self.value = str(wanted["green"]) if wanted else ""
        self.notes: list[str] = []
        self.missing: Missing | None = None

    def view(self) -> View:
        show = self.place.command("show")
        look = self.balancer.look([show, "show stat -1 4 -1", "show servers state", "show cli level"], [show])
        level = look.replies[3].strip()
        # HAProxy 3.4 shows a map to administrators only.
        if self.wanted is not None and level != "admin":
            raise DowntimeError(f"{self.balancer.runtime.label} gives the level '{level}'; setting shares needs 'level admin' in its stats socket line")
        old = {pid: self.place.entries(replies[0]) for pid, replies in look.old.items() if replies and UNKNOWN not in replies[0]}
        return View(look, self.place.entries(look.replies[0]), old, read_servers(look.replies[1:2], look.replies[2:3]), self.place.lines(look.replies[0]))

    def kept(self, view: View) -> list[str]:
        """The values of the key in the file; those that haproxy has where somebody deleted the file, which C(missing) tells then."""
        try:
            return _haproxy_map.values_of(_haproxy_map.read(self.place.path), self.place.key)
        except _haproxy_map.NoFile:
            self.missing = Missing(self.place.path, view.lines, _haproxy_map.hindrance(self.place.path))
            return list(view.values)

    def run(self) -> dict[str, t.Any]:
        floor_of(self.min_active, 0)
        started = self.clock()
        place = self.place
        view = self.view()
        if self.wanted is None:
            return self.told_only(view, started)
        kept = self.kept(view)
        if self.missing and self.missing.hindrance:
            raise DowntimeError(f"{self.missing.text}{with_lines(self.missing.lines)}; nothing was changed")
        self.disagreement(view, kept)
        view = self.checked(view, started)
        before = {"haproxy": place.shares(view.values), place.path: None if self.missing else place.shares(kept)}
        file_differs, differs = bool(self.missing) or self.differs(kept), self.differs(view.values)
        old = [pid for pid, values in view.old.items() if self.differs(values)]
        if (file_differs or differs or old) and not self.check_mode:
            if self.memory:
                # Whoever takes over has to know what is to be put back.
                self.memory.note({"shares_before": before["haproxy"]})
            view = self.change(view, kept, started)
        if not self.check_mode:
            self.of_old(view)
        return {**self.result(view, started), "changed": bool(file_differs or differs or old), "found": before["haproxy"], "shares": dict(self.wanted),
                "kept": dict(self.wanted), "diff": {"before": before, "after": {name: dict(self.wanted) for name in before}}}

    def told_only(self, view: View, started: float) -> dict[str, t.Any]:
        shares = self.place.shares(view.values)
        kept: Shares | None = None
        try:
            values = self.kept(view)
            kept = None if self.missing else self.place.shares(values)
            self.disagreement(view, values)
        except DowntimeError as error:
            # What is used can still be told.
            self.notes.append(str(error))
        self.of_old(view, shares["green"])
        state = {"haproxy": shares, self.place.path: kept}
        missing = {"text": self.missing.text, "lines": list(self.missing.lines), "hindrance": self.missing.hindrance} if self.missing else None
        return {**self.result(view, started), "changed": False, "found": shares, "shares": shares, "kept": kept, "missing": missing,
                "diff": {"before": state, "after": state}}

    def result(self, view: View, started: float) -> dict[str, t.Any]:
        return {"map": self.place.path, "key": self.place.key, "notes": self.notes, "waited": round(self.clock() - started, 3),
                "worker": view.look.identity, "workers": [worker.as_dict() for worker in view.look.workers]}

    def differs(self, values: t.Sequence[str]) -> bool:
        return not values or any(value != self.value for value in values)

    def disagreement(self, view: View, kept: t.Sequence[str]) -> None:
        uses, keeps = self.place.shares(view.values), self.place.shares(kept)
        if uses != keeps:
            self.notes.append(f"haproxy uses {told(uses)} for {self.place.key}, but {self.place.path} has {told(keeps)}, which a reload would bring; "
                              "setting the shares brings both together")

    def of_old(self, view: View, green: int | None = None) -> None:
        """Name the workers from before a reload that go by other shares, or by nobody knows which."""
        want = self.value if green is None else str(green)
        other = sorted(pid for pid in view.look.old if pid not in view.old or str(self.place.share(view.old[pid])) != want)
        if other:
            self.notes.append(f"haproxy workers from before a reload ({', '.join(map(str, other))}) go by other shares on the connections they still have")
        if view.look.unreadable:
            self.notes.append(f"haproxy workers from before a reload live ({', '.join(map(str, view.look.unreadable))}); what they have of kept-alive "
                              "connections goes by the shares from before, and without master_socket they cannot be told")

    # -- what is refused ---------------------------------------------------------------------------------------------------
    def rising(self, view: View) -> list[str]:
        """The sides that would get more than they have."""
        has = self.place.shares(view.values)
        return [side for side in SIDES if (self.wanted or has)[side] > has[side]]

    def checked(self, view: View, started: float) -> View:
        """Refuse to send more to a side that does not serve. A worker that has just started calls servers UP that it has not checked yet."""
        places = [(side, pool) for side in self.rising(view) for pool in self.place.pools[side]]
        pools = {pool for dummy, pool in places}
        while any(not server.known for server in view.servers.values() if server.pool in pools) and self.clock() - started < self.timeout:
            self.sleep(POLL)
            view = self.view()
        for side, pool in places:
            inside = [server for server in view.servers.values() if server.pool == pool and not server.backup]
            floor = max(1, floor_of(self.min_active, len(inside)))
            full = [server.name for server in inside if server.full and server.known]
            if len(full) < floor:
                raise DowntimeError(
                    f"shares.{side} is {(self.wanted or {})[side]}, but of the {len(inside)} members of its pool {pool} only {len(full)} serve at full weight "
                    f"({', '.join(full) or 'none'}), and {floor} have to (min_active is '{self.min_active}'); nothing was changed")
        return view

    # -- what is done ------------------------------------------------------------------------------------------------------
    def change(self, view: View, kept: t.Sequence[str], started: float) -> View:
        _haproxy_map.put(self.place.path, self.place.key, self.value, "".join(f"{line}\n" for line in view.lines) if self.missing else None)
        if self.missing:
            self.notes.append(f"{self.place.path} had been deleted, and was written again with what haproxy has of it ({len(view.lines)} entries); comments "
                              "that it may have had, its owner and its mode are not known to haproxy")
        found = view
        try:
            return self.apply(view, started + self.timeout)
        except DowntimeError as error:
            raise self.undone(found, kept, error) from error

    def apply(self, view: View, deadline: float) -> View:
        """Tell every worker until all that was read once more is as wanted, in one and the same worker."""
        worker = view.look.identity
        refused: NoAnswer | None = None
        while True:
            try:
                if self.differs(view.values):
                    self.balancer.command([self.place.command("set" if view.values else "add", self.place.key, self.value)])
                for pid, values in view.old.items():
                    if self.differs(values):
                        self.balancer.command_old(pid, self.place.command("set" if values else "add", self.place.key, self.value))
                view, refused = self.view(), None
            except NoAnswer as error:
                # In the middle of a reload a connection may end; the file has the shares already.
                refused = error
            if refused is None and view.look.identity != worker:
                worker = view.look.identity
                self.notes.append(f"haproxy was reloaded meanwhile; worker {view.look.current} serves now, and was looked at again")
            elif refused is None and not self.differs(view.values) and not any(self.differs(values) for values in view.old.values()):
                return view
            if self.clock() >= deadline:
                raise refused or DowntimeError(f"after {self.timeout:g} s haproxy still has {', '.join(view.values) or 'nothing'} for {self.place.key} in "
                                               f"{self.place.map}, or a worker from before a reload has")
            self.sleep(POLL)

    def undone(self, before: View, kept: t.Sequence[str], error: DowntimeError) -> NotSet:
        """Put the file back, and what was told as far as anybody takes it; say where that leads."""
        ends = []
        try:
            _haproxy_map.put(self.place.path, self.place.key, kept[0] if kept else None)
            ends.append(f"{self.place.path} was put back to {told(self.place.shares(kept))}")
        except DowntimeError as again:
            ends.append(f"and it could not be put back: {again}")
        try:
            view = self.view()
            if view.values != before.values and before.values:
                self.balancer.command([self.place.command("set", self.place.key, before.values[0])])
                view = self.view()
            shares: Shares | None = self.place.shares(view.values)
            ends.append(f"haproxy uses {told(self.place.shares(view.values))}")
        except DowntimeError:
            shares = None
            ends.append("which shares haproxy uses is not known")
        return NotSet(f"{str(error).rstrip('. ')}; {'; '.join(ends)}", shares)


def split(params: t.Mapping[str, t.Any], check_mode: bool = False, processes: Processes | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(haproxy_split) does; returns its result."""
    processes = processes or Processes()
    wanted = check_shares(params.get("shares"))
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    balancer = balancer_of(params, processes)
    pid = balancer.look([]).current
    config, why = config_of(params, pid, processes)
    place = locate(config, why, asked_place(params), params.get("sides"), params.get("app"), full_path(pid, processes), params.get("pools") or ())
    splitter = Splitter(balancer, place, wanted, params["min_active"], params["timeout"], check_mode, memory=memory)
    # What was counted until now is not of this change.
    before = counted(balancer, params, config)["counters"] if wanted and not check_mode else []
    result = splitter.run()
    if result.get("missing"):
        result["notes"] = [result["missing"]["text"] + with_lines(result["missing"]["lines"]), *result["notes"]]
    if memory:
        memory.done["worker"] = result["worker"]
    result.update(counted(balancer, params, config), counters_before=before)
    return result


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module: behind the fence."""
    with _fence.fence(params, check_mode) as memory:
        return _fence.with_notes(split(params, check_mode, memory=memory), memory)


def split_spec() -> dict[str, t.Any]:
    sides = {side: {"type": "list", "elements": "str"} for side in SIDES}
    return {**common_spec(), **CONNECTION, **SPLITTING, "sides": {"type": "dict", "options": sides}, "pools": {"type": "list", "elements": "str"}}


IN_PROCESS = split_spec, run
