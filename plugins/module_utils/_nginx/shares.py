# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file in which the driver nginx keeps the shares of two sides. Pure; private to the collection.

One file a split, C(<name>.split.conf). A hash of something of each request falls to one side; the side is a variable, and for each pair of pools
another variable has the name of the pool that it falls to. Green has the low end of the hashes, so that whoever is on green stays there when
its share rises.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._driver.split import SIDES, Shares, of_green
from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError
from ansible_collections.zero.downtime.plugins.module_utils._nginx import config as _nginx_config
from ansible_collections.zero.downtime.plugins.module_utils._nginx.upstream import POOL

SUFFIX = ".split.conf"
# A draw of its own for each request.
DRAW = "$request_id"
BY = re.compile(r"[\w$.:|/-]*\$[A-Za-z_][\w$.:|/-]*", re.ASCII)
PIN = re.compile(r"\$[A-Za-z_]\w*", re.ASCII)
HEADER = "# Kept by zero.downtime: the shares of new requests that two sides get. It is written anew when they change.\n"

Pair = t.Tuple[str, str]  # the pool of blue, and that of green


def base_of(pool: str) -> str:
    """The name that blue's pool has without its side."""
    return re.sub(r"[._-]?blue$", "", pool) or pool


def variable(base: str, what: str) -> str:
    """nginx takes letters, digits and _ in the name of a variable, and a digit in front for something else."""
    word = re.sub(r"\W", "_", base, flags=re.ASCII)
    return f"${'_' if word[:1].isdigit() else ''}{word}_{what}"


@dataclasses.dataclass(frozen=True)
class Split:
    """One file.

    :param by: what the hash is of, with nginx's variables in it.
    :param pin: the variable whose value C(blue) or C(green) decides by itself, as long as that side has a share.
    """

    name: str
    path: str
    pairs: tuple[Pair, ...]
    green: int = 0
    by: str = DRAW
    pin: str = ""

    @property
    def shares(self) -> Shares:
        return of_green(self.green)

    @property
    def pools(self) -> dict[str, list[str]]:
        return {side: [pair[number] for pair in self.pairs] for number, side in enumerate(SIDES)}

    @property
    def side(self) -> str:
        return variable(self.name, "side")

    @property
    def variables(self) -> dict[str, Pair]:
        """The variables that C(proxy_pass) takes, each with the pools that it may name."""
        return {variable(base_of(pair[0]), "pool"): pair for pair in self.pairs}

    @property
    def text(self) -> str:
        drawn = variable(self.name, "drawn") if self.pin else self.side
        key, lines = self.by, []
        if key != DRAW:
            # A user without the cookie or header is nobody yet; hashed, all of them would fall to the same side.
            key = variable(self.name, "key")
            lines += _block(f'map "{self.by}" {key}', [f'"" {DRAW}', f'default "{self.by}"'])
        entries = [f"{self.green}% green", "* blue"] if 0 < self.green < 100 else [f"* {'green' if self.green else 'blue'}"]
        lines += _block(f'split_clients "{key}" {drawn}', entries)
        if self.pin:
            # Nobody is sent to a side without a share: it may be about to change its release.
            pinned = [f"{side} {side}" for side in SIDES] if 0 < self.green < 100 else []
            lines += _block(f'map "{self.pin}" {self.side}', [*pinned, f"default {drawn}"])
        for name, pair in self.variables.items():
            lines += _block(f"map {self.side} {name}", [f"green {pair[1]}", f"default {pair[0]}"])
        return HEADER + "\n".join(lines) + "\n"


def _block(opening: str, lines: t.Sequence[str]) -> list[str]:
    return [opening + " {", *(f"    {line};" for line in lines), "}"]


def check(split: Split) -> Split:
    """Raises DowntimeError for what nginx would take in another way than it is meant."""
    if not BY.fullmatch(split.by):
        raise DowntimeError(f"split_by is '{split.by}'; a text with a variable of nginx in it, such as $request_id, $remote_addr or $cookie_user, is accepted")
    if split.pin and not PIN.fullmatch(split.pin):
        raise DowntimeError(f"split_pin is '{split.pin}'; one variable of nginx, such as $cookie_side or $http_x_side, is accepted")
    for pool in (pool for pair in split.pairs for pool in pair):
        if not POOL.fullmatch(pool):
            raise DowntimeError(f"pool '{pool}' is no name for an upstream; letters, digits, and . _ - (no - or . first) are accepted")
    names = [variable(base_of(blue), "pool") for blue, dummy in split.pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        pools = ", ".join(blue for blue, dummy in split.pairs if variable(base_of(blue), "pool") in twice)
        raise DowntimeError(f"the pools {pools} of side blue would share the variable {twice[0]}; names that differ in a letter or digit are accepted")
    return split


def parse(name: str, path: str, text: str) -> Split:
    """Raises DowntimeError for a file that is not as the driver writes it."""
    inside: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for directive in _nginx_config.parse(f"# configuration file {path}:\n{text}").directives:
        if directive.inside:
            inside.setdefault(directive.inside[-1], []).append(directive.words)
        else:
            inside.setdefault(directive.words, [])
    maps = {words[2]: (words[1], dict(entry for entry in entries if len(entry) == 2)) for words, entries in inside.items()
            if words[0] == "map" and len(words) == 3}
    drawn = next(((words[1], entries) for words, entries in inside.items() if words[0] == "split_clients" and len(words) == 3), ("", []))
    key = drawn[0] if drawn[0] == DRAW else maps.get(drawn[0], ("", {}))[0]
    side = variable(name, "side")
    pairs = tuple((found["default"], found["green"]) for source, found in maps.values() if source == side and set(found) == {"default", "green"})
    split = Split(name, path, pairs, _green(drawn[1]), key, maps.get(side, ("", {}))[0])
    if not pairs or split.green < 0 or _bare(split.text) != _bare(text):
        raise DowntimeError(f"{path} is not as it was written, so its shares cannot be told; without that file, setting the shares writes it anew")
    return split


def _green(entries: t.Sequence[tuple[str, ...]]) -> int:
    """Green's share by a block C(split_clients); below 0 for what is none of ours."""
    found = {entry[1]: entry[0] for entry in entries if len(entry) == 2}
    share = re.fullmatch(r"([1-9]\d?)%", found.get("green", ""))
    if found.get("blue") == "*":
        return int(share.group(1)) if share else 0 if "green" not in found else -1
    return 100 if found == {"green": "*"} else -1


def _bare(text: str) -> list[str]:
    """Less comments, and how it is laid out."""
    return re.sub(r"#[^\n]*", "", text).split()


def green_of(name: str, path: str, text: str) -> int | None:
    """Green's share, or None when that cannot be told."""
    try:
        return parse(name, path, text).green
    except DowntimeError:
        return None
