# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ansible-core the tests run on: tests/cores/ has a file for each, with its exact version and the Pythons that carry it.

cores.py newest            the newest core that this Python carries
cores.py pin               the requirement of that one
cores.py python CORE       an interpreter of this machine that carries CORE

It needs the standard library alone, since it runs before there is a virtual environment.
"""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

REPO = pathlib.Path(__file__).resolve().parents[2]
FILES = REPO / "tests" / "cores"
# An environment for each core that is not the usual one.
ENVIRONMENTS = REPO / "build" / "cores"
PYTHONS = "# Python: "


class LeftOut(Exception):
    """This machine cannot run that core; the sentence says why."""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def known() -> list[str]:
    """All cores, the oldest first."""
    return sorted((path.stem for path in FILES.glob("*.txt")), key=numbers)


def lines(core: str) -> list[str]:
    if core not in known():
        raise LeftOut("there is no ansible-core %s here; there are: %s" % (core, ", ".join(known())))
    return (FILES / (core + ".txt")).read_text(encoding="utf-8").splitlines()


def pythons(core: str) -> list[str]:
    """The versions of Python that carry a core, the oldest first."""
    return next(line for line in lines(core) if line.startswith(PYTHONS))[len(PYTHONS):].split()


def pin(core: str) -> str:
    return next(line for line in lines(core) if line.startswith("ansible-core=="))


def newest(python: str) -> str:
    """The newest core that a version of Python carries: the newest of all for a Python that is newer than any that is known."""
    found = [core for core in known() if python in pythons(core)]
    if found:
        return found[-1]
    if numbers(python) > numbers(pythons(known()[-1])[-1]):
        return known()[-1]
    raise LeftOut("Python %s carries none of ansible-core %s" % (python, ", ".join(known())))


def mine() -> str:
    return "%d.%d" % sys.version_info[:2]


def candidates(version: str) -> t.Iterator[str]:
    """Interpreters of that version: a version manager's real ones, since its shims answer and then refuse to run."""
    root = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv")
    for place in (*sorted((root / "versions").glob(version + ".*/bin")), pathlib.Path("/usr/bin"), pathlib.Path("/usr/local/bin")):
        yield str(place / ("python" + version))


@functools.lru_cache(maxsize=None)
def works(interpreter: str) -> bool:
    if not shutil.which(interpreter):
        return False
    return subprocess.run([interpreter, "-c", "import ssl, venv, ensurepip"], capture_output=True, check=False).returncode == 0


def python_for(core: str) -> str:
    """An interpreter that carries a core: this one where it does, else the newest that is found."""
    wanted = pythons(core)
    if mine() in wanted:
        return sys.executable
    for version in reversed(wanted):
        for interpreter in candidates(version):
            if works(interpreter):
                return interpreter
    raise LeftOut("ansible-core %s needs Python %s, and this machine has none of them" % (core, " or ".join(wanted)))


def environment(core: str) -> str:
    """The Python of an environment with that core and what tests of servers need; made where there is none, which needs a way to the package index."""
    interpreter = python_for(core)
    subprocess.run(["make", "--no-print-directory", "core-environment", "CORE=" + core, "PYTHON=" + interpreter], cwd=REPO, check=True)
    return str(ENVIRONMENTS / core / "bin" / "python")


def main(words: t.Sequence[str]) -> int:
    try:
        if words == ["newest"]:
            print(newest(mine()))
        elif words == ["pin"]:
            print(pin(newest(mine())))
        elif len(words) == 2 and words[0] == "python":
            print(python_for(words[1]))
        else:
            sys.stderr.write("usage: cores.py newest | pin | python CORE\n")
            return 2
    except LeftOut as error:
        sys.stderr.write("cores: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
