# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a process swap is written down: the methods, the presets, and what is refused. Private to the collection.

Apart from the swap itself, since a plan only has to check it.
"""

from __future__ import annotations

import os
import signal
import typing as t
import urllib.parse

from ansible_collections.zero.downtime.plugins.module_utils._argv import argv_of
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url

METHODS = ("systemd_socket", "command")
TWO_SLOTS = "two_slots"

# What a step may wait for, and what is said where it does not come.
UNTIL = {
    "new": "no new process runs beside the old one",
    "ready": "the new release has not answered through the port, as ready as the old one was",
    "only_new": "the new release does not answer alone",
    "old_gone": "the old process has not ended",
    "new_gone": "the new process has not ended",
    "pidfile": "the pid file does not name the new process",
}
WHO = ("old", "new")

# {pidfile} stands for service.pidfile. The step marked final is the point of no return: before it, the old process can still be left to serve.
PRESETS: dict[str, dict[str, t.Any]] = {
    "gunicorn": {
        "process": "gunicorn",
        "new_pidfile": "{pidfile}.2",
        "steps": [
            {"signal": "USR2", "to": "old"},
            {"until": "new"},
            {"until": "ready"},
            # The old workers finish their requests. (A gunicorn that is no daemon passes over it; then TERM does the same.)
            {"signal": "WINCH", "to": "old"},
            {"signal": "TERM", "to": "old", "final": True},
            {"until": "old_gone"},
            {"until": "only_new"},
            {"until": "pidfile"},
        ],
        "undo": [
            {"signal": "TERM", "to": "new"},
            {"until": "new_gone"},
            # Brings back the workers that WINCH sent away. An old process that has its workers is left alone: it would load its release anew.
            {"signal": "HUP", "to": "old", "only_if": "old_idle"},
        ],
    },
}

_OWN = ("overlap", "socket", "ready_url", "preset", "steps", "undo", "pidfile", "new_pidfile", "old_pidfile", "process")
_NEEDED = {"systemd_socket": ("unit", "socket"), "command": ("pidfile",)}
_TAKEN = {"systemd_socket": ("socket", "overlap", "ready_url"),
          "command": ("preset", "steps", "undo", "pidfile", "new_pidfile", "old_pidfile", "process")}


def spec() -> dict[str, t.Any]:
    """The options of C(service) that belong to swapping."""
    return {
        "swap": {"type": "str", "choices": list(METHODS)},
        "socket": {"type": "str"},
        "overlap": {"type": "str"},
        "ready_url": {"type": "str"},
        "preset": {"type": "str", "choices": sorted(PRESETS)},
        "pidfile": {"type": "path"},
        "new_pidfile": {"type": "path"},
        "old_pidfile": {"type": "path"},
        "process": {"type": "str"},
        "steps": {"type": "list", "elements": "dict"},
        "undo": {"type": "list", "elements": "dict"},
    }


def check_options(service: t.Mapping[str, t.Any], path: str = "service.") -> None:
    """Refuse options that do not go together, in one sentence."""
    given = {name for name, value in service.items() if value}
    method = service.get("swap")
    if not method:
        stray = [name for name in _OWN if name in given]
        if stray:
            raise DowntimeError(f"{path}{stray[0]} is given without {path}swap; {path}swap is one of {', '.join(METHODS)}")
        return
    if method == TWO_SLOTS:
        raise DowntimeError(f"{path}swap is '{TWO_SLOTS}', which is deploy_strategy blue_green with a service and a pool of each side on this host; "
                            f"accepted are {', '.join(METHODS)}")
    if method not in METHODS:
        raise DowntimeError(f"{path}swap is {method!r}; accepted are {', '.join(METHODS)}")
    stray = [name for name in _OWN if name in given and name not in _TAKEN[method]]
    if stray:
        raise DowntimeError(f"{path}{stray[0]} is given, which {path}swap {method} does not use; it uses {', '.join(_TAKEN[method])}")
    if method == "command" and len({"preset", "steps"} & given) != 1:
        raise DowntimeError(f"{path}swap is command, which needs one of {path}preset ({', '.join(sorted(PRESETS))}) and {path}steps")
    for name in _NEEDED[method]:
        if name not in given:
            why = {"pidfile": "the file in which the server keeps its process id (gunicorn --pid)", "unit": "the unit that serves",
                   "socket": "the systemd unit that holds the listening socket"}[name]
            whose = f"preset {service['preset']}" if service.get("preset") else f"{path}swap {method}"
            raise DowntimeError(f"{path}{name} is missing; {whose} needs {why}")
    if method == "command":
        _check_command(service, given, path)
    elif service.get("overlap") == service["unit"]:
        raise DowntimeError(f"{path}overlap is {service['overlap']}, as {path}unit is; a second unit on the same socket is accepted")
    elif service.get("ready_url"):
        if not service.get("overlap"):
            raise DowntimeError(f"{path}ready_url is given without {path}overlap, whose readiness it tells")
        parts = urllib.parse.urlsplit(service["ready_url"])
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DowntimeError(f"{path}ready_url is {shown_url(str(service['ready_url']))!r}; an http or https URL with a host is accepted")


def _check_command(service: t.Mapping[str, t.Any], given: t.Collection[str], path: str) -> None:
    if service.get("preset"):
        if service["preset"] not in PRESETS:
            raise DowntimeError(f"{path}preset is {service['preset']!r}; accepted are {', '.join(sorted(PRESETS))}")
        stray = [name for name in ("undo", "new_pidfile", "old_pidfile", "process") if name in given]
        if stray:
            raise DowntimeError(f"{path}{stray[0]} is given, which the preset knows; it is accepted with {path}steps")
        if service["preset"] == "gunicorn" and "unit" in given:
            raise DowntimeError(f"{path}unit is given with preset gunicorn: systemd would end the new process with the old one; "
                                f"{path}start and {path}stop, or {path}swap systemd_socket, are accepted")
    for name in ("pidfile", "new_pidfile", "old_pidfile"):
        if service.get(name) and not os.path.isabs(service[name]):
            raise DowntimeError(f"{path}{name} is {service[name]!r}; an absolute path is accepted")
    for name in ("steps", "undo"):
        for index, step in enumerate(service.get(name) or []):
            _check_step(step, f"{path}{name}[{index}]")


def _check_step(step: t.Any, path: str) -> None:
    kinds = [kind for kind in ("signal", "command", "until") if kind in step] if isinstance(step, dict) else []
    if len(kinds) != 1:
        raise DowntimeError(f"{path} is {step!r}; a mapping with one of signal, command and until is accepted")
    accepted = {"signal": ("signal", "to", "final", "only_if"), "command": ("command", "final", "only_if"), "until": ("until", "timeout")}[kinds[0]]
    for name in step:
        if name not in accepted:
            raise DowntimeError(f"{path} has {name}; with {kinds[0]} accepted are {', '.join(accepted)}")
    if "signal" in step:
        signal_of(step["signal"], path)
        if step.get("to", "old") not in WHO:
            raise DowntimeError(f"{path}.to is {step['to']!r}; accepted are {', '.join(WHO)}")
    if "until" in step and step["until"] not in UNTIL:
        raise DowntimeError(f"{path}.until is {step['until']!r}; accepted are {', '.join(UNTIL)}")
    if step.get("only_if", "old_idle") != "old_idle":
        raise DowntimeError(f"{path}.only_if is {step['only_if']!r}; accepted is old_idle")
    if not isinstance(step.get("timeout", 1), (int, float)) or isinstance(step.get("timeout"), bool) or step.get("timeout", 1) <= 0:
        raise DowntimeError(f"{path}.timeout is {step['timeout']!r}; a number of seconds above 0 is accepted")
    if "command" in step:
        argv_of(path + ".command", step["command"])


def signal_of(name: t.Any, path: str) -> signal.Signals:
    text = str(name).upper()
    try:
        return signal.Signals["SIG" + text.replace("SIG", "", 1) if text.startswith("SIG") else "SIG" + text]
    except KeyError:
        raise DowntimeError(f"{path}.signal is {name!r}; the name of a signal such as USR2 is accepted") from None
