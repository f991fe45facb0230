# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases on one host: stage, activate, stop, prune. Private to the collection."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
import typing as t
import urllib.parse

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap_options as _process_swap_options
from ansible_collections.zero.downtime.plugins.module_utils._artifact import service as _service
from ansible_collections.zero.downtime.plugins.module_utils._artifact import store as _release_store
from ansible_collections.zero.downtime.plugins.module_utils._artifact.service import ActivationError, Service
from ansible_collections.zero.downtime.plugins.module_utils._artifact.store import MARKER, Found, Release, Slot, Store
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url
from ansible_collections.zero.downtime.plugins.module_utils._health import proof as _proof

_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


if t.TYPE_CHECKING:
    from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap as _process_swap


def _swaps() -> t.Any:
    """What carries a swap out: only a service that has a way to swap pays for loading it."""
    from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap as found  # pylint: disable=import-outside-toplevel
    return found


@dataclasses.dataclass(frozen=True)
class World:
    """What tests replace: time, the network, commands."""

    now: t.Callable[[], float] = time.time
    clock: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep
    opener: _artifact.Opener = _artifact.default_opener
    run: t.Callable[..., tuple[int | None, str]] = _service.default_run
    ask: t.Callable[[str, str, float], tuple[int, str | None]] = _service.default_ask
    sync: t.Callable[[str], None] = _release_store.sync_tree
    statvfs: t.Callable[[str], os.statvfs_result] = os.statvfs
    # The real ones, where there are none.
    processes: _process_swap.Processes | None = None
    background: t.Callable[[t.Callable[..., None]], t.Callable[[], None]] | None = None


# --- the argument spec --------------------------------------------------------------------------------------------------


def artifact_spec() -> dict[str, t.Any]:
    """Options of C(artifact)."""
    return {
        "url": {"type": "str"},
        "src": {"type": "path"},
        "checksums": {"type": "str"},
        "digest": {"type": "str"},
        "remote_src": {"type": "bool", "default": False},
        "headers": {"type": "dict", "no_log": True},
        "timeout": {"type": "float", "default": 30.0},
        "deadline": {"type": "float", "default": 900.0},
        "strip_components": {"type": "int", "default": 0},
        "max_size": {"type": "int", "default": _artifact.MOST_MIB},
        "ask": {"type": "bool", "default": False},
    }


def service_spec() -> dict[str, t.Any]:
    """Options of C(service)."""
    return {
        "unit": {"type": "str"},
        "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
        "command": {"type": "raw"},
        "start": {"type": "raw"},
        "stop": {"type": "raw"},
        "status": {"type": "raw"},
        "timeout": {"type": "float", "default": 120.0},
        **_process_swap_options.spec(),
    }


def running_spec() -> dict[str, t.Any]:
    """Options of C(running)."""
    return {
        "url": {"type": "str", "required": True},
        "header": {"type": "str", "default": "x-release"},
        "timeout": {"type": "float", "default": 30.0},
        "interval": {"type": "float", "default": 0.1},
        "passes": {"type": "int", "no_log": False},
        "proof": dict(_proof.OPTION),
    }


def argument_spec() -> dict[str, t.Any]:
    """The options of the release module."""
    return {
        "root": {"type": "path", "required": True},
        "slot": {"type": "str", "default": "current"},
        "state": {"type": "str", "choices": ["staged", "activated", "stopped", "observed", "examined", "pruned"],
                  "required": True},
        "release": {"type": "str"},
        "artifact": {"type": "dict", "options": artifact_spec()},
        "service": {"type": "dict", "options": service_spec()},
        "running": {"type": "dict", "options": running_spec()},
        "keep": {"type": "int", "default": 5},
        "pinned": {"type": "list", "elements": "str", "default": []},
        "prune": {"type": "bool", "default": False},
        "restart": {"type": "bool", "default": False},
        "going_back": {"type": "bool", "default": False},
        "deploy_id": {"type": "str"},
        "lock_timeout": {"type": "float", "default": 120.0},
        # The action plugin's own, for the record of a running deploy; it does not hand them on.
        "run_dir": {"type": "path"},
        "step": {"type": "str"},
        "batch": {"type": "int"},
    }


# --- one call of the module ---------------------------------------------------------------------------------------------


def run(params: dict[str, t.Any], check_mode: bool = False, world: World | None = None) -> dict[str, t.Any]:
    """Do what the module was asked for; its result, or DowntimeError."""
    call = _Call(params, check_mode, world or World())
    try:
        with _release_store.spoken(call.store.root):
            return call.go()
    finally:
        call.store.close()


class _Call:
    def __init__(self, params: dict[str, t.Any], check_mode: bool, world: World) -> None:
        self.params, self.check_mode, self.world = params, check_mode, world
        self.state, self.slot, self.deploy_id = params["state"], params["slot"], params.get("deploy_id")
        self.artifact: dict[str, t.Any] = params.get("artifact") or {}
        root = params["root"] or ""
        if not os.path.isabs(root):
            raise DowntimeError(f"root is {root!r}; an absolute path is accepted")
        root = os.path.realpath(root)
        if os.path.exists(root) and not os.path.isdir(root):
            raise DowntimeError(f"root {root} is no directory")
        if root == "/":
            raise DowntimeError("root is /; a directory of its own is accepted")
        self.store = Store(root, params["lock_timeout"], world.now, world.clock, world.sleep)
        self.warnings: list[str] = []
        self._check()

    # --- input

    def _check(self) -> None:
        params, artifact = self.params, self.artifact
        if not _SLOT.match(self.slot) or self.slot == "releases":
            raise DowntimeError(f"slot is {self.slot!r}; letters, digits, '.', '_' and '-' are accepted (it names a link beside the directory releases)")
        release = params.get("release")
        if release is not None and not release.strip():
            raise DowntimeError("release is empty; a label (2.0.0) or a sha256 digest is accepted")
        if release is not None and (release != release.strip() or any(ord(letter) < 32 for letter in release)):
            raise DowntimeError(f"release is {release!r}; a label without surrounding blanks and control characters, or a sha256 digest is accepted")
        if self.state == "staged" and not (release or artifact.get("digest")):
            raise DowntimeError("release is missing; state staged needs a label (2.0.0) or a sha256 digest")
        if artifact.get("url") and artifact.get("src"):
            raise DowntimeError("artifact.url and artifact.src are both given; one of them is accepted")
        if artifact.get("digest") is not None and _artifact.as_digest(artifact["digest"]) is None:
            raise DowntimeError(f"artifact.digest is {artifact['digest']!r}; a sha256 of 64 hexadecimal digits is accepted")
        if artifact.get("url"):
            _artifact.check_url("artifact.url", artifact["url"])
        for name in ("timeout", "deadline"):
            if artifact and artifact.get(name, 1) <= 0:
                raise DowntimeError(f"artifact.{name} is {artifact[name]:g}; a number of seconds above 0 is accepted")
        if artifact and artifact.get("strip_components", 0) < 0:
            raise DowntimeError(f"artifact.strip_components is {artifact['strip_components']}; 0 or more is accepted")
        if artifact and artifact.get("max_size", 1) < 1:
            raise DowntimeError(f"artifact.max_size is {artifact['max_size']}; a number of MiB from 1 on is accepted")
        if params["keep"] < 0:
            raise DowntimeError(f"keep is {params['keep']}; 0 or more is accepted")
        if params["lock_timeout"] < 0:
            raise DowntimeError(f"lock_timeout is {params['lock_timeout']:g}; a number of seconds from 0 on is accepted")
        service = params.get("service")
        if service is not None:
            _process_swap_options.check_options(service)
            self.service: Service | None = Service(service, self.world.run)
        else:
            self.service = None
        running = params.get("running")
        self.swap: _process_swap.Swap | None = None
        passes = 1
        if service and service.get("swap"):
            swaps = _swaps()
            self.swap, passes = swaps.of(service, self.world.run, self.world.processes or swaps.Processes(), self._ask), swaps.PASSES
        self.passes = (running or {}).get("passes") or passes
        if self.swap and not running and self.state == "activated":
            raise DowntimeError(f"service.swap is {self.swap.method}, but running is missing: the release is read back through the port, "
                                "so running.url is needed")
        if running:
            parts = urllib.parse.urlsplit(running["url"])
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise DowntimeError(f"running.url is {shown_url(str(running['url']))!r}; an http or https URL with a host is accepted")
            if running["timeout"] <= 0 or running["interval"] <= 0:
                raise DowntimeError("running.timeout and running.interval are numbers of seconds above 0")
            if self.passes < 1:
                raise DowntimeError(f"running.passes is {self.passes}; 1 or more is accepted")
        if self.state == "stopped" and not (self.service and self.service.can_stop):
            raise DowntimeError("service is missing what stops it; state stopped needs service.unit or service.stop")

    def resolve(self, found: Found) -> Release | None:
        """The release that is meant; None when none is named. A digest known beforehand wins over what a checksum file says now."""
        wanted, artifact = self.params.get("release"), self.artifact
        pinned = _artifact.as_digest(artifact.get("digest"))
        if wanted == "previous":
            # Written for the release that a deploy names, it says nothing about the previous one, which is staged anyhow.
            self.artifact = {}
            previous = found.slot(self.slot).previous
            if previous is None:
                raise DowntimeError(self._none_before(found))
            return found.release(previous)
        digest = _artifact.as_digest(wanted)
        if digest and pinned and digest != pinned:
            raise DowntimeError(f"release is {digest}, but artifact.digest is {pinned}; they name different releases")
        if digest or (pinned and not wanted):
            return self._with_label(found, t.cast(str, digest or pinned), wanted)
        if pinned:
            return Release(pinned, wanted)
        if wanted and artifact.get("checksums"):
            entries = self._checksums()
            digest = _artifact.digest_of_label(entries, wanted, artifact.get("url") or artifact.get("src"), artifact["checksums"])
            before = found.digest_of.get(wanted)
            if before and before != digest:
                self.warnings.append(f"the label {wanted} stood for {before} here; {shown_url(artifact['checksums'])} now gives it to {digest}")
            return Release(digest, wanted)
        if wanted:
            digest = found.digest_of.get(wanted)
            if digest in found.staged or (digest and self.state == "observed"):
                return Release(t.cast(str, digest), wanted)
            more = " (it was staged once and pruned since; stage it again)" if digest else ""
            need = "; artifact.checksums or artifact.digest would tell its digest" if self.state == "staged" else ""
            raise DowntimeError(f"release {wanted} is unknown{more}: staged under {self.store.root} are {found.known()}{need}")
        return None

    def _none_before(self, found: Found) -> str:
        slot = found.slot(self.slot)
        active, left = found.release(slot.active), found.release(slot.left)
        runs = f"runs {active}, and has run none before it" + (f" but {left}, which it has gone back from" if left else "") if active else "runs none"
        return f"release previous is unknown: slot {self.slot} of {self.store.root} {runs}; staged are {found.known()}"

    def _with_label(self, found: Found, digest: str, given: str | None) -> Release:
        """A release named by digest. Where the artifact's place is written with the release's name, the checksum file puts the label there."""
        label = found.label_of.get(digest)
        key = next((key for key in ("url", "src") if self.artifact.get(key)), None)
        if key and given and given in self.artifact[key] and self.artifact.get("checksums") and not self.store.is_staged(digest):
            place, named = _artifact.place_for_digest(self._checksums(), digest, given, self.artifact[key])
            self.artifact = dict(self.artifact, **{key: place})
            label = named or label
        return Release(digest, label)

    def _checksums(self) -> list[tuple[str, str]]:
        place = self.artifact["checksums"]
        text = _artifact.read_text("artifact.checksums", place, self.artifact.get("headers"), self.artifact.get("timeout", 30.0), self.world.opener)
        return _artifact.parse_checksums(text, place)

    # --- the states

    def go(self) -> dict[str, t.Any]:
        result = getattr(self, "_" + self.state)()
        result["warnings"] = self.warnings
        return result

    def _result(self, before: Found, release: Release | None, changed: bool, **more: t.Any) -> dict[str, t.Any]:
        """What every state returns; C(active), C(previous) and C(left) are as found, C(slots) as left."""
        after = before if self.check_mode or not changed else self.store.read()
        self.warnings += [text for text in after.warnings if text not in self.warnings]
        slot = before.slot(self.slot)
        result = {
            "changed": changed,
            "release": release.as_dict() if release else None,
            "active": _dict(before.release(slot.active)),
            "previous": _dict(before.release(slot.previous)),
            "left": _dict(before.release(slot.left)),
            "slots": {name: {"active": _dict(after.release(one.active)), "previous": _dict(after.release(one.previous)), "link": one.link,
                             "settled": one.settled} for name, one in after.slots.items()},
            "staged": [dict(after.release(digest).as_dict(), time=after.seen[digest])  # type: ignore[union-attr]
                       for digest in sorted(after.staged, key=lambda digest: after.seen[digest])],
            # As found, of releases that are here.
            "told": {digest: before.told[digest] for digest in before.staged if digest in before.told},
            "restarted": False,
            "running": None,
        }
        result.update(more)
        return result

    def _observed(self) -> dict[str, t.Any]:
        found = self.store.read()
        release = self.resolve(found)
        labels = {label: digest for label, digest in found.digest_of.items() if digest in found.staged}
        running = None
        if self.params.get("running"):
            running = self._read_running()
        return self._result(found, release, False, labels=labels, leftovers=found.leftovers, running=running,
                            release_staged=bool(release and release.digest in found.staged))

    def _examined(self) -> dict[str, t.Any]:
        """What stands in a release's way, without one. A root that cannot be read says so as all states do."""
        # Deploys have no use for it.
        from ansible_collections.zero.downtime.plugins.module_utils._artifact import preflight as _preflight  # pylint: disable=import-outside-toplevel

        found = self.store.read()
        slot = found.slot(self.slot)
        checks = _preflight.of_root(self.store, self.world.statvfs)
        if self.service:
            swap, running = self.swap, self.params.get("running")
            refuse = (lambda: swap.refuse(self._read_running(), running["url"])) if swap and running else None
            checks.append(_preflight.of_service(self.service, self.store.root, slot.active is not None, refuse))
        return self._result(found, found.release(slot.active), False, checks=checks, leftovers=found.leftovers)

    def _staged(self) -> dict[str, t.Any]:
        found = self.store.read()
        release = t.cast(Release, self.resolve(found))
        done = self._stage(found, release)
        diff = {"before": {"staged": _listing(found)}, "after": {"staged": sorted(set(_listing(found)) | {str(release)})}}
        if done == "needed":
            return self._result(found, release, True, needed=True, diff=diff)
        result = self._result(found, release, done is not None, diff=diff if done == "staged" else {"before": {}, "after": {}})
        if self.params["prune"]:
            # What has just been asked for is about to be activated, however long ago it came here.
            pruned = self._prune({release.digest})
            result.update(changed=result["changed"] or pruned["changed"], pruned=pruned["pruned"], leftovers=pruned["leftovers"])
        return result

    def _stage(self, found: Found, release: Release) -> str | None:
        """Bring a release here unless it is here; what was done: C(staged), C(labelled), C(needed) (by the action plugin) or None."""
        if release.digest in found.staged:
            if not release.label or found.digest_of.get(release.label) == release.digest:
                return None
            if not self.check_mode:
                with self.store.lock("root"):
                    self.store.note("labelled", release, self.deploy_id)
            return "labelled"
        place = self.artifact.get("url") or self.artifact.get("src")
        if self.artifact.get("ask"):
            if self.check_mode:
                self.store.usable()
            return "needed"
        if not place:
            raise DowntimeError(f"release {release} is not staged under {self.store.root} and artifact names no url or src to get it from; "
                                f"staged are {found.known()}")
        headers, timeout = self.artifact.get("headers"), self.artifact.get("timeout", 30.0)
        if self.check_mode:
            self.store.usable()
            _artifact.probe(place, headers, timeout, self.world.opener)
            return "staged"
        self.store.prepare()
        with self.store.lock("stage"):
            self.store.clean()
            if self.store.is_staged(release.digest):
                # Another process staged it while we waited for the lock.
                return "staged"
            self._bring(release, place, headers, timeout)
        return "staged"

    def _bring(self, release: Release, place: str, headers: t.Mapping[str, str] | None, timeout: float) -> None:
        store = self.store
        archive, tree = store.at(os.path.join(store.tmp, release.digest + ".part")), store.at(os.path.join(store.tmp, release.digest))
        try:
            size = _artifact.fetch(place, archive, release.digest, headers, timeout, self.artifact.get("deadline", 900.0), self.world.opener,
                                   self.world.clock)
            try:
                files = _artifact.unpack(archive, tree, self.artifact.get("strip_components", 0), reserved=(MARKER,),
                                         most_mib=self.artifact.get("max_size", _artifact.MOST_MIB))
            except DowntimeError as error:
                raise DowntimeError(f"release {release}: {error}; nothing of it was kept") from error
            os.unlink(archive)
            marker = os.path.join(tree, MARKER)
            with open(marker, "w", encoding="utf-8") as handle:
                json.dump({"digest": release.digest, "label": release.label, "files": files, "bytes": size}, handle)
            os.chmod(marker, 0o644)
            # Everything is on disk before the rename makes it a release: after a power cut it is whole or not there.
            self.world.sync(tree)
            with store.lock("root"):
                final = store.at(store.path(release.digest))
                if os.path.lexists(final):
                    self._displace(store.path(release.digest), release)
                os.rename(tree, final)
                _durable.sync_directory(store.at(store.releases))
                store.note("staged", release, self.deploy_id, bytes=size)
        except BaseException:
            store.clean()
            raise

    def _displace(self, path: str, release: Release) -> None:
        """A directory with a release's name that is none: made by hand or half deleted."""
        used = [slot.name for slot in self.store.read().slots.values() if slot.active == release.digest]
        if used:
            raise DowntimeError(f"{path} was not staged by this module (it has no {MARKER}) and slot {', '.join(used)} points at it; "
                                "activate another release first")
        aside = self.store.at(os.path.join(self.store.tmp, "displaced-" + release.digest))
        os.rename(self.store.at(path), aside)
        _release_store.remove(aside)

    def _activated(self) -> dict[str, t.Any]:
        found = self.store.read()
        release = self.resolve(found)
        if release is None:
            active = found.slot(self.slot).active
            if active is None:
                raise DowntimeError(f"release is missing and slot {self.slot} of {self.store.root} runs none; a label or a sha256 digest is needed; "
                                    f"staged are {found.known()}")
            release = t.cast(Release, found.release(active))
        staged_now = None
        if release.digest not in found.staged:
            if not (self.artifact.get("url") or self.artifact.get("src") or self.artifact.get("ask")):
                raise DowntimeError(f"release {release} is not staged under {self.store.root}; staged are {found.known()}")
            staged_now = self._stage(found, release)
            if staged_now == "needed":
                return self._result(found, release, True, needed=True, diff=self._move(found, release))
        if self.check_mode:
            return self._activate(found, release, staged_now is not None)
        self.store.prepare()
        with self.store.lock("slot-" + self.slot):
            return self._activate(self.store.read(), release, staged_now is not None)

    def _activate(self, found: Found, release: Release, changed: bool) -> dict[str, t.Any]:
        slot = found.slot(self.slot)
        place = os.path.join(self.store.root, self.slot)
        if os.path.lexists(place) and not os.path.islink(place):
            raise DowntimeError(f"slot {self.slot}: {place} is no link but a {'directory' if os.path.isdir(place) else 'file'} that this module did not make; "
                                "move it away first")
        move = slot.active != release.digest
        if move and slot.link is not None and slot.active is None:
            self.warnings.append(f"slot {self.slot} pointed at {slot.link}, which is no release of {self.store.root}: this module cannot go back to it")
        reason = None
        running = None
        if move:
            reason = "switch"
        elif self.params["restart"]:
            reason = "restart"
        else:
            reason, running = self._wrong(slot, release)
        if reason is None and not changed:
            return self._result(found, release, False, running=running, diff={"before": {}, "after": {}})
        diff = self._move(found, release)
        swap = self._swappable(slot) if reason else None
        if self.check_mode:
            self.store.usable()
            return self._result(found, release, True, restarted=bool(reason and self.service), diff=diff)
        if reason is None:
            return self._result(found, release, True, running=running, diff=diff)
        if swap:
            return self._swapped(swap, found, release, diff)
        # What the service did before decides whether it has to be stopped; the switch itself is noted below.
        # None: an activation that did not end well may or may not have left something running.
        was_up = {"activated": True, "stopped": False}.get(slot.settled or "", None if slot.link else False)
        apart = bool(self.service and self.service.apart)
        # What can be swapped and does not run has nothing to stop.
        if apart and not self.swap:
            # A worker at its last job may still open files by the slot's link: it leads to the new release only when that one has ended.
            self._halt(found, slot, was_up)
        if move:
            self._link(slot.active, release, self._goes_back())
        # Whoever reads this reads it after the way back, when it is so no more.
        stands = f"slot {self.slot} pointed at {release} by then" + (f", before at {found.release(slot.active)}" if move and slot.active else "")
        if not move:
            stands = f"slot {self.slot} pointed at {release} as before"
        if self.service and apart:
            self.service.start(self.store.root, self.slot, release, stands)
        elif self.service:
            self.service.restart(self.store.root, self.slot, release, stands)
        if self.params.get("running"):
            running = self._read_back(release, stands)
        with self.store.lock("root"):
            self.store.note("activated", release, self.deploy_id, slot=self.slot, told=self._told(running, release))
        return self._result(found, release, True, restarted=self.service is not None, running=running, diff=diff)

    def _link(self, before: str | None, release: Release, back: bool, serves: str | None = None) -> None:
        """Let the slot's link name a release. C(serves) is what runs meanwhile, where a swap comes next: whoever finds it unfinished has to know."""
        with self.store.lock("root"):
            if not self.store.is_staged(release.digest):
                raise DowntimeError(f"release {release} was pruned meanwhile; stage it again")
            self.store.link(self.slot, release.digest)
            # After the rename: the link is the truth, and a line without its move would name the wrong previous release.
            self.store.note("switched", release, self.deploy_id, slot=self.slot, **{"from": before, "back": back or None, "serves": serves})

    # --- swapping

    def _swappable(self, slot: Slot) -> _process_swap.Swap | None:
        """The swap, where something serves that can be swapped; None where the service is just started. DowntimeError where it must not be."""
        if not self.swap:
            return None
        self.swap.refuse(self._read_running(), shown_url(self.params["running"]["url"]))
        if not self.swap.is_up():
            return None
        if slot.settled == "activated" and self.swap.leftover():
            busy = self.swap.busy()
            if busy:
                raise DowntimeError(busy)
        return self.swap

    def _swapped(self, swap: _process_swap.Swap, found: Found, release: Release, diff: dict[str, t.Any]) -> dict[str, t.Any]:
        """Let the new release take over from the one that serves, or leave that one to serve and the link on it."""
        running, slot = self.params["running"], found.slot(self.slot)
        swaps = _swaps()
        port = swaps.Port(self._read_running, shown_url(running["url"]), self.passes, running["timeout"], running["interval"],
                          self.world.clock, self.world.sleep)
        watch = swaps.Watch(lambda: self.world.ask(running["url"], running["header"], running["timeout"]), self.world.clock, self.world.sleep)
        active = slot.active
        unfinished = slot.settled != "activated" and swap.leftover()
        # A swap that has not come to its end left the link on what it was for; what it was to replace may still run.
        serves = active if slot.settled else found.last.get(self.slot, {}).get("serves") or (None if unfinished else active)
        end = (self.world.background or swaps.in_background)(watch.run)
        try:
            if unfinished and active != release.digest and serves:
                # It was on its way to another release. That one goes first, and the old process has to find its own release behind the link.
                kept = t.cast(Release, found.release(serves))
                self._link(active, kept, True, serves)
                problems = swap.undo(self._job(kept, port))
                if problems:
                    raise ActivationError(f"what an unfinished swap left cannot be ended: {'; '.join(problems)}; slot {self.slot} points at {kept}")
                active = serves
            port.begin()
            if active != release.digest:
                self._link(active, release, self._goes_back(), serves)
            else:
                with self.store.lock("root"):
                    self.store.note("swapping", release, self.deploy_id, slot=self.slot, serves=serves)
            if self.params["restart"] or swap.leftover() or not self._there(port, release):
                self._take_over(swap, release, found.release(serves), unfinished and slot.active == release.digest, port)
            answer = self._read_back(release, f"slot {self.slot} pointed at {release} by then")
        finally:
            end()
        told = watch.told()
        cost = swap.cost(told["summary"])
        self.warnings += swap.warnings + ([cost] if cost else [])
        with self.store.lock("root"):
            self.store.note("activated", release, self.deploy_id, slot=self.slot, told=self._told(answer, release))
        return self._result(found, release, True, restarted=True, running=answer, diff=diff,
                            swap={"method": swap.method, "resumed": unfinished, **told})

    def _job(self, release: Release, port: _process_swap.Port) -> _process_swap.Job:
        return _swaps().Job(release.digest, port, _service.environment(self.store.root, self.slot, release), self.store.root)

    def _there(self, port: _process_swap.Port, release: Release) -> bool:
        """Whether an unfinished swap had come to its end all the same, or was undone."""
        return port.shows(self._read_running(), release.digest) and port.settled(release.digest) is None

    def _take_over(self, swap: _process_swap.Swap, release: Release, before: Release | None, resume: bool, port: _process_swap.Port) -> None:
        try:
            swap.go(self._job(release, port), resume)
            return
        except (_swaps().Failed, DowntimeError) as failure:
            text, details = f"release {release} did not take over: {failure}", getattr(failure, "details", {})
        if swap.final or before is None:
            raise ActivationError(f"{text}; slot {self.slot} pointed at {release} by then", **details)
        if before.digest != release.digest:
            # Before the processes: one that brings its workers back loads what the link names.
            self._link(release.digest, before, True, before.digest)
        problems = swap.undo(self._job(before, port))
        if not problems:
            last = port.settled(before.digest)
            problems = [] if last is None else [f"{port.url} answered {last!r} last"]
        if problems:
            raise ActivationError(f"{text}; slot {self.slot} points at {before} again, but that it serves is not proven: {'; '.join(problems)}", **details)
        with self.store.lock("root"):
            self.store.note("activated", before, self.deploy_id, slot=self.slot)
        raise ActivationError(f"{text}; release {before} goes on serving, and slot {self.slot} points at it", kept=True, **details)

    # --- starting and stopping

    def _halt(self, found: Found, slot: Slot, was_up: bool | None) -> None:
        service, old = t.cast(Service, self.service), found.release(slot.active)
        self.warnings += service.halt(self.store.root, self.slot, old, was_up, f"slot {self.slot} still points at {old or 'no release'}")
        if old and slot.settled != "stopped":
            # Should this end here, the next run knows that the release has to be started, whatever the link says.
            with self.store.lock("root"):
                self.store.note("stopped", old, self.deploy_id, slot=self.slot)

    def _goes_back(self) -> bool:
        return self.params["going_back"] or self.params.get("release") == "previous"

    def _wrong(self, slot: Slot, release: Release) -> tuple[str | None, dict[str, t.Any] | None]:
        """Why a slot whose link is right needs a restart all the same, and what runs there."""
        if slot.settled != "activated":
            return "stopped" if slot.settled == "stopped" else "unfinished", None
        if self._up() is False:
            return "down", None
        if self.params.get("running"):
            running = self._read_running()
            if running["digest"] != release.digest and not self._enough(running):
                return "other", running
            return None, running
        return None, None

    def _up(self) -> bool | None:
        if self.swap:
            return self.swap.is_up()
        return self.service.is_up() if self.service else None

    def _move(self, found: Found, release: Release) -> dict[str, t.Any]:
        before = found.release(found.slot(self.slot).active)
        return {"before": {self.slot: str(before) if before else None}, "after": {self.slot: str(release)}}

    def _read_running(self) -> dict[str, t.Any]:
        """What the service says it runs, asked once."""
        return self._ask(self.params["running"]["url"])

    def _ask(self, url: str) -> dict[str, t.Any]:
        running = self.params["running"]
        try:
            status, value = self.world.ask(url, running["header"], min(5.0, running["timeout"]))
        except Exception as error:  # pylint: disable=broad-except
            # urllib lets OSError, HTTPException and ValueError of many kinds through; all mean "no answer", and the text is handed on.
            return {"digest": None, "status": None, "bare": False, "detail": str(getattr(error, "reason", None) or error) or type(error).__name__}
        digest = _artifact.as_digest((value or "").strip())
        detail = f"status {status}, {running['header']}: {value}" if value else f"status {status} without the header {running['header']}"
        return {"digest": digest, "status": status, "bare": not value and status < 400, "detail": detail}

    def _told(self, answer: t.Mapping[str, t.Any] | None, release: Release) -> str | None:
        """The header in which a release has said that it runs, if it did: a rollback to it may ask for that again."""
        return str(self.params["running"]["header"]).lower() if answer and answer["digest"] == release.digest else None

    def _enough(self, answer: t.Mapping[str, t.Any]) -> bool:
        """Whether readiness alone is accepted, and given."""
        return answer["bare"] and self.params["running"]["proof"] == _proof.OPTIONAL

    def _read_back(self, release: Release, stands: str) -> dict[str, t.Any]:
        running = self.params["running"]
        start = self.world.clock()
        row = 0
        bare: float | None = None
        while True:
            answer = self._read_running()
            waited = self.world.clock() - start
            row = row + 1 if answer["digest"] == release.digest or self._enough(answer) else 0
            bare = (waited if bare is None else bare) if answer["bare"] else None
            if row >= self.passes:
                return dict(answer, waited=round(waited, 3))
            late = bare is not None and running["proof"] == _proof.SEEN and waited - bare >= _proof.AFTER
            if bare is not None and (late or waited >= running["timeout"]):
                raise ActivationError(f"release {release} is not proven to run: {shown_url(running['url'])} answers with status {answer['status']}, "
                                      f"{_proof.without(running['header'])}; {stands}", running=answer)
            if waited >= running["timeout"]:
                raise ActivationError(f"release {release} does not run: {shown_url(running['url'])} answered {answer['detail']!r} last, "
                                      f"{running['timeout']:g} s after the restart (running.timeout); {stands}", running=answer)
            self.world.sleep(running["interval"])

    def _stopped(self) -> dict[str, t.Any]:
        service = t.cast(Service, self.service)
        found = self.store.read()
        slot = found.slot(self.slot)
        release = found.release(slot.active)
        up = self._up()
        if up is False or (up is None and slot.settled == "stopped"):
            return self._result(found, release, False, diff={"before": {}, "after": {}})
        diff = {"before": {self.slot: "running"}, "after": {self.slot: "stopped"}}
        if self.check_mode:
            return self._result(found, release, True, diff=diff)
        self.store.prepare()
        with self.store.lock("slot-" + self.slot):
            now = self.store.read().slot(self.slot)
            if now.active == slot.active and now.settled == "stopped" != slot.settled:
                # By one that was at it already, such as what a killed controller left.
                return self._result(found, release, False, diff={"before": {}, "after": {}})
            if (now.active, now.settled) != (slot.active, slot.settled):
                raise DowntimeError(f"slot {self.slot} of {self.store.root} was activated by somebody else meanwhile; nothing was stopped")
            service.stop(self.store.root, self.slot, release)
            with self.store.lock("root"):
                self.store.note("stopped", release, self.deploy_id, slot=self.slot)
        return self._result(found, release, True, diff=diff)

    def _pruned(self) -> dict[str, t.Any]:
        return self._prune(set())

    def _prune(self, needed: set[str]) -> dict[str, t.Any]:
        found = self.store.read()
        pinned = needed | {self._pin(found, text) for text in self.params["pinned"]}
        doomed = self._doomed(found, pinned)
        if self.check_mode or not (doomed or found.leftovers):
            return self._result(found, None, bool(doomed or found.leftovers), pruned=[t.cast(Release, found.release(one)).as_dict() for one in doomed],
                                leftovers=found.leftovers, diff=_pruning(found, doomed))
        self.store.prepare()
        with self.store.lock("stage"):
            with self.store.lock("root"):
                # Decided again under the lock: an activation may have come in between.
                found = self.store.read()
                doomed = self._doomed(found, pinned)
                for digest in doomed:
                    # Renamed away first: a release is never there by half.
                    os.rename(self.store.at(self.store.path(digest)), self.store.at(os.path.join(self.store.tmp, "pruned-" + digest)))
                    self.store.note("pruned", found.release(digest), self.deploy_id)
                for path in found.leftovers:
                    if os.path.dirname(path) == self.store.releases:
                        os.rename(self.store.at(path), self.store.at(os.path.join(self.store.tmp, "leftover-" + os.path.basename(path))))
                _durable.sync_directory(self.store.at(self.store.releases))
            self.store.clean()
        return self._result(found, None, True, pruned=[t.cast(Release, found.release(one)).as_dict() for one in doomed], leftovers=found.leftovers,
                            diff=_pruning(found, doomed))

    def _pin(self, found: Found, text: str) -> str:
        digest = _artifact.as_digest(text) or found.digest_of.get(text)
        if digest is None:
            raise DowntimeError(f"pinned holds {text!r}; sha256 digests and labels known under {self.store.root} are accepted ({found.known()})")
        return digest

    def _doomed(self, found: Found, pinned: t.Collection[str]) -> list[str]:
        """Releases to remove: not among the newest, and not active, previous or pinned in any slot of the root."""
        newest = sorted(found.staged, key=lambda digest: (found.seen[digest], digest), reverse=True)
        safe = set(newest[:self.params["keep"]]) | set(pinned)
        for slot in found.slots.values():
            safe |= {digest for digest in (slot.active, slot.previous) if digest}
        return [digest for digest in reversed(newest) if digest not in safe]


def _dict(release: Release | None) -> dict[str, t.Any] | None:
    return release.as_dict() if release else None


def _listing(found: Found) -> list[str]:
    return sorted(str(found.release(digest)) for digest in found.staged)


def _pruning(found: Found, doomed: t.Collection[str]) -> dict[str, t.Any]:
    return {"before": {"staged": _listing(found), "leftovers": found.leftovers},
            "after": {"staged": sorted(str(found.release(digest)) for digest in found.staged if digest not in doomed), "leftovers": []}}
