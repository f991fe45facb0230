# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory tree that holds one application's releases on a host. Private to the collection.

Layout below the root::

    releases/<sha256>/              one unpacked release, complete by construction: it arrives by one rename(2)
    releases/<sha256>/.release.json its digest and label, part of that rename
    <slot> -> releases/<sha256>     the truth about which release a slot runs
    .releases/ledger.jsonl          what happened, one fsynced line each; previous releases and labels come from it
    .releases/tmp/                  work in progress, worthless after a crash
    .releases/*.lock                flock(2): C(stage) for tmp/, C(slot-NAME) for one activation at a time, C(root) for links, ledger, pruning

The root may belong to the user that the service runs as, who may then put anything in its place at any moment, also a link to a file of somebody
else's. So what this module works in belongs to whoever deploys, or to root, and is reached by descriptors that were opened without following a
link: /proc/self/fd/N stays the same directory, whatever becomes of its name.
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
import stat
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._artifact import artifact as _artifact
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

MARKER = ".release.json"
HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclasses.dataclass(frozen=True)
class Release:
    """A release: its digest, and the label that people call it by where one is known."""

    digest: str
    label: str | None = None

    def __str__(self) -> str:
        return f"{self.label} ({self.digest[:12]})" if self.label else self.digest[:12]

    def as_dict(self) -> dict[str, t.Any]:
        return {"label": self.label, "digest": self.digest}


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


@dataclasses.dataclass
class Slot:
    """One slot as found."""

    name: str
    link: str | None = None
    active: str | None = None
    previous: str | None = None
    # What its last move went back from; None where that was no way back.
    left: str | None = None
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
    # The header in which each release that ran here has said last that it does; of others nothing is known.
    told: dict[str, str]

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

    def __init__(self, root: str, lock_timeout: float, now: t.Callable[[], float] = time.time, clock: t.Callable[[], float] = time.monotonic,
                 sleep: t.Callable[[float], None] = time.sleep) -> None:
        self.root, self.lock_timeout = root, lock_timeout
        self.now, self.clock, self.sleep = now, clock, sleep
        # For sentences and results; the work is done at L(at) of them.
        self.releases = os.path.join(root, "releases")
        self.state = os.path.join(root, ".releases")
        self.tmp = os.path.join(self.state, "tmp")
        self.ledger = os.path.join(self.state, "ledger.jsonl")
        self._open: dict[str, int] = {}

    def at(self, path: str) -> str:
        """Where to work on a path of this root: by its directory's descriptor, once C(prepare) has opened them."""
        for directory in sorted(self._open, key=len, reverse=True):
            if path == directory or path.startswith(directory + os.sep):
                return f"/proc/self/fd/{self._open[directory]}{path[len(directory):]}"
        return path

    def prepare(self) -> None:
        """Make the directories, with modes that do not depend on the umask, and open them for all that is written from now on.

        Raises DowntimeError where one of them is somebody else's, or a link.
        """
        if self._open:
            return
        missing = self.root
        made = []
        while not os.path.isdir(missing) and missing != "/":
            made.append(missing)
            missing = os.path.dirname(missing)
        for path in reversed(made):
            try:
                os.mkdir(path, 0o755)
                os.chmod(path, 0o755)
            except FileExistsError:
                if not os.path.isdir(path):
                    raise DowntimeError(f"root {self.root}: {path} is in the way, a directory is needed there") from None
        opened = {self.root: os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)}
        try:
            for path in (self.releases, self.state):
                opened[path] = self._directory(opened[self.root], path, 0o755)
            # Half-unpacked trees and downloads are nobody else's business.
            opened[self.tmp] = self._directory(opened[self.state], self.tmp, 0o700)
        except BaseException:
            for handle in opened.values():
                os.close(handle)
            raise
        # They are open for as long as the process, or this root's work in it, lasts.
        self._open = opened

    def usable(self) -> None:
        """Raises DowntimeError where C(prepare) would not work. Nothing is made."""
        for path in (_durable.nearest(self.root), self.releases, self.state, self.tmp):
            if os.path.exists(path) and not os.access(path, os.W_OK | os.X_OK):
                raise DowntimeError(denied(self.root, path))

    def close(self) -> None:
        """Let go of the directories that C(prepare) opened."""
        for handle in self._open.values():
            os.close(handle)
        self._open = {}

    def _directory(self, parent: int, path: str, mode: int) -> int:
        """Make and open a directory that is ours, below one that may not be."""
        name = os.path.basename(path)
        try:
            os.mkdir(name, mode, dir_fd=parent)
            made = True
        except FileExistsError:
            made = False
        except OSError as error:
            error.filename = path
            raise
        try:
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise DowntimeError(f"root {self.root}: {path} is in the way, a directory is needed there, and no link to one") from None
            error.filename = path
            raise
        status = os.fstat(handle)
        if status.st_uid not in (os.geteuid(), 0):
            os.close(handle)
            raise DowntimeError(f"root {self.root}: {path} belongs to {_owner(status)}, who could have user {_user()} write to files of others; "
                                f"remove it, or give it to {_user()}, or deploy as its owner (become_user)")
        if made:
            os.fchmod(handle, mode)
        elif stat.S_IMODE(status.st_mode) & 0o022:
            # Ours, and open to others: an older version, or somebody's chmod -R.
            os.fchmod(handle, stat.S_IMODE(status.st_mode) & ~0o022)
        return handle

    def path(self, digest: str) -> str:
        return os.path.join(self.releases, digest)

    def is_staged(self, digest: str) -> bool:
        return os.path.isfile(os.path.join(self.at(self.releases), digest, MARKER))

    @contextlib.contextmanager
    def lock(self, name: str) -> t.Iterator[None]:
        """Hold one of the root's locks; it ends with the process, however that ends."""
        path = os.path.join(self.state, name + ".lock")
        handle = self._plain_file(path, os.O_RDWR | os.O_CREAT)
        try:
            end = self.clock() + self.lock_timeout
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                if self.clock() >= end:
                    holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
                    raise DowntimeError(f"root {self.root} is busy: {holder} has held the lock {path} for longer than {self.lock_timeout:g} s (lock_timeout)")
                self.sleep(0.05)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
            yield
        finally:
            os.close(handle)

    def _plain_file(self, path: str, flags: int) -> int:
        """Open a file of ours. Raises DowntimeError where a link, or something else, is in its place."""
        try:
            handle = os.open(self.at(path), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DowntimeError(f"root {self.root}: {path} is a link, and a file is needed there; remove it") from None
            raise
        if os.fstat(handle).st_nlink > 1:
            os.close(handle)
            raise DowntimeError(f"root {self.root}: {path} has another name, too (a hard link), and a file of its own is needed there; remove it")
        return handle

    # --- reading

    def read(self) -> Found:
        """Look at everything once. Changes nothing; a root that does not exist holds nothing."""
        warnings: list[str] = []
        events = self._events(warnings)
        staged: dict[str, float] = {}
        label_of: dict[str, str] = {}
        for name in _names(self.at(self.releases)):
            marker = os.path.join(self.at(self.releases), name, MARKER)
            if not HEX.match(name):
                continue
            try:
                staged[name] = os.stat(marker).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                continue
        seen = dict(staged)
        digest_of: dict[str, str] = {}
        last: dict[str, dict[str, t.Any]] = {}
        told: dict[str, str] = {}
        by_slot: dict[str, list[dict[str, t.Any]]] = {}
        for event in events:
            digest, label, what = event.get("digest"), event.get("label"), event.get("event")
            if digest and label:
                label_of[digest], digest_of[label] = label, digest
            if digest and what in ("staged", "switched", "activated"):
                seen[digest] = max(seen.get(digest, 0), event.get("time", 0))
            if digest and isinstance(event.get("told"), str):
                told[digest] = event["told"]
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
        for name in sorted(set(by_slot) | {name for name in _names(self.at(self.root)) if os.path.islink(os.path.join(self.at(self.root), name))}):
            slot = slots[name] = self._slot(name, by_slot.get(name, []))
            for event in by_slot.get(name, []):
                if event["event"] in ("activated", "stopped", "switched", "swapping"):
                    last[name] = event
            if name in last and last[name]["event"] in ("activated", "stopped") and last[name].get("digest") == slot.active:
                slot.settled = last[name]["event"]
        leftovers = [os.path.join(self.tmp, name) for name in _names(self.at(self.tmp))]
        # A directory with a release's name and no marker: made by hand, or a copy of a root that was interrupted.
        linked = {slot.active for slot in slots.values()}
        leftovers += [self.path(name) for name in _names(self.at(self.releases)) if HEX.match(name) and name not in staged and name not in linked]
        return Found(staged, slots, label_of, digest_of, seen, last, sorted(leftovers), warnings, told)

    def _slot(self, name: str, events: list[dict[str, t.Any]]) -> Slot:
        slot = Slot(name)
        try:
            slot.link = os.readlink(os.path.join(self.at(self.root), name))
        except (FileNotFoundError, OSError):
            slot.link = None
        if slot.link is not None:
            head, tail = os.path.split(os.path.normpath(os.path.join(self.root, slot.link)))
            if head == self.releases and HEX.match(tail):
                slot.active = tail
        stack, slot.left = walked(events)
        while stack and stack[-1] == slot.active:
            stack.pop()
        slot.previous = stack[-1] if stack else None
        return slot

    def _marker(self, digest: str) -> dict[str, t.Any]:
        try:
            with open(os.path.join(self.at(self.releases), digest, MARKER), encoding="utf-8") as handle:
                content = json.load(handle)
        except (OSError, ValueError):
            # Written by rename together with the release; who damages it afterwards loses the label, nothing else.
            return {}
        return content if isinstance(content, dict) else {}

    def _events(self, warnings: list[str]) -> list[dict[str, t.Any]]:
        try:
            with os.fdopen(self._plain_file(self.ledger, os.O_RDONLY), "rb") as handle:
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
        entry: dict[str, t.Any] = {"time": round(self.now(), 3), "event": event}
        if release:
            entry["digest"] = release.digest
            if release.label:
                entry["label"] = release.label
        if deploy_id:
            entry["deploy_id"] = deploy_id
        entry.update({key: value for key, value in more.items() if value is not None})
        if os.path.lexists(self.at(self.ledger)):
            os.close(self._plain_file(self.ledger, os.O_RDONLY))
        _durable.append(self.at(self.ledger), json.dumps(entry, sort_keys=True))

    def clean(self) -> None:
        """Remove work that a crash left behind; only under the lock C(stage), whose holder alone works in tmp/."""
        for name in _names(self.at(self.tmp)):
            remove(os.path.join(self.at(self.tmp), name))

    def link(self, slot: str, digest: str) -> None:
        """Let a slot's link name a release: symlink beside it, rename(2) over it. No reader ever finds it missing."""
        fresh = os.path.join(self.at(self.state), f"link-{slot}")
        # rename(2) keeps the text of a link, so it may be made in another directory of the same file system.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        os.symlink(os.path.join("releases", digest), fresh)
        os.rename(fresh, os.path.join(self.at(self.root), slot))
        _durable.sync_directory(self.at(self.root))


def walked(events: t.Iterable[dict[str, t.Any]]) -> tuple[list[str], str | None]:
    """What a slot ran, oldest first, without what was gone back from; and what its last move went back from, if it did.

    The last entry is the active release, the one before it is what C(previous) means. Going back takes the failed release out, so that a second
    rollback leads further back and never onto the release that was just left. An activation is going back when it says so, or when the
    deploy that made the last move undoes it.
    """
    stack: list[str] = []
    before: list[str] = []
    left: str | None = None
    move: dict[str, t.Any] = {}
    for event in events:
        if event.get("event") != "switched" or not event.get("digest"):
            continue
        digest, source, deploy = event["digest"], event.get("from"), event.get("deploy_id")
        undone = bool(deploy) and move.get("deploy_id") == deploy and move.get("from") == digest
        left = source if undone or event.get("back") else None
        if source and (not stack or stack[-1] != source):
            # The link was changed without us.
            stack.append(source)
        if undone:
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
    return stack, left


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(path: str) -> None:
    """Remove a tree or file of ours, also one with directories that deny it, and one that is too deep to be walked or named.

    Each directory is renamed to a place beside the tree before it is emptied, so that no path grows with the depth.
    """
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    left, number = [path], 0
    while left:
        directory = left.pop()
        # A crash can leave directories of an archive without write permission (nobody but us wrote them).
        os.chmod(directory, 0o700)
        with os.scandir(directory) as entries:
            for entry in list(entries):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                number += 1
                aside = f"{path}.{os.getpid()}-{number}"
                os.chmod(entry.path, 0o700)
                os.rename(entry.path, aside)
                left.append(aside)
        os.rmdir(directory)


# --- sentences for what the file system refuses -------------------------------------------------------------------------


@contextlib.contextmanager
def spoken(root: str) -> t.Iterator[None]:
    """Turn the errors of the file system into sentences."""
    try:
        yield
    except PermissionError as error:
        raise DowntimeError(denied(root, _by_name(error.filename or root))) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = _free(root)
            raise DowntimeError(f"root {root}: no space left on its file system ({free}); what was half done has been removed") from error
        where = f" ({_by_name(error.filename)})" if error.filename and error.filename != root else ""
        raise DowntimeError(f"root {root}: {error.strerror or error}{where}") from error


def _by_name(path: t.Any) -> str:
    """A path below a descriptor as people know it."""
    text = os.fsdecode(path)
    match = re.match(r"/proc/self/fd/\d+", text)
    if not match:
        return text
    try:
        return os.readlink(match[0]) + text[match.end():]
    except OSError:
        return text


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


def _owner(status: os.stat_result) -> str:
    try:
        return pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return str(status.st_uid)


def denied(root: str, path: str) -> str:
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
    owner = _owner(status)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return (f"root {root} is not usable for user {_user()}: {place} belongs to {owner}:{group} with mode {stat.S_IMODE(status.st_mode):04o}; "
            f"run as its owner (become_user) or change its owner")
