# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be said of what runs now, by its readiness check: one rule for the plan and for doctor. Pure. Private to
the collection.

An answer that no gate takes is no reason to refuse a deploy: a release that brings the path is legitimate, and the one
before it cannot answer. A restart brings nothing new, so a path that is not there fails it for certain.
"""

from __future__ import annotations

import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, shown_url

Health = t.Mapping[str, t.Any]
Answer = t.Mapping[str, t.Any]


def unready(verb: str, idle: bool, health: Health, answer: Answer) -> str | None:
    """What one member answered that no gate takes, and what comes of it. None where a gate takes it, or would with the
    header, which is another matter, or where nobody waited for it as long as a gate does.

    :param idle: whether the release goes to the side that does not serve.
    :param answer: C(ok), C(unproven), C(status) and C(detail), as the health gate has them.
    """
    if answer["ok"] or answer.get("unproven") or answer.get("timed_out"):
        return None
    path = shown_url(health["path"])
    now = f"{answer['detail']} at {path}" if answer["status"] else f"did not answer at {path} ({answer['detail']})"
    return f"{now}; {_ahead(verb, idle, health)}"


def _ahead(verb: str, idle: bool, health: Health) -> str:
    fails = f"or its gate fails after {health['timeout']} s"
    needed = f"has to answer {' or '.join(map(str, health['status']))} there, {fails}"
    if verb == "restart":
        return f"begun anew, it {needed}"
    if verb == "rollback":
        return f"what it goes back to {needed}"
    # Going back has the same gate.
    return f"the new release {needed}" + (
        "" if idle else "; what goes back to this one passes none either, and stays out of traffic"
    )


def warnings(verb: str, idle: bool, health: Health, answers: t.Iterable[Answer]) -> list[str]:
    """The sentences of a plan, each with the members that it is about."""
    names: dict[str, list[str]] = {}
    for answer in answers:
        if text := unready(verb, idle, health, answer):
            names.setdefault(text, []).append(answer["name"])
    return [f"deploy_health: what runs now on {', '.join(who)} {text}" for text, who in names.items()]


def check_restart(verb: str, health: Health, answers: t.Iterable[Answer]) -> None:
    """Refuse to restart what does not know the path: each member would fail its gate, and stay out."""
    lacking = [answer["name"] for answer in answers if answer["status"] == 404 and 404 not in health["status"]]
    if verb == "restart" and lacking:
        raise DowntimeError(
            f"deploy_health.path is {shown_url(health['path'])}, which {', '.join(lacking)} answers with 404: begun anew "
            "it is the same release, and would not pass its gate; a path that it answers is accepted"
        )
