# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads nginx's configuration as C(nginx -T) prints it, never writes it: what in it would lose requests, and which lines are missing.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._finding import finding
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import HEADER, SUFFIX

FILE = re.compile(r"^# configuration file (?P<path>.+):$", re.MULTILINE)
TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<mark>[{};])|(?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};])+)""", re.DOTALL)
UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "M": 2592000.0, "y": 31536000.0, "": 1.0}
PASSES = frozenset("proxy_pass fastcgi_pass uwsgi_pass scgi_pass grpc_pass memcached_pass".split())
# client_header_timeout where nothing sets it.
SILENCE = 60.0
NEXT = frozenset(name.replace("_pass", "_next_upstream") for name in PASSES)


def seconds(text: str) -> float | None:
    """nginx's times: C(30), C(30s), C(1m 30s), C(100ms)."""
    total = 0.0
    for part in text.split() or [""]:
        if not re.fullmatch(r"(\d+(ms|[smhdwMy])?)+", part):
            return None
        total += sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwMy])?", part))
    return total


@dataclasses.dataclass(frozen=True)
class Directive:
    words: tuple[str, ...]
    file: str
    inside: tuple[tuple[str, ...], ...]  # the blocks around it, the outermost first

    @property
    def name(self) -> str:
        return self.words[0]


@dataclasses.dataclass
class Config:
    files: list[str]
    directives: list[Directive]

    def all(self, name: str) -> list[Directive]:
        return [directive for directive in self.directives if directive.name == name]

    def shutdown_timeout(self) -> float | None:
        """Seconds after which nginx ends an old worker with all that it still holds; None when it never does."""
        found = [directive for directive in self.all("worker_shutdown_timeout") if len(directive.words) > 1]
        return seconds(" ".join(found[-1].words[1:])) if found else None

    def silence(self) -> float:
        """Seconds for which a connection may be open until its first request is there, in the block that allows for most."""
        found: dict[bool, float] = {True: SILENCE}
        for everywhere in (True, False):
            told = [seconds(" ".join(directive.words[1:])) or 0.0 for directive in self.all("client_header_timeout")
                    if (directive.inside[-1:] == (("http",),)) == everywhere]
            found.update({everywhere: max(told)} if told else {})
        # A server without a line of its own has that of http, or nginx' own.
        return max(found.values())

    def reads(self, directory: str) -> bool:
        """Whether a file C(*.conf) in C(directory) is included."""
        base = os.path.dirname(self.files[0]) if self.files else "/etc/nginx"
        example = os.path.join(directory, "revision.conf")
        for directive in self.all("include"):
            # Of a path that does not exist (yet) this is the directory's real name all the same.
            pattern = os.path.join(base, directive.words[1]) if len(directive.words) > 1 else ""
            place = os.path.join(os.path.realpath(os.path.dirname(pattern)), os.path.basename(pattern))
            if fnmatch.fnmatch(example, place) and fnmatch.fnmatch(os.path.join(directory, "x" + SUFFIX), place):
                return bool(directive.inside) and directive.inside[-1][0] == "http"
        return False

    def upstreams(self) -> dict[str, list[str]]:
        """Where each upstream is defined. An empty block has no directive of its own, so the blocks themselves are noted, too."""
        found: dict[str, list[str]] = {}
        for directive in self.all("upstream"):
            if len(directive.words) > 1:
                found.setdefault(directive.words[1], []).append(directive.file)
        return found

    def uses(self, pool: str) -> bool:
        """Whether requests are passed to C(pool) by its name; by a variable nobody can tell."""
        return self.passes(pool) or any("$" in directive.words[1] for directive in self.directives if directive.name in PASSES and len(directive.words) > 1)

    def passes(self, pool: str) -> bool:
        """Whether requests are passed to C(pool) by its very name."""
        targets = [directive.words[1] for directive in self.directives if directive.name in PASSES and len(directive.words) > 1]
        return any(re.split(r"[/:]", target.partition("://")[2] or target)[0] == pool for target in targets)

    def mapped(self, pool: str) -> list[Directive]:
        """The entries of maps that name C(pool) and whose variable requests are passed on by."""
        passed = " ".join(word for directive in self.directives if directive.name in PASSES for word in directive.words[1:])
        return [directive for directive in self.directives if directive.words[1:] == (pool,) and directive.inside
                and directive.inside[-1][0] == "map" and len(directive.inside[-1]) == 3 and _mentions(directive.inside[-1][2], passed)]

    def closes_idle(self) -> bool:
        """Whether a reload may close a connection under a client's next request: nginx keeps idle ones, as it does unless it is told otherwise, and
        none of its blocks gives the client a time to be heard in."""
        kept = not any(directive.words[1:] and seconds(directive.words[1]) == 0 for directive in self.all("keepalive_timeout"))
        return kept and not self.all("keepalive_min_timeout")

    def mentions(self, variables: t.Iterable[str], path: str) -> bool:
        """Whether anything outside the file C(path) goes by one of these variables."""
        names = "|".join(re.escape(variable[1:]) for variable in variables)
        pattern = re.compile(rf"\$(?:(?:{names})(?!\w)|\{{(?:{names})\}})")
        return any(pattern.search(word) for directive in self.directives if os.path.realpath(directive.file) != path for word in directive.words)


def _mentions(variable: str, text: str) -> bool:
    name = re.escape(variable[1:])
    return bool(re.search(rf"\$(?:{name}(?!\w)|\{{{name}\}})", text))


def parse(dump: str) -> Config:
    """The output of C(nginx -T). Blocks are directives, too, with their words."""
    starts = list(FILE.finditer(dump))
    config = Config([start.group("path") for start in starts], [])
    contents = {start.group("path"): dump[start.end():after.start() if after else len(dump)] for start, after in zip(starts, [*starts[1:], None])}
    for path, inside in _places(contents, config.files):
        _read(contents[path], path, inside, config)
    return config


def _read(text: str, path: str, around: tuple[tuple[str, ...], ...], config: Config) -> None:
    words: list[str] = []
    blocks = list(around)
    for token in TOKEN.finditer(text):
        if token.group("quoted") is not None:
            words.append(re.sub(r"\\(.)", r"\1", token.group("quoted")[1:-1]))
        elif token.group("word") is not None:
            words.append(token.group("word"))
        elif token.group("mark") == ";":
            if words:
                config.directives.append(Directive(tuple(words), path, tuple(blocks)))
            words = []
        elif token.group("mark") == "{":
            block = tuple(words) or ("",)
            config.directives.append(Directive(block, path, tuple(blocks)))
            blocks.append(block)
            words = []
        elif token.group("mark") == "}":
            if len(blocks) > len(around):
                blocks.pop()
            words = []


def _places(contents: t.Mapping[str, str], files: t.Sequence[str]) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """Each file once, with the blocks in which it is first included."""
    base = os.path.dirname(files[0]) if files else ""
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    waiting: list[tuple[str, tuple[tuple[str, ...], ...]]] = [(files[0], ())] if files else []
    while waiting:
        path, inside = waiting.pop(0)
        if path in found:
            continue
        found[path] = inside
        part = Config([path], [])
        _read(contents[path], path, inside, part)
        for directive in part.all("include"):
            pattern = os.path.join(base, directive.words[1]) if len(directive.words) > 1 else ""
            waiting += [(other, directive.inside) for other in files if other not in found and fnmatch.fnmatch(other, pattern)]
    return [*found.items(), *((path, ()) for path in files if path not in found)]


# -- what could lose requests ----------------------------------------------------------------------------------------------

def too_short(config: Config, slowest: float) -> str:
    """Why a reload would lose requests by itself, or nothing."""
    limit = config.shutdown_timeout()
    if limit is None or limit >= slowest:
        return ""
    return (f"worker_shutdown_timeout is {limit:g} s, and a request may take {slowest:g} s: at each reload nginx would cut what takes longer; "
            f"{slowest:g} s or more, or no such line, is accepted")


def lint(config: Config, directory: str, pools: t.Mapping[str, t.Mapping[str, str]], existing: t.Collection[str], slowest: float) -> list[dict[str, t.Any]]:
    """What is missing or dangerous. C(pools) are those asked for, with members known by address; C(existing) those that have a file."""
    found = []
    if not config.reads(directory):
        found.append(finding("error", "include", f"nginx does not read {directory}, where the driver keeps the upstreams",
                             [f"http {{ include {directory}/*.conf; }}"]))
    told = too_short(config, slowest)
    if told:
        found.append(finding("error", "worker_shutdown_timeout", told, [f"worker_shutdown_timeout {slowest:g}s;"]))
    elsewhere = config.upstreams()
    for pool, members in pools.items():
        others = [path for path in elsewhere.get(pool, []) if os.path.dirname(os.path.realpath(path)) != directory]
        path = os.path.join(directory, pool + SUFFIX)
        if others:
            found.append(finding("error", "upstream", f"the upstream {pool} is in {', '.join(others)}, where the driver does not touch it: move it to {path}, "
                                 "one server a line, each with its member's name behind it", sample(pool, members)))
        elif pool not in existing:
            found.append(finding("info", "upstream", f"the upstream {pool} has no file yet; the first deploy writes {path}, and after that "
                                 f"proxy_pass http://{pool} can be used" if members else
                                 f"the upstream {pool} has no file {path}, and its members' addresses are not known here", sample(pool, members)))
        elif not config.uses(pool):
            found.append(finding("warning", "proxy_pass", f"nothing passes requests to the upstream {pool}", [f"location / {{ proxy_pass http://{pool}; }}"]))
    for name in sorted(NEXT):
        if any("non_idempotent" in directive.words for directive in config.all(name)):
            found.append(finding("warning", name, f"{name} has non_idempotent: a POST that a member may have worked on already is sent to another one, too",
                                 [f"{name} error timeout;"]))
    if config.silence() > slowest:
        found.append(finding("info", "client_header_timeout", "a connection that a client has opened ahead of need keeps nginx's worker from before a "
                             f"reload for {config.silence():g} s, in which its first request may come, so each drain may take so long, and "
                             f"with deploy_streams ask or cut takes {config.silence() + slowest:g} s while there are streams (slowest_request is {slowest:g})",
                             ["http { client_header_timeout 10s; }"]))
    if config.closes_idle():
        found.append(finding("warning", "keepalive_timeout", "each reload closes the idle connections of clients, and a request that meets such a close is "
                             "lost unless its client repeats it, which the deploy's own probe does not; nginx 1.27.4 and newer have "
                             "keepalive_min_timeout for that, and older ones lose none where they keep no connection",
                             ["http { keepalive_timeout 0; }", "http { keepalive_min_timeout 10s; }  # from nginx 1.27.4 on, in its place"]))
    return found


def sample(pool: str, members: t.Mapping[str, str]) -> list[str]:
    """The lines of a pool's file."""
    servers = [f"    server {address}; # {name}" for name, address in members.items()] or ["    server 192.0.2.11:8000; # app1"]
    return [*HEADER.splitlines(), f"upstream {pool} {{", *servers, "}"]
