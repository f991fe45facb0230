# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of streams, as a page of docs/."""

from __future__ import annotations

import typing as t

from table import as_table, lost, targets

NAMES = {
    "ask": "`deploy_streams: ask`",
    "cut": "`deploy_streams: cut`",
    "wait": "`deploy_streams: wait`",
    "kamal_proxy": "`kamal-proxy deploy`",
}


def render(found: dict[str, t.Any], machine: dict[str, t.Any], wanted: t.Iterable[dict[str, t.Any]]) -> str:
    clients = found["rounds"] * (found["sockets"] + found["events"])
    lines = [
        "<!-- Written by make bench, and by python tests/bench/bench.py --only streams. -->",
        "# What becomes of WebSockets and event streams",
        "",
        "%d blue/green deploys of each kind, under %d WebSockets and %d streams of server-sent events, beside ordinary "
        "requests: on HAProxy by each value of `deploy_streams`, and beneath kamal-proxy. What each value does: "
        "[streams.md](streams.md). One machine, one application, the same clients; HAProxy %s, ansible-core %s; %s. Both have a drain limit of %d s. Ours is a "
        "whole "
        "`zero.downtime.deploy` with `deploy_keep_previous: 0`, which stops the old side at its end, unless somebody "
        "is still on it; kamal-proxy's part is its deploy command, then the stop of the old side, as kamal does it "
        "with containers."
        % (
            found["rounds"],
            found["sockets"],
            found["events"],
            machine["haproxy"],
            machine["ansible_core"],
            machine["date"],
            found["drain_limit"],
        ),
        "",
        "The application has one topic of numbered messages, one every 50 ms, the same in every process, and ends its"
        " streams itself when it is stopped: a WebSocket with the close frame 1001, an event stream with `retry` and "
        "its last chunk. Each client reconnects within 50 ms and says which message it has seen last; on its "
        "WebSocket it sends a numbered message every 50 ms and wants each acknowledged.",
        "",
    ]
    lines += as_table(
        [
            "",
            "streams cut",
            "clients on the new release",
            "the last one after",
            "longest gap",
            "sent, and nobody knows",
            "messages missing",
            "requests lost",
        ],
        (_row(name, way, clients) for name, way in found["ways"].items()),
    )
    lines += [
        "- *Cut*: it ended without a close frame, or without the last chunk. After that, nobody knows of a message "
        "that was sent and not acknowledged whether it counts; after a close frame it is known, and the client sends "
        "it once more.",
        "- *The last one after*: the median of seconds from the first ordinary request that the new release was given.",
        "- *Longest gap*: of all clients, the longest time without any message. HAProxy has `option http-no-delay` here: "
        "without it an event waits for up to 0.2 s, in case that another one follows.",
        "- *Messages missing*: numbers that never came, although the client said what it saw last. A client that does"
        " not say it would have lost those that existed before its next stream did: %s."
        % ", ".join(
            "%s with %s" % (format(way["server_messages"]["late"], ","), NAMES[name])
            for name, way in found["ways"].items()
        ),
        "",
    ]
    lines += targets(wanted)
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, way: dict[str, t.Any], clients: int) -> tuple[str, ...]:
    messages = way["client_messages"]
    counted = ", counted as %s" % way["counted_as_cut"] if way.get("counted_as_cut") is not None and way["cut"] else ""
    return (
        NAMES[name],
        "%d of %d%s" % (way["cut"], clients, counted),
        "%d of %d" % (way["on_the_new"], clients),
        "never" if way["moved"] is None else "%.1f s" % way["moved"],
        "%d ms" % way["longest_gap_ms"],
        "%d of %s" % (messages["unknown"], format(messages["sent"], ",")),
        "%d of %s" % (way["server_messages"]["missing"], format(way["server_messages"]["received"], ",")),
        lost(way["requests"]),
    )
