# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception that carries a sentence for the user. Private to the collection."""

from __future__ import annotations

import contextlib
import re
import typing as t


class DowntimeError(Exception):
    """A refusal or a failure, as one clear sentence.

    The sentence names the option, its value and what would be accepted. Modules and actions hand it on as their C(msg);
    any other exception is a defect of the collection and keeps its traceback.

    C(details) are handed to the user beside the sentence.
    """

    details: t.Mapping[str, t.Any] = {}


class NoAnswer(DowntimeError):
    """Nobody is there, as opposed to somebody who refuses: modules tell it apart as C(silent)."""


class MissingFile(DowntimeError):
    """A file that a balancer's configuration needs was deleted while it runs; C(details) name it as C(missing_file)."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.details = {"missing_file": path}


class NotDrained(DowntimeError):
    """Members were not empty in time, and stay out. C(details) have, apart, the end of the sentence that holds only until somebody brings them back: a
    deploy that does so leaves it out of its own (C(_moving))."""

    def __init__(self, sentence: str, until_back: str) -> None:
        super().__init__(sentence + until_back)
        self.details = {"until_back": until_back}


class NoSeries(DowntimeError):
    """A query is understood and answers nothing: nobody measured that, or not yet."""


def failure(error: DowntimeError) -> dict[str, t.Any]:
    """What a module that failed so returns."""
    return {"msg": str(error), "silent": isinstance(error, NoAnswer), **error.details}


def shown_url(url: str) -> str:
    """An address fit for a message: without credentials, and without its query, where signed addresses carry theirs. It need not be a valid one."""
    scheme, host, rest = t.cast("re.Match[str]", re.match(r"([^/?#@]*//)?([^/?#]*)(.*)", url, flags=re.DOTALL)).groups(default="")
    port = re.sub(r"\[[^\]]*\]", "", host).partition(":")[2]
    if "@" in rest and "@" not in host and port and not port.isdigit():
        # What stands where the port should is a password with one of the signs that end a host.
        return f"{scheme}…"
    return scheme + host.rpartition("@")[2] + re.sub(r"[?#].*", "", rest, flags=re.DOTALL)


def called(names: str | t.Collection[str], what: str = "balancer") -> str:
    """Where a driver's calls run, for a sentence: hosts with the word for them; a platform's API has a name that is a phrase, and stands for itself."""
    told = [names] if isinstance(names, str) else names
    return ("" if any(map(is_phrase, told)) else f"{what} ") + ", ".join(told)


def is_phrase(name: str) -> bool:
    """Whether it is called by a phrase, as in "the desk at https://desk.example.com", which no host of an inventory can be."""
    return " " in name


def named(what: str, name: str, result: t.Mapping[str, t.Any]) -> str:
    """A host's failure in a sentence that names the host; C(what) is the word for it."""
    text = str(result.get("msg") or "it failed without a word").rstrip(". ")
    return text if name in text else f"{called(name, what)}: {text}"


def agreeing(names: t.Collection[str], one: str, many: str) -> str:
    """Names with the verb that agrees with their number."""
    return f"{', '.join(names)} {one if len(names) == 1 else many}"


# What is done with a refusal.
Refused = t.Callable[[DowntimeError], None]


def refuse(error: DowntimeError) -> None:
    """What a deploy does with a refusal: it stops there. Whoever only looks goes on, and hears of all of them."""
    raise error


@contextlib.contextmanager
def told_to(refused: Refused) -> t.Iterator[None]:
    """A rule, whose refusal C(refused) gets."""
    try:
        yield
    except DowntimeError as error:
        refused(error)


def looked_at(name: str, rule: t.Callable[[], str], mend: t.Sequence[str]) -> dict[str, t.Any]:
    """One thing that was looked at: what the rule says of it, or its refusal with what mends it."""
    try:
        return {"name": name, "ok": True, "text": rule(), "mend": []}
    except DowntimeError as error:
        return {"name": name, "ok": False, "text": str(error), "mend": list(mend)}
