# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that speaks HTTP/2 for as long as a C(with) block lasts: curl, which keeps its connection and its cookies, and asks at a fixed pace.

It shares no code with the collection. As browsers do, it asks once more on a new connection where one that was kept was closed before any byte of an answer.
"""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import typing as t

FORMAT = "%{exitcode} %{http_code} %{http_version} %{num_connects} %{errormsg}\\n"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of one request; C(error) is curl's own, 0 for none."""

    error: int
    status: int
    version: str
    connects: int
    text: str


class Curl:
    """C(url) may have a query of its own; C(connect_to) is the address and port that are asked in place of its name."""

    def __init__(self, url: str, connect_to: str, ca: pathlib.Path, directory: pathlib.Path, cookie: str = "", per_second: int = 10) -> None:
        self.out, self.jar, self._body = (directory / f"curl-{cookie.replace('=', '-') or 'none'}.{ending}" for ending in ("out", "jar", "body"))
        # One command, which asks the same address again and again. What it says has to be there when it is ended.
        self.argv = ["stdbuf", "-oL", "curl", "--silent", "--http2", "--rate", f"{per_second}/s", "--cacert", str(ca),
                     "--connect-to", f"::{connect_to}", "--max-time", "20",
                     "--cookie-jar", str(self.jar), *(["--cookie", cookie] if cookie else ["--cookie", ""]), "--output", str(self._body),
                     "--write-out", FORMAT, f"{url}?number=[1-1000000]"]

    def __enter__(self) -> "Curl":
        with open(self.out, "wb") as out:
            self._process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_args: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    @property
    def answers(self) -> list[Answer]:
        found = []
        # The last line may be torn: the request that curl was asked to end in.
        for line in self.out.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                error, status, version, connects, text = line.rstrip("\n").split(" ", 4)
                found.append(Answer(int(error), int(status), version, int(connects), text))
        return found

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.error or not 200 <= answer.status < 300]


def lost(clients: t.Iterable[Curl]) -> list[Answer]:
    return [answer for client in clients for answer in client.failed]
