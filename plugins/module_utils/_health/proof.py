# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which release answers, by the header that it sends, and what an answer without it is worth. Pure. Private to the collection.

An answer with another digest is the old release, still running. One that is ready and has no header may be anybody's: a release that runs and does not
send it, or a configuration that names the wrong one. The deploy asks beforehand who sends the header, so that it can tell.
"""

from __future__ import annotations

import typing as t

# The header is needed; needed, and what ran before sends it, so that an answer without it is another release's; readiness alone is accepted, too.
NEEDED, SEEN, OPTIONAL = "needed", "seen", "optional"
OPTION: dict[str, t.Any] = {"type": "str", "choices": [NEEDED, SEEN, OPTIONAL], "default": NEEDED}
# With SEEN, so many seconds of ready answers without the header are enough to know.
AFTER = 5.0


def without(header: str) -> str:
    """What an answer lacks, for a sentence that has said that there is one."""
    return f"but without the header {header}, so which release answers is unproven"


def forward(plan: t.Mapping[str, t.Any], name: str) -> str:
    """What is asked of the release that a member gets.

    A rollback, or a restart of what does not send it, may go to what served before there was a header: nobody can add one to it. What has sent it
    before has to send it again; an answer without it is then of a process that was there before.
    """
    headers = plan.get("headers") or {}
    if plan["verb"] == "rollback" and name in plan.get("tells", ()):
        return NEEDED
    if plan["verb"] == "rollback" or (plan["verb"] == "restart" and name in headers.get("lacking", ())):
        return OPTIONAL
    return SEEN if name in headers.get("sent", ()) else NEEDED


def back(plan: t.Mapping[str, t.Any], name: str) -> str:
    """What is asked of the release that a member goes back to: the header only where it was seen to send it."""
    return NEEDED if name in (plan.get("headers") or {}).get("sent", ()) else OPTIONAL


def tells(plan: t.Mapping[str, t.Any], staged: t.Mapping[str, t.Mapping[str, t.Any]], digest: str) -> list[str]:
    """The members on whose hosts a release has said by the plan's header that it runs, by what staging found there."""
    header = str((plan.get("health") or {}).get("header") or "").lower()
    return [name for name, result in staged.items() if header and (result.get("told") or {}).get(digest) == header]


def sorted_out(answers: t.Iterable[t.Mapping[str, t.Any]], good: t.Collection[int]) -> dict[str, list[str]]:
    """From what members answered (C(name), C(status), C(digest)), who sends the header (C(sent)) and who is ready without it (C(lacking))."""
    found: dict[str, list[str]] = {"sent": [], "lacking": []}
    for answer in answers:
        if answer.get("digest"):
            found["sent"].append(answer["name"])
        elif answer.get("status") in good:
            found["lacking"].append(answer["name"])
    return found


def lacking(verb: str, header: str) -> str:
    """What is to be said of a release that is ready and does not send the header."""
    ahead = {"rollback": "what it goes back to is accepted by its readiness alone, too, unless it has sent it before",
             "restart": "it is accepted by its readiness alone"}.get(
        verb, "the new one has to send it, and going back to this one is accepted by its readiness alone")
    return f"is ready, {without(header)}; {ahead}"


def warning(verb: str, header: str, names: t.Sequence[str]) -> str:
    """The sentence of a plan about members whose release does not send the header."""
    return f"deploy_health.header: what runs now on {', '.join(names)} {lacking(verb, header)}"
