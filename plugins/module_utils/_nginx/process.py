# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One running nginx: its processes, its commands, and the directory of files that the driver keeps for it. Private to the collection.

A reload is believed when the new configuration itself says so: beside the upstream files lies C(revision.conf), a server on the loopback
that answers with the revision of those files. The exit code of a reload says nothing: with a port that is taken, it is 0 and the old
configuration goes on. What the old workers still hold is known to be over when they have exited.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import re
import signal
import socket
import subprocess
import time
import typing as t
import uuid

from ansible_collections.zero.downtime.plugins.module_utils import _durable
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer
from ansible_collections.zero.downtime.plugins.module_utils._health import request as _request
from ansible_collections.zero.downtime.plugins.module_utils._nginx import shares as _nginx_shares
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import POOL, SUFFIX, Upstream

POLL = 0.02
# Whatever the caller's deadline is, a reload that was begun gets so long: giving up in the middle helps nobody.
LEAST = 5.0
# So often running has the new revision to answer: the old workers accept connections for a moment beside the new ones.
MATCHES = 5
LISTEN = "127.0.0.1:8469"
REVISION = "revision.conf"
REVISION_TEXT = """\
# Written by zero.downtime at each reload: it tells which state of the files beside it nginx runs.
# workers before: {workers}
# files: {files}
server {{
    listen {listen};
    access_log off;
    location = /revision {{
        default_type text/plain;
        return 200 "{id}";
    }}
{splits}}}
"""
# What nginx says of a split is what it runs, also while the files beside it say something else.
SPLIT_TEXT = """\
    location = /split/{name} {{
        default_type text/plain;
        return 200 "green {green}";
    }}
"""
MASTER, WORKER, STOPPING = "nginx: master process", "nginx: worker process", "nginx: worker process is shutting down"
ESTABLISHED = "01"


@dataclasses.dataclass(frozen=True)
class Worker:
    """A worker process; the start time tells it from a later process with its pid."""

    pid: int
    started: str
    stopping: bool

    @property
    def key(self) -> str:
        return f"{self.pid}/{self.started}"


@dataclasses.dataclass(frozen=True)
class Revision:
    """What C(revision.conf) says: the files' state, where it is answered, the workers that lived when it was written, green's share of each split, and
    the names of the files. (One that was written by an earlier version of this collection names none.)"""

    id: str
    listen: str
    workers: tuple[str, ...] = ()
    splits: tuple[tuple[str, int], ...] = ()
    files: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return self.id.partition("-")[0]

    def text(self) -> str:
        splits = "".join(SPLIT_TEXT.format(name=name, green=green) for name, green in self.splits)
        return REVISION_TEXT.format(id=self.id, listen=self.listen, workers=" ".join(self.workers) or "none", splits=splits,
                                    files=" ".join(self.files) or "none")


def parse_revision(text: str) -> Revision | None:
    """None for a file that is not of ours."""
    found, listen = re.search(r'return 200 "([0-9a-f]+-[0-9a-f]+)";', text), re.search(r"^\s*listen (\S+);", text, re.MULTILINE)
    if not found or not listen:
        return None
    workers = re.search(r"^# workers before: (.*)$", text, re.MULTILINE)
    files = re.search(r"^# files: (.*)$", text, re.MULTILINE)
    splits = re.findall(r'location = /split/(\S+) \{[^}]*return 200 "green (\d+)";', text)
    return Revision(found.group(1), listen.group(1), tuple(word for word in workers.group(1).split() if "/" in word) if workers else (),
                    tuple((name, int(green)) for name, green in splits),
                    tuple(word for word in files.group(1).split() if word != "none") if files else ())


def run_command(argv: t.Sequence[str], timeout: float) -> tuple[int, str, str]:
    """Exit code, output and error output of a command, in English, with the directories in which system programs lie."""
    env = dict(os.environ, LC_ALL="C", PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin:/usr/local/sbin")
    try:
        done = subprocess.run(list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False, env=env)
    except FileNotFoundError as error:
        raise DowntimeError(f"the command '{' '.join(argv)}' cannot be run: {argv[0]} is not there") from error
    except OSError as error:
        raise DowntimeError(f"the command '{' '.join(argv)}' cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise DowntimeError(f"the command '{' '.join(argv)}' did not end within {timeout:g} s") from error
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def first_line(text: str) -> str:
    """What nginx says first, without the clock and process of its own log."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((line for line in lines if "[emerg]" in line or "[error]" in line or "[alert]" in line), lines[0] if lines else "it said nothing")
    return re.sub(r"^(nginx: |\d{4}/\d\d/\d\d [\d:]{8} (?=\[))(\[\w+\] )?(\d+#\d+: )?", r"\2", told)


class Processes:
    """The kernel's list of processes."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root

    def _read(self, pid: int, name: str) -> bytes:
        try:
            with open(os.path.join(self.root, str(pid), name), "rb") as handle:
                return handle.read()
        except OSError:
            return b""

    def title(self, pid: int) -> str:
        return self._read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()

    def parent_and_start(self, pid: int) -> tuple[int, str] | None:
        """None when there is no such process, or it is dead already and only waits for its parent to notice."""
        stat = self._read(pid, "stat").decode("utf-8", "replace")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[1]), fields[19]) if len(fields) > 19 and fields[0] not in ("Z", "X") else None

    def workers(self, master: int) -> list[Worker]:
        found = []
        for name in os.listdir(self.root):
            if not name.isdigit():
                continue
            known = self.parent_and_start(int(name))
            if known and known[0] == master:
                title = self.title(int(name))
                if title.startswith(WORKER):
                    found.append(Worker(int(name), known[1], title.startswith(STOPPING)))
        return sorted(found, key=lambda worker: worker.pid)

    def alive(self, keys: t.Iterable[str]) -> list[str]:
        """Those of C(keys) (pid/start) that still live."""
        found = []
        for key in keys:
            pid, dummy, started = key.partition("/")
            known = self.parent_and_start(int(pid))
            if known and known[1] == started:
                found.append(key)
        return found

    def connections(self, pids: t.Iterable[int]) -> dict[tuple[str, int], int] | None:
        """How many connections these processes hold to each address and port; None where that may not be seen."""
        found: dict[tuple[str, int], int] = {}
        for pid in pids:
            place = os.path.join(self.root, str(pid))
            links = []
            try:
                for name in os.listdir(os.path.join(place, "fd")):
                    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                        links.append(os.readlink(os.path.join(place, "fd", name)))
            except FileNotFoundError:
                continue  # it has exited, and holds nothing
            except OSError:
                return None
            own = {link[len("socket:["):-1] for link in links if link.startswith("socket:[")}
            for table in ("net/tcp", "net/tcp6"):
                for line in self._read(pid, table).decode("ascii", "replace").splitlines()[1:]:
                    words = line.split()
                    if len(words) > 9 and words[3] == ESTABLISHED and words[9] in own:
                        remote = _address(words[2])
                        found[remote] = found.get(remote, 0) + 1
        return found


def _address(text: str) -> tuple[str, int]:
    """An address as the kernel's tables have it: words of 32 bits in the machine's order."""
    raw, dummy, port = text.partition(":")
    packed = b"".join(bytes.fromhex(raw[start:start + 8])[::-1] for start in range(0, len(raw), 8))
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), int(port, 16)


@dataclasses.dataclass
class Nginx:
    """What is told and asked. Each touch of the world is a field, so that a test can replace it."""

    directory: str
    command: t.Sequence[str] = ("nginx",)
    pid_file: str = "/run/nginx.pid"
    reload_command: t.Sequence[str] | None = None
    reload_timeout: float = 30.0
    listen: str | None = None
    processes: Processes = dataclasses.field(default_factory=Processes)
    run: t.Callable[[t.Sequence[str], float], tuple[int, str, str]] = run_command
    ask: t.Callable[..., _request.Answer] = _request.request
    kill: t.Callable[[int, int], None] = os.kill
    clock: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep
    token: t.Callable[[], str] = lambda: uuid.uuid4().hex[:8]

    # -- processes ---------------------------------------------------------------------------------------------------------
    def master(self) -> int:
        """The master's pid. Raises NoAnswer when nginx does not run."""
        try:
            with open(self.pid_file, encoding="ascii", errors="replace") as handle:
                text = handle.read().strip()
        except FileNotFoundError as error:
            raise NoAnswer(f"pid_file is '{self.pid_file}', which does not exist: nginx does not run, or keeps its pid elsewhere") from error
        except OSError as error:
            raise DowntimeError(f"pid_file is '{self.pid_file}', which cannot be read: {error.strerror}") from error
        if not text.isdigit():
            raise DowntimeError(f"pid_file is '{self.pid_file}', which has '{text[:40]}' and no process id")
        pid = int(text)
        if not self.processes.title(pid).startswith(MASTER):
            raise NoAnswer(f"pid_file is '{self.pid_file}', whose process {pid} is no nginx master: nginx does not run, or keeps its pid elsewhere")
        return pid

    def workers(self, master: int) -> list[Worker]:
        found = self.processes.workers(master)
        if not found:
            raise DowntimeError(f"no worker process of the nginx master {master} can be seen, so nobody can tell when requests have ended; "
                                "a user who sees nginx's processes is needed, and nginx with master_process on")
        return found

    def no_upgrade(self) -> None:
        """Refuse while two masters share the sockets: the workers of the one know nothing of what the other is told."""
        with contextlib.suppress(OSError, ValueError):
            with open(self.pid_file + ".oldbin", encoding="ascii") as handle:
                pid = int(handle.read())
            if self.processes.title(pid).startswith(MASTER):
                raise DowntimeError(f"nginx's binary is being upgraded: the old master {pid} still lives, and its workers would not hear of a change; "
                                    "end the upgrade first (QUIT to the old master)")

    # -- commands ----------------------------------------------------------------------------------------------------------
    def dump(self) -> str:
        """The whole configuration as it is on the disk. Raises DowntimeError, in nginx's own words, when nginx refuses it."""
        code, out, told = self.run([*self.command, "-T", "-q"], self.reload_timeout)
        if code:
            raise DowntimeError(f"nginx refuses the configuration that is there, before anything was changed: {first_line(told)}")
        return out

    def test(self) -> str:
        """Nothing, or what nginx says first against the configuration on the disk."""
        code, dummy, told = self.run([*self.command, "-t", "-q"], self.reload_timeout)
        return first_line(told) if code else ""

    def reload(self, master: int) -> None:
        if self.reload_command:
            code, out, told = self.run(self.reload_command, self.reload_timeout)
            if code:
                raise DowntimeError(f"reload_command '{' '.join(self.reload_command)}' ended with {code}: {first_line(told or out)}")
            return
        try:
            self.kill(master, signal.SIGHUP)
        except OSError as error:
            raise DowntimeError(f"nginx's master {master} cannot be told to reload: {error.strerror}; root, or reload_command, is needed") from error

    # -- the revision ------------------------------------------------------------------------------------------------------
    def served(self, listen: str) -> str:
        """The revision that one connection gets; nothing when there is no answer."""
        return self.ask(f"http://{listen}/revision", 1.0, 1.0).body.strip()

    def served_split(self, listen: str, name: str) -> int | None:
        """Green's share in the configuration that nginx runs; None when it has no such split, or does not answer."""
        answer = self.ask(f"http://{listen}/split/{name}", 1.0, 1.0)
        found = re.fullmatch(r"green (\d+)", answer.body.strip()) if answer.status == 200 else None
        return int(found.group(1)) if found else None

    def runs(self, revision: Revision | None) -> bool:
        """Whether C(revision) is what nginx runs, and nothing else."""
        return revision is not None and all(self.served(revision.listen) == revision.id for dummy in range(MATCHES))

    def revision(self) -> Revision | None:
        text = self._text(os.path.join(self.directory, REVISION))
        return parse_revision(text) if text is not None else None

    def changed_for(self) -> float:
        """Seconds since the last change of the driver's; 0 where there was none."""
        try:
            return max(0.0, time.time() - os.stat(os.path.join(self.directory, REVISION)).st_mtime)
        except OSError:
            return 0.0

    def digest(self, instead: t.Mapping[str, str] | None = None) -> str:
        """Of all upstream and split files as they lie there, or with those of C(instead) (path to text) in their place."""
        texts = self._texts(instead)
        whole = "".join(f"{os.path.basename(path)}\n{text}\n" for path, text in sorted(texts.items()))
        return hashlib.sha256(whole.encode()).hexdigest()[:12]

    # -- files -------------------------------------------------------------------------------------------------------------
    def _texts(self, instead: t.Mapping[str, str] | None = None) -> dict[str, str]:
        return {**{path: self._text(path) or "" for suffix in (SUFFIX, _nginx_shares.SUFFIX) for path in self.paths(suffix)}, **(instead or {})}

    def _splits(self, instead: t.Mapping[str, str]) -> tuple[tuple[str, int], ...]:
        """Green's share of each split, as far as its file can be read."""
        found = []
        for path, text in sorted(self._texts(instead).items()):
            name = os.path.basename(path)[:-len(_nginx_shares.SUFFIX)]
            if path.endswith(_nginx_shares.SUFFIX) and POOL.fullmatch(name):
                green = _nginx_shares.green_of(name, path, text)
                found += [(name, green)] if green is not None else []
        return tuple(found)

    def paths(self, suffix: str = SUFFIX) -> list[str]:
        """The upstream files that there are, or those with another C(suffix)."""
        try:
            return sorted(os.path.join(self.directory, name) for name in os.listdir(self.directory) if name.endswith(suffix) and not name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DowntimeError(f"upstreams_dir is '{self.directory}', which cannot be read: {error.strerror}") from error

    def path(self, name: str, suffix: str = SUFFIX) -> str:
        return os.path.join(self.directory, name + suffix)

    def text(self, name: str, suffix: str = SUFFIX) -> str | None:
        return self._text(self.path(name, suffix))

    def deleted(self, name: str, suffix: str = SUFFIX) -> bool:
        """Whether a file is not there any more that was there at the driver's last reload, so that nginx may well run with it."""
        revision = self.revision()
        return revision is not None and name + suffix in revision.files and not os.path.exists(self.path(name, suffix))

    def _text(self, path: str) -> str | None:
        try:
            with open(path, encoding="utf-8") as handle:
                return handle.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DowntimeError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def _write(self, path: str, text: str | None) -> None:
        """In one step, so that nginx reads the old file or the new one and never a part; None removes it."""
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        if os.path.exists(path):
            # A file that was there keeps what its owner gave it.
            _durable.rewrite(path, text.encode(), needs_owner=False)
        else:
            _durable.replace(path, text.encode())

    def _write_all(self, texts: t.Mapping[str, str | None]) -> None:
        for path, text in texts.items():
            self._write(path, text)
        _durable.sync_directory(self.directory)

    @contextlib.contextmanager
    def locked(self, timeout: float) -> t.Iterator[None]:
        """Alone from reading the files to having nginx run them: applications on one balancer share the directory and the reload."""
        try:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
            handle = os.open(os.path.join(self.directory, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DowntimeError(f"upstreams_dir is '{self.directory}', where nothing can be written: {error.strerror}") from error
        try:
            end = self.clock() + timeout
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                    if self.clock() >= end:
                        raise DowntimeError(f"another move has had {self.directory} for {timeout:g} s; try again when it has ended") from error
                    self.sleep(POLL)
            yield
        finally:
            os.close(handle)

    # -- one change --------------------------------------------------------------------------------------------------------
    def apply(self, files: t.Iterable[Upstream | _nginx_shares.Split], left: float | None = None) -> Revision:
        """Write C(files), have nginx check and load them, and see that it does, within C(left) seconds if that is less than reload_timeout.

        Raises DowntimeError with everything as it was.
        """
        texts = {file.path: file.text for file in files}
        path = os.path.join(self.directory, REVISION)
        old = {name: self._text(name) for name in [*texts, path]}
        before = self.revision()
        self.no_upgrade()
        master = self.master()
        revision = Revision(f"{self.digest(texts)}-{self.token()}", self.listen or (before.listen if before else LISTEN), self._living(master),
                            self._splits(texts), tuple(sorted(os.path.basename(name) for name in self._texts(texts))))
        try:
            self._write_all({**texts, path: revision.text()})
            wrong = self.test()
            if wrong:
                raise DowntimeError(f"nginx refuses the new configuration, so the old one was put back: {wrong}")
            living = self._living(master)
            if set(living) - set(revision.workers):
                # Somebody else reloaded meanwhile: whether those workers read the old file or the new one, nobody knows.
                revision = dataclasses.replace(revision, workers=tuple(sorted({*living, *revision.workers})))
                self._write_all({path: revision.text()})
            self.reload(master)
            patience = self.reload_timeout if left is None else min(self.reload_timeout, max(LEAST, left))
            end = self.clock() + patience
            self._seen(revision, before, end, patience)
            self._relieved(master, revision, end, patience)
        except OSError as error:
            self._write_all(old)
            raise DowntimeError(f"{error.filename or self.directory} cannot be written: {error.strerror}; the old configuration was put back") from error
        except BaseException:
            self._write_all(old)
            raise
        return revision

    def _living(self, master: int) -> tuple[str, ...]:
        return tuple(worker.key for worker in self.workers(master))

    def _relieved(self, master: int, revision: Revision, end: float, patience: float) -> None:
        """Wait until no old worker takes connections any more: for a moment they do so beside the new ones."""
        while True:
            accepting = [worker.pid for worker in self.workers(master) if worker.key in revision.workers and not worker.stopping]
            if not accepting:
                return
            if self.clock() >= end:
                raise DowntimeError(f"nginx runs the new configuration, but {patience:g} s later its old workers "
                                    f"({', '.join(map(str, accepting))}) still take connections; the old files were put back")
            self.sleep(POLL)

    def _seen(self, revision: Revision, before: Revision | None, end: float, patience: float) -> None:
        matches, last = 0, ""
        while matches < MATCHES:
            last = self.served(revision.listen)
            matches = matches + 1 if last == revision.id else 0
            if matches:
                continue
            if self.clock() >= end:
                place = f"http://{revision.listen}/revision"
                told = (f"it still serves revision {last}" if before and last == before.id else f"{place} answers '{last[:40]}'" if last
                        else f"{place} does not answer")
                raise DowntimeError(
                    f"nginx was told to reload and passed its own check, but {patience:g} s later it does not run the new configuration ({told}); "
                    "its error log says why, such as a port that is taken; the old files were put back")
            self.sleep(POLL)
