# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of the judge as a page of docs/."""

from __future__ import annotations

import typing as t

import canaries
import worlds
from table import as_table


def render(found: dict[str, t.Any]) -> str:
    deploys = "Withdrawn of %(deploys)d deploys" % found
    lines = [
        "<!-- Written by make bench, and by python tests/bench/bench.py --only judge. -->",
        "# What the canary judge finds, and what it takes for worse that is not",
        "",
        "Simulated seconds, the real code: each canary is watched by `deploy_canary`'s defaults, by looks every 5 s at %d members of each side and at every "
        "request's latency. Beside it Kayenta's judge (NetflixACAJudge) by its published constants, at the same looks: error rate, mean and p99 of each "
        "look, Mann-Whitney at 98 %%, tolerance 0.25, judged once at the end of each share. How it works: [judge.md](judge.md)."
        % worlds.MEMBERS,
        "",
        "Errors are 0.5 %% where nothing else is said, latency is log-normal around %g ms, sigma 0.5. A burst: for %g s a member of either side fails half "
        "of its requests, and the others take %g ms more; 0.1 %% fail otherwise. Everything stalls: for %g s the requests of both "
        "sides take %g ms more. Each sticky user asks every %g s, and nobody but those who always fail "
        "gets errors. What goes up and down does so every %g s on both sides: the rate by 30 %%, the errors by 80 %%, the latency by half."
        % (worlds.MEDIAN_MS, worlds.HICCUP_S, worlds.HICCUP_MS, worlds.STALL_S, worlds.STALL_MS, worlds.USER_S, worlds.TREND_S),
        "",
    ]
    for title, healthy in (("Healthy canaries", True), ("Bad canaries", False)):
        chosen = [world for world in found["worlds"] if world["healthy"] == healthy]
        lines += [
            "## " + title,
            "",
            "### Whole deploys",
            "",
            "%s, through %s %% at %d requests a second; in brackets held until the deadline."
            % (deploys, ", ".join(map(str, canaries.STEPS)), canaries.USUAL),
            "",
        ]
        lines += as_table(
            ["world", "this judge", "by Kayenta's", "at the share (deploys), after"],
            (_deploy(world) for world in chosen),
        )
        lines += [
            "### One share",
            "",
            "Withdrawn in %% of %d canaries, at a first share by itself and so many requests a second; in brackets held until the "
            "deadline, since nothing could be said. First this judge, then Kayenta's." % found["shares"],
            "",
        ]
        cells = ["%d/%d" % (share, rate) for share in canaries.SHARES for rate in canaries.RATES]
        lines += as_table(
            ["world", *("%s %%, %s/s" % tuple(cell.split("/")) for cell in cells)],
            ([world["name"], *(_cell(world["grid"][cell]) for cell in cells)] for world in chosen),
        )
    half = found["at_half"]
    lines += [
        "## How soon",
        "",
        "2 %% errors in place of 0.5 %%, at half of the requests after a share of 1 %%, at %d requests a second: found in %s %% of %d within a minute, in "
        "the median after %g s at that share."
        % (canaries.USUAL, _percent(half["failed"], half["runs"]), half["runs"], half["median_s"] or 0),
        "",
        "A decision over 10,000 samples takes %.0f ms where they come as counts of the probe's slots, %.0f ms as a list, without scipy."
        % (found["ms"], found["ms_of_a_list"]),
        "",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _percent(part: int, whole: int) -> str:
    return "%.3g" % (100 * part / whole)


def _deploy(world: dict[str, t.Any]) -> list[str]:
    one = world["deploy"]
    held = " (%s)" % _percent(one["held"], one["runs"]) if one["held"] else ""
    where = ", ".join("%s %% (%d)" % (share, count) for share, count in one["shares"].items() if count)
    return [
        world["name"],
        "%s %%%s" % (_percent(one["failed"], one["runs"]), held),
        "%s %%" % _percent(one["kayenta"], one["runs"]),
        "%s: %g s in the median" % (where, one["median_s"]) if where else "",
    ]


def _cell(one: dict[str, t.Any]) -> str:
    held = " (%s)" % _percent(one["held"], one["runs"]) if one["held"] else ""
    return "%s%s, %s" % (_percent(one["failed"], one["runs"]), held, _percent(one["kayenta"], one["runs"]))
