# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads haproxy.cfg, never writes it: what the sockets do not tell, and what in it would lose requests. Private to the collection."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import typing as t

SECTIONS = frozenset("""global defaults frontend backend listen peers resolvers userlist mailers program cache ring http-errors fcgi-app
log-forward log-profile crt-store traces acme""".split())
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Conditions of retry-on under which the server may already have worked on the request.
REPLAYS = frozenset("all-retryable-errors response-timeout empty-response junk-response 0rtt-rejected 401 403 404 408 425 500 501 502 503 504".split())

# A split: the share of green from a map, a draw, and whether the draw is below the share.
SHARE = re.compile(r"str\(([^)]+)\),map_str_int\(([^,)]+)(?:,(-?\d+))?\)")
DRAW = re.compile(r"(?:^rand|,mod)\(100\)$")
SECOND_PORT = "GREEN_PORT"
BELOW = re.compile(r"\{ var\(([^)]+)\),sub\(([^)]+)\) -m int lt 0 \}")


def seconds(text: str, unit: str = "ms") -> float | None:
    """HAProxy's times: C(5s), C(100ms), a bare number is milliseconds."""
    found = re.fullmatch(r"(\d+)(us|ms|s|m|h|d)?", text)
    return int(found.group(1)) * UNITS[found.group(2) or unit] if found else None


def _words(line: str) -> list[str]:
    if not any(mark in line for mark in "'\"\\"):
        return line.split("#", 1)[0].split()  # shlex takes its time, and a configuration may have thousands of servers
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split("#", 1)[0].split()


@dataclasses.dataclass
class Section:
    kind: str
    name: str
    lines: list[list[str]] = dataclasses.field(default_factory=list)
    parent: Section | None = None

    def all(self, *words: str) -> list[list[str]]:
        """Lines that begin with C(words): its own, or else those it inherits from its defaults."""
        found = [line for line in self.lines if tuple(line[:len(words)]) == words]
        return found if found or self.parent is None else self.parent.all(*words)

    def value(self, *words: str) -> str | None:
        found = self.all(*words)
        return found[-1][len(words)] if found and len(found[-1]) > len(words) else None

    def option(self, name: str) -> bool:
        for line in reversed(self.lines):
            if line[:2] == ["option", name]:
                return True
            if line[:3] == ["no", "option", name]:
                return False
        return self.parent.option(name) if self.parent else False

    def timeout(self, name: str) -> float | None:
        text = self.value("timeout", name)
        return seconds(text) if text else None

    @property
    def mode(self) -> str:
        return self.value("mode") or "tcp"

    @property
    def default_server(self) -> list[str]:
        own = [word for line in self.lines if line[0] == "default-server" for word in line[1:]]
        return (self.parent.default_server if self.parent else []) + own

    @property
    def servers(self) -> dict[str, list[str]]:
        """Words after each server's address, those of default-server first."""
        found: dict[str, list[str]] = {}
        shared = self.default_server
        for line in self.lines:
            if line[0] == "server" and len(line) >= 3:
                found[line[1]] = shared + line[3:]
            elif line[0] == "server-template" and len(line) >= 4:
                low, dummy, high = line[2].rpartition("-")
                if (low or "1").isdigit() and high.isdigit():
                    for number in range(int(low or 1), int(high) + 1):
                        found[f"{line[1]}{number}"] = shared + line[4:]
        return found

    def mentions(self, pattern: str) -> bool:
        return any(re.search(pattern, " ".join(line)) for line in self.lines)


def word_after(words: t.Sequence[str], name: str) -> str | None:
    """The last value of a server's setting, such as C(inter)."""
    found = [words[n + 1] for n, word in enumerate(words[:-1]) if word == name]
    return found[-1] if found else None


def flag(words: t.Sequence[str], name: str) -> bool:
    """Whether a server's switch such as C(check) is on; the last of C(check) and C(no-check) wins."""
    for word in reversed(words):
        if word in (name, "no-" + name):
            return word == name
    return False


@dataclasses.dataclass
class Split:
    """The topology that splits requests between two pools by a number in a map: green's share.

    :param default: what counts for green when the map does not have the key.
    :param pools: by side, the pools that the frontends send requests to.
    :param sticky: whether the draw is made of something the client brings, so that it stays on its side.
    """

    map: str
    key: str
    default: int = 0
    frontends: list[str] = dataclasses.field(default_factory=list)
    pools: dict[str, list[str]] = dataclasses.field(default_factory=lambda: {"blue": [], "green": []})
    sticky: bool = False


@dataclasses.dataclass
class Config:
    files: list[str]
    sections: list[Section]
    modified: float = 0.0

    def section(self, kind: str) -> list[Section]:
        return [section for section in self.sections if section.kind == kind]

    @property
    def pools(self) -> dict[str, Section]:
        return {section.name: section for section in self.sections if section.kind in ("backend", "listen")}

    @property
    def frontends(self) -> dict[str, Section]:
        return {section.name: section for section in self.sections if section.kind in ("frontend", "listen")}

    @property
    def globals(self) -> Section:
        merged = Section("global", "")
        for section in self.section("global"):
            merged.lines += section.lines
        return merged

    @property
    def sticky(self) -> frozenset[str]:
        """Pools that send a client back to the server it had before."""
        return frozenset(name for name, pool in self.pools.items()
                         if pool.all("cookie") or pool.all("stick", "on") or pool.all("stick", "match") or pool.all("appsession"))

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """Servers whose sessions are closed when they are marked down, which maintenance does."""
        return frozenset((name, server) for name, pool in self.pools.items() for server, words in pool.servers.items()
                         if word_after(words, "on-marked-down") == "shutdown-sessions")

    @property
    def lingers(self) -> bool:
        return any(frontend.option("idle-close-on-response") for frontend in self.frontends.values())

    @property
    def splits(self) -> list[Split]:
        """One for each map and key, since several frontends may go by the same number."""
        found: dict[tuple[str, str], Split] = {}
        for name, frontend in self.frontends.items():
            for one in _splits_of(name, frontend):
                known = found.setdefault((one.map, one.key), one)
                if known is not one:
                    known.frontends += [frontend for frontend in one.frontends if frontend not in known.frontends]
                    known.sticky = known.sticky or one.sticky
                    for side, pools in one.pools.items():
                        known.pools[side] += [pool for pool in pools if pool not in known.pools[side]]
        return list(found.values())

    @property
    def pure_stats(self) -> frozenset[str]:
        """Frontends that only show statistics or metrics."""
        found = set()
        for name, section in self.frontends.items():
            leads = section.mentions(r"^(default_backend|use_backend)\b") or bool(section.servers)
            shows = section.mentions(r"^stats (uri|enable)\b") or section.mentions(r"use-service prometheus-exporter")
            if shows and not leads:
                found.add(name)
        return frozenset(found)


def _splits_of(name: str, frontend: Section) -> list[Split]:
    """The splits of one frontend: a share from a map, a draw out of 100, and a backend for draws below the share."""
    shares: dict[str, Split] = {}
    draws: dict[str, str] = {}
    chosen: list[tuple[str, str]] = []
    below: dict[str, str] = {}  # conditions with a name of their own
    for line in frontend.lines:
        setting = re.fullmatch(r"set-var\(([^,)]+)\)", line[1]) if line[0] == "http-request" and len(line) > 2 else None
        if setting and (share := SHARE.fullmatch(line[2])):
            shares[setting.group(1)] = Split(share.group(2), share.group(1), int(share.group(3) or 0), [name])
        elif setting and DRAW.search(line[2]):
            draws[setting.group(1)] = line[2]
        elif line[0] == "acl" and len(line) > 2 and BELOW.fullmatch("{ " + " ".join(line[2:]) + " }"):
            below[line[1]] = "{ " + " ".join(line[2:]) + " }"
        elif line[0] == "use_backend" and len(line) > 1:
            chosen.append((line[1], " ".join(below.get(word, word) for word in line[2:])))
    found = []
    for index, (green, condition) in enumerate(chosen):
        draw = BELOW.search(condition)
        if not draw or draw.group(1) not in draws or draw.group(2) not in shares:
            continue
        # The other side is where the same requests go when the draw is not below the share.
        rest = _plain(condition[:draw.start()] + condition[draw.end():])
        blue = next((pool for pool, after in chosen[index + 1:] if _plain(after) == rest), None) if rest else None
        blue = blue or frontend.value("default_backend")
        split = dataclasses.replace(shares[draw.group(2)], frontends=[name], pools={"blue": [blue] if blue else [], "green": [green]},
                                    sticky=not draws[draw.group(1)].startswith("rand("))
        found.append(split)
    return found


def _plain(condition: str) -> str:
    """A condition without the word before it, so that C(if) alone is none."""
    words = condition.split()
    return " ".join(words[1:] if words[:1] == ["if"] else words)


def parse(text: str, sections: list[Section] | None = None) -> list[Section]:
    """The sections of one file; C(sections) are those of the files before it."""
    sections = [] if sections is None else sections
    defaults = {section.name: section for section in sections if section.kind == "defaults" and section.name}
    last_defaults = next((section for section in reversed(sections) if section.kind == "defaults"), None)
    current: Section | None = None
    for raw in text.splitlines():
        words = _words(raw)
        if not words:
            continue
        if words[0] in SECTIONS:
            source = words[words.index("from") + 1] if "from" in words[:-1] else None
            name = words[1] if len(words) > 1 and words[1] != "from" else ""
            parent = None
            if words[0] in ("frontend", "backend", "listen"):
                parent = defaults.get(source) if source else last_defaults
            elif words[0] == "defaults" and source:
                parent = defaults.get(source)
            current = Section(words[0], name, [], parent)
            sections.append(current)
            if words[0] == "defaults":
                last_defaults = current
                if name:
                    defaults[name] = current
        elif current is not None:
            current.lines.append(words)
    return sections


def read(paths: t.Sequence[str]) -> Config:
    """Read the files, or the C(.cfg) files of a directory, in haproxy's order. Raises OSError for what cannot be read."""
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            files += [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(".cfg") and not name.startswith(".")]
        else:
            files.append(path)
    sections: list[Section] = []
    modified = 0.0
    for path in files:
        with open(path, encoding="utf-8", errors="replace") as handle:
            parse(handle.read(), sections)
            modified = max(modified, os.fstat(handle.fileno()).st_mtime)
    return Config(files, sections, modified)


def finding(level: str, setting: str, text: str, lines: t.Sequence[str] = ()) -> dict[str, t.Any]:
    return {"level": level, "setting": setting, "text": text, "lines": list(lines)}


def lint(config: Config, pools: t.Sequence[str], frontends: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """What in the configuration could lose requests during a deploy, and the lines that would change it."""
    found: list[dict[str, t.Any]] = []
    for name in pools:
        if name in config.pools:
            found += _of_requests(name, config.pools[name])
            found += _of_checks(name, config.pools[name])
            found += _of_leaving(name, config, config.pools[name])
    for name in frontends:
        if name in config.frontends:
            found += _of_frontend(name, config.frontends[name])
    found += _of_reloads(config, pools)
    return found


def _of_requests(name: str, pool: Section) -> list[dict[str, t.Any]]:
    """What becomes of a request whose server goes away: handled somewhere else, or lost."""
    found = []
    retries = pool.value("retries")
    if retries == "0":
        found.append(finding("warning", "retries", f"pool {name} never tries a failed connection again (retries 0)", ["retries 3"]))
    if not pool.option("redispatch"):
        found.append(finding("warning", "option redispatch", f"pool {name} tries a failed connection again on the same server only, up to its last try; "
                             "with redispatch it goes to another one", ["option redispatch 1"]))
    conditions = [word for line in pool.all("retry-on")[-1:] for word in line[1:]]
    guarded = any(line[:2] == ["http-request", "disable-l7-retry"] for line in pool.lines + (pool.parent.lines if pool.parent else []))
    if pool.mode == "http":
        if REPLAYS & set(conditions) and not guarded:
            found.append(finding("error", "retry-on", f"pool {name} sends requests again that a server may have worked on already "
                                 f"({', '.join(sorted(REPLAYS & set(conditions)))}), POSTs too: they may take effect twice",
                                 ["http-request disable-l7-retry unless METH_GET"]))
        elif not {"empty-response", "all-retryable-errors"} & set(conditions):
            found.append(finding("info", "retry-on", f"pool {name} answers 502 when a server closes a connection without an answer; a GET could be tried "
                                 "on another server", ["retry-on conn-failure empty-response", "http-request disable-l7-retry unless METH_GET"]))
    else:
        found.append(finding("info", "mode", f"pool {name} is in TCP mode: a connection counts as in flight as long as it is held, so drains may need a cut"))
    for setting in ("connect", "server"):
        if pool.timeout(setting) is None:
            found.append(finding("warning", f"timeout {setting}", f"pool {name} has no timeout {setting}: a request may hang for ever, and a drain with it",
                                 [f"timeout {setting} {'5s' if setting == 'connect' else '60s'}"]))
    return found


def _of_checks(name: str, pool: Section) -> list[dict[str, t.Any]]:
    found = []
    unchecked = [server for server, words in pool.servers.items() if not flag(words, "check") and word_after(words, "track") is None]
    if unchecked:
        names = ", ".join(unchecked[:10]) + (" and more" if len(unchecked) > 10 else "")
        found.append(finding("warning", "check", f"pool {name} does not check {names}: haproxy would "
                             "send requests to a dead member, and their return is gated by probes of this collection only",
                             ["option httpchk GET /ready", "default-server check inter 1s fall 3 rise 2"]))
    elif pool.mode == "http" and not pool.option("httpchk") and pool.servers:
        found.append(finding("warning", "option httpchk", f"pool {name} checks only whether a port is open, which it is before the application is ready",
                             ["option httpchk GET /ready"]))
    slowest = 0.0
    starts = 0.0
    for words in pool.servers.values():
        if flag(words, "check"):
            inter = seconds(word_after(words, "inter") or "2s") or 2.0
            down = seconds(word_after(words, "downinter") or "") if word_after(words, "downinter") else None
            fast = seconds(word_after(words, "fastinter") or "") if word_after(words, "fastinter") else None
            rise = int(word_after(words, "rise") or 2)
            slowest = max(slowest, (down or inter) + (rise - 1) * (fast or inter))
        starts = max(starts, seconds(word_after(words, "slowstart") or "0") or 0.0)
    if slowest > 5:
        found.append(finding("info", "inter", f"pool {name} needs up to {slowest:g} s of checks before a member returns, in every batch",
                             ["default-server inter 2s fastinter 500ms downinter 500ms"]))
    if starts:
        found.append(finding("info", "slowstart", f"pool {name} brings members back over {starts:g} s; each batch waits for its end"))
    agents = [server for server, words in pool.servers.items() if flag(words, "agent-check")]
    if agents:
        found.append(finding("info", "agent-check", f"pool {name} has agents, which could bring members back while they are out; they are disabled meanwhile"))
    return found


def _of_leaving(name: str, config: Config, pool: Section) -> list[dict[str, t.Any]]:
    found = []
    if name in config.sticky:
        found.append(finding("info", "cookie or stick", f"pool {name} sends clients back to their server, also to one that drains: a busy session can keep a "
                             "drain from ending"))
    if any(key[0] == name for key in config.cuts):
        found.append(finding("warning", "on-marked-down", f"pool {name} closes sessions of a server that is put in maintenance "
                             "(on-marked-down shutdown-sessions); it is drained first, but anybody's 'maint' by hand cuts requests"))
    weights = {word_after(words, "weight") or "1" for words in pool.servers.values()}
    if weights and max(int(weight) for weight in weights if weight.isdigit()) < 20:
        found.append(finding("info", "weight", f"pool {name} has weights up to {max(weights)}, too coarse for small shares", ["default-server weight 100"]))
    return found


def _of_frontend(name: str, frontend: Section) -> list[dict[str, t.Any]]:
    found = []
    if frontend.mode == "http" and not frontend.option("idle-close-on-response"):
        found.append(finding("info", "option idle-close-on-response", f"frontend {name} closes idle client connections at a reload at once; a client "
                             "that is about to use one sees a reset. No reload belongs into a deploy", ["option idle-close-on-response"]))
    if frontend.timeout("client") is None:
        found.append(finding("warning", "timeout client", f"frontend {name} has no timeout client: idle connections are kept for ever", ["timeout client 60s"]))
    return found


def _of_reloads(config: Config, pools: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """A reload loses what was set at runtime, and leaves old workers behind."""
    found = []
    settings = config.globals
    saved = [pool for pool in pools if pool in config.pools and config.pools[pool].value("load-server-state-from-file") in ("global", "local")]
    if not settings.value("server-state-file") and not settings.value("server-state-base") or len(saved) < len([p for p in pools if p in config.pools]):
        found.append(finding("warning", "server-state-file", "a reload forgets which members are in maintenance and sends them requests again; "
                             "with a state file, written before each reload ('show servers state'), it remembers",
                             ["global: server-state-file /var/lib/haproxy/server-state", "defaults: load-server-state-from-file global"]))
    maps = sorted({match for section in config.sections for line in section.lines
                   for match in re.findall(r"\bmap(?:_[a-z]+)*\(([^,)]+)", " ".join(line))} - {split.map for split in config.splits})
    if maps:
        found.append(finding("info", "map", f"entries of {', '.join(maps[:5])} that were set at runtime are lost at a reload "
                             "unless they are written to the file, too"))
    if not settings.value("hard-stop-after"):
        found.append(finding("info", "hard-stop-after", "a worker from before a reload lives until its last connection ends, however long that takes, "
                             "and is waited for",
                             ["global: hard-stop-after 10m"]))
    return found


def of_split(config: Config, pools: t.Sequence[str], frontends: t.Sequence[str]) -> list[dict[str, t.Any]]:
    """For each pool, whether it is one of two sides, and otherwise the lines that make it one."""
    found = []
    told: set[tuple[str, str]] = set()
    for pool in pools:
        split = next((one for one in config.splits if any(pool in names for names in one.pools.values())), None)
        if split is None:
            found += _lacking(config, pool, frontends)
        elif (split.map, split.key) not in told:
            told.add((split.map, split.key))
            sides = "; ".join(f"{side} is {', '.join(names)}" for side, names in split.pools.items())
            found.append(finding("info", "split", f"blue/green and canary work: frontend {', '.join(split.frontends)} splits requests by '{split.key}' in "
                                 f"{split.map} ({sides})" + ("; clients stay on their side" if split.sticky else "")))
    return found


def _lacking(config: Config, pool: str, frontends: t.Sequence[str]) -> list[dict[str, t.Any]]:
    name = next((name for name in frontends if name in config.frontends and config.frontends[name].value("default_backend") == pool
                 and config.frontends[name].mode == "http"), None)
    if name is None:
        return []
    place = os.path.dirname(config.files[0]) if config.files else "/etc/haproxy"
    return [finding("info", "split", f"pool {pool} has no second side: rolling works, blue/green and canary need these lines and a reload", second_side(
        name, pool, os.path.join(place, "split.map"), config.pools[pool]))]


def second_side(frontend: str, pool: str, path: str, section: Section | None = None) -> list[str]:
    """What gives C(pool) a second side; C(pool) is blue from then on. C(section) is how the configuration has it."""
    return [
        f"file {path}: {pool} 0",
        f"frontend {frontend}: http-request set-var(txn.green) str({pool}),map_str_int({path},0)",
        f"frontend {frontend}: http-request set-var(txn.draw) rand(100)",
        f"frontend {frontend}: use_backend {pool}_green if {{ var(txn.draw),sub(txn.green) -m int lt 0 }}",
        *_second_backend(pool, section),
        f"deploy_traffic.pools: [{{name: {pool}, side: blue, port: …}}, {{name: {pool}_green, side: green, port: …}}]",
        "deploy_service: {blue: {…, slot: …}, green: {…}} (blue is what runs now, with the slot that it has, current unless you named one)",
    ]


def _second_backend(pool: str, section: Section | None) -> list[str]:
    """The lines of a second backend: those of the first, with the ports of the members' second slots, which only the team knows."""
    if section is None or section.kind != "backend":
        return [f"backend {pool}_green: as backend {pool}, with the ports of the members' second slots"]
    lines = []
    for words in section.lines:
        # Numbers that may be there only once.
        if words[0] in ("id", "guid"):
            continue
        place = {"server": 2, "server-template": 3}.get(words[0])
        if place is not None and len(words) > place:
            words = list(words)
            host, colon, port = words[place].rpartition(":")
            words[place] = f"{host if colon and port.isdigit() else words[place]}:{SECOND_PORT}"
            for name in ("id", "guid"):
                if name in words[place:-1]:
                    at = words.index(name, place)
                    del words[at:at + 2]
        lines.append(" ".join(map(_written, words)))
    parent = section.parent.name if section.parent else ""
    origin = f" from {parent}" if parent else ""
    return [f"backend {pool}_green{origin}: {line}" for line in lines] + [f"({SECOND_PORT} is the port of each member's second slot)"]


def _written(word: str) -> str:
    """A word as the configuration has it."""
    return word if word and not set(word) & set(" \t#'\"\\") else "'" + word.replace("'", "'\\''") + "'"
