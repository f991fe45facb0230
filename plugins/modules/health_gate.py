#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Wait until every member passes its health check several times in a row
version_added: 0.1.0
author:
  - zero.downtime contributors (@zero-downtime)
description:
  - Asks all members at the same time, in rounds, and ends as soon as each of them has passed O(passes) times in a row.
  - A member that has passed is asked again in each round, so that success means that all of them are healthy now, and not that each
    of them once was.
  - A pass is one of O(status), and where they are given a match of O(body) and the release in O(header). The header proves that the
    restart really happened; a member that still runs the old release answers 200 as well.
  - Each attempt is a GET on a fresh connection. Nothing is retried within it and no redirect is followed.
  - Fails when O(timeout) is over, naming each member that did not pass and what it answered last.
  - The requests are sent by the controller, or with O(from) by another host, such as the balancer's, whose network path to the members is the one
    that counts.
  - The task runs once for all hosts of a play, whatever their number, and its result is that of every host. So O(members) lists all members.
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
    details:
      - Members are really asked in check mode, since asking changes nothing.
  diff_mode:
    support: N/A
    details:
      - Nothing is ever changed.
  idempotent:
    support: full
options:
  members:
    description:
      - The members to ask. An empty list passes, since there is nobody to wait for.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the member, for results and messages.
        type: str
        required: true
      url:
        description:
          - Where the member is asked, an http or https URL with a path.
        type: str
        required: true
      digest:
        description:
          - The digest that this member has to tell, when it is another one than O(digest).
        type: str
      proof:
        description:
          - What a ready answer without O(header) is worth. With V(needed) it does not pass. V(seen) says in addition that what ran before sends the header,
            so that such an answer is another release's, and the gate fails when it has been given for five seconds. With V(optional) it passes, and is named
            in RV(notes); an answer with another digest does not pass.
        type: str
        choices: [needed, seen, optional]
        default: needed
  passes:
    description:
      - How many passes in a row each member needs.
    type: int
    default: 3
  interval:
    description:
      - Seconds between two rounds.
    type: float
    default: 0.2
  timeout:
    description:
      - Seconds after which the gate fails, with all that O(smoke) asks.
    type: int
    default: 60
  connect_timeout:
    description:
      - Seconds that a connection may take to be established.
    type: float
    default: 2.0
  read_timeout:
    description:
      - Seconds that a whole answer may take once the connection is there.
    type: float
    default: 5.0
  status:
    description:
      - HTTP status codes that pass.
    type: list
    elements: int
    default: [200]
  body:
    description:
      - A regular expression (Python's) that has to match somewhere in the body. Only the first MiB of it is read.
    type: str
  header:
    description:
      - Name of the HTTP header in which a member tells the digest of the release that it runs.
      - Without O(digest) the header only has to be there.
    type: str
  digest:
    description:
      - Value that O(header) has to have. A prefix C(sha256:) and the case of letters do not matter.
    type: str
  host:
    description:
      - Host name to send as C(Host), and to expect in the certificate of an https URL, when members are asked by address.
    type: str
  smoke:
    description:
      - What users ask. Once all members have passed, each of them is asked this directly, and has to answer it; a release may call itself ready and
        hang on everything else. It is asked again, as long as O(timeout) allows.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    suboptions:
      path:
        description:
          - Path, with a query if need be.
        type: str
        required: true
      status:
        description:
          - HTTP status codes that pass. Without any, all below 500 do, since a stranger may be sent elsewhere.
        type: list
        elements: int
        default: []
      body:
        description:
          - A regular expression (Python's) that has to match somewhere in the body.
        type: str
      host:
        description:
          - Host name to send as C(Host), without which O(host) is sent.
        type: str
  validate_certs:
    description:
      - Whether the certificates of https URLs are verified.
    type: bool
    default: true
  ca_path:
    description:
      - File of PEM certificates to trust, instead of those of the system. It is read where the requests are sent from.
    type: path
  from:
    description:
      - Where the requests are sent from. V(controller), or the inventory name of a host such as a balancer's.
    type: str
    default: controller
  on_failure:
    description:
      - What follows when a member did not pass. V(fail) fails the task. V(report) succeeds, and RV(problems) says what is wrong.
    type: str
    choices: [fail, report]
    default: fail
  run_dir:
    description:
      - Directory of a running deploy on the controller, where the gate's beginning and end are noted. Without it nothing is written.
    type: path
  step:
    description:
      - Name of the step in those notes.
    type: str
    default: gate
  batch:
    description:
      - Number of the batch in those notes.
    type: int
"""

EXAMPLES = r"""
- name: Wait until both members serve the new release
  zero.downtime.health_gate:
    members:
      - name: app1
        url: http://app1.example:8000/ready
      - name: app2
        url: http://app2.example:8000/ready
    header: x-release
    digest: 7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730
    passes: 5
    timeout: 120

- name: Ask as the balancer does, from where it stands
  zero.downtime.health_gate:
    members:
      - name: app1
        url: http://10.0.0.11:8000/ready
    body: '"ready": *true'
    from: lb1
"""

RETURN = r"""
members:
  description: What each member said, also when the gate fails.
  returned: when the options are right
  type: list
  elements: dict
  contains:
    name:
      description: Name of the member.
      type: str
      sample: app1
    ok:
      description: Whether it passed often enough in a row.
      type: bool
    passes:
      description: Passes in a row at the end. More than asked for when other members took longer.
      type: int
      sample: 3
    attempts:
      description: How often it was asked.
      type: int
      sample: 3
    status:
      description: The last HTTP status, or null when there was no answer.
      type: int
      sample: 200
    digest:
      description: The last value of O(header), or null.
      type: str
    detail:
      description: The last answer, or why there was none, in words.
      type: str
      sample: app1.example:8000 refused the connection
    unproven:
      description: Whether its last answer was ready and lacked O(header).
      type: bool
    waited:
      description: Seconds until it had passed often enough, or until it was given up.
      type: float
      sample: 0.412
notes:
  description: Members that passed without proof of what they run, as sentences.
  returned: when the options are right
  type: list
  elements: str
problems:
  description: What is wrong, as sentences. Empty when all members passed.
  returned: when the options are right
  type: list
  elements: str
waited:
  description: Seconds that the gate took.
  returned: when the options are right
  type: float
  sample: 0.412
"""

from ansible_collections.zero.downtime.plugins.module_utils._health import gate as _health
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_health.argument_spec(), _health.run)


if __name__ == "__main__":
    main()
