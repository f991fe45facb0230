# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in haproxy.cfg would lose requests or is missing, with the lines that change it. Private to the collection."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._finding import finding
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.config import Config, Section, flag, seconds, word_after
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.routes import Route
from ansible_collections.zero.downtime.plugins.module_utils._haproxy.second_side import read_map, second_side, ways_to, written

# Conditions of retry-on under which the server may already have worked on the request.
REPLAYS = frozenset("all-retryable-errors response-timeout empty-response junk-response 0rtt-rejected 401 403 404 408 425 500 501 502 503 504".split())
# With which haproxy remembers over a reload what was set at runtime, and what its checks had found.
STATE_FILE = ["global: server-state-file /var/lib/haproxy/server-state", "defaults: load-server-state-from-file global"]


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
                             STATE_FILE))
    for pool in pools:
        states = {word_after(words, "init-state") for words in config.pools[pool].servers.values()} if pool in config.pools else set()
        if states & {"down", "fully-down"} and pool not in saved:
            # Seen with 3.4.0: 2 s of 503 with rise 3 and checks each second. With a state file there were none.
            found.append(finding("warning", "init-state", f"a reload begins with every member of pool {pool} down until its checks have passed, and requests "
                                 "get 503 meanwhile; with a state file, written before each reload, they stay as they were", STATE_FILE))
    if config.counted_together:
        found.append(finding("warning", "shm-stats-file", "workers count together, and HAProxy 3.4.0 was seen to count wrongly at a reload; without it the "
                             "counters of each worker are exact"))
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


def of_split(config: Config, pools: t.Sequence[str], frontends: t.Sequence[str],
             read: t.Callable[[str], str | None] = read_map, members: t.Collection[str] | None = None) -> list[dict[str, t.Any]]:
    """For each pool, whether it is one of two sides, and otherwise the lines that make it one.

    :param read: gives the text of a map's file.
    :param members: the servers that have a second slot; None where nobody has said it, so that all may.
    """
    found = []
    told: set[tuple[str, str]] = set()
    for pool in pools:
        split = next((one for one in config.splits if any(pool in names for names in one.pools.values())), None)
        if split is None:
            found += _lacking(config, pool, frontends, read, members)
        elif (split.map, split.key) not in told:
            told.add((split.map, split.key))
            sides = "; ".join(f"{side} is {', '.join(names)}" for side, names in split.pools.items())
            found.append(finding("info", "split", f"blue/green and canary work: frontend {', '.join(split.frontends)} splits requests by '{split.key}' in "
                                 f"{split.map} ({sides})" + ("; clients stay on their side" if split.sticky else "")))
    return found


def _lacking(config: Config, pool: str, frontends: t.Sequence[str], read: t.Callable[[str], str | None],
             members: t.Collection[str] | None) -> list[dict[str, t.Any]]:
    ways = ways_to(config, pool, frontends, read)
    if not ways:
        unclear = [(name, line[1]) for name in frontends if name in config.frontends for line in config.frontends[name].all("use_backend")
                   if len(line) > 1 and "%[" in line[1]]
        return [finding("info", "split", f"pool {pool} has no second side, and which lines would give it one nobody can tell: no rule leads to it by its "
                        f"name, and where 'use_backend {rule}' of frontend {name} leads is not known here") for name, rule in unclear[:1]]
    other = sorted({route.frontend for route in ways if config.frontends[route.frontend].mode != "http"})
    if other:
        return [finding("info", "split", f"pool {pool} has no second side, and frontend {', '.join(other)} is in TCP mode, where no request can be sent "
                        "elsewhere by a share: rolling works")]
    place = os.path.dirname(config.files[0]) if config.files else "/etc/haproxy"
    return [finding("info", "split", f"pool {pool} has no second side: rolling works, blue/green and canary need these lines and a reload{_routed(ways)}",
                    second_side(ways, config, pool, os.path.join(place, "split.map"), members))]


def _routed(ways: t.Sequence[Route]) -> str:
    """Which rules send requests to a pool today, where there is more to it than the default."""
    rules = []
    for route in ways:
        if not route.is_default:
            keys = f" ({route.map}: {', '.join(repr(' '.join(key.split())) for key in route.keys[:5]) or 'what it lacks'})" if route.map else ""
            rules.append(f"'{' '.join(map(written, route.line))}' of frontend {route.frontend}{keys}")
    return f"; requests come to it by {' and '.join(rules)}" if rules else ""
