# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a deploy: pure functions from checked variables and observed states to batches and sentences.

Private to the collection. Nothing here asks a host or a balancer; what they said comes in as arguments.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _commands, _spec
from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap_options as _process_swap_options
from ansible_collections.zero.downtime.plugins.module_utils._driver import members as _members
from ansible_collections.zero.downtime.plugins.module_utils._driver import registry as _drivers
from ansible_collections.zero.downtime.plugins.module_utils._driver.members import told_untold
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, Refused, agreeing, called, refuse, shown_url, told_to
from ansible_collections.zero.downtime.plugins.module_utils._finding import with_lines
from ansible_collections.zero.downtime.plugins.module_utils._plan import canary_options as _canary_options
from ansible_collections.zero.downtime.plugins.module_utils._plan import going_on as _going_on
from ansible_collections.zero.downtime.plugins.module_utils._plan.variables import SERVICE, VARIABLES, of_platform

SIDES = ("blue", "green")
VERBS = ("deploy", "rollback", "restart", "drain", "activate", "retire", "status")
# A deploy's name becomes a directory that is removed at the end, so it may not lead elsewhere.
_ID = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,199}")
# The verbs that bring another release into traffic, or the same one anew.
SHIFTS = ("deploy", "rollback", "restart")
# The hooks that are about members, which a platform keeps to itself.
OF_MEMBERS = ("before_stage", "after_stage", "before_drain", "end_streams", "restart", "after_activate")
# Of a lock that only this controller sees, for a sentence.
ALONE = "deploy_state_hosts is not set: the lock and the journal lie on this controller alone, and deploys from other controllers do not see them"
# The mode of a pool in which a balancer knows requests.
REQUESTS = "http"


def batches(members: t.Sequence[str], sizes: t.Sequence[t.Any], most: int | None = None, unbound: t.Sequence[str] = ()) -> list[dict[str, t.Any]]:
    """Cut C(members) into batches as Ansible's C(serial) does; C(most) bounds each of them.

    Those that are C(unbound) come before them, in batches of their own that nothing bounds: they do not serve, so nobody misses them.

    Sizes are counts or percentages of all members, a percentage rounded down but never below 1; the last size repeats.
    Raises DowntimeError for a size that is neither, or that takes nothing.
    """
    counts = []
    for size in sizes:
        text = str(size).strip()
        match = re.fullmatch(r"(\d+)(%?)", text)
        if not match or int(match[1]) == 0 or (match[2] and int(match[1]) > 100):
            raise DowntimeError(f"deploy_batches has {size!r}; counts from 1 on, or percentages from 1% to 100%, are accepted")
        counts.append(max(1, int(match[1]) * (len(members) + len(unbound)) // 100) if match[2] else int(match[1]))
    if not counts:
        raise DowntimeError("deploy_batches is empty; a list of counts or percentages such as [1, \"25%\"] is accepted")
    bound = counts if most is None else [min(count, most) for count in counts]
    found: list[list[str]] = []
    for names, sizes_of_these in ((unbound, counts), (members, bound)):
        first, taken = len(found), 0
        while taken < len(names):
            count = sizes_of_these[min(len(found) - first, len(counts) - 1)]
            found.append(list(names[taken:taken + count]))
            taken += count
    return [{"n": number, "members": names} for number, names in enumerate(found, 1)]


def check_application(values: t.Mapping[str, t.Any], verb: str, refused: Refused = refuse) -> tuple[dict[str, t.Any], _drivers.Driver]:
    """Check all variables of an application; return them converted, with defaults, and the driver.

    Raises DowntimeError at the first one that does not fit. Where C(refused) goes on, a default stands in for what was refused, and only a driver
    that is not there is raised: without it nothing more can be told.
    """
    if not values.get("deploy_traffic"):
        raise DowntimeError("deploy_traffic is missing; a mapping with the driver and its options is needed, such as {driver: haproxy, …}")
    # What a team calls by such a name of its own is warned of (check_names), and no reason to refuse anything.
    variables = of_platform() if _has_platform(values["deploy_traffic"]) else VARIABLES
    checked = _spec.check({name: value for name, value in values.items() if name in VARIABLES}, variables, refused=refused)
    if verb == "deploy" and not checked["deploy_release"]:
        example = _commands.again({"verb": "deploy", "app": checked["deploy_app"]}, deploy_strategy=values.get("deploy_strategy"), deploy_release="2.0.0")
        refused(DowntimeError(f"deploy_release is missing; the label or digest of a release is needed, as in {example}"))
    traffic = dict(checked["deploy_traffic"] or {})
    driver = _drivers.load(str(traffic.pop("driver", None) or ""))
    checked["deploy_traffic"] = _spec.check(traffic, driver.traffic_spec, "deploy_traffic.", refused)
    if not values.get("deploy_strategy") and (only := only_strategy(driver)):
        checked["deploy_strategy"] = only
    with told_to(refused):
        carried(checked["deploy_strategy"], driver)
    if driver.has_platform:
        _of_platform(checked, driver, refused)
    if verb in SHIFTS and checked["deploy_traffic"].get("pools") and not checked["deploy_health"].get("path"):
        refused(DowntimeError("deploy_health.path is missing; the path of the members' readiness check is needed, such as /ready"))
    if driver.check and verb in SHIFTS:
        with told_to(refused):
            driver.check(checked["deploy_traffic"], checked["deploy_health"])
    with told_to(refused):
        _pattern(checked["deploy_health"].get("body"))
    if values.get("deploy_min_active") is None and driver.default_floor:
        checked["deploy_min_active"] = driver.default_floor
    with told_to(refused):
        _members.floor_of(checked["deploy_min_active"], 1, "deploy_min_active")
    if checked["deploy_id"] and not _ID.fullmatch(checked["deploy_id"]):
        refused(DowntimeError(f"deploy_id is '{checked['deploy_id']}'; letters, digits, and . _ + - (no dot first) are accepted"))
    return checked, driver


def _has_platform(traffic: t.Any) -> bool:
    """Whether C(deploy_traffic) names a driver whose platform has members of its own; what is wrong with it is told elsewhere."""
    try:
        return isinstance(traffic, dict) and _drivers.load(str(traffic.get("driver") or "")).has_platform
    except DowntimeError:
        return False


def _of_platform(checked: t.Mapping[str, t.Any], driver: _drivers.Driver, refused: Refused) -> None:
    """Refuse what only members on hosts of the inventory could have."""
    if checked["deploy_hosts"]:
        refused(DowntimeError(f"deploy_hosts is '{checked['deploy_hosts']}', but driver {driver.name} hands releases to a platform that has members of its "
                              "own; no deploy_hosts is accepted"))
    for name in OF_MEMBERS:
        if checked["deploy_hooks"][name]:
            refused(DowntimeError(f"deploy_hooks.{name} is '{checked['deploy_hooks'][name]}', which runs on members or while they are out, but driver "
                                  f"{driver.name} hands releases to a platform that has members of its own; deploy_hooks.before_shift and "
                                  "deploy_hooks.on_failure are accepted"))


def only_strategy(driver: _drivers.Driver) -> str | None:
    """The strategy of a driver that carries only one: nobody has to name it."""
    return driver.strategies[0] if len(driver.strategies) == 1 else None


def of_live(driver: _drivers.Driver) -> str:
    """The strategy by which what serves is looked at or moved, whatever brings a release to an idle side."""
    return "push" if driver.has_platform else _going_on.DEFAULT


def carried(strategy: str, driver: _drivers.Driver) -> None:
    """Refuse a strategy that a driver lacks the capability for."""
    if strategy not in driver.strategies:
        raise DowntimeError(f"deploy_strategy is '{strategy}', which driver {driver.name} cannot carry out; "
                            f"with it work {', '.join(driver.strategies) or 'none'}")


def check_verb(verb: str, driver: _drivers.Driver) -> None:
    """Refuse a verb that takes members out of traffic, or stops a side, by a driver that cannot."""
    if driver.has_platform and verb in ("restart", "drain", "activate", "retire"):
        raise DowntimeError(f"{verb} is for members or sides that Ansible knows, and driver {driver.name} hands releases to a platform that has members of its "
                            "own; with it work deploy, rollback, status and doctor")
    if verb in ("restart", "drain", "activate") and driver.member_args is None:
        raise DowntimeError(f"{verb} moves members in traffic, which driver {driver.name} cannot do; it knows sides only, and with it work "
                            f"{', '.join(driver.strategies)}")


def _pattern(body: str | None) -> None:
    try:
        re.compile(body or "")
    except re.error as error:
        raise DowntimeError(f"deploy_health.body is {body!r}; a regular expression is accepted ({error})") from error


def drain_actions(checked: t.Mapping[str, t.Any], cuts: bool, verb: str) -> dict[str, str]:
    """What ends a drain at its time limit, on the way to the release (C(drain_timeout_action)) and on the way back (C(back_timeout_action)).

    Whoever goes back flees from a release: requests that it never answers must not keep it in traffic, so they are cut, and counted. A rollback goes
    back from its first step on.

    :param cuts: whether the driver can cut connections.
    """
    asked = checked["deploy_drain_timeout_action"]
    back = "cut" if cuts else asked
    return {"drain_timeout_action": back if verb == "rollback" else asked, "back_timeout_action": back}


def of_streams(checked: t.Mapping[str, t.Any], traffic: t.Mapping[str, t.Any], driver: _drivers.Driver, strategy: str, verb: str,
               told: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """What becomes of streams: what was asked for (C(mode)), what a drain is told on the way to the release (C(out)) and on the way back (C(back)), and
    whether a deploy ends those of the side that it leaves behind (C(behind)).

    Raises DowntimeError where the driver could not tell them from requests.

    :param told: what each balancer has.
    """
    mode = checked["deploy_streams"]
    if mode == "wait":
        return {"mode": mode, "out": None, "back": None, "behind": False}
    if not driver.tells_streams:
        can = [name for name in _drivers.NAMES if _drivers.load(name).tells_streams]
        raise DowntimeError(f"deploy_streams is '{mode}', but the driver {driver.name} cannot tell streams from requests, so wait is accepted; "
                            f"{' and '.join(can)} can")
    where: dict[tuple[str, str], list[str]] = {}
    for balancer, result in told.items():
        for pool in result.get("pools") or ():
            if pool.get("mode") not in (None, REQUESTS):
                where.setdefault((pool["name"], pool["mode"]), []).append(balancer)
    if where:
        raise DowntimeError(told_untold(f"deploy_streams is '{mode}'", driver.name,
                                        {f"{pool} on {', '.join(balancers)}": its for (pool, its), balancers in where.items()}))
    longest, limit = traffic.get("slowest_request"), checked["deploy_drain_timeout"]
    if longest is not None and longest <= 0:
        raise DowntimeError(f"deploy_traffic.slowest_request is {longest:g}; with deploy_streams={mode} seconds above 0 are accepted, since whatever lasts "
                            "longer is taken for a stream")
    silence = max((result.get("silence") or 0.0 for result in told.values()), default=0.0)
    if verb in (*SHIFTS, "drain") and longest is not None and silence and limit <= longest + silence:
        raise DowntimeError(f"deploy_drain_timeout is {limit}, deploy_traffic.slowest_request is {longest:g}, and a connection may be open for {silence:g} s "
                            f"until its first request comes (client_header_timeout); with deploy_streams={mode} a drain limit above {longest + silence:g} is "
                            "accepted, since what is younger than that may be a request, or bring one")
    if verb in (*SHIFTS, "drain") and longest is not None and limit <= longest:
        raise DowntimeError(f"deploy_drain_timeout is {limit}, and deploy_traffic.slowest_request is {longest:g}; with deploy_streams={mode} a drain limit "
                            "above slowest_request is accepted, since what is younger than that may be a request")
    # Whoever flees from a release asks nothing of it.
    behind = verb in ("deploy", "rollback") and _drivers.strategy(strategy).SIDE == "idle"
    return {"mode": mode, "out": "leave" if mode == "ask" else "cut", "back": "cut", "behind": behind}


def name_of(*parts: str) -> str:
    """A deploy's name from its parts, of which some are the user's own words."""
    return "-".join(re.sub(r"[^A-Za-z0-9._+-]", "_", part) for part in parts)[:200]


def given_id(checked: t.Mapping[str, t.Any], verb: str) -> str | None:
    """The name that was set for the deploy. One run of a canary with a fresh baseline restarts first, which is a deploy with a record of its own."""
    if checked["deploy_id"] and verb == "restart" and _canary_options.restarts_first(checked["deploy_strategy"], checked["deploy_canary"]):
        return f"{checked['deploy_id']}-restart"
    return checked["deploy_id"]


def smoke_of(health: t.Mapping[str, t.Any], target: t.Any) -> list[dict[str, t.Any]]:
    """What users ask of each member, besides its readiness check: as given, with the public name, or the probe's own path where nothing is.

    :param target: the parts of deploy_evidence_url; None without one.
    """
    if not health.get("path"):
        return []
    given = health.get("smoke")
    if given is None:
        given = [{"path": target.path}] if target else []
    return [{"status": [], "body": None, **entry, "host": entry.get("host") or (target.authority if target else None)} for entry in given]


def streams(methods: t.Sequence[str]) -> dict[str, float]:
    """Shares of the probe's kinds of requests. Raises DowntimeError for a method that it does not have."""
    unknown = [method for method in methods if method not in ("GET", "POST")]
    if unknown or "GET" not in methods:
        raise DowntimeError(f"deploy_evidence_methods is {list(methods)!r}; [GET], or [GET, POST], is accepted")
    return {"fresh": 0.5, "keepalive": 0.4, "post": 0.1 if "POST" in methods else 0.0}


def free_name(name: str, take: t.Callable[[str], str | None]) -> tuple[str, str]:
    """The name, or the first of name-2, name-3 … that can be taken; and what taking it gave."""
    tried, number = name, 1
    while (taken := take(tried)) is None:
        number += 1
        tried = f"{name}-{number}"
    return tried, taken


def serves_whole(plan: t.Mapping[str, t.Any], out: t.Collection[str], interrupted: t.Mapping[str, t.Any] | None) -> None:
    """Refuse to change the idle side while members of the other one are out that a run left there: they would stay out, and nobody own them.

    :param out: the servers that the interrupted run took out and did not bring back.
    """
    if not interrupted:
        return
    app = plan.get("app")
    if plan["verb"] == "restart" and _going_on.idle(_going_on.of_interrupted(interrupted)):
        # It would end the journal, and with it what the other side is to be put right by.
        raise DowntimeError(f"{_going_on.told(interrupted)} has not ended; {_going_on.ways(interrupted, app)}, and then restart can go on")
    if interrupted.get("side") != plan["serving_side"]:
        return
    if left := [name for name, server in plan["capacity"].get("serving_out", {}).items() if server in out]:
        raise DowntimeError(f"{agreeing(left, 'is', 'are')} out of traffic on {plan['serving_side']}, which serves, because a "
                            f"{interrupted['verb']} there has not ended; {_going_on.ways(interrupted, app)}, and then {plan['verb']} can go on")


def without_secrets(values: t.Mapping[str, t.Any], spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """C(values) less what C(spec) keeps out of logs: a plan is shown with C(-v) and registered on every host."""
    return {name: value for name, value in values.items() if not spec.get(name, {}).get("no_log")}


def differing(driver: _drivers.Driver, traffic: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """Warnings about options of the balancers that are another one for each member, such as a path with C(inventory_hostname): the first member's is taken.

    :param traffic: C(deploy_traffic) as each member has it. What a pool says of its member may differ.
    """
    if driver.runs_on == "members" or not traffic:
        return []
    first, *others = traffic
    found = []
    for name in (name for name in driver.traffic_spec if name != "pools"):
        other = next((member for member in others if traffic[member].get(name) != traffic[first].get(name)), None)
        if other:
            secret = driver.traffic_spec[name].get("no_log")
            one, another = ("one thing", "another one") if secret else (repr(traffic[member].get(name)) for member in (first, other))
            found.append(f"deploy_traffic.{name} is {one} for {first} and {another} for {other}; driver {driver.name} takes that of {first}, since its calls "
                         f"run on the {driver.runs_on}")
    return found


# Limits of a deploy, with what a pool may tell of them.
TOLD_TIMES = (
    ("deploy_drain_timeout", "drain_s", "until a member has left"),
    ("deploy_ready_timeout", "return_s", "until a member is back"),
)


def check_times(checked: t.Mapping[str, t.Any], told: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuse limits that are too short for what a pool itself says that every move takes, where it tells: C(drain_s)
    until a member has left, and C(return_s) until one that is back has its full share."""
    pools = [(place, pool) for place, result in told.items() for pool in result.get("pools") or ()]
    for name, key, until in TOLD_TIMES:
        for place, pool in pools:
            if pool.get(key) and checked[name] <= pool[key]:
                why = f" ({pool['times_told']})" if pool.get("times_told") else ""
                raise DowntimeError(
                    f"{name} is {checked[name]}, and pool {pool['name']} on {called(place)} says that it takes "
                    f"{pool[key]:g} s {until}{why}; more than {pool[key]:g} is accepted"
                )


def live_pools(traffic: t.Mapping[str, t.Any], side: str) -> list[dict[str, t.Any]]:
    """The pools of one side; a pool without a side belongs to the only one there is."""
    return [pool for pool in traffic.get("pools") or [] if pool.get("side", side) in (None, side)]


def sides_of(traffic: t.Mapping[str, t.Any], strategy: str, app: str | None = None) -> list[str]:
    """The sides that the pools have; the first one where they name none. Raises DowntimeError when the strategy needs two and there are not."""
    lacking = lacks_side(traffic)
    if lacking and _drivers.strategy(strategy).SIDE == "idle":
        raise DowntimeError(f"deploy_strategy is '{strategy}', which needs {lacking}; {_commands.command('doctor', app)} prints the lines of the other side")
    return _sides(traffic) or [SIDES[0]]


def lacks_side(traffic: t.Mapping[str, t.Any]) -> str | None:
    """What is needed for a second side, where there is none."""
    found = _sides(traffic)
    if len(found) > 1:
        return None
    return f"pools of both sides, blue and green, in deploy_traffic.pools; it has {'none with a side' if not found else 'side ' + found[0] + ' only'}"


def _sides(traffic: t.Mapping[str, t.Any]) -> list[str]:
    return [side for side in SIDES if any(pool.get("side") == side for pool in traffic.get("pools") or ())]


def with_all_ports(by_side: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]]) -> dict[str, dict[str, t.Any]]:
    """The members with the ports of all their pools, and their names there, whichever the side."""
    found: dict[str, dict[str, t.Any]] = {}
    for hosts in by_side.values():
        for name, host in hosts.items():
            entry = found.setdefault(name, {**host, "ports": {}, "servers": {}})
            for key in ("ports", "servers"):
                entry[key] = {**entry[key], **(host.get(key) or {})}
    return found


def serving_side(sides: t.Sequence[str], told: t.Mapping[str, t.Mapping[str, t.Any]], strategy: str,
                 journal: t.Callable[[], str | None] = lambda: None, app: str | None = None) -> tuple[str, bool]:
    """The side that serves, by what the balancers told, and whether all of them send every request there, also after a reload.

    Balancers that disagree, or send requests to both sides, are what a controller that died while it moved them leaves; the next switch puts it
    right, and nothing else may move then. Of both sides the one serves that served when that deploy began, by its C(journal).

    Raises DowntimeError when both sides get requests from one balancer, or nobody can tell.
    """
    if len(sides) < 2:
        return sides[0], True
    splits = {host: result.get("split") for host, result in told.items()}
    idle = _drivers.strategy(strategy).SIDE == "idle"
    unknown = blind(told) if idle else None
    if unknown:
        raise DowntimeError(f"deploy_strategy is '{strategy}', but {unknown}; {_commands.command('doctor', app)} prints the lines")
    if idle:
        _shares_can_be_kept(splits)
    mixed, differing, pending = side_problems(told, app)
    served = journal() if idle and mixed else None
    if served:
        return served, False
    if mixed or (differing and not idle):
        raise DowntimeError(mixed or differing)
    serve = {host: most_served([split]) for host, split in splits.items() if split}
    return (serve[min(serve)] if serve else SIDES[0]), not (differing or pending)


def _shares_can_be_kept(splits: t.Mapping[str, t.Mapping[str, t.Any] | None]) -> None:
    """Refuse where the file of the shares was deleted and cannot be written again: the switch would be the first to find out."""
    for host, split in sorted(splits.items()):
        missing = (split or {}).get("missing")
        if missing and missing["hindrance"]:
            raise DowntimeError(f"{called(host)}: {missing['text']}{with_lines(missing['lines'])}; nothing was moved")


def blind(told: t.Mapping[str, t.Mapping[str, t.Any]]) -> str | None:
    """Who cannot tell which side serves, if anybody."""
    without = [host for host, result in told.items() if not result.get("split")]
    if told and not without:
        return None
    who = f"{called(without)} cannot tell" if without else "nobody can tell"
    return f"{who} which side serves: a split in its configuration is needed"


def side_problems(told: t.Mapping[str, t.Mapping[str, t.Any]], app: str | None = None) -> tuple[str | None, str | None, str | None]:
    """What is not as it should be between deploys, by what the balancers told: one that sends requests to both sides, balancers that disagree, and one
    whose next reload would change the shares, since a controller died between its file and its process."""
    splits = {host: result["split"] for host, result in sorted(told.items()) if result.get("split")}
    mixed = next((f"{called(host)} sends {split['green']} % of the requests to green and {split['blue']} % to blue; {to_one_side(splits, app)}"
                  for host, split in splits.items() if 0 < split["blue"] < 100), None)
    serve = {host: most_served([split]) for host, split in splits.items()}
    differing = (f"the balancers disagree which side serves: {', '.join(f'{side} on {host}' for host, side in serve.items())}; "
                 + to_one_side(splits, app)) if len(set(serve.values())) > 1 else None
    # One that cannot tell what a reload would bring has no such file, or says so itself.
    kept = {host: split["kept"] for host, split in splits.items() if split.get("kept")}
    pending = next((f"{called(host)} sends {splits[host]['green']} % of the requests to green, and would send {shares['green']} % there after a reload; "
                    + to_one_side(splits, app) for host, shares in kept.items() if shares["green"] != splits[host]["green"]), None)
    return mixed, differing, pending


def to_one_side(splits: t.Mapping[str, t.Mapping[str, t.Any]], app: str | None) -> str:
    """What brings every request to one of the sides, for a sentence; the one that most of them go to comes first."""
    most = most_served(list(splits.values()))
    command = _commands.command("rollback", app, deploy_strategy=_going_on.SWITCH, deploy_side=most)
    return f"{command} brings all of them to {most}, and with deploy_side={next(side for side in SIDES if side != most)} to the other side"


def most_served(splits: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """The side that most requests go to; the first one where nobody says."""
    return max(SIDES, key=lambda side: sum(split[side] for split in splits))


def service_of(service: t.Mapping[str, t.Any] | None, side: str) -> dict[str, t.Any] | None:
    """The service of one side's slot, checked. Raises DowntimeError when what is written is no service."""
    if not service:
        return None
    path = "deploy_service."
    if set(service) & set(SIDES):
        if side not in service:
            raise DowntimeError(f"deploy_service has no {side}; it has {', '.join(service)}")
        service, path = service[side], f"deploy_service.{side}."
    found = {key: value for key, value in _spec.check(service, SERVICE, path).items() if value and key != "slot"}
    _process_swap_options.check_options(found, path)
    ways = sorted({"unit", "command", "start"} & set(found))
    if len(ways) != 1 or ("unit" in found and "stop" in found) or ("start" in found and "stop" not in found):
        raise DowntimeError(f"{path[:-1]} has {', '.join(sorted(found)) or 'nothing'}; "
                            "one of unit, command (with or without stop), or start with stop, is accepted")
    return found


def member(name: str, checked: t.Mapping[str, t.Any], side: str, address: str) -> dict[str, t.Any]:
    """What the deploy has to know of one member, from the variables as they are for its host."""
    pools = live_pools(checked["deploy_traffic"], side)
    health = checked["deploy_health"]
    by_side = bool(set(checked["deploy_service"] or {}) & set(SIDES))
    port = health.get("port") or next((pool["port"] for pool in pools if pool.get("port")), None)
    host = next((pool["address"] for pool in pools if pool.get("address")), None) or health.get("address") or address
    url = None
    if health.get("path"):
        if not port:
            raise DowntimeError(f"no port is known for member {name}; deploy_health.port, or port in deploy_traffic.pools, is needed")
        url = _check_url(health, host, port)
    service = service_of(checked["deploy_service"], side)
    own = (checked["deploy_service"] or {}).get(side, {}) if by_side else checked["deploy_service"] or {}
    if service and service.get("swap"):
        if not url or not health["header"]:
            raise DowntimeError(f"deploy_service.swap is '{service['swap']}', which reads the release back through the port; deploy_health.path and "
                                "deploy_health.header are needed")
        if checked["deploy_hooks"]["restart"]:
            raise DowntimeError("deploy_service.swap and deploy_hooks.restart are both given; one way to let the release run is accepted")
    servers = {pool["name"]: pool.get("server") or name for pool in pools}
    if len(set(servers.values())) > 1:
        raise DowntimeError(f"deploy_traffic.pools give member {name} several names ({', '.join(f'{server} in {pool}' for pool, server in servers.items())}); "
                            "one server name in all pools is accepted")
    return {
        "name": name,
        "server": next(iter(servers.values()), name),
        # The same in each of its pools; those of another side may have another name for it.
        "servers": servers,
        "address": host,
        "port": port,
        # Where the balancers reach it, pool by pool; the port above is that of its readiness check.
        "ports": {pool["name"]: pool["port"] for pool in pools if pool.get("port")},
        "access_log": next((pool["access_log"] for pool in pools if pool.get("access_log")), None),
        "url": url,
        "root": checked["deploy_artifact"]["root"],
        "slot": own.get("slot") or checked["deploy_slot"] or (side if by_side else "current"),
        "service": service,
        # With a restart hook the release is not running yet when the module ends, so the gate alone reads it back.
        "running": {"url": url, "header": health["header"], "timeout": health["timeout"],
                    **({"passes": health["passes"]} if (service or {}).get("swap") else {})}
        if url and health["header"] and service and not checked["deploy_hooks"]["restart"] else None,
    }


def platform(name: str, checked: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the deploy has to know of a platform, which stands where a member would. It has an address for a readiness check where it was given one."""
    health = checked["deploy_health"]
    if health.get("path") and not (health.get("address") and health.get("port")):
        raise DowntimeError(f"deploy_health.path is '{shown_url(health['path'])}', but {name} has members of its own, whose addresses nobody tells; "
                            "deploy_health.address and deploy_health.port are needed, or no path")
    url = _check_url(health, health["address"], health["port"]) if health.get("path") else None
    return {"name": name, "server": name, "address": health.get("address"), "port": health.get("port"), "ports": {}, "url": url, "root": None, "slot": None,
            "service": None, "running": None}


def _check_url(health: t.Mapping[str, t.Any], host: str, port: int) -> str:
    """Address of a readiness check."""
    if not health["path"].startswith("/"):
        raise DowntimeError(f"deploy_health.path is '{shown_url(health['path'])}'; a path that begins with / is accepted")
    return f"{health['scheme']}://{'[' + host + ']' if ':' in host else host}:{port}{health['path']}"


def can_stop(service: t.Mapping[str, t.Any] | None) -> bool:
    """Whether a service has what stops it."""
    return bool(service and (service.get("unit") or service.get("stop")))


def side_of(hosts: t.Mapping[str, t.Mapping[str, t.Any]], pools: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """What has to be known of a side that may be stopped: its pools, and each member's place."""
    return {"pools": [pool["name"] for pool in pools],
            "hosts": {name: {**{key: host[key] for key in ("root", "slot", "service", "server")},
                             **{key: host.get(key) for key in ("address", "port", "access_log")}} for name, host in hosts.items()}}


def retirement(checked: t.Mapping[str, t.Any], strategy: str, verb: str, sides: t.Mapping[str, t.Mapping[str, t.Any]],
               holds: int | None = None) -> dict[str, t.Any]:
    """When the side that served before may be stopped, and whether this deploy does it at its end (C(at_end)).

    Raises DowntimeError when it is to be stopped, and something has nothing that stops it, or there is no other side, or others may still know it.

    :param holds: seconds for which others may keep what they were told of the sides.
    """
    keep = checked["deploy_keep_previous"]
    if keep and holds and keep < holds:
        raise DowntimeError(f"deploy_keep_previous is {keep}, but others may keep the side that served before for {holds} s (deploy_traffic.ttl); "
                            f"{holds} or more is accepted, or 0, with which a deploy waits for that itself")
    at_end = keep == 0 and verb in ("deploy", "rollback") and _drivers.strategy(strategy).SIDE == "idle"
    if verb == "retire" and len(sides) < 2:
        raise DowntimeError("deploy_traffic.pools has no two sides, blue and green, so there is none to retire; "
                            f"{_commands.command('doctor', checked.get('deploy_app'))} prints the lines of the other side")
    if at_end or (verb == "retire" and keep is not None):
        for side, found in sides.items():
            name = next((name for name, host in found["hosts"].items() if not can_stop(host["service"])), None)
            if name:
                raise DowntimeError(f"{side} of member {name} has nothing that stops it, and deploy_keep_previous is {keep}; "
                                    f"unit, or stop, in deploy_service.{side} is needed")
    return {"keep": keep, "idle_for": checked["deploy_idle_for"], "at_end": at_end, **({"holds": holds} if holds else {})}


def check_server(pool: t.Mapping[str, t.Any], balancer: str, name: str, server: str) -> None:
    """Refuse a member that a balancer does not have in a pool, by the server name that it is known by."""
    have = [entry["name"] for entry in pool["members"]]
    if server not in have:
        raise DowntimeError(f"pool {pool['name']} on {called(balancer)} has no server {server} for member {name}; it has {', '.join(have) or 'none'}")


def check_floor(found: t.Mapping[str, t.Any], min_active: str) -> None:
    """Refuse a floor that leaves no room for a single member, by what C(capacity) found."""
    if found.get("impossible"):
        raise DowntimeError(f"deploy_min_active is {min_active}, which cannot be held while a member is out: {found['impossible']}")


def distinct_addresses(hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuse two members that are one process: what is taken out as the one would still serve as the other."""
    seen: dict[str, str] = {}
    for name, host in hosts.items():
        if not host["url"]:
            continue
        if host["url"] in seen:
            raise DowntimeError(f"members {seen[host['url']]} and {name} have one address, {host['address']}:{host['port']}; each member needs its own")
        seen[host["url"]] = name


def distinct_servers(hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Refuse two members that are one server to the balancer: the second would be restarted while it serves."""
    seen: dict[str, str] = {}
    for name, host in hosts.items():
        if host["server"] in seen:
            raise DowntimeError(f"members {seen[host['server']]} and {name} have one server name, {host['server']}, in deploy_traffic.pools; "
                                "each member needs its own")
        seen[host["server"]] = name


def regular(members: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Whether each member serves at full weight, for C(capacity). A backup server serves only when no other does, so the floor is not for it."""
    return [{"full": entry["full"]} for entry in members if not entry.get("backup")]


def capacity(pools: t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]], min_active: str) -> dict[str, t.Any]:
    """From each pool's members as a balancer sees them: whether anything serves, and how many may be out at a time.

    C(pools) maps a name for the sentence (balancer and pool) to members with C(state) and C(full), whether it serves at full weight.
    """
    most: int | None = None
    first = True
    tightest = impossible = ""
    for label, members in pools.items():
        floor = _members.floor_of(min_active, len(members))
        serving = sum(1 for entry in members if entry["full"])
        first = first and not serving
        if floor >= len(members) and not impossible:
            impossible = f"{label}: {floor} of {len(members)} have to serve"
        if most is None or serving - floor < most:
            most, tightest = serving - floor, f"{label}: {serving} of {len(members)} serve, and {floor} have to"
    return {"first": first, "most": most, "tightest": tightest, "impossible": impossible}


def unbound(capacity: t.Mapping[str, t.Any], serving_out: t.Mapping[str, str] | None = None) -> dict[str, t.Any]:
    """The capacity where the side that does not serve is moved: nobody who serves is taken out, so no floor is in the way, and whoever is out of reach
    there just stays behind.

    :param serving_out: who is out of traffic on the side that serves, with the balancers' names.
    """
    return {**capacity, "most": None, "impossible": "", "serving": [], "serving_out": dict(serving_out or {})}


def ran(result: t.Any) -> bool:
    """Whether a registered result is of a task that really ran."""
    return bool(result) and not result.get("skipped")


def well(result: t.Mapping[str, t.Any]) -> bool:
    return not result.get("failed") and not result.get("unreachable")


def where(moved: t.Any, back: t.Any) -> str:
    """Which release a member runs, by its own report alone: old, new, or unknown when it could not say."""
    if ran(back):
        return "old" if well(back) else "unknown"
    if not ran(moved):
        return "old"
    return "new" if well(moved) else "unknown"
