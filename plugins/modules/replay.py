#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: replay
short_description: Replay logged GET requests to the old and the new release, and compare their answers
version_added: 0.1.0
description:
  - Reads the GET requests at the end of a balancer's request log, and sends each of them, at the pace at which they came, to two members that run
    the old release and to one that runs the new one. Nothing is added to the live path.
  - Status, headers and body are compared; bodies that are JSON field by field. What differs between the two members of the old release is noise.
    A field is reported when it differs more often between the releases than within the old one, by both limits.
  - Runs on the host of the balancer, where the log lies and from where every member can be reached. The requests stay there; only counts, paths without
    their queries, and names of fields are returned.
  - Requests carry no cookies and no credentials, since a log has none. They are an additional load on the members, see O(rate).
  - Where the differences are more than O(max_differences), the module does not fail. RV(verdict) says so.
options:
  log:
    description:
      - Path of the log, as HAProxy writes it with C(option httplog), or nginx in its format C(combined). Lines are found by the time in brackets
        and the request in quotes, so a longer format that has both is as good.
      - Without a GET request in it, the module fails.
    type: path
    required: true
  primary:
    description:
      - Address and port of a member with the old release.
    type: str
    required: true
  secondary:
    description:
      - Address and port of another member with the old release, or of the same one.
    type: str
    required: true
  candidate:
    description:
      - Address and port of a member with the new release.
    type: str
    required: true
  backends:
    description:
      - Where the lines of the log name a backend, as HAProxy's do, only requests to these count. Without it, all do.
    type: list
    elements: str
    default: []
  duration:
    description:
      - Seconds that it may send. So much of the end of the log is replayed.
    type: float
    default: 30.0
  pace:
    description:
      - How many times as fast as they came requests are sent.
    type: float
    default: 1.0
  rate:
    description:
      - Most requests a second, to each of the three targets. Where more came, an even part of them is sent.
    type: float
    default: 20.0
  request_timeout:
    description:
      - Seconds within which an answer has to come.
    type: float
    default: 5.0
  exclude:
    description:
      - Regular expressions. Requests whose path, with its query, matches one of them are not sent.
    type: list
    elements: str
    default: []
  host:
    description:
      - The C(Host) header of the requests. Without it, the address of each target.
    type: str
  ignore:
    description:
      - Fields that differ by design, as RV(fields) names them, such as V(body.version) or V(header.x-cache), each with all that lies below it.
        V(*) stands for any text.
      - Headers of the connection and the moment (C(Date), C(Set-Cookie), C(Age), C(Connection), C(Keep-Alive), C(Transfer-Encoding), C(Content-Length))
        are never compared.
    type: list
    elements: str
    default: []
  release_header:
    description:
      - The header that carries the release's digest, which differs by design.
    type: str
  relative_limit:
    description:
      - A field is reported when raw and noise differ by more than this percentage of their sum.
    type: float
    default: 20.0
  absolute_limit:
    description:
      - A field is reported when raw and noise differ by more than this percentage of the requests that were compared.
    type: float
    default: 0.03
  max_differences:
    description:
      - How many fields may be reported before RV(verdict) is V(different).
    type: int
    default: 0
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
    details: The log is read, and nothing is sent.
  diff_mode:
    support: none
    details: Nothing is changed.
  idempotent:
    support: full
    details: Nothing is changed. What is found is what the members answer at that time.
author:
  - zero.downtime contributors (@zero-downtime)
"""

EXAMPLES = r"""
- name: Compare a new release with the old one, before anybody uses it
  zero.downtime.replay:
    log: /var/log/haproxy.log
    backends: [shop_blue]
    primary: 192.0.2.11:8001
    secondary: 192.0.2.12:8001
    candidate: 192.0.2.11:8002
    duration: 60
    host: shop.example
    ignore: [body.version]
    release_header: x-release
  delegate_to: lb1
  register: compared

- name: Go on only if they answer the same
  ansible.builtin.assert:
    that: compared.verdict == 'same'
    fail_msg: "{{ compared.sentence }}"
"""

RETURN = r"""
verdict:
  description:
    - V(same), V(different) when more fields are reported than O(max_differences), or V(nothing) when no request could be compared, as in check mode.
  returned: success
  type: str
sentence:
  description: The verdict for a person.
  returned: success
  type: str
planned:
  description: Requests of the log that were to be sent.
  returned: success
  type: int
late:
  description: Requests that were left out since earlier ones were not answered in time.
  returned: success
  type: int
requests:
  description: Requests that were sent, each to three members.
  returned: success
  type: int
compared:
  description: Requests that the old release answered.
  returned: success
  type: int
differences:
  description: How many fields are reported.
  returned: success
  type: int
fields:
  description: The fields that differed at least once, those that are reported first.
  returned: success
  type: list
  elements: dict
  contains:
    field:
      description: V(status), V(header.NAME), V(body), or V(body.FIELD) of a JSON body; C([]) stands for the elements of a list.
      type: str
      returned: success
    raw:
      description: Requests for which it differed between primary and candidate.
      type: int
      returned: success
    noise:
      description: Requests for which it differed between primary and secondary.
      type: int
      returned: success
    how:
      description: How it differed first. For the status, both of them.
      type: str
      returned: success
    path:
      description: The path, without query, for which it differed first.
      type: str
      returned: success
    reported:
      description: Whether the releases differ in it by both limits.
      type: bool
      returned: success
"""

from ansible_collections.zero.downtime.plugins.module_utils._module import run
from ansible_collections.zero.downtime.plugins.module_utils._shadow import replay as _replay


def main() -> None:
    run(_replay.argument_spec(), _replay.run)


if __name__ == "__main__":
    main()
