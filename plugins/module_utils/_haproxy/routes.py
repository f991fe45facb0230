# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By which rules of haproxy.cfg a frontend sends requests to a pool: its default, a condition, or a map. Private to
the collection.
"""

from __future__ import annotations

import itertools
import re
import typing as t

# A name or C({ … }) in a condition, with C(!) before it where it is denied.
Literal = t.Tuple[str, ...]
# What has to hold together; a condition is a list of those, of which one has to.
Together = t.Tuple[Literal, ...]

NOT = "!"
EITHER = ("or", "||")
# A pool whose name is worked out for each request, and what looks names up in a file.
DYNAMIC = re.compile(r"^([^%]*)%\[([^\]]+)\]([^%]*)$")
LOOKED_UP = re.compile(r",map(?:_[a-z]+)*\(([^,)]+)(?:,([^)]*))?\)$")
VARIABLE = re.compile(r"^var\(([^,)]+)\)$")


class Route(t.NamedTuple):
    """One way to a pool.

    :param line: the words of the rule in its frontend.
    :param conditions: of which one has to hold; a single empty one holds always.
    :param keys: the lines of the map that name the pool, where the rule goes by one.
    """

    frontend: str
    line: t.Sequence[str]
    conditions: t.Sequence[Together]
    map: str = ""
    keys: t.Sequence[str] = ()

    @property
    def is_default(self) -> bool:
        return self.line[0] == "default_backend"


def conditions_of(words: t.Sequence[str]) -> list[Together]:
    """The condition of a rule, from C(if) or C(unless) on; without one, a single one that always holds."""
    if not words or words[0] not in ("if", "unless"):
        return [()]
    found: list[list[Literal]] = [[]]
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if word in EITHER:
            found.append([])
            continue
        denied = False
        while word.startswith(NOT):
            denied, word = not denied, word[1:] or (rest.pop(0) if rest else "")
        literal = [word]
        if word == "{":
            while rest and literal[-1] != "}":
                literal.append(rest.pop(0))
        found[-1].append((NOT, *literal) if denied else tuple(literal))
    if words[0] == "if":
        return [tuple(together) for together in found]
    # None of them may hold, so of each at least one part does not.
    return [tuple(map(denial, picked)) for picked in itertools.product(*found)]


def denial(literal: Literal) -> Literal:
    return literal[1:] if literal[0] == NOT else (NOT, *literal)


def equal(one: t.Iterable[Together], other: t.Iterable[Together]) -> bool:
    """Whether two conditions say the same, in whichever order."""
    return {frozenset(together) for together in one} == {frozenset(together) for together in other}


def written(conditions: t.Iterable[Together], word: t.Callable[[str], str]) -> str:
    """A condition as a rule has it; C(word) writes one word."""
    return " or ".join(" ".join(_literal(literal, word) for literal in together) for together in conditions)


def _literal(literal: Literal, word: t.Callable[[str], str]) -> str:
    if literal[0] == NOT:
        return NOT + _literal(literal[1:], word)
    return " ".join(part if part in ("{", "}") else word(part) for part in literal)


def is_pool(expression: str, value: str) -> Literal:
    """The condition under which what was looked up is this value."""
    return ("{", expression, "-m", "str", value, "}")


def named_by(template: str, conditions: t.Sequence[Together]) -> tuple[str, list[Together]] | None:
    """Which pool a name worked out for each request is under C(conditions), and what else they say; None where they
    leave that open.
    """
    dynamic = DYNAMIC.match(template)
    for literal in dict.fromkeys(itertools.chain.from_iterable(conditions)) if dynamic else ():
        if (
            dynamic
            and literal[:4] == is_pool(dynamic[2], "")[:4]
            and all(literal in together for together in conditions)
        ):
            return dynamic[1] + literal[4] + dynamic[3], [
                tuple(part for part in together if part != literal) for together in conditions
            ]
    return None


def routes(
    name: str,
    lines: t.Sequence[t.Sequence[str]],
    pool: str,
    read: t.Callable[[str], str | None],
    default: str | None = None,
) -> list[Route]:
    """The ways on which the frontend C(name) with these C(lines) sends requests to C(pool), in the order of its rules.

    :param read: the text of a map's file; None where it cannot be read.
    :param default: the frontend's default pool, which it may have inherited.
    """
    found = []
    for words in lines:
        if words[0] != "use_backend" or len(words) < 2:
            continue
        if words[1] == pool:
            found.append(Route(name, words, conditions_of(words[2:])))
        elif dynamic := DYNAMIC.match(words[1]):
            found += _by_map(name, words, dynamic, pool, lines, read)
    if default == pool:
        found.append(Route(name, ["default_backend", pool], [()]))
    return found


def _by_map(
    name: str,
    words: t.Sequence[str],
    dynamic: re.Match[str],
    pool: str,
    lines: t.Sequence[t.Sequence[str]],
    read: t.Callable[[str], str | None],
) -> list[Route]:
    """The way through a rule whose pool is looked up, if the map, or what stands for what it lacks, names this pool."""
    before, expression, after = dynamic.groups()
    if not (pool.startswith(before) and pool.endswith(after) and len(pool) > len(before) + len(after)):
        return []
    value = pool[len(before) : len(pool) - len(after)]
    looked_up = LOOKED_UP.search(_set_to(expression, lines))
    if not looked_up:
        return []
    file, otherwise = looked_up.groups()
    text = read(re.sub(r"^(?:opt|file)@", "", file))
    keys = [line for line in (text or "").splitlines() if not line.startswith("#") and line.split()[1:] == [value]]
    if not keys and otherwise != value:
        return []
    conditions = [(is_pool(expression, value), *together) for together in conditions_of(words[2:])]
    return [Route(name, words, conditions, file, keys)]


def _set_to(expression: str, lines: t.Sequence[t.Sequence[str]]) -> str:
    """What an expression is, where it is a variable that the frontend sets itself."""
    variable = VARIABLE.match(expression)
    if variable:
        for words in lines:
            if words[0] == "http-request" and len(words) > 2 and words[1].startswith(f"set-var({variable[1]}"):
                return words[2]
    return expression
