# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases on one host: stage, activate, stop, prune. Private to the collection.

Layout below the root::

    releases/<sha256>/              one unpacked release, complete by construction: it arrives by one rename(2)
    releases/<sha256>/.release.json its digest and label, part of that rename
    <slot> -> releases/<sha256>     the truth about which release a slot runs
    .releases/ledger.jsonl          what happened, one fsynced line each; previous releases and labels come from it
    .releases/tmp/                  work in progress, worthless after a crash
    .releases/*.lock                flock(2): C(stage) for tmp/, C(slot-NAME) for one activation at a time, C(root) for links, ledger, pruning
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import grp
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request

from ansible_collections.zero.downtime.plugins.module_utils import _artifact
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

MARKER = ".release.json"
_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_OUTPUT_LINES = 12


class ActivationError(DowntimeError):
    """A service that did not come (or go) as asked; C(details) are handed to the user beside the sentence."""

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.details = details


@dataclasses.dataclass(frozen=True)
class Release:
    """A release: its digest, and the label that people call it by where one is known."""

    digest: str
    label: str | None = None

    def __str__(self) -> str:
        return f"{self.label} ({self.digest[:12]})" if self.label else self.digest[:12]

    def as_dict(self) -> dict[str, t.Any]:
        return {"label": self.label, "digest": self.digest}


def _default_run(argv: t.Sequence[str], timeout: float, env: t.Mapping[str, str] | None = None, cwd: str | None = None) -> tuple[int | None, str]:
    """Run a command; C((rc, output)), rc None when it was stopped at its time-out.

    The output goes to a file, not a pipe: a daemon that the command starts keeps it open and would make reading a pipe wait for the daemon's end.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                                       env=dict(os.environ, **(env or {})), cwd=cwd)
        except OSError as error:
            raise DowntimeError(f"the command {argv[0]} cannot be run: {error.strerror or error}") from error
        rc: int | None
        try:
            rc = process.wait(timeout)
        except subprocess.TimeoutExpired:
            rc = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0, os.SEEK_END)
        output.seek(max(0, output.tell() - 8192))
        return rc, output.read().decode("utf-8", "replace")


class _Refused(urllib.request.HTTPRedirectHandler):
    """The running release is read from the service itself, not from where it redirects."""

    def redirect_request(self, *args: t.Any, **kwargs: t.Any) -> None:
        return None


def _default_ask(url: str, header: str, timeout: float) -> tuple[int, str | None]:
    """C((status, header's value)) of one GET; OSError and the like when there is no answer."""
    # Without proxies: this is the service on this very host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Refused)
    request = urllib.request.Request(url, headers={"Connection": "close", "User-agent": "zero.downtime"})
    try:
        with opener.open(request, timeout=timeout) as response:
            return response.status, response.headers.get(header)
    except urllib.error.HTTPError as error:
        # A member whose readiness is 503 still says which release it runs.
        with error:
            return error.code, error.headers.get(header)


def sync_tree(path: str) -> None:
    """Bring a whole tree to disk: one syncfs(2) instead of an fsync for each of thousands of files."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        except (OSError, AttributeError):
            os.sync()
            return
        if syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(handle)


@dataclasses.dataclass(frozen=True)
class World:
    """What tests replace: time, the network, commands."""

    now: t.Callable[[], float] = time.time
    clock: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep
    opener: _artifact.Opener = _artifact.default_opener
    run: t.Callable[..., tuple[int | None, str]] = _default_run
    ask: t.Callable[[str, str, float], tuple[int, str | None]] = _default_ask
    sync: t.Callable[[str], None] = sync_tree


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
    }


def running_spec() -> dict[str, t.Any]:
    """Options of C(running)."""
    return {
        "url": {"type": "str", "required": True},
        "header": {"type": "str", "default": "x-release"},
        "timeout": {"type": "float", "default": 30.0},
        "interval": {"type": "float", "default": 0.1},
    }


def argument_spec() -> dict[str, t.Any]:
    """The options of the release module."""
    return {
        "root": {"type": "path", "required": True},
        "slot": {"type": "str", "default": "current"},
        "state": {"type": "str", "choices": ["staged", "activated", "stopped", "observed", "pruned"], "required": True},
        "release": {"type": "str"},
        "artifact": {"type": "dict", "options": artifact_spec()},
        "service": {"type": "dict", "options": service_spec()},
        "running": {"type": "dict", "options": running_spec()},
        "keep": {"type": "int", "default": 5},
        "pinned": {"type": "list", "elements": "str", "default": []},
        "restart": {"type": "bool", "default": False},
        "going_back": {"type": "bool", "default": False},
        "deploy_id": {"type": "str"},
        "lock_timeout": {"type": "float", "default": 120.0},
    }


# --- what a root holds --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Slot:
    """One slot as found."""

    name: str
    link: str | None = None
    active: str | None = None
    previous: str | None = None
    # The last thing that completed: activated or stopped; None while an activation has not come to its end.
    settled: str | None = None


@dataclasses.dataclass
class Found:
    """A root as found at one moment."""

    staged: dict[str, float]
    slots: dict[str, Slot]
    label_of: dict[str, str]
    digest_of: dict[str, str]
    seen: dict[str, float]
    last: dict[str, dict[str, t.Any]]
    leftovers: list[str]
    warnings: list[str]

    def release(self, digest: str | None) -> Release | None:
        return Release(digest, self.label_of.get(digest)) if digest else None

    def slot(self, name: str) -> Slot:
        return self.slots.get(name) or Slot(name)

    def known(self) -> str:
        """The staged releases, for a sentence."""
        names = [str(self.release(digest)) for digest in sorted(self.staged, key=lambda digest: self.seen.get(digest, 0))]
        return _artifact.listed(names)


class Store:
    """The directory tree of one root."""

    def __init__(self, root: str, world: World, lock_timeout: float) -> None:
        self.root, self.world, self.lock_timeout = root, world, lock_timeout
        self.releases = os.path.join(root, "releases")
        self.state = os.path.join(root, ".releases")
        self.tmp = os.path.join(self.state, "tmp")
        self.ledger = os.path.join(self.state, "ledger.jsonl")

    def prepare(self) -> None:
        """Make the directories, with modes that do not depend on the umask."""
        missing = self.root
        made = []
        while not os.path.isdir(missing) and missing != "/":
            made.append(missing)
            missing = os.path.dirname(missing)
        for path in list(reversed(made)) + [self.releases, self.state]:
            self._mkdir(path, 0o755)
        # Half-unpacked trees and downloads are nobody else's business.
        self._mkdir(self.tmp, 0o700)

    def _mkdir(self, path: str, mode: int) -> None:
        try:
            os.mkdir(path, mode)
            os.chmod(path, mode)
        except FileExistsError:
            if not os.path.isdir(path):
                raise DowntimeError(f"root {self.root}: {path} is in the way, a directory is needed there") from None

    def path(self, digest: str) -> str:
        return os.path.join(self.releases, digest)

    def is_staged(self, digest: str) -> bool:
        return os.path.isfile(os.path.join(self.releases, digest, MARKER))

    @contextlib.contextmanager
    def lock(self, name: str) -> t.Iterator[None]:
        """Hold one of the root's locks; it ends with the process, however that ends."""
        path = os.path.join(self.state, name + ".lock")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            end = self.world.clock() + self.lock_timeout
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                if self.world.clock() >= end:
                    holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
                    raise DowntimeError(f"root {self.root} is busy: {holder} has held the lock {path} for longer than {self.lock_timeout:g} s (lock_timeout)")
                self.world.sleep(0.05)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
            yield
        finally:
            os.close(handle)

    # --- reading

    def read(self) -> Found:
        """Look at everything once. Changes nothing; a root that does not exist holds nothing."""
        warnings: list[str] = []
        events = self._events(warnings)
        staged: dict[str, float] = {}
        label_of: dict[str, str] = {}
        for name in _names(self.releases):
            marker = os.path.join(self.releases, name, MARKER)
            if not _HEX.match(name):
                continue
            try:
                staged[name] = os.stat(marker).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                continue
        seen = dict(staged)
        digest_of: dict[str, str] = {}
        last: dict[str, dict[str, t.Any]] = {}
        by_slot: dict[str, list[dict[str, t.Any]]] = {}
        for event in events:
            digest, label, what = event.get("digest"), event.get("label"), event.get("event")
            if digest and label:
                label_of[digest], digest_of[label] = label, digest
            if digest and what in ("staged", "switched", "activated"):
                seen[digest] = max(seen.get(digest, 0), event.get("time", 0))
            if event.get("slot"):
                by_slot.setdefault(event["slot"], []).append(event)
        for digest in staged:
            if digest not in label_of:
                # The ledger was lost or comes from elsewhere: the release itself still knows.
                label = self._marker(digest).get("label")
                if label:
                    label_of[digest] = label
                    digest_of.setdefault(label, digest)
        slots = {}
        for name in sorted(set(by_slot) | {name for name in _names(self.root) if os.path.islink(os.path.join(self.root, name))}):
            slot = slots[name] = self._slot(name, by_slot.get(name, []))
            for event in by_slot.get(name, []):
                if event["event"] in ("activated", "stopped", "switched"):
                    last[name] = event
            if name in last and last[name]["event"] != "switched" and last[name].get("digest") == slot.active:
                slot.settled = last[name]["event"]
        leftovers = [os.path.join(self.tmp, name) for name in _names(self.tmp)]
        # A directory with a release's name and no marker: made by hand, or a copy of a root that was interrupted.
        linked = {slot.active for slot in slots.values()}
        leftovers += [self.path(name) for name in _names(self.releases) if _HEX.match(name) and name not in staged and name not in linked]
        return Found(staged, slots, label_of, digest_of, seen, last, sorted(leftovers), warnings)

    def _slot(self, name: str, events: list[dict[str, t.Any]]) -> Slot:
        slot = Slot(name)
        try:
            slot.link = os.readlink(os.path.join(self.root, name))
        except (FileNotFoundError, OSError):
            slot.link = None
        if slot.link is not None:
            head, tail = os.path.split(os.path.normpath(os.path.join(self.root, slot.link)))
            if head == self.releases and _HEX.match(tail):
                slot.active = tail
        stack = history(events)
        while stack and stack[-1] == slot.active:
            stack.pop()
        slot.previous = stack[-1] if stack else None
        return slot

    def _marker(self, digest: str) -> dict[str, t.Any]:
        try:
            with open(os.path.join(self.releases, digest, MARKER), encoding="utf-8") as handle:
                content = json.load(handle)
        except (OSError, ValueError):
            # Written by rename together with the release; who damages it afterwards loses the label, nothing else.
            return {}
        return content if isinstance(content, dict) else {}

    def _events(self, warnings: list[str]) -> list[dict[str, t.Any]]:
        try:
            with open(self.ledger, "rb") as handle:
                lines = handle.read().split(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return []
        events = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
                if not isinstance(event, dict) or "event" not in event:
                    raise ValueError("no event")
                events.append(event)
            except ValueError:
                # A crash while appending tears a line; the link is the truth, so the ledger may lack one.
                warnings.append(f"{self.ledger} line {number} is no event (torn by a crash?) and was passed over")
        return events

    # --- writing

    def note(self, event: str, release: Release | None, deploy_id: str | None, **more: t.Any) -> None:
        """Append one line to the ledger and wait until it is on disk."""
        entry: dict[str, t.Any] = {"time": round(self.world.now(), 3), "event": event}
        if release:
            entry["digest"] = release.digest
            if release.label:
                entry["label"] = release.label
        if deploy_id:
            entry["deploy_id"] = deploy_id
        entry.update({key: value for key, value in more.items() if value is not None})
        new = not os.path.exists(self.ledger)
        handle = os.open(self.ledger, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size and os.pread(handle, 1, size - 1) != b"\n"
            data = (b"\n" if torn else b"") + (json.dumps(entry, sort_keys=True) + "\n").encode()
            if os.write(handle, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.ledger)
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            os.chmod(self.ledger, 0o644)
            fsync_directory(self.state)

    def clean(self) -> None:
        """Remove work that a crash left behind; only under the lock C(stage), whose holder alone works in tmp/."""
        for name in _names(self.tmp):
            remove(os.path.join(self.tmp, name))

    def link(self, slot: str, digest: str) -> None:
        """Let a slot's link name a release: symlink beside it, rename(2) over it. No reader ever finds it missing."""
        fresh = os.path.join(self.state, f"link-{slot}")
        # rename(2) keeps the text of a link, so it may be made in another directory of the same file system.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        os.symlink(os.path.join("releases", digest), fresh)
        os.rename(fresh, os.path.join(self.root, slot))
        fsync_directory(self.root)


def history(events: t.Iterable[dict[str, t.Any]]) -> list[str]:
    """What a slot ran, oldest first, without what was gone back from.

    The last entry is the active release, the one before it is what C(previous) means. Going back takes the failed release out, so that a second
    rollback leads further back and never onto the release that was just left. An activation is going back when it says so, or when the
    deploy that made the last move undoes it.
    """
    stack: list[str] = []
    before: list[str] = []
    move: dict[str, t.Any] = {}
    for event in events:
        if event.get("event") != "switched" or not event.get("digest"):
            continue
        digest, source, deploy = event["digest"], event.get("from"), event.get("deploy_id")
        if source and (not stack or stack[-1] != source):
            # The link was changed without us.
            stack.append(source)
        if deploy and move.get("deploy_id") == deploy and move.get("from") == digest:
            stack, before = before, list(stack)
            if not stack or stack[-1] != digest:
                stack = stack + [digest]
        elif event.get("back"):
            before = list(stack)
            stack = stack[:stack.index(digest) + 1] if digest in stack else stack[:-1] + [digest]
        else:
            before = list(stack)
            stack = stack + [digest]
        move = event
    return stack


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def fsync_directory(path: str) -> None:
    """Make a rename durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: str) -> None:
    """Remove a tree or file of ours, also one with directories that deny it."""
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        # A crash can leave directories of an archive without write permission (nobody but us wrote them).
        for folder, dummy, dummy2 in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path)


# --- sentences for what the file system refuses -------------------------------------------------------------------------


@contextlib.contextmanager
def spoken(root: str) -> t.Iterator[None]:
    """Turn the errors of the file system into sentences."""
    try:
        yield
    except PermissionError as error:
        raise DowntimeError(_denied(root, error.filename or root)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = _free(root)
            raise DowntimeError(f"root {root}: no space left on its file system ({free}); what was half done has been removed") from error
        where = f" ({error.filename})" if error.filename and error.filename != root else ""
        raise DowntimeError(f"root {root}: {error.strerror or error}{where}") from error


def _free(root: str) -> str:
    try:
        status = os.statvfs(root)
    except OSError as error:
        return str(error.strerror)
    return f"{status.f_bavail * status.f_frsize >> 20} MiB and {status.f_favail} inodes free"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _denied(root: str, path: str) -> str:
    place = os.path.abspath(path)
    # What is missing cannot tell why; its nearest directory can.
    while True:
        try:
            status = os.stat(place)
            break
        except OSError:
            place = os.path.dirname(place)
            if place == "/":
                status = os.stat(place)
                break
    if os.path.isdir(os.path.dirname(place)) and not stat.S_ISDIR(status.st_mode) and not os.access(os.path.dirname(place), os.W_OK | os.X_OK):
        place = os.path.dirname(place)
        status = os.stat(place)
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return (f"root {root} is not usable for user {_user()}: {place} belongs to {owner}:{group} with mode {stat.S_IMODE(status.st_mode):04o}; "
            f"run as its owner (become_user) or change its owner")


# --- one call of the module ---------------------------------------------------------------------------------------------


def run(params: dict[str, t.Any], check_mode: bool = False, world: World | None = None) -> dict[str, t.Any]:
    """Do what the module was asked for; its result, or DowntimeError."""
    call = _Call(params, check_mode, world or World())
    with spoken(call.store.root):
        return call.go()


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
        self.store = Store(root, world, params["lock_timeout"])
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
        if params["keep"] < 0:
            raise DowntimeError(f"keep is {params['keep']}; 0 or more is accepted")
        if params["lock_timeout"] < 0:
            raise DowntimeError(f"lock_timeout is {params['lock_timeout']:g}; a number of seconds from 0 on is accepted")
        service = params.get("service")
        if service is not None:
            self.service: Service | None = Service(service, self.world)
        else:
            self.service = None
        running = params.get("running")
        if running:
            parts = urllib.parse.urlsplit(running["url"])
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise DowntimeError(f"running.url is {running['url']!r}; an http or https URL with a host is accepted")
            if running["timeout"] <= 0 or running["interval"] <= 0:
                raise DowntimeError("running.timeout and running.interval are numbers of seconds above 0")
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
                raise DowntimeError(f"release previous is unknown: slot {self.slot} of {self.store.root} has run no release before; staged are {found.known()}")
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
                self.warnings.append(f"the label {wanted} stood for {before} here; {artifact['checksums']} now gives it to {digest}")
            return Release(digest, wanted)
        if wanted:
            digest = found.digest_of.get(wanted)
            if digest in found.staged or (digest and self.state == "observed"):
                return Release(t.cast(str, digest), wanted)
            more = " (it was staged once and pruned since; stage it again)" if digest else ""
            need = "; artifact.checksums or artifact.digest would tell its digest" if self.state == "staged" else ""
            raise DowntimeError(f"release {wanted} is unknown{more}: staged under {self.store.root} are {found.known()}{need}")
        return None

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
        """What every state returns; C(active) and C(previous) are as found, C(slots) as left."""
        after = before if self.check_mode or not changed else self.store.read()
        self.warnings += [text for text in after.warnings if text not in self.warnings]
        slot = before.slot(self.slot)
        result = {
            "changed": changed,
            "release": release.as_dict() if release else None,
            "active": _dict(before.release(slot.active)),
            "previous": _dict(before.release(slot.previous)),
            "slots": {name: {"active": _dict(after.release(one.active)), "previous": _dict(after.release(one.previous)), "link": one.link,
                             "settled": one.settled} for name, one in after.slots.items()},
            "staged": [dict(after.release(digest).as_dict(), time=after.seen[digest])  # type: ignore[union-attr]
                       for digest in sorted(after.staged, key=lambda digest: after.seen[digest])],
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

    def _staged(self) -> dict[str, t.Any]:
        found = self.store.read()
        release = t.cast(Release, self.resolve(found))
        done = self._stage(found, release)
        diff = {"before": {"staged": _listing(found)}, "after": {"staged": sorted(set(_listing(found)) | {str(release)})}}
        if done == "needed":
            return self._result(found, release, True, needed=True, diff=diff)
        return self._result(found, release, done is not None, diff=diff if done == "staged" else {"before": {}, "after": {}})

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
                self._writable()
            return "needed"
        if not place:
            raise DowntimeError(f"release {release} is not staged under {self.store.root} and artifact names no url or src to get it from; "
                                f"staged are {found.known()}")
        headers, timeout = self.artifact.get("headers"), self.artifact.get("timeout", 30.0)
        if self.check_mode:
            self._writable()
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
        archive, tree = os.path.join(store.tmp, release.digest + ".part"), os.path.join(store.tmp, release.digest)
        try:
            size = _artifact.fetch(place, archive, release.digest, headers, timeout, self.artifact.get("deadline", 900.0), self.world.opener,
                                   self.world.clock)
            try:
                files = _artifact.unpack(archive, tree, self.artifact.get("strip_components", 0), reserved=(MARKER,))
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
                final = store.path(release.digest)
                if os.path.lexists(final):
                    self._displace(final, release)
                os.rename(tree, final)
                fsync_directory(store.releases)
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
        aside = os.path.join(self.store.tmp, "displaced-" + release.digest)
        os.rename(path, aside)
        remove(aside)

    def _writable(self) -> None:
        """In check mode: would preparing the root work?"""
        place = self.store.root
        while not os.path.exists(place):
            place = os.path.dirname(place)
        for path in (place, self.store.releases, self.store.state, self.store.tmp):
            if os.path.exists(path) and not os.access(path, os.W_OK | os.X_OK):
                raise DowntimeError(_denied(self.store.root, path))

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
        if self.check_mode:
            self._writable()
            return self._result(found, release, True, restarted=bool(reason and self.service), diff=diff)
        if reason is None:
            return self._result(found, release, True, running=running, diff=diff)
        # What the service did before decides whether it has to be stopped; the switch itself is noted below.
        # None: an activation that did not end well may or may not have left something running.
        was_up = {"activated": True, "stopped": False}.get(slot.settled or "", None if slot.link else False)
        if move:
            with self.store.lock("root"):
                if not self.store.is_staged(release.digest):
                    raise DowntimeError(f"release {release} was pruned meanwhile; stage it again")
                self.store.link(self.slot, release.digest)
                # After the rename: the link is the truth, and a line without its move would name the wrong previous release.
                self.store.note("switched", release, self.deploy_id, slot=self.slot, **{"from": slot.active, "back": self._goes_back() or None})
        stands = f"slot {self.slot} now points at {release}" + (f", before at {found.release(slot.active)}" if move and slot.active else "")
        if not move:
            stands = f"slot {self.slot} still points at {release}"
        if self.service:
            self.warnings += self.service.restart(self.store.root, self.slot, release, was_up, stands)
        if self.params.get("running"):
            running = self._read_back(release, stands)
        with self.store.lock("root"):
            self.store.note("activated", release, self.deploy_id, slot=self.slot)
        return self._result(found, release, True, restarted=self.service is not None, running=running, diff=diff)

    def _goes_back(self) -> bool:
        return self.params["going_back"] or self.params.get("release") == "previous"

    def _wrong(self, slot: Slot, release: Release) -> tuple[str | None, dict[str, t.Any] | None]:
        """Why a slot whose link is right needs a restart all the same, and what runs there."""
        if slot.settled != "activated":
            return "stopped" if slot.settled == "stopped" else "unfinished", None
        if self.service and self.service.is_up() is False:
            return "down", None
        if self.params.get("running"):
            running = self._read_running()
            if running["digest"] != release.digest:
                return "other", running
            return None, running
        return None, None

    def _move(self, found: Found, release: Release) -> dict[str, t.Any]:
        before = found.release(found.slot(self.slot).active)
        return {"before": {self.slot: str(before) if before else None}, "after": {self.slot: str(release)}}

    def _read_running(self) -> dict[str, t.Any]:
        """What the service says it runs, asked once."""
        running = self.params["running"]
        try:
            status, value = self.world.ask(running["url"], running["header"], min(5.0, running["timeout"]))
        except Exception as error:  # pylint: disable=broad-except
            # urllib lets OSError, HTTPException and ValueError of many kinds through; all mean "no answer", and the text is handed on.
            return {"digest": None, "status": None, "detail": str(getattr(error, "reason", None) or error) or type(error).__name__}
        digest = _artifact.as_digest((value or "").strip())
        detail = f"status {status}, {running['header']}: {value}" if value else f"status {status} without the header {running['header']}"
        return {"digest": digest, "status": status, "detail": detail}

    def _read_back(self, release: Release, stands: str) -> dict[str, t.Any]:
        running = self.params["running"]
        start = self.world.clock()
        while True:
            answer = self._read_running()
            waited = self.world.clock() - start
            if answer["digest"] == release.digest:
                return dict(answer, waited=round(waited, 3))
            if waited >= running["timeout"]:
                raise ActivationError(f"release {release} does not run: {running['url']} answered {answer['detail']!r} last, "
                                      f"{running['timeout']:g} s after the restart (running.timeout); {stands}", running=answer)
            self.world.sleep(running["interval"])

    def _stopped(self) -> dict[str, t.Any]:
        service = t.cast(Service, self.service)
        found = self.store.read()
        slot = found.slot(self.slot)
        release = found.release(slot.active)
        up = service.is_up()
        if up is False or (up is None and slot.settled == "stopped"):
            return self._result(found, release, False, diff={"before": {}, "after": {}})
        diff = {"before": {self.slot: "running"}, "after": {self.slot: "stopped"}}
        if self.check_mode:
            return self._result(found, release, True, diff=diff)
        self.store.prepare()
        with self.store.lock("slot-" + self.slot):
            service.stop(self.store.root, self.slot, release)
            with self.store.lock("root"):
                self.store.note("stopped", release, self.deploy_id, slot=self.slot)
        return self._result(found, release, True, diff=diff)

    def _pruned(self) -> dict[str, t.Any]:
        found = self.store.read()
        pinned = {self._pin(found, text) for text in self.params["pinned"]}
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
                    os.rename(self.store.path(digest), os.path.join(self.store.tmp, "pruned-" + digest))
                    self.store.note("pruned", found.release(digest), self.deploy_id)
                for path in found.leftovers:
                    if os.path.dirname(path) == self.store.releases:
                        os.rename(path, os.path.join(self.store.tmp, "leftover-" + os.path.basename(path)))
                fsync_directory(self.store.releases)
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


# --- services -----------------------------------------------------------------------------------------------------------


class Service:
    """The one thing that runs in a slot: a systemd unit or commands."""

    def __init__(self, options: t.Mapping[str, t.Any], world: World) -> None:
        self.world = world
        self.timeout: float = options.get("timeout") or 120.0
        self.unit: str | None = options.get("unit")
        self.systemctl = ["systemctl"] + (["--user"] if options.get("scope") == "user" else [])
        self.commands = {name: _argv("service." + name, options.get(name)) for name in ("command", "start", "stop", "status")}
        ways = [name for name in ("command", "start") if self.commands[name]]
        if self.unit is not None and (not self.unit.strip() or self.unit.startswith("-") or any(letter.isspace() for letter in self.unit)):
            raise DowntimeError(f"service.unit is {self.unit!r}; the name of a systemd unit is accepted")
        if self.unit and (ways or self.commands["stop"]):
            raise DowntimeError(f"service.unit and service.{(ways + ['stop'])[0]} are both given; a unit or commands are accepted")
        if len(ways) > 1:
            raise DowntimeError("service.command and service.start are both given; a command that restarts, or start and stop are accepted")
        if not self.unit and not ways:
            raise DowntimeError("service names nothing to run; unit, command (which restarts), or start and stop are accepted")

    @property
    def can_stop(self) -> bool:
        return bool(self.unit or self.commands["stop"])

    def is_up(self) -> bool | None:
        """Whether it runs; None when there is no way to know."""
        if self.unit:
            rc, output = self.world.run(self.systemctl + ["is-active", self.unit], self.timeout)
            word = output.strip().splitlines()[-1] if output.strip() else ""
            if word in ("active", "reloading", "activating", "refreshing"):
                return True
            if word in ("inactive", "failed", "deactivating", "unknown", "maintenance"):
                return False
            raise DowntimeError(f"service.unit {self.unit}: systemctl is-active ended with rc {rc}: {_tail(output)}")
        if self.commands["status"]:
            rc, output = self.world.run(self.commands["status"], self.timeout)
            if rc is None:
                raise DowntimeError(f"service.status did not end within {self.timeout:g} s (service.timeout): {_tail(output)}")
            return rc == 0
        return None

    def restart(self, root: str, slot: str, release: Release, was_up: bool | None, stands: str) -> list[str]:
        """Let the slot run what its link names; what did not go smoothly, as warnings."""
        env = _environment(root, slot, release)
        if self.unit:
            self._do(self.systemctl + ["restart", self.unit], env, root, stands)
            self._not_failed(stands)
        elif self.commands["command"]:
            self._do(self.commands["command"], env, root, stands)
        else:
            up = self.is_up()
            if up is None:
                up = was_up
            warnings = []
            if self.commands["stop"] and up is not False:
                try:
                    self._do(self.commands["stop"], env, root, stands)
                except ActivationError as error:
                    if up:
                        raise
                    # Perhaps there was nothing to stop. If there was, the start or the read-back fails.
                    warnings.append(f"it is not known whether slot {slot} ran anything, and stopping it did not succeed: {error}")
            self._do(t.cast("list[str]", self.commands["start"]), env, root, stands)
            return warnings
        return []

    def stop(self, root: str, slot: str, release: Release | None) -> None:
        stands = f"slot {slot} points at {release}" if release else f"slot {slot} points at no release"
        argv = self.systemctl + ["stop", self.unit] if self.unit else t.cast("list[str]", self.commands["stop"])
        self._do(argv, _environment(root, slot, release), root, stands)

    def _not_failed(self, stands: str) -> None:
        """systemctl restart returns at once for simple units; one that dies at its start has failed by now or will answer nothing."""
        rc, output = self.world.run(self.systemctl + ["is-failed", self.unit], self.timeout)
        if rc == 0 and output.strip() == "failed":
            raise ActivationError(f"service.unit {self.unit} failed right after its restart: {self._why()}; {stands}", rc=1)

    def _why(self) -> str:
        """systemd's own words, since systemctl restart only says where to look."""
        dummy, output = self.world.run(self.systemctl + ["status", "--no-pager", "--full", f"--lines={_OUTPUT_LINES}", self.unit], self.timeout)
        return _tail(output)

    def _do(self, argv: t.Sequence[str], env: t.Mapping[str, str], root: str, stands: str) -> None:
        try:
            rc, output = self.world.run(argv, self.timeout, env, root)
        except DowntimeError as error:
            raise ActivationError(f"{error}; {stands}", rc=None) from error
        if rc == 0:
            return
        shown = shlex.join(argv)
        tail = _tail(output)
        if self.unit and rc is not None:
            tail = f"{tail}\n{self._why()}"
        if rc is None:
            raise ActivationError(f"{shown} did not end within {self.timeout:g} s (service.timeout) and was killed, its last lines: {tail}; {stands}", rc=None,
                                  output=tail)
        raise ActivationError(f"{shown} failed with rc {rc}, its last lines: {tail}; {stands}", rc=rc, output=tail)


def _environment(root: str, slot: str, release: Release | None) -> dict[str, str]:
    return {"RELEASE_ROOT": root, "RELEASE_SLOT": slot, "RELEASE_DIGEST": release.digest if release else "",
            "RELEASE_LABEL": (release.label or "") if release else ""}


def _tail(output: str) -> str:
    lines = [line.rstrip() for line in output.strip().splitlines() if line.strip()]
    return "\n".join(lines[-_OUTPUT_LINES:])[-2000:] or "(no output)"


def _argv(option: str, value: t.Any) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            argv = shlex.split(value)
        except ValueError as error:
            raise DowntimeError(f"{option} is {value!r}, which cannot be split into words: {error}") from error
    elif isinstance(value, list):
        argv = [str(word) for word in value]
    else:
        raise DowntimeError(f"{option} is {value!r}; a text or a list of words is accepted (no shell reads it)")
    if not argv or not argv[0]:
        raise DowntimeError(f"{option} is empty; a command is accepted")
    return argv
