# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import threading

import pytest

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._haproxy import client


class Wire:
    """A scripted peer: what it must be sent, and what it answers, in given pieces."""

    def __init__(self, expected: bytes, pieces: list[bytes], hang: bool = False) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.expected, self.pieces, self.hang = expected, pieces, hang
        self.received = b""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while len(self.received) < len(self.expected):
            self.received += self.theirs.recv(65536)
        for piece in self.pieces:
            self.theirs.sendall(piece)
        if not self.hang:
            self.theirs.close()

    def open(self) -> client.Channel:
        def close() -> str:
            self.ours.close()
            return ""

        return client.Channel(self.ours.fileno(), self.ours.fileno(), close)


def ask(commands: list[str], pieces: list[bytes], hang: bool = False, timeout: float = 2.0) -> list[str]:
    wire = Wire(("\n".join(["prompt", *commands]) + "\n").encode(), pieces, hang)
    replies = client.Client("socket", "/run/x", timeout=timeout, opener=wire.open).ask_all(commands)
    assert wire.received == wire.expected
    return replies


@pytest.mark.claim("every-reply-is-read")
def test_every_reply_is_read_and_an_empty_one_is_a_reply():
    assert ask(["show version", "set server a/b state maint", "set server a/x state maint"],
               [b"\n> 2.6.12\n\n> \n> No such server.\n\n> "]) == ["2.6.12", "", "No such server."]


def test_prompts_may_come_in_pieces():
    whole = b"\n> 2.6.12\n\n> \n> last\n\n> "
    assert ask(["a", "b", "c"], [whole[n:n + 1] for n in range(len(whole))]) == ["2.6.12", "", "last"]


def test_the_master_has_another_prompt():
    assert ask(["show proc", "@!12 show version"], [b"master> #<PID>\n\nmaster> ", b"2.6.12\n\nmaster[ReloadFailed]> "]) == ["#<PID>", "2.6.12"]


def test_early_end_names_the_command_that_was_not_answered():
    with pytest.raises(DowntimeError, match="socket /run/x closed the connection without a whole reply to 'two'; it said: half"):
        ask(["one", "two"], [b"\n> 1\n\n> half"])


def test_silence_names_the_command():
    with pytest.raises(DowntimeError, match="socket /run/x did not answer 'two' within 0.1 s"):
        ask(["one", "two"], [b"\n> 1\n\n> "], hang=True, timeout=0.1)


def test_more_than_the_buffers_hold_in_both_directions():
    commands = [f"show something {n} {'x' * 200}" for n in range(5000)]

    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def echo() -> None:
        theirs.sendall(b"\n> ")
        pending = b""
        first = True
        while True:
            part = theirs.recv(4096)
            if not part:
                return
            *lines, pending = (pending + part).split(b"\n")
            for line in lines:
                if first:
                    first = False
                    continue
                theirs.sendall(line + b"\n\n> ")

    echoing = threading.Thread(target=echo, daemon=True)
    echoing.start()
    channel = client.Channel(ours.fileno(), ours.fileno(), lambda: ours.close() or "")
    assert client.Client("socket", "/run/x", opener=lambda: channel).ask_all(commands) == commands
    # It ends when it has read that ours is closed.
    echoing.join()
    theirs.close()


def test_command_as_socket(tmp_path):
    script = tmp_path / "fake"
    script.write_text("#!/bin/sh\nread a\nprintf '\\n> '\nread b\nprintf 'said %s on %s\\n\\n> ' \"$b\" \"$1\"\n")
    os.chmod(script, 0o755)
    assert client.Client("socket", "/run/x", [str(script), "UNIX:{socket}"]).ask_all(["hello"]) == ["said hello on UNIX:/run/x"]


def test_command_that_fails_says_why(tmp_path):
    script = tmp_path / "fake"
    script.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    os.chmod(script, 0o755)
    with pytest.raises(DowntimeError, match="socket_command .* failed: sudo: a password is required"):
        client.Client("socket", "/run/x", [str(script)]).ask_all(["hello"])


@pytest.mark.parametrize("address", ["admin.sock", "", "host", "host:", "host:0", "host:99999", "./x"])
def test_bad_addresses(address):
    with pytest.raises(DowntimeError, match="an absolute path of a UNIX socket, or host:port, is accepted"):
        client.Client("socket", address)


def test_parse_proc():
    workers = client.parse_proc(
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "24325           master          1 [failed: 0]   0d00h00m03s     2.6.12\n# workers\n"
        "24331           worker          0               0d00h00m00s     2.6.12\n"
        "# old workers\n24327           worker          1               1d02h03m04s     2.6.12\n# programs\n")
    assert workers == [client.Worker(24331, True, 0), client.Worker(24327, False, 93784)]


def test_parse_stat_and_state_refuse_what_is_something_else():
    with pytest.raises(DowntimeError, match="answered 'show stat' with: No such proxy"):
        client.parse_stat("No such proxy.")
    with pytest.raises(DowntimeError, match="answered 'show servers state' with: Can't find backend"):
        client.parse_servers_state("Can't find backend.")
    assert client.parse_stat('# pxname,svname,desc,\na,b,"x, ""y""",') == [{"pxname": "a", "svname": "b", "desc": 'x, "y"', "": ""}]
    assert client.parse_servers_state("1\n# be_name srv_name\nshop app1\n") == [{"be_name": "shop", "srv_name": "app1"}]
    assert client.parse_info("Name: HAProxy\nPid: 12\nnonsense") == {"Name": "HAProxy", "Pid": "12"}
