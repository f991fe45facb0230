# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shadow of a deploy: copies of real requests for the release on the idle side, before any user sees it. Pure but for its file.

Private to the collection. C(deploy_shadow), what of it a driver can do, who is asked, and what goes into the record.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, called, named
from ansible_collections.zero.downtime.plugins.module_utils._record import events as _events
from ansible_collections.zero.downtime.plugins.module_utils._shadow import replay as _replay
from ansible_collections.zero.downtime.plugins.module_utils._shadow import response_diff as _response_diff
from ansible_collections.zero.downtime.plugins.module_utils._shadow.options import OF_MIRROR, OF_REPLAY, OPTIONS

# What differs most is what a person reads; a record is no place for a thousand fields.
MOST_FIELDS = 50


def check(checked: t.Mapping[str, t.Any], driver: _drivers.Driver, strategy: str) -> dict[str, t.Any]:
    """C(deploy_shadow) with its method, for this driver and strategy.

    Raises DowntimeError for what cannot work, naming what does.
    """
    if _drivers.strategy(strategy).SIDE != "idle":
        idle = [name for name in _drivers.STRATEGIES if _drivers.strategy(name).SIDE == "idle"]
        raise DowntimeError(f"deploy_shadow is set, but deploy_strategy is '{strategy}', which has no idle side; with it works {', '.join(idle)}")
    can = driver.shadows
    if not can:
        others = ", ".join(f"{name} ({', '.join(found)})" for name in _drivers.NAMES if (found := _drivers.load(name).shadows))
        raise DowntimeError(f"deploy_shadow is set, but driver {driver.name} can neither mirror requests nor has it a log to replay them from; "
                            f"it works with {others}")
    method = checked["method"] or ("mirror" if "mirror" in can and not checked["log"] else "replay")
    if method not in can:
        raise DowntimeError(f"deploy_shadow.method is '{method}', which driver {driver.name} cannot do; with it works {', '.join(can)}")
    foreign = [name for name in (OF_REPLAY if method == "mirror" else OF_MIRROR) if checked[name] != OPTIONS[name].get("default")]
    if foreign:
        raise DowntimeError(f"deploy_shadow.{foreign[0]} is {checked[foreign[0]]!r}, which has no effect with deploy_shadow.method {method}; leave it out")
    if method == "replay" and not checked["log"]:
        raise DowntimeError("deploy_shadow.log is missing; the path of the request log on the balancers is needed")
    if not 1 <= checked["share"] <= 100:
        raise DowntimeError(f"deploy_shadow.share is {checked['share']}; a whole percentage from 1 to 100 is accepted")
    _replay.check(checked, "deploy_shadow.")
    return {**checked, "method": method}


def targets(told: t.Mapping[str, t.Mapping[str, t.Any]], live: tuple[str, t.Mapping[str, t.Any]], idle: tuple[str, t.Mapping[str, t.Any]]
            ) -> dict[str, dict[str, t.Any]]:
    """Whom each balancer asks: the addresses at which it reaches the members of both sides.

    C(live) and C(idle) are a side's pool and its members. The first pool of a side is the one whose requests are replayed.
    """
    if not told:
        raise DowntimeError("deploy_shadow is set, but no balancer can tell its members, so nobody knows whom to ask")
    found = {}
    for balancer, result in told.items():
        have = {pool["name"]: {entry["name"]: entry for entry in pool["members"]} for pool in result["pools"]}
        serving = {name: have[live[0]][host["server"]] for name, host in live[1].items()}
        found[balancer] = {
            "live": {name: entry["address"] for name, entry in serving.items() if entry["full"] and entry["state"] == "active"},
            "idle": {name: have[idle[0]][host["server"]]["address"] for name, host in idle[1].items()},
        }
        if not found[balancer]["live"]:
            raise DowntimeError(f"deploy_shadow is set, but no member of pool {live[0]} serves on {called(balancer)}, so there is nothing to compare with")
    return found


def replay_args(shadow: t.Mapping[str, t.Any], balancer: str, left_out: t.Collection[str] = ()) -> dict[str, t.Any]:
    """The options of the module replay for one balancer; each one asks other members where it can, and takes its part of the rate."""
    names = list(shadow["targets"])
    number = names.index(balancer)
    live = list(shadow["targets"][balancer]["live"].values())
    idle = [address for name, address in shadow["targets"][balancer]["idle"].items() if name not in left_out]
    if not idle:
        raise DowntimeError(f"no member of the idle side can be asked: {', '.join(left_out)} is out of reach or was taken out")
    options = {name: shadow[name] for name in _replay.argument_spec() if shadow.get(name) is not None}
    return {**options, "primary": live[number % len(live)], "secondary": live[(number + 1) % len(live)], "candidate": idle[number % len(idle)],
            "rate": shadow["rate"] / len(names)}


def report(shadow: t.Mapping[str, t.Any], results: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """What all balancers found, as the record has it."""
    whole = _replay.result(_response_diff.together(list(results.values())), shadow, sum(result["planned"] for result in results.values()),
                           sum(result["late"] for result in results.values()))
    return {"method": shadow["method"], **{name: whole[name] for name in ("requests", "compared", "late", "differences")},
            "fields": whole["fields"][:MOST_FIELDS], "verdict": whole["verdict"], "sentence": whole["sentence"]}


def of_mirror(shadow: t.Mapping[str, t.Any], statuses: t.Mapping[str, int]) -> dict[str, t.Any]:
    """A report of copies that nginx and the like made: how the idle side answered, since nobody kept what the other one said."""
    total = sum(statuses.values())
    bad = {status: count for status, count in statuses.items() if count and not 100 <= int(status) < 500}
    raw = sum(bad.values())
    fields = [{"field": "status", "raw": raw, "noise": 0, "how": ", ".join(f"{count} times {status}" for status, count in sorted(bad.items())), "path": "",
               "reported": _response_diff.is_reported(raw, 0, total, shadow["relative_limit"], shadow["absolute_limit"])}] if bad else []
    count = sum(1 for field in fields if field["reported"])
    verdict = "nothing" if not total else "different" if count > shadow["max_differences"] else "same"
    told = ("no request was copied" if not total else f"the idle side answered {raw} of {total} copies with an error ({fields[0]['how']})" if fields
            else f"the idle side answered {total} copies without an error")
    return {"method": shadow["method"], "requests": total, "compared": total, "late": 0, "differences": count, "fields": fields, "verdict": verdict,
            "sentence": told}


def keep(run_dir: str | None, found: t.Mapping[str, t.Any]) -> None:
    """Leave the report for the record, which is written at the end, however the deploy ends."""
    if run_dir:
        with open(os.path.join(run_dir, _events.SHADOW), "w", encoding="utf-8") as handle:
            json.dump(found, handle)


def without_quiet(results: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """The results less those of balancers that no request came to, as long as one came to another. Raises DowntimeError for any other failure."""
    heard = {host: result for host, result in results.items() if not result.get("nothing_logged")}
    failed = [named("balancer", host, result) for host, result in (heard or results).items() if result.get("failed")]
    if failed:
        raise DowntimeError("; ".join(failed))
    return heard
