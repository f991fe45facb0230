# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Swapping a process: a systemd and a process table that follow a script, with every order of events that real ones can have."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading

import limits
import pytest

from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap as _process_swap
from ansible_collections.zero.downtime.plugins.module_utils._artifact import process_swap_options as _process_swap_options
from ansible_collections.zero.downtime.plugins.module_utils._artifact import release as _release
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

URL = "http://127.0.0.1:8000/ready"
SOCKET = {"swap": "systemd_socket", "unit": "shop.service", "socket": "shop.socket", "overlap": "shop-overlap.service"}
COMMAND = {"swap": "command", "preset": "gunicorn", "pidfile": "/run/shop.pid", "start": "start-it", "stop": "stop-it"}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Host:
    """A root with three staged releases, of which the first one is active; subclasses say what runs there."""

    def __init__(self, path):
        self.path, self.root, self.clock = path, str(path / "srv"), Clock()
        self.digests = {}
        self.calls = []
        for label in ("1", "2", "3"):
            raw = io.BytesIO()
            with tarfile.open(fileobj=raw, mode="w") as tar:
                info = tarfile.TarInfo("VERSION")
                info.size = 1
                tar.addfile(info, io.BytesIO(label.encode()))
            self.digests[label] = hashlib.sha256(raw.getvalue()).hexdigest()
            (path / label).write_bytes(raw.getvalue())
            self.call("staged", label, artifact={"src": str(path / label), "remote_src": True, "digest": self.digests[label]})

    def world(self):
        return _release.World(now=self.clock, clock=self.clock, sleep=self.sleep, run=self.run, ask=self.ask, sync=lambda path: None,
                              processes=self.processes(), background=lambda work: lambda: None)

    def sleep(self, seconds):
        self.clock.sleep(seconds)

    def processes(self):
        return _process_swap.Processes()

    def run(self, argv, timeout, env=None, cwd=None):
        raise AssertionError(f"an unplanned call: {argv}")

    def ask(self, url, header, timeout):
        raise ConnectionRefusedError("Connection refused")

    def call(self, state, release, check=False, **options):
        params = {name: option.get("default") for name, option in _release.argument_spec().items()}
        params.update(root=self.root, state=state, release=release)
        for name, spec in (("artifact", _release.artifact_spec()), ("service", _release.service_spec()), ("running", _release.running_spec())):
            if name in options:
                options[name] = dict({key: option.get("default") for key, option in spec.items()}, **options[name])
        params.update(options)
        return _release.run(params, check, self.world())

    def activate(self, label, service, check=False, **options):
        return self.call("activated", label, check, service=service, running={"url": URL, "timeout": 3.0}, **options)

    def link(self):
        digest = os.path.basename(os.readlink(os.path.join(self.root, "current")))
        return next(label for label, known in self.digests.items() if known == digest)


class Systemd(Host):
    """Units that load, at their start, what the slot's link names. A release in C(bad) does not come up."""

    def __init__(self, path):
        self.units = {}
        self.bad = set()
        self.unready = set()
        self.properties = {
            "shop.socket": {"LoadState": "loaded", "ActiveState": "active", "Accept": "no", "Listen": ["0.0.0.0:8000 (Stream)"], "Triggers": "shop.service"},
            "shop-overlap.service": {"LoadState": "loaded", "Type": "notify", "TriggeredBy": "shop.socket"},
        }
        self.stuck = set()
        super().__init__(path)
        self.calls = []

    def run(self, argv, timeout, env=None, cwd=None):
        assert argv[0] == "systemctl" and env is None or env["RELEASE_ROOT"] == self.root
        verb, unit = argv[1], argv[-1]
        if verb == "show":
            known = {"ActiveState": "active" if unit in self.units else "inactive", **self.properties.get(unit, {})}
            lines = []
            for name in argv[2].partition("=")[2].split(","):
                values = known.get(name, "")
                lines += [f"{name}={value}" for value in (values if isinstance(values, list) else [values])]
            return 0, "\n".join(lines)
        if verb == "is-failed":
            return 1, "inactive"
        if verb == "status":
            return 3, "it has its reasons"
        self.calls.append(f"{verb} {unit}")
        self.units.pop(unit, None)
        if (verb, unit) in self.stuck:
            return 1, "Job failed"
        if verb in ("start", "restart"):
            if self.link() in self.bad:
                return 1, "Job failed"
            self.units[unit] = self.link()
        return 0, ""

    def ask(self, url, header, timeout):
        # The unit that was started last is the one that answers.
        if not self.units:
            raise ConnectionRefusedError("Connection refused")
        label = list(self.units.values())[-1]
        return (503 if label in self.unready else 200), self.digests[label]


@pytest.fixture
def systemd(tmp_path):
    found = Systemd(tmp_path)
    found.activate("1", SOCKET)
    assert found.units == {"shop.service": "1"} and found.calls == ["restart shop.service"]
    found.calls = []
    return found


# --- options


@pytest.mark.claim("swap-refused-before-changes")
@pytest.mark.parametrize("service, sentence", [
    ({"swap": "magic", "unit": "a"}, "service.swap is 'magic'; accepted are systemd_socket, command$"),
    ({"swap": "two_slots", "unit": "a"}, "service.swap is 'two_slots', which is deploy_strategy blue_green with a service and a pool of each side on this"),
    ({"pidfile": "/a", "command": "b"}, "service.pidfile is given without service.swap"),
    ({"swap": "command", "start": "a", "pidfile": "/a"}, r"service.swap is command, which needs one of service.preset \(gunicorn\) and service.steps$"),
    ({"swap": "command", "preset": "gunicorn", "start": "a"},
     r"service.pidfile is missing; preset gunicorn needs the file in which the server keeps its process id \(gunicorn --pid\)$"),
    ({**COMMAND, "preset": "thin"}, "service.preset is 'thin'; accepted are gunicorn$"),
    ({**COMMAND, "pidfile": "shop.pid"}, "service.pidfile is 'shop.pid'; an absolute path is accepted"),
    ({**COMMAND, "socket": "a.socket"}, "service.socket is given, which service.swap command does not use; it uses preset, "),
    ({**COMMAND, "undo": [{"signal": "TERM"}]}, "service.undo is given, which the preset knows; it is accepted with service.steps"),
    ({"swap": "command", "preset": "gunicorn", "pidfile": "/a", "unit": "a.service"}, "systemd would end the new process with the old one"),
    ({"swap": "systemd_socket", "unit": "a.service"}, "service.socket is missing; service.swap systemd_socket needs the systemd unit that holds the"),
    ({"swap": "systemd_socket", "socket": "a.socket", "start": "a"}, "service.unit is missing; service.swap systemd_socket needs the unit that serves"),
    ({**SOCKET, "overlap": "shop.service"}, "service.overlap is shop.service, as service.unit is; a second unit on the same socket is accepted"),
    ({**SOCKET, "overlap": None, "ready_url": "http://127.0.0.1:1/"}, "service.ready_url is given without service.overlap"),
    ({**SOCKET, "ready_url": "127.0.0.1:1"}, "service.ready_url is '127.0.0.1:1'; an http or https URL with a host is accepted"),
])
def test_options_refused(service, sentence):
    with pytest.raises(DowntimeError, match=sentence):
        _process_swap_options.check_options(service)


@pytest.mark.parametrize("step, sentence", [
    ("USR2", "is 'USR2'; a mapping with one of signal, command and until is accepted"),
    ({"signal": "USR2", "until": "new"}, "a mapping with one of signal, command and until is accepted"),
    ({"signal": "USR9"}, r"steps\[0\].signal is 'USR9'; the name of a signal such as USR2 is accepted"),
    ({"signal": "USR2", "to": "both"}, r"steps\[0\].to is 'both'; accepted are old, new"),
    ({"until": "luck"}, r"steps\[0\].until is 'luck'; accepted are new, ready, only_new, old_gone, new_gone, pidfile"),
    ({"until": "new", "timeout": 0}, r"steps\[0\].timeout is 0; a number of seconds above 0 is accepted"),
    ({"until": "new", "final": True}, r"steps\[0\] has final; with until accepted are until, timeout"),
    ({"command": "'"}, r"steps\[0\].command is \"'\", which cannot be split into words"),
    ({"signal": "HUP", "only_if": "rich"}, r"steps\[0\].only_if is 'rich'; accepted is old_idle"),
])
def test_step_refused(step, sentence):
    with pytest.raises(DowntimeError, match=sentence):
        _process_swap_options.check_options({"swap": "command", "start": "a", "pidfile": "/a", "steps": [step]})


def test_running_is_needed(systemd):
    with pytest.raises(DowntimeError, match="service.swap is systemd_socket, but running is missing: the release is read back through the port"):
        systemd.call("activated", "2", service=SOCKET)


# --- systemd's socket


@pytest.mark.claim("swap-overlap")
def test_second_unit_serves_while_the_first_one_restarts(systemd):
    result = systemd.activate("2", SOCKET)
    assert systemd.calls == ["start shop-overlap.service", "restart shop.service", "stop shop-overlap.service"]
    assert result["changed"] and result["swap"]["method"] == "systemd_socket" and systemd.link() == "2"
    assert not systemd.activate("2", SOCKET)["changed"] and len(systemd.calls) == 3
    systemd.activate("previous", SOCKET)
    assert systemd.units == {"shop.service": "1"} and systemd.link() == "1"


def test_restart_of_the_same_release_overlaps_too(systemd):
    assert systemd.activate("1", SOCKET, restart=True)["restarted"]
    assert systemd.calls == ["start shop-overlap.service", "restart shop.service", "stop shop-overlap.service"]


def test_the_first_start_brings_the_socket(systemd):
    systemd.units.clear()
    systemd.properties["shop.socket"]["ActiveState"] = "inactive"
    assert "swap" not in systemd.activate("2", SOCKET) and systemd.calls == ["restart shop.service"]


def test_check_mode_asks_and_changes_nothing(systemd):
    assert systemd.activate("2", SOCKET, check=True)["changed"]
    assert systemd.calls == [] and systemd.link() == "1"
    systemd.properties["shop.socket"]["ActiveState"] = "inactive"
    with pytest.raises(DowntimeError, match="does not hold the socket"):
        systemd.activate("2", SOCKET, check=True)


def test_plain_activation_tells_the_pause(systemd):
    result = systemd.activate("2", {**SOCKET, "overlap": None})
    assert systemd.calls == ["restart shop.service"] and systemd.units == {"shop.service": "2"}
    assert result["warnings"] == ["shop.service was restarted behind its held socket, with no errors, 0 ms pause; service.overlap names a second unit that "
                                  "would serve meanwhile"]


@pytest.mark.claim("swap-overlap-fails-first")
@pytest.mark.parametrize("overlap, calls", [
    ("shop-overlap.service", ["start shop-overlap.service", "stop shop-overlap.service"]),
    (None, ["restart shop.service", "restart shop.service"]),
])
def test_a_broken_release_leaves_the_old_one(systemd, overlap, calls):
    systemd.bad = {"2"}
    with pytest.raises(DowntimeError, match="release 2 .* did not take over: systemctl .* failed with rc 1: Job failed; release 1 .* goes on serving, and slot "
                                            "current points at it$") as caught:
        systemd.activate("2", {**SOCKET, "overlap": overlap})
    assert "it has its reasons" in caught.value.details["output"] and caught.value.details["kept"]
    assert systemd.calls == calls and systemd.units == {"shop.service": "1"} and systemd.link() == "1"
    assert not systemd.activate("1", SOCKET)["changed"]
    assert systemd.activate("3", SOCKET)["previous"] is None and systemd.link() == "3"


@pytest.mark.claim("swap-as-ready-as-before")
def test_a_release_that_is_up_but_not_ready_is_undone(systemd):
    systemd.unready = {"2"}
    with pytest.raises(DowntimeError, match="http://127.0.0.1:8000/ready answered 'status 503, .*' last, 3 s after shop.service was restarted; release 1"):
        systemd.activate("2", SOCKET)
    assert systemd.units == {"shop.service": "1"} and systemd.link() == "1"


def test_a_drained_member_need_not_be_readier_than_before(systemd):
    systemd.unready = {"1", "2"}
    assert systemd.activate("2", SOCKET)["running"]["status"] == 503


@pytest.mark.claim("swap-ready-url")
def test_the_second_unit_is_asked_directly(systemd):
    own = {**SOCKET, "ready_url": "http://127.0.0.1:9000/ready"}
    systemd.properties["shop-overlap.service"]["Type"] = "simple"
    systemd.activate("2", own)
    systemd.unready = {"3"}
    systemd.calls = []
    with pytest.raises(DowntimeError, match=r"http://127.0.0.1:9000/ready \(service.ready_url\) answered 'status 503, .* 3 s after shop-overlap.service was"):
        systemd.activate("3", own)
    assert systemd.calls == ["start shop-overlap.service", "stop shop-overlap.service"] and systemd.units == {"shop.service": "2"}


@pytest.mark.claim("swap-second-unit-serves-until-right")
def test_what_cannot_be_put_right_is_told(systemd):
    systemd.stuck = {("restart", "shop.service")}
    with pytest.raises(DowntimeError, match="slot current points at 1 .* again, but that it serves is not proven: systemctl restart shop.service failed"):
        systemd.activate("2", SOCKET)
    # The second unit is what serves, so it is left alone.
    assert systemd.units == {"shop-overlap.service": "2"}
    systemd.stuck = set()
    systemd.calls = []
    assert systemd.activate("2", SOCKET)["changed"]
    assert systemd.calls == ["restart shop.service", "stop shop-overlap.service", "start shop-overlap.service", "restart shop.service",
                             "stop shop-overlap.service"]
    assert systemd.units == {"shop.service": "2"}


@pytest.mark.claim("swap-sockets-refused")
@pytest.mark.parametrize("unit, name, value, sentence", [
    ("shop.socket", "LoadState", "not-found", "service.socket shop.socket is unknown to systemd, which therefore does not hold the socket"),
    ("shop.socket", "ActiveState", "inactive", "service.socket shop.socket is inactive, so systemd does not hold the socket; an active socket unit is"),
    ("shop.socket", "Accept", "yes", "service.socket shop.socket has Accept=yes, which starts a process for each connection; Accept=no is accepted"),
    ("shop.socket", "Listen", ["0.0.0.0:9000 (Stream)", "/run/shop.sock (Stream)"],
     "service.socket shop.socket holds 0.0.0.0:9000, /run/shop.sock, and not port 8000, which systemd therefore does not hold"),
    ("shop.socket", "Triggers", "other.service", "service.socket shop.socket belongs to other.service, not to service.unit shop.service"),
    ("shop-overlap.service", "LoadState", "not-found", "service.overlap shop-overlap.service is unknown to systemd"),
    ("shop-overlap.service", "TriggeredBy", "", "service.overlap shop-overlap.service does not get the socket of shop.socket; Sockets=shop.socket in its"),
    ("shop-overlap.service", "Type", "simple", "service.overlap shop-overlap.service has Type=simple, so systemd cannot know when it is ready"),
])
def test_a_socket_that_systemd_does_not_hold_is_refused(systemd, unit, name, value, sentence):
    systemd.properties[unit][name] = value
    with pytest.raises(DowntimeError, match=sentence):
        systemd.activate("2", SOCKET)
    assert systemd.calls == [] and systemd.link() == "1"


# --- by command


class Table(_process_swap.Processes):
    """Processes that follow signals as unicorn's and nginx's do: the old one takes another file, the new one has the pid file at once."""

    def __init__(self, host):
        self.host = host

    def find(self, pid):
        return _process_swap.Process(pid, "1") if pid in self.host.alive else None

    def named_by(self, path):
        pid = self.host.files.get(path)
        return self.find(pid) if pid else None

    def command_line(self, pid):
        return "unicorn master"

    def children(self, pid):
        return [pid + 1000] if pid in self.host.working else []

    def send(self, process, number):
        self.host.signalled(process.pid, number)


class Unicorn(Host):
    SERVICE = {
        "swap": "command", "pidfile": "/run/u.pid", "old_pidfile": "/run/u.pid.oldbin", "process": "unicorn", "start": ["start"], "timeout": 5.0,
        "steps": [{"signal": "USR2"}, {"until": "new"}, {"until": "ready"}, {"signal": "WINCH"}, {"until": "only_new"}, {"signal": "QUIT", "final": True},
                  {"until": "old_gone"}, {"until": "pidfile"}],
        "undo": [{"signal": "QUIT", "to": "new"}, {"until": "new_gone"}, {"signal": "HUP", "to": "old", "only_if": "old_idle"}],
    }

    def __init__(self, path):
        self.alive, self.working, self.files = {}, set(), {}
        self.signals = []
        self.bad, self.deaf = set(), set()
        self.die_at = None
        self.turn = 0
        super().__init__(path)

    def processes(self):
        return Table(self)

    def run(self, argv, timeout, env=None, cwd=None):
        assert argv == ["start"]
        self.begin(100)
        return 0, ""

    def begin(self, pid):
        self.alive[pid] = self.link()
        self.working.add(pid)
        self.files["/run/u.pid"] = pid

    def signalled(self, pid, number):
        name = number.name[3:]
        if name == self.die_at:
            raise KeyboardInterrupt
        self.signals.append(f"{name} {pid}")
        if name == "USR2":
            self.files["/run/u.pid.oldbin"] = pid
            if self.link() not in self.bad:
                self.begin(pid + 1)
        elif name == "WINCH":
            self.working.discard(pid)
        elif name == "HUP":
            self.alive[pid] = self.link()
            self.working.add(pid)
        elif name == "QUIT" and pid not in self.deaf:
            del self.alive[pid]
            self.working.discard(pid)
            if self.files["/run/u.pid"] == pid and "/run/u.pid.oldbin" in self.files:
                self.files["/run/u.pid"] = self.files["/run/u.pid.oldbin"]
            self.files.pop("/run/u.pid.oldbin", None)

    def ask(self, url, header, timeout):
        serving = sorted(self.working)
        if not serving:
            raise ConnectionRefusedError("Connection refused")
        self.turn += 1
        return 200, self.digests[self.alive[serving[self.turn % len(serving)]]]


@pytest.fixture
def unicorn(tmp_path):
    found = Unicorn(tmp_path)
    found.activate("1", found.SERVICE)
    return found


@pytest.mark.claim("swap-other-servers")
def test_steps_as_data(unicorn):
    result = unicorn.activate("2", unicorn.SERVICE)
    assert unicorn.signals == ["USR2 100", "WINCH 100", "QUIT 100"] and unicorn.alive == {101: "2"}
    assert result["swap"]["method"] == "command" and unicorn.link() == "2"


def test_no_new_process(unicorn):
    unicorn.bad = {"2"}
    with pytest.raises(DowntimeError, match="did not take over: after 3 s no new process runs beside the old one; release 1 .* goes on serving"):
        unicorn.activate("2", unicorn.SERVICE)
    # Its workers are there, so it need not bring them back.
    assert unicorn.signals == ["USR2 100"] and unicorn.link() == "1"


@pytest.mark.parametrize("then", ["1", "2", "3"])
@pytest.mark.parametrize("at", ["USR2", "WINCH", "QUIT"])
def test_killed_in_the_middle(unicorn, at, then):
    unicorn.die_at = at
    with pytest.raises(KeyboardInterrupt):
        unicorn.activate("2", unicorn.SERVICE)
    assert unicorn.link() == "2" and 100 in unicorn.alive
    unicorn.die_at = None
    assert unicorn.activate(then, unicorn.SERVICE)["changed"]
    assert list(unicorn.alive.values()) == [then] and unicorn.working == set(unicorn.alive) and unicorn.link() == then
    # What the old process loaded anew was its own release.
    assert not unicorn.activate(then, unicorn.SERVICE)["changed"]


def test_restart_killed_in_the_middle(unicorn):
    unicorn.die_at = "WINCH"
    with pytest.raises(KeyboardInterrupt):
        unicorn.activate("1", unicorn.SERVICE, restart=True)
    unicorn.die_at = None
    assert unicorn.activate("1", unicorn.SERVICE)["swap"]["resumed"]
    assert unicorn.alive == {101: "1"}


@pytest.mark.claim("swap-slow-end-of-the-old")
def test_old_requests_that_take_long(unicorn):
    unicorn.deaf = {100}
    result = unicorn.activate("2", unicorn.SERVICE)
    assert result["warnings"] == ["5 s after it was asked to go, the old process 100 still finishes requests; the new one serves, and the next swap has to "
                                  "wait for its end"]
    with pytest.raises(DowntimeError, match="process 100 still finishes its requests beside 101, from the swap before; another swap is possible when"):
        unicorn.activate("3", unicorn.SERVICE)
    assert not unicorn.activate("2", unicorn.SERVICE)["changed"] and unicorn.link() == "2"


def test_another_program_behind_the_pid_file(unicorn):
    with pytest.raises(DowntimeError, match="service.pidfile /run/u.pid names process 100, which is 'unicorn master' and no puma"):
        unicorn.activate("2", {**unicorn.SERVICE, "process": "puma"})
    unicorn.files.clear()
    with pytest.raises(DowntimeError, match="service.pidfile /run/u.pid names no running process, but http://127.0.0.1:8000/ready answers: a server without"):
        unicorn.activate("2", unicorn.SERVICE)
    assert unicorn.signals == [] and unicorn.link() == "1"


@pytest.mark.parametrize("line, found", [
    ("/usr/bin/python3 /usr/bin/gunicorn --pid x", True), ("python -m gunicorn", True), ("gunicorn: master [app]", True), ("/usr/bin/gunicorn3", True),
    ("python /usr/lib/gunicorn/__main__.py --pid x", True),
    ("python -m pytest test_gunicorn.py", False), ("vi /etc/gunicorn.conf", False), ("", False),
])
def test_whose_process_it_is(line, found):
    assert _process_swap._runs("gunicorn", line) is found


def test_a_command_as_a_step(unicorn):
    called = []

    def run(argv, timeout, env=None, cwd=None):
        called.append((argv, env["OLD_PID"], env["NEW_PID"], env["RELEASE_LABEL"], cwd))
        return (1, "no") if argv == ["refuse"] else (0, "")

    unicorn.run = run
    steps = [*unicorn.SERVICE["steps"][:3], {"command": "tell it"}, *unicorn.SERVICE["steps"][3:]]
    unicorn.activate("2", {**unicorn.SERVICE, "steps": steps})
    assert called == [(["tell", "it"], "100", "101", "2", unicorn.root)]
    steps[3] = {"command": ["refuse"]}
    with pytest.raises(DowntimeError, match="release 3 .* did not take over: refuse failed with rc 1: no; release 2 .* goes on serving"):
        unicorn.activate("3", {**unicorn.SERVICE, "steps": steps})


# --- the pause


@pytest.mark.claim("swap-tells-its-pause")
def test_watch_tells_the_longest_time_without_an_answer():
    clock = Clock()
    script = [0.01, 0.5, None, None, 0.02]

    def ask():
        seconds = script.pop(0)
        clock.sleep(0.1 if seconds is None else seconds)
        if seconds is None:
            raise ConnectionRefusedError

    watch = _process_swap.Watch(ask, clock, clock.sleep)
    for dummy in range(2):
        watch.once()
    assert watch.told() == {"pause_ms": 500, "asked": 2, "failed": 0, "summary": "no errors, 500 ms pause"}
    watch.pause = 0.0
    ending = threading.Event()
    watch.sleep = lambda seconds: (clock.sleep(seconds), ending.set() if len(script) == 1 else None)
    watch.run(ending)
    # From the first question without an answer to the answer of the last one.
    assert watch.told() == {"pause_ms": 260, "asked": 5, "failed": 2, "summary": "2 of 5 questions got no answer, 260 ms pause"}


def test_in_background_ends():
    begun = threading.Event()

    def work(ending):
        begun.set()
        ending.wait(10)

    end = _process_swap.in_background(work)
    assert begun.wait(10)
    end()


# --- processes, as they are here


def test_processes(tmp_path):
    table = _process_swap.Processes()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        path = tmp_path / "pid"
        path.write_text(f"{child.pid}\n")
        found = table.named_by(str(path))
        assert found and found.pid == child.pid and table.alive(found)
        # A process that has just begun may not have its own command line yet.
        limits.wait_until(lambda: table.command_line(child.pid), "the child has a command line")
        assert "time.sleep(60)" in table.command_line(child.pid) and child.pid in table.children(os.getpid())
        assert not table.alive(found._replace(started="1"))
        # Another process that has its id now is left alone.
        table.send(found._replace(started="1"), signal.SIGKILL)
        assert table.alive(found)
        table.send(found, signal.SIGKILL)
        child.wait()
    assert not table.alive(found) and table.named_by(str(path)) is None and table.command_line(child.pid) == ""
    assert table.named_by(str(tmp_path / "none")) is None
    path.write_text("")
    assert table.named_by(str(path)) is None
    path.write_text("many")
    with pytest.raises(DowntimeError, match="pid holds 'many'; the id of a process is accepted"):
        table.named_by(str(path))
    with pytest.raises(DowntimeError, match="cannot be read: Is a directory"):
        table.named_by(str(tmp_path))
