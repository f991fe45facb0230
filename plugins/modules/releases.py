#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: releases
short_description: Stage or activate a release on several members at once
version_added: 0.1.0
author: zero.downtime contributors (@zero-downtime)
description:
  - Does what M(zero.downtime.release) does, for a list of members, on all of their hosts at the same time.
  - Members are grouped by machine, that is by how Ansible reaches them. A machine that carries several members costs one call.
  - A host that cannot be reached is a failure of this task that names the member. It never makes a host of the play unreachable, and it
    does not keep the others from being done.
  - The task runs once, whatever the number of hosts of the play.
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks every host for real, and changes nothing.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - With O(restart=true) each call restarts.
options:
  members:
    description:
      - The members, each with what is its own.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Its inventory name.
        type: str
        required: true
      root:
        description:
          - The application's directory on its host, an absolute path.
        type: path
        required: true
      slot:
        description:
          - The place on the host where the release runs; the name of the link below O(members[].root).
        type: str
        default: current
      release:
        description:
          - A label or digest that stands in place of O(release) for this member.
        type: str
      restart:
        description:
          - Stands in place of O(restart) for this member.
        type: bool
      service:
        description:
          - What runs the slot's release, as in M(zero.downtime.release).
        type: dict
        suboptions:
          unit:
            description:
              - Name of the systemd unit.
            type: str
          scope:
            description:
              - Whether the unit belongs to the system's manager or to the user's own.
            type: str
            choices: [system, user]
            default: system
          command:
            description:
              - Command, as a text or a list, that restarts the slot's release and returns when it has been started.
            type: raw
          start:
            description:
              - Command that starts it, when starting and stopping are apart.
            type: raw
          stop:
            description:
              - Command that stops it and returns when it has ended.
            type: raw
          status:
            description:
              - Command that ends with 0 while it runs.
            type: raw
          timeout:
            description:
              - Seconds that one of these may take.
            type: float
            default: 120.0
          swap:
            description:
              - How a new release takes over from the one that serves. Without it, the service is restarted.
              - >-
                V(systemd_socket) keeps the listening socket with systemd: the unit of O(members[].service.overlap) serves the new release
                while O(members[].service.unit) restarts.
              - V(command) sends the server the signals of its own upgrade, those of O(members[].service.preset) or of O(members[].service.steps).
              - A release that does not take over leaves the old one to serve, and the link on it.
            type: str
            choices: [systemd_socket, command]
          socket:
            description:
              - With V(systemd_socket), the socket unit. One that does not hold the port that O(members[].running.url) is asked at is refused.
            type: str
          overlap:
            description:
              - With V(systemd_socket), a second unit with C(Sockets=) of the same socket unit. It runs during a swap only.
              - >-
                Without it connections wait in the socket's queue during the restart: no errors, but a pause, which is told.
            type: str
          ready_url:
            description:
              - With O(members[].service.overlap), an address of that unit's own, which answers below 400 and with the digest once it is ready.
              - Without it the unit has to tell systemd that it is ready (C(Type=notify)).
            type: str
          preset:
            description:
              - With V(command), the server whose upgrade is known.
            type: str
            choices: [gunicorn]
          pidfile:
            description:
              - With V(command), the file in which the server keeps its process id.
            type: path
          new_pidfile:
            description:
              - With O(members[].service.steps), the file that names the new process. Without it O(members[].service.pidfile), once it names another
                one than before.
            type: path
          old_pidfile:
            description:
              - With O(members[].service.steps), the file that names the old process once there is a new one (C(.oldbin) of nginx and unicorn).
            type: path
          process:
            description:
              - With O(members[].service.steps), the program that the process has to run, lest a stale pid file names another one.
            type: str
          steps:
            description:
              - With V(command), what happens in order. Each entry has one of C(signal) (a name, with C(to), V(old) or V(new)), C(command) (with
                C(OLD_PID) and C(NEW_PID) in its environment) and C(until) (V(new), V(ready), V(only_new), V(old_gone), V(new_gone) or V(pidfile),
                with C(timeout)).
              - C(final) marks the step after which the old process cannot serve any more; without it, that is the last one that is no C(until).
            type: list
            elements: dict
          undo:
            description:
              - With O(members[].service.steps), what ends the new process and lets the old one serve on. C(only_if=old_idle) limits a step to an old
                process without workers.
            type: list
            elements: dict
      running:
        description:
          - How the service tells which release runs, as in M(zero.downtime.release).
        type: dict
        suboptions:
          url:
            description:
              - Address on the host that answers with the digest.
            type: str
            required: true
          header:
            description:
              - Header of the answer that holds the digest.
            type: str
            default: x-release
          timeout:
            description:
              - Seconds until it has to be the new one.
            type: float
            default: 30.0
          interval:
            description:
              - Seconds between two questions.
            type: float
            default: 0.1
          passes:
            description:
              - How many answers in a row have to have the digest. Without it one, and five with O(members[].service.swap).
            type: int
          proof:
            description:
              - What a ready answer without the header is worth, as in M(zero.downtime.release).
            type: str
            choices: [needed, seen, optional]
            default: needed
  state:
    description:
      - V(staged) brings the release to the hosts without running it, V(activated) lets the slots run it, V(stopped) stops their services and leaves
        their links as they are, V(observed) changes nothing and tells what is there, V(examined) changes nothing and tells whether a release could come.
    type: str
    choices: [staged, activated, stopped, observed, examined]
    required: true
  release:
    description:
      - A label, a sha256 digest, or V(previous) for the release that a slot ran before.
    type: str
  artifact:
    description:
      - Where the artifact is, as in M(zero.downtime.release).
    type: dict
    suboptions:
      url:
        description:
          - http(s) address of the artifact.
        type: str
      src:
        description:
          - Path of the artifact, on the controller or, with O(artifact.remote_src), on each host.
        type: path
      checksums:
        description:
          - Address or path of a checksum file as C(sha256sum) writes it.
        type: str
      digest:
        description:
          - The sha256 digest of the artifact.
        type: str
      remote_src:
        description:
          - Whether O(artifact.src) is a path on the hosts.
        type: bool
        default: false
      headers:
        description:
          - HTTP headers for fetching, such as a token.
        type: dict
      timeout:
        description:
          - Seconds that the server may be silent.
        type: float
        default: 30.0
      deadline:
        description:
          - Seconds that fetching may take in all.
        type: float
        default: 900.0
      strip_components:
        description:
          - How many leading directories of the archive to leave out.
        type: int
        default: 0
      max_size:
        description:
          - Size in MiB of all files in the archive together beyond which it is refused. A few bytes of an archive may stand for a full disk.
        type: int
        default: 4096
        version_added: 0.2.0
      ask:
        description:
          - The action plugin's own, do not set it.
        type: bool
        default: false
  keep:
    description:
      - How many of the newest releases stay when O(prune) removes old ones.
    type: int
    default: 5
  pinned:
    description:
      - Labels and digests that are never removed.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Whether old releases are removed after staging.
    type: bool
    default: false
  restart:
    description:
      - Whether a slot that runs the release already is restarted all the same.
    type: bool
    default: false
  going_back:
    description:
      - Whether this goes back to an earlier release, so that V(previous) does not come to mean the one that is left.
    type: bool
    default: false
  deploy_id:
    description:
      - Name of the deploy, for the ledgers of the hosts.
    type: str
  lock_timeout:
    description:
      - Seconds to wait for another process that works on the same root.
    type: float
    default: 120.0
  max_absent:
    description:
      - How many members may be out of reach without failing the task, as long as one is not.
    type: int
    default: 0
  on_failure:
    description:
      - Whether failures fail the task, or are reported in RV(problems) alone. The latter is for going back, where one member's failure must not
        keep the others from being put right.
    type: str
    choices: [fail, report]
    default: fail
  so_far:
    description:
      - RV(members) of an earlier call, to which this one's results are added.
    type: dict
    default: {}
  secrets:
    description:
      - Whether to take C(artifact.headers) from the variable C(deploy_artifact) of the members. A plan leaves them out, because it is shown.
    type: bool
    default: false
  run_dir:
    description:
      - Directory on the controller that holds the events of a running deploy.
    type: path
  step:
    description:
      - Name of the step in those events.
    type: str
    default: activate
  batch:
    description:
      - Number of the batch in those events.
    type: int
"""

EXAMPLES = r"""
- name: Bring a release to two members, without running it
  zero.downtime.releases:
    state: staged
    release: 2.0.0
    artifact:
      url: https://art.example/shop/shop-2.0.0.tar.gz
      checksums: https://art.example/shop/SHA256SUMS
    members:
      - {name: app1, root: /srv/shop}
      - {name: app2, root: /srv/shop}

- name: Run it
  zero.downtime.releases:
    state: activated
    release: 2.0.0
    members:
      - {name: app1, root: /srv/shop, service: {unit: shop.service}}
      - {name: app2, root: /srv/shop, service: {unit: shop.service}}
"""

RETURN = r"""
members:
  description: By name, what M(zero.downtime.release) returns for each member (or C(failed) and C(msg)), after those of O(so_far), which keep
    C(changed), C(failed), C(unreachable_host), C(kept) and C(msg).
  returned: always
  type: dict
absent:
  description: Names of the members whose host could not be reached.
  returned: always
  type: list
  elements: str
problems:
  description: A sentence for each failure.
  returned: always
  type: list
  elements: str
done:
  description: The same as RV(members), from the host to the action plugin.
  returned: on the host
  type: dict
"""

from ansible_collections.zero.downtime.plugins.module_utils._artifact import masked as _masked
from ansible_collections.zero.downtime.plugins.module_utils._artifact import releases as _releases
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_releases.argument_spec(), _releases.run, _masked.Module)


if __name__ == "__main__":
    main()
