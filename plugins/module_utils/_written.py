# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options as the user wrote them: a deploy's modules name their own options, and the user has written variables. Private to the collection.

A module that somebody uses in a playbook of his own names its options as he wrote them there. In the collection's roles the same sentence goes through
C(sentence), which puts the variable in the option's place. A test holds that no sentence has an option without one.
"""

from __future__ import annotations

import functools
import re
import typing as t

# By option, the variable that a user has written. Options of drivers come with the drivers (learn).
VARIABLES: dict[str, str] = {
    "driver": "deploy_traffic.driver",
    "min_active": "deploy_min_active", "timeout_action": "deploy_drain_timeout_action", "max_absent": "deploy_max_absent",
    "max_failed": "deploy_evidence_max_failed", "records_dir": "deploy_records_dir", "connect_to": "deploy_evidence_connect_to",
    "max_slowdown": "deploy_evidence_max_slowdown", "judge_4xx": "deploy_evidence_judge_4xx", "paths": "deploy_evidence_paths",
    "ca_path": "deploy_evidence_ca_path", "http2": "deploy_evidence_http2", "url": "deploy_evidence_url",
    "max_differences": "deploy_shadow.max_differences", "log": "deploy_shadow.log", "share": "deploy_shadow.share",
    "exclude": "deploy_shadow.exclude", "ignore": "deploy_shadow.ignore",
    "artifact": "deploy_artifact", "root": "deploy_artifact.root", "slot": "deploy_slot", "service": "deploy_service", "release": "deploy_release",
    "keep": "deploy_keep_releases", "timeout": "deploy_drain_timeout", "passes": "deploy_health.passes", "interval": "deploy_health.interval",
    "status": "deploy_health.status", "header": "deploy_health.header", "from": "deploy_health.from", "smoke": "deploy_health.smoke",
}
# A side's service is one of two; its options are called the same.
DOTTED = {"artifact": "deploy_artifact", "service": "deploy_service", "in_flight": "deploy_traffic.in_flight", "running": "deploy_health"}
_VALUE = r"'|\"|\[|-?\d|[A-Za-z/{][\w/{}.]*[;,]|missing|empty|given|not usable"
# Those that a sentence names with the very value, before it says something about it.
_WITH_VALUE = re.compile(r"(?:^|(?<=[:;(,] ))(header|root|url)(?= (?:'|/|https?://))")
_DOT = re.compile(rf"(?<![\w./-])({'|'.join(DOTTED)})(?=\.[a-z_]+\b(?!/))")
# Of a result that a task returns: what is made of sentences.
SENTENCES = frozenset(("msg", "problem", "problems", "reason", "sentence", "text", "warnings", "why"))


def learn(options: t.Iterable[str]) -> None:
    """Know the options of a driver's modules, which are those of C(deploy_traffic); a name that has a variable already keeps it."""
    new = {name: f"deploy_traffic.{name}" for name in options if name not in VARIABLES}
    if new:
        VARIABLES.update(new)
        _patterns.cache_clear()


@functools.lru_cache(1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds options in a sentence. Names that are words as well are options where a sentence, or a part of one, begins with them and says something
    about a value."""
    words, names = ("|".join(sorted((name for name in VARIABLES if ("_" in name) is has), key=len, reverse=True)) for has in (False, True))
    return (re.compile(rf"(?:^|(?<=[:;(,] ))({words})(?= (?:is|are) (?:{_VALUE})|: \S+(?:: | redirects )| has '| names )"),
            re.compile(rf"(?<![\w./-])({names})(?![\w/-]|\.\w)"))


def sentence(text: str) -> str:
    """A sentence with the user's variables in place of the modules' options; one that has them already stays as it is."""
    words, names = _patterns()
    text = _DOT.sub(lambda match: DOTTED[match[1]], text)
    text = names.sub(lambda match: VARIABLES[match[1]], text)
    text = _WITH_VALUE.sub(lambda match: VARIABLES[match[1]], text)
    return words.sub(lambda match: VARIABLES[match[1]], text)


def result(found: t.Any) -> t.Any:
    """What a task returns, with all of its sentences in the user's words; the rest is the very same."""
    if isinstance(found, dict):
        return {key: _said(value) if key in SENTENCES else result(value) for key, value in found.items()}
    if isinstance(found, list):
        return [result(entry) for entry in found]
    return found


def _said(value: t.Any) -> t.Any:
    if isinstance(value, str):
        return sentence(value)
    return [_said(entry) for entry in value] if isinstance(value, list) else result(value)
