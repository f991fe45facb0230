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
  state:
    description:
      - V(staged) brings the release to the hosts without running it, V(activated) lets the slots run it, V(observed) changes nothing and tells
        what is there.
    type: str
    choices: [staged, activated, observed]
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
  description: By name, what M(zero.downtime.release) returns for each member (or C(failed) and C(msg)), after those of O(so_far).
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.zero.downtime.plugins.module_utils import _releases


def main() -> None:
    """Wire the options to the logic."""
    module = AnsibleModule(argument_spec=_releases.argument_spec(), supports_check_mode=True)
    module.exit_json(**_releases.run(module.params, module.check_mode))


if __name__ == "__main__":
    main()
