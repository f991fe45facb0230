# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one thing that runs in a slot, and asking it which release it runs. Private to the collection."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._argv import argv_of
from ansible_collections.zero.downtime.plugins.module_utils._artifact.store import Release
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

_OUTPUT_LINES = 12

Runner = t.Callable[..., "tuple[int | None, str]"]


class ActivationError(DowntimeError):
    """A service that did not come (or go) as asked."""

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.details = details


def default_run(argv: t.Sequence[str], timeout: float, env: t.Mapping[str, str] | None = None, cwd: str | None = None) -> tuple[int | None, str]:
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


def default_ask(url: str, header: str, timeout: float) -> tuple[int, str | None]:
    """C((status, header's value)) of one GET; OSError and the like when there is no answer."""
    # Where nothing is asked, loading HTTP and TLS would take longer than the rest.
    import urllib.error  # pylint: disable=import-outside-toplevel
    import urllib.request  # pylint: disable=import-outside-toplevel

    class Refused(urllib.request.HTTPRedirectHandler):
        """The running release is read from the service itself, not from where it redirects."""

        def redirect_request(self, *args: t.Any, **kwargs: t.Any) -> None:
            return None

    # Without proxies: this is the service on this very host.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Refused)
    request = urllib.request.Request(url, headers={"Connection": "close", "User-agent": "zero.downtime"})
    try:
        with opener.open(request, timeout=timeout) as response:
            return response.status, response.headers.get(header)
    except urllib.error.HTTPError as error:
        # A member whose readiness is 503 still says which release it runs.
        with error:
            return error.code, error.headers.get(header)


class Service:
    """The one thing that runs in a slot: a systemd unit or commands."""

    def __init__(self, options: t.Mapping[str, t.Any], run: Runner = default_run) -> None:
        self.run = run
        self.timeout: float = options.get("timeout") or 120.0
        self.unit: str | None = options.get("unit")
        self.systemctl = ["systemctl"] + (["--user"] if options.get("scope") == "user" else [])
        self.commands = {name: argv_of("service." + name, options.get(name)) for name in ("command", "start", "stop", "status")}
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
            rc, output = self.run(self.systemctl + ["is-active", self.unit], self.timeout)
            word = output.strip().splitlines()[-1] if output.strip() else ""
            if word in ("active", "reloading", "activating", "refreshing"):
                return True
            if word in ("inactive", "failed", "deactivating", "unknown", "maintenance"):
                return False
            raise DowntimeError(f"service.unit {self.unit}: systemctl is-active ended with rc {rc}: {tail(output)}")
        if self.commands["status"]:
            rc, output = self.run(self.commands["status"], self.timeout)
            if rc is None:
                raise DowntimeError(f"service.status did not end within {self.timeout:g} s (service.timeout): {tail(output)}")
            return rc == 0
        return None

    def known(self) -> None:
        """Raises DowntimeError for a unit that systemd does not know, or may not start."""
        dummy, output = self.run(self.systemctl + ["show", "--property=LoadState", self.unit], self.timeout)
        state = output.strip().rpartition("LoadState=")[2]
        if state != "loaded":
            raise DowntimeError(f"service.unit {self.unit} is {state or 'unknown'} to systemd, so it cannot be started; a unit that is loaded is accepted")

    def restart(self, root: str, slot: str, release: Release, stands: str) -> None:
        """Let the slot run what its link names, where that is one command."""
        env = environment(root, slot, release)
        if self.unit:
            self._do(self.systemctl + ["restart", self.unit], env, root, stands)
            self._not_failed(stands)
        else:
            self._do(t.cast("list[str]", self.commands["command"]), env, root, stands)

    @property
    def apart(self) -> bool:
        """Whether starting and stopping are two commands, so that nothing of the old release may run beside the new one."""
        return bool(self.commands["start"])

    def halt(self, root: str, slot: str, release: Release | None, was_up: bool | None, stands: str) -> list[str]:
        """Stop what runs, if anything does; what did not go smoothly, as warnings."""
        up = self.is_up()
        if up is None:
            up = was_up
        if not self.commands["stop"] or up is False:
            return []
        try:
            self._do(self.commands["stop"], environment(root, slot, release), root, stands)
        except ActivationError as error:
            if up:
                raise
            # Perhaps there was nothing to stop. If there was, the start or the read-back fails.
            return [f"it is not known whether slot {slot} ran anything, and stopping it did not succeed: {error}"]
        return []

    def start(self, root: str, slot: str, release: Release, stands: str) -> None:
        self._do(t.cast("list[str]", self.commands["start"]), environment(root, slot, release), root, stands)

    def stop(self, root: str, slot: str, release: Release | None) -> None:
        stands = f"slot {slot} points at {release}" if release else f"slot {slot} points at no release"
        argv = self.systemctl + ["stop", self.unit] if self.unit else t.cast("list[str]", self.commands["stop"])
        self._do(argv, environment(root, slot, release), root, stands)

    def _not_failed(self, stands: str) -> None:
        """systemctl restart returns at once for simple units; one that dies at its start has failed by now or will answer nothing."""
        rc, output = self.run(self.systemctl + ["is-failed", self.unit], self.timeout)
        if rc == 0 and output.strip() == "failed":
            raise ActivationError(f"service.unit {self.unit} failed right after its restart: {self._why()}; {stands}", rc=1)

    def _why(self) -> str:
        """systemd's own words, since systemctl restart only says where to look."""
        dummy, output = self.run(self.systemctl + ["status", "--no-pager", "--full", f"--lines={_OUTPUT_LINES}", self.unit], self.timeout)
        return tail(output)

    def _do(self, argv: t.Sequence[str], env: t.Mapping[str, str], root: str, stands: str) -> None:
        try:
            rc, output = self.run(argv, self.timeout, env, root)
        except DowntimeError as error:
            raise ActivationError(f"{error}; {stands}", rc=None) from error
        if rc == 0:
            return
        shown = shlex.join(argv)
        lines = tail(output)
        if self.unit and rc is not None:
            lines = f"{lines}\n{self._why()}"
        if rc is None:
            raise ActivationError(f"{shown} did not end within {self.timeout:g} s (service.timeout) and was killed, its last lines: {lines}; {stands}", rc=None,
                                  output=lines)
        raise ActivationError(f"{shown} failed with rc {rc}, its last lines: {lines}; {stands}", rc=rc, output=lines)


def environment(root: str, slot: str, release: Release | None) -> dict[str, str]:
    """What commands find in their environment."""
    return {"RELEASE_ROOT": root, "RELEASE_SLOT": slot, "RELEASE_DIGEST": release.digest if release else "",
            "RELEASE_LABEL": (release.label or "") if release else ""}


def tail(output: str) -> str:
    """The last lines of what a command wrote, for a sentence."""
    lines = [line.rstrip() for line in output.strip().splitlines() if line.strip()]
    return "\n".join(lines[-_OUTPUT_LINES:])[-2000:] or "(no output)"
