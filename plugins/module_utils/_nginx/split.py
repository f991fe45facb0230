# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Splits new requests between the pools of two sides of nginx, by a file with their shares and a reload that is seen to have happened.

Private to the collection. It is over when no old worker takes connections any more. What the old workers still hold they answer by the shares
from before; here that is waited for a moment only, since the side that they go to runs on. Whoever stops that side drains its members first, and
that waits for the old workers.
"""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.members import floor_of
from ansible_collections.zero.downtime.plugins.module_utils._driver.split import SIDES, NotSet, Shares, check_shares, of_green, told
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, MissingFile
from ansible_collections.zero.downtime.plugins.module_utils._finding import finding, with_lines
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx import shares as _nginx_shares
from ansible_collections.zero.downtime.plugins.module_utils._nginx.options import counted, opened, pools_of, safe, sides_of, split_spec
from ansible_collections.zero.downtime.plugins.module_utils._nginx.pools import probe, read_pools, silent
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx, Revision
from ansible_collections.zero.downtime.plugins.module_utils._nginx.shares import SUFFIX, Split
from ansible_collections.zero.downtime.plugins.module_utils._state import fence as _fence
from ansible_collections.zero.downtime.plugins.module_utils._state.fence import Memory

Pools = t.Mapping[str, t.Mapping[str, str]]  # the addresses of members by name, as far as they are known, by pool
Sides = t.Mapping[str, t.Sequence[str]]  # the pools of each side

# However little time is left, one try at the lock is made.
LEAST = 1.0
# So long old workers may take for what they hold before they are worth a word.
LINGER = 1.0
POLL = 0.02


# -- which one -------------------------------------------------------------------------------------------------------------

def kept(nginx: Nginx) -> tuple[list[Split], dict[str, str]]:
    """The splits that have a file, and for each file that cannot be read what is wrong with it, by its name."""
    found, wrong = [], {}
    for path in nginx.paths(SUFFIX):
        name = os.path.basename(path)[:-len(SUFFIX)]
        try:
            found.append(_nginx_shares.parse(name, path, nginx.text(name, SUFFIX) or ""))
        except DowntimeError as error:
            wrong[name] = str(error)
    return found, wrong


def of_pools(splits: t.Sequence[Split], pools: t.Collection[str]) -> list[Split]:
    """Those that one of C(pools) is part of; all where none is named."""
    return [split for split in splits if not pools or any(set(names) & set(pools) for names in split.pools.values())]


def locate(nginx: Nginx, sides: Sides, pools: t.Collection[str] = (), app: str | None = None, by: str | None = None, pin: str | None = None) -> Split:
    """The split of these pools, as its file has it or as it would be, with what was given. Raises DowntimeError saying what was looked for."""
    splits, wrong = kept(nginx)
    sides = {side: list(names) for side, names in sides.items() if names}
    known = of_pools(splits, pools)
    if len(known) > 1 and app:
        known = [split for split in known if split.name == app] or known
    if len(known) > 1:
        raise DowntimeError(f"{nginx.directory} has {len(known)} splits that could be meant ({', '.join(split.name for split in known)}); the pools of one of "
                            "them, each with its side, are accepted")
    pairs = _pairs(sides) if set(sides) == set(SIDES) else ()
    if known:
        split = known[0]
        for side, names in sides.items():
            other = next(name for name in SIDES if name != side)
            strangers = set(names) & set(split.pools[other])
            if strangers:
                raise DowntimeError(f"the side {side} has pool {', '.join(sorted(strangers))} by deploy_traffic, but {split.path} gives it the share of "
                                    + other)
    elif pairs:
        name = _nginx_shares.base_of(pairs[0][0])
        if name in wrong:
            raise DowntimeError(wrong[name])
        split = Split(name, nginx.path(name, SUFFIX), pairs)
    else:
        names = ", ".join([split.name for split in splits] + sorted(wrong))
        raise DowntimeError(f"no split{' of ' + ', '.join(pools) if pools else ''} was found in {nginx.directory}, which has {names or 'none'}; "
                            "pools of both sides, blue and green, are accepted, and setting their shares writes the file")
    return _nginx_shares.check(dataclasses.replace(split, pairs=pairs or split.pairs, by=by or split.by, pin=split.pin if pin is None else pin))


def not_deleted(nginx: Nginx, sides: Sides, by: str | None = None, pin: str | None = None) -> None:
    """Raises MissingFile where the file of these sides' shares was deleted. It is not written again here: what it had beside the shares nobody knows."""
    pairs = _pairs(sides) if all(sides.get(side) for side in SIDES) else ()
    revision = nginx.revision()
    for name, green in revision.splits if revision else ():
        path = nginx.path(name, SUFFIX)
        if not nginx.deleted(name, SUFFIX) or not pairs or name != _nginx_shares.base_of(pairs[0][0]):
            continue
        served = nginx.served_split(revision.listen, name) if revision else None
        split = Split(name, path, pairs, green if served is None else served, by or _nginx_shares.DRAW, pin or "")
        raise MissingFile(path, f"{path} was deleted, and nginx runs with it ({told(split.shares)}): its next start or reload fails; with split_by and "
                                f"split_pin as they were, these lines bring it back{with_lines(split.text.splitlines())}")


def _pairs(sides: Sides) -> tuple[_nginx_shares.Pair, ...]:
    blue, green = sides["blue"], sides["green"]
    if len(blue) != len(green):
        raise DowntimeError(f"the side blue has {len(blue)} pools ({', '.join(blue)}) and green {len(green)} ({', '.join(green)}); for each pool of blue one "
                            "of green, in the same order, is accepted")
    return tuple(zip(blue, green))


# -- what is there ---------------------------------------------------------------------------------------------------------

@dataclasses.dataclass
class View:
    """:param kept: the file's shares, None without one. :param used: those that nginx goes by, None where nobody can say.

    :param settled: whether nginx runs the files just as they lie there.
    :param new: whether a person wrote the file after the last reload that this driver made, if there was any.
    """

    text: str | None
    kept: Shares | None
    used: Shares | None
    settled: bool
    revision: Revision | None
    new: bool


def observe(nginx: Nginx, split: Split) -> dict[str, t.Any]:
    """What C(nginx_info) tells of a split that has a file. Raises DowntimeError where nobody can say which shares are used."""
    splitter = Splitter(nginx, split)
    view = splitter.view()
    splitter.differing(view)
    if view.used is None:
        raise DowntimeError("; ".join(splitter.notes))
    return {**view.used, "file": split.path, "kept": view.kept, "pools": split.pools, "variables": list(split.variables), "by": split.by,
            "pin": split.pin or None, "sticky": split.by != _nginx_shares.DRAW, "notes": splitter.notes}


class Splitter:
    """Reads the shares, or sets them. C(wanted) None only reads; C(memory) is the journal of the deploy that asks."""

    def __init__(self, nginx: Nginx, split: Split, wanted: Shares | None = None, pools: Pools | None = None, min_active: str = "0", timeout: float = 20,
                 probe_path: str | None = None, check_mode: bool = False, config: _nginx_config.Config | None = None,
                 clock: t.Callable[[], float] = time.monotonic, memory: Memory | None = None,
                 probe_member: t.Callable[[str, str | None], str] = probe) -> None:
        self.nginx, self.split, self.wanted, self.pools, self.min_active = nginx, split, wanted, pools or {}, min_active
        self.timeout, self.probe_path, self.check_mode, self.config = timeout, probe_path, check_mode, config
        self.clock, self.memory, self.probe = clock, memory, probe_member
        self.notes: list[str] = []

    def view(self) -> View:
        nginx, split = self.nginx, self.split
        text = nginx.text(split.name, SUFFIX)
        has = _nginx_shares.parse(split.name, split.path, text).shares if text is not None else None
        revision = nginx.revision()
        runs = nginx.runs(revision)
        settled = runs and revision is not None and revision.digest == nginx.digest()
        green = None if settled or revision is None else nginx.served_split(revision.listen, split.name)
        served = None if green is None else of_green(green)
        if settled or revision is None or (runs and served is None):
            used = has
        else:
            # Where nginx runs the last revision, somebody edited the shares since, and may have reloaded nginx or not.
            used = served if not runs or served == has else None
        return View(text, has, used, settled, revision, not settled and used is not None and served is None)

    def run(self) -> dict[str, t.Any]:
        floor_of(self.min_active, 0)
        started = self.clock()
        self.nginx.workers(self.nginx.master())
        view = self.view()
        if self.wanted is None:
            if view.text is None:
                raise DowntimeError(f"{self.split.path} does not exist, so there are no shares yet; setting them writes it")
            self.differing(view)
            return {**self.result(view, started), "changed": False, "found": view.used, "shares": view.used, "kept": view.kept,
                    "diff": {"before": self.state(view), "after": self.state(view)}}
        self.differing(view)
        self.floor(view)
        found, before = view.used, self.state(view)
        changed = self.differs(view)
        if changed and not self.check_mode:
            if self.memory:
                # Whoever takes over has to know what is to be put back.
                self.memory.note({"shares_before": found})
            self.change(started + self.timeout)
            view = self.view()
            self.linger(view)
        after = {name: dict(self.wanted) for name in before}
        return {**self.result(view, started), "changed": changed, "found": found, "shares": dict(self.wanted), "kept": dict(self.wanted),
                "diff": {"before": before, "after": after}}

    def after(self) -> Split:
        return dataclasses.replace(self.split, green=(self.wanted or self.split.shares)["green"])

    def differs(self, view: View) -> bool:
        return view.text != self.after().text or not view.settled

    def state(self, view: View) -> dict[str, t.Any]:
        return {"nginx": view.used, self.split.path: view.kept}

    def result(self, view: View, started: float) -> dict[str, t.Any]:
        revision = view.revision
        old = self.nginx.processes.alive(revision.workers) if revision else []
        if old and not self.check_mode:
            self.notes.append(f"nginx's workers from before the last change ({', '.join(key.partition('/')[0] for key in old)}) still answer what they had "
                              "taken by then, by the shares from before")
        if self.config and not self.config.mentions(self.variables, self.split.path):
            self.notes.append(f"nothing in nginx's configuration goes by {' or '.join(self.split.variables)}, so the shares move no request; "
                              f"proxy_pass http://{next(iter(self.split.variables))} is needed where the pools' requests are passed on")
        return {"file": self.split.path, "variables": list(self.split.variables), "notes": self.notes, "waited": round(self.clock() - started, 3),
                "revision": revision.id if revision else None, "worker": {"revision": revision.id} if revision else None,
                "workers": [{"pid": worker.pid, "current": not worker.stopping} for worker in self.nginx.workers(self.nginx.master())]}

    @property
    def variables(self) -> list[str]:
        return [*self.split.variables, self.split.side]

    def differing(self, view: View) -> None:
        """Say where nginx does not run what lies there."""
        path = self.split.path
        if view.text is None or view.settled:
            return
        if view.new:
            self.notes.append(f"{path} has {told(view.kept or {})}, and this driver has not reloaded nginx since it was written; setting the shares does")
        elif view.used is None:
            self.notes.append(f"{path} has {told(view.kept or {})}, but nginx does not answer that it runs that, and nobody can say which shares it goes by; "
                              "setting the shares brings both together")
        elif view.used != view.kept:
            self.notes.append(f"nginx uses {told(view.used)}, but {path} has {told(view.kept or {})}, which a reload would bring; "
                              "setting the shares brings both together")

    # -- what is refused ---------------------------------------------------------------------------------------------------
    def floor(self, view: View) -> None:
        """Refuse to send more to a side that does not serve. Who may get more is not known where nobody can say what it has."""
        wanted, has = self.wanted or {}, view.used or dict.fromkeys(SIDES, 0)
        for side in SIDES:
            if wanted[side] <= has[side]:
                continue
            names = self.split.pools[side]
            for pool, upstream in read_pools(self.nginx, {name: self.pools.get(name) or {} for name in names}).items():
                inside = [name for name in upstream.names if name not in upstream.by_name or not upstream.by_name[name].backup]
                dead = silent(upstream, self.probe_path, self.probe)
                full = [name for name in upstream.serving() if name not in dead]
                least = max(1, floor_of(self.min_active, len(inside)))
                if len(full) < least:
                    raise NotSet(
                        f"shares.{side} is {wanted[side]}, but of the {len(inside)} members of its pool {pool} only {len(full)} serve at full weight "
                        f"({', '.join(full) or 'none'}), and {least} have to (min_active is '{self.min_active}')"
                        + "".join(f"; {name} does not: {wrong}" for name, wrong in dead.items()) + "; nothing was changed", view.used)

    # -- what is done ------------------------------------------------------------------------------------------------------
    def change(self, deadline: float) -> None:
        nginx = self.nginx
        try:
            with nginx.locked(max(LEAST, deadline - self.clock())):
                view = self.view()
                # Members may have left while this waited for its turn.
                self.floor(view)
                if self.differs(view):
                    nginx.apply([self.after()], deadline - self.clock())
        except NotSet:
            raise  # by the floor
        except DowntimeError as error:
            shares = self.view().used
            raise NotSet(f"{str(error).rstrip('. ')}; " + (f"nginx uses {told(shares)}" if shares else "which shares nginx uses is not known"),
                         shares) from error

    def linger(self, view: View) -> None:
        end = self.clock() + LINGER
        while view.revision and self.nginx.processes.alive(view.revision.workers) and self.clock() < end:
            self.nginx.sleep(POLL)


# -- the module -----------------------------------------------------------------------------------------------------------

def split(params: t.Mapping[str, t.Any], check_mode: bool = False, nginx: Nginx | None = None, memory: Memory | None = None) -> dict[str, t.Any]:
    """What C(nginx_split) does; returns its result. C(memory) is the journal of the deploy that asks."""
    wanted = check_shares(params.get("shares"))
    if params["timeout"] < 0:
        raise DowntimeError(f"timeout is {params['timeout']}; seconds from 0 on are accepted")
    nginx = nginx or opened(params)
    pools = pools_of(params)
    not_deleted(nginx, sides_of(params), params.get("split_by"), params.get("split_pin"))
    place = locate(nginx, sides_of(params), list(pools), params.get("app"), params.get("split_by"), params.get("split_pin"))
    config = safe(nginx, params["slowest_request"]) if wanted else _nginx_config.parse(nginx.dump())
    splitter = Splitter(nginx, place, wanted, pools, params["min_active"], params["timeout"], params.get("probe_path"), check_mode, config,
                        memory=memory)
    # What was counted until now is not of this change.
    before = counted(params, nginx, keep=False)["counters"] if wanted and not check_mode else []
    result = splitter.run()
    if memory:
        memory.done["worker"] = result["worker"]
    return {**result, **counted(params, nginx, not check_mode), "counters_before": before}


def run(params: t.Mapping[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
    """The module: behind the fence."""
    with _fence.fence(params, check_mode) as memory:
        return _fence.with_notes(split(params, check_mode, memory=memory), memory)


IN_PROCESS = split_spec, run


# -- for whoever only looks ------------------------------------------------------------------------------------------------

def look(nginx: Nginx, config: _nginx_config.Config, sides: Sides, pools: t.Sequence[str]) -> tuple[dict[str, t.Any] | None, list[dict[str, t.Any]]]:
    """The one split that these pools are the sides of, as C(nginx_info) tells it, and for each of the pools what it has of one, or lacks."""
    finding = _nginx_config.finding
    splits, wrong = kept(nginx)
    found = [finding("warning", "split", text) for text in wrong.values()]
    known = of_pools(splits, pools)
    result = None
    for split in known:
        use = config.mentions([*split.variables, split.side], split.path)
        try:
            told_of = observe(nginx, split)
        except DowntimeError as error:
            found.append(finding("warning", "split", str(error)))
            continue
        found += [finding("warning", "split", note) for note in told_of.pop("notes")]
        if not use:
            found.append(finding("warning", "split", f"{split.path} has the shares of two sides, and nothing passes requests by them: rolling works, "
                                 "blue/green and canary need these lines and a reload", _passing(split, config)))
            continue
        listed = "; ".join(f"{side} is {', '.join(names)}" for side, names in split.pools.items())
        found.append(finding("info", "split", f"blue/green and canary work: requests go by {', '.join(split.variables)} of {split.path} ({listed})"
                             + (f"; users stay on their side by {split.by}" if told_of["sticky"] else "")))
        result = told_of if len(known) == 1 else None
    if not wrong:
        lacking = [pool for pool in pools if not any(pool in names for split in known for names in split.pools.values())]
        found += _lacking(nginx, config, sides, [pool for pool in lacking if all(sides.values()) or config.passes(pool) or config.mapped(pool)])
    return result, found


def _passing(split: Split, config: _nginx_config.Config) -> list[str]:
    """The lines by which requests come to go by the shares, in place of those by which they go now: by a name, or by what a map names."""
    lines = []
    for name, pair in split.variables.items():
        entries = [f"map {' '.join(entry.inside[-1][1:])} {{ {entry.words[0]} {name}; }}  # in place of: {' '.join(entry.words)};"
                   for entry in config.mapped(pair[0])]
        if config.passes(pair[0]) or not entries:
            lines.append(f"location / {{ proxy_pass http://{name}; }}  # in place of http://{pair[0]}")
        lines += entries
    return lines


def _lacking(nginx: Nginx, config: _nginx_config.Config, sides: Sides, pools: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """The lines that make pools the sides of a split; a pool without a side is blue from then on."""
    if not pools:
        return []
    both = all(sides.values())
    found = []
    for pairs in [_pairs(sides)] if both else [((pool, f"{_nginx_shares.base_of(pool)}_green"),) for pool in pools]:
        name = _nginx_shares.base_of(pairs[0][0])
        split = Split(name, nginx.path(name, SUFFIX), pairs)
        lines = [f"file {split.path}, which zero.downtime.split writes with shares {{blue: 100}}:", *split.text.splitlines(), *_passing(split, config)]
        if not both:
            pools_of = ", ".join(f"{{name: {pool}, side: {side}, port: …}}" for pair in pairs for side, pool in zip(SIDES, pair))
            lines.append(f"deploy_traffic.pools: [{pools_of}]")
        what = f"the sides of {name} have no shares yet" if both else f"pool {pairs[0][0]} has no second side"
        found.append(finding("info", "split", f"{what}: rolling works, blue/green and canary need these lines, the file first, and a reload",
                             lines))
    return found
