# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The upstreams that have a file, or are still to get one, and whether their servers answer: nginx has no health checks. Private to the collection."""

from __future__ import annotations

import concurrent.futures
import socket
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, MissingFile, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._finding import with_lines
from ansible_collections.zero.downtime.plugins.module_utils._health import request as _request
from ansible_collections.zero.downtime.plugins.module_utils._nginx.config import sample
from ansible_collections.zero.downtime.plugins.module_utils._nginx.process import Nginx
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import POOL, SUFFIX, Upstream, fresh, host_port, joined, parse

PROBES_AT_ONCE = 32


def read_pools(nginx: Nginx, wanted: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, Upstream]:
    """The upstream files of C(wanted), or all there are. A pool without a file is one that nobody has served in yet, if its members are known."""
    there = [path.rpartition("/")[2][:-len(SUFFIX)] for path in nginx.paths()]
    found: dict[str, Upstream] = {}
    for pool in wanted or there:
        if not POOL.fullmatch(pool):
            raise DowntimeError(f"pool '{pool}' is no name for an upstream; letters, digits, and . _ - (no - or . first) are accepted")
        text = nginx.text(pool)
        members = wanted.get(pool) or {}
        if text is None and nginx.deleted(pool):
            raise MissingFile(nginx.path(pool), (
                f"{nginx.path(pool)} was deleted, and nginx runs with it: nobody can tell who is out of traffic there, and its next start or reload fails, or "
                "leaves the pool without servers; these lines, with down behind the address of whoever is to be out, bring it back"
                + with_lines(sample(pool, members))))
        if text is not None:
            found[pool] = parse(pool, nginx.path(pool), text, members)
        elif members:
            found[pool] = fresh(pool, nginx.path(pool), members)
        else:
            raise DowntimeError(f"pool '{pool}' has no file {nginx.path(pool)}; pools there are {', '.join(there) or 'none'}; "
                                f"{_commands.command('doctor', None)} shows how to make one")
    return found


def probe(address: str, path: str | None, timeout: float = 2.0) -> str:
    """One try of our own on a server; returns what went wrong, or nothing."""
    place = host_port(address)
    if place is None:
        return f"its address {address} cannot be probed"
    if path:
        answer = _request.request(f"http://{joined(*place)}{path}", timeout, timeout)
        return answer.error or ("" if 200 <= (answer.status or 0) < 400 else f"{shown_url(path)} answered {answer.status}")
    try:
        socket.create_connection(place, timeout).close()
    except OSError as error:
        return f"its port did not answer ({error})"
    return ""


def silent(upstream: Upstream, path: str | None, probe_member: t.Callable[[str, str | None], str] = probe) -> dict[str, str]:
    """Who is in traffic by the file and does not answer, and why: nginx has no health checks that would know. Each may fail once."""
    asked = [server for server in upstream.servers if not server.down and host_port(server.address)]
    if not asked:
        return {}

    def ask(address: str) -> str:
        return probe_member(address, path) and probe_member(address, path)

    with concurrent.futures.ThreadPoolExecutor(min(PROBES_AT_ONCE, len(asked))) as pool:
        answers = list(pool.map(ask, [server.address for server in asked]))
    return {server.name: wrong for server, wrong in zip(asked, answers) if wrong}


def resolved(address: str) -> list[tuple[str, int]]:
    """Every address and port that a server's address stands for."""
    place = host_port(address)
    if place is None:
        return []
    try:
        return [(str(found[4][0]), place[1]) for found in socket.getaddrinfo(place[0], place[1], type=socket.SOCK_STREAM)]
    except OSError:
        return []
