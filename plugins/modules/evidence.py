#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence
short_description: Measure whether a deploy loses requests
description:
  - Collects three independent lines of evidence, each of which sees what the others cannot.
  - The I(probe) asks the public address at a fixed timetable, from this controller, with fresh connections, kept connections and slow POSTs.
    It retries nothing and follows no redirect, so every failure that a client could meet is counted by its kind.
    Until the first move it learns how each path answers, and an answer that is unlike those is a failure from then on.
    With fewer than 30 answers before, or where statuses that came once are more than one in 100 of them, such answers are told and not judged.
  - The I(balance sheet) says of every real request, from the balancers' own counters, whether it was answered. It needs a driver whose
    balancers can be asked, such as V(haproxy).
  - The I(kernel) counts connections that were dropped before a balancer saw them.
  - The verdict is V(clean), V(lost) (requests were lost, and nothing contradicts it), V(degraded) (the application answers with more
    errors than before the first move) or V(unconfirmed) (the probe lost requests that a complete balance sheet does not miss; this fails a
    deploy, but is no reason to move everything back).
  - Errors of the application are worse than before when at least three came, at least twice as often, and chance alone explains the difference
    in less than one of 100 cases. With fewer than 30 requests before, more than one error in 100 requests is worse. A window before of fewer
    than 300 requests with at most one error in 100 is also taken as 300 with three, because a short window by itself rules out little.
  - An answer of a release that neither served before nor is one of O(releases) makes a deploy V(degraded) by itself. An empty answer, a redirect to
    the very address that was asked and a status that never came before count as errors of the application.
  - What answers slower is said, where the median or the 99th percentile is 1.5 times what it was before, and at least 20 milliseconds and the probe's
    own stall more than that. Releases are told apart by O(health_header), and without it the time during and after the moves is compared with that before.
  - Before is what came before the first move, and where an idle side gets the release, also all that came before the first change of shares.
  - The task runs once, whatever the number of hosts of the play. The probe ends by itself within two seconds when ansible-playbook does.
options:
  state:
    description:
      - V(started) asks the address once, reads the counters and starts the probe. In check mode it asks the address and starts nothing.
      - V(awaited) waits, before all requests change sides, until 1,500 have come with which losses behind that can be compared, where that takes ten seconds
        at most by the requests that came so far. Otherwise it waits for nothing.
      - V(checked) fails when the budget is exceeded or the application got worse.
      - V(stopped) ends the probe and returns the whole evidence. It does not fail because of losses.
    type: str
    required: true
    choices: [started, awaited, checked, stopped]
  run_dir:
    description:
      - Directory on the controller that belongs to one running deploy. Without it V(awaited), V(checked) and V(stopped) have nothing to say.
    type: path
  url:
    description:
      - Public address that the probe asks. Without it there is no probe.
      - While something serves it has to answer with 2xx or 3xx.
    type: str
  connect_to:
    description:
      - C(host:port) to connect to in place of the address of O(url), for one balancer of several for example.
      - Without it, an IPv4 address is preferred where the name has both kinds, and several addresses take turns.
    type: str
  paths:
    description:
      - Paths beside that of O(url), at the same host, that are asked in turn with it. POSTs are sent to O(url) only.
      - Each is asked once when the state is V(started), and has to answer, with any status below 500, which is then the one that is expected.
    type: list
    elements: str
    default: []
  rate:
    description:
      - Requests a second, all streams together.
    type: float
    default: 50.0
  streams:
    description:
      - Shares of the streams C(fresh), C(keepalive) and C(post). The default is 0.5, 0.4 and 0.1.
      - An address that answers the first POSTs with 404, 405 or 501 gets no more of them.
    type: dict
  timeout:
    description:
      - Seconds after which a request without a whole answer is lost.
    type: float
    default: 10.0
  validate_certs:
    description:
      - Whether an https address has to show a certificate that is valid for its name.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of the authorities to trust, in place of the system's.
    type: path
  http2:
    description:
      - V(auto) speaks HTTP/2 to an https address whose server chooses it in the TLS handshake (ALPN), if the library C(hpack) is there for the
        Python that runs ansible-playbook, and HTTP/1.1 otherwise. What is kept is then one connection, or one for each address of the name, and it
        carries several requests at a time, the slow POSTs too.
      - V(true) speaks nothing else. An http address, a controller without the library, and a server that does not choose HTTP/2 are refused.
      - V(false) never does.
      - A request with which the server says that it has not begun, as it may when it reloads (GOAWAY), is not lost. It is asked again, up to five
        times within its O(timeout), and counted as repeated.
    type: str
    choices: ["auto", "true", "false"]
    default: auto
  releases:
    description:
      - For O(state=checked) with O(baseline), the releases that may answer once something moves, the old ones and the new one. Without them the
        release that an answer names is not judged, nor where the answers before named none of them.
    type: list
    elements: dict
    suboptions:
      digest:
        description: What the release says in O(health_header).
        type: str
        required: true
      label:
        description: What it calls itself in the JSON of its body, under C(version), if it does.
        type: str
  signed:
    description:
      - For O(state=checked) with O(baseline), whether the new release has to send O(health_header), so that an answer without it is a wrong one
        where all answers before had it.
    type: bool
    default: false
  max_failed:
    description:
      - Budget of transport failures. Errors that the application answers with do not count here, they are compared with the time before.
    type: int
    default: 0
  max_slowdown:
    description:
      - How many times slower than before answers may be, at the median and at the 99th percentile. Beyond that the deploy is V(degraded).
      - Without it, what became slower is only said.
    type: float
  judge_4xx:
    description:
      - Whether the deploy is V(degraded) when real requests that members answered with a 4xx became more frequent than before, and for longer than a moment.
      - Without it such a rise is only said.
    type: bool
    default: false
  driver:
    description:
      - Name of the driver, as in M(zero.downtime.members).
    type: str
  traffic:
    description:
      - The driver's own options, as C(deploy_traffic) has them, less C(driver).
    type: dict
    default: {}
  deploy_id:
    description:
      - Identifier of the running deploy.
    type: str
  health_header:
    description:
      - Header in which the application names the digest of its release.
    type: str
    default: x-release
  expect_serving:
    description:
      - Whether a release serves already. On a first deploy V(false), and evidence applies from when the first members were admitted.
    type: bool
    default: true
  settle:
    description:
      - Seconds to watch before V(checked) judges. It judges at once when the budget is exceeded meanwhile.
    type: float
    default: 0.0
  open_timeout:
    description:
      - For O(state=stopped), the seconds for which requests are waited for that members hold open, more than twice as many as there ever were before the
        first move. Those that are open after that are named with their members, and nothing is said to have lost no request.
    type: float
    default: 0.0
  baseline:
    description:
      - For O(state=checked) right before the first move. It never fails because of losses. It says in a warning what was lost already, and such
        losses are not counted later.
      - It waits for up to five seconds until each path was answered 30 times, where O(rate) makes that possible.
    type: bool
    default: false
  batch:
    description:
      - Number of the batch in the events.
    type: int
  pools:
    description:
      - For O(state=stopped), the pools of both sides, as C(deploy_traffic.pools) has them. When the deploy failed (O(failed)), or requests were
        lost, every balancer is asked once more how it has their members, and RV(seen) says it.
      - Without them nobody is asked, nor where the driver's balancers cannot be.
    type: list
    elements: dict
    default: []
  failed:
    description:
      - For O(state=stopped), whether the deploy failed.
    type: bool
    default: false
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
- name: Start to measure
  zero.downtime.evidence:
    state: started
    run_dir: /var/tmp/shop-restart
    url: https://shop.example/
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - name: shop
          port: 8000

- name: Fail when anything was lost
  zero.downtime.evidence:
    state: checked
    run_dir: /var/tmp/shop-restart
    settle: 2
    driver: haproxy
    traffic:
      balancers: shop_lb
      socket: /run/haproxy/admin.sock
      pools:
        - name: shop
          port: 8000

- name: End the probe and get the evidence, without balancers that can be asked
  zero.downtime.evidence:
    state: stopped
    run_dir: /var/tmp/shop-restart
  register: measured
"""

RETURN = r"""
asked:
  description: How the address answered before the probe began; null without O(url).
  returned: when O(state=started)
  type: dict
  sample: {ok: true, kind: null, status: 200, version: 1.0.0, release: null, protocol: HTTP/2, detail: ""}
cause:
  description: >-
    Why the address could not be asked as it was to be: V(setting), a value that is not accepted, V(tls_needed), V(library_needed) or V(no_http2),
    of O(http2) or O(paths), or V(no_authority), of O(ca_path).
  returned: when O(state=started) failed for such a reason
  type: str
  sample: no_http2
pid:
  description: Process of the probe on the controller; null when none was started.
  returned: when O(state=started)
  type: int
  sample: 4711
waited:
  description: Seconds that it waited.
  returned: when O(state=awaited)
  type: float
  sample: 3.2
verdict:
  description: clean, lost, degraded or unconfirmed; null in check mode.
  returned: when O(state=checked) or O(state=stopped)
  type: str
  sample: clean
rollback:
  description: Whether the verdict is a reason to go back.
  returned: when O(state=checked) and something was measured
  type: bool
  sample: false
stay:
  description: >-
    Whether what has been moved shall stay where it is, although the check failed: losses that only the probe saw, and once, move nobody. Where the probe
    itself is gone, only a deploy that has moved all members stays.
  returned: when O(state=checked) failed
  type: bool
  sample: false
sentence:
  description: The verdict in one sentence.
  returned: when O(state=stopped), or O(state=checked) found nothing wrong
  type: str
  sample: "No request was lost: 0 of 1,203 probe requests and 0 of 12,034 real requests; longest gap 23 ms, own stall 3 ms."
seen:
  description: >-
    Of each balancer the pools, and of each pool the servers with their states (active, draining, drained or down); null for a balancer that did not
    answer, and null as a whole where none can be asked.
  returned: when O(state=stopped), O(pools) are given, and the deploy failed or lost requests, also where the evidence could not be kept
  type: dict
  sample: {lb1: {shop: {app1: active, app2: down}}}
evidence:
  description: The three lines, attribution and verdict. A check leaves out series and losses.
  returned: when O(state=stopped), or O(state=checked) found nothing wrong
  type: dict
  contains:
    probe:
      description: >-
        Counts by kind, gap, latencies, versions, protocols, own stall, bound, phases, what was expected of answers, what became slower, series; null
        without O(url).
      type: dict
    balance:
      description: What became of every real request; null where no balancer can be asked.
      type: dict
    kernel:
      description: Growth of listen-queue overflows and drops on the balancers' hosts.
      type: dict
    attributed:
      description: Each loss with time, step, member and balancer.
      type: list
      elements: dict
    verdict:
      description: clean, lost, degraded or unconfirmed.
      type: str
    rollback:
      description: Whether the verdict is a reason to go back.
      type: bool
    blind:
      description: Why the probe's account is not whole, as the end of a sentence; null where it is.
      type: str
    notes:
      description: Findings that are no verdict, such as lines of evidence that disagree.
      type: list
      elements: str
    sentence:
      description: The verdict in one sentence.
      type: str
"""

# The work is done by the action plugin of the same name; this file holds its documentation.
