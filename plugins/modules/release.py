#!/usr/bin/python
# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Stage, activate, stop and prune releases on a host
version_added: 0.1.0
author: zero.downtime contributors (@zero-downtime)
description:
  - A release is an artifact known by its sha256 digest; a label (a version) only names it. It is unpacked once into
    C(<root>/releases/<sha256>/) and run by letting the link C(<root>/<slot>) name it.
  - Staging verifies the digest before anything is unpacked, refuses archives that reach out of the release, and ends in one rename(2),
    so that a release is there as a whole or not at all.
  - Activating is one rename(2) of a relative link, the restart of the slot's service and, if O(running) is given, the proof that the
    service answers with the digest of the new release. A slot that runs the release already is left alone.
  - Which release ran before is kept in C(<root>/.releases/ledger.jsonl). Going back needs no download.
  - An artifact on the controller is copied by the action plugin of the same name, and only to hosts that lack its digest.
  - A service learns its digest from the name of the directory that its link leads to. It should resolve the link once, at its start.
extends_documentation_fragment:
  - zero.downtime.attributes
attributes:
  check_mode:
    support: full
    details:
      - Resolves labels and opens the artifact for real, but neither fetches nor changes it.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - With O(restart=true) each call restarts.
options:
  root:
    description:
      - The application's directory on the host, an absolute path. It is made if need be (mode C(0755)).
    type: path
    required: true
  slot:
    description:
      - The place on the host where one release runs; the name of the link below O(root). A host with a blue and a green side has two.
    type: str
    default: current
  state:
    description:
      - V(staged) brings the release to the host without running it.
      - V(activated) lets the slot run it. A release that is not staged yet is staged first if O(artifact) says where it is.
        Without O(release) the slot's active release is meant (useful with O(restart) and after V(stopped)).
      - V(stopped) stops the slot's service and leaves its link as it is.
      - V(observed) changes nothing and tells what is there; with O(release) also which digest that is.
      - V(examined) changes nothing and tells in RV(checks) whether a release could come here (rights, room, and what runs it).
      - V(pruned) removes old releases and what a crash left behind.
    type: str
    choices: [staged, activated, stopped, observed, examined, pruned]
    required: true
  release:
    description:
      - A label, a sha256 digest, or V(previous) for the release that the slot ran before.
      - The digest of a label comes from O(artifact.digest), else from O(artifact.checksums), else from what was staged on this host.
    type: str
  artifact:
    description:
      - Where the release comes from. Its archive is a tar file, as it is or compressed with gzip, bzip2 or xz.
    type: dict
    suboptions:
      url:
        description:
          - An http or https URL, fetched by the host. The proxies of the environment and the certificates of the system apply.
        type: str
      src:
        description:
          - A file on the controller (relative ones are looked for as C(copy) does), or on the host with O(artifact.remote_src=true).
        type: path
      checksums:
        description:
          - A file with lines as C(sha256sum) writes them, which knows the digests of labels. A URL is read by the host, a path where O(artifact.src) would be.
          - The line is the one whose file is named by O(artifact.url) or O(artifact.src); without these, the one called after the label
            (C(2.0.0.tar.gz), C(shop-2.0.0.tar.gz)).
        type: str
      digest:
        description:
          - The sha256 that the release is known to have. It wins over O(artifact.checksums), which is then not read; an artifact with another
            digest is refused.
        type: str
      remote_src:
        description:
          - Whether O(artifact.src) and a path in O(artifact.checksums) are on the host.
        type: bool
        default: false
      headers:
        description:
          - Headers of the requests for O(artifact.url) and O(artifact.checksums), a token for example. Never logged, and not sent to other servers that a
            redirect leads to.
        type: dict
      timeout:
        description:
          - Seconds without a byte after which a fetch is given up.
        type: float
        default: 30
      deadline:
        description:
          - Seconds that a whole fetch may take.
        type: float
        default: 900
      strip_components:
        description:
          - Leading directories to take off the names in the archive, as C(tar) does it.
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
          - Set by the action plugin of this module, not meant for playbooks. When the host lacks the release, RV(needed) is returned and nothing is changed.
        type: bool
        default: false
  service:
    description:
      - What runs in the slot. Either O(service.unit), or O(service.command), or O(service.start) with O(service.stop).
      - Commands are run without a shell in O(root), with C(RELEASE_ROOT), C(RELEASE_SLOT), C(RELEASE_DIGEST) and C(RELEASE_LABEL) in their environment.
      - Without O(service) only the link is moved.
    type: dict
    suboptions:
      unit:
        description:
          - A systemd unit.
        type: str
      scope:
        description:
          - Whether the unit belongs to the system's manager or to the user's own.
        type: str
        choices: [system, user]
        default: system
      command:
        description:
          - A command that restarts the service (and starts it when it does not run), a text or a list of words.
        type: raw
      start:
        description:
          - A command that starts the service and returns.
        type: raw
      stop:
        description:
          - A command that stops the service and returns when it has ended.
        type: raw
      status:
        description:
          - A command that ends with 0 while the service runs. Without it, whether commands have to run follows from what was done last.
        type: raw
      timeout:
        description:
          - Seconds after which a command is killed and the call fails.
        type: float
        default: 120
      swap:
        description:
          - How a new release takes over from the one that serves. Without it, the service is restarted.
          - >-
            V(systemd_socket) keeps the listening socket with systemd: the unit of O(service.overlap) serves the new release while
            O(service.unit) restarts.
          - V(command) sends the server the signals of its own upgrade, those of O(service.preset) or of O(service.steps).
          - A release that does not take over leaves the old one to serve, and the link on it.
        type: str
        choices: [systemd_socket, command]
      socket:
        description:
          - With V(systemd_socket), the socket unit. One that does not hold the port that O(running.url) is asked at is refused.
        type: str
      overlap:
        description:
          - With V(systemd_socket), a second unit with C(Sockets=) of the same socket unit. It runs during a swap only.
          - >-
            Without it connections wait in the socket's queue during the restart: no errors, but a pause, which is told.
        type: str
      ready_url:
        description:
          - With O(service.overlap), an address of that unit's own, which answers below 400 and with the digest once it is ready.
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
          - With O(service.steps), the file that names the new process. Without it O(service.pidfile), once it names another one than before.
        type: path
      old_pidfile:
        description:
          - With O(service.steps), the file that names the old process once there is a new one (C(.oldbin) of nginx and unicorn).
        type: path
      process:
        description:
          - With O(service.steps), the program that the process has to run, lest a stale pid file names another one.
        type: str
      steps:
        description:
          - With V(command), what happens in order. Each entry has one of C(signal) (a name, with C(to), V(old) or V(new)), C(command) (with
            C(OLD_PID) and C(NEW_PID) in its environment) and C(until) (V(new), V(ready), V(only_new), V(old_gone), V(new_gone) or V(pidfile), with
            C(timeout)).
          - C(final) marks the step after which the old process cannot serve any more; without it, that is the last one that is no C(until).
        type: list
        elements: dict
      undo:
        description:
          - With O(service.steps), what ends the new process and lets the old one serve on. C(only_if=old_idle) limits a step to an old process
            without workers.
        type: list
        elements: dict
  running:
    description:
      - How to read back which release runs. Its status does not matter, since a drained member may well call itself not ready.
    type: dict
    suboptions:
      url:
        description:
          - A URL of the slot's service, as seen from the host. Redirects are not followed and proxies not used.
        type: str
        required: true
      header:
        description:
          - The response header that holds the digest.
        type: str
        default: x-release
      timeout:
        description:
          - Seconds after the restart within which the digest of the new release must be answered.
        type: float
        default: 30
      interval:
        description:
          - Seconds between two questions.
        type: float
        default: 0.1
      passes:
        description:
          - How many answers in a row have to have the digest, each on a connection of its own. Without it one, and five with O(service.swap).
        type: int
      proof:
        description:
          - What an answer with a status below 400 and without the header is worth. With V(needed) it is no proof. V(seen) says in addition that what ran
            before sends the header, so that such an answer is another release's, and the activation fails when it has been given for five seconds. With
            V(optional) it is enough. A swap needs the header in any case.
        type: str
        choices: [needed, seen, optional]
        default: needed
  keep:
    description:
      - How many of the newest releases (by the time they were staged or activated last) O(state=pruned) leaves. Those that are active or
        previous in any slot of the root stay in any case.
    type: int
    default: 5
  pinned:
    description:
      - Digests or labels that O(state=pruned) leaves as well.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Whether O(state=staged) also does what O(state=pruned) does, in the same call. The release that is staged stays.
    type: bool
    default: false
  restart:
    description:
      - Restart even if the slot runs the release already.
    type: bool
    default: false
  going_back:
    description:
      - Says that O(state=activated) leaves a release that failed. What is left is then not offered as V(previous) afterwards.
      - Not needed with O(release=previous), nor when the deploy with the same O(deploy_id) undoes its own move.
    type: bool
    default: false
  deploy_id:
    description:
      - The deploy that asks, for the ledger.
    type: str
  lock_timeout:
    description:
      - Seconds to wait for another run of this module that works on the same root.
    type: float
    default: 120
  run_dir:
    description:
      - Directory on the controller that takes the events of a running deploy.
    type: path
  step:
    description:
      - Name of the step in the events.
    type: str
  batch:
    description:
      - Number of the batch in the events.
    type: int
"""

EXAMPLES = r"""
- name: Bring a release to all hosts before any traffic moves
  zero.downtime.release:
    root: /srv/shop
    state: staged
    release: 2.0.0
    artifact:
      url: https://art.example/shop/2.0.0.tar.gz
      checksums: https://art.example/shop/SHA256SUMS

- name: Run it in the green slot and see that it runs
  zero.downtime.release:
    root: /srv/shop
    slot: green
    state: activated
    release: 2.0.0
    service:
      unit: shop-green.service
    running:
      url: http://127.0.0.1:8201/health

- name: Go back to what ran before
  zero.downtime.release:
    root: /srv/shop
    state: activated
    release: previous
    service:
      unit: shop.service

- name: Let a release take over from the one that serves, without a gap
  zero.downtime.release:
    root: /srv/shop
    state: activated
    release: 2.0.0
    service:
      swap: systemd_socket
      unit: shop.service
      socket: shop.socket
      overlap: shop-overlap.service
    running:
      url: http://127.0.0.1:8000/ready

- name: Leave the three newest, and what is active or previous in any slot
  zero.downtime.release:
    root: /srv/shop
    state: pruned
    keep: 3
"""

RETURN = r"""
checks:
  description: What was looked at (C(name), C(ok), null where it does not apply, C(text), and C(mend), the lines that put it right).
  returned: with O(state=examined)
  type: list
  elements: dict
  version_added: 0.2.0
release:
  description: The release that O(release) means, null if none was named and none is active.
  returned: success
  type: dict
  contains:
    label:
      description: What people call it, null if nobody said so.
      type: str
    digest:
      description: Its sha256.
      type: str
active:
  description: What the slot's link named when the call began (C(label), C(digest)), or null.
  returned: success
  type: dict
previous:
  description: What V(previous) meant for the slot when the call began (C(label), C(digest)), or null.
  returned: success
  type: dict
left:
  description: What the slot had last gone back from when the call began (C(label), C(digest)), or null where its last move was no way back.
  returned: success
  type: dict
told:
  description: By digest, the header in which each staged release has said last that it runs; those that never did are not among them.
  returned: success
  type: dict
slots:
  description: All slots of the root as the call left them.
  returned: success
  type: dict
  sample: {"current": {"active": {"label": "2.0.0", "digest": "9f86d0…"}, "previous": null, "link": "releases/9f86d0…", "settled": "activated"}}
staged:
  description: All releases staged under the root as the call left them, oldest first (C(label), C(digest), C(time) of the last use).
  returned: success
  type: list
  elements: dict
restarted:
  description: Whether the service was restarted (in check mode, would be).
  returned: success
  type: bool
running:
  description: What the service answered (C(digest), C(status), C(detail), C(waited) seconds since the restart), null if it was not asked.
  returned: success
  type: dict
swap:
  description:
    - How the release took over, as C(method), whether an unfinished swap was C(resumed), and what it cost, as C(summary).
    - C(pause_ms) is the longest time that a question at the port had to wait for an answer. It was C(asked) all the time, each time on a fresh
      connection, and C(failed) is how many questions got no answer.
  returned: when a release took over from one that served
  type: dict
  sample: {"method": "command", "resumed": false, "pause_ms": 6, "asked": 78, "failed": 0, "summary": "no errors, 6 ms pause"}
kept:
  description: The release that was to be replaced is proven to serve on, and the slot points at it.
  returned: when a swap failed
  type: bool
needed:
  description: The host lacks the release. Only for the action plugin.
  returned: with O(artifact.ask=true)
  type: bool
release_staged:
  description: Whether the release named by O(release) is staged.
  returned: with O(state=observed)
  type: bool
labels:
  description: Digests of the labels of all staged releases.
  returned: with O(state=observed)
  type: dict
leftovers:
  description: Paths that an interrupted run left behind. They are worthless, and the next staging or pruning removes them.
  returned: with O(state=observed) and O(state=pruned)
  type: list
  elements: str
pruned:
  description: The releases that were removed (C(label), C(digest)).
  returned: with O(state=pruned)
  type: list
  elements: dict
rc:
  description: How the service's command ended, null if it was killed at its time-out.
  returned: when the service did not restart or stop
  type: int
output:
  description: The last lines of the service's command.
  returned: when the service did not restart or stop
  type: str
"""

from ansible_collections.zero.downtime.plugins.module_utils._artifact import masked as _masked
from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._module import run


def main() -> None:
    run(_release.argument_spec(), _release.run, _masked.Module)


if __name__ == "__main__":
    main()
