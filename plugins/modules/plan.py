#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Resolve and check a deploy, and lay out its batches
description:
  - O(state=resolved) reads the C(deploy_*) variables of the members, checks every one of them, asks the balancers what they have, and
    refuses with one sentence before anything has been changed.
  - O(state=batched) takes what staging found on the hosts, and lays out the batches within the capacity floor.
  - O(state=looked) tells whether a deploy or rollback that has not ended moved the idle side, by the journal on the state hosts.
  - The task runs once, whatever the number of hosts of the play. In check mode it really asks, and shows the plan.
options:
  state:
    description:
      - Which half of the plan to make, or to look only for what an earlier run has left.
    type: str
    choices: [resolved, batched, looked]
    default: resolved
  verb:
    description:
      - What the plan is for.
    type: str
    choices: [deploy, rollback, restart, drain, activate, retire, status]
    default: deploy
  strategy:
    description:
      - A strategy in place of C(deploy_strategy), for whoever asks what else would work.
    type: str
    choices: [rolling, blue_green, canary, push]
    version_added: 0.2.0
  plan:
    description:
      - For O(state=batched), the resolved plan.
    type: dict
  staged:
    description:
      - For O(state=batched), the result of M(zero.downtime.release) for each member.
    type: dict
  locked:
    description:
      - For O(state=batched), the result of M(zero.downtime.deploy_lock).
    type: dict
    default: {}
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Resolve and check everything
  zero.downtime.plan:
    verb: deploy
  register: resolved
"""

RETURN = r"""
begun:
  description: Whether an earlier run has left something on the idle side, which the next one goes on from. Only with O(state=looked).
  returned: success
  type: bool
plan:
  description: The plan. Not with O(state=looked).
  returned: success
  type: dict
  contains:
    deploy_id: {description: "Name of the deploy.", type: str}
    verb: {description: "What the plan is for, as in O(verb).", type: str}
    app: {description: "Name of the application.", type: str}
    environment: {description: "Name of its environment.", type: str}
    said: {description: "What was given for this run, and has to be given again in a command that goes on with it.", type: dict}
    last: {description: "The last deploy that ended well, as the state hosts know it; null where an application has one side.", type: dict}
    strategy: {description: "Order of the moves.", type: str}
    driver: {description: "What moves traffic, as C(deploy_traffic.driver) was written.", type: str}
    side: {description: "The side that gets the release, or that the verb moves.", type: str}
    serving_side: {description: "The side that serves.", type: str}
    sides_agree: {description: "Whether all balancers send every request to that side, also after a reload.", type: bool}
    side_problem: {description: "For C(status) and C(retire), what is not as it should be with the sides; else null.", type: str}
    serving_pools: {description: "Names of the pools of the side that serves.", type: list, elements: str}
    serving_slots: {description: "Of the side that serves, the slot of each member.", type: dict}
    pools: {description: "Names of the pools of C(side).", type: list, elements: str}
    balancers: {description: "Where the driver's calls go to, without those that are left out: hosts, or what an API is called.", type: list, elements: str}
    without: {description: "Balancers that are left out, each proven not to serve.", type: list, elements: str}
    platform: {description: "What a platform is called that has members of its own; else null.", type: str}
    traffic: {description: "C(deploy_traffic) less its secrets, for calls about C(side).", type: dict}
    whole_traffic: {description: "The same for calls about all sides.", type: dict}
    own_traffic: {description: "The same as each member has it, where the driver's calls run on members.", type: dict}
    members: {description: "All members.", type: list, elements: str}
    hosts: {description: "Each member's place on C(side), with C(address), C(port), C(url), C(root), C(slot), C(service), C(server).", type: dict}
    servers: {description: "The name that each member has at the balancers.", type: dict}
    sides: {description: "Where there are two sides, the C(pools) and C(hosts) of each.", type: dict}
    capacity: {description: "Whether anything serves (C(first)), who does, and how many members may be out at a time (C(most)).", type: dict}
    held: {description: "Members that somebody took out: they get the release and stay out.", type: list, elements: str}
    headers: {description: "Members that send the header of their release now (C(sent)), and those that are ready without it (C(lacking)).", type: dict}
    release: {description: "The release that was asked for; with O(state=batched) a dict of its C(label) and C(digest).", type: str}
    artifact: {description: "C(deploy_artifact) without its root and its secrets; null where none is fetched.", type: dict}
    health: {description: "C(deploy_health), and what smoke tests ask.", type: dict}
    keep: {description: "How many releases are kept on a member.", type: int}
    pinned: {description: "Releases that are kept whatever their age.", type: list, elements: str}
    hooks: {description: "The file of each hook, or null.", type: dict}
    hook_tasks: {description: "The C(file) of each hook that is set, and the names of its C(tasks).", type: dict}
    hooks_on_members: {description: "Whether a hook runs on members within a batch.", type: bool}
    batch_sizes: {description: "C(deploy_batches).", type: list, elements: raw}
    batch_pause: {description: "Seconds between two batches.", type: float}
    min_active: {description: "The floor: how many members have to serve.", type: str}
    max_absent: {description: "How many members may be missing.", type: int}
    chosen: {description: "Members that C(deploy_members) names.", type: list, elements: str}
    drain_timeout: {description: "Seconds that a drain may take.", type: int}
    drain_timeout_action: {description: "What happens to connections that outlive it on the way there (V(fail), V(cut)).", type: str}
    back_timeout_action: {description: "The same on the way back.", type: str}
    ready_timeout: {description: "Seconds that a member has to become ready.", type: int}
    push_timeout: {description: "Seconds that a platform has to bring its members to a release.", type: int}
    soak: {description: "Seconds that the evidence goes on after the last move.", type: float}
    streams: {description: "What becomes of connections that stay open, where and when.", type: dict}
    retire: {description: "When the side that served before may be stopped, and whether this deploy does it.", type: dict}
    holds: {description: "Whether others may keep what they were told of the sides, as resolvers do.", type: bool}
    evidence: {description: "What the probe asks, how often, and what fails the deploy.", type: dict}
    shadow: {description: "What a shadow has to know; null without one.", type: dict}
    lock: {description: "The C(hosts) that keep lock and journal, where, and this run's C(key).", type: dict}
    records_dir: {description: "Directory of the records on the controller.", type: str}
    run_dir: {description: "Directory of this run's events and samples on the controller; null in check mode.", type: str}
    findings: {description: "What the balancers' configurations have to say.", type: list, elements: dict}
    started: {description: "When the run began, in seconds since 1970.", type: float}
    warnings: {description: "What deserves attention and does not prevent the deploy.", type: list, elements: str}
    batches: {description: "The batches, each with C(n) and C(members). Only with O(state=batched).", type: list, elements: dict}
    going_back_to: {description: "The release that each moving member runs now. Only with O(state=batched).", type: dict}
run_dir:
  description: Directory on the controller for the events and samples of this deploy. Null in check mode.
  returned: success
  type: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
