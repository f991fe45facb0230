# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which balancers a deploy goes on without, and the proof that they do not serve. Private to the collection.

A balancer that serves and is left out would send requests to members while they are restarted. So a person's word is not enough: it
neither answers on its socket nor takes connections where its clients come in.
"""

from __future__ import annotations

import errno
import re
import socket
import typing as t
import urllib.parse

from ansible_collections.zero.downtime.plugins.module_utils import _commands
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError

CONNECT_TIMEOUT = 2.0
# What says that nobody is there, and not that this controller could not ask.
DEAD = {errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ECONNRESET}


def named(entries: t.Sequence[str], balancers: t.Sequence[str], runs_on: str) -> dict[str, int | None]:
    """The balancers to leave out, each with the port that was given for it. Raises DowntimeError for what cannot be left out."""
    if entries and runs_on != "balancers":
        raise DowntimeError(f"deploy_without is '{', '.join(entries)}', but this driver has no balancers that could be left out")
    found: dict[str, int | None] = {}
    for entry in entries:
        name, port = entry, None
        match = re.fullmatch(r"(.+):(\d{1,5})", entry)
        if match and entry not in balancers:
            name, port = match[1], int(match[2])
        if name not in balancers:
            raise DowntimeError(f"deploy_without is '{entry}', which is no balancer of this application; {', '.join(balancers)} are, with or without :port")
        if port is not None and not 0 < port < 65536:
            raise DowntimeError(f"deploy_without is '{entry}'; a port from 1 to 65535 is accepted")
        found[name] = port
    if found and not set(balancers) - set(found):
        raise DowntimeError(f"deploy_without is '{', '.join(entries)}', which leaves no balancer; at least one of {', '.join(balancers)} has to answer")
    return found


def port_of(url: str | None, connect_to: str | None) -> int | None:
    """The port at which clients come in, as the probe has it."""
    if connect_to:
        port = connect_to.rpartition(":")[2]
        return int(port) if port.isdigit() else None
    if not url:
        return None
    parts = urllib.parse.urlsplit(url)
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def prove(name: str, answer: t.Mapping[str, t.Any] | None, address: str, port: int | None, run: t.Mapping[str, t.Any],
          connect: t.Callable[..., t.Any] = socket.create_connection) -> None:
    """Raise DowntimeError unless the balancer is proven not to serve.

    :param answer: what its info module returned; None for a driver without one.
    :param run: what a command that runs the same once more has to name (C(_commands.again)).
    """
    if answer is not None and not answer.get("failed"):
        raise DowntimeError(f"deploy_without names {name}, but its balancer answers: one that may serve is not left out; it can be part of the deploy")
    if answer is not None and not (answer.get("unreachable_host") or answer.get("silent")):
        raise DowntimeError(f"deploy_without names {name}, which is not proven dead: {answer.get('msg')}")
    if port is None:
        raise DowntimeError(f"deploy_without names {name}, but without deploy_evidence_url nobody knows where it would serve; "
                            f"name its port, as in {_commands.again(run, deploy_without=name + ':443')}")
    try:
        connect((address, port), timeout=CONNECT_TIMEOUT).close()
    except socket.gaierror as error:
        raise DowntimeError(f"deploy_without names {name}, whose address {address} is not known here ({error.strerror}), so nobody can tell whether it "
                            "serves") from error
    except socket.timeout:
        return
    except OSError as error:
        if error.errno in DEAD:
            return
        raise DowntimeError(f"deploy_without names {name}, and {address}:{port} cannot be tried from here: {error.strerror or error}") from error
    raise DowntimeError(f"deploy_without names {name}, but {address}:{port} takes connections, so it may serve, and only a balancer that does not is left out; "
                        f"where another program answers there, name the port of the balancer itself: "
                        + _commands.again(run, deploy_without=f"{name}:PORT"))


def hint(name: str, answer: t.Mapping[str, t.Any], balancers: t.Sequence[str], run: t.Mapping[str, t.Any]) -> str:
    """What a person can do about a balancer that does not answer, when others do."""
    if len(balancers) < 2 or not (answer.get("unreachable_host") or answer.get("silent")):
        return ""
    return f"; if it is known to be dead, {_commands.again(run, deploy_without=name)} goes on without it"
