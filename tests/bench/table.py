# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as a page of docs/: ratios first, since seconds belong to one machine."""

from __future__ import annotations

import typing as t

STEPS = {"plan": "plan", "stage": "stage on all hosts", "drain": "drain", "activate": "activate and restart", "gate": "health gate",
         "return": "back into traffic", "verify": "evidence between batches and at the end", "record": "record"}


def as_table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[t.Any]]) -> list[str]:
    return ["|%s|" % "|".join(head), "|%s|" % "|".join("-" if number == 0 else "-:" for number in range(len(head))),
            *("|%s|" % "|".join(str(cell) for cell in row) for row in rows), ""]


def _seconds(value: float) -> str:
    return "%.2f s" % value if value < 10 else "%.1f s" % value


def lost(one: dict[str, t.Any]) -> str:
    kinds = ", ".join("%d %s" % (count, kind) for kind, count in sorted(one["failures"].items()))
    return "%d of %s%s" % (one["failed"], format(one["sent"], ","), " (%s)" % kinds if kinds else "")


def targets(found: t.Iterable[dict[str, t.Any]]) -> list[str]:
    return ["## Targets", ""] + as_table(["target", "wanted", "found", ""], (
        (one["name"], "%s %g" % ("≥" if one["least"] else "≤", one["target"]), "%g" % one["value"], "met" if one["met"] else "**missed**")
        for one in found))


def render(found: dict[str, t.Any]) -> str:
    machine = found["machine"]
    lines = [
        "<!-- Written by make bench. -->",
        "# What it costs",
        "",
        "Measured by `make bench` in one run on %(cores)d cores, everything on one machine, %(forks)d forks, Ansible's defaults otherwise: "
        "ansible-core %(ansible_core)s, "
        "Python %(python)s, HAProxy %(haproxy)s, gunicorn %(gunicorn)s, community.general %(community_general)s, Linux %(linux)s; %(date)s. "
        "Seconds belong to the machine; the ratios are what to compare." % machine,
        "",
    ]
    for part in (_balancer, _rolling, _growth, _fleet, _probe, _safety, _judge, _switch, _streams):
        lines += part(found[part.__name__[1:]])
    lines += targets(found["targets"])
    return "\n".join(lines).rstrip() + "\n"


def _balancer(one: dict[str, t.Any]) -> list[str]:
    ours, theirs, call = one["ours"], one["theirs"], one["call"]
    return ["## Taking %d servers out and bringing them back" % one["servers"], ""] + as_table(["", "its tasks", "ratio", "the whole play", "ratio", "CPU"], [
        ("`community.general.haproxy`, a call for each server", _seconds(theirs["tasks"]), "1", _seconds(theirs["seconds"]), "1", _seconds(theirs["cpu"])),
        ("one `haproxy_members` call each way", _seconds(ours["tasks"]), "**%.0f×**" % one["ratio"], _seconds(ours["seconds"]),
         "%.0f×" % one["ratio_play"], _seconds(ours["cpu"])),
        ("the same two calls without a controller", _seconds(call["both"]), "%.0f×" % one["ratio_call"], "", "", ""),
    ]) + ["Ours includes the checks that a server has to pass before it gets traffic again; the other side's `wait` ends as soon as the status reads UP, "
          "which is before any check. The whole play has the start of `ansible-playbook` in it, which both sides pay once; the target is held against the "
          "tasks.", ""]


def _rolling(one: dict[str, t.Any]) -> list[str]:
    ours, theirs, facts, limit = one["ours"], one["theirs"], one["theirs_with_facts"], one["limit"]
    lines = ["## A rolling deploy of %(members)d members in %(batches)d batches, under %(load)g requests a second" % one, ""]
    lines += as_table(["", "time", "times faster", "requests lost", "longest gap"], [
        ("the Ansible guide's playbook, with `community.general.haproxy`, drained and waited for", _seconds(facts["seconds"]), "1", lost(facts),
         "%d ms" % facts["longest_gap_ms"]),
        ("the same with `gather_facts: false`, which the guide's does not have", _seconds(theirs["seconds"]),
         "%.2f×" % (facts["seconds"] / theirs["seconds"]), lost(theirs), "%d ms" % theirs["longest_gap_ms"]),
        ("`zero.downtime.deploy`, with evidence", _seconds(ours["seconds"]), "**%.1f×** (%.1f× without facts)" % (one["ratio"], one["ratio_without_facts"]),
         lost(ours), "%d ms" % ours["longest_gap_ms"]),
        ("the least: drain, restart, rise, without Ansible and without proof", _seconds(limit["seconds"]),
         "%.1f×" % (facts["seconds"] / limit["seconds"]), lost(limit), "%d ms" % limit["longest_gap_ms"]),
    ])
    evidence = ours["evidence"]
    counts = (evidence["probe_failed"], format(evidence["probe_sent"], ","), format(evidence["received"] or 0, ","), evidence["unanswered"])
    lines += ["Our deploy's own evidence: the probe lost %s of %s, and of %s real requests %s went unanswered." % counts
              + " It takes %.1f times the least. Where its time goes:" % one["to_limit"], ""]
    parts = limit["parts"]
    least = {"drain": parts["drain"], "activate": parts["restart"], "return": parts["rise"]}
    rows = [("start, inventory, plan: before the first step", _seconds(ours["before"]), "")]
    rows += [(STEPS.get(name, name), _seconds(seconds), _seconds(least[name]) if name in least else "") for name, seconds in ours["steps"].items()]
    rows += [("between the steps: Ansible's own work", _seconds(ours["between"]), ""),
             ("close the evidence, write the record, end", _seconds(ours["after"]), "")]
    return lines + as_table(["part", "ours", "the least"], rows)


def _growth(rows: list[dict[str, t.Any]]) -> list[str]:
    return ["## The balancer's part of a batch, as it grows", "",
            "All servers of a pool at once; the way back includes two health checks 0.2 s apart.", ""] + as_table(
        ["servers", "out", "back", "both as a play"],
        ((row["servers"], _seconds(row["drain"]), _seconds(row["return"]), _seconds(row["play"])) for row in rows))


def _fleet(rows: list[dict[str, t.Any]]) -> list[str]:
    return ["## What a fleet costs the controller", "",
            "Processor time of `ansible-playbook` and all that it starts. The members are workers (driver `none`) on the controller, which one call a batch "
            "serves, so that the hosts' own work hardly counts. Beside a deploy stands a play of two tasks that do nothing (`debug`), with as many hosts at a "
            "time; beside a status, a play of one such task on all of them.", ""] + as_table(
        ["members", "batches", "the deploy", "two tasks that do nothing", "times", "status", "one task that does nothing", "times", "memory"],
        ((row["members"], row["batches"], _seconds(row["deploy"]["cpu"]), _seconds(row["bare"]["cpu"]), "**%.1f×**" % row["ratio"],
          _seconds(row["status"]["cpu"]), _seconds(row["one_task"]["cpu"]), "**%.2f×**" % row["status_ratio"],
          "%d MiB" % max(row["deploy"]["memory"], row["status"]["memory"])) for row in rows))


def _probe(one: dict[str, t.Any]) -> list[str]:
    return ["## The probe", "", "At %g requests a second for %g s it used %.1f %% of a core and %.0f MB." % (
        one["rate"], one["seconds"], one["share"] * 100, one["memory_mb"]), ""]


def _safety(one: dict[str, t.Any]) -> list[str]:
    lines = ["## What safety costs", "",
             "Lock, journal and fence of a deploy that goes well. The tasks of the lock count whole, from their beginning to the next task's, with what "
             "Ansible needs to run any module. The fence of a move reads the lock and writes the journal to the disk, before and after: it is the "
             "difference between the medians of ways out of traffic with it and without it.", ""]
    lines += as_table(["members", "the deploy", "take the lock", "give it back", "moves", "fence of a move", "together", "share"], (
        (row["members"], _seconds(row["seconds"]), _seconds(row["take"]), _seconds(row["give"]), row["moves"], "%.1f ms" % (row["fence"] * 1000),
         _seconds(row["spent"]), "**%.1f %%**" % (row["share"] * 100)) for row in one["cost"]))
    lines += ["How soon a death is told, in a deploy of 4 members: from the death until the task that met it fails with a sentence that names it, and, "
              "beside it, until the deploy has ended: gone back as far as it could, evidence closed, record written. A death between two moves is met by "
              "the next one. The time-outs here are shorter than the defaults, to keep the bench short. A member's host that falls silent on an open ssh "
              "connection is not among them, since there is no ssh here: `deploy_host_timeout` governs that.", ""]
    return lines + as_table(["death", "time-out that governs it", "time-out", "told after", "over", "deploy ended after"], (
        (row["what"], row["governs"], "%g s" % row["limit"], _seconds(row["seconds"]), "**%.2f s**" % row["over"], _seconds(row["ended"]))
        for row in one["deaths"]))


def _judge(one: dict[str, t.Any]) -> list[str]:
    return ["## The canary judge", "",
            "In [judge_figures.md](judge_figures.md): simulated canaries in healthy worlds and in bad ones, beside Kayenta's judge. A decision over 10,000 "
            "latencies takes %.0f ms of one core, without scipy." % one["ms"], ""]


def _switch(one: dict[str, t.Any]) -> list[str]:
    names = {"haproxy": "`split` on HAProxy (map, runtime socket)", "nginx": "`split` on nginx (file, reload)",
             "haproxy_apart": "`split` on HAProxy, as a module run", "nginx_apart": "`split` on nginx, as a module run",
             "caddy": "Caddy's admin API, by `ansible.builtin.uri`", "kamal_proxy": "`kamal-proxy deploy`, by `ansible.builtin.command`"}
    command, fronts = one["command"], one["fronts"]
    return ["## Switching blue/green", "",
            "%d switches each, to and fro, under %g requests a second, a tenth of them POSTs that take a quarter of a second. Medians, from the beginning "
            "of the switching task on. Where the balancer is on the controller, `split` does its work in Ansible's own process; on any other host it is a "
            "module run, which costs both peers most of their time, too. kamal-proxy also asks the new side for its health in that time." % (
                one["switches"], one["rate"]), ""] + as_table(
        ["", "first answer of the new side", "last of the old", "between the two", "requests lost"],
        ((names[name], _seconds(front["first"]), _seconds(front["last"]), "%.0f ms" % front["between"], lost(front)) for name, front in fronts.items())
    ) + ["A whole `zero.downtime.deploy` by blue/green on four hosts, of a release that is staged there already: %s, of which %s are drain, restart and health "
         "checks, and **%s** everything else: Ansible, the plan, lock, evidence, switch and record." % (
             _seconds(command["seconds"]), _seconds(command["waits"]), _seconds(command["rest"])), ""]


def _streams(one: dict[str, t.Any]) -> list[str]:
    return ["## Streams", "", "In [stream_figures.md](stream_figures.md): what becomes of %d WebSockets and %d event streams under a blue/green deploy, by "
            "each value of `deploy_streams` and beneath kamal-proxy." % (one["sockets"], one["events"]), ""]
