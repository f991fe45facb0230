# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy's command line protocol: one connection, pipelined commands, every reply read. Private to the collection.

Commands are sent after C(prompt), each on a line of its own: the prompt then ends each reply, so that an empty reply (success) is told
from one that has not come yet, and a reply that is cut short is never taken for a whole one. The same works on a worker's runtime
socket, on the master's, over TCP and through a command such as C(sudo socat).
"""

from __future__ import annotations

import csv
import grp
import os
import pwd
import re
import selectors
import socket
import stat
import subprocess
import time
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer

# The worker says "> ", the master "master> " or "master[ReloadFailed]> ".
PROMPT = re.compile(rb"(?:\A|\n)(?:master[^>\n]{0,40})?> ")
PLACEHOLDER = "{socket}"


class Gone(Exception):
    """The connection ended before all replies came; C(text) is what was read of the next one."""

    def __init__(self, text: str, replies: list[str]) -> None:
        super().__init__(text)
        self.text, self.replies = text, replies


class Channel:
    """A connected byte stream: a socket, or a command's standard input and output."""

    def __init__(self, reader: int, writer: int, close: t.Callable[[], str]) -> None:
        self.reader, self.writer = reader, writer
        self.close = close  # returns what there is to say about an early end


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _owner(path: str) -> str:
    """Owner and mode of the socket, or of the first directory on the way to it that hides it."""
    try:
        found = os.stat(path)
    except PermissionError:
        parent = os.path.dirname(path) or "/"
        return _owner(parent) if parent != path else "unknown owner"
    except OSError:
        return "unknown owner"
    try:
        user = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        user = str(found.st_uid)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    return f"{path} belongs to {user}:{group}, mode {stat.S_IMODE(found.st_mode):04o}"


def is_tcp(address: str) -> bool:
    """C(host:port) is TCP; anything with a slash is a path."""
    return "/" not in address and re.fullmatch(r".+:\d{1,5}", address) is not None


def check_address(option: str, address: str) -> None:
    """Refuse, before anything is opened, what is neither a path nor C(host:port)."""
    if is_tcp(address):
        if 0 < int(address.rpartition(":")[2]) < 65536:
            return
    elif address.startswith("/"):
        return
    raise DowntimeError(f"{option} is '{address}'; an absolute path of a UNIX socket, or host:port, is accepted")


def open_socket(option: str, address: str, timeout: float) -> Channel:
    """Connect to a UNIX path or to host:port."""
    try:
        if is_tcp(address):
            host, dummy, port = address.rpartition(":")
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout)
        else:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout)
                connection.connect(address)
            except BaseException:
                connection.close()
                raise
    except FileNotFoundError as error:
        raise NoAnswer(f"{option} is '{address}', which does not exist; haproxy makes it when it runs with such a stats socket") from error
    except PermissionError as error:
        raise DowntimeError(
            f"{option} is '{address}', which user {_user()} may not open ({_owner(address)}); become a user who may, or use socket_command") from error
    except (socket.timeout, BlockingIOError) as error:
        raise NoAnswer(f"{option} is '{address}', which did not accept a connection within {timeout:g} s") from error
    except ConnectionRefusedError as error:
        raise Refused(f"{option} is '{address}', where nothing listens; is haproxy running?") from error
    except OSError as error:
        raise DowntimeError(f"{option} is '{address}', which cannot be opened: {error}") from error
    connection.setblocking(False)

    def close() -> str:
        connection.close()
        return ""

    return Channel(connection.fileno(), connection.fileno(), close)


class Refused(NoAnswer):
    """Nothing listens: final for a worker, momentary for a master that executes itself again."""


def open_command(argv: t.Sequence[str]) -> Channel:
    """Start a command that hands its standard input and output to the socket, such as C(sudo socat - /run/haproxy/admin.sock)."""
    try:
        process = subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise DowntimeError(f"socket_command is {' '.join(argv)}, which cannot be started: {error}") from error
    if process.stdin is None or process.stdout is None:
        raise AssertionError("pipes were asked for")
    for pipe in (process.stdin, process.stdout):
        os.set_blocking(pipe.fileno(), False)

    def close() -> str:
        if process.stdin:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            # With its input at an end, socat and ssh leave by themselves.
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            try:
                process.kill()
                process.wait()
            except PermissionError:
                pass  # sudo runs as root; it leaves when its pipes are closed
        said = b""
        if process.stderr:
            if process.poll() is not None:
                said = process.stderr.read()
            process.stderr.close()
        if process.stdout:
            process.stdout.close()
        return " ".join(said.decode("utf-8", "replace").split())[:300]

    return Channel(process.stdout.fileno(), process.stdin.fileno(), close)


class Client:
    """Asks one HAProxy socket.

    :param option: the option's name, for sentences.
    :param address: a path or host:port.
    :param command: argv of a socket command; C({socket}) in it stands for C(address).
    :param opener: replaces the connection, for tests.
    """

    def __init__(self, option: str, address: str, command: t.Sequence[str] | None = None, timeout: float = 5.0,
                 opener: t.Callable[[], Channel] | None = None, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.option, self.address, self.timeout, self.clock = option, address, timeout, clock
        self.command = [part.replace(PLACEHOLDER, address) for part in command] if command else None
        if opener:
            self.open = opener
        elif self.command:
            self.open = lambda: open_command(self.command or [])
        else:
            check_address(option, address)
            self.open = lambda: open_socket(option, address, timeout)

    @property
    def label(self) -> str:
        return f"socket_command {' '.join(self.command)}" if self.command else f"{self.option} {self.address}"

    def ask(self, commands: t.Sequence[str]) -> list[str]:
        """Send all commands on one connection; return each one's reply, stripped. Raises Gone when the connection ends early."""
        channel = self.open()
        try:
            replies = self._converse(channel, commands)
        except BaseException as error:
            said = channel.close()
            if isinstance(error, Gone) and said:
                raise NoAnswer(f"{self.label} failed: {said}") from error
            raise
        channel.close()
        return replies

    def ask_all(self, commands: t.Sequence[str]) -> list[str]:
        """As C(ask), where an early end is a failure."""
        try:
            return self.ask(commands)
        except Gone as error:
            unanswered = commands[min(len(error.replies), len(commands) - 1)]
            raise NoAnswer(f"{self.label} closed the connection without a whole reply to '{unanswered}'"
                           + (f"; it said: {error.text}" if error.text else "")) from error

    def _converse(self, channel: Channel, commands: t.Sequence[str]) -> list[str]:
        # Writing and reading take turns: haproxy stops reading while nobody takes its replies.
        outgoing = memoryview(("\n".join(["prompt", *commands]) + "\n").encode())
        incoming = bytearray()
        ends: list[tuple[int, int]] = []
        deadline = self.clock() + self.timeout
        with selectors.DefaultSelector() as waiting:
            waiting.register(channel.reader, selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.reader == channel.writer else 0))
            if channel.reader != channel.writer:
                waiting.register(channel.writer, selectors.EVENT_WRITE)
            while len(ends) <= len(commands):
                ready = waiting.select(max(0.0, deadline - self.clock()))
                if not ready and self.clock() >= deadline:
                    waited_for = (["prompt", *commands])[len(ends)]
                    raise NoAnswer(f"{self.label} did not answer '{waited_for}' within {self.timeout:g} s")
                for key, mask in ready:
                    if mask & selectors.EVENT_WRITE and outgoing:
                        outgoing = self._write(channel, outgoing)
                        if not outgoing:
                            if channel.reader == channel.writer:
                                waiting.modify(channel.reader, selectors.EVENT_READ)
                            else:
                                waiting.unregister(channel.writer)
                    if mask & selectors.EVENT_READ:
                        try:
                            part = os.read(channel.reader, 1 << 18)
                        except BlockingIOError:
                            continue
                        except ConnectionError:
                            part = b""
                        if not part:
                            start = ends[-1][1] if ends else 0
                            raise Gone(incoming[start:].decode("utf-8", "replace").strip(), _replies(incoming, ends))
                        # A prompt may have come in two parts, so the search starts a little before the new one.
                        start = max(ends[-1][1] if ends else 0, len(incoming) - 50)
                        incoming += part
                        deadline = self.clock() + self.timeout
                        ends += [found.span() for found in PROMPT.finditer(incoming, start)]
        return _replies(incoming, ends)

    def _write(self, channel: Channel, outgoing: memoryview) -> memoryview:
        try:
            return outgoing[os.write(channel.writer, outgoing[:1 << 16]):]
        except BlockingIOError:
            return outgoing
        except (BrokenPipeError, ConnectionResetError):
            return outgoing[len(outgoing):]  # the reason is read from the other direction


def _replies(incoming: bytearray, ends: t.Sequence[tuple[int, int]]) -> list[str]:
    # The first prompt answers the command "prompt" itself.
    return [incoming[before[1]:after[0]].decode("utf-8", "replace").strip() for before, after in zip(ends, ends[1:])]


# -- what replies mean -----------------------------------------------------------------------------------------------------

class Worker(t.NamedTuple):
    pid: int
    current: bool
    uptime_s: int

    def as_dict(self) -> dict[str, t.Any]:
        return self._asdict()


def parse_info(text: str) -> dict[str, str]:
    """C(show info)."""
    return {key: value.strip() for key, colon, value in (line.partition(":") for line in text.splitlines()) if colon}


def parse_stat(text: str, only: t.Collection[tuple[str, str]] | None = None) -> list[dict[str, str]]:
    """C(show stat): rows by column name; C(only) those of these pools and servers.

    The others are left out before they are taken apart: a poll looks at a few servers of perhaps a thousand, 20 times a second.
    """
    if not text.startswith("# "):
        raise DowntimeError(f"haproxy answered 'show stat' with: {text[:200]}")
    lines = text[2:].splitlines()
    header = lines[0].split(",")
    wanted = lines[1:] if only is None else [line for line in lines[1:] if tuple(line.split(",", 2)[:2]) in only]
    return [dict(zip(header, row)) for row in csv.reader(wanted) if row]


def parse_servers_state(text: str, only: t.Collection[tuple[str, str]] | None = None) -> list[dict[str, str]]:
    """C(show servers state): rows by column name; C(only) those of these pools and servers."""
    lines = text.splitlines()
    if len(lines) < 2 or lines[0].strip() != "1" or not lines[1].startswith("# "):
        raise DowntimeError(f"haproxy answered 'show servers state' with: {text[:200]}")
    header = lines[1][2:].split()
    rows = (dict(zip(header, line.split())) for line in lines[2:] if line.strip())
    return [row for row in rows if only is None or (row["be_name"], row["srv_name"]) in only]


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)d)?\s*(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not found:
        return 0
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def parse_proc(text: str) -> list[Worker]:
    """C(show proc) of the master: its workers, and those from before the last reload."""
    workers: list[Worker] = []
    current = True
    for line in text.splitlines():
        if line.startswith("# "):
            current = line.strip() != "# old workers"
            continue
        fields = line.split()
        if len(fields) >= 4 and fields[0].isdigit() and fields[1] == "worker":
            workers.append(Worker(int(fields[0]), current, _seconds(fields[3])))
    return workers
