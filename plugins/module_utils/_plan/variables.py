# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of the C(deploy_*) variables: argument specs, documentation and the check for typing errors come from it.

Private to the collection. C(make docs) writes roles/deploy/meta/argument_specs.yml and docs/variables.md from it; a test keeps them current.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.registry import STRATEGIES
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._plan.canary_options import OPTIONS as CANARY
from ansible_collections.zero.downtime.plugins.module_utils._shadow.options import OPTIONS as SHADOW

STREAMS = ("wait", "ask", "cut")
HOOKS = {
    "before_stage": "Runs on every member before the release is staged.",
    "after_stage": "Runs on every member when the release is staged everywhere, before any traffic moves.",
    "before_shift": "Runs once, on the controller, before the first member is taken out.",
    "before_drain": "Runs on the controller before each batch is taken out; this is the place for a question or a pause of your own between batches.",
    "end_streams": "With O(deploy_streams=ask): runs on the controller once only streams are left on members that are out of traffic; this is the place to "
                   "tell the application to end them, where the stop signal of its service is not to do that. They are waited for then. C(streams_left) has "
                   "their number by member.",
    "restart": "Runs on each member in place of restarting the service of O(deploy_service).",
    "after_activate": "Runs on each member when the new release runs there and before it gets traffic.",
    "smoke": "Runs once, on the controller, when the idle side is ready and before the switch (blue/green); this is the place for a smoke test.",
    "contract": "Runs once, on the controller, after the hook smoke; this is the place for contract tests against the idle side.",
    "flag_off": "Runs once, on the controller, before a release that failed its canary loses its requests; this is the place for a feature flag.",
    "on_failure": "Runs once, on the controller, when the deploy has failed, after going back.",
}

SERVICE = {
    "unit": {"type": "str", "description": "Name of the systemd unit that runs the slot's release."},
    "scope": {"type": "str", "choices": ["system", "user"], "description": "Whether the unit belongs to the system's manager or to the user's own."},
    "command": {"type": "raw", "description": "Command, as a text or a list, that restarts the slot's release and returns when it has been started."},
    "start": {"type": "raw", "description": "Command that starts the slot's release, when starting and stopping are apart (workers)."},
    "stop": {"type": "raw", "description": "Command that stops it and returns when it has ended."},
    "status": {"type": "raw", "description": "Command that ends with 0 while it runs."},
    "timeout": {"type": "float", "description": "Seconds that one of these may take."},
    "slot": {"type": "str", "description": "Name of this side's link below the root, where it is not the side's name: V(current) for what ran there first."},
    # Without choices: the sentence for what is unknown is the swap's own.
    "swap": {"type": "str", "description":
             "How a new release takes over from the one that serves, without a gap: V(systemd_socket) or V(command). Without it, it is restarted."},
    "socket": {"type": "str", "description": "With V(systemd_socket): the socket unit that holds the listening socket."},
    "overlap": {"type": "str", "description":
                "With V(systemd_socket): a second unit on the same socket, which serves the new release while the first one restarts."},
    "ready_url": {"type": "str", "description": "With V(systemd_socket): address of the second unit's own, where it tells its readiness and digest."},
    "preset": {"type": "str", "description": "With V(command): the server whose way to upgrade is known, V(gunicorn)."},
    "pidfile": {"type": "str", "description": "With V(command): the file in which the server keeps its process id."},
    "new_pidfile": {"type": "str", "description": "With V(steps): the file that names the new process; without it the pid file, once it names another one."},
    "old_pidfile": {"type": "str", "description": "With V(steps): the file that names the old process once there is a new one."},
    "process": {"type": "str", "description": "With V(steps): the program that the process has to run, lest a stale pid file names another one."},
    "steps": {"type": "list", "elements": "dict", "description": "With V(command): signals, commands and conditions, in order, where no preset fits."},
    "undo": {"type": "list", "elements": "dict", "description": "With V(steps): what ends the new process and leaves the old one to serve."},
}

VARIABLES: dict[str, dict[str, t.Any]] = {
    "deploy_app": {"type": "str", "required": True, "description":
                   "Name of the application. Where an inventory holds several, C(-e deploy_app=NAME) picks one: the variables of the group NAME apply."},
    "deploy_environment": {"type": "str", "default": "production", "description": "Name of the environment, such as V(production) or V(staging)."},
    "deploy_hosts": {"type": "str", "required": True, "description":
                     "Group, or pattern, of the hosts that are the application's members. Where the driver hands releases to a platform that has members of "
                     "its own, there are none, and the variables are those of the first host that has O(deploy_app)."},
    "deploy_release": {"type": "str", "description":
                       "The release to deploy: its label (V(2.0.0)) or its sha256 digest. Needed by the playbook deploy; without it, rollback goes to the "
                       "previous one, and a restart takes no notice of it. With activate, it takes over where C(deploy_service) has a way to swap."},
    "deploy_strategy": {"type": "str", "default": "rolling", "choices": list(STRATEGIES), "description":
                        "In which order traffic moves. Where it is not set, a deploy goes on with the strategy of one that was left unfinished, and a rollback "
                        "undoes what was left unfinished, else the last deploy, as it was made; where it contradicts what was left unfinished, it is refused. "
                        "Where the driver carries only one, that is the default."},
    "deploy_artifact": {"type": "dict", "required": True, "description": "Where releases come from and live on the hosts; a platform needs none.", "options": {
        "root": {"type": "path", "required": True, "description": "Directory on each host that holds the releases and the slots' links."},
        "url": {"type": "str", "description": "http(s) address of the artifact, a tar archive; each host fetches it."},
        "src": {"type": "path", "description": "Path of the artifact, on the controller or, with O(deploy_artifact.remote_src), on each host."},
        "checksums": {"type": "str", "description": "Address or path of a checksum file as C(sha256sum) writes it; it turns a label into a digest."},
        "digest": {"type": "str", "description": "The sha256 digest of the artifact where no checksum file is at hand."},
        "remote_src": {"type": "bool", "default": False, "description": "Whether O(deploy_artifact.src) is a path on the hosts."},
        "strip_components": {"type": "int", "minimum": 0, "description": "Leading directories to take off the names in the archive, as C(tar) does it."},
        "max_size": {"type": "int", "minimum": 1, "description":
                     "Size in MiB of all files in the archive together beyond which it is refused (4096): a few bytes may stand for a full disk."},
        "headers": {"type": "dict", "no_log": True, "description": "HTTP headers for fetching, such as a token. Kept out of every log."},
    }},
    "deploy_service": {"type": "dict", "description":
                       "What runs a slot's release: C({unit: NAME}), C({command: …}) or C({start: …, stop: …}); where a host carries two sides, "
                       "one of these under C(blue) and one under C(green). With C(swap) a release takes over without a gap; docs/process_swap.md tells how."},
    "deploy_slot": {"type": "str", "description":
                    "Name of the slot's link below the root. Without it V(current), or the side's name where the pools have sides."},
    "deploy_traffic": {"type": "dict", "required": True, "description": "The driver that moves traffic, as C(driver), and that driver's own options."},
    "deploy_health": {"type": "dict", "default": {}, "description": "How a member shows that it is ready, and with which release.", "options": {
        "path": {"type": "str", "description": "Path of the readiness check, such as V(/ready). Needed where the driver has pools with ports."},
        "port": {"type": "int", "description": "Port of the check; without it the port of the first pool."},
        "scheme": {"type": "str", "default": "http", "choices": ["http", "https"], "description": "Scheme of the check."},
        "address": {"type": "str", "description": "Address of the member; without it C(ansible_host), or the inventory name."},
        "status": {"type": "list", "elements": "int", "default": [200], "description": "Status codes that pass."},
        "body": {"type": "str", "description": "Regular expression that the answer's body has to match."},
        "header": {"type": "str", "description": "Header that carries the digest of the running release. It proves that the restart really happened. "
                   "The plan asks who sends it now, and names who does not. An answer that is ready and lacks it fails a deploy as unproven, within seconds "
                   "where what ran before sends it. Going back to a release that does not send it is accepted by readiness alone, and said. "
                   "A rollback asks for it where that release has sent it before."},
        "passes": {"type": "int", "default": 3, "minimum": 1, "description": "Passes in a row that are needed."},
        "interval": {"type": "float", "default": 0.2, "minimum": 0.01, "description": "Seconds between two checks of a member."},
        "timeout": {"type": "int", "default": 60, "minimum": 1, "description": "Seconds after which a release that is not ready counts as bad. What users "
                    "ask has no more than what is left of them."},
        "smoke": {"type": "list", "elements": "dict", "description":
                  "What users ask of a member directly, besides its readiness check, before it gets traffic and before a switch: a release may call itself "
                  "ready and hang on everything else. Without it the path of O(deploy_evidence_url); an empty list asks nothing.", "options": {
                      "path": {"type": "str", "required": True, "description": "Path, with a query if need be, such as V(/search?q=tea)."},
                      "status": {"type": "list", "elements": "int", "default": [], "description":
                                 "Status codes that pass. Without any, all below 500 do: a stranger may be sent elsewhere, or asked to log in."},
                      "body": {"type": "str", "description": "Regular expression that the answer's body has to match."},
                      "host": {"type": "str", "description": "C(Host) to ask for; without it that of O(deploy_evidence_url)."}}},
        "from": {"type": "str", "description": "Host that checks, such as a balancer, where the controller cannot reach the members."},
    }},
    "deploy_batches": {"type": "list", "elements": "raw", "default": [1, "25%"], "description":
                       "Sizes of the batches as Ansible's C(serial) has them: counts or percentages, the last one repeated. "
                       "No batch is larger than the floor allows."},
    "deploy_batch_pause": {"type": "int", "default": 0, "minimum": 0, "description": "Seconds of observation between two batches, under evidence."},
    "deploy_host_timeout": {"type": "int", "default": 30, "minimum": 2, "description":
                            "Seconds that a host may be silent on an open ssh connection before it counts as lost (ssh's C(ServerAliveInterval), unless the "
                            "inventory sets that itself)."},
    "deploy_max_absent": {"type": "int", "default": 0, "minimum": 0, "description":
                          "How many members may be out of reach at the start. They are left out and named, if no balancer counts on them; one that serves "
                          "is never left out."},
    "deploy_min_active": {"type": "str", "default": "50%", "description":
                          "The floor: how many members have to serve at full weight, in each pool and on each balancer, as a count or a percentage "
                          "rounded up. With driver V(none), without this, none has to."},
    "deploy_drain_timeout": {"type": "int", "default": 60, "minimum": 1, "description":
                             "Seconds that requests in flight have to finish while a member is taken out."},
    "deploy_drain_timeout_action": {"type": "str", "default": "fail", "choices": ["fail", "cut"], "description":
                                    "Whether a drain that takes longer fails, or cuts what is left and counts it. On the way back from a release, in a "
                                    "rollback and when a deploy fails, what is left is always cut and counted, where the driver can."},
    "deploy_streams": {"type": "str", "default": "wait", "choices": list(STREAMS), "description":
                       "What becomes of streams on members that are taken out, and on the side that served before a switch: WebSockets, and whatever lasts "
                       "longer than C(deploy_traffic.slowest_request) seconds, such as server-sent events, long polls and large downloads. V(wait): they are "
                       "waited for like requests, up to O(deploy_drain_timeout). V(ask): once nothing else is in flight, the application is asked to end them "
                       "itself, by the stop signal of its service or by O(deploy_hooks.end_streams); their clients come back to members that serve. V(cut): "
                       "they are closed then, and counted."},
    "deploy_ready_timeout": {"type": "int", "default": 60, "minimum": 1, "description":
                             "Seconds within which a member has to serve again once the balancer admits it."},
    "deploy_push_timeout": {"type": "int", "default": 900, "minimum": 1, "description":
                            "Seconds within which a platform has to have brought its members to a release that it was handed."},
    "deploy_soak": {"type": "int", "default": 1, "minimum": 0, "description": "Seconds of observation after the last batch before the evidence is judged."},
    "deploy_canary": {"type": "dict", "default": {}, "options": CANARY, "description":
                      "With O(deploy_strategy=canary): the shares that the release gets, and how it is judged at each."},
    "deploy_shadow": {"type": "dict", "description":
                      "Copies of real requests for the idle side, once it has passed its gates and before any user sees it; where its answers differ, the "
                      "deploy fails. For strategies with an idle side, and not for rollbacks.", "options": SHADOW},
    "deploy_evidence_url": {"type": "str", "description":
                            "Public address that the probe asks before, during and after the deploy. Without it there is no probe."},
    "deploy_evidence_rate": {"type": "float", "default": 50, "minimum": 1, "description": "Probe requests a second."},
    "deploy_evidence_methods": {"type": "list", "elements": "str", "choices": ["GET", "POST"], "default": ["GET"], "description":
                                "HTTP methods that the probe asks with. With V(POST) a tenth of its requests are POSTs with a small body to "
                                "O(deploy_evidence_url): only where that address may be posted to."},
    "deploy_evidence_paths": {"type": "list", "elements": "str", "default": [], "description":
                              "Paths, with a query if need be, that the probe asks in turn with the path of O(deploy_evidence_url), such as V(/search?q=tea). "
                              "A status below 500 with which a path answers when the deploy begins is the one that it is to answer."},
    "deploy_evidence_validate_certs": {"type": "bool", "default": True, "description":
                                       "Whether the probe verifies the certificate of an https O(deploy_evidence_url)."},
    "deploy_evidence_ca_path": {"type": "path", "description":
                                "File of PEM certificates on the controller that the probe trusts, in place of those of the system."},
    "deploy_evidence_http2": {"type": "str", "choices": ["auto", "true", "false"], "default": "auto", "description":
                              "Whether the probe speaks HTTP/2 to an https O(deploy_evidence_url). V(auto): where the server chooses it and the Python library "
                              "C(hpack) is on the controller, else HTTP/1.1. V(true): nothing else; without either of the two a deploy is refused. "
                              "V(false): never."},
    "deploy_evidence_max_failed": {"type": "int", "default": 0, "minimum": 0, "description": "Transport failures that a deploy may cause."},
    "deploy_evidence_max_slowdown": {"type": "float", "minimum": 1, "description":
                                     "How many times slower than before, or than the release before meanwhile, the probe may be answered by what a deploy "
                                     "brings, at the median and the 99th percentile; beyond that the deploy goes back. Without it, what became slower is only "
                                     "said."},
    "deploy_evidence_judge_4xx": {"type": "bool", "default": False, "description":
                                  "Whether a deploy goes back when its answers with a 4xx became more frequent than before, by the same test as for 5xx. "
                                  "Without it such a rise is only said, since a release may well mean it."},
    "deploy_evidence_connect_to": {"type": "str", "description": "host:port that the probe connects to in place of the address of O(deploy_evidence_url)."},
    "deploy_records_dir": {"type": "path", "default": "~/deploy-records", "description": "Directory on the controller for the records."},
    "deploy_keep_releases": {"type": "int", "default": 5, "minimum": 1, "description":
                             "Releases to keep on each host. Active, previous and pinned ones are never removed."},
    "deploy_keep_previous": {"type": "int", "minimum": 0, "description":
                             "Seconds that the side which served before a switch is kept warm. Then the playbook retire stops it; with V(0) a deploy does so "
                             "itself at its end. Without it the side is kept warm until the next deploy."},
    "deploy_idle_for": {"type": "int", "default": 60, "minimum": 0, "description":
                        "Seconds without any request that a side must have seen before it is stopped."},
    "deploy_pinned": {"type": "list", "elements": "str", "default": [], "description": "Digests that are never removed."},
    "deploy_hooks": {"type": "dict", "default": {}, "description": "Files with tasks of your own.", "options": {
        name: {"type": "path", "description": text} for name, text in HOOKS.items()}},
    "deploy_state_hosts": {"type": "raw", "description":
                           "Group, host or list of hosts that keep the lock and the journal. Without it the balancers, or the first member where there are "
                           "none; without members, the controller, whose lock no other controller sees. All controllers have to reach them."},
    "deploy_state_dir": {"type": "path", "default": "/var/lib/zero-downtime", "description":
                         "Directory on these hosts for the lock and the journal."},
    "deploy_lock_break": {"type": "bool", "default": False, "description":
                          "Takes the lock from another deploy that is known to be dead but cannot be proven so, because it ran on another controller."},
    "deploy_without": {"type": "list", "elements": "str", "default": [], "description":
                       "Balancers that are known to be dead, as inventory names: the deploy goes on without them, if each is proven not to serve. It "
                       "does not answer, and a connection to it at the port of O(deploy_evidence_url), or at a port given as C(NAME:PORT), fails. "
                       "C(status) names it until it is back and agrees with the others."},
    "deploy_members": {"type": "list", "elements": "str", "description": "For the playbooks drain and activate: the members to take out or bring back."},
    "deploy_side": {"type": "str", "choices": ["blue", "green"], "description":
                    "For the playbooks drain and activate: the side whose members these are, where there are two. Without it the side that serves. For "
                    "a rollback: the side that every request is brought to, where requests are on both sides and no deploy's journal knows of them."},
    "deploy_id": {"type": "str", "description": "Name of this deploy. Made from time, application and environment when it is not given."},
}


def of_platform() -> dict[str, dict[str, t.Any]]:
    """The variables of an application whose members are a platform's own: no host has a release, so none has to have a place for it."""
    root = {**VARIABLES["deploy_artifact"]["options"]["root"], "required": False}
    artifact = {**VARIABLES["deploy_artifact"], "required": False, "default": {},
                "options": {**VARIABLES["deploy_artifact"]["options"], "root": root}}
    return {**VARIABLES, "deploy_hosts": {**VARIABLES["deploy_hosts"], "required": False}, "deploy_artifact": artifact}


def check_names(names: t.Iterable[str], known: t.Iterable[str] = tuple(VARIABLES)) -> list[str]:
    """Refuse a C(deploy_*) name that is probably a typing error; return warnings for other unknown ones.

    A name within edit distance 2 of a known one is taken for a typing error. Raises DowntimeError for it.
    """
    known = set(known)
    warnings = []
    for name in sorted(set(names) - known):
        near = sorted((distance(name, other), other) for other in known)
        if near and near[0][0] <= 2:
            raise DowntimeError(f"{name} is no known variable; did you mean {near[0][1]}?")
        warnings.append(f"{name} is no variable of zero.downtime; it has no effect here")
    return warnings


def distance(one: str, other: str) -> int:
    """Edit distance with adjacent transpositions (optimal string alignment: Boytsov 2011, section 2.2)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]
